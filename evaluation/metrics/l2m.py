"""The metrics of DARPA's Lifelong Learning Machines, after New et al. 2022 and their l2metrics.

Their code first smooths, clamps and maps all values to 1 to 101, so that nothing is divided by 0;
here nothing is, and what cannot be divided by is named. Their learning experiences are episodes of
training; ours are evaluations.
"""

from collections.abc import Callable
from itertools import combinations
from math import nan
from statistics import fmean, median

from continual_arcade.evaluation.metrics.adaptation import (
    Wait,
    censoring,
    mean_wait,
    wait_for,
)
from continual_arcade.evaluation.metrics.aggregation import (
    NOT_AFTER,
    NOT_BEFORE,
    Term,
    averaged,
    cell,
    effects,
    mean,
    missing,
    of_phases,
    over,
    ratio,
    reduced,
    several,
)
from continual_arcade.evaluation.metrics.comparisons import (
    as_baseline,
    baseline_mean,
    first_stage,
    single_phase_runs,
)
from continual_arcade.evaluation.metrics.plasticity import NO_REPEAT
from continual_arcade.evaluation.metrics.results import Compute, Context, Metric, Result
from continual_arcade.evaluation.metrics.transfer import trained_mean
from continual_arcade.evaluation.record import Record


def maintenance(record: Record, _: Context) -> Result:
    """Compare each later row with the one right after the most recent training of a phase."""
    terms = []
    for column, label in enumerate(record.labels):
        reference = 0
        found = []
        for row, trained in enumerate(record.column_of, 1):
            if trained == column:
                reference = row
            elif reference:
                found.append(cell(record, row, column) - cell(record, reference, column))
        if found:
            terms.append((label, averaged(found)))
    return mean(terms, NOT_BEFORE)


def proportion(before: Term, after: Term, what: str) -> Term:
    """Return after / before."""
    return ratio(after, before, what, left_out=True)


def contrast(before: Term, after: Term, what: str) -> Term:
    """Return (after - before) / (after + before), for numbers that are not negative."""
    lost = missing(before, after)
    if lost is not None:
        return lost
    if before.value < 0 or after.value < 0:
        low = min(before.value, after.value)
        return Term(nan, f"{what}, or after it, is {low:g}, and a contrast needs positive numbers")
    total = before.value + after.value
    return ratio(after - before, Term(total), f"{what} and after it", left_out=True)


def transfer(how: Callable[[Term, Term, str], Term], *, forward: bool) -> Compute:
    """Compare each phase before and after training in another one, the first time it happens."""

    def compute(record: Record, _: Context) -> Result:
        pairs: dict[str, Term] = {}
        for stage, column in effects(record, forward=forward):
            trained, played = record.labels[record.column_of[stage]], record.labels[column]
            name = f"{trained} -> {played}"
            if name in pairs and not pairs[name].undefined:
                continue
            before, after = cell(record, stage, column), cell(record, stage + 1, column)
            pairs[name] = how(before, after, f"{played} before training in {trained}")
        none = NOT_AFTER if forward else NOT_BEFORE
        return mean(list(pairs.items()), none, leave_out=True)

    return compute


def relative_performance(record: Record, context: Context) -> Result:
    """Compare the sum over a phase with that of single-phase runs."""

    def term(column: int) -> Term:
        alone = baseline_mean(record, context, column)
        what = f"the mean of single-phase runs of {record.labels[column]}"
        return ratio(trained_mean(record, column), alone, what)

    return mean(of_phases(record, term), NOT_AFTER)


def _saturation(record: Record, stage: int, column: int) -> tuple[Term, Term]:
    """Return the highest evaluation while a phase was trained, and the steps until it."""
    rows, why = several(record, stage, 1)
    highest = Term(nan, why) if why else over(record, rows, column, max)
    if missing(highest):
        return highest, highest
    begin = record.schedule.ends[stage] - record.schedule.phases[stage].steps
    first = rows[record.means[rows, column].argmax()]
    return highest, Term(float(record.steps[first] - begin))


def sample_efficiency(record: Record, context: Context) -> Result:
    """Compare how high and how soon a phase saturates with single-phase runs."""

    def term(column: int) -> Term:
        runs, why = single_phase_runs(record, context, column)
        if why:
            return Term(nan, why)
        name = record.labels[column]
        height, steps = _saturation(record, first_stage(record, column), column)
        found = []
        for run in runs:
            other, others_steps = map(as_baseline, _saturation(run, 0, 0))
            higher = ratio(height, other, f"the highest of a single-phase run of {name}")
            sooner = ratio(others_steps, steps, f"the wait until the highest in {name}")
            lost = missing(higher, sooner)
            found.append(lost or Term(higher.value * sooner.value))
        return reduced(found, fmean)

    return mean(of_phases(record, term), NOT_AFTER)


