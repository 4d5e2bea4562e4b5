"""The global generators of Python, NumPy and PyTorch, lent to one agent at a time.

Stable-Baselines3 draws from them, and seeds them. So that an agent changes nothing that others draw
from, and nobody changes what it draws, it has states of its own, which are put in their place while
it works.
"""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from continual_arcade.agents.files.checks import check_mersenne
from continual_arcade.envs.checks import Array, Each, Instance, Number, OrNone, Whole

_WORDS = 625
"""Numbers in the state of Python's generator, its position included."""


class OwnGenerators:
    """States of the global generators that belong to one agent."""

    def __init__(self) -> None:
        self._own = self._outside = _read()
        self._is_inside = False

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Within, the global generators are those of the agent."""
        if self._is_inside:
            yield
            return
        self._enter()
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Within, they are those of everybody else again."""
        if not self._is_inside:
            yield
            return
        self._leave()
        try:
            yield
        finally:
            self._enter()

    def _enter(self) -> None:
        self._outside = _read()
        _write(self._own)
        self._is_inside = True

    def _leave(self) -> None:
        self._own = _read()
        _write(self._outside)
        self._is_inside = False

    def state_dict(self) -> dict[str, Any]:
        """Return the states, as plain data and arrays."""
        return _read() if self._is_inside else self._own

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from there.

        Raises:
            ValueError: If these are no states of generators.
        """
        state = dict(Instance((dict,))("generators", state))
        if state.keys() != _read().keys():
            raise ValueError(f"generators are of {', '.join(_read())}, not {', '.join(state)}")
        words = Each(Whole(0, 2**32 - 1))("python", state["python"])
        if len(words) != _WORDS or words[-1] > _WORDS - 1:
            raise ValueError("python is no state of its generator")
        OrNone(Number())("gauss", state["gauss"])
        check_mersenne(state["numpy"])
        kept = Instance((torch.Tensor,))("torch", state["torch"])
        Array(tuple(torch.get_rng_state().shape), np.uint8)("torch", kept.numpy())
        torch.Generator().set_state(kept)  # which looks at it, and raises
        self._own = state


def _read() -> dict[str, Any]:
    _, words, gauss = random.getstate()
    return {
        "python": list(words),
        "gauss": gauss,
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002
        "torch": torch.get_rng_state(),
    }


def _write(state: Mapping[str, Any]) -> None:
    random.setstate((3, tuple(state["python"]), state["gauss"]))
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
