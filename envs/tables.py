"""Tables that compiled rules read: numbers in the memory of the process, found by a key.

Machine code is kept on disk for other processes, so it can hold neither the tables nor where they
lie. It knows one name, which each process gives to its own directory of tables. The key is made of
the contents: a state that names it means the same in every process.
"""

import hashlib
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import binding, ir
from numba.extending import intrinsic

from continual_arcade.envs.compiling import rule

_numba: Any = numba
_types, _carray = _numba.types, _numba.carray

MOST = 64
"""Tables that a process can have."""
_SYMBOL = "continual_arcade_tables"
_WORDS = 2
"""Of an entry of the directory: the key, and where the table lies."""
_directory = np.zeros(MOST * _WORDS)
_kept: dict[float, npt.NDArray[Any]] = {}
"""The tables, so that they stay where they are."""
binding.add_symbol(_SYMBOL, _directory.ctypes.data)


def share(table: npt.NDArray[np.uint8] | npt.NDArray[np.int32]) -> float:
    """Let compiled rules find a table.

    Args:
        table: Its numbers, shape ``(size,)``; they are copied.

    Returns:
        Its key, made of its contents: a whole number that a float64 holds exactly, not 0.

    Raises:
        ValueError: If there are too many.
    """
    digest = hashlib.sha256(table.tobytes()).digest()
    key = float(1 + (int.from_bytes(digest[:8], "little") >> 12))
    if key not in _kept:
        if len(_kept) == MOST:
            raise ValueError(f"a process can have {MOST} tables; close it, and begin another")
        place = _WORDS * len(_kept)
        _kept[key] = table.copy()
        _directory[place : place + _WORDS] = key, _kept[key].ctypes.data
    return key


def _find_directory(typing_context: Any) -> Any:
    """Compile ``_directory_at()``, which returns where the directory of this process lies."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        module = builder.module
        known = module.globals.get(_SYMBOL)
        symbol = known or ir.GlobalVariable(module, ir.DoubleType(), _SYMBOL)
        return builder.bitcast(symbol, context.get_value_type(signature.return_type))

    return _types.CPointer(_types.float64)(), generate


_directory_at: Any = intrinsic(_find_directory)


def _pointer_to(kind: Any) -> Any:
    """Return a compiled function from an address to a pointer to numbers of a type."""

    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return _types.CPointer(kind)(_types.int64), generate

    return pointer


_bytes_at, _words_at = _pointer_to(_types.uint8), _pointer_to(_types.int32)


@rule
def address_of_table(key: float) -> int:
    """Return where a table lies; 0 if there is none of that key."""
    directory = _carray(_directory_at(), (MOST * _WORDS,))
    for place in range(0, MOST * _WORDS, _WORDS):
        if directory[place] == key:
            return int(directory[place + 1])
    return 0


@rule
def byte_at(address: int, place: int) -> Any:
    """Return a number of a table of ``uint8``."""
    return _carray(_bytes_at(address), (place + 1,))[place]


@rule
def word_at(address: int, place: int) -> Any:
    """Return a number of a table of ``int32``."""
    return _carray(_words_at(address), (place + 1,))[place]
