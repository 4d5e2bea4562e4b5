"""Estimates over the runs of one method, and their uncertainty.

The run is what is sampled: its episodes and phases are no independent evidence about a method. So
every function takes one number for each run, and refuses an array of runs and phases. Which
interval is taken when, and how often each holds the truth, is in ``docs/statistics.md``.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from continual_arcade.evaluation import bootstrap
from continual_arcade.evaluation.bounded import AtEnd, Range, at_end, cut, mean_interval, t_interval

Floats = npt.NDArray[np.float64]

BOOTSTRAP_FROM = 10
"""Runs from which on a bootstrap is taken; the resamples of fewer are too much alike."""
LEAST_RUNS = 5
"""Runs that a statement about a method takes at the least."""


@dataclass(frozen=True)
class Estimate:
    """A number over runs with its confidence interval."""

    value: float
    """The mean, interquartile mean or share over runs; NaN if undefined."""
    low: float
    high: float
    """Ends of the interval; NaN where there is none, as for fewer than two runs."""
    runs: int
    kind: str
    """How the interval was made: ``bounded`` (of numbers in a range), ``t`` (Student's), ``BCa``
    (bootstrap), ``exact`` (Clopper and Pearson's), ``score`` (Newcombe's), or empty if there is
    none."""
    reason: str = ""
    """Why the value or the interval is NaN, or why the interval has no width."""
    at_end: AtEnd | None = None
    """The end of their range at which at least half of the runs are; None if there is no such."""

    def __format__(self, spec: str) -> str:
        """Format value and interval (``"+.1f"``), or a dash where there is no value.

        ``+3.2 ± 1.1`` with a symmetric interval, ``+3.2 [+2.1, +4.5]`` with another one, ``+3.2``
        with none.
        """
        if np.isnan(self.value):
            return "-"
        if not self.kind:
            return f"{self.value:{spec}}"
        half = (self.high - self.low) / 2
        off_centre = abs(self.low + half - self.value)
        if self.kind == "t" and off_centre <= 1e-9 * max(half, abs(self.value)):
            return f"{self.value:{spec}} ± {half:{spec.removeprefix('+')}}"
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    @staticmethod
    def without_interval(value: float, runs: int, reason: str) -> "Estimate":
        """Make an estimate that has no interval, and no value either if that is NaN."""
        return Estimate(value, np.nan, np.nan, runs, "", reason)


def one_for_each_run(values: npt.ArrayLike) -> Floats:
    """Check that there is one number for each run and return them, shape ``(runs,)``.

    Raises:
        ValueError: If there is no run, the shape is another one, or a number is infinite.
    """
    sample = np.asarray(values, np.float64)
    if sample.ndim != 1 or not sample.size:
        raise ValueError(
            f"one number for each run is needed, not an array of {sample.shape}; reduce the phases "
            "of each run to one number first"
        )
    if np.isinf(sample).any():
        run = int(np.isinf(sample).argmax())
        raise ValueError(f"the number of run {run} is {sample[run]}; give NaN for an undefined one")
    return sample


def why_missing(sample: Floats, noun: str = "run") -> str:
    """Say how many runs (pairs, ...) lack the number, or nothing if none does."""
    missing = int(np.isnan(sample).sum())
    if not missing:
        return ""
    if missing == sample.size:
        return f"no {noun} has the number"
    lack = "lacks" if missing == 1 else "lack"
    return f"{missing} of {sample.size} {noun}s {lack} the number; the others are no fair sample"


def check_confidence(confidence: float) -> None:
    """Check that a confidence is a share.

    Raises:
        ValueError: If it is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence}")


def _all_equal(sample: Floats) -> bool:
    """Return whether numbers differ by no more than their computation has left of rounding."""
    return bool(np.ptp(sample) <= 1e-12 * np.abs(sample).max())


