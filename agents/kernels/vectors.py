"""Vectors of numbers: copies of them, and sums over those of single precision."""

from typing import Any

import numpy as np

from continual_arcade.agents.kernels.inner import FUSED, WIDE, inner


@inner()
def copy(source: Any, target: Any) -> None:
    """Copy as much of a vector as the other has room for.

    To assign it would compile a check of its length, and the words of an error.
    """
    for i in range(len(target)):
        target[i] = source[i]


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
