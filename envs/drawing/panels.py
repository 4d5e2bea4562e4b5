"""Several games side by side in one picture, each under a caption of its own.

What they have in common, the phase and the step, stands in a banner along the top.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import pygame

from continual_arcade.envs.drawing import hud
from continual_arcade.envs.drawing.film import Picture
from continual_arcade.envs.drawing.lettering import BRIGHT, GOLD, MUTED, Word, clean, fit, write
from continual_arcade.envs.drawing.pixels import as_array, as_surface
from continual_arcade.envs.drawing.shapes import Colour
from continual_arcade.envs.drawing.status import Status

GROUND: Colour = (14, 17, 30)
CARD: Colour = (32, 38, 60)
DIMMED: Colour = (96, 100, 116)
"""What is left of white in a game that is over."""

_KEPT_CARDS = 64


class Caption(NamedTuple):
    """What stands over a game."""

    score: int
    headline: str
    """What sets it apart from the others."""
    detail: str = ""
    """What else there is to say."""
    over: bool = False
    """Whether the game has come to its end."""


class Layout(NamedTuple):
    """Sizes of what surrounds the games [px]."""

    width: int
    """Of a game."""
    text: int
    """Of the type."""
    margin: int
    """Between games and around them."""
    banner: int
    """Height of the banner."""
    card: int
    """Height of a caption."""

    @classmethod
    def around(cls, width: int) -> "Layout":
        """Choose the sizes for games of this width."""
        text = max(1, min(15, width // 10) + width // 64)
        return cls(width, text, round(0.5 * text), round(1.8 * text), round(2.5 * text))


class Panels:
    """Puts pictures of games side by side.

    Args:
        size: Width and height of each picture [px].
        count: Number of pictures.
        points: What the score counts.
    """

    def __init__(self, size: tuple[int, int], count: int, points: str) -> None:
        width, height = size
        self._layout = layout = Layout.around(width)
        self._points = points
        self._top = layout.margin + layout.banner + layout.card
        whole = (
            count * (width + layout.margin) + layout.margin,
            self._top + height + layout.margin,
        )
        self.size = whole
        """Width and height of the whole [px]."""
        self._surface = pygame.Surface(whole)

    def draw(
        self, pictures: Sequence[Picture], captions: Sequence[Caption], status: Status
    ) -> Picture:
        """Put pictures together.

        Args:
            pictures: Arrays of shape ``(height, width, 3)``.
            captions: What stands over each.
            status: What they have in common; its score is not shown.

        Returns:
            An array of shape ``(height, width, 3)``, somewhat larger than all of them.
        """
        layout = self._layout
        self._surface.fill(GROUND)
        self._draw_banner(status)
        for position, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
            left = layout.margin + position * (layout.width + layout.margin)
            game = as_surface(picture)
            if caption.over:
                game = game.copy()  # the picture is not ours to darken
                self._darken(game, caption.score)
            self._surface.blit(game, (left, self._top))
            self._surface.blit(_card(caption, layout), (left, self._top - layout.card))
        return as_array(self._surface)

    def _draw_banner(self, status: Status) -> None:
        layout, width = self._layout, self.size[0]
        height = max(2, layout.text // 7)
        middle = layout.margin + (layout.banner - layout.margin - height) // 2
        step = write(hud.step_text(status), MUTED, layout.text)
        right = width - layout.margin
        self._surface.blit(step, (right - step.get_width(), middle - step.get_height() // 2))
        # Room for a step of any length: what stands at the left is to stay as it is.
        right -= write("step 99,999", MUTED, layout.text).get_width() + 2 * layout.margin
        left = layout.margin
        for word in hud.words(status):
            text = fit(word, layout.text, right - left)
            self._surface.blit(text, (left, middle - text.get_height() // 2))
            left += text.get_width() + 2 * layout.margin
        if status.phases > 1:
            top = self._top - layout.card - layout.margin // 2 - height
            track = pygame.Rect(layout.margin, top, width - 2 * layout.margin, height)
            hud.draw_bar(self._surface, track, status.phase, status.phases)

    def _darken(self, game: pygame.Surface, score: int) -> None:
        """Mark a game as over."""
        layout = self._layout
        game.fill(DIMMED, special_flags=pygame.BLEND_RGB_MULT)
        room = layout.width - 2 * layout.margin
        said = (
            fit(Word("over", GOLD), 2 * layout.text, room),
            fit(Word(f"{self._points}: {score:,}", BRIGHT), layout.text, room),
        )
        top = (game.get_height() - sum(text.get_height() for text in said)) // 2
        for text in said:
            game.blit(text, ((layout.width - text.get_width()) // 2, top))
            top += text.get_height()


@lru_cache(_KEPT_CARDS)
def _card(caption: Caption, layout: Layout) -> pygame.Surface:
    """Draw a caption: the score at the left, two rows beside it."""
    card = pygame.Surface((layout.width, layout.card))
    card.fill(CARD)
    score = fit(Word(f"{caption.score:,}", BRIGHT), 2 * layout.text, layout.width // 3)
    card.blit(score, (layout.margin, (layout.card - score.get_height()) // 2))
    # The words stay where they are when the tenth point is made.
    usual = write("00", BRIGHT, 2 * layout.text).get_width()
    left = 2 * layout.margin + max(score.get_width(), min(usual, layout.width // 3))
    room = layout.width - left - layout.margin
    words = (Word(clean(caption.headline), GOLD), Word(clean(caption.detail), MUTED))
    rows = [fit(word, layout.text, room) for word in words if word.text]
    top = (layout.card - sum(row.get_height() for row in rows)) // 2
    for row in rows:
        card.blit(row, (left, top))
        top += row.get_height()
    return card
