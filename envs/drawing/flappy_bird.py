"""Pictures of Flappy Bird.

Everything stands where the reference paints it, on whole units of the game; only the art is ours.
"""

import math
import random
from functools import cache
from typing import Final, NamedTuple

import pygame

from continual_arcade.envs import flappy_bird as rules
from continual_arcade.envs.core import Snapshot
from continual_arcade.envs.drawing.shapes import Box, Canvas, Colour, mix

HUD_EDGE: Final = "bottom"
"""Nothing happens on the ground, so the heads-up display hides nothing there."""

WIDTH, HEIGHT = int(rules.WIDTH), int(rules.HEIGHT)
GROUND = int(rules.GROUND)
BIRD_X = int(rules.BIRD_X)
BIRD_WIDTH, BIRD_HEIGHT = int(rules.BIRD_WIDTH), int(rules.BIRD_HEIGHT)
PIPE_WIDTH, REACH = int(rules.PIPE_WIDTH), int(rules.REACH)

BEAT = 15
"""Frames for which the wings keep still."""
WING_TILTS = (38.0, 0.0, -38.0)
"""Where the wings are in each frame of the animation: up, mid, down [degrees]."""

WHITE, INK = (255, 255, 255), (46, 34, 44)
BEAK: Colour = (255, 152, 48)


class Scenery(NamedTuple):
    """The colours of a time of day."""

    zenith: Colour
    horizon: Colour
    lamp: Colour
    """Of the sun, or of the moon."""
    glow: Colour
    """Around it."""
    crater: Colour
    """On it. The sun's are as bright as the sun, so that nobody sees them."""
    cloud: Colour
    mountain: Colour
    hill: Colour
    tree: Colour
    bush: Colour
    turf: Colour
    stripe: Colour
    kerb: Colour
    soil: Colour
    pebble: Colour


DAY = Scenery(
    zenith=(84, 178, 232),
    horizon=(222, 244, 246),
    lamp=(255, 242, 186),
    glow=WHITE,
    crater=(255, 242, 186),
    cloud=(250, 253, 255),
    mountain=(176, 212, 226),
    hill=(150, 205, 186),
    tree=(122, 186, 160),
    bush=(112, 192, 126),
    turf=(150, 214, 92),
    stripe=(118, 188, 74),
    kerb=(70, 112, 60),
    soil=(228, 208, 150),
    pebble=(208, 184, 124),
)
NIGHT = Scenery(
    zenith=(16, 20, 58),
    horizon=(92, 106, 168),
    lamp=(246, 240, 214),
    glow=(170, 180, 230),
    crater=(212, 210, 204),
    cloud=(84, 98, 152),
    mountain=(58, 70, 126),
    hill=(42, 60, 106),
    tree=(28, 46, 84),
    bush=(30, 66, 84),
    turf=(78, 140, 92),
    stripe=(60, 116, 82),
    kerb=(26, 48, 52),
    soil=(118, 108, 112),
    pebble=(98, 90, 98),
)
SCENERIES = (DAY, NIGHT)
"""By the number in the state."""

RED, BLUE, YELLOW = (238, 84, 70), (74, 146, 240), (252, 204, 60)
PLUMAGES: tuple[Colour, ...] = (RED, BLUE, YELLOW)
"""By the number in the state."""

PIPE_RED, PIPE_GREEN = (226, 106, 72), (104, 190, 64)
PIPES: tuple[Colour, ...] = (PIPE_RED, PIPE_GREEN)
"""By the number in the state."""

TURF_HEIGHT = 15
STRIPE = 24
"""From one stripe of the turf to the next."""
GROUND_PERIOD = 6 * STRIPE
"""After so much scrolling the ground looks the same again."""

CAP_HEIGHT = 24
CAP_OVERHANG = 3
LINE = 1.5
"""Width of a contour."""


