"""Proximal steps: weights that become 0, one by one or all of a unit; a base for methods."""

from dataclasses import dataclass
from typing import Annotated, Any

import torch

from continual_arcade.agents.kernels.arithmetic import choose
from continual_arcade.agents.methods.base import Learner, Part
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.rules import number, rule, tensor_rule, vector
from continual_arcade.agents.methods.tensors import parameters
from continual_arcade.agents.settings import LARGEST_STEP
from continual_arcade.envs.checks import Number

Strength = Annotated[float, Number(0, high=LARGEST_STEP)]
"""Of a proximal step, which single precision holds."""


@dataclass
class Proximal(Part):
    """Makes the proximal steps of an l1 norm and of a group lasso behind that of the optimiser.

    A derived class says of which weights, by ``sparse`` and ``fresh``. What the optimiser's step
    does not hold up against becomes 0, and not only small.
    """

    l1: Strength = 0.003
    """How fast weights shrink that are to be sparse [learning rates a gradient step]."""
    group: Strength = 0.1
    """How fast the weights into a new unit shrink as a whole [learning rates a gradient step]."""
    cut: Strength = 0.01
    """Weights that are to be sparse, and are no larger, become 0 in the end."""

    sparse: Parameters = vector()
    """1 for weights that are to be sparse, 0 for all else."""
    fresh: Parameters = vector()
    """1 for weights into new units, 0 for all else."""
    factor: Parameters = vector(kept=False)
    shortens: float = number(0.0)
    """``group`` while there are new units, else 0."""

    @rule("constrain", when="l1", where="sparse")
    def shrink(theta: Any, l1: Any, learning_rate: Any) -> Any:
        """Draw single weights nearer to 0."""
        by = l1 * learning_rate
        return choose(theta > by, theta - by, choose(theta < -by, theta + by, 0.0))

    @tensor_rule("constrain", writes="shortens", when="shortens")
    def measure(theta: Any, fresh: Any, factor: Any, shortens: Any, learning_rate: Any) -> Any:
        """Compute how much is left of the weights into each unit."""
        by = shortens * learning_rate
        for unit in range(len(theta)):
            squares = 0.0
            for i in range(theta.shape[1]):
                squares += fresh[unit, i] * theta[unit, i] * theta[unit, i]
            left = 1.0 - by / squares**0.5 if squares > by * by else 0.0
            for i in range(theta.shape[1]):
                factor[unit, i] = left
        return shortens

    @rule("constrain", when="shortens", where="fresh")
    def shorten(theta: Any, factor: Any) -> Any:
        """Draw all weights into a unit nearer to 0."""
        return factor * theta

    def cut_off(self, learner: Learner) -> None:
        """Let weights that are to be sparse, and are small, be 0."""
        with torch.no_grad():
            for tensor, sparse in zip(parameters(learner), self.sparse, strict=True):
                tensor[(sparse > 0) & (tensor.abs() <= self.cut)] = 0.0