def mean_over_runs(
    values: npt.ArrayLike,
    *,
    within: Range | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Estimate a mean from one number for each run.

    Where it is known what the numbers can be, the interval is that of ``bounded.mean_interval``:
    it does not leave the range, and is measured to hold the mean of runs that crowd at its ends.
    Otherwise fewer than ten runs get Student's t interval; from ten on it is a bootstrap of whole
    runs, BCa with expanded percentiles, which leans as the sample does.

    Args:
        values: One number for each run, shape ``(runs,)``; NaN where a run has none. If only some
            have it the mean is NaN: a metric is often undefined just for the runs that went badly.
        within: What the numbers can be, whatever the runs do. Where one end is infinite, the
            interval is made as without, and cut off at the other end.
        confidence: Share of such intervals that are to hold the true mean.
        seed: Of the bootstrap. The order of the runs changes nothing.

    Raises:
        ValueError: If there is no run, the shape is another one, a number is infinite or outside
            the range, or the confidence is no share.
    """
    sample = one_for_each_run(values)
    check_confidence(confidence)
    if within is not None:
        within.check(sample)
    runs = sample.size
    mean = float(sample.mean())
    if reason := why_missing(sample):
        return Estimate.without_interval(np.nan, runs, reason)
    if runs < 2:
        return Estimate.without_interval(mean, runs, "one run has no interval")
    if within is not None and within.middles:
        low, high = mean_interval(sample, within, confidence)
        if low == high:
            return _without_width(mean, runs, "bounded")
        return Estimate(mean, low, high, runs, "bounded", at_end=at_end(sample, within, confidence))
    kind = "t" if runs < BOOTSTRAP_FROM else "BCa"
    if _all_equal(sample):
        return _without_width(float(sample[0]), runs, kind)
    if kind == "t":
        low, high = t_interval(sample, confidence)
    else:
        low, high = bootstrap.trimmed_mean_interval(sample, 0.0, confidence=confidence, seed=seed)
    if within is not None:
        low, high = cut(low, high, mean, within)
    return Estimate(mean, low, high, runs, kind)


def interquartile_mean(
    values: npt.ArrayLike,
    *,
    within: Range | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Estimate the mean of the middle half of the runs, which single odd runs do not move.

    A quarter of the runs, rounded down, is left out at either end (``scipy.stats.trim_mean``), so
    that of fewer than four runs it is the mean. The interval is a bootstrap of whole runs as in
    ``mean_over_runs``; fewer than ten runs get none, since their resamples are too much alike.

    It is taken across runs of one number each. Taken over the cells of runs and phases, as is done
    elsewhere (Agarwal et al. 2021, Deep RL at the edge of the statistical precipice), it leaves out
    a phase that every run has forgotten.

    Args:
        values: As in ``mean_over_runs``.
        within: What the numbers can be; the interval is cut off there. It needs no more: runs that
            crowd at an end are what is left when a quarter is taken away on either side.
        confidence: Share of such intervals that are to hold the true interquartile mean.
        seed: Of the bootstrap.

    Raises:
        ValueError: As in ``mean_over_runs``.
    """
    sample = one_for_each_run(values)
    check_confidence(confidence)
    if within is not None:
        within.check(sample)
    runs = sample.size
    if reason := why_missing(sample):
        return Estimate.without_interval(np.nan, runs, reason)
    value = float(bootstrap.trimmed_mean(np.sort(sample), 0.25))
    if runs < BOOTSTRAP_FROM:
        reason = f"an interval of the interquartile mean takes {BOOTSTRAP_FROM} runs, not {runs}"
        return Estimate.without_interval(value, runs, reason)
    if _all_equal(sample):
        return _without_width(float(sample[0]), runs, "BCa")
    low, high = bootstrap.trimmed_mean_interval(sample, 0.25, confidence=confidence, seed=seed)
    if within is not None:
        low, high = cut(low, high, value, within)
    return Estimate(value, low, high, runs, "BCa")


def _without_width(value: float, runs: int, kind: str) -> Estimate:
    reason = f"all {runs} runs are equal, so that the interval has no width"
    return Estimate(value, value, value, runs, kind, reason)


def detectable_effect(
    runs: int,
    *,
    spread: float,
    paired: bool = False,
    confidence: float = 0.95,
    power: float = 0.8,
) -> float:
    """Return the smallest true difference that so many runs would show, in the unit of ``spread``.

    Shown means: the two-sided t test finds it with probability ``power``. It holds for a difference
    that was fixed before the runs were looked at, and is only as good as the spread that is put in.

    Args:
        runs: Runs of each of two methods; pairs of runs if ``paired``.
        spread: Standard deviation over the runs of a method; of the differences if ``paired``.
        paired: Whether the test is on differences of pairs, or on two methods with ``runs`` each.
        confidence: One less the level of the test.
        power: Probability of finding it.

    Returns:
        The difference; NaN for fewer than two runs or without a spread.

    Raises:
        ValueError: If there is no run, the spread is negative, or confidence or power is no share,
            or the power is not above the level of the test.
    """
    check_confidence(confidence)
    if runs < 1:
        raise ValueError(f"at least one run is needed, not {runs}")
    if spread < 0:
        raise ValueError(f"a spread is not negative, but it is {spread}")
    if not 1 - confidence < power < 1:
        raise ValueError(f"power must be between {1 - confidence:g} and 1, not {power}")
    if runs < 2 or np.isnan(spread):
        return np.nan
    if paired:
        return spread * _noncentrality(runs - 1, confidence, power) / math.sqrt(runs)
    return spread * _noncentrality(2 * runs - 2, confidence, power) * math.sqrt(2 / runs)


@lru_cache
def _noncentrality(freedom: int, confidence: float, power: float) -> float:
    """Return by how many standard errors the truth must be off 0 for a t test to find it."""
    t = float(special.stdtrit(freedom, 0.5 + confidence / 2))

    def surplus(off: float) -> float:
        # The square of noncentral t is noncentral F, which has both sides of the test in it.
        # (scipy's noncentral t is NaN for some of what is asked here.)
        return 1 - float(special.ncfdtr(1, freedom, off**2, t**2)) - power

    high = 2 * t
    while surplus(high) < 0:
        high *= 2
    return float(optimize.root_scalar(surplus, bracket=(0, high)).root)


def few_runs_warning(runs: int, spread: float) -> str:
    """Warn of too few runs, with the smallest effect that they could show.

    Args:
        runs: Runs of a method.
        spread: Standard deviation over them; NaN if unknown.

    Returns:
        A sentence for fewer than ``LEAST_RUNS`` runs, otherwise an empty text.
    """
    if runs >= LEAST_RUNS:
        return ""
    few = "1 run is" if runs == 1 else f"{runs} runs are"
    text = f"{few} too few to evaluate a method: at least {LEAST_RUNS} are needed"
    effect = detectable_effect(runs, spread=spread)
    if runs == 1:
        return f"{text}, and one alone can show no difference at all."
    if not effect > 0:  # unknown, or all runs are equal
        return f"{text}."
    return (
        f"{text}. With a spread of {spread:.3g} over runs the smallest difference between two "
        f"methods that {runs} runs of each would show is {effect:.3g} (t test at 5 %, power 80 %)."
    )


@dataclass(frozen=True)
class Profile:
    """The share of runs above each threshold, with a band that holds for all thresholds at once."""

    thresholds: Floats
    share: Floats
    low: Floats
    high: Floats
    """Shapes ``(thresholds,)``; NaN where undefined."""
    runs: int
    reason: str = ""
    """Why the share or the band is NaN."""


def performance_profile(
    values: npt.ArrayLike, thresholds: npt.ArrayLike, *, confidence: float = 0.95
) -> Profile:
    """Compute the share of runs above each threshold: all of a distribution, not only its middle.

    The band is simultaneous: with the given confidence the true curve lies in it everywhere, as a
    reader takes it who looks where two curves part. It comes from the exact distribution of
    Kolmogorov's statistic, which asks nothing of the runs but that they are independent, and draws
    no random number. It is wide: ± 0.56 for five runs, ± 0.29 for twenty.

    Source: Agarwal et al. (2021) (the profile, there over runs and tasks, with a
    pointwise band that has no width where all runs or none are above); Kolmogorov (1933).

    Args:
        values: One number for each run, shape ``(runs,)``.
        thresholds: Shape ``(thresholds,)``.
        confidence: Probability with which the band holds the whole true curve.

    Raises:
        ValueError: As in ``mean_over_runs``, or if there is no threshold or one is NaN.
    """
    sample = one_for_each_run(values)
    check_confidence(confidence)
    at = np.asarray(thresholds, np.float64)
    if at.ndim != 1 or not at.size or np.isnan(at).any():
        raise ValueError(f"thresholds must be a list of numbers, not {thresholds!r}")
    nothing = np.full(at.size, np.nan)
    if reason := why_missing(sample):
        return Profile(at, nothing, nothing, nothing, sample.size, reason)
    share = (sample > at[:, None]).mean(axis=1)
    if sample.size < 2:
        return Profile(at, share, nothing, nothing, 1, "one run has no band")
    half = _furthest(sample.size, confidence)
    low, high = np.maximum(share - half, 0), np.minimum(share + half, 1)
    return Profile(at, share, low, high, sample.size)


@lru_cache
def _furthest(runs: int, confidence: float) -> float:
    """Return how far a share is off anywhere at the most, by Kolmogorov's distribution."""
    from scipy import stats  # to load it takes a second, which no command is to wait for

    return float(stats.kstwo.ppf(confidence, runs))


@dataclass(frozen=True)
class Survival:
    """How long it took until something happened, where it did not always happen."""

    times: Floats
    """Distinct times at which it happened or watching ended, ascending, shape ``(times,)``."""
    share: Floats
    """Estimated share of those to whom it has not happened after each time, same shape; before the
    first time it is 1."""
    median: float
    """First time after which the share is at most a half; NaN if it never is."""
    restricted_mean: float
    """Mean time, where one that is longer than the longest watched counts as long as that."""
    events: int
    censored: int
    reason: str = ""
    """Why a number is NaN."""


def kaplan_meier(times: npt.ArrayLike, censored: npt.ArrayLike) -> Survival:
    """Estimate a distribution of times of which some are known only to be longer.

    So it is with the time that an agent takes to adapt: where it has not done so at the end of the
    phase, leaving the time out, or taking the length of the phase for it, makes slow methods fast.

    Source: Kaplan and Meier (1958), by ``scipy.stats.ecdf``.

    Args:
        times: Time until it happened, or until watching ended, shape ``(runs,)``.
        censored: Whether watching ended before it happened, same shape.

    Raises:
        ValueError: As in ``mean_over_runs``, if a time is negative, or the shapes differ.
    """
    sample = one_for_each_run(times)
    open_ended = np.asarray(censored, bool)
    if open_ended.shape != sample.shape:
        raise ValueError(
            f"there are {sample.size} times, but censored is an array of {open_ended.shape}"
        )
    if (sample < 0).any():
        raise ValueError(f"a time is not negative, but there is {sample.min()}")
    without = int(open_ended.sum())
    counts = (sample.size - without, without)
    if reason := why_missing(sample):
        return Survival(np.array([]), np.array([]), np.nan, np.nan, *counts, reason)
    from scipy import stats  # see _furthest

    data = stats.CensoredData(uncensored=sample[~open_ended], right=sample[open_ended])
    curve = stats.ecdf(data).sf
    at, share = np.asarray(curve.quantiles), np.asarray(curve.probabilities)
    # A half that was reached by rounding is a half.
    reached = share <= 0.5 + 1e-12
    median = float(at[reached.argmax()]) if reached.any() else np.nan
    lasted = np.diff(at, prepend=0.0)
    mean = float((lasted * np.concatenate([[1.0], share[:-1]])).sum())
    reason = "" if reached.any() else "it did not happen to half of them, so there is no median"
    return Survival(at, share, median, mean, *counts, reason)
