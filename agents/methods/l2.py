"""L2: all parameters are held alike."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.quadratic import QuadraticPenalty
from continual_arcade.agents.methods.tensors import copies, parameters


@dataclass
class L2(QuadraticPenalty):
    """Holds every parameter alike where it was at the end of each phase.

    The importance is 1 everywhere. The baseline that an importance has to beat (Kirkpatrick et al.
    2017, section 2.1).
    """

    name: ClassVar[str] = "l2"

    def importance(self, learner: Learner, phase: int) -> Parameters:
        """Return ones."""
        return [torch.ones_like(tensor) for tensor in copies(parameters(learner))]


PRESETS = (
    Preset(
        "l2",
        "All parameters are held alike.",
        source="Kirkpatrick et al. 2017",
        parts=("l2:lam=2.18e-05",),
        settings={"learning_rate": 1.18e-3},
    ),
)
