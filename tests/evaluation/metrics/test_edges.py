"""Where a metric is not defined, and what it says then."""

from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
from sample_records import (
    ALONE,
    CYCLE,
    SCALE,
    THREE,
    TWO,
    TWO_CONTEXT,
    A,
    B,
    from_curves,
    from_rows,
)
from tables import gaps, record_of

from continual_arcade.envs import PhaseSpec, Schedule, make_game, shipped
from continual_arcade.evaluation import Record, Timetable
from continual_arcade.evaluation.metrics import METRICS, Context, adaptation_times, measure
from continual_arcade.evaluation.references import Scale


def test_one_phase() -> None:
    record = from_curves(gaps(100), [0, 1, 2, 3, 4, 5])
    context = Context(Scale(np.zeros(1), np.full(1, 10.0)), {0: [record]})
    found = measure(record, context=context)
    undefined = {name: result.reason for name, result in found.items() if isnan(result.value)}
    after = {"fwt@gem", "zero-shot@cora", "forward-transfer-ratio@l2m"}
    assert undefined == {
        name: "no phase was learnt after another one"
        if name in after | {"forward-transfer-contrast@l2m"}
        else "no phase recurs"
        if name.startswith(("plasticity", "recovery"))
        else "no phase recurs twice"
        if name.startswith("performance-recovery")
        else "no phase was learnt before another one"
        for name in undefined
    }
    # All others are numbers; WC-ACC of one phase is its end.
    assert found.keys() - undefined.keys() >= {"acc@gem", "la@mer", "bti@mer", "auc@lifetime"}
    assert found["wc-acc@de-lange"].value == 5
    assert {"bwt@gem", "min-acc@de-lange", "stability-gap@de-lange"} < undefined.keys()


def test_a_run_that_was_broken_off() -> None:
    cells = {(0, -1): [[1], [2], [4]], (100, 0): [[10], [6], [5]], (150, 1): [[9], [9], [9]]}
    record = record_of(gaps(100, 90, 80), cells)
    found = measure(record, context=Context(Scale(np.zeros(3), np.full(3, 50.0))))
    known = {name for name, result in found.items() if not isnan(result.value)}
    assert known == set()
    assert found["acc@gem"].reason == "the run reached step 150 of 300"
    assert found["la@mer"].parts[A] == 10
    assert isnan(found["la@mer"].parts[B])
    # What was known by then is known.
    assert found["zero-shot@cora"].parts[f"{A} -> {B}"] == 4
    times, censored = adaptation_times(record, Scale(np.zeros(3), np.array([10.0, 10.0, 10.0])))
    np.testing.assert_array_equal(times, [100, 50, nan])
    assert not censored.any()


def test_ends_that_were_not_evaluated() -> None:
    cells = {(100, 0): [[10], [6]], (150, 1): [[9], [9]], (300, 2): [[1], [2]]}
    record = record_of(gaps(100, 90, 100), cells)
    found = measure(record)
    assert found["auc@lifetime"].reason == "there is no evaluation before training"
    assert found["fwt@gem"].reason == "there is no evaluation before training"
    assert found["la@mer"].reason == "there is no evaluation at the end of gap 90"
    assert found["auc@current-phase"].reason == "there is no evaluation before training"
    assert found["plasticity@final-ratio"].value == 0.1
    assert found["recovery-time@l2m"].reason == "there is no evaluation at the end of gap 90"


def test_an_episode_that_is_missing() -> None:
    values = np.repeat(TWO.values, 2, axis=2)
    values[10, 1, 1] = nan
    found = measure(replace(TWO, values=values), context=TWO_CONTEXT)
    assert found["acc@gem"].reason == f"{B} has 1 of 2 episodes at step 200"
    assert found["acc@gem"].parts[A] == 7
    assert found["bwt@gem"].value == -3  # does not need it


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("performance@continual-world", B),
        ("forgetting@continual-world", A),
        ("stability-gap@de-lange", B),
    ],
)
def test_short_windows(name: str, phase: str) -> None:
    record = from_curves(gaps(100, 90), [0, 1, 2, 3, 4, 5, 6, 7, 8], [0] * 9)
    result = measure(record, [name])[name]
    assert result.reason == (f"{phase} was evaluated 4 times while it was trained; 5 are needed")


