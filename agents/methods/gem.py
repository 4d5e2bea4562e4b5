"""GEM: no step may, to first order, raise the loss on what is remembered of any phase."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from numba.extending import register_jitable

from continual_arcade.agents.kernels.arithmetic import choose
from continual_arcade.agents.kernels.quadratic_program import solve
from continual_arcade.agents.methods.base import Learner, State
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.projection import Projection
from continual_arcade.agents.methods.rules import kept_gradients, matrix, mixture, rule, vector
from continual_arcade.envs.checks import AtOnce, Count, NotNegative


@dataclass
class GEM(Projection):
    """Gradient episodic memory: the step must not raise the loss on the memory of any past phase.

    At each phase end its last transitions are kept. If a gradient points against that of any
    phase's, it is replaced by the nearest vector that points against none (Lopez-Paz and Ranzato
    2017). As in A-GEM, ``what="update"`` projects the step that the optimiser made instead.
    """

    name: ClassVar[str] = "gem"

    transitions: Count = 256
    """Transitions kept of each phase."""
    batch: AtOnce | None = None
    """Transitions that a reference is computed from, drawn from those of each phase; all of them if
    not given."""
    margin: NotNegative = 0.0
    """How much of each reference is at least added to a gradient that is projected: the memory
    strength of the authors' code."""

    ends: list[int] = field(init=False, repr=False, default_factory=list)
    """Where in the kept transitions those of each phase end."""

    references: list[Parameters] = matrix()
    """Gradient of the TD loss of each phase's kept transitions."""
    step: Parameters = vector(kept=False)
    """The optimiser's step, and what is made of it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch is not None and self.batch > self.transitions:
            raise ValueError(
                f"gem: batch = {self.batch} is more than the {self.transitions} transitions that "
                "are kept of a phase: leave it out to compute references from all of them"
            )
        if self.margin and self.what == "update":
            raise ValueError(
                f"gem: margin = {self.margin} is a share of gradients, and has no meaning for the "
                "steps of an optimiser: use what='gradient', or margin=0"
            )

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Keep transitions of the phase, as a memory of its own."""
        super().phase_end(learner, phase)
        self.ends = [*self.ends, self.remembered]

    refer = kept_gradients("project", "references", of="kept", ends="ends", size="batch")

    @mixture("project", of="references", to="gradient", writes="turned", when="of_gradient")
    def project_gradient(gram: Any, products: Any, weights: Any, margin: Any) -> Any:
        """Project the gradient."""
        return into_cone(gram, products, weights, margin)

    @rule("project_update", writes="step", when="of_step")
    def made(before: Any, theta: Any) -> Any:
        """Look at the step."""
        return before - theta

    @mixture("project_update", of="references", to="step", writes="turned", when="of_step")
    def project_step(gram: Any, products: Any, weights: Any, margin: Any) -> Any:
        """Project the step."""
        return into_cone(gram, products, weights, margin)

    @rule("project_update", when="of_step")
    def take_step(theta: Any, before: Any, step: Any, turned: Any) -> Any:
        """Make the projected step instead."""
        return choose(turned > 0, before - step, theta)

    def state_dict(self) -> State:
        """Return where memories end, too."""
        return {**super().state_dict(), "ends": self.ends}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.ends = list(state["ends"])


@register_jitable
def into_cone(gram: Any, products: Any, weights: Any, margin: Any) -> Any:
    """Say how much of each reference takes a vector to where it opposes none of them.

    The dual program of Lopez-Paz and Ranzato 2017, eq. 11, if there is a reference that the vector
    opposes. What is not finite counts as opposed, and comes through.

    Args:
        gram: Products of the references with each other.
        products: Those with the vector.
        weights: Filled; 0 if it opposes none.
        margin: The least of each weight if it opposes one.

    Returns:
        Whether it opposes one.
    """
    for product in products:
        if not product >= 0.0:
            solve(gram, products, margin, weights)
            return 1.0
    return 0.0


PRESETS = (
    Preset(
        "gem",
        "No step may raise the loss on what is remembered of any phase.",
        source="Lopez-Paz and Ranzato 2017",
        parts=("gem",),
    ),
)
