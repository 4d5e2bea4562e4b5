"""Charts as figures of Plotly, one for each panel, so that a page can lay them out again.

A figure is what plotly.js takes: a plain ``{"data": [...], "layout": {...}}``. Colours are those of
the light theme; the page puts those of the dark theme in their place (`style.dark_for_light`).
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from continual_arcade.reports.pages import style
from continual_arcade.reports.pages.limits import (
    Limits,
    colour_limits,
    dot_limits,
    x_limits,
    y_limits,
)
from continual_arcade.reports.pages.page_model import (
    AreaChart,
    AreaPanel,
    Band,
    BarChart,
    Bars,
    Chart,
    DotChart,
    Dots,
    Floats,
    HeatMap,
    HeatPanel,
    LineChart,
    LinePanel,
    Series,
)
from continual_arcade.reports.pages.style import LIGHT, MethodStyle

Json: TypeAlias = dict[str, Any]

_LABEL = 44
"""Letters of a method's name in a line: so many are as wide as a phone."""
BAND = "band"
"""Name of annotations that name a band."""


@dataclass(frozen=True)
class Panel:
    """One figure of a chart."""

    title: str
    method: str | None
    """The method that all of it is about; it is hidden with it."""
    figure: Json
    """What plotly.js draws."""
    traces: tuple[str | None, ...]
    """The method of each trace; it is hidden with it."""
    height: int
    """[px]"""
    min_width: int
    """[px]; it is scrolled where there is less."""
    good_width: int
    """[px]; panels stand side by side if each has so much."""
    names_from: int = 0
    """[px]; bands are named if it is so wide, else numbered."""
    frames: tuple[tuple[Json, ...], ...] = ()
    """For each frame, what changes in each trace."""


def panels_of(chart: Chart, styles: dict[str, MethodStyle]) -> tuple[Panel, ...]:
    """Draw a chart.

    Args:
        chart: What to draw.
        styles: How each method of the page looks.

    Raises:
        TypeError: If there is no such kind of chart.
    """
    match chart:
        case LineChart():
            x_ends, y_ends = x_limits(chart), y_limits(chart)
            return tuple(_lines(chart, panel, x_ends, y_ends, styles) for panel in chart.panels)
        case HeatMap():
            limits = colour_limits(chart)
            return tuple(_heat(chart, panel, limits) for panel in chart.panels)
        case BarChart():
            return (_bars(chart, styles),)
        case DotChart():
            return (_dots(chart, styles),)
        case AreaChart():
            x_ends = x_limits(chart)
            return tuple(_areas(chart, panel, x_ends) for panel in chart.panels)
    raise TypeError(f"a chart of an unknown kind: {type(chart).__name__}")


def _lines(
    chart: LineChart,
    panel: LinePanel,
    x_ends: Limits,
    y_ends: Limits,
    styles: dict[str, MethodStyle],
) -> Panel:
    intervals = [
        (_interval(chart, s, styles[s.label]), s.label)
        for s in panel.series
        if s.low is not None and s.high is not None
    ]
    lines = [(_line(chart, panel, s, styles[s.label]), s.label) for s in panel.series]
    traces = intervals + lines
    axes = {"x": _axis(x_ends, chart.x_label), "y": _axis(y_ends)}
    notes = [] if any(np.isfinite(s.y).any() for s in panel.series) else [_no_data()]
    layout = _layout(axes, panel.bands, notes, zoom=True)
    return Panel(
        panel.title,
        None,
        {"data": [trace for trace, _ in traces], "layout": layout},
        tuple(label for _, label in traces),
        height=230 if len(chart.panels) > 1 else 360,
        min_width=240,
        good_width=280,
        names_from=_room_for_names(panel.bands, x_ends),
    )


def _line(chart: LineChart, panel: LinePanel, series: Series, method: MethodStyle) -> Json:
    nowhere = np.full(len(series.x), np.nan)
    low = nowhere if series.low is None else series.low
    high = nowhere if series.high is None else series.high
    said = [
        [
            style.number(x) + (f" ({band})" if (band := style.during(x, panel.bands)) else ""),
            style.interval(y, a, b),
            remark,
        ]
        for x, y, a, b, remark in zip(
            *(array.tolist() for array in (series.x, series.y, low, high)),
            series.hover or [""] * len(series.x),
            strict=True,
        )
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": _rounded(series.x),
        "y": _rounded(series.y),
        "line": {
            "color": method.light,
            "width": 2,
            "dash": method.stroke.plotly,
            "shape": "hv" if chart.steps else "linear",
        },
        "marker": {"symbol": method.shape.plotly, "size": 6, "maxdisplayed": 12},
        "customdata": [[_plain(text) for text in texts] for texts in said],
        "meta": [_plain(text) for text in (series.label, chart.x_label, chart.y_label)],
        "hovertemplate": (
            "<b>%{meta[0]}</b><br>%{meta[1]}: %{customdata[0]}<br>%{meta[2]}: %{customdata[1]}"
            + ("<br>%{customdata[2]}" if series.hover else "")
            + "<extra></extra>"
        ),
    }


