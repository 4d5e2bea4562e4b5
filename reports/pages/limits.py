"""Where axes end and what the ends of colours mean, however a chart is drawn."""

from collections.abc import Iterable

import numpy as np

from continual_arcade.reports.pages.page_model import (
    AreaChart,
    Band,
    BarChart,
    DotChart,
    Floats,
    HeatMap,
    LineChart,
)

Limits = tuple[float, float]


def x_limits(chart: LineChart | AreaChart) -> Limits:
    """Return the ends of the x axis that all panels share."""
    if isinstance(chart, LineChart):
        places = [series.x for panel in chart.panels for series in panel.series]
    else:
        places = [panel.x for panel in chart.panels]
    bands: list[Band] = [band for panel in chart.panels for band in panel.bands]
    low, high = _span([*places, np.array([(band.start, band.end) for band in bands]).ravel()])
    # Markers at the ends are to be seen whole.
    margin = 0.015 * (high - low)
    return low - margin, high + margin


def dot_limits(chart: DotChart) -> Limits:
    """Return the ends of the x axis, which holds 0, all intervals and all that is marked."""
    numbers = [(d.before, d.value, d.low, d.high) for d in chart.dots]
    marked = [value for _, value in chart.marks]
    low, high = _span([np.array(numbers, np.float64).ravel(), np.array([0.0, *marked])])
    margin = 0.03 * (high - low)
    return low - margin, high + margin


def y_limits(chart: LineChart | BarChart) -> Limits:
    """Return the ends of the y axis that all panels share, with room above."""
    if isinstance(chart, LineChart):
        drawn = [
            values
            for panel in chart.panels
            for s in panel.series
            for values in (s.y, s.low, s.high)
            if values is not None
        ]
    else:
        drawn = [values for b in chart.bars for values in (b.values, b.low, b.high)]
    zero = isinstance(chart, BarChart) or chart.from_zero
    low, high = _span([*drawn, np.zeros(int(zero))])
    margin = 0.06 * (high - low)
    return (low if zero and low == 0 else low - margin), high + margin


def colour_limits(chart: HeatMap) -> Limits:
    """Return the numbers at the ends of the colours, equally far from 0 if they show signs."""
    if chart.limits is not None:
        return chart.limits
    low, high = _span([frame.ravel() for panel in chart.panels for frame in panel.frames])
    if chart.diverging:
        far = max(abs(low), abs(high))
        return -far, far
    return low, high


def shown_frames(chart: HeatMap, most: int) -> list[int]:
    """Choose frames, evenly from first to last, for a picture that does not move."""
    last = len(chart.frames) - 1
    if most == 1:
        return [last]
    return sorted({round(i * last / (most - 1)) for i in range(most)})


def _span(arrays: Iterable[Floats]) -> Limits:
    """Return the least and the greatest number; (0, 1) if there is none, and never no width."""
    values = np.concatenate([np.asarray(array, np.float64) for array in arrays] or [np.zeros(0)])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if low == high:
        return (low, low + 1.0) if low >= 0 else (low, 0.0)
    return low, high
