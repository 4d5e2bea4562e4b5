"""How often intervals hold the truth, by simulation: a program and a module of the tests.

``python tests/interval_coverage.py`` prints the tables of docs/statistics.md.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from bounded_runs import ALL_OR_NOTHING, CAP, PAIRS, POPULATIONS, SCORE, Pair, Population, published
from scipy import stats

from continual_arcade.evaluation.bounded import Range
from continual_arcade.evaluation.comparison import unpaired_probability_of_improvement
from continual_arcade.evaluation.statistics import Estimate, interquartile_mean, mean_over_runs

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


@dataclass(frozen=True)
class Found:
    """What the intervals of samples came to."""

    coverage: float
    """Share of the samples in which the interval held the mean."""
    width: float
    """Mean width."""
    outside: float
    """Share of the samples in which it left the possible range."""


def of_mean(
    population: Population,
    runs: int,
    trials: int,
    seed: int = 0,
    *,
    bounded: bool = True,
    confidence: float = 0.95,
) -> Found:
    """Try the interval of a mean.

    Args:
        population: Where the runs are drawn from.
        runs: Runs of a sample.
        trials: Samples.
        seed: Of the samples.
        bounded: Whether the interval is told what a score can be.
        confidence: What it is to hold.
    """
    within = population.within if bounded else None
    found = [
        mean_over_runs(sample, within=within, confidence=confidence)
        for sample in population.draw(trials, runs, seed)
    ]
    return _found(found, population.mean, population.within)


def of_difference(
    pair: Pair, runs: int, trials: int, seed: int = 0, *, bounded: bool = True
) -> Found:
    """Try the interval of a mean difference of runs with equal seeds, as ``of_mean`` does.

    It is made as ``paired_difference`` makes it, without the tests of significance.
    """
    found = []
    for ours, theirs in zip(*pair.draw(trials, runs, seed), strict=True):
        within = SCORE.less(SCORE, float(ours.mean()), float(theirs.mean())) if bounded else None
        found.append(mean_over_runs(ours - theirs, within=within))
    return _found(found, pair.mean, Range(-CAP, CAP))


def _found(estimates: Sequence[Estimate], truth: float, within: Range) -> Found:
    low, high = (np.array([getattr(one, end) for one in estimates]) for end in ("low", "high"))
    slack = 1e-6 * CAP  # a mean by quadrature is off in its last digits
    return Found(
        float(((low <= truth + slack) & (truth - slack <= high)).mean()),
        float((high - low).mean()),
        float(((low < within.low) | (high > within.high)).mean()),
    )


def bounded_table(
    title: str, try_it: Callable[..., Found], cases: Iterable[Population | Pair], trials: int
) -> None:
    """Print how often means of scores in a range are held, by the interval and by the old one."""
    sizes = (3, 5, 10, 20)
    columns = [*map(str, sizes), "width / old", *(f"old, {runs}" for runs in sizes), "left"]
    print(f"| {title} |", *(f"{name} |" for name in columns))
    for case in cases:
        ours = [try_it(case, runs, trials) for runs in sizes]
        old = [try_it(case, runs, trials // 5, bounded=False) for runs in sizes]
        wider = " ".join(f"{a.width / b.width:.1f}" for a, b in zip(ours, old, strict=True))
        cells = [f"{one.coverage:.3f}" for one in ours]
        cells += [wider, *(f"{one.coverage:.3f}" for one in old), f"{old[1].outside:.2f}"]
        print(f"| {case.name} |", *(f"{cell} |" for cell in cells), flush=True)


def confidence_table(trials: int) -> None:
    """Print the lowest and the highest share of means that other intervals hold."""
    print("| confidence | 5 | 10 | 20 |")
    for confidence in (0.8, 0.9, 0.99):
        cells = []
        for runs in (5, 10, 20):
            held = [of_mean(p, runs, trials, confidence=confidence).coverage for p in POPULATIONS]
            cells.append(f"{min(held):.3f} to {max(held):.3f}")
        print(f"| {confidence} |", *(f"{cell} |" for cell in cells), flush=True)


def middle_table(trials: int) -> None:
    """Print how often the interquartile mean is held."""
    print("| interquartile mean of | 10 | 20 |")
    for case in POPULATIONS:
        shares = np.linspace(0.25, 0.75, 200_001)
        truth = float(case.quantiles((shares[1:] + shares[:-1]) / 2).mean())
        cells = []
        for runs in (10, 20):
            found = [
                interquartile_mean(sample, within=case.within) for sample in case.draw(trials, runs)
            ]
            cells.append(f"{_found(found, truth, case.within).coverage:.3f}")
        print(f"| {case.name} |", *(f"{cell} |" for cell in cells), flush=True)


def published_table(trials: int) -> None:
    """Print the same of the published runs of each method, as populations."""
    print("| runs | interval | mean coverage | below .90 | lowest | width / old, median |")
    populations = list(published())[::3]
    for runs in (5, 10, 20):
        ours = [of_mean(one, runs, trials) for one in populations]
        old = [of_mean(one, runs, trials // 5, bounded=False) for one in populations]
        wider = np.median([a.width / b.width for a, b in zip(ours, old, strict=True) if b.width])
        for name, found in (("used here", ours), ("old", old)):
            held = np.array([one.coverage for one in found])
            print(
                f"| {runs} | {name} | {held.mean():.3f} | {(held < 0.9).mean():.3f} | "
                f"{held.min():.3f} | {wider if name != 'old' else 1:.2f} |",
                flush=True,
            )
    print(f"{len(populations)} groups of runs")


def main() -> None:
    """Print the tables."""
    bounded_table("mean of", of_mean, POPULATIONS, 10_000)
    print()
    bounded_table("mean difference of", of_difference, (*PAIRS, ALL_OR_NOTHING), 10_000)
    print()
    published_table(500)
    print()
    middle_table(1_000)
    print()
    confidence_table(2_000)
    print()
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
