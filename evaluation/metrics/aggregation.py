"""Numbers that know why they are missing, and the few ways in which metrics put them together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import isnan, nan
from statistics import fmean
from typing import NamedTuple

from continual_arcade.evaluation.metrics.results import Levels, Result
from continual_arcade.evaluation.record import Ints, Record


class Term(NamedTuple):
    """One number on the way to a metric."""

    value: float
    reason: str = ""
    """Why it is NaN."""
    undefined: bool = False
    """Nothing is missing, but the source defines no value here and leaves it out."""
    levels: Levels | None = None
    """If it is a difference: of what."""

    def __sub__(self, other: "Term") -> "Term":
        """Return the difference; it is missing for the reason of the first that is missing."""
        levels = (self.value, other.value)
        return missing(self, other) or Term(self.value - other.value, levels=levels)


Named = tuple[str, Term]


def missing(*terms: Term) -> Term | None:
    """Return the first that is NaN, or None."""
    return next((term for term in terms if isnan(term.value)), None)


def reduced(terms: Iterable[Term], how: Callable[[list[float]], float]) -> Term:
    """Make one number of several; it is missing if one of them is."""
    found = list(terms)
    return missing(*found) or Term(how([term.value for term in found]))


def averaged(terms: Sequence[Term]) -> Term:
    """Make the mean of several; it is missing if one of them is."""
    return reduced(terms, fmean)._replace(levels=_mean_levels(terms))


def _mean_levels(terms: Sequence[Term], weights: Sequence[float] | None = None) -> Levels | None:
    """Return the means of what terms are differences of; None if not all of them are."""
    levels = [term.levels for term in terms if term.levels is not None]
    if len(levels) < len(terms):
        return None
    ours, theirs = zip(*levels, strict=True)
    return fmean(ours, weights), fmean(theirs, weights)


def ratio(top: Term, bottom: Term, what: str, *, left_out: bool = False) -> Term:
    """Divide.

    Args:
        top: What is divided.
        bottom: By what. Of a negative one the ratio would say the opposite.
        what: What that is, for the reason.
        left_out: Whether the source leaves out a ratio to zero.
    """
    lost = missing(top, bottom)
    if lost is not None:
        return lost
    if bottom.value > 0:
        return Term(top.value / bottom.value)
    if bottom.value == 0:
        return Term(nan, f"{what} is 0, which nothing can be divided by", left_out)
    return Term(nan, f"{what} is {bottom.value:g}, and a ratio needs positive numbers")


def mean(
    parts: Sequence[Named],
    none: str,
    *,
    weights: Sequence[float] | None = None,
    leave_out: bool = False,
    note: str = "",
) -> Result:
    """Return a metric that is the mean of its parts.

    Args:
        parts: The terms, each with a name of its own.
        none: Why there is no metric if there are no parts.
        weights: How much each part counts; all alike if not given, and if some may be left out.
        leave_out: Leave out what the source leaves out; the note then says how many.
        note: What a reader must know beside a defined value.

    Returns:
        The mean; NaN if one of the terms that count is.
    """
    if not parts:
        return Result(nan, none)
    shown = {name: term.value for name, term in parts}
    counts = [not (leave_out and term.undefined) for _, term in parts]
    out = [term for (_, term), counted in zip(parts, counts, strict=True) if not counted]
    if len(out) == len(parts):
        return Result(nan, f"all {len(parts)} are left out: {out[0].reason}", parts=shown)
    terms = [term for (_, term), counted in zip(parts, counts, strict=True) if counted]
    lost = missing(*terms)
    if lost is not None:
        return Result(nan, lost.reason, parts=shown)
    value = fmean((term.value for term in terms), weights)
    if out:
        note = f"{len(out)} of {len(parts)} left out: {out[0].reason}"
    return Result(value, note=note, parts=shown, levels=_mean_levels(terms, weights))


def cell(record: Record, row: int, column: int) -> Term:
    """Return R[row, column] of the matrix."""
    value = float(record.matrix[row, column])
    if not isnan(value):
        return Term(value)
    return Term(nan, record.why_no_end(row) or record.why_missing(record.ends[row], column))


def over(
    record: Record, rows: Ints, column: int, how: Callable[[list[float]], float] = fmean
) -> Term:
    """Make one number of some evaluations of one phase; it is missing if one of them is."""
    values = record.means[rows, column].tolist()
    if any(map(isnan, values)):
        return Term(nan, record.why_missing(rows, column))
    return Term(how(values))


def several(record: Record, stage: int, count: int) -> tuple[Ints, str]:
    """Return the evaluations of a phase of the schedule, or why there are too few.

    Args:
        record: The record.
        stage: The phase of the schedule, which must have ended.
        count: How many there must be at least.
    """
    rows = record.by_stage[stage + 1]
    why = record.why_no_end(stage + 1)
    if not why and len(rows) < count:
        label = record.stage_labels[stage]
        why = f"{label} was evaluated {len(rows)} times while it was trained; {count} are needed"
    return rows, why


def stage_mean(record: Record, stage: int, column: int) -> Term:
    """Return the mean of a column over the steps of a phase of the schedule."""
    value = float(record.time_means[stage, column])
    if not isnan(value):
        return Term(value)
    rows = record.during(stage)
    return Term(
        nan,
        record.why_no_end(stage)
        or record.why_no_end(stage + 1)
        or record.why_missing(rows, column)
        or f"{record.stage_labels[stage]} has no length",
    )


def of_phases(record: Record, term: Callable[[int], Term]) -> list[Named]:
    """Make a term for each column."""
    return [(label, term(column)) for column, label in enumerate(record.labels)]


def effects(record: Record, *, forward: bool) -> Iterator[tuple[int, int]]:
    """Iterate over the effects that training in one phase can have on another one.

    Args:
        record: The record.
        forward: On phases that are not learnt yet, instead of those that have been.

    Yields:
        Phase of the schedule that was trained, and column of the other one, in order of training.
        Training in a phase that recurs is no effect on itself.
    """
    learnt = record.learnt("first")
    for stage, trained in enumerate(record.column_of):
        for column, row in enumerate(learnt):
            if column != trained and (stage + 1 < row) == forward:
                yield stage, column


NOT_AFTER = "no phase was learnt after another one"
NOT_BEFORE = "no phase was learnt before another one"
