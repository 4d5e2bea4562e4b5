"""How well the phases are played: at the end, when just learnt, and over the run."""

from math import isnan, nan

import numpy as np

from continual_arcade.evaluation.metrics.aggregation import (
    Term,
    cell,
    mean,
    missing,
    of_phases,
    over,
    several,
    stage_mean,
)
from continual_arcade.evaluation.metrics.results import Compute, Context, Metric, Result
from continual_arcade.evaluation.record import Exposure, Record

WINDOW = 5
"""Evaluations that Continual World averages for the end of a phase."""
NONE = "nothing was played"


def last(record: Record, _: Context) -> Result:
    """Take the very last evaluation."""
    why, rows = record.why_no_end(-1), record.ends[-1][-1:]
    return mean(
        of_phases(record, lambda column: Term(nan, why) if why else over(record, rows, column)),
        NONE,
    )


def last_window(record: Record, stage: int, column: int) -> Term:
    """Return the mean of the last five evaluations of a phase of the schedule."""
    rows, why = several(record, stage, WINDOW)
    return Term(nan, why) if why else over(record, rows[-WINDOW:], column)


def last_five(record: Record, _: Context) -> Result:
    """Take the last five evaluations."""
    stage = len(record.schedule) - 1
    return mean(of_phases(record, lambda column: last_window(record, stage, column)), NONE)


def at_end(record: Record, _: Context) -> Result:
    """Take the last row of the matrix."""
    return mean(of_phases(record, lambda column: cell(record, -1, column)), NONE)


def just_learnt(exposure: Exposure) -> Compute:
    """Take each phase when it had just been learnt."""

    def compute(record: Record, _: Context) -> Result:
        rows = record.learnt(exposure)
        return mean(of_phases(record, lambda column: cell(record, rows[column], column)), NONE)

    return compute


def worst(record: Record, _: Context) -> Result:
    """Take the phase that is played worst at the end."""
    ends = dict(of_phases(record, lambda column: cell(record, -1, column)))
    parts = {name: term.value for name, term in ends.items()}
    lost = missing(*ends.values())
    if lost is not None:
        return Result(nan, lost.reason, parts=parts)
    name = min(parts, key=lambda name: parts[name])
    return Result(parts[name], note=f"in {name}", parts=parts)


def over_life(record: Record, _: Context) -> Result:
    """Take the mean over the run, in all phases."""
    why = record.why_no_end(0) or record.why_no_end(-1)
    rows = record.ends[0] if why else np.arange(record.ends[0][-1], len(record.steps))
    means = record.mean_over_steps(rows).tolist()

    def term(column: int) -> Term:
        reason = why or record.why_missing(rows, column) if isnan(means[column]) else ""
        return Term(means[column], reason)

    return mean(of_phases(record, term), NONE)


def over_life_trained(record: Record, _: Context) -> Result:
    """Take the mean over the run, at each step in the phase that is being trained."""
    terms = [
        (label, stage_mean(record, stage, record.column_of[stage]))
        for stage, label in enumerate(record.stage_labels)
    ]
    return mean(terms, NONE, weights=[stretch.steps for stretch in record.schedule.phases])


_CW = (
    "Wołczyk et al. 2021 (Continual World, arXiv 2105.10919), as its code has it. There T counts a "
    "phase at each exposure; here a phase that recurs counts once"
)
_MER = "Riemer et al. 2019 (MER, arXiv 1810.11910), from its tables; its code does not have it"

METRICS = (
    Metric(
        "performance@last",
        "Performance at the end (last evaluation)",
        "higher",
        "mean over j of p(s(T), j)",
        "the simplest there is; a single evaluation is noisy",
        last,
        possible="level",
    ),
    Metric(
        "performance@last-five",
        "Performance at the end (last five evaluations)",
        "higher",
        f"mean over j of the mean of the last {WINDOW} p(t, j)",
        "the same as performance@continual-world",
        last_five,
        possible="level",
    ),
    Metric(
        "performance@continual-world",
        "Average performance (Continual World)",
        "higher",
        f"mean over j of the mean of the last {WINDOW} p(t, j)",
        _CW,
        last_five,
        possible="level",
    ),
    Metric(
        "acc@gem",
        "Average at the end (ACC, GEM)",
        "higher",
        "mean over j of R[T, j]",
        "Lopez-Paz and Ranzato 2017 (GEM, arXiv 1706.08840)",
        at_end,
        possible="level",
    ),
    Metric(
        "worst-phase@end",
        "Worst phase at the end",
        "higher",
        "min over j of R[T, j]",
        "ours: a mean hides a phase that is wholly forgotten",
        worst,
        possible="level",
    ),
    Metric(
        "ra@mer",
        "Retained accuracy (RA, MER)",
        "higher",
        "mean over j of R[T, j]",
        f"{_MER}. The same as acc@gem",
        at_end,
        possible="level",
    ),
    Metric(
        "la@mer",
        "Learning accuracy (LA, MER)",
        "higher",
        "mean over j of R[first(j), j]",
        _MER,
        just_learnt("first"),
        possible="level",
    ),
    Metric(
        "la@mer-last",
        "Learning accuracy, last exposure (LA, MER)",
        "higher",
        "mean over j of R[last(j), j]",
        f"{_MER}. After the last time that a phase is trained",
        just_learnt("last"),
        possible="level",
    ),
    Metric(
        "auc@lifetime",
        "Area under the lifetime curve, all phases",
        "higher",
        "mean over j of (1/s(T)) ∫ p(t, j) dt from 0 to s(T)",
        "ours; trapezoid rule",
        over_life,
        possible="level",
    ),
    Metric(
        "auc@current-phase",
        "Area under the lifetime curve, phase being trained",
        "higher",
        "(1/s(T)) Σ over i of ∫ p(t, φ(i)) dt from s(i-1) to s(i)",
        "online performance, as in never-ending learning (Platanios et al. 2020, Jelly Bean "
        "World), here of the greedy player; trapezoid rule",
        over_life_trained,
        possible="level",
    ),
)
