"""TRAC: how far the optimiser may lead from where it began is learnt along the way."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numba.extending import register_jitable

from continual_arcade.agents.kernels.arithmetic import choose
from continual_arcade.agents.methods.base import Learner, Part
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import count, number, row, rule, total, vector
from continual_arcade.envs.checks import Positive

DISCOUNTS = (0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)
"""Of the tuners, whose scales are added: those of the authors' code."""


@dataclass
class TRAC(Part):
    r"""Scales the way from a reference that the optimiser has gone (Muppidi et al. 2024).

    The optimiser goes its own way, the base, by the gradients of the network; the network stands at
    :math:`\theta_\mathrm{ref} + s\,(\theta_\mathrm{base} - \theta_\mathrm{ref})`. The scale is the
    sum of several tuners, each of which grows where gradients point back to the reference, and
    falls where they point away. The reference is where the first gradient step began, or, if the
    parameters were changed by hand, the first one after that.
    """

    name: ClassVar[str] = "trac"
    conflicts: ClassVar[frozenset[str]] = frozenset(
        {"agem", "gem", "upgd", "mer", "reptile", "packnet", "progressive", "reset"}
        | {"hare-tortoise", "shrink-perturb", "redo", "continual-backprop", "neurogenesis"}
    )

    epsilon: Positive = 1e-8
    """What the scale begins with, about: of each tuner."""

    reference: Parameters = vector()
    """Where the first step began."""
    base: Parameters = vector()
    """Where the optimiser would be by its own steps."""
    placed: Parameters = vector()
    """Where the network was put after the step before."""
    sums: Any = row(len(DISCOUNTS))
    """Discounted sums of what the gradients say against the way so far, for each tuner."""
    squares: Any = row(len(DISCOUNTS))
    """Discounted sums of the squares."""
    moved: float = number(0.0, kept=False)
    """How far the parameters are from where they were put."""
    along: float = number(0.0, kept=False)
    """Product of the gradient with the way so far."""
    scale: float = number(0.0, kept=False)
    """The scale after the last step."""

    def __post_init__(self) -> None:
        self.check_settings()

    @total("project", writes="moved")
    def distance(theta: Any, placed: Any) -> Any:
        """Notice what was changed by hand; before the first step everything was."""
        return abs(theta - placed)

    @rule("project", writes="reference", when="moved")
    def refer(theta: Any) -> Any:
        """Begin here."""
        return theta

    @rule("project", writes="base", when="moved")
    def start(theta: Any) -> Any:
        """Begin here."""
        return theta

    @rule("project", writes="placed", when="moved")
    def place(theta: Any) -> Any:
        """Begin here."""
        return theta

    @count("project", writes="scale", when="moved")
    def begin(sums: Any, squares: Any, epsilon: Any) -> Any:
        """Begin with tuners that know nothing."""
        for i in range(len(DISCOUNTS)):
            sums[i], squares[i] = epsilon, 0.0
        return 0.0

    @total("project", writes="along")
    def products(gradient: Any, base: Any, reference: Any) -> Any:
        """Compare the gradient with the way so far."""
        return gradient * (base - reference)

    @rule("project_update", writes="base")
    def go(theta: Any, base: Any, placed: Any) -> Any:
        """Let the base make the optimiser's step; where the network is the base, bit for bit."""
        return choose(placed == base, theta, base + (theta - placed))

    @count("project_update", writes="scale")
    def tune(sums: Any, squares: Any, along: Any, epsilon: Any) -> Any:
        """Tune the scale."""
        scale = 0.0
        for i in range(len(DISCOUNTS)):
            discount = DISCOUNTS[i]
            squares[i] = discount * discount * squares[i] + along * along
            sums[i] = discount * sums[i] - along
            scale += erfi(sums[i] / (np.sqrt(2.0 * squares[i]) + epsilon))
        return max(epsilon * scale / UNIT, 0.0)

    @rule("project_update")
    def put(base: Any, reference: Any, scale: Any) -> Any:
        """Put the network where the scale says; with a scale of 1 on the base, bit for bit."""
        return base + (scale - 1.0) * (base - reference)

    @rule("project_update", writes="placed")
    def note(theta: Any) -> Any:
        """Note where that is."""
        return theta

    def log(self, learner: Learner) -> None:
        """Record the scale."""
        learner.logger.record("trac/scale", self.scale)


@register_jitable
def erfi(x: Any) -> Any:
    """Return the imaginary error function, by its series, whose terms all have one sign."""
    term, summed, i = x, 0.0, 0
    while abs(term) > 1e-17 * abs(summed):
        summed += term / (2 * i + 1)
        i += 1
        term *= x * x / i
    return 2.0 / np.sqrt(np.pi) * summed


UNIT = float(erfi(0.5**0.5))
"""What the sum of the tuners is measured in."""

PRESETS = (
    Preset(
        "trac",
        "How far the optimiser may lead from where it began is tuned along the way.",
        source="Muppidi et al. 2024",
        parts=("trac",),
    ),
)
