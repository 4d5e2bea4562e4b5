"""What paired runs can show, before they are run.

Methods are compared seed by seed with the sign-flip test of :mod:`~.comparison`. Two things decide
what it finds: how far the truth is from 0 in spreads of the differences, and how small its p value
can become at all, which no effect mends.
"""

import math

from scipy import special

from continual_arcade.evaluation.comparison import ENUMERATED, FLIPS, smallest_p
from continual_arcade.evaluation.statistics import detectable_effect

LEVEL = 0.05
POWER = 0.8

_SETTLED = 40
"""Pairs from which on the smallest p value stays as it is: no drawn flip has all signs alike."""
_MANY = 10_000
"""Pairs from which on how far t is from normal is a matter of one or two of them."""


def pairs_to_decide(level: float = LEVEL) -> int | None:
    """Return from how many pairs on the sign-flip test can come below a level at all.

    Args:
        level: The level; for the first step of Holm's correction over m tests, 1/m of theirs.

    Returns:
        The number of pairs; None if none is enough, since of many pairs no more than
        ``comparison.FLIPS`` sign flips are drawn.

    Raises:
        ValueError: If the level is not between 0 and 1.
    """
    _check_share("level", level)
    if smallest_p(_SETTLED) >= level:
        return None
    return 1 + max(pairs for pairs in range(1, _SETTLED) if smallest_p(pairs) >= level)


def detectable_difference(
    pairs: int, spread: float, *, level: float = LEVEL, power: float = POWER
) -> float:
    """Return the smallest true difference that so many pairs of runs would show.

    It is that of the two-sided t test (noncentral t) at the level that the sign-flip test has: its
    p values are multiples of one smallest step. Where only pairs that all have the same sign are
    decided, it is where that happens as often as the power says. Both are of normal differences;
    ``docs/statistics.md`` says how often the sign-flip test then finds them.

    Args:
        pairs: How many.
        spread: Standard deviation of their differences.
        level: Level of the test; for the first step of Holm's correction over m tests, 1/m of
            theirs.
        power: Probability of finding it.

    Returns:
        The difference, in the unit of the spread; infinite where no difference could be found.

    Raises:
        ValueError: If there are fewer than two pairs, the spread is negative or NaN, or level or
            power is no share.
    """
    if pairs < 2:
        raise ValueError(f"at least two pairs are needed to show a difference, not {pairs}")
    _check_spread(spread)
    _check_share("level", level)
    smallest = smallest_p(min(pairs, _SETTLED))
    if smallest >= level:
        return math.inf
    confidence = 1 - _attained(pairs, level)
    found = detectable_effect(pairs, spread=spread, paired=True, confidence=confidence, power=power)
    if 2 * smallest >= level:
        found = max(found, spread * float(special.ndtri(power ** (1 / pairs))))
    return found


def pairs_needed(
    difference: float, spread: float, *, level: float = LEVEL, power: float = POWER
) -> int | None:
    """Return how many pairs of runs it takes to show a difference.

    Args:
        difference: The true difference, above 0.
        spread: Standard deviation of the differences of pairs, in the same unit.
        level: As in ``detectable_difference``.
        power: As in ``detectable_difference``.

    Returns:
        The number of pairs; None if none is enough, as in ``pairs_to_decide``.

    Raises:
        ValueError: If the difference is not a number above 0, or as in ``detectable_difference``.
    """
    check_difference(difference)
    _check_spread(spread)
    least = pairs_to_decide(level)
    if least is None:
        return None
    # With the spread known for certain it would take so many; less certain, some more.
    z = float(special.ndtri(1 - _attained(_SETTLED, level) / 2))
    ratio = (z + float(special.ndtri(power))) * spread / difference
    certain = ratio * ratio
    if math.isinf(certain):
        raise ValueError(f"difference = {difference:g} beside a spread of {spread:g} is too small")
    if certain > _MANY:
        return math.ceil(certain + z**2 / 2)
    # Of few pairs other levels are attained, and fewer may be enough.
    pairs = least if certain < _SETTLED else math.floor(certain)
    while detectable_difference(pairs, spread, level=level, power=power) > difference:
        pairs += 1
    return pairs


def spread_factors(runs: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return between which multiples of a measured standard deviation the true one may lie.

    Args:
        runs: Runs, or pairs, that it was measured of; normally distributed.
        confidence: Share of such intervals that hold the true one.

    Raises:
        ValueError: If there are fewer than two, or the confidence is no share.
    """
    if runs < 2:
        raise ValueError(f"at least two runs have a spread, not {runs}")
    _check_share("confidence", confidence)
    tail = (1 - confidence) / 2
    low, high = (
        math.sqrt((runs - 1) / float(special.chdtri(runs - 1, above))) for above in (tail, 1 - tail)
    )
    return low, high


def _attained(pairs: int, level: float) -> float:
    """Return the largest p value of so many pairs below a level."""
    step = smallest_p(pairs) if pairs <= ENUMERATED else 1 / (1 + FLIPS)
    return step * (math.ceil(level / step) - 1)


def check_difference(difference: float) -> None:
    """Check that a wanted difference is one.

    Raises:
        ValueError: If it is not a number above 0.
    """
    if not 0 < difference < math.inf:
        raise ValueError(
            f"difference = {difference:g} must be a number above 0: how far two methods are apart, "
            "in the unit of the score"
        )


def _check_spread(spread: float) -> None:
    if not 0 <= spread < math.inf:
        raise ValueError(f"spread = {spread:g} must be a number, and not negative")


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, not {value:g}")
