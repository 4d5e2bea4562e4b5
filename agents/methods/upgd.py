"""UPGD: weights of use are protected from the step, and the others are perturbed."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from numba.extending import register_jitable

from continual_arcade.agents.kernels.arithmetic import choose, logistic
from continual_arcade.agents.methods.base import Learner, Part
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import (
    MEASURE,
    count,
    normals,
    number,
    rule,
    tensor_rule,
    total,
    vector,
)
from continual_arcade.agents.settings import DECAY
from continual_arcade.envs.checks import NotNegative


@dataclass
class UPGD(Part):
    r"""Utility-based perturbed gradient descent, around the optimiser's step.

    The utility of a parameter is a moving average of :math:`-g \theta`: by so much, to first order,
    the loss would rise without it. By its share of the largest utility it is protected, from the
    step and from noise alike: with plain SGD this is UPGD, with Adam the authors'
    AdaUPGD (Elsayed and Mahmood 2024).
    """

    name: ClassVar[str] = "upgd"
    conflicts: ClassVar[frozenset[str]] = frozenset(
        {"agem", "gem", "packnet", "reset", "shrink-perturb", "hare-tortoise"}
        | {"redo", "continual-backprop", "neurogenesis"}
    )

    protect: bool = True
    """Protect what is of use; if not, all parameters are perturbed alike."""
    decay: Annotated[float, DECAY] = 0.999
    """Decay of the average of the utility, per gradient step."""
    noise: NotNegative = 0.001
    """Standard deviation of the noise, before the learning rate."""
    weight_decay: NotNegative = 0.001
    """What parameters shrink by in a step, before the learning rate."""

    utility: Parameters = vector()
    """Moving average of the utilities."""
    before: Parameters = vector(kept=False)
    """Parameters before the optimiser's step."""
    drawn: Parameters = vector(kept=False)
    """Noise of the step."""
    rate: float = number(0.0, kept=False)
    """How far the average goes in a step."""
    highest: float = number(0.0, kept=False)
    """The largest utility; 0 if none is above."""
    held: float = number(0.0, kept=False)
    """Sum of the protection of all parameters when it was last measured."""
    size: float = number(0.0, kept=False)
    """How many parameters that were."""

    def __post_init__(self) -> None:
        self.check_settings()

    @total(MEASURE, writes="held")
    def holds(utility: Any, highest: Any, protect: Any) -> Any:
        """Measure the protection."""
        return protected(utility, highest, protect)

    @total(MEASURE, writes="size")
    def sizes() -> Any:
        """Count the parameters."""
        return 1.0

    @count("project", writes="rate")
    def share(decay: Any) -> Any:
        """Compute it in double precision."""
        return 1.0 - decay

    @rule("project", writes="before")
    def remember(theta: Any) -> Any:
        """Remember where the step begins."""
        return theta

    @rule("project", writes="utility", when="protect")
    def use(theta: Any, gradient: Any, utility: Any, rate: Any) -> Any:
        """Update the utilities."""
        return utility - rate * (gradient * theta + utility)

    @count("project_update", writes="highest")
    def none_yet() -> Any:
        """Begin the search: no utility of 0 or less protects anything."""
        return 0.0

    @tensor_rule("project_update", writes="highest", when="protect")
    def highest_of(utility: Any, highest: Any) -> Any:
        """Look for the largest utility."""
        for row in utility:
            for one in row:
                highest = max(highest, one)
        return highest

    noisy = normals("project_update", writes="drawn", when="noise")

    @rule("project_update")
    def step(
        theta: Any,
        before: Any,
        utility: Any,
        drawn: Any,
        highest: Any,
        protect: Any,
        noise: Any,
        weight_decay: Any,
        learning_rate: Any,
    ) -> Any:
        """Take back what is protected of the step, perturb, and decay."""
        kept = protected(utility, highest, protect)
        added = weight_decay * before + noise * (1.0 - kept) * drawn
        return theta - kept * (theta - before) - learning_rate * added

    def log(self, learner: Learner) -> None:
        """Record how much of the parameters is protected on the average."""
        if self.size:
            learner.logger.record("upgd/protected", self.held / self.size)


@register_jitable
def protected(utility: Any, highest: Any, protect: Any) -> Any:
    """Return the share of a step that a parameter is protected from."""
    return choose(highest > 0.0, protect * logistic(utility / highest), 0.0 * utility)


PRESETS = (
    Preset(
        "upgd",
        "Parameters of use are protected from the step, and the others are perturbed.",
        source="Elsayed and Mahmood 2024",
        parts=("upgd",),
    ),
)
