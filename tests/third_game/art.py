"""Pictures of the tightrope: the rope, and the walker as a line that leans."""

import math
from typing import Final

import pygame

from continual_arcade.envs.core import Snapshot

HUD_EDGE: Final = "top"

SKY, ROPE, WALKER = (28, 36, 64), (196, 164, 112), (246, 226, 120)


def paint(surface: pygame.Surface, state: Snapshot, scale: int) -> None:
    surface.fill(SKY)
    width, height = surface.get_size()
    foot = (width // 2, height - 20 * scale)
    pygame.draw.line(surface, ROPE, (0, foot[1]), (width, foot[1]), 2 * scale)
    angle = state["lean"] * math.pi / 4
    head = (foot[0] + 50 * scale * math.sin(angle), foot[1] - 50 * scale * math.cos(angle))
    pygame.draw.line(surface, WALKER, foot, head, 4 * scale)
    pygame.draw.circle(surface, WALKER, head, 7 * scale)
