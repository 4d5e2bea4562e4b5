"""Whether one method is better than another, and with what uncertainty.

Runs with equal seeds share the games, the network and the exploration they begin with. So methods
are compared seed by seed, which takes out what the seed does to both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from continual_arcade.evaluation.bounded import Range, share_interval
from continual_arcade.evaluation.statistics import (
    Estimate,
    check_confidence,
    mean_over_runs,
    one_for_each_run,
    why_missing,
)

Floats = npt.NDArray[np.float64]

ENUMERATED = 12
"""Pairs up to which all sign flips are enumerated."""
FLIPS = 9_999
"""Sign flips that are drawn for more pairs."""


@dataclass(frozen=True)
class Difference:
    """How much higher one method is than another, over the seeds that both have."""

    estimate: Estimate
    """Mean of ours less theirs."""
    p: float
    """Of the two-sided sign-flip test. Of n pairs it is at least 2 / 2**n: fewer than six cannot
    come below 0.05, however large the difference."""
    pairs: int
    wins: Estimate
    """Probability of improvement."""
    spread: float
    """Standard deviation of the differences of pairs; NaN of fewer than two."""
    adjusted_p: float = np.nan
    """By Holm's method, for the differences that were looked at together; NaN until ``adjusted``
    was called."""
    reason: str = ""
    """Why a number is NaN."""


def paired_difference(
    ours: Mapping[int, float],
    theirs: Mapping[int, float],
    *,
    within: tuple[Range, Range] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Compare two methods over the seeds that both have.

    The p value is that of the sign-flip test: if the methods were equal, each difference might as
    well have had the other sign. It is the share of sign flips whose mean is as far from 0 as what
    was seen: of all of them for up to twelve pairs; otherwise of 9,999 drawn ones and what was seen
    (Phipson and Smyth 2010, Permutation p-values should never be zero).

    Args:
        ours: A number for each run by its seed; NaN where a run has none.
        theirs: The same for the other method.
        within: What our numbers can be, and theirs, whatever the runs do; if given, the interval is
            that of ``bounded.mean_interval``: at an end of their ranges a difference of few runs is
            squeezed as their means are.
        confidence: As in ``mean_over_runs``.
        seed: Of the bootstrap and of the sign flips.

    Returns:
        The difference. Everything in it is NaN, with the reason, if no seed is in both or only some
        of the pairs have the number.

    Raises:
        ValueError: If a method has no run, a number is infinite or outside its range, or the
            confidence is no share.
    """
    check_confidence(confidence)
    mine, others = _pairs(ours, theirs)
    if within is not None:
        for range_, sample in zip(within, (mine, others), strict=True):
            range_.check(sample)
    pairs = mine.size
    if reason := _why_undefined(mine, others):
        nothing = Estimate.without_interval(np.nan, pairs, reason)
        return Difference(nothing, np.nan, pairs, nothing, np.nan, reason=reason)
    differences = mine - others
    apart = None
    if within is not None:
        apart = within[0].less(within[1], float(mine.mean()), float(others.mean()))
    estimate = mean_over_runs(differences, within=apart, confidence=confidence, seed=seed)
    spread = float(differences.std(ddof=1)) if pairs > 1 else np.nan
    return Difference(
        estimate=estimate,
        p=_sign_flip_p(differences, seed),
        pairs=pairs,
        wins=probability_of_improvement(ours, theirs, confidence=confidence),
        spread=spread,
        reason=estimate.reason,
    )


@lru_cache(maxsize=128)
def smallest_p(pairs: int, *, seed: int = 0) -> float:
    """Return the smallest p value that the sign-flip test has of so many pairs.

    That of pairs which all have the same sign, however large their differences: 2 / 2**n of up to
    twelve; of more, what the drawn sign flips leave, and never below 1 in 10,000.

    Args:
        pairs: How many.
        seed: As in ``paired_difference``.

    Raises:
        ValueError: If there is no pair.
    """
    if pairs < 1:
        raise ValueError(f"at least one pair is needed, not {pairs}")
    return _sign_flip_p(np.ones(pairs), seed)


def probability_of_improvement(
    ours: Mapping[int, float], theirs: Mapping[int, float], *, confidence: float = 0.95
) -> Estimate:
    """Estimate how probable it is that our run is higher than theirs with the same seed.

    The interval is Clopper and Pearson's exact one for a share; ties count as half a win, which
    makes it cautious. A bootstrap of runs that were all won would say that ours always wins, after
    as few as two.

    Args:
        ours: A number for each run by its seed; NaN where a run has none.
        theirs: The same for the other method.
        confidence: Share of such intervals that are to hold the true probability.

    Raises:
        ValueError: As in ``paired_difference``.
    """
    check_confidence(confidence)
    mine, others = _pairs(ours, theirs)
    pairs = mine.size
    if reason := _why_undefined(mine, others):
        return Estimate.without_interval(np.nan, pairs, reason)
    wins = float(_wins(mine, others).sum())
    if pairs < 2:
        return Estimate.without_interval(wins / pairs, pairs, "one pair has no interval")
    return Estimate(wins / pairs, *share_interval(wins, pairs, confidence), pairs, "exact")


