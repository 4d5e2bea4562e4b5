"""What a page consists of, as data: charts, tables and films, whichever way they are shown.

The same data are drawn interactively in the page and as static files beside it. Methods are named
by their label everywhere: it decides the colour, and what is hidden together.

What does not fit together is refused when it is made: a `ValueError` says what and where.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]


class Number(str):
    """A number as it is written in a table, which keeps what was written.

    Args:
        text: How it is written, with its interval if there is one: ``+3.2 [+2.1, +4.5]``.
        value: The number; NaN if it is missing.
        ends: Lower and upper end of its interval, NaN where it has none; None for a number that
            cannot have one, such as a count.
    """

    value: float
    ends: tuple[float, float] | None

    def __new__(cls, text: str, value: float, ends: tuple[float, float] | None = None) -> "Number":
        """Keep the numbers beside the text."""
        written = super().__new__(cls, text)
        written.value, written.ends = value, ends
        return written

    @property
    def has_interval(self) -> bool:
        """Whether an interval is written."""
        return self.ends is not None and not math.isnan(self.ends[0])


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that is shown."""

    key: str
    """Name of its files and of its place in the page: lower case, hyphens, unique in the page."""
    title: str
    caption: str = ""
    """What a reader must know to read it."""

    def __post_init__(self) -> None:
        _check_key(self.key)

    def labels_used(self) -> set[str]:
        """Return the methods that it shows."""
        return set()


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

    def __post_init__(self) -> None:
        where = f"the line of {self.label}"
        _check_lengths(where, len(self.x), {"y": self.y, "low": self.low, "high": self.high})
        _check_hover(where, len(self.x), self.hover)
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{where} has one end of its interval: give low and high, or neither")


@dataclass(frozen=True)
class Band:
    """An interval of the x axis."""

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
    """Let the y axis start at 0, or below."""

    def labels_used(self) -> set[str]:
        """Return the methods that it shows."""
        return {series.label for panel in self.panels for series in panel.series}


@dataclass(frozen=True)
class HeatPanel:
    """A matrix of numbers, or several of them, one after the other."""

    label: str
    """The method."""
    frames: tuple[Floats, ...]
    """Matrices of shape ``(rows, columns)``; NaN is an empty cell."""
    hover: tuple[tuple[tuple[str, ...], ...], ...] = ()
    """What is said of each cell of each matrix beside its number."""
    low: tuple[Floats, ...] = ()
    """Lower ends of the intervals of the numbers, of the same shapes; empty if there are none."""
    high: tuple[Floats, ...] = ()


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
    """Name of each matrix of a panel; a slider selects one of several."""
    frames_label: str = ""
    marked: frozenset[tuple[int, int]] = frozenset()
    """Cells (row, column) with a frame around them."""
    diverging: bool = False
    """Colour by sign, with 0 in the middle."""
    limits: tuple[float, float] | None = None
    """Numbers at the ends of the colours; those of the data if not given."""
    decimals: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise ValueError(
                f"{self.key}: colours cannot reach from {self.limits[0]} to {self.limits[1]}"
            )
        shape = (len(self.rows), len(self.columns))
        for panel in self.panels:
            where = f"the panel of {panel.label} in {self.key}"
            if len(panel.frames) != len(self.frames):
                raise ValueError(
                    f"{where} has {len(panel.frames)} matrices, not one for each of the "
                    f"{len(self.frames)} names of frames"
                )
            for frame in (*panel.frames, *panel.low, *panel.high):
                if frame.shape != shape:
                    raise ValueError(f"{where} has a matrix of shape {frame.shape}, not {shape}")
            if {len(panel.low), len(panel.high)} - {0, len(self.frames)} or (
                len(panel.low) != len(panel.high)
            ):
                raise ValueError(f"{where} needs both ends of all its intervals, or none")
            for cells in panel.hover:
                if [len(row) for row in cells] != [shape[1]] * shape[0]:
                    raise ValueError(f"{where}: its hover texts have not the shape {shape}")
            _check_hover(where, len(self.frames), panel.hover)

    def labels_used(self) -> set[str]:
        """Return the methods that it shows."""
        return {panel.label for panel in self.panels}


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

    def __post_init__(self) -> None:
        where = f"the bars of {self.label}"
        _check_lengths(where, len(self.values), {"low": self.low, "high": self.high})
        _check_hover(where, len(self.values), self.hover)


