"""The frames of a replay memory, each kept once, however many observations show it.

An observation is a stack of frames, of which the next one shows all but the oldest again. So a
memory keeps frames, and of each observation which of them it shows. Which are the same is found by
comparing them, byte by byte: nothing need be known of episodes, phases, resets, or of who stacks
and how, and no observation is ever put together from frames that it did not show.

A frame that no observation shows any more leaves its place to another. They lie in blocks, which
Python makes; their number grows with what is to be kept, and no frame is ever moved.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload

from continual_arcade.agents.kernels.functions import bytes_at
from continual_arcade.agents.kernels.inner import inner
from continual_arcade.agents.kernels.vectors import copy

FREE, FREED, TAKEN, ROOM = range(4)
"""Of ``counts``: a place that is free again, or -1; how many are; places that were taken so far;
places that there are in all blocks."""
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio, odd: spreads sums over the table (Knuth 1998, 6.4)."""


class Frames(NamedTuple):
    """The frames of a memory, in places that are numbered from 0."""

    shown: npt.NDArray[np.int32]
    """Places of the frames that two observations of each transition show, -1 for none, shape
    ``(capacity, 2, channels)``; no row where observations are kept as a whole."""
    blocks: npt.NDArray[np.int64]
    """Addresses of the blocks."""
    counts: npt.NDArray[np.int64]
    heads: npt.NDArray[np.int32]
    """By what a sum is spread to: the first place whose frame has such a sum, or -1."""
    links: npt.NDArray[np.int32]
    """Of each place: the next with such a sum, or the next that is free; or -1."""
    sums: npt.NDArray[np.uint64]
    """Of the bytes of each frame, weighed."""
    uses: npt.NDArray[np.int32]
    """How often each frame is shown."""
    weights: npt.NDArray[np.uint32]
    """Of the bytes of a frame, shape ``(bytes,)``."""
    shift: int
    """How far sums are shifted, so that heads are left."""
    in_block: int
    """Places of a block."""


@inner()
def frame_at(frames: Any, place: Any) -> Any:
    """Return the bytes of a frame, shape ``(bytes,)``."""
    size = len(frames.weights)
    block, row = place // frames.in_block, place % frames.in_block
    return bytes_at(frames.blocks[block] + row * size, size)


@inner()
def _sum_of(frames: Any, frame: Any) -> Any:
    total = np.uint64(0)
    for i in range(len(frame)):
        total += np.uint64(frames.weights[i]) * np.uint64(frame[i])
    return total


@inner()
def _is_same(frame: Any, other: Any) -> Any:
    """Return whether two frames are equal: to look at all bytes is faster than to stop early."""
    differences = np.uint8(0)
    for i in range(len(frame)):
        differences |= np.uint8(frame[i] ^ other[i])
    return differences == 0


@inner()
def _head_of(frames: Any, total: Any) -> Any:
    return np.int64((total * _FACTOR) >> np.uint64(frames.shift))


@inner()
def place_of(frames: Any, frame: Any) -> Any:
    """Return the place of a frame, at which it is shown once more."""
    total = _sum_of(frames, frame)
    head = _head_of(frames, total)
    place = np.int64(frames.heads[head])
    while place >= 0:
        if frames.sums[place] == total and _is_same(frame, frame_at(frames, place)):
            frames.uses[place] += 1
            return place
        place = np.int64(frames.links[place])
    place = frames.counts[FREE]
    if place >= 0:
        frames.counts[FREE] = frames.links[place]
        frames.counts[FREED] -= 1
    else:
        place = frames.counts[TAKEN]
        frames.counts[TAKEN] += 1
    copy(frame, frame_at(frames, place))
    frames.sums[place], frames.uses[place] = total, 1
    frames.links[place], frames.heads[head] = frames.heads[head], place
    return place


