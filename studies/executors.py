"""Who lives the runs: processes of this machine, or workers elsewhere."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from joblib import Parallel, delayed, parallel_config

from continual_arcade.evaluation.processes import WorkerDeathError, unordered
from continual_arcade.studies.work import Job, Outcome, work

ATTEMPTS = 3
"""How often a run is gone on with that was cut off because its worker died."""


class WorkerDiedError(RuntimeError):
    """Workers died, and took what they were at with them; it can be gone on with."""


class Executor(Protocol):
    """Lives runs, several at a time."""

    def outcomes(self, tasks: Iterable[Job]) -> Iterator[Outcome]:
        """Live runs, and say what came of each as soon as it is known, in no particular order.

        Tasks are taken one by one, when there is someone to live them, so that there may be fewer
        in the end.

        Raises:
            WorkerDiedError: If workers died that cannot be replaced from within.
        """
        ...


@dataclass(frozen=True)
class LocalExecutor:
    """Processes of this machine; a single run at a time is done by this one.

    Args:
        jobs: Runs at a time.
    """

    jobs: int

    def outcomes(self, tasks: Iterable[Job]) -> Iterator[Outcome]:
        """See :meth:`Executor.outcomes`."""
        if self.jobs == 1:
            yield from map(work, tasks)
            return
        try:
            yield from unordered(work, tasks, self.jobs)
        except WorkerDeathError as error:
            raise _death(task.name for task in error.items) from error


@dataclass(frozen=True)
class JoblibExecutor:
    """Workers of a backend of joblib, such as ``dask`` once it is registered.

    Args:
        jobs: Runs at a time.
        backend: Its name.
    """

    jobs: int
    backend: str
    _at: set[str] = field(default_factory=set, repr=False, compare=False)

    def outcomes(self, tasks: Iterable[Job]) -> Iterator[Outcome]:
        """See :meth:`Executor.outcomes`."""
        self._at.clear()

        def calls() -> Iterator[Any]:
            for task in tasks:
                self._at.add(task.name)
                yield delayed(work)(task)

        # Handed out one by one: runs are long, and it is to be known what a dead worker was at.
        one_by_one: dict[str, Any] = {"pre_dispatch": self.jobs, "batch_size": 1}
        with parallel_config(backend=self.backend, n_jobs=self.jobs):
            found: Any = Parallel(return_as="generator_unordered", **one_by_one)(calls())
            try:
                for outcome in found:
                    self._at.discard(outcome.run)
                    yield outcome
            except BrokenExecutor as error:
                raise _death(self._at) from error
            finally:
                found.close()


def _death(names: Iterable[str]) -> WorkerDiedError:
    return WorkerDiedError(f"a worker died at one of: {', '.join(sorted(names))}")


def live_all(
    engine: Executor, names: Iterable[str], task_of: Callable[[str], Job]
) -> Iterator[Outcome]:
    """Live runs, and go on with those whose worker died; no more are begun once it is fatal.

    Args:
        engine: Who lives them.
        names: Of the runs.
        task_of: Says what is to be done for a run; called when there is someone to do it.

    Returns:
        What came of each, in no particular order; not of those that were left as fatal.

    Raises:
        RuntimeError: If workers die again and again over the same runs.
    """
    waiting = dict.fromkeys(names)
    attempts: Counter[str] = Counter()
    fatal = False

    def tasks() -> Iterator[Job]:
        for name in list(waiting):
            if fatal:
                return
            attempts[name] += 1
            yield task_of(name)

    while waiting and not fatal:
        try:
            for outcome in engine.outcomes(tasks()):
                del waiting[outcome.run]
                fatal = fatal or outcome.fatal
                yield outcome
        except WorkerDiedError as death:
            tired = [name for name in waiting if attempts[name] >= ATTEMPTS]
            if tired:
                raise RuntimeError(
                    f"workers died {ATTEMPTS} times over {', '.join(tired)}: perhaps memory runs "
                    "out; try again with fewer --jobs. What was finished is kept, and the rest can "
                    "be gone on with"
                ) from death
