"""References and single-phase runs, as terms of a metric."""

from collections.abc import Sequence
from math import isnan, nan
from statistics import fmean

from continual_arcade.evaluation.metrics.aggregation import Term, reduced, stage_mean
from continual_arcade.evaluation.metrics.results import Context
from continual_arcade.evaluation.record import Record
from continual_arcade.evaluation.references import Scale

NO_REFERENCES = "it needs references, and none are given"


def between(record: Record, scale: Scale, column: int, share: float) -> Term:
    """Return a point between zero and one of a phase.

    Args:
        record: The record.
        scale: Zero and one of each column.
        column: Which phase.
        share: Where, from 0 (zero) to 1 (one).

    Raises:
        ValueError: If the scale is that of another number of phases.
    """
    count = len(record.phases)
    if scale.zero.shape != (count,) or scale.one.shape != (count,):
        raise ValueError(
            f"references of shape {scale.zero.shape} and {scale.one.shape} do not fit a record of "
            f"{count} phases: give one zero and one one for each"
        )
    zero, one = float(scale.zero[column]), float(scale.one[column])
    if isnan(zero) or isnan(one):
        return Term(nan, scale.reason or f"{record.labels[column]} has no reference")
    if one <= zero:
        name = record.labels[column]
        return Term(nan, f"the references of {name} leave no room: zero is {zero:g}, one {one:g}")
    return Term(zero + share * (one - zero))


def reference_one(record: Record, context: Context, column: int) -> Term:
    """Return the one of a phase: how well it can be played."""
    if context.references is None:
        return Term(nan, NO_REFERENCES)
    return between(record, context.references, column, 1.0)


def first_stage(record: Record, column: int) -> int:
    """Return the phase of the schedule in which a column is trained for the first time."""
    return record.column_of.index(column)


def single_phase_runs(
    record: Record, context: Context, column: int
) -> tuple[Sequence[Record], str]:
    """Return the single-task runs of a phase, or why there are none.

    Raises:
        ValueError: If they were trained in another phase, or for another number of steps.
    """
    name = record.labels[column]
    runs = (context.baselines or {}).get(column, ())
    phase = record.schedule.phases[first_stage(record, column)]
    for run in runs:
        trained = run.schedule.phases[0]
        if len(run.schedule) > 1 or (trained.params, trained.until) != (phase.params, phase.until):
            names = ", ".join(stretch.name for stretch in run.schedule.phases)
            raise ValueError(
                f"a single-phase run of {name} was trained in {names}: give one of an agent that "
                "was trained in nothing but that phase"
            )
        if trained.steps != phase.steps:
            raise ValueError(
                f"a single-phase run of {name} has {trained.steps:,} steps, and the phase has "
                f"{phase.steps:,}: give one of the same length"
            )
    return runs, "" if runs else f"it needs single-phase runs of {name}, and none are given"


def baseline_mean(record: Record, context: Context, column: int) -> Term:
    """Return the mean over the steps, and over the runs, of single-phase runs."""
    runs, why = single_phase_runs(record, context, column)
    if why:
        return Term(nan, why)
    return as_baseline(reduced((stage_mean(run, 0, 0) for run in runs), fmean))


def as_baseline(term: Term) -> Term:
    """Say in the reason that it is about a single-phase run."""
    return term._replace(reason=f"single-phase run: {term.reason}") if term.reason else term
