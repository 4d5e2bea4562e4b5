"""Scripted players that see the state and know the rules.

They show that a phase can be solved, and their score is the measure of a perfect one. Flappy Bird's
searches ahead over the exact rules; Catcher's chases the pellet and brakes in time. Those that
cheat show what nobody can exceed.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.arcade_env import ArcadeEnv
from continual_arcade.envs.arcade_vector_env import ArcadeVectorEnv
from continual_arcade.envs.catcher import LEFT, RIGHT
from continual_arcade.envs.catcher import NOOP as NO_PUSH
from continual_arcade.envs.compiling import kernel, rule
from continual_arcade.envs.core import Core, Floats
from continual_arcade.envs.flappy_bird import (
    BIRD_HEIGHT,
    FLAP,
    LETHAL_FROM,
    NOOP,
    advance,
    settle,
    world,
)
from continual_arcade.envs.lanes import DRAW, OVER

Actions = npt.NDArray[np.int64]
Players = Mapping[str, Callable[[Core], Callable[[], Actions]]]


class CatcherPlayer:
    """Chases the pellet, and brakes when it could not stop in time otherwise."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __call__(self) -> Actions:
        """Return what to do in each game."""
        field = self._core.field
        push, keep = field("push"), 1.0 - field("friction")
        distance = field("pellet_x") - field("paddle_x")
        side = np.where(distance < 0.0, -1.0, 1.0)
        # Everything is seen from the side of the pellet: ahead is positive.
        distance, velocity = distance * side, field("paddle_velocity") * side
        strength = np.abs(push)

        def stops_in_time(force: Floats) -> Any:
            next_velocity = (velocity + force) * keep
            stop: Floats = next_velocity + _braking_distance(next_velocity, strength, keep)
            return stop <= distance

        chase = stops_in_time(strength)
        coast = stops_in_time(np.zeros_like(strength))
        towards = np.where(side * push > 0.0, RIGHT, LEFT)
        away = np.where(side * push > 0.0, LEFT, RIGHT)
        return np.where(chase, towards, np.where(coast, NO_PUSH, away)).astype(np.int64)


def _braking_distance(velocity: Floats, push: Floats, keep: Floats) -> Floats:
    """Return how far a paddle still goes if it is pushed back until it stands [px].

    Each step takes the velocity v to (v - push) * keep, so that after k steps it is
    (v + c) * keep**k - c with c = push * keep / (1 - keep); the distance is the sum while it is
    positive.
    """
    ahead = np.maximum(velocity, 0.0)
    limit = push * keep / (1.0 - keep)
    steps = np.floor(np.log(limit / (ahead + limit)) / np.log(keep))
    covered = (ahead + limit) * keep * (1.0 - keep**steps) / (1.0 - keep) - steps * limit
    return np.where(velocity > 0.0, covered, 0.0)


HORIZON = 64
"""Frames that the search looks ahead: at 4 px/frame the next pipe and the one behind it."""
BUDGET = 1_000_000
"""Positions that a search may try before it settles for the longest life it has found."""
MARGIN = 10.0
"""How far from the edge of an opening the bird is to stay [px]."""
_TABLE = 1 << 18
"""Size of the table of positions that have been tried."""


