"""A-GEM: no step may, to first order, raise the loss on what is remembered."""

from dataclasses import dataclass
from typing import Any, ClassVar

from numba.extending import register_jitable

from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.projection import Projection
from continual_arcade.agents.methods.rules import count, kept_gradient, number, rule, total, vector
from continual_arcade.envs.checks import AtOnce


@dataclass
class AGEM(Projection):
    """A-GEM: the step must not raise the loss on a batch of remembered transitions.

    At each phase end its last transitions are kept. If a gradient points against that of a batch
    of them, it is projected (Chaudhry et al. 2019). Adam then turns the projected gradient: its
    step may again raise the loss. ``what="update"`` projects the step that the optimiser made
    instead.
    """

    name: ClassVar[str] = "agem"

    batch: AtOnce | None = None
    """Transitions of the reference batch, drawn from all kept ones; as many as the learner's if not
    given."""

    reference: Parameters = vector(kept=False)
    """Gradient of the TD loss of the reference batch."""
    along: float = number(0.0, kept=False)
    """Product of what is projected with the reference."""
    square: float = number(0.0, kept=False)
    """Squared norm of the reference."""
    excess: float = number(0.0, kept=False)
    """How much of the reference is taken out of the gradient, 0 for nothing."""
    excess_of_step: float = number(0.0, kept=False)
    """How much of it is taken out of the step."""

    refer = kept_gradient("project", "reference", of="kept", size="batch")

    @total("project", writes="square", when="remembered")
    def squares(reference: Any) -> Any:
        """Measure the reference."""
        return reference * reference

    @total("project", writes="along", when="of_gradient")
    def products(gradient: Any, reference: Any) -> Any:
        """Measure how the gradient lies to the reference."""
        return gradient * reference

    @count("project", writes="excess")
    def excess_of_gradient(along: Any, square: Any, of_gradient: Any) -> Any:
        """Say how much is to be taken out of the gradient."""
        return against(along, square) if of_gradient > 0 else 0.0

    @rule("project", when="excess")
    def project_gradient(gradient: Any, reference: Any, excess: Any) -> Any:
        """Project the gradient."""
        return gradient - excess * reference

    @total("project_update", writes="along", when="of_step")
    def of_descent(before: Any, theta: Any, reference: Any) -> Any:
        """Measure how the step lies to the reference."""
        return (before - theta) * reference

    @count("project_update", writes="excess_of_step")
    def of_update(along: Any, square: Any, of_step: Any) -> Any:
        """Say how much is to be taken out of the step."""
        return against(along, square) if of_step > 0 else 0.0

    @rule("project_update", when="excess_of_step")
    def project_step(theta: Any, reference: Any, excess_of_step: Any) -> Any:
        """Project the step."""
        return theta + excess_of_step * reference

    @count("project_update", writes="turned")
    def either(excess: Any, excess_of_step: Any) -> Any:
        """Say whether one of the two was projected."""
        return excess < 0 or excess_of_step < 0


@register_jitable
def against(along: float, square: float) -> float:
    """Return how much of a reference has to be taken out of what points against it.

    ``v - (v.r / r.r) r`` if v.r is negative (Chaudhry et al. 2019, eq. 11).
    """
    return along / square if along < 0 and square > 0 else 0.0


PRESETS = (
    Preset(
        "agem",
        "No step may raise the loss on remembered transitions.",
        source="Chaudhry et al. 2019",
        parts=("agem",),
        settings={"learning_rate": 1.71e-3},
    ),
)
