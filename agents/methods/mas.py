"""Memory-aware synapses."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from continual_arcade.agents.methods import importance
from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.quadratic import SampledPenalty
from continual_arcade.agents.replay.n_step import Transitions


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


PRESETS = (
    Preset(
        "mas",
        "Memory-aware synapses.",
        source="Aljundi et al. 2018",
        parts=("mas:lam=2.4e-05",),
        settings={"learning_rate": 9.72e-4},
    ),
)
