"""Power: against the sign-flip test itself, on drawn differences whose truth is known."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from continual_arcade.evaluation.comparison import _sign_flip_p, paired_difference, smallest_p
from continual_arcade.evaluation.power import (
    detectable_difference,
    pairs_needed,
    pairs_to_decide,
    spread_factors,
)


def flipped_p(differences: np.ndarray) -> float:
    """The p value by the definition of the test, over all sign flips."""
    sums = [
        abs(np.dot(signs, differences))
        for signs in itertools.product((-1, 1), repeat=differences.size)
    ]
    return float(np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9))


@pytest.mark.parametrize("pairs", [1, 2, 5, 6, 10])
def test_the_smallest_p_is_that_of_pairs_with_one_sign(pairs: int) -> None:
    assert smallest_p(pairs) == 2 / 2**pairs
    rng = np.random.default_rng(pairs)
    for _ in range(20):
        assert flipped_p(rng.normal(size=pairs)) >= smallest_p(pairs)


def test_of_many_pairs_the_smallest_p_is_one_that_the_test_gives() -> None:
    for pairs in (13, 17, 25):
        sizes = dict(enumerate(np.random.default_rng(pairs).uniform(1, 9, pairs)))
        found = paired_difference(sizes, dict.fromkeys(sizes, 0.0)).p
        assert found == smallest_p(pairs) <= 4e-4


def test_from_how_many_pairs_on_something_can_be_decided() -> None:
    assert pairs_to_decide() == 6
    assert pairs_to_decide(0.05 / 25) == 10  # as the cards say: 2 / 1,024 times 25 is below 0.05
    assert pairs_to_decide(0.05 / 26) == 11
    assert pairs_to_decide(0.05 / 105) == 13
    assert pairs_to_decide(0.05 / 600) is None  # of 9,999 drawn flips p is at least 1 / 10,000
    for tests in (1, 3, 25, 26, 105, 300):
        least = pairs_to_decide(0.05 / tests)
        assert least is not None
        assert smallest_p(least - 1) * tests >= 0.05
        assert all(smallest_p(pairs) * tests < 0.05 for pairs in range(least, least + 20))


def share_found(pairs: int, effect: float, level: float, samples: int) -> float:
    """How often the sign-flip test comes below a level, of normal differences with spread 1."""
    rng = np.random.default_rng([pairs, samples])
    found = 0
    for _ in range(samples):
        # The p value alone: the intervals of paired_difference take far longer.
        found += _sign_flip_p(rng.normal(effect, 1, pairs), 0) < level
    return found / samples


@pytest.mark.parametrize(
    ("pairs", "tests", "least"),
    [(6, 1, 0.76), (8, 1, 0.76), (10, 1, 0.76), (20, 1, 0.76), (10, 3, 0.72), (20, 3, 0.76),
     (10, 25, 0.76), (10, 10, 0.67), (20, 105, 0.72)],
)  # fmt: skip
def test_the_sign_flip_test_finds_it_about_as_often_as_is_said(
    pairs: int, tests: int, least: float
) -> None:
    level = 0.05 / tests
    effect = detectable_difference(pairs, 1.0, level=level)
    found = share_found(pairs, effect, level, 1_000)
    assert least < found < 0.84
    # Planted: at two thirds of the difference it is found far less often.
    assert share_found(pairs, effect * 2 / 3, level, 300) < least - 0.1


def test_it_is_the_paired_t_test_where_flips_are_many() -> None:
    found = detectable_difference(30, 2.0) / 2.0
    critical = stats.t.ppf(1 - 0.05 / 2, 29)
    off = found * math.sqrt(30)
    power = stats.nct.sf(critical, 29, off) + stats.nct.cdf(-critical, 29, off)
    assert power == pytest.approx(0.8, abs=0.01)


def test_no_effect_is_shown_where_p_cannot_become_small_enough() -> None:
    assert detectable_difference(5, 1.0) == math.inf
    assert detectable_difference(10, 1.0, level=0.05 / 26) == math.inf
    assert math.isfinite(detectable_difference(10, 1.0, level=0.05 / 25))
    assert detectable_difference(10, 0.0) == 0
    assert detectable_difference(10, 3.0) == pytest.approx(3 * detectable_difference(10, 1.0))


@pytest.mark.parametrize("level", [0.05, 0.05 / 3, 0.05 / 105])
@pytest.mark.parametrize("effect", [0.2, 0.5, 1.0, 3.0, 100.0])
def test_so_many_pairs_are_needed_and_no_fewer(effect: float, level: float) -> None:
    needed = pairs_needed(effect, 1.0, level=level)
    assert needed is not None
    assert detectable_difference(needed, 1.0, level=level) <= effect
    assert detectable_difference(needed - 1, 1.0, level=level) > effect


def test_some_differences_take_very_many_pairs_or_cannot_be_shown() -> None:
    normal = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2
    for effect in (0.01, 1e-3, 1e-9):
        assert pairs_needed(effect, 1.0) == pytest.approx(normal / effect**2, rel=0.001)
    # Where the search ends and the closed form begins they agree.
    for effect in (0.0279, 0.0281):
        needed = pairs_needed(effect, 1.0)
        assert needed is not None
        assert 9_900 < needed < 10_200
        assert (
            detectable_difference(needed + 1, 1.0) < effect < detectable_difference(needed - 2, 1.0)
        )
    assert pairs_needed(5.0, 0.0) == 6
    assert pairs_needed(5.0, 1.0, level=0.05 / 600) is None


def test_the_spread_of_few_runs_is_known_within_factors_that_hold_it() -> None:
    low, high = spread_factors(10)
    assert (low, high) == pytest.approx((0.688, 1.826), abs=1e-3)
    samples = np.random.default_rng(5).normal(size=(20_000, 10)).std(axis=1, ddof=1)
    assert np.mean((low * samples <= 1) & (high * samples >= 1)) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: detectable_difference(1, 1.0), "at least two pairs are needed .* not 1"),
        (lambda: detectable_difference(5, -1.0), "spread = -1 must be a number, and not negative"),
        (lambda: detectable_difference(5, math.nan), "spread = nan must be a number"),
        (lambda: detectable_difference(5, 1.0, level=0.0), "level must be between 0 and 1, not 0"),
        (lambda: detectable_difference(9, 1.0, power=1.0), "power must be between"),
        (lambda: pairs_needed(0.0, 1.0), "difference = 0 must be a number above 0"),
        (lambda: pairs_needed(-2.0, 1.0), "difference = -2 must be a number above 0"),
        (lambda: pairs_needed(math.nan, 1.0), "difference = nan must be"),
        (lambda: pairs_needed(math.inf, 1.0), "difference = inf must be"),
        (lambda: pairs_needed(1e-300, 6.0), "difference = 1e-300 beside a spread of 6 is too sm"),
        (lambda: pairs_needed(1.0, math.inf), "spread = inf must be"),
        (lambda: pairs_to_decide(1.5), "level must be between 0 and 1, not 1.5"),
        (lambda: smallest_p(0), "at least one pair is needed, not 0"),
        (lambda: spread_factors(1), "at least two runs have a spread, not 1"),
    ],
)
def test_what_makes_no_sense_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
