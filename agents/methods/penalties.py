"""The penalties: what each of them takes for the importance of a parameter."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch

from continual_arcade.agents.methods import importance
from continual_arcade.agents.methods.base import (
    Learner,
    State,
    copies,
    gradients,
    parameters,
)
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.phase_memory import Remembering
from continual_arcade.agents.methods.quadratic import QuadraticPenalty, cloned
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.envs.checks import Count, Divisor, Share

Normalisation = Literal["mean", "trace", "none"]


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


@dataclass
class SampledPenalty(Remembering, QuadraticPenalty):
    """A penalty whose importance is estimated from the last transitions of the phase."""

    samples: Count = 2048
    """Newest transitions of the phase that the estimate is made from."""
    normalise: Normalisation = "mean"
    """What the estimate of each phase is divided by: the mean over all parameters, their sum
    ("trace"), or nothing. Without it, the strength of the penalty changes with the scale of Q."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.remember(self.samples)

    def importance(self, learner: Learner, phase: int) -> Parameters:
        """Estimate the importance and normalise it."""
        estimate = self.estimate(learner, self.played(phase))
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


@dataclass
class EWC(SampledPenalty):
    """Elastic weight consolidation: the importance is the diagonal of a Fisher information.

    A penalty for each phase, each around its own anchor (Kirkpatrick et al. 2017, eq. 3). The paper
    does not say which likelihood a Q-network stands for; ``fisher`` chooses:

    - ``gauss``: Q is the mean of a normal distribution. Does not depend on rewards or errors.
    - ``policy``: the softmax policy of Q at ``temperature``. Protects decisions, not values.
    - ``td``: the squared gradients of the TD loss. Vanishes as the phase is learnt: for comparison.
    """

    name: ClassVar[str] = "ewc"

    fisher: Literal["gauss", "policy", "td"] = "gauss"
    """Which Fisher information."""
    temperature: Divisor | None = None
    """Of the softmax policy [units of Q]; the median gap between the best actions if not given."""

    def estimate(self, learner: Learner, transitions: Transitions) -> Parameters:
        """Estimate the Fisher information."""
        samples = learner.replay.as_samples(transitions)
        if self.fisher == "gauss":
            return importance.fisher_gauss(learner.q_net, samples.observations)
        if self.fisher == "policy":
            return importance.fisher_policy(learner.q_net, samples.observations, self.temperature)
        targets = learner.td_targets(samples)
        return importance.fisher_td(learner.q_net, samples.observations, samples.actions, targets)


@dataclass
class OnlineEWC(EWC):
    """Online EWC: one penalty around the latest anchor, whose importance fades.

    The importance is F* = decay F* + F, and the penalty weighs with decay F* (Schwarz et al. 2018,
    section 4). With decay 1 and a single phase it is EWC.
    """

    name: ClassVar[str] = "online-ewc"
    merge: ClassVar[Literal["sum", "latest"]] = "latest"

    decay: Share = 0.95
    """Factor by which older importances fade at each phase end."""

    def add_anchor(self, importance: Parameters, anchor: Parameters) -> None:
        """Let older importances fade, add the new one, and move the anchor."""
        # What is kept is decay F*, the weight of the penalty; so all of it fades once more.
        super().add_anchor(importance, anchor)
        for omega in self.omega:
            omega.mul_(self.decay)


@dataclass
class MAS(SampledPenalty):
    """Memory-aware synapses: the importance is how much the squared output moves with a parameter.

    Aljundi et al. 2018, eq. 2, with the absolute value taken for each state before the mean. The
    paper's penalty has no 1/2: its strength is half of ``lam``.
    """

    name: ClassVar[str] = "mas"
    merge: ClassVar[Literal["sum", "latest"]] = "latest"

    output: Literal["q", "advantage"] = "advantage"
    """Which output: Q, or Q less its mean over actions, which leaves out how good the state is."""

    def estimate(self, learner: Learner, transitions: Transitions) -> Parameters:
        """Estimate the importance."""
        samples = learner.replay.as_samples(transitions)
        return importance.mas(learner.q_net, samples.observations, self.output)


@dataclass
class SI(QuadraticPenalty):
    r"""Synaptic intelligence: the importance is what a parameter did for the loss on its way.

    Each gradient step adds :math:`-g \Delta\theta` to :math:`\omega`, with the gradient of the TD
    loss alone, and the way that was really walked, interpolation included. At the end of a phase
    :math:`\Omega \leftarrow \max(0, \Omega + \omega / ((\theta - \theta^{start})^2 + \xi))` (Zenke
    et al. 2017, eqs. 4 and 5). The paper's penalty has no 1/2: its c is half of ``lam``.

    The TD loss is no fixed function, because its targets move: the sum of :math:`\omega` is the
    loss that was gained only between two synchronisations of the target network.
    """

    name: ClassVar[str] = "si"
    merge: ClassVar[Literal["sum", "latest"]] = "latest"

    damping: Divisor = 0.01
    """The xi of the paper: bounds the importance of parameters that hardly moved."""

    path: Parameters = field(init=False, repr=False, default_factory=list)
    """The omega of the paper: what each parameter did in this phase."""
    start: Parameters = field(init=False, repr=False, default_factory=list)
    """Parameters at the beginning of the phase."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anchor != "last":
            raise ValueError(f"si: anchor = {self.anchor!r}: the way of SI ends where it ends")
        self._before: Parameters = []
        self._gradient: Parameters = []

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Stand at the beginning."""
        super().bind(learner, rng)
        self._set_out(learner)

    def _set_out(self, learner: Learner) -> None:
        self.start = copies(parameters(learner))
        self.path = [torch.zeros_like(tensor) for tensor in self.start]

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Begin a new way, if the network was begun anew."""
        self._set_out(learner)

    def before_update(self, learner: Learner) -> None:
        """Remember where the step begins."""
        self._before = copies(parameters(learner))

    def on_td_gradient(self, learner: Learner) -> None:
        """Remember the gradient, before a penalty is added to it."""
        self._gradient = [gradient.clone() for gradient in gradients(learner)]

    def after_update(self, learner: Learner) -> None:
        """Add what the step did."""
        for path, gradient, now, before in zip(
            self.path, self._gradient, parameters(learner), self._before, strict=True
        ):
            path.addcmul_(gradient, now.detach() - before, value=-1)

    def importance(self, learner: Learner, phase: int) -> Parameters:
        """Return what each parameter did, relative to how far it went."""
        return [
            path / ((now.detach() - start).square() + self.damping)
            for path, now, start in zip(self.path, parameters(learner), self.start, strict=True)
        ]

    def add_anchor(self, importance: Parameters, anchor: Parameters) -> None:
        """Add the importance, keep it from being negative, and move the anchor."""
        super().add_anchor(importance, anchor)
        for omega in self.omega:
            omega.clamp_(min=0)

    def state_dict(self) -> State:
        """Return anchors and the way so far."""
        return {**super().state_dict(), "path": cloned(self.path), "start": cloned(self.start)}

    def load_state_dict(self, state: State) -> None:
        """Put them back."""
        super().load_state_dict(state)
        self.path, self.start = cloned(state["path"]), cloned(state["start"])
