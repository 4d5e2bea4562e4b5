"""Comparisons of methods: against scipy's own, enumeration and brute force, and by simulation."""

import math
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interval_coverage import improvement_coverage
from scipy import stats

from continual_arcade.evaluation.comparison import (
    adjusted,
    holm,
    paired_difference,
    probability_of_improvement,
    unpaired_probability_of_improvement,
)
from continual_arcade.evaluation.statistics import mean_over_runs


def by_seed(values: object) -> dict[int, float]:
    return dict(enumerate(np.asarray(values, np.float64).tolist()))


def with_differences(values: list[float] | np.ndarray) -> tuple[dict[int, float], dict[int, float]]:
    """Two methods with these differences, on top of what the seed does to both."""
    of_seed = np.random.default_rng(0).normal(0, 0.01, len(values))
    return by_seed(np.asarray(values) + of_seed), by_seed(of_seed)


differences = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=8)


# Differences


@settings(max_examples=50)
@given(differences)
def test_p_is_that_of_all_sign_flips(values: list[float]) -> None:
    flips = [
        abs(sum(sign * value for sign, value in zip(signs, values, strict=True)))
        for signs in product((-1, 1), repeat=len(values))
    ]
    expected = np.mean([flip >= abs(sum(values)) for flip in flips])
    assert paired_difference(*with_differences(values)).p == pytest.approx(expected, abs=1e-12)
    others = by_seed([0.0] * len(values))
    assert paired_difference(by_seed(values), others).p == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("pairs", [7, 12, 13, 25])
def test_p_is_that_of_scipy(pairs: int) -> None:
    sample = np.random.default_rng(pairs).normal(0.5, 1, pairs)
    scipys = stats.permutation_test(
        (sample,),
        np.mean,
        permutation_type="samples",
        n_resamples=9999,
        rng=np.random.default_rng(1),
    )
    # Exact up to twelve; for more, both are drawn.
    tolerance = 1e-12 if pairs <= 12 else 0.02
    assert paired_difference(*with_differences(sample)).p == pytest.approx(
        scipys.pvalue, abs=tolerance
    )


def test_p_is_never_less_than_what_can_be_told() -> None:
    for pairs, least in ((5, 2 / 2**5), (6, 2 / 2**6), (12, 2 / 2**12), (40, 1 / 10_000)):
        assert paired_difference(by_seed([9.0] * pairs), by_seed([1.0] * pairs)).p == least


def test_methods_that_are_equal_are_rarely_called_different() -> None:
    rng = np.random.default_rng(0)
    for pairs in (6, 9, 14):
        found = [
            paired_difference(by_seed(rng.normal(size=pairs)), by_seed(rng.normal(size=pairs))).p
            for _ in range(600)
        ]
        assert 0.02 <= np.mean(np.array(found) <= 0.05) <= 0.075


def test_pairing_sees_what_the_seeds_hide() -> None:
    rng = np.random.default_rng(0)
    of_seed = rng.normal(0, 10, 9)
    ours, theirs = of_seed + 2 + rng.normal(0, 0.5, 9), of_seed + rng.normal(0, 0.5, 9)
    paired = paired_difference(by_seed(ours), by_seed(theirs))
    assert paired.p < 0.01
    assert paired.estimate.low > 0
    # Runs that are paired with others' seeds, or with none, show nothing.
    assert paired_difference(by_seed(ours), by_seed(np.roll(theirs, 1))).p > 0.1
    assert stats.ttest_ind(ours, theirs).pvalue > 0.1


def test_only_seeds_that_both_have_count_in_whatever_order() -> None:
    ours = {3: 5.0, 0: 2.0, 7: 100.0, 1: 4.0}
    theirs = {1: 1.0, 0: 1.0, 3: 1.0, 8: -100.0}
    difference = paired_difference(ours, theirs)
    assert difference.pairs == 3
    assert difference.estimate == mean_over_runs([1.0, 3.0, 4.0])
    assert difference.wins == probability_of_improvement(ours, theirs)
    assert difference.wins.value == 1
    assert difference.spread == float(np.std([1, 3, 4], ddof=1))
    assert not difference.reason
    assert math.isnan(difference.adjusted_p)


