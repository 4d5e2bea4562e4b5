"""Seeds as people have them, NumPy's whole numbers included, as the plain ones Gymnasium takes."""

from collections.abc import Iterable
from operator import index
from typing import Any

import numpy as np


def plain_seed(seed: Any) -> int:
    """Return a seed as an int.

    Args:
        seed: A whole number of Python or NumPy, also as an array without dimensions.

    Raises:
        TypeError: If it is not a whole number.
        ValueError: If it is negative.
    """
    try:
        if isinstance(seed, bool | np.bool):
            raise TypeError
        number = index(seed)
    except TypeError:
        raise TypeError(f"a seed is a whole number, not {seed!r}") from None
    if number < 0:
        raise ValueError(f"a seed is a whole number of at least 0, not {number}")
    return number


def plain_seeds(seed: Any, count: int) -> list[int] | None:
    """Return the seeds of so many environments.

    Args:
        seed: The first seed, which counts up; or one for each, in a list or an array; or None.
        count: How many environments there are.

    Returns:
        A seed for each; None if there is none to set.

    Raises:
        TypeError: If a seed is not a whole number.
        ValueError: If one is negative, or there are too few or too many of them.
    """
    if seed is None:
        return None
    if not isinstance(seed, Iterable) or np.ndim(seed) == 0:  # type: ignore[arg-type]
        first = plain_seed(seed)
        return [first + i for i in range(count)]
    seeds = list(seed)
    if len(seeds) != count:
        raise ValueError(f"{len(seeds)} seeds for {count} sub-environments: give one for each")
    if all(each is None for each in seeds):
        return None
    if any(each is None for each in seeds):
        raise ValueError(
            f"seeds = {seeds}: a seed resets the one lifetime clock of all sub-environments: give "
            "all of them one, or none"
        )
    return [plain_seed(each) for each in seeds]
