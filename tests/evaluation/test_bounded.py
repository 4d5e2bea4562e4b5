"""Means of scores that cannot leave a range: against written-out samples, and by simulation."""

import math

import numpy as np
import pytest
from bounded_runs import CAP, PAIRS, POPULATIONS, SCORE, Pair, Population, by_hand, published
from hypothesis import given
from hypothesis import strategies as st
from interval_coverage import of_difference, of_mean
from scipy import stats

from continual_arcade.evaluation.bounded import Range, at_end, share_interval
from continual_arcade.evaluation.comparison import paired_difference
from continual_arcade.evaluation.statistics import interquartile_mean, mean_over_runs

scores = st.lists(st.floats(0, CAP) | st.sampled_from([0.0, CAP]), min_size=2, max_size=20)
several = {population.name: population for population in POPULATIONS}


def by_seed(values: np.ndarray | list[float]) -> dict[int, float]:
    return dict(enumerate(map(float, values)))


# What it is


@given(scores)
def test_two_runs_in_the_middle_are_added(values: list[float]) -> None:
    estimate = mean_over_runs(values, within=SCORE)
    assert (estimate.low, estimate.high) == pytest.approx(by_hand(values, [CAP / 2] * 2), abs=1e-9)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= CAP
    assert estimate.value == pytest.approx(np.mean(values))
    assert estimate.runs == len(values)


@given(st.lists(st.tuples(st.floats(0, CAP), st.floats(0, 20)), min_size=2, max_size=20))
def test_of_a_difference_each_side_is_once_in_the_middle(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = map(np.array, zip(*pairs, strict=True))
    estimate = paired_difference(
        by_seed(ours), by_seed(theirs), within=(SCORE, Range.of_score(0, 20))
    ).estimate
    added = [CAP / 2 - theirs.mean(), ours.mean() - 10]
    expected = by_hand((ours - theirs).tolist(), added, Range(-20, CAP))
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=1e-9)
    # The simulation makes it in the same way.
    within = SCORE.less(Range.of_score(0, 20), ours.mean(), theirs.mean())
    assert mean_over_runs(ours - theirs, within=within) == estimate


def test_of_a_difference_of_changes_each_of_four_scores_is_in_the_middle_once() -> None:
    """Half a pair for each: written out twice over, with t and the count put right by hand."""
    rng = np.random.default_rng(0)
    end, learnt, their_end, they_learnt = rng.uniform(0, CAP, (4, 6))
    ours, theirs = end - learnt, their_end - they_learnt
    ranges = [
        SCORE.less(SCORE, later.mean(), earlier.mean())
        for later, earlier in ((end, learnt), (their_end, they_learnt))
    ]
    middle = CAP / 2
    changed = ours.mean(), theirs.mean()
    added = [
        middle - learnt.mean() - changed[1],
        end.mean() - middle - changed[1],
        changed[0] - (middle - they_learnt.mean()),
        changed[0] - (their_end.mean() - middle),
    ]
    within = ranges[0].less(ranges[1], *changed)
    assert within.middles == pytest.approx(added)
    assert (within.low, within.high) == (-2 * CAP, 2 * CAP)
    sample = np.concatenate([np.repeat(ours - theirs, 2), added])
    half = stats.t.ppf(0.975, 7) * sample.std() * math.sqrt(8 / 7) / math.sqrt(8)
    plain = stats.ttest_1samp(ours - theirs, 0.0).confidence_interval(0.95)
    found = paired_difference(by_seed(ours), by_seed(theirs), within=(ranges[0], ranges[1]))
    assert found.estimate.low == pytest.approx(min(plain.low, sample.mean() - half))
    assert found.estimate.high == pytest.approx(max(plain.high, sample.mean() + half))


@given(scores, st.floats(-50, 50), st.floats(0.1, 10), st.randoms(use_true_random=False))
def test_another_unit_or_order_changes_nothing(
    values: list[float], shift: float, scale: float, random: object
) -> None:
    one = mean_over_runs(values, within=SCORE)
    random.shuffle(values)  # type: ignore[attr-defined]
    other = mean_over_runs(
        np.array(values) * scale + shift, within=Range.of_score(shift, CAP * scale + shift)
    )
    assert (other.low, other.high) == pytest.approx(
        (one.low * scale + shift, one.high * scale + shift), rel=1e-9, abs=1e-6
    )
    mirrored = mean_over_runs(CAP - np.array(values), within=SCORE)
    assert (CAP - mirrored.high, CAP - mirrored.low) == pytest.approx((one.low, one.high), abs=1e-6)


def test_runs_in_the_middle_have_the_t_interval_nearly() -> None:
    values = [18.0, 21.0, 24.0, 26.0, 29.0]
    found, plain = mean_over_runs(values, within=SCORE), mean_over_runs(values)
    assert plain.kind == "t"
    assert found.kind == "bounded"
    assert found.low <= plain.low
    assert found.high - found.low < 1.05 * (plain.high - plain.low)


def test_equal_runs_at_the_cap_are_no_certainty() -> None:
    """Five of five: exactly, at least 48 % of all runs are there, and the others may be at 0."""
    estimate = mean_over_runs([CAP] * 5, within=SCORE)
    assert estimate.high == estimate.value == CAP
    assert 0.478 * CAP < estimate.low < 0.8 * CAP
    assert not estimate.reason
    assert f"{estimate:.1f}".startswith("47.0 [")
    ours = theirs = by_seed([CAP] * 5)
    difference = paired_difference(ours, theirs, within=(SCORE, SCORE)).estimate
    assert difference.low == pytest.approx(-difference.high)
    assert difference.high > 5
    # In the middle they are: there a spread would show.
    middle = mean_over_runs([CAP / 2] * 5, within=SCORE)
    assert middle.low == middle.high
    assert "all 5 runs are equal" in middle.reason


