"""What a worker does with one run: the same bits however often it is cut off, and nothing else."""

import errno
import json
import os
import re
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


def job_of(spec: RunSpec, folder: Path) -> Job:
    return Job("run", folder / "run", spec.to_config(), versions())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The run as training alone makes it."""
    root = tmp_path_factory.mktemp("alone")
    training = Training.prepare(spec_of(root), RunFolder(root / "run"))
    training.write({})
    training.train()
    return training.folder


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return job_of(spec_of(tmp_path), tmp_path)


def test_a_run_is_what_training_alone_makes(job: Job, alone: RunFolder) -> None:
    outcome = work(job)
    assert outcome.state == "finished"
    assert (job.folder / "evaluations.csv").read_bytes() == alone.table.read_bytes()
    assert outcome.digest == digest(alone.table)
    assert outcome.seconds > 0
    assert outcome == Outcome(job.name, **(read_mark(job.folder) or {}))
    config = RunFolder(job.folder).read_config()
    assert config["machine"] == machine()
    assert config["versions"] == versions()["versions"]


def test_another_seed_would_be_found_out(tmp_path: Path, alone: RunFolder) -> None:
    wrong = job_of(replace(spec_of(tmp_path), seed=1), tmp_path)
    assert work(wrong).digest != digest(alone.table)


def test_a_finished_run_stays_as_it_is(job: Job) -> None:
    first = work(job)
    before = everything(job.folder)
    assert work(job) == first
    assert everything(job.folder) == before


@pytest.mark.parametrize("keeps", [60, 0])
@pytest.mark.parametrize("where", ["config.json", "half", "end", "folder"])
def test_cut_off_anywhere_it_ends_with_the_same_bits(
    where: str, keeps: int, tmp_path: Path, alone: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(spec_of(tmp_path, save_every=keeps), tmp_path)
    with monkeypatch.context() as patched:
        interrupt(patched, where)
        with pytest.raises(KeyboardInterrupt):
            work(job)
    assert read_mark(job.folder) is None
    assert work(job).digest == digest(alone.table)


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


def test_a_run_of_other_settings_is_not_written_over(job: Job, tmp_path: Path) -> None:
    other = job_of(spec_of(tmp_path, settings={"gamma": 0.5}), tmp_path)
    for finished in (False, True):
        if finished:
            work(job)
        else:
            Training.prepare(RunSpec.from_config(job.spec), RunFolder(job.folder)).write({})
        before = everything(job.folder)
        outcome = work(other)
        assert outcome.state == "failed"
        assert outcome.reason == (
            f"{job.folder} holds another run, which is not written over: it has another "
            "settings; move it away"
        )
        assert everything(job.folder) == before


def test_what_differs_by_names_alone_is_the_same_run(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    schedule = spec.schedule
    renamed = replace(
        schedule,
        name="other",
        phases=tuple(replace(stretch, name="x") for stretch in schedule.phases),
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
        {"evaluation": replace(spec.evaluation, episodes=2)},
    ):
        assert not replace(spec, **changes).matches(spec.to_config()), changes  # type: ignore[arg-type]


def test_a_worker_with_other_versions_trains_nothing(job: Job) -> None:
    then = versions()
    then = {**then, "versions": {**then["versions"], "numpy": "1.0", "torch": "0.4"}}
    outcome = work(replace(job, about=then))
    assert outcome.state == "failed"
    assert "has other versions than the study was begun with: torch " in outcome.reason
    assert " instead of 0.4; numpy " in outcome.reason
    assert "install those, or begin a new study" in outcome.reason
    assert not job.folder.exists()


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_that_was_made_with_other_versions_is_not_taken(job: Job, finished: bool) -> None:
    job = replace(job, about=versions())
    work(job)
    path = job.folder / "config.json"
    config = json.loads(path.read_text())
    config["versions"]["torch"] = "1.0"
    config["packages"] = {"numpy": "1.0", "not-there": "2.0"}
    path.write_text(json.dumps(config))
    if not finished:
        (job.folder / "finished.json").unlink()
    outcome = work(job)
    assert outcome.state == "failed"
    assert re.search(
        r"holds a run that was made with other versions: torch \S+ instead of 1.0; numpy \S+ "
        r"instead of 1.0; not-there None instead of 2.0",
        outcome.reason,
    )


def test_a_damaged_run_is_named_and_not_trained_again(job: Job) -> None:
    work(job)
    mark = job.folder / "finished.json"
    mark.write_text("{")
    before = everything(job.folder)
    outcome = work(job)
    assert f"{mark} is damaged: remove it" in outcome.reason
    assert everything(job.folder) == before
    mark.unlink()
    assert work(job).state == "finished"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_fatal_and_what_there_was_can_be_resumed(
    number: int, job: Job, alone: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: RunFolder, step: int, write: Callable[[Path], object]) -> Path:
        raise OSError(number, os.strerror(number), str(folder.path))

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "save_checkpoint", full)
        outcome = work(job)
    assert (outcome.state, outcome.fatal, outcome.diverged) == ("failed", True, False)
    assert os.strerror(number) in outcome.reason
    assert str(job.folder) in outcome.reason
    assert work(job).digest == digest(alone.table)


def test_a_disk_too_full_to_begin_is_fatal(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    outcome = work(job)
    assert outcome.fatal
    assert "only 1 MiB are free" in outcome.reason


def test_a_run_that_diverges_is_said_to(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, settings={"learning_rate": 1e30})
    outcome = work(job_of(spec, tmp_path))
    assert (outcome.state, outcome.fatal, outcome.diverged) == ("failed", False, True)
    assert "learning has diverged" in outcome.reason


def test_what_is_wrong_with_a_task_is_its_outcome(job: Job) -> None:
    for spec in ({}, {**job.spec, "seed": "x"}, {**job.spec, "game": "Pong"}):
        outcome = work(replace(job, spec=spec))
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
