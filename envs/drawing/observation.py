"""What an agent sees, as a picture to stand beside that of the game.

Pictures are enlarged so that their pixels can be seen, the newest above the older ones. Features
are bars, each from its smallest value to its largest. What weighs most in the choice is marked red.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pygame

from continual_arcade.envs.drawing.film import Picture
from continual_arcade.envs.drawing.lettering import BRIGHT, GOLD, MUTED, Word, clean, fit
from continual_arcade.envs.drawing.pixels import as_array, as_surface
from continual_arcade.envs.drawing.shapes import Colour
from continual_arcade.envs.game import Feature, Game
from continual_arcade.envs.picture_format import PictureFormat

GROUND: Colour = (14, 17, 30)
GROOVE: Colour = (44, 52, 80)
MARK: Colour = (255, 40, 40)
_SHARE = 0.62
"""Width of the panel, as a share of its height."""
_NARROWEST = 160
"""Below this names could not be read [px]."""
_MARGIN = 8
_TALLEST_ROW = 44
"""Of a feature [px]."""


def panel_width(height: int) -> int:
    """Return how wide a panel of a height is [px]."""
    return max(_NARROWEST, round(_SHARE * height))


class ObservationPanel:
    """Draws observations of one game.

    Args:
        game: The game.
        context: What the observation shows of the phase, behind the features.
        height: Height of the panel [px].
    """

    def __init__(self, game: Game, context: Sequence[Feature], height: int) -> None:
        self.size = panel_width(height), height
        """Width and height [px]."""
        self._pictures = game.pictures
        self._features = (*game.features, *context)
        self._surface = pygame.Surface(self.size)

    def draw(
        self, observation: npt.NDArray[Any], weights: npt.NDArray[np.float64] | None = None
    ) -> Picture:
        """Return the panel, shape ``(height, width, 3)``.

        Args:
            observation: What is seen: features, or pictures.
            weights: How much each number of it weighs in the choice, at least 0, of the same shape;
                nothing is marked if not given.
        """
        self._surface.fill(GROUND)
        most = 0.0 if weights is None else float(weights.max())
        shares = None if weights is None or not most else weights / most
        if self._pictures is None:
            self._draw_features(observation, shares)
        else:
            self._draw_pictures(self._pictures, observation, shares)
        return as_array(self._surface)

    def _draw_pictures(
        self,
        pictures: PictureFormat,
        observation: npt.NDArray[np.uint8],
        shares: npt.NDArray[np.float64] | None,
    ) -> None:
        seen = np.repeat(pictures.frames(observation), 1 if pictures.colour else 3, axis=-1)
        if shares is not None:
            red = pictures.frames(shares).max(-1, keepdims=True)
            seen = (seen + (np.array(MARK) - seen) * red).astype(np.uint8)
        width, height = self.size
        rows, columns = pictures.screen_size
        room = width - 2 * _MARGIN
        older = seen[:-1]
        across = min(4, max(3, len(older)))
        down = -(-len(older) // across)
        share = (room - (across - 1) * _MARGIN) / across
        small = (int(share), int(share * rows / columns))
        below = down * (small[1] + _MARGIN)
        scale = min(room / columns, (height - 2 * _MARGIN - below) / rows)
        large = max(1, int(scale * columns)), max(1, int(scale * rows))
        self._blit(seen[-1], ((width - large[0]) // 2, _MARGIN), large)
        for place, picture in enumerate(older):
            row, column = divmod(place, across)
            left = _MARGIN + column * (small[0] + _MARGIN)
            top = 2 * _MARGIN + large[1] + row * (small[1] + _MARGIN)
            self._blit(picture, (left, top), small)

    def _blit(
        self, picture: npt.NDArray[np.uint8], place: tuple[int, int], size: tuple[int, int]
    ) -> None:
        self._surface.blit(pygame.transform.scale(as_surface(picture), size), place)

    def _draw_features(
        self, observation: npt.NDArray[Any], shares: npt.NDArray[np.float64] | None
    ) -> None:
        width, height = self.size
        row = min(_TALLEST_ROW, (height - 2 * _MARGIN) // len(self._features))
        text = max(8, round(0.42 * row))
        room = width - 2 * _MARGIN
        for place, (feature, number) in enumerate(zip(self._features, observation, strict=True)):
            top = _MARGIN + place * row
            value = fit(Word(f"{number:+.2f}", BRIGHT), text, room // 3)
            name = fit(Word(clean(feature.name), MUTED), text, room - value.get_width() - _MARGIN)
            self._surface.blit(name, (_MARGIN, top))
            self._surface.blit(value, (_MARGIN + room - value.get_width(), top))
            groove = pygame.Rect(_MARGIN, top + text + 2, room, max(2, row // 8))
            self._surface.fill(GROOVE, groove)
            if shares is not None:
                length = round(room * float(shares[place]))
                self._surface.fill(MARK, (groove.left, groove.bottom, length, 2))
            low, high = feature.low, feature.high
            if not (math.isfinite(low) and math.isfinite(high)):
                continue
            zero, end = (
                groove.left + round(room * min(max((x - low) / (high - low), 0.0), 1.0))
                for x in (0.0, float(number))
            )
            bar = (min(zero, end), groove.top, max(2, abs(end - zero)), groove.height)
            self._surface.fill(GOLD, bar)