def paint(surface: pygame.Surface, state: Snapshot, scale: int) -> None:
    """Draw the game.

    Args:
        surface: Where to; its size is that of the game, times the scale.
        state: What to draw.
        scale: Pixels of the picture per unit of the game.
    """
    night = int(state["backdrop"])
    surface.blit(_backdrop(night, scale), (0, 0))
    upper, lower = _pipe(int(state["pipe_colour"]), scale)
    for x, top in zip(state["pipe_x"], state["pipe_top"], strict=True):
        left = int(x) - REACH
        surface.blit(upper, (left * scale, (int(top) - GROUND) * scale))
        surface.blit(lower, (left * scale, int(top + state["gap"]) * scale))
    # Rounded up, because a pipe that has moved by a fraction is painted one whole unit further.
    scrolled = math.ceil(state["steps"] * state["scroll"]) % GROUND_PERIOD
    surface.blit(_ground(night, scale), (-scrolled * scale, GROUND * scale))
    bird = _bird(
        plumage=int(state["plumage"]),
        frame=wing_frame(state["steps"]),
        dead=state["lives"] <= 0,
        upside_down=state["gravity"] < 0,
        scale=scale,
    )
    surface.blit(bird, (BIRD_X * scale, int(state["bird_y"]) * scale))


def wing_frame(steps: float) -> int:
    """Return which of the three frames of the animation it is."""
    return (int(steps) + 1) // BEAT % len(WING_TILTS)


@cache
def _backdrop(night: int, scale: int) -> pygame.Surface:
    scenery = SCENERIES[night]
    canvas = Canvas((WIDTH, HEIGHT), scale, rim=None)
    canvas.gradient(scenery.zenith, scenery.horizon, Box(0, 0, WIDTH, GROUND))
    if night:
        _draw_stars(canvas, scenery)
    _draw_lamp(canvas, scenery)
    _draw_clouds(canvas, scenery)
    _draw_land(canvas, scenery)
    return canvas.finished()


def _sky(scenery: Scenery, y: float) -> Colour:
    return mix(scenery.zenith, scenery.horizon, y / GROUND)


def _draw_stars(canvas: Canvas, scenery: Scenery) -> None:
    places = random.Random(4)
    for _ in range(60):
        x, y = places.uniform(0, WIDTH), places.uniform(0, 250)
        # Stars fade towards the horizon.
        brightness = places.uniform(0.35, 1.0) * (1 - y / 300)
        colour = mix(_sky(scenery, y), WHITE, brightness)
        canvas.disc(colour, x, y, places.choice((0.6, 0.8, 1.1)))


def _draw_lamp(canvas: Canvas, scenery: Scenery) -> None:
    """Draw the sun or the moon."""
    x, y, radius = 226, 74, 22
    for ring, share in ((2.1, 0.08), (1.7, 0.16), (1.35, 0.26)):
        canvas.disc(mix(_sky(scenery, y), scenery.glow, share), x, y, ring * radius)
    canvas.disc(scenery.lamp, x, y, radius)
    for right, down, size in ((-8, -6, 5.0), (6, 3, 6.5), (-6, 10, 3.0), (8, -10, 2.5)):
        canvas.disc(scenery.crater, x + right, y + down, size)


def _draw_clouds(canvas: Canvas, scenery: Scenery) -> None:
    for x, y, size in ((28, 118, 1.0), (150, 60, 0.7), (196, 176, 1.15), (84, 214, 0.75)):
        for right, up, radius in ((0, 8, 9), (13, 13, 14), (29, 11, 12), (42, 7, 8)):
            canvas.disc(scenery.cloud, x + right * size, y - up * size, radius * size)


def _draw_land(canvas: Canvas, scenery: Scenery) -> None:
    _draw_ridge(canvas, scenery.mountain, 318, ((26, 57.0, 0.4), (12, 23.0, 1.9)))
    _draw_ridge(canvas, scenery.hill, 356, ((13, 46.0, 2.2), (4, 17.0, 0.3)))
    places = random.Random(11)
    for x in range(-4, WIDTH + 8, 9):
        _draw_tree(canvas, scenery.tree, x + places.uniform(-3, 3), 388, places.uniform(17, 30))
    for x in range(0, WIDTH + 14, 13):
        canvas.disc(scenery.bush, x + places.uniform(-2, 2), 400, places.uniform(9, 14))
    canvas.box(scenery.bush, Box(0, 396, WIDTH, HEIGHT - 396))


