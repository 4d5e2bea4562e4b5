"""What a gradient step makes smaller: the loss of a batch, and its slopes by the values.

Either the TD loss of transitions, or the loss of labelled examples: transitions whose action is the
right answer, see :data:`~continual_arcade.agents.settings.LOSSES`.
"""

from typing import Any

import numpy as np

from continual_arcade.agents.kernels.arithmetic import huber, huber_slope, td_target
from continual_arcade.agents.kernels.inner import WIDE, inner, numbered
from continual_arcade.agents.kernels.layout import ONLINE, TARGET
from continual_arcade.agents.kernels.network import backward, best, forward

TD, CROSS_ENTROPY, SQUARED = numbered(3)  # in the order of LOSSES


@inner()
def td_error(batch: Any, row: int, value: Any, value_after: Any) -> Any:
    """Return how far a value is from its target."""
    rewards, dones, discounts = batch.rewards, batch.dones, batch.discounts
    return value - td_target(rewards[row], dones[row], discounts[row], value_after)


@inner()
def passed_rows(c: Any, rows: int) -> int:
    """Return how many observations pass the online network for a batch of so many rows."""
    return 2 * rows if c.loss_kind == TD and c.double_q else rows


@inner(WIDE)
def loss_gradient(c: Any, net: Any, batch: Any, rows: int, weight: float, gradient: Any) -> float:
    """Compute the gradient of the loss of the batch.

    Args:
        c: The control record.
        net: The networks; the observations lie in the inputs.
        batch: The rest of the batch.
        rows: Transitions of the batch.
        weight: Factor of the loss.
        gradient: Filled, shape ``(parameters,)``.

    Returns:
        The mean loss, times the weight.
    """
    loss = loss_slopes(c, net, batch, rows, weight)
    backward(net, rows, passed_rows(c, rows), batch.slopes[:rows], gradient)
    return loss


@inner(WIDE)
def loss_slopes(c: Any, net: Any, batch: Any, rows: int, weight: float) -> float:
    """Compute the loss of the batch, and fill its slopes by the values of the online network.

    See :func:`loss_gradient`.
    """
    passed = passed_rows(c, rows)
    values = forward(net, ONLINE, net.inputs[:passed], net.activations)
    share = np.float32(weight) / np.float32(rows)
    loss = 0.0
    if c.loss_kind == TD:
        others = forward(net, TARGET, net.inputs[rows : 2 * rows], net.others)
        for row in range(rows):
            chosen = best(values, rows + row) if c.double_q else best(others, row)
            error = td_error(batch, row, values[row, batch.actions[row]], others[row, chosen])
            for other in range(values.shape[1]):
                batch.slopes[row, other] = np.float32(0.0)
            loss += huber(error)
            batch.slopes[row, batch.actions[row]] = share * huber_slope(error)
    else:
        for row in range(rows):
            slopes = batch.slopes[row]
            loss += label_slopes(c.loss_kind, values[row], batch.actions[row], share, slopes)
    return weight * loss / rows


@inner(WIDE)
def value_gradient(c: Any, net: Any, batch: Any, gradient: Any) -> float:
    """Compute the gradient of the value of what was done in one transition.

    Args:
        c: The control record; ``td_error`` and ``greedy`` are written, by the online network alone.
        net: The networks; what was seen, and what came next, lie in the first two inputs.
        batch: The rest of the transition, in the first row.
        gradient: Filled, shape ``(parameters,)``.

    Returns:
        The TD loss.
    """
    values = forward(net, ONLINE, net.inputs[:2], net.activations)
    action = batch.actions[0]
    error = td_error(batch, 0, values[0, action], values[1, best(values, 1)])
    c.td_error = -error
    c.greedy = 1.0 if best(values, 0) == action else 0.0
    for other in range(values.shape[1]):
        batch.slopes[0, other] = np.float32(0.0)
    batch.slopes[0, action] = np.float32(1.0)
    backward(net, 1, 2, batch.slopes[:1], gradient)
    loss: float = huber(error)
    return loss


@inner(WIDE)
def label_slopes(kind: int, values: Any, label: int, share: Any, slopes: Any) -> Any:
    """Compute the loss of one labelled example, and its slopes.

    Args:
        kind: ``CROSS_ENTROPY``: minus the logarithm of the label's probability, the values being
            logits; or ``SQUARED``: half the squared distance of the values from 1 for the label and
            0 for all else.
        values: What the network says, shape ``(actions,)``.
        label: The right answer.
        share: Factor of the slopes.
        slopes: Filled, shape ``(actions,)``.

    Returns:
        The loss. NaN and infinity come through.
    """
    one, nothing = np.float32(1.0), np.float32(0.0)
    loss = nothing
    if kind == SQUARED:
        for action in range(len(values)):
            error = values[action] - (one if action == label else nothing)
            loss += np.float32(0.5) * error * error
            slopes[action] = share * error
        return loss
    highest = values[0]
    for action in range(1, len(values)):
        highest = max(highest, values[action])
    total = nothing
    for action in range(len(values)):
        slopes[action] = np.exp(values[action] - highest)
        total += slopes[action]
    for action in range(len(values)):
        wanted = one if action == label else nothing
        slopes[action] = share * (slopes[action] / total - wanted)
    return np.log(total) + highest - values[label]
