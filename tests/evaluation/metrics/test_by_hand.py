"""Every metric against numbers worked out by hand; the working stands beside them."""

from collections.abc import Mapping

import pytest
from sample_records import CYCLE, THREE, TWO, TWO_CONTEXT, A, B, C

from continual_arcade.evaluation import Record
from continual_arcade.evaluation.metrics import METRICS, Context, measure

Expected = Mapping[str, tuple[float, Mapping[str, float]]]

# R = | 1  2  4 |   columns A, B, C; rows before training, after A, after B, after C
#     |10  6  5 |
#     |12 20  8 |
#     | 7 14 30 |   one evaluation at each end, phases of 100 steps
OF_THREE: Expected = {
    "performance@last": (17, {A: 7, B: 14, C: 30}),  # (7 + 14 + 30) / 3
    "acc@gem": (17, {A: 7, B: 14, C: 30}),
    "ra@mer": (17, {A: 7, B: 14, C: 30}),
    "worst-phase@end": (7, {A: 7, B: 14, C: 30}),
    "la@mer": (20, {A: 10, B: 20, C: 30}),  # the diagonal
    "la@mer-last": (20, {A: 10, B: 20, C: 30}),
    # A: (1 + 10)/2, (10 + 12)/2, (12 + 7)/2, so (5.5 + 11 + 9.5)/3; B: (4 + 13 + 17)/3;
    # C: (4.5 + 6.5 + 19)/3
    "auc@lifetime": (10, {A: 26 / 3, B: 34 / 3, C: 10}),
    "auc@current-phase": (12.5, {A: 5.5, B: 13, C: 19}),  # (5.5 + 13 + 19) / 3
    "bwt@gem": (-4.5, {A: -3, B: -6}),  # 7 - 10, 14 - 20
    "bwt@gem-last": (-4.5, {A: -3, B: -6}),
    "bti@mer": (-3, {A: -3, B: -6, C: 0}),  # by three
    "bti@mer-last": (-3, {A: -3, B: -6, C: 0}),
    "forgetting@chaudhry": (5.5, {A: 5, B: 6}),  # max(10, 12) - 7, 20 - 14
    "forgetting@avalanche": (4.5, {A: 3, B: 6}),
    "forgetting@coom": (4.5, {A: 3, B: 6}),
    # 10 - 12, 12 - 7, 20 - 14
    "forgetting@cora-isolated": (3, {f"{B} -> {A}": -2, f"{C} -> {A}": 5, f"{C} -> {B}": 6}),
    "fwt@gem": (4, {B: 4, C: 4}),  # 6 - 2, 8 - 4
    # 6 - 2, 5 - 4, 8 - 5
    "zero-shot@cora": (8 / 3, {f"{A} -> {B}": 4, f"{A} -> {C}": 1, f"{B} -> {C}": 3}),
    "min-acc@de-lange": (10.5, {A: 7, B: 14}),  # min(12, 7), 14
    "wc-acc@de-lange": (17, {A: 7, B: 14, C: 30}),  # 30/3 + 2/3 * 10.5
    # A: (12 - 10 + 7 - 10)/2; B: 14 - 20
    "performance-maintenance@l2m": (-3.25, {A: -0.5, B: -6}),
    # 6/2, 5/4, 8/5
    "forward-transfer-ratio@l2m": (
        1.95,
        {f"{A} -> {B}": 3, f"{A} -> {C}": 1.25, f"{B} -> {C}": 1.6},
    ),
    # 12/10, 7/12, 14/20
    "backward-transfer-ratio@l2m": (
        (1.2 + 7 / 12 + 0.7) / 3,
        {f"{B} -> {A}": 1.2, f"{C} -> {A}": 7 / 12, f"{C} -> {B}": 0.7},
    ),
    # 4/8, 1/9, 3/13
    "forward-transfer-contrast@l2m": (
        (0.5 + 1 / 9 + 3 / 13) / 3,
        {f"{A} -> {B}": 0.5, f"{A} -> {C}": 1 / 9, f"{B} -> {C}": 3 / 13},
    ),
    # 2/22, -5/19, -6/34
    "backward-transfer-contrast@l2m": (
        (1 / 11 - 5 / 19 - 3 / 17) / 3,
        {f"{B} -> {A}": 1 / 11, f"{C} -> {A}": -5 / 19, f"{C} -> {B}": -3 / 17},
    ),
}