def _draw_ridge(
    canvas: Canvas, colour: Colour, height: float, waves: tuple[tuple[float, float, float], ...]
) -> None:
    """Draw everything below a line of waves, each of an amplitude, a length and a phase."""
    line = [
        (x, height - sum(size * math.sin(x / length + phase) for size, length, phase in waves))
        for x in range(0, WIDTH + 4, 4)
    ]
    canvas.polygon(colour, [(0, HEIGHT), *line, (WIDTH, HEIGHT)])


def _draw_tree(canvas: Canvas, colour: Colour, x: float, foot: float, height: float) -> None:
    half = height * 0.24
    for share in (0.0, 0.3):
        low, wide = foot - share * height, half * (1 - share)
        canvas.polygon(colour, [(x - wide, low), (x, foot - height), (x + wide, low)])
    canvas.box(colour, Box(x - half, foot, 2 * half, 14))


@cache
def _ground(night: int, scale: int) -> pygame.Surface:
    """Draw the ground, one period wider than the picture, so that it can be shifted."""
    scenery = SCENERIES[night]
    width, height = WIDTH + GROUND_PERIOD, HEIGHT - GROUND
    canvas = Canvas((width, height), scale, rim=None)
    canvas.box(scenery.soil, Box(0, 0, width, height))
    canvas.box(scenery.turf, Box(0, 0, width, TURF_HEIGHT))
    lean = 8.0
    for x in range(-STRIPE, width + STRIPE, STRIPE):
        low, high = (x, TURF_HEIGHT), (x + lean, 0)
        half = STRIPE / 2
        canvas.polygon(scenery.stripe, [low, high, (high[0] + half, 0), (x + half, TURF_HEIGHT)])
    canvas.box(scenery.kerb, Box(0, 0, width, LINE))
    canvas.box(mix(scenery.turf, WHITE, 0.45), Box(0, LINE, width, 2))
    canvas.box(scenery.kerb, Box(0, TURF_HEIGHT, width, LINE))
    canvas.box(scenery.pebble, Box(0, TURF_HEIGHT + LINE, width, 4))
    _draw_pebbles(canvas, scenery, width, height)
    return canvas.finished()


def _draw_pebbles(canvas: Canvas, scenery: Scenery, width: int, height: int) -> None:
    places = random.Random(3)
    for pebble in range(24):
        row, column = divmod(pebble, 4)
        x = (column + row % 2 / 2 + places.uniform(0.1, 0.5)) * GROUND_PERIOD / 4
        y = TURF_HEIGHT + 10 + (row + places.uniform(0.0, 0.6)) * 13
        long, flat = places.uniform(3, 9), places.uniform(2, 3.5)
        for left in range(-GROUND_PERIOD, width, GROUND_PERIOD):
            canvas.box(scenery.pebble, Box(x + left, y, long, flat), flat / 2)


@cache
def _pipe(colour: int, scale: int) -> tuple[pygame.Surface, pygame.Surface]:
    """Draw the upper and the lower pipe, each as long as the picture is high above the ground."""
    base = PIPES[colour]
    contour = mix(base, INK, 0.72)
    canvas = Canvas((PIPE_WIDTH, GROUND), scale, contour)
    trunk = Box(CAP_OVERHANG, 0, PIPE_WIDTH - 2 * CAP_OVERHANG, GROUND + 2 * LINE)
    _draw_tube(canvas, base, contour, trunk, 0)
    shade = Box(CAP_OVERHANG + LINE, CAP_HEIGHT, PIPE_WIDTH - 2 * (CAP_OVERHANG + LINE), 4)
    canvas.box(mix(base, INK, 0.42), shade)
    _draw_tube(canvas, base, contour, Box(0, 0, PIPE_WIDTH, CAP_HEIGHT), 3)
    lower = canvas.finished()
    return pygame.transform.flip(lower, flip_x=False, flip_y=True), lower


