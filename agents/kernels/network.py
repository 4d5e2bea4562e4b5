"""A multi-layer perceptron on flat memory: values, and gradients by hand.

All parameters lie in one vector, layer by layer, weights (out x in) before biases: the order of
``network.parameters()``. What a pass computes lies in buffers that are allocated once. Products of
matrices are BLAS; the loops around them are elementwise, so that the compiler makes them wide.

Fast-math is used in part: sums may be reordered and products fused, which changes last digits. That
NaN and infinity come through is kept, and tested.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from continual_arcade.agents.kernels.inner import WIDE


class Shape(NamedTuple):
    """Of a network."""

    widths: npt.NDArray[np.int64]
    """Units of each layer, the input first, shape ``(layers + 1,)``."""
    starts: npt.NDArray[np.int64]
    """Where the weights of each layer begin, shape ``(layers,)``."""


class Network(NamedTuple):
    """The Q-network, its target network, and where their passes leave what they compute."""

    shape: Shape
    online: npt.NDArray[np.float32]
    """All parameters, shape ``(parameters,)``."""
    target: npt.NDArray[np.float32]
    """Those of the target network."""
    gradient: npt.NDArray[np.float32]
    """Gradient of the current step."""
    extra: npt.NDArray[np.float32]
    """Another gradient, to be added to it."""
    inputs: npt.NDArray[np.float32]
    """Observations, shape ``(2 * rows, features)``: those of a batch, then the next ones."""
    activations: npt.NDArray[np.float32]
    """Outputs of each layer, ``2 * rows`` of each."""
    others: npt.NDArray[np.float32]
    """The same of the target network, ``rows`` of each."""
    deltas: npt.NDArray[np.float32]
    """Derivatives by the inputs of each layer's activation, ``rows`` of each."""


@njit(error_model="numpy", fastmath=set(WIDE))
def forward(shape: Any, parameters: Any, inputs: Any, buffer: Any) -> Any:
    """Compute the values of some observations.

    Args:
        shape: The network's.
        parameters: Its parameters, online or target.
        inputs: Shape ``(rows, features)``.
        buffer: Filled with the outputs of each layer.

    Returns:
        Those of the last layer, shape ``(rows, actions)``, in the buffer.
    """
    rows = len(inputs)
    x = inputs
    at = 0
    last = len(shape.starts) - 1
    for layer in range(last + 1):
        n_in, n_out = shape.widths[layer], shape.widths[layer + 1]
        start = shape.starts[layer]
        weights = parameters[start : start + n_out * n_in].reshape(n_out, n_in)
        biases = parameters[start + n_out * n_in : start + n_out * n_in + n_out]
        y = buffer[at : at + rows * n_out].reshape(rows, n_out)
        np.dot(x, weights.T, y)
        if layer < last:
            for row in range(rows):
                for unit in range(n_out):
                    value = y[row, unit] + biases[unit]
                    # Not max(): NaN must stay NaN.
                    y[row, unit] = np.float32(0.0) if value < np.float32(0.0) else value
        else:
            for row in range(rows):
                for unit in range(n_out):
                    y[row, unit] += biases[unit]
        at += rows * n_out
        x = y
    return x


@njit(error_model="numpy", fastmath=set(WIDE))
def backward(net: Any, rows: int, passed: int, slopes: Any, gradient: Any) -> None:
    """Compute the gradient of the online network after a forward pass.

    Args:
        net: The network.
        rows: How many of the observations of the pass, from the first, have a part in it.
        passed: How many there were.
        slopes: Derivatives of the loss by the values, shape ``(rows, actions)``.
        gradient: Filled, shape ``(parameters,)``.
    """
    shape = net.shape
    last = len(shape.starts) - 1
    at = 0  # where the outputs of the layer below begin
    for layer in range(last):
        at += passed * shape.widths[layer + 1]
    delta = slopes
    free = 0  # where deltas of the layer below may be written
    for layer in range(last, -1, -1):
        n_in, n_out = shape.widths[layer], shape.widths[layer + 1]
        start = shape.starts[layer]
        if layer:
            at -= passed * n_in
            x = net.activations[at : at + rows * n_in].reshape(rows, n_in)
        else:
            x = net.inputs[:rows]
        np.dot(delta.T, x, gradient[start : start + n_out * n_in].reshape(n_out, n_in))
        biases = gradient[start + n_out * n_in : start + n_out * n_in + n_out]
        for unit in range(n_out):
            biases[unit] = delta[0, unit]
        for row in range(1, rows):
            for unit in range(n_out):
                biases[unit] += delta[row, unit]
        if layer:
            weights = net.online[start : start + n_out * n_in].reshape(n_out, n_in)
            below = net.deltas[free : free + rows * n_in].reshape(rows, n_in)
            np.dot(delta, weights, below)
            for row in range(rows):
                for unit in range(n_in):
                    below[row, unit] = (
                        below[row, unit] if x[row, unit] > np.float32(0.0) else np.float32(0.0)
                    )
            free += rows * n_in
            delta = below


@njit(error_model="numpy")
def best(values: Any, row: int) -> int:
    """Return the action of the highest value in a row, the first of equals; NaN counts as high."""
    chosen = 0
    for action in range(1, values.shape[1]):
        value, highest = values[row, action], values[row, chosen]
        if value > highest or (np.isnan(value) and not np.isnan(highest)):
            chosen = action
    return chosen


def act(shape: Any, parameters: Any, inputs: Any, buffer: Any) -> Any:
    """Return the best action for each observation.

    Args:
        shape: The network's.
        parameters: Its parameters.
        inputs: The observations, shape ``(rows, features)``.
        buffer: For the outputs of the layers.

    Returns:
        Shape ``(rows,)``.
    """
    values = forward(shape, parameters, inputs, buffer)
    chosen = np.empty(len(inputs), np.int64)
    for row in range(len(inputs)):
        chosen[row] = best(values, row)
    return chosen
