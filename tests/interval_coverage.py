"""How often intervals hold the truth, by simulation: a program and a module of the tests.

``python tests/interval_coverage.py`` prints the tables of docs/statistics.md.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from continual_arcade.evaluation.comparison import unpaired_probability_of_improvement
from continual_arcade.evaluation.statistics import interquartile_mean, mean_over_runs

Floats = npt.NDArray[np.float64]
Interval = Callable[[Floats], tuple[float, float]]
"""Makes an interval from the scores of some runs, shape ``(runs, phases)``."""

PHASES = 6


@dataclass(frozen=True)
class Runs:
    """Synthetic runs with true mean 0, whose phases are correlated within a run."""

    runs: int
    correlation: float
    skewness: float = 0.0
    """Of what a run adds to all its phases: a gamma distribution, or a normal one if 0."""

    def draw(self, trials: int, seed: int) -> Floats:
        """Draw scores of variance 1, shape ``(trials, runs, phases)``."""
        rng = np.random.default_rng([seed, self.runs])
        shape = (trials, self.runs, 1)
        of_run = rng.normal(size=shape)
        if self.skewness:
            k = 4 / self.skewness**2
            of_run = (rng.gamma(k, size=shape) - k) / k**0.5
        of_cell = rng.normal(size=(trials, self.runs, PHASES))
        return self.correlation**0.5 * of_run + (1 - self.correlation) ** 0.5 * of_cell


def coverage(interval: Interval, of: Runs, trials: int, seed: int = 0, truth: float = 0) -> float:
    """Return the share of trials in which the interval held the truth."""
    hits = 0
    for scores in of.draw(trials, seed):
        low, high = interval(scores)
        hits += low <= truth <= high
    return hits / trials


def ours(scores: Floats) -> tuple[float, float]:
    """One number for each run first."""
    estimate = mean_over_runs(scores.mean(axis=1))
    return estimate.low, estimate.high


def plain_bca(scores: Floats) -> tuple[float, float]:
    """BCa without expanded percentiles, over whole runs."""
    result = stats.bootstrap(
        (scores.mean(axis=1),), np.mean, method="BCa", n_resamples=999, rng=np.random.default_rng(0)
    )
    return result.confidence_interval.low, result.confidence_interval.high


def percentile(scores: Floats) -> tuple[float, float]:
    """The percentile bootstrap over whole runs."""
    runs = len(scores)
    drawn = np.random.default_rng(0).integers(0, runs, (999, runs))
    low, high = np.quantile(scores.mean(axis=1)[drawn].mean(axis=1), (0.025, 0.975))
    return low, high


def stratified(scores: Floats) -> tuple[float, float]:
    """The stratified bootstrap of rliable: other runs for each phase."""
    runs = len(scores)
    drawn = np.random.default_rng(0).integers(0, runs, (999, runs, PHASES))
    means = np.take_along_axis(scores[None], drawn, axis=1).mean(axis=(1, 2))
    low, high = np.quantile(means, (0.025, 0.975))
    return low, high


def cells(scores: Floats) -> tuple[float, float]:
    """Student's interval of all cells, as if they were independent."""
    interval = stats.ttest_1samp(scores.ravel(), 0.0).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


def middle(scores: Floats) -> tuple[float, float]:
    """Ours of the interquartile mean."""
    estimate = interquartile_mean(scores.mean(axis=1))
    return estimate.low, estimate.high


def improvement_coverage(runs: int, shift: float, trials: int, seed: int = 0) -> float:
    """Return how often the interval of an unpaired probability of improvement holds the truth.

    Args:
        runs: Runs of either method, normal with variance 1.
        shift: Of the mean of ours.
        trials: How many.
        seed: Of the runs.
    """
    rng = np.random.default_rng(seed)
    truth = float(stats.norm.cdf(shift / 2**0.5))
    hits = 0
    for _ in range(trials):
        estimate = unpaired_probability_of_improvement(
            rng.normal(shift, size=runs), rng.normal(size=runs)
        )
        hits += estimate.low <= truth <= estimate.high
    return hits / trials


def main() -> None:
    """Print the tables."""
    methods: list[tuple[str, Interval, int]] = [
        ("ours", ours, 10_000),
        ("IQM", middle, 4_000),
        ("plain BCa", plain_bca, 2_000),
        ("percentile", percentile, 4_000),
        ("stratified", stratified, 2_000),
        ("cells", cells, 2_000),
    ]
    print("| runs | correlation | skewness |", *(f"{name} |" for name, _, _ in methods))
    for correlation, skewness in ((0.5, 0.0), (0.9, 0.0), (0.9, 1.0), (0.9, 2.0)):
        for runs in (3, 5, 9, 10, 20):
            of = Runs(runs, correlation, skewness)
            found = [
                # The interquartile mean of skewed runs is not 0, and of few has no interval.
                "-"
                if interval is middle and (runs < 10 or skewness)
                else f"{coverage(interval, of, trials):.3f}"
                for _, interval, trials in methods
            ]
            print(f"| {runs} | {correlation} | {skewness:g} |", *(f"{x} |" for x in found))
    print()
    print("| runs of either | true probability of improvement | score interval |")
    for runs in (3, 5, 10, 20):
        for shift in (0.0, 1.0, 2.0, 3.0):
            held = improvement_coverage(runs, shift, 4_000)
            print(f"| {runs} | {stats.norm.cdf(shift / 2**0.5):.2f} | {held:.3f} |")


if __name__ == "__main__":
    main()
