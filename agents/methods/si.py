"""Synaptic intelligence."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.quadratic import QuadraticPenalty
from continual_arcade.agents.methods.rules import rule, vector
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.envs.checks import Divisor


@dataclass
class SI(QuadraticPenalty):
    r"""Synaptic intelligence: the importance is what a parameter did for the loss on its path.

    Each gradient step adds :math:`-g \Delta\theta` to :math:`\omega`, with the gradient of the TD
    loss alone, and the step that was really made, interpolation included. At the end of a phase
    :math:`\Omega \leftarrow \max(0, \Omega + \omega / ((\theta - \theta^{start})^2 + \xi))` (Zenke
    et al. 2017, eqs. 4 and 5). The paper's penalty has no 1/2: its c is half of ``lam``.

    The TD loss is no fixed function, because its targets move: the sum of :math:`\omega` is the
    loss that was gained only between two synchronisations of the target network.
    """

    name: ClassVar[str] = "si"
    merge: ClassVar[Literal["sum", "latest"]] = "latest"
    conflicts: ClassVar[frozenset[str]] = frozenset({"packnet"})

    damping: Divisor = 0.01
    """The xi of the paper: bounds the importance of parameters that hardly moved."""

    path: Parameters = vector()
    """The omega of the paper: what each parameter did in this phase."""
    start: Parameters = vector()
    """Parameters at the beginning of the phase."""
    before: Parameters = vector(kept=False)
    """Parameters at the beginning of the gradient step."""
    of_loss: Parameters = vector(kept=False)
    """Gradient of the TD loss alone, before a penalty is added to it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anchor != "last":
            raise ValueError(f"si: anchor = {self.anchor!r}: the path of SI ends where it ends")

    @rule("before_update", writes="before")
    def remember_start(theta: Any) -> Any:
        """Remember where the step begins."""
        return theta

    @rule("on_td_gradient", writes="of_loss")
    def remember_gradient(gradient: Any) -> Any:
        """Remember the gradient."""
        return gradient

    @rule("after_update", writes="path")
    def walk(path: Any, of_loss: Any, theta: Any, before: Any) -> Any:
        """Add what the step did for the loss."""
        return path - of_loss * (theta - before)

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Start the path where the parameters are."""
        super().bind(learner, rng)
        self._set_out(learner)

    def _set_out(self, learner: Learner) -> None:
        self.start = copies(parameters(learner))
        self.path = [torch.zeros_like(tensor) for tensor in self.start]

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Start a new path: the network may have been reset."""
        self._set_out(learner)

    def importance(self, learner: Learner, phase: int) -> Parameters:
        """Return what each parameter did, relative to how far it went."""
        found = [
            path / ((now.detach() - start).square() + self.damping)
            for path, now, start in zip(self.path, parameters(learner), self.start, strict=True)
        ]
        self.log_zeros(learner, found)
        return found

    def add_anchor(self, importance: Parameters, anchor: Parameters) -> None:
        """Add the importance, keep it from being negative, and move the anchor."""
        super().add_anchor(importance, anchor)
        for omega in self.omega:
            omega.clamp_(min=0)


PRESETS = (
    Preset(
        "si",
        "Synaptic intelligence.",
        source="Zenke et al. 2017",
        parts=("si:lam=0.00222",),
    ),
)
