"""The control record as Python reads and writes it, before and after each call of compiled code.

A field of a NumPy record takes Python 0.3 microseconds to read, which is as long as ten lines of
this: all numbers of the record are 8 bytes long, so that they are seen as two plain tables of
numbers, of which each field has a place.
"""

from struct import Struct, error
from typing import Any

import numpy as np

from continual_arcade.agents.kernels import update


def place_of(name: str) -> int:
    """Return the place of a field in the tables of a :class:`Control`."""
    assert update.CONTROL.names is not None
    return update.CONTROL.names.index(name)


class Fields:
    """Fields that follow one another, and are handed over together.

    Args:
        names: Their names.
        kind: ``"q"`` for whole numbers, ``"d"`` for broken ones.
    """

    def __init__(self, names: tuple[str, ...], kind: str) -> None:
        self._first = 8 * place_of(names[0])
        assert all(place_of(name) == place_of(names[0]) + i for i, name in enumerate(names))
        self._layout = Struct(f"={len(names)}{kind}")
        self._kind = int if kind == "q" else float

    def write(self, control: "Control", *values: Any) -> None:
        """Write all of them."""
        try:
            self._layout.pack_into(control.bytes, self._first, *values)
        except error:  # a setting may be a whole number that is written with a point
            self._layout.pack_into(control.bytes, self._first, *map(self._kind, values))

    def read(self, control: "Control") -> tuple[Any, ...]:
        """Return all of them."""
        return self._layout.unpack_from(control.bytes, self._first)


def table(array: Any) -> Any:
    """Return an array of one dimension as a table of Python's numbers, in the same memory."""
    return memoryview(array)


class Control:
    """The control record, and the same memory as tables of plain numbers."""

    def __init__(self) -> None:
        self.array: Any = np.zeros(1, update.CONTROL)
        self.record: Any = self.array[0]
        self.bytes = table(self.array.view(np.uint8))
        """All of it; of a record NumPy would write down its fields each time it is looked at."""
        self.whole = table(self.array.view(np.int64))
        """Where fields that are whole numbers are read and written, at their places."""
        self.broken = table(self.array.view(np.float64))
        """The same for all others."""


STANDS = Fields(update.STANDS, "q")
SETTINGS = Fields(update.SETTINGS, "q")
RATES = Fields(update.RATES, "d")

ALONE = place_of("alone")
AVERAGED = place_of("averaged")
CHOOSES = place_of("chooses")
CLIP_FACTOR = place_of("clip_factor")
CLOCK = place_of("clock")
COMPLETED = place_of("completed")
EPISODES = place_of("episodes")
EPISODES_WANTED = place_of("episodes_wanted")
FRESH = place_of("fresh")
HALFWAY = place_of("halfway")
LEARNING_STARTS = place_of("learning_starts")
LEARNT = place_of("learnt")
LOSS = place_of("loss")
LOSSES = place_of("losses")
NORM = place_of("norm")
OWED = place_of("owed")
PHASE = place_of("phase")
PLACED = place_of("placed")
PLANNED = place_of("planned")
PLAYED = place_of("played")
RATE = place_of("rate")
ROWS = place_of("rows")
SEEN = place_of("seen")
STEPS = place_of("steps")
STEPS_PLANNED = place_of("steps_planned")
STORES = place_of("stores")
STREAMING = place_of("streaming")
SUM_OF_LOSSES = place_of("sum_of_losses")
TRAIN_EVERY = place_of("train_every")
