"""Plain SGD on one example at a time, without ever writing the gradient down.

The gradient of one example is, for each layer, the product of what went in and what comes back. So
its norm is known from these two, and the step is made row by row. With sixteen examples for each
transition, as MER learns, this is what makes them as cheap as one batch.
"""

from typing import Any

import numpy as np

from continual_arcade.agents.kernels.arithmetic import huber, huber_slope
from continual_arcade.agents.kernels.heads import head_of
from continual_arcade.agents.kernels.inner import WIDE, inner
from continual_arcade.agents.kernels.layout import (
    ONLINE,
    biases_of,
    heads_of,
    transposed_of_head,
    weights_of,
    weights_of_head,
)
from continual_arcade.agents.kernels.losses import TD, label_slopes, passed_rows, td_error
from continual_arcade.agents.kernels.network import best, pass_through
from continual_arcade.agents.kernels.pieces import matrix_in
from continual_arcade.agents.kernels.products import (
    add_outer,
    add_sparse_outer,
    through_layer,
    turn,
)


@inner()
def finish_examples(net: Any) -> None:
    """Bring the weights of the first layer up to date, which steps change transposed only."""
    shape = net.shape
    for head in range(heads_of(shape, 0)):
        transposed = transposed_of_head(shape, net.transposed[ONLINE], 0, head)
        turn(transposed, weights_of_head(shape, net.online, 0, head))


@inner(WIDE)
def sgd_one_example(
    c: Any, net: Any, pair: Any, values_after: Any, batch: Any, row: int, weight: float
) -> bool:
    """Make one step of plain SGD on one example.

    After the last one, and before anybody looks at the weights, :func:`finish_examples` is due.

    Args:
        c: The control record; ``loss``, ``norm`` and ``clip_factor`` are written.
        net: The network.
        pair: The observation and the next one, shape ``(2, features)``.
        values_after: Values of the next one by the target network, shape ``(1, actions)``; of no
            matter for labelled examples.
        batch: Where the rest of the example lies ...
        row: ... in this row.
        weight: Factor of the loss.

    Returns:
        Whether the step was made; if not, loss or gradient are not finite.
    """
    shape = net.shape
    last = len(shape.starts) - 1
    passed = passed_rows(c, 1)
    values = pass_through(net, ONLINE, pair[:passed], net.activations, True)
    action, share = batch.actions[row], np.float32(weight)

    # Backwards: what comes back to each layer, one after the other in ``deltas``.
    ends = 0
    for layer in range(last + 1):
        ends += shape.widths[layer + 1]
    at = ends - shape.widths[last + 1]
    out = net.deltas[at:ends]
    for other in range(len(out)):
        out[other] = np.float32(0.0)
    head = head_of(shape, pair, 0) if shape.heads > 1 else 0
    begin = head * values.shape[1]
    if c.loss_kind == TD:
        chosen = best(values, 1) if c.double_q else best(values_after, 0)
        error = td_error(batch, row, values[0, action], values_after[0, chosen])
        out[begin + action] = share * huber_slope(error)
        c.loss = weight * huber(error)
    else:
        c.loss = weight * label_slopes(
            c.loss_kind, values[0], action, share, out[begin : begin + values.shape[1]]
        )
    x_at = passed * at
    square = np.float32(0.0)
    for layer in range(last, -1, -1):
        n_in, n_out = shape.widths[layer], shape.widths[layer + 1]
        delta = net.deltas[at : at + n_out]
        x_at -= passed * n_in
        x = net.activations[x_at : x_at + n_in] if layer else pair[0]
        from_delta, from_x = np.float32(0.0), np.float32(1.0)  # of the biases
        for unit in range(n_out):
            from_delta += delta[unit] * delta[unit]
        for unit in range(n_in):
            from_x += x[unit] * x[unit]
        square += from_delta * from_x
        if layer:
            below = matrix_in(net.deltas, at - n_in, 1, n_in)
            weights = weights_of(shape, net.online, layer)
            above = matrix_in(net.deltas, at, 1, n_out)
            given = matrix_in(net.activations, x_at, 1, n_in)
            through_layer(above, weights, given, below, shape.activation)
            at -= n_in
    c.norm = np.sqrt(square)
    if not (np.isfinite(c.loss) and np.isfinite(c.norm)):
        return False

    step = np.float32(c.rate * min(1.0, c.max_grad_norm / (c.norm + 1e-6)))
    for i in range(ends):
        net.deltas[i] *= -step
    at = 0
    x_at = 0
    for layer in range(last + 1):
        n_in, n_out = shape.widths[layer], shape.widths[layer + 1]
        x = net.activations[x_at : x_at + n_in] if layer else pair[0]
        move = net.deltas[at : at + n_out]
        of_layer = head if layer == last else 0  # no other head is moved
        size = n_out // heads_of(shape, layer)
        moved = move[of_layer * size : (of_layer + 1) * size]
        transposed = transposed_of_head(shape, net.transposed[ONLINE], layer, of_layer)
        if layer:  # in both copies, by the same products, which are the same bits
            add_outer(moved, x, weights_of_head(shape, net.online, layer, of_layer))
            add_outer(x, moved, transposed)
        else:
            add_sparse_outer(x, moved, transposed)
        biases = biases_of(shape, net.online, layer)
        for unit in range(n_out):
            biases[unit] += move[unit]
        if layer:
            x_at += passed * n_in
        at += n_out
    return True
