"""The worst moments on the way: they do not show in rows of the matrix."""

from math import nan

import numpy as np

from continual_arcade.evaluation.metrics.aggregation import (
    NOT_BEFORE,
    Term,
    cell,
    mean,
    of_phases,
    over,
    several,
)
from continual_arcade.evaluation.metrics.results import Context, Metric, Result
from continual_arcade.evaluation.record import Record

FIRST = 5
"""Evaluations after a switch among which the gap is looked for."""


def _lowest_since_learnt(record: Record, column: int) -> Term:
    """Return the lowest evaluation of a phase after its first exposure."""
    row = record.learnt("first")[column]
    why = record.why_no_end(row) or record.why_no_end(len(record.schedule))
    if why:
        return Term(nan, why)
    rows = np.arange(record.ends[row][-1] + 1, len(record.steps))
    return over(record, rows, column, min)


def min_acc(record: Record, _: Context) -> Result:
    """Take the lowest evaluation of each phase but the current one."""
    current = record.column_of[-1]
    terms = [
        (label, _lowest_since_learnt(record, column))
        for column, label in enumerate(record.labels)
        if column != current
    ]
    return mean(terms, NOT_BEFORE)


def worst_case(record: Record, _: Context) -> Result:
    """Take the current phase at the end, and the lowest evaluation of each other one."""
    current = record.column_of[-1]

    def term(column: int) -> Term:
        if column == current:
            return cell(record, -1, column)
        return _lowest_since_learnt(record, column)

    return mean(of_phases(record, term), NOT_BEFORE)


def gap(record: Record, _: Context) -> Result:
    """Take how deep each phase falls at once when the next one begins."""
    terms = []
    reach = 0
    for stage, (column, following) in enumerate(
        zip(record.column_of[:-1], record.column_of[1:], strict=True)
    ):
        if column == following:
            continue
        rows, why = several(record, stage + 1, FIRST)
        low = Term(nan, why) if why else over(record, rows[:FIRST], column, min)
        if not why:
            reach = max(reach, int(record.steps[rows[FIRST - 1]]) - record.schedule.ends[stage])
        terms.append((record.stage_labels[stage], cell(record, stage + 1, column) - low))
    note = f"the first {FIRST} evaluations reach {reach:,} steps into a phase"
    return mean(terms, NOT_BEFORE, note=note)


_DE_LANGE = "De Lange et al. 2023 (arXiv 2205.13452)"

METRICS = (
    Metric(
        "min-acc@de-lange",
        "Lowest since learnt (min-ACC, De Lange)",
        "higher",
        "mean over j ≠ φ(T) of min over t > s(first(j)) of p(t, j)",
        f"{_DE_LANGE}; from the first exposure of a phase that recurs",
        min_acc,
        possible="level",
    ),
    Metric(
        "wc-acc@de-lange",
        "Worst case (WC-ACC, De Lange)",
        "higher",
        "(1/C) R[T, φ(T)] + (1 - 1/C) min-ACC",
        f"{_DE_LANGE}; C counts the phases played",
        worst_case,
        possible="level",
    ),
    Metric(
        "stability-gap@de-lange",
        "Stability gap (De Lange)",
        "lower",
        f"mean over i < T of R[i, φ(i)] - (min of the first {FIRST} p(t, φ(i)) after s(i))",
        f"after {_DE_LANGE}, who show it; the number is ours. Each exposure counts that another "
        "phase follows",
        gap,
        possible="change",
    ),
)