def _recoveries(record: Record) -> dict[int, dict[str, Wait]]:
    """Return, by column and name of the phase of training, how long each recovery took."""
    found: dict[int, dict[str, Wait]] = {}
    latest: dict[int, int] = {}
    for stage, column in enumerate(record.column_of):
        if column in latest:
            level = cell(record, latest[column] + 1, column)
            wait = wait_for(record, stage, level)
            found.setdefault(column, {})[record.stage_labels[stage]] = wait
        latest[column] = stage
    return found


def recovery_time(record: Record, _: Context) -> Result:
    """Take how long a phase that recurs needs to be played as after its last exposure."""
    waits = {name: wait for of_one in _recoveries(record).values() for name, wait in of_one.items()}
    return mean_wait(waits, NO_REPEAT)


def recovery(record: Record, _: Context) -> Result:
    """Take how much shorter recovery gets from one recurrence to the next."""
    terms = []
    counted: dict[str, Wait] = {}
    for column, waits in _recoveries(record).items():
        if len(waits) > 1:
            slope = reduced((wait.steps for wait in waits.values()), _theil_sen)
            terms.append((record.labels[column], Term(0.0) - slope))
            counted |= waits
    return mean(terms, "no phase recurs twice", note=censoring(counted))


def _theil_sen(values: list[float]) -> float:
    """Return the median slope between any two of evenly spaced values."""
    pairs = combinations(enumerate(values), 2)
    return median((second - first) / (j - i) for (i, first), (j, second) in pairs)


_L2M = "New et al. 2022 (L2M, arXiv 2201.08278), l2metrics"
_PAIRS = f"{_L2M}; of each pair the first time, pairs with {{}} left out"

METRICS = (
    Metric(
        "performance-maintenance@l2m",
        "Performance maintenance (L2M, mrlep)",
        "higher",
        "mean over j of mean over i > first(j), φ(i) ≠ j, of R[i, j] - R[latest(j, i), j]",
        f"{_L2M}: against the row after the latest training in j before i",
        maintenance,
        possible="change",
    ),
    Metric(
        "forward-transfer-ratio@l2m",
        "Forward transfer, ratio (L2M)",
        "higher",
        "mean over pairs φ(i), j with i < first(j) of R[i, j] / R[i-1, j]",
        _PAIRS.format("R[i-1, j] = 0"),
        transfer(proportion, forward=True),
        possible="ratio",
    ),
    Metric(
        "backward-transfer-ratio@l2m",
        "Backward transfer, ratio (L2M)",
        "higher",
        "mean over pairs φ(i), j with i > first(j) of R[i, j] / R[i-1, j]",
        _PAIRS.format("R[i-1, j] = 0"),
        transfer(proportion, forward=False),
        possible="ratio",
    ),
    Metric(
        "forward-transfer-contrast@l2m",
        "Forward transfer, contrast (L2M)",
        "higher",
        "mean over pairs φ(i), j with i < first(j) of "
        "(R[i, j] - R[i-1, j]) / (R[i, j] + R[i-1, j])",
        _PAIRS.format("a sum of 0"),
        transfer(contrast, forward=True),
        possible="contrast",
    ),
    Metric(
        "backward-transfer-contrast@l2m",
        "Backward transfer, contrast (L2M)",
        "higher",
        "mean over pairs φ(i), j with i > first(j) of "
        "(R[i, j] - R[i-1, j]) / (R[i, j] + R[i-1, j])",
        _PAIRS.format("a sum of 0"),
        transfer(contrast, forward=False),
        possible="contrast",
    ),
    Metric(
        "relative-performance@l2m",
        "Performance relative to a single-phase expert (L2M)",
        "higher",
        "mean over j of AUC(first(j), j) / alone(j)",
        f"{_L2M}, which sums over training; here the trapezoid rule over evaluations",
        relative_performance,
        frozenset({"baselines"}),
        possible="level",
    ),
    Metric(
        "sample-efficiency@l2m",
        "Sample efficiency (L2M)",
        "higher",
        "mean over j of (max p(t, j) / max alone) · (steps to the latter / steps to the former)",
        f"{_L2M}: the mean over the single-phase runs; nothing is smoothed, and no low maximum "
        "counts as 0",
        sample_efficiency,
        frozenset({"baselines"}),
        possible="ratio",
    ),
    Metric(
        "recovery-time@l2m",
        "Recovery time (L2M)",
        "lower",
        "mean over i > first(j) of the first t - s(i-1) with p(t, j) >= R[latest(j, i), j], "
        "j = φ(i)",
        f"{_L2M}; in lifetime steps. What is not regained counts for the length of the phase, and "
        "the note says how many",
        recovery_time,
        possible="wait",
    ),
    Metric(
        "performance-recovery@l2m",
        "Performance recovery (L2M)",
        "higher",
        "mean over j of -(median slope between any two of the recovery times of j)",
        f"{_L2M} (Theil and Sen); in steps by which recovery gets shorter with each recurrence",
        recovery,
    ),
)
