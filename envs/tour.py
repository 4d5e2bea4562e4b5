"""Tour: Flappy Bird and Catcher through one observation and one set of actions.

A parameter says which of the two is played, so that a schedule can change the game itself, as in
the sequences of Atari games of Kirkpatrick et al. 2017 (arXiv 1612.00796). The rules are those of
``flappy_bird.py`` and ``catcher.py``, called as they are: a lane has the state of both games, of
which one moves. What is played equals the bare game on the same seed, bit for bit.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import zip_longest
from typing import Any, NamedTuple

from continual_arcade.envs import catcher, flappy_bird
from continual_arcade.envs.compiling import rule
from continual_arcade.envs.game import Feature, Game, Keys, Rules
from continual_arcade.envs.game import rewards as resolve_rewards
from continual_arcade.envs.raster import SIDES
from continual_arcade.envs.tunables import Tunable, Tunables

FLAPPY_BIRD, CATCHER = 0, 1
"""Values of the parameter ``which_game``."""

FLAP, LEFT, RIGHT, NOOP = 0, 1, 2, 3
"""Those of Flappy Bird and, one further, those of Catcher. What a game does not know does nothing
in it."""

_BIRD, _CATCHER = flappy_bird.flappy_bird(), catcher.catcher()
_NUM_SHARED = len(_BIRD.features)
_NUM_OF_BIRD, _NUM_OF_CATCHER = len(_BIRD.features), len(_CATCHER.features)
_FIRST_OF_CATCHER = 1 + len(_BIRD.tunables)
"""Where in a row of parameters those of Catcher begin."""

SIZE = _CATCHER.size
"""Width and height of the picture [px]: that of Catcher, in which Flappy Bird has room."""
FRAME = 4
"""Around the picture of Flappy Bird [px]."""
LEFT_OF_BIRDS = (SIZE[0] - _BIRD.size[0]) // 2
TOP_OF_BIRDS = SIZE[1] - _BIRD.size[1] - FRAME
"""As low as it goes, so that a heads-up display hides nothing of it."""


class Constants(NamedTuple):
    """What all lanes of a block share."""

    flappy_bird: flappy_bird.Constants
    catcher: catcher.Constants


@rule
def constants(block: Any) -> Constants:
    """Read what all lanes share, once for a whole loop."""
    return Constants(flappy_bird.constants(block), catcher.constants(block))


@rule
def begin(block: Any, lane: int, constants: Any, params: Any, row: int, velocity: float) -> None:
    """Start an episode with a row of ``params``, which are in the order of ``tunables()``.

    Both games begin, so that nothing in the state is left over; both from the same random state,
    because the one that is played must draw what it would draw alone.
    """
    start = block.random[lane]
    flappy_bird.begin(block, lane, constants.flappy_bird, params[:, 1:], row, velocity)
    after, lives = block.random[lane], block.lives[lane]
    block.random[lane] = start
    catcher.begin(block, lane, constants.catcher, params[:, _FIRST_OF_CATCHER:], row, velocity)
    block.which_game[lane] = params[row, 0]
    if params[row, 0] == FLAPPY_BIRD:
        block.random[lane] = after
        block.lives[lane] = lives


@rule
def advance(block: Any, lane: int, constants: Any) -> None:
    """Play one step of the game of the lane."""
    if block.which_game[lane] == FLAPPY_BIRD:
        flappy_bird.advance(block, lane, constants.flappy_bird)
    else:
        _advance_catcher(block, lane, constants)


@rule
def _advance_catcher(block: Any, lane: int, constants: Any) -> None:
    action = block.action[lane]
    block.action[lane] = action - LEFT
    catcher.advance(block, lane, constants.catcher)
    block.action[lane] = action


@rule
def advance_all(block: Any, used: int, constants: Any) -> None:
    """Play one step in every lane.

    Nearly always all lanes of a block play the same game. A loop over one game becomes vector code;
    one that asks in each lane does not.
    """
    lanes = len(block.action)
    birds = 0
    for lane in range(used):
        birds += 1 if block.which_game[lane] == FLAPPY_BIRD else 0
    if birds == used:
        for lane in range(lanes):
            flappy_bird.advance(block, lane, constants.flappy_bird)
    elif birds == 0:
        for lane in range(lanes):
            _advance_catcher(block, lane, constants)
    else:
        for lane in range(lanes):
            advance(block, lane, constants)


@rule
def settle(block: Any, lane: int, constants: Any) -> None:
    """Make the random draws that the game of the lane has asked for."""
    if block.which_game[lane] == FLAPPY_BIRD:
        flappy_bird.settle(block, lane, constants.flappy_bird)
    else:
        catcher.settle(block, lane, constants.catcher)


@rule
def observe(block: Any, lane: int, constants: Any, out: Any, at: int) -> None:
    """Write the lane's 10 features: those of its game, filled up with zeros, and which one it is.

    Args:
        block: The block of the lane.
        lane: Which lane of it.
        constants: What all lanes share.
        out: Flat float32 array to write to.
        at: Where in it the features of this lane begin.
    """
    plays_bird = block.which_game[lane] == FLAPPY_BIRD
    if plays_bird:
        flappy_bird.observe(block, lane, constants.flappy_bird, out, at)
    else:
        catcher.observe(block, lane, constants.catcher, out, at)
        for j in range(_NUM_OF_CATCHER, _NUM_OF_BIRD):
            out[at + j] = 0.0
    out[at + _NUM_SHARED] = 1.0 if plays_bird else 0.0
    out[at + _NUM_SHARED + 1] = 0.0 if plays_bird else 1.0


COLOURS = {"wall": 0x161828, **_BIRD.colours, **_CATCHER.colours}
BACKDROPS = ("sky", "field")
SHAPES = (*BACKDROPS, *_BIRD.shapes, *_CATCHER.shapes)
"""Of the pictures that agents see: what is behind each game, and what is in it."""
_THINGS_OF_CATCHER = SIDES * (len(BACKDROPS) + len(_BIRD.shapes))
"""Where in a scene they begin."""


@rule
def scene(block: Any, lane: int, constants: Any, out: Any, at: int) -> None:
    """Write the lane's rectangles; nothing is seen of the game that is not played.

    Args:
        block: The block of the lane.
        lane: Which lane of it.
        constants: What all lanes share.
        out: Flat float32 array to write to.
        at: Where in it the edges of this lane begin.
    """
    for k in range(at, at + SIDES * len(SHAPES)):
        out[k] = 0.0
    if block.which_game[lane] != FLAPPY_BIRD:
        field = at + SIDES
        out[field + 2], out[field + 3] = constants.catcher.width, constants.catcher.height
        catcher.scene(block, lane, constants.catcher, out, at + _THINGS_OF_CATCHER)
    else:
        out[at + 2], out[at + 3] = flappy_bird.WIDTH, flappy_bird.HEIGHT
        flappy_bird.scene(block, lane, constants.flappy_bird, out, at + SIDES * len(BACKDROPS))
        for k in range(at, at + _THINGS_OF_CATCHER, 2):  # nothing is seen beyond its own picture
            out[k] = min(max(out[k], 0.0), flappy_bird.WIDTH) + LEFT_OF_BIRDS
            out[k + 1] = min(max(out[k + 1], 0.0), flappy_bird.HEIGHT) + TOP_OF_BIRDS


REWARDS = {**flappy_bird.REWARDS, **catcher.REWARDS}
"""What the two games have in common counts the same in both."""


def tunables() -> Tunables:
    """Return what may drift: which game is played, and what may drift in each."""
    which = Tunable(
        default=FLAPPY_BIRD,
        low=FLAPPY_BIRD,
        high=CATCHER,
        unit="",
        harder="either",
        about=f"which game is played: {FLAPPY_BIRD} {_BIRD.title}, {CATCHER} {_CATCHER.title}",
        integer=True,
    )
    return {"which_game": which} | {
        name: replace(tunable, acts_where={"which_game": float(number)})
        for number, game in ((FLAPPY_BIRD, _BIRD), (CATCHER, _CATCHER))
        for name, tunable in game.tunables.items()
    }


def _shared(bird: Feature, other: Feature | None) -> Feature:
    """Return a feature that is one or the other, depending on the game."""
    if other is None:
        return replace(bird, about=f"{_BIRD.title}: {bird.about}; {_CATCHER.title}: 0")
    return Feature(
        f"{bird.name}_or_{other.name}",
        min(bird.low, other.low),
        max(bird.high, other.high),
        f"{_BIRD.title}: {bird.about}; {_CATCHER.title}: {other.about}",
    )


FEATURES = (
    *(_shared(bird, other) for bird, other in zip_longest(_BIRD.features, _CATCHER.features)),
    Feature("is_flappy_bird", 0.0, 1.0, f"1 while {_BIRD.title} is played, else 0"),
    Feature("is_catcher", 0.0, 1.0, f"1 while {_CATCHER.title} is played, else 0"),
)

CONFLICT = {
    _BIRD.title: {"which_game": float(FLAPPY_BIRD)},
    _CATCHER.title: {"which_game": float(CATCHER)},
}

ACTION_PRIOR = (0.1, 0.3, 0.3, 0.3)
"""A bird flaps as rarely as in its own game; the paddle goes both ways alike."""

KEYS = Keys(
    actions=dict(flappy_bird.KEYS.actions)
    | {key: LEFT + action for key, action in catcher.KEYS.actions.items()},
    idle=NOOP,
    about=f"{flappy_bird.KEYS.about}; {catcher.KEYS.about}",
    repeat=(LEFT, RIGHT),
)


def tour(rewards: Mapping[str, float] | None = None) -> Game:
    """Return the game.

    Args:
        rewards: Replacements for some of ``REWARDS``.
    """
    return Game(
        name="Tour",
        actions=("flap", "left", "right", "no-op"),
        tunables=tunables(),
        features=FEATURES,
        constants={**_CATCHER.constants, **resolve_rewards(REWARDS, rewards)},
        lane_fields={**_BIRD.lane_fields, **_CATCHER.lane_fields},
        rules=Rules(constants, begin, advance, settle, observe, advance_all, scene),
        size=SIZE,
        points=f"{_BIRD.points} or {_CATCHER.points}",
        maker=tour,
        options={"rewards": rewards},
        conflict=CONFLICT,
        action_prior=ACTION_PRIOR,
        keys=KEYS,
        colours=COLOURS,
        shapes=SHAPES,
        num_backdrops=len(BACKDROPS),
        seen_where={
            name: {"which_game": float(number)}
            for number, names in (
                (FLAPPY_BIRD, ("wall", *_BIRD.colours)),
                (CATCHER, _CATCHER.colours),
            )
            for name in names
        },
        finest=(min(_BIRD.finest[0], _CATCHER.finest[0]), min(_BIRD.finest[1], _CATCHER.finest[1])),
        painter="continual_arcade.envs.drawing.tour",
        oracle="continual_arcade.envs.oracles.tour:Guide",
        unbeatable="continual_arcade.envs.oracles.tour:Unbeatable",
    )
