"""A run on disk: new, whole, and never overwritten."""

import json
import os
import shutil
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continual_arcade.evaluation import EvaluationSettings, RunFolder


def create(root: Path, seed: int = 0) -> RunFolder:
    folder = RunFolder.new(root, "FlappyBird", "shuffle:3", "dqn", seed)
    folder.make()
    return folder


def test_a_run_has_a_folder_named_after_it(tmp_path: Path) -> None:
    folder = create(tmp_path / "deep" / "down")
    scenario, method, seed, utc = folder.name.split("__")
    assert (scenario, method, seed) == ("FlappyBird-shuffle-3", "dqn", "0")
    assert len(utc) == 16
    assert (folder.path / "checkpoints").is_dir()


@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 2**32 - 1))
def test_whatever_a_method_is_called_its_folder_has_a_name(
    schedule: str, method: str, seed: int
) -> None:
    for times in (1, 50):
        folder = RunFolder.new(Path(), "FlappyBird", schedule, method * times, seed)
        assert len(folder.name.encode()) <= 255
        assert "/" not in folder.name


def test_long_names_are_short_and_tell_methods_apart(tmp_path: Path) -> None:
    parts = "+".join(f"ewc:lam=0.0{number},samples=16,fisher=policy" for number in range(9))
    folders = [
        RunFolder.new(tmp_path, "FlappyBird", "conflict", method, 0)
        for method in (parts, parts + "0", parts.replace(":", "-"), "ewc:lam=1" * 11 + "0")
    ]
    methods = [folder.name.split("__")[1] for folder in folders]
    assert len(set(methods)) == 4
    assert methods[0].startswith("ewc-lam-0.00-samples-16-fisher-policy+ewc-lam-0.01")
    assert [len(method) for method in methods] == [100, 100, 100, 100]
    assert methods[3] == "ewc-lam-1" * 11 + "0"  # as long as may be
    for folder in folders:
        folder.make()


def test_no_run_is_overwritten(tmp_path: Path) -> None:
    folder = create(tmp_path)
    with pytest.raises(FileExistsError, match="--out"):
        folder.make()
    assert folder.path.is_dir()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(OSError, match="--out"):
        create(tmp_path / "runs")
    with pytest.raises(OSError, match="--out"):
        create(tmp_path / "runs" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_must_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="--out"):
        create(tmp_path / "runs")


def test_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 3 * 2**20))
    with pytest.raises(OSError, match="only 3 MiB are free"):
        create(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path) -> None:
    folder = create(tmp_path)

    def save(path: Path) -> None:
        assert path.suffix == ".zip"  # Stable-Baselines3 adds one where there is none
        path.write_text("agent")

    def fail(path: Path) -> None:
        path.write_text("half of")
        raise OSError(28, "No space left on device")

    assert folder.save_checkpoint(7, save).read_text() == "agent"
    with pytest.raises(OSError, match=r"No space left.*step_000000000008\.zip"):
        folder.save_checkpoint(8, fail)
    with pytest.raises(OSError, match="No space left"):
        folder.save_checkpoint(7, fail)
    assert {step: path.read_text() for step, path in folder.checkpoints().items()} == {7: "agent"}
    assert len(list((folder.path / "checkpoints").iterdir())) == 1


def test_checkpoints_are_in_the_order_of_life(tmp_path: Path) -> None:
    folder = create(tmp_path)
    for step in (500, 25_000, 1_000_000_000, 0):
        folder.save_checkpoint(step, lambda path: path.write_text(""))
    assert list(folder.checkpoints()) == [0, 500, 25_000, 1_000_000_000]


def test_the_configuration_comes_back(tmp_path: Path) -> None:
    folder = create(tmp_path)
    with pytest.raises(FileNotFoundError, match="no run: it has no config"):
        RunFolder.open(folder.path)
    names = ("game", "env", "schedule", "fingerprint", "method", "seed", "settings", "save_every")
    tables = {
        "evaluation": asdict(EvaluationSettings()),
        "method_spec": dict.fromkeys(("replay", "parts", "remembers_all", "interleaved"), 3),
    }
    typed: dict[str, object] = {"game": "g", "schedule": {}, "settings": {}}
    config: dict[str, object] = {
        **dict.fromkeys(names, 3),
        **typed,
        **tables,
        "nested": {"a": [1, 2]},
    }
    folder.write_config(config)
    assert RunFolder.open(folder.path).read_config() == config

    def without(table: Mapping[str, object], name: str) -> dict[str, object]:
        return {key: value for key, value in table.items() if key != name}

    poorer = {name: without(config, name) for name in (*names, *tables)}
    for name, table in tables.items():
        poorer |= {f"{name}.{key}": {**config, name: without(table, key)} for key in table}
        folder.write_config({**config, name: 3})
        with pytest.raises(ValueError, match=rf"config\.json is damaged: {name} is no table"):
            folder.read_config()
    assert len(poorer) == 20
    for name, written in poorer.items():
        folder.write_config(written)
        with pytest.raises(ValueError, match=rf"config\.json lacks {name}: .* another version"):
            folder.read_config()


@pytest.mark.parametrize("text", ["{", "[1]", "\udcff"])
def test_a_damaged_configuration_is_named(tmp_path: Path, text: str) -> None:
    folder = create(tmp_path)
    (folder.path / "config.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=r"config\.json is damaged"):
        folder.read_config()


def test_a_run_without_checkpoints(tmp_path: Path) -> None:
    folder = create(tmp_path)
    folder.write_config(json.loads("{}"))
    with pytest.raises(FileNotFoundError, match="no checkpoint yet"):
        folder.checkpoints()
