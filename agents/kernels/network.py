"""A multi-layer perceptron on flat memory: values, and gradients by hand.

All parameters lie in one vector, layer by layer, weights (out x in) before biases: the order of
``network.parameters()``. What a pass computes lies in buffers that are allocated once. Forward
passes read the weights transposed, from a copy that is made when the parameters have changed.

Fast-math is used in part: sums may be reordered and products fused, which changes last digits. That
NaN and infinity come through is kept, and tested.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from continual_arcade.agents.kernels.activations import NOTHING
from continual_arcade.agents.kernels.inner import WIDE, inner, numbered
from continual_arcade.agents.kernels.products import (
    dense,
    sparse_dense,
    through_layer,
    turn,
    weights_gradient,
)


class Shape(NamedTuple):
    """Of a network."""

    widths: npt.NDArray[np.int64]
    """Units of each layer, the input first, shape ``(layers + 1,)``."""
    starts: npt.NDArray[np.int64]
    """Where the weights of each layer begin, shape ``(layers,)``."""
    activation: int
    """What follows each layer but the last: ``RELU`` or ``TANH`` of ``activations.py``."""


ONLINE, TARGET = numbered(2)
"""Which of the two networks."""


class Network(NamedTuple):
    """The Q-network, its target network, and where their passes leave what they compute."""

    shape: Shape
    online: npt.NDArray[np.float32]
    """All parameters, shape ``(parameters,)``."""
    target: npt.NDArray[np.float32]
    """Those of the target network."""
    transposed: npt.NDArray[np.float32]
    """Copies of both, the weights of each layer transposed, shape ``(2, parameters)``."""
    stale: npt.NDArray[np.int64]
    """Whether these copies are out of date: whoever changes parameters says so, shape ``(2,)``."""
    gradient: npt.NDArray[np.float32]
    """Gradient of the current step."""
    extra: npt.NDArray[np.float32]
    """Another gradient, to be added to it."""
    average: npt.NDArray[np.float32]
    """The average of the parameters along the way, or no element where none is kept."""
    learnt: npt.NDArray[np.float32]
    """The parameters as learning has left them, where an average is kept."""
    inputs: npt.NDArray[np.float32]
    """Observations, shape ``(2 * rows, features)``: those of a batch, then the next ones."""
    activations: npt.NDArray[np.float32]
    """Outputs of each layer, ``2 * rows`` of each."""
    others: npt.NDArray[np.float32]
    """The same of the target network, ``rows`` of each."""
    deltas: npt.NDArray[np.float32]
    """Derivatives by the inputs of each layer's activation, ``rows`` of each."""


@inner()
def weights_of(shape: Any, parameters: Any, layer: int) -> Any:
    """Return the weights of a layer, shape ``(n_out, n_in)``."""
    n_in, n_out, start = shape.widths[layer], shape.widths[layer + 1], shape.starts[layer]
    return parameters[start : start + n_out * n_in].reshape(n_out, n_in)


@inner()
def transposed_of(shape: Any, parameters: Any, layer: int) -> Any:
    """Return the transposed weights of a layer, shape ``(n_in, n_out)``."""
    n_in, n_out, start = shape.widths[layer], shape.widths[layer + 1], shape.starts[layer]
    return parameters[start : start + n_out * n_in].reshape(n_in, n_out)


@inner()
def biases_of(shape: Any, parameters: Any, layer: int) -> Any:
    """Return the biases of a layer, shape ``(n_out,)``."""
    n_in, n_out, start = shape.widths[layer], shape.widths[layer + 1], shape.starts[layer]
    return parameters[start + n_out * n_in : start + n_out * n_in + n_out]


@inner()
def refresh(net: Any, which: int) -> None:
    """Bring the transposed weights of a network up to date."""
    if not net.stale[which]:
        return
    shape = net.shape
    parameters = net.online if which == ONLINE else net.target
    for layer in range(len(shape.starts)):
        transposed = transposed_of(shape, net.transposed[which], layer)
        turn(weights_of(shape, parameters, layer), transposed)
    net.stale[which] = 0


@njit(error_model="numpy")
def forward(net: Any, which: int, inputs: Any, buffer: Any) -> Any:
    """Compute the values of some observations.

    Args:
        net: The networks.
        which: ``ONLINE`` or ``TARGET``.
        inputs: Shape ``(rows, features)``.
        buffer: Filled with the outputs of each layer.

    Returns:
        Those of the last layer, shape ``(rows, actions)``, in the buffer.
    """
    return pass_through(net, which, inputs, buffer, False)


@inner()
def pass_through(net: Any, which: int, inputs: Any, buffer: Any, sparse: bool) -> Any:
    """Compute values as :func:`forward` does, of inputs most of which may be 0 (``sparse``)."""
    shape = net.shape
    parameters = net.online if which == ONLINE else net.target
    transposed = net.transposed[which]
    last = len(shape.starts) - 1
    refresh(net, which)
    rows = len(inputs)
    x = inputs
    at = 0
    for layer in range(last + 1):
        n_out = shape.widths[layer + 1]
        y = buffer[at : at + rows * n_out].reshape(rows, n_out)
        weights, biases = (
            transposed_of(shape, transposed, layer),
            biases_of(shape, parameters, layer),
        )
        then = NOTHING if layer == last else shape.activation
        if sparse and layer == 0:
            sparse_dense(x, weights, biases, y, then)
        else:
            dense(x, weights, biases, y, then)
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
        if layer:
            at -= passed * n_in
            x = net.activations[at : at + rows * n_in].reshape(rows, n_in)
        else:
            x = net.inputs[:rows]
        weights_gradient(delta, x, weights_of(shape, gradient, layer))
        biases = biases_of(shape, gradient, layer)
        for unit in range(n_out):
            biases[unit] = delta[0, unit]
        for row in range(1, rows):
            for unit in range(n_out):
                biases[unit] += delta[row, unit]
        if layer:
            below = net.deltas[free : free + rows * n_in].reshape(rows, n_in)
            weights = weights_of(shape, net.online, layer)
            through_layer(delta, weights, x, below, shape.activation)
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


class ToAct(NamedTuple):
    """What :func:`act` is called with."""

    control: npt.NDArray[Any]
    """The control record, shape ``(1,)``; ``rows`` says how many observations lie in the first rows
    of the network's inputs."""
    net: Network
    chosen: npt.NDArray[np.int64]
    """Filled with the actions, shape ``(rows,)`` or longer."""


def act(given: Any) -> int:
    """Choose the best action of the online network for each observation."""
    net, chosen, rows = given.net, given.chosen, given.control[0].rows
    values = forward(net, ONLINE, net.inputs[:rows], net.activations)
    for row in range(rows):
        chosen[row] = best(values, row)
    return 0
