"""Replay memories that decide, transition by transition, what is kept and what is drawn.

Stable-Baselines3 keeps one column per sub-environment and overwrites row by row. What overwrites in
another order needs single transitions, complete before they are stored; so that is what all
memories here hold, and they differ only in where a transition goes and which ones are drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.preprocessing import get_obs_shape
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from continual_arcade.agents.kernels.random import Stream, stream_of
from continual_arcade.agents.kernels.replay import Book, decide, draw_slots
from continual_arcade.agents.machine_memory import check_memory
from continual_arcade.agents.replay.frames import FrameStore, are_pictures
from continual_arcade.agents.replay.n_step import (
    MOST_PHASES,
    NStepAccumulator,
    Transitions,
    same_layout,
)
from continual_arcade.envs.checks import Array, Whole, flag
from continual_arcade.envs.compiling import kernel, plain
from continual_arcade.envs.schedules import LONGEST

Ints = npt.NDArray[np.int64]
_NO_MEMBERS = (np.zeros((0, 1), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


@cache
def decisions() -> tuple[Callable[..., int], Callable[..., None]]:
    """Return the compiled functions that decide where transitions go, and which are drawn."""
    return kernel(plain(decide), {}, "replay"), kernel(plain(draw_slots), {}, "replay")


class TransitionReplayBuffer(ReplayBuffer):
    """A replay memory of single transitions, to be used as ``replay_buffer_class``.

    Every transition is placed on its own, however many sub-environments there are: were they kept
    or dropped together, each would still be as likely to stay as it should, but how many of a phase
    stay would vary ``n_envs`` times as much.

    What is kept and what is drawn comes from two generators of its own, so that a memory holds the
    same however often it is drawn from, and nothing else that is random changes with it.

    Pictures may be kept frame by frame (``keeps_frames``). ``observations`` and
    ``next_observations`` have no row then: :meth:`stored` returns what lies in slots, with any
    memory.

    Args:
        buffer_size: Transitions that are remembered.
        observation_space: Space of the observations; not a dict.
        action_space: Space of the actions.
        device: Where batches go.
        n_envs: Sub-environments whose steps come in together.
        optimize_memory_usage: Must be off.
        handle_timeout_termination: Whether an episode that is cut off goes on in value; if not, it
            counts as terminated.
        n_steps: Rewards that are summed into one transition.
        gamma: Discount of a step.
        seed: Seed of what is kept and of what is drawn.

    Raises:
        ValueError: If a value makes no sense or cannot be served; the message says which.
    """

    kind: ClassVar[int] = -1
    """How it decides, of :mod:`continual_arcade.agents.kernels.replay`; a memory of another kind
    overrides ``_place`` and ``_draw``."""
    keeps_frames: ClassVar[bool] = False
    """Whether frames of pictures are kept once, and put together when they are drawn."""
    fifo_size = 0
    """Slots of the recent part of a mixed memory."""
    long_term_fraction = 0.0
    """Part of a batch that comes from the rest of it."""

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        n_steps: int = 1,
        gamma: float = 0.99,
        seed: int = 0,
    ) -> None:
        decides = {_owner(type(self), name) for name in ("_place", "_draw")}
        if self.kind < 0 and TransitionReplayBuffer in decides:
            raise TypeError(
                f"{type(self).__name__} does not say what it keeps and draws: derive it from "
                "FIFOReplayBuffer or its like, or override _place and _draw"
            )
        if flag("optimize_memory_usage", optimize_memory_usage):
            raise ValueError(
                "optimize_memory_usage=True keeps the next observation in the neighbouring slot, "
                "which may hold any other transition here: leave it off, and choose a smaller "
                "buffer_size if memory is short"
            )
        if isinstance(observation_space, spaces.Dict):
            raise ValueError(
                f"observations must be arrays, not {observation_space}: wrap the env in "
                "gymnasium.wrappers.FlattenObservation"
            )
        buffer_size = Whole(1)("buffer_size", buffer_size)
        n_envs = Whole(1)("n_envs", n_envs)
        seed = Whole(0)("seed", seed)
        by_frames = self.keeps_frames and are_pictures(observation_space)
        if not by_frames:
            _check_room(buffer_size, observation_space)
        # What is kept by frames takes no room in the arrays of the parent.
        nothing = spaces.Box(0, 255, (0,), np.uint8)
        super().__init__(
            buffer_size,
            nothing if by_frames else observation_space,
            action_space,
            device,
            n_envs=1,
            handle_timeout_termination=flag(
                "handle_timeout_termination", handle_timeout_termination
            ),
        )
        if by_frames:
            self.observation_space = observation_space
            self.obs_shape = tuple(observation_space.shape or ())
            self.observations = np.zeros((0, 1, *self.obs_shape), np.uint8)
            self.next_observations = np.zeros((0, 1, *self.obs_shape), np.uint8)
        self.actions_below: int | None = None
        """How many actions there are, counted from 0; None where they are not counted so."""
        if isinstance(action_space, spaces.Discrete) and action_space.start == 0:
            self.actions_below = int(action_space.n)
        self.num_envs = n_envs
        """Sub-environments whose steps come in together; SB3's ``n_envs`` is that of its arrays."""
        self.accumulator = NStepAccumulator(
            n_steps,
            gamma,
            n_envs,
            self.obs_shape,
            self.observations.dtype,
            self.action_dim,
            self.actions.dtype,
        )
        self.frames: FrameStore | None = None
        """The frames of pictures; None if observations are kept as a whole."""
        if by_frames:
            self.frames = FrameStore(buffer_size, self.obs_shape, n_envs * self.n_steps)
        self.rng = np.random.default_rng(seed)
        """Draws the batches."""
        self.placement_rng = self.rng.spawn(1)[0]
        """Decides what is kept."""
        self.discounts = np.zeros(self.buffer_size, np.float32)
        """Discount of the value of the next observation, shape ``(buffer_size,)``."""
        self.phases = np.zeros(self.buffer_size, np.int64)
        """Phase in which each transition began, shape ``(buffer_size,)``."""
        self.columns: dict[str, npt.NDArray[Any]] = {}
        """What others store with the transitions, by name; see :meth:`add_column`."""
        self._fills: dict[str, Any] = {}
        self.drawn_phases = np.zeros(1, np.int64)
        """How often a transition of each phase was drawn, since the counts were reset."""
        self.seen = 0
        """Transitions that were offered so far."""
        self._known: Any = None
        self._tell: Callable[[], tuple[Transitions, tuple[Ints, Ints]]] | None = None
        self._forget()

    def _forget(self) -> None:
        nothing = np.zeros(0, np.int64)
        self._told: tuple[Transitions, tuple[Ints, Ints]]
        self._told = self.stored(nothing), (nothing, nothing)
        self._tell = None
        self.sampled: Ints = nothing
        """Slots of the last batch, shape ``(batch_size,)``."""
        self.reset_batch_counts()

    @property
    def latest(self) -> Transitions:
        """The transitions that the last step of the sub-environments completed."""
        self.settle()
        return self._told[0]

    @property
    def placed(self) -> tuple[Ints, Ints]:
        """Rows of ``latest``, and the slots in which these lie now."""
        self.settle()
        return self._told[1]

    def tells(self, tell: Callable[[], tuple[Transitions, tuple[Ints, Ints]]]) -> None:
        """Have somebody else tell ``latest`` and ``placed``, when they are asked for.

        Args:
            tell: Returns both. Who stores transitions without :meth:`add` has it asked by
                :meth:`settle` before it cannot tell any more.
        """
        self._tell = tell

    def settle(self) -> None:
        """Be told of ``latest`` and ``placed`` now."""
        if self._tell is not None:
            self._told, self._tell = self._tell(), None

    @property
    def n_steps(self) -> int:
        """Rewards that are summed into one transition."""
        return self.accumulator.n_steps

    @property
    def gamma(self) -> float:
        """Discount of a step."""
        return self.accumulator.gamma

    def size(self) -> int:
        """Return how many transitions are stored."""
        return min(self.seen, self.buffer_size)

    def stored_slots(self) -> Ints:
        """Return the slots that hold a transition, in ascending order, shape ``(size(),)``."""
        return np.arange(self.size())

    def _place(self, transitions: Transitions) -> tuple[Ints, Ints]:
        """Decide where transitions go, before ``seen`` counts them.

        Returns:
            Rows of the transitions, and the slot of each. A row may have no slot or several; in a
            slot that has several rows, the last one stays.
        """
        count = len(transitions)
        rows, slots = np.empty(2 * count, np.int64), np.empty(2 * count, np.int64)
        phases = np.ascontiguousarray(transitions.phases)
        size, fifo_size = self.buffer_size, self.fifo_size
        given = (self.book(), self.kind, fifo_size, size, self.seen, phases, rows, slots)
        placed = decisions()[0](*given)
        return rows[:placed], slots[:placed]

    def _draw(self, batch_size: int) -> Ints:
        """Draw slots that hold a transition, shape ``(batch_size,)``."""
        slots = np.empty(batch_size, np.int64)
        share, size = self.long_term_fraction, self.buffer_size
        decisions()[1](self.book(), self.kind, self.fifo_size, share, size, self.seen, slots)
        return slots

    def book(self) -> Book:
        """Return what decisions are made by, as it lies now."""
        draws, placement = self._streams()
        return Book(*self._members(), draws, placement)

    def _members(self) -> tuple[Ints, Ints, Ints]:
        """Return slots of each phase, which phases these are, and what was offered of each."""
        return _NO_MEMBERS

    def _streams(self) -> tuple[Stream, Stream]:
        """Return where the generators lie, which may have been replaced."""
        rngs = (self.rng, self.placement_rng)
        if self._known is None or self._known[0] != tuple(map(id, rngs)):
            # The generators themselves are kept, so that no other gets their identity.
            self._known = tuple(map(id, rngs)), rngs, (stream_of(rngs[0]), stream_of(rngs[1]))
        streams: tuple[Stream, Stream] = self._known[2]
        return streams

    def __getstate__(self) -> dict[str, Any]:
        self.settle()
        return {**vars(self), "_known": None}  # a copy has generators of its own

    def add_column(
        self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, fill: Any
    ) -> npt.NDArray[Any]:
        """Store something more with each transition.

        Args:
            name: Its key in ``columns``.
            shape: Shape of what one transition has.
            dtype: Its type.
            fill: What it is until somebody writes to it; a slot that gets a new transition goes
                back to it.

        Returns:
            The column, shape ``(buffer_size, *shape)``.

        Raises:
            ValueError: If there is a column of this name.
        """
        if name in self.columns:
            raise ValueError(f"column {name!r} is there already; choose another name")
        column = np.full((self.buffer_size, *shape), fill, dtype)
        self.columns[name] = column
        self._fills[name] = fill
        return column

    def add(
        self,
        obs: npt.NDArray[Any],
        next_obs: npt.NDArray[Any],
        action: npt.NDArray[Any],
        reward: npt.NDArray[Any],
        done: npt.NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Take one step of every sub-environment; place the transitions that it completes.

        Args:
            obs: Observations before the step, shape ``(n_envs, *obs_shape)``.
            next_obs: Observations after it; the last ones of an episode where it ends.
            action: Shape ``(n_envs, action_dim)`` or ``(n_envs,)``.
            reward: Shape ``(n_envs,)``.
            done: Where an episode ends, shape ``(n_envs,)``.
            infos: May say ``TimeLimit.truncated`` (False if not) and ``phase`` (0 if not).

        Raises:
            ValueError: If an argument has the wrong number of elements, or there is no such action.
        """
        self._check_actions(np.asarray(action))
        if self.handle_timeout_termination:
            timeouts = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        else:
            timeouts = np.zeros(self.num_envs, np.bool_)
        phases = np.array([info.get("phase", 0) for info in infos], np.int64)
        self.expect_phases(phases)
        latest = self.accumulator.push(obs, action, reward, next_obs, done, timeouts, phases)
        rows, slots = last_in_each(*self._place(latest))
        kept = latest if len(rows) == len(latest) == 1 else latest.take(rows)
        if self.frames is not None:
            self.make_room_for(latest.phases.tolist())
            self.frames.keep(slots, kept.observations, kept.next_observations)
        else:
            self.observations[slots, 0] = kept.observations
            self.next_observations[slots, 0] = kept.next_observations
        self.actions[slots, 0] = kept.actions
        self.rewards[slots, 0] = kept.rewards
        self.dones[slots, 0] = kept.dones
        self.discounts[slots] = kept.discounts
        self.phases[slots] = kept.phases
        for name, column in self.columns.items():
            column[slots] = self._fills[name]
        self.seen += len(latest)
        self._told, self._tell = (latest, (rows, slots)), None
        self._set_cursor()

    def _check_actions(self, actions: npt.NDArray[Any]) -> None:
        """Check that there are these actions: compiled code looks up their values without a look.

        Raises:
            ValueError: If there are not.
        """
        below = self.actions_below
        if below is None or not actions.size:
            return
        if not (actions.min() >= 0 and actions.max() < below):
            raise ValueError(
                f"actions from {actions.min()} to {actions.max()} cannot be replayed: they must be "
                f"from 0 to {below - 1}"
            )

    def check_fit(self, observation_space: spaces.Space[Any], actions: int, num_envs: int) -> None:
        """Check that an agent can store here, and learn from what is stored.

        It may be another memory than the agent was made with, or one that was written to by hand,
        and compiled code reads and writes without a look.

        Args:
            observation_space: What the agent sees.
            actions: How many actions it has.
            num_envs: Sub-environments that it plays in.

        Raises:
            ValueError: If it was made for others, or holds what cannot be.
        """
        for what, own, wanted in (
            ("observations of shape", self.obs_shape, get_obs_shape(observation_space)),
            ("a number of actions of", self.actions_below, actions),
            ("a number of sub-environments of", self.num_envs, num_envs),
        ):
            if own != wanted:
                raise ValueError(
                    f"replay was made for {what} {own}, and the agent has {wanted}: give the agent "
                    f"a memory that was made for {num_envs} sub-environments of its own spaces"
                )
        seen = (1, *self.obs_shape)
        shapes = {"observations": seen, "next_observations": seen}
        for name, array in {**self._arrays(), **self.columns}.items():
            shape = (self.buffer_size, *shapes.get(name, array.shape[1:]))
            if array.shape != shape or not array.flags.carray:
                raise ValueError(
                    f"{name} of replay must be a contiguous array of shape {shape} that can be "
                    f"written to, and the one that was put there, of shape {array.shape}, is not"
                )
        used = slice(self.size())
        self._check_actions(self.actions[used])
        if self.size():
            self.expect_phases(np.array([self.phases[used].min(), self.phases[used].max()]))

    def make_room_for(self, offered: Sequence[int]) -> None:
        """Have room for transitions that are about to be stored.

        Args:
            offered: Phase of each of them.

        Raises:
            ValueError: If there is not so much memory.
        """
        if self.frames is not None:
            self.frames.make_room_for(len(offered), self.size())

    def expect_phases(self, phases: Ints) -> None:
        """Be ready to count the draws of these phases.

        Raises:
            ValueError: If one is negative.
        """
        seen = phases.tolist()
        lowest, highest = min(seen), max(seen)
        if lowest < 0 or highest >= MOST_PHASES:
            wrong = lowest if lowest < 0 else highest
            raise ValueError(f"info['phase'] = {wrong} must be from 0 to {MOST_PHASES - 1:,}")
        if highest >= len(self.drawn_phases):
            more = np.zeros(highest + 1 - len(self.drawn_phases), np.int64)
            self.drawn_phases = np.concatenate([self.drawn_phases, more])

    def _set_cursor(self) -> None:
        stored = self.size()
        self.pos, self.full = stored % self.buffer_size, stored == self.buffer_size

    def drop_pending(self) -> None:
        """Forget the steps that wait for later rewards.

        To be called when the sub-environments are reset in the middle of an episode, which nothing
        that comes in through :meth:`add` tells.
        """
        self.accumulator.clear()

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Draw a batch.

        Args:
            batch_size: Transitions to draw.
            env: Normalises them, if given.

        Raises:
            ValueError: If nothing is stored yet, or if the rewards cannot be normalised.
        """
        if not self.seen:
            raise ValueError("there is nothing to draw: no transition has been completed yet")
        self.sampled = slots = self._draw(Whole(1)("batch_size", batch_size))
        self.drawn_phases += np.bincount(self.phases[slots], minlength=len(self.drawn_phases))
        return self.gather(slots, env)

    def stored(self, slots: Ints) -> Transitions:
        """Return a copy of what lies in these slots."""
        if self.frames is not None:
            observations, next_observations = self.frames.take(slots)
        else:
            observations = self.observations[:, 0].take(slots, 0)
            next_observations = self.next_observations[:, 0].take(slots, 0)
        return Transitions(
            observations,
            self.actions[:, 0].take(slots, 0),
            self.rewards[:, 0].take(slots),
            next_observations,
            self.dones[:, 0].take(slots),
            self.discounts.take(slots),
            self.phases.take(slots),
        )

    def gather(self, slots: Ints, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Return what lies in these slots as tensors.

        Args:
            slots: Shape ``(batch_size,)``.
            env: Normalises it, if given.

        Raises:
            ValueError: If the rewards cannot be normalised.
        """
        return self.as_samples(self.stored(slots), env)

    def _get_samples(
        self, batch_inds: Ints, env: VecNormalize | None = None
    ) -> ReplayBufferSamples:
        return self.gather(batch_inds, env)

    def as_samples(
        self, transitions: Transitions, env: VecNormalize | None = None
    ) -> ReplayBufferSamples:
        """Return transitions as tensors, which on the CPU share their memory.

        Args:
            transitions: Not normalised.
            env: Normalises them, if given.

        Returns:
            Tensors of shape ``(n, *obs_shape)`` and ``(n, action_dim)``; all others ``(n, 1)``.

        Raises:
            ValueError: If the env normalises rewards, and these are sums over several steps: its
                scale and its limits are those of a single reward.
        """
        observations, next_observations = transitions.observations, transitions.next_observations
        rewards = transitions.rewards
        if env is not None:
            if env.norm_reward and self.n_steps > 1:
                raise ValueError(
                    f"n_steps = {self.n_steps} sums rewards before they are stored, so they cannot "
                    "be normalised when they are drawn: make VecNormalize with norm_reward=False, "
                    "or set n_steps=1"
                )
            observations = np.asarray(self._normalize_obs(observations, env))
            next_observations = np.asarray(self._normalize_obs(next_observations, env))
            rewards = self._normalize_reward(rewards, env)
        return ReplayBufferSamples(
            observations=self.to_torch(observations, copy=False),
            actions=self.to_torch(transitions.actions, copy=False),
            next_observations=self.to_torch(next_observations, copy=False),
            dones=self.to_torch(transitions.dones[:, None], copy=False),
            rewards=self.to_torch(rewards[:, None], copy=False),
            discounts=self.to_torch(transitions.discounts[:, None], copy=False),
        )

    def phase_shares(self) -> dict[int, float]:
        """Return which part of the stored transitions began in which phase."""
        return _shares(np.bincount(self.phases[self.stored_slots()]))

    def batch_phase_shares(self) -> dict[int, float]:
        """Return which part of the draws since the last reset of the counts is of which phase."""
        return _shares(self.drawn_phases)

    def reset_batch_counts(self) -> None:
        """Count the draws from 0 again."""
        self.drawn_phases[:] = 0

    def reset(self) -> None:
        """Forget everything, what is pending too; the generators keep their state."""
        self.seen = 0
        if self.frames is not None:
            self.frames.clear()
        for name, column in self.columns.items():
            column[:] = self._fills[name]
        self.drop_pending()
        self._forget()
        self._set_cursor()

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs, as plain values and arrays.

        What the last call of :meth:`add` or :meth:`sample` left behind is not among it.
        """
        slots = self.stored_slots()
        by_frames = {} if self.frames is None else self.frames.state_arrays(slots)
        return {
            "layout": self._layout(),
            "seen": self.seen,
            "rng": self.rng.bit_generator.state,
            "placement_rng": self.placement_rng.bit_generator.state,
            "pending": self.accumulator.state_dict(),
            "slots": slots,
            "arrays": {name: array[slots] for name, array in self._arrays().items()} | by_frames,
            "columns": {name: column[slots] for name, column in self.columns.items()},
            "drawn_phases": self.drawn_phases.copy(),
            "own": self._own_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become what was saved.

        Columns must have been added before. One that was not saved is left as if nobody had
        written to it, and one that is not here is left out: who wrote to it has gone.

        Raises:
            ValueError: If it was saved by another kind of memory, with another capacity or with
                other shapes; the message says which. Nothing has changed then.
        """
        for key, value in self._layout().items():
            if state["layout"].get(key) != value:
                raise ValueError(
                    f"{key} is {value!r} here and {state['layout'].get(key)!r} in what was saved"
                )
        slots = np.asarray(state["slots"])
        known = {name: self.columns[name] for name in self.columns if name in state["columns"]}
        arrays, saved = {**self._arrays(), **known}, {**state["arrays"], **state["columns"]}
        for name, array in arrays.items():
            same_layout(name, saved[name], (len(slots), *array.shape[1:]), array.dtype)
        if self.frames is not None:
            self.frames.check(saved, len(slots))
        self._check_contents(slots, saved, state)
        self.accumulator.load_state_dict(state["pending"])
        for name, column in self.columns.items():
            column[:] = self._fills[name]
        for name, array in arrays.items():
            array[slots] = saved[name]
        if self.frames is not None:
            self.frames.load(saved, slots)
        self.seen = int(state["seen"])
        self.rng.bit_generator.state = state["rng"]
        self.placement_rng.bit_generator.state = state["placement_rng"]
        self._load_own_state(state["own"])
        self._forget()
        self.drawn_phases = np.array(state["drawn_phases"], np.int64)
        # Those that wait will be stored, too.
        begun = [self.phases[slots], np.ravel(state["pending"]["phases"])]
        self.expect_phases(np.concatenate([np.zeros(1, np.int64), *begun]))
        self._set_cursor()

    def _check_contents(
        self, slots: Ints, saved: Mapping[str, Any], state: Mapping[str, Any]
    ) -> None:
        """Check numbers that are computed with, or by which something is looked up.

        Compiled code does both without a look.
        """
        if not np.array_equal(slots, self._slots_after(state)):
            raise ValueError(
                f"the slots in use are not those of {state['seen']} transitions in what was saved; "
                "it is damaged"
            )
        pending = state["pending"]
        own = [(name, saved[name]) for name in self._arrays()]  # columns may be NaN
        for name, values in (*own, ("returns that wait", pending["returns"])):
            numbers = np.asarray(values)
            if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
                raise ValueError(f"{name} are not finite in what was saved; it is damaged")
        for name in ("dones", "discounts"):
            Array((len(slots),) + (1,) * (saved[name].ndim - 1), np.float32, 0, 1)(
                name, saved[name]
            )
        Array((None,), np.int64, low=0)("drawn_phases", state["drawn_phases"])
        limits: dict[str, tuple[Any, int]] = {
            "slots": (slots, self.buffer_size),
            "phases": (saved["phases"], MOST_PHASES),
            "phases that wait": (state["pending"]["phases"], MOST_PHASES),
            "steps that wait": (state["pending"]["counts"], self.n_steps),
            "newest": (state["pending"]["newest"], self.n_steps),
        }
        if self.actions_below is not None:
            limits["actions"] = (saved["actions"], self.actions_below)
            limits["actions that wait"] = (state["pending"]["actions"], self.actions_below)
        for name, (values, limit) in limits.items():
            numbers = np.asarray(values)
            if numbers.size and not (numbers.min() >= 0 and numbers.max() < limit):
                raise ValueError(
                    f"{name} go from {numbers.min()} to {numbers.max()} in what was saved: they "
                    f"must be from 0 to {limit - 1}; it is damaged"
                )

    def _slots_after(self, state: Mapping[str, Any]) -> Ints:
        """Return the slots that are in use with a saved state."""
        if type(self)._load_own_state is not TransitionReplayBuffer._load_own_state:
            return np.asarray(state["slots"])  # what its own state says is known to it alone
        before, self.seen = self.seen, Whole(0, LONGEST)("seen", state["seen"])
        try:
            return self.stored_slots()
        finally:
            self.seen = before

    def _layout(self) -> dict[str, Any]:
        """Return what must be the same where a saved state is loaded."""
        return {
            "kind": type(self).__name__,
            "buffer_size": self.buffer_size,
            "num_envs": self.num_envs,
            "n_steps": self.n_steps,
            "gamma": self.gamma,
        }

    def _own_state(self) -> dict[str, Any]:
        """Return what only this kind of memory has."""
        return {}

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`_own_state` returned."""

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        # No timeouts: nothing here writes to them or reads them.
        whole = {
            "observations": self.observations,
            "next_observations": self.next_observations,
        }
        return {
            **(whole if self.frames is None else {}),
            "actions": self.actions,
            "rewards": self.rewards,
            "dones": self.dones,
            "discounts": self.discounts,
            "phases": self.phases,
        }


def _owner(kind: type, name: str) -> type:
    """Return the class that a class has a method from."""
    return next(base for base in kind.__mro__ if name in vars(base))


def _check_room(buffer_size: int, observation_space: spaces.Space[Any]) -> None:
    """Check that there is memory for so many transitions, before any is taken."""
    shape, dtype = get_obs_shape(observation_space), observation_space.dtype
    assert isinstance(shape, tuple)
    # Two observations; action, reward, done, timeout, discount and phase.
    each = 2 * int(np.prod(shape)) * np.dtype(dtype).itemsize + 8 + 4 * 4 + 8
    check_memory(f"buffer_size = {buffer_size:,} transitions", buffer_size * each, each)


def last_in_each(rows: Ints, slots: Ints) -> tuple[Ints, Ints]:
    """Leave out the rows whose slot a later row takes."""
    if len(set(slots.tolist())) == len(slots):
        return rows, slots
    _, last = np.unique(slots[::-1], return_index=True)
    kept = np.sort(len(slots) - 1 - last)
    return rows[kept], slots[kept]


def _shares(counts: Ints) -> dict[int, float]:
    total = counts.sum()
    return {int(phase): float(counts[phase] / total) for phase in np.flatnonzero(counts)}
