"""Quadratic penalties: parameters that mattered are held where they were."""

import warnings
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch

from continual_arcade.agents.methods import importance
from continual_arcade.agents.methods.base import BEFORE, Learner, Part, State
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.phase_memory import PhaseMemory
from continual_arcade.agents.methods.rules import MEASURE, count, number, rule, total, vector
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.envs.checks import COUNTS_WITH, Count, NotNegative, Share

_DOMINATES = 0.9
"""Share of the gradient's norm from which a penalty is said to dominate."""
Normalisation = Literal["mean", "trace", "none"]


@dataclass
class AnchoredPenalty(Part):
    r"""Adds :math:`\lambda \sum_i \frac{1}{2} \Omega_i (\theta_i - \theta^*_i)^2` to the loss.

    A subclass says by :meth:`add_anchor` what is held and where. Several penalties are kept as one,
    in two vectors:

    - ``merge="sum"``: the sum of all penalties, each with an anchor of its own. It is again a
      quadratic, :math:`\bar\Omega (\theta - \bar\theta)^2 / 2 + c` with
      :math:`\bar\Omega = \sum_k \Omega_k` and
      :math:`\bar\theta = \sum_k \Omega_k \theta_k / \bar\Omega`, so nothing is lost.
    - ``merge="latest"``: the importances are added, the anchor is the latest one.

    The gradient is added in closed form. ``lam`` is in units of the loss: with a mean importance of
    1, moving every one of ``P`` parameters by 0.1 costs ``lam * P * 0.005``.
    """

    lam: NotNegative = 0.1
    """Strength of the penalty; 0 for none."""
    merge: ClassVar[Literal["sum", "latest"]] = "sum"

    omega: Parameters = vector(late=True)
    """Merged importance; there is none before the first anchor."""
    center: Parameters = vector(late=True)
    """Merged anchor."""
    constant: float = number(0.0)
    """What the merged quadratic lacks to the sum of the penalties, before ``lam``."""
    energy: float = number(0.0, kept=False)
    """The penalty when it was last measured, before ``lam`` and without ``constant``."""
    own: float = number(0.0, kept=False)
    """Squared norm of its gradient then."""
    others: float = number(0.0, kept=False)
    """Squared norm of the gradient that it was added to."""
    measured: int = number(0, kept=False)
    """How often it was measured since the last line of the log."""
    share_of_loss: float = number(0.0, kept=False)
    """Sum of its shares of the loss then."""
    share_of_gradient: float = number(0.0, kept=False)
    """Sum of its shares of the norm of the gradient."""

    def __post_init__(self) -> None:
        self.check_settings()
        self._warned = False

    @rule("add_gradient", when="lam")
    def pull(theta: Any, omega: Any, center: Any, lam: Any) -> Any:
        """Pull towards the anchor."""
        return (theta - center) * omega * lam

    @total(MEASURE, writes="energy")
    def half_squares(theta: Any, omega: Any, center: Any) -> Any:
        """Measure the penalty."""
        return 0.5 * omega * (theta - center) * (theta - center)

    @total(MEASURE, writes="own")
    def squares(theta: Any, omega: Any, center: Any, lam: Any) -> Any:
        """Measure its gradient."""
        slope = (theta - center) * omega * lam
        return slope * slope

    @total(MEASURE, writes="others")
    def other_squares(gradient: Any) -> Any:
        """Measure the gradient that it is added to."""
        return gradient * gradient

    @count(MEASURE, writes="measured", when="own")
    def counted(measured: Any) -> Any:
        """Count the measurements."""
        return measured + 1

    @count(MEASURE, writes="share_of_loss", when="own")
    def of_loss(share_of_loss: Any, energy: Any, constant: Any, lam: Any, loss: Any) -> Any:
        """Add its share of the loss."""
        value = lam * (constant + energy)
        return share_of_loss + value / max(value + loss, 1e-30)

    @count(MEASURE, writes="share_of_gradient", when="own")
    def of_gradient(share_of_gradient: Any, own: Any, others: Any) -> Any:
        """Add its share of the gradient's norm."""
        return share_of_gradient + own**0.5 / max(own**0.5 + others**0.5, 1e-30)

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
                # Where both anchors are one this is it to the last bit. A weighted sum would round,
                # and Adam makes whole steps of the pull that is left.
                center = torch.where(omega > 0, self.center[i].lerp(at, new / omega), at)
                apart = self.omega[i] * (self.center[i] - center).square()
                self.constant += 0.5 * float((apart + new * (at - center).square()).sum())
            self.omega[i], self.center[i] = omega, center

    def value(self, tensors: Iterable[torch.Tensor]) -> float:
        """Return the penalty at some parameters, ``lam`` included.

        Args:
            tensors: One tensor for each parameter.
        """
        rows = zip(tensors, self.omega, self.center, strict=True)
        found = [
            float(type(self).half_squares(tensor.detach(), *row).sum()) for tensor, *row in rows
        ]
        return self.lam * (self.constant + sum(found))

    def log(self, learner: Learner) -> None:
        """Record the penalty's share of loss and gradient; warn if it dominates."""
        if not self.measured:
            return
        of_loss, share = self.share_of_loss / self.measured, self.share_of_gradient / self.measured
        self.measured, self.share_of_loss, self.share_of_gradient = 0, 0.0, 0.0
        learner.logger.record(f"{self.name}/penalty", self.value(parameters(learner)))
        learner.logger.record(f"{self.name}/share_of_loss", of_loss)
        learner.logger.record(f"{self.name}/share_of_gradient", share)
        if share > _DOMINATES and not self._warned:
            self._warned = True
            warnings.warn(
                f"at step {learner.lifetime_step} the penalty of {self.name} makes up "
                f"{share:.0%} of the gradient: little can be learnt; lower lam = {self.lam:g}",
                stacklevel=2,
            )


