"""Shrink and perturb: where a phase begins, parameters become smaller and get noise."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from continual_arcade.agents.methods.base import Learner, Part, begin_from
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.tensors import parameters
from continual_arcade.envs.checks import NotNegative, Share


@dataclass
class ShrinkPerturb(Part):
    r"""Forgets a little at each phase after the first, and keeps the rest.

    :math:`\theta \leftarrow \lambda \theta + \sigma \epsilon` with normal noise (Ash and Adams
    2020): between training on (1 and 0) and training from scratch.
    """

    name: ClassVar[str] = "shrink-perturb"
    needs_boundaries: ClassVar[bool] = True
    conflicts: ClassVar[frozenset[str]] = frozenset(
        {"l2", "ewc", "online-ewc", "si", "mas", "reptile", "packnet"}
    )

    shrink: Share = 0.6
    """What parameters are multiplied by."""
    noise: NotNegative = 0.01
    """Standard deviation of what is added to them."""
    optimizer: bool = True
    """Forget the optimiser's moments."""
    target: bool = True
    """Copy the network to the target network afterwards; if not, targets stay those of the network
    as it was, until they are due."""

    def __post_init__(self) -> None:
        self.check_settings()

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Shrink and perturb, unless it is the start."""
        if phase == 0:
            return
        with torch.no_grad():
            for tensor in parameters(learner):
                if not tensor.requires_grad:
                    continue
                tensor.mul_(self.shrink)  # in place: what learns holds on to the tensors
                if self.noise:  # adding 0 would change the sign of a zero
                    drawn = self.rng.normal(scale=self.noise, size=tuple(tensor.shape))
                    tensor.add_(torch.from_numpy(drawn).to(tensor))
        begin_from(learner, target=self.target, optimizer=self.optimizer)


PRESETS = (
    Preset(
        "shrink-perturb",
        "Where a phase begins, all parameters are shrunk and get noise.",
        source="Ash and Adams 2020",
        parts=("shrink-perturb",),
    ),
)
