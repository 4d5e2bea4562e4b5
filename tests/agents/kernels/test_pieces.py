"""Pieces of vectors, seen as matrices: what NumPy sees there."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from continual_arcade.agents.kernels.pieces import matrix_in


@njit
def _doubled(vector: Any, start: int, rows: int, columns: int, matrix: Any) -> Any:
    """Double the elements of a piece, one by one, and copy what was there before."""
    piece = matrix_in(vector, start, rows, columns)
    for row in range(rows):
        for column in range(columns):
            matrix[row, column] = piece[row, column]
            piece[row, column] *= 2
    return piece.shape, piece.size, len(piece), piece.strides


def check(doubled: Any, kind: Any, start: int, rows: int, columns: int, behind: int) -> None:
    vector = np.arange(start + rows * columns + behind).astype(kind)
    before, matrix = vector.copy(), np.zeros((rows, columns), kind)
    found = doubled(vector, start, rows, columns, matrix)
    piece = before[start : start + rows * columns].reshape(rows, columns)
    np.testing.assert_array_equal(matrix, piece)
    strides = (columns * vector.itemsize, vector.itemsize)
    assert found == (piece.shape, piece.size, len(piece), strides)
    before[start : start + rows * columns] *= 2
    np.testing.assert_array_equal(vector, before)


@pytest.mark.parametrize("kind", [np.float32, np.int64])
@given(*[st.integers(0, 9)] * 4)
def test_a_piece_is_what_numpy_sees_there(
    kind: Any, start: int, rows: int, columns: int, behind: int
) -> None:
    check(_doubled, kind, start, rows, columns, behind)


def test_a_piece_that_begins_elsewhere_is_found() -> None:
    def shifted(vector: Any, start: int, rows: int, columns: int, matrix: Any) -> Any:
        return _doubled(vector, start + 1, rows, columns, matrix)

    with pytest.raises(AssertionError):
        check(shifted, np.float32, 2, 3, 4, 5)