class FlappyBirdPlayer:
    """Searches ahead for a way to be alive after ``HORIZON`` frames, and takes its first action.

    The way that was found a frame ago is tried first, so that nearly always only its last step is
    new. Where it ends in a dead end, the search goes back from there.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._path = np.zeros(HORIZON + 1, core.game.dtype(1))
        self._tried = np.zeros(HORIZON + 1, np.int64)
        self._table = np.full((_TABLE, 5), -1.0)
        self._searches = np.zeros(1, np.int64)
        self._plans = np.zeros((core.num_envs, HORIZON), np.int64)
        self._planned = np.zeros(core.num_envs, np.int64)
        self._frames = np.full(core.num_envs, -1.0)

    def __call__(self) -> Actions:
        """Return what to do in each game."""
        cells = self._core.cells()
        # The pipes to come are out of sight: the search must not see what will be drawn.
        cells["random"] ^= np.uint64(0x5DEECE66D)
        frames = cells["steps"][:, 0]
        self._planned[frames != self._frames + 1] = 0
        self._frames = frames
        _search(
            cells,
            self._plans,
            self._planned,
            self._path,
            self._tried,
            self._table,
            self._searches,
        )
        actions = self._plans[:, 0].copy()
        self._plans[:, :-1] = self._plans[:, 1:]
        self._planned -= 1
        return actions


@rule
def _preferred(cell: Any) -> int:
    """Return the action that keeps the bird a little above the edge that it falls towards."""
    ahead = 0 if cell.pipe_x[0, 0] > LETHAL_FROM else 1
    next_y = cell.bird_y[0] + cell.bird_velocity[0]
    if cell.gravity[0] > 0.0:
        falls = next_y > cell.pipe_top[ahead, 0] + cell.gap[0] - BIRD_HEIGHT - MARGIN
    else:
        falls = next_y < cell.pipe_top[ahead, 0] + MARGIN
    return FLAP if falls else NOOP


@rule
def _is_new(table: Any, search: int, depth: int, cell: Any) -> bool:
    """Note a position; return whether this search has not met it yet.

    The pipes move by themselves, so time, height, velocity and wings say all.
    """
    y, velocity, wings = cell.bird_y[0], cell.bird_velocity[0], cell.wings[0]
    place = int(y * 4.0) * 7919 + int(velocity * 4.0) * 1031 + int(wings) * 127 + depth
    row = table[place % _TABLE]
    known = (row[0] == search) & (row[1] == depth) & (row[2] == y)
    if known & (row[3] == velocity) & (row[4] == wings):
        return False
    row[0], row[1], row[2], row[3], row[4] = search, depth, y, velocity, wings
    return True


def _search_template(
    cells: Any, plans: Any, planned: Any, path: Any, tried: Any, table: Any, searches: Any
) -> None:
    """Search each game depth first: the old plan first, then the preferred action.

    Args:
        cells: The games, each a block of one lane.
        plans: The actions that were planned; replaced by the longest life found.
        planned: How many of them are still good.
        path: Room for the positions from now to the horizon.
        tried: Room for the number of actions tried in each of them.
        table: Room for the positions that were met.
        searches: Number of searches so far.
    """
    shared = world(cells[0])
    actions = np.zeros(HORIZON, np.int64)
    for game in range(len(cells)):
        searches[0] += 1
        path[0] = cells[game]
        tried[0] = 0
        depth = longest = 0
        plan = plans[game]
        good = planned[game]
        for _ in range(BUDGET):
            while depth >= 0 and tried[depth] == 2:
                depth -= 1
            if depth < 0 or depth == HORIZON:
                break
            action = plan[depth] if depth < good else _preferred(path[depth])
            if tried[depth] == 1:
                action = FLAP + NOOP - action
                good = min(good, depth)
            tried[depth] += 1
            path[depth + 1] = path[depth]
            cell = path[depth + 1]
            cell.action[0] = action
            advance(cell, 0, shared)
            if cell.event[0] & OVER:
                continue
            if cell.event[0] & DRAW:
                settle(cell, 0, shared)
            if _is_new(table, searches[0], depth, cell):
                actions[depth] = action
                depth += 1
                tried[depth] = 0
                if depth > longest:
                    longest = depth
                    plan[:depth] = actions[:depth]
        planned[game] = longest


_search = kernel(_search_template, {}, "FlappyBird")


class CatcherCheat:
    """Has the paddle under the pellet whenever it comes down, and can afford to miss it.

    A pellet that falls faster than it and the paddle are high can jump over the paddle.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def __call__(self) -> Actions:
        """Change every game, and return what to do in it."""
        self._core.blocks["paddle_x"] = self._core.blocks["pellet_x"]
        self._core.blocks["lives"] = np.inf
        return np.full(self._core.num_envs, NO_PUSH, np.int64)


class FlappyBirdCheat:
    """Has more lives than it can lose, and flies through whatever is in its way."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __call__(self) -> Actions:
        """Change every game, and return what to do in it."""
        self._core.blocks["lives"] = np.inf
        return np.full(self._core.num_envs, NOOP, np.int64)


class Oracle:
    """Plays a game by looking at its state instead of the observation.

    It has the ``predict`` of a Stable-Baselines3 policy, so that whatever plays an agent can play
    the oracle. It is bound to the environment whose state it sees.

    Args:
        env: The environment, single or vector; wrappers around it do not matter.

    Raises:
        TypeError: If it is no environment of this suite.
    """

    players: ClassVar[Players] = {"FlappyBird": FlappyBirdPlayer, "Catcher": CatcherPlayer}
    """Who plays which game."""

    def __init__(self, env: Any) -> None:
        bare = env.unwrapped
        if not isinstance(bare, (ArcadeEnv, ArcadeVectorEnv)):
            raise TypeError(f"the oracle plays the games of this suite, not {type(bare).__name__}")
        self._single = isinstance(bare, ArcadeEnv)
        self._play = self.players[bare.game.name](bare.core)

    def predict(
        self,
        observation: Any = None,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, None]:
        """Return what to do in the present state of the environment; no argument matters."""
        actions = self._play()
        return (actions[0] if self._single else actions), None


class Unbeatable(Oracle):
    """Cheats: it changes the state before each step, so that nobody dies or comes too late.

    So nobody can score more in the same episode, played to the same limit of steps. How many pipes
    come by does not depend on the bird, and pellets come down one after the other, each as soon as
    the one before it was caught, where the draws of the episode say.
    """

    players: ClassVar[Players] = {"FlappyBird": FlappyBirdCheat, "Catcher": CatcherCheat}