def unpaired_probability_of_improvement(
    ours: npt.ArrayLike, theirs: npt.ArrayLike, *, confidence: float = 0.95
) -> Estimate:
    """Estimate how probable it is that a run of ours is higher than any run of theirs.

    For methods that share no seeds: Mann and Whitney's U over the number of pairs, where ties count
    half. The interval is Newcombe's, from the score that a true probability would have. It keeps
    its width where all runs of one are above all of the other; a bootstrap has none there, and of
    ten runs each holds a true 0.98 in 49 of 100 cases (Newcombe's in 97).

    Source: Newcombe (2006), Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic, part 2, Statistics in Medicine 25, method 5.

    Args:
        ours: One number for each run, shape ``(runs,)``.
        theirs: The same for the other method, with as many runs or not.
        confidence: Share of such intervals that are to hold the true probability.

    Returns:
        The estimate; its ``runs`` are those of both methods.

    Raises:
        ValueError: As in ``mean_over_runs``.
    """
    check_confidence(confidence)
    mine, others = one_for_each_run(ours), one_for_each_run(theirs)
    runs = mine.size + others.size
    if reason := why_missing(mine) or why_missing(others):
        return Estimate.without_interval(np.nan, runs, reason)
    value = float(_wins(mine[:, None], others).mean())
    if min(mine.size, others.size) < 2:
        return Estimate.without_interval(value, runs, "one run has no interval")
    low, high = _newcombe(value, mine.size, others.size, confidence)
    return Estimate(value, low, high, runs, "score")


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjust p values for having looked at several, so that none is below 0.05 by chance too often.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.

    Args:
        p_values: Shape ``(tests,)``. NaN stays NaN and does not count as a test.

    Raises:
        ValueError: If a value is not between 0 and 1, or the shape is another one.
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1:
        raise ValueError(f"one p value for each test is needed, not an array of {p.shape}")
    given = np.flatnonzero(~np.isnan(p))
    if wrong := [float(value) for value in p[given] if not 0 <= value <= 1]:
        raise ValueError(f"a p value is between 0 and 1, not {wrong[0]}")
    order = given[np.argsort(p[given], kind="stable")]
    steps = np.arange(given.size, 0, -1) * p[order]
    result = np.full(p.shape, np.nan)
    result[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return result


def adjusted(differences: Sequence[Difference]) -> list[Difference]:
    """Fill in ``adjusted_p`` for differences that are looked at together, in the same order."""
    values = holm([difference.p for difference in differences])
    return [
        replace(difference, adjusted_p=float(value))
        for difference, value in zip(differences, values, strict=True)
    ]


def _pairs(ours: Mapping[int, float], theirs: Mapping[int, float]) -> tuple[Floats, Floats]:
    """Return the numbers of the seeds that both have, in their order."""
    for method in (ours, theirs):
        one_for_each_run(list(method.values()))
    seeds = sorted(ours.keys() & theirs.keys())
    return (
        np.array([ours[seed] for seed in seeds], np.float64),
        np.array([theirs[seed] for seed in seeds], np.float64),
    )


def _why_undefined(mine: Floats, others: Floats) -> str:
    return why_missing(mine - others, "pair") if mine.size else "no seed is in both"


def _wins(mine: Floats, others: Floats) -> Floats:
    """Return 1 where ours is higher, 1/2 where both are equal, and 0 elsewhere."""
    return np.asarray((np.sign(mine - others) + 1) / 2)


def _sign_flip_p(differences: Floats, seed: int) -> float:
    pairs = differences.size
    # In an order that depends neither on the seeds' nor on which method is ours.
    sizes = np.sort(np.abs(differences))
    # Sums of the same numbers in another order differ in their last digits, and are as far off.
    seen = abs(float(differences.sum())) - 1e-12 * float(sizes.sum())
    flips = _flips(pairs, seed)
    as_far = int((np.abs(flips @ sizes) >= seen).sum())
    if pairs <= ENUMERATED:
        return as_far / len(flips)
    return (1 + as_far) / (1 + len(flips))


@lru_cache(maxsize=8)
def _flips(pairs: int, seed: int) -> Floats:
    """Return all sign flips, or those that are drawn for many pairs, shape ``(flips, pairs)``."""
    if pairs <= ENUMERATED:
        flips = np.array(list(product((-1.0, 1.0), repeat=pairs)))
    else:
        flips = np.random.default_rng(seed).choice((-1.0, 1.0), (FLIPS, pairs))
    flips.setflags(write=False)
    return flips


def _newcombe(value: float, ours: int, theirs: int, confidence: float) -> tuple[float, float]:
    """Find the probabilities whose score is as far off as the confidence allows."""
    z = float(special.ndtri(0.5 + confidence / 2))
    mean = (ours + theirs) / 2 - 1

    def surplus(truth: float) -> float:
        alike = 1 + mean * ((1 - truth) / (2 - truth) + truth / (1 + truth))
        return (value - truth) ** 2 - z**2 * truth * (1 - truth) * alike / (ours * theirs)

    # At the value itself, where a root is that is not meant, if it is 0 or 1.
    beside = 1e-9
    low = _root(surplus, 0, value - beside) if value > 0 else 0.0
    high = _root(surplus, value + beside, 1) if value < 1 else 1.0
    return low, high


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(optimize.root_scalar(function, bracket=(low, high)).root)
