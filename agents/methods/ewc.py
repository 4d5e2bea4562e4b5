"""Elastic weight consolidation."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import nn

from continual_arcade.agents.methods import importance
from continual_arcade.agents.methods.base import BEFORE, Learner
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.quadratic import SampledPenalty
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.envs.checks import COUNTS_WITH, Count, Divisor, NotNegative


@dataclass
class EWC(SampledPenalty):
    """Elastic weight consolidation: the importance is the diagonal of a Fisher information.

    A penalty for each phase, each around its own anchor (Kirkpatrick et al. 2017, eq. 3). The paper
    does not say which likelihood a Q-network stands for; ``fisher`` chooses:

    - ``gauss``: Q is the mean of a normal distribution. Does not depend on rewards or errors.
    - ``policy``: the softmax policy of Q at ``temperature``. Protects decisions, not values.
    - ``sampled``: the same, estimated from one action for each state, drawn from the policy.
    - ``td``: the squared gradients of the TD loss. Vanishes as the phase is learnt: for comparison.

    Of a learner of labels ``policy`` at ``temperature=1`` is the Fisher information of the
    classifier, over all labels by their probability, and ``td`` the empirical one, of its own loss
    at the labels of the data.
    """

    name: ClassVar[str] = "ewc"

    fisher: Literal["gauss", "policy", "sampled", "td"] = "gauss"
    """Which Fisher information."""
    temperature: Divisor | None = field(
        default=None, metadata={COUNTS_WITH: ("fisher", ("policy", "sampled"))}
    )
    """Of the softmax policy [units of Q]; the median gap between the best actions if not given."""
    batch: Count = field(default=1, metadata={BEFORE: 1, COUNTS_WITH: ("fisher", ("td",))})
    """Consecutive transitions whose gradients are averaged before they are squared; of ``td``
    alone. Above 1 it is what much public code computes, and too small by a factor near it."""
    off_slope: NotNegative = field(default=0.0, metadata={BEFORE: 0.0})
    """What the derivative of a ReLU counts as where it is off, in the estimate alone. With 0
    nothing holds a unit that is off on all states; with 1 what would switch it on is held like all
    else, while weights of inputs that were always 0 stay free."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch > self.samples:
            raise ValueError(
                f"{self.name}: batch = {self.batch} is more than the samples = {self.samples} that "
                "the estimate is made from: give at most as many"
            )

    def check_learner(self, learner: Learner) -> None:
        """Check that there is what the settings speak of."""
        network = learner.q_net
        if self.off_slope and not any(isinstance(m, nn.ReLU) for m in network.modules()):
            raise ValueError(
                f"{self.name}: off_slope = {self.off_slope:g}, but the network has no nn.ReLU: "
                "leave it out, or choose activation = 'relu'"
            )

    def estimate(self, learner: Learner, transitions: Transitions) -> Parameters:
        """Estimate the Fisher information."""
        samples = learner.replay.as_samples(transitions)
        network, states, off = learner.q_net, samples.observations, self.off_slope
        if self.fisher == "gauss":
            return importance.fisher_gauss(network, states, off_slope=off)
        if self.fisher == "policy":
            return importance.fisher_policy(network, states, self.temperature, off_slope=off)
        if self.fisher == "sampled":
            temperature, rng = self.temperature, self.rng
            return importance.fisher_sampled(network, states, temperature, rng, off_slope=off)
        actions, batch = samples.actions, self.batch
        if learner.loss != "td":
            return importance.fisher_labels(
                network, states, actions, learner.loss, off_slope=off, batch=batch
            )
        targets = learner.td_targets(samples)
        return importance.fisher_td(network, states, actions, targets, off_slope=off, batch=batch)


PRESETS = (
    Preset(
        "ewc",
        "Elastic weight consolidation, a penalty for each phase.",
        source="Kirkpatrick et al. 2017, eq. 3",
        parts=("ewc:lam=0.000205",),
        settings={"learning_rate": 1.12e-3},
    ),
)
