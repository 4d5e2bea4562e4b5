"""Whether a phase that recurs is learnt as well as the first time."""

from collections.abc import Callable

from continual_arcade.evaluation.metrics.aggregation import Term, cell, mean, ratio, stage_mean
from continual_arcade.evaluation.metrics.comparisons import first_stage
from continual_arcade.evaluation.metrics.results import Compute, Context, Metric, Result
from continual_arcade.evaluation.record import Record

NO_REPEAT = "no phase recurs"


def repeats(record: Record) -> list[tuple[int, int, int]]:
    """Return the first and the later phase of the schedule, and the column, of each recurrence."""
    firsts = [first_stage(record, column) for column in record.column_of]
    return [
        (first, stage, record.column_of[stage])
        for stage, first in enumerate(firsts)
        if stage != first
    ]


def _against_first(how: Callable[[Record, int, int], Term]) -> Compute:
    """Compare each later exposure with the first, by a number of a phase of training."""

    def compute(record: Record, _: Context) -> Result:
        terms = [
            (
                record.stage_labels[stage],
                ratio(
                    how(record, stage, column),
                    how(record, first, column),
                    f"{record.labels[column]} in its first exposure",
                    left_out=True,
                ),
            )
            for first, stage, column in repeats(record)
        ]
        return mean(terms, NO_REPEAT, leave_out=True)

    return compute


def _at_end(record: Record, stage: int, column: int) -> Term:
    return cell(record, stage + 1, column)


_MEAL = "Tomilin et al. 2025 (MEAL), whose code divides by the first exposure, "

METRICS = (
    Metric(
        "plasticity@auc-ratio",
        "Plasticity: area of later exposures by the first",
        "higher",
        "mean over i > first(φ(i)) of AUC(i, φ(i)) / AUC(first(φ(i)), φ(i))",
        f"{_MEAL}after smoothing; here nothing is smoothed",
        _against_first(stage_mean),
        possible="ratio",
    ),
    Metric(
        "plasticity@final-ratio",
        "Plasticity: end of later exposures by the first",
        "higher",
        "mean over i > first(φ(i)) of R[i, φ(i)] / R[first(φ(i)), φ(i)]",
        f"{_MEAL}and cuts the ratio at 1.25; here nothing is cut",
        _against_first(_at_end),
        possible="ratio",
    ),
)
