"""State trees as files: they come back exactly, whole or not at all, and never run code."""

import errno
import io
import json
import math
import os
import pickle
import random
import re
import resource
import signal
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from stable_baselines3 import DQN

from continual_arcade.agents.files.state_files import is_foreign, load_state, save_state

NUMBERS = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes()
DTYPES = (
    NUMBERS
    | hnp.unsigned_integer_dtypes()
    | hnp.complex_number_dtypes()
    | hnp.array_dtypes(NUMBERS, min_size=1, max_size=3)
)
SHAPES = hnp.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4)
TORCH_DTYPES = ("float32", "float64", "float16", "int64", "int32", "uint8", "bool", "complex64")


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.copy())


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | hnp.arrays(DTYPES, SHAPES)
    | hnp.arrays(st.sampled_from(TORCH_DTYPES), SHAPES).map(tensor)
)
KEYS = st.text(max_size=3) | st.sampled_from(["$int", "$array", "$$tensor", "$", "$float"])
TREES = st.dictionaries(
    KEYS,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert_same(one.numpy(), other.numpy())
    elif isinstance(one, float):
        assert np.array(one).tobytes() == np.array(other).tobytes() or (one != one != other)
        assert math.isnan(one) == math.isnan(other)
    else:
        assert one == other


def example() -> dict[str, Any]:
    blocks = np.zeros(2, [("random", np.uint64, (3,)), ("speed", np.float64)])
    blocks["random"] = 2**64 - 1
    return {
        "network": {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)},
        "generator": np.random.default_rng(3).bit_generator.state,
        "blocks": blocks,
        "losses": [1.5, math.inf, -math.inf],
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.state"
    save_state(path, example(), "run")
    return path


def rewritten(path: Path, **entries: bytes) -> Path:
    """Replace entries of a state file, with sums that are right; ``head`` is state.json."""
    names = {"head": "state.json", "array": "arrays/0.npy"}
    replaced = {names[name]: data for name, data in entries.items()}
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**contents, **replaced}.items():
            archive.writestr(name, data)
    return path


def head_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        head: dict[str, Any] = json.loads(archive.read("state.json"))
        return head


