"""Groups of runs with all that is computed of them, once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan

import numpy as np
import numpy.typing as npt

from continual_arcade.evaluation.comparison import Difference, adjusted, paired_difference
from continual_arcade.evaluation.metrics import Context, Result, measure
from continual_arcade.evaluation.record import Record
from continual_arcade.evaluation.references import Scale
from continual_arcade.evaluation.runs import Gathered, Group, Run, World
from continual_arcade.evaluation.statistics import Estimate, mean_over_runs

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """A method, its runs and their metrics."""

    label: str
    group: Group
    context: Context
    """What the metrics of its runs refer to."""

    @property
    def is_reference(self) -> bool:
        """Whether it sees what no method may: all phases at once, or all that it ever saw."""
        return any(self.group.settings.get(name) for name in ("remembers_all", "interleaved"))

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The runs, by seed."""
        return tuple(self.group.runs.values())

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """The score of each run."""
        return tuple(run.scores for run in self.runs)

    @cached_property
    def matrices(self) -> Floats:
        """The matrix of each run, shape ``(runs, 1 + phases of training, phases played)``."""
        return np.array([record.matrix for record in self.records])

    @cached_property
    def results(self) -> tuple[dict[str, Result], ...]:
        """All metrics of each run, in points."""
        return tuple(measure(record, context=self.context) for record in self.records)

    @cached_property
    def normalised(self) -> tuple[dict[str, Result], ...]:
        """All metrics of each run, where random play is 0 and the oracle 1.

        Raises:
            ValueError: If there are no references.
        """
        scale = self.context.references
        if scale is None:
            raise ValueError("there are no references to normalise by")
        ones = Scale(np.zeros_like(scale.zero), np.ones_like(scale.one), scale.reason)
        # Baselines are on the scale of the record, too.
        baselines = {
            column: [record.rescaled(scale.zero[[column]], scale.one[[column]]) for record in known]
            for column, known in (self.context.baselines or {}).items()
        }
        context = Context(references=ones, baselines=baselines or None)
        found = (
            measure(record.rescaled(scale.zero, scale.one), context=context)
            for record in self.records
        )
        return tuple(
            {name: _with_cause(result, points[name], scale) for name, result in run.items()}
            for run, points in zip(found, self.results, strict=True)
        )

    def estimate(self, metric: str, *, normalised: bool = False) -> Estimate:
        """Estimate a metric over the runs; undefined where it is undefined for one of them."""
        results = [of_run[metric] for of_run in (self.normalised if normalised else self.results)]
        return estimate([result.value for result in results], [result.reason for result in results])

    def by_seed(self, metric: str) -> dict[int, float]:
        """Return a metric of each run by its seed."""
        return {
            run.seed: of_run[metric].value
            for run, of_run in zip(self.runs, self.results, strict=True)
        }


def _with_cause(normalised: Result, points: Result, scale: Scale) -> Result:
    """Say why a metric is undefined on a scale that lacks phases.

    To the metric a phase without a scale looks like one that was not evaluated.
    """
    if scale.reason and isnan(normalised.value):
        return replace(normalised, reason=points.reason or scale.reason)
    return normalised


def estimate(values: Iterable[float], reasons: Iterable[str] = ()) -> Estimate:
    """Estimate a mean over runs, and keep the first reason why it is undefined."""
    found = mean_over_runs(np.fromiter(values, np.float64))
    reason = next((reason for reason in reasons if reason), "")
    if not np.isnan(found.value) or not reason:
        return found
    return replace(found, reason=f"{found.reason}: {reason}")


def over_runs(values: Floats) -> list[Estimate]:
    """Estimate the mean over runs of each column.

    Args:
        values: Shape ``(runs, numbers)``.
    """
    return [mean_over_runs(column) for column in values.T]


def differences(
    judged: Sequence[Judged], base: Judged, metric: str
) -> list[tuple[Judged, Difference]]:
    """Compare all methods with one of them, seed by seed, with Holm's correction over them."""
    others = [one for one in judged if one is not base]
    found = [paired_difference(one.by_seed(metric), base.by_seed(metric)) for one in others]
    return list(zip(others, adjusted(found), strict=True))


def judge(world: World, scale: Scale | None, baselines: Mapping[int, Group]) -> list[Judged]:
    """Put together what belongs to a world.

    Args:
        world: The runs.
        scale: The scores of random play and of the oracle in each phase.
        baselines: By column of the phase, runs that lived in it alone.
    """
    records = {
        column: [run.scores for run in group.runs.values()] for column, group in baselines.items()
    }
    context = Context(references=scale, baselines=records or None)
    return [
        Judged(label, group, context)
        for label, group in zip(world.labels, world.groups, strict=True)
    ]


def fitting(world: World, baselines: Gathered) -> dict[int, Group]:
    """Find the runs that lived in one phase of a world, and in no other.

    Returns:
        Those of each phase, by its column.

    Raises:
        ValueError: If runs of several methods lived in the same phase.
    """
    schedule = world.protocol.schedule
    found: dict[int, Group] = {}
    for other in baselines.worlds:
        for column, phase in enumerate(schedule.distinct):
            alone = replace(world.protocol, schedule=schedule.single(phase.index))
            if other.protocol.key != alone.key:
                continue
            if len(other.groups) > 1:
                raise ValueError(
                    f"baselines of {phase.name} are of several methods or settings "
                    f"({'; '.join(other.labels)}): give those of one"
                )
            found[column] = other.groups[0]
    return found
