"""Flappy Bird: what may drift, what is remembered, and the rules.

The rules are those of the Flappy Bird of the PyGame Learning Environment (Tasfi 2016, commit
3dbe79d), exact to the bit, at 30 frames a second. They are written for any value of the tunables;
with the defaults they are the reference. Two differences are on purpose: an episode starts at
velocity 0 unless another is given (the reference carries the velocity of the last episode
over), and the tunables of an episode are fixed when it starts.

Lengths are pixels, times are frames; x runs to the right and y runs down.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from continual_arcade.envs.compiling import rule
from continual_arcade.envs.game import Feature, Game, Keys, Rules
from continual_arcade.envs.game import rewards as resolve_rewards
from continual_arcade.envs.lanes import DRAW, OVER
from continual_arcade.envs.randomness import draw
from continual_arcade.envs.tunables import Tunable

WIDTH, HEIGHT = 288.0, 512.0
GROUND = 0.79 * HEIGHT
"""Top of the ground."""

BIRD_X = 57.0
"""Where the bird flies: int(0.2 * WIDTH), the centre of its collision box."""
BIRD_WIDTH, BIRD_HEIGHT = 34.0, 24.0
START_Y = 256.0
MAX_FALL = 10.0
"""Gravity pulls only on a bird that falls slower than this."""

PIPE_WIDTH = 52.0
REACH = PIPE_WIDTH / 2
"""From the centre of a pipe to its edge."""
FIRST_PIPE_X = WIDTH + PIPE_WIDTH
RECYCLED_X = WIDTH + PIPE_WIDTH + 0.2 * WIDTH
"""Where a pipe that has left the picture is placed again, at the default spacing."""
DEFAULT_SPACING = WIDTH / 2
LAST_PIPE_X = -PIPE_WIDTH
"""A pipe left of this has left the picture."""

# A pipe can kill while the two boxes overlap (both are whole pixels, rounded half away from zero,
# so the pipe's centre is left of 57 + 17 + 26 - 0.5) and while the bird is "in the pipe" by the
# reference's own second test, which ends when the pipe's right edge passes BIRD_X.
LETHAL_FROM = BIRD_X - REACH
LETHAL_TO = BIRD_X + BIRD_WIDTH / 2 + REACH - 0.5
HIGHEST_OVERLAP = -BIRD_HEIGHT / 2 + 0.5
"""Above this the bird's box is wholly above the picture, where no pipe is."""
PASSED_AT = BIRD_X + REACH
"""A pipe counts when its left edge passes BIRD_X."""

# What the bird does besides falling.
GLIDING, ABOUT_TO_FLAP, FLAPPING = 0.0, 1.0, 2.0

FLAP, NOOP = 0, 1

TUNABLES = {
    "gap": Tunable(
        default=100.0,
        low=60.0,
        high=200.0,
        unit="px",
        harder="lower",
        about="height of the opening of a pipe",
        too_low="no bird fits through: it is 24 px tall and a flap lifts it by 44",
    ),
    "gravity": Tunable(
        default=1.0,
        low=-2.0,
        high=2.0,
        unit="px/frame²",
        harder="either",
        about="pull on the bird; negative: upwards",
    ),
    "flap": Tunable(
        default=9.0,
        low=-14.0,
        high=14.0,
        unit="px/frame",
        harder="either",
        about="upward kick of a flap; negative: downwards",
    ),
    "scroll": Tunable(
        default=4.0, low=2.0, high=8.0, unit="px/frame", harder="higher", about="speed of the pipes"
    ),
    "spacing": Tunable(
        default=DEFAULT_SPACING,
        low=110.0,
        high=220.0,
        unit="px",
        harder="lower",
        about="distance from pipe to pipe",
    ),
}


class Constants(NamedTuple):
    """What all lanes of a block share."""

    positive: float
    tick: float
    loss: float


@rule
def constants(block: Any) -> Constants:
    """Read what all lanes share, once for a whole loop."""
    return Constants(block.positive, block.tick, block.loss)


@rule
def draw_top(block: Any, lane: int) -> float:
    """Draw the height at which a pipe opens, a whole number."""
    gap = block.gap[lane]
    highest = np.floor(gap / 4.0)
    lowest = np.floor(0.474 * HEIGHT - gap / 2.0)
    return draw(block, lane, highest, 1.0, lowest - highest + 1.0)


