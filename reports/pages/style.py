"""What interactive and static pictures share: colours, marks of methods, numbers.

Methods differ in colour, marker and dashes. The colours of each theme keep at least 3:1 contrast to
the background (WCAG 2.2, 1.4.11) and stay apart under the three kinds of dichromacy (Machado et al.
2009, severity 1); markers differ within a round of colours, dashes and hatches between rounds.
"""

import math
import textwrap
from dataclasses import dataclass

from continual_arcade.reports.pages.page_model import Band, Floats

MISSING = "\u2013"
"""What is written where there is no number."""

FONT = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", '
    '"DejaVu Sans", sans-serif'
)


@dataclass(frozen=True)
class Theme:
    """Colours of everything, as ``#rrggbb``."""

    background: str
    surface: str
    """Of boxes on the background."""
    text: str
    muted: str
    """Of what is read second: axes, captions."""
    line: str
    """Of borders and the grid."""
    accent: str
    """Of links and what has the focus."""
    warning: str
    band: str
    """Behind a chart, every other band."""
    highlighted: str
    """Behind a chart, the band that matters."""
    methods: tuple[str, ...]
    sequential: tuple[str, ...]
    """From low to high."""
    diverging: tuple[str, ...]
    """From negative over 0 to positive."""


LIGHT = Theme(
    background="#ffffff",
    surface="#f5f6f8",
    text="#1b1f24",
    muted="#565e69",
    line="#dde1e6",
    accent="#0b5cad",
    warning="#8a4b00",
    band="#f6f7f9",
    highlighted="#e3e8ee",
    methods=(
        *("#1e6ac3", "#bf4c00", "#229672", "#a93f90"),
        *("#b98713", "#7a1934", "#219bdd", "#364562"),
    ),
    sequential=(
        *("#f7fbfd", "#dff0f1", "#bfe3e3", "#93d0d8", "#60b8cb"),
        *("#3698b9", "#2275a3", "#1f5187", "#1a2f5c"),
    ),
    diverging=(
        *("#8c2d04", "#c4551a", "#e58d55", "#f5c7a6", "#f7f6f4"),
        *("#b9d5ea", "#74abd4", "#2f7ab5", "#0d4a80"),
    ),
)
DARK = Theme(
    background="#15181d",
    surface="#1e232a",
    text="#e7eaee",
    muted="#a7afba",
    line="#343b45",
    accent="#82b8f2",
    warning="#f0b45c",
    band="#1a1e24",
    highlighted="#2a313b",
    methods=(
        *("#43b7fd", "#f07f3b", "#4cb47e", "#e18dc6"),
        *("#e9d35b", "#c8506e", "#7e86f5", "#d3dae6"),
    ),
    sequential=(
        *("#1b222b", "#1c3240", "#1c4657", "#1d5e70", "#227a88"),
        *("#3a989b", "#62b5a8", "#9ad1b5", "#e2eec2"),
    ),
    diverging=(
        *("#ffb48a", "#e58449", "#b35c26", "#6d3c20", "#1f242b"),
        *("#1f4566", "#2a6ca3", "#519cd9", "#a3d2fa"),
    ),
)


@dataclass(frozen=True)
class Shape:
    """A marker, as each of those who draw calls it."""

    plotly: str
    matplotlib: str
    svg: str
    """Outline around (0, 0), about 8 wide."""


@dataclass(frozen=True)
class Stroke:
    """Dashes of lines and hatches of bars, as each of those who draw calls them."""

    plotly: str
    matplotlib: str | tuple[int, tuple[float, ...]]
    svg: str
    plotly_hatch: str
    matplotlib_hatch: str


SHAPES = (
    Shape("circle", "o", "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z"),
    Shape("square", "s", "M-3.5 -3.5h7v7h-7z"),
    Shape("triangle-up", "^", "M0 -4.5L4.4 3.4H-4.4z"),
    Shape("diamond", "D", "M0 -4.8L4.8 0L0 4.8L-4.8 0z"),
    Shape("triangle-down", "v", "M0 4.5L4.4 -3.4H-4.4z"),
    Shape("x", "X", "M-4 -2L-2 -4L0 -2L2 -4L4 -2L2 0L4 2L2 4L0 2L-2 4L-4 2L-2 0z"),
    Shape("hexagon", "h", "M0 -4.6L4 -2.3V2.3L0 4.6L-4 2.3V-2.3z"),
    Shape(
        "star",
        "*",
        "M0 -5L1.3 -1.6L4.8 -1.5L2 .7L2.9 4L0 2.1L-2.9 4L-2 .7L-4.8 -1.5L-1.3 -1.6z",
    ),
)
STROKES = (
    Stroke("solid", "-", "none", "", ""),
    Stroke("dash", (0, (5, 2)), "6 3", "/", "//"),
    Stroke("dot", (0, (1.2, 1.4)), "2 2", "x", "xx"),
    Stroke("dashdot", (0, (6, 2, 1.2, 2)), "7 2 2 2", ".", ".."),
    Stroke("longdash", (0, (10, 2)), "11 3", "\\", "\\\\"),
    Stroke("longdashdot", (0, (10, 2, 1.2, 2)), "11 2 2 2", "+", "++"),
)
MOST_METHODS = len(SHAPES) * len(STROKES)


@dataclass(frozen=True)
class MethodStyle:
    """How a method is distinguished from the others, in every picture."""

    index: int
    """Its place among the methods of the page."""
    light: str
    """Its colour in the light theme."""
    dark: str
    shape: Shape
    stroke: Stroke


