"""L2 towards the start: parameters are drawn back to what the network began with."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.quadratic import AnchoredPenalty
from continual_arcade.agents.methods.tensors import copies, parameters


@dataclass
class L2Init(AnchoredPenalty):
    """Holds every parameter alike near where it began, from the first gradient step on.

    Parameters that the loss does not need return to their first values, from which a network is
    known to learn (Kumar et al. 2023). It needs no task boundaries.
    """

    name: ClassVar[str] = "l2-init"
    conflicts: ClassVar[frozenset[str]] = frozenset({"reset"})

    def bind(self, learner: Learner, rng: Any) -> None:
        """Hold the parameters as they are."""
        super().bind(learner, rng)
        start = copies(parameters(learner))
        self.add_anchor([torch.ones_like(tensor) for tensor in start], start)


PRESETS = (
    Preset(
        "l2-init",
        "All parameters are drawn back to what the network began with.",
        source="Kumar et al. 2023",
        parts=("l2-init:lam=0.001",),
    ),
)