@dataclass
class QuadraticPenalty(AnchoredPenalty):
    """A penalty for each phase that ends, anchored where the parameters were then.

    A subclass says how much each parameter mattered in it (:meth:`importance`).
    """

    needs_boundaries: ClassVar[bool] = True
    fixed: ClassVar[frozenset[str]] = frozenset({"anchor"})

    anchor: Literal["last", "ema"] = "last"
    """What is held: the parameters at the end of the phase, or their moving average."""
    ema_decay: Share = field(default=0.999, metadata={COUNTS_WITH: ("anchor", ("ema",))})
    """Decay of the moving average, if that is held, per gradient step."""

    average: Parameters = vector(late=True)
    """Moving average of the parameters; kept only if it is the anchor."""
    average_rate: float = number(0.0, kept=False)
    """How far the moving average goes in a gradient step."""

    @property
    def holds_average(self) -> bool:
        """Whether the average is the anchor."""
        return self.anchor == "ema"

    @count("after_update", writes="average_rate")
    def rate(ema_decay: Any) -> Any:
        """Compute it in double precision."""
        return 1.0 - ema_decay

    @rule("after_update", writes="average", when="anchor")
    def follow(theta: Any, average: Any, average_rate: Any) -> Any:
        """Update the moving average."""
        return average + average_rate * (theta - average)

    @abstractmethod
    def importance(self, learner: Learner, phase: int) -> Parameters:
        """Return how much each parameter matters for the phase that ends.

        While it is asked the network holds the parameters that become the anchor.
        """

    def bind(self, learner: Learner, rng: Any) -> None:
        """Start the moving average, if there is to be one."""
        super().bind(learner, rng)
        if self.holds_average:
            self.average = copies(parameters(learner))

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Start the moving average at a network that was taken over since."""
        super().phase_start(learner, phase)
        if self.holds_average and not learner.lifetime_step:
            self.average = copies(parameters(learner))

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Anchor the phase that ends."""
        now = parameters(learner)
        before = copies(now)
        anchor = [a.clone() for a in self.average] if self.holds_average else before
        _set(now, anchor)
        try:
            importance = self.importance(learner, phase)
        finally:
            _set(now, before)
        self.add_anchor(importance, anchor)
        self._warned = False

    def log_zeros(self, learner: Learner, estimate: Parameters) -> None:
        """Record which share of each layer's parameters has no importance for the phase that ends.

        Args:
            learner: The learner.
            estimate: The importance of this phase alone.
        """
        for layer, share in enumerate(importance.zero_shares(learner.q_net, estimate)):
            learner.logger.record(f"{self.name}/zero_importance_layer_{layer}", share)

    def load_state_dict(self, state: State) -> None:
        """Put anchors and averages back; an average is left out if another anchor was set."""
        average = self.average
        super().load_state_dict(state)
        if not (self.holds_average and self.average):
            self.average = average


@dataclass
class SampledPenalty(PhaseMemory, QuadraticPenalty):
    """A penalty whose importance is estimated from transitions of the phase."""

    fixed: ClassVar[frozenset[str]] = frozenset({"anchor", "samples", "taken"})

    samples: Count = 2048
    """Transitions of the phase that the estimate is made from."""
    taken: Literal["last", "first"] = field(default="last", metadata={BEFORE: "last"})
    """Which ones: its last, or its first, as the code of some papers has it."""
    normalise: Normalisation = "mean"
    """What the estimate of each phase is divided by: the mean over all parameters, their sum
    ("trace"), or nothing. Without it, the strength of the penalty changes with the scale of Q."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.remember(self.samples, first=self.taken == "first")

    def importance(self, learner: Learner, phase: int) -> Parameters:
        """Estimate the importance and normalise it."""
        estimate = self.estimate(learner, self.played(phase))
        self.log_zeros(learner, estimate)
        try:
            return importance.normalise(estimate, self.normalise)
        except ValueError as error:
            raise ValueError(
                f"{self.name}: at the end of phase {phase} {error}, so nothing can be held: raise "
                "the temperature of fisher='policy', or choose another penalty"
            ) from error

    def estimate(self, learner: Learner, transitions: Transitions) -> Parameters:
        """Estimate the importance from transitions of the phase."""
        raise NotImplementedError


def _set(tensors: list[torch.nn.Parameter], values: Parameters) -> None:
    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
