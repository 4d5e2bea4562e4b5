"""What handing out runs costs, beside training them: Ray's tasks, and the ledger of a study.

Run it as ``python benchmarks/cluster_overhead.py``. Ray is started on this machine, with as many
workers as it has cores. A job is one that a worker refuses at once, for other versions.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray
import tyro

from continual_arcade.studies.folder import StudyFolder
from continual_arcade.studies.ray_executor import RayExecutor
from continual_arcade.studies.work import Job, Outcome


@dataclass(frozen=True)
class Options:
    """What is measured."""

    jobs: int = 2_000
    """Jobs that are handed out."""
    lines: int = 1_000
    """Lines that are written to the ledger."""
    folder: Path | None = None
    """Where the ledger is written, such as a shared folder; among temporary files if not given."""


def ledger(folder: Path, lines: int) -> tuple[float, float]:
    """Write a ledger line by line, and read it.

    Returns:
        What a line takes, and what reading all of them takes [s].
    """
    study = StudyFolder(folder)
    begun = time.perf_counter()
    for number in range(lines):
        name = f"FlappyBird-shrink__finetune__{number}"
        study.note(Outcome(name, "finished", 7.5, "host", "0" * 64))
    written = time.perf_counter()
    study.done()
    return (written - begun) / lines, time.perf_counter() - written


def empty_jobs(folder: Path, count: int) -> tuple[float, float]:
    """Hand out jobs that a worker refuses at once.

    Returns:
        What a job takes, and what it takes of this process's CPU [s].
    """

    def jobs(count: int) -> Iterator[Job]:
        for number in range(count):
            yield Job(str(number), folder / "runs" / str(number), {}, {})

    executor = RayExecutor(address="local")
    for _ in executor.outcomes(jobs(16)):  # until the workers have begun
        pass
    begun, used = time.perf_counter(), time.process_time()
    for _ in executor.outcomes(jobs(count)):
        pass
    return (time.perf_counter() - begun) / count, (time.process_time() - used) / count


def main() -> None:
    """Measure, and print."""
    options = tyro.cli(Options, description=__doc__)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        line, reading = ledger(Path(name), options.lines)
        print(f"a line of the ledger: {line * 1e3:.2f} ms")
        print(f"reading {options.lines:,} of them: {reading:.3f} s")
        each, own = empty_jobs(Path(name), options.jobs)
        workers = int(ray.cluster_resources()["CPU"])  # type: ignore[no-untyped-call]
        print(f"an empty job, {workers} workers: {each * 1e3:.2f} ms")
        print(f"the process that hands out, per job: {own * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
