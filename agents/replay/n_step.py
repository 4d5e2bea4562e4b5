"""Transitions over several steps, put together before they are stored.

A replay memory that overwrites in any order cannot look for the next steps in the next slots, so
the returns must be complete when a transition goes in.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.kernels.replay import Completed, Pending, push_step
from continual_arcade.agents.machine_memory import check_memory
from continual_arcade.envs.checks import Array, Number, Whole
from continual_arcade.envs.compiling import kernel


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """A batch of transitions; row by row the same length ``n``."""

    observations: npt.NDArray[Any]
    """Where each begins, shape ``(n, *obs_shape)``."""
    actions: npt.NDArray[Any]
    """What was done there, shape ``(n, action_dim)``."""
    rewards: npt.NDArray[np.float32]
    """Discounted sums of the rewards that followed, shape ``(n,)``."""
    next_observations: npt.NDArray[Any]
    """Where each ends, shape ``(n, *obs_shape)``; in the step that ends an episode, its last
    observation."""
    dones: npt.NDArray[np.float32]
    """1 where the episode terminated there, else 0, shape ``(n,)``. An episode that was only cut
    off has 0: its value goes on."""
    discounts: npt.NDArray[np.float32]
    """Discount of the value of the next observation, ``gamma ** k`` after ``k`` rewards, shape
    ``(n,)``."""
    phases: npt.NDArray[np.int64]
    """Phase in which each began, shape ``(n,)``."""
    ended: npt.NDArray[np.bool_] | None = None
    """Where the episode ended, by its rules or cut off, shape ``(n,)``; known of transitions that
    were just completed, and kept by no memory."""

    def __len__(self) -> int:
        return len(self.rewards)

    def take(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> "Transitions":
        """Return a copy of some rows, in this order."""
        chosen = np.asarray(rows, np.int64)
        return Transitions(
            self.observations[chosen],
            self.actions[chosen],
            self.rewards[chosen],
            self.next_observations[chosen],
            self.dones[chosen],
            self.discounts[chosen],
            self.phases[chosen],
            None if self.ended is None else self.ended[chosen],
        )


MOST_PHASES = 1_000_000
"""More phases than this are a mistake: draws are counted for each."""
COLUMNS = tuple(field.name for field in fields(Transitions) if field.name != "ended")
"""What a transition consists of, wherever it is kept."""


class NStepAccumulator:
    """Turns single steps of several sub-environments into transitions over ``n_steps`` steps.

    In the middle of an episode a sub-environment completes one transition per step, as soon as it
    has ``n_steps`` of them. When its episode ends, all that are pending are completed, with the
    rewards that there were. No return crosses the end of an episode.

    Rewards are summed in float64, oldest first, and rounded to float32 once, when complete.

    Args:
        n_steps: Rewards of a full transition.
        gamma: Discount of a step.
        n_envs: Sub-environments.
        obs_shape: Shape of an observation.
        obs_dtype: Type of an observation.
        action_dim: Numbers in an action.
        action_dtype: Type of an action.

    Raises:
        ValueError: If a number makes no sense; the message says which.
    """

    def __init__(
        self,
        n_steps: int,
        gamma: float,
        n_envs: int,
        obs_shape: tuple[int, ...],
        obs_dtype: npt.DTypeLike,
        action_dim: int,
        action_dtype: npt.DTypeLike,
    ) -> None:
        self.n_steps = n_steps = Whole(1)("n_steps", n_steps)
        self.n_envs = n_envs = Whole(1)("n_envs", n_envs)
        self.gamma = Number(0, 1)("gamma", gamma)
        # The pending steps, and the two tables below.
        step = int(np.prod(obs_shape)) * np.dtype(obs_dtype).itemsize + 8 * action_dim + 16
        check_memory(
            f"n_steps = {n_steps:,} steps of {n_envs:,} sub-environments",
            n_envs * n_steps * step + 16 * n_steps**2,
        )

        pending = (n_envs, n_steps)
        self._observations = np.zeros((*pending, *obs_shape), obs_dtype)
        self._actions = np.zeros((*pending, action_dim), action_dtype)
        self._returns = np.zeros(pending, np.float64)
        self._phases = np.zeros(pending, np.int64)
        self._counts = np.zeros(n_envs, np.int64)
        self._newest = 0

        # All sub-environments write to the same column, one further each step, so that which column
        # is how old depends on the newest one only.
        columns = np.arange(n_steps)
        self._weights = self.gamma ** ((columns[:, None] - columns) % n_steps).astype(np.float64)
        self._discounts = (self.gamma ** (columns + 1.0)).astype(np.float32)
        self._viewed: _Views | None = None
        self._completed: tuple[npt.NDArray[Any], ...] = ()

    @property
    def pending(self) -> int:
        """Steps that wait for later rewards, in all sub-environments together."""
        return int(self._counts.sum())

    def push(
        self,
        obs: npt.NDArray[Any],
        actions: npt.NDArray[Any],
        rewards: npt.NDArray[Any],
        next_obs: npt.NDArray[Any],
        dones: npt.NDArray[Any],
        timeouts: npt.NDArray[Any],
        phases: npt.NDArray[Any],
    ) -> Transitions:
        """Take one step of every sub-environment; return the transitions that it completes.

        Args:
            obs: Observations before the step, shape ``(n_envs, *obs_shape)``.
            actions: Shape ``(n_envs, action_dim)``.
            rewards: Shape ``(n_envs,)``.
            next_obs: Observations after the step, the last ones of an episode where it ends.
            dones: Where an episode ends, shape ``(n_envs,)``.
            timeouts: Where that end only cuts it off, shape ``(n_envs,)``.
            phases: Phase of the step, shape ``(n_envs,)``.

        Returns:
            The transitions, sub-environment by sub-environment, the oldest first. They share no
            memory with the arguments.

        Raises:
            ValueError: If an argument has the wrong number of elements.
        """
        pending, completed, step, given = self._views()
        # As they are kept, whatever kind they come in; what does not fit changes nothing.
        arrived = (obs, actions, rewards, next_obs, dones, timeouts, phases)
        for array, values in zip(step, arrived, strict=True):
            array[...] = np.asarray(values).reshape(array.shape)
        np.greater(step.ended, step.timed_out, out=given[5])
        self._newest = (self._newest + 1) % self.n_steps
        count = pushes()(pending, completed, self._newest, *given)
        return Transitions(*[column[:count].copy() for column in self._completed])

    def _views(self) -> "_Views":
        """Return what waits, room for what is completed, and for what a step consists of.

        Observations and actions may be of any kind: compiled code sees them as bytes, so that one
        piece of it does for all.
        """
        if self._viewed is None:
            rows, steps = self.n_envs * self.n_steps, self.n_envs
            seen, actions = self._observations, self._actions
            self._completed = (
                np.zeros((rows, *seen.shape[2:]), seen.dtype),
                np.zeros((rows, *actions.shape[2:]), actions.dtype),
                np.zeros(rows, np.float32),
                np.zeros((rows, *seen.shape[2:]), seen.dtype),
                np.zeros(rows, np.float32),
                np.zeros(rows, np.float32),
                np.zeros(rows, np.int64),
                np.zeros(rows, np.bool_),
            )
            pending = Pending(
                observations=_bytes(seen, 2),
                actions=_bytes(actions, 2),
                returns=self._returns,
                phases=self._phases,
                counts=self._counts,
                weights=self._weights,
                discounts=self._discounts,
            )
            nothing = np.zeros(0, np.int64)
            taken = dict(zip((*COLUMNS, "ended"), self._completed, strict=True))
            for name in ("observations", "actions", "next_observations"):
                taken[name] = _bytes(taken[name], 1)
            completed = Completed(**taken, placed_rows=nothing, placed_slots=nothing)
            step = _Step(
                observations=np.zeros((steps, *seen.shape[2:]), seen.dtype),
                actions=np.zeros((steps, *actions.shape[2:]), actions.dtype),
                rewards=np.zeros(steps),
                next_observations=np.zeros((steps, *seen.shape[2:]), seen.dtype),
                ended=np.zeros(steps, np.bool_),
                timed_out=np.zeros(steps, np.bool_),
                phases=np.zeros(steps, np.int64),
            )
            given = (
                _bytes(step.observations, 1),
                _bytes(step.actions, 1),
                step.rewards,
                _bytes(step.next_observations, 1),
                step.ended,
                np.zeros(steps, np.bool_),
                step.phases,
            )
            self._viewed = _Views(pending, completed, step, given)
        return self._viewed

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_viewed": None}  # a copy looks at arrays of its own

    def clear(self) -> None:
        """Forget the pending steps."""
        self._counts[:] = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what is pending, as plain numbers and arrays."""
        return {
            "gamma": self.gamma,
            "newest": self._newest,
            **{name: array.copy() for name, array in self._arrays().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from what was pending.

        Raises:
            ValueError: If it was saved with another discount or other shapes; the message says
                which. Nothing has changed then.
        """
        if state["gamma"] != self.gamma:
            raise ValueError(f"gamma is {self.gamma} here and {state['gamma']} in the saved steps")
        arrays = self._arrays()
        saved = {
            name: same_layout(f"pending {name}", state[name], array.shape, array.dtype)
            for name, array in arrays.items()
        }
        self._newest = Whole(0, self.n_steps - 1)("newest", state["newest"])
        for name, array in arrays.items():
            array[...] = saved[name]

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "observations": self._observations,
            "actions": self._actions,
            "returns": self._returns,
            "phases": self._phases,
            "counts": self._counts,
        }


@cache
def pushes() -> Callable[..., int]:
    """Return the compiled function that takes a step."""
    made: Callable[..., int] = kernel(push_step, {}, "replay")
    return made


class _Step(NamedTuple):
    """A step of every sub-environment, in the kinds that are kept; a row for each."""

    observations: npt.NDArray[Any]
    actions: npt.NDArray[Any]
    rewards: npt.NDArray[np.float64]
    next_observations: npt.NDArray[Any]
    ended: npt.NDArray[np.bool_]
    timed_out: npt.NDArray[np.bool_]
    phases: npt.NDArray[np.int64]


class _Views(NamedTuple):
    """What compiled code reads and writes."""

    pending: Pending
    completed: Completed
    step: _Step
    given: tuple[npt.NDArray[Any], ...]
    """The step, as it is handed over: whether an episode terminated in place of whether it was cut
    off."""


def _bytes(array: npt.NDArray[Any], axes: int) -> npt.NDArray[np.uint8]:
    """Return an array, which lies in one piece, as bytes, but for its first axes."""
    size = math.prod(array.shape[axes:]) * array.itemsize
    return array.reshape(-1).view(np.uint8).reshape(*array.shape[:axes], size)


def check_columns(columns: Mapping[str, Any], like: Transitions, actions_below: int | None) -> None:
    """Check the columns of transitions that were saved.

    Args:
        columns: Arrays by name, each with a row for each transition.
        like: Transitions of the same layout, of which there may be none.
        actions_below: How many actions there are, counted from 0; None where they are not counted.

    Raises:
        ValueError: If one is lacking, of another layout, or holds what no transition can.
    """
    if columns.keys() != set(COLUMNS):
        raise ValueError(f"transitions have {', '.join(COLUMNS)}, not {', '.join(columns)}")
    count = len(columns["rewards"])
    limits: dict[str, tuple[float, float]] = {
        "dones": (0, 1),
        "discounts": (0, 1),
        "phases": (0, MOST_PHASES - 1),
    }
    if actions_below is not None:
        limits["actions"] = (0, actions_below - 1)
    for name in COLUMNS:
        usual = getattr(like, name)
        Array((count, *usual.shape[1:]), usual.dtype, *limits.get(name, ()))(name, columns[name])


def same_layout(
    name: str, saved: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Return a saved array, if it fits.

    Raises:
        ValueError: If its shape or type is another one.
    """
    array = np.asarray(saved)
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"{name} have shape {shape} and type {dtype} here, and shape {array.shape} and type "
            f"{array.dtype} in what was saved"
        )
    return array
