"""What a worker does with one run: the same bits however often it is cut off, and nothing else."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_studies import everything, small

from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.studies import work as working
from continual_arcade.studies.grid import cells
from continual_arcade.studies.provenance import machine, versions
from continual_arcade.studies.run_spec import RunSpec, Training
from continual_arcade.studies.work import Job, Outcome, digest, read_mark, work


def spec_of(tmp_path: Path, **changes: Any) -> RunSpec:
    return next(cells(small(tmp_path, **changes))).make()


def task_of(spec: RunSpec, folder: Path) -> Job:
    return Job("life", folder / "life", spec.to_config(), versions())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The life as training alone lives it."""
    root = tmp_path_factory.mktemp("alone")
    training = Training.prepare(spec_of(root), RunFolder(root / "life"))
    training.write({})
    training.train()
    return training.folder


@pytest.fixture
def task(tmp_path: Path) -> Job:
    return task_of(spec_of(tmp_path), tmp_path)


def test_a_run_is_what_training_alone_makes(task: Job, alone: RunFolder) -> None:
    outcome = work(task)
    assert outcome.state == "finished"
    assert (task.folder / "evaluations.csv").read_bytes() == alone.table.read_bytes()
    assert outcome.digest == digest(alone.table)
    assert outcome.seconds > 0
    assert outcome == Outcome(task.name, **(read_mark(task.folder) or {}))
    config = RunFolder(task.folder).read_config()
    assert config["machine"] == machine()
    assert config["versions"] == versions()["versions"]


def test_another_seed_would_be_found_out(tmp_path: Path, alone: RunFolder) -> None:
    wrong = task_of(replace(spec_of(tmp_path), seed=1), tmp_path)
    assert work(wrong).digest != digest(alone.table)


def test_a_finished_run_stays_as_it_is(task: Job) -> None:
    first = work(task)
    before = everything(task.folder)
    assert work(task) == first
    assert everything(task.folder) == before


@pytest.mark.parametrize("keeps", [60, 0])
@pytest.mark.parametrize("where", ["config.json", "half", "end", "folder"])
def test_cut_off_anywhere_it_ends_with_the_same_bits(
    where: str, keeps: int, tmp_path: Path, alone: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(spec_of(tmp_path, save_every=keeps), tmp_path)
    with monkeypatch.context() as patched:
        interrupt(patched, where)
        with pytest.raises(KeyboardInterrupt):
            work(task)
    assert read_mark(task.folder) is None
    assert work(task).digest == digest(alone.table)


def interrupt(patched: pytest.MonkeyPatch, where: str) -> None:
    """Let the process end at some moment of a run."""

    def die(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    if where == "folder":
        patched.setattr(RunFolder, "write_config", die)
    elif where == "config.json":
        patched.setattr(Training, "train", die)
    elif where == "end":
        patched.setattr(working, "_write_mark", die)
    else:
        save = RunFolder.save_checkpoint

        def die_late(folder: RunFolder, step: int, write: Callable[[Path], object]) -> Path:
            return die() if step > 100 else save(folder, step, write)

        patched.setattr(RunFolder, "save_checkpoint", die_late)


def test_a_run_of_other_settings_is_not_written_over(task: Job, tmp_path: Path) -> None:
    other = task_of(spec_of(tmp_path, settings={"gamma": 0.5}), tmp_path)
    for finished in (False, True):
        if finished:
            work(task)
        else:
            Training.prepare(RunSpec.from_config(task.spec), RunFolder(task.folder)).write({})
        before = everything(task.folder)
        outcome = work(other)
        assert outcome.state == "failed"
        assert outcome.reason == (
            f"{task.folder} holds another run, which is not written over: it has another "
            "settings; move it away"
        )
        assert everything(task.folder) == before


def test_what_differs_by_names_alone_is_the_same_run(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    schedule = spec.schedule
    renamed = replace(
        schedule,
        name="other",
        stretches=tuple(replace(stretch, name="x") for stretch in schedule.stretches),
    )
    other = replace(spec, schedule=renamed, save_every=7)
    assert other.matches(spec.to_config())
    engine = replace(spec.settings, engine="torch")
    assert spec.matches(replace(spec, settings=engine).to_config())
    assert not replace(spec, settings=engine).matches(spec.to_config())
    for changes in (
        {"seed": 1},
        {"schedule": schedule.with_steps(81)},
        {"settings": replace(spec.settings, gamma=0.5)},
        {"judging": replace(spec.judging, episodes=2)},
    ):
        assert not replace(spec, **changes).matches(spec.to_config()), changes  # type: ignore[arg-type]


def test_a_worker_with_other_versions_lives_nothing(task: Job) -> None:
    then = versions()
    then = {**then, "versions": {**then["versions"], "numpy": "1.0", "torch": "0.4"}}
    outcome = work(replace(task, about=then))
    assert outcome.state == "failed"
    assert "has other versions than the study was begun with: torch " in outcome.reason
    assert " instead of 0.4; numpy " in outcome.reason
    assert "install those, or begin a new study" in outcome.reason
    assert not task.folder.exists()


def test_a_damaged_run_is_named_and_not_lived_again(task: Job) -> None:
    work(task)
    mark = task.folder / "finished.json"
    mark.write_text("{")
    before = everything(task.folder)
    outcome = work(task)
    assert f"{mark} is damaged: remove it" in outcome.reason
    assert everything(task.folder) == before
    mark.unlink()
    assert work(task).state == "finished"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_hopeless_and_what_there_was_can_be_gone_on_with(
    number: int, task: Job, alone: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: RunFolder, step: int, write: Callable[[Path], object]) -> Path:
        raise OSError(number, os.strerror(number), str(folder.path))

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "save_checkpoint", full)
        outcome = work(task)
    assert (outcome.state, outcome.fatal, outcome.diverged) == ("failed", True, False)
    assert os.strerror(number) in outcome.reason
    assert str(task.folder) in outcome.reason
    assert work(task).digest == digest(alone.table)


def test_a_disk_too_full_to_begin_is_hopeless(task: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    outcome = work(task)
    assert outcome.fatal
    assert "only 1 MiB are free" in outcome.reason


def test_a_life_that_diverges_is_said_to(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, settings={"learning_rate": 1e30})
    outcome = work(task_of(spec, tmp_path))
    assert (outcome.state, outcome.fatal, outcome.diverged) == ("failed", False, True)
    assert "learning has diverged" in outcome.reason


def test_what_is_wrong_with_a_task_is_its_outcome(task: Job) -> None:
    for spec in ({}, {**task.spec, "seed": "x"}, {**task.spec, "game": "Pong"}):
        outcome = work(replace(task, spec=spec))
        assert outcome.state == "failed"
        assert outcome.reason


def test_a_spec_survives_a_configuration(tmp_path: Path) -> None:
    references = ["experts", "joint", "from-scratch"]
    study = small(tmp_path, references=references, methods={"ewc": {}, "mer-faithful": {}})
    for cell in cells(study):
        spec = cell.make()
        config = json.loads(json.dumps(spec.to_config()))
        assert RunSpec.from_config(config) == spec
        assert RunSpec.from_config({**config, **versions(), "command": "x"}) == spec
