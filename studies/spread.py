"""What seeds differ by in a scenario: the part of its card that says what a study can show."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.methods import METHODS
from continual_arcade.reports.method_results import MethodResults
from continual_arcade.studies.file_values import only, value_of
from continual_arcade.studies.scenario import Scenario
from continual_arcade.studies.study import Study

Floats = npt.NDArray[np.float64]

_DIGITS = 4


@dataclass(frozen=True)
class MethodSpread:
    """What the seeds of one method differ by."""

    method: str
    mean: float
    sd: float
    """Standard deviation between seeds."""


@dataclass(frozen=True)
class PairSpread:
    """What the paired differences of two methods differ by."""

    ours: str
    theirs: str
    difference: float
    """Mean of ours less theirs, seed by seed."""
    sd: float
    """Standard deviation of these differences."""
    correlation: float | None = None
    """Between the two, over seeds; None where seeds of one of them do not differ."""


_Row = TypeVar("_Row", MethodSpread, PairSpread)


@dataclass(frozen=True)
class Spread:
    """What seeds differ by, of methods that were measured with the same seeds."""

    metric: str
    """Name of the metric that pairs are compared by."""
    unit: str
    """Its unit."""
    seeds: int
    """How many each method was measured with."""
    methods: tuple[MethodSpread, ...]
    pairs: tuple[PairSpread, ...]
    """Each two of them."""

    @classmethod
    def of(cls, scenario: Scenario, results: Sequence[MethodResults], metric: str) -> "Spread":
        """Measure it, of the methods that are no references.

        Args:
            scenario: What they were trained in.
            results: Of runs with the same seeds, two at least.
            metric: Name of the metric, in points of the game.

        Raises:
            ValueError: If there are fewer than two seeds, or methods have different ones.
        """
        scores = {one.group.method: one.by_seed(metric) for one in results if not one.is_reference}
        seeds = sorted(set().union(*scores.values()))
        for name, found in scores.items():
            if sorted(found) != seeds:
                raise ValueError(f"{name} has seeds {sorted(found)}, others have {seeds}")
        if len(seeds) < 2:
            raise ValueError(f"a spread between seeds takes two of them, not {len(seeds)}")
        values = {name: np.array([of[seed] for seed in seeds]) for name, of in scores.items()}
        return cls(
            metric=metric,
            unit=scenario.make_game().points,
            seeds=len(seeds),
            methods=tuple(MethodSpread(name, *_moments(found)) for name, found in values.items()),
            pairs=tuple(
                PairSpread(
                    name,
                    base,
                    *_moments(values[name] - values[base]),
                    _correlation(values[name], values[base]),
                )
                for base, name in itertools.combinations(values, 2)
            ),
        )

    def among(self, methods: Iterable[str]) -> list[PairSpread]:
        """Return the pairs of some methods that were measured, those that differ least first."""
        chosen = set(methods)
        found = [pair for pair in self.pairs if {pair.ours, pair.theirs} <= chosen]
        return sorted(found, key=lambda pair: pair.sd)

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data, as a card has it."""
        return {
            "metric": self.metric,
            "unit": self.unit,
            "seeds": self.seeds,
            "methods": [asdict(one) for one in self.methods],
            "pairs": [
                {name: value for name, value in asdict(one).items() if value is not None}
                for one in self.pairs
            ],
        }

    @classmethod
    def from_data(cls, data: Any) -> "Spread":
        """Read what :meth:`to_data` returned.

        Raises:
            ValueError: If it is something else; the message names the place.
        """
        where = "spread"
        if not isinstance(data, Mapping):
            raise ValueError(f"{where} must be a table, not {data!r}")
        only(data, [field.name for field in fields(cls)], where)
        seeds = value_of(data, "seeds", int, where)
        if seeds < 2:
            raise ValueError(f"seeds = {seeds} of {where} must be at least 2")
        return cls(
            metric=value_of(data, "metric", str, where),
            unit=value_of(data, "unit", str, where),
            seeds=seeds,
            methods=tuple(_rows(data, "methods", MethodSpread)),
            pairs=tuple(_rows(data, "pairs", PairSpread)),
        )


def _rows(data: Mapping[str, Any], key: str, kind: type[_Row]) -> Iterator[_Row]:
    """Read a list of tables of texts and numbers; those that have a default may lack."""
    where = f"spread.{key}"
    for table in value_of(data, key, list, "spread"):
        if not isinstance(table, Mapping):
            raise ValueError(f"{where} is a list of tables, and {table!r} is none")
        only(table, [field.name for field in fields(kind)], where)
        values: dict[str, Any] = {}
        for field in fields(kind):
            if field.name not in table and field.default is None:
                continue
            of_type = str if field.type is str else float
            value = values[field.name] = value_of(table, field.name, of_type, where)
            least = 0 if field.name == "sd" else -math.inf
            if isinstance(value, float) and not (math.isfinite(value) and value >= least):
                what = "and not negative" if field.name == "sd" else "not infinite or nan"
                raise ValueError(f"{field.name} = {value} of {where} must be a number, {what}")
        yield kind(**values)


def _moments(values: Floats) -> tuple[float, float]:
    """Return mean and standard deviation over seeds, as a card has them."""
    return round(float(values.mean()), _DIGITS), round(float(values.std(ddof=1)), _DIGITS)


def _correlation(ours: Floats, theirs: Floats) -> float | None:
    if min(np.ptp(ours), np.ptp(theirs)) == 0:
        return None
    return round(float(np.corrcoef(ours, theirs)[0, 1]), _DIGITS)


def measured_methods(study: Study, scenario: Scenario, spread: Spread) -> list[str]:
    """Return the methods of a study that are in a scenario what was measured there.

    Those are presets as they come, with the learner of the scenario.

    Args:
        study: The study.
        scenario: One of its scenarios.
        spread: What was measured in it.
    """
    known = {one.method for one in spread.methods}
    found = []
    for entry in study.entries_in(scenario):
        name = entry.method.name
        if name not in known or entry.method != METHODS.get(name):
            continue
        preset = scenario.learner(method=METHODS[name])
        if scenario.learner(entry.settings, entry.method) == preset:
            found.append(name)
    return found
