"""The quadratic program of a projection: against enumeration of all sets, and SciPy's."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from continual_arcade.agents.kernels.quadratic_program import solve
from continual_arcade.envs.compiling import kernel

Array = np.ndarray[Any, Any]
Solver = Callable[[Array, Array, float], Array]
"""Takes rows, a vector and the least of each weight; returns the weights."""


def _of_four(a: Any, b: Any, c: Any, d: Any) -> None:
    call(a, b, c, d)  # type: ignore[name-defined]  # noqa: F821  # bound when compiled


# Kept on disk, unlike a rule that Python calls.
compiled = kernel(_of_four, {"call": solve}, "alone")


def solved(rows: Array, vector: Array, least: float = 0.0) -> Array:
    weights = np.full(len(rows), 7.0)
    compiled(rows @ rows.T, rows @ vector, least, weights)
    return weights


def enumerated(rows: Array, vector: Array, least: float = 0.0) -> Array:
    """The nearest of what every set of rows leads to: their weights free, and no other."""
    start = vector + least * rows.sum(0)
    found, shortest = start, float(start @ start)
    for count in range(1, len(rows) + 1):
        for places in itertools.combinations(range(len(rows)), count):
            chosen = rows[list(places)]
            # Of dependent rows fewer lead to the same.
            if np.linalg.matrix_rank(chosen) < count:
                continue
            weights = np.linalg.lstsq(chosen.T, -start, rcond=None)[0]
            point = start + weights @ chosen
            if (weights >= 0).all() and point @ point < shortest:
                found, shortest = point, float(point @ point)
    return found


def of_scipy(rows: Array, vector: Array, least: float = 0.0) -> Array:
    start = vector + least * rows.sum(0)
    weights, _ = nnls(rows.T, -start)
    return np.asarray(start + weights @ rows)


def check(solver: Solver, rows: Array, vector: Array, least: float = 0.0) -> None:
    weights = solver(rows, vector, least)
    assert (weights >= least).all()
    point = vector + weights @ rows
    scale = float(np.abs(vector).max(initial=1.0) + least * np.abs(rows).sum())
    np.testing.assert_allclose(point, enumerated(rows, vector, least), atol=1e-7 * scale, rtol=0)
    theirs = of_scipy(rows, vector, least)
    if (
        theirs @ theirs <= point @ point + 1e-7 * scale**2
    ):  # else it is SciPy that has stopped early
        np.testing.assert_allclose(point, theirs, atol=1e-7 * scale, rtol=0)
    if least == 0.0:
        # What is left does no row harm, and of the rows only those that it lies across have a part.
        norms = np.linalg.norm(rows, axis=1)
        assert (rows @ point >= -1e-7 * scale * norms).all()
        assert (np.abs(rows @ point)[weights > 0] <= 1e-7 * (scale * norms)[weights > 0]).all()


@st.composite
def problems(draw: Any) -> tuple[Array, Array, float]:
    """Rows of small whole numbers, so that some are dependent, equal, opposite or 0; and others."""
    count, columns = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        rows, vector = rng.integers(-2, 3, (count, columns)), rng.integers(-3, 4, columns)
    else:
        rows, vector = rng.normal(size=(count, columns)), rng.normal(size=columns)
    rows, vector = rows.astype(np.float64), vector.astype(np.float64)
    for _ in range(draw(st.integers(0, 2))):
        one, other = draw(st.integers(0, count - 1)), draw(st.integers(0, count - 1))
        rows[one] = draw(st.sampled_from([1.0, -1.0, 0.0, 3.0])) * rows[other]
    rows *= 10.0 ** rng.integers(-2, 3, (count, 1))
    return rows, vector, draw(st.sampled_from([0.0, 0.0, 0.5, 1.0]))


@settings(deadline=None, max_examples=100)
@given(problem=problems())
@example(problem=(np.zeros((3, 2)), np.ones(2), 0.0))
@example(problem=(np.ones((6, 1)), -np.ones(1), 0.0))
@example(problem=(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]), np.array([2.0, -1.0]), 0.0))
@example(  # of which SciPy 1.17 finds a longer one
    problem=(
        np.array(
            [
                [0.1, 0.0, 0.0, -0.1, 0.2, 0.0],
                [-0.2, -0.1, 0.2, 0.0, 0.2, 0.2],
                [-0.01, 0.0, 0.0, 0.01, -0.02, 0.0],
            ]
        ),
        np.array([-3.0, 0.0, -2.0, 3.0, 3.0, -1.0]),
        0.0,
    )
)
def test_it_is_what_enumeration_finds(problem: Any) -> None:
    check(solved, *problem)


def unbounded(rows: Array, vector: Array, least: float) -> Array:
    """A mistake: weights that would be negative are cut off."""
    return np.maximum(np.linalg.lstsq(rows.T, -vector, rcond=None)[0], least)


def in_turn(rows: Array, vector: Array, least: float) -> Array:
    """A mistake: one row after the other is projected on, which may harm those before it."""
    weights, point = np.full(len(rows), least), vector + least * rows.sum(0)
    for i, row in enumerate(rows):
        if row @ point < 0:
            weights[i] += -(row @ point) / (row @ row)
            point = vector + weights @ rows
    return weights


def of_the_worst(rows: Array, vector: Array, least: float) -> Array:
    """A mistake: the row that is harmed most, and no other."""
    weights = np.full(len(rows), least)
    point = vector + least * rows.sum(0)
    norms = np.linalg.norm(rows, axis=1)
    worst = int(np.argmin(rows @ point / np.maximum(norms, 1e-30)))
    if rows[worst] @ point < 0:
        weights[worst] += -(rows[worst] @ point) / norms[worst] ** 2
    return weights


def never_back(rows: Array, vector: Array, least: float) -> Array:
    """A mistake: what was once among the rows that count stays there."""
    start, chosen = vector + least * rows.sum(0), list[int]()
    weights = np.zeros(len(rows))
    while True:
        slopes = rows @ (start + weights @ rows)
        slopes[chosen] = 0.0
        worst = int(slopes.argmin())
        if slopes[worst] >= -1e-9:
            return weights + least
        chosen.append(worst)
        weights[chosen] = np.linalg.lstsq(rows[chosen].T, -start, rcond=None)[0]


def without_bound(rows: Array, vector: Array, least: float) -> Array:
    """A mistake: the bound is added to the weights of the program without one."""
    return solved(rows, vector) + least


@pytest.mark.parametrize(
    ("mistake", "least"),
    [
        (unbounded, 0.0),
        pytest.param(in_turn, 0.0, marks=pytest.mark.slow),
        pytest.param(of_the_worst, 0.0, marks=pytest.mark.slow),
        (never_back, 0.0),
        (without_bound, 0.5),
    ],
)
def test_a_mistake_is_found(mistake: Solver, least: float) -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(60):
        rows, vector = rng.normal(size=(5, 4)), rng.normal(size=4)
        check(solved, rows, vector, least)
        try:
            check(mistake, rows, vector, least)
        except AssertionError:
            wrong += 1
    assert wrong > 5


@pytest.mark.parametrize("noise", [0.0, 1e-16, 1e-12, 1e-8, 1e-4])
@pytest.mark.parametrize("count", [6, 20, 60])
def test_rows_that_are_nearly_one_do_no_harm(count: int, noise: float) -> None:
    """As gradients of phases that are alike: what is left opposes none beyond their precision."""
    rng = np.random.default_rng(count)
    for _ in range(5):
        rows = rng.normal(size=40) + noise * rng.normal(size=(count, 40))
        vector = rng.normal(size=40) - rows[0]
        weights = solved(rows, vector)
        point = vector + weights @ rows
        # Weights of 1 / noise and signs in turn leave digits of the sum behind.
        lost = 1e-15 * float(np.abs(weights) @ np.linalg.norm(rows, axis=1))
        harm = rows @ point / np.linalg.norm(rows, axis=1)
        assert harm.min() > -1e-6 * np.linalg.norm(vector) - lost
        assert np.linalg.norm(point) <= np.linalg.norm(vector) * (1 + 1e-9)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 12))
def test_a_gram_matrix_that_rounding_has_spoilt_ends_all_the_same(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 3)).astype(np.float32)
    gram = (rows @ rows.T).astype(np.float64) * (1 + 1e-6 * rng.normal(size=(count, count)))
    weights = np.empty(count)
    compiled(gram, rng.normal(size=count), 0.0, weights)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["rows", "vector"])
def test_what_is_not_finite_comes_through(where: str, value: float) -> None:
    rows, vector = np.eye(3), -np.ones(3)
    (rows if where == "rows" else vector)[1] = value
    with np.errstate(invalid="ignore"):
        assert np.isnan(solved(rows, vector)).all()
