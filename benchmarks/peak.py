"""The peak of a core: how many operations on single-precision numbers it can do in a second.

It is measured by multiply-adds on vectors of the machine's width that wait neither for memory nor
for each other. Nothing that is made of multiply-adds is faster on the same core.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from measuring import Run
from numba import njit, types
from numba.core import cgutils as _cgutils

from continual_arcade.agents.kernels.inner import intrinsic
from continual_arcade.agents.kernels.products import FUSES, WIDTH

cgutils: Any = _cgutils

CHAINS = 12
"""Sums that do not wait for each other: enough for two units that take four to six cycles each, and
few enough for sixteen registers."""
LINKS = 8
"""Multiply-adds of each sum in a round of the loop."""
OPERATIONS = 2 * CHAINS * LINKS * WIDTH
"""Of a round of the loop: a multiplication and an addition count as two."""


@intrinsic
def _rounds(context: Any, count: Any, numbers: Any) -> Any:
    """Go round the loop; the numbers at the address are a factor, a summand, and room for a sum."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        count, address = arguments
        kind = ir.VectorType(ir.FloatType(), WIDTH)
        place = builder.inttoptr(address, kind.as_pointer())
        at = [builder.gep(place, [ir.Constant(ir.IntType(64), i)]) for i in range(3)]
        factor, summand = (builder.load(pointer, align=4) for pointer in at[:2])
        sums = [cgutils.alloca_once(builder, kind) for _ in range(CHAINS)]  # will be registers
        for i, chain in enumerate(sums):
            builder.store(ir.Constant(kind, [float(i)] * WIDTH), chain)
        fma = ir.Function(
            builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{WIDTH}f32"
        )
        with cgutils.for_range(builder, count):
            for _ in range(LINKS):
                for chain in sums:
                    value = builder.load(chain)
                    if FUSES:
                        value = builder.call(fma, [value, factor, summand])
                    else:
                        value = builder.fadd(builder.fmul(value, factor), summand)
                    builder.store(value, chain)
        total = builder.load(sums[0])
        for chain in sums[1:]:
            total = builder.fadd(total, builder.load(chain))
        builder.store(total, at[2], align=4)  # or nothing would be computed
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@njit
def _go_round(count: int, address: int) -> None:
    _rounds(count, address)


def at_the_peak(operations: int) -> Run:
    """Return a run whose steps are so many operations, and nothing else."""
    numbers = np.zeros((3, WIDTH), np.float32)
    numbers[0], numbers[1] = 0.5, 1.0

    def run(num_steps: int) -> int:
        _go_round(max(1, round(num_steps * operations / OPERATIONS)), numbers.ctypes.data)
        assert np.isfinite(numbers[2]).all()
        return num_steps

    return run
