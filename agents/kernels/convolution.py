"""Convolutions on flat memory: values, and gradients by hand.

A convolution is a product of matrices, whose left factor has a row for each place of each picture:
the patch that is seen from there. It is never written down. Where an element of it lies is the sum
of what two tables say, one for its row and one for its column, and the products look it up
(``products.py``). The gradient of the weights is the same product, transposed. What comes back to
the pictures is computed patch by patch, and each patch added to where it was seen.

Parameters lie in PyTorch's order, weights (filters x channels x rows x columns) before biases. What
the first layer sees has its channels first. What a layer gives has them last, so that the patches
of the next lie in few pieces; what the last one gives is turned, for whatever reads it as PyTorch
flattens it. Each layer is followed by ReLU.

Pictures pass some at a time, so that what one layer gives is still in the cache when the next one
reads it. Sums over pictures go on where they were, in their order, so how many these are does not
change a bit.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.kernels.activations import NOTHING
from continual_arcade.agents.kernels.inner import WIDE, inner
from continual_arcade.agents.kernels.pieces import matrix_in
from continual_arcade.agents.kernels.products import (
    add_pieces,
    add_scattered_gradient,
    scattered_dense,
    through_layer,
    turn,
)

AT_ONCE = 8
"""Pictures that pass together. Where there are that many, no row of a block is left over."""

LAYER = np.dtype(
    [
        (name, np.int64)
        for name in (
            "seen",
            "channels",
            "filters",
            "places",
            "pixels",
            "start",
            "rows_at",
            "columns_at",
            "spans_at",
            "spans",
            "span",
            "turned_at",
            "sums_at",
            "deltas_at",
            "patches_at",
        )
    ]
)
"""One convolution: numbers of a picture that it sees, their channels; its filters; places that it
looks from; pixels of a filter, of one channel; where its weights begin. Where in ``tables`` those
of its rows, its columns, and its spans begin: pieces of a patch that lie without gaps, so many in
each, of such a length. Where in ``scratch`` its turned weights, the sums of its gradient, the
derivatives by what it gave, and by the patches of one picture begin."""


class Convolutions(NamedTuple):
    """What looks at pictures."""

    layers: npt.NDArray[Any]
    """Of type ``LAYER``."""
    tables: npt.NDArray[np.int64]
    scratch: npt.NDArray[np.float32]
    divisor: np.float32
    """What pixels are divided by before they are seen."""


class Size(NamedTuple):
    """Of a convolution."""

    filters: int
    kernel: tuple[int, int]
    """Rows and columns of a filter."""
    stride: tuple[int, int]
    """Rows and columns from one place to the next."""


def convolutions(shape: tuple[int, ...], sizes: Sequence[Size], divisor: float) -> Convolutions:
    """Describe convolutions, one after the other.

    Args:
        shape: Of a picture: channels, rows, columns.
        sizes: Of each layer; there is at least one.
        divisor: What pixels are divided by before they are seen.
    """
    channels, rows, columns = shape
    layers = np.zeros(len(sizes), LAYER)
    tables: list[npt.NDArray[np.int64]] = []
    start = scratch = 0

    def listed(table: npt.NDArray[np.int64]) -> int:
        at = sum(map(len, tables))
        tables.append(table.reshape(-1))
        return at

    for i, (filters, kernel, stride) in enumerate(sizes):
        # Distances of channels, rows and columns in what this layer sees.
        deep, down, right = 1, columns * channels, channels
        if i == 0:
            deep, down, right = rows * columns, columns, 1
        across = [
            (side - k) // step + 1
            for side, k, step in zip((rows, columns), kernel, stride, strict=True)
        ]
        y, x = (s * np.arange(n) for s, n in zip(stride, across, strict=True))
        places = (y[:, None] * down + x * right).reshape(-1)
        seen, pixels = channels * rows * columns, kernel[0] * kernel[1]
        depth = channels * pixels
        c, ky, kx = np.meshgrid(*map(np.arange, (channels, *kernel)), indexing="ij")
        layer = layers[i]
        layer["seen"], layer["channels"], layer["filters"] = seen, channels, filters
        layer["places"], layer["pixels"], layer["start"] = len(places), pixels, start
        layer["rows_at"] = listed(np.arange(AT_ONCE)[:, None] * seen + places)
        layer["columns_at"] = listed(c * deep + ky * down + kx * right)
        layer["spans_at"] = listed(places[:, None] + np.arange(kernel[0]) * down)
        layer["spans"], layer["span"] = kernel[0], kernel[1] * channels
        behind = i > 0  # of the first layer nothing comes back
        for name, room in (
            ("turned_at", behind * filters * depth),
            ("sums_at", filters * depth),
            ("deltas_at", AT_ONCE * len(places) * filters),
            ("patches_at", behind * len(places) * depth),
        ):
            layer[name] = scratch
            scratch += room
        start += filters * (depth + 1)
        channels, (rows, columns) = filters, across
    return Convolutions(
        layers, np.concatenate(tables), np.zeros(scratch, np.float32), np.float32(divisor)
    )


def parameters_of(pictures: Convolutions) -> int:
    """Return how many parameters the convolutions have, all together."""
    layers = pictures.layers
    return int((layers["filters"] * (layers["channels"] * layers["pixels"] + 1)).sum())


def numbers_of(pictures: Convolutions) -> int:
    """Return how many numbers a picture leaves behind: of each layer, of the last one twice."""
    given = pictures.layers["places"] * pictures.layers["filters"]
    return int(given.sum() + given[-1])


@inner()
def _weights_of(layer: Any, parameters: Any) -> Any:
    """Return the weights of a layer, shape ``(filters, depth)``."""
    depth = layer.channels * layer.pixels
    return matrix_in(parameters, layer.start, layer.filters, depth)


@inner()
def _transposed_of(layer: Any, parameters: Any) -> Any:
    """Return the transposed weights of a layer, shape ``(depth, filters)``."""
    depth = layer.channels * layer.pixels
    return matrix_in(parameters, layer.start, depth, layer.filters)


@inner()
def _biases_of(layer: Any, parameters: Any) -> Any:
    """Return the biases of a layer, shape ``(filters,)``."""
    first = layer.start + layer.filters * layer.channels * layer.pixels
    return parameters[first : first + layer.filters]


@inner()
def _tables_of(pictures: Any, layer: Any) -> Any:
    """Return where the rows of the patches of :data:`AT_ONCE` pictures begin, and their columns."""
    rows = pictures.tables[layer.rows_at : layer.rows_at + AT_ONCE * layer.places]
    depth = layer.channels * layer.pixels
    return rows, pictures.tables[layer.columns_at : layer.columns_at + depth]


@inner()
def transpose_filters(pictures: Any, parameters: Any, transposed: Any) -> None:
    """Bring the transposed weights up to date, which :func:`look` reads."""
    for i in range(len(pictures.layers)):
        layer = pictures.layers[i]
        turn(_weights_of(layer, parameters), _transposed_of(layer, transposed))


@inner()
def look(pictures: Any, parameters: Any, transposed: Any, inputs: Any, buffer: Any) -> Any:
    """Compute what pictures show.

    Args:
        pictures: The convolutions.
        parameters: Theirs come first.
        transposed: A copy of them, each layer's weights transposed.
        inputs: The pictures, shape ``(count, channels * rows * columns)``.
        buffer: Filled with what each layer gives, picture by picture, place by place, filters last;
            and at last with what is returned.

    Returns:
        What the last layer gives, filters first, shape ``(count, filters * places)``, in the
        buffer.
    """
    count, last = len(inputs), len(pictures.layers) - 1
    for first in range(0, count, AT_ONCE):
        some = min(AT_ONCE, count - first)
        x = inputs[first : first + some].reshape(-1)
        at = 0
        for i in range(last + 1):
            layer = pictures.layers[i]
            given = layer.places * layer.filters
            y = buffer[at + first * given : at + (first + some) * given]
            rows_at, columns_at = _tables_of(pictures, layer)
            weights, biases = _transposed_of(layer, transposed), _biases_of(layer, parameters)
            outputs = y.reshape(some * layer.places, layer.filters)
            scattered_dense(x, rows_at, columns_at, weights, biases, outputs)
            at += count * given
            x = y
        layer = pictures.layers[last]
        given = layer.places * layer.filters
        for row in range(some):
            shown = matrix_in(x, row * given, layer.places, layer.filters)
            flat = matrix_in(buffer, at + (first + row) * given, layer.filters, layer.places)
            turn(shown, flat)
    return shown_in(pictures, count, buffer)


@inner()
def shown_in(pictures: Any, count: int, buffer: Any) -> Any:
    """Return what so many pictures showed, which :func:`look` has left in a buffer."""
    at = 0
    for i in range(len(pictures.layers)):
        at += count * pictures.layers[i].places * pictures.layers[i].filters
    layer = pictures.layers[len(pictures.layers) - 1]
    given = layer.places * layer.filters
    return matrix_in(buffer, at, count, given)


@inner()
def through_look(
    pictures: Any,
    parameters: Any,
    inputs: Any,
    buffer: Any,
    passed: int,
    deltas: Any,
    gradient: Any,
) -> None:
    """Compute the gradient of the convolutions.

    Args:
        pictures: The convolutions.
        parameters: Theirs come first.
        inputs: The pictures that have a part in it, shape ``(count, channels * rows * columns)``:
            the first of those that passed.
        buffer: What :func:`look` left behind.
        passed: Pictures that passed.
        deltas: Derivatives by what the last layer gave, before its ReLU, shape
            ``(count, filters * places)``, filters first.
        gradient: Filled where their parameters have their places.
    """
    scratch, last = pictures.scratch, len(pictures.layers) - 1
    count = len(inputs)
    for i in range(1, last + 1):
        layer = pictures.layers[i]
        depth = layer.channels * layer.pixels
        for f in range(layer.filters):
            channels, pixels = layer.channels, layer.pixels
            one = matrix_in(parameters, layer.start + f * depth, channels, pixels)
            turn(one, matrix_in(scratch, layer.turned_at + f * depth, pixels, channels))
    for first in range(0, count, AT_ONCE):
        some = min(AT_ONCE, count - first)
        top = pictures.layers[last]
        given = top.places * top.filters
        for row in range(some):
            at = top.deltas_at + row * given
            back = matrix_in(scratch, at, top.places, top.filters)
            turn(deltas[first + row].reshape(top.filters, top.places), back)
        at = 0  # where what the layer gave begins
        for i in range(last):
            at += passed * pictures.layers[i].places * pictures.layers[i].filters
        for i in range(last, -1, -1):
            layer = pictures.layers[i]
            rows, depth = some * layer.places, layer.channels * layer.pixels
            slopes = matrix_in(scratch, layer.deltas_at, rows, layer.filters)
            if i:
                below = pictures.layers[i - 1]
                given = below.places * below.filters
                at -= passed * given
                x = buffer[at + first * given : at + (first + some) * given]
                into = scratch[below.deltas_at : below.deltas_at + some * given]
                _spread(pictures, layer, slopes, x, into)
            else:
                x = inputs[first : first + some].reshape(-1)
            sums = matrix_in(scratch, layer.sums_at, depth, layer.filters)
            rows_at, columns_at = _tables_of(pictures, layer)
            add_scattered_gradient(x, rows_at, columns_at, slopes, sums, first == 0)
            _add_rows(slopes, _biases_of(layer, gradient), first == 0)
    for i in range(last + 1):
        layer = pictures.layers[i]
        depth = layer.channels * layer.pixels
        sums = matrix_in(scratch, layer.sums_at, depth, layer.filters)
        turn(sums, _weights_of(layer, gradient))


@inner(WIDE)
def _add_rows(rows: Any, sums: Any, is_first: bool) -> None:
    """Add rows to their sums, which begin with 0 with the first ones."""
    if is_first:
        for j in range(len(sums)):
            sums[j] = np.float32(0.0)
    for i in range(len(rows)):
        for j in range(len(sums)):
            sums[j] += rows[i, j]


@inner()
def _spread(pictures: Any, layer: Any, slopes: Any, seen: Any, below: Any) -> None:
    """Compute derivatives by what a layer saw, before the ReLU that it came from.

    Args:
        pictures: The convolutions.
        layer: Which one.
        slopes: Derivatives by what it gave, shape ``(count * places, filters)``.
        seen: What it saw, shape ``(count * layer.seen,)``.
        below: Filled, of the same shape.
    """
    depth, places = layer.channels * layer.pixels, layer.places
    scratch = pictures.scratch
    spans_at = pictures.tables[layer.spans_at : layer.spans_at + places * layer.spans]
    weights = matrix_in(scratch, layer.turned_at, layer.filters, depth)
    room = scratch[layer.patches_at : layer.patches_at + places * depth]
    patches = room.reshape(places, depth)
    below[:] = np.float32(0.0)
    for row in range(len(slopes) // places):
        one = slopes[row * places : (row + 1) * places]
        through_layer(one, weights, patches, patches, NOTHING)
        into = below[row * layer.seen : (row + 1) * layer.seen]
        add_pieces(room.reshape(places * layer.spans, layer.span), into, spans_at)
    for j in range(len(below)):  # where ReLU gave nothing, or NaN
        below[j] = below[j] if seen[j] > np.float32(0.0) else np.float32(0.0)
