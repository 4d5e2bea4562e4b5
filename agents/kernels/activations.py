"""What a layer does to its results: ReLU or tanh, and their derivatives by the outputs alone.

ReLU is part of the product that it follows (:mod:`~continual_arcade.agents.kernels.products`). The
others make a pass of their own over results that are still in the first cache, so that a product
with ReLU stays as it is whatever else there is.
"""

from typing import Any

import numpy as np

from continual_arcade.agents.kernels.inner import FUSED, inner

NOTHING, RELU, TANH = range(3)
"""What follows a layer; nothing follows the last one."""

_ONE, _QUARTER = np.float32(1.0), np.float32(0.25)
_END = np.float32(9.0)
"""Beyond it tanh is 1 but for 3e-8, which is half a unit in the last place."""
_R0, _R1, _R2 = np.float32(-0.0833332762), np.float32(-9.74799332e-4), np.float32(-6.9675913e-8)
_Q1, _Q2 = np.float32(0.111696839), np.float32(1.05170871e-3)


@inner(FUSED)
def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent, within 2e-7 of its size; NaN comes through.

    Twice the tanh of half the number is the number times 1 plus a rational function of its square.
    From that, t, follows tanh x = t / (1 + t^2 / 4), in which errors of large numbers vanish; those
    of small ones hardly matter, because what is added is small. The coefficients were fitted for
    the least relative error of the result, by Lawson's algorithm. It is never beyond 1, and exactly
    1 where a unit is saturated, so that the slope is exactly 0 there.

    Args:
        x: In single precision.
    """
    square = x * x
    rest = square * ((_R2 * square + _R1) * square + _R0)
    t = x + x * (rest / ((_Q2 * square + _Q1) * square + _ONE))
    y = t / (t * t * _QUARTER + _ONE)
    y = _ONE if x > _END else y  # whatever was computed there; NaN stays NaN
    return -_ONE if x < -_END else y


@inner(FUSED)
def _apply_tanh(values: Any) -> None:
    for i in range(len(values)):
        values[i] = tanh(values[i])


@inner(FUSED)
def _through_tanh(outputs: Any, below: Any) -> None:
    for i in range(len(outputs)):
        below[i] *= _ONE - outputs[i] * outputs[i]


@inner()
def activate(activation: int, outputs: Any) -> None:
    """Apply an activation that is not part of the product, in place.

    Args:
        activation: ``NOTHING``, ``RELU`` or ``TANH``.
        outputs: What a layer has computed; contiguous, of any shape.
    """
    if activation == TANH:
        _apply_tanh(outputs.reshape(-1))


@inner()
def through_activation(activation: int, outputs: Any, below: Any) -> None:
    """Multiply by the derivative of an activation that is not part of the product, in place.

    Args:
        activation: ``RELU`` or ``TANH``.
        outputs: What it gave; contiguous, of any shape.
        below: Derivatives by its outputs, of the same shape; they become those by its inputs.
    """
    if activation == TANH:
        _through_tanh(outputs.reshape(-1), below.reshape(-1))
