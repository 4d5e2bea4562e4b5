"""The heads-up display: who plays, in which phase, by which rules, for how long and how well.

A translucent panel along the top or the bottom of a picture. The score stands at its left, the
lifetime step in its upper right corner, and all else flows in rows between them; what does not fit
is cut short. A bar below shows how far the schedule has come.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import pygame

from continual_arcade.envs.drawing.lettering import BRIGHT, GOLD, MUTED, Word, clean, fit, write
from continual_arcade.envs.drawing.shapes import Colour
from continual_arcade.envs.drawing.status import Status

Edge = Literal["top", "bottom"]
"""At which border of a picture the display stands."""

PANEL = (14, 17, 30, 172)
PAST: Colour = (132, 146, 182)
COMING: Colour = (92, 100, 122)

MOST_OF_HEIGHT = 0.17
"""Rows may take so much of the height of the picture."""
ROWS_ANYWHERE = 3
"""So many rows there may be at least."""
NARROWEST_SEGMENT = 3
"""Where the phases would be narrower than this, the bar is drawn without gaps [px]."""

NARROW = 14
"""In a picture of less than so many times the usual type, the type is smaller."""

_KEPT_PANELS = 16


class Sizes(NamedTuple):
    """Sizes in a panel [px]."""

    text: int
    """Of the type in the rows."""
    score: int
    """Of the type of the score."""
    line: int
    """From row to row."""
    space: int
    """Between words, inside of the panel's border, and outside."""
    bar: int
    """Height of the bar of phases."""


class Content(NamedTuple):
    """What a panel shows; the lifetime step is not part of it, as no two pictures share it."""

    picture: tuple[int, int]
    """Size of the picture [px]."""
    score: str
    words: tuple[Word, ...]
    phase: int
    phases: int
    step_width: int
    """Room to leave for the lifetime step [px]."""


def paint(surface: pygame.Surface, status: Status, edge: Edge = "top") -> None:
    """Draw the heads-up display over a picture.

    Args:
        surface: The picture.
        status: What to say.
        edge: Where there is room for it.
    """
    width, height = surface.get_size()
    sizes = _sizes(width)
    step = step_text(status)
    # Room for the widest number of as many digits, lest every step asked for another panel.
    widest = write(re.sub(r"\d", "9", step), MUTED, sizes.text).get_width()
    panel, first_row = _panel(
        Content(
            picture=(width, height),
            score=f"{status.score:.12g}",
            words=words(status),
            phase=status.phase,
            phases=status.phases,
            step_width=widest,
        )
    )
    top = sizes.space if edge == "top" else height - sizes.space - panel.get_height()
    surface.blit(panel, (sizes.space, top))
    step_picture = write(step, MUTED, sizes.text)
    right = width - 3 * sizes.space
    surface.blit(step_picture, (right - step_picture.get_width(), top + first_row))


def step_text(status: Status) -> str:
    """Return how the lifetime step is said; empty where it is not to be."""
    return "" if status.lifetime_step is None else f"step {status.lifetime_step:,}"


def _sizes(width: int) -> Sizes:
    text = max(1, min(14, width // NARROW) + width // 64)
    return Sizes(
        text=text,
        score=2 * text,
        line=round(0.86 * text),
        space=round(0.36 * text),
        bar=max(2, text // 7),
    )


def words(status: Status) -> tuple[Word, ...]:
    """Return what there is to say beside score and lifetime step, the most important first."""
    params = [clean(f"{name} {value}") for name, value in status.params.items()]
    name = clean(status.phase_name)
    found = []
    if status.phases > 1:
        found.append(Word(f"phase {status.phase + 1}/{status.phases}", BRIGHT))
    found.append(Word(clean(status.title), GOLD))
    # Most phases are called after their parameters, which need not be said twice.
    said = set(" ".join(params).split())
    if status.phases > 1 and not set(name.replace(",", " ").split()) <= said:
        found.append(Word(name, BRIGHT))
    found += [Word(param, MUTED) for param in params]
    return tuple(word for word in found if word.text)


@lru_cache(_KEPT_PANELS)
def _panel(content: Content) -> tuple[pygame.Surface, int]:
    """Return the panel, and where in it the first row begins."""
    sizes = _sizes(content.picture[0])
    width = content.picture[0] - 2 * sizes.space
    score = fit(Word(content.score, BRIGHT), sizes.score, width // 3)
    left = 4 * sizes.space + score.get_width()
    room = width - left - 2 * sizes.space
    most = max(ROWS_ANYWHERE, int(MOST_OF_HEIGHT * content.picture[1] / sizes.line))
    rows = _rows(content.words, sizes, room, room - content.step_width - 2 * sizes.space, most)

    body = max(len(rows) * sizes.line, score.get_height())
    bar = 0 if content.phases == 1 else sizes.bar + sizes.space
    panel = pygame.Surface((width, body + bar + 2 * sizes.space), pygame.SRCALPHA)
    pygame.draw.rect(panel, PANEL, panel.get_rect(), border_radius=sizes.text // 2)
    panel.blit(score, (2 * sizes.space, sizes.space + (body - score.get_height()) // 2))
    first_row = sizes.space + (body - len(rows) * sizes.line) // 2
    for number, row in enumerate(rows):
        x = left
        for picture in row:
            panel.blit(picture, (x, first_row + number * sizes.line))
            x += picture.get_width() + 2 * sizes.space
    if bar:
        track = pygame.Rect(
            2 * sizes.space,
            sizes.space + body + sizes.space // 2,
            width - 4 * sizes.space,
            sizes.bar,
        )
        draw_bar(panel, track, content.phase, content.phases)
    return panel, first_row


def _rows(
    words: Sequence[Word], sizes: Sizes, room: int, first_room: int, most: int
) -> list[list[pygame.Surface]]:
    """Lay words out in rows.

    Args:
        words: What to lay out.
        sizes: The sizes in this panel.
        room: Width of a row [px].
        first_room: Width of the first row [px].
        most: Number of rows that there may be.
    """
    rows: list[list[pygame.Surface]] = [[]]
    free = first_room
    for word in words:
        if write(word.text, word.colour, sizes.text).get_width() > free and len(rows) < most:
            rows.append([])
            free = room
        picture = fit(word, sizes.text, free)
        rows[-1].append(picture)
        free -= picture.get_width() + 2 * sizes.space
    return rows


def draw_bar(picture: pygame.Surface, track: pygame.Rect, phase: int, phases: int) -> None:
    """Draw a segment for each phase, the current one bright.

    Args:
        picture: Where to.
        track: All of the bar.
        phase: Index of the current phase.
        phases: Number of phases.
    """
    gap = 2 if track.width >= phases * (NARROWEST_SEGMENT + 2) else 0
    for number in range(phases):
        left = track.left + number * (track.width + gap) // phases
        right = track.left + (number + 1) * (track.width + gap) // phases - gap
        colour = PAST if number < phase else GOLD if number == phase else COMING
        picture.fill(colour, (left, track.top, max(1, right - left), track.height))
