"""The learner: a DQN on Stable-Baselines3 that takes continual-learning methods as parts."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from continual_arcade.agents.exploration import Exploration
from continual_arcade.agents.settings import DQNSettings

if TYPE_CHECKING:
    from continual_arcade.agents.building import build_agent, make_training_env
    from continual_arcade.agents.continual_dqn import ContinualDQN, DivergedError
    from continual_arcade.agents.methods import METHODS, Method, compose
    from continual_arcade.agents.sb3.building import build_sb3_agent
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
    "build_sb3_agent",
    "compose",
    "make_training_env",
]

_LOADED_WHEN_USED = {
    "METHODS": "methods",
    "ContinualDQN": "continual_dqn",
    "DivergedError": "continual_dqn",
    "GymnasiumVecEnv": "vec_env",
    "Method": "methods",
    "build_agent": "building",
    "build_sb3_agent": "sb3.building",
    "compose": "methods",
    "make_training_env": "building",
}
"""What needs PyTorch, which takes seconds to load, and the module it is in."""


def __getattr__(name: str) -> Any:
    if name not in _LOADED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LOADED_WHEN_USED[name]}")
    return getattr(module, name)