def _interval(chart: LineChart, series: Series, method: MethodStyle) -> Json:
    """Draw an interval as one closed shape for each segment without a gap."""
    assert series.low is not None
    assert series.high is not None
    x: list[float | None] = []
    y: list[float | None] = []
    for run in style.finite_runs(series.x, series.low, series.high):
        places = _rounded(series.x[run])
        low, high = _rounded(series.low[run]), _rounded(series.high[run])
        if chart.steps:
            # Each number holds until the next place.
            places = [place for place in places for _ in (0, 1)][1:]
            low = [value for value in low for _ in (0, 1)][:-1]
            high = [value for value in high for _ in (0, 1)][:-1]
        x += [*places, *reversed(places), None]
        y += [*low, *reversed(high), None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x[:-1],
        "y": y[:-1],
        "fill": "toself",
        "fillcolor": style.shade(method.light),
        "line": {"width": 0},
        "hoverinfo": "skip",
    }


def _heat(chart: HeatMap, panel: HeatPanel, limits: Limits) -> Panel:
    height, width = len(chart.rows), len(chart.columns)
    scale = LIGHT.diverging if chart.diverging else LIGHT.sequential
    frames = tuple(
        (
            {
                "z": [_rounded(row) for row in frame],
                "customdata": [[style.number(v) for v in row] for row in frame.tolist()],
                **(
                    {"hovertext": [[_plain(text) for text in row] for row in panel.hover[f]]}
                    if panel.hover
                    else {}
                ),
            },
            # Heat maps write nothing into empty cells, and hardly legibly into others.
            {
                "text": [style.fixed(v, chart.decimals) for v in frame.ravel().tolist()],
                "textfont": {
                    "size": 11,
                    "color": [_ink(v, limits, chart) for v in frame.ravel().tolist()],
                },
            },
        )
        for f, frame in enumerate(panel.frames)
    )
    data: list[Json] = [
        {
            "type": "heatmap",
            "x": list(range(width)),
            "y": list(range(height)),
            "colorscale": [[i / (len(scale) - 1), colour] for i, colour in enumerate(scale)],
            "zmin": limits[0],
            "zmax": limits[1],
            "showscale": False,
            "xgap": 2,
            "ygap": 2,
            "meta": [
                _plain(label)
                for label in (chart.rows_label, chart.columns_label, chart.value_label)
            ],
            "hovertemplate": (
                "%{meta[0]}: %{y}<br>%{meta[1]}: %{x}<br>%{meta[2]}: <b>%{customdata}</b>"
                + ("<br>%{hovertext}" if panel.hover else "")
                + "<extra></extra>"
            ),
            "hoverongaps": True,
            **frames[-1][0],
        },
        {
            "type": "scatter",
            "mode": "text",
            "x": [j for _ in range(height) for j in range(width)],
            "y": [i for i in range(height) for _ in range(width)],
            "hoverinfo": "skip",
            **frames[-1][1],
        },
    ]
    axes = {
        "x": _names(chart.columns, 11) | {"side": "top", "title": _title(chart.columns_label)},
        "y": _names(chart.rows, 16) | {"autorange": False, "range": [height - 0.5, -0.5]},
    }
    layout = _layout(axes, (), [], zoom=False)
    layout["shapes"] = [
        {
            "type": "rect",
            "x0": j - 0.5,
            "x1": j + 0.5,
            "y0": i - 0.5,
            "y1": i + 0.5,
            "line": {"color": LIGHT.text, "width": 2},
        }
        for i, j in sorted(chart.marked)
    ]
    return Panel(
        panel.label,
        panel.label,
        {"data": data, "layout": layout},
        (panel.label, panel.label),
        height=90 + 34 * height,
        min_width=90 + 33 * width,
        good_width=110 + 40 * width,
        frames=frames if len(frames) > 1 else (),
    )


