"""Cloning of finished phases: states of each keep the values that they had at its end."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from continual_arcade.agents.methods.base import Learner, q_values
from continual_arcade.agents.methods.cloning import KeptCloning
from continual_arcade.agents.methods.phase_memory import PhaseMemory
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.envs.checks import Count


@dataclass
class Clone(PhaseMemory, KeptCloning):
    """Holds the values that the network had at the end of each phase, on states of that phase.

    At each phase end some of its last states are kept with their values; later phases are learnt
    together with a batch of them (ClonEx, Wolczyk et al. 2022, for Q-learning; their actor clones
    by KL divergence, which is ``what=policy``).
    """

    name: ClassVar[str] = "clone"
    conflicts: ClassVar[frozenset[str]] = frozenset({"clear"})
    needs_boundaries: ClassVar[bool] = True
    fixed: ClassVar[frozenset[str]] = frozenset({"states"})

    states: Count = 2_000
    """States kept of each phase."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.remember(self.states)

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Keep states of the phase, and their values."""
        played = self.played(phase)
        values = q_values(learner, played)
        if self.observations is None or self.values is None:
            self.observations, self.values = played.observations, values
        else:
            self.observations = np.concatenate([self.observations, played.observations])
            self.values = np.concatenate([self.values, values])

    @property
    def earlier_observations(self) -> int:
        """How many states are kept."""
        return 0 if self.observations is None else len(self.observations)


PRESETS = (
    Preset(
        "clone",
        "States of each finished phase keep their values.",
        source="ClonEx, Wolczyk et al. 2022, for Q",
        parts=("clone:alpha=0.00131",),
        settings={"learning_rate": 1.18e-3},
    ),
)
