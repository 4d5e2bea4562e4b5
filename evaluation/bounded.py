"""Means of numbers that cannot leave a range, and shares of runs at its ends.

Scores have a floor, and in an episode of limited length a cap. Where runs lie close to either they
say little about a run that does not: Student's t and the bootstrap take a spread that the end of
the range has squeezed for the true one, and hold the mean in 6 of 10 samples instead of 95 of 100.
How often the interval made here holds it is in ``docs/statistics.md``.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

ADDED = 2.0
"""How many runs those in the middle of the range count for."""
CLOSE = 0.01
"""How close to an end of its range a number is at that end [share of the range]."""


@dataclass(frozen=True)
class Range:
    """The range of possible values of a number of a run."""

    low: float
    """The lowest possible number; ``-inf`` if there is none, or it is not known."""
    high: float
    """The highest possible number; ``inf`` likewise."""
    middles: tuple[float, ...] = ()
    """Numbers of runs that are as far from both ends as can be, each as likely as the others; none
    where an end is infinite. A score has one, the middle of its range; a difference of two scores
    has two, since either of them can be in the middle."""

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"a range needs its low end first, not {self.low} and {self.high}")

    @classmethod
    def of_score(cls, low: float, high: float) -> "Range":
        """Make the range of a score, which can be anything between two ends.

        Raises:
            ValueError: If the low end is above the high one.
        """
        middle = (low + high) / 2
        return cls(low, high, (middle,) if math.isfinite(middle) else ())

    def less(self, other: "Range", mean: float, others_mean: float) -> "Range":
        """Return the range of a number of this range less one of another.

        Args:
            other: The range of what is taken away.
            mean: The mean over runs of what it is taken from.
            others_mean: The mean over runs of what is taken away.

        Returns:
            The range; its middles are those of either, less or from the mean of the other.
        """
        middles: tuple[float, ...] = ()
        if self.middles and other.middles:
            middles = (
                *(middle - others_mean for middle in self.middles),
                *(mean - middle for middle in other.middles),
            )
        return Range(self.low - other.high, self.high - other.low, middles)

    def check(self, sample: Floats) -> None:
        """Check that numbers lie in the range; NaN does.

        Raises:
            ValueError: If one is outside by more than its computation has left of rounding.
        """
        size = max(abs(end) for end in (self.low, self.high, 0.0) if math.isfinite(end))
        outside = (sample < self.low - 1e-9 * size) | (sample > self.high + 1e-9 * size)
        if outside.any():
            run = int(outside.argmax())
            raise ValueError(
                f"the number of run {run} is {sample[run]:g}, which cannot be: the range is "
                f"{self.low:g} to {self.high:g}"
            )


def t_interval(sample: Floats, confidence: float) -> tuple[float, float]:
    """Compute Student's t interval of a mean."""
    runs = sample.size
    mean = float(sample.mean())
    t = float(special.stdtrit(runs - 1, 0.5 + confidence / 2))
    half = t * float(sample.std(ddof=1)) / math.sqrt(runs)
    return mean - half, mean + half


def mean_interval(sample: Floats, within: Range, confidence: float) -> tuple[float, float]:
    """Compute an interval for the mean of numbers that cannot leave a range.

    To the runs are added runs in the middle of the range, which count for two. The interval holds
    Student's t interval of the runs themselves and that with what was added, and is cut off at the
    ends of the range. Far from both ends the added runs lie among the others and change little; at
    an end they stand for the runs that may be elsewhere and were not seen.

    Source: Agresti and Coull (1998), Approximate is better than "exact" for interval estimation of
    binomial proportions, The American Statistician 52 (2), who add successes and failures to a
    share; Agresti and Caffo (2000), The American Statistician 54 (4), who do so on either side of a
    difference. Ours is their idea for numbers other than 0 and 1; it was chosen by simulation.

    Args:
        sample: One number for each run, shape ``(runs,)``, at least two.
        within: The range, with middles.
        confidence: Share of such intervals that are to hold the true mean.
    """
    low, high = t_interval(sample, confidence)
    added = np.asarray(within.middles)
    weight = ADDED / added.size
    runs = sample.size + ADDED
    mean = float((sample.sum() + weight * added.sum()) / runs)
    squares = ((sample - mean) ** 2).sum() + weight * ((added - mean) ** 2).sum()
    t = float(special.stdtrit(runs - 1, 0.5 + confidence / 2))
    half = t * math.sqrt(float(squares) / (runs - 1) / runs)
    value = float(sample.mean())
    return cut(min(low, mean - half), max(high, mean + half), value, within)


def cut(low: float, high: float, value: float, within: Range) -> tuple[float, float]:
    """Cut the interval of a value off at the ends of a range; rounding does not lose the value."""
    return min(max(low, within.low), value), max(min(high, within.high), value)


def share_interval(count: float, runs: int, confidence: float) -> tuple[float, float]:
    """Compute the exact interval of a share, which holds the true one at least as often as it says.

    Source: Clopper and Pearson (1934), The use of confidence or fiducial limits illustrated in the
    case of the binomial, Biometrika 26.

    Args:
        count: How many runs are of the kind; a half where one counts as half.
        runs: Of how many.
        confidence: Share of such intervals that are to hold the true share.
    """
    tail = (1 - confidence) / 2
    low = float(special.betaincinv(count, runs - count + 1, tail)) if count else 0.0
    high = float(special.betaincinv(count + 1, runs - count, 1 - tail)) if count < runs else 1.0
    return low, high


@dataclass(frozen=True)
class AtEnd:
    """Runs at an end of the range of their number."""

    end: Literal["floor", "cap"]
    count: int
    """How many."""
    runs: int
    """Of how many."""
    low: float
    high: float
    """Ends of the exact interval of the share of such runs."""


def at_end(sample: Floats, within: Range, confidence: float) -> AtEnd | None:
    """Find the end at which at least half of the runs are.

    Args:
        sample: One number for each run, shape ``(runs,)``.
        within: The range of a score.
        confidence: Share of intervals that are to hold the true share of runs there.

    Returns:
        The end; None if fewer are at either, or the range has no such ends.
    """
    if len(within.middles) != 1:
        return None
    reach = CLOSE * (within.high - within.low)
    counts: dict[Literal["floor", "cap"], int] = {
        "floor": int((sample <= within.low + reach).sum()),
        "cap": int((sample >= within.high - reach).sum()),
    }
    end = max(counts, key=lambda name: counts[name])
    if 2 * counts[end] < sample.size:
        return None
    ends = share_interval(counts[end], sample.size, confidence)
    return AtEnd(end, counts[end], sample.size, *ends)
