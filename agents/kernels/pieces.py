"""Pieces of a vector, seen as matrices.

All that a network has, and leaves on its way, lies in a few vectors. NumPy's way to see a piece of
one as a matrix, ``vector[start : start + rows * columns].reshape(rows, columns)``, takes compiled
code ten times as long, since it looks for negative and missing numbers each time: of the small
matrices of a gradient step 6 % of its time.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types

from continual_arcade.agents.kernels.inner import intrinsic

_types: Any = types


@intrinsic
def matrix_in(typing_context: Any, vector: Any, start: Any, rows: Any, columns: Any) -> Any:
    """Return a piece of a vector as a matrix, in the same memory.

    The piece must lie in the vector, which nothing checks, and the vector must outlive it.

    Args:
        typing_context: Of numba.
        vector: In one piece.
        start: Its first element.
        rows: Rows of the matrix, which lie one after the other.
        columns: Its columns.

    Returns:
        Shape ``(rows, columns)``.
    """
    kind = _types.Array(vector.dtype, 2, "C")
    whole = _types.int64

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        given, first, high, wide = arguments
        source = context.make_array(vector)(context, builder, given)
        matrix = context.make_array(kind)(context, builder)
        size = ir.Constant(ir.IntType(64), context.get_abi_sizeof(source.data.type.pointee))
        context.populate_array(
            matrix,
            data=builder.gep(source.data, [first]),
            shape=[high, wide],
            strides=[builder.mul(wide, size), size],
            itemsize=size,
            meminfo=None,
        )
        return matrix._getvalue()

    return kind(vector, whole, whole, whole), generate