def test_references_that_leave_no_room() -> None:
    for zero, one, reason in (
        (5.0, 5.0, "the references of gap 90 leave no room: zero is 5, one 5"),
        (9.0, 5.0, "the references of gap 90 leave no room: zero is 9, one 5"),
        (nan, 5.0, "not played yet"),
        (0.0, nan, "not played yet"),
    ):
        scale = Scale(np.array([0.0, zero]), np.array([10.0, one]), "not played yet")
        context = Context(scale, ALONE)
        for name, metric in METRICS.items():
            if "references" in metric.needs:
                assert measure(TWO, [name], context)[name].reason == reason
        times, _ = adaptation_times(TWO, scale)
        np.testing.assert_array_equal(times, [80, nan])
    assert measure(TWO, ["adaptation-time"], Context(Scale(np.full(2, nan), np.full(2, nan))))[
        "adaptation-time"
    ].reason == (f"{A} has no reference")


def test_what_a_metric_needs_is_said() -> None:
    for context, lacking in (
        (Context(), {"references", "baselines"}),
        (Context(SCALE), {"baselines"}),
        (Context(None, ALONE), {"references"}),
        (TWO_CONTEXT, set()),
    ):
        for name, result in measure(TWO, context=context).items():
            needs = METRICS[name].needs & lacking
            assert result.reason.startswith("it needs") == bool(needs), name


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (Context(Scale(np.zeros(3), np.ones(3))), "do not fit a record of 2 phases"),
        (Context(None, {0: ALONE[1]}), "of gap 100 was trained in gap 90: give one"),
        (Context(None, {0: [TWO]}), "of gap 100 was trained in gap 100, gap 90: give one"),
        (
            Context(None, {0: [from_rows(gaps(100, steps=50), [[0], [1]])]}),
            "of gap 100 has 50 steps, and the phase has 100",
        ),
    ],
)
def test_a_context_of_something_else_is_refused(context: Context, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(TWO, context=context)


def test_unknown_metrics() -> None:
    with pytest.raises(ValueError, match="unknown metric 'bwt': did you mean 'bwt@gem'"):
        measure(TWO, ["bwt"])
    assert list(measure(TWO, ["fwt@gem", "acc@gem"])) == ["fwt@gem", "acc@gem"]
    assert measure(TWO, []) == {}


def test_single_phase_runs_that_lack_something() -> None:
    broken_off = record_of(gaps(100), {(0, -1): [[0]], (50, 0): [[1]]})
    context = Context(SCALE, {**ALONE, 0: [ALONE[0][0], broken_off]})
    for name, metric in METRICS.items():
        if "baselines" in metric.needs:
            result = measure(TWO, [name], context)[name]
            assert result.reason == "single-phase run: the run reached step 50 of 100", name


def test_several_single_phase_runs() -> None:
    # B alone: 18 as before, and (0 + 0 + 0 + 0 + 10 + 20/2)/5 = 4, so 11 in the mean.
    other = from_curves(gaps(90), [0, 0, 0, 0, 10, 20])
    found = measure(TWO, context=Context(SCALE, {**ALONE, 1: [*ALONE[1], other]}))
    assert found["relative-performance@l2m"].parts[B] == pytest.approx(25.5 / 11)
    assert found["forward-transfer@meal"].parts[B] == pytest.approx(14.5 / 11)
    assert found["forward-transfer@continual-world"].parts[B] == pytest.approx(14.5 / 39)
    # 50/40 * 60/100 as before, and 50/20 * 100/100.
    assert found["sample-efficiency@l2m"].parts[B] == pytest.approx((0.75 + 2.5) / 2)


def test_phases_of_one_name() -> None:
    stretches = tuple(PhaseSpec(name="x", steps=100, params={"gap": gap}) for gap in (100, 90, 100))
    record = from_rows(Schedule("same", stretches), [[0, 0], [10, 2], [4, 8], [7, 6]])
    assert record.labels == ("x", "x (2)")
    assert record.stage_labels == ("x", "x (2)", "x (3)")
    found = measure(record)
    assert found["acc@gem"].value == 6.5
    assert found["acc@gem"].parts == {"x": 7, "x (2)": 6}
    assert len(found["auc@current-phase"].parts) == 3


def test_times_are_those_of_the_first_evaluation_at_which_it_holds() -> None:
    scale = Scale(np.array([0.0, 0.0]), np.array([10.0, 50.0]))
    for q, expected in ((0.8, [80, 80]), (0.81, [100, 100]), (0.1, [20, 0]), (0.0, [0, 0])):
        times, censored = adaptation_times(TWO, scale, q)
        np.testing.assert_array_equal(times, expected)
        assert not censored.any()
    # Not reached, in the second phase: as long as it lasts, and no longer.
    times, censored = adaptation_times(TWO, Scale(np.zeros(2), np.array([10.0, 80.0])))
    np.testing.assert_array_equal(times, [80, 100])
    assert censored.tolist() == [False, True]
    result = measure(TWO, ["adaptation-time"], Context(Scale(np.zeros(2), np.array([10.0, 80.0]))))
    assert result["adaptation-time"].value == 90
    assert result["adaptation-time"].note == "1 of 2 censored at the end of their phase"


def test_evaluations_a_little_late() -> None:
    cells = {(0, -1): [[0], [0]], (104, 0): [[10], [2]], (204, 1): [[4], [8]]}
    record = record_of(gaps(100, 90), cells)
    context = Context(Scale(np.zeros(2), np.array([10.0, 10.0])))
    found = measure(record, context=context)
    assert found["bwt@gem"].value == -6
    assert found["auc@current-phase"].parts == {A: 5, B: 5}
    assert found["adaptation-time"].parts == {A: 100, B: 100}  # never longer than the phase


def test_a_phase_that_was_passed_over() -> None:
    cells = {(0, -1): [[0], [0]], (204, 0): [[10], [2]], (204, 1): [[4], [8]]}
    record = record_of(gaps(100, 90), cells)
    assert measure(record, ["auc@current-phase"])["auc@current-phase"].reason == (
        f"{B} has no length"
    )


def test_a_phase_that_follows_itself() -> None:
    record = from_rows(gaps(100, 100), [[0], [4], [6]])
    found = measure(record)
    assert found["bwt@gem"].value == 2
    assert found["forgetting@cora-isolated"].reason == "no phase was learnt before another one"
    assert found["stability-gap@de-lange"].reason == "no phase was learnt before another one"
    assert found["plasticity@final-ratio"].value == 1.5
    assert found["recovery-time@l2m"].value == 0


def test_smooth_drift() -> None:
    schedule = shipped("drift", make_game("FlappyBird")).with_steps(100)
    due = Timetable(schedule, every=20).due
    steps, stages = np.array([one.step for one in due]), np.array([one.stage for one in due])
    # In the phase that is trained 30, everywhere else 10.
    values = np.full((len(due), 6, 1), 10.0)
    values[np.arange(1, len(due)), stages[1:]] = 30.0
    record = Record(schedule, values, steps, stages)
    found = measure(record, context=Context(Scale(np.zeros(6), np.full(6, 47.0))))
    assert found["acc@gem"].value == pytest.approx(80 / 6)
    assert found["bwt@gem"].value == -20
    # Each stretch begins with 10 and then has 30: (10/2 + 4 * 30 + 30/2)/5 = 28
    assert found["auc@current-phase"].value == pytest.approx(28)
    assert found["regret@dynamic"].value == pytest.approx(19)


def test_phases_of_different_lengths_weigh_by_their_length() -> None:
    schedule = Schedule(
        "uneven",
        (
            PhaseSpec(name=A, steps=300, params={"gap": 100}),
            PhaseSpec(name=B, steps=100, params={"gap": 90}),
        ),
    )
    record = from_rows(schedule, [[10, 0], [10, 30], [10, 50]])
    found = measure(record, context=Context(Scale(np.zeros(2), np.array([20.0, 60.0]))))
    assert found["auc@current-phase"].value == (300 * 10 + 100 * 40) / 400
    assert found["regret@dynamic"].value == (300 * 10 + 100 * 20) / 400


def test_infinite_values_are_refused() -> None:
    with pytest.raises(ValueError, match="holds a score that is infinite"):
        from_rows(gaps(100), [[0], [np.inf]])


def test_the_records_of_the_tests_have_no_gaps() -> None:
    for record in (THREE, TWO, CYCLE):
        assert not np.isnan(record.matrix).any()
