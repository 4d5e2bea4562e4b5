"""Cloning of finished phases: states of each keep the values that they had at its end."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.methods.base import Learner, State, q_values
from continual_arcade.agents.methods.cloning import Cloning, cloning_slope
from continual_arcade.agents.methods.phase_memory import PhaseMemory
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import slope_of_kept
from continual_arcade.envs.checks import AtOnce, Count


@dataclass
class Clone(PhaseMemory, Cloning):
    """Holds the values that the network had at the end of each phase, on states of that phase.

    At each phase end some of its last states are kept with their values; later phases are learnt
    together with a batch of them (ClonEx, Wolczyk et al. 2022, for Q-learning; their actor clones
    by KL divergence, which is ``what=policy``).
    """

    name: ClassVar[str] = "clone"
    conflicts: ClassVar[frozenset[str]] = frozenset({"clear"})
    needs_boundaries: ClassVar[bool] = True

    states: Count = 2_000
    """States kept of each phase."""
    batch: AtOnce | None = None
    """States of a cloning batch, drawn from all kept ones; as many as the learner's batch if not
    given."""

    observations: npt.NDArray[np.generic] | None = field(init=False, repr=False, default=None)
    """Kept states, shape ``(count, *obs_shape)``."""
    values: npt.NDArray[np.float32] | None = field(init=False, repr=False, default=None)
    """Their values at the end of their phase, shape ``(count, actions)``."""

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

    @slope_of_kept("observations", "values", size="batch", when="alpha")
    def hold(now: Any, old: Any, slope: Any, alpha: Any, what: Any, temperature: Any) -> None:
        """Hold a batch of the kept states."""
        cloning_slope(now, old, slope, alpha, what, temperature)

    def state_dict(self) -> State:
        """Return what is kept."""
        return {
            **super().state_dict(),
            "observations": self.observations,
            "values": self.values,
        }

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.observations, self.values = state["observations"], state["values"]


PRESETS = (
    Preset(
        "clone",
        "States of each finished phase keep their values.",
        source="ClonEx, Wolczyk et al. 2022, for Q",
        parts=("clone:alpha=0.00131",),
        settings={"learning_rate": 1.18e-3},
    ),
)
