"""Which of its output layers, the heads, an observation chooses, and gradients through them."""

from typing import Any

import numpy as np

from continual_arcade.agents.kernels.inner import inner
from continual_arcade.agents.kernels.pieces import matrix_in


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
