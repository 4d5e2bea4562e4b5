"""What replay memories decide, compiled: which transitions are complete, kept, and drawn.

The memories of ``agents.replay`` call these functions, and so does the compiled engine, on the same
arrays and from the same generators: what one engine stored the other resumes with.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from continual_arcade.agents.kernels.frames import Frames, lacks_frames, remember
from continual_arcade.agents.kernels.inner import inner
from continual_arcade.agents.kernels.random import Stream, below, fraction
from continual_arcade.agents.kernels.vectors import copy

FIFO, RESERVOIR, MIX, BALANCED = range(4)
"""Kinds of memory."""


class Book(NamedTuple):
    """What decisions are made by."""

    members: npt.NDArray[np.int64]
    """Balanced only: slots of each phase, shape ``(phases, share)``."""
    member_phases: npt.NDArray[np.int64]
    """Which phases these are, shape ``(phases,)``."""
    members_seen: npt.NDArray[np.int64]
    """Transitions of each phase that were offered so far, shape ``(phases,)``."""
    draws: Stream
    placement: Stream


class Memory(NamedTuple):
    """The arrays of a replay memory; transitions lie in rows."""

    observations: npt.NDArray[Any]
    """Shape ``(capacity, features)``; no row where frames are kept."""
    next_observations: npt.NDArray[Any]
    frames: Frames | None
    """Of pictures; None where features are seen."""
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
    book: Book


class Pending(NamedTuple):
    """The steps that wait for later rewards; see ``NStepAccumulator``."""

    observations: npt.NDArray[Any]
    """Shape ``(num_envs, n_steps, features)``."""
    actions: npt.NDArray[Any]
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
    actions: npt.NDArray[Any]
    rewards: npt.NDArray[np.float32]
    next_observations: npt.NDArray[Any]
    dones: npt.NDArray[np.float32]
    discounts: npt.NDArray[np.float32]
    phases: npt.NDArray[np.int64]
    ended: npt.NDArray[np.bool_]
    """Whether the episode ended there, by its rules or cut off."""
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
    copy(observation, pending.observations[env, newest])
    pending.actions[env, newest] = action
    pending.phases[env, newest] = phase
    pending.returns[env, newest] = 0.0
    for column in range(n_steps):
        pending.returns[env, column] += pending.weights[newest, column] * reward
    count = pending.counts[env] + 1
    for age in range(min(count, n_steps) - 1, -1, -1):
        if ended or age == n_steps - 1:
            column = (newest - age) % n_steps
            copy(pending.observations[env, column], completed.observations[row])
            completed.actions[row] = pending.actions[env, column]
            completed.rewards[row] = pending.returns[env, column]
            copy(next_observation, completed.next_observations[row])
            completed.dones[row] = 1.0 if terminated else 0.0
            completed.discounts[row] = pending.discounts[age]
            completed.phases[row] = pending.phases[env, column]
            completed.ended[row] = ended
            row += 1
    pending.counts[env] = 0 if ended else min(count, n_steps - 1)
    return row


def push_step(
    pending: Any,
    completed: Any,
    newest: int,
    observations: Any,
    actions: Any,
    rewards: Any,
    next_observations: Any,
    ended: Any,
    terminated: Any,
    phases: Any,
) -> int:
    """Take a step of all sub-environments; see :func:`push`, of which this is the way in.

    Returns:
        How many transitions it completes.
    """
    row = 0
    for env in range(len(ended)):
        row = push(
            pending,
            completed,
            row,
            newest,
            env,
            observations[env],
            actions[env],
            rewards[env],
            next_observations[env],
            ended[env],
            terminated[env],
            phases[env],
        )
    return row


@inner()
def lacks_room(memory: Any, kind: int, completed: Any, first: int, end: int) -> bool:
    """Return whether Python must make room before a memory takes these rows.

    A balanced one must make room for a phase; one that keeps frames may need a block of them.
    """
    if lacks_frames(memory.frames, end - first):
        return True
    if kind != BALANCED:
        return False
    for phase in completed.phases[first:end]:  # compiled code has no any()
        if index_of(memory.book.member_phases, phase) < 0:
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
    capacity = len(memory.rewards)
    rows, slots = completed.placed_rows, completed.placed_slots
    phases = completed.phases[first:end]
    placed = decide(memory.book, kind, fifo_size, capacity, seen, phases, rows, slots)
    for i in range(placed):
        rows[i] += first
        _put(memory, completed, rows[i], slots[i])
    return placed


@njit(error_model="numpy")
def decide(
    book: Any,
    kind: int,
    fifo_size: int,
    capacity: int,
    seen: int,
    phases: Any,
    rows: Any,
    slots: Any,
) -> int:
    """Decide where transitions go.

    Args:
        book: What is known of phases, and the generator that decides.
        kind: Of memory.
        fifo_size: Slots of the recent part of a mixed memory.
        capacity: Slots of the memory.
        seen: Transitions that were offered before.
        phases: Of the transitions, shape ``(count,)``.
        rows: Filled with the rows of those that are stored; room for two of each.
        slots: Filled with the slot of each.

    Returns:
        How many pairs were written; of several for one slot the last one stays.
    """
    placed, count = 0, len(phases)
    if kind in (FIFO, MIX):
        size = fifo_size if kind == MIX else capacity
        for row in range(count):
            rows[placed], slots[placed] = row, (seen + row) % size
            placed += 1
    if kind in (RESERVOIR, MIX):
        offset = fifo_size if kind == MIX else 0
        for row in range(count):
            slot = _reservoir(book.placement, seen + row, capacity - offset)
            if slot >= 0:
                rows[placed], slots[placed] = row, offset + slot
                placed += 1
    if kind == BALANCED:
        share = book.members.shape[1]
        stored = balanced_size(book)
        # Phase by phase, in the order of their first rows.
        for row in range(count):
            phase = phases[row]
            if index_of(phases[:row], phase) >= 0:
                continue
            group = index_of(book.member_phases, phase)
            for other in range(row, count):
                if phases[other] != phase:
                    continue
                index = book.members_seen[group]
                book.members_seen[group] += 1
                if index < share:
                    book.members[group, index] = stored
                    stored += 1
                chosen = _reservoir(book.placement, index, share)
                if chosen >= 0:
                    rows[placed], slots[placed] = other, book.members[group, chosen]
                    placed += 1
    return placed


@inner()
def _reservoir(stream: Any, index: int, capacity: int) -> int:
    """Return the place of a transition in a uniform sample of all, -1 for none (algorithm R)."""
    if index < capacity:
        return index
    slot = below(stream, index + 1)
    return slot if slot < capacity else -1


@inner()
def balanced_size(book: Any) -> int:
    """Return how many transitions a balanced memory holds."""
    share = book.members.shape[1]
    size = 0
    for seen in book.members_seen:
        size += min(seen, share)
    return size


@inner()
def _put(memory: Any, completed: Any, row: int, slot: int) -> None:
    remember(memory.frames, memory, slot, completed, row)
    memory.actions[slot] = completed.actions[row]
    memory.rewards[slot] = completed.rewards[row]
    memory.dones[slot] = completed.dones[row]
    memory.discounts[slot] = completed.discounts[row]
    memory.phases[slot] = completed.phases[row]
    if len(memory.q_values):
        memory.q_values[slot] = np.nan


@inner()
def draw(
    memory: Any, kind: int, fifo_size: int, long_term_fraction: float, seen: int, slots: Any
) -> None:
    """Fill an array with slots that hold a transition, and count their phases."""
    draw_slots(memory.book, kind, fifo_size, long_term_fraction, len(memory.rewards), seen, slots)
    for slot in slots:
        memory.counts[memory.phases[slot]] += 1


@njit(error_model="numpy")
def draw_slots(
    book: Any,
    kind: int,
    fifo_size: int,
    long_term_fraction: float,
    capacity: int,
    seen: int,
    slots: Any,
) -> None:
    """Fill an array with slots that hold a transition."""
    count = len(slots)
    if kind == MIX:
        recent, long_term = min(seen, fifo_size), min(seen, capacity - fifo_size)
        share = long_term_fraction * count
        old = int(share)
        if share > old and fraction(book.draws) < share - old:
            old += 1
        for i in range(old):
            slots[i] = fifo_size + below(book.draws, long_term)
        for i in range(old, count):
            slots[i] = below(book.draws, recent)
    else:
        size = balanced_size(book) if kind == BALANCED else min(seen, capacity)
        for i in range(count):
            slots[i] = below(book.draws, size)
