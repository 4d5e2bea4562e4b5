"""Runs that differ only by their seed: found by what they are, begun once, never repeated."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_studies import InTurn, everything, small

from continual_arcade.evaluation import run_folder
from continual_arcade.evaluation.locks import Lock
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.runs import Run
from continual_arcade.studies import executors, seed_runs
from continual_arcade.studies.executors import LocalExecutor, local_executor
from continual_arcade.studies.grid import cells
from continual_arcade.studies.provenance import provenance
from continual_arcade.studies.run_spec import RunSpec, Training
from continual_arcade.studies.seed_runs import SeedRuns, is_finished

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return next(cells(small(tmp_path / "file"))).make()


def runs_of(root: Path, spec: RunSpec) -> SeedRuns:
    return SeedRuns(root / "runs", spec, lambda seed: {"command": f"a test {seed}", **provenance()})


def trained(runs: SeedRuns, *seeds: int) -> dict[int, Any]:
    return dict(runs.train(InTurn(), seeds))


def alone(root: Path, spec: RunSpec, utc: str) -> Path:
    """A run as ``train --seed`` writes it, begun at some time."""
    new = RunFolder.new(root / "runs", spec.game, spec.schedule.name, spec.method.name, spec.seed)
    folder = RunFolder(new.path.with_name(f"{new.name.rpartition('__')[0]}__{utc}"))
    training = Training.prepare(spec, folder)
    training.write(provenance())
    training.train()
    return folder.path


def test_a_run_is_found_by_what_it_is(tmp_path: Path, spec: RunSpec) -> None:
    runs = runs_of(tmp_path, spec)
    assert runs.find(0) is None
    assert trained(runs, 0)[0].state == "finished"
    (path,) = runs.root.glob("*__*")
    assert is_finished(path)
    assert runs.find(0) == path
    assert runs.find(1) is None
    for changes in (
        {"settings": replace(spec.settings, gamma=0.5)},
        {"evaluation": replace(spec.evaluation, episodes=2)},
        {"schedule": replace(spec.schedule.with_steps(81), name=spec.schedule.name)},
    ):
        assert runs_of(tmp_path, replace(spec, **changes)).find(0) is None, changes  # type: ignore[arg-type]
    assert runs_of(tmp_path, replace(spec, save_every=7)).find(0) == path


def edit(path: Path, **changes: Any) -> None:
    config = path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))


def test_what_is_no_such_run_is_not_touched(tmp_path: Path, spec: RunSpec) -> None:
    """Runs of other versions, damaged ones, and those whose configuration was not yet written."""
    runs = runs_of(tmp_path, spec)
    others = [alone(tmp_path, spec, f"20260101T00000{i}Z") for i in range(3)]
    edit(others[0], versions={**provenance()["versions"], "torch": "1.0"})
    (others[1] / "config.json").write_text("{")
    (others[2] / "config.json").unlink()
    before = {path: everything(path) for path in others}
    assert runs.find(0) is None
    assert trained(runs, 0)[0].state == "finished"
    found = runs.find(0)
    assert found is not None
    assert found not in others
    assert {path: everything(path) for path in others} == before


def test_of_several_runs_a_finished_one_is_found_and_then_the_newest(
    tmp_path: Path, spec: RunSpec
) -> None:
    first, second, third = (alone(tmp_path, spec, f"20260101T00000{i}Z") for i in range(3))
    runs = runs_of(tmp_path, spec)
    assert runs.find(0) == third
    (second / "finished.json").write_text("{}")
    assert runs.find(0) == second
    assert not is_finished(first)


@pytest.mark.parametrize("keeps", [60, 0])
def test_a_run_that_was_trained_alone_is_not_trained_again(
    keeps: int, tmp_path: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = alone(tmp_path, replace(spec, save_every=keeps), "20260101T000000Z")
    before = everything(path)
    monkeypatch.setattr(Training, "train", None)  # nobody may call it
    outcome = trained(runs_of(tmp_path, replace(spec, save_every=keeps)), 0)[0]
    assert outcome.state == "finished", outcome.reason
    added = {"finished.json", "matrix.png", "curves.png"}
    now = everything(path)
    assert {p: data for p, data in now.items() if p.name not in added} == before
    assert added <= {p.name for p in now}


def test_a_run_that_keeps_no_state_and_was_cut_off_is_trained_from_scratch(
    tmp_path: Path, spec: RunSpec
) -> None:
    spec = replace(spec, save_every=0)
    path = alone(tmp_path, spec, "20260101T000000Z")
    whole = (path / "evaluations.csv").read_bytes()
    for kept in (len(whole) - 5, whole.rindex(b"\n", 0, -1) + 1, 30):
        (path / "evaluations.csv").write_bytes(whole[:kept])
        assert Training.resume(RunFolder(path)).agent.num_timesteps == 0
    assert trained(runs_of(tmp_path, spec), 0)[0].state == "finished"
    assert (path / "evaluations.csv").read_bytes() == whole


def two_at_once(runs: SeedRuns) -> None:
    with ThreadPoolExecutor(2) as threads:
        ends = list(threads.map(lambda _: trained(runs, 0, 1), range(2)))
    assert ends[0] == ends[1]
    assert {outcome.state for outcome in ends[0].values()} == {"finished"}
    assert len([*runs.root.glob("*__*")]) == 2


def test_two_commands_at_the_same_time_train_each_run_once(
    tmp_path: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(100))
    new = RunFolder.new

    def at_other_times(*what: Any) -> RunFolder:
        """Folders of the same run do not hinder each other."""
        folder = new(*what)
        return RunFolder(folder.path.with_name(f"{folder.name}-{next(count)}"))

    monkeypatch.setattr(RunFolder, "new", at_other_times)
    find = SeedRuns.find

    def find_slowly(runs: SeedRuns, seed: int) -> Path | None:
        found = find(runs, seed)
        time.sleep(0.2)  # in which the other one looks, too
        return found

    monkeypatch.setattr(SeedRuns, "find", find_slowly)
    two_at_once(runs_of(tmp_path, spec))
    planted, hold = runs_of(tmp_path / "planted", spec), Lock.hold

    def hold_that_of_runs_alone(lock: Lock, **options: Any) -> AbstractContextManager[None]:
        return nullcontext() if lock.guarded == planted.root else hold(lock, **options)

    monkeypatch.setattr(Lock, "hold", hold_that_of_runs_alone)
    with pytest.raises(AssertionError):
        two_at_once(planted)


def test_a_disk_without_room_is_said_of_the_run_and_no_more_are_begun(
    tmp_path: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = runs_of(tmp_path, spec)
    assert trained(runs, 0)[0].state == "finished"
    monkeypatch.setattr(run_folder, "_ROOM", 2**60)
    outcomes = trained(runs, 0, 1, 2)
    assert [(seed, found.state) for seed, found in outcomes.items()] == [
        (0, "finished"),
        (1, "failed"),
    ]
    assert outcomes[1].fatal
    assert "MiB are free under" in outcomes[1].reason
    assert len([*runs.root.glob("*__*")]) == 1


def test_a_run_is_finished_once_it_is_drawn(
    tmp_path: Path, spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = runs_of(tmp_path, spec)

    def die(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(seed_runs, "draw", die)
        with pytest.raises(KeyboardInterrupt):
            trained(runs, 0)
    path = runs.find(0)
    assert path is not None
    assert not Run.load(path).unfinished
    assert not is_finished(path)
    assert trained(runs, 0)[0].state == "finished"
    assert runs.find(0) == path
    assert (path / "matrix.png").exists()


def test_many_runs_for_little_memory_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert local_executor(2) == LocalExecutor(2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(executors, "RUN_MEMORY", 2**60)
    local_executor(2)
    message = capsys.readouterr().err
    assert message.startswith("warning: 2 runs at a time want 2147483648.0 GiB of memory")
    assert message.endswith("--jobs 1 is safer\n")
