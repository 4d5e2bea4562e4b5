"""Running a study through whatever happens: the end is the same bytes as if nothing had."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from processes import children, is_there, started, wait_for
from small_studies import Dies, InTurn, everything, made, refused, run, small, tables, write

from continual_arcade.evaluation import run_folder
from continual_arcade.evaluation.processes import WorkerDeathError
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.studies import executors
from continual_arcade.studies.executors import ATTEMPTS, Executor, LocalExecutor, WorkerDiedError
from continual_arcade.studies.folder import StudyFolder
from continual_arcade.studies.provenance import provenance
from continual_arcade.studies.run_spec import RunSpec, Training
from continual_arcade.studies.running import run_all, to_do
from continual_arcade.studies.work import Job, Outcome, work

LONGER: dict[str, Any] = {
    "phase_steps": 800,
    "save_every": 100,
    "probes": True,
    "methods": {"finetune": {}, "mer": {}},
}
"""So long that there is a middle of it."""


def begun(root: Path, **changes: Any) -> StudyFolder:
    study = small(root, **changes)
    folder = StudyFolder(root / study.name)
    with folder.lock.hold():
        folder.begin(study, made())
    return folder


def trained(folder: StudyFolder, executor: Executor) -> Any:
    with folder.lock.hold():
        folder.take_up()
        return run_all(folder, executor, to_do(folder))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The longer study, of which nothing was ever killed."""
    root = tmp_path_factory.mktemp("unbroken")
    folder = begun(root, **LONGER)
    summary = trained(folder, InTurn())
    assert (summary.finished, summary.failures) == (4, ())
    return tables(folder.path)


def is_in_the_middle(folder: Path) -> bool:
    """Whether some run has kept a state, and is not finished."""
    return any(
        not (state.parents[1] / "finished.json").exists()
        for state in folder.glob("runs/*/checkpoints/training.zip")
    )


def workers(pid: int) -> list[int]:
    """The processes that a process of joblib lets work."""
    return [child for child, command in children(pid).items() if "popen_loky" in command]


# Processes that are killed.