# Every 20 steps, A: 0 | 2 4 6 8 10 | 9 1 3 5 7; B: 1 | 1 2 3 4 5 | 10 20 30 40 50.
# References: zero 0 and 0, one 10 and 50. Alone, A: 0 2 4 6 8 10; B: 0 0 10 40 30 20.
# Trapezoids: A while trained (0/2 + 2 + 4 + 6 + 8 + 10/2)/5 = 5, alone the same;
# B while trained (5/2 + 10 + 20 + 30 + 40 + 50/2)/5 = 25.5, alone (0 + 0 + 10 + 40 + 30 + 20/2)/5
# = 18.
OF_TWO: Expected = {
    "performance@last": (28.5, {A: 7, B: 50}),
    "performance@last-five": (17.5, {A: 5, B: 30}),  # (9 + 1 + 3 + 5 + 7)/5, (10 + .. + 50)/5
    "performance@continual-world": (17.5, {A: 5, B: 30}),
    # (2 + 4 + 6 + 8 + 10)/5 - 5; the last phase against itself
    "forgetting@continual-world": (0.5, {A: 1, B: 0}),
    "forgetting@coom": (3, {A: 3}),  # 10 - 7
    "bwt@gem": (-3, {A: -3}),
    # A: 5 and then (10/2 + 9 + 1 + 3 + 5 + 7/2)/5 = 5.3; B: (1/2 + 1 + 2 + 3 + 4 + 5/2)/5 = 2.6 and
    # then 25.5
    "auc@lifetime": ((5.15 + 14.05) / 2, {A: 5.15, B: 14.05}),
    "auc@current-phase": (15.25, {A: 5, B: 25.5}),
    "min-acc@de-lange": (1, {A: 1}),
    "wc-acc@de-lange": (25.5, {A: 1, B: 50}),  # (50 + 1)/2
    "stability-gap@de-lange": (9, {A: 9}),  # 10 - 1
    # (5 - 5)/(10 - 5), (25.5 - 18)/(50 - 18)
    "forward-transfer@continual-world": (7.5 / 64, {A: 0, B: 7.5 / 32}),
    "forward-transfer@meal": (7.5 / 36, {A: 0, B: 7.5 / 18}),
    "relative-performance@l2m": ((1 + 25.5 / 18) / 2, {A: 1, B: 25.5 / 18}),
    # A: 10/10 * 100/100; B: 50/40 * 60/100
    "sample-efficiency@l2m": (0.875, {A: 1, B: 0.75}),
    "adaptation-time": (80, {A: 80, B: 80}),  # A reaches 8 and B 40 at the fourth
    "regret@dynamic": (14.75, {A: 5, B: 24.5}),  # (10 - 5 + 50 - 25.5)/2
}