def test_where_one_end_is_known_it_is_cut_off_there() -> None:
    values = [0.1, 0.2, 3.0]
    found, plain = mean_over_runs(values, within=Range(0.0, math.inf)), mean_over_runs(values)
    assert plain.low < 0
    assert (found.low, found.high, found.kind) == (0, plain.high, "t")
    assert "[0.0, " in f"{found:.1f}"
    assert "±" in f"{plain:.1f}"
    skewed = [0.0] * 9 + [5.0] * 3
    held = interquartile_mean(skewed, within=Range.of_score(0.0, 2.6 * 2))
    assert 0 <= held.low <= held.value <= held.high <= 5.2


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the number of run 1 is 48, which cannot be: .* 0 to 47"):
        mean_over_runs([1.0, 48.0], within=SCORE)
    with pytest.raises(ValueError, match="run 0 is -1, which cannot be"):
        interquartile_mean([-1.0] * 10, within=SCORE)
    for ours, theirs in (([1.0, 50.0], [1.0, 1.0]), ([1.0, 1.0], [1.0, 50.0])):
        with pytest.raises(ValueError, match="the number of run 1 is 50"):
            paired_difference(by_seed(ours), by_seed(theirs), within=(SCORE, SCORE))
    with pytest.raises(ValueError, match="low end first, not 2 and 1"):
        Range(2, 1)
    # What rounding has left is no number outside, and NaN is said to be missing.
    assert mean_over_runs([CAP + 1e-12] * 3, within=SCORE).high >= CAP
    assert "lacks the number" in mean_over_runs([1.0, math.nan], within=SCORE).reason
    assert mean_over_runs([1.0], within=SCORE).reason == "one run has no interval"


# Runs at an end


@given(st.integers(1, 30), st.data())
def test_the_share_of_runs_at_an_end_is_exact(runs: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, runs))
    values = np.array([CAP] * count + [20.0] * (runs - count))
    found = at_end(values, SCORE, 0.95)
    if 2 * count < runs:
        assert found is None
        return
    assert found is not None
    expected = stats.binomtest(count, runs).proportion_ci(0.95, method="exact")
    assert (found.end, found.count, found.runs) == ("cap", count, runs)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert share_interval(count, runs, 0.95) == (found.low, found.high)
    mirrored = at_end(CAP - values, SCORE, 0.95)
    assert mirrored is not None
    assert (mirrored.end, mirrored.count) == ("floor", count)


def test_close_to_an_end_is_at_it() -> None:
    assert mean_over_runs([46.6, 46.6, 20.0], within=SCORE).at_end is not None
    assert mean_over_runs([46.4, 46.4, 20.0], within=SCORE).at_end is None
    # A change of 0 is no end of anything, and without a range there is none.
    changes = SCORE.less(SCORE, CAP, CAP)
    assert mean_over_runs([0.0, 0.0, 0.0], within=changes).at_end is None
    assert mean_over_runs([CAP, CAP, 46.9]).at_end is None


# How often it holds the mean

LEAST = 0.93
"""What 95 % intervals must hold, less three standard errors of a simulation."""


def least(trials: int) -> float:
    return LEAST - 3 * math.sqrt(LEAST * (1 - LEAST) / trials)


HARD = {"half 5 ± 2, half 40 ± 3": 0.92, "60 % at 0, 40 % at the cap": 0.90}
"""Of five runs at one of two ends each, no interval of a t quantile holds more."""


@pytest.mark.one_in(4)
@pytest.mark.parametrize("runs", [5, 10, 20])
@pytest.mark.parametrize("population", POPULATIONS, ids=lambda population: population.name)
def test_means_are_held_wherever_runs_crowd(population: Population, runs: int) -> None:
    found = of_mean(population, runs, 400)
    short = LEAST - HARD.get(population.name, LEAST)
    assert found.coverage >= least(400) - short
    assert found.outside == 0


@pytest.mark.one_in(4)
@pytest.mark.parametrize("runs", [5, 10, 20])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_differences_are_held_wherever_runs_crowd(pair: Pair, runs: int) -> None:
    found = of_difference(pair, runs, 300)
    assert found.coverage >= least(300)
    assert found.outside == 0


def test_those_tests_find_the_old_interval_out() -> None:
    for name, runs in (
        ("80 % at the cap, 20 % uniform", 5),
        ("90 % at the cap, 10 % uniform", 10),
        ("80 % at 0, 20 % uniform", 5),
        ("lognormal, median 1, sigma 1.2", 10),
    ):
        old = of_mean(several[name], runs, 400, bounded=False)
        assert old.coverage < least(400)
        assert of_mean(several[name], runs, 400).coverage >= LEAST
    assert of_mean(several["exponential, mean 10"], 5, 400, bounded=False).outside > 0.3
    old = of_difference(PAIRS[9], 5, 300, bounded=False)
    assert old.coverage < 0.8


def test_published_runs_are_held_but_for_few() -> None:
    populations = list(published())[::12]
    assert len(populations) > 60
    ours, old = (
        np.array([of_mean(one, 5, 60, bounded=bounded).coverage for one in populations])
        for bounded in (True, False)
    )
    assert ours.mean() > 0.97
    assert (ours < 0.85).mean() < 0.05
    assert old.mean() < 0.9
    assert (old < 0.85).mean() > 0.15