@rule
def begin(block: Any, lane: int, constants: Any, params: Any, row: int, velocity: float) -> None:
    """Start an episode with a row of ``params``, which are in the order of ``TUNABLES``."""
    block.gap[lane] = params[row, 0]
    block.gravity[lane] = params[row, 1]
    block.flap[lane] = params[row, 2]
    block.scroll[lane] = params[row, 3]
    block.spacing[lane] = params[row, 4]
    block.bird_y[lane] = START_Y
    block.bird_velocity[lane] = velocity
    block.wings[lane] = ABOUT_TO_FLAP
    block.lives[lane] = 1.0
    block.backdrop[lane] = draw(block, lane, 0.0, 1.0, 2.0)
    block.plumage[lane] = draw(block, lane, 0.0, 1.0, 3.0)
    block.pipe_colour[lane] = draw(block, lane, 0.0, 1.0, 2.0)
    for pipe in range(3):
        block.pipe_x[pipe, lane] = FIRST_PIPE_X + pipe * block.spacing[lane]
        block.pipe_top[pipe, lane] = draw_top(block, lane)


@rule
def advance(block: Any, lane: int, constants: Any) -> None:
    """Play one frame.

    Every load comes first and every choice is a selection, so that a loop over lanes becomes vector
    code: a load under a condition alone costs a factor of three.

    The pipes of a lane are kept in the order in which they come. Only the first two can touch the
    bird: the third is at least twice the smallest spacing behind the first.
    """
    y = block.bird_y[lane]
    velocity = block.bird_velocity[lane]
    wings = block.wings[lane]
    near_x = block.pipe_x[0, lane]
    next_x = block.pipe_x[1, lane]
    near_top = block.pipe_top[0, lane]
    next_top = block.pipe_top[1, lane]
    scroll = block.scroll[lane]
    gravity = block.gravity[lane]
    kick = block.flap[lane]
    flap = block.action[lane] == FLAP

    velocity = 0.0 if flap else velocity

    in_near = (near_x > LETHAL_FROM) & (near_x < LETHAL_TO)
    in_next = (next_x > LETHAL_FROM) & (next_x < LETHAL_TO)
    in_pipe = (in_near | in_next) & (y > HIGHEST_OVERLAP)
    top = near_top if in_near else next_top
    hits_top = in_pipe & (y <= top)
    hits_bottom = in_pipe & (y + BIRD_HEIGHT > top + block.gap[lane])

    # Half-open and one step wide, whatever the scroll speed: each pipe counts exactly once.
    not_yet = PASSED_AT - scroll
    passes_near = (near_x <= PASSED_AT) & (near_x > not_yet)
    passes_next = (next_x <= PASSED_AT) & (next_x > not_yet)
    passed = 1.0 if passes_near | passes_next else 0.0

    lives = block.lives[lane]
    lives -= 1.0 if hits_top else 0.0
    lives -= 1.0 if hits_bottom else 0.0
    lives -= 1.0 if y >= GROUND - BIRD_HEIGHT else 0.0
    lives -= 1.0 if y <= 0.0 else 0.0
    dead = lives <= 0.0

    # A flap acts in its own frame and holds gravity off in the next; to flap in that next frame
    # only stops the bird.
    free = wings != FLAPPING
    # Gravity may point up, in an upside-down game; then so does the fall.
    slow = velocity < MAX_FALL if gravity > 0.0 else velocity > -MAX_FALL
    falls = free & slow
    kicks = free & (flap | (wings == ABOUT_TO_FLAP))
    velocity = velocity + gravity if falls else velocity
    velocity = velocity - kick if kicks else velocity

    leaves = near_x < LAST_PIPE_X
    block.bird_y[lane] = y + velocity
    block.bird_velocity[lane] = velocity
    block.wings[lane] = FLAPPING if kicks else GLIDING
    block.pipe_x[0, lane] = near_x - scroll
    block.pipe_x[1, lane] = next_x - scroll
    block.pipe_x[2, lane] = block.pipe_x[2, lane] - scroll
    block.lives[lane] = lives
    block.score[lane] = block.score[lane] + passed
    reward = constants.tick + passed * constants.positive
    block.reward[lane] = reward + (constants.loss if dead else 0.0)
    block.event[lane] = (DRAW if leaves else 0) | (OVER if dead else 0)