def _draw_tube(canvas: Canvas, base: Colour, contour: Colour, box: Box, radius: float) -> None:
    """Draw an upright tube: a contour, and bands of light and shade inside."""
    inner = box.shrunk(LINE)
    canvas.box(contour, box, radius)
    canvas.box(base, inner, radius / 2)
    for start, end, shade, share in (
        (0.0, 0.07, WHITE, 0.25),
        (0.07, 0.15, WHITE, 0.5),
        (0.15, 0.2, WHITE, 0.25),
        (0.2, 0.26, WHITE, 0.5),
        (0.26, 0.5, WHITE, 0.15),
        (0.74, 0.9, INK, 0.14),
        (0.9, 1.0, INK, 0.3),
    ):
        band = Box(
            inner.left + start * inner.width, inner.top, (end - start) * inner.width, inner.height
        )
        canvas.box(mix(base, shade, share), band)


@cache
def _bird(*, plumage: int, frame: int, dead: bool, upside_down: bool, scale: int) -> pygame.Surface:
    base = PLUMAGES[plumage]
    contour = mix(base, INK, 0.8)
    canvas = Canvas((BIRD_WIDTH, BIRD_HEIGHT), scale, contour)
    _draw_tail(canvas, base, contour)
    body = Box(2, 0, 27, BIRD_HEIGHT)
    canvas.ellipse(contour, body)
    canvas.ellipse(mix(base, INK, 0.12), body.shrunk(LINE))
    canvas.ellipse(base, Box(4, LINE, 23.5, 18))
    canvas.ellipse(mix(base, WHITE, 0.72), Box(9, 14.5, 15, 7.5))
    canvas.ellipse(mix(base, WHITE, 0.4), Box(7.5, 2.8, 10, 4))
    _draw_eye(canvas, contour, dead)
    _draw_beak(canvas)
    _draw_wing(canvas, base, contour, WING_TILTS[frame])
    return pygame.transform.flip(canvas.finished(), flip_x=False, flip_y=upside_down)


def _draw_tail(canvas: Canvas, base: Colour, contour: Colour) -> None:
    for tuft in (Box(0, 5.5, 9, 6.5), Box(0.8, 9.5, 9, 6.5)):
        canvas.box(contour, tuft, tuft.height / 2)
        canvas.box(mix(base, INK, 0.15), tuft.shrunk(LINE), tuft.height / 2 - LINE)


def _draw_eye(canvas: Canvas, contour: Colour, dead: bool) -> None:
    x, y = 22.5, 7.6
    canvas.disc(contour, x, y, 5.8)
    canvas.disc(WHITE, x, y, 5.8 - LINE)
    if dead:
        for rise in (2.2, -2.2):
            canvas.line(INK, (x - 2.2, y + rise), (x + 2.2, y - rise), LINE)
    else:
        canvas.disc(INK, x + 1.6, y + 0.2, 2.1)
        canvas.disc(WHITE, x + 2.2, y - 0.6, 0.7)


def _draw_beak(canvas: Canvas) -> None:
    contour = mix(BEAK, INK, 0.7)
    lower, upper = Box(20, 15, 11, 6), Box(19.5, 11, BIRD_WIDTH - 19.5, 6)
    for lip, colour in ((lower, mix(BEAK, INK, 0.2)), (upper, BEAK)):
        canvas.box(contour, lip, lip.height / 2)
        canvas.box(colour, lip.shrunk(LINE), lip.height / 2 - LINE)


def _draw_wing(canvas: Canvas, base: Colour, contour: Colour, tilt: float) -> None:
    """Draw the wing, a leaf that turns about the bird's shoulder."""
    shoulder = pygame.Vector2(15.5, 12.5)
    for colour, margin in ((contour, 0.0), (mix(base, WHITE, 0.55), LINE)):
        leaf = [
            shoulder + pygame.Vector2(x, y).rotate(tilt)
            for x, y in _oval(-6.5, 0, 7.5 - margin, 4.6 - margin)
        ]
        canvas.polygon(colour, [(point.x, point.y) for point in leaf])


def _oval(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    """Return points on the ellipse with this centre and these half axes."""
    turns = [math.tau * corner / 48 for corner in range(48)]
    return [(x + width * math.cos(turn), y + height * math.sin(turn)) for turn in turns]
