"""Who runs jobs on several machines: workers of a Ray cluster."""

import logging
import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import uuid4

import joblib

try:
    import ray
    from ray._private import ray_constants
    from ray.exceptions import RayError, RayTaskError
except ImportError as error:
    raise ImportError(
        "a study on a cluster needs Ray: pip install 'continual-arcade[cluster]'"
    ) from error

from continual_arcade.studies.executors import WorkerDiedError
from continual_arcade.studies.work import Job, Outcome, work

TRIES = 3
"""How often a run is handed out whose workers, or their machines, die."""

_ALONE = "local"
"""What Ray calls a cluster that it starts for this process."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_LOOK_EVERY = 1.0
"""Interval at which machines are counted while no run ends [s]."""
_STORE = 80 * 1024 * 1024
"""Memory for objects that workers share [bytes]: near the least that Ray takes; there are none."""


@dataclass(frozen=True)
class RayExecutor:
    """Workers of a Ray cluster, each with one CPU.

    Machines that join while it runs get runs, too. A run whose worker or machine dies is resumed
    from its last checkpoint elsewhere, so all machines must share the folder of the study, under
    the same path.

    The process stays connected until it ends, or calls ``ray.shutdown()``.

    Args:
        jobs: Runs at a time; as many as the cluster has CPUs if None.
        address: ``auto`` for the cluster that this machine belongs to, or ``host:port`` of its
            head; the value of ``RAY_ADDRESS`` if None. Without either, Ray is started on this
            machine alone, where no other one reaches it, and stopped in the end; it then has as
            many CPUs as there are jobs.

    Raises:
        ValueError: If one of them makes no sense.
    """

    jobs: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise ValueError(f"jobs = {self.jobs} must be at least 1")
        if (self.address or "").startswith("ray://"):
            raise ValueError(
                f"address = {self.address!r}: a study is run on a machine of the cluster, which "
                "shares its folder; give auto, or host:port of the head"
            )

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """See :meth:`Executor.outcomes`.

        A worker that does not see the folder of the study, or has other versions, would fail one
        run after the other: the first that it fails is fatal.

        Raises:
            WorkerDiedError: If workers died :data:`TRIES` times over the same run. What others were
                training is trained to its end before.
            ConnectionError: If there is no cluster at the address.
            RuntimeError: If it has another version of Ray, or no CPU.
        """
        _connect(self.jobs, self.address)
        train: Any = ray.remote(num_cpus=1, max_retries=0, runtime_env={"env_vars": _ONE_THREAD})(
            _train
        )
        coming = iter(jobs)
        under_way: dict[Any, tuple[Job, int]] = {}
        given_up: dict[str, RayError] = {}

        with _landmarks() as landmarks:

            def hand_out(job: Job, tries: int) -> None:
                under_way[train.remote(job, landmarks.name)] = job, tries

            try:
                while True:
                    places = self._places()
                    while len(under_way) < places and not given_up:
                        job = next(coming, None)
                        if job is None:
                            break
                        # Workers were started elsewhere: a relative path is another one to them.
                        job = replace(job, folder=job.folder.absolute())
                        landmarks.put(job.folder.parent)
                        hand_out(job, 1)
                    if not under_way:
                        break
                    for reference in ray.wait(list(under_way), timeout=_LOOK_EVERY)[0]:
                        job, tries = under_way.pop(reference)
                        try:
                            outcome = ray.get(reference)
                        except RayTaskError as error:
                            outcome = _broken(job, error)
                        except RayError as error:
                            if tries < TRIES:
                                hand_out(job, tries + 1)
                            else:
                                given_up[job.name] = error
                            continue
                        yield outcome
            finally:
                for reference in under_way:
                    ray.cancel(reference, force=True)
        if given_up:
            name, last = next(iter(given_up.items()))
            raise WorkerDiedError(
                f"workers died {TRIES} times over {', '.join(given_up)}; the last one over {name}: "
                f"{' '.join(str(last).split())}"
            ) from last

    def _places(self) -> int:
        """Return how many runs there is room for; with no machine left, one waits for the next."""
        found = max(_cpus(), 1)
        return found if self.jobs is None else min(found, self.jobs)


def _connect(jobs: int | None, address: str | None) -> None:
    """Connect this process to a cluster, unless it is connected."""
    if ray.is_initialized():
        there = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", _ALONE, there):
            raise ValueError(
                f"address = {address!r}, but this process is connected to the Ray at {there}: "
                "call ray.shutdown() first"
            )
    else:
        # Ray reads these where it is started, which is here if it is for this machine alone.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_worker_niceness", "0")  # runs are all that Ray is started for
        where = address or os.environ.get("RAY_ADDRESS") or _ALONE
        own: dict[str, Any] = {
            "num_cpus": jobs or joblib.cpu_count(),
            "include_dashboard": False,
            "object_store_memory": _STORE,
        }
        common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if where == _ALONE:
                with _on_loopback():
                    ray.init(where, **common, **own)
            else:
                ray.init(where, **common)
        except (ConnectionError, RayError) as error:
            raise ConnectionError(
                f"there is no way into a Ray cluster at {where}: {error}. Is it started there, and "
                "do both sides use a token (RAY_AUTH_MODE=token), the same one, or neither?"
            ) from error
    if not _cpus():
        raise RuntimeError(
            "the Ray cluster has no CPU to train runs on: start a worker with `ray start "
            f"--address={ray.get_runtime_context().gcs_address}`"
        )


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a Ray that is started for this machine alone be reached from this machine alone.

    It runs any code of whoever reaches it. Ray offers this on macOS and Windows only, where it is
    what a cluster of this machine does; elsewhere it listens on all interfaces, whatever is asked.

    Raises:
        RuntimeError: If it listens elsewhere nevertheless.
    """
    clusters = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
    address = ray.get_runtime_context().gcs_address
    if not ip_address(address.rpartition(":")[0].strip("[]")).is_loopback:
        ray.shutdown()
        raise RuntimeError(
            f"Ray {ray.__version__} listens on {address}, where other machines reach it and can "
            "run code of theirs: start one yourself with `ray start`, and name it with --address"
        )


