"""Draws of compiled code against NumPy's own, bit for bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from continual_arcade.agents.kernels.random import below, fraction, shuffle, stream_of


@njit
def several(stream: Any, counts: Any, drawn: Any, fractions: Any) -> None:
    for i in range(len(counts)):
        drawn[i] = below(stream, counts[i])
        fractions[i] = fraction(stream)


def drawn_compiled(seed: int, counts: list[int]) -> tuple[list[int], list[float], Any]:
    rng = np.random.default_rng(seed)
    drawn, fractions = np.zeros(len(counts), np.int64), np.zeros(len(counts))
    several(stream_of(rng), np.array(counts), drawn, fractions)
    return drawn.tolist(), fractions.tolist(), rng.bit_generator.state


def drawn_by_numpy(
    seed: int, counts: list[int], integer: Callable[[Any, int], int] | None = None
) -> tuple[list[int], list[float], Any]:
    rng = np.random.default_rng(seed)
    drawn, fractions = [], []
    for count in counts:
        drawn.append(int(rng.integers(count)) if integer is None else integer(rng, count))
        fractions.append(float(rng.random()))
    return drawn, fractions, rng.bit_generator.state


counts = st.lists(
    st.one_of(st.integers(1, 5), st.integers(1, 2**32 - 1), st.sampled_from([2**31, 2**32 - 1])),
    min_size=1,
    max_size=60,
)


@settings(deadline=None)  # the first example compiles
@given(seed=st.integers(0, 2**32), counts=counts)
def test_draws_are_those_of_numpy_and_take_as_many_bits(seed: int, counts: list[int]) -> None:
    assert drawn_compiled(seed, counts) == drawn_by_numpy(seed, counts)


@pytest.mark.parametrize("count", [2**32 + 1, 2**33, 2**40 + 12345, 2**53])
def test_of_more_than_a_word_can_count(count: int) -> None:
    """It went round and round, which a memory that samples a long run comes to."""
    drawn = np.array(drawn_compiled(0, [count] * 400)[0])
    assert drawn.min() >= 0
    assert drawn.max() < count
    shares = np.bincount(drawn // (count // 4 + 1), minlength=4)
    assert (abs(shares - 100) < 40).all()
    assert len(set((drawn % 2).tolist())) == 2
    assert drawn_compiled(0, [2**32] * 60) == drawn_by_numpy(0, [2**32] * 60)


def test_a_modulo_is_found_out() -> None:
    counts = [7, 50_000, 2**31] * 20

    def modulo(rng: Any, count: int) -> int:
        return int(rng.integers(2**32) % count)

    assert drawn_compiled(0, counts) != drawn_by_numpy(0, counts, modulo)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 40))
def test_a_random_order_is_that_of_numpy(seed: int, size: int) -> None:
    mine, numpys = np.random.default_rng(seed), np.random.default_rng(seed)
    order = np.zeros(size, np.int64)
    shuffle(stream_of(mine), order)
    assert order.tolist() == numpys.permutation(size).tolist()
    assert mine.bit_generator.state == numpys.bit_generator.state


def test_a_stream_goes_on_where_python_left_it() -> None:
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    drawn, fractions = np.zeros(1, np.int64), np.zeros(1)
    found = []
    for _ in range(5):
        several(stream_of(rng), np.array([100]), drawn, fractions)
        found += [int(drawn[0]), fractions[0], rng.standard_normal()]
    expected: list[float] = []
    for _ in range(5):
        expected += [int(other.integers(100)), other.random(), other.standard_normal()]
    assert found == pytest.approx(expected, abs=0)
