"""What earlier training did for phases that were not learnt yet."""

from continual_arcade.evaluation.metrics.aggregation import (
    NOT_AFTER,
    Term,
    cell,
    effects,
    mean,
    of_phases,
    ratio,
    stage_mean,
)
from continual_arcade.evaluation.metrics.comparisons import (
    baseline_mean,
    first_stage,
    reference_one,
)
from continual_arcade.evaluation.metrics.results import Context, Metric, Result
from continual_arcade.evaluation.record import Record


def gem(record: Record, _: Context) -> Result:
    """Compare a phase just before it is learnt with the untrained agent."""
    terms = [
        (record.labels[column], cell(record, row - 1, column) - cell(record, 0, column))
        for column, row in enumerate(record.learnt("first"))
        if row > 1
    ]
    return mean(terms, NOT_AFTER)


def zero_shot(record: Record, _: Context) -> Result:
    """Take what each phase of training alone did to each phase that was not learnt yet."""
    terms = [
        (
            f"{record.stage_labels[stage]} -> {record.labels[column]}",
            cell(record, stage + 1, column) - cell(record, stage, column),
        )
        for stage, column in effects(record, forward=True)
    ]
    return mean(terms, NOT_AFTER)


def trained_mean(record: Record, column: int) -> Term:
    """Return the mean of a phase over the steps of its first exposure."""
    return stage_mean(record, first_stage(record, column), column)


def continual_world(record: Record, context: Context) -> Result:
    """Compare learning a phase with learning it from scratch, in shares of what could be gained."""

    def term(column: int) -> Term:
        alone = baseline_mean(record, context, column)
        gain = trained_mean(record, column) - alone
        room = reference_one(record, context, column) - alone
        return ratio(gain, room, f"what {record.labels[column]} could gain on single-phase runs")

    return mean(of_phases(record, term), NOT_AFTER)


def meal(record: Record, context: Context) -> Result:
    """Compare learning a phase with learning it from scratch, in shares of the latter."""

    def term(column: int) -> Term:
        alone = baseline_mean(record, context, column)
        what = f"the mean of single-phase runs of {record.labels[column]}"
        return ratio(trained_mean(record, column) - alone, alone, what, left_out=True)

    return mean(of_phases(record, term), NOT_AFTER, leave_out=True)


METRICS = (
    Metric(
        "fwt@gem",
        "Forward transfer (GEM)",
        "higher",
        "mean over j with first(j) > 1 of R[first(j)-1, j] - R[0, j]",
        "Lopez-Paz and Ranzato 2017 (GEM, arXiv 1706.08840); its code divides by T",
        gem,
        possible="change",
    ),
    Metric(
        "zero-shot@cora",
        "Zero-shot forward transfer (CORA)",
        "higher",
        "mean over pairs i, j with i < first(j) of R[i, j] - R[i-1, j]",
        "Powers et al. 2022 (CORA, arXiv 2110.10067). Its code divides by the largest return of "
        "the model itself; ours does not",
        zero_shot,
        possible="change",
    ),
    Metric(
        "forward-transfer@continual-world",
        "Forward transfer (Continual World)",
        "higher",
        "mean over j of (AUC(first(j), j) - alone(j)) / (one(j) - alone(j))",
        "Wołczyk et al. 2021 (Continual World, arXiv 2105.10919), where one is 1, the highest "
        "success; its code divides by 0 where single-phase runs reach that",
        continual_world,
        frozenset({"baselines", "references"}),
        possible="level",
    ),
    Metric(
        "forward-transfer@meal",
        "Forward transfer (MEAL)",
        "higher",
        "mean over j of (AUC(first(j), j) - alone(j)) / alone(j)",
        "Tomilin et al. 2025 (MEAL); phases with alone(j) = 0 left out. Its code takes returns of "
        "training, fills what is missing with 0, and divides an area of n points by n",
        meal,
        frozenset({"baselines"}),
        possible="level",
    ),
)
