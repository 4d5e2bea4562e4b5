"""Who solves Flappy Bird: searches ahead over the exact rules."""

from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.compiling import kernel, rule
from continual_arcade.envs.core import Core
from continual_arcade.envs.flappy_bird import (
    BIRD_HEIGHT,
    FLAP,
    LETHAL_FROM,
    NOOP,
    advance,
    constants,
    settle,
)
from continual_arcade.envs.lanes import DRAW, OVER
from continual_arcade.envs.oracles import Actions

HORIZON = 64
"""Frames that the search looks ahead: at 4 px/frame the next pipe and the one behind it."""
BUDGET = 1_000_000
"""Positions that a search may try before it settles for the longest path it has found."""
MARGIN = 10.0
"""How far from the edge of an opening the bird is to stay [px]."""
_TABLE = 1 << 18
"""Size of the table of positions that have been tried."""


class Searcher:
    """Searches ahead for a way to be alive after ``HORIZON`` frames, and takes its first action.

    The path that was found a frame ago is tried first, so that nearly always only its last step is
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
        cells = self.cells()
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

    def cells(self) -> npt.NDArray[np.void]:
        """Return a copy of each game; one whose bird has no life left is not searched."""
        return self._core.cells()


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
        plans: The actions that were planned; replaced by the longest path found.
        planned: How many of them are still good.
        path: Room for the positions from now to the horizon.
        tried: Room for the number of actions tried in each of them.
        table: Room for the positions that were met.
        searches: Number of searches so far.
    """
    shared = constants(cells[0])
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


class Unbeatable:
    """Has more lives than it can lose, and flies through whatever is in its way."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __call__(self) -> Actions:
        """Change every game, and return what to do in it."""
        self._core.blocks["lives"] = np.inf
        return np.full(self._core.num_envs, NOOP, np.int64)