@dataclass(frozen=True, kw_only=True)
class BarChart(Chart):
    """Bars with intervals, side by side for each category."""

    categories: tuple[str, ...]
    y_label: str
    bars: tuple[Bars, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for bars in self.bars:
            _check_lengths(
                f"{self.key}, {bars.label}:", len(self.categories), {"values": bars.values}
            )

    def labels_used(self) -> set[str]:
        """Return the methods that it shows."""
        return {bars.label for bars in self.bars}


@dataclass(frozen=True)
class Dots:
    """Two numbers of a method: before and after."""

    label: str
    """The method."""
    before: float
    """NaN is no dot."""
    value: float
    low: float
    """Lower end of the interval of the value; NaN if there is none."""
    high: float


@dataclass(frozen=True, kw_only=True)
class DotChart(Chart):
    """A row for each method: a dot for the value before, a line to the value after."""

    x_label: str
    before_label: str
    value_label: str
    dots: tuple[Dots, ...]
    """Top to bottom."""
    marks: tuple[tuple[str, float], ...] = ()
    """Numbers that all are measured against, by name."""

    def labels_used(self) -> set[str]:
        """Return the methods that it shows."""
        return {dots.label for dots in self.dots}


@dataclass(frozen=True)
class AreaPanel:
    """Shares that sum to one, stacked."""

    label: str
    """The method."""
    x: Floats
    layers: tuple[tuple[str, Floats], ...]
    """Name and height of each, from the bottom; NaN leaves a gap."""
    bands: tuple[Band, ...] = ()

    def __post_init__(self) -> None:
        for name, heights in self.layers:
            _check_lengths(f"the areas of {self.label}", len(self.x), {name: heights})


@dataclass(frozen=True, kw_only=True)
class AreaChart(Chart):
    """Stacked areas, one panel for each method."""

    x_label: str
    y_label: str
    panels: tuple[AreaPanel, ...]

    def labels_used(self) -> set[str]:
        """Return the methods that it shows."""
        return {panel.label for panel in self.panels}


@dataclass(frozen=True, kw_only=True)
class DataTable(Item):
    """A table of text; numbers are written as they are to be read."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Where a cell is a `Number`, its numbers are kept in the files beside the page."""
    labels: tuple[str, ...] = ()
    """The method of each row; it may be hidden with it. Empty if rows are no methods."""
    notes: tuple[str, ...] = ()
    """Footnotes: why a cell is empty."""
    noted: tuple[tuple[int, int, int], ...] = ()
    """Which cell a note is about: row, column, and the note's place in `notes`."""
    folded: bool = False
    """Show it only when asked for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"{self.key}: row {number} has {len(row)} cells, not {len(self.columns)}"
                )
        if self.labels and len(self.labels) != len(self.rows):
            raise ValueError(f"{self.key}: {len(self.labels)} labels for {len(self.rows)} rows")
        limits = (len(self.rows), len(self.columns), len(self.notes))
        for place in self.noted:
            if not all(0 <= i < limit for i, limit in zip(place, limits, strict=True)):
                raise ValueError(
                    f"{self.key}: there is no (row, column, note) {place}; there are {limits}"
                )

    def labels_used(self) -> set[str]:
        """Return the methods that it shows."""
        return set(self.labels)


@dataclass(frozen=True)
class Clip:
    """A small looping film."""

    data: bytes
    mime: str
    """``video/mp4``, for one."""
    alt: str
    """What it shows, in words."""
    caption: str = ""
    size: tuple[int, int] | None = None
    """Width and height [px]: its place is kept while it is not loaded."""


@dataclass(frozen=True, kw_only=True)
class FilmStrip(Item):
    """Small films, as a grid."""

    label: str
    """The method."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    rows_label: str
    columns_label: str
    clips: tuple[tuple[Clip | None, ...], ...]
    """Shape ``(rows, columns)``; None where there is no film."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if [len(row) for row in self.clips] != [len(self.columns)] * len(self.rows):
            raise ValueError(
                f"{self.key}: the films have not the shape {(len(self.rows), len(self.columns))}"
            )

    def labels_used(self) -> set[str]:
        """Return the methods that it shows."""
        return {self.label}


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading."""

    key: str
    title: str
    text: str = ""
    """Paragraphs that say what is to be seen; plain text with an empty line between them."""
    items: tuple[Item, ...] = ()
    headline: str = ""
    """The conclusion, in a sentence that a reader sees first."""

    def __post_init__(self) -> None:
        _check_key(self.key)


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    methods: tuple[str, ...]
    """Label of every method, in the order of their colours."""
    warnings: tuple[str, ...]
    """Warnings about the numbers, shown before them."""
    sections: tuple[Section, ...]
    about: str = ""
    """Purpose of the runs."""
    verdicts: tuple[Section, ...] = ()
    """The conclusions; shown before the warnings and everything else."""

    def __post_init__(self) -> None:
        sections = (*self.verdicts, *self.sections)
        keys = [*(section.key for section in sections), *(item.key for item in self.items())]
        if twice := [key for key, count in Counter(keys).items() if count > 1]:
            raise ValueError(f"keys must be unique in a page; given twice: {', '.join(twice)}")
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"methods must differ in their labels: {', '.join(self.methods)}")
        for item in self.items():
            if unknown := item.labels_used() - set(self.methods):
                raise ValueError(
                    f"{item.key} shows {', '.join(map(repr, sorted(unknown)))}, not among the "
                    f"methods of the page: {', '.join(map(repr, self.methods)) or 'none'}"
                )

    def items(self) -> Iterator[Item]:
        """Iterate over everything that is shown."""
        for section in (*self.verdicts, *self.sections):
            yield from section.items


def _check_key(key: str) -> None:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key):
        raise ValueError(f"a key is lower case with hyphens, such as final-scores, not {key!r}")


def _check_lengths(where: str, length: int, arrays: Mapping[str, Floats | None]) -> None:
    for name, values in arrays.items():
        if values is not None and np.shape(values) != (length,):
            raise ValueError(f"{where}: {name} has shape {np.shape(values)}, not {(length,)}")


def _check_hover(where: str, length: int, hover: tuple[object, ...]) -> None:
    if hover and len(hover) != length:
        raise ValueError(f"{where}: {len(hover)} hover texts for {length}")
