"""All that compiled code is called with, as one value in memory.

To unpack some hundred arrays takes Python 30 microseconds, longer than most calls last. So they are
unpacked once, stored as they are, and each call is given no more than where they lie.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.core.registry import cpu_target as _cpu_target

from continual_arcade.agents.kernels.inner import intrinsic

cgutils: Any = _cgutils
_BaseTuple: Any = types.BaseTuple
cpu_target: Any = _cpu_target

ARGUMENTS: Any = types.none
"""Stands for the type of what is stored; each compiled copy of :func:`call_stored` has its own."""


def stored_call(*_: Any) -> int:
    """Stand for the function that is called."""
    raise NotImplementedError("a template runs only with a function")


def _without_owners(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return a value whose arrays do not count who uses them: Python keeps them alive."""
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = ir.Constant(array.meminfo.type, None)
        array.parent = ir.Constant(array.parent.type, None)
        return array._getvalue()
    if isinstance(kind, _BaseTuple):
        items = cgutils.unpack_tuple(builder, value, len(kind.types))
        pairs = zip(kind.types, items, strict=True)
        bare = [_without_owners(context, builder, of, item) for of, item in pairs]
        return context.make_tuple(builder, kind, bare)
    return value


@intrinsic
def _store(typing_context: Any, address: Any, value: Any) -> Any:
    """Store a value at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[1]
        pointer = builder.inttoptr(arguments[0], context.get_value_type(kind).as_pointer())
        builder.store(_without_owners(context, builder, kind, arguments[1]), pointer, align=8)
        return context.get_dummy_value()

    return types.void(address, value), generate


@intrinsic
def _load(typing_context: Any, address: Any, like: Any) -> Any:
    """Load the value that was stored at an address."""
    kind = like.instance_type

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], context.get_value_type(kind).as_pointer())
        value = builder.load(pointer, align=8)
        context.nrt.incref(builder, kind, value)
        return value

    return kind(types.int64, like), generate


def store_arguments(address: int, value: Any) -> None:
    """Store what a function is called with.

    Args:
        address: Where to; there must be room.
        value: Its arguments, a tuple. Whoever stores them keeps them alive.
    """
    _store(address, value)


def size_of(kind: Any) -> int:
    """Return how many bytes a value of a type of numba takes."""
    context = cpu_target.target_context
    size: int = context.get_abi_sizeof(context.get_value_type(kind))
    return size


def call_stored(address: int) -> int:
    """Call a function with what is stored at an address."""
    return stored_call(*_load(address, ARGUMENTS))
