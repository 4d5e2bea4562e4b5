"""A page as one HTML file that needs nothing else: no network, no server, no other file."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from continual_arcade.reports.pages import style
from continual_arcade.reports.pages.interactive import panels_of
from continual_arcade.reports.pages.limits import colour_limits
from continual_arcade.reports.pages.numbers import numbers_of
from continual_arcade.reports.pages.page_model import (
    AreaChart,
    BarChart,
    Chart,
    DataTable,
    DotChart,
    FilmStrip,
    HeatMap,
    Item,
    LineChart,
    Number,
    Page,
    Section,
)
from continual_arcade.reports.pages.style import MethodStyle, method_styles

GENERATOR = "Continual Arcade report"
"""Says in a page who made it."""

_TEMPLATES = Path(__file__).with_name("templates")


def render(page: Page) -> str:
    """Write a page as HTML.

    Raises:
        ValueError: If there are more methods than can be distinguished.
    """
    styles = method_styles(page.methods)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = (get_plotlyjs(), (_TEMPLATES / "page.js").read_text("utf-8"))
    return environment.get_template("page.html").render(
        page=page,
        generator=GENERATOR,
        policy=_policy(scripts),
        stylesheet=Markup(_colours() + (_TEMPLATES / "page.css").read_text("utf-8")),
        scripts=[Markup(script) for script in scripts],
        settings=_json({"dark": style.dark_for_light()}),
        styles=list(styles.values()),
        verdicts=_views(page.verdicts, styles),
        sections=_views(page.sections, styles),
        has_films=any(isinstance(item, FilmStrip) for item in page.items()),
        light=style.LIGHT,
        dark=style.DARK,
    )


def _views(
    sections: Sequence[Section], styles: dict[str, MethodStyle]
) -> list[tuple[Section, list[str], list[dict[str, Any]]]]:
    """Return each section with its paragraphs and what the templates of its items need."""
    return [
        (section, section.text.split("\n\n"), [_view(item, styles) for item in section.items])
        for section in sections
    ]


def _policy(scripts: tuple[str, ...]) -> str:
    """Forbid all that a browser could fetch, and every script but ours."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data:; media-src blob:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _colours() -> str:
    """Return the colours of both themes as variables of the style sheet."""
    names = ("background", "surface", "text", "muted", "line", "accent", "warning", "highlighted")
    variables = [
        f"--{name}: light-dark({getattr(style.LIGHT, name)}, {getattr(style.DARK, name)});"
        for name in names
    ]
    return f":root {{ {' '.join(variables)} --font: {style.FONT}; }}\n"


def _view(item: Item, styles: dict[str, MethodStyle]) -> dict[str, Any]:
    """Return what the template of an item needs."""
    match item:
        case Chart():
            return _chart(item, styles)
        case DataTable():
            notes: dict[tuple[int, int], list[int]] = {}
            for row, column, note in item.noted:
                notes.setdefault((row, column), []).append(note)
            return {
                "template": "table.html",
                "item": item,
                "methods": [styles[label].index for label in item.labels],
                "notes": notes,
                "letters": [_letters(i) for i in range(len(item.notes))],
                "rows": [[_cell(cell) for cell in row] for row in item.rows],
            }
        case FilmStrip():
            return {
                "template": "films.html",
                "item": item,
                "method": styles[item.label].index,
                "encode": lambda data: base64.b64encode(data).decode(),
            }
    raise TypeError(f"an item of an unknown kind: {type(item).__name__}")


def _chart(chart: Chart, styles: dict[str, MethodStyle]) -> dict[str, Any]:
    panels = panels_of(chart, styles)
    indices = {label: method.index for label, method in styles.items()}
    numbers = numbers_of(chart)
    return {
        "template": "chart.html",
        "item": chart,
        "panels": [(p, None if p.method is None else indices[p.method]) for p in panels],
        "y_label": chart.y_label if isinstance(chart, LineChart | BarChart | AreaChart) else "",
        "layers": _layers(chart),
        "bands": _bands(chart),
        "dots": (chart.before_label, chart.value_label) if isinstance(chart, DotChart) else (),
        "scale": _scale(chart),
        "frames": chart.frames if isinstance(chart, HeatMap) and len(chart.frames) > 1 else (),
        "data": _json(
            {
                "panels": [
                    {
                        **panel.figure,
                        "traces": [None if m is None else indices[m] for m in panel.traces],
                        "frames": panel.frames,
                        "namesFrom": panel.names_from,
                    }
                    for panel in panels
                ],
                "columns": [
                    {"name": name, **_coded([_written(row[i]) for row in numbers.rows])}
                    for i, name in enumerate(numbers.columns)
                ],
                "methods": [indices[label] for label in numbers.labels],
            }
        ),
    }


def _bands(chart: Chart) -> tuple[str, ...]:
    """Name the bands of a chart, which are the same in all of its panels."""
    if not isinstance(chart, LineChart | AreaChart) or not chart.panels:
        return ()
    return tuple(band.label for band in chart.panels[0].bands)


def _layers(chart: Chart) -> list[tuple[str, str]]:
    """Name the layers of all panels with their colours, from the bottom."""
    if not isinstance(chart, AreaChart):
        return []
    names = list(dict.fromkeys(name for panel in chart.panels for name, _ in panel.layers))
    return list(zip(names, style.layer_colours(len(names)), strict=True))


def _scale(chart: Chart) -> dict[str, Any] | None:
    """Say what the colours of a heat map mean."""
    if not isinstance(chart, HeatMap):
        return None
    name = "diverging" if chart.diverging else "sequential"
    pairs = zip(getattr(style.LIGHT, name), getattr(style.DARK, name), strict=True)
    low, high = colour_limits(chart)
    return {
        "gradient": ", ".join(f"light-dark({light}, {dark})" for light, dark in pairs),
        "low": style.fixed(low, chart.decimals),
        "high": style.fixed(high, chart.decimals),
        "label": chart.value_label,
    }


_LONG = 24
"""Letters of a word that may be broken anywhere: the path of a run, for one."""


def _cell(text: str) -> tuple[str, str, bool]:
    """Return the parts of a cell.

    Returns:
        What stands in it; the interval, which may stand in a line of its own; and whether its words
        may be broken.
    """
    if text.strip().lower() in ("", "nan"):
        return style.MISSING, "", False
    if isinstance(text, Number) and text.has_interval:
        value, _, interval = text.partition(" ")
        return value, interval.replace("\u00b1 ", "\u00b1\u00a0"), False
    return text, "", any(len(word) > _LONG for word in text.split())


def _written(cell: str | float) -> str:
    return cell if isinstance(cell, str) else style.number(cell)


def _coded(texts: list[str]) -> dict[str, list[str] | list[int]]:
    """Write a column so that texts that come again and again are written once."""
    places = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    if len(places) > len(texts) / 2:
        return {"texts": texts}
    return {"texts": list(places), "at": [places[text] for text in texts]}


def _letters(index: int) -> str:
    """Name a footnote: a to z, then aa and on."""
    rest, letter = divmod(index, 26)
    return (_letters(rest - 1) if rest else "") + chr(ord("a") + letter)


def _json(data: object) -> Markup:
    """Write data for a script element, which ends at the first ``</script``."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
