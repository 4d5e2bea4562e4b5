"""Spectral regularisation: the largest singular value of each layer stays close to 1."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from continual_arcade.agents.kernels.inner import inner
from continual_arcade.agents.kernels.vectors import add_multiple, inner_product
from continual_arcade.agents.methods.base import Learner, Part
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import count, number, tensor_rule, vector
from continual_arcade.agents.methods.tensors import OUTPUT, SCALE, SHIFT, roles
from continual_arcade.envs.checks import Count, NotNegative


@dataclass
class Spectral(Part):
    r"""Adds :math:`\lambda \sum_l ((\sigma_1(W_l)^k - 1)^2 + \|b_l\|^{2k})` to the loss.

    Where singular values are far from 1, gradients vanish or explode, or become alike, and a
    network learns less and less (Lewandowski et al. 2024). The gains of layer normalisation are
    drawn to 1 by their squared distance.
    """

    name: ClassVar[str] = "spectral"

    lam: NotNegative = 0.1
    """Strength; 0 for none."""
    k: Count = 2
    """Exponent of the singular value."""
    iterations: Count = 1
    """Steps of the power iteration for each gradient step."""
    output: bool = True
    """Regularise the output layer, too."""

    right: Parameters = vector()
    """The first row holds the right singular vector of each weight matrix."""
    penalty: float = number(0.0, kept=False)
    """The penalty at the last gradient step, before ``lam``."""

    def __post_init__(self) -> None:
        self.check_settings()

    def bind(self, learner: Learner, rng: Any) -> None:
        """Draw where the power iterations start."""
        super().bind(learner, rng)
        for tensor, role in zip(self.right, roles(learner.q_net), strict=True):
            if role not in (SHIFT, SCALE):
                row = tensor.view(len(tensor), -1)[0]
                row.copy_(torch.from_numpy(rng.normal(size=len(row))))

    @count("add_gradient", writes="penalty", when="lam")
    def nothing() -> Any:
        """Begin the sum."""
        return 0.0

    @tensor_rule("add_gradient", writes="penalty", when="lam")
    def pull(
        theta: Any,
        gradient: Any,
        right: Any,
        role: Any,
        lam: Any,
        k: Any,
        iterations: Any,
        output: Any,
        penalty: Any,
    ) -> Any:
        """Pull the largest singular value of a tensor to 1, a bias to 0, and a gain to 1."""
        if role == SHIFT:
            square = inner_product(theta[:, 0], theta[:, 0])
            add_multiple(gradient[:, 0], 2.0 * lam * k * square ** (k - 1.0), theta[:, 0])
            return penalty + square**k
        if role == SCALE:
            for i in range(len(theta)):
                away = np.float64(theta[i, 0]) - 1.0
                gradient[i, 0] += np.float32(2.0 * lam * away)
                penalty += away * away
            return penalty
        if role == OUTPUT and output == 0.0:
            return penalty
        left = np.empty(len(theta), np.float32)
        largest = singular(theta, left, right[0], int(iterations))
        off = largest**k - 1.0
        slope = 2.0 * lam * k * off * largest ** (k - 1.0)
        for i in range(len(theta)):
            add_multiple(gradient[i], slope * left[i], right[0])
        return penalty + off * off

    def log(self, learner: Learner) -> None:
        """Record the penalty."""
        learner.logger.record("spectral/penalty", self.lam * self.penalty)


@inner()
def singular(matrix: Any, left: Any, right: Any, iterations: Any) -> Any:
    """Approach the largest singular value by power iteration (Miyato et al. 2018, algorithm 1).

    Args:
        matrix: Shape ``(rows, columns)``.
        left: Filled with the left singular vector.
        right: The right one as it was, which is brought closer.
        iterations: Steps.

    Returns:
        The value; 0 of a matrix of zeros, whose vectors stay finite.
    """
    largest = 0.0
    for _ in range(iterations):
        for i in range(len(left)):
            left[i] = np.float32(inner_product(matrix[i], right))
        add_multiple(left, 1.0 / max(np.sqrt(inner_product(left, left)), 1e-30) - 1.0, left)
        found = np.zeros(len(right), np.float32)
        for i in range(len(left)):
            add_multiple(found, left[i], matrix[i])
        largest = np.sqrt(inner_product(found, found))
        if largest > 0.0:
            right[:] = 0.0
            add_multiple(right, 1.0 / largest, found)
    return largest


PRESETS = (
    Preset(
        "spectral",
        "The largest singular value of each layer is drawn to 1.",
        source="Lewandowski et al. 2024",
        parts=("spectral:lam=0.0001",),
    ),
)
