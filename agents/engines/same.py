"""Objects that must stay the very same, as long as compiled code works on them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from operator import is_
from typing import Any

import numpy as np
from numba import njit

from continual_arcade.agents.engines.compilation import Entry, Prepared
from continual_arcade.agents.kernels import held
from continual_arcade.agents.kernels.held import Addresses, Held


class Same:
    """What some dictionaries and lists hold at one moment, told by its addresses.

    It keeps alive all that it was given, so that nothing else can come to lie there.
    """

    def __init__(self) -> None:
        self._kept: list[Any] = []
        self._owners: list[Any] = []
        self._own: list[dict[str, Any]] = []
        """Where the attributes of the owners lie."""
        self._entries: list[tuple[int, int, int]] = []
        self._tables: list[tuple[int, list[int]]] = []
        self._sized: list[tuple[int, int]] = []
        self._lists: list[tuple[int, list[int]]] = []
        self._prepared: Prepared | None = None

    def __reduce__(self) -> Any:
        raise TypeError("it holds addresses, and cannot be copied: take everything anew")

    def attributes(self, owner: Any, names: Iterable[str]) -> None:
        """Take attributes of an object itself, some of which may not be there."""
        own = vars(owner)
        self._owners.append(owner)
        self._own.append(own)
        self.entries(own, names)

    def entries(self, table: dict[str, Any], keys: Iterable[str]) -> None:
        """Take values of a dictionary, some of which may not be there."""
        for key in keys:
            value = table.get(key)
            self._keep(table, key, value)
            self._entries.append((id(table), id(key), id(value) if key in table else 0))

    def values(self, table: dict[Any, Any]) -> None:
        """Take all values of a dictionary, and their order."""
        values = list(dict.values(table))
        self._keep(table, *values)
        self._tables.append((id(table), [*map(id, values)]))

    def size(self, table: Mapping[Any, Any], size: int) -> None:
        """Take no more than how much there is to be in a dictionary."""
        self._keep(table)
        self._sized.append((id(table), size))

    def items(self, things: list[Any]) -> None:
        """Take all that a list holds, and its order."""
        self._keep(things, *things)
        self._lists.append((id(things), [*map(id, things)]))

    def holds(self) -> bool:
        """Return whether all is as it was when it was taken."""
        if self._prepared is None:
            self._prepared = _entry().prepared(self._held())
        return all(map(is_, map(vars, self._owners), self._own)) and self._prepared() == 1

    def _keep(self, *things: Any) -> None:
        """Keep things alive, of which one is about to be taken."""
        self._kept += things
        self._prepared = None

    def _held(self) -> Held:
        return Held(
            np.array(self._entries, np.int64).reshape(-1, 3),
            *_flat(self._tables),
            np.array(self._sized, np.int64).reshape(-1, 2),
            *_flat(self._lists),
            np.zeros(1, np.int64),
        )


def _flat(groups: Sequence[tuple[int, list[int]]]) -> tuple[Addresses, Addresses, Addresses]:
    """Return owners, where what each holds ends, and what all of them hold."""
    owners = [owner for owner, _ in groups]
    ends = np.cumsum([len(each) for _, each in groups], dtype=np.int64)
    values = [address for _, each in groups for address in each]
    return np.array(owners, np.int64), ends, np.array(values, np.int64)


@cache
def _entry() -> Entry:
    return Entry(njit(error_model="numpy", inline="always")(held.holds), "learner")
