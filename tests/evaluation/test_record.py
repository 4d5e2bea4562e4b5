"""What a table says, as arrays: against tables made by hand, and what is missing stays missing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import gaps, matrix_cells, record_of, table_of

from continual_arcade.evaluation import Record, Timetable
from continual_arcade.evaluation.timetable import Due

THREE = gaps(100, 90, 80)
CELLS = {
    (0, -1): [[0, 0], [0, 2], [0, 0]],
    (50, 0): [[99, 99], [99, 99], [99, 99]],
    (100, 0): [[10, 20], [4, 6], [1, 1]],
    (150, 1): [[88, 88], [88, 88], [88, 88]],
    (200, 1): [[6, 8], [30, 40], [2, 4]],
    (300, 2): [[1, 3], [40, 50], [20, 30]],
}


def test_each_number_is_where_it_belongs() -> None:
    record = record_of(THREE, CELLS)
    assert record.steps.tolist() == [0, 50, 100, 150, 200, 300]
    assert record.stages.tolist() == [-1, 0, 0, 1, 1, 2]
    assert record.values[4, 1].tolist() == [30, 40]
    assert record.phases == ("gap 100", "gap 90", "gap 80")
    np.testing.assert_array_equal(record.matrix, [[0, 1, 0], [15, 5, 1], [7, 35, 3], [2, 45, 25]])
    returns = record_of(THREE, CELLS, value="return")
    np.testing.assert_array_equal(returns.matrix, record.matrix - 5)


def test_the_end_of_a_phase_is_the_mean_of_its_last_evaluations() -> None:
    record = record_of(THREE, CELLS, at_end=2)
    np.testing.assert_array_equal(
        record.matrix, [[0, 1, 0], [57, 52, 50], [47.5, 61.5, 45.5], [2, 45, 25]]
    )
    assert [len(rows) for rows in record.ends] == [1, 2, 2, 1]


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random: object) -> None:
    table = table_of(THREE, CELLS)
    order = list(range(len(table)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = Record.from_table(table.iloc[order], THREE)
    np.testing.assert_array_equal(shuffled.values, record_of(THREE, CELLS).values)
    np.testing.assert_array_equal(shuffled.steps, record_of(THREE, CELLS).steps)


def test_a_phase_that_was_not_finished_is_unknown_and_not_zero() -> None:
    unfinished = {key: value for key, value in CELLS.items() if key != (300, 2)}
    unfinished[250, 2] = [[7, 7], [7, 7], [7, 7]]
    record = record_of(THREE, unfinished)
    assert np.isnan(record.matrix[3]).all()
    assert record.why_missing(record.ends[3], [0, 1, 2]) == "the run reached step 250 of 300"


def test_an_evaluation_a_little_late_counts() -> None:
    """Eight environments take eight steps at a time: 100 may have become 104."""
    late = {(104 if step == 100 else step, phase): v for (step, phase), v in CELLS.items()}
    np.testing.assert_array_equal(record_of(THREE, late).matrix, record_of(THREE, CELLS).matrix)
    timetable = Timetable(THREE, every=50)
    eight = {(-(-step // 8) * 8, phase): cell for (step, phase), cell in CELLS.items()}
    record = record_of(THREE, eight, timetable=timetable, stride=8)
    assert record.steps.tolist() == [0, 56, 104, 152, 200, 256, 304]
    np.testing.assert_array_equal(record.matrix, record_of(THREE, CELLS).matrix)


def test_a_missing_evaluation_is_nan_where_it_was_due() -> None:
    timetable = Timetable(THREE, every=50)
    record = record_of(THREE, CELLS, timetable=timetable)
    assert record.steps.tolist() == [0, 50, 100, 150, 200, 250, 300]
    assert np.isnan(record.means[5]).all()
    assert record.why_missing([5], [1]) == "gap 90 was not evaluated at step 250"
    assert record.why_missing([4], [1]) == ""
    # The end of the last phase is known; with two evaluations for it, it is not.
    assert not np.isnan(record.matrix).any()
    two = record_of(THREE, CELLS, timetable=Timetable(THREE, at_end=2, spacing=50))
    assert np.isnan(two.matrix).any(axis=1).tolist() == [False, False, False, True]


def test_a_missing_episode_makes_the_cell_unknown() -> None:
    table = table_of(THREE, CELLS)
    some = table[~((table.lifetime_step == 200) & (table.eval_phase == 1) & (table.episode == 1))]
    record = Record.from_table(some, THREE)
    assert np.isnan(record.matrix[2]).tolist() == [False, True, False]
    assert record.why_missing(record.ends[2], [1]) == "gap 90 has 1 of 2 episodes at step 200"


def test_a_phase_that_comes_back_has_one_column_and_two_exposures() -> None:
    cycle = gaps(100, 90, 100, 90)
    record = record_of(cycle, matrix_cells(cycle, [[0, 0], [5, 1], [3, 8], [9, 2], [1, 7]]))
    assert record.column_of == (0, 1, 0, 1)
    assert record.learnt("first") == (1, 2)
    assert record.learnt("last") == (3, 4)


def test_another_scale() -> None:
    record = record_of(THREE, CELLS).rescaled(
        np.array([0.0, 5.0, 0.0]), np.array([10.0, 10.0, 0.5])
    )
    np.testing.assert_allclose(record.matrix[3], [0.2, 8.0, 50.0])


def test_means_over_the_steps_of_each_phase() -> None:
    record = record_of(THREE, CELLS)
    assert [rows.tolist() for rows in record.by_stage] == [[0], [1, 2], [3, 4], [5]]
    assert [record.during(stage).tolist() for stage in range(3)] == [[0, 1, 2], [2, 3, 4], [4, 5]]
    # gap 100 in the first phase: 0, 99, 15 at steps 0, 50, 100; in the last 7 and 2.
    np.testing.assert_allclose(record.time_means[:, 0], [(49.5 + 57) / 2, (51.5 + 47.5) / 2, 4.5])
    lost = record_of(THREE, {key: value for key, value in CELLS.items() if key != (200, 1)})
    assert np.isnan(lost.time_means).all(axis=1).tolist() == [False, True, True]
    assert lost.why_no_end(2) == "there is no evaluation at the end of gap 90"
    assert lost.why_no_end(1) == lost.why_no_end(-1) == ""
    assert np.isnan(record.mean_over_steps(np.array([2]))).all()


def test_names_that_are_there_twice_are_told_apart() -> None:
    cycle = gaps(100, 90, 100)
    record = record_of(cycle, {(0, -1): [[0], [0]]})
    assert record.labels == ("gap 100", "gap 90")
    assert record.stage_labels == ("gap 100", "gap 90", "gap 100 (2)")


def altered(**columns: object) -> pd.DataFrame:
    return table_of(THREE, CELLS).assign(**columns)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (table_of(THREE, {}), "the table holds 0"),
        (
            pd.concat([table_of(THREE, CELLS), table_of(THREE, CELLS, run="other")]),
            "the table holds 2",
        ),
        (pd.concat([table_of(THREE, CELLS)] * 2), "an episode of the same evaluation twice"),
        (table_of(gaps(100, 90, 81), CELLS), "phase 2 was played with .* another schedule"),
        (table_of(gaps(100, 90, 80, 70), {(0, -1): [[1]] * 4}), "holds phase 3, which schedule"),
        (altered(trained_phase=3), "an agent trained in phase 3"),
        (altered(episode=-1), "an episode -1; they are 0 to"),
    ],
)
def test_what_does_not_fit_is_refused(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Record.from_table(table, THREE)


def test_more_episodes_than_were_to_be_played() -> None:
    with pytest.raises(ValueError, match="an episode 1; they are 0 to 0"):
        record_of(THREE, CELLS, episodes=1)
    assert np.isnan(record_of(THREE, CELLS, episodes=3).means).all()
    with pytest.raises(ValueError, match="at_end = 0"):
        record_of(THREE, CELLS, at_end=0)


@pytest.mark.parametrize("moment", [(99, 0), (51, 0), (100, 1), (299, 2)])
def test_an_evaluation_that_was_not_due_is_refused(moment: tuple[int, int]) -> None:
    """One that slipped in would change means and areas without a word."""
    cells = {**CELLS, moment: [[9, 9], [9, 9], [9, 9]]}
    record_of(THREE, cells)  # nobody said what was due
    with pytest.raises(ValueError, match=f"evaluation at step {moment[0]} of an agent trained in"):
        record_of(THREE, cells, timetable=Timetable(THREE, every=50))


def test_one_evaluation_serves_all_that_were_passed_at_once() -> None:
    timetable = Timetable(gaps(100, 90), every=97, at_end=2, spacing=1)
    assert timetable.expected(8) == ((0, -1), (104, 0), (200, 1))
    assert timetable.expected(1) == timetable.due
    assert timetable.is_expected(Due(104, 0), 8)
    assert not timetable.is_expected(Due(104, 0), 1)
    assert not timetable.is_expected(Due(112, 0), 8)
    assert timetable.is_expected(Due(296, 1), 8)  # the last phase never ends: 294


@pytest.mark.parametrize("name", ["lifetime_step", "trained_phase", "eval_phase", "episode"])
def test_what_counts_something_is_a_whole_number(name: str) -> None:
    table = table_of(THREE, CELLS)
    broken = table.assign(**{name: table[name] + 0.5})
    with pytest.raises(ValueError, match=rf"the table holds {name} -?\d+\.5, which is no whole nu"):
        Record.from_table(broken, THREE)


def test_no_step_is_negative() -> None:
    table = table_of(THREE, CELLS)
    early = table.assign(lifetime_step=table["lifetime_step"] - 7)
    with pytest.raises(ValueError, match="holds lifetime step -7; training begins at step 0"):
        Record.from_table(early, THREE)
