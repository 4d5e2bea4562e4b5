"""Formulas over single numbers, each written once.

PyTorch computes them tensor by tensor, compiled code number by number.
"""

from typing import Any

import numpy as np
import torch
from numba.extending import overload, register_jitable

from continual_arcade.agents.kernels.activations import tanh


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


@overload(cosh, strict=False)
def _cosh(x: Any) -> Any:
    return lambda x: np.cosh(x)


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
