"""How functions are marked that only compiled code calls."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numpy as np
from numba import extending, njit

Function = TypeVar("Function", bound=Callable[..., Any])

WIDE = frozenset({"reassoc", "contract", "nsz"})
"""What of fast-math is allowed where only learnt numbers are computed: sums may be reordered and
products fused, which changes last digits. That NaN and infinity come through is kept, and tested.
"""
FUSED = frozenset({"contract"})
"""Products may be fused into sums, and that is all."""


def numbered(count: int) -> Iterator[Any]:
    """Return the numbers of so many things that functions are told apart by.

    They are NumPy's: of a function that is given a plain whole number, numba compiles a version for
    each.
    """
    return map(np.int64, range(count))


def inner(fastmath: frozenset[str] = frozenset()) -> Callable[[Function], Function]:
    """Mark a function that only compiled code calls.

    No way in from Python is made for it: to unpack a hundred arrays takes more machine code, and
    longer to compile, than most functions that are given them.

    Args:
        fastmath: What of fast-math is allowed.
    """
    options: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    marked: Any = njit(error_model="numpy", fastmath=set(fastmath) or False, **options)
    return cast(Callable[[Function], Function], marked)


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function that writes machine code, as numba's ``intrinsic``, which has no types."""
    marked: Callable[..., Any] = extending.intrinsic(function)
    return marked