@pytest.mark.parametrize("pairs", [5, 15])
def test_exchanged_methods_have_the_opposite_difference(pairs: int) -> None:
    ours, theirs = with_differences(np.random.default_rng(2).normal(0.4, 1, pairs))
    one, other = paired_difference(ours, theirs), paired_difference(theirs, ours)
    assert one.estimate.value == pytest.approx(-other.estimate.value)
    assert one.p == other.p
    assert one.wins.value == pytest.approx(1 - other.wins.value)
    assert one.wins.low == pytest.approx(1 - other.wins.high)
    # Resamples are drawn: the ends are the same but for that.
    width = one.estimate.high - one.estimate.low
    assert one.estimate.low == pytest.approx(-other.estimate.high, abs=0.05 * width)


def test_equal_seeds_make_equal_differences() -> None:
    ours, theirs = with_differences(np.random.default_rng(2).normal(0.4, 1, 15))
    assert repr(paired_difference(ours, theirs, seed=1)) == repr(
        paired_difference(ours, theirs, seed=1)
    )
    assert paired_difference(ours, theirs, seed=1).p != paired_difference(ours, theirs, seed=2).p


def test_what_is_undefined_says_why() -> None:
    for ours, theirs, pairs, reason in (
        ({0: 1.0}, {1: 1.0}, 0, "no seed is in both"),
        (
            {0: 1.0, 1: math.nan, 2: 3.0},
            {0: 1.0, 1: 1.0, 2: 1.0},
            3,
            "1 of 3 pairs lacks the number; the others are no fair sample",
        ),
        ({0: math.nan, 1: 2.0}, {0: 1.0, 1: math.nan}, 2, "no pair has the number"),
    ):
        difference = paired_difference(ours, theirs)
        assert difference.pairs == pairs
        assert np.isnan([difference.p, difference.spread, difference.estimate.value]).all()
        assert math.isnan(difference.wins.value)
        assert difference.reason == difference.estimate.reason == difference.wins.reason == reason
    # A run that only one of them has is none of the pairs.
    assert not paired_difference({0: 1.0, 1: 2.0, 9: math.nan}, {0: 0.0, 1: 0.5}).reason


def test_one_pair_has_no_interval() -> None:
    difference = paired_difference({4: 3.0}, {4: 1.0})
    assert (difference.estimate.value, difference.p, difference.wins.value) == (2, 1, 1)
    assert np.isnan([difference.estimate.low, difference.wins.low, difference.spread]).all()
    assert difference.reason == "one run has no interval"


def test_equal_methods_differ_by_nothing() -> None:
    difference = paired_difference(by_seed([1.0, 2.0, 3.0]), by_seed([1.0, 2.0, 3.0]))
    assert (difference.estimate.value, difference.p, difference.wins.value) == (0, 1, 0.5)
    assert "all 3 runs are equal" in difference.reason


@pytest.mark.parametrize("compare", [paired_difference, probability_of_improvement])
def test_what_is_no_method_is_refused(compare: object) -> None:
    with pytest.raises(ValueError, match="one number for each run is needed"):
        compare({}, {0: 1.0})  # type: ignore[operator]
    with pytest.raises(ValueError, match="the number of run 1 is inf"):
        compare({0: 1.0}, {0: 1.0, 1: math.inf})  # type: ignore[operator]
    with pytest.raises(ValueError, match="between 0 and 1, not 95"):
        compare({0: 1.0}, {0: 1.0}, confidence=95)  # type: ignore[operator]


