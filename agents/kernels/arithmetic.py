"""Formulas over single numbers, each written once.

PyTorch computes them tensor by tensor, compiled code number by number.
"""

from typing import Any

import numpy as np
import torch
from numba import types
from numba.extending import overload, register_jitable

from continual_arcade.agents.kernels.activations import tanh
from continual_arcade.agents.kernels.inner import FUSED, inner


def choose(condition: Any, one: Any, other: Any) -> Any:
    """Return one of two numbers in a rule, as ``one if condition else other`` does for plain ones.

    Args:
        condition: A comparison, or a number that is not 0.
        one: Where it holds.
        other: Elsewhere.
    """
    if not isinstance(condition, torch.Tensor):
        return one if condition else other
    kinds = [value.dtype for value in (one, other) if isinstance(value, torch.Tensor)]
    kind, place = [*kinds, torch.get_default_dtype()][0], condition.device
    one, other = (torch.as_tensor(value, dtype=kind, device=place) for value in (one, other))
    return torch.where(condition.bool(), one, other)


@overload(choose, strict=False)
def _choose(condition: Any, one: Any, other: Any) -> Any:
    return lambda condition, one, other: one if condition else other


def logistic(x: Any) -> Any:
    """Return 1 / (1 + e^-x) in a rule over one parameter."""
    return torch.sigmoid(x)


@overload(logistic, strict=False)
def _logistic(x: Any) -> Any:
    return lambda x: 0.5 + 0.5 * tanh(0.5 * x)


def cosh(x: Any) -> Any:
    """Return the hyperbolic cosine in a rule; infinity where it is too large a number."""
    return torch.cosh(x) if isinstance(x, torch.Tensor) else np.cosh(x)


# e^x is 2^k e^r, with r within half of log 2. That is taken off in two pieces, so that no digit is
# lost. The polynomial is (e^r - 1 - r) / r^2 for the least relative error of e^r, by Lawson's
# algorithm: 3e-9.
_PER_LOG_2 = np.float32(1.4426950408889634)
_LOG_2, _REST_OF_LOG_2 = np.float32(0.693359375), np.float32(-2.12194440e-4)
_E4, _E3, _E2, _E1, _E0 = (
    np.float32(1.3814613e-3),
    np.float32(8.36871e-3),
    np.float32(4.166839e-2),
    np.float32(1.6666521e-1),
    np.float32(4.9999994e-1),
)
_HALF, _ONE, _TOO_LARGE = np.float32(0.5), np.float32(1.0), np.float32(89.5)


@inner(FUSED)
def half_exp(x: Any) -> Any:
    """Return e^x / 2 within 2e-7 of its size, as vectors of the machine can compute it.

    Args:
        x: Not negative, in single precision. NaN comes through; beyond 89 the result is infinite.
    """
    known = x if x < _TOO_LARGE else _TOO_LARGE  # NaN is no whole number
    k = np.int32(known * _PER_LOG_2 + _HALF)
    r = known - np.float32(k) * _LOG_2
    r = r - np.float32(k) * _REST_OF_LOG_2
    rest = (((_E4 * r + _E3) * r + _E2) * r + _E1) * r + _E0
    power = np.int32((k + np.int32(126)) << np.int32(23)).view(np.float32)  # 2^(k - 1)
    found = (rest * r * r + r + _ONE) * power
    return found if x == x else x


@overload(cosh, strict=False)
def _cosh(x: Any) -> Any:
    if x != types.float32:
        return lambda x: np.cosh(x)

    def of_single_precision(x: Any) -> Any:
        half = half_exp(abs(x))
        return half + np.float32(0.25) / half

    return of_single_precision


@register_jitable
def td_target(reward: Any, done: Any, discount: Any, value: Any) -> Any:
    """Return what a value should be: the reward, and the discounted value of what follows."""
    return reward + (1 - done) * discount * value


@register_jitable
def huber(error: Any) -> Any:
    """Return the Huber loss with a threshold of 1 (Mnih et al. 2015); NaN comes through."""
    size = abs(error)
    return choose(size < 1, 0.5 * error * error, size - 0.5)


@register_jitable
def huber_slope(error: Any) -> Any:
    """Return the derivative of :func:`huber` by the error."""
    size = abs(error)
    # Not a clip: NaN, which is in no order, must come through.
    return choose(size < 1, error, error / size)


@register_jitable
def drawn_back(theta: Any, base: Any, rate: Any) -> Any:
    """Return a parameter drawn back towards where it was: a part of the way is kept."""
    return base + rate * (theta - base)


@register_jitable
def share_of_average(decay: Any, before: Any, updates: Any) -> Any:
    """Return which part of a fading average the newest weights make up.

    Args:
        decay: How much is kept after an update.
        before: Updates that the average is over.
        updates: Updates since then.
    """
    return (1.0 - decay**updates) / (1.0 - decay ** (before + updates))