@rule
def settle(block: Any, lane: int, constants: Any) -> None:
    """Bring the pipe that has left the picture back as the last one, with a new opening."""
    for pipe in range(2):
        block.pipe_x[pipe, lane] = block.pipe_x[pipe + 1, lane]
        block.pipe_top[pipe, lane] = block.pipe_top[pipe + 1, lane]
    # It is placed again before the pipes move, so it has moved once already. Three pipes share the
    # round trip: each pixel of spacing lengthens it by three.
    detour = 3.0 * (block.spacing[lane] - DEFAULT_SPACING)
    block.pipe_x[2, lane] = RECYCLED_X + detour - block.scroll[lane]
    block.pipe_top[2, lane] = draw_top(block, lane)


# Heights are seen on a scale from -1 (ceiling) to 1 (the lowest place a bird survives).
HALF_FLIGHT = (GROUND - BIRD_HEIGHT) / 2
HALF_WIDTH = WIDTH / 2
# Products, because a vector division costs ten products.
PER_HALF_FLIGHT, PER_HALF_WIDTH, PER_MAX_FALL = 1 / HALF_FLIGHT, 1 / HALF_WIDTH, 1 / MAX_FALL


@rule
def observe(block: Any, lane: int, constants: Any, out: Any, at: int) -> None:
    """Write the lane's 8 features.

    Args:
        block: The block of the lane.
        lane: Which lane of it.
        constants: What all lanes share.
        out: Flat float32 array to write to.
        at: Where in it the features of this lane begin.
    """
    near_x = block.pipe_x[0, lane]
    next_x = block.pipe_x[1, lane]
    next_top = block.pipe_top[1, lane]
    gap = block.gap[lane]
    ahead = near_x + REACH > BIRD_X
    first_x = near_x if ahead else next_x
    first_top = block.pipe_top[0, lane] if ahead else next_top
    second_x = next_x if ahead else block.pipe_x[2, lane]
    second_top = next_top if ahead else block.pipe_top[2, lane]
    out[at] = block.bird_y[lane] * PER_HALF_FLIGHT - 1.0
    out[at + 1] = block.bird_velocity[lane] * PER_MAX_FALL
    out[at + 2] = (first_x + REACH - BIRD_X) * PER_HALF_WIDTH - 1.0
    out[at + 3] = first_top * PER_HALF_FLIGHT - 1.0
    out[at + 4] = (first_top + gap) * PER_HALF_FLIGHT - 1.0
    out[at + 5] = (second_x + REACH - BIRD_X) * PER_HALF_WIDTH - 1.0
    out[at + 6] = second_top * PER_HALF_FLIGHT - 1.0
    out[at + 7] = (second_top + gap) * PER_HALF_FLIGHT - 1.0


@rule
def scene(block: Any, lane: int, constants: Any, out: Any, at: int) -> None:
    """Write the lane's rectangles: of each pipe the upper and the lower part, the ground, the bird.

    Args:
        block: The block of the lane.
        lane: Which lane of it.
        constants: What all lanes share.
        out: Flat float32 array to write to.
        at: Where in it the edges of this lane begin.
    """
    for pipe in range(3):
        x, top = block.pipe_x[pipe, lane], block.pipe_top[pipe, lane]
        first = at + 8 * pipe
        out[first] = out[first + 4] = x - REACH
        out[first + 1] = 0.0
        out[first + 2] = out[first + 6] = x + REACH
        out[first + 3] = top
        out[first + 5] = top + block.gap[lane]
        out[first + 7] = GROUND
    ground, bird = at + 24, at + 28
    out[ground], out[ground + 1] = 0.0, GROUND
    out[ground + 2], out[ground + 3] = WIDTH, HEIGHT
    y = block.bird_y[lane]
    out[bird], out[bird + 1] = BIRD_X, y
    out[bird + 2], out[bird + 3] = BIRD_X + BIRD_WIDTH, y + BIRD_HEIGHT


