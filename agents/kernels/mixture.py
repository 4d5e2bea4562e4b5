"""Mixtures: rows of a matrix, each times a weight, added to a vector."""

from typing import Any

from continual_arcade.agents.kernels.functions import call, doubles_at, floats_at, words_at
from continual_arcade.agents.kernels.inner import WIDE, inner
from continual_arcade.agents.kernels.vectors import add_multiple, inner_product

WORDS = 8
"""Words of the record: rows; addresses of the Gram matrix, of the products with the vector, of the
weights (all of double precision) and of the numbers of the part; then, which the function that
chooses the weights does not read, the columns, and addresses of the matrix and of the vector."""
_BLOCK = 1024
"""Columns whose products are computed at a time: so many of all rows stay in the cache."""


@inner()
def mix(function: Any, record: Any) -> None:
    """Add a mixture.

    Args:
        function: Address of the function that chooses the weights.
        record: Address of its record.
    """
    words = words_at(record, WORDS)
    rows, columns = words[0], words[5]
    if rows == 0:
        return
    matrix = floats_at(words[6], rows * columns).reshape(rows, columns)
    vector, weights = floats_at(words[7], columns), doubles_at(words[3], rows)
    gram = doubles_at(words[1], rows * rows).reshape(rows, rows)
    _multiply(matrix, vector, gram, doubles_at(words[2], rows))
    call(function, record)
    for row in range(rows):
        if weights[row] != 0.0:
            add_multiple(vector, weights[row], matrix[row])


@inner(WIDE)
def _multiply(matrix: Any, vector: Any, gram: Any, products: Any) -> None:
    """Multiply the rows with each other and with a vector, in double precision."""
    rows, columns = matrix.shape
    gram[:] = 0.0
    products[:] = 0.0
    for first in range(0, columns, _BLOCK):
        part = vector[first : first + _BLOCK]
        for one in range(rows):
            block = matrix[one, first : first + _BLOCK]
            products[one] += inner_product(block, part)
            for other in range(one + 1):
                gram[one, other] += inner_product(block, matrix[other, first : first + _BLOCK])
    for one in range(rows):
        for other in range(one):
            gram[other, one] = gram[one, other]
