"""Whether dictionaries and lists of Python still hold the very same objects.

To go through what a hundred of them hold takes Python fifteen microseconds, most of it to count who
uses each object, in memory that compiled code has since had to itself. Its C interface lends them:
an object is told by where it lies, and is not touched. It must be kept alive, so that no other one
can come to lie there.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils

from continual_arcade.agents.kernels.inner import inner, intrinsic

cgutils: Any = _cgutils
Addresses = npt.NDArray[np.int64]
"""Of objects; 0 for none."""


class Held(NamedTuple):
    """What dictionaries and lists held at one moment."""

    entries: Addresses
    """Entries of dictionaries: a dictionary, a key, and the value; shape ``(count, 3)``."""
    tables: Addresses
    """Dictionaries that held nothing but the values below, in their order; shape ``(tables,)``."""
    ends: Addresses
    """Where the values of each end, shape ``(tables,)``."""
    values: Addresses
    """Of all of them, one after the other."""
    sized: Addresses
    """Dictionaries of which only the size counts, and their sizes, shape ``(count, 2)``."""
    lists: Addresses
    """Lists, shape ``(lists,)``, with the two that follow as of dictionaries."""
    list_ends: Addresses
    list_values: Addresses
    place: npt.NDArray[np.int64]
    """Where one is in a dictionary, shape ``(1,)``."""


_WORD = ir.IntType(64)


def _of_python(name: str, arguments: int) -> Any:
    """Return a function of Python's C interface that is given addresses, or numbers.

    Args:
        name: Its name.
        arguments: How many it is given. It returns a number, or an object that it lends.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        kind = ir.FunctionType(_WORD, [_WORD] * arguments)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)

    whole = types.int64
    if arguments == 1:
        return intrinsic(lambda typing_context, thing: (whole(whole), generate))
    return intrinsic(lambda typing_context, thing, other: (whole(whole, whole), generate))


_dict_size, _list_size = _of_python("PyDict_Size", 1), _of_python("PyList_Size", 1)
_value_of = _of_python("PyDict_GetItemWithError", 2)
_item_of = _of_python("PyList_GetItem", 2)


@intrinsic
def _next_value(typing_context: Any, table: Any, place: Any) -> Any:
    """Return the next value of a dictionary, 0 after the last; an array holds where it stands."""

    def generate(context: Any, builder: Any, signature: Any, given: Sequence[Any]) -> Any:
        pointer = _WORD.as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [_WORD, pointer, pointer, pointer])
        following = cgutils.get_or_insert_function(builder.module, kind, "PyDict_Next")
        position = context.make_array(signature.args[1])(context, builder, given[1]).data
        value = cgutils.alloca_once_value(builder, ir.Constant(_WORD, 0))
        none = ir.Constant(pointer, None)
        builder.call(following, [given[0], builder.bitcast(position, pointer), none, value])
        return builder.load(value)

    return types.int64(types.int64, place), generate


def holds(given: Any) -> int:
    """Return 1 if all is held as it was, else 0.

    Args:
        given: See :class:`Held`; whoever calls it has Python's lock.
    """
    entries, sized = given.entries, given.sized
    for i in range(len(sized)):
        if _dict_size(sized[i, 0]) != sized[i, 1]:
            return 0
    for i in range(len(entries)):
        if _value_of(entries[i, 0], entries[i, 1]) != entries[i, 2]:
            return 0
    at, place = 0, given.place
    for i in range(len(given.tables)):
        if _dict_size(given.tables[i]) != given.ends[i] - at:
            return 0
        place[0] = 0
        while at < given.ends[i]:
            if _next_value(given.tables[i], place) != given.values[at]:
                return 0
            at += 1
    return _hold_lists(given)


@inner()
def _hold_lists(given: Any) -> int:
    at = 0
    for i in range(len(given.lists)):
        if _list_size(given.lists[i]) != given.list_ends[i] - at:
            return 0
        for k in range(given.list_ends[i] - at):
            if _item_of(given.lists[i], k) != given.list_values[at + k]:
                return 0
        at = given.list_ends[i]
    return 1
