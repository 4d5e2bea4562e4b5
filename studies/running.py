"""Running a study: what is still to be done, handed out, and written down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from continual_arcade.studies.executors import Executor, train_all
from continual_arcade.studies.folder import State, StudyFolder
from continual_arcade.studies.grid import Cell
from continual_arcade.studies.provenance import provenance
from continual_arcade.studies.run_spec import warm_up
from continual_arcade.studies.work import Job, Outcome


@dataclass(frozen=True)
class Summary:
    """How running a study ended."""

    finished: int
    """Runs that were finished now."""
    seconds: float
    """What they have cost, on all workers together [s]."""
    failures: tuple[Outcome, ...]
    left: int
    """Runs that were left, since they would have fared as badly as one that failed."""
    changed: tuple[str, ...]
    """Runs that were re-run with a different result."""


def to_do(folder: StudyFolder, *, remake: bool = False) -> list[Cell]:
    """Return the runs that are not finished, in their order.

    Args:
        folder: The study.
        remake: Re-run what was finished, and whose folder is missing.

    Raises:
        ValueError: If runs that were finished are missing, and are not to be re-run.
    """
    states = folder.states()
    missing = [name for name, state in states.items() if state == "missing"]
    if missing and not remake:
        raise ValueError(
            f"{len(missing)} runs that were finished are missing: {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}. Put them back, or re-run them with "
            "--remake"
        )
    wanted: set[State] = {"waiting", "begun", "failed", "missing"}
    return [cell for cell in folder.cells if states[cell.name] in wanted]


def run_all(
    folder: StudyFolder,
    executor: Executor,
    left: Sequence[Cell],
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> Summary:
    """Train runs of a study, and hold its lock meanwhile.

    A run that fails does not keep the others from being trained. One whose worker died is
    resumed.

    Args:
        folder: The study.
        executor: What runs the jobs.
        left: The runs.
        report: Called with each outcome, once it is written down.

    Raises:
        LockedError: If another process runs the study; the message says which.
        RuntimeError: If workers die again and again over the same runs.
        OSError: If nothing can be written any more.
    """
    with folder.lock.hold():
        return _run_all(folder, executor, left, report)


def _run_all(
    folder: StudyFolder, executor: Executor, left: Sequence[Cell], report: Callable[[Outcome], None]
) -> Summary:
    about = {
        "study": folder.study.name,
        **folder.about[-1],
        "git_commit": provenance()["git_commit"],
    }
    for cell in {cell.make().game: cell for cell in left}.values():
        warm_up(cell.make())
    cells = {cell.name: cell for cell in left}
    before = {name: done.digest for name, done in folder.done().items() if done.digest}
    outcomes: list[Outcome] = []

    def job_of(name: str) -> Job:
        cell = cells[name]
        return Job(name, folder.place(cell), cell.make().to_config(), about)

    for outcome in train_all(executor, cells, job_of):
        folder.note(outcome)
        outcomes.append(outcome)
        report(outcome)
    failures = tuple(outcome for outcome in outcomes if outcome.state == "failed")
    return Summary(
        finished=len(outcomes) - len(failures),
        seconds=sum(outcome.seconds for outcome in outcomes),
        failures=failures,
        left=len(left) - len(outcomes),
        changed=tuple(
            outcome.run
            for outcome in outcomes
            if outcome.state == "finished"
            and before.get(outcome.run, outcome.digest) != outcome.digest
        ),
    )
