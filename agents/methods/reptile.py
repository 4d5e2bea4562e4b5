"""Reptile: parameters are drawn back towards where a number of steps began.

What a few gradient steps gain in common survives the interpolation better than what they gain each
on its own: in expectation it rewards gradients that point the same way (Nichol et al. 2018; Riemer
et al. 2019).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from continual_arcade.agents.kernels.arithmetic import drawn_back
from continual_arcade.agents.methods.base import Learner, Part
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import count, number, rule, vector
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.envs.checks import Count, Share


@dataclass
class Reptile(Part):
    r"""Every few gradient steps, draws the parameters back to where they began.

    :math:`\theta \leftarrow \theta_0 + \epsilon (\theta - \theta_0)` every ``every`` steps (Nichol
    et al. 2018, algorithm 1, one task at a time). Over Adam, whose moments are left alone, it is
    Lookahead (Zhang et al. 2019), and with replay the lazy form of MER. The drift per step is
    about ``eps`` times that of the same learner without it: compare at equal
    ``eps * learning_rate`` too, or forgetting less may only be learning less.

    Between two interpolations the agent acts with the parameters that are not yet drawn back; the
    target network waits for the interpolation.
    """

    name: ClassVar[str] = "reptile"
    conflicts: ClassVar[frozenset[str]] = frozenset({"mer"})
    defers: ClassVar[str] = "steps"
    fixed: ClassVar[frozenset[str]] = frozenset({"every"})

    every: Count = 500
    """Gradient steps from one interpolation to the next."""
    eps: Share = 0.1
    """Share of the way that is kept; 1 keeps all, 0 stands still."""

    base: Parameters = vector()
    """Parameters after the last interpolation."""
    steps: int = number(0)
    """Gradient steps since."""
    is_due: int = number(0, kept=False)
    """Whether this step ends with an interpolation."""

    def __post_init__(self) -> None:
        self.check_settings()

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Start at the parameters as they are."""
        super().bind(learner, rng)
        self.base = copies(parameters(learner))

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Start at a network that was taken over since."""
        if not learner.lifetime_step:
            self.base = copies(parameters(learner))

    @count("interpolate", writes="is_due")
    def due(steps: Any, every: Any) -> Any:
        """Say whether it is time."""
        return steps + 1 == every

    @count("interpolate", writes="steps")
    def counted(steps: Any, every: Any) -> Any:
        """Count the step."""
        return (steps + 1) % every

    @rule("interpolate", when="is_due")
    def draw_back(theta: Any, base: Any, eps: Any) -> Any:
        """Draw back."""
        return drawn_back(theta, base, eps)

    @rule("interpolate", writes="base", when="is_due")
    def start_again(theta: Any) -> Any:
        """Remember where the next steps begin."""
        return theta


PRESETS = (
    Preset(
        "mer-lazy",
        "Half of replay long-term, and an interpolation every 500 gradient steps.",
        source="after Riemer et al. 2019 and Nichol et al. 2018",
        replay="mix",
        parts=("reptile:every=500,eps=0.613",),
        settings={"learning_rate": 1.03e-3},
    ),
)
