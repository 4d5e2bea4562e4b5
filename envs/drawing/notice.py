"""A notice over a picture, as large as there is room for; nothing of it is cut."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import pygame

from continual_arcade.envs.drawing.hud import PANEL
from continual_arcade.envs.drawing.lettering import BRIGHT, GOLD, clean, write
from continual_arcade.envs.drawing.shapes import Colour
from continual_arcade.envs.drawing.status import Notice

SHADE: Colour = (150, 152, 164)
"""What is left of white around a notice."""

LARGEST = 30
"""Size of the type at most [px]."""
ACROSS = 12
"""In a narrow picture, its width in sizes of the type."""
HEIGHT = 0.3
"""Where the middle of a notice stands, from the top of the picture as a part of its height: above
the bird and the paddle, where there is room."""
SPACING = 1.25
"""From row to row, in heights of the rows."""

_KEPT_PANELS = 16


class Row(NamedTuple):
    """A row of a notice."""

    text: str
    colour: Colour
    size: int
    """Of the type [px]."""


def paint(surface: pygame.Surface, notice: Notice) -> None:
    """Darken a picture, and write a notice over it."""
    surface.fill(SHADE, special_flags=pygame.BLEND_RGB_MULT)
    width, height = surface.get_size()
    panel = _panel(notice, (width, height))
    place = panel.get_rect(center=(width // 2, round(HEIGHT * height)))
    surface.blit(panel, place.clamp(surface.get_rect()))


@lru_cache(_KEPT_PANELS)
def _panel(notice: Notice, size: tuple[int, int]) -> pygame.Surface:
    rows = layout(notice, size)
    margin = _margin(size)
    pictures = [write(*row) for row in rows]
    width = max(picture.get_width() for picture in pictures) + 2 * margin
    height = _height(pictures) + 2 * margin
    panel = pygame.Surface((width, height), pygame.SRCALPHA)
    pygame.draw.rect(panel, PANEL, panel.get_rect(), border_radius=margin)
    top = margin
    for picture in pictures:
        panel.blit(picture, ((width - picture.get_width()) // 2, top))
        top += round(SPACING * picture.get_height())
    return panel


def _height(rows: Sequence[pygame.Surface]) -> int:
    """Return the height of rows below each other [px]."""
    *others, last = (row.get_height() for row in rows)
    return sum(round(SPACING * height) for height in others) + last


def layout(notice: Notice, size: tuple[int, int]) -> list[Row]:
    """Break a notice into rows, in the largest type in which all of it fits into a picture.

    Args:
        notice: What is said.
        size: Width and height of the picture [px].
    """
    room, height = (side - 4 * _margin(size) for side in size)
    for text in range(min(LARGEST, max(1, size[0] // ACROSS)), 1, -1):
        rows = list(_rows(notice, text, room))
        pictures = [write(*row) for row in rows]
        if _height(pictures) <= height and max(picture.get_width() for picture in pictures) <= room:
            return rows
    return list(_rows(notice, 1, room))


def _margin(size: tuple[int, int]) -> int:
    """Return the space inside the panel's border, and outside [px]."""
    return min(size) // 32


def _rows(notice: Notice, text: int, room: int) -> Iterator[Row]:
    yield from _broken(notice.heading, GOLD, round(1.6 * text), room)
    for line in notice.lines:
        yield from _broken(line, BRIGHT, text, room)


def _broken(text: str, colour: Colour, size: int, room: int) -> Iterator[Row]:
    """Break a text between words where a row is full."""
    row = ""
    for word in clean(text).split():
        longer = f"{row} {word}".lstrip()
        if row and write(longer, colour, size).get_width() > room:
            yield Row(row, colour, size)
            longer = word
        row = longer
    yield Row(row, colour, size)
