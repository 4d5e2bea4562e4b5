"""What pictures must show, computed in the plainest way; and what can be read off them again.

Areas are fractions, so that nothing is rounded; positions come from how much of each pixel is
covered. Nothing here knows how the suite draws.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Profile = npt.NDArray[np.float64]

RED, GREEN, BLUE = 0xFF0000, 0x00FF00, 0x0000FF


class Rectangle(NamedTuple):
    """A rectangle in a picture's own pixels, and its colour."""

    left: Fraction
    top: Fraction
    right: Fraction
    bottom: Fraction
    colour: int


def channels_of(colour: int, grey: bool) -> tuple[Fraction, ...]:
    """Return what a colour is in each channel."""
    red, green, blue = (Fraction(colour >> shift & 255) for shift in (16, 8, 0))
    if not grey:
        return red, green, blue
    return ((299 * red + 587 * green + 114 * blue) / 1000,)


def exact_mean(
    rectangles: Sequence[Rectangle], background: int, window: Sequence[Fraction], grey: bool
) -> tuple[Fraction, ...]:
    """Return the mean colour of a window, of which each rectangle hides what is before it."""
    left, top, right, bottom = window
    inside = [r for r in rectangles if r.left < r.right and r.top < r.bottom]
    columns = _cuts(left, right, [edge for r in inside for edge in (r.left, r.right)])
    rows = _cuts(top, bottom, [edge for r in inside for edge in (r.top, r.bottom)])
    total = [Fraction(0)] * (1 if grey else 3)
    for x, next_x in pairwise(columns):
        for y, next_y in pairwise(rows):
            middle_x, middle_y = (x + next_x) / 2, (y + next_y) / 2
            colour = background
            for one in inside:
                if one.left < middle_x < one.right and one.top < middle_y < one.bottom:
                    colour = one.colour
            for channel, value in enumerate(channels_of(colour, grey)):
                total[channel] += value * (next_x - x) * (next_y - y)
    area = (right - left) * (bottom - top)
    return tuple(value / area for value in total)


def _cuts(low: Fraction, high: Fraction, edges: Sequence[Fraction]) -> list[Fraction]:
    return sorted({low, high, *(edge for edge in edges if low < edge < high)})


def exact_picture(
    rectangles: Sequence[Rectangle], background: int, rows: int, columns: int, grey: bool
) -> npt.NDArray[np.float64]:
    """Return the exact mean of each pixel, shape ``(channels, rows, columns)``."""
    means = [
        [
            exact_mean(
                rectangles, background, [*map(Fraction, (column, row, column + 1, row + 1))], grey
            )
            for column in range(columns)
        ]
        for row in range(rows)
    ]
    return np.moveaxis(np.array(means, np.float64), -1, 0)


class Extent(NamedTuple):
    """From where to where something reaches, in pixels; and how far off that may be."""

    low: float
    high: float
    unsure: float

    def agrees_with(self, low: float, high: float, within: float) -> bool:
        """Return whether it is from here to there, as far as that can be seen."""
        allowed = within + self.unsure
        return abs(self.low - low) <= allowed and abs(self.high - high) <= allowed


def extents(covered: Profile) -> list[Extent]:
    """Return all things in a line of pixels, from how much of each pixel they cover.

    What ends within a pixel covers so much of it. Of something that begins and ends in the same
    pixel nothing tells where in it; in the first and the last one it is most likely cut off.
    """
    there = np.concatenate([[False], covered > 0.0, [False]])
    starts, ends = np.flatnonzero(there[1:] & ~there[:-1]), np.flatnonzero(there[:-1] & ~there[1:])
    found = []
    for first, last in zip(starts.tolist(), (ends - 1).tolist(), strict=True):
        if first < last:
            found.append(Extent(first + 1 - covered[first], last + covered[last], 0.0))
            continue
        free = 1.0 - covered[first]
        at = {0: 0.0, len(covered) - 1: free}.get(first, free / 2)
        found.append(Extent(first + at, first + at + covered[first], max(at, free - at)))
    return found


def clipped(low: float, high: float, length: float) -> tuple[float, float] | None:
    """Return the part of something that is within a picture, None if there is none."""
    low, high = max(low, 0.0), min(high, length)
    return (low, high) if low < high else None


def share(picture: Any, channel: int) -> Profile:
    """Return how much of each pixel is of a pure colour, from a colour picture."""
    return np.asarray(picture[..., channel], np.float64) / 255.0
