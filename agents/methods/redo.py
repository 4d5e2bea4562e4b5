"""ReDo: dormant units are recycled."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.recycler import Hidden, Recycler
from continual_arcade.agents.methods.rules import number
from continual_arcade.envs.checks import Count, NotNegative


@dataclass
class ReDo(Recycler):
    """Recycles units that say next to nothing beside the others of their layer.

    A unit is dormant if the mean of its absolute value is at most ``tau`` times the mean over the
    units of its layer (Sokar et al. 2023).
    """

    name: ClassVar[str] = "redo"

    every: Count = 4_000
    tau: NotNegative = 0.1
    """Share of the layer's mean up to which a unit is dormant."""
    apply: bool = True
    """Recycle dormant units; if not, they are only counted."""

    dormant: int = number(0, kept=False)
    """Units found dormant since the last line of the log."""
    found: int = number(0, kept=False)
    """Units looked at since then."""

    def choose(self, index: int, hidden: Hidden, said: torch.Tensor) -> torch.Tensor:
        """Choose those that are dormant."""
        units = dormant(said, self.tau)
        self.dormant += len(units)
        self.found += said.shape[1]
        return units if self.apply else units[:0]

    def log(self, learner: Learner) -> None:
        """Record which share of the units was dormant, too."""
        super().log(learner)
        if self.found:
            learner.logger.record("redo/dormant_share", self.dormant / self.found)
            self.dormant = self.found = 0


def dormant(said: torch.Tensor, tau: float) -> torch.Tensor:
    """Return the numbers of dormant units, of what units say of observations."""
    sizes = said.double().abs().mean(0)
    return torch.nonzero(sizes <= tau * sizes.mean()).flatten()


PRESETS = (
    Preset(
        "redo",
        "Dormant hidden units begin again every 4,000 steps.",
        source="Sokar et al. 2023",
        parts=("redo",),
    ),
)
