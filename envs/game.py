"""What a game is to the rest of the suite: names, tunables, features and rules, without state."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.checks import ByName, Number
from continual_arcade.envs.lanes import block_dtype
from continual_arcade.envs.messages import unknown
from continual_arcade.envs.tunables import Tunables

_REWARDS = ByName(Number())


class Rules(NamedTuple):
    """The rules of a game, each a function over one lane of a block."""

    world: Callable[..., Any]
    """``world(block)``: read what all lanes share."""
    begin: Callable[..., None]
    """``begin(block, lane, world, params, row, velocity)``: start an episode, with the tunables in
    ``params[row]`` and what the player moves at this velocity [px/step]."""
    advance: Callable[..., None]
    """``advance(block, lane, world)``: play one step; sets ``reward`` and ``event``."""
    settle: Callable[..., None]
    """``settle(block, lane, world)``: make the random draws that a step has asked for."""
    observe: Callable[..., None]
    """``observe(block, lane, world)``: write the features."""


@dataclass(frozen=True)
class Feature:
    """One number of the observation."""

    name: str
    low: float
    """Smallest value that play can reach, whatever the tunables."""
    high: float
    """Largest value that play can reach, whatever the tunables."""
    about: str
    """What it measures, and in what unit."""


@dataclass(frozen=True)
class Game:
    """A game: everything about it that does not change while it is played."""

    name: str
    actions: tuple[str, ...]
    """What action 0, 1, ... does."""
    tunables: Tunables
    features: tuple[Feature, ...]
    constants: Mapping[str, float]
    """What all lanes share: size of the field, rewards."""
    lane_fields: Mapping[str, tuple[int, ...]]
    """State of a lane beside the tunables, with shapes."""
    rules: Rules
    size: tuple[int, int]
    """Width and height of the picture [px]."""
    points: str
    """What the score counts."""
    maker: Callable[..., "Game"]
    """The function that makes the game."""
    options: Mapping[str, Any]
    """The arguments it was given."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Compiled rules do not travel well between processes; the recipe does.
        return partial(self.maker, **self.options), ()

    @property
    def num_actions(self) -> int:
        """Number of actions."""
        return len(self.actions)

    def dtype(self, lanes: int) -> np.dtype[np.void]:
        """Describe a block of the game's state."""
        tunables: dict[str, tuple[int, ...]] = dict.fromkeys(self.tunables, ())
        return block_dtype(
            {**self.lane_fields, **tunables}, tuple(self.constants), len(self.features), lanes
        )

    def feature_bounds(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the lower and upper bounds of the features, shape ``(num_features,)`` each."""
        low = np.array([feature.low for feature in self.features], np.float32)
        high = np.array([feature.high for feature in self.features], np.float32)
        return low, high


def rewards(
    defaults: Mapping[str, float], overrides: Mapping[str, float] | None
) -> dict[str, float]:
    """Return a game's rewards with some of them replaced.

    Raises:
        WrongTypeError: If the replacements are no table of numbers.
        ValueError: If the game has no such reward, or one is NaN or infinite.
    """
    given = {} if overrides is None else _REWARDS("rewards", overrides)
    for name in given:
        if name not in defaults:
            raise ValueError(unknown("reward", name, defaults))
    return {**defaults, **given}
