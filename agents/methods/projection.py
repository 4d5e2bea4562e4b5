"""Projections: steps that would undo what is remembered are changed by as little as it takes."""

import warnings
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.methods.base import Learner, State
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.phase_memory import PhaseMemory, columns
from continual_arcade.agents.methods.rules import count, number, rule, vector
from continual_arcade.agents.methods.tensors import other_than_sgd
from continual_arcade.envs.checks import AtOnce, Count

UPDATE = 0
"""Index of what is projected by default."""


@dataclass
class Projection(PhaseMemory):
    """What projections share: the kept transitions, what is projected, and how often.

    One of the two is projected, the gradient or the step that the optimiser made of it. A part says
    how, when ``of_gradient`` and when ``of_step`` is not 0, and whether it did, in ``turned``.
    """

    needs_boundaries: ClassVar[bool] = True
    fixed: ClassVar[frozenset[str]] = frozenset({"transitions"})

    transitions: Count = 2_000
    """Transitions kept of each phase."""
    batch: AtOnce | None = None
    """Transitions of a reference batch."""
    what: Literal["update", "gradient"] = "update"
    """What is projected: the optimiser's step, or the gradient it makes it from."""

    kept: dict[str, npt.NDArray[Any]] = field(init=False, repr=False, default_factory=dict)
    """Columns of the kept transitions, of all phases."""

    before: Parameters = vector(kept=False)
    """Parameters before the optimiser's step."""
    remembered: int = number(0, kept=False)
    """Transitions that are kept."""
    of_gradient: int = number(0, kept=False)
    """Whether there is a gradient to be projected."""
    of_step: int = number(0, kept=False)
    """Whether there is a step to be projected."""
    turned: int = number(0, kept=False)
    """Whether it was."""
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
        other = other_than_sgd(learner.optimizer)
        if self.what == "gradient" and other:
            warnings.warn(
                f"{self.name}: {other} turns the projected gradient, "
                "and its step may raise the remembered loss after all: use what='update'",
                stacklevel=2,
            )

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Keep transitions of the phase."""
        for name, column in columns(self.played(phase)).items():
            kept = [self.kept[name]] if name in self.kept else []
            self.kept[name] = np.concatenate([*kept, column])
        self.remembered = len(self.kept["rewards"])

    @property
    def earlier_observations(self) -> int:
        """How many transitions are kept."""
        return self.remembered

    @rule("project", writes="before", when="remembered")
    def remember_start(theta: Any) -> Any:
        """Remember where the step begins."""
        return theta

    @count("project", writes="of_gradient", when="remembered")
    def chosen_gradient(what: Any) -> Any:
        """Say whether it is the gradient that is projected."""
        return what != UPDATE

    @count("project", writes="of_step", when="remembered")
    def chosen_step(what: Any) -> Any:
        """Say whether it is the step."""
        return what == UPDATE

    @count("after_update", writes="tried", when="remembered")
    def counted(tried: Any) -> Any:
        """Count the step."""
        return tried + 1

    @count("after_update", writes="projected", when="remembered")
    def counted_projected(projected: Any, turned: Any) -> Any:
        """Count the projection."""
        return projected + turned

    def log(self, learner: Learner) -> None:
        """Record how often a step was projected since the last line."""
        if self.tried:
            learner.logger.record(f"{self.name}/projected", self.projected / self.tried)
            self.tried = self.projected = 0

    def state_dict(self) -> State:
        """Return what is kept."""
        return {**super().state_dict(), "kept": self.kept}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.kept = dict(state["kept"])
        self.remembered = len(self.kept["rewards"]) if self.kept else 0