def _ink(value: float, limits: Limits, chart: HeatMap) -> str:
    if np.isnan(value):
        return LIGHT.muted
    low, high = limits
    place = min(max((value - low) / (high - low), 0.0), 1.0)
    return style.ink(place, diverging=chart.diverging)


def _bars(chart: BarChart, styles: dict[str, MethodStyle]) -> Panel:
    ends = y_limits(chart)
    data: list[Json] = []
    traces: list[str] = []
    for bars in chart.bars:
        drawn = _bars_of(chart, bars, styles[bars.label])
        data += drawn
        traces += [bars.label] * len(drawn)
    count = len(chart.categories)
    # Each method keeps the same place beside its neighbours, in bars and in what stands on them.
    axes = {"x": _names(chart.categories, 14), "y": _axis(ends) | {"zeroline": ends[0] < 0}}
    layout = _layout(axes, (), [], zoom=False)
    layout |= {"barmode": "group", "scattermode": "group", "bargap": 0.24, "scattergap": 0.24}
    return Panel(
        "",
        None,
        {"data": data, "layout": layout},
        tuple(traces),
        height=380,
        min_width=max(240, 60 + count * (16 + 7 * len(chart.bars))),
        good_width=280,
    )


def _bars_of(chart: BarChart, bars: Bars, method: MethodStyle) -> list[Json]:
    """Draw the bars of a method, their intervals with its marker, and dashes for missing ones."""
    places = list(range(len(chart.categories)))
    missing = np.isnan(bars.values)
    own: Json = {"offsetgroup": str(method.index), "x": places}
    said = [
        [category, style.interval(value, low, high), remark]
        for category, value, low, high, remark in zip(
            chart.categories,
            *(array.tolist() for array in (bars.values, bars.low, bars.high)),
            bars.hover or [""] * len(places),
            strict=True,
        )
    ]
    hover = {
        "customdata": [[_plain(text) for text in texts] for texts in said],
        "meta": [_plain(text) for text in (bars.label, chart.y_label)],
        "hovertemplate": (
            "<b>%{meta[0]}</b><br>%{customdata[0]}<br>%{meta[1]}: %{customdata[1]}"
            + ("<br>%{customdata[2]}" if bars.hover else "")
            + "<extra></extra>"
        ),
    }
    bar = {
        "type": "bar",
        "y": _rounded(bars.values),
        "marker": {
            "color": method.light,
            "opacity": 0.75,
            "line": {"width": 0},
            "pattern": {
                "shape": method.stroke.plotly_hatch,
                # Over the colour of the bar, which would not be drawn otherwise.
                "fillmode": "overlay",
                "fgcolor": LIGHT.background,
                "size": 7,
                "solidity": 0.25,
            },
        },
        **own,
        **hover,
    }
    ends = {
        "type": "scatter",
        "mode": "markers",
        "y": _rounded(bars.values),
        "marker": {
            "symbol": method.shape.plotly,
            "size": 8,
            "color": method.light,
            "line": {"color": LIGHT.background, "width": 1},
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": _rounded(bars.high - bars.values),
            "arrayminus": _rounded(bars.values - bars.low),
            "color": LIGHT.text,
            "thickness": 1.2,
            "width": 3,
        },
        **own,
        **hover,
    }
    if not missing.any():
        return [bar, ends]
    dashes = {
        "type": "scatter",
        "mode": "text",
        "y": [0 if absent else None for absent in missing],
        "text": [style.MISSING] * len(places),
        "textposition": "top center",
        "textfont": {"color": LIGHT.muted},
        **own,
        **hover,
    }
    return [bar, ends, dashes]


