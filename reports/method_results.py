"""Groups of runs with all metrics computed from them, once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan

import numpy as np
import numpy.typing as npt

from continual_arcade.evaluation.bounded import Range
from continual_arcade.evaluation.comparison import Difference, adjusted, paired_difference
from continual_arcade.evaluation.metrics import METRICS, Context, Result, measure
from continual_arcade.evaluation.protocol import Protocol
from continual_arcade.evaluation.record import Record
from continual_arcade.evaluation.references import Scale
from continual_arcade.evaluation.runs import Comparison, Gathered, Group, Run
from continual_arcade.evaluation.score_range import ScoreRange, score_range
from continual_arcade.evaluation.statistics import Estimate, interquartile_mean, mean_over_runs

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """All metrics of some runs, each in points and, if there are references, on their scale."""

    records: tuple[Record, ...]
    context: Context
    """What the metrics refer to."""

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


@dataclass(frozen=True)
class Extremes:
    """The range of each metric: its values at the lowest and at the highest scores."""

    scores: ScoreRange
    measured: Measured
    """A run in which every score is the lowest, and one in which every score is the highest."""

    @classmethod
    def of(cls, protocol: Protocol, context: Context) -> "Extremes | None":
        """Compute the ranges for a protocol; None if its scores have no known range."""
        scores = score_range(protocol)
        if scores is None:
            return None
        schedule, timetable = protocol.schedule, protocol.timetable
        steps, stages = (np.array(column) for column in zip(*timetable.due, strict=True))
        highest = np.broadcast_to(scores.highest, (len(steps), *scores.highest.shape))
        runs = tuple(
            Record(schedule, values, steps, stages, timetable.at_end)
            for values in (np.zeros_like(highest), highest)
        )
        return cls(scores, Measured(runs, context))

    def possible(
        self, metric: str, results: Sequence[Result], *, normalised: bool = False
    ) -> Range | None:
        """Return what a metric can be; None if that is not known.

        Args:
            metric: Its name.
            results: Of the runs: what a change can be depends on what it is a change of.
            normalised: Whether they are on the scale of the references.
        """
        low, high = (
            of_run[metric]
            for of_run in (self.measured.normalised if normalised else self.measured.results)
        )
        match METRICS[metric].possible:
            case "level":
                return _between(low.value, high.value)
            case "change":
                return _change(low, high, results)
            case "ratio" if not normalised:
                return Range(0.0, np.inf)
            case "contrast" if not normalised:
                return Range.of_score(-1.0, 1.0)
            case "wait":
                stretches = self.measured.records[0].schedule.phases
                return Range.of_score(0.0, float(max(stretch.steps for stretch in stretches)))
            case _:
                return None


def _between(one: float, other: float) -> Range | None:
    """Return the range between two ends, whichever is the lower one."""
    return None if isnan(one) or isnan(other) else Range.of_score(*sorted((one, other)))


def _change(low: Result, high: Result, results: Sequence[Result]) -> Range | None:
    """Return what a difference of two scores can be.

    Args:
        low: That of the run of lowest scores.
        high: That of the run of highest scores.
        results: Those of the runs.
    """
    levels = [result.levels for result in results if result.levels is not None]
    if low.levels is None or high.levels is None or len(levels) < len(results):
        return None
    ours, theirs = (Range.of_score(*ends) for ends in zip(low.levels, high.levels, strict=True))
    mean, others_mean = np.mean(levels, axis=0).tolist()
    return ours.less(theirs, mean, others_mean)


@dataclass(frozen=True)
class MethodResults:
    """A method, its runs and their metrics."""

    label: str
    group: Group
    measured: Measured
    extremes: Extremes | None
    """What its metrics can be; None if that is not known."""

    @property
    def context(self) -> Context:
        """What the metrics of its runs refer to."""
        return self.measured.context

    @property
    def is_reference(self) -> bool:
        """Whether it sees what no method may: all phases at once, or all that it ever saw."""
        return any(self.group.settings.get(name) for name in ("remembers_all", "interleaved"))

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The runs, by seed."""
        return tuple(self.group.runs.values())

    @property
    def records(self) -> tuple[Record, ...]:
        """The score of each run."""
        return self.measured.records

    @cached_property
    def matrices(self) -> Floats:
        """The matrix of each run, shape ``(runs, 1 + phases of training, phases played)``."""
        return np.array([record.matrix for record in self.records])

    @property
    def results(self) -> tuple[dict[str, Result], ...]:
        """All metrics of each run, in points."""
        return self.measured.results

    @property
    def normalised(self) -> tuple[dict[str, Result], ...]:
        """All metrics of each run, where random play is 0 and the oracle 1.

        Raises:
            ValueError: If there are no references.
        """
        return self.measured.normalised

    def _of_runs(self, metric: str, normalised: bool) -> list[Result]:
        return [of_run[metric] for of_run in (self.normalised if normalised else self.results)]

    def possible(self, metric: str, *, normalised: bool = False) -> Range | None:
        """Return what a metric can be, whatever the runs do; None if that is not known."""
        if self.extremes is None:
            return None
        return self.extremes.possible(
            metric, self._of_runs(metric, normalised), normalised=normalised
        )

    @property
    def ranges(self) -> tuple[Range | None, ...]:
        """What the score can be in each phase played; None where that is not known."""
        if self.extremes is None:
            return (None,) * len(self.records[0].labels)
        return self.extremes.scores.of_phases

    def estimate(self, metric: str, *, normalised: bool = False) -> Estimate:
        """Estimate a metric over the runs; undefined where it is undefined for one of them."""
        results = self._of_runs(metric, normalised)
        return estimate(
            [result.value for result in results],
            [result.reason for result in results],
            within=self.possible(metric, normalised=normalised),
        )

    def middle(self, metric: str, *, normalised: bool = False) -> Estimate:
        """Estimate the interquartile mean of a metric over the runs."""
        values = [result.value for result in self._of_runs(metric, normalised)]
        return interquartile_mean(values, within=self.possible(metric, normalised=normalised))

    def by_seed(self, metric: str) -> dict[int, float]:
        """Return a metric of each run by its seed."""
        return {
            run.seed: of_run[metric].value
            for run, of_run in zip(self.runs, self.results, strict=True)
        }

    def less(self, other: "MethodResults", metric: str) -> Difference:
        """Compare a metric with that of another method, seed by seed."""
        ours, theirs = self.possible(metric), other.possible(metric)
        within = None if ours is None or theirs is None else (ours, theirs)
        return paired_difference(self.by_seed(metric), other.by_seed(metric), within=within)


