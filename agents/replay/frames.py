"""The frames of a replay memory of pictures, each kept once; see :mod:`.kernels.frames`."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from continual_arcade.agents.kernels import frames as kernels
from continual_arcade.agents.kernels.frames import FREE, FREED, ROOM, TAKEN, Frames
from continual_arcade.agents.machine_memory import check_memory
from continual_arcade.agents.replay.n_step import same_layout
from continual_arcade.envs.checks import Array
from continual_arcade.envs.compiling import kernel

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

_BLOCK = 2**20
"""Bytes of a block, about."""
_ROWS = 256
"""Transitions that are taken back at a time."""
_MOST = 2**31 - 1
"""Places that can be told apart."""
_SETTLED = 32
"""Steps of all sub-environments after which it is foretold how many frames there will be."""


def are_pictures(space: spaces.Space[Any]) -> bool:
    """Return whether observations are frames, one behind the other, as far as their space tells."""
    if not (isinstance(space, spaces.Box) and len(space.shape) == 3 and space.dtype == np.uint8):
        return False
    return space.shape[0] <= min(space.shape[1:])  # channels first


class FrameStore:
    """Keeps the observations of transitions: each frame once, and which frames each shows.

    What is drawn is bit for bit what was kept, whatever it was: who stacks, whether an episode has
    ended, and how many sub-environments there are, is not asked. That observations have frames in
    common is only why it takes less memory.

    Args:
        capacity: Transitions; 0 if observations are kept elsewhere, as a whole.
        shape: Of an observation: frames, or their colours; rows; columns.
        at_once: Transitions that are kept at once, at most.

    Raises:
        ValueError: If there is not so much memory.
    """

    def __init__(self, capacity: int, shape: tuple[int, ...], at_once: int) -> None:
        channels, *sides = shape
        size = math.prod(sides)
        # A frame, and what is noted of it; which ones are shown; action, reward, done, timeout,
        # discount and phase.
        each = size + 32 + 8 * channels + 32
        check_memory(
            f"buffer_size = {capacity:,} transitions, each frame of them once,",
            capacity * each,
            each,
        )
        most = 2 * channels * (capacity + max(at_once, _ROWS)) if capacity else 1
        if most > _MOST:
            raise ValueError(
                f"buffer_size = {capacity:,} transitions may have {most:,} frames, and {_MOST:,} "
                "can be told apart: choose a smaller buffer_size"
            )
        self._shape, self._at_once = shape, at_once
        self._blocks: list[Bytes] = []
        bits = max(1, (2 * capacity).bit_length())
        in_block = max(1, min(_BLOCK // size, capacity // 8))
        weights = np.random.default_rng(0).integers(1, 2**32, size, np.uint32)
        self.frames = Frames(
            shown=np.full((capacity, 2, channels), -1, np.int32),
            blocks=np.zeros(-(-most // in_block), np.int64),
            counts=np.array([-1, 0, 0, 0], np.int64),
            heads=np.full(1 << bits, -1, np.int32),
            # The system gives memory to those alone that were written to.
            links=np.zeros(most, np.int32),
            sums=np.zeros(most, np.uint64),
            uses=np.zeros(most, np.int32),
            weights=weights,
            shift=64 - bits,
            in_block=in_block,
        )

    @property
    def nbytes(self) -> int:
        """The memory that it has taken [bytes]."""
        of_each = sum(of.itemsize for of in (self.frames.links, self.frames.sums, self.frames.uses))
        tables = (self.frames.shown, self.frames.blocks, self.frames.heads, self.frames.weights)
        blocks = sum(block.nbytes for block in self._blocks)
        taken = int(self.frames.counts[TAKEN]) * of_each
        return blocks + taken + sum(table.nbytes for table in tables)

    @property
    def count(self) -> int:
        """Frames that are kept."""
        return int(self.frames.counts[TAKEN] - self.frames.counts[FREED])

    def make_room_for(self, count: int, stored: int) -> None:
        """Have room for the frames of some transitions more, if each of them is a new one.

        Args:
            count: How many transitions.
            stored: How many are kept.

        Raises:
            ValueError: If there is not so much memory, or will not be when the memory is full.
        """
        shown, counts, in_block = self.frames.shown, self.frames.counts, self.frames.in_block
        lacking = 2 * shown.shape[2] * count - int(counts[ROOM] - counts[TAKEN] + counts[FREED])
        if lacking <= 0:
            return
        more = min(-(-lacking // in_block), len(self.frames.blocks) - len(self._blocks))
        size, expected = len(self.frames.weights), int(counts[ROOM]) + more * in_block
        if stored >= _SETTLED * self._at_once:
            expected = max(expected, self.count * len(shown) // stored)
        check_memory(
            f"the frames of buffer_size = {len(shown):,} transitions, {self.count:,} of the first "
            f"{stored:,},",
            (expected - int(counts[TAKEN])) * size,
        )
        for _ in range(more):
            self._blocks.append(np.zeros((in_block, size), np.uint8))
        counts[ROOM] += more * in_block
        self._tell_blocks()

    def _tell_blocks(self) -> None:
        self.frames.blocks[: len(self._blocks)] = [block.ctypes.data for block in self._blocks]

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._tell_blocks()  # those of a copy lie elsewhere

    def keep(self, slots: Ints, observations: Bytes, next_observations: Bytes) -> None:
        """Keep observations, for which there is room.

        Args:
            slots: Where, shape ``(count,)``.
            observations: Where the transitions begin, shape ``(count, *shape)``.
            next_observations: Where they end.
        """
        rows = (np.ascontiguousarray(of) for of in (observations, next_observations))
        _ways_in()[0](self.frames, slots, *map(self._in_rows, rows))

    def take(self, slots: Ints) -> tuple[Bytes, Bytes]:
        """Return what was kept in these slots, shape ``(count, *shape)`` each."""
        slots = np.asarray(slots, np.int64)
        shown = self.frames.shown
        is_held = (slots >= 0) & (slots < len(shown))
        if not (is_held.all() and (shown[slots] >= 0).all()):
            raise IndexError(f"not all of slots {slots} hold a transition")
        return self._taken(slots, 0), self._taken(slots, 1)

    def _taken(self, slots: Ints, which: int) -> Bytes:
        taken = np.empty((len(slots), *self._shape), np.uint8)
        _ways_in()[1](self.frames, slots, which, self._in_rows(taken))
        return taken

    def _in_rows(self, observations: Bytes) -> Bytes:
        return observations.reshape(len(observations), math.prod(self._shape))

    def clear(self) -> None:
        """Forget everything; the blocks stay."""
        self.frames.shown[:] = -1
        self.frames.heads[:] = -1
        self.frames.counts[[FREE, FREED, TAKEN]] = -1, 0, 0

    # States.

    def state_arrays(self, slots: Ints) -> dict[str, npt.NDArray[Any]]:
        """Return the frames that some slots show, in the order in which they first do.

        Returns:
            ``frames``, shape ``(frames, rows, columns)``; and ``shown``, which of them the two
            observations of each slot show, shape ``(slots, 2, channels)``.
        """
        shown = self.frames.shown[slots]
        places, first, which = np.unique(shown, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        taken = np.empty((len(places), len(self.frames.weights)), np.uint8)
        _ways_in()[2](self.frames, places[order], taken)
        return {
            "frames": taken.reshape(-1, *self._shape[1:]),
            "shown": rank[which].reshape(shown.shape),
        }

    def check(self, saved: Mapping[str, Any], count: int) -> None:
        """Check the observations of a saved state: as frames, or as a whole.

        Args:
            saved: Arrays, as :meth:`state_arrays` returns them; or ``observations`` and
                ``next_observations`` of before frames were kept, shape ``(count, 1, *shape)``.
            count: Transitions that were saved.

        Raises:
            ValueError: If they are of another layout, or show frames that were not saved.
        """
        channels, *sides = self._shape
        if "shown" not in saved:
            for name in ("observations", "next_observations"):
                same_layout(name, saved[name], (count, 1, *self._shape), np.dtype(np.uint8))
            return
        frames = np.asarray(saved["frames"])
        same_layout("frames", frames, (len(frames), *sides), np.dtype(np.uint8))
        check_memory("the frames that were saved", frames.nbytes)
        Array((count, 2, channels), np.int32, 0, len(frames) - 1)("shown", saved["shown"])

    def load(self, saved: Mapping[str, Any], slots: Ints) -> None:
        """Keep what was saved, and nothing else, in these slots.

        Args:
            saved: As :meth:`check` takes it.
            slots: Where, shape ``(count,)``.
        """
        self.clear()
        for first in range(0, len(slots), _ROWS):
            part = slice(first, first + _ROWS)
            if "shown" in saved:
                both = saved["frames"][saved["shown"][part]]
                observations = both[:, 0], both[:, 1]
            else:
                observations = saved["observations"][part], saved["next_observations"][part]
            self.make_room_for(len(slots[part]), first)
            self.keep(slots[part], *observations)


@cache
def _ways_in() -> tuple[Callable[..., None], ...]:
    """Return the compiled functions that keep rows, take rows, and take frames."""
    ways = (kernels.keep_rows, kernels.take_rows, kernels.take_frames)
    return tuple(kernel(way, {}, "replay") for way in ways)
