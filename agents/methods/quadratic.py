"""Quadratic penalties: parameters that mattered are held where they were."""

import warnings
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from continual_arcade.agents.methods.base import (
    Learner,
    Part,
    State,
    copies,
    gradients,
    parameters,
)
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.envs.checks import NotNegative, Share

_DOMINATES = 0.9
"""Share of the gradient's norm from which a penalty is said to dominate."""


@dataclass
class QuadraticPenalty(Part):
    r"""Adds :math:`\lambda \sum_i \frac{1}{2} \Omega_i (\theta_i - \theta^*_i)^2` to the loss.

    At the end of each phase a subclass says how much each parameter mattered in it
    (:meth:`importance`). The penalties of several phases are kept as one, in two vectors:

    - ``merge="sum"``: the sum of all penalties, each with an anchor of its own. It is again a
      quadratic, :math:`\bar\Omega (\theta - \bar\theta)^2 / 2 + c` with
      :math:`\bar\Omega = \sum_k \Omega_k` and
      :math:`\bar\theta = \sum_k \Omega_k \theta_k / \bar\Omega`, so nothing is lost.
    - ``merge="latest"``: the importances are added, the anchor is the latest one.

    The gradient is added in closed form. ``lam`` is in units of the loss: with a mean importance of
    1, moving every one of ``P`` parameters by 0.1 costs ``lam * P * 0.005``.
    """

    needs_boundaries: ClassVar[bool] = True

    lam: NotNegative = 0.1
    """Strength of the penalty; 0 for none."""
    anchor: Literal["last", "ema"] = "last"
    """What is held: the parameters at the end of the phase, or their moving average."""
    ema_decay: Share = 0.999
    """Decay of the moving average, per gradient step."""

    merge: ClassVar[Literal["sum", "latest"]] = "sum"

    omega: Parameters = field(init=False, repr=False, default_factory=list)
    """Merged importance, one tensor for each parameter; empty before the first phase end."""
    center: Parameters = field(init=False, repr=False, default_factory=list)
    """Merged anchor."""
    constant: float = field(init=False, repr=False, default=0.0)
    """What the merged quadratic lacks to the sum of the penalties, before ``lam``."""
    average: Parameters = field(init=False, repr=False, default_factory=list)
    """Moving average of the parameters; kept only if it is the anchor."""

    def __post_init__(self) -> None:
        self.check_settings()
        self.shares = np.zeros(3)
        """How often the penalty was measured since the last line of the log, and the sums of its
        shares of the loss and of the gradient's norm."""
        self._warned = False

    @abstractmethod
    def importance(self, learner: Learner, phase: int) -> Parameters:
        """Return how much each parameter matters for the phase that ends.

        While it is asked the network holds the parameters that become the anchor.
        """

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Begin the moving average, if there is to be one."""
        super().bind(learner, rng)
        if self.anchor == "ema":
            self.average = copies(parameters(learner))

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Anchor the phase that ends."""
        now = parameters(learner)
        before = copies(now)
        anchor = [a.clone() for a in self.average] if self.anchor == "ema" else before
        _set(now, anchor)
        try:
            importance = self.importance(learner, phase)
        finally:
            _set(now, before)
        self.add_anchor(importance, anchor)
        self._warned = False

    def add_anchor(self, importance: Parameters, anchor: Parameters) -> None:
        """Add the penalty of one phase to those before it.

        Args:
            importance: What mattered, one tensor for each parameter.
            anchor: Where it was.
        """
        if not self.omega:
            self.omega = [tensor.clone() for tensor in importance]
            self.center = [tensor.clone() for tensor in anchor]
            return
        for i, (new, at) in enumerate(zip(importance, anchor, strict=True)):
            omega = self.omega[i] + new
            if self.merge == "latest":
                center = at.clone()
            else:
                weighted = self.omega[i] * self.center[i] + new * at
                center = torch.where(omega > 0, weighted / omega, at)
                apart = self.omega[i] * (self.center[i] - center).square()
                self.constant += 0.5 * float((apart + new * (at - center).square()).sum())
            self.omega[i], self.center[i] = omega, center

    def value(self, tensors: Any) -> float:
        """Return the penalty at some parameters, ``lam`` included.

        Args:
            tensors: One tensor for each parameter.
        """
        total = self.constant
        for omega, center, tensor in zip(self.omega, self.center, tensors, strict=True):
            total += 0.5 * float((omega * (tensor.detach() - center).square()).sum())
        return self.lam * total

    def add_gradient(self, learner: Learner) -> None:
        """Add the gradient of the penalty."""
        if not self.omega or not self.lam:
            return
        before = penalty = 0.0
        measured = learner.measures
        for tensor, gradient, omega, center in zip(
            parameters(learner), gradients(learner), self.omega, self.center, strict=True
        ):
            pull = (tensor.detach() - center).mul_(omega).mul_(self.lam)
            if measured:
                before += float(gradient.square().sum())
                penalty += float(pull.square().sum())
            gradient.add_(pull)
        if measured:
            value = self.value(parameters(learner))
            of_loss = value / max(value + learner.last_td_loss, 1e-30)
            self.shares += (1, of_loss, penalty**0.5 / max(penalty**0.5 + before**0.5, 1e-30))

    def after_update(self, learner: Learner) -> None:
        """Go on with the moving average."""
        for average, tensor in zip(self.average, parameters(learner), strict=False):
            average.lerp_(tensor.detach(), 1 - self.ema_decay)

    def log(self, learner: Learner) -> None:
        """Record the penalty's share of loss and gradient; warn if it dominates."""
        if not self.shares[0]:
            return
        _, of_loss, share = self.shares / self.shares[0]
        self.shares[:] = 0.0
        learner.logger.record(f"{self.name}/penalty", self.value(parameters(learner)))
        learner.logger.record(f"{self.name}/share_of_loss", of_loss)
        learner.logger.record(f"{self.name}/share_of_gradient", share)
        if share > _DOMINATES and not self._warned:
            self._warned = True
            warnings.warn(
                f"at step {learner.num_timesteps} the penalty of {self.name} makes up "
                f"{share:.0%} of the gradient: little can be learnt; lower lam = {self.lam:g}",
                stacklevel=2,
            )

    def state_dict(self) -> State:
        """Return anchors and averages."""
        return {
            **super().state_dict(),
            "omega": cloned(self.omega),
            "center": cloned(self.center),
            "constant": self.constant,
            "average": cloned(self.average),
        }

    def load_state_dict(self, state: State) -> None:
        """Put anchors and averages back."""
        super().load_state_dict(state)
        # Copies: what is here is changed in place.
        self.omega, self.center = cloned(state["omega"]), cloned(state["center"])
        self.constant = state["constant"]
        if self.anchor == "ema" and state["average"]:  # else it was kept with another anchor
            self.average = cloned(state["average"])


def cloned(tensors: Iterable[torch.Tensor]) -> Parameters:
    """Return copies."""
    return [tensor.clone() for tensor in tensors]


def _set(tensors: list[torch.nn.Parameter], values: Parameters) -> None:
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
