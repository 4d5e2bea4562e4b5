"""Proximal policy optimisation."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from continual_arcade.agents.algorithms.algorithm import Algorithm
from continual_arcade.agents.algorithms.settings import Clip, OnPolicySettings
from continual_arcade.envs.checks import AtOnce


@dataclass(frozen=True)
class PPOSettings(OnPolicySettings):
    """How an agent learns by PPO.

    The defaults are those of Stable-Baselines3, whose rollouts of 2,048 steps are here those of
    eight games: 256 steps each.

    Raises:
        ValueError: If a setting makes no sense; the message says which.
    """

    algorithm: ClassVar[str] = "ppo"

    activation: Literal["relu", "tanh"] = "tanh"
    """What follows each hidden layer."""
    batch_size: AtOnce = 64
    """Transitions of an update."""
    n_epochs: AtOnce = 10
    """How often each rollout is learnt from."""
    clip_range: Clip = 0.2
    """How far the probability of an action may move, as a ratio."""
    clip_range_vf: Clip | None = None
    """How far values may move; None for no limit."""
    target_kl: Clip | None = None
    """No more is learnt from a rollout once the policy has moved so far, and half as far again
    (KL divergence); None for no limit."""

    def __post_init__(self) -> None:
        """Check each setting by itself, and what they say together."""
        super().__post_init__()
        if self.rollout % self.batch_size:
            raise ValueError(
                f"{self.algorithm}: batch_size = {self.batch_size} does not divide the rollout of "
                f"{self.rollout:,} steps (n_steps = {self.n_steps} of num_envs = {self.num_envs} "
                "games), so that some updates would be of fewer: choose one that does"
            )
        if self.normalize_advantage and self.batch_size == 1:
            raise ValueError(
                f"{self.algorithm}: batch_size = 1 leaves nothing to normalise: choose a larger "
                "one, or normalize_advantage = false"
            )


ALGORITHM = Algorithm(
    about="Proximal policy optimisation: rollouts, each learnt from several times",
    source="Schulman et al. 2017",
    settings=PPOSettings,
    learner="stable_baselines3:PPO",
)
