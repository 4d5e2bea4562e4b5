"""Charts as pictures of matplotlib, for papers and slides."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from continual_arcade.envs.drawing.chart_style import chart_style
from continual_arcade.reports.pages import style
from continual_arcade.reports.pages.limits import (
    Limits,
    colour_limits,
    dot_limits,
    shown_frames,
    x_limits,
    y_limits,
)
from continual_arcade.reports.pages.page_model import (
    AreaChart,
    Band,
    BarChart,
    Bars,
    Chart,
    DotChart,
    HeatMap,
    HeatPanel,
    LineChart,
    Series,
)
from continual_arcade.reports.pages.style import LIGHT, MethodStyle

STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": LIGHT.muted,
    "axes.labelcolor": LIGHT.text,
    "xtick.color": LIGHT.muted,
    "ytick.color": LIGHT.muted,
    "hatch.color": LIGHT.background,
    "legend.frameon": False,
    "legend.fontsize": 9,
    # Users name methods and phases: a dollar sign in a name begins no formula.
    "text.parse_math": False,
    # Long enough for dashes to be seen.
    "legend.handlelength": 2.8,
    "figure.constrained_layout.use": True,
    # Letters stay letters, and the same chart makes the same bytes.
    "svg.fonttype": "none",
    "svg.hashsalt": "continual-arcade",
}
_ACROSS = 3
"""Panels side by side."""
_FRAMES = 3
"""Matrices shown of a chart that has one for each of many moments."""


def draw(chart: Chart, styles: dict[str, MethodStyle]) -> Figure:
    """Draw a chart; of matrices with many frames the first, the middle and the last.

    Save it under ``chart_style(STYLE)``.

    Args:
        chart: What to draw.
        styles: How each method of the page looks.

    Raises:
        TypeError: If there is no such kind of chart.
    """
    with chart_style(STYLE):
        match chart:
            case LineChart():
                figure = _lines(chart, styles)
            case HeatMap():
                figure = _heat(chart)
            case BarChart():
                figure = _bars(chart, styles)
            case DotChart():
                figure = _dots(chart, styles)
            case AreaChart():
                figure = _areas(chart)
            case _:
                raise TypeError(f"a chart of an unknown kind: {type(chart).__name__}")
        title = _title(chart.title, int(figure.get_figwidth() / 0.12))
        # The panels keep their height.
        figure.set_figheight(figure.get_figheight() + 0.21 * title.count("\n"))
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure


def _lines(chart: LineChart, styles: dict[str, MethodStyle]) -> Figure:
    single = len(chart.panels) == 1
    figure, grid = _grid(len(chart.panels), (7.0, 4.0) if single else (3.6, 2.2))
    x_ends, y_ends = x_limits(chart), y_limits(chart)
    for axes, panel in zip(grid, chart.panels, strict=True):
        _shade(axes, panel.bands)
        for series in panel.series:
            _line(axes, series, styles[series.label], steps=chart.steps)
        if not any(np.isfinite(series.y).any() for series in panel.series):
            _say_no_data(axes)
        axes.set_title(_title(panel.title, 80 if single else 44))
        axes.set(xlim=x_ends, ylim=y_ends)
        _write_numbers(axes.xaxis, x_ends)
        _write_numbers(axes.yaxis, y_ends)
    _name_axes(grid, _ACROSS, chart.x_label, chart.y_label)
    labels = [label for label in styles if label in chart.labels_used()]
    _legend(figure, [(_sample(styles[label]), label) for label in labels])
    return figure


def _line(axes: Any, series: Series, method: MethodStyle, *, steps: bool) -> None:
    if series.low is not None and series.high is not None:
        axes.fill_between(
            *(series.x, series.low, series.high),
            step="post" if steps else None,
            color=method.light,
            alpha=0.16,
            lw=0,
        )
    axes.plot(
        *(series.x, series.y),
        color=method.light,
        lw=1.6,
        ls=method.stroke.matplotlib,
        drawstyle="steps-post" if steps else "default",
        marker=method.shape.matplotlib,
        ms=4,
        markeredgewidth=0,
        markevery=max(1, -(-len(series.x) // 12)),
    )


def _heat(chart: HeatMap) -> Figure:
    frames = shown_frames(chart, _FRAMES if len(chart.frames) > 1 else 1)
    drawn = [(panel, frame) for panel in chart.panels for frame in frames]
    width = 0.5 * len(chart.columns) + 0.9
    height = 0.34 * len(chart.rows) + 1.0
    across = len(frames) if len(frames) > 1 else _ACROSS
    figure, grid = _grid(len(drawn), (max(width, 2.4), height), across)
    colours = LIGHT.diverging if chart.diverging else LIGHT.sequential
    scale = ScalarMappable(
        Normalize(*colour_limits(chart)), LinearSegmentedColormap.from_list("", list(colours))
    )
    for axes, (panel, frame) in zip(grid, drawn, strict=True):
        _matrix(axes, chart, panel, frame, scale)
    _name_axes(grid, across, chart.columns_label, chart.rows_label)
    if drawn:
        bar = figure.colorbar(
            *(scale,), ax=list(grid), location="bottom", anchor=(0, 1), shrink=0.4, aspect=40
        )
        bar.set_label(_literal(chart.value_label))
        bar.outline.set_visible(False)
    return figure


def _matrix(axes: Any, chart: HeatMap, panel: HeatPanel, frame: int, scale: ScalarMappable) -> None:
    matrix = panel.frames[frame]
    colours = scale.to_rgba(matrix)
    axes.imshow(matrix, cmap=scale.cmap, norm=scale.norm, aspect="auto")
    for (i, j), value in np.ndenumerate(matrix):
        marked = (i, j) in chart.marked
        axes.text(
            *(j, i),
            style.fixed(value, chart.decimals),
            ha="center",
            va="center",
            fontsize=8.5,
            color=LIGHT.muted if np.isnan(value) else _legible_on(colours[i, j]),
            fontweight="bold" if marked else "normal",
            in_layout=False,
        )
        if marked:
            axes.add_patch(
                Rectangle(
                    (j - 0.47, i - 0.46), 0.94, 0.92, fill=False, edgecolor=LIGHT.text, lw=1.4
                )
            )
    axes.set_xticks(range(len(chart.columns)), _broken(chart.columns, 10), fontsize=8)
    axes.set_yticks(range(len(chart.rows)), _broken(chart.rows, 18), fontsize=8)
    name = f", {chart.frames[frame]}" if len(chart.frames) > 1 else ""
    axes.set_title(_title(panel.label + name, max(24, 7 * len(chart.columns))))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _legible_on(colour: Any) -> str:
    hexadecimal = "#" + "".join(f"{round(255 * channel):02x}" for channel in colour[:3])
    return "white" if style.is_dark(hexadecimal) else "black"


def _bars(chart: BarChart, styles: dict[str, MethodStyle]) -> Figure:
    count = len(chart.bars)
    width = 1.6 + len(chart.categories) * (0.3 + 0.16 * count)
    figure, (axes,) = _grid(1, (min(max(6.0, width), 14.0), 3.8))
    for place, bars in enumerate(chart.bars):
        offset = (place - (count - 1) / 2) * 0.76 / count
        _bars_of(axes, bars, styles[bars.label], offset, 0.72 / count)
    ends = y_limits(chart)
    axes.set(ylim=ends, ylabel=_broken([chart.y_label], 40)[0])
    if ends[0] < 0:
        axes.axhline(0, color=LIGHT.muted, lw=0.8)
    axes.set_xlim(-0.5, max(1, len(chart.categories)) - 0.5)
    room = round(90 / max(1, len(chart.categories)))
    axes.set_xticks(range(len(chart.categories)), _broken(chart.categories, max(8, room)))
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=LIGHT.line, lw=0.6)
    axes.set_axisbelow(True)
    _write_numbers(axes.yaxis, ends)
    shown = [bars.label for bars in chart.bars]
    _legend(figure, [(_patch(styles[label]), label) for label in shown])
    return figure


def _bars_of(axes: Any, bars: Bars, method: MethodStyle, offset: float, width: float) -> None:
    places = np.arange(len(bars.values)) + offset
    there = np.isfinite(bars.values)
    axes.bar(
        *(places[there], bars.values[there], width),
        color=method.light,
        alpha=0.75,
        hatch=method.stroke.matplotlib_hatch,
        lw=0,
    )
    low, high = bars.values - bars.low, bars.high - bars.values
    axes.errorbar(
        *(places[there], bars.values[there]),
        yerr=np.nan_to_num([low[there], high[there]]),
        fmt=method.shape.matplotlib,
        color=method.light,
        ecolor=LIGHT.text,
        elinewidth=1,
        capsize=2,
        ms=5,
        markeredgecolor=LIGHT.background,
        markeredgewidth=0.6,
    )
    for place in places[~there]:
        axes.text(place, 0, style.MISSING, ha="center", va="bottom", color=LIGHT.muted)


def _dots(chart: DotChart, styles: dict[str, MethodStyle]) -> Figure:
    figure, (axes,) = _grid(1, (7.0, 1.0 + 0.32 * len(chart.dots)))
    ends = dot_limits(chart)
    for row, dots in enumerate(chart.dots):
        method = styles[dots.label]
        axes.plot([dots.before, dots.value], [row, row], color=method.light, lw=4, alpha=0.4)
        own = {"marker": method.shape.matplotlib, "color": method.light, "ls": "none", "ms": 7}
        axes.plot([dots.before], [row], **own, fillstyle="none", markeredgewidth=1.6)
        axes.plot([dots.low, dots.high], [row, row], color=LIGHT.text, lw=1, marker="|", ms=5)
        axes.plot([dots.value], [row], **own, markeredgecolor=LIGHT.background, markeredgewidth=0.6)
        if np.isnan(dots.value):
            axes.text(
                *(0.01, row, f"nothing is known {chart.value_label}"),
                transform=axes.get_yaxis_transform(),
                va="center",
                color=LIGHT.muted,
            )
    for place, (name, value) in enumerate(chart.marks):
        axes.axvline(value, color=LIGHT.muted, lw=1, ls=(0, (1.2, 1.4)), zorder=0)
        axes.annotate(
            _literal(f"{name} {style.fixed(value, 1)}"),
            *((value, 1), (0, 2 + 11 * place)),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            ha="left" if value < sum(ends) / 2 else "right",
            fontsize=8.5,
            color=LIGHT.muted,
        )
    axes.set(xlim=ends, ylim=(max(1, len(chart.dots)) - 0.5, -0.5), xlabel=_literal(chart.x_label))
    names = [dots.label for dots in chart.dots]
    axes.set_yticks(range(len(names)), _broken(names, 30))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=LIGHT.line, lw=0.6)
    axes.set_axisbelow(True)
    _write_numbers(axes.xaxis, ends)
    dot: Any = {"ls": "none", "marker": "o", "ms": 6, "color": LIGHT.muted}
    ring = Line2D([], [], **dot, fillstyle="none")
    _legend(figure, [(ring, chart.before_label), (Line2D([], [], **dot), chart.value_label)])
    return figure


def _areas(chart: AreaChart) -> Figure:
    figure, grid = _grid(len(chart.panels), (3.6, 2.2) if len(chart.panels) > 1 else (7.0, 3.6))
    ends = x_limits(chart)
    names = list(dict.fromkeys(name for panel in chart.panels for name, _ in panel.layers))
    colours = dict(zip(names, style.layer_colours(len(names)), strict=True))
    for axes, panel in zip(grid, chart.panels, strict=True):
        _shade(axes, panel.bands)
        heights = [values for _, values in panel.layers]
        runs = style.finite_runs(panel.x, *heights)
        for run in runs:
            axes.stackplot(
                panel.x[run],
                *(values[run] for values in heights),
                colors=[colours[name] for name, _ in panel.layers],
                edgecolor=LIGHT.background,
                lw=0.4,
            )
        if not runs:
            _say_no_data(axes)
        axes.set_title(_title(panel.label, 44))
        axes.set(xlim=ends, ylim=(0, 1))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        _write_numbers(axes.xaxis, ends)
    _name_axes(grid, _ACROSS, chart.x_label, chart.y_label)
    _legend(figure, [(Patch(color=colours[name]), name) for name in names])
    return figure


def _grid(count: int, size: tuple[float, float], across: int = _ACROSS) -> tuple[Figure, Any]:
    """Make axes for so many panels, with equal scales, and a title's room above."""
    columns = max(1, min(across, count))
    rows = -(-max(1, count) // columns)
    figure = Figure(figsize=(columns * size[0] + 0.4, rows * size[1] + 0.7))
    grid: Any = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    if not count:
        figure.text(0.5, 0.5, "nothing to draw", ha="center", color=LIGHT.muted)
    for axes in grid.flat[max(0, count - columns) : count]:
        # The row below may be shorter: axes above its gap are written too.
        axes.tick_params(labelbottom=True)
    return figure, grid.flat[:count]


def _name_axes(grid: Any, across: int, x_label: str, y_label: str) -> None:
    """Name the axes at the left and at the bottom."""
    if not len(grid):
        return
    height = grid[0].figure.get_figheight() / -(-len(grid) // across)
    (broken,) = _broken([y_label], int(height / 0.1))
    for axes in grid[::across]:
        axes.set_ylabel(broken)
    for axes in grid[-across:]:
        axes.set_xlabel(_literal(x_label))


def _shade(axes: Any, bands: Sequence[Band]) -> None:
    axes.grid(axis="y", color=LIGHT.line, lw=0.6)
    axes.set_axisbelow(True)
    for number, band in enumerate(bands):
        if band.highlighted or number % 2 == 0:
            colour = LIGHT.highlighted if band.highlighted else LIGHT.band
            axes.axvspan(band.start, band.end, color=colour, lw=0, zorder=0)


def _write_numbers(axis: Any, ends: Limits) -> None:
    write = style.thousands if max(map(abs, ends)) >= style.MANY else style.number
    axis.set_major_formatter(lambda value, _: write(float(f"{value:.6g}")))


def _say_no_data(axes: Any) -> None:
    axes.text(
        *(0.5, 0.5, "no data"), transform=axes.transAxes, ha="center", va="center",
        color=LIGHT.muted,
    )  # fmt: skip


def _legend(figure: Figure, entries: Sequence[tuple[Any, str]]) -> None:
    """Name what is drawn, below the panels, in as many columns as fit."""
    if not entries:
        return
    longest = max(len(label) for _, label in entries)
    columns = max(1, int(figure.get_figwidth() / (0.65 + 0.078 * longest)))
    width = int((figure.get_figwidth() - 0.65) / 0.078)
    labels = _broken([label for _, label in entries], width)
    lines = max(label.count("\n") + 1 for label in labels)
    # The panels keep their height.
    figure.set_figheight(figure.get_figheight() + 0.21 * lines * -(-len(entries) // columns))
    figure.legend(
        [handle for handle, _ in entries],
        labels,
        loc="outside lower left",
        ncols=min(columns, len(entries)),
    )


def _sample(method: MethodStyle) -> Line2D:
    return Line2D(
        [], [], color=method.light, lw=1.6, ls=method.stroke.matplotlib,
        marker=method.shape.matplotlib, ms=5, markeredgewidth=0,
    )  # fmt: skip


def _patch(method: MethodStyle) -> Any:
    return Patch(facecolor=method.light, alpha=0.75, hatch=method.stroke.matplotlib_hatch, lw=0)


def _broken(names: Sequence[str], width: int) -> list[str]:
    return ["\n".join(map(_literal, style.lines_of(name, width))) for name in names]


def _title(text: str, width: int) -> str:
    """Break a title; of one that is long, such as a method written out, show the beginning."""
    lines = style.lines_of(text, width)
    return "\n".join(map(_literal, [*lines[:3], *(["..."] if len(lines) > 3 else [])]))


def _literal(text: str) -> str:
    """Let a text be shown as it is: matplotlib reads formulas between dollars."""
    return text.replace("$", r"\$")
