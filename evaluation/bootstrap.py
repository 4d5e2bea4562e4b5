"""Bootstrap intervals for a few runs: BCa with expanded percentiles."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

RESAMPLES = 9_999


def trimmed_mean(rows: Floats, trim: float) -> Floats:
    """Return the mean of each sorted row without a share of it, rounded down, at either end."""
    cut = int(trim * rows.shape[-1])
    return np.asarray(rows[..., cut : rows.shape[-1] - cut].mean(axis=-1))


@lru_cache(maxsize=8)
def weights(runs: int, trim: float, seed: int) -> Floats:
    """Draw resamples of runs, and return how much each run weighs in their trimmed means.

    Runs count from the lowest to the highest, and are drawn with replacement. The resamples are the
    same for every metric with as many runs: a report asks for hundreds of intervals.

    Returns:
        Shape ``(RESAMPLES, runs)``.
    """
    drawn = np.random.default_rng(seed).integers(0, runs, (RESAMPLES, runs))
    drawn.sort(axis=1)
    cut = int(trim * runs)
    kept = drawn[:, cut : runs - cut]
    found = np.zeros((RESAMPLES, runs))
    np.add.at(found, (np.arange(RESAMPLES)[:, None], kept), 1 / kept.shape[1])
    found.setflags(write=False)
    return found


def expanded_quantile(runs: int, confidence: float) -> float:
    """Return the normal quantile that a bootstrap of so few runs should begin with.

    A resample of n runs has a variance that is too small by (n - 1) / n, and takes the spread of
    the sample for the true one. With t(n - 1) * sqrt(n / (n - 1)) in place of z a percentile
    interval of a mean is that of Student's t, if the means of the resamples are normal.

    Source: Hesterberg (2015), What teachers should know about the bootstrap, The American
    Statistician 69 (4), on expanded percentiles.
    """
    t = float(special.stdtrit(runs - 1, 0.5 + confidence / 2))
    return t * math.sqrt(runs / (runs - 1))


def bca(
    value: float, replicates: Floats, jackknife: Floats, quantile: float
) -> tuple[float, float]:
    """Compute the bias-corrected and accelerated interval.

    Source: Efron (1987), Better bootstrap confidence intervals, JASA 82 (397).

    Args:
        value: The statistic of all runs.
        replicates: The statistic of each resample.
        jackknife: The statistic without each of the runs, shape ``(runs,)``.
        quantile: Where the interval would end if the statistic were normal and unbiased, in
            standard errors: 1.96 for plain BCa at 95 %, or ``expanded_quantile``.
    """
    # Sums of the same numbers in another order differ in their last digits, and are still a tie.
    tie = 1e-9 * float(np.ptp(replicates))
    below = float((replicates < value - tie).mean() + (replicates <= value + tie).mean()) / 2
    # Resamples resolve a share no better than half of one of them.
    least = 0.5 / replicates.size
    bias = float(special.ndtri(min(max(below, least), 1 - least)))
    influence = jackknife.mean() - jackknife
    squares = float((influence**2).sum())
    acceleration = float((influence**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    levels = []
    for shifted in (bias - quantile, bias + quantile):
        room = 1 - acceleration * shifted
        # Without room the formula has passed infinity: the end is the last resample.
        level = special.ndtr(bias + shifted / room) if room > 0 else float(shifted > 0)
        levels.append(float(level))
    low, high = np.quantile(replicates, levels)
    return float(low), float(high)


def trimmed_mean_interval(
    sample: Floats, trim: float, *, confidence: float, seed: int
) -> tuple[float, float]:
    """Compute the BCa interval with expanded percentiles of a trimmed mean; whole runs are drawn.

    Args:
        sample: One number for each run, in any order: it changes nothing.
        trim: Share of the runs that is left out at either end; 0 for the mean.
        confidence: Share of such intervals that are to hold the true value.
        seed: Of the resamples.
    """
    runs = sample.size
    ordered = np.sort(sample)
    # What is far from 0 would lose digits.
    centre = float(ordered.mean())
    ordered -= centre
    without = np.broadcast_to(ordered, (runs, runs))[~np.eye(runs, dtype=bool)]
    low, high = bca(
        float(trimmed_mean(ordered, trim)),
        weights(runs, trim, seed) @ ordered,
        trimmed_mean(without.reshape(runs, runs - 1), trim),
        expanded_quantile(runs, confidence),
    )
    return low + centre, high + centre
