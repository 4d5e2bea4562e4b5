"""The numbers of a chart as a table, in tidy form: a row for each number that is drawn."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from continual_arcade.reports.pages.page_model import (
    AreaChart,
    BarChart,
    Chart,
    DataTable,
    DotChart,
    Floats,
    HeatMap,
    LineChart,
    Number,
)
from continual_arcade.reports.pages.style import during

Cell: TypeAlias = str | float


@dataclass(frozen=True)
class Numbers:
    """A tidy table."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: tuple[str, ...]
    """The method of each row."""


def numbers_of(chart: Chart) -> Numbers:
    """Return what a chart draws; NaN where there is no number.

    Columns of an interval, of bands, of frames and of remarks are there if there are such.

    Raises:
        TypeError: If there is no such kind of chart.
    """
    match chart:
        case LineChart():
            names = ["panel", "method", chart.x_label, chart.y_label, "low", "high"]
            return _tidy([*names, "during", "remark"], (0, 4, 5, 6, 7), _lines(chart))
        case HeatMap():
            frame, rows = chart.frames_label or "frame", chart.rows_label
            names = [frame, "method", rows, chart.columns_label, chart.value_label]
            return _tidy([*names, "low", "high", "remark"], (0, 5, 6, 7), _cells(chart))
        case BarChart():
            names = ["category", "method", chart.y_label, "low", "high", "remark"]
            return _tidy(names, (3, 4, 5), _bars(chart))
        case DotChart():
            names = ["when", "method", chart.x_label, "low", "high"]
            return _tidy(names, (3, 4), _dots(chart))
        case AreaChart():
            names = [chart.x_label, "method", "layer", chart.y_label, "during"]
            return _tidy(names, (4,), _areas(chart))
    raise TypeError(f"a chart of an unknown kind: {type(chart).__name__}")


def _tidy(
    columns: Sequence[str], optional: tuple[int, ...], rows: Iterator[tuple[Cell, ...]]
) -> Numbers:
    """Leave out optional columns that say nothing; the method is the second one."""
    kept = list(rows)
    used = [
        i
        for i in range(len(columns))
        if i not in optional or any(row[i] != "" and row[i] == row[i] for row in kept)
    ]
    return Numbers(
        tuple(columns[i] for i in used),
        tuple(tuple(row[i] for i in used) for row in kept),
        tuple(str(row[1]) for row in kept),
    )


def _lines(chart: LineChart) -> Iterator[tuple[Cell, ...]]:
    for panel in chart.panels:
        for series in panel.series:
            low, high = _ends(series.low, series.high, len(series.x))
            for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
                yield (
                    *(panel.title, series.label, float(x), float(y), float(low[i]), float(high[i])),
                    *(during(float(x), panel.bands), series.hover[i] if series.hover else ""),
                )


def _ends(low: Floats | None, high: Floats | None, length: int) -> tuple[Floats, Floats]:
    nowhere = np.full(length, np.nan)
    return nowhere if low is None else low, nowhere if high is None else high


def _cells(chart: HeatMap) -> Iterator[tuple[Cell, ...]]:
    for panel in chart.panels:
        for f, (name, frame) in enumerate(zip(chart.frames, panel.frames, strict=True)):
            for i, row in enumerate(chart.rows):
                for j, column in enumerate(chart.columns):
                    remark = panel.hover[f][i][j] if panel.hover else ""
                    low = float(panel.low[f][i, j]) if panel.low else math.nan
                    high = float(panel.high[f][i, j]) if panel.high else math.nan
                    yield name, panel.label, row, column, float(frame[i, j]), low, high, remark


def _bars(chart: BarChart) -> Iterator[tuple[Cell, ...]]:
    for i, category in enumerate(chart.categories):
        for bars in chart.bars:
            ends = float(bars.low[i]), float(bars.high[i])
            remark = bars.hover[i] if bars.hover else ""
            yield category, bars.label, float(bars.values[i]), *ends, remark


def _dots(chart: DotChart) -> Iterator[tuple[Cell, ...]]:
    for dots in chart.dots:
        yield chart.before_label, dots.label, dots.before, math.nan, math.nan
        yield chart.value_label, dots.label, dots.value, dots.low, dots.high


def _areas(chart: AreaChart) -> Iterator[tuple[Cell, ...]]:
    for panel in chart.panels:
        for i, x in enumerate(panel.x):
            for name, heights in panel.layers:
                where = during(float(x), panel.bands)
                yield float(x), panel.label, name, float(heights[i]), where


def cells_of(table: DataTable) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    """Return the columns and rows of a table with numbers as numbers.

    A column of numbers that may have intervals is followed by two with their ends: ``score``,
    ``score, low`` and ``score, high``.
    """
    columns: list[str] = []
    cells: list[list[Cell]] = [[] for _ in table.rows]
    for place, name in enumerate(table.columns):
        column = [row[place] for row in table.rows]
        numbers = [cell for cell in column if isinstance(cell, Number)]
        columns.append(name)
        for row, cell in zip(cells, column, strict=True):
            row.append(cell.value if isinstance(cell, Number) else cell)
        if any(number.ends is not None for number in numbers):
            columns += [f"{name}, low", f"{name}, high"]
            for row, cell in zip(cells, column, strict=True):
                ends = cell.ends if isinstance(cell, Number) else None
                row += ends or (math.nan, math.nan)
    return tuple(columns), [tuple(row) for row in cells]
