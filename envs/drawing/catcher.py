"""Pictures of Catcher.

Paddle and pellet stand where the reference paints them; only the art is ours.
"""

import math
from functools import lru_cache
from typing import Final

import pygame

from continual_arcade.envs.core import Snapshot
from continual_arcade.envs.drawing.shapes import Box, Canvas, Colour, mix

HUD_EDGE: Final = "top"
"""The paddle is at the bottom."""

FLOOR_CLEARANCE = 3
"""From the paddle to the bottom of the picture [px]."""

WHITE, NIGHT = (255, 255, 255), (10, 12, 26)
GLOW: Colour = (50, 54, 104)
DUSK: Colour = (16, 18, 40)
PADDLE: Colour = (110, 226, 202)
PELLET: Colour = (255, 120, 120)
LAMP: Colour = (255, 240, 168)

_CELLS = 96
"""For so many places along each side the light in the field is worked out."""
_SMALLEST_LAMP = 0.5
"""Lamps of a smaller diameter are left out [px]."""
_KEPT_PADDLES = 64
"""Pictures of paddles to keep; not all, as a drifting phase has ever more widths."""
_KEPT_FIELDS = 8
"""Pictures of fields, and of their pellets, to keep."""


def paint(surface: pygame.Surface, state: Snapshot, scale: int) -> None:
    """Draw the game.

    The lamps on the paddle are the lives that are left.

    Args:
        surface: Where to; its size is that of the game, times the scale.
        state: What to draw.
        scale: Pixels of the picture per unit of the game.
    """
    height, pellet = int(state["height"]), int(state["pellet"])
    paddle_width, paddle_height = int(state["paddle_width"]), int(state["paddle_height"])
    surface.blit(_field(int(state["width"]), height, pellet, scale), (0, 0))
    paddle = _paddle(
        paddle_width, paddle_height, int(state["lives"]), int(state["lives_at_start"]), scale
    )
    top = height - paddle_height - FLOOR_CLEARANCE
    surface.blit(paddle, (int(state["paddle_x"]) * scale, top * scale))
    place = (int(state["pellet_x"]) * scale, int(state["pellet_y"]) * scale)
    surface.blit(_pellet(pellet, scale), place)


@lru_cache(_KEPT_FIELDS)
def _field(width: int, height: int, pellet: int, scale: int) -> pygame.Surface:
    """Draw the field, with columns of dots between which the pellets fall."""
    field = pygame.transform.smoothscale(_light(), (width * scale, height * scale))
    side = pellet * scale // 14
    dot = pygame.Surface((side, side), pygame.SRCALPHA)
    dot.fill((*WHITE, 34))
    for y in range(pellet, height, pellet):
        for x in range(pellet, width, pellet):
            field.blit(dot, (x * scale - side // 2, y * scale - side // 2))
    floor = (0, (height - FLOOR_CLEARANCE) * scale, width * scale, FLOOR_CLEARANCE * scale)
    field.fill(mix(DUSK, PADDLE, 0.16), floor)
    return field


def _light() -> pygame.Surface:
    """Draw the field in little: bright in the upper middle, dark around."""
    light = pygame.Surface((_CELLS, _CELLS))
    for row in range(_CELLS):
        for column in range(_CELLS):
            aside, below = column / (_CELLS - 1) - 0.5, row / (_CELLS - 1) - 0.3
            share = min(1.0, math.hypot(1.3 * aside, 1.1 * below))
            light.set_at((column, row), mix(GLOW, DUSK, share**0.8))
    return light


@lru_cache(_KEPT_FIELDS)
def _pellet(side: int, scale: int) -> pygame.Surface:
    shadow = mix(PELLET, NIGHT, 0.35)
    canvas = Canvas((side, side), scale, shadow)
    radius = side * 0.26
    canvas.box(shadow, Box(0, 0, side, side), radius)
    face = Box(0, 0, side, side * 0.9)
    canvas.box(PELLET, face, radius)
    glaze = face.shrunk(side * 0.12)
    canvas.box(mix(PELLET, WHITE, 0.28), glaze, radius * 0.7)
    canvas.box(PELLET, glaze._replace(top=glaze.top + side * 0.1), radius * 0.7)
    canvas.ellipse(mix(PELLET, WHITE, 0.8), Box(side * 0.2, side * 0.17, side * 0.28, side * 0.17))
    return canvas.finished()


@lru_cache(_KEPT_PADDLES)
def _paddle(width: int, height: int, lives: int, lives_at_start: int, scale: int) -> pygame.Surface:
    shadow = mix(PADDLE, NIGHT, 0.5)
    canvas = Canvas((width, height), scale, shadow)
    radius = min(width, height) * 0.36
    canvas.box(shadow, Box(0, 0, width, height), radius)
    canvas.box(PADDLE, Box(0, 0, width, height * 0.84), radius)
    gloss = Box(radius, height * 0.08, width - 2 * radius, height * 0.13)
    canvas.box(mix(PADDLE, WHITE, 0.6), gloss, gloss.height / 2)
    slot = Box(radius / 2, height * 0.3, width - radius, height * 0.42)
    _draw_lamps(canvas, slot, lives, lives_at_start)
    return canvas.finished()


def _draw_lamps(canvas: Canvas, slot: Box, lives: int, lives_at_start: int) -> None:
    """Draw a lamp for every life, close together in the middle; those of lost lives are out."""
    size = min(slot.height, 0.8 * slot.width / lives_at_start)
    if size < _SMALLEST_LAMP:
        return
    socket, out = mix(PADDLE, NIGHT, 0.78), mix(PADDLE, NIGHT, 0.6)
    pitch = min(1.5 * size, slot.width / lives_at_start)
    left = slot.left + (slot.width - pitch * lives_at_start) / 2
    y = slot.top + slot.height / 2
    for lamp in range(lives_at_start):
        x = left + (lamp + 0.5) * pitch
        canvas.disc(socket, x, y, size / 2)
        canvas.disc(LAMP if lamp < lives else out, x, y, size * 0.36)
