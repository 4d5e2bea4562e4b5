"""A small quadratic program, solved exactly: the least of a convex quadratic over a corner."""

from typing import Any

import numpy as np
from numba import njit

SLIGHT = 1e-12
"""A slope smaller than this share of the largest is none."""
DEPENDENT = 1e-13
"""Rows whose normalised Gram matrix has such a pivot are taken for dependent. What that leaves
undone is at most its root, 3e-7, of a cosine: the precision of the vectors themselves."""


@njit(error_model="numpy", fastmath=False)
def solve(gram: Any, linear: Any, least: float, solution: Any) -> None:
    """Find the v of least ``1/2 v' gram v + linear' v`` with ``v >= least``.

    By active sets, after Lawson and Hanson 1974, "Solving least squares problems", algorithm NNLS
    (23.10), on the normal equations: one bound after the other is left, the steepest first, until
    no slope points inwards. A set is only left for one of a smaller value, and each set has one
    value: so none comes twice, and it ends, however things are rounded.

    The minimum need not be unique, where rows are dependent; ``v' G`` of the rows G is.

    Args:
        gram: Products of some rows with each other, shape ``(rows, rows)``, in double precision.
        linear: Products of the rows with some vector, shape ``(rows,)``.
        least: The bound of all v.
        solution: Filled with v, shape ``(rows,)``; with NaN if anything given is not finite.
    """
    count = len(linear)
    # In terms of u = v - least >= 0, and of rows of norm 1: what is small is then the same for all.
    norms, normal, slopes = np.empty(count), np.zeros((count, count)), np.zeros(count)
    finite = np.isfinite(least)
    for i in range(count):
        norms[i] = np.sqrt(gram[i, i])
        finite &= np.isfinite(norms[i]) and np.isfinite(linear[i])
    largest = 0.0
    for i in range(count):
        if norms[i] > 0.0:
            slopes[i] = linear[i]
            for j in range(count):
                slopes[i] += gram[i, j] * least
                if norms[j] > 0.0:
                    normal[i, j] = gram[i, j] / (norms[i] * norms[j])
                    finite &= np.isfinite(normal[i, j])
            slopes[i] /= norms[i]
            largest = max(largest, abs(slopes[i]))
    if not finite:
        solution[:] = np.nan
        return
    value, found, free = 0.0, np.zeros(count), np.zeros(count, np.bool_)
    refused = np.zeros(count, np.bool_)
    while True:
        entering, steepest = -1, SLIGHT * largest
        for i in range(count):
            if not (free[i] or refused[i]):
                slope = -slopes[i]
                for j in range(count):
                    slope -= normal[i, j] * found[j]
                if slope > steepest:
                    entering, steepest = i, slope
        if entering < 0:
            break
        tried, tried_free = found.copy(), free.copy()
        tried_free[entering] = True
        tried_value = _descend(normal, slopes, tried_free, tried)
        if tried_value < value:
            value, found, free = tried_value, tried, tried_free
            refused[:] = False
        else:
            refused[entering] = True
    for i in range(count):
        solution[i] = least + (found[i] / norms[i] if found[i] > 0.0 else 0.0)


@njit(error_model="numpy", fastmath=False)
def _descend(normal: Any, slopes: Any, free: Any, point: Any) -> float:
    """Go to the least value with the free coordinates; those that would be negative are bound.

    Args:
        normal: The quadratic term.
        slopes: The linear term.
        free: Which coordinates are not 0; changed.
        point: Where to begin; changed.

    Returns:
        The value, a function of the set of free coordinates; infinite if they are dependent.
    """
    count = len(slopes)
    lowest = np.zeros(count)
    while True:
        if not _stationary(normal, slopes, free, lowest):
            return np.inf
        share, binding = 1.0, -1
        for i in range(count):
            if free[i] and lowest[i] <= 0.0:
                way = point[i] - lowest[i]
                its_share = point[i] / way if way > 0.0 else 0.0
                if binding < 0 or its_share < share:
                    share, binding = its_share, i
        if binding < 0:
            value = 0.0
            for i in range(count):
                point[i] = lowest[i] if free[i] else 0.0
                value += 0.5 * slopes[i] * point[i]
            return value
        for i in range(count):
            if free[i]:
                point[i] += share * (lowest[i] - point[i])
                if i == binding or point[i] <= 0.0:
                    free[i], point[i] = False, 0.0


@njit(error_model="numpy", fastmath=False)
def _stationary(normal: Any, slopes: Any, free: Any, lowest: Any) -> bool:
    """Solve ``normal x = -slopes`` for the free coordinates, by Cholesky; False if dependent."""
    places = np.flatnonzero(free)
    count = len(places)
    lower, half = np.zeros((count, count)), np.zeros(count)
    for i in range(count):
        for j in range(i + 1):
            rest = normal[places[i], places[j]]
            for k in range(j):
                rest -= lower[i, k] * lower[j, k]
            if j < i:
                lower[i, j] = rest / lower[j, j]
            elif rest > DEPENDENT:
                lower[i, i] = np.sqrt(rest)
            else:
                return False
        rest = -slopes[places[i]]
        for k in range(i):
            rest -= lower[i, k] * half[k]
        half[i] = rest / lower[i, i]
    for i in range(count - 1, -1, -1):
        rest = half[i]
        for k in range(i + 1, count):
            rest -= lower[k, i] * lowest[places[k]]
        lowest[places[i]] = rest / lower[i, i]
    return True
