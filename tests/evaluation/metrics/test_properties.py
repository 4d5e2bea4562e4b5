"""What holds of all metrics on any run."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from math import isnan, nan
from statistics import fmean

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_records import CYCLE, cases, from_rows
from scipy.stats import theilslopes

from continual_arcade.envs import Schedule
from continual_arcade.evaluation import Record
from continual_arcade.evaluation.metrics import METRICS, Context, Result, measure
from continual_arcade.evaluation.metrics.adaptation import wait_for
from continual_arcade.evaluation.metrics.aggregation import Term
from continual_arcade.evaluation.metrics.l2m import _theil_sen
from continual_arcade.evaluation.references import Scale
from continual_arcade.evaluation.score_range import ScoreRange
from continual_arcade.reports.method_results import Extremes, Measured

Case = tuple[Record, Context]
Floats = npt.NDArray[np.float64]

LEVELS = {
    *("performance@last", "performance@last-five", "performance@continual-world", "acc@gem"),
    *("worst-phase@end", "ra@mer", "la@mer", "la@mer-last", "auc@lifetime", "auc@current-phase"),
    *("min-acc@de-lange", "wc-acc@de-lange"),
}
"""In points: what is added to all scores is added to them."""
TIMES = {"adaptation-time", "recovery-time@l2m", "performance-recovery@l2m"}
"""In steps."""
RATIOS = {
    *("forward-transfer@meal", "relative-performance@l2m", "sample-efficiency@l2m"),
    *("plasticity@auc-ratio", "plasticity@final-ratio"),
    *("forward-transfer-ratio@l2m", "backward-transfer-ratio@l2m"),
    *("forward-transfer-contrast@l2m", "backward-transfer-contrast@l2m"),
}
"""Without a unit; they change when something is added."""
SHARES = {"forward-transfer@continual-world"}
"""Without a unit; differences by a difference."""
DIFFERENCES = METRICS.keys() - LEVELS - TIMES - RATIOS - SHARES


def transformed(case: Case, factor: float, added: float) -> Case:
    """The same run on another scale, with all that it is compared to."""
    record, context = case
    assert context.references is not None
    assert context.baselines is not None

    def on_scale(record: Record) -> Record:
        return replace(record, values=record.values * factor + added)

    one, zero = context.references.one, context.references.zero
    return on_scale(record), Context(
        Scale(zero * factor + added, one * factor + added),
        {c: list(map(on_scale, runs)) for c, runs in context.baselines.items()},
    )


def values(case: Case) -> dict[str, float]:
    return {name: result.value for name, result in measure(case[0], context=case[1]).items()}


def same(found: Mapping[str, float], expected: Mapping[str, float]) -> None:
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@given(cases(), st.integers(1, 100))
@settings(max_examples=40, deadline=None)
def test_adding_a_constant(case: Case, added: int) -> None:
    before, after = values(case), values(transformed(case, 1.0, added))
    for name in RATIOS:
        before.pop(name), after.pop(name)
    same(after, {name: v + added * (name in LEVELS) for name, v in before.items()})


@given(cases(), st.sampled_from([0.25, 2.0, 64.0]))
@settings(max_examples=40, deadline=None)
def test_scaling(case: Case, factor: float) -> None:
    before, after = values(case), values(transformed(case, factor, 0.0))
    in_points = LEVELS | DIFFERENCES
    same(after, {n: v * (factor if n in in_points else 1.0) for n, v in before.items()})


def test_a_constant_does_change_ratios() -> None:
    def alone(index: int, *rows: float) -> Record:
        schedule = Schedule("alone", (CYCLE.schedule.phases[index],))
        return from_rows(schedule, [[row] for row in rows])

    record = replace(CYCLE, values=CYCLE.values + 1.0)
    references = Scale(np.zeros(2), np.full(2, 50.0))
    case = record, Context(references, {0: [alone(0, 2, 8)], 1: [alone(1, 1, 7)]})
    before, after = values(case), values(transformed(case, 1.0, 10.0))
    for name in RATIOS:
        assert before[name] != after[name]


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_the_order_of_episodes_does_not_matter(case: Case, random: object) -> None:
    record, context = case
    order = list(range(record.values.shape[2]))
    random.shuffle(order)  # type: ignore[attr-defined]
    same(values((replace(record, values=record.values[..., order]), context)), values(case))


@given(cases())
@settings(max_examples=25, deadline=None)
def test_names_do_not_matter(case: Case) -> None:
    record, context = case
    stretches = tuple(replace(s, name=f"phase {i}") for i, s in enumerate(record.schedule.phases))
    renamed = replace(record, schedule=Schedule("renamed", stretches))
    same(values((renamed, context)), values(case))


@given(cases())
@settings(max_examples=25, deadline=None)
def test_a_result_is_nan_for_a_reason_and_the_mean_of_its_parts(case: Case) -> None:
    for name, result in measure(case[0], context=case[1]).items():
        assert isnan(result.value) == bool(result.reason), name
        assert not (isnan(result.value) and result.note), name
        # All phases have the same length here, so that no part weighs more.
        if not isnan(result.value) and name != "worst-phase@end":
            assert result.value == pytest.approx(fmean(result.parts.values())), name


def alike(one: Result, other: Result) -> bool:
    return (one.note, one.reason, one.parts.keys()) == (
        other.note,
        other.reason,
        other.parts.keys(),
    ) and np.array_equal(
        [one.value, *one.parts.values()], [other.value, *other.parts.values()], equal_nan=True
    )


def cancels_itself(record: Record, name: str, row: int, column: int) -> bool:
    """Whether a term compares a cell with itself: of one value, but only if the cell is there."""
    if name in ("recovery-time@l2m", "performance-recovery@l2m"):
        # A phase that follows itself: what has to be regained is the first of what is regained.
        return any(
            one == other == column and row in record.ends[stage + 1]
            for stage, (one, other) in enumerate(pairwise(record.column_of))
        )
    if column != record.column_of[-1]:
        return False
    if name == "forgetting@continual-world":
        return row in record.by_stage[-1][-5:] and len(record.schedule) > 1
    learnt = {"bti@mer": record.learnt("first"), "bti@mer-last": record.learnt("last")}.get(name)
    return learnt is not None and learnt[column] == len(record.schedule) and row in record.ends[-1]


Measure = Callable[[Record, Context], dict[str, Result]]


def of_all(record: Record, context: Context) -> dict[str, Result]:
    return measure(record, context=context)


def check_missing(measure: Measure, case: Case, row: int, column: int) -> None:
    """Compare what a missing cell makes NaN with what a very high or low one changes."""
    record, context = case

    def with_cell(value: float) -> dict[str, Result]:
        changed = record.values.copy()
        changed[row, column, 0] = value
        return measure(replace(record, values=changed), context)

    before, missing = measure(record, context), with_cell(nan)
    high, low = with_cell(1e6), with_cell(-1e6)
    of_cell = f"1 of 2 episodes at step {int(record.steps[row]):,}"
    for name, result in before.items():
        if isnan(result.value):
            # Undefined already, by what the cell may be a part of: then it is a reason before that.
            assert isnan(missing[name].value), name
            given = missing[name].reason
            assert given == result.reason or given.endswith(of_cell), name
            continue
        uses = not alike(result, high[name]) or not alike(result, low[name])
        uses = uses or cancels_itself(record, name, row, column)
        assert isnan(missing[name].value) == uses, name
        if uses:
            assert missing[name].reason.endswith(of_cell), name
        else:
            assert alike(missing[name], result)


@given(cases(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_missing_cell_matters_to_the_metrics_that_use_it_and_to_no_other(
    case: Case, data: st.DataObject
) -> None:
    row = data.draw(st.integers(0, len(case[0].steps) - 1))
    column = data.draw(st.integers(0, len(case[0].phases) - 1))
    check_missing(of_all, case, row, column)


def test_a_metric_that_skips_what_is_missing_would_be_found_out() -> None:
    def skipping(record: Record, _: Context) -> dict[str, Result]:
        return {"acc": Result(float(np.nanmean(record.matrix[-1])))}

    def greedy(record: Record, _: Context) -> dict[str, Result]:
        lost = bool(np.isnan(record.values).any())
        value = nan if lost else float(record.matrix[-1].mean())
        return {"acc": Result(value, "1 of 2 episodes at step 500" if lost else "")}

    values = np.repeat(CYCLE.values, 2, axis=2)
    case = replace(CYCLE, values=values), Context()
    check_missing(of_all, case, 6, 0)
    with pytest.raises(AssertionError):
        check_missing(skipping, case, 6, 0)
    with pytest.raises(AssertionError):
        check_missing(greedy, case, 1, 0)  # NaN though the cell is not used


@given(cases(), st.data())
@settings(max_examples=25, deadline=None)
def test_what_is_never_evaluated_is_never_a_number(case: Case, data: st.DataObject) -> None:
    record, context = case
    column = data.draw(st.integers(0, len(record.phases) - 1))
    changed = record.values.copy()
    changed[:, column] = nan
    for name, result in measure(replace(record, values=changed), context=context).items():
        uses = record.labels[column] in measure(record, [name], context)[name].parts
        if uses:
            assert isnan(result.value), name


@given(cases())
@settings(max_examples=25, deadline=None)
def test_metrics_that_are_sums_of_others(case: Case) -> None:
    found = measure(case[0], context=case[1])

    def value(name: str) -> float:
        return found[name].value

    assert value("ra@mer") == value("acc@gem")
    assert value("bti@mer") == pytest.approx(value("ra@mer") - value("la@mer"))
    assert value("bti@mer-last") == pytest.approx(value("ra@mer") - value("la@mer-last"))
    assert value("forgetting@avalanche") == pytest.approx(-value("bwt@gem"), nan_ok=True)
    if not isnan(value("bwt@gem")):
        assert value("forgetting@chaudhry") >= value("forgetting@avalanche") - 1e-9
    if not isnan(value("zero-shot@cora")):
        for name, term in found["fwt@gem"].parts.items():
            steps = found["zero-shot@cora"].parts
            assert term == pytest.approx(
                sum(v for k, v in steps.items() if k.endswith(f"> {name}"))
            )
    assert value("relative-performance@l2m") == pytest.approx(value("forward-transfer@meal") + 1)
    assert value("worst-phase@end") <= value("acc@gem")


def brute_force_mean(steps: Floats, curve: Floats) -> float:
    return float(np.trapezoid(curve, steps) / (steps[-1] - steps[0]))


@given(cases())
@settings(max_examples=25, deadline=None)
def test_areas_against_numpy(case: Case) -> None:
    record, context = case
    found = measure(record, ["auc@lifetime", "auc@current-phase"], context)
    for column, name in enumerate(record.labels):
        expected = brute_force_mean(record.steps.astype(float), record.means[:, column])
        assert found["auc@lifetime"].parts[name] == pytest.approx(expected)
    for stage, name in enumerate(record.stage_labels):
        start, end = stage * 100, stage * 100 + 100
        inside = (record.steps >= start) & (record.steps <= end)
        curve = record.means[inside, record.column_of[stage]]
        expected = brute_force_mean(record.steps[inside].astype(float), curve)
        assert found["auc@current-phase"].parts[name] == pytest.approx(expected)


def test_the_mean_of_evaluations_is_no_area() -> None:
    steps, curve = np.array([0.0, 1.0, 10.0]), np.array([0.0, 4.0, 4.0])
    assert brute_force_mean(steps, curve) == 3.8 != fmean(curve)


@given(cases(), st.integers(-5, 60))
@settings(max_examples=40, deadline=None)
def test_waits_against_a_search(case: Case, level: int) -> None:
    record, _ = case
    for stage, column in enumerate(record.column_of):
        wait = wait_for(record, stage, Term(float(level)))
        start = stage * 100
        reached = [
            int(step) - start
            for step, mean in zip(record.steps, record.means[:, column], strict=True)
            if start <= step <= start + 100 and mean >= level
        ]
        assert wait.censored == (not reached)
        assert wait.steps.value == (min(reached) if reached else 100)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=7))
def test_slopes_against_scipy(values: list[int]) -> None:
    expected = theilslopes(np.array(values, float))[0]
    assert _theil_sen([float(v) for v in values]) == pytest.approx(expected)


def spanned(case: Case) -> Extremes:
    """The extremes of all runs whose scores lie between 0 and the highest of this one."""
    record, context = case
    highest = record.values.max(axis=0)
    ends = (np.zeros_like(record.values), np.broadcast_to(highest, record.values.shape))
    records = tuple(replace(record, values=values) for values in ends)
    return Extremes(ScoreRange(highest), Measured(records, context))


@given(cases(low=0), cases(low=0))
@settings(max_examples=30, deadline=None)
def test_every_value_is_in_its_range(case: Case, other: Case) -> None:
    record, context = case
    extremes = spanned(case)
    # Another run of the same kind: scores that are mixed at random, and some at an end.
    rng = np.random.default_rng(int(other[0].values.sum()))
    share = rng.choice([0.0, 0.5, 1.0], record.values.shape) * rng.random(record.values.shape)
    mixed = replace(record, values=np.round(record.values.max(axis=0) * share))
    measured = Measured((record, mixed), context)
    for normalised in (False, True):
        of_runs = measured.normalised if normalised else measured.results
        for name, metric in METRICS.items():
            found = [of_run[name] for of_run in of_runs]
            within = extremes.possible(name, found, normalised=normalised)
            assert within is None or metric.possible
            if within is None or isnan(sum(result.value for result in found)):
                continue
            within.check(np.array([result.value for result in found]))
            if metric.possible == "change":
                assert all(
                    result.value == pytest.approx(result.levels[0] - result.levels[1], abs=1e-9)
                    for result in found
                    if result.levels is not None
                )
                assert len(within.middles) == 2
