"""Sums over the numbers of vectors of single precision."""

from typing import Any

import numpy as np

from continual_arcade.agents.kernels.inner import FUSED, WIDE, inner


@inner(WIDE)
def inner_product(one: Any, other: Any) -> Any:
    """Return the product of two vectors, in double precision."""
    summed = 0.0
    for i in range(len(one)):
        summed += np.float64(one[i]) * np.float64(other[i])
    return summed


@inner(FUSED)
def add_multiple(vector: Any, factor: Any, other: Any) -> None:
    """Add another vector to a vector, times a factor that is rounded to single precision."""
    single = np.float32(factor)
    for i in range(len(vector)):
        vector[i] += single * other[i]
