"""Pictures of a running game, as arrays or in a window.

A picture is drawn from the state of a game alone: nothing here knows a rule. pygame is imported
when the first screen is opened, so that training on a machine without a display needs none of it.
"""

from importlib import import_module
from typing import Any

from continual_arcade.envs.core import Snapshot
from continual_arcade.envs.drawing.film import Picture
from continual_arcade.envs.drawing.status import Notice, Status
from continual_arcade.envs.game import Game

_HERE = "continual_arcade.envs.drawing"
_HUD_WIDTH = 256
"""A picture with a heads-up display is enlarged by a whole factor until it is this wide [px]."""


class Screen:
    """Draws one game, into arrays or into a window.

    Args:
        game: The game.
        hud: Whether to draw a heads-up display over the picture.
        window: Whether to show the pictures in a window.
        width: Width of the pictures [px]; the height follows. If not given, that of the game, or a
            multiple of it that leaves room for the heads-up display.

    Raises:
        ValueError: If the game has no painter, or it is none.
        RuntimeError: If there is no display to open a window on.
    """

    def __init__(
        self, game: Game, hud: bool = True, window: bool = False, width: int | None = None
    ) -> None:
        import pygame

        own_width, own_height = game.size
        # Painters know whole factors only; from there it goes down to the width that was asked for.
        self.scale = -(-(width or (_HUD_WIDTH if hud else 1)) // own_width)
        painted = (own_width * self.scale, own_height * self.scale)
        self.size = painted if width is None else (width, round(own_height * width / own_width))
        """Width and height of the pictures [px]."""
        self.hud = hud
        self.has_window = window
        self._shrink = pygame.transform.smoothscale
        self._painter = game.needed("painter")
        if lacking := [name for name in ("paint", "HUD_EDGE") if not hasattr(self._painter, name)]:
            raise ValueError(f"painter of {game.name}, {game.painter}, has no {lacking[0]}")
        self._paint_hud = import_module(f"{_HERE}.hud").paint
        self._paint_notice = import_module(f"{_HERE}.notice").paint
        self._as_array = import_module(f"{_HERE}.pixels").as_array
        self._painted: Any = pygame.Surface(painted)
        self._surface: Any = pygame.Surface(self.size) if self.size != painted else self._painted
        self._window: Any = None
        if window:
            title = f"Continual Arcade: {game.name}"
            self._window = import_module(f"{_HERE}.window").Window(self.size, title)

    def picture(self, state: Snapshot, status: Status, notice: Notice | None = None) -> Picture:
        """Draw the game; return a new array of shape ``(height, width, 3)``.

        Args:
            state: The state of the game.
            status: What the heads-up display says, if there is one.
            notice: What is said over the picture, beside that.
        """
        self._painter.paint(self._painted, state, self.scale)
        if self._surface is not self._painted:
            self._shrink(self._painted, self.size, self._surface)
        if self.hud:
            self._paint_hud(self._surface, status, self._painter.HUD_EDGE)
        if notice is not None:
            self._paint_notice(self._surface, notice)
        picture: Picture = self._as_array(self._surface)
        return picture

    def show(self, state: Snapshot, status: Status, notice: Notice | None = None) -> None:
        """Draw the game in the window, and wait until the next picture is due."""
        self._window.show(self.picture(state, status, notice))

    @property
    def closed(self) -> bool:
        """Whether the user has closed the window."""
        return self._window is not None and self._window.closed

    def require_display(self) -> None:
        """Make sure that the window, if there is one, is a real one.

        Raises:
            RuntimeError: If SDL found no display, and ``SDL_VIDEODRIVER`` did not tell it to do
                without.
        """
        if self._window is not None:
            self._window.require_display()

    def close(self) -> None:
        """Close the window, if there is one. May be called twice."""
        if self._window is not None:
            self._window.close()
            self._window = None
