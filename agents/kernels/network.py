"""A multi-layer perceptron on flat memory: values, and gradients by hand.

It is given observations, or what convolutions see in them (``first_layer.py``). Where everything
lies is said by ``layout.py``. Forward passes read the weights transposed, from a copy that is made
when the parameters have changed.

Fast-math is used in part: sums may be reordered and products fused, which changes last digits. That
NaN and infinity come through is kept, and tested.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from continual_arcade.agents.kernels.activations import NOTHING
from continual_arcade.agents.kernels.first_layer import (
    first_inputs,
    inputs_again,
    refresh_filters,
    through_pictures,
)
from continual_arcade.agents.kernels.gates import open_gates, through_gates, times, times_gates
from continual_arcade.agents.kernels.heads import head_of, head_of_all, slopes_of_heads
from continual_arcade.agents.kernels.inner import WIDE, inner
from continual_arcade.agents.kernels.layout import (
    ONLINE,
    Network,
    biases_of,
    biases_of_head,
    heads_of,
    transposed_of,
    transposed_of_head,
    weights_of,
    weights_of_head,
)
from continual_arcade.agents.kernels.pieces import matrix_in
from continual_arcade.agents.kernels.products import (
    dense,
    sparse_dense,
    through_layer,
    turn,
    weights_gradient,
)


@inner()
def refresh(net: Any, which: int) -> None:
    """Bring the transposed weights of a network up to date, each times the gate of its input."""
    if not net.stale[which]:
        return
    shape = net.shape
    parameters = net.online if which == ONLINE else net.target
    gates = open_gates(net, which, parameters)
    turn_all(shape, parameters, net.transposed[which])
    unit = 0
    for layer in range(1, len(shape.starts) if shape.gated > 0 else 0):
        for head in range(heads_of(shape, layer)):
            transposed = transposed_of_head(shape, net.transposed[which], layer, head)
            for j in range(len(transposed)):
                times(transposed[j], gates[unit + j])
        unit += shape.widths[layer]
    net.stale[which] = 0


@inner()
def turn_all(shape: Any, parameters: Any, transposed: Any) -> None:
    """Transpose the weights of all layers."""
    for layer in range(len(shape.starts)):
        for head in range(heads_of(shape, layer)):
            weights = weights_of_head(shape, parameters, layer, head)
            turn(weights, transposed_of_head(shape, transposed, layer, head))
    refresh_filters(shape.pictures, parameters, transposed)


@njit(error_model="numpy")
def forward(net: Any, which: int, inputs: Any, buffer: Any) -> Any:
    """Compute the values of some observations.

    Args:
        net: The networks.
        which: ``ONLINE`` or ``TARGET``.
        inputs: Shape ``(rows, features)``.
        buffer: Filled with the outputs of each layer.

    Returns:
        Those of the last layer, by the head that each observation chooses, shape
        ``(rows, actions)``, in the buffer.
    """
    return pass_through(net, which, inputs, buffer, False)


@inner()
def pass_through(net: Any, which: int, inputs: Any, buffer: Any, sparse: bool) -> Any:
    """Compute values as :func:`forward` does, of inputs most of which may be 0 (``sparse``)."""
    parameters = net.online if which == ONLINE else net.target
    refresh(net, which)
    return pass_by(net.shape, parameters, net.transposed[which], inputs, buffer, sparse)


@inner()
def pass_by(
    shape: Any, parameters: Any, transposed: Any, inputs: Any, buffer: Any, sparse: bool
) -> Any:
    """Compute values by any parameters, of which there is a transposed copy."""
    last = len(shape.starts) - 1
    rows = len(inputs)
    x = first_inputs(shape.pictures, shape, parameters, transposed, inputs, buffer)
    at = 0
    for layer in range(last):
        n_out = shape.widths[layer + 1]
        y = matrix_in(buffer, at, rows, n_out)
        weights, biases = (
            transposed_of(shape, transposed, layer),
            biases_of(shape, parameters, layer),
        )
        if sparse and layer == 0:
            sparse_dense(x, weights, biases, y, shape.activation)
        else:
            dense(x, weights, biases, y, shape.activation)
        at += rows * n_out
        x = y
    behind = buffer[at : at + rows * shape.widths[last + 1]]
    if shape.heads == 1:
        return values_by(shape, parameters, transposed, x, behind, 0, sparse and last == 0)
    only = head_of_all(shape, inputs, rows)
    if only >= 0:
        return values_by(shape, parameters, transposed, x, behind, only, sparse and last == 0)
    # Those of each head, one behind the other; then to the front, over rows that are read already.
    actions = shape.widths[last + 1] // shape.heads
    size = rows * actions
    for head in range(shape.heads):
        here = behind[head * size : (head + 1) * size]
        values_by(shape, parameters, transposed, x, here, head, sparse and last == 0)
    for row in range(rows):
        start = head_of(shape, inputs, row) * size + row * actions
        for action in range(actions):
            behind[row * actions + action] = behind[start + action]
    return matrix_in(behind, 0, rows, actions)


@inner()
def values_by(
    shape: Any, parameters: Any, transposed: Any, x: Any, buffer: Any, head: int, sparse: bool
) -> Any:
    """Compute the values that a head gives, shape ``(rows, actions)``, in the buffer."""
    last = len(shape.starts) - 1
    y = matrix_in(buffer, 0, len(x), shape.widths[last + 1] // shape.heads)
    weights, biases = (
        transposed_of_head(shape, transposed, last, head),
        biases_of_head(shape, parameters, last, head),
    )
    if sparse:
        sparse_dense(x, weights, biases, y, NOTHING)
    else:
        dense(x, weights, biases, y, NOTHING)
    return y


@njit(error_model="numpy", fastmath=set(WIDE))
def backward(net: Any, rows: int, passed: int, slopes: Any, gradient: Any) -> None:
    """Compute the gradient of the online network after a forward pass.

    Args:
        net: The network.
        rows: How many of the observations of the pass, from the first, have a part in it.
        passed: How many there were.
        slopes: Derivatives of the loss by the values, shape ``(rows, actions)``; in one piece.
        gradient: Filled, shape ``(parameters,)``.
    """
    shape = net.shape
    last = len(shape.starts) - 1
    at = 0  # where the outputs of the layer below begin
    for layer in range(last):
        at += passed * shape.widths[layer + 1]
    # If all choose the same head, the others have no part in it.
    only = 0 if shape.heads == 1 else head_of_all(shape, net.inputs, rows)
    delta = slopes if only >= 0 else slopes_of_heads(net, rows, slopes)
    free = 0  # where deltas of the layer below may be written
    gate = shape.gated  # the first of those of the layer above
    for i in range(len(gradient) - shape.heads * gate, len(gradient)):
        gradient[i] = np.float32(0.0)
    for layer in range(last, -1, -1):
        n_in = shape.widths[layer]
        if layer:
            at -= passed * n_in
            x = matrix_in(net.activations, at, rows, n_in)
        else:
            x = inputs_again(shape.pictures, net, rows, passed)
        weights, slope_of_weights, biases = (
            weights_of(shape, net.online, layer),
            weights_of(shape, gradient, layer),
            biases_of(shape, gradient, layer),
        )
        if layer == last and shape.heads > 1 and only >= 0:
            start = shape.starts[layer]
            for i in range(start, start + (n_in + 1) * shape.widths[layer + 1]):
                gradient[i] = np.float32(0.0)
            weights, slope_of_weights, biases = (
                weights_of_head(shape, net.online, layer, only),
                weights_of_head(shape, gradient, layer, only),
                biases_of_head(shape, gradient, layer, only),
            )
        n_out = len(biases)
        weights_gradient(delta, x, slope_of_weights)
        for unit in range(n_out):
            biases[unit] = delta[0, unit]
        for row in range(1, rows):
            for unit in range(n_out):
                biases[unit] += delta[row, unit]
        if layer:
            below = matrix_in(net.deltas, free, rows, n_in)
            through_layer(delta, weights, x, below, shape.activation)
            if shape.gated > 0:
                gate -= n_in
                through_gates(net, weights, slope_of_weights, gate, gradient)
                for row in range(rows):
                    times_gates(below[row], net.gates[ONLINE, 0][gate : gate + n_in])
            free += rows * n_in
            delta = below
    through_pictures(shape.pictures, net, rows, passed, delta, free, gradient)


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
