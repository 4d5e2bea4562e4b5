"""Advantage actor-critic."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from continual_arcade.agents.algorithms.algorithm import Algorithm
from continual_arcade.agents.algorithms.settings import OnPolicySettings
from continual_arcade.agents.settings import StepSize
from continual_arcade.envs.checks import AtOnce, Divisor, Share


@dataclass(frozen=True)
class A2CSettings(OnPolicySettings):
    """How an agent learns by A2C.

    The defaults are those of Stable-Baselines3.

    Raises:
        ValueError: If a setting makes no sense; the message says which.
    """

    algorithm: ClassVar[str] = "a2c"

    activation: Literal["relu", "tanh"] = "tanh"
    """What follows each hidden layer."""
    learning_rate: StepSize = 7e-4
    """Step size of the optimiser."""
    n_steps: AtOnce = 5
    """Steps of each game in a rollout, which is what it learns from at a time."""
    gae_lambda: Share = 1.0
    """How far advantages look ahead: 0 for a step, 1 for returns (Schulman et al. 2016)."""
    normalize_advantage: bool = False
    """Whether advantages are normalised where they are learnt from."""
    use_rms_prop: bool = True
    """Whether RMSprop makes the gradient steps, and not Adam."""
    rms_prop_eps: Divisor = 1e-5
    """What RMSprop adds to the root that it divides by."""

    def __post_init__(self) -> None:
        """Check each setting by itself, and what they say together."""
        super().__post_init__()
        if self.normalize_advantage and self.num_envs == 1:
            # The last rollout may be of a single step.
            raise ValueError(
                f"{self.algorithm}: normalize_advantage needs several transitions in every "
                "rollout, also in a short one at the end: choose num_envs = 2 or more"
            )


ALGORITHM = Algorithm(
    about="Advantage actor-critic: short rollouts, each learnt from once",
    source="Mnih et al. 2016",
    settings=A2CSettings,
    learner="stable_baselines3:A2C",
)
