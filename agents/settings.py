"""Settings of the DQN that suit these games."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
from stable_baselines3.common.buffers import NStepReplayBuffer

from continual_arcade.agents.continual_dqn import ContinualDQN
from continual_arcade.agents.vec_env import GymnasiumVecEnv
from continual_arcade.envs import IDS, Schedule

ACTION_PRIORS: Mapping[str, tuple[float, ...] | None] = {
    "FlappyBird": (0.1, 0.9),
    "Catcher": None,
}
"""Probability of each action in exploration. A bird that flaps half of the time stays at the
ceiling; the paddle may as well go anywhere."""


@dataclass(frozen=True)
class DQNSettings:
    """How the agent learns.

    Raises:
        ValueError: If a setting makes no sense; the message says which.
    """

    num_envs: int = 8
    """Games that are played side by side."""
    hidden: tuple[int, ...] = (128, 128)
    """Units of each hidden layer."""
    learning_rate: float = 3e-4
    """Step size of Adam."""
    batch_size: int = 128
    """Transitions of an update."""
    gradient_steps: int = 4
    """Updates after each step of all games."""
    buffer_size: int = 50_000
    """Transitions that replay remembers; the oldest is forgotten first."""
    learning_starts: int = 1_000
    """Lifetime steps before the first update."""
    n_steps: int = 3
    """Length of the returns that values are learnt from [steps]."""
    gamma: float = 0.99
    """Discount of a step."""
    target_update_interval: int = 1_000
    """Lifetime steps between copies of the network to the target network."""
    exploration_initial_eps: float = 0.5
    """Probability of an exploratory action at the beginning of life."""
    exploration_final_eps: float = 0.01
    """Probability of an exploratory action once exploration is over."""
    exploration_fraction: float = 0.15
    """Part of the whole life in which that probability falls from one to the other."""
    max_grad_norm: float = 10.0
    """Norm to which gradients are clipped."""

    def __post_init__(self) -> None:
        for name in (
            "num_envs",
            "batch_size",
            "gradient_steps",
            "buffer_size",
            "n_steps",
            "target_update_interval",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        for name in (
            "gamma",
            "exploration_initial_eps",
            "exploration_final_eps",
            "exploration_fraction",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be from 0 to 1")
        for name in ("learning_rate", "max_grad_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} = {getattr(self, name)} must be positive and finite")
        if any(units < 1 for units in self.hidden):
            raise ValueError(f"hidden = {self.hidden} must give each layer at least 1 unit")
        if self.buffer_size < self.batch_size:
            raise ValueError(
                f"buffer_size = {self.buffer_size} is smaller than batch_size = "
                f"{self.batch_size}: there would never be enough to learn from"
            )


def build_dqn(
    game: str, schedule: Schedule, settings: DQNSettings, seed: int, **options: Any
) -> ContinualDQN:
    """Make an agent, and the games it will live in.

    Args:
        game: Name of the game.
        schedule: Its life.
        settings: How it learns.
        seed: Seed of everything that is random: games, network, exploration, replay.
        **options: Options of the game.

    Raises:
        ValueError: If the seed is out of range.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed = {seed} must be from 0 to {2**32 - 1}")
    keywords = asdict(settings)
    num_envs, hidden = keywords.pop("num_envs"), keywords.pop("hidden")
    env = gym.make_vec(IDS[game], num_envs=num_envs, schedule=schedule, **options)
    return ContinualDQN(
        "MlpPolicy",
        GymnasiumVecEnv(env),
        action_prior=ACTION_PRIORS[game],
        train_freq=1,
        # What n_steps=... would choose; but then load() warns of its own choice.
        replay_buffer_class=NStepReplayBuffer,
        replay_buffer_kwargs={"n_steps": keywords.pop("n_steps"), "gamma": settings.gamma},
        policy_kwargs={"net_arch": list(hidden)},
        device="cpu",
        seed=seed,
        **keywords,
    )
