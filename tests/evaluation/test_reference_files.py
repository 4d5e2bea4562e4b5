"""Files of references: they come back as they were, and no other file passes for one."""

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.evaluation import Reference, References, shipped_references
from continual_arcade.evaluation.reference_files import dumps, load, loads, save
from continual_arcade.evaluation.references import Outcome

numbers = st.floats(-1e9, 1e9)
outcomes = st.builds(Outcome, numbers, st.floats(0, 1e9))
values = st.fixed_dictionaries({"score": outcomes, "return": outcomes})
makings = st.fixed_dictionaries(
    {
        "command": st.text(max_size=5),
        "date": st.text(max_size=5),
        "python": st.just("3"),
        "versions": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
        "git_commit": st.none() | st.just("abc"),
    }
)
some = st.lists(
    st.builds(
        Reference,
        env=st.sampled_from(["A-v0", 'B"-v1']),
        max_steps=st.integers(1, 3),
        params=st.dictionaries(st.text(max_size=3), numbers, max_size=2),
        episodes=st.integers(2, 9),
        first_seed=st.integers(0, 9),
        random_seed=st.integers(0, 9),
        outcomes=st.fixed_dictionaries({"random": values, "oracle": values}),
        making=makings,
    ),
    max_size=3,
)


@settings(max_examples=25)
@given(some)
def test_they_survive_a_file(references: list[Reference]) -> None:
    written = References(references)
    again = loads(dumps(written))
    assert {one.key: one for one in again} == {one.key: one for one in written}
    assert dumps(again) == dumps(written)


def shipped_data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(dumps(shipped_references()))
    return data


def test_what_is_shipped_is_as_the_command_writes_it() -> None:
    path = Path(__file__).parents[2] / "evaluation" / "references.json"
    assert path.read_text("utf-8") == dumps(shipped_references())
    making = shipped_data()["makings"]["1"]
    assert making["command"].startswith("python -m continual_arcade.scripts.references")
    assert not making["git_commit"].endswith("+")  # made by code that is in the history


def changed(**changes: Any) -> str:
    data = shipped_data()
    data["references"][0] |= changes
    return json.dumps(data)


def without(name: str) -> str:
    data = shipped_data()
    del data["references"][0][name]
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged, or no references"),
        (dumps(shipped_references())[:5_000], "damaged, or no references"),
        ("[]", "these are no references"),
        ("{}", "these are no references"),
        ('{"format": 1, "name": "shrink", "phases": []}', "these are no references"),
        ('{"format": 2, "references": "other"}', "format 2 .* up to 1: update continual-arcade"),
        ('{"format": 1, "references": 3}', "damaged"),
        ('{"format": 1, "references": [3]}', "damaged"),
        (json.dumps({"format": 1, "references": shipped_data()["references"]}), "makings"),
        (without("oracle"), "it must have .*oracle"),
        (changed(note="mine"), "one has the keys .*note"),
        (changed(episodes=1), "episodes = 1, not 2 or more"),
        (changed(max_steps=-1), "max_steps = -1 is no whole number"),
        (changed(max_steps="many"), "max_steps = 'many' is no whole number"),
        (changed(making=9), "damaged: .*9"),
        (changed(oracle={}), "damaged: .*score"),
        (changed(params={"gap": float("nan")}), "gap = nan is no finite number"),
        (changed(params={"gap": None}), "gap = None is no finite number"),
        (
            changed(oracle={"score": {"mean": float("inf"), "spread": 0.0}}),
            "oracle score = inf is no finite number",
        ),
        (
            json.dumps(
                {**shipped_data(), "references": [shipped_data()["references"][0] for _ in "ab"]}
            ),
            "one is there twice",
        ),
    ],
)
def test_what_is_damaged_foreign_or_newer(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "references.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}: .*{message}"):
        load(path)


def test_a_disk_that_is_full_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "references.json"
    save(shipped_references(), path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*references\.json"):
        save(References(), path)
    assert len(load(path)) == len(shipped_references())
    assert list(tmp_path.iterdir()) == [path]
