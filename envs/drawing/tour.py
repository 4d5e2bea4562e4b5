"""Pictures of Tour: those of its games, at their own size."""

from functools import cache
from typing import Final

import pygame

from continual_arcade.envs.core import Snapshot
from continual_arcade.envs.drawing import catcher, flappy_bird
from continual_arcade.envs.drawing.shapes import Colour
from continual_arcade.envs.tour import FLAPPY_BIRD, FRAME, LEFT_OF_BIRDS, SIZE, TOP_OF_BIRDS

HUD_EDGE: Final = "top"
"""The paddle is at the bottom, and above Flappy Bird there is room."""

WALL: Colour = (22, 24, 40)
EDGE: Colour = (58, 62, 92)


def paint(surface: pygame.Surface, state: Snapshot, scale: int) -> None:
    """Draw the game.

    Args:
        surface: Where to; its size is that of the game, times the scale.
        state: What to draw.
        scale: Pixels of the picture per unit of the game.
    """
    if state["which_game"] != FLAPPY_BIRD:
        catcher.paint(surface, state, scale)
        return
    surface.blit(_wall(scale), (0, 0))
    place = (LEFT_OF_BIRDS, TOP_OF_BIRDS, flappy_bird.WIDTH, flappy_bird.HEIGHT)
    flappy_bird.paint(surface.subsurface([side * scale for side in place]), state, scale)


@cache
def _wall(scale: int) -> pygame.Surface:
    """Draw what is around the picture of Flappy Bird."""
    wall = pygame.Surface((SIZE[0] * scale, SIZE[1] * scale))
    wall.fill(WALL)
    frame = pygame.Rect(LEFT_OF_BIRDS, TOP_OF_BIRDS, flappy_bird.WIDTH, flappy_bird.HEIGHT)
    frame.inflate_ip(2 * FRAME, 2 * FRAME)
    wall.fill(EDGE, [side * scale for side in frame])
    return wall
