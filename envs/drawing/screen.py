"""Pictures of a running game, and the window that shows them.

A picture is drawn from the state of a game alone: nothing here knows a rule. pygame is imported
when the first screen is opened, so that training on a machine without a display needs none of it.
"""

import os
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.core import Snapshot
from continual_arcade.envs.drawing.status import Status
from continual_arcade.envs.game import Game

_PAINTERS = {
    "FlappyBird": "continual_arcade.envs.drawing.flappy_bird",
    "Catcher": "continual_arcade.envs.drawing.catcher",
}
"""Where the ``paint(surface, state, scale)`` of each game stands, and its ``HUD_EDGE``."""

_HUD_WIDTH = 256
"""A picture with a heads-up display is enlarged by a whole factor until it is this wide [px]."""

_INVISIBLE_DRIVERS = ("dummy", "offscreen")


class Screen:
    """Draws one game, into arrays or into a window.

    Args:
        game: The game.
        hud: Whether to draw a heads-up display over the picture.
        window: Whether to show the pictures in a window.
        frames_per_second: How fast the window shows them; None for as fast as they come.

    Raises:
        RuntimeError: If there is no display to open a window on.
    """

    def __init__(
        self,
        game: Game,
        hud: bool = True,
        window: bool = False,
        frames_per_second: int | None = 30,
    ) -> None:
        import pygame

        self.scale = -(-_HUD_WIDTH // game.size[0]) if hud else 1
        self.hud = hud
        self.frames_per_second = frames_per_second
        self._pygame = pygame
        self._painter = import_module(_PAINTERS[game.name])
        self._paint_hud = import_module("continual_arcade.envs.drawing.hud").paint
        size = (game.size[0] * self.scale, game.size[1] * self.scale)
        self._surface: Any = pygame.Surface(size)
        self._window: Any = None
        self.closed = False
        """Whether the user has closed the window."""
        if window:
            self._open(size, f"Continual Arcade: {game.name}")

    def _open(self, size: tuple[int, int], title: str) -> None:
        pygame = self._pygame
        try:
            pygame.display.init()
            self._window = pygame.display.set_mode(size)
        except pygame.error as error:
            raise RuntimeError(
                f"no window can be opened here ({error}): use render_mode='rgb_array', or record "
                "to a file"
            ) from error
        pygame.display.set_caption(title)
        self._clock = pygame.time.Clock()

    def _draw(self, state: Snapshot, status: Status) -> None:
        self._painter.paint(self._surface, state, self.scale)
        if self.hud:
            self._paint_hud(self._surface, status, self._painter.HUD_EDGE)

    def picture(self, state: Snapshot, status: Status) -> npt.NDArray[np.uint8]:
        """Draw the game; return a new array of shape ``(height, width, 3)``."""
        self._draw(state, status)
        pixels = self._pygame.surfarray.pixels3d(self._surface)
        width, height, channels = pixels.shape
        picture = np.empty((height, width, channels), np.uint8)
        for channel in range(channels):  # one by one is four times as fast as all at once
            picture[..., channel] = pixels[..., channel].T
        return picture

    def show(self, state: Snapshot, status: Status) -> None:
        """Draw the game in the window, and wait until the next picture is due."""
        self._draw(state, status)
        self._window.blit(self._surface, (0, 0))
        self._pygame.display.flip()
        if self._pygame.event.get(self._pygame.QUIT):
            self.closed = True
        if self.frames_per_second is not None:
            self._clock.tick(self.frames_per_second)

    def require_display(self) -> None:
        """Make sure that the window is a real one.

        Raises:
            RuntimeError: If SDL found no display, and ``SDL_VIDEODRIVER`` did not tell it to do
                without.
        """
        driver = self._pygame.display.get_driver() if self._window is not None else ""
        if driver in _INVISIBLE_DRIVERS and "SDL_VIDEODRIVER" not in os.environ:
            raise RuntimeError("there is no display to open a window on: record to a file instead")

    def close(self) -> None:
        """Close the window, if there is one. May be called twice."""
        if self._window is not None:
            self._pygame.display.quit()
            self._window = None
