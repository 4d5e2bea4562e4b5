"""What later training did to phases that had been learnt. Negative values are kept."""

from math import nan

from continual_arcade.evaluation.metrics.aggregation import (
    NOT_BEFORE,
    Named,
    cell,
    effects,
    mean,
    of_phases,
    reduced,
)
from continual_arcade.evaluation.metrics.performance import WINDOW, last_window
from continual_arcade.evaluation.metrics.results import Compute, Context, Metric, Result
from continual_arcade.evaluation.record import Exposure, Record


def _left_behind(record: Record, exposure: Exposure = "first") -> list[tuple[str, int, int]]:
    """Return label, column and row of the phases that were learnt before the last one."""
    rows = record.learnt(exposure)
    return [
        (label, column, rows[column])
        for column, label in enumerate(record.labels)
        if rows[column] < len(record.schedule)
    ]


def backward_transfer(exposure: Exposure) -> Compute:
    """Compare the end with what was just learnt."""

    def compute(record: Record, _: Context) -> Result:
        terms = [
            (label, cell(record, -1, column) - cell(record, row, column))
            for label, column, row in _left_behind(record, exposure)
        ]
        return mean(terms, NOT_BEFORE)

    return compute


def learnt_less_end(record: Record, _: Context) -> Result:
    """Compare what was just learnt with the end."""
    terms = [
        (label, cell(record, row, column) - cell(record, -1, column))
        for label, column, row in _left_behind(record)
    ]
    return mean(terms, NOT_BEFORE)


def improvement(exposure: Exposure) -> Compute:
    """Compare the end with what was just learnt, in all phases."""

    def compute(record: Record, _: Context) -> Result:
        rows = record.learnt(exposure)
        terms = of_phases(record, lambda j: cell(record, -1, j) - cell(record, rows[j], j))
        return mean(terms, NOT_BEFORE)

    return compute


def best_less_end(record: Record, _: Context) -> Result:
    """Compare the best row since a phase was learnt with the end."""
    end = len(record.schedule)
    terms = [
        (
            label,
            reduced((cell(record, i, column) for i in range(row, end)), max)
            - cell(record, end, column),
        )
        for label, column, row in _left_behind(record)
    ]
    return mean(terms, NOT_BEFORE)


def continual_world(record: Record, _: Context) -> Result:
    """Compare the last five evaluations of each phase of training with those of the whole run."""
    final = len(record.schedule) - 1
    if not final:
        return Result(nan, NOT_BEFORE)
    terms = [
        (label, last_window(record, stage, column) - last_window(record, final, column))
        for stage, (label, column) in enumerate(
            zip(record.stage_labels, record.column_of, strict=True)
        )
    ]
    note = f"the last of {final + 1} phases counts, and is 0 by definition"
    return mean(terms, NOT_BEFORE, note=note)


def coom(record: Record, _: Context) -> Result:
    """Compare the end of each phase of training but the last with the end of the run."""
    terms: list[Named] = [
        (label, cell(record, stage + 1, column) - cell(record, -1, column))
        for stage, (label, column) in enumerate(
            zip(record.stage_labels[:-1], record.column_of[:-1], strict=True)
        )
    ]
    return mean(terms, NOT_BEFORE)


def isolated(record: Record, _: Context) -> Result:
    """Take what each later phase of training alone did to each phase learnt before."""
    terms = [
        (
            f"{record.stage_labels[stage]} -> {record.labels[column]}",
            cell(record, stage, column) - cell(record, stage + 1, column),
        )
        for stage, column in effects(record, forward=False)
    ]
    return mean(terms, NOT_BEFORE)


_GEM = "Lopez-Paz and Ranzato 2017 (GEM, arXiv 1706.08840); its code, and MER's, divides by T"
_MER = "Riemer et al. 2019 (MER, arXiv 1810.11910): RA less LA"

METRICS = (
    Metric(
        "bwt@gem",
        "Backward transfer (GEM)",
        "higher",
        "mean over j with first(j) < T of R[T, j] - R[first(j), j]",
        _GEM,
        backward_transfer("first"),
        possible="change",
    ),
    Metric(
        "bwt@gem-last",
        "Backward transfer since the last exposure (GEM)",
        "higher",
        "mean over j with last(j) < T of R[T, j] - R[last(j), j]",
        f"{_GEM}. From the last time that a phase is trained",
        backward_transfer("last"),
        possible="change",
    ),
    Metric(
        "bti@mer",
        "Backward transfer and interference (BTI, MER)",
        "higher",
        "mean over j of R[T, j] - R[first(j), j]",
        f"{_MER}. It divides by T, so that the phase learnt last counts as 0",
        improvement("first"),
        possible="change",
    ),
    Metric(
        "bti@mer-last",
        "Backward transfer and interference since the last exposure (BTI, MER)",
        "higher",
        "mean over j of R[T, j] - R[last(j), j]",
        f"{_MER}. From the last time that a phase is trained",
        improvement("last"),
        possible="change",
    ),
    Metric(
        "forgetting@chaudhry",
        "Forgetting from the best (Chaudhry)",
        "lower",
        "mean over j with first(j) < T of (max over first(j) <= i < T of R[i, j]) - R[T, j]",
        "Chaudhry et al. 2018 (arXiv 1801.10112), whose maximum begins at i = 1: what was "
        "not learnt yet cannot be forgotten. Mammoth's code fills missing cells with 0",
        best_less_end,
        possible="change",
    ),
    Metric(
        "forgetting@avalanche",
        "Forgetting from just learnt (Avalanche)",
        "lower",
        "mean over j with first(j) < T of R[first(j), j] - R[T, j]",
        "Lomonaco et al. 2021 (Avalanche, arXiv 2104.00405); the negative of bwt@gem",
        learnt_less_end,
        possible="change",
    ),
    Metric(
        "forgetting@continual-world",
        "Forgetting (Continual World)",
        "lower",
        f"(1/T) Σ over i of (mean of the last {WINDOW} p(t, φ(i)) until s(i)) - (until s(T))",
        "Wołczyk et al. 2021 (Continual World, arXiv 2105.10919), as its code has it: each "
        "exposure counts, and so does the last phase, which cannot be forgotten",
        continual_world,
        possible="change",
    ),
    Metric(
        "forgetting@coom",
        "Forgetting (COOM)",
        "lower",
        "(1/(T-1)) Σ over i < T of R[i, φ(i)] - R[T, φ(i)]",
        "Tomilin et al. 2023 (COOM): each exposure counts but the last. Its code takes the last 10 "
        "of 200 evaluations for an end and skips what is missing; here an end is a row of R",
        coom,
        possible="change",
    ),
    Metric(
        "forgetting@cora-isolated",
        "Isolated forgetting (CORA)",
        "lower",
        "mean over pairs i, j ≠ φ(i) with first(j) < i of R[i-1, j] - R[i, j]",
        "Powers et al. 2022 (CORA, arXiv 2110.10067). Its code divides by the largest return of "
        "the model itself, and from the second cycle on counts what a phase does to itself; ours "
        "does neither",
        isolated,
        possible="change",
    ),
)