def _cpus() -> int:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(resources.get("CPU", 0))


class _Landmarks:
    """Files by which workers know a folder: a folder of the same path may well be another one."""

    def __init__(self) -> None:
        self.name = f".cluster-{uuid4().hex}"
        self._folders: set[Path] = set()

    def put(self, folder: Path) -> None:
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
            (folder / self.name).touch()

    def remove(self) -> None:
        for folder in self._folders:
            (folder / self.name).unlink(missing_ok=True)


@contextmanager
def _landmarks() -> Iterator[_Landmarks]:
    landmarks = _Landmarks()
    try:
        yield landmarks
    finally:
        landmarks.remove()


def _train(job: Job, landmark: str) -> Outcome:
    """Train a run, on a worker."""
    folder = job.folder.parent
    if (folder / landmark).exists():
        return work(job)
    host = socket.gethostname()
    return _failed(
        job,
        host,
        f"the folder {folder} of the study is not there on worker {host}, or another one is in its "
        "place: a study on a cluster needs a folder that all machines share, under the same path",
    )


def _broken(job: Job, error: RayTaskError) -> Outcome:
    """Return the outcome of a job that raised, though :func:`work` does not: it did not begin."""
    text = str(error)
    found = re.search(r"\bip=([^,)\s]+)", text)
    host = found[1] if found else "of unknown address"
    cause = text.strip().splitlines()[-1].strip()
    return _failed(
        job,
        host,
        f"worker {host} cannot begin ({cause}): is the suite installed there, in the version that "
        "is here?",
    )


def _failed(job: Job, host: str, reason: str) -> Outcome:
    return Outcome(job.name, "failed", seconds=0.0, host=host, digest="", reason=reason, fatal=True)
