"""Who runs jobs: processes of this machine, or workers elsewhere."""

import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import joblib
from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from continual_arcade.agents.machine_memory import available_memory
from continual_arcade.evaluation.processes import WorkerDeathError, unordered
from continual_arcade.studies.work import Job, Outcome, work

ATTEMPTS = 3
"""How often a run is handed out whose worker dies."""
RUN_MEMORY = 410 * 1024 * 1024
"""What a run at the default settings takes for itself [bytes], beside the 180 MiB of libraries
that all processes share."""


class WorkerDiedError(RuntimeError):
    """Workers died, and with them the runs that they were training; those can be resumed."""


class Executor(Protocol):
    """Runs jobs, several at a time."""

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Run jobs, and return the outcome of each as soon as it is known, in no particular order.

        Jobs are taken one by one, when there is a worker for them, so that there may be fewer in
        the end.

        Raises:
            WorkerDiedError: If workers died that cannot be replaced from within.
        """
        ...


@dataclass(frozen=True)
class LocalExecutor:
    """Processes of this machine; a single run at a time is trained by this one.

    Args:
        jobs: Runs at a time.
    """

    jobs: int

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """See :meth:`Executor.outcomes`."""
        if self.jobs == 1:
            yield from map(work, jobs)
            return
        try:
            yield from unordered(work, jobs, self.jobs)
        except WorkerDeathError as error:
            raise _death(job.name for job in error.items) from error


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

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """See :meth:`Executor.outcomes`."""
        self._at.clear()

        def calls() -> Iterator[Any]:
            for job in jobs:
                self._at.add(job.name)
                yield delayed(work)(job)

        # Handed out one by one: runs are long, and the runs of a dead worker are to be known.
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


def jobs_at_a_time(jobs: int | None) -> int:
    """Return how many runs are trained at a time.

    Args:
        jobs: As many as that; if None, as there are cores that this process may use, of the machine
            or of its container.

    Raises:
        ValueError: If it is less than one.
    """
    jobs = int(joblib.cpu_count()) if jobs is None else jobs
    if jobs < 1:
        raise ValueError(f"jobs = {jobs} must be at least 1")
    return jobs


def local_executor(jobs: int) -> LocalExecutor:
    """Return processes of this machine; a warning says so if there is too little memory for them.

    Args:
        jobs: Runs at a time.
    """
    available = available_memory()
    if available is not None and jobs * RUN_MEMORY > available:
        fewer = max(1, available // RUN_MEMORY)
        _say(
            f"warning: {jobs} runs at a time want {jobs * RUN_MEMORY / 2**30:.1f} GiB of memory, "
            f"and {available / 2**30:.1f} GiB are available: --jobs {fewer} is safer"
        )
    return LocalExecutor(jobs)


def train_all(
    executor: Executor, names: Iterable[str], job_of: Callable[[str], Job]
) -> Generator[Outcome, None, None]:
    """Train runs, and resume those whose worker died; no more are begun once one is fatal.

    Args:
        executor: Who runs the jobs.
        names: Of the runs.
        job_of: Returns the job of a run; called when there is a worker for it.

    Returns:
        The outcome of each, in no particular order; not of those that were left after a fatal one.

    Raises:
        RuntimeError: If workers die again and again over the same runs.
    """
    waiting = dict.fromkeys(names)
    attempts: Counter[str] = Counter()
    fatal = False

    def jobs() -> Iterator[Job]:
        for name in list(waiting):
            if fatal:
                return
            attempts[name] += 1
            yield job_of(name)

    while waiting and not fatal:
        try:
            for outcome in executor.outcomes(jobs()):
                del waiting[outcome.run]
                fatal = fatal or outcome.fatal
                yield outcome
        except WorkerDiedError as death:
            exhausted = [name for name in waiting if attempts[name] >= ATTEMPTS]
            if exhausted:
                raise RuntimeError(
                    f"workers died {ATTEMPTS} times over {', '.join(exhausted)}: perhaps memory "
                    "runs out; try again with fewer --jobs. What was finished is kept, and the "
                    "rest can be resumed"
                ) from death
            _say(f"{death}; they are resumed. If memory runs out, fewer --jobs help")


def _say(line: str) -> None:
    """Print a line to standard error, above a progress bar if there is one."""
    tqdm.write(line, file=sys.stderr)
