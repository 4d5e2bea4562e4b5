"""The pictures that agents see: the newest of each game, and those before it.

A picture is drawn once, when its scene is new, and kept for as long as it is seen. What the rest of
a run depends on are the scenes.
"""

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from continual_arcade.envs.game import Game
from continual_arcade.envs.picture_format import PictureFormat
from continual_arcade.envs.raster import BEGIN, FOLLOW, REST, STAY, Frame, show

Scenes = npt.NDArray[np.float32]
Seen = npt.NDArray[np.uint8]
Moves = npt.NDArray[np.int64]


class Drawing(NamedTuple):
    """What pictures are drawn with, for compiled code: see ``raster.show``."""

    frame: Frame
    newest: npt.NDArray[np.int64]
    recent: Scenes
    pictures: Seen


class Pictures:
    """Draws what is seen of a number of games.

    Args:
        game: The game, pictured.
        num_envs: How many there are.
    """

    def __init__(self, game: Game, num_envs: int) -> None:
        assert game.pictures is not None
        self.format: PictureFormat = game.pictures
        rows, columns = self.format.screen_size
        names = list(game.colours)
        behind, things = game.shapes[: game.num_backdrops], game.shapes[game.num_backdrops :]
        colours = [names.index(shape) for shape in (*behind, game.shapes[-1], *things)]
        self._frame = Frame(
            np.array(colours, np.int64),
            columns / game.size[0],
            rows / game.size[1],
            rows,
            columns,
            self.format.planes,
            self.format.channels == "last",
        )
        stack, pixels = self.format.stack, self.format.planes * rows * columns
        self._newest = np.full(num_envs, stack - 1)
        self._recent = np.zeros((num_envs, stack, len(game.features)), np.float32)
        self._pictures = np.zeros((num_envs, stack, pixels), np.uint8)
        self._follow = np.full(num_envs, FOLLOW)
        self._size = stack * pixels

    @property
    def space(self) -> "gym.spaces.Box[Any]":
        """The space of what is seen of one game."""
        return gym.spaces.Box(0, 255, self.format.shape, np.uint8)

    @property
    def drawing(self) -> Drawing:
        """What they are drawn with, which does not move."""
        return Drawing(self._frame, self._newest, self._recent, self._pictures)

    def follow(self, scenes: Scenes, moves: Moves | None = None) -> Seen:
        """Return what is seen after a step.

        Args:
            scenes: What each game looks like now, shape ``(num_envs, numbers)``.
            moves: ``FOLLOW``, ``BEGIN`` or ``STAY`` for each game; None if all of them follow what
                was before.

        Returns:
            Shape ``(num_envs, *format.shape)``, a fresh array.
        """
        seen = np.empty((len(scenes), self._size), np.uint8)
        return self._show(scenes, self._follow if moves is None else moves, seen)

    def begin(self, scenes: Scenes, begins: npt.NDArray[np.bool_]) -> Seen:
        """Return what is seen where some episodes begin, and the others stay as they are."""
        return self.follow(scenes, np.where(begins, BEGIN, STAY))

    def finish(self, scenes: Scenes, ends: npt.NDArray[np.bool_]) -> Seen:
        """Return what is seen last of the episodes that end, 0 of the others."""
        # Memory that nobody writes to is never touched.
        seen = np.zeros((len(scenes), self._size), np.uint8)
        return self._show(scenes, np.where(ends, FOLLOW, REST), seen)

    def _show(self, scenes: Scenes, moves: Moves, seen: Seen) -> Seen:
        """Fill in what is seen, but of games that rest."""
        show(scenes, moves, *self.drawing, seen)
        return seen.reshape(-1, *self.format.shape)

    def state(self) -> Scenes:
        """Return the scenes that are seen, oldest first, shape ``(num_envs, stack, numbers)``."""
        order = (self._newest[:, None] + 1 + np.arange(self.format.stack)) % self.format.stack
        return np.take_along_axis(self._recent, order[:, :, None], axis=1)

    def load_state(self, scenes: Scenes) -> None:
        """Take over the scenes that were seen elsewhere, as :meth:`state` has them."""
        for place in range(self.format.stack):
            self.follow(np.ascontiguousarray(scenes[:, place]))
