"""Forgetting on purpose: training from scratch where a phase begins."""

from dataclasses import dataclass
from typing import ClassVar

from continual_arcade.agents.methods.base import Learner, Part
from continual_arcade.agents.methods.preset import Preset


@dataclass
class Reset(Part):
    """Starts from scratch at each phase after the first.

    With all three the learner of each phase knows nothing of the earlier ones: the reference for
    plasticity ("from scratch"). With ``replay`` and ``optimizer`` it is what Continual World
    (Wolczyk et al. 2021) calls fine-tuning.
    """

    name: ClassVar[str] = "reset"
    needs_boundaries: ClassVar[bool] = True
    conflicts: ClassVar[frozenset[str]] = frozenset(
        {"l2", "ewc", "online-ewc", "si", "mas", "reptile"}
    )

    network: bool = True
    """Draw the network's parameters again, and copy them to the target network."""
    optimizer: bool = True
    """Forget the optimiser's moments."""
    replay: bool = True
    """Forget all transitions."""

    def __post_init__(self) -> None:
        self.check_settings()
        if not (self.network or self.optimizer or self.replay):
            raise ValueError("reset: nothing is reset: leave the part out")

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Start from scratch, unless it is the start."""
        if phase > 0:
            learner.reinitialise(self.network, self.optimizer, self.replay)


PRESETS = (
    Preset(
        "from-scratch",
        "Network, optimiser and replay are reset at each phase: the reference for plasticity.",
        source="the common reference, as in Ash and Adams 2020",
        parts=("reset",),
        settings={"epsilon": "per_phase"},
    ),
)
