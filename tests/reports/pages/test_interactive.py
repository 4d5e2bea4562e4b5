import json
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
import sample_pages as samples

from continual_arcade.reports.pages.interactive import Json, Panel, panels_of
from continual_arcade.reports.pages.page_model import (
    BarChart,
    Chart,
    HeatMap,
    LineChart,
    LinePanel,
    Series,
)
from continual_arcade.reports.pages.style import dark_for_light, method_styles

STYLES = method_styles(samples.METHODS)
CHARTS = pytest.mark.parametrize("chart", samples.charts(), ids=lambda chart: chart.key)


def panels(chart: Chart) -> tuple[Panel, ...]:
    return panels_of(chart, STYLES)


def colours(value: object, name: str = "") -> set[str]:
    """Every colour in a figure."""
    if isinstance(value, dict):
        return {c for key, part in value.items() for c in colours(part, key)}
    if isinstance(value, list):
        return {c for part in value for c in colours(part, name)}
    return {value} if isinstance(value, str) and "color" in name else set()


@CHARTS
def test_plotly_knows_every_attribute(chart: Chart) -> None:
    for panel in panels(chart):
        go.Figure(panel.figure)
        for frame in panel.frames:
            traces = zip(panel.figure["data"], frame, strict=True)
            go.Figure({"data": [{**trace, **change} for trace, change in traces]})


def test_an_attribute_that_plotly_does_not_know_is_found() -> None:
    figure = panels(samples.lines())[0].figure
    figure["data"][-1]["line"]["colour"] = "#000000"
    with pytest.raises(ValueError, match="colour"):
        go.Figure(figure)


@CHARTS
def test_figures_are_json_without_nan(chart: Chart) -> None:
    for panel in panels(chart):
        json.dumps([panel.figure, panel.frames], allow_nan=False)
        assert len(panel.traces) == len(panel.figure["data"])


@CHARTS
def test_every_colour_follows_the_theme(chart: Chart) -> None:
    def left() -> set[str]:
        return {c for panel in panels(chart) for c in colours(panel.figure)} - known

    layers = {"#472d7b", "#fde725"} if chart.key == "buffer" else set()
    known = {*dark_for_light(), "rgba(0,0,0,0)", *layers}
    assert left() == set()
    known.discard("#dde1e6")
    assert left() == {"#dde1e6"}


def test_axes_are_equal_in_all_panels() -> None:
    for chart in (samples.lines(), samples.areas()):
        for axis in ("xaxis", "yaxis"):
            ranges = {tuple(panel.figure["layout"][axis]["range"]) for panel in panels(chart)}
            assert len(ranges) == 1
    low, high = panels(samples.lines())[0].figure["layout"]["yaxis"]["range"]
    assert low == 0
    assert high > 8


def trace(panel: Panel, kind: str, label: str) -> Json:
    (found,) = [
        drawn
        for drawn, method in zip(panel.figure["data"], panel.traces, strict=True)
        if method == label and (drawn["type"], drawn.get("mode")) == tuple(kind.split("/"))
    ]
    assert isinstance(found, dict)
    return found


def test_a_line_has_a_gap_where_there_is_no_number() -> None:
    drawn = trace(panels(samples.lines())[0], "scatter/lines+markers", "finetune")
    assert drawn["y"] == [1, 5, None, 3]
    assert drawn["customdata"][0] == ["10,000 (gap 100)", "1 (0 to 2)", "5 runs"]
    assert drawn["customdata"][2][1] == "\u2013"


def test_an_interval_has_the_same_gap() -> None:
    drawn = trace(panels(samples.lines())[0], "scatter/lines", "finetune")
    assert drawn["x"] == [1e4, 2e4, 2e4, 1e4, None, 4e4, 4e4]
    assert drawn["y"] == [0, 4, 6, 2, None, 2, 4]


def test_intervals_of_steps_are_steps() -> None:
    x, y = np.array([0.0, 1.0, 2.0]), np.array([3.0, 2.0, 1.0])
    chart = replace(
        samples.profile(), panels=(LinePanel("", (Series("finetune", x, y, y - 1, y + 1),)),)
    )
    drawn = trace(panels(chart)[0], "scatter/lines", "finetune")
    assert drawn["x"][:5] == [0, 1, 1, 2, 2]
    assert drawn["y"][:5] == [2, 2, 1, 1, 0]
    assert drawn["y"][5:] == [2, 3, 3, 4, 4]
    line = trace(panels(chart)[0], "scatter/lines+markers", "finetune")
    assert line["line"]["shape"] == "hv"


def test_bars_that_are_missing_are_no_zero() -> None:
    panel = panels(samples.bars())[0]
    drawn = [panel.figure["data"][i] for i, m in enumerate(panel.traces) if m == "finetune"]
    assert [d["type"] for d in drawn] == ["bar", "scatter", "scatter"]
    assert drawn[0]["y"] == [3, None, 12]
    assert drawn[1]["error_y"]["array"] == [2, None, 2]
    assert drawn[2]["y"] == [None, 0, None]
    assert drawn[2]["text"][1] == "\u2013"
    assert len({d["offsetgroup"] for d in drawn}) == 1


