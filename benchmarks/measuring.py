"""Fair comparisons of speed: one core, one thread, and everyone in turn, round by round."""

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

Run = Callable[[int], int]
"""Plays about so many steps and returns how many it played."""

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}
"""Environment variables that keep libraries to one thread, if set before they are imported."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """Something whose speed is measured."""

    name: str
    make: Callable[[], Run]
    """Sets it up; whatever that takes is not measured."""
    install: str | None = None
    """How to get it, if it may be absent; None if it must be there."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured of one contestant."""

    name: str
    values: list[float] = field(default_factory=list)
    """One for each round; none if it could not be measured."""
    absent: str = ""
    """Why it could not."""

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.values)

    def ratio_to(self, other: "Result") -> float:
        """Return the median of the ratios round by round, as a round is the same for both."""
        pairs = zip(self.values, other.values, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A promise, and what became of it."""

    promise: str
    measured: str
    met: bool | None
    """None if it could not be judged."""

    def __str__(self) -> str:
        """Return it as a line."""
        fate = {True: "met", False: "MISSED", None: "not judged"}[self.met]
        return f"{self.promise:<98}{self.measured:>10}  {fate}"


def at_least(promise: str, ratio: float | None, limit: float, unit: str = "x") -> Verdict:
    """Judge whether something is so many times as fast; None if it could not be measured."""
    return _judged(f"{promise} >= {limit:g} {unit}", ratio, unit, lambda value: value >= limit)


def at_most(promise: str, ratio: float | None, limit: float, unit: str = "x") -> Verdict:
    """Judge whether something takes so many times as long, or less."""
    return _judged(f"{promise} <= {limit:g} {unit}", ratio, unit, lambda value: value <= limit)


def _judged(
    promise: str, value: float | None, unit: str, is_met: Callable[[float], bool]
) -> Verdict:
    if value is None:
        return Verdict(promise=promise, measured="-", met=None)
    return Verdict(promise=promise, measured=f"{value:.2f} {unit}", met=is_met(value))


def usable_cores() -> list[int]:
    """Return the cores that this process may use, in order; none where it cannot be told."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin_to_one_core() -> int | None:
    """Keep this process and its children on one core; return which, or None where none can."""
    cores = usable_cores()
    if not cores:
        return None
    core = cores[-1]
    os.sched_setaffinity(0, {core})
    return core


def race(contestants: Sequence[Contestant], rounds: int, seconds: float) -> list[Result]:
    """Measure steps per second.

    Args:
        contestants: Who takes part.
        rounds: How often each is measured.
        seconds: About how long a measurement takes.

    Returns:
        The results, in the order of the contestants.
    """
    measures: dict[str, Callable[[], float]] = {}
    absent: dict[str, str] = {}
    for contestant in contestants:
        try:
            run = contestant.make()
            measures[contestant.name] = partial(_rate, run, _steps_in(run, seconds))
        except Exception as error:  # a peer that is absent, or broken in whatever way
            if contestant.install is None:
                raise
            absent[contestant.name] = _why_absent(contestant.install, error)
    values = in_turn(measures, rounds)
    return [
        Result(name=one.name, values=values.get(one.name, []), absent=absent.get(one.name, ""))
        for one in contestants
    ]


def in_turn(measures: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure everything once in each round, so that a drift of the machine hits all alike."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            values[name].append(measure())
    return values


def _rate(run: Run, num_steps: int) -> float:
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        played = run(num_steps)
        return played / (time.perf_counter() - start)
    finally:
        gc.enable()


def _steps_in(run: Run, seconds: float) -> int:
    """Return how many steps take this long, after having warmed up."""
    run(1)  # compiles
    num_steps = 1
    while True:
        start = time.perf_counter()
        played = run(num_steps)
        elapsed = time.perf_counter() - start
        if elapsed >= seconds / 5:
            return max(1, round(played * seconds / elapsed))
        num_steps = 2 * played


def _why_absent(install: str, error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"not installed ({install})"
    first_line = str(error).partition("\n")[0]
    return f"does not run here ({type(error).__name__}: {first_line})"


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """Describe the machine, and what is installed of some packages (None: nothing)."""
    return {
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def table(title: str, unit: str, results: Sequence[Result], baseline: Result | None = None) -> str:
    """Lay out results in fixed columns.

    Args:
        title: What was measured.
        unit: Unit of the values.
        results: The results.
        baseline: The result whose multiples to show.
    """
    heading = f"{title:<51}{unit:>14}{'min':>14}{'max':>14}"
    lines = [heading + (f"  x {baseline.name}".rjust(15) if baseline else "")]
    lines.append("-" * len(lines[0]))
    for result in results:
        if result.absent:
            lines.append(f"{result.name:<51}  {result.absent}")
            continue
        cells = (result.median, min(result.values), max(result.values))
        line = f"{result.name:<51}" + "".join(f"{_number(cell):>14}" for cell in cells)
        if baseline:
            line += f"{result.ratio_to(baseline):>15.2f}"
        lines.append(line)
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3f}"
