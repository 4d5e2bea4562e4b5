"""How the gradients of the phases of a scenario agree: the part of its card that says why.

Where phases are nested a step for one is a step for the other; where they conflict it is one
against it; where they share little it is neither. Measured by
:class:`~continual_arcade.studies.probes.InterferenceProbe` in every run.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.reports.method_results import MethodResults
from continual_arcade.reports.network_section import cosines_at_ends
from continual_arcade.reports.pages.page_model import HeatMap, HeatPanel

Floats = npt.NDArray[np.float64]

BEFORE, BEGINS, AT_END = "before training", "as the later phase begins", "at the end"
"""When gradients are compared: untrained; before the later phase of a pair is trained for the first
time, when all earlier ones were; at the end of training."""
_DIGITS = 4


@dataclass(frozen=True)
class Cosines:
    """The cosines of all pairs of phases, of one method at one moment, over seeds."""

    method: str
    moment: str
    means: Floats
    """Mean over seeds, shape ``(phases, phases)``; NaN where a seed has none, whose gradient is
    zero."""
    sds: Floats
    """Standard deviation between seeds, same shape."""

    @property
    def title(self) -> str:
        """What to write above it."""
        return self.moment if self.moment == BEFORE else f"{self.method}, {self.moment}"


@dataclass(frozen=True)
class Interference:
    """How the gradients of phases agree, at some moments of some methods."""

    phases: tuple[str, ...]
    """Those played."""
    seeds: int
    measured: tuple[Cosines, ...]

    @classmethod
    def of(cls, forgets: MethodResults, remembers: MethodResults) -> "Interference":
        """Measure it.

        Args:
            forgets: Runs of the method that trains one phase after the other.
            remembers: Runs of the one that trains all of them at once.

        Raises:
            ValueError: If a run has no diagnostics, or one of them has fewer than two.
        """
        for one in (forgets, remembers):
            if len(one.runs) < 2:
                raise ValueError(f"{one.label}: a spread between seeds takes two runs, not one")
        record = forgets.records[0]
        found = cosines_at_ends(forgets)
        learnt = np.array(record.learnt())
        # Row 0 is before training; the later one of each two is not trained before the row that
        # precedes its own.
        rows = np.maximum.outer(learnt, learnt) - 1
        i, j = np.indices(rows.shape)
        of_pairs = found[:, rows, i, j]
        name, other = forgets.group.method, remembers.group.method
        return cls(
            record.labels,
            len(forgets.runs),
            (
                _over_seeds(name, BEFORE, found[:, 0]),
                _over_seeds(name, BEGINS, of_pairs),
                _over_seeds(name, AT_END, found[:, -1]),
                _over_seeds(other, AT_END, cosines_at_ends(remembers)[:, -1]),
            ),
        )

    @property
    def pairs(self) -> Iterator[tuple[int, int]]:
        """Each two phases, by their place."""
        return itertools.combinations(range(len(self.phases)), 2)

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, as a card has it; cosines that are undefined are left out."""
        return {
            "seeds": self.seeds,
            "measured": [
                {
                    "method": one.method,
                    "moment": one.moment,
                    "pairs": [
                        {
                            "one": self.phases[i],
                            "other": self.phases[j],
                            **_rounded(cosine=one.means[i, j], sd=one.sds[i, j]),
                        }
                        for i, j in self.pairs
                    ],
                }
                for one in self.measured
            ],
        }

    def as_markdown(self) -> str:
        """Lay it out as a table: a line for each two phases."""
        heads = [one.title for one in self.measured]
        lines = [f"| phases | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
        for i, j in self.pairs:
            cells = [_written(one.means[i, j], one.sds[i, j]) for one in self.measured]
            lines.append(f"| {self.phases[i]}, {self.phases[j]} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def chart(self, title: str) -> HeatMap:
        """Draw it: a matrix for each method and moment of training."""
        trained = [one for one in self.measured if one.moment != BEFORE]
        return HeatMap(
            key="interference",
            title=title,
            caption="",
            alt="; ".join(f"{one.title}: {self._lowest(one)}" for one in trained),
            rows=self.phases,
            columns=self.phases,
            rows_label="phase",
            columns_label="phase",
            value_label="cosine of mean TD gradients",
            panels=tuple(HeatPanel(one.title, (one.means,)) for one in trained),
            diverging=True,
            limits=(-1.0, 1.0),
            decimals=2,
        )

    def _lowest(self, one: Cosines) -> str:
        known = [(one.means[i, j], i, j) for i, j in self.pairs if not np.isnan(one.means[i, j])]
        if not known:
            return "no pair of phases"
        value, i, j = min(known)
        return f"least alike are {self.phases[i]} and {self.phases[j]} ({value:+.2f})"


def _over_seeds(method: str, moment: str, cosines: Floats) -> Cosines:
    """Return mean and standard deviation over runs of cosines, shape ``(runs, phases, phases)``."""
    return Cosines(method, moment, cosines.mean(axis=0), cosines.std(axis=0, ddof=1))


def _rounded(**numbers: float) -> Mapping[str, float]:
    return {
        name: round(float(value), _DIGITS)
        for name, value in numbers.items()
        if not math.isnan(value)
    }


def _written(mean: float, sd: float) -> str:
    return "undefined" if math.isnan(mean) else f"{mean:+.2f} ± {sd:.2f}"
