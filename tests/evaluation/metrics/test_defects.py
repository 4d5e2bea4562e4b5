"""Defects of other suites' own code, each written out, shown to matter, and shown to be absent."""

from collections.abc import Sequence
from dataclasses import replace
from math import exp, inf, isnan, nan

import numpy as np
import pytest
from sample_records import ALONE, SCALE, TWO, TWO_CONTEXT, A, B, from_curves, from_rows
from tables import gaps

from continual_arcade.evaluation import Record
from continual_arcade.evaluation.metrics import Context, measure
from continual_arcade.evaluation.references import Scale

THREE, TWO_PHASES = gaps(100, 90, 80), gaps(100, 90)


def value(record: Record, name: str, context: Context = Context()) -> float:  # noqa: B008
    return measure(record, [name], context)[name].value


def reason(record: Record, name: str, context: Context = Context()) -> str:  # noqa: B008
    return measure(record, [name], context)[name].reason


def without(record: Record, row: int, column: int) -> Record:
    """One evaluation of one phase is missing."""
    values = record.values.copy()
    values[row, column] = nan
    return replace(record, values=values)


def test_a_phase_with_no_success_is_not_dropped() -> None:
    def coom(matrix: np.ndarray) -> float:  # calculate_performance
        upper = np.triu(matrix.T)
        upper[upper == 0] = nan
        return float(np.nanmean(upper))

    record = from_rows(THREE, [[0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]])
    assert coom(record.matrix[1:]) == 1.0
    assert np.triu(record.matrix[1:].T)[np.triu_indices(3)].mean() == 0.5
    for name in ("performance@last", "acc@gem", "la@mer"):
        assert value(record, name) == pytest.approx(1 / 3)


def test_missing_evaluations_are_no_failures() -> None:
    def meal(curve: np.ndarray) -> float:  # sanitize_series, task_auc
        clean = np.where(np.isfinite(curve), curve, 0.0)
        return float(np.trapezoid(clean)) / len(clean)

    lost = without(TWO, 3, 0)
    assert meal(lost.means[:6, 0]) < meal(TWO.means[:6, 0])
    for name in ("auc@current-phase", "auc@lifetime", "forward-transfer@meal", "regret@dynamic"):
        assert reason(lost, name, TWO_CONTEXT) == f"{A} was not evaluated at step 60"


def test_a_run_that_is_not_there_is_no_failure() -> None:
    # results_table.py takes np.zeros(100) for it, and the transfer is then infinite or -1.
    for name in ("forward-transfer@meal", "forward-transfer@continual-world"):
        only = Context(SCALE, {0: ALONE[0]})
        assert reason(TWO, name, only) == f"it needs single-phase runs of {B}, and none are given"
        assert isnan(value(TWO, name, only))


def test_what_is_missing_is_not_skipped() -> None:
    def coom(record: Record) -> float:  # load_cl_data averages with nanmean
        return float(np.nanmean(record.matrix[:-1].diagonal(-1) - record.matrix[-1, :-1]))

    record = from_rows(THREE, [[0, 0, 0], [5, 0, 0], [4, 8, 0], [1, 2, 9]])
    lost = without(record, 2, 1)
    assert (coom(record), coom(lost)) == (5.0, 4.0)
    assert value(record, "forgetting@coom") == 5.0
    assert reason(lost, "forgetting@coom") == "gap 90 was not evaluated at step 200"


def test_cells_before_learning_are_no_zeros() -> None:
    def mammoth(rows: Sequence[Sequence[float]]) -> float:  # utils/metrics.py::forgetting
        padded = np.zeros((len(rows), len(rows)))
        for i, row in enumerate(rows):
            padded[i, : i + 1] = row[: i + 1]
        return float(np.mean(padded.max(axis=0)[:-1] - padded[-1, :-1]))

    rows = [[-2, -9, -9], [-5, -3, -9], [-5, -8, -4]]
    assert mammoth(rows) == pytest.approx((-2 + 5 + 0 + 8) / 2)  # the zero of a phase not learnt
    record = from_rows(THREE, [[-9, -9, -9], *rows])
    assert value(record, "forgetting@chaudhry") == pytest.approx((-2 + 5 - 3 + 8) / 2)


