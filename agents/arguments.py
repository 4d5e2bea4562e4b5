"""What the arguments of Stable-Baselines3's DQN must be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.buffers import ReplayBuffer

from continual_arcade.agents.settings import LARGEST_STEP
from continual_arcade.envs.checks import (
    MOST_AT_ONCE,
    Instance,
    Number,
    OneOf,
    OrNone,
    Rule,
    Whole,
    WrongTypeError,
    flag,
)
from continual_arcade.envs.messages import shown

SEED = Whole(0, 2**32 - 1)
"""What NumPy's global generator, from which the parent draws, can be seeded with."""


def _learning_rate(name: str, value: Any) -> Any:
    return value if callable(value) else Number(0, LARGEST_STEP)(name, value)


def _train_freq(name: str, value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        return _AT_ONCE(name, value)
    if len(value) != 2:
        raise ValueError(f"{name} = {shown(value)} must be a number, or a number and its unit")
    unit = getattr(value[1], "value", value[1])  # an enum, in what the parent has made of it
    return _AT_ONCE(name, value[0]), OneOf(("step", "episode"))(f"unit of {name}", unit)


def _replay_class(name: str, value: Any) -> Any:
    if not (isinstance(value, type) and issubclass(value, ReplayBuffer)):
        raise WrongTypeError(f"{name} = {shown(value)} must be a class derived from ReplayBuffer")
    return value


_AT_ONCE, _COUNT, _SHARE = Whole(1, MOST_AT_ONCE), Whole(1), Number(0, 1)
_TABLE = OrNone(Instance((Mapping,)))
RULES: Mapping[str, Rule] = {
    "learning_rate": _learning_rate,
    "buffer_size": _COUNT,
    "learning_starts": Whole(0),
    "batch_size": _AT_ONCE,
    "tau": _SHARE,
    "gamma": _SHARE,
    "train_freq": _train_freq,
    "gradient_steps": Whole(-1, MOST_AT_ONCE),
    "replay_buffer_class": OrNone(_replay_class),
    "replay_buffer_kwargs": _TABLE,
    "optimize_memory_usage": flag,
    "n_steps": _COUNT,
    "target_update_interval": _COUNT,
    "exploration_fraction": _SHARE,
    "exploration_initial_eps": _SHARE,
    "exploration_final_eps": _SHARE,
    "max_grad_norm": Number(above=0, finite=False),
    "stats_window_size": _COUNT,
    "tensorboard_log": OrNone(Instance((str, Path))),
    "policy_kwargs": _TABLE,
    "verbose": Whole(),
    "seed": OrNone(SEED),
}
"""What each of them must be."""

READ_AT_EACH_STEP = (
    "batch_size",
    "gradient_steps",
    "learning_starts",
    "max_grad_norm",
    "target_update_interval",
    "tau",
)
"""Those that may be set later, as attributes of the agent."""