# Rows of A: 0 10 4 12 6 9; of B: 0 2 8 5 6 2, after A, B, A, B, A. In the middle of the third
# phase A has 10 and B 5.
A1, A2, A3, B1, B2 = A, f"{A} (2)", f"{A} (3)", B, f"{B} (2)"
OF_CYCLE: Expected = {
    "acc@gem": (5.5, {A: 9, B: 2}),
    "worst-phase@end": (2, {A: 9, B: 2}),
    "la@mer": (9, {A: 10, B: 8}),
    "la@mer-last": (7.5, {A: 9, B: 6}),
    # A: 5, 7, (7 + 11)/2, 9, 7.5, so 37.5/5; B: 1, 5, (6.5 + 5)/2, 5.5, 4
    "auc@lifetime": ((7.5 + 4.25) / 2, {A: 7.5, B: 4.25}),
    # A: (0 + 10)/2; B: (2 + 8)/2; A: ((4 + 10)/2 + (10 + 12)/2)/2; B: (5 + 6)/2; A: (6 + 9)/2
    "auc@current-phase": (6.4, {A1: 5, B1: 5, A2: 9, B2: 5.5, A3: 7.5}),
    "bwt@gem": (-3.5, {A: -1, B: -6}),  # 9 - 10, 2 - 8
    "bwt@gem-last": (-4, {B: -4}),  # 2 - 6; A is trained last
    "bti@mer": (-3.5, {A: -1, B: -6}),
    "bti@mer-last": (-2, {A: 0, B: -4}),
    "forgetting@chaudhry": (4.5, {A: 3, B: 6}),  # max(10, 4, 12, 6) - 9, max(8, 5, 6) - 2
    "forgetting@avalanche": (3.5, {A: 1, B: 6}),
    # 10 - 9, 8 - 2, 12 - 9, 6 - 2
    "forgetting@coom": (3.5, {A1: 1, B1: 6, A2: 3, B2: 4}),
    # 10 - 4, 8 - 5, 12 - 6, 6 - 2
    "forgetting@cora-isolated": (
        4.75,
        {f"{B1} -> {A}": 6, f"{A2} -> {B}": 3, f"{B2} -> {A}": 6, f"{A3} -> {B}": 4},
    ),
    "fwt@gem": (2, {B: 2}),
    "zero-shot@cora": (2, {f"{A} -> {B}": 2}),
    "min-acc@de-lange": (2, {B: 2}),  # min(5, 5, 6, 2)
    "wc-acc@de-lange": (5.5, {A: 9, B: 2}),
    # A: 9/5, 7.5/5; B: 5.5/5
    "plasticity@auc-ratio": (4.4 / 3, {A2: 1.8, B2: 1.1, A3: 1.5}),
    # A: 12/10, 9/10; B: 6/8
    "plasticity@final-ratio": (0.95, {A2: 1.2, B2: 0.75, A3: 0.9}),
    # A: 4 - 10, 6 - 12; B: 5 - 8, 2 - 6
    "performance-maintenance@l2m": (-4.75, {A: -6, B: -3.5}),
    "forward-transfer-contrast@l2m": (1, {f"{A} -> {B}": 1}),  # 2/2; the ratio would be 2/0
    # the first time only: 4/10, 5/8
    "backward-transfer-ratio@l2m": (0.5125, {f"{B} -> {A}": 0.4, f"{A} -> {B}": 0.625}),
    "backward-transfer-contrast@l2m": (
        (-6 / 14 - 3 / 13) / 2,
        {f"{B} -> {A}": -6 / 14, f"{A} -> {B}": -3 / 13},
    ),
    # A has 10 again after 50 steps, but not 12 after that; B not 8
    "recovery-time@l2m": (250 / 3, {A2: 50, B2: 100, A3: 100}),
    "performance-recovery@l2m": (-50, {A: -50}),  # 50, then 100
}


@pytest.mark.parametrize(
    ("record", "context", "expected"),
    [
        pytest.param(THREE, Context(), OF_THREE, id="three"),
        pytest.param(TWO, TWO_CONTEXT, OF_TWO, id="two"),
        pytest.param(CYCLE, Context(), OF_CYCLE, id="cycle"),
    ],
)
def test_the_numbers(record: Record, context: Context, expected: Expected) -> None:
    found = measure(record, list(expected), context)
    assert {name: result.value for name, result in found.items()} == pytest.approx(
        {name: value for name, (value, _) in expected.items()}
    )
    for name, (_, parts) in expected.items():
        assert found[name].parts == pytest.approx(parts), name


def test_every_metric_was_worked_out() -> None:
    assert OF_THREE.keys() | OF_TWO.keys() | OF_CYCLE.keys() == METRICS.keys()


def test_notes() -> None:
    notes = {name: result.note for name, result in measure(TWO, context=TWO_CONTEXT).items()}
    assert notes["worst-phase@end"] == f"in {A}"
    assert notes["forgetting@continual-world"].startswith("the last of 2 phases counts")
    assert notes["stability-gap@de-lange"] == "the first 5 evaluations reach 100 steps into a phase"
    cycle = measure(CYCLE, ["recovery-time@l2m", "performance-recovery@l2m"])
    assert cycle["recovery-time@l2m"].note == "2 of 3 censored at the end of their phase"
    assert cycle["performance-recovery@l2m"].note == "1 of 2 censored at the end of their phase"