def test_the_last_phase_is_not_part_of_backward_transfer() -> None:
    def gem(matrix: np.ndarray) -> float:  # metrics.py, of GEM and of MER
        return float(np.mean(matrix[-1] - matrix.diagonal()))

    record = from_rows(THREE, [[0, 0, 0], [0.9, 0, 0], [0.7, 0.8, 0], [0.4, 0.4, 0.9]])
    assert gem(record.matrix[1:]) == pytest.approx(-0.3)
    assert value(record, "bwt@gem") == pytest.approx(-0.45)

    def forward(matrix: np.ndarray) -> float:
        return float(sum(matrix[j, j] - matrix[0, j] for j in range(1, 3)) / 3)

    shown = from_rows(THREE, [[0, 1, 1], [5, 4, 0], [5, 6, 7], [5, 6, 8]])
    assert forward(shown.matrix) == 3.0
    assert value(shown, "fwt@gem") == 4.5


@pytest.mark.parametrize("name", ["bwt@gem", "forgetting@continual-world", "forgetting@chaudhry"])
def test_one_phase_cannot_be_forgotten(name: str) -> None:
    one = from_curves(gaps(100), [0, 1, 2, 3, 4, 5])
    assert float(np.mean(one.matrix[-1] - one.matrix[1])) == 0.0  # what others report
    assert reason(one, name) == "no phase was learnt before another one"


def test_a_perfect_expert_leaves_nothing_to_gain() -> None:
    def continual_world(ours: float, alone: float) -> float:  # tables.py::normalized_ft
        with np.errstate(divide="ignore"):
            return float(np.divide(ours - alone, 1 - alone))

    schedule = gaps(100)
    context = Context(Scale(np.zeros(1), np.ones(1)), {0: [from_rows(schedule, [[1], [1]])]})
    record = from_rows(schedule, [[0], [1]])
    assert continual_world(0.5, 1.0) == -inf
    name = "forward-transfer@continual-world"
    assert reason(record, name, context) == (
        "what gap 100 could gain on single-phase runs is 0, which nothing can be divided by"
    )
    # And beyond perfect the sign would turn: what is worse would be better.
    beyond = Context(context.references, {0: [from_rows(schedule, [[1], [2]])]})
    assert continual_world(0.5, 1.5) > 0
    assert "is -0.5, and a ratio needs positive numbers" in reason(record, name, beyond)


def test_the_scale_is_not_that_of_the_model() -> None:
    def cora(record: Record) -> float:  # compute_metrics: 1 / max |return| of the model's own runs
        scale = np.abs(record.means[:, 0]).max()
        return float((record.matrix[1, 0] - record.matrix[2, 0]) / scale)

    weak = from_rows(TWO_PHASES, [[0, 0], [1, 0], [0, 1]])
    strong = from_rows(TWO_PHASES, [[0, 0], [40, 0], [0, 40]])
    assert cora(weak) == cora(strong) == 1.0
    name = "forgetting@cora-isolated"
    assert (value(weak, name), value(strong, name)) == (1.0, 40.0)
    zero, one = np.zeros(2), np.full(2, 40.0)
    assert value(weak.rescaled(zero, one), name) == 1 / 40
    assert value(strong.rescaled(zero, one), name) == 1.0


def test_the_evaluation_at_the_end_of_a_phase_belongs_to_it() -> None:
    def cora(record: Record, start: int, end: int) -> float:  # get_rewards_for_region
        inside = (record.steps > start) & (record.steps < end)
        return float(record.means[inside, 0][-1])

    assert cora(TWO, 0, 100) - cora(TWO, 100, 200) == 8 - 5
    assert value(TWO, "forgetting@cora-isolated") == 10 - 7


def test_gains_are_not_cut_off() -> None:
    def weighted(curve: Sequence[float], end: int) -> float:  # MEAL's forgetting
        if curve[end] < 1e-8:
            return 0.0
        after = np.array(curve[end + 1 :])
        lost = np.maximum(curve[end] - after, 0.0) / curve[end]
        weights = np.array([exp(-2 * i / (len(after) - 1)) for i in range(len(after))])
        return float(np.clip((lost * weights).sum() / weights.sum(), 0, 1))

    phases = gaps(100, 90, steps=90)
    better = from_curves(phases, [0, 1, 2, 3, 6, 9, 12], [0] * 7)
    assert weighted(better.means[:, 0].tolist(), 3) == 0.0
    worse = from_curves(phases, [0, -1, -2, -3, -6, -9, -12], [0] * 7)
    assert weighted(worse.means[:, 0].tolist(), 3) == 0.0  # "never learnt"
    for name in ("forgetting@avalanche", "forgetting@chaudhry", "forgetting@cora-isolated"):
        assert value(better, name) == -9
        assert value(worse, name) == 9
    assert value(better, "bwt@gem") == 9


