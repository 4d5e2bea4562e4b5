"""Gates behind the activations of hidden units: opened, and gradients through them.

See ``gated`` of :class:`~continual_arcade.agents.kernels.layout.Shape`.
"""

from typing import Any

import numpy as np

from continual_arcade.agents.kernels.arithmetic import half_exp
from continual_arcade.agents.kernels.inner import FUSED, inner
from continual_arcade.agents.kernels.layout import ONLINE, embeddings_of


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
