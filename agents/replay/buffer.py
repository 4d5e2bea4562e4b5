"""Replay memories that decide, transition by transition, what is kept and what is drawn.

Stable-Baselines3 keeps one column per sub-environment and overwrites row by row. What overwrites in
another order needs single transitions, complete before they are stored; so that is what all
memories here hold, and they differ only in where a transition goes and which ones are drawn.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.preprocessing import get_obs_shape
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from continual_arcade.agents.machine_memory import check_memory
from continual_arcade.agents.replay.n_step import (
    MOST_PHASES,
    NStepAccumulator,
    Transitions,
    same_layout,
)
from continual_arcade.envs.checks import Array, Number, Whole, flag
from continual_arcade.envs.schedules import LONGEST

Ints = npt.NDArray[np.int64]


class TransitionReplayBuffer(ReplayBuffer):
    """A replay memory of single transitions, to be used as ``replay_buffer_class``.

    Every transition is placed on its own, however many sub-environments there are: were they kept
    or dropped together, each would still be as likely to stay as it should, but how many of a phase
    stay would vary ``n_envs`` times as much.

    What is kept and what is drawn comes from two generators of its own, so that a memory holds the
    same however often it is drawn from, and nothing else that is random changes with it.

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
        _check_room(buffer_size, observation_space)
        super().__init__(
            buffer_size,
            observation_space,
            action_space,
            device,
            n_envs=1,
            handle_timeout_termination=flag(
                "handle_timeout_termination", handle_timeout_termination
            ),
        )
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
        self._forget()

    def _forget(self) -> None:
        nothing = np.zeros(0, np.int64)
        self.latest: Transitions = self.stored(nothing)
        """The transitions that the last call of :meth:`add` completed."""
        self.placed: tuple[Ints, Ints] = (nothing, nothing)
        """Rows of ``latest``, and the slots in which these lie now."""
        self.sampled: Ints = nothing
        """Slots of the last batch, shape ``(batch_size,)``."""
        self.reset_batch_counts()

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

    @abstractmethod
    def _place(self, transitions: Transitions) -> tuple[Ints, Ints]:
        """Decide where transitions go, before ``seen`` counts them.

        Returns:
            Rows of the transitions, and the slot of each. A row may have no slot or several; in a
            slot that has several rows, the last one stays.
        """

    @abstractmethod
    def _draw(self, batch_size: int) -> Ints:
        """Draw slots that hold a transition, shape ``(batch_size,)``."""

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
            ValueError: If an argument has the wrong number of elements.
        """
        if self.handle_timeout_termination:
            timeouts = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        else:
            timeouts = np.zeros(self.num_envs, np.bool_)
        phases = np.array([info.get("phase", 0) for info in infos], np.int64)
        self.expect_phases(phases)
        latest = self.accumulator.push(obs, action, reward, next_obs, done, timeouts, phases)
        rows, slots = _last_in_each(*self._place(latest))
        kept = latest.take(rows)
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
        self.latest, self.placed = latest, (rows, slots)
        self._set_cursor()

    def expect_phases(self, phases: Ints) -> None:
        """Be ready to count the draws of these phases.

        Raises:
            ValueError: If one is negative.
        """
        if phases.min() < 0 or phases.max() >= MOST_PHASES:
            wrong = phases.min() if phases.min() < 0 else phases.max()
            raise ValueError(f"info['phase'] = {wrong} must be from 0 to {MOST_PHASES - 1:,}")
        if phases.max() >= len(self.drawn_phases):
            more = np.zeros(phases.max() + 1 - len(self.drawn_phases), np.int64)
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
        return Transitions(
            self.observations[:, 0].take(slots, 0),
            self.actions[:, 0].take(slots, 0),
            self.rewards[:, 0].take(slots),
            self.next_observations[:, 0].take(slots, 0),
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
        """Begin to count the draws anew."""
        self.drawn_phases[:] = 0

    def reset(self) -> None:
        """Forget everything, what is pending too; the generators go on where they are."""
        self.seen = 0
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
        return {
            "layout": self._layout(),
            "seen": self.seen,
            "rng": self.rng.bit_generator.state,
            "placement_rng": self.placement_rng.bit_generator.state,
            "pending": self.accumulator.state_dict(),
            "slots": slots,
            "arrays": {name: array[slots] for name, array in self._arrays().items()},
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
        self._check_contents(slots, saved, state)
        self.accumulator.load_state_dict(state["pending"])
        for name, column in self.columns.items():
            column[:] = self._fills[name]
        for name, array in arrays.items():
            array[slots] = saved[name]
        self.seen = int(state["seen"])
        self.rng.bit_generator.state = state["rng"]
        self.placement_rng.bit_generator.state = state["placement_rng"]
        self._load_own_state(state["own"])
        self._forget()
        self.drawn_phases = np.array(state["drawn_phases"], np.int64)
        self.expect_phases(np.array([0, *self.phases[slots].tolist()]))
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
        return {
            "observations": self.observations,
            "next_observations": self.next_observations,
            "actions": self.actions,
            "rewards": self.rewards,
            "dones": self.dones,
            "discounts": self.discounts,
            "phases": self.phases,
        }


class FIFOReplayBuffer(TransitionReplayBuffer):
    """Remembers the most recent transitions; draws uniformly, with replacement."""

    def _place(self, transitions: Transitions) -> tuple[Ints, Ints]:
        return fifo(self.seen, len(transitions), self.buffer_size)

    def _draw(self, batch_size: int) -> Ints:
        return self.rng.integers(self.size(), size=batch_size)

    def _set_cursor(self) -> None:
        super()._set_cursor()
        self.pos = self.seen % self.buffer_size


class ReservoirReplayBuffer(TransitionReplayBuffer):
    """Remembers a uniform sample of all transitions of the life; draws uniformly from it.

    Source: J. S. Vitter, "Random sampling with a reservoir", ACM TOMS 11 (1985), Algorithm R.
    """

    def _place(self, transitions: Transitions) -> tuple[Ints, Ints]:
        return reservoir(self.placement_rng, self.seen, len(transitions), self.buffer_size)

    def _draw(self, batch_size: int) -> Ints:
        return self.rng.integers(self.size(), size=batch_size)


class MixReplayBuffer(TransitionReplayBuffer):
    """Remembers the most recent transitions and, beside them, a uniform sample of the whole life.

    The first ``fifo_size`` slots hold the recent ones, the others the sample. Every transition is
    offered to both and may lie in both.

    Source: D. Isele and A. Cosgun, "Selective experience replay for lifelong learning", AAAI 2018
    (distribution matching beside a FIFO memory).

    Args:
        *args: As in the parent.
        fifo_size: Slots of the recent ones; None for half of them.
        long_term_fraction: Part of a batch that comes from the sample of the whole life. What is
            left of a whole transition decides by chance, so that it holds on average.
        **kwargs: As in the parent.

    Raises:
        ValueError: If a value makes no sense; the message says which.
    """

    def __init__(
        self,
        *args: Any,
        fifo_size: int | None = None,
        long_term_fraction: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if self.buffer_size < 2:
            raise ValueError(f"buffer_size = {self.buffer_size} has no room for two memories")
        if fifo_size is None:
            fifo_size = self.buffer_size // 2
        self.fifo_size = Whole(1)("fifo_size", fifo_size)
        if self.fifo_size >= self.buffer_size:
            raise ValueError(
                f"fifo_size = {fifo_size} must leave slots for the long term: buffer_size = "
                f"{self.buffer_size}"
            )
        self.long_term_fraction = Number(0, 1)("long_term_fraction", long_term_fraction)

    def _held(self) -> tuple[int, int]:
        """Return how many transitions the recent part and the long-term part hold."""
        return min(self.seen, self.fifo_size), min(self.seen, self.buffer_size - self.fifo_size)

    def size(self) -> int:
        """Return how many slots are in use; a transition that lies in both parts counts twice."""
        return sum(self._held())

    def stored_slots(self) -> Ints:
        """Return the slots that hold a transition, in ascending order, shape ``(size(),)``."""
        recent, long_term = self._held()
        return np.concatenate([np.arange(recent), self.fifo_size + np.arange(long_term)])

    def _place(self, transitions: Transitions) -> tuple[Ints, Ints]:
        rows, slots = fifo(self.seen, len(transitions), self.fifo_size)
        long_term_rows, long_term_slots = reservoir(
            self.placement_rng, self.seen, len(transitions), self.buffer_size - self.fifo_size
        )
        return (
            np.concatenate([rows, long_term_rows]),
            np.concatenate([slots, self.fifo_size + long_term_slots]),
        )

    def _draw(self, batch_size: int) -> Ints:
        recent, long_term = self._held()
        old, rest = divmod(self.long_term_fraction * batch_size, 1)
        if rest:  # drawn, so that batches of one come from both
            old += self.rng.random() < rest
        old = int(old)
        return np.concatenate(
            [
                self.fifo_size + self.rng.integers(long_term, size=old),
                self.rng.integers(recent, size=batch_size - old),
            ]
        )

    def _layout(self) -> dict[str, Any]:
        return {**super()._layout(), "fifo_size": self.fifo_size}


class BalancedReplayBuffer(TransitionReplayBuffer):
    """Remembers equally much of each phase, a uniform sample of it; draws uniformly from all.

    Each of ``k`` phases has ``buffer_size // k`` slots. When a new phase comes, the older ones drop
    members at random until they fit; what stays moves together then, with its columns, so slots
    noted earlier (``placed``, ``sampled``) no longer hold. A phase with fewer transitions than its
    share leaves the rest of it empty.

    Unlike the other memories this one must be told the phase, in the infos.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._members: dict[int, Ints] = {}
        """Slots of each phase; of the length of a share, used up to what the phase has."""
        self._seen_of: dict[int, int] = {}
        """Transitions of each phase that were offered so far."""

    @property
    def share(self) -> int:
        """Slots of each phase."""
        return self.buffer_size // max(len(self._seen_of), 1)

    def _held(self, phase: int) -> int:
        return min(self._seen_of[phase], self.share)

    def size(self) -> int:
        """Return how many transitions are stored."""
        return sum(map(self._held, self._seen_of))

    def reset(self) -> None:
        """Forget everything, the phases too; the generators go on where they are."""
        self._members, self._seen_of = {}, {}
        super().reset()

    def _place(self, transitions: Transitions) -> tuple[Ints, Ints]:
        offered: dict[int, list[int]] = {}
        for row, phase in enumerate(transitions.phases.tolist()):
            offered.setdefault(phase, []).append(row)
        self.make_room_for(offered)
        rows, slots = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for phase, of_phase in offered.items():
            stored, held, members = self.size(), self._held(phase), self._members[phase]
            chosen, places = reservoir(
                self.placement_rng, self._seen_of[phase], len(of_phase), self.share
            )
            self._seen_of[phase] += len(of_phase)
            grown = self._held(phase)
            members[held:grown] = np.arange(stored, stored + grown - held)
            rows.append(np.array(of_phase)[chosen])
            slots.append(members[places])
        return np.concatenate(rows), np.concatenate(slots)

    def make_room_for(self, offered: Iterable[int]) -> None:
        """Shrink the older phases to the share that is theirs beside new ones.

        Args:
            offered: Phases of transitions that are about to be stored.

        Raises:
            ValueError: If there are more phases than slots.
        """
        arrivals = [phase for phase in dict.fromkeys(offered) if phase not in self._seen_of]
        if not arrivals:
            return
        phases = len(self._seen_of) + len(arrivals)
        share = self.buffer_size // phases
        if share == 0:
            raise ValueError(
                f"buffer_size = {self.buffer_size} cannot hold a transition of each of {phases} "
                "phases"
            )
        kept = {
            phase: self.placement_rng.permutation(self._members[phase][: self._held(phase)])[:share]
            for phase in self._seen_of
        }
        slots = np.sort(np.concatenate([np.zeros(0, np.int64), *kept.values()]))
        for array in (*self._arrays().values(), *self.columns.values()):
            array[: len(slots)] = array[slots]
        self._seen_of.update(dict.fromkeys(arrivals, 0))
        self._members = {phase: np.zeros(share, np.int64) for phase in self._seen_of}
        for phase, members in kept.items():
            self._members[phase][: len(members)] = np.searchsorted(slots, members)

    def _draw(self, batch_size: int) -> Ints:
        return self.rng.integers(self.size(), size=batch_size)

    def _own_state(self) -> dict[str, Any]:
        return {
            "seen_of": {str(phase): seen for phase, seen in self._seen_of.items()},
            "members": {str(phase): slots.copy() for phase, slots in self._members.items()},
        }

    def _slots_after(self, state: Mapping[str, Any]) -> Ints:
        seen_of, members = state["own"]["seen_of"], state["own"]["members"]
        share = self.buffer_size // max(len(seen_of), 1)
        total = 0
        if seen_of.keys() != members.keys() or share == 0:
            raise ValueError("members and phases do not match in what was saved; it is damaged")
        used = []
        for phase, seen in seen_of.items():
            Whole(0, MOST_PHASES - 1)("phase", int(phase))
            total += Whole(0, LONGEST)(f"seen of phase {phase}", seen)
            held = Array((share,), np.int64, 0, self.buffer_size - 1)(
                f"slots of phase {phase}", members[phase]
            )
            used.append(held[: min(seen, share)])
        slots = np.sort(np.concatenate([np.zeros(0, np.int64), *used]))
        if total != state["seen"] or not np.array_equal(slots, np.arange(len(slots))):
            raise ValueError("the slots of phases overlap in what was saved; it is damaged")
        return slots

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._seen_of = {int(phase): seen for phase, seen in state["seen_of"].items()}
        self._members = {int(phase): np.array(slots) for phase, slots in state["members"].items()}


