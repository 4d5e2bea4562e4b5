"""Texts in pictures."""

from bisect import bisect
from functools import lru_cache
from typing import NamedTuple

import pygame

from continual_arcade.envs.drawing.shapes import Colour

BRIGHT: Colour = (246, 248, 252)
MUTED: Colour = (184, 194, 214)
GOLD: Colour = (255, 212, 92)

ELLIPSIS = "…"

_FINENESS = 4
"""Texts are drawn so many times larger and then brought to size: it spaces small letters evenly."""
_KEPT_TEXTS = 256


class Word(NamedTuple):
    """A text that is never broken."""

    text: str
    colour: Colour


def clean(text: str) -> str:
    """Return a text of which a font can make one line."""
    spaced = text.replace("_", " ")
    return " ".join("".join(c if c.isprintable() else " " for c in spaced).split())


@lru_cache(_KEPT_TEXTS)
def write(text: str, colour: Colour, size: int) -> pygame.Surface:
    """Write a text, which must be clean.

    Args:
        text: The text.
        colour: Its colour.
        size: Size of the type [px].

    Returns:
        The text on a transparent ground; to be read only, as it is kept for whoever wants it next.
    """
    try:
        picture = _font(size * _FINENESS).render(text, True, colour)
    except pygame.error:
        # Nobody has started the fonts, or somebody has stopped them since: then ours are void.
        pygame.font.init()
        _font.cache_clear()
        picture = _font(size * _FINENESS).render(text, True, colour)
    width, height = (-(-side // _FINENESS) for side in picture.get_size())
    return pygame.transform.smoothscale(picture, (width, height))


def fit(word: Word, size: int, room: int) -> pygame.Surface:
    """Write a word, cut short if it has not enough room.

    Args:
        word: The word.
        size: Size of the type [px].
        room: Width that it may take [px].
    """

    def start(length: int) -> pygame.Surface:
        return write(word.text[:length].rstrip() + ELLIPSIS, word.colour, size)

    whole = write(word.text, word.colour, size)
    if whole.get_width() <= room:
        return whole
    lengths = range(len(word.text))
    fitting = bisect(lengths, room, key=lambda length: start(length).get_width())
    return start(fitting - 1) if fitting else write("", word.colour, size)


@lru_cache(_KEPT_TEXTS)
def _font(size: int) -> pygame.font.Font:
    return pygame.font.Font(None, size)
