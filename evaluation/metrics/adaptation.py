"""How long it takes until a phase is played well, and what is lost meanwhile."""

from math import isnan, nan
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.evaluation.metrics.aggregation import Term, mean, missing, stage_mean
from continual_arcade.evaluation.metrics.comparisons import NO_REFERENCES, between, reference_one
from continual_arcade.evaluation.metrics.results import Context, Metric, Result
from continual_arcade.evaluation.record import Floats, Record
from continual_arcade.evaluation.references import Scale

SHARE = 0.8
"""How far from zero to one counts as adapted."""


class Wait(NamedTuple):
    """How long something took."""

    steps: Term
    """Lifetime steps; the length of the phase if it did not happen."""
    censored: bool = False
    """It did not happen while the phase lasted."""


def wait_for(record: Record, stage: int, level: Term) -> Wait:
    """Return how long after a phase began it was played at a level.

    That is the first evaluation at which it holds: what lies between evaluations was not measured,
    and the wait is late by less than the interval between them. The last evaluation before the
    phase counts as its beginning.

    Args:
        record: The record.
        stage: The phase of the schedule.
        level: The level.
    """
    lost = missing(level)
    if lost is not None:
        return Wait(lost)
    why = record.why_no_end(stage)
    if why:
        return Wait(Term(nan, why))
    length = record.schedule.phases[stage].steps
    begin = record.schedule.ends[stage] - length
    column = record.column_of[stage]
    rows = np.concatenate([record.ends[stage][-1:], record.by_stage[stage + 1]])
    values = record.means[rows, column].tolist()
    for row, value in zip(rows.tolist(), values, strict=True):
        if isnan(value):
            return Wait(Term(nan, record.why_missing(row, column)))
        if value >= level.value:
            # Environments that step together may pass both ends of a phase.
            return Wait(Term(float(min(max(record.steps[row] - begin, 0), length))))
    why = record.why_no_end(stage + 1)
    if why:
        return Wait(Term(nan, why))
    return Wait(Term(float(length)), censored=True)


def mean_wait(waits: dict[str, Wait], none: str) -> Result:
    """Return the restricted mean: what did not happen counts for the length of its phase."""
    return mean([(name, wait.steps) for name, wait in waits.items()], none, note=censoring(waits))


def censoring(waits: dict[str, Wait]) -> str:
    """Say how many are censored; empty if none is."""
    censored = sum(wait.censored for wait in waits.values())
    return f"{censored} of {len(waits)} censored at the end of their phase" if censored else ""


def adaptation_times(
    record: Record, scale: Scale, q: float = SHARE
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return how long after each phase began it was played well.

    Args:
        record: The record.
        scale: Zero and one of each column, on the scale of the record.
        q: How far from zero to one is well.

    Returns:
        Lifetime steps of each phase of the schedule, NaN where that is not known, and whether they
        are censored: the phase ended before. Both have the shape ``(phases of training,)``.

    Raises:
        ValueError: If the scale is that of another number of phases.
    """
    waits = _waits(record, scale, q)
    return (
        np.array([wait.steps.value for wait in waits]),
        np.array([wait.censored for wait in waits]),
    )


def _waits(record: Record, scale: Scale, q: float) -> list[Wait]:
    return [
        wait_for(record, stage, between(record, scale, column, q))
        for stage, column in enumerate(record.column_of)
    ]


def adaptation_time(record: Record, context: Context) -> Result:
    """Take how long after each phase began it was played well."""
    if context.references is None:
        return Result(nan, NO_REFERENCES)
    waits = _waits(record, context.references, SHARE)
    return mean_wait(dict(zip(record.stage_labels, waits, strict=True)), "there is no phase")


def regret(record: Record, context: Context) -> Result:
    """Take what the best player would have had more, in the phase that is being trained."""
    terms = [
        (label, reference_one(record, context, column) - stage_mean(record, stage, column))
        for stage, (label, column) in enumerate(
            zip(record.stage_labels, record.column_of, strict=True)
        )
    ]
    weights = [stretch.steps for stretch in record.schedule.phases]
    return mean(terms, "there is no phase", weights=weights)


METRICS = (
    Metric(
        "adaptation-time",
        "Adaptation time",
        "lower",
        "mean over i of the first t - s(i-1) with p(t, j) >= zero(j) + "
        f"{SHARE:g} (one(j) - zero(j)), j = φ(i)",
        "ours; in lifetime steps. A phase that ends before counts for its length, and the note "
        "says how many: see adaptation_times for Kaplan and Meier",
        adaptation_time,
        frozenset({"references"}),
        possible="level",
    ),
    Metric(
        "regret@dynamic",
        "Dynamic regret",
        "lower",
        "(1/s(T)) Σ over i of ∫ one(φ(i)) - p(t, φ(i)) dt from s(i-1) to s(i)",
        "Zinkevich 2003's dynamic regret, per step, against the best player of each phase",
        regret,
        frozenset({"references"}),
        possible="level",
    ),
)
