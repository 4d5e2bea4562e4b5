"""A multi-layer perceptron on flat memory: values, and gradients by hand.

It is given observations, or what convolutions see in them (``convolution.py``). Which of the two is
known when it is compiled, by the type of ``Shape.pictures``, so that one takes nothing from the
other.

All parameters lie in one vector, layer by layer, weights (out x in) before biases: the order of
``network.parameters()``. What a pass computes lies in buffers that are allocated once. Forward
passes read the weights transposed, from a copy that is made when the parameters have changed.

Fast-math is used in part: sums may be reordered and products fused, which changes last digits. That
NaN and infinity come through is kept, and tested.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import overload

from continual_arcade.agents.kernels.activations import NOTHING, RELU
from continual_arcade.agents.kernels.arithmetic import half_exp
from continual_arcade.agents.kernels.convolution import (
    look,
    shown_in,
    through_look,
    transpose_filters,
)
from continual_arcade.agents.kernels.frames import frame_at
from continual_arcade.agents.kernels.inner import FUSED, WIDE, inner, numbered
from continual_arcade.agents.kernels.pieces import matrix_in
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
    """Units of each layer, the input first, shape ``(layers + 1,)``: an observation, or what
    convolutions see in it."""
    starts: npt.NDArray[np.int64]
    """Where the weights of each layer begin, shape ``(layers,)``."""
    activation: int
    """What follows each layer but the last: ``RELU`` or ``TANH`` of ``activations.py``."""
    pictures: Any = None
    """:class:`~continual_arcade.agents.kernels.convolution.Convolutions` that observations go
    through first, or None. Their parameters come before those of the layers."""
    heads: int = 1
    """Output layers, side by side in the last one, of which each observation chooses one: that of
    the largest of its last features, of which there are as many."""
    gated: int = 0
    """Hidden units with a gate behind their activation: all, or 0 for none. What the gates are
    computed of, the embeddings, lies behind the layers, shape ``(heads, gated)``."""


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
    """Copies of both, the weights of each layer transposed, those of each head by themselves, shape
    ``(2, parameters)``."""
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
    """Outputs of each layer, ``2 * rows`` of each, and behind them those of convolutions."""
    others: npt.NDArray[np.float32]
    """The same of the target network, ``rows`` of each."""
    deltas: npt.NDArray[np.float32]
    """Derivatives by the inputs of each layer's activation, ``rows`` of each, and of what
    convolutions have seen."""
    gating: npt.NDArray[np.float64]
    """Which row of embeddings counts, and how sharp the gates of either network are, shape
    ``(3,)``."""
    gates: npt.NDArray[np.float32]
    """Of either network the gates, and their derivatives by the embeddings, shape
    ``(2, 2, gated)``."""


@inner()
def weights_of(shape: Any, parameters: Any, layer: int) -> Any:
    """Return the weights of a layer, shape ``(n_out, n_in)``."""
    n_in, n_out, start = shape.widths[layer], shape.widths[layer + 1], shape.starts[layer]
    return matrix_in(parameters, start, n_out, n_in)


@inner()
def transposed_of(shape: Any, parameters: Any, layer: int) -> Any:
    """Return the transposed weights of a layer that is no head, shape ``(n_in, n_out)``."""
    n_in, n_out, start = shape.widths[layer], shape.widths[layer + 1], shape.starts[layer]
    return matrix_in(parameters, start, n_in, n_out)


@inner()
def heads_of(shape: Any, layer: int) -> int:
    """Return how many heads a layer is, side by side: the last one all there are."""
    heads: int = shape.heads if layer == len(shape.starts) - 1 else 1
    return heads


@inner()
def weights_of_head(shape: Any, parameters: Any, layer: int, head: int) -> Any:
    """Return the weights of a head, or of a layer that is none, shape ``(n_out, n_in)``."""
    n_in, n_out = shape.widths[layer], shape.widths[layer + 1] // heads_of(shape, layer)
    return matrix_in(parameters, shape.starts[layer] + head * n_out * n_in, n_out, n_in)


@inner()
def transposed_of_head(shape: Any, parameters: Any, layer: int, head: int) -> Any:
    """Return the transposed weights of a head, or of a layer, shape ``(n_in, n_out)``."""
    n_in, n_out = shape.widths[layer], shape.widths[layer + 1] // heads_of(shape, layer)
    return matrix_in(parameters, shape.starts[layer] + head * n_out * n_in, n_in, n_out)


@inner()
def biases_of_head(shape: Any, parameters: Any, layer: int, head: int) -> Any:
    """Return the biases of a head, or of a layer, shape ``(n_out,)``."""
    n_out = shape.widths[layer + 1] // heads_of(shape, layer)
    return biases_of(shape, parameters, layer)[head * n_out : (head + 1) * n_out]


@inner()
def biases_of(shape: Any, parameters: Any, layer: int) -> Any:
    """Return the biases of a layer, shape ``(n_out,)``."""
    n_in, n_out, start = shape.widths[layer], shape.widths[layer + 1], shape.starts[layer]
    return parameters[start + n_out * n_in : start + n_out * n_in + n_out]


@inner()
def embeddings_of(shape: Any, parameters: Any) -> Any:
    """Return the embeddings of gates, shape ``(heads, gated)``."""
    size = shape.heads * shape.gated
    return matrix_in(parameters, len(parameters) - size, shape.heads, shape.gated)


@inner()
def units_of(shape: Any) -> int:
    """Return how many numbers the layers give for one observation."""
    units = 0
    for layer in range(len(shape.starts)):
        units += shape.widths[layer + 1]
    return units


# What depends on whether there are convolutions: the first argument is what there is of them.


def refresh_filters(pictures: Any, parameters: Any, transposed: Any) -> None:
    """Bring the transposed filters of convolutions up to date."""
    raise NotImplementedError


def first_inputs(
    pictures: Any, shape: Any, parameters: Any, transposed: Any, inputs: Any, buffer: Any
) -> Any:
    """Return what the first layer is given for some observations.

    Args:
        pictures: The convolutions, or None.
        shape: Of the network.
        parameters: Of the network.
        transposed: Its transposed weights.
        inputs: The observations, shape ``(rows, numbers)``.
        buffer: Filled with what convolutions give, behind what the layers will.
    """
    raise NotImplementedError


def inputs_again(pictures: Any, net: Any, rows: int, passed: int) -> Any:
    """Return what the first layer was given for the first rows of those that passed."""
    raise NotImplementedError


def through_pictures(
    pictures: Any, net: Any, rows: int, passed: int, delta: Any, free: Any, gradient: Any
) -> None:
    """Compute the gradient of the convolutions, if there are any.

    Args:
        pictures: The convolutions, or None.
        net: The network.
        rows: Observations that have a part in it.
        passed: Observations that passed.
        delta: Derivatives by what the first layer gave, before its activation.
        free: Where there is room for those by what it was given, among ``net.deltas``.
        gradient: Filled, shape ``(parameters,)``.
    """
    raise NotImplementedError


def show(pictures: Any, observation: Any, inputs: Any) -> None:
    """Put an observation, as it is remembered, into a row of the inputs of a network.

    Pixels are divided as Stable-Baselines3's ``preprocess_obs`` divides them.

    Args:
        pictures: The convolutions, or None.
        observation: The observation, shape ``(numbers,)``.
        inputs: Filled, of the same shape.
    """
    raise NotImplementedError


def show_kept(frames: Any, pictures: Any, source: Any, which: int, index: int, inputs: Any) -> None:
    """Put an observation of a transition into a row of the inputs of a network.

    Args:
        frames: The frames that observations are put together from; None if there are none.
        pictures: The convolutions, or None.
        source: Transitions, a memory or completed ones.
        which: 0 for where the transition begins, 1 for where it ends.
        index: Which transition.
        inputs: Filled, shape ``(numbers,)``.
    """
    raise NotImplementedError


@overload(refresh_filters, strict=False)
def _refresh_filters(pictures: Any, parameters: Any, transposed: Any) -> Any:
    if isinstance(pictures, types.NoneType):
        return lambda pictures, parameters, transposed: None
    return lambda pictures, parameters, transposed: transpose_filters(
        pictures, parameters, transposed
    )


@overload(first_inputs, strict=False)
def _first_inputs(
    pictures: Any, shape: Any, parameters: Any, transposed: Any, inputs: Any, buffer: Any
) -> Any:
    if isinstance(pictures, types.NoneType):
        return lambda pictures, shape, parameters, transposed, inputs, buffer: inputs

    def shown(
        pictures: Any, shape: Any, parameters: Any, transposed: Any, inputs: Any, buffer: Any
    ) -> Any:
        behind = buffer[len(inputs) * units_of(shape) :]
        return look(pictures, parameters, transposed, inputs, behind)

    return shown


@overload(inputs_again, strict=False)
def _inputs_again(pictures: Any, net: Any, rows: Any, passed: Any) -> Any:
    if isinstance(pictures, types.NoneType):
        return lambda pictures, net, rows, passed: net.inputs[:rows]

    def shown(pictures: Any, net: Any, rows: Any, passed: Any) -> Any:
        return shown_in(pictures, passed, net.activations[passed * units_of(net.shape) :])[:rows]

    return shown


@overload(through_pictures, strict=False)
def _through_pictures(
    pictures: Any, net: Any, rows: Any, passed: Any, delta: Any, free: Any, gradient: Any
) -> Any:
    if isinstance(pictures, types.NoneType):
        return lambda pictures, net, rows, passed, delta, free, gradient: None

    def back(
        pictures: Any, net: Any, rows: Any, passed: Any, delta: Any, free: Any, gradient: Any
    ) -> None:
        seen = net.activations[passed * units_of(net.shape) :]
        x = shown_in(pictures, passed, seen)[:rows]
        deltas = matrix_in(net.deltas, free, rows, x.shape[1])
        through_layer(delta, weights_of(net.shape, net.online, 0), x, deltas, RELU)
        through_look(pictures, net.online, net.inputs[:rows], seen, passed, deltas, gradient)

    return back


@overload(show, strict=False)
def _show(pictures: Any, observation: Any, inputs: Any) -> Any:
    if isinstance(pictures, types.NoneType):

        def copied(pictures: Any, observation: Any, inputs: Any) -> None:
            for j in range(len(inputs)):
                inputs[j] = observation[j]

        return copied

    def divided(pictures: Any, observation: Any, inputs: Any) -> None:
        divisor = pictures.divisor
        for j in range(len(inputs)):
            inputs[j] = np.float32(observation[j]) / divisor

    return divided


@overload(show_kept, strict=False)
def _show_kept(frames: Any, pictures: Any, source: Any, which: int, index: int, inputs: Any) -> Any:
    if isinstance(frames, types.NoneType):
        return lambda frames, pictures, source, which, index, inputs: _show_whole(
            pictures, source, which, index, inputs
        )

    def put_together(
        frames: Any, pictures: Any, source: Any, which: int, index: int, inputs: Any
    ) -> None:
        size = len(frames.weights)
        if len(frames.shown) == 0:
            _show_whole(pictures, source, which, index, inputs)
            return
        for channel in range(frames.shown.shape[2]):
            frame = frame_at(frames, np.int64(frames.shown[index, which, channel]))
            show(pictures, frame, inputs[channel * size : (channel + 1) * size])

    return put_together


@inner()
def _show_whole(pictures: Any, source: Any, which: int, index: int, inputs: Any) -> None:
    if which == 0:
        show(pictures, source.observations[index], inputs)
    else:
        show(pictures, source.next_observations[index], inputs)


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


@inner()
def open_gates(net: Any, which: int, parameters: Any) -> Any:
    """Compute the gates of a network, and their derivatives, which keep their digits near 0.

    What is so small that no sum in single precision notices it becomes 0: denormal numbers, which
    products with it would be, are slow to compute with.
    """
    gates, slopes = net.gates[which, 0], net.gates[which, 1]
    if net.shape.gated == 0:
        return gates
    one, half, nothing = np.float32(1.0), np.float32(0.5), np.float32(0.0)
    least_gate, least_slope = np.float32(1e-12), np.float32(1e-30)
    sharpness, row = np.float32(net.gating[1 + which]), np.int64(net.gating[0])
    embeddings = embeddings_of(net.shape, parameters)[row]
    for unit in range(len(embeddings)):
        x = sharpness * embeddings[unit]
        small = half / half_exp(abs(x))  # e^-|x|
        near, far = one / (one + small), small / (one + small)
        gate, slope = near if x >= nothing else far, sharpness * near * far
        gates[unit] = nothing if gate < least_gate else gate
        slopes[unit] = nothing if slope < least_slope else slope
    return gates


@inner(FUSED)
def times(row: Any, factor: Any) -> None:
    """Multiply a row by a number, in place."""
    for i in range(len(row)):
        row[i] *= factor


@inner(FUSED)
def times_gates(slopes: Any, gates: Any) -> None:
    """Multiply derivatives by gates, in place.

    Those that no optimiser would move anything by become 0, as the square of one is denormal.
    """
    nothing, least = np.float32(0.0), np.float32(1e-15)
    for i in range(len(slopes)):
        slope = slopes[i] * gates[i]
        slopes[i] = nothing if abs(slope) < least else slope


@inner(FUSED)
def add_products(sums: Any, one: Any, other: Any) -> None:
    """Add the products of two rows, number by number."""
    for i in range(len(sums)):
        sums[i] += one[i] * other[i]


@inner()
def through_gates(net: Any, weights: Any, slopes: Any, unit: int, gradient: Any) -> None:
    """Take the gradient of the weights of a layer through the gates of its inputs.

    Args:
        net: The network.
        weights: Of the layer, or of a head, shape ``(n_out, n_in)``; its inputs are hidden units.
        slopes: What their gradient would be if weights times gates were the weights; becomes that
            of the weights.
        unit: The first of these units.
        gradient: Shape ``(parameters,)``; of the embeddings it is filled.
    """
    these = slice(unit, unit + weights.shape[1])
    of_gates = embeddings_of(net.shape, gradient)[np.int64(net.gating[0])][these]
    for i in range(len(weights)):
        add_products(of_gates, slopes[i], weights[i])
        times_gates(slopes[i], net.gates[ONLINE, 0][these])
    by_embedding = net.gates[ONLINE, 1][these]
    for j in range(len(of_gates)):
        of_gates[j] *= by_embedding[j]


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


@inner()
def head_of_all(shape: Any, inputs: Any, rows: int) -> int:
    """Return which head all of the first observations choose, or -1 if they do not agree."""
    head = head_of(shape, inputs, 0) if rows else -1
    for row in range(1, rows):
        if head_of(shape, inputs, row) != head:
            return -1
    return head


@inner()
def head_of(shape: Any, inputs: Any, row: int) -> int:
    """Return which head an observation chooses: that of the largest, the first of equals."""
    first = inputs.shape[1] - shape.heads
    chosen, largest = 0, inputs[row, first]
    for head in range(1, shape.heads):
        told = inputs[row, first + head]
        chosen, largest = (head, told) if told > largest else (chosen, largest)
    return chosen


@inner()
def slopes_of_heads(net: Any, rows: int, slopes: Any) -> Any:
    """Return derivatives by the outputs of all heads, those of the chosen ones being given."""
    shape = net.shape
    outputs = shape.widths[len(shape.starts)]
    actions = outputs // shape.heads
    # Behind what comes back to the layers: there the last one has room, too.
    spread = matrix_in(net.deltas, len(net.deltas) - rows * outputs, rows, outputs)
    for row in range(rows):
        start = head_of(shape, net.inputs, row) * actions
        for unit in range(outputs):
            spread[row, unit] = np.float32(0.0)
        for action in range(actions):
            spread[row, start + action] = slopes[row, action]
    return spread


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
