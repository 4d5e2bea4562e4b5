"""Parseval regularisation: the rows of each hidden layer's weights stay orthogonal."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from continual_arcade.agents.kernels.activations import NOTHING
from continual_arcade.agents.kernels.inner import inner
from continual_arcade.agents.kernels.products import through_layer, turn, weights_gradient
from continual_arcade.agents.kernels.vectors import add_multiple, inner_product
from continual_arcade.agents.methods.base import Learner, Part
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import count, number, tensor_rule
from continual_arcade.agents.methods.tensors import HIDDEN
from continual_arcade.envs.checks import NotNegative, Positive


@dataclass
class Parseval(Part):
    r"""Adds :math:`\lambda \sum_l \|W_l W_l^\top - s I\|_F^2` to the loss.

    Only weights of hidden layers are held; biases and the output layer are free. Where rows are
    orthogonal, no layer shrinks or stretches its inputs, and gradients keep their length (Chung et
    al. 2024). A layer with more rows than columns cannot have orthogonal rows: it gets orthogonal
    columns, which the same loss asks for.
    """

    name: ClassVar[str] = "parseval"

    lam: NotNegative = 0.1
    """Strength; 0 for none."""
    s: Positive = 2.0
    """Squared length of the rows."""

    penalty: float = number(0.0, kept=False)
    """The penalty at the last gradient step, before ``lam``, of the shorter side of each layer."""

    def __post_init__(self) -> None:
        self.check_settings()

    @count("add_gradient", writes="penalty", when="lam")
    def nothing() -> Any:
        """Begin the sum."""
        return 0.0

    @tensor_rule("add_gradient", writes="penalty", when="lam")
    def pull(theta: Any, gradient: Any, role: Any, lam: Any, s: Any, penalty: Any) -> Any:
        """Pull the rows of a tensor apart, and to their length."""
        return penalty + draw(theta, gradient, lam, s) if role == HIDDEN else penalty

    def log(self, learner: Learner) -> None:
        """Record the penalty."""
        learner.logger.record("parseval/penalty", self.lam * self.penalty)


@inner()
def draw(theta: Any, gradient: Any, lam: Any, s: Any) -> Any:
    """Add the gradient of the penalty of a matrix, and return the penalty.

    With W the gradient is ``4 (W W' - s I) W = 4 W (W' W - s I)``: the smaller product will do.
    """
    rows, columns = theta.shape
    is_tall = rows > columns
    turned = theta if is_tall else np.empty((columns, rows), np.float32)
    if not is_tall:
        turn(theta, turned)
    off = np.empty((min(rows, columns), min(rows, columns)), np.float32)
    weights_gradient(turned, turned, off)
    for i in range(len(off)):
        off[i, i] -= np.float32(s)
    slope = np.empty((rows, columns), np.float32)
    if is_tall:
        through_layer(theta, off, slope, slope, NOTHING)
    else:
        through_layer(off, theta, slope, slope, NOTHING)
    penalty = 0.0
    for i in range(len(off)):
        penalty += inner_product(off[i], off[i])
    for i in range(rows):
        add_multiple(gradient[i], 4.0 * lam, slope[i])
    return penalty


PRESETS = (
    Preset(
        "parseval",
        "The rows of each hidden layer's weights are drawn to be orthogonal.",
        source="Chung et al. 2024",
        parts=("parseval:lam=0.001",),
    ),
)
