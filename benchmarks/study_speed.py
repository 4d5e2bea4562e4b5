"""How little a study costs beside its runs.

Run it as ``python benchmarks/study_speed.py``. ``status`` lists 10,000 finished runs, of a folder
that is made for it. A small study is run with one worker, and the time that passes is compared with
the seconds that its ledger says its runs took; compiling, and starting, are not counted. With
``--workers`` the shipped study ``quick`` is run with one worker and with two, three times, which
takes six minutes on cores that do nothing else.
"""

import os

from measuring import ONE_THREAD, Verdict, at_least, at_most, machine

os.environ.update(ONE_THREAD)

import io
import json
import statistics
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tyro
from rich.console import Console

from continual_arcade.agents.methods import METHODS
from continual_arcade.agents.settings import DQNSettings
from continual_arcade.scripts.options import Status
from continual_arcade.scripts.study_commands import status
from continual_arcade.studies.executors import LocalExecutor
from continual_arcade.studies.folder import StudyFolder
from continual_arcade.studies.grid import cells
from continual_arcade.studies.provenance import provenance
from continual_arcade.studies.run_spec import warm_up
from continual_arcade.studies.running import run_all
from continual_arcade.studies.study import SHIPPED, Entry, Study, load
from continual_arcade.studies.work import FINISHED, Outcome

RUNS = 10_000
WORKERS_ROUNDS = 3
LISTED_WITHIN = 5.0
"""The limit for ``status`` [s]."""
OVERHEAD = 1.03
"""The limit for the time that passes, over what the runs took."""
TWO_WORKERS = 1.8


@dataclass(frozen=True)
class Options:
    """What is measured."""

    rounds: int = 5
    """How often; medians are shown."""
    phase_steps: int = 15_000
    """Length of the phases of the runs beside which the overhead is measured."""
    workers: bool = False
    """Measure two workers against one on the shipped study quick, too."""


def finished(root: Path) -> StudyFolder:
    """Make a study of 10,000 runs that are all finished, without training any."""
    study = load(SHIPPED / "quick.toml")
    methods = tuple(
        Entry(replace(METHODS["finetune"], name=f"finetune-{number}"), DQNSettings())
        for number in range(10)
    )
    study = replace(
        study, name="many", entries=methods, references=(), seeds=tuple(range(RUNS // 20))
    )
    folder = StudyFolder(root / study.name)
    with folder.lock.hold():
        folder.begin(study, provenance())
    outcomes = [
        Outcome(cell.name, "finished", 60.0, "here", f"{place:064x}")
        for place, cell in enumerate(cells(study))
    ]
    assert len(outcomes) == RUNS
    for outcome in outcomes:
        run = folder.path / "runs" / outcome.run
        run.mkdir()
        (run / FINISHED).write_text(json.dumps(asdict(outcome)), "utf-8")
    folder.note(*outcomes)
    return folder


def listing_seconds(folder: StudyFolder) -> float:
    """Return what it takes to list all runs [s]."""
    said = io.StringIO()
    begun = time.perf_counter()
    with redirect_stdout(said):
        status(Status(str(folder.path), all=True), Console(file=io.StringIO()))
    seconds = time.perf_counter() - begun
    assert said.getvalue().count("finished  ") == RUNS
    return seconds


def passed(study: Study, jobs: int) -> tuple[float, float]:
    """Run a study; return the seconds that passed, and those that its runs took."""
    with tempfile.TemporaryDirectory(prefix="study-") as root:
        folder = StudyFolder(Path(root) / study.name)
        begun = time.perf_counter()
        with folder.lock.hold():
            folder.begin(study, provenance())
            run_all(folder, LocalExecutor(jobs), folder.cells)
        elapsed = time.perf_counter() - begun
        return elapsed, sum(done.seconds for done in folder.done().values())


def main(options: Options) -> None:
    """Measure, and judge."""
    print(machine(["numba", "torch", "joblib"]))
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="study-") as root:
        folder = finished(Path(root))
        seconds = [listing_seconds(folder) for _ in range(options.rounds)]
    shown = ", ".join(f"{value:.2f}" for value in seconds)
    print(f"status of {RUNS:,} finished runs: {shown} s")
    promise = f"status of {RUNS:,} finished runs"
    verdicts.append(at_most(promise, statistics.median(seconds), LISTED_WITHIN, "s"))

    quick = load(SHIPPED / "quick.toml")
    for scenario in {scenario.game: scenario for scenario in quick.scenarios}.values():
        warm_up(quick.spec(scenario, quick.entries[0], 0))
    schedule = quick.scenarios[0].schedule.with_steps(options.phase_steps)
    few = replace(
        quick,
        scenarios=(replace(quick.scenarios[0], schedule=schedule),),
        references=(),
        seeds=quick.seeds[:2],
    )
    ratios = []
    for _ in range(options.rounds):
        elapsed, trained = passed(few, jobs=1)
        ratios.append(elapsed / trained)
        print(f"{len(list(cells(few)))} runs: {elapsed:.1f} s passed, {trained:.1f} s of compute")
    promise = "time that passes with one worker, over what the runs took"
    verdicts.append(at_most(promise, statistics.median(ratios), OVERHEAD))

    if options.workers:
        gains = []
        for _ in range(WORKERS_ROUNDS):
            one, two = (passed(quick, jobs)[0] for jobs in (1, 2))
            gains.append(one / two)
            print(f"quick: {one:.0f} s with one worker, {two:.0f} s with two")
        promise = "quick with two workers, over one"
        verdicts.append(at_least(promise, statistics.median(gains), TWO_WORKERS))
    print(*verdicts, sep="\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
