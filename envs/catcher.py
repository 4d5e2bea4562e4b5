"""Catcher: what may drift, what is remembered, and the rules.

The rules are those of the Catcher of the PyGame Learning Environment (Tasfi 2016, commit 3dbe79d),
exact to the bit, as it runs with pygame 2.3 or newer: rectangles have whole-number places, and a
fraction is rounded half away from zero. They are written for any field, number of lives and value
of the tunables.

Lengths are pixels, times are steps; x runs to the right and y runs down. Places are the centres of
the reference's rectangles.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from continual_arcade.envs.checks import Each, Whole
from continual_arcade.envs.compiling import rule
from continual_arcade.envs.game import Feature, Game, Keys, Rules
from continual_arcade.envs.game import rewards as resolve_rewards
from continual_arcade.envs.lanes import DRAW, OVER
from continual_arcade.envs.messages import shown
from continual_arcade.envs.randomness import draw
from continual_arcade.envs.tunables import Tunable, Tunables

DEFAULT_SIZE = (640, 640)
DEFAULT_LIVES = 3
STEP_MILLISECONDS = 1000 / 30
FALL_PER_HEIGHT = 0.00095 * STEP_MILLISECONDS
"""Default fall speed, in field heights per step."""
PUSH_PER_WIDTH = 0.021
"""Default push, in field widths per step."""
SMALLEST_FIELD = 16
"""Below this there is no paddle and no pellet: their sides round to nothing."""
LARGEST_FIELD = 2**20
"""Beyond this places of whole pixels could no longer be told apart in float32."""
SLOWEST = 0.501
"""Speed at which a thing moves wherever it is [px/step]. Of slower ones each step is rounded away;
of half a pixel, too, above the field and to the left."""
MOST_LIVES = 2**53
"""As many as float64 can count."""

CLEARANCE = 3.0
"""From the paddle to the bottom of the field [px]."""

LEFT, RIGHT, NOOP = 0, 1, 2


class Constants(NamedTuple):
    """What all lanes of a block share."""

    width: float
    height: float
    pellet: float
    """Side of the pellet [px]."""
    paddle_height: float
    lives: float
    positive: float
    negative: float
    tick: float
    loss: float


@rule
def constants(block: Any) -> Constants:
    """Read what all lanes share, once for a whole loop."""
    return Constants(
        block.width,
        block.height,
        block.pellet,
        block.paddle_height,
        block.lives_at_start,
        block.positive,
        block.negative,
        block.tick,
        block.loss,
    )


@rule
def rounded(value: float) -> float:
    """Round to the nearest whole number, halves away from zero."""
    whole: float = np.trunc(value)
    fraction = value - whole  # exact, unlike value + 0.5
    whole = whole + 1.0 if fraction >= 0.5 else whole
    return whole - 1.0 if fraction <= -0.5 else whole


@rule
def draw_pellet(block: Any, lane: int, constants: Any) -> None:
    """Put the pellet at a random place above the field."""
    side = constants.pellet
    # The lengths of range(2 side, width - 2 side, side) and of range(side, height // 2, side).
    columns = np.ceil((constants.width - 4.0 * side) / side)
    rows = np.ceil((np.floor(constants.height / 2.0) - side) / side)
    block.pellet_x[lane] = draw(block, lane, 2.0 * side, side, columns)
    block.pellet_y[lane] = -draw(block, lane, side, side, rows)


@rule
def begin(block: Any, lane: int, constants: Any, params: Any, row: int, velocity: float) -> None:
    """Start an episode with a row of ``params``, which are in the order of ``tunables()``."""
    block.fall_speed[lane] = params[row, 0]
    block.paddle_width[lane] = params[row, 1]
    block.push[lane] = params[row, 2]
    block.friction[lane] = params[row, 3]
    block.paddle_x[lane] = rounded(constants.width / 2.0 - params[row, 1] / 2.0)
    block.paddle_velocity[lane] = velocity
    block.lives[lane] = constants.lives
    draw_pellet(block, lane, constants)


@rule
def advance(block: Any, lane: int, constants: Any) -> None:
    """Play one step.

    Every load comes first and every choice is a selection, so that a loop over lanes becomes vector
    code.
    """
    x = block.paddle_x[lane]
    velocity = block.paddle_velocity[lane]
    width = block.paddle_width[lane]
    push = block.push[lane]
    pellet_x = block.pellet_x[lane]
    pellet_y = block.pellet_y[lane]
    lives = block.lives[lane]
    action = block.action[lane]

    missed = pellet_y >= constants.height
    # Overlap is strict on all four sides; halves of odd sides are rounded down.
    paddle_left = x - np.floor(width / 2.0)
    pellet_left = pellet_x - np.floor(constants.pellet / 2.0)
    thickness = constants.paddle_height
    paddle_top = constants.height - thickness - CLEARANCE - np.floor(thickness / 2.0)
    pellet_top = pellet_y - np.floor(constants.pellet / 2.0)
    caught = (
        (paddle_left < pellet_left + constants.pellet)
        & (pellet_left < paddle_left + width)
        & (paddle_top < pellet_top + constants.pellet)
        & (pellet_top < paddle_top + thickness)
        & (not missed)
    )
    lives = lives - 1.0 if missed else lives
    over = lives == 0.0

    force = 0.0 - push if action == LEFT else 0.0
    force = push if action == RIGHT else force
    velocity = (velocity + force) * (1.0 - block.friction[lane])
    x = x + velocity
    at_left = x <= 0.0
    x = 0.0 if at_left else x
    at_right = x + width >= constants.width
    x = constants.width - width if at_right else x

    block.paddle_x[lane] = rounded(x)
    block.paddle_velocity[lane] = 0.0 if at_left | at_right else velocity
    block.pellet_y[lane] = rounded(pellet_y + block.fall_speed[lane])
    block.lives[lane] = lives
    block.score[lane] = block.score[lane] + (1.0 if caught else 0.0)
    block.reward[lane] = (
        constants.tick
        + (constants.positive if caught else 0.0)
        + (constants.negative if missed else 0.0)
        + (constants.loss if over else 0.0)
    )
    block.event[lane] = (DRAW if missed | caught else 0) | (OVER if over else 0)


@rule
def settle(block: Any, lane: int, constants: Any) -> None:
    """Drop a new pellet, which has fallen one step already."""
    draw_pellet(block, lane, constants)
    block.pellet_y[lane] = rounded(block.pellet_y[lane] + block.fall_speed[lane])


@rule
def observe(block: Any, lane: int, constants: Any, out: Any, at: int) -> None:
    """Write the lane's 4 features.

    Args:
        block: The block of the lane.
        lane: Which lane of it.
        constants: What all lanes share.
        out: Flat float32 array to write to.
        at: Where in it the features of this lane begin.
    """
    per_half_width = 2.0 / constants.width
    per_half_height = 2.0 / constants.height
    out[at] = block.paddle_x[lane] * per_half_width - 1.0
    out[at + 1] = block.paddle_velocity[lane] * (4.0 * per_half_width)
    out[at + 2] = block.pellet_x[lane] * per_half_width - 1.0
    out[at + 3] = block.pellet_y[lane] * per_half_height - 1.0


@rule
def scene(block: Any, lane: int, constants: Any, out: Any, at: int) -> None:
    """Write the lane's rectangles, paddle and pellet, where the reference paints them.

    That is half a side further right and down than where they catch: it takes the centre of a
    rectangle for its corner.

    Args:
        block: The block of the lane.
        lane: Which lane of it.
        constants: What all lanes share.
        out: Flat float32 array to write to.
        at: Where in it the edges of this lane begin.
    """
    x, y = block.paddle_x[lane], constants.height - constants.paddle_height - CLEARANCE
    out[at], out[at + 1] = x, y
    out[at + 2], out[at + 3] = x + block.paddle_width[lane], y + constants.paddle_height
    x, y = block.pellet_x[lane], block.pellet_y[lane]
    out[at + 4], out[at + 5] = x, y
    out[at + 6], out[at + 7] = x + constants.pellet, y + constants.pellet


COLOURS = {"field": 0x000000, "paddle": 0xFFFFFF, "pellet": 0xFF7878}
"""Those of the reference."""
SHAPES = ("paddle", "pellet")

REWARDS = {"positive": 1.0, "negative": -1.0, "tick": 0.0, "loss": -5.0}
"""For a pellet caught, a pellet missed, each step, the last life lost."""


def tunables(width: int, height: int) -> Tunables:
    """Return what may drift on a field of this size."""
    fastest = PUSH_PER_WIDTH * width  # times (1 - friction) / friction
    return {
        "fall_speed": Tunable(
            default=FALL_PER_HEIGHT * height,
            low=max(height / 640, SLOWEST),
            high=height / 8,
            unit="px/step",
            harder="higher",
            about="speed of the pellet, which acts rounded to whole pixels",
            too_low="" if height / 640 > SLOWEST else "rounded, the pellet would never fall",
            too_high="the pellet would jump over the paddle",
        ),
        "paddle_width": Tunable(
            default=float(round(0.2 * width)),
            low=float(round(0.05 * width)),
            high=float(round(0.5 * width)),
            unit="px",
            harder="lower",
            about="width of the paddle",
            integer=True,
        ),
        "push": Tunable(
            default=PUSH_PER_WIDTH * width,
            low=-2 * PUSH_PER_WIDTH * width,
            high=2 * PUSH_PER_WIDTH * width,
            unit="px/step",
            harder="either",
            about="what a key adds to the paddle's velocity; negative: the keys are swapped",
        ),
        "friction": Tunable(
            default=0.1,
            low=0.02,
            high=min(0.5, fastest / (fastest + SLOWEST)),
            unit="1/step",
            harder="lower",
            about="share of its velocity that the paddle loses in a step",
            too_high="rounded, the paddle would not move" if fastest < SLOWEST else "",
        ),
    }


def features(width: int, height: int) -> tuple[Feature, ...]:
    """Describe the observation on a field of this size."""
    kinds = tunables(width, height)
    fastest = kinds["push"].high / kinds["friction"].low / (width / 8)
    fall = 2 * (kinds["fall_speed"].high + 1) / height
    across = "from -1 at the left wall to 1 at the right"
    return (
        Feature("paddle_x", -1.0, 1.0, f"place of the paddle, {across}"),
        Feature(
            "paddle_velocity",
            -fastest,
            fastest,
            f"velocity of the paddle in units of {width / 8:g} px/step",
        ),
        Feature("pellet_x", -1.0, 1.0, f"place of the pellet, {across}"),
        Feature("pellet_y", -2.0, 1.0 + fall, "place of the pellet, from -1 at the top to 1"),
    )


_PUSH = PUSH_PER_WIDTH * DEFAULT_SIZE[0]
PHASES = tuple({"fall_speed": float(speed)} for speed in range(20, 26))
CONFLICT = {
    "normal": {"push": _PUSH, "friction": 0.1},
    "swapped keys": {"push": -_PUSH, "friction": 0.1},
    "icy": {"push": _PUSH, "friction": 0.03},
}
"""Both for a field of the default size."""

KEYS = Keys(
    actions={"left": LEFT, "a": LEFT, "right": RIGHT, "d": RIGHT},
    idle=NOOP,
    about="arrows, or a and d, push the paddle",
)


def catcher(
    size: tuple[int, int] = DEFAULT_SIZE,
    lives: int = DEFAULT_LIVES,
    rewards: Mapping[str, float] | None = None,
) -> Game:
    """Return the game.

    Args:
        size: Width and height of the field [px].
        lives: Pellets that may be missed before the episode is over, the last one included.
        rewards: Replacements for some of ``REWARDS``.

    Raises:
        WrongTypeError: If size or lives are no whole numbers.
        ValueError: If the field is too small or too large to play on, or no life is left.
    """
    sides = Each(Whole(SMALLEST_FIELD, LARGEST_FIELD))("size", size)
    if len(sides) != 2:
        raise ValueError(f"size = {shown(size)} must be a width and a height [px]")
    width, height = sides
    lives = Whole(1, MOST_LIVES)("lives", lives)
    pellet = round(0.06 * height)
    if width <= 4 * pellet:
        raise ValueError(
            f"a field of {width}x{height} px is too narrow: its pellet has sides of {pellet} px "
            f"and falls at least two sides away from each wall; the width must exceed {4 * pellet}"
        )
    usual = (width, height) == DEFAULT_SIZE
    return Game(
        name="Catcher",
        actions=("left", "right", "no-op"),
        tunables=tunables(width, height),
        features=features(width, height),
        constants={
            "width": float(width),
            "height": float(height),
            "pellet": float(pellet),
            "paddle_height": float(round(0.04 * height)),
            "lives_at_start": float(lives),
            **resolve_rewards(REWARDS, rewards),
        },
        lane_fields={
            "paddle_x": (),
            "paddle_velocity": (),
            "pellet_x": (),
            "pellet_y": (),
            "lives": (),
        },
        rules=Rules(constants, begin, advance, settle, observe, scene=scene),
        size=(width, height),
        points="pellets caught",
        maker=catcher,
        options={"size": (width, height), "lives": lives, "rewards": rewards},
        phases=PHASES if usual else (),
        conflict=CONFLICT if usual else {},
        keys=KEYS,
        colours=COLOURS,
        shapes=SHAPES,
        finest=(float(pellet), float(pellet)),
        painter="continual_arcade.envs.drawing.catcher",
        oracle="continual_arcade.envs.oracles.catcher:Chaser",
        unbeatable="continual_arcade.envs.oracles.catcher:Unbeatable",
    )
