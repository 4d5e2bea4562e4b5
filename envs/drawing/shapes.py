"""Smooth shapes, for what the pictures of the games are made of.

This is too slow for every frame: a game draws its parts once, keeps them, and puts them together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import pygame

Colour = tuple[int, int, int]

_FINENESS = 8
"""Pixels of a drawing per unit of the game, along each side, unless the picture asks for more."""
_FEWEST_SAMPLES = 2
"""Pixels of a drawing per pixel of the picture, at the least."""


class Box(NamedTuple):
    """A rectangle, in units of the game [px]."""

    left: float
    top: float
    width: float
    height: float

    def shrunk(self, margin: float) -> "Box":
        """Return the rectangle without a margin on all four sides."""
        return Box(
            self.left + margin,
            self.top + margin,
            self.width - 2 * margin,
            self.height - 2 * margin,
        )


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return a colour between two.

    Args:
        first: The colour at share 0.
        second: The colour at share 1.
        share: How much of the second, from 0 to 1.
    """
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(first, second, strict=True))
    return red, green, blue


class Canvas:
    """A part of a picture, drawn finer than it will be seen so that its edges are smooth.

    Args:
        size: Width and height, in units of the game [px].
        scale: Pixels of the picture per unit of the game.
        rim: The colour of the outermost shapes, if the canvas is to stay transparent where nothing
            is drawn: an edge takes half its colour from there, and would darken if that were black.
            None for a canvas that is covered all over.
    """

    def __init__(self, size: tuple[int, int], scale: int, rim: Colour | None) -> None:
        # A whole number, because between others smoothscale loses a shade of every colour.
        samples = max(_FEWEST_SAMPLES, _FINENESS // scale)
        self._size = (size[0] * scale, size[1] * scale)
        self._fineness = samples * scale
        fine_size = (size[0] * self._fineness, size[1] * self._fineness)
        self._surface = pygame.Surface(fine_size, 0 if rim is None else pygame.SRCALPHA)
        if rim is not None:
            self._surface.fill((*rim, 0))

    def _fine(self, box: Box) -> pygame.Rect:
        # The edges are rounded, not the sides, so that neighbours meet.
        left, top = round(box.left * self._fineness), round(box.top * self._fineness)
        right = round((box.left + box.width) * self._fineness)
        bottom = round((box.top + box.height) * self._fineness)
        return pygame.Rect(left, top, right - left, bottom - top)

    def box(self, colour: Colour, box: Box, radius: float = 0.0) -> None:
        """Draw a filled rectangle, with round corners if there is a radius."""
        pygame.draw.rect(
            self._surface,
            colour,
            self._fine(box),
            border_radius=round(radius * self._fineness),
        )

    def ellipse(self, colour: Colour, box: Box) -> None:
        """Draw the filled ellipse that touches the four sides of a rectangle."""
        pygame.draw.ellipse(self._surface, colour, self._fine(box))

    def disc(self, colour: Colour, x: float, y: float, radius: float) -> None:
        """Draw a filled circle."""
        self.ellipse(colour, Box(x - radius, y - radius, 2 * radius, 2 * radius))

    def polygon(self, colour: Colour, corners: Sequence[tuple[float, float]]) -> None:
        """Draw a filled polygon."""
        fine = [(x * self._fineness, y * self._fineness) for x, y in corners]
        pygame.draw.polygon(self._surface, colour, fine)

    def line(
        self, colour: Colour, start: tuple[float, float], end: tuple[float, float], width: float
    ) -> None:
        """Draw a straight line."""
        (x1, y1), (x2, y2) = start, end
        fine = self._fineness
        ends = ((x1 * fine, y1 * fine), (x2 * fine, y2 * fine))
        pygame.draw.line(self._surface, colour, *ends, round(width * fine))

    def gradient(self, top: Colour, bottom: Colour, box: Box) -> None:
        """Fill a rectangle with a colour that changes from its top to its bottom."""
        area = self._fine(box)
        for row in range(area.height):
            colour = mix(top, bottom, row / max(1, area.height - 1))
            self._surface.fill(colour, (area.left, area.top + row, area.width, 1))

    def finished(self) -> pygame.Surface:
        """Return what was drawn, at the size of the picture."""
        return pygame.transform.smoothscale(self._surface, self._size)