@settings(max_examples=50, deadline=None)
@given(TREES)
def test_trees_come_back_exactly(tree: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        save_state(Path(folder) / "a", tree, "test")
        assert_same(load_state(Path(folder) / "a", "test"), tree)


def test_generators_and_learners_go_on(path: Path) -> None:
    state = load_state(path, "run")
    assert_same(state, example())
    rng = np.random.default_rng()
    rng.bit_generator.state = state["generator"]
    assert rng.random() == np.random.default_rng(3).random()
    state["blocks"]["speed"] = 1.0  # writable, as are
    state["network"]["bias"] += 1.0


def test_what_comes_back_in_another_form(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    transposed = np.arange(6).reshape(2, 3).T
    save_state(
        tmp_path / "a",
        {"tuple": (1, (2,)), "ordered": OrderedDict(w=weight), "one": [transposed, transposed]},
        "k",
    )
    state = load_state(str(tmp_path / "a"), "k")
    assert state["tuple"] == [1, [2]]
    assert type(state["ordered"]) is dict
    assert not state["ordered"]["w"].requires_grad
    np.testing.assert_array_equal(state["one"][0], transposed)
    assert not np.shares_memory(*state["one"])


def test_equal_trees_are_equal_files(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A year later: what a file holds of the time of day would differ.
    later = time.time() + 365 * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    save_state(tmp_path / "again", example(), "run")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert head_of(path)["versions"].keys() >= {"torch", "numpy", "continual-arcade"}


@pytest.mark.parametrize(
    ("leaf", "message"),
    [
        (object(), r'state\["parts"\]\["ewc"\]\[1\] is of type builtins.object'),
        (np.float64(1.0), r"numpy.float64.*item\(\)"),
        (np.bool(True), r"item\(\)"),
        ({1, 2}, "builtins.set"),
        (b"bytes", "builtins.bytes"),
        ({0: "a"}, r'state\["parts"\]\["ewc"\]\[1\] has the key 0'),
        ({np.str_("a"): 1}, "keys of a state are text"),
        (np.array([None]), "array of object"),
        (np.array(["a"]), "array of <U1"),
        (np.zeros(1, [("a", np.float64), ("b", object)]), "array of"),
        (np.zeros(1, "datetime64[s]"), "array of datetime"),
        (np.ma.masked_array([1.0], [True]), "MaskedArray"),
        (torch.ones(1, dtype=torch.bfloat16), r"\[1\] is a tensor of torch.bfloat16"),
        (torch.ones(1).to_sparse(), "torch.sparse_coo"),
    ],
)
def test_what_cannot_be_kept_is_named(path: Path, leaf: Any, message: str) -> None:
    before = path.read_bytes()
    with pytest.raises(TypeError, match=message):
        save_state(path, {"parts": {"ewc": [1.0, leaf]}}, "run")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for read in (lambda path: load_state(path, "run"), is_foreign):
        with pytest.raises(FileNotFoundError, match="nothing"):
            read(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        load_state(tmp_path, "run")


def test_truncated_files_are_damaged(path: Path) -> None:
    whole = path.read_bytes()
    for length in {0, 1, 30, *range(100, len(whole), 37), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(
            ValueError, match=rf"{re.escape(str(path))} is damaged.*[Tt]ake an earlier one"
        ):
            load_state(path, "run")
        assert not is_foreign(path)


@pytest.mark.parametrize(
    "first", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
)
def test_no_flipped_bit_passes_for_the_state(first: int, path: Path) -> None:
    """It is noticed, or it is one that means nothing, such as the date of an entry.

    In every third byte from the first one on; all bytes in all cases together.
    """
    whole = path.read_bytes()
    noticed = 0
    places = range(first, len(whole), 3)
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            assert_same(load_state(path, "run"), example())
        except ValueError:
            noticed += 1
        is_foreign(path)
    assert noticed > len(places) / 2


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat.txt", "miaow")
    with pytest.raises(ValueError, match=r"photos\.zip is no state file of this suite.*give one"):
        load_state(path, "run")
    path.write_text("no zip at all")
    with pytest.raises(ValueError, match=r"photos\.zip is damaged, or no state file"):
        load_state(path, "run")
    assert not is_foreign(path)


def test_files_of_stable_baselines3_are_recognized(tmp_path: Path, path: Path) -> None:
    model = DQN("MlpPolicy", "CartPole-v1", buffer_size=10, device="cpu")
    model.save(tmp_path / "agent.zip")
    with pytest.raises(ValueError, match=r"agent\.zip is in Stable-Baselines3.*code.*trust=True"):
        load_state(tmp_path / "agent.zip", "run")
    assert is_foreign(tmp_path / "agent.zip")
    assert not is_foreign(path)


def test_other_kinds_and_newer_formats(path: Path) -> None:
    with pytest.raises(ValueError, match="holds the state of 'run', not of 'agent'"):
        load_state(path, "agent")
    rewritten(path, head=json.dumps({**head_of(path), "format": 2}).encode())
    with pytest.raises(ValueError, match=r"format 2.*up to 1: install a newer"):
        load_state(path, "run")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "1", "\udcff", "{}", '{"format": 1}', '{"format": "1"}', "[" * 100_000),
        '{"format": 1, "kind": "run"}',
        '{"format": 1, "kind": 7, "state": {}}',
        *(
            f'{{"format": 1, "kind": "run", "state": {state}}}'
            for state in (
                *("[]", "null", '{"a": {"$array": 99}}', '{"a": {"$array": "../0"}}'),
                *('{"a": {"$int": "zz"}}', '{"a": {"$int": 3}}', '{"a": {"$float": []}}'),
                *('{"$array": 0}', '{"a": {"$tensor": 2}}'),
            )
        ),
    ],
)
def test_a_damaged_description_is_named(path: Path, text: str) -> None:
    rewritten(path, head=text.encode(errors="surrogateescape"))
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is damaged"):
        load_state(path, "run")


class _Malice:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_no_code_of_a_file_is_run(path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    entry = io.BytesIO()
    np.lib.format.write_array(entry, np.array([_Malice(mark)]), (3, 0))
    structured = io.BytesIO()
    fields = np.zeros(1, [("a", np.float64), ("b", object)])
    fields["b"][0] = _Malice(mark)
    np.lib.format.write_array(structured, fields, (3, 0))
    bare = pickle.dumps(_Malice(mark))
    for data in (entry.getvalue(), structured.getvalue(), bare):
        with pytest.raises(ValueError, match=r"is damaged.*([Oo]bject arrays|magic string)"):
            load_state(rewritten(path, array=data), "run")
    with pytest.raises(ValueError, match="is damaged"):
        load_state(rewritten(path, head=bare), "run")
    assert not mark.exists()
    pickle.loads(bare)  # the file was a danger to whoever unpickles it
    assert mark.exists()


def test_a_full_disk_leaves_the_older_file(path: Path) -> None:
    big = {"a": np.random.default_rng(0).random(100_000)}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))
    try:
        with pytest.raises(OSError, match=r"run\.state") as caught:
            save_state(path, big, "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)
    assert_same(load_state(path, "run"), example())
    assert list(path.parent.iterdir()) == [path]


def test_what_does_not_reach_the_disk_leaves_the_older_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        assert (path.parent / ".unfinished-run.state").stat().st_size > 1_000
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*run\.state") as caught:
        save_state(path, {"a": np.random.default_rng(0).random(1_000)}, "run")
    assert caught.value.errno == errno.ENOSPC
    assert_same(load_state(path, "run"), example())
    assert list(path.parent.iterdir()) == [path]


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "no" / "a"))):
        save_state(tmp_path / "no" / "a", {}, "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        save_state(tmp_path / "file" / "a", {}, "run")


_SAVER = """
import os, sys
import numpy as np
from continual_arcade.agents.files.state_files import save_state
for number in map(int, sys.stdin):
    child = os.fork()
    if child == 0:
        while True:
            number += 1
            save_state(sys.argv[1], {"number": number, "big": np.full(10**6, number)}, "test")
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


def stop(pid: int) -> None:
    """Let a process stand still, and wait until it does."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0] != "T":
        time.sleep(0.001)


@pytest.mark.slow
def test_a_process_killed_while_it_saves(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_state(path, {"number": 0, "big": np.zeros(10**6, np.int64)}, "test")
    delay = random.Random(0)
    number = 0
    unfinished = tmp_path / ".unfinished-a"
    with subprocess.Popen(
        [sys.executable, "-c", _SAVER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for within in (True, False) * 5:
            before = path.stat().st_mtime_ns
            process.stdin.write(f"{number}\n")
            child = int(process.stdout.readline())
            while path.stat().st_mtime_ns == before:
                time.sleep(0.001)  # until it has saved once
            # At any moment, and every other time at one that is known to be within a save.
            time.sleep(delay.uniform(0, 0.2))
            stop(child)
            while within and not unfinished.exists():
                os.kill(child, signal.SIGCONT)
                time.sleep(delay.uniform(0, 0.01))
                stop(child)
            os.kill(child, signal.SIGKILL)
            assert process.stdout.readline() == "ended\n"
            assert unfinished.exists() or not within
            state = load_state(path, "test")
            assert state["number"] >= number
            number = state["number"]
            assert (state["big"] == number).all()
        process.stdin.close()
    assert process.returncode == 0
    assert number > 0
    # What was left behind is in nobody's way.
    save_state(path, {}, "test")
    assert list(tmp_path.iterdir()) == [path]