# Probability of improvement


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize(("wins", "pairs"), [(0, 5), (3, 5), (5, 5), (7, 20), (2, 2)])
def test_wins_have_the_exact_interval(wins: int, pairs: int, confidence: float) -> None:
    ours, theirs = by_seed([1.0] * wins + [-1.0] * (pairs - wins)), by_seed([0.0] * pairs)
    estimate = probability_of_improvement(ours, theirs, confidence=confidence)
    expected = stats.binomtest(wins, pairs).proportion_ci(confidence, method="exact")
    assert estimate.value == wins / pairs
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert (estimate.runs, estimate.kind) == (pairs, "exact")


def test_ties_are_half_a_win() -> None:
    estimate = probability_of_improvement(by_seed([1.0, 2.0, 3.0]), by_seed([1.0, 2.0, 0.0]))
    assert estimate.value == pytest.approx(2 / 3)


def test_the_interval_of_wins_holds_the_truth_with_ties_and_all() -> None:
    pairs = 6
    counts = [(w, t) for w in range(pairs + 1) for t in range(pairs + 1 - w)]
    ends = {}
    for wins, ties in counts:
        ours = by_seed([1.0] * wins + [0.0] * ties + [-1.0] * (pairs - wins - ties))
        estimate = probability_of_improvement(ours, by_seed([0.0] * pairs))
        ends[wins, ties] = (estimate.low, estimate.high)
    for win, tie in product(np.linspace(0, 1, 21), repeat=2):
        if win + tie > 1:
            continue
        truth, lose = win + tie / 2, max(1 - win - tie, 0.0)
        held = sum(
            math.comb(pairs, w)
            * math.comb(pairs - w, t)
            * win**w
            * tie**t
            * lose ** (pairs - w - t)
            for w, t in counts
            if ends[w, t][0] - 1e-12 <= truth <= ends[w, t][1] + 1e-12
        )
        assert held > 0.95


@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=12),
    st.lists(st.integers(0, 6), min_size=2, max_size=12),
)
def test_unpaired_it_is_mann_and_whitneys_u(ours: list[int], theirs: list[int]) -> None:
    estimate = unpaired_probability_of_improvement(ours, theirs)
    u = stats.mannwhitneyu(ours, theirs).statistic
    assert estimate.value == pytest.approx(u / (len(ours) * len(theirs)), abs=1e-12)
    assert estimate.low <= estimate.value <= estimate.high
    assert (estimate.runs, estimate.kind) == (len(ours) + len(theirs), "score")
    other = unpaired_probability_of_improvement(theirs, ours)
    assert other.low == pytest.approx(1 - estimate.high, abs=1e-6)


def test_its_ends_are_where_the_score_is_1_96() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0.7, 1, 6), rng.normal(0, 1, 9)
    estimate = unpaired_probability_of_improvement(ours, theirs)
    # All true probabilities whose score is less, looked for one by one.
    truth = np.linspace(0, 1, 200_001)[1:-1]
    mean = (6 + 9) / 2 - 1
    of_one = truth * (1 - truth) / (6 * 9)
    error = of_one * (1 + mean * (1 - truth) / (2 - truth) + mean * truth / (1 + truth))
    inside = truth[np.abs(estimate.value - truth) < 1.959964 * np.sqrt(error)]
    assert (estimate.low, estimate.high) == pytest.approx((inside.min(), inside.max()), abs=2e-5)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("runs", [3, 5, 10])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_its_interval_holds_the_truth(runs: int, shift: float) -> None:
    assert improvement_coverage(runs, shift, 1000) > 0.9


def test_a_bootstrap_of_it_would_not_when_methods_are_far_apart() -> None:
    rng = np.random.default_rng(0)
    truth = float(stats.norm.cdf(3 / 2**0.5))
    hits = 0
    for _ in range(200):
        wins = rng.normal(3, 1, 10)[:, None] > rng.normal(0, 1, 10)
        drawn = rng.integers(0, 10, (2, 299, 10))
        found = wins[drawn[0][:, :, None], drawn[1][:, None, :]].mean(axis=(1, 2))
        hits += np.quantile(found, 0.025) <= truth <= np.quantile(found, 0.975)
    assert hits / 200 < 0.6