def method_styles(methods: tuple[str, ...]) -> dict[str, MethodStyle]:
    """Give each method its own looks, by its label.

    Raises:
        ValueError: If there are more methods than can be distinguished.
    """
    if len(methods) > MOST_METHODS:
        raise ValueError(
            f"{len(methods)} methods cannot be distinguished in one page, {MOST_METHODS} can: make "
            "several reports of fewer"
        )
    return {
        label: MethodStyle(
            i,
            LIGHT.methods[i % len(LIGHT.methods)],
            DARK.methods[i % len(DARK.methods)],
            SHAPES[i % len(SHAPES)],
            STROKES[i // len(SHAPES)],
        )
        for i, label in enumerate(methods)
    }


_VIRIDIS = (
    *("#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80"),
    *("#5ec962", "#addc30", "#fde725"),
)


def layer_colours(count: int) -> tuple[str, ...]:
    """Return colours of stacked layers in both themes: phases are ordered, and so are they."""
    return blend(_VIRIDIS, [i / max(1, count - 1) for i in range(count)])


def blend(colours: tuple[str, ...], places: list[float]) -> tuple[str, ...]:
    """Return the colours at some places, between 0 and 1, of an even scale of colours."""
    blended = []
    for place in places:
        left = min(int(place * (len(colours) - 1)), len(colours) - 2)
        share = place * (len(colours) - 1) - left
        pair = zip(_channels(colours[left]), _channels(colours[left + 1]), strict=True)
        mixed = [round(a + share * (b - a)) for a, b in pair]
        blended.append("#" + "".join(f"{channel:02x}" for channel in mixed))
    return tuple(blended)


def shade(colour: str) -> str:
    """Return a colour that lets what is behind it through, for intervals."""
    return "rgba({},{},{},0.16)".format(*_channels(colour))


_INKS = {
    (True, True): ("#000000", "#000000"),
    (True, False): ("#010101", "#ffffff"),
    (False, True): ("#fdfdfd", "#000000"),
    (False, False): ("#fefefe", "#ffffff"),
}
"""Black in the light and in the dark theme, or white: names that distinguish four colours."""


def ink(place: float, *, diverging: bool) -> str:
    """Return the colour of a number that stands on a scale of colours, in the light theme.

    `dark_for_light` knows the one in the dark theme.

    Args:
        place: Where on the scale, from 0 to 1.
        diverging: Which scale.
    """
    scales = (LIGHT.diverging, DARK.diverging) if diverging else (LIGHT.sequential, DARK.sequential)
    on_light, on_dark = (not is_dark(blend(scale, [place])[0]) for scale in scales)
    return _INKS[on_light, on_dark][0]


def is_dark(colour: str) -> bool:
    """Say if white has more contrast to a colour than black has (WCAG 2.2, 1.4.3)."""
    return (luminance(colour) + 0.05) ** 2 < 1.05 * 0.05


def dark_for_light() -> dict[str, str]:
    """Return which colour of the dark theme stands for which of the light theme."""
    single = ("background", "surface", "text", "muted", "line", "band", "highlighted")
    pairs = {getattr(LIGHT, name): getattr(DARK, name) for name in single}
    for name in ("methods", "sequential", "diverging"):
        pairs |= dict(zip(getattr(LIGHT, name), getattr(DARK, name), strict=True))
    methods = zip(LIGHT.methods, DARK.methods, strict=True)
    shades = {shade(light): shade(dark) for light, dark in methods}
    return pairs | shades | dict(_INKS.values())


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb``, from 0 to 1 (WCAG 2.2)."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (channel / 255 for channel in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _channels(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def number(value: float) -> str:
    """Write a number for reading: four digits, whole numbers in full, a dash for NaN."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        text = "\u221e"
    elif value == round(value) or abs(value) >= 1000:
        text = f"{abs(value):,.0f}"
    else:
        text = f"{abs(value):.4g}"
    return f"\u2212{text}" if value < 0 and text != "0" else text


def fixed(value: float, decimals: int) -> str:
    """Write a number with so many decimals, or a dash for NaN."""
    if math.isnan(value):
        return MISSING
    text = f"{abs(value):.{decimals}f}"
    return f"\u2212{text}" if value < 0 and float(text) else text


def interval(value: float, low: float, high: float) -> str:
    """Write a number with its interval, as far as there are such."""
    if math.isnan(value) or (math.isnan(low) and math.isnan(high)):
        return number(value)
    return f"{number(value)} ({number(low)} to {number(high)})"


def thousands(value: float) -> str:
    """Write a place on an axis of many steps: 40k, 1.2M."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return number(value / unit) + letter
    return number(value)


MANY = 10_000
"""Axes that reach so far are written in thousands."""


def lines_of(text: str, width: int) -> list[str]:
    """Break a label into lines."""
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def during(x: float, bands: tuple[Band, ...]) -> str:
    """Name the band that holds a place on the x axis; the end of one belongs to the band before."""
    return next((band.label for band in bands if band.start < x <= band.end), "")


def finite_runs(*arrays: Floats) -> list[slice]:
    """Return the segments in which none of some equally long arrays is NaN."""
    whole = [all(not math.isnan(value) for value in place) for place in zip(*arrays, strict=True)]
    edges = [i for i in range(len(whole) + 1) if (i and whole[i - 1]) != ([*whole, False])[i]]
    return [slice(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
