"""Replay in compiled code: the same decisions as those of ``agents.replay`` and ``agents.n_step``.

Both work on the same arrays and draw from the same generators, so that what one engine stored the
other goes on with.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.kernels.inner import inner
from continual_arcade.agents.kernels.random import Stream, below, fraction

FIFO, RESERVOIR, MIX, BALANCED = range(4)
"""Kinds of memory."""


class Memory(NamedTuple):
    """The arrays of a replay memory; transitions lie in rows."""

    observations: npt.NDArray[Any]
    """Shape ``(capacity, features)``."""
    next_observations: npt.NDArray[Any]
    actions: npt.NDArray[np.int64]
    """Shape ``(capacity,)``, like all that follow."""
    rewards: npt.NDArray[np.float32]
    dones: npt.NDArray[np.float32]
    discounts: npt.NDArray[np.float32]
    phases: npt.NDArray[np.int64]
    q_values: npt.NDArray[np.float32]
    """Values when it was stored, shape ``(capacity, actions)``, or no row where none are kept."""
    counts: npt.NDArray[np.int64]
    """How often each phase was drawn, shape ``(phases,)``."""
    members: npt.NDArray[np.int64]
    """Balanced only: slots of each phase, shape ``(phases, share)``."""
    member_phases: npt.NDArray[np.int64]
    """Which phases these are, shape ``(phases,)``."""
    members_seen: npt.NDArray[np.int64]
    """Transitions of each phase that were offered so far, shape ``(phases,)``."""
    draws: Stream
    placement: Stream


class Pending(NamedTuple):
    """The steps that wait for later rewards; see ``NStepAccumulator``."""

    observations: npt.NDArray[Any]
    """Shape ``(num_envs, n_steps, features)``."""
    actions: npt.NDArray[np.int64]
    """Shape ``(num_envs, n_steps)``."""
    returns: npt.NDArray[np.float64]
    phases: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    """Shape ``(num_envs,)``."""
    weights: npt.NDArray[np.float64]
    """Shape ``(n_steps, n_steps)``."""
    discounts: npt.NDArray[np.float32]
    """Shape ``(n_steps,)``."""


class Completed(NamedTuple):
    """Transitions that were completed, on their way into the memory."""

    observations: npt.NDArray[Any]
    """Shape ``(room, features)``."""
    actions: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    next_observations: npt.NDArray[Any]
    dones: npt.NDArray[np.float32]
    discounts: npt.NDArray[np.float32]
    phases: npt.NDArray[np.int64]
    placed_rows: npt.NDArray[np.int64]
    """Which of them now lie ..."""
    placed_slots: npt.NDArray[np.int64]
    """... in which slots."""


@inner()
def push(
    pending: Any,
    completed: Any,
    row: int,
    newest: int,
    env: int,
    observation: Any,
    action: int,
    reward: Any,
    next_observation: Any,
    ended: bool,
    terminated: bool,
    phase: int,
) -> int:
    """Take a step of one sub-environment; put what it completes among the completed ones.

    Args:
        pending: Steps that wait.
        completed: Filled from ``row`` on.
        row: The first free row.
        newest: Column of this step.
        env: Which sub-environment.
        observation: Where it was.
        action: What it did.
        reward: What it got.
        next_observation: Where it came to; the last observation of an episode that ended.
        ended: Whether the episode ended.
        terminated: Whether it did so by its rules.
        phase: Phase of the episode.

    Returns:
        The first row that is still free.
    """
    n_steps = len(pending.discounts)
    pending.observations[env, newest] = observation
    pending.actions[env, newest] = action
    pending.phases[env, newest] = phase
    pending.returns[env, newest] = 0.0
    for column in range(n_steps):
        pending.returns[env, column] += pending.weights[newest, column] * reward
    count = pending.counts[env] + 1
    for age in range(min(count, n_steps) - 1, -1, -1):
        if ended or age == n_steps - 1:
            column = (newest - age) % n_steps
            completed.observations[row] = pending.observations[env, column]
            completed.actions[row] = pending.actions[env, column]
            completed.rewards[row] = pending.returns[env, column]
            completed.next_observations[row] = next_observation
            completed.dones[row] = 1.0 if terminated else 0.0
            completed.discounts[row] = pending.discounts[age]
            completed.phases[row] = pending.phases[env, column]
            row += 1
    pending.counts[env] = 0 if ended else min(count, n_steps - 1)
    return row


@inner()
def lacks_room(memory: Any, kind: int, completed: Any, first: int, end: int) -> bool:
    """Return whether a balanced memory must make room for a phase before it takes these rows."""
    if kind != BALANCED:
        return False
    for phase in completed.phases[first:end]:  # noqa: SIM110  # compiled code has no any()
        if index_of(memory.member_phases, phase) < 0:
            return True
    return False


@inner()
def index_of(phases: Any, phase: int) -> int:
    """Return where a phase stands in a list, -1 if nowhere."""
    for i in range(len(phases)):
        if phases[i] == phase:
            return i
    return -1


@inner()
def place(
    memory: Any, kind: int, fifo_size: int, seen: int, completed: Any, first: int, end: int
) -> int:
    """Store completed rows, in order; a later one may take the slot of an earlier one.

    Returns:
        How many pairs of ``placed_rows`` and ``placed_slots`` were written.
    """
    placed = 0
    capacity = len(memory.rewards)
    if kind in (FIFO, MIX):
        size = fifo_size if kind == MIX else capacity
        for row in range(first, end):
            placed = _put(memory, completed, placed, row, (seen + row - first) % size)
    if kind in (RESERVOIR, MIX):
        offset = fifo_size if kind == MIX else 0
        for row in range(first, end):
            slot = _reservoir(memory.placement, seen + row - first, capacity - offset)
            if slot >= 0:
                placed = _put(memory, completed, placed, row, offset + slot)
    if kind == BALANCED:
        share = memory.members.shape[1]
        stored = _balanced_size(memory)
        # Phase by phase, in the order of their first rows.
        for row in range(first, end):
            phase = completed.phases[row]
            if index_of(completed.phases[first:row], phase) >= 0:
                continue
            group = index_of(memory.member_phases, phase)
            for other in range(row, end):
                if completed.phases[other] != phase:
                    continue
                index = memory.members_seen[group]
                memory.members_seen[group] += 1
                if index < share:
                    memory.members[group, index] = stored
                    stored += 1
                chosen = _reservoir(memory.placement, index, share)
                if chosen >= 0:
                    slot = memory.members[group, chosen]
                    placed = _put(memory, completed, placed, other, slot)
    return placed


@inner()
def _reservoir(stream: Any, index: int, capacity: int) -> int:
    """Return the place of a transition in a uniform sample of all, -1 for none (algorithm R)."""
    if index < capacity:
        return index
    slot = below(stream, index + 1)
    return slot if slot < capacity else -1


@inner()
def _balanced_size(memory: Any) -> int:
    share = memory.members.shape[1]
    size = 0
    for seen in memory.members_seen:
        size += min(seen, share)
    return size


@inner()
def _put(memory: Any, completed: Any, placed: int, row: int, slot: int) -> int:
    memory.observations[slot] = completed.observations[row]
    memory.next_observations[slot] = completed.next_observations[row]
    memory.actions[slot] = completed.actions[row]
    memory.rewards[slot] = completed.rewards[row]
    memory.dones[slot] = completed.dones[row]
    memory.discounts[slot] = completed.discounts[row]
    memory.phases[slot] = completed.phases[row]
    if len(memory.q_values):
        memory.q_values[slot] = np.nan
    completed.placed_rows[placed] = row
    completed.placed_slots[placed] = slot
    return placed + 1


@inner()
def draw(
    memory: Any, kind: int, fifo_size: int, long_term_fraction: float, seen: int, slots: Any
) -> None:
    """Fill an array with slots that hold a transition, and count their phases."""
    capacity = len(memory.rewards)
    count = len(slots)
    if kind == MIX:
        recent, long_term = min(seen, fifo_size), min(seen, capacity - fifo_size)
        share = long_term_fraction * count
        old = int(share)
        if share > old and fraction(memory.draws) < share - old:
            old += 1
        for i in range(old):
            slots[i] = fifo_size + below(memory.draws, long_term)
        for i in range(old, count):
            slots[i] = below(memory.draws, recent)
    else:
        size = _balanced_size(memory) if kind == BALANCED else min(seen, capacity)
        for i in range(count):
            slots[i] = below(memory.draws, size)
    for slot in slots:
        memory.counts[memory.phases[slot]] += 1
