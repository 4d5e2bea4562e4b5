"""Populations of runs whose scores cannot leave a range: synthetic ones, and those published.

Scores are between 0 and 47, as in an evaluation episode of Flappy Bird. A population is a function
of the rank of a run, uniform in [0, 1), so that its mean is known and two methods can be drawn with
correlated ranks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from continual_arcade.evaluation.bounded import Range
from continual_arcade.evaluation.csv_table import read_csv

Floats = npt.NDArray[np.float64]
Quantiles = Callable[[Floats], Floats]

CAP = 47.0
SCORE = Range.of_score(0.0, CAP)
RESULTS = Path(__file__).parents[1] / "docs" / "results"


@dataclass(frozen=True)
class Population:
    """Runs of a method: where a share of them ends up."""

    name: str
    quantiles: Quantiles
    within: Range = SCORE

    @cached_property
    def mean(self) -> float:
        """The mean of all runs, by quadrature."""
        steps = 200_000
        return float(self.quantiles((np.arange(steps) + 0.5) / steps).mean())

    def draw(self, trials: int, runs: int, seed: int = 0) -> Floats:
        """Draw scores, shape ``(trials, runs)``."""
        return self.quantiles(np.random.default_rng([seed, runs]).random((trials, runs)))


@dataclass(frozen=True)
class Pair:
    """Runs of two methods; equal seeds have correlated ranks (a Gaussian copula)."""

    name: str
    ours: Quantiles
    theirs: Quantiles
    correlation: float

    @cached_property
    def mean(self) -> float:
        """The mean difference."""
        return Population("", self.ours).mean - Population("", self.theirs).mean

    def draw(self, trials: int, runs: int, seed: int = 0) -> tuple[Floats, Floats]:
        """Draw scores of both, shape ``(trials, runs)`` each."""
        rng = np.random.default_rng([seed, runs])
        one, other = rng.normal(size=(2, trials, runs))
        other = self.correlation * one + (1 - self.correlation**2) ** 0.5 * other
        return self.ours(special.ndtr(one)), self.theirs(special.ndtr(other))


def normal(mean: float, deviation: float) -> Quantiles:
    """Normal, cut at the ends of the range as all that follow."""
    return lambda u: np.clip(mean + deviation * special.ndtri(u), 0, CAP)


def exponential(mean: float) -> Quantiles:
    """Most runs are poor, a few reach far."""
    return lambda u: np.clip(-mean * np.log1p(-u), 0, CAP)


def lognormal(median: float, deviation: float) -> Quantiles:
    """More so."""
    return lambda u: np.clip(median * np.exp(deviation * special.ndtri(u)), 0, CAP)


def uniform(u: Floats) -> Floats:
    """Anything, equally often."""
    return CAP * u


def mixed(share: float, one: Quantiles, other: Quantiles) -> Quantiles:
    """The lowest share of ranks is of one kind, the others are of another."""

    def quantiles(u: Floats) -> Floats:
        low = one(np.clip(u / share, 1e-12, 1 - 1e-12))
        high = other(np.clip((u - share) / (1 - share), 1e-12, 1 - 1e-12))
        return np.where(u < share, low, high)

    return quantiles


def all_at(score: float) -> Quantiles:
    """The same score in every run."""
    return lambda u: np.full_like(u, score)


def near_cap(u: Floats) -> Floats:
    """Hardly ever worse than the cap, and hardly ever just it."""
    return CAP + 0.05 * np.log(u)


POPULATIONS = tuple(
    Population(name, quantiles)
    for name, quantiles in {
        "normal, 25 ± 5": normal(25, 5),
        "normal, 10 ± 4": normal(10, 4),
        "normal, 40 ± 5": normal(40, 5),
        "uniform": uniform,
        "half 5 ± 2, half 40 ± 3": mixed(0.5, normal(5, 2), normal(40, 3)),
        "exponential, mean 10": exponential(10),
        "exponential, mean 20": exponential(20),
        "47 less exponential, mean 5": lambda u: CAP - exponential(5)(1 - u),
        "lognormal, median 1, sigma 0.5": lognormal(1, 0.5),
        "lognormal, median 1, sigma 1.2": lognormal(1, 1.2),
        "80 % at the cap, 20 % uniform": mixed(0.2, uniform, all_at(CAP)),
        "80 % at the cap, 20 % at 0": mixed(0.2, all_at(0), all_at(CAP)),
        "90 % at the cap, 10 % uniform": mixed(0.1, uniform, all_at(CAP)),
        "80 % near the cap, 20 % uniform": mixed(0.2, uniform, near_cap),
        "80 % at 0, 20 % uniform": mixed(0.8, all_at(0), uniform),
        "60 % at 0, 40 % at the cap": mixed(0.6, all_at(0), all_at(CAP)),
    }.items()
)

PAIRS = tuple(
    Pair(f"{name}, correlation {correlation:g}", ours, theirs, correlation)
    for name, ours, theirs in (
        ("25 ± 5 less 20 ± 5", normal(25, 5), normal(20, 5)),
        ("40 ± 3 less 3 ± 1", normal(40, 3), normal(3, 1)),
        ("exponential 20 less 10", exponential(20), exponential(10)),
        ("lognormal less lognormal", lognormal(1, 1), lognormal(0.6, 1)),
        (
            "80 % less 90 % near the cap",
            mixed(0.2, uniform, near_cap),
            mixed(0.1, uniform, near_cap),
        ),
        ("80 % at the cap less 30 ± 6", mixed(0.2, uniform, all_at(CAP)), normal(30, 6)),
        (
            "80 % at the cap less 80 % at 0",
            mixed(0.2, uniform, all_at(CAP)),
            mixed(0.8, all_at(0), uniform),
        ),
    )
    for correlation in (0.0, 0.9)
)


ALL_OR_NOTHING = Pair(
    "70 % at the cap less 50 % at the cap, others at 0, correlation 0.9",
    mixed(0.3, all_at(0), all_at(CAP)),
    mixed(0.5, all_at(0), all_at(CAP)),
    0.9,
)
"""What is held less often: most pairs are equal, though no mean is near an end."""


def by_hand(
    values: Sequence[float], added: Sequence[float], within: Range = SCORE
) -> tuple[float, float]:
    """Return the interval as the documentation describes it, of numbers written out.

    Args:
        values: One number for each run.
        added: The numbers of two more runs.
        within: Where it is cut off.
    """
    ends = []
    for sample in (values, [*values, *added]):
        half = stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample)
        ends += [np.mean(sample) - half, np.mean(sample) + half]
    return max(min(ends), within.low), min(max(ends), within.high)


def written(
    values: Sequence[float], added: Sequence[float], spec: str = ".1f", within: Range = SCORE
) -> str:
    """Write a mean with that interval as tables do."""
    low, high = by_hand(values, added, within)
    return f"{np.mean(values):{spec}} [{low:{spec}}, {high:{spec}}]"


def published() -> Iterator[Population]:
    """Take the runs of each method that was published as a population: 10 or 20 equally likely.

    Yields:
        Those of each score but where all runs are equal, with what it can be.
    """
    for study in ("classic", "lives", "memory", "reasons"):
        runs = read_csv(RESULTS / f"{study}-runs.csv")
        ranges = read_csv(RESULTS / f"{study}-ranges.csv").set_index(["in", "metric"])
        for (scenario, method), group in runs.groupby(["in", "method"], sort=False):
            for metric in ("la@mer", "acc@gem", "worst-phase@end", "auc@current-phase"):
                scores = np.sort(group[metric].to_numpy(np.float64))
                low, high = ranges.loc[(scenario, metric), ["low", "high"]].tolist()
                if scores[0] < scores[-1]:
                    yield Population(
                        f"{scenario}, {method}, {metric}", _steps(scores), Range.of_score(low, high)
                    )


def _steps(scores: Floats) -> Quantiles:
    return lambda u: scores[(u * scores.size).astype(np.int64)]
