"""Progressive width search: networks are tried from small to large, by what small ones have shown.

After progressive neural architecture search (Liu et al. 2018, "Progressive neural architecture
search"): networks of one hidden layer are all tried; the best of them get another layer, of each
width; of these only those are tried that a surrogate, fitted to all trials so far, expects most of;
and so on. It differs in what is searched, the widths of perceptrons in place of the cells of
convolutional networks, and in the surrogate, ridge regression on a handful of features in place of
recurrent networks, since there are tens of trials and not thousands.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Hidden = tuple[int, ...]
"""Units of each hidden layer, the first one first."""
MOST = 100_000
"""Networks to choose from; of more it would take long to say which is the most promising."""
RIDGE = 1.0
"""How strongly slopes of the surrogate are drawn to 0, in units of a trial."""


@dataclass(frozen=True)
class Widths:
    """The networks that are searched."""

    widths: Hidden
    """What a hidden layer may have [units]."""
    layers: int = 3
    """Hidden layers at the most."""
    beam: int = 3
    """How many networks of a size get another layer, and how many of the next size are tried."""

    def __post_init__(self) -> None:
        """Check that there is something to search.

        Raises:
            ValueError: If not; the message names the value.
        """
        if not self.widths or list(self.widths) != sorted({*self.widths}) or self.widths[0] < 1:
            raise ValueError(
                f"widths = {list(self.widths)} must be numbers of units from 1 on, each larger "
                "than the one before it"
            )
        for name in ("layers", "beam"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} = {value} must be at least 1")
        if self.layers > math.log2(MOST) or self.count > MOST:
            raise ValueError(
                f"layers = {self.layers} of {len(self.widths)} widths: more than {MOST:,} networks "
                "to choose from; give fewer layers, or fewer widths"
            )

    @property
    def count(self) -> int:
        """How many networks there are."""
        return sum(len(self.widths) ** layers for layers in range(1, self.layers + 1))

    @property
    def first(self) -> list[int]:
        """The smallest network."""
        return [self.widths[0]]

    @property
    def extremes(self) -> list[Hidden]:
        """Each width alone, and the largest network: where these can be learnt, all can."""
        return [*self.of_layers(1), (self.widths[-1],) * self.layers]

    def of_layers(self, count: int) -> list[Hidden]:
        """Return all networks with so many hidden layers."""
        return list(itertools.product(self.widths, repeat=count))

    def check(self, trials: int) -> None:
        """Check that a budget can be spent on these networks.

        Raises:
            ValueError: If not; the message says on how many it can.
        """
        if not len(self.widths) <= trials <= self.count:
            raise ValueError(
                f"trials = {trials}: there are {len(self.widths)} networks of one hidden layer, "
                f"which are all tried, and {self.count} in all; give {len(self.widths)} to "
                f"{self.count}"
            )


class WidthSearch:
    """Chooses one network after the other.

    Sizes are left for larger ones in their order; where all have been reached, what is left of the
    budget goes to the networks of any size that the surrogate expects most of, one at a time.
    """

    def __init__(self, space: Widths) -> None:
        self.space = space
        self._scores: dict[Hidden, float] = {}
        self._layers = 0
        self._waiting: list[Hidden] = []
        self._asked: Hidden = ()

    def ask(self) -> Hidden:
        """Return what is to be tried next."""
        if not self._waiting:
            self._layers += 1
            self._waiting = self._next()
        self._asked = self._waiting.pop(0)
        return self._asked

    def tell(self, score: float) -> None:
        """Take the score of what was asked for last; larger is better."""
        self._scores[self._asked] = score

    def _next(self) -> list[Hidden]:
        space, tried = self.space, self._scores
        if self._layers == 1:
            return space.of_layers(1)
        if self._layers <= space.layers:
            smaller = [each for each in tried if len(each) == self._layers - 1]
            best = sorted(smaller, key=tried.__getitem__, reverse=True)[: space.beam]
            grown = [(*each, width) for each in best for width in space.widths]
            return self._promising(grown)[: space.beam]
        every = [each for n in range(1, space.layers + 1) for each in space.of_layers(n)]
        return self._promising([each for each in every if each not in tried])[:1]

    def _promising(self, networks: Sequence[Hidden]) -> list[Hidden]:
        """Sort networks: first what is expected to score most, and among equals the smallest."""
        expected = dict(zip(networks, surrogate(self._scores, networks).tolist(), strict=True))
        return sorted(networks, key=lambda each: (-round(expected[each], 9), sum(each)))


def surrogate(tried: Mapping[Hidden, float], networks: Sequence[Hidden]) -> Floats:
    """Predict the scores of networks from those of others, by ridge regression.

    Args:
        tried: Scores by network, one at least.
        networks: Those to predict.

    Returns:
        Expected scores, shape ``(networks,)``.
    """
    scores = np.array(list(tried.values()))
    known = _features(list(tried))
    center = known.mean(axis=0)
    known -= center
    normal = known.T @ known + RIDGE * np.eye(known.shape[1])
    slopes = np.linalg.solve(normal, known.T @ (scores - scores.mean()))
    expected: Floats = scores.mean() + (_features(networks) - center) @ slopes
    return expected


def _features(networks: Sequence[Hidden]) -> Floats:
    """Return layers, mean log2 of widths and its square, and how far they widen along the way."""
    rows = []
    for widths in networks:
        logs = [math.log2(width) for width in widths]
        mean = sum(logs) / len(logs)
        rows.append([len(widths), mean, mean**2 / 10, logs[-1] - logs[0]])
    return np.array(rows)