def test_methods_that_are_far_apart_have_an_interval_with_width() -> None:
    estimate = unpaired_probability_of_improvement([7.0, 8.0, 9.0], [1.0, 2.0, 3.0])
    assert estimate.value == estimate.high == 1
    assert 0.3 < estimate.low < 0.6
    other = unpaired_probability_of_improvement([1.0, 2.0, 3.0], [7.0, 8.0, 9.0])
    assert other.value == other.low == 0


def test_unpaired_what_is_undefined_says_why() -> None:
    lacking = unpaired_probability_of_improvement([1.0, 2.0], [1.0, math.nan])
    assert math.isnan(lacking.value)
    assert lacking.reason.startswith("1 of 2 runs lacks")
    one = unpaired_probability_of_improvement([2.0], [1.0, 3.0])
    assert one.value == 0.5
    assert math.isnan(one.low)
    assert one.reason == "one run has no interval"
    with pytest.raises(ValueError, match=r"not an array of \(1, 2\)"):
        unpaired_probability_of_improvement([[1.0, 2.0]], [1.0])


# Several at once


def rejected(p_values: list[float], level: float) -> set[int]:
    """Which tests Holm's procedure rejects: the smallest first, until one fails."""
    found: set[int] = set()
    for index in sorted(range(len(p_values)), key=p_values.__getitem__):
        if p_values[index] > level / (len(p_values) - len(found)):
            break
        found.add(index)
    return found


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]).tolist() == [1, 1]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_an_adjusted_p_is_below_the_level_where_holm_rejects(
    p_values: list[float], level: float
) -> None:
    found = holm(p_values)
    # Where a product is rounded at the very level, either is right.
    if np.abs(found - level).min() > 1e-9:
        assert {i for i, p in enumerate(found) if p <= level} == rejected(p_values, level)


def test_what_holm_is_not() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert np.abs(holm(p) - p * 4).max() > 0.01  # Bonferroni
    ranks = 4 - p.argsort().argsort()
    assert np.abs(holm(p) - p * ranks).max() > 0.01  # without the running maximum


def test_tests_that_are_undefined_do_not_count() -> None:
    found = holm([0.02, math.nan, 0.03, math.nan])
    assert np.isnan(found).tolist() == [False, True, False, True]
    assert found[[0, 2]].tolist() == pytest.approx([0.04, 0.04])


def test_the_order_of_tests_does_not_matter() -> None:
    p = [0.01, 0.2, 0.03, 0.01]
    expected = dict(zip(p, holm(p).tolist(), strict=True))
    for order in permutations(p):
        assert holm(order).tolist() == [expected[value] for value in order]


@pytest.mark.parametrize(
    ("p_values", "message"),
    [
        ([0.5, 1.5], "between 0 and 1, not 1.5"),
        ([-0.1], "between 0 and 1, not -0.1"),
        ([[0.1]], r"not an array of \(1, 1\)"),
    ],
)
def test_what_is_no_p_is_refused(p_values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        holm(p_values)


def test_differences_are_adjusted_together() -> None:
    theirs = by_seed([0.0] * 8)
    of = [
        paired_difference(by_seed(values), theirs)
        for values in ([1.0] * 8, [1.0] * 7 + [-1.0], [math.nan] + [1.0] * 7)
    ]
    found = adjusted(of)
    assert [d.p for d in found[:2]] == [d.p for d in of[:2]]
    assert [d.adjusted_p for d in found[:2]] == [2 * of[0].p, max(2 * of[0].p, of[1].p)]
    assert math.isnan(found[2].adjusted_p)
    assert found[0].estimate == of[0].estimate
    assert adjusted([]) == []