def _dots(chart: DotChart, styles: dict[str, MethodStyle]) -> Panel:
    ends = dot_limits(chart)
    lines = max((len(style.lines_of(dots.label, _LABEL)) for dots in chart.dots), default=1)
    tall = 27 + 15 * lines
    # Names begin at the left, or right of a mark that would run through them.
    span = ends[1] - ends[0]
    near = [value + span / 150 for _, value in chart.marks if value < ends[0] + span / 10]
    left = max(near, default=ends[0])
    drawn = [
        (trace, dots.label)
        for row, dots in enumerate(chart.dots)
        for trace in _dots_of(chart, dots, row, (left, row - 8 / tall), styles[dots.label])
    ]
    axes = {
        "x": _axis(ends, chart.x_label) | {"showgrid": True, "nticks": 7},
        "y": _axis((len(chart.dots) - 0.6, -0.8)) | {"showticklabels": False, "showgrid": False},
    }
    layout = _layout(axes, (), [], zoom=False)
    layout["margin"]["t"] = 8 + 14 * len(chart.marks)
    layout["shapes"] = [
        {
            "type": "line",
            "x0": value,
            "x1": value,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": LIGHT.muted, "width": 1.2, "dash": "dot"},
        }
        for _, value in chart.marks
    ]
    # One above the other: however near two of them are, each can be read.
    layout["annotations"] = [
        {
            "text": _plain(f"{name} {style.fixed(value, 1)}"),
            "x": value,
            "yref": "paper",
            "y": 1,
            "yanchor": "bottom",
            "yshift": 14 * place,
            "xanchor": "left" if value < sum(ends) / 2 else "right",
            "showarrow": False,
            "font": {"size": 11, "color": LIGHT.muted},
        }
        for place, (name, value) in enumerate(chart.marks)
    ]
    return Panel(
        "",
        None,
        {"data": [trace for trace, _ in drawn], "layout": layout},
        tuple(label for _, label in drawn),
        height=70 + 14 * len(chart.marks) + round(tall * (len(chart.dots) + 0.2)),
        min_width=240,
        good_width=280,
    )


def _dots_of(
    chart: DotChart, dots: Dots, row: int, name_at: tuple[float, float], method: MethodStyle
) -> list[Json]:
    """Draw the values before and after, and above both the name of the method."""
    hover = {
        "meta": [
            _plain(text)
            for text in (
                *(dots.label, chart.x_label, chart.before_label, style.number(dots.before)),
                *(chart.value_label, style.interval(dots.value, dots.low, dots.high)),
            )
        ],
        "hovertemplate": (
            "<b>%{meta[0]}</b><br>%{meta[1]}<br>%{meta[2]}: %{meta[3]}<br>%{meta[4]}: %{meta[5]}"
            "<extra></extra>"
        ),
    }
    before, value, low, high = _rounded(np.array([dots.before, dots.value, dots.low, dots.high]))
    interval = (
        {
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [high - value],
                "arrayminus": [value - low],
                "color": LIGHT.text,
                "thickness": 1.2,
                "width": 4,
            }
        }
        if None not in (value, low, high)
        else {}
    )
    name = style.lines_of(dots.label, _LABEL)
    if value is None:
        name[-1] += f": nothing is known {chart.value_label}"
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [before, value],
            "y": [row, row],
            "line": {"color": method.light, "width": 5},
            "opacity": 0.4,
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": [before],
            "y": [row],
            "marker": {
                "symbol": f"{method.shape.plotly}-open",
                "size": 10,
                "color": method.light,
                "line": {"width": 2},
            },
            **hover,
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": [value],
            "y": [row],
            "marker": {
                "symbol": method.shape.plotly,
                "size": 11,
                "color": method.light,
                "line": {"color": LIGHT.background, "width": 1},
            },
            **interval,
            **hover,
        },
        {
            "type": "scatter",
            "mode": "text",
            "x": [name_at[0]],
            "y": [name_at[1]],
            "text": ["<br>".join(map(_plain, name))],
            "textposition": "top right",
            "textfont": {"size": 12, "color": LIGHT.text},
            "hoverinfo": "skip",
            "cliponaxis": False,
        },
    ]


def _areas(chart: AreaChart, panel: AreaPanel, ends: Limits) -> Panel:
    colours = style.layer_colours(len(panel.layers))
    heights = [values for _, values in panel.layers]
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": _rounded(panel.x[run]),
            "y": _rounded(values[run]),
            # Segments between gaps are stacks of their own: a gap is no 0.
            "stackgroup": str(number),
            "line": {"color": LIGHT.background, "width": 0.5},
            "fillcolor": colour,
            "meta": [_plain(panel.label), _plain(name), _plain(chart.x_label)],
            "customdata": [style.number(x) for x in panel.x[run].tolist()],
            "hovertemplate": (
                "%{meta[1]}: <b>%{y:.1%}</b><br>%{meta[2]}: %{customdata}<extra></extra>"
            ),
        }
        for number, run in enumerate(style.finite_runs(panel.x, *heights))
        for (name, values), colour in zip(panel.layers, colours, strict=True)
    ]
    axes = {
        "x": _axis(ends, chart.x_label),
        "y": _axis((0.0, 1.0)) | {"tickformat": ".0%", "dtick": 0.25},
    }
    layout = _layout(axes, panel.bands, [] if data else [_no_data()], zoom=False)
    return Panel(
        panel.label,
        panel.label,
        {"data": data, "layout": layout},
        (panel.label,) * len(data),
        height=230 if len(chart.panels) > 1 else 320,
        min_width=240,
        good_width=280,
        names_from=_room_for_names(panel.bands, ends),
    )


