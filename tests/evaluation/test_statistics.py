"""Numbers over runs: against scipy's own, closed forms and brute force, and by simulation."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interval_coverage import Runs, cells, coverage, middle, ours, percentile, plain_bca, stratified
from scipy import integrate, special, stats

from continual_arcade.evaluation import bootstrap
from continual_arcade.evaluation.statistics import (
    Estimate,
    detectable_effect,
    few_runs_warning,
    interquartile_mean,
    kaplan_meier,
    mean_over_runs,
    performance_profile,
)


def profile_at_half(values: object, **more: float) -> object:
    return performance_profile(values, [0.5], **more)  # type: ignore[arg-type]


def none_censored(values: object) -> object:
    return kaplan_meier(values, np.zeros(np.shape(values), bool))  # type: ignore[arg-type]


ONE_SAMPLE = [mean_over_runs, interquartile_mean, profile_at_half, none_censored]


def samples(least: int, most: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(-1e6, 1e6), min_size=least, max_size=most).filter(
        lambda values: float(np.std(values)) > 1e-6
    )


def skewed(runs: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, size=runs)


# Means


@given(samples(2, 9))
def test_the_interval_of_a_few_runs_is_that_of_the_t_test(values: list[float]) -> None:
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    estimate = mean_over_runs(values)
    assert estimate.value == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-9, abs=1e-6)
    assert (estimate.runs, estimate.kind, estimate.reason) == (len(values), "t", "")


@pytest.mark.parametrize("statistic", [np.mean, lambda x, axis: stats.trim_mean(x, 0.25, axis)])
def test_bca_is_that_of_scipy(statistic: object) -> None:
    sample = skewed(14)
    result = stats.bootstrap(
        (sample,), statistic, n_resamples=4999, method="BCa", rng=np.random.default_rng(1)
    )
    value = float(statistic(sample, axis=0))  # type: ignore[operator]
    jackknife = np.array([statistic(np.delete(sample, i), axis=0) for i in range(14)])  # type: ignore[operator]
    z = float(special.ndtri(0.975))
    found = bootstrap.bca(value, result.bootstrap_distribution, jackknife, z)
    expected = (result.confidence_interval.low, result.confidence_interval.high)
    assert found == pytest.approx(expected, rel=1e-9)
    # Neither correction is idle.
    assert bootstrap.bca(value, result.bootstrap_distribution, -jackknife, z) != pytest.approx(
        expected, rel=1e-3
    )
    assert bootstrap.bca(value + 0.1, result.bootstrap_distribution, jackknife, z) != pytest.approx(
        expected, rel=1e-3
    )


@pytest.mark.parametrize("trim", [0.0, 0.25])
def test_resamples_are_of_whole_runs_put_back(trim: float) -> None:
    sample = np.sort(skewed(11))
    drawn = np.random.default_rng(7).integers(0, 11, (bootstrap.RESAMPLES, 11))
    brute = stats.trim_mean(sample[drawn], trim, axis=1)
    assert bootstrap.weights(11, trim, 7) @ sample == pytest.approx(brute, rel=1e-12)


@given(st.integers(2, 40), st.floats(0.5, 0.99))
def test_expanded_percentiles_of_normal_resamples_are_the_t_interval(
    runs: int, confidence: float
) -> None:
    sample = skewed(runs)
    of_resamples = sample.std() / runs**0.5  # the variance of a resample's mean is known
    low, high = stats.ttest_1samp(sample, 0.0).confidence_interval(confidence)
    width = 2 * bootstrap.expanded_quantile(runs, confidence) * of_resamples
    assert width == pytest.approx(high - low, rel=1e-9)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("correlation", [0.5, 0.9])
@pytest.mark.parametrize("runs", [3, 5, 9, 10, 20])
def test_95_percent_intervals_hold_the_truth_in_93_to_97(runs: int, correlation: float) -> None:
    trials = 4000 if runs < 10 else 1200
    assert 0.93 <= coverage(ours, Runs(runs, correlation), trials) <= 0.97


@pytest.mark.one_in(3)
@pytest.mark.parametrize("correlation", [0.5, 0.9])
@pytest.mark.parametrize("runs", [3, 5, 10, 20])
def test_that_test_finds_out_what_takes_phases_for_evidence(runs: int, correlation: float) -> None:
    for wrong in (stratified, cells):
        assert coverage(wrong, Runs(runs, correlation), 200) < 0.85


def test_and_bootstraps_that_are_too_narrow_for_few_runs() -> None:
    assert coverage(plain_bca, Runs(10, 0.5), 400) < 0.93
    assert coverage(percentile, Runs(10, 0.5), 1200) < 0.93


def test_it_is_nearly_kept_by_skewed_runs() -> None:
    assert 0.92 <= coverage(ours, Runs(10, 0.9, skewness=1.0), 1200) <= 0.97


def test_intervals_of_interquartile_means_are_cautious() -> None:
    assert 0.93 <= coverage(middle, Runs(10, 0.5), 1200) <= 0.985


@settings(max_examples=30)
@given(samples(2, 30), st.randoms(use_true_random=False), st.floats(-1e3, 1e3), st.floats(0.1, 10))
def test_order_place_and_scale_do_not_matter(
    values: list[float], random: object, shift: float, scale: float
) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    before = mean_over_runs(values)
    after = mean_over_runs(np.array(shuffled) * scale + shift)
    assert (after.value, after.low, after.high) == pytest.approx(
        tuple(scale * x + shift for x in (before.value, before.low, before.high)),
        rel=1e-6,
        abs=1e-5,
    )


def test_equal_seeds_make_equal_intervals() -> None:
    sample = skewed(12)
    for function in (mean_over_runs, interquartile_mean):
        assert function(sample, seed=3) == function(sample, seed=3)
        assert function(sample, seed=3) != function(sample, seed=4)


def test_more_confidence_is_wider() -> None:
    for runs in (5, 12):
        narrow, wide = (mean_over_runs(skewed(runs), confidence=c) for c in (0.8, 0.99))
        assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_a_bootstrap_leans_as_the_sample_does() -> None:
    estimate = mean_over_runs(skewed(15))
    assert estimate.kind == "BCa"
    assert estimate.high - estimate.value > 1.1 * (estimate.value - estimate.low)


@pytest.mark.parametrize("runs", [2, 9, 10, 40])
def test_equal_runs_have_an_interval_without_width_and_say_so(runs: int) -> None:
    estimate = mean_over_runs([0.1] * runs)
    assert (estimate.value, estimate.low, estimate.high) == (0.1, 0.1, 0.1)
    assert f"all {runs} runs are equal" in estimate.reason
    if runs >= 10:
        assert interquartile_mean([0.1] * runs) == estimate


def test_a_sample_with_many_ties_has_an_interval() -> None:
    one_odd = [0.3] * 19 + [5.0]
    estimate = mean_over_runs(one_odd)
    assert estimate.low == pytest.approx(0.3)
    assert estimate.low < estimate.value < estimate.high < 5
    middle_half = interquartile_mean(one_odd)
    assert middle_half.value == pytest.approx(0.3)
    assert middle_half.low == pytest.approx(0.3)


# Interquartile means


@given(samples(1, 30))
def test_the_interquartile_mean_is_that_of_scipy(values: list[float]) -> None:
    found = interquartile_mean(values).value
    assert found == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-9, abs=1e-6)


def test_a_few_runs_have_no_interval_of_it() -> None:
    estimate = interquartile_mean([1.0, 2.0, 3.0, 4.0, 100.0])
    assert estimate.value == 3
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
    assert estimate.reason == "an interval of the interquartile mean takes 10 runs, not 5"


def test_over_runs_and_phases_it_would_hide_what_every_run_forgot() -> None:
    scores = np.ones((10, 4))
    scores[:, 0] = 0
    assert stats.trim_mean(scores.ravel(), 0.25) == 1  # and this is why it is refused
    with pytest.raises(ValueError, match=r"not an array of \(10, 4\); reduce the phases"):
        interquartile_mean(scores)
    assert interquartile_mean(scores.mean(axis=1)).value == 0.75
    assert interquartile_mean(scores.min(axis=1)).value == 0


# What is no sample


def test_one_run_has_no_interval() -> None:
    estimate = mean_over_runs([4.0])
    assert estimate.value == 4
    assert math.isnan(estimate.low)
    assert estimate.reason == "one run has no interval"
    profile = performance_profile([4.0], [3, 5])
    assert profile.share.tolist() == [1, 0]
    assert np.isnan(profile.low).all()
    assert profile.reason


def test_the_runs_that_have_a_number_do_not_stand_for_those_that_have_none() -> None:
    for values, reason in (
        ([1.0, math.nan, 2.0], "1 of 3 runs lacks the number; the others are no fair sample"),
        ([1.0, math.nan, math.nan], "2 of 3 runs lack the number; the others are no fair sample"),
        ([math.nan, math.nan], "no run has the number"),
    ):
        for function in (mean_over_runs, interquartile_mean):
            estimate = function(values)
            assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
            assert (estimate.runs, estimate.kind, estimate.reason) == (len(values), "", reason)
        profile = performance_profile(values, [0.5])
        assert np.isnan([profile.share, profile.low, profile.high]).all()
        assert profile.reason == reason
        survival = kaplan_meier(values, [False] * len(values))
        assert np.isnan([survival.median, survival.restricted_mean]).all()
        assert survival.reason == reason


@pytest.mark.parametrize("function", ONE_SAMPLE)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "one number for each run"),
        ([[1.0, 2.0]], r"not an array of \(1, 2\)"),
        ([1.0, math.inf, 2.0], "the number of run 1 is inf"),
        ([1.0, 2.0, -math.inf], "the number of run 2 is -inf"),
    ],
)
def test_what_is_no_sample_is_refused(function: object, values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(values)  # type: ignore[operator]


@pytest.mark.parametrize("function", ONE_SAMPLE[:3])
def test_a_confidence_is_a_share(function: object) -> None:
    for confidence in (0.0, 1.0, 95, math.nan):
        with pytest.raises(ValueError, match=f"between 0 and 1, not {confidence}"):
            function([1.0, 2.0], confidence=confidence)  # type: ignore[operator]


def test_how_it_reads() -> None:
    assert f"{Estimate(3.25, 2.19, 4.31, 5, 't'):+.1f}" == "+3.2 ± 1.1"
    assert f"{Estimate(3.25, 2.1, 4.5, 12, 'BCa'):+.1f}" == "+3.2 [+2.1, +4.5]"
    assert f"{mean_over_runs([4.0]):.1f}" == "4.0"
    assert f"{mean_over_runs([math.nan, math.nan]):.1f}" == "-"
    assert f"{mean_over_runs([2.0, 2.0]):.1f}" == "2.0 ± 0.0"


# What few runs can show


def power(freedom: int, off: float, t: float) -> float:
    """How often a t test finds it: normal numerator, and the spread integrated out."""

    def density(spread: float) -> float:
        end = t * spread / freedom**0.5
        return float(
            stats.chi.pdf(spread, freedom) * (special.ndtr(off - end) + special.ndtr(-off - end))
        )

    return float(integrate.quad(density, 0, freedom**0.5 + 10, limit=200)[0])


@pytest.mark.parametrize("runs", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("paired", [False, True])
def test_the_detectable_effect_is_found_as_often_as_is_said(runs: int, paired: bool) -> None:
    freedom, per_run = (runs - 1, runs) if paired else (2 * runs - 2, runs / 2)
    t = float(stats.t.ppf(0.975, freedom))
    effect = detectable_effect(runs, spread=3.0, paired=paired)
    assert power(freedom, effect / 3 * per_run**0.5, t) == pytest.approx(0.8, abs=1e-6)
    # The usual formula, (1.96 + 0.84) standard errors, promises too much.
    assert power(freedom, 2.8 / 1, t) < 0.8


def test_it_is_that_of_the_tables() -> None:
    # Cohen (1988): 64 of each for d = 0.5, 26 for 0.8; 34 pairs for 0.5.
    for runs, paired, effect in ((64, False, 0.5), (26, False, 0.8), (34, True, 0.5)):
        assert detectable_effect(runs, spread=1, paired=paired) <= effect
        assert detectable_effect(runs - 1, spread=1, paired=paired) > effect


def test_one_run_detects_nothing() -> None:
    assert math.isnan(detectable_effect(1, spread=1.0))
    assert math.isnan(detectable_effect(5, spread=math.nan))
    assert detectable_effect(5, spread=0.0) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": 0}, "at least one run is needed, not 0"),
        ({"spread": -1.0}, "a spread is not negative, but it is -1.0"),
        ({"power": 0.01}, "power must be between 0.05 and 1, not 0.01"),
        ({"power": 1.0}, "power must be between 0.05 and 1, not 1.0"),
        ({"confidence": 95}, "between 0 and 1, not 95"),
    ],
)
def test_what_is_no_design_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detectable_effect(**{"runs": 5, "spread": 1.0, **change})  # type: ignore[arg-type]


def test_few_runs_are_warned_of() -> None:
    assert few_runs_warning(5, 1.0) == few_runs_warning(50, 1.0) == ""
    three = few_runs_warning(3, 1.5)
    assert "3 runs" in three
    assert "at least 5 are needed" in three
    assert f"{detectable_effect(3, spread=1.5):.3g}" in three
    assert "no difference at all" in few_runs_warning(1, math.nan)
    assert few_runs_warning(2, math.nan).endswith("are needed.")


# Profiles


@given(samples(2, 20), st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_a_profile_counts_the_runs_above(values: list[float], thresholds: list[float]) -> None:
    profile = performance_profile(values, thresholds)
    assert profile.share.tolist() == [
        sum(value > threshold for value in values) / len(values) for threshold in thresholds
    ]
    assert profile.runs == len(values)
    assert ((profile.low >= 0) & (profile.low <= profile.share)).all()
    assert ((profile.high <= 1) & (profile.high >= profile.share)).all()


def test_the_band_holds_the_whole_curve() -> None:
    rng = np.random.default_rng(0)
    thresholds = np.linspace(0.02, 0.98, 60)
    truth = 1 - thresholds  # of uniform runs
    whole, pointwise = 0, 0
    for _ in range(1000):
        profile = performance_profile(rng.random(12), thresholds)
        whole += bool(((profile.low <= truth) & (truth <= profile.high)).all())
        above = profile.share * 12
        low = special.betaincinv(np.maximum(above, 1e-9), 13 - above, 0.025)
        high = special.betaincinv(above + 1, np.maximum(12 - above, 1e-9), 0.975)
        pointwise += bool(((low <= truth) & (truth <= high)).all())
    assert 0.94 <= whole / 1000 <= 0.98
    assert pointwise / 1000 < 0.9


@pytest.mark.parametrize("thresholds", [[], [[1.0]], [math.nan]])
def test_what_are_no_thresholds_is_refused(thresholds: list[float]) -> None:
    with pytest.raises(ValueError, match="thresholds must be a list of numbers"):
        performance_profile([1.0, 2.0], thresholds)


# Times that are not all known


def product_limit(times: list[int], censored: list[bool]) -> list[tuple[int, Fraction]]:
    share, found = Fraction(1), []
    for time in sorted(set(times)):
        at_risk = sum(t >= time for t in times)
        share *= 1 - Fraction(
            sum(t == time and not c for t, c in zip(times, censored, strict=True)), at_risk
        )
        found.append((time, share))
    return found


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=20))
def test_survival_is_the_product_limit(watched: list[tuple[int, bool]]) -> None:
    times, censored = ([pair[i] for pair in watched] for i in (0, 1))
    survival = kaplan_meier(times, censored)
    expected = product_limit(times, censored)  # type: ignore[arg-type]
    assert survival.times.tolist() == [time for time, _ in expected]
    assert survival.share == pytest.approx([float(share) for _, share in expected], abs=1e-12)
    median = next((time for time, share in expected if share <= Fraction(1, 2)), None)
    if median is None:
        assert math.isnan(survival.median)
        assert survival.reason
    else:
        assert survival.median == median
        assert not survival.reason
    # Integer times: the area is the sum of the shares to whom it has not happened by 0, 1, 2 ...
    known = dict(expected)
    share, area = Fraction(1), Fraction(0)
    for time in range(max(times)):
        share = known.get(time, share)
        area += share
    assert survival.restricted_mean == pytest.approx(float(area), abs=1e-12)
    assert (survival.events, survival.censored) == (censored.count(False), censored.count(True))


def test_survival_of_a_published_trial() -> None:
    # Freireich et al. (1963), 6-MP; negative: still in remission when watching ended.
    weeks = [
        6,
        6,
        6,
        -6,
        7,
        -9,
        10,
        -10,
        -11,
        13,
        16,
        -17,
        -19,
        -20,
        22,
        23,
        -25,
        -32,
        -32,
        -34,
        -35,
    ]
    survival = kaplan_meier(np.abs(weeks), np.array(weeks) < 0)
    at = dict(zip(survival.times.tolist(), survival.share.round(3).tolist(), strict=True))
    assert [at[week] for week in (6, 7, 10, 13, 16, 22, 23)] == [
        0.857,
        0.807,
        0.753,
        0.690,
        0.627,
        0.538,
        0.448,
    ]
    assert survival.median == 23
    # Leaving out who was censored, or counting it as an event, makes it faster.
    assert np.median([week for week in weeks if week > 0]) == 10
    assert np.median(np.abs(weeks)) == 16


def test_an_agent_that_never_adapts_has_no_median() -> None:
    survival = kaplan_meier([100, 100, 100], [True] * 3)
    assert math.isnan(survival.median)
    assert survival.reason == "it did not happen to half of them, so there is no median"
    assert (survival.restricted_mean, survival.events, survival.censored) == (100, 0, 3)


def test_what_are_no_times_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a time is not negative, but there is -1\.0"):
        kaplan_meier([1.0, -1.0], [False, True])
    with pytest.raises(ValueError, match=r"2 times, but censored is an array of \(3,\)"):
        kaplan_meier([1.0, 2.0], [False, True, True])


@pytest.mark.parametrize("runs", [5, 20])
def test_numbers_that_differ_by_rounding_are_equal(runs: int) -> None:
    """Differences that cancel leave some 1e-16; an interval of that would not hold its own mean."""
    sample = 0.3 - np.linspace(0, 1e-16, runs) + np.tile([0.0, 2e-16], runs)[:runs]
    for found in (mean_over_runs(sample), mean_over_runs(1e9 * sample)):
        assert found.low == found.value == found.high
        assert "equal" in found.reason
    assert mean_over_runs(np.linspace(0.3, 0.3001, runs)).low < mean_over_runs(sample + 1e-3).value
