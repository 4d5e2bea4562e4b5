"""The learner: a DQN on Stable-Baselines3 for one long life, and the adapter that feeds it."""

from continual_arcade.agents.continual_dqn import ContinualDQN
from continual_arcade.agents.settings import DQNSettings, build_dqn
from continual_arcade.agents.vec_env import GymnasiumVecEnv

__all__ = ["ContinualDQN", "DQNSettings", "GymnasiumVecEnv", "build_dqn"]
