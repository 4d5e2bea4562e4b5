"""The state of a number of running games, and the compiled code that moves it."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.game import Game
from continual_arcade.envs.kernels import (
    WORDS,
    BatchKernels,
    SingleKernels,
    batch_kernels,
    single_kernels,
)
from continual_arcade.envs.lanes import LANES

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Snapshot = dict[str, Any]
"""The state of one game by field: a float, or an array where a game has several (pipes)."""


class Core:
    """``num_envs`` games of one kind.

    Args:
        game: The game.
        num_envs: How many.
        lanes: Lanes of a block: 1 for a single environment, ``LANES`` for a batch.
        shown: Numbers that a context shows behind the features.
    """

    def __init__(self, game: Game, num_envs: int, lanes: int = LANES, shown: int = 0) -> None:
        self.game = game
        self.num_envs = num_envs
        self.lanes = lanes
        self.width = len(game.features) + shown
        """Numbers of an observation."""
        self.held: Features = np.zeros((num_envs, -(-shown // WORDS) * WORDS), np.float32)
        """What the context shows in each game of a batch, filled up with zeros to whole words."""
        dtype = game.dtype(lanes)
        count = -(-num_envs // lanes)
        # The features are the last field of a block, so that what lies behind the only block of a
        # single environment continues them.
        self._memory = np.zeros(count * dtype.itemsize + 4 * shown, np.uint8)
        self._lay_out()
        for name, value in game.constants.items():
            self.blocks[name] = value

    def _lay_out(self) -> None:
        dtype = self.game.dtype(self.lanes)
        self.blocks = self._memory[: -(-self.num_envs // self.lanes) * dtype.itemsize].view(dtype)
        start = self._memory.size - 4 * self.width
        self.observation: Features = self._memory[start:].view(np.float32)
        """What is seen of a single game: features, and the context behind them."""

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("batch", "single", "blocks", "observation"):
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lay_out()

    @cached_property
    def batch(self) -> BatchKernels:
        """The compiled loops that move all games."""
        game = self.game
        return batch_kernels(game.rules, game.name, game.num_actions)

    @cached_property
    def single(self) -> SingleKernels:
        """The compiled code that moves a single game, by the address of its block."""
        game = self.game
        return single_kernels(game.rules, game.name, game.num_actions, game.dtype(1))

    def field(self, name: str) -> npt.NDArray[Any]:
        """Return a copy of a field of every game, shape ``(num_envs,)`` or ``(num_envs, k)``."""
        values = self.blocks[name]
        flat = np.moveaxis(values, -1, 1).reshape(-1, *values.shape[1:-1])
        return flat[: self.num_envs].copy()

    def seed(self, words: npt.NDArray[np.uint64]) -> None:
        """Set the state of every generator, shape ``(num_envs,)``."""
        state = self.blocks["random"]
        padded = np.zeros(state.size, np.uint64)
        padded[: self.num_envs] = words
        state[...] = padded.reshape(state.shape)

    def reset(self, params: Floats, velocity: float = 0.0, begins: Mask | None = None) -> Features:
        """Start an episode in every game, or in some of them.

        Args:
            params: Values of the tunables, and the context behind them, a row for each game, or one
                for all.
            velocity: The first velocity of what the player moves [px/step]. The reference carries
                that of the last episode over; the environments pass 0.
            begins: In which games, shape ``(num_envs,)``; None for all of them. The others stay as
                they are.

        Returns:
            What is seen of all games, shape ``(num_envs, width)``.
        """
        observations = np.empty((self.num_envs, self.width), np.float32)
        lanes = np.full(len(self.blocks) * self.lanes, begins is None)
        if begins is not None:
            lanes[: self.num_envs] = begins
        self.batch.reset(
            self.blocks, self.num_envs, params, velocity, lanes, self.held, observations
        )
        return observations

    def cells(self) -> npt.NDArray[np.void]:
        """Return a copy of every game as a block of one lane, shape ``(num_envs,)``."""
        cells = np.zeros(self.num_envs, self.game.dtype(1))
        for name in cells.dtype.names or ():
            if name in self.game.constants:
                cells[name] = self.game.constants[name]
            elif name != "features":
                cells[name][..., 0] = self.field(name)
        return cells

    def snapshot(self, index: int = 0) -> Snapshot:
        """Return the state of one game by field name."""
        block, lane = divmod(index, self.lanes)
        record = self.blocks[block]
        state: Snapshot = {name: float(record[name]) for name in self.game.constants}
        for name in ("score", "steps", *self.game.lane_fields, *self.game.tunables):
            value = record[name][..., lane]
            state[name] = value.copy() if value.ndim else float(value)
        return state
