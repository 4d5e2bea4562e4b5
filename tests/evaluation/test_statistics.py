"""Intervals over runs: against scipy's own, and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from continual_arcade.evaluation.statistics import Estimate, mean_over_runs

samples = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30).filter(
    lambda values: float(np.std(values)) > 1e-6
)


@given(samples)
def test_the_interval_is_that_of_the_t_test(values: list[float]) -> None:
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    estimate = mean_over_runs(values)
    assert estimate.mean - estimate.half_width == pytest.approx(low, rel=1e-9, abs=1e-6)
    assert estimate.mean + estimate.half_width == pytest.approx(high, rel=1e-9, abs=1e-6)
    assert estimate.runs == len(values)


def coverage(interval: object) -> float:
    """How often the interval of five normal numbers holds their true mean."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(4000):
        sample = rng.normal(3.0, 2.0, 5)
        mean, half = interval(sample)  # type: ignore[operator]
        hits += abs(mean - 3.0) <= half
    return hits / 4000


def test_the_interval_covers_what_it_says() -> None:
    def ours(sample: np.ndarray) -> tuple[float, float]:
        estimate = mean_over_runs(sample)
        return estimate.mean, estimate.half_width

    def normal(sample: np.ndarray) -> tuple[float, float]:
        """What is often printed instead, and is too narrow for few runs."""
        return float(sample.mean()), 1.96 * float(sample.std()) / 5**0.5

    assert coverage(ours) == pytest.approx(0.95, abs=0.01)
    assert coverage(normal) < 0.90


def test_one_run_has_no_interval() -> None:
    estimate = mean_over_runs([4.0])
    assert estimate.mean == 4
    assert math.isnan(estimate.half_width)
    assert f"{estimate:.1f}" == "4.0"


def test_how_it_reads() -> None:
    assert f"{Estimate(3.25, 1.06, 5):+.1f}" == "+3.2 ± 1.1"
    assert f"{mean_over_runs([math.nan, math.nan]):.1f}" == "-"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "one number for each run"),
        ([[1.0, 2.0]], r"not an array of \(1, 2\)"),
        ([1.0, math.nan, 2.0], "1 of 3 runs lack"),
    ],
)
def test_what_is_no_sample_is_refused(values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_over_runs(values)
