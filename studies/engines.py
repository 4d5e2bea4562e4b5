"""Who lives the runs: processes of this machine, or workers elsewhere."""

from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, Protocol

from joblib import Parallel, delayed, parallel_config

from continual_arcade.studies.work import Outcome, Task, work

LOCAL = "loky"
"""What joblib calls processes of this machine."""


class WorkerDiedError(RuntimeError):
    """Workers died, and took what they were at with them; it can be gone on with."""


class Engine(Protocol):
    """Lives runs, several at a time."""

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Live runs, and say what came of each as soon as it is known, in no particular order.

        Tasks are taken one by one, when there is someone to live them, so that there may be fewer
        in the end.

        Raises:
            WorkerDiedError: If workers died that cannot be replaced from within.
        """
        ...


@dataclass(frozen=True)
class JoblibEngine:
    """Workers of joblib.

    Args:
        jobs: Runs at a time.
        backend: Name of a backend of joblib, such as ``loky`` or, once registered, ``dask``.
    """

    jobs: int
    backend: str = LOCAL
    _at: set[str] = field(default_factory=set, repr=False, compare=False)

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """See :meth:`Engine.outcomes`."""
        self._at.clear()

        def calls() -> Iterator[Any]:
            for task in tasks:
                self._at.add(task.name)
                yield delayed(work)(task)

        threads = {"inner_max_num_threads": 1} if self.backend == LOCAL else {}
        # Handed out one by one: runs are long, and it is to be known what a dead worker was at.
        one_by_one: dict[str, Any] = {"pre_dispatch": self.jobs, "batch_size": 1}
        with parallel_config(backend=self.backend, n_jobs=self.jobs, **threads):
            found: Any = Parallel(return_as="generator_unordered", **one_by_one)(calls())
            try:
                for outcome in found:
                    self._at.discard(outcome.run)
                    yield outcome
            except BrokenProcessPool as error:
                raise WorkerDiedError(
                    f"a worker died at one of: {', '.join(sorted(self._at))}"
                ) from error
            finally:
                found.close()