def test_cells_say_their_number_in_each_frame() -> None:
    panel = panels(samples.heat(frames=3))[0]
    assert len(panel.frames) == 3
    assert panel.frames[1][0]["z"] == [[1, 10, None], [0, 1, 12.3]]
    assert panel.frames[1][1]["text"] == ["1.0", "10.0", "\u2013", "0.0", "1.0", "12.3"]
    assert panel.frames[1][0]["customdata"] == [["1", "10", "\u2013"], ["0", "1", "12.3"]]
    assert panel.figure["data"][0]["z"] == panel.frames[-1][0]["z"]
    assert panel.figure["data"][0]["zmin"] == -panel.figure["data"][0]["zmax"]
    assert len(panel.figure["layout"]["shapes"]) == 2
    assert panels(samples.heat())[0].frames == ()


def test_equal_names_of_rows_stay_apart() -> None:
    panel = panels(replace(samples.heat(), rows=("gap 100", "gap 100")))[0]
    assert panel.figure["layout"]["yaxis"]["tickvals"] == [0, 1]
    assert panel.figure["data"][0]["y"] == [0, 1]


def test_a_buffer_that_is_empty_at_first_is_a_gap() -> None:
    drawn = panels(samples.areas())[0].figure["data"]
    assert [d["x"] for d in drawn] == [[100, 200, 300]] * 2
    assert {d["stackgroup"] for d in drawn} == {"0"}


def test_labels_are_text() -> None:
    chart = replace(samples.lines(), y_label="<b>y</b>")
    drawn = trace(panels(chart)[0], "scatter/lines+markers", samples.HOSTILE)
    assert drawn["meta"][0].startswith("&lt;script&gt;")
    assert drawn["meta"][2] == "&lt;b&gt;y&lt;/b&gt;"
    assert "script" not in drawn["hovertemplate"]
    heat = panels(replace(samples.heat(), rows=("<i>a</i>", "a & b"), value_label="<u>"))[0]
    assert heat.figure["layout"]["yaxis"]["ticktext"] == ["&lt;i&gt;a&lt;/i&gt;", "a &amp; b"]
    assert heat.figure["data"][0]["meta"][2] == "&lt;u&gt;"


def test_long_names_break_between_characters_of_theirs() -> None:
    panel = panels(replace(samples.heat(), rows=("a&b " * 9, "<" * 40)))[0]
    lines = panel.figure["layout"]["yaxis"]["ticktext"][1].split("<br>")
    assert len(lines) == 3
    assert all(set(line.split(";")) == {"&lt", ""} for line in lines)


@pytest.mark.parametrize(
    "chart",
    [
        LineChart(key="a", title="", alt="", x_label="", y_label="", panels=()),
        replace(samples.lines(), panels=(LinePanel("", ()),)),
        replace(
            samples.lines(),
            panels=(LinePanel("", (Series("finetune", np.zeros(0), np.zeros(0)),)),),
        ),
        replace(
            samples.lines(),
            panels=(LinePanel("", (Series("finetune", *[np.full(2, np.nan)] * 2),)),),
        ),
        BarChart(key="a", title="", alt="", categories=(), y_label="", bars=()),
        replace(samples.heat(), panels=()),
        replace(samples.areas(), panels=()),
    ],
)
def test_charts_without_data(chart: Chart) -> None:
    for panel in panels(chart):
        go.Figure(panel.figure)
        if isinstance(chart, LineChart):
            assert panel.figure["layout"]["annotations"][-1]["text"] == "no data"


def test_one_cell_that_is_missing() -> None:
    chart = samples.heat()
    chart = HeatMap(
        **{**vars(chart), "rows": ("a",), "columns": ("b",), "marked": frozenset()}
        | {"panels": (replace(chart.panels[0], frames=(np.array([[np.nan]]),)),)}
    )
    (panel,) = panels(chart)
    assert panel.figure["data"][0]["z"] == [[None]]
    assert panel.figure["data"][1]["text"] == ["\u2013"]


def test_one_point_has_room_around() -> None:
    one = np.array([5.0])
    chart = replace(samples.profile(), panels=(LinePanel("", (Series("finetune", one, one),)),))
    layout = panels(chart)[0].figure["layout"]
    for axis in ("xaxis", "yaxis"):
        assert layout[axis]["range"][0] <= 5 < layout[axis]["range"][1]


def test_an_unknown_chart() -> None:
    with pytest.raises(TypeError, match="Chart"):
        panels(Chart(key="a", title="", alt=""))


def test_dots_stand_where_the_numbers_are() -> None:
    (panel,) = panels(samples.dots())
    marks = [
        (label, trace["x"][0], trace["marker"]["symbol"].endswith("-open"))
        for trace, label in zip(panel.figure["data"], panel.traces, strict=True)
        if trace["mode"] == "markers"
    ]
    one, two, three = samples.METHODS
    assert marks == [
        *((one, 9.0, True), (one, 7.0, False)),
        *((two, 4.0, True), (two, None, False)),
        *((three, 2.0, True), (three, 5.0, False)),
    ]
    intervals = [trace["error_x"] for trace in panel.figure["data"] if "error_x" in trace]
    assert [(i["arrayminus"], i["array"]) for i in intervals] == [([1.0], [1.0])]
    names = [trace["text"][0] for trace in panel.figure["data"] if trace["mode"] == "text"]
    assert names[1].replace("<br>", " ") == f"{two}: nothing is known at the end"
    assert [note["text"] for note in panel.figure["layout"]["annotations"]] == [
        *("random play 0.1", "oracle 10.0"),
    ]
