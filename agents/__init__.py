"""The learner: a DQN on Stable-Baselines3 that takes continual-learning methods as parts."""

from continual_arcade.agents.continual_dqn import ContinualDQN, DivergedError
from continual_arcade.agents.exploration import Exploration
from continual_arcade.agents.methods import METHODS, Method, compose
from continual_arcade.agents.settings import DQNSettings, build_agent, make_training_env
from continual_arcade.agents.vec_env import GymnasiumVecEnv

__all__ = [
    "METHODS",
    "ContinualDQN",
    "DQNSettings",
    "DivergedError",
    "Exploration",
    "GymnasiumVecEnv",
    "Method",
    "build_agent",
    "compose",
    "make_training_env",
]
