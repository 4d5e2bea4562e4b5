from dataclasses import replace

import numpy as np
import pytest
import sample_pages as samples

from continual_arcade.reports.pages.numbers import cells_of, numbers_of
from continual_arcade.reports.pages.page_model import Chart, DataTable, Number


def test_lines_point_by_point() -> None:
    numbers = numbers_of(samples.lines())
    assert numbers.columns == (
        *("panel", "method", "lifetime step", "pipes passed", "low", "high"),
        *("during", "remark"),
    )
    assert len(numbers.rows) == 2 * 3 * 4
    assert numbers.rows[0] == ("gap 100", "finetune", 1e4, 1.0, 0.0, 2.0, "gap 100", "5 runs")
    gap = numbers.rows[2]
    assert gap[2] == 3e4
    assert np.isnan([gap[3], gap[4], gap[5]]).all()  # type: ignore[list-item]
    assert numbers.labels == (*("finetune",) * 4, *(samples.LONG,) * 4, *(samples.HOSTILE,) * 4) * 2


def test_columns_that_say_nothing_are_left_out() -> None:
    assert numbers_of(samples.profile()).columns == ("method", "pipes passed", "share of runs")
    assert numbers_of(samples.heat()).columns == (
        *("method", "phase played", "phases trained so far", "pipes passed"),
    )


def test_cells_of_all_frames() -> None:
    numbers = numbers_of(samples.heat(frames=3))
    assert numbers.columns[0] == "Checkpoint"
    assert len(numbers.rows) == 3 * 3 * 6
    assert numbers.rows[6] == ("step 2,000", "finetune", "gap 100", "before", 1.0)


def test_bars_and_areas() -> None:
    bars = numbers_of(samples.bars())
    assert bars.rows[0] == ("gap 100", "finetune", 3.0, 1.0, 5.0)
    assert np.isnan(bars.rows[3][2])  # type: ignore[arg-type]
    areas = numbers_of(samples.areas())
    assert areas.columns == ("lifetime step", "method", "layer", "share of the buffer")
    assert areas.rows[2] == (100.0, "finetune", "gap 100", 1.0)


def test_dots_before_and_after() -> None:
    numbers = numbers_of(samples.dots())
    assert numbers.columns == ("when", "method", "pipes passed", "low", "high")
    assert numbers.rows[1] == ("at the end", "finetune", 7.0, 6.0, 8.0)
    assert [row[2] for row in numbers.rows] == pytest.approx(
        [9.0, 7.0, 4.0, np.nan, 2.0, 5.0], nan_ok=True
    )
    assert numbers.labels[:3] == ("finetune", "finetune", samples.LONG)


def test_cells_with_intervals() -> None:
    chart = samples.heat()
    (frame,) = chart.panels[0].frames
    panel = replace(chart.panels[0], low=(frame - 1,), high=(frame + 2,))
    numbers = numbers_of(replace(chart, panels=(panel,)))
    assert numbers.columns[-3:] == ("pipes passed", "low", "high")
    assert numbers.rows[1][-3:] == (10.0, 9.0, 12.0)


def test_numbers_of_a_table_have_columns_of_their_own() -> None:
    table = DataTable(
        key="a",
        title="",
        columns=("method", "runs", "score", "why"),
        rows=(
            ("x", Number("3", 3), Number("1.2 ± 0.3", 1.23, (0.9, 1.5)), "-"),
            ("y", Number("1,000", 1000), Number("-", np.nan, (np.nan, np.nan)), "a, b"),
            ("z", Number("-", np.nan), "not a number", ""),
        ),
    )
    columns, rows = cells_of(table)
    assert columns == ("method", "runs", "score", "score, low", "score, high", "why")
    nan = pytest.approx(np.nan, nan_ok=True)
    assert rows == [
        ("x", 3, 1.23, 0.9, 1.5, "-"),
        ("y", 1000, nan, nan, nan, "a, b"),
        ("z", nan, "not a number", nan, nan, ""),
    ]


def test_values_that_are_all_missing_keep_their_column() -> None:
    chart = samples.profile()
    series = replace(chart.panels[0].series[0], y=np.full(5, np.nan))
    chart = replace(chart, panels=(replace(chart.panels[0], series=(series,)),))
    assert numbers_of(chart).columns == ("method", "pipes passed", "share of runs")


def test_an_unknown_chart() -> None:
    with pytest.raises(TypeError, match="Chart"):
        numbers_of(Chart(key="a", title="", alt=""))