@pytest.mark.slow  # as a single run is in test_resume.py
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_study_whose_process_is_killed_is_resumed_to_the_same_bytes(
    jobs: int, tmp_path: Path, unbroken: dict[str, bytes]
) -> None:
    file = write(tmp_path / "file.toml", **LONGER)
    command = (*(sys.executable, "-m", "continual_arcade.scripts.study", "run"), str(file))
    left_behind: list[int] = []
    try:
        with started(
            [*command, "--out", str(tmp_path), f"--jobs={jobs}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            wait_for(lambda: is_in_the_middle(tmp_path / "small"), process)
            left_behind = workers(process.pid)
            process.send_signal(signal.SIGKILL)
            process.wait()
        # Workers that outlive it do not disturb: whoever resumes waits for their runs.
        said = run("resume", tmp_path / "small", "--jobs=1")
        # And they do not for long.
        wait_for(lambda: not any(is_there(worker) for worker in left_behind))
    finally:
        for worker in left_behind:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
    assert len(left_behind) == (2 if jobs == 2 else 0)
    assert "all 4 runs are finished" in said
    assert tables(tmp_path / "small") == unbroken
    assert set(StudyFolder.open(tmp_path / "small").done()) == set(unbroken)
    before = everything(tmp_path / "small")
    assert "4 of 4 runs are finished" in run("resume", tmp_path / "small", "--jobs=1")
    assert everything(tmp_path / "small") == before


@pytest.mark.slow  # in short: test_cli.py for signals, test_processes.py for processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_study_that_is_asked_to_end_lets_go_of_its_workers(
    number: signal.Signals, tmp_path: Path, unbroken: dict[str, bytes]
) -> None:
    file = write(tmp_path / "file.toml", **LONGER)
    command = [
        *(sys.executable, "-m", "continual_arcade.scripts.study", "run", str(file)),
        *("--out", str(tmp_path), "--jobs=2"),
    ]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        wait_for(lambda: is_in_the_middle(tmp_path / "small"), process)
        of_it = workers(process.pid)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "interrupted; what was written so far is intact" in said
    assert len(of_it) == 2
    wait_for(lambda: not any(is_there(worker) for worker in of_it))
    assert "all 4 runs are finished" in run("resume", tmp_path / "small", "--jobs=1")
    assert tables(tmp_path / "small") == unbroken


@pytest.mark.slow  # in short: the three below, and test_processes.py
def test_a_study_whose_worker_is_killed_ends_by_itself_with_the_same_bytes(
    tmp_path: Path, unbroken: dict[str, bytes]
) -> None:
    folder = begun(tmp_path, **LONGER)
    killed: list[int] = []

    def kill() -> None:
        wait_for(lambda: is_in_the_middle(folder.path))
        killed.append(workers(os.getpid())[0])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = trained(folder, LocalExecutor(2))
    killer.join()
    assert killed
    assert (summary.finished, summary.failures) == (4, ())
    assert tables(folder.path) == unbroken


def test_the_death_of_a_local_worker_names_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """That processes die, and that this is noticed, is tested in test_processes.py."""

    def die(_: Any, jobs: Iterable[Job], count: int) -> Iterator[Outcome]:
        assert count == 2
        raise WorkerDeathError(list(jobs))
        yield

    monkeypatch.setattr(executors, "unordered", die)
    jobs = [Job(name, Path(name), {}, {}) for name in ("one", "two")]
    with pytest.raises(WorkerDiedError, match="a worker died at one of: one, two"):
        next(iter(LocalExecutor(2).outcomes(jobs)))


def test_a_worker_that_dies_now_and_then_is_replaced(tmp_path: Path) -> None:
    folder = begun(tmp_path, seeds="0..2")
    executor = Dies("__1", ATTEMPTS - 1)
    assert trained(folder, executor).finished == 3
    assert executor.deaths == ATTEMPTS - 1


def test_workers_that_die_again_and_again_are_given_up_and_what_was_finished_stays(
    tmp_path: Path,
) -> None:
    folder = begun(tmp_path, seeds="0..2")
    message = r"workers died 3 times over FlappyBird-conflict__finetune__1: perhaps memory runs out"
    with pytest.raises(RuntimeError, match=message):
        trained(folder, Dies("__1", 99))
    assert list(folder.states().values()) == ["finished", "waiting", "waiting"]
    assert trained(folder, InTurn()).finished == 2


class Bomb:
    """Ends the process that unpacks it."""

    def __reduce__(self) -> Any:
        return exec, ("import os; os.kill(os.getpid(), 9)",)


@dataclass
class Armed:
    """Hands one run to real workers that it ends."""

    executor: Executor
    run: str

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        return self.executor.outcomes(
            replace(job, about={**job.about, "bomb": Bomb()}) if self.run in job.name else job
            for job in jobs
        )


@pytest.mark.slow
def test_real_workers_that_die_again_and_again_are_given_up(tmp_path: Path) -> None:
    folder = begun(tmp_path, seeds="0..2")
    with pytest.raises(RuntimeError, match=r"workers died 3 times over .*__1"):
        trained(folder, Armed(LocalExecutor(2), "__1"))
    assert folder.states()["FlappyBird-conflict__finetune__1"] == "waiting"
    summary = trained(folder, InTurn())
    assert not summary.failures
    assert set(folder.states().values()) == {"finished"}


# Several studies.


def test_studies_that_share_references_train_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [
        begun(tmp_path, name=name, references=["experts", "joint"], **changes)
        for name, changes in (("one", {}), ("other", {"save_every": 0, "methods": {"ewc": {}}}))
    ]
    begun_runs: list[Path] = []
    writes = Training.write

    def write_down(training: Training, about: Any) -> None:
        begun_runs.append(training.folder.path)
        writes(training, about)

    monkeypatch.setattr(Training, "write", write_down)
    with ThreadPoolExecutor(2) as threads:
        summaries = list(threads.map(trained, folders, (InTurn(), InTurn())))
    for folder, summary in zip(folders, summaries, strict=True):
        assert not summary.failures
        assert set(folder.states().values()) == {"finished"}
    shared = [{cell.name for cell in folder.cells if cell.is_shared} for folder in folders]
    assert len(shared[0]) == 2 * 4
    assert len(begun_runs) == len(set(begun_runs))
    assert shared[0] <= set(folders[0].done())
    # Those of the other study know of them, too, and miss them if they are lost.
    assert len(shared[0] & shared[1]) == 2 * 4
    lost = folders[1].place(next(cell for cell in folders[1].cells if cell.is_shared))
    shutil.rmtree(lost)
    assert [folder.states()[lost.name] for folder in folders] == ["missing", "missing"]


def test_without_its_lock_a_reference_would_be_trained_twice(tmp_path: Path) -> None:
    """What the lock of a run is for: who comes second waits, and finds it finished."""
    folder = begun(tmp_path, references=["joint"], seeds="0")
    cell = next(cell for cell in folder.cells if cell.is_shared)
    job = Job(cell.name, folder.place(cell), cell.make().to_config(), provenance())
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(work, (job, job))
    assert one == other
    assert one.state == "finished"


# A disk that is full, and runs that are lost.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_keeps_what_was_finished(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "_ROOM", 0)
    file = write(tmp_path / "file.toml", seeds="0..9")
    run("run", file, "--out", tmp_path, "--jobs=1")
    expected = tables(tmp_path / "small")
    message = refused("run", file, "--out", small_disk, "--jobs=1")
    assert "No space left on device" in message
    assert str(small_disk) in message
    kept = {path.parent.name for path in small_disk.glob("small/runs/*/finished.json")}
    assert 1 <= len(kept) <= 9
    # With room the rest is trained, and nothing that was finished is trained again.
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    marks = {name: (small_disk / "small/runs" / name / "finished.json").stat() for name in kept}
    said = run("resume", small_disk / "small", "--jobs=1")
    assert f"{len(kept)} of 10 runs are finished" in said
    assert tables(small_disk / "small") == expected
    for name, mark in marks.items():
        assert (small_disk / "small/runs" / name / "finished.json").stat().st_ino == mark.st_ino


def test_no_further_run_is_begun_on_a_full_disk(tmp_path: Path, monkeypatch: Any) -> None:
    folder = begun(tmp_path, seeds="0..4")
    monkeypatch.setattr(run_folder, "_ROOM", 2**60)
    executor = InTurn()
    summary = trained(folder, executor)
    assert len(executor.handed_out) == 1
    assert (len(summary.failures), summary.left, summary.finished) == (1, 4, 0)
    message = refused("resume", folder.path, "--jobs=1")
    assert "4 more were left, since they would fail as well" in message


def test_runs_that_are_missing_are_re_run_only_if_asked(tmp_path: Path) -> None:
    folder = begun(tmp_path, seeds="0..2", references=["joint"])
    trained(folder, InTurn())
    before = tables(folder.path)
    lost = [folder.place(cell) for cell in folder.cells if cell.seed == 1]
    for path in lost:
        shutil.rmtree(path)
    assert "missing: FlappyBird-conflict__finetune__1" in run("status", folder.path, status=1)
    message = refused("resume", folder.path, "--jobs=1")
    assert "2 runs that were finished are missing: " in message
    assert all(path.name in message for path in lost)
    assert not any(path.exists() for path in lost)
    said = run("resume", folder.path, "--jobs=1", "--remake")
    assert "4 of 6 runs are finished" in said
    assert "warning" not in said
    assert tables(folder.path) == before


def test_a_different_result_of_a_re_run_is_reported(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    trained(folder, InTurn())
    text = folder.ledger.read_text()
    digest = folder.done()["FlappyBird-conflict__finetune__1"].digest
    folder.ledger.write_text(text.replace(digest, "0" * 64))
    shutil.rmtree(folder.path / "runs" / "FlappyBird-conflict__finetune__1")
    said = run("resume", folder.path, "--jobs=1", "--remake", status=1)
    assert "FlappyBird-conflict__finetune__1 was re-run with a different result" in said


def test_a_run_that_fails_keeps_no_other_from_being_trained(tmp_path: Path) -> None:
    diverges = {"preset": "finetune", "settings": {"learning_rate": 1e30}}
    folder = begun(tmp_path, methods={"finetune": {}, "far": diverges})
    message = refused("resume", folder.path, "--jobs=1")
    again = f"python -m continual_arcade.scripts.study resume {folder.path}"
    assert f"2 runs failed; to try them again: {again}\n" in message
    assert "FlappyBird-conflict__far__1: at step" in message
    states = folder.states()
    assert list(states.values()) == ["finished", "failed"] * 2
    said = run("status", folder.path, status=1)
    assert "failed: FlappyBird-conflict__far__0: at step" in said


def test_all_runs_are_balanced_over_what_is_compared(tmp_path: Path) -> None:
    folder = begun(tmp_path, methods={"finetune": {}, "ewc": {}}, seeds="0..2")
    assert [cell.seed for cell in folder.cells] == [0, 0, 1, 1, 2, 2]
    executor = InTurn()
    trained(folder, executor)
    assert executor.handed_out == [cell.name for cell in folder.cells]


def test_probes_may_be_left_out_and_nothing_else_changes(tmp_path: Path) -> None:
    with_probes, without = (
        begun(tmp_path / str(probes), probes=probes) for probes in (True, False)
    )
    for folder in (with_probes, without):
        trained(folder, InTurn())
    assert tables(with_probes.path) == tables(without.path)
    for folder, has in ((with_probes, True), (without, False)):
        places = [folder.place(cell) for cell in folder.cells]
        assert {(place / "diagnostics.csv").exists() for place in places} == {has}
        # What is resumed or run again is run as it was begun.
        configs = [RunSpec.from_config(RunFolder(place).read_config()) for place in places]
        assert {config.probes for config in configs} == {has}


@pytest.mark.usefixtures("undrawn")
def test_what_is_published_of_methods_that_are_not_in_all_scenarios(tmp_path: Path) -> None:
    only = {"scenarios": ["FlappyBird-conflict"]}
    folder = begun(
        tmp_path,
        games=["FlappyBird", "Catcher"],
        methods={"finetune": only, "l2": {}, "ewc": only},
    )
    run("resume", folder.path, "--jobs=1")
    run("publish", folder.path, "--to", tmp_path / "out", "--against", "finetune")
    page = (tmp_path / "out" / "small.md").read_text("utf-8")
    bird, catcher = page.split("\n## ")[1:]
    assert bird.startswith("FlappyBird")
    # What each came to and what it took, and its difference from the first of them.
    assert [bird.count(f"| `{method}` |") for method in ("finetune", "l2", "ewc")] == [2, 3, 3]
    assert [catcher.count(f"| `{method}` |") for method in ("finetune", "l2", "ewc")] == [0, 2, 0]
    assert "less `finetune`" not in catcher