def _layout(axes: Json, bands: Sequence[Band], notes: list[Json], *, zoom: bool) -> Json:
    """Lay out a panel. Its title and the name of its y axis stand outside, where lines break."""
    shapes = [
        {
            "type": "rect",
            "yref": "paper",
            "x0": band.start,
            "x1": band.end,
            "y0": 0,
            "y1": 1,
            "fillcolor": LIGHT.highlighted if band.highlighted else LIGHT.band,
            "line": {"width": 0},
            "layer": "below",
        }
        for number, band in enumerate(bands)
        if band.highlighted or number % 2 == 0
    ]
    return {
        "font": {"family": style.FONT, "size": 12, "color": LIGHT.muted},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 6, "r": 10, "t": 20 if bands else 8, "b": 6},
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": LIGHT.surface,
            "bordercolor": LIGHT.line,
            "font": {"family": style.FONT, "size": 12, "color": LIGHT.text},
            "align": "left",
        },
        "dragmode": "zoom" if zoom else False,
        "xaxis": axes["x"] | {"automargin": True, "fixedrange": not zoom},
        "yaxis": axes["y"] | {"automargin": True, "fixedrange": not zoom},
        "shapes": shapes,
        "annotations": [*_band_names(bands), *notes],
    }


def _band_names(bands: Sequence[Band]) -> list[Json]:
    """Name bands above the panel; where the names do not fit the page numbers them."""
    return [
        {
            "name": BAND,
            "text": _plain(band.label),
            "x": (band.start + band.end) / 2,
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"size": 10, "color": LIGHT.muted},
        }
        for band in bands
    ]


def _room_for_names(bands: Sequence[Band], ends: Limits) -> int:
    """Return how wide a panel must be for each name to stand over its band [px]."""
    shares = [(band.end - band.start) / (ends[1] - ends[0]) for band in bands]
    rooms = [
        (6 * len(band.label) + 8) / max(share, 1e-6)
        for band, share in zip(bands, shares, strict=True)
    ]
    return 50 + round(max(rooms, default=0))


def _no_data() -> Json:
    return {
        "text": "no data",
        "x": 0.5,
        "y": 0.5,
        "xref": "paper",
        "yref": "paper",
        "showarrow": False,
        "font": {"size": 13, "color": LIGHT.muted},
    }


def _axis(ends: Limits, label: str = "") -> Json:
    """Lay out an axis of numbers; only y axes have a grid."""
    return {
        "range": list(ends),
        "title": _title(label),
        "tickformat": "~s" if max(map(abs, ends)) >= style.MANY else "",
        **({} if label else {"nticks": 6}),
        "showgrid": not label,
        "gridcolor": LIGHT.line,
        "zeroline": False,
        "zerolinecolor": LIGHT.muted,
        "linecolor": LIGHT.line,
        "showline": bool(label),
        "ticks": "outside" if label else "",
        "ticklen": 4,
        "tickcolor": LIGHT.line,
    }


def _names(names: Sequence[str], width: int) -> Json:
    """Lay out an axis of names. They have places, so that equal names stay apart."""
    return {
        "range": [-0.5, len(names) - 0.5],
        "tickvals": list(range(len(names))),
        "ticktext": ["<br>".join(map(_plain, style.lines_of(name, width))) for name in names],
        # Where they do not fit they are turned, and none is left out.
        "autotickangles": [0, -40, -90],
        "ticklabeloverflow": "allow",
        "showgrid": False,
        "zeroline": False,
        "zerolinecolor": LIGHT.muted,
        "gridcolor": LIGHT.line,
        "ticks": "",
        "tickfont": {"size": 11},
    }


def _title(text: str) -> Json:
    return {"text": _plain(text), "font": {"size": 12, "color": LIGHT.muted}, "standoff": 8}


def _plain(text: str) -> str:
    """Let a text be shown as it is: Plotly reads a little HTML, and formulas between dollars."""
    return html.escape(text, quote=False).replace("$", "&#36;")


def _rounded(values: Floats) -> list[Any]:
    """Return numbers of six digits, which is more than can be seen; None where there is none."""
    return [
        float(f"{value:.6g}") if np.isfinite(value) else None
        for value in np.asarray(values, np.float64).tolist()
    ]