def test_what_was_never_learnt_shows() -> None:
    record = from_rows(gaps(100, 90, 100), [[0, 0], [0, 0], [0, 5], [4, 5]])
    for name in ("plasticity@final-ratio", "plasticity@auc-ratio"):
        assert reason(record, name).startswith("all 1 are left out: gap 100 in its first exposure")


def test_an_area_is_divided_by_its_length() -> None:
    def meal(curve: np.ndarray) -> float:  # task_auc
        return float(np.trapezoid(curve)) / len(curve)

    record = from_curves(gaps(100), [10, 10, 10, 10, 10])
    assert meal(record.means[:, 0]) == 8.0
    assert value(record, "auc@current-phase") == value(record, "auc@lifetime") == 10.0


def test_grids_need_not_be_equal() -> None:
    def continual_world(record: Record) -> float:  # mean of the evaluations
        return float(record.means[1:, 0].mean())

    fine, coarse = from_curves(gaps(100), [0, 1, 2, 3, 4]), from_curves(gaps(100), [0, 4])
    assert (continual_world(fine), continual_world(coarse)) == (2.5, 4.0)
    for ours, alone in ((fine, coarse), (coarse, fine)):
        context = Context(Scale(np.zeros(1), np.full(1, 9.0)), {0: [alone]})
        assert value(ours, "forward-transfer@continual-world", context) == 0.0
        assert value(ours, "forward-transfer@meal", context) == 0.0
        assert value(ours, "relative-performance@l2m", context) == 1.0


def test_ratios_of_plasticity_are_not_cut() -> None:
    def final(first: float, later: float) -> float:
        return min(later / first, 1.25)

    def loss(first: float, later: float) -> float:
        return max(0.0, 1.0 - later / first)

    record = from_rows(gaps(100, 90, 100), [[0, 0], [2, 0], [2, 5], [8, 5]])
    assert (final(2, 8), loss(1, 5)) == (1.25, 0.0)
    assert value(record, "plasticity@final-ratio") == 4.0
    assert value(record, "plasticity@auc-ratio") == 5.0  # (2 + 8)/2 by (0 + 2)/2
    # Without a repeat MEAL writes 1.
    assert reason(TWO, "plasticity@auc-ratio") == "no phase recurs"


def test_the_last_five_are_the_last_five() -> None:
    def componet(y: np.ndarray) -> float:  # y[:-100] where the last 100 are meant
        return float(y[:-5].mean())

    record = from_curves(TWO_PHASES, [0, 2, 4, 6, 8, 10, 9, 9, 9, 9, 9], [0] * 11)
    assert componet(record.means[:, 0]) == 5.0
    result = measure(record, ["performance@continual-world"])["performance@continual-world"]
    assert result.parts[A] == 9.0


def test_a_level_of_zero_is_a_level() -> None:
    def l2m(curve: Sequence[float], level: float) -> int:  # get_block_saturation_perf
        if level:
            return next((i for i, now in enumerate(curve) if now >= level), len(curve) + 1)
        return len(curve) + 1

    record = from_rows(gaps(100, 90, 100), [[0, 0], [0, 0], [0, 5], [4, 5]])
    assert l2m([0, 4], 0.0) == 3
    result = measure(record, ["recovery-time@l2m"])["recovery-time@l2m"]
    assert (result.value, result.note) == (0.0, "")


def test_a_ratio_of_negative_returns_is_none() -> None:
    record = from_rows(TWO_PHASES, [[0, -5], [0, -10], [0, 0]])
    assert record.matrix[1, 1] / record.matrix[0, 1] == 2.0  # "twice as good"
    for name in ("forward-transfer-ratio@l2m", "forward-transfer-contrast@l2m"):
        assert "needs positive numbers" in reason(record, name)


def test_what_is_left_out_is_counted() -> None:
    record = from_rows(THREE, [[0, 0, 2], [5, 3, 3], [5, 6, 3], [5, 6, 8]])
    result = measure(record, ["forward-transfer-ratio@l2m"])["forward-transfer-ratio@l2m"]
    assert result.value == 1.25  # 3/2 and 3/3
    assert result.note == (
        "1 of 3 left out: gap 90 before training in gap 100 is 0, which nothing can be divided by"
    )
    assert isnan(result.parts["gap 100 -> gap 90"])
