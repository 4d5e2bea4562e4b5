"""What a page consists of, as data: charts, tables and films, whichever way they are shown.

The same data are drawn interactively in the page and as static files beside it. Methods are named
by their label everywhere: it decides the colour, and what is hidden together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that is shown."""

    key: str
    """Name of its files and of its place in the page: lower case, hyphens, unique in the page."""
    title: str
    caption: str = ""
    """What a reader must know to read it."""


@dataclass(frozen=True, kw_only=True)
class Chart(Item):
    """A picture."""

    alt: str
    """What it says, in words, for those who do not see it."""


@dataclass(frozen=True)
class Series:
    """A line with its interval."""

    label: str
    """The method."""
    x: Floats
    y: Floats
    """NaN leaves a gap."""
    low: Floats | None = None
    high: Floats | None = None
    hover: tuple[str, ...] = ()
    """What is said of each point beside its numbers."""


@dataclass(frozen=True)
class Band:
    """A stretch of the x axis."""

    start: float
    end: float
    label: str
    highlighted: bool = False


@dataclass(frozen=True)
class LinePanel:
    """One of several small line charts with equal axes."""

    title: str
    series: tuple[Series, ...]
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LineChart(Chart):
    """Lines over an axis, in one or several panels."""

    x_label: str
    y_label: str
    panels: tuple[LinePanel, ...]
    steps: bool = False
    """Draw steps instead of straight lines between points."""
    from_zero: bool = True
    """Let the y axis begin at 0, or below."""


@dataclass(frozen=True)
class HeatPanel:
    """A matrix of numbers, or several of them, one after the other."""

    label: str
    """The method."""
    frames: tuple[Floats, ...]
    """Matrices of shape ``(rows, columns)``; NaN is an empty cell."""
    hover: tuple[tuple[tuple[str, ...], ...], ...] = ()
    """What is said of each cell of each matrix beside its number."""


@dataclass(frozen=True, kw_only=True)
class HeatMap(Chart):
    """Matrices as colours with numbers in them, one panel for each method."""

    rows: tuple[str, ...]
    """Top to bottom."""
    columns: tuple[str, ...]
    rows_label: str
    columns_label: str
    value_label: str
    panels: tuple[HeatPanel, ...]
    frames: tuple[str, ...] = ("",)
    """Name of each matrix of a panel; several are gone through with a slider."""
    frames_label: str = ""
    marked: frozenset[tuple[int, int]] = frozenset()
    """Cells (row, column) with a frame around them."""
    diverging: bool = False
    """Colour by sign, with 0 in the middle."""
    limits: tuple[float, float] | None = None
    """Numbers at the ends of the colours; those of the data if not given."""
    decimals: int = 1


@dataclass(frozen=True)
class Bars:
    """A bar for each category."""

    label: str
    """The method."""
    values: Floats
    """NaN is no bar."""
    low: Floats
    high: Floats
    hover: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BarChart(Chart):
    """Bars with intervals, side by side for each category."""

    categories: tuple[str, ...]
    y_label: str
    bars: tuple[Bars, ...]


@dataclass(frozen=True)
class AreaPanel:
    """Shares that sum to one, stacked."""

    label: str
    """The method."""
    x: Floats
    layers: tuple[tuple[str, Floats], ...]
    """Name and height of each, from the bottom."""
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AreaChart(Chart):
    """Stacked areas, one panel for each method."""

    x_label: str
    y_label: str
    panels: tuple[AreaPanel, ...]


@dataclass(frozen=True, kw_only=True)
class DataTable(Item):
    """A table of text; numbers are written as they are to be read."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...] = ()
    """The method of each row; it may be hidden with it. Empty if rows are no methods."""
    notes: tuple[str, ...] = ()
    """Footnotes: why a cell is empty."""
    folded: bool = False
    """Show it only when asked for."""


@dataclass(frozen=True)
class Clip:
    """A small looping film."""

    data: bytes
    mime: str
    """``video/mp4``, for one."""
    alt: str
    """What it shows, in words."""
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class FilmStrip(Item):
    """Small films, as a grid."""

    label: str
    """The method."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    clips: tuple[tuple[Clip | None, ...], ...]
    """Shape ``(rows, columns)``; None where there is no film."""


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading."""

    key: str
    title: str
    text: str = ""
    """A paragraph that says what is to be seen; plain text."""
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    methods: tuple[str, ...]
    """Label of every method, in the order of their colours."""
    warnings: tuple[str, ...]
    """What must be known before anything is believed."""
    sections: tuple[Section, ...]

    def items(self) -> Iterator[Item]:
        """Iterate over everything that is shown."""
        for section in self.sections:
            yield from section.items