def _check_room(buffer_size: int, observation_space: spaces.Space[Any]) -> None:
    """Check that there is memory for so many transitions, before any is taken."""
    shape, dtype = get_obs_shape(observation_space), observation_space.dtype
    assert isinstance(shape, tuple)
    # Two observations; action, reward, done, timeout, discount and phase.
    each = 2 * int(np.prod(shape)) * np.dtype(dtype).itemsize + 8 + 4 * 4 + 8
    check_memory(f"buffer_size = {buffer_size:,} transitions", buffer_size * each, each)


def fifo(seen: int, count: int, capacity: int) -> tuple[Ints, Ints]:
    """Place transitions in turn.

    Args:
        seen: Transitions that were offered before.
        count: Transitions that are offered now.
        capacity: Slots.

    Returns:
        Rows of those that are kept, all of them, and the slot of each.
    """
    rows = np.arange(count)
    return rows, (seen + rows) % capacity


def reservoir(rng: np.random.Generator, seen: int, count: int, capacity: int) -> tuple[Ints, Ints]:
    """Place transitions so that the slots always hold a uniform sample of all that were offered.

    Source: J. S. Vitter, "Random sampling with a reservoir", ACM TOMS 11 (1985), Algorithm R.

    Args:
        rng: Decides.
        seen: Transitions that were offered before.
        count: Transitions that are offered now.
        capacity: Slots.

    Returns:
        Rows of those that are kept, and the slot of each; a later one may get the slot of an
        earlier one.
    """
    slots = np.arange(seen, seen + count)
    fresh = max(capacity - seen, 0)
    if fresh < count:
        # The transition of index i may go to i + 1 places, of which `capacity` are slots.
        slots[fresh:] = rng.integers(slots[fresh:] + 1)
    rows = np.flatnonzero(slots < capacity)
    return rows, slots[rows]


def _last_in_each(rows: Ints, slots: Ints) -> tuple[Ints, Ints]:
    """Leave out the rows whose slot a later row takes."""
    if len(set(slots.tolist())) == len(slots):
        return rows, slots
    _, last = np.unique(slots[::-1], return_index=True)
    kept = np.sort(len(slots) - 1 - last)
    return rows[kept], slots[kept]


def _shares(counts: Ints) -> dict[int, float]:
    total = counts.sum()
    return {int(phase): float(counts[phase] / total) for phase in np.flatnonzero(counts)}