@inner()
def let_go(frames: Any, place: Any) -> None:
    """Take note that a frame is shown once less; leave its place to others if nothing shows it."""
    frames.uses[place] -= 1
    if frames.uses[place] > 0:
        return
    head = _head_of(frames, frames.sums[place])
    if frames.heads[head] == place:
        frames.heads[head] = frames.links[place]
    else:
        before = np.int64(frames.heads[head])
        while frames.links[before] != place:
            before = np.int64(frames.links[before])
        frames.links[before] = frames.links[place]
    frames.links[place] = frames.counts[FREE]
    frames.counts[FREE] = place
    frames.counts[FREED] += 1


@inner()
def keep(frames: Any, slot: Any, observation: Any, next_observation: Any) -> None:
    """Keep the two observations of a transition in a slot, for those that it had."""
    size = len(frames.weights)
    for which in range(2):
        seen = observation if which == 0 else next_observation
        for channel in range(frames.shown.shape[2]):
            before = np.int64(frames.shown[slot, which, channel])
            frame = seen[channel * size : (channel + 1) * size]
            frames.shown[slot, which, channel] = place_of(frames, frame)
            if before >= 0:
                let_go(frames, before)


# What depends on whether there may be frames: the first argument is what there is of them.


def lacks_frames(frames: Any, count: Any) -> bool:
    """Return whether there may be no room for the frames of so many transitions more.

    Args:
        frames: The frames, or None.
        count: How many.
    """
    raise NotImplementedError


def remember(frames: Any, memory: Any, slot: Any, completed: Any, row: Any) -> None:
    """Keep the two observations of a completed transition in a slot.

    Args:
        frames: The frames of the memory, or None.
        memory: The memory.
        slot: Where.
        completed: Completed transitions.
        row: Which of them.
    """
    raise NotImplementedError


@overload(lacks_frames, strict=False)
def _lacks_frames(frames: Any, count: Any) -> Any:
    if isinstance(frames, types.NoneType):
        return lambda frames, count: False
    return lambda frames, count: lacks_room_for(frames, count)


@inner()
def lacks_room_for(frames: Any, count: Any) -> Any:
    """Return whether there may be no room for so many transitions, if each frame is a new one."""
    if len(frames.shown) == 0:
        return False
    counts = frames.counts
    free = counts[ROOM] - counts[TAKEN] + counts[FREED]
    return free < count * 2 * frames.shown.shape[2]


@overload(remember, strict=False)
def _remember(frames: Any, memory: Any, slot: Any, completed: Any, row: Any) -> Any:
    if isinstance(frames, types.NoneType):
        return lambda frames, memory, slot, completed, row: _copy_both(memory, slot, completed, row)

    def kept(frames: Any, memory: Any, slot: Any, completed: Any, row: Any) -> None:
        if len(frames.shown):
            keep(frames, slot, completed.observations[row], completed.next_observations[row])
        else:
            _copy_both(memory, slot, completed, row)

    return kept


@inner()
def _copy_both(memory: Any, slot: Any, completed: Any, row: Any) -> None:
    copy(completed.observations[row], memory.observations[slot])
    copy(completed.next_observations[row], memory.next_observations[slot])


# The ways in from Python.


def keep_rows(frames: Any, slots: Any, observations: Any, next_observations: Any) -> None:
    """Keep observations, as bytes, shape ``(count, channels * bytes)``; see :func:`keep`."""
    for row in range(len(slots)):
        keep(frames, slots[row], observations[row], next_observations[row])


def take_rows(frames: Any, slots: Any, which: Any, observations: Any) -> None:
    """Put together what lies in some slots.

    Args:
        frames: The frames.
        slots: Slots that hold a transition, shape ``(count,)``.
        which: 0 for where transitions begin, 1 for where they end.
        observations: Filled, shape ``(count, channels * bytes)``.
    """
    size = len(frames.weights)
    for row in range(len(slots)):
        for channel in range(frames.shown.shape[2]):
            frame = frame_at(frames, np.int64(frames.shown[slots[row], which, channel]))
            copy(frame, observations[row, channel * size : (channel + 1) * size])


def take_frames(frames: Any, places: Any, taken: Any) -> None:
    """Fill an array, shape ``(count, bytes)``, with the frames at some places."""
    for row in range(len(places)):
        copy(frame_at(frames, np.int64(places[row])), taken[row])
