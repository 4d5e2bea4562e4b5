"""A-GEM: no step may, to first order, raise the loss on what is remembered."""

import warnings
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from numba.extending import register_jitable

from continual_arcade.agents.methods.base import Learner, State
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.phase_memory import PhaseMemory, columns
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import count, kept_gradient, number, rule, total, vector
from continual_arcade.envs.checks import AtOnce, Count

UPDATE = 0
"""Index of what is projected by default."""


@dataclass
class AGEM(PhaseMemory):
    """A-GEM: the step must not raise the loss on a batch of remembered transitions.

    At each phase end its last transitions are kept. If a gradient points against that of a batch
    of them, it is projected (Chaudhry et al. 2019). Adam then turns the projected gradient: its
    step may again raise the loss. ``what="update"`` projects the step that the optimiser made
    instead.
    """

    name: ClassVar[str] = "agem"
    needs_boundaries: ClassVar[bool] = True

    transitions: Count = 2_000
    """Transitions kept of each phase."""
    batch: AtOnce | None = None
    """Transitions of the reference batch, drawn from all kept ones; as many as the learner's if not
    given."""
    what: Literal["update", "gradient"] = "update"
    """What is projected: the optimiser's step, or the gradient it makes it from."""

    kept: dict[str, npt.NDArray[Any]] = field(init=False, repr=False, default_factory=dict)
    """Columns of the kept transitions, of all phases."""

    reference: Parameters = vector(kept=False)
    """Gradient of the TD loss of the reference batch."""
    before: Parameters = vector(kept=False)
    """Parameters before the optimiser's step."""
    remembered: int = number(0, kept=False)
    """Transitions that are kept."""
    of_step: int = number(0, kept=False)
    """Whether there is a step to be projected; else a gradient."""
    along: float = number(0.0, kept=False)
    """Product of what is projected with the reference."""
    square: float = number(0.0, kept=False)
    """Squared norm of the reference."""
    excess: float = number(0.0, kept=False)
    """How much of the reference is taken out of the gradient, 0 for nothing."""
    excess_of_step: float = number(0.0, kept=False)
    """How much of it is taken out of the step."""
    tried: int = number(0, kept=False)
    """Gradient steps since the last line of the log."""
    projected: int = number(0, kept=False)
    """How many of them were projected."""

    def __post_init__(self) -> None:
        self.check_settings()
        self.remember(self.transitions)

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Warn of an optimiser that turns projected gradients."""
        super().bind(learner, rng)
        if self.what == "gradient" and type(learner.optimizer) is not torch.optim.SGD:
            warnings.warn(
                f"agem: {type(learner.optimizer).__name__} turns the projected gradient, and its "
                "step may raise the remembered loss after all: use what='update'",
                stacklevel=2,
            )

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Keep transitions of the phase."""
        for name, column in columns(self.played(phase)).items():
            kept = [self.kept[name]] if name in self.kept else []
            self.kept[name] = np.concatenate([*kept, column])
        self.remembered = len(self.kept["rewards"])

    refer = kept_gradient("project", "reference", of="kept", size="batch")

    @rule("project", writes="before", when="remembered")
    def remember_start(theta: Any) -> Any:
        """Remember where the step begins."""
        return theta

    @total("project", writes="square", when="remembered")
    def squares(reference: Any) -> Any:
        """Measure the reference."""
        return reference * reference

    @total("project", writes="along", when="remembered")
    def products(gradient: Any, reference: Any) -> Any:
        """Measure how the gradient lies to the reference."""
        return gradient * reference

    @count("project", writes="of_step", when="remembered")
    def chosen(what: Any) -> Any:
        """Say which of the two is projected."""
        return what == UPDATE

    @count("project", writes="excess")
    def of_gradient(along: Any, square: Any, remembered: Any, of_step: Any) -> Any:
        """Say how much is to be taken out of the gradient."""
        return against(along, square) if remembered > 0 and of_step == 0 else 0.0

    @rule("project", when="excess")
    def project_gradient(gradient: Any, reference: Any, excess: Any) -> Any:
        """Project the gradient."""
        return gradient - excess * reference

    @total("project_update", writes="along", when="of_step")
    def of_descent(before: Any, theta: Any, reference: Any) -> Any:
        """Measure how the step lies to the reference."""
        return (before - theta) * reference

    @count("project_update", writes="excess_of_step", when="of_step")
    def of_update(along: Any, square: Any) -> Any:
        """Say how much is to be taken out of the step."""
        return against(along, square)

    @rule("project_update", when="excess_of_step")
    def project_step(theta: Any, reference: Any, excess_of_step: Any) -> Any:
        """Project the step."""
        return theta + excess_of_step * reference

    @count("project_update", writes="tried", when="remembered")
    def counted(tried: Any) -> Any:
        """Count the step."""
        return tried + 1

    @count("project_update", writes="projected", when="remembered")
    def counted_projected(projected: Any, excess: Any, excess_of_step: Any) -> Any:
        """Count the projection."""
        return projected + (excess < 0 or excess_of_step < 0)

    def log(self, learner: Learner) -> None:
        """Record how often a step was projected since the last line."""
        if self.tried:
            learner.logger.record("agem/projected", self.projected / self.tried)
            self.tried = self.projected = 0

    def state_dict(self) -> State:
        """Return what is kept."""
        return {
            **super().state_dict(),
            "kept": self.kept,
        }

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.kept = dict(state["kept"])
        self.remembered = len(self.kept["rewards"]) if self.kept else 0


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
