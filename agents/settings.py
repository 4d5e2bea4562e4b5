"""Settings of the DQN that suit these games."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym

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
    """How the agent learns."""

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
        ValueError: If a setting makes no sense.
    """
    keywords = asdict(settings)
    num_envs, hidden = keywords.pop("num_envs"), keywords.pop("hidden")
    for name in ("batch_size", "buffer_size", "gradient_steps", "n_steps"):
        if keywords[name] < 1:
            raise ValueError(f"{name} = {keywords[name]} must be at least 1")
    if settings.buffer_size < settings.batch_size:
        raise ValueError(
            f"buffer_size = {settings.buffer_size} is smaller than batch_size = "
            f"{settings.batch_size}: there would never be enough to learn from"
        )
    env = gym.make_vec(IDS[game], num_envs=num_envs, schedule=schedule, **options)
    return ContinualDQN(
        "MlpPolicy",
        GymnasiumVecEnv(env),
        action_prior=ACTION_PRIORS[game],
        train_freq=1,
        policy_kwargs={"net_arch": list(hidden)},
        device="cpu",
        seed=seed,
        **keywords,
    )
