"""Hare and tortoise: a fast network is put back to its own slow average now and then."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from continual_arcade.agents.methods.base import Learner, begin_from
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.periodic import Periodic
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import count, number, rule, vector
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.agents.settings import DECAY
from continual_arcade.envs.checks import Count


@dataclass
class HareTortoise(Periodic):
    """Puts the network back to a moving average of itself, every so many lifetime steps.

    The hare learns and acts, the tortoise is the average; where the hare is put back it loses what
    it has learnt too fast, and the optimiser begins again (Lee et al. 2024).
    """

    name: ClassVar[str] = "hare-tortoise"
    conflicts: ClassVar[frozenset[str]] = frozenset(
        {"reptile", "packnet", "reset", "shrink-perturb"}
        | {"redo", "continual-backprop", "neurogenesis"}
    )

    every: Count = 10_000
    """Lifetime steps from one return to the next."""
    decay: Annotated[float, DECAY] = 0.999
    """Decay of the average, per gradient step."""
    optimizer: bool = True
    """Forget the optimiser's moments at a return."""
    target: bool = True
    """Copy the network to the target network at a return."""

    slow: Parameters = vector()
    """The tortoise."""
    rate: float = number(0.0, kept=False)
    """How far it goes in a gradient step."""

    def __post_init__(self) -> None:
        self.check_settings()

    def bind(self, learner: Learner, rng: Any) -> None:
        """Both start at the parameters as they are."""
        super().bind(learner, rng)
        self.slow = copies(parameters(learner))

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Start at a network that was taken over since."""
        super().phase_start(learner, phase)
        if not learner.lifetime_step:
            self.slow = copies(parameters(learner))

    @count("after_update", writes="rate")
    def share(decay: Any) -> Any:
        """Compute it in double precision."""
        return 1.0 - decay

    @rule("after_update", writes="slow")
    def follow(theta: Any, slow: Any, rate: Any) -> Any:
        """Let the tortoise follow the hare."""
        return slow + rate * (theta - slow)

    def act(self, learner: Learner) -> None:
        """Put the hare back."""
        with torch.no_grad():
            for tensor, slow in zip(parameters(learner), self.slow, strict=True):
                if tensor.requires_grad:
                    tensor.copy_(slow)
        begin_from(learner, target=self.target, optimizer=self.optimizer)


PRESETS = (
    Preset(
        "hare-tortoise",
        "The network returns to a moving average of itself every 10,000 steps.",
        source="Lee et al. 2024",
        parts=("hare-tortoise",),
    ),
)
