"""Who solves Catcher: chases the pellet and brakes in time."""

from typing import Any

import numpy as np

from continual_arcade.envs.catcher import LEFT, NOOP, RIGHT
from continual_arcade.envs.core import Core, Floats
from continual_arcade.envs.oracles import Actions


class Chaser:
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
        return np.where(chase, towards, np.where(coast, NOOP, away)).astype(np.int64)


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


class Unbeatable:
    """Has the paddle under the pellet whenever it comes down, and can afford to miss it.

    A pellet that falls faster than it and the paddle are high can jump over the paddle.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def __call__(self) -> Actions:
        """Change every game, and return what to do in it."""
        self._core.blocks["paddle_x"] = self._core.blocks["pellet_x"]
        self._core.blocks["lives"] = np.inf
        return np.full(self._core.num_envs, NOOP, np.int64)
