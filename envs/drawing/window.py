"""The window that pictures are shown in."""

import os

import pygame

from continual_arcade.envs.drawing.film import Picture
from continual_arcade.envs.drawing.notice import paint
from continual_arcade.envs.drawing.panels import GROUND
from continual_arcade.envs.drawing.pixels import as_surface
from continual_arcade.envs.drawing.status import Notice

SHARE_OF_DESKTOP = 0.9
"""A window takes at most so much of each side of the desktop: bars and borders need the rest."""

_INVISIBLE_DRIVERS = ("dummy", "offscreen")
_OF_THE_KEYBOARD = (pygame.KEYDOWN, pygame.KEYUP, pygame.WINDOWFOCUSLOST)
"""Events that are left to whoever reads the keyboard."""


class Window:
    """A window for pictures of one size; smaller than they are where the desktop is too small.

    Args:
        size: Width and height of the pictures [px].
        title: What to call it.
        frames_per_second: How fast it shows them.

    Raises:
        RuntimeError: If there is no display to open a window on.
    """

    def __init__(self, size: tuple[int, int], title: str, frames_per_second: int = 30) -> None:
        try:
            pygame.display.init()
            self._window = pygame.display.set_mode(
                fitting(size, pygame.display.get_desktop_sizes())
            )
        except pygame.error as error:
            raise RuntimeError(
                f"no window can be opened here ({error}): use render_mode='rgb_array', or record "
                "to a file"
            ) from error
        pygame.display.set_caption(title)
        self.closed = False
        """Whether the user has closed the window."""
        self._frames_per_second = frames_per_second
        self._clock = pygame.time.Clock()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height inside [px]."""
        return self._window.get_size()

    def show(self, picture: Picture) -> None:
        """Show a picture, and wait until the next one is due."""
        surface = as_surface(picture)
        if surface.get_size() != self.size:
            surface = pygame.transform.smoothscale(surface, self.size)
        self._window.blit(surface, (0, 0))
        self._refresh()
        self._clock.tick(self._frames_per_second)

    def say(self, notice: Notice) -> None:
        """Show a notice instead of a picture, at once."""
        self._window.fill(GROUND)
        paint(self._window, notice)
        self._refresh()

    def _refresh(self) -> None:
        pygame.display.flip()
        # The mouse is nobody's concern; but where too many events wait, SDL drops new ones.
        events = pygame.event.get(exclude=_OF_THE_KEYBOARD)
        self.closed |= any(event.type == pygame.QUIT for event in events)

    def pressed(self) -> set[int]:
        """Return the keys that went down since the last call."""
        events = pygame.event.get(_OF_THE_KEYBOARD)
        return {event.key for event in events if event.type == pygame.KEYDOWN}

    def require_display(self) -> None:
        """Make sure that somebody can see the window.

        Raises:
            RuntimeError: If SDL found no display, and ``SDL_VIDEODRIVER`` did not tell it to do
                without.
        """
        driver = pygame.display.get_driver()
        if driver in _INVISIBLE_DRIVERS and "SDL_VIDEODRIVER" not in os.environ:
            raise RuntimeError("there is no display to open a window on: record to a file instead")

    def close(self) -> None:
        """Close the window."""
        pygame.display.quit()


def fitting(size: tuple[int, int], desktops: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the size of a window: that of the pictures, or less if they would not fit.

    Args:
        size: Width and height of the pictures [px].
        desktops: Those of each desktop; a window opens on the first.
    """
    (width, height), (widest, highest) = size, desktops[0]
    shrink = min(1.0, SHARE_OF_DESKTOP * widest / width, SHARE_OF_DESKTOP * highest / height)
    return max(1, int(width * shrink)), max(1, int(height * shrink))
