"""Elastic weight consolidation."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from continual_arcade.agents.methods import importance
from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.quadratic import SampledPenalty
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.envs.checks import Divisor


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


PRESETS = (
    Preset(
        "ewc",
        "Elastic weight consolidation, a penalty for each phase.",
        source="Kirkpatrick et al. 2017, eq. 3",
        parts=("ewc:lam=0.000205",),
        settings={"learning_rate": 1.12e-3},
    ),
)
