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
    """What came of running a study."""

    finished: int
    """Runs that were finished now."""
    seconds: float
    """What they have cost, on all workers together [s]."""
    failures: tuple[Outcome, ...]
    left: int
    """Runs that were left, since they would have fared as badly as one that failed."""
    changed: tuple[str, ...]
    """Runs that were lived again, and came out in another way than before."""


def to_do(folder: StudyFolder, *, remake: bool = False) -> list[Cell]:
    """Return the runs that are not finished, in their order.

    Args:
        folder: The study.
        remake: Live runs again whose folder is gone.

    Raises:
        ValueError: If runs that were finished are gone, and are not to be made again.
    """
    states = folder.states()
    gone = [name for name, state in states.items() if state == "gone"]
    if gone and not remake:
        raise ValueError(
            f"{len(gone)} runs that were finished are gone: {', '.join(gone[:3])}"
            f"{', ...' if len(gone) > 3 else ''}. Put them back, or let them be lived again with "
            "--remake"
        )
    wanted: set[State] = {"waiting", "begun", "failed", "gone"}
    return [cell for cell in folder.cells if states[cell.name] in wanted]


def run_all(
    folder: StudyFolder,
    engine: Executor,
    left: Sequence[Cell],
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> Summary:
    """Live runs of a study, and hold its lock meanwhile.

    A run that fails does not keep the others from being lived. One whose worker died is gone on
    with.

    Args:
        folder: The study.
        engine: Who lives the runs.
        left: The runs.
        report: Called with each outcome, once it is written down.

    Raises:
        LockedError: If another process runs the study; the message says which.
        RuntimeError: If workers die again and again over the same runs.
        OSError: If nothing can be written any more.
    """
    with folder.lock.hold():
        return _conduct(folder, engine, left, report)


def _conduct(
    folder: StudyFolder, engine: Executor, left: Sequence[Cell], report: Callable[[Outcome], None]
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

    def task_of(name: str) -> Job:
        cell = cells[name]
        return Job(name, folder.place(cell), cell.make().to_config(), about)

    for outcome in train_all(engine, cells, task_of):
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
