from dataclasses import replace
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import sample_pages as samples
from matplotlib.figure import Figure

from continual_arcade.envs.drawing.chart_style import chart_style
from continual_arcade.reports.pages.page_model import BarChart, Chart, LineChart, LinePanel, Series
from continual_arcade.reports.pages.static import STYLE, draw
from continual_arcade.reports.pages.style import method_styles

STYLES = method_styles(samples.METHODS)


def drawn(chart: Chart) -> Figure:
    figure = draw(chart, STYLES)
    with chart_style(STYLE):
        figure.savefig(BytesIO(), format="svg")
    return figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


@pytest.mark.parametrize("chart", samples.charts(), ids=lambda chart: chart.key)
def test_every_kind_is_drawn_with_its_title(chart: Chart) -> None:
    assert chart.title in texts(drawn(chart))


def test_lines_show_the_numbers() -> None:
    chart = samples.lines()
    figure = drawn(chart)
    for axes, panel in zip(figure.axes, chart.panels, strict=True):
        lines = [line for line in axes.lines if len(line.get_xdata()) == 4]  # type: ignore[arg-type]
        for line, series in zip(lines, panel.series, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), series.y)
            assert line.get_color() == STYLES[series.label].light
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_the_legend_names_each_method_once_and_literally() -> None:
    (legend,) = drawn(samples.lines()).legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert [label.replace(r"\$", "$") for label in labels] == list(samples.METHODS)


def test_the_legend_covers_nothing() -> None:
    figure = drawn(samples.lines())
    (legend,) = figure.legends
    box = legend.get_window_extent()
    for axes in figure.axes:
        tight: Any = axes.get_tightbbox()
        assert not box.overlaps(tight)


def test_a_title_with_dollars_is_no_formula() -> None:
    drawn(replace(samples.lines(), title="5 $ and 6 $ \\undefined", x_label="$\\nothing$"))


def test_cells_show_numbers_and_dashes() -> None:
    shown = texts(drawn(samples.heat()))
    assert shown.count("\u2013") == 3
    assert shown.count("12.3") == 3


def test_frames_are_shown_from_first_to_last() -> None:
    shown = texts(drawn(samples.heat(frames=3)))
    for name in ("step 1,000", "step 2,000", "step 3,000"):
        assert f"finetune, {name}" in shown
    assert len(drawn(samples.heat(frames=30)).axes) == 3 * 3 + 1


def test_bars_that_are_missing_are_dashes() -> None:
    figure = drawn(samples.bars())
    heights = [patch.get_height() for patch in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert heights == [3, 12, 4, 13, 5, 14]
    assert texts(figure).count("\u2013") == 3


@pytest.mark.parametrize(
    "chart",
    [
        LineChart(key="a", title="", alt="", x_label="", y_label="", panels=()),
        replace(samples.lines(), panels=(LinePanel("", ()),)),
        replace(
            samples.lines(),
            panels=(LinePanel("", (Series("finetune", *[np.full(2, np.nan)] * 4),)),),
        ),
        BarChart(key="a", title="", alt="", categories=(), y_label="", bars=()),
        replace(samples.heat(), panels=()),
        replace(samples.areas(), panels=()),
    ],
)
def test_charts_without_data_say_so(chart: Chart) -> None:
    figure = drawn(chart)
    if isinstance(chart, LineChart):
        assert {"no data", "nothing to draw"} & set(texts(figure))


def test_many_methods_and_long_names() -> None:
    methods = tuple(f"{samples.LONG}, number={i}" for i in range(16))
    figure = draw(samples.lines(methods=methods), method_styles(methods))
    with chart_style(STYLE):
        figure.savefig(BytesIO(), format="png")
    width, height = figure.get_size_inches() * figure.dpi
    for axes in figure.axes:
        assert axes.get_window_extent().height > 60
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height


def test_an_unknown_chart() -> None:
    with pytest.raises(TypeError, match="Chart"):
        draw(Chart(key="a", title="", alt=""), STYLES)


def test_dots_stand_where_the_numbers_are() -> None:
    chart = samples.dots()
    (axes,) = drawn(chart).axes
    found = [
        (float(line.get_xdata()[0]), int(line.get_ydata()[0]), line.get_fillstyle())  # type: ignore[index, arg-type]
        for line in axes.lines
        if line.get_marker() not in ("None", "|", None) and np.isfinite(line.get_xdata()).all()  # type: ignore[arg-type]
    ]
    # Before is hollow, the end is full; what is not known has no dot, and says so.
    assert [dot for dot in found if dot[2] == "none"] == [
        (9, 0, "none"),
        (4, 1, "none"),
        (2, 2, "none"),
    ]
    assert [dot for dot in found if dot[2] == "full"] == [(7, 0, "full"), (5, 2, "full")]
    assert {"nothing is known at the end", "random play 0.1", "oracle 10.0"} <= set(
        texts(axes.figure)
    )  # type: ignore[arg-type]