COLOURS = {"sky": 0x70C5CE, "pipe": 0x4EA02C, "ground": 0xDED895, "bird": 0xC82020}
SHAPES = (*("pipe",) * 6, "ground", "bird")
"""Of the pictures that agents see."""
FINEST = (BIRD_WIDTH, TUNABLES["gap"].low - BIRD_HEIGHT)
"""The bird, and the room that the narrowest opening leaves to it [px]."""


# The extremes of play: a bird notices its death one frame late and moves once more. Two kicks, of
# the start and of a flap, can follow each other; all of it also upside down.
_FASTEST = 2 * TUNABLES["flap"].high
_HIGHEST_Y = -2 * _FASTEST
_LOWEST_Y = GROUND - BIRD_HEIGHT + 2 * _FASTEST
_FARTHEST = FIRST_PIPE_X + TUNABLES["spacing"].high + REACH - BIRD_X


def _height(pixels: float) -> float:
    return pixels / HALF_FLIGHT - 1.0


def _distance(pixels: float) -> float:
    return pixels / HALF_WIDTH - 1.0


_HEIGHT_SCALE = f"from -1 at the ceiling to 1 at {GROUND - BIRD_HEIGHT:.2f} px, where birds die"
_DISTANCE_SCALE = f"in units of {HALF_WIDTH:.0f} px, less 1"

FEATURES = (
    Feature("bird_y", _height(_HIGHEST_Y), _height(_LOWEST_Y), f"top of the bird, {_HEIGHT_SCALE}"),
    Feature(
        "bird_velocity",
        -_FASTEST / MAX_FALL,
        _FASTEST / MAX_FALL,
        f"downward velocity of the bird in units of {MAX_FALL:.0f} px/frame",
    ),
    *(
        feature
        for place in ("next", "second")
        for feature in (
            Feature(
                f"{place}_pipe_distance",
                -1.0,
                _distance(_FARTHEST),
                f"from the bird to the right edge of the {place} pipe ahead, {_DISTANCE_SCALE}",
            ),
            Feature(f"{place}_pipe_top", -1.0, 1.0, f"top of its opening, {_HEIGHT_SCALE}"),
            Feature(f"{place}_pipe_bottom", -1.0, 1.0, f"bottom of its opening, {_HEIGHT_SCALE}"),
        )
    ),
)

REWARDS = {"positive": 1.0, "tick": 0.0, "loss": -5.0}
"""For a pipe passed, for each step, for the end of the bird."""


PHASES = tuple({"gap": float(gap)} for gap in range(100, 74, -5))
CONFLICT = {
    "normal": {"gravity": 1.0, "flap": 9.0},
    "upside down": {"gravity": -1.0, "flap": -9.0},
    "light": {"gravity": 0.5, "flap": 6.0},
}

ACTION_PRIOR = (0.1, 0.9)
"""A bird that flaps half of the time stays at the ceiling."""

KEYS = Keys(
    actions={"space": FLAP, "w": FLAP, "up": FLAP},
    idle=NOOP,
    about="space, w or arrow up flaps",
    repeat=False,
)


def flappy_bird(rewards: Mapping[str, float] | None = None) -> Game:
    """Return the game.

    Args:
        rewards: Replacements for some of ``REWARDS``.
    """
    return Game(
        name="FlappyBird",
        actions=("flap", "no-op"),
        tunables=TUNABLES,
        features=FEATURES,
        constants=resolve_rewards(REWARDS, rewards),
        lane_fields={
            "bird_y": (),
            "bird_velocity": (),
            "wings": (),
            "lives": (),
            "pipe_x": (3,),
            "pipe_top": (3,),
            "backdrop": (),
            "plumage": (),
            "pipe_colour": (),
        },
        rules=Rules(constants, begin, advance, settle, observe, scene=scene),
        size=(int(WIDTH), int(HEIGHT)),
        points="pipes passed",
        maker=flappy_bird,
        options={"rewards": rewards},
        phases=PHASES,
        conflict=CONFLICT,
        action_prior=ACTION_PRIOR,
        keys=KEYS,
        colours=COLOURS,
        shapes=SHAPES,
        finest=FINEST,
        painter="continual_arcade.envs.drawing.flappy_bird",
        oracle="continual_arcade.envs.oracles.flappy_bird:Searcher",
        unbeatable="continual_arcade.envs.oracles.flappy_bird:Unbeatable",
    )