def _with_cause(normalised: Result, points: Result, scale: Scale) -> Result:
    """Say why a metric is undefined on a scale that lacks phases.

    To the metric a phase without a scale looks like one that was not evaluated.
    """
    if scale.reason and isnan(normalised.value):
        return replace(normalised, reason=points.reason or scale.reason)
    return normalised


def estimate(
    values: Iterable[float], reasons: Iterable[str] = (), *, within: Range | None = None
) -> Estimate:
    """Estimate a mean over runs, and keep the first reason why it is undefined.

    Args:
        values: One number for each run.
        reasons: Why they are NaN.
        within: What they can be.
    """
    found = mean_over_runs(np.fromiter(values, np.float64), within=within)
    reason = next((reason for reason in reasons if reason), "")
    if not np.isnan(found.value) or not reason:
        return found
    return replace(found, reason=f"{found.reason}: {reason}")


def over_runs(values: Floats, ranges: Iterable[Range | None]) -> list[Estimate]:
    """Estimate the mean over runs of each column.

    Args:
        values: Shape ``(runs, numbers)``.
        ranges: What the numbers of each column can be; None where that is not known.
    """
    return [
        mean_over_runs(column, within=within)
        for column, within in zip(values.T, ranges, strict=True)
    ]


def change(later: Floats, earlier: Floats, within: Range | None) -> Estimate:
    """Estimate the mean over runs of a change of a score.

    Args:
        later: The score of each run, shape ``(runs,)``.
        earlier: The score that it had before, same shape.
        within: What the scores can be.
    """
    if within is not None:
        within = within.less(within, float(later.mean()), float(earlier.mean()))
    return mean_over_runs(later - earlier, within=within)


def differences(
    results: Sequence[MethodResults], base: MethodResults, metric: str
) -> list[tuple[MethodResults, Difference]]:
    """Compare all methods with one of them, seed by seed, with Holm's correction over them."""
    others = [one for one in results if one is not base]
    found = [one.less(base, metric) for one in others]
    return list(zip(others, adjusted(found), strict=True))


def collect_results(
    comparison: Comparison, scale: Scale | None, baselines: Mapping[int, Group]
) -> list[MethodResults]:
    """Compute the results of each method of a comparison.

    Args:
        comparison: The runs.
        scale: The scores of random play and of the oracle in each phase.
        baselines: By column of the phase, runs that were trained in it alone.
    """
    records = {
        column: [run.scores for run in group.runs.values()] for column, group in baselines.items()
    }
    context = Context(references=scale, baselines=records or None)
    extremes = Extremes.of(comparison.protocol, context)
    return [
        MethodResults(
            label,
            group,
            Measured(tuple(run.scores for run in group.runs.values()), context),
            extremes,
        )
        for label, group in zip(comparison.labels, comparison.groups, strict=True)
    ]


def fitting(comparison: Comparison, baselines: Gathered) -> dict[int, Group]:
    """Find the runs that were trained in a single phase of a comparison.

    Of several that learn with other settings, those count that learn as runs of the comparison do:
    scenarios of other lengths have other memories, though their phases are the same.

    Returns:
        Those of each phase, by its column.

    Raises:
        ValueError: If runs of several methods were trained in the same phase, and it is not known
            which of them learn as the runs of the comparison do.
    """
    schedule = comparison.protocol.schedule
    learners = [(group.method, group.settings) for group in comparison.groups]
    found: dict[int, Group] = {}
    for other in baselines.comparisons:
        for column, phase in enumerate(schedule.distinct):
            alone = replace(comparison.protocol, schedule=schedule.single(phase.index))
            if other.protocol.key != alone.key:
                continue
            alike = [one for one in other.groups if (one.method, one.settings) in learners]
            if len(alike or other.groups) > 1:
                raise ValueError(
                    f"baselines of {phase.name} are of several methods or settings "
                    f"({'; '.join(other.labels)}): give those of one"
                )
            found[column] = (alike or other.groups)[0]
    return found
