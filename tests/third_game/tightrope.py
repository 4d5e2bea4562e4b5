"""A small game of somebody else's: a walker on a rope, whom gusts push aside.

All there is to it is in this file and in its painter, ``art.py``.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.compiling import rule
from continual_arcade.envs.core import Core
from continual_arcade.envs.game import Feature, Game, Keys, Rules
from continual_arcade.envs.lanes import DRAW, OVER
from continual_arcade.envs.randomness import draw
from continual_arcade.envs.tunables import Tunable

LEFT, RIGHT, WAIT = 0, 1, 2
FALLS_AT = 1.0

TUNABLES = {
    "gust": Tunable(
        default=0.05, low=0.0, high=0.2, unit="1/step", harder="higher", about="strongest gust"
    ),
    "push": Tunable(
        default=0.1,
        low=-0.3,
        high=0.3,
        unit="1/step",
        harder="either",
        about="what an action adds to the lean; negative: sides are swapped",
    ),
}


class Constants(NamedTuple):
    """What all lanes share."""

    step: float
    fall: float


@rule
def constants(block: Any) -> Constants:
    return Constants(block.step, block.fall)


@rule
def begin(block: Any, lane: int, constants: Any, params: Any, row: int, velocity: float) -> None:
    block.gust[lane] = params[row, 0]
    block.push[lane] = params[row, 1]
    block.lean[lane] = velocity
    block.wind[lane] = 0.0


@rule
def advance(block: Any, lane: int, constants: Any) -> None:
    action = block.action[lane]
    push = block.push[lane]
    lean = 1.1 * block.lean[lane] + block.wind[lane]
    lean = lean - push if action == LEFT else lean
    lean = lean + push if action == RIGHT else lean
    falls = np.abs(lean) >= FALLS_AT
    block.lean[lane] = lean
    block.score[lane] = block.score[lane] + (0.0 if falls else 1.0)
    block.reward[lane] = constants.fall if falls else constants.step
    block.event[lane] = DRAW | (OVER if falls else 0)


@rule
def settle(block: Any, lane: int, constants: Any) -> None:
    """Draw the next gust."""
    block.wind[lane] = block.gust[lane] * draw(block, lane, -1.0, 0.5, 5.0)


@rule
def observe(block: Any, lane: int, constants: Any, out: Any, at: int) -> None:
    out[at] = block.lean[lane]
    out[at + 1] = block.wind[lane]


class Oracle:
    """Pushes against the lean."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __call__(self) -> npt.NDArray[np.int64]:
        lean, push = self._core.field("lean"), self._core.field("push")
        against = np.where(lean * push > 0.0, LEFT, RIGHT)
        return np.where(np.abs(lean) < 0.05, WAIT, against).astype(np.int64)


class Unbeatable:
    """Stands upright again before each step."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __call__(self) -> npt.NDArray[np.int64]:
        self._core.blocks["lean"] = 0.0
        return np.full(self._core.num_envs, WAIT, np.int64)


def tightrope() -> Game:
    """Return the game."""
    return Game(
        name="Tightrope",
        actions=("left", "right", "wait"),
        tunables=TUNABLES,
        features=(
            Feature("lean", -2.0, 2.0, "from -1 to 1, where the walker falls"),
            Feature("wind", -0.2, 0.2, "the gust of the next step"),
        ),
        constants={"step": 0.1, "fall": -1.0},
        lane_fields={"lean": (), "wind": ()},
        rules=Rules(constants, begin, advance, settle, observe),
        size=(160, 120),
        points="steps walked",
        maker=tightrope,
        options={},
        phases=tuple({"gust": gust} for gust in (0.02, 0.05, 0.08)),
        conflict={"usual": {"push": 0.1}, "swapped": {"push": -0.1}},
        action_prior=(0.25, 0.25, 0.5),
        keys=Keys({"left": LEFT, "right": RIGHT}, idle=WAIT, about="arrows push the walker"),
        painter="third_game.art",
        oracle="third_game.tightrope:Oracle",
        unbeatable="third_game.tightrope:Unbeatable",
    )
