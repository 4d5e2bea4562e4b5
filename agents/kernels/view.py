"""All that compiled code is called with, as one value in memory.

To unpack some hundred arrays takes Python 30 microseconds, longer than most calls last. So they are
unpacked once, stored as they are, and each call is given no more than where they lie. Nor do
compiled functions hand them to one another: what they get is a :class:`Reference` to a named tuple,
of which each reads the fields that it uses.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.core.registry import cpu_target as _cpu_target
from numba.core.typing.templates import AttributeTemplate as _AttributeTemplate
from numba.extending import infer_getattr as _infer_getattr
from numba.extending import lower_getattr_generic as _lower_getattr_generic
from numba.extending import models as _models
from numba.extending import register_model as _register_model

from continual_arcade.agents.kernels.inner import intrinsic

cgutils: Any = _cgutils
_BaseTuple: Any = types.BaseTuple
_BaseNamedTuple: Any = types.BaseNamedTuple
_Type: Any = types.Type
cpu_target: Any = _cpu_target
AttributeTemplate: Any = _AttributeTemplate
infer_getattr: Any = _infer_getattr
lower_getattr_generic: Any = _lower_getattr_generic
models: Any = _models
register_model: Any = _register_model

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


class Reference(_Type):  # type: ignore[misc]
    """A named tuple that lies in memory and does not change as long as compiled code runs.

    Its named tuples are references, too; all else is read where it is used.

    Args:
        kind: Type of the named tuple.
    """

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        super().__init__(name=f"Reference({kind})")


register_model(Reference)(models.OpaqueModel)


@infer_getattr
class _Fields(AttributeTemplate):  # type: ignore[misc]
    """Tells the types of the fields."""

    key = Reference

    def generic_resolve(self, reference: Any, name: str) -> Any:
        """Return the type of a field, None if there is none."""
        kind = reference.kind
        if name not in kind.fields:
            return None
        field = kind.types[kind.fields.index(name)]
        return Reference(field) if isinstance(field, _BaseNamedTuple) else field


@lower_getattr_generic(Reference)  # type: ignore[untyped-decorator]
def _read_field(context: Any, builder: Any, reference: Any, pointer: Any, name: str) -> Any:
    """Read a field; of a named tuple, tell where it lies."""
    kind = reference.kind
    index = kind.fields.index(name)
    field = kind.types[index]
    whole = builder.bitcast(pointer, context.get_value_type(kind).as_pointer())
    place = cgutils.gep_inbounds(builder, whole, 0, index)
    if isinstance(field, _BaseNamedTuple):
        return builder.bitcast(place, cgutils.voidptr_t)
    value = builder.load(place, align=8 if isinstance(field, _BaseTuple | types.Array) else None)
    # Nothing writes to it, so that it need not be read again after each store to an array.
    value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return _without_owners(context, builder, field, value)


@intrinsic
def _refer(typing_context: Any, address: Any, like: Any) -> Any:
    """Return a reference to the named tuple that was stored at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return Reference(like.instance_type)(types.int64, like), generate


def store_arguments(address: int, value: Any) -> None:
    """Store what a function is called with.

    Args:
        address: Where to; there must be room.
        value: Its arguments, a named tuple. Whoever stores them keeps them alive.
    """
    _store(address, value)


def size_of(kind: Any) -> int:
    """Return how many bytes a value of a type of numba takes."""
    context = cpu_target.target_context
    size: int = context.get_abi_sizeof(context.get_value_type(kind))
    return size


def call_stored(address: int) -> int:
    """Call a function with the named tuple that is stored at an address."""
    return stored_call(_refer(address, ARGUMENTS))


def run_stored(address: int) -> None:
    """Call a function with the named tuple that is stored at an address, for what it does."""
    stored_call(_refer(address, ARGUMENTS))
