"""Random draws in compiled code, from the very generators that the rest of the agent draws from.

NumPy's bit generators show C functions and the address of their state. Compiled code calls these,
so that a stream goes on where Python left it, and the other way round: each function here takes as
many bits as its counterpart of ``np.random.Generator``, and returns the same.
"""

import ctypes
from typing import Any, NamedTuple

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.random import _generator

from continual_arcade.agents.kernels.inner import inner

_types: Any = types
_NORMALS = "random_standard_normal_fill_f"
"""What NumPy calls the function that fills an array of single precision with normal numbers."""
HAS_NORMALS = hasattr(ctypes.CDLL(_generator.__file__), _NORMALS)
"""Whether NumPy shows it to others, as it does on Linux."""
if HAS_NORMALS:
    _function = getattr(ctypes.CDLL(_generator.__file__), _NORMALS)
    llvmlite.binding.add_symbol(_NORMALS, ctypes.cast(_function, ctypes.c_void_p).value or 0)
_fill_normals = _types.ExternalFunction(_NORMALS, types.void(*[types.int64] * 3))
_LOW_32 = np.uint64(0xFFFFFFFF)
_SHIFT_32 = np.uint64(32)
_MOST_32 = np.uint64(2**32)


class Stream(NamedTuple):
    """Where the state of a generator lies, and the functions that advance it: addresses."""

    state: int
    next_uint32: int
    next_double: int


def stream_of(rng: np.random.Generator) -> Stream:
    """Return the stream of a generator, which must be kept alive while the stream is used."""
    interface = rng.bit_generator.ctypes
    next_uint32, next_double = (
        ctypes.cast(function, ctypes.c_void_p).value
        for function in (interface.next_uint32, interface.next_double)
    )
    return Stream(int(interface.state_address), next_uint32 or 0, next_double or 0)


def generator_of(rng: np.random.Generator) -> int:
    """Return the address of NumPy's own view of a generator, which must be kept alive."""
    return int(rng.bit_generator.ctypes.bit_generator.value)


@inner()
def fill_normals(generator: Any, count: Any, address: Any) -> None:
    """Fill memory with normal numbers, as ``rng.standard_normal(count, dtype=np.float32)``.

    Args:
        generator: As :func:`generator_of` returns it.
        count: How many numbers.
        address: Where they go.
    """
    _fill_normals(generator, count, address)


def _caller(result: Any) -> Any:
    """Return a compiled function that calls the C function at an address."""

    @intrinsic
    def call(typing_context: Any, function: Any, state: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(context.get_value_type(result), [ir.IntType(8).as_pointer()])
            pointer = builder.inttoptr(arguments[0], kind.as_pointer())
            return builder.call(
                pointer, [builder.inttoptr(arguments[1], ir.IntType(8).as_pointer())]
            )

        return result(types.int64, types.int64), generate

    return call


_call_uint32 = _caller(types.uint32)
_call_double = _caller(types.float64)


@inner()
def fraction(stream: Any) -> Any:
    """Draw uniformly from [0, 1), as ``rng.random()``."""
    return _call_double(stream.next_double, stream.state)


@inner()
def below(stream: Any, count: Any) -> Any:
    """Draw uniformly from 0 .. count - 1, as ``rng.integers(count)`` up to a count of 2**32.

    Multiply and shift with rejection (Lemire 2019, "Fast random integer generation in an
    interval", algorithm 5). Of more, which a memory that samples a long run draws from, up to
    2**53, it is a fraction of the count: what that prefers, it does by less than 2**-20 for a
    million million.
    """
    span = np.uint64(count)
    if span == 1:
        return 0  # without taking bits, as NumPy
    if span > _MOST_32:
        return np.int64(fraction(stream) * np.float64(span))
    product = np.uint64(_call_uint32(stream.next_uint32, stream.state)) * span
    if (product & _LOW_32) < span:
        threshold = ((_LOW_32 - span) + np.uint64(1)) % span
        while (product & _LOW_32) < threshold:
            product = np.uint64(_call_uint32(stream.next_uint32, stream.state)) * span
    return np.int64(product >> _SHIFT_32)


@njit(error_model="numpy")
def shuffle(stream: Any, order: Any) -> None:
    """Fill an array with a random order of its indices, as ``rng.permutation(len(order))``."""
    for i in range(len(order)):
        order[i] = i
    for i in range(len(order) - 1, 0, -1):
        # By masking and rejection, which is what NumPy shuffles with.
        mask = np.uint64(i)
        for bits in (1, 2, 4, 8, 16):
            mask |= mask >> np.uint64(bits)
        drawn = np.uint64(_call_uint32(stream.next_uint32, stream.state)) & mask
        while drawn > np.uint64(i):
            drawn = np.uint64(_call_uint32(stream.next_uint32, stream.state)) & mask
        j = np.int64(drawn)
        order[i], order[j] = order[j], order[i]
