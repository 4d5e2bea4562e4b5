"""Where an agent and its environments stand between two steps, for files.

What the agent has learnt is no part of it.
"""

import warnings
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from continual_arcade.agents.files.checks import check_episodes
from continual_arcade.agents.files.state_files import AnyFile, other_versions
from continual_arcade.envs.checks import Array

KEYS = ("env", "last_obs", "episode_starts", "episodes", "actions")
"""What :func:`between_steps` returns."""


def between_steps(agent: Any) -> dict[str, Any]:
    """Return where an agent and its environments stand.

    Raises:
        ValueError: If there is nothing to resume, or a rollout is being played.
        TypeError: If the environments have no state to give.
    """
    if agent.within_rollout:
        raise ValueError(
            "in the middle of a rollout training cannot be saved: what there is to learn from it "
            "would be left out when it is resumed; call save_training() in on_rollout_start of a "
            "callback, or between two calls of learn()"
        )
    if agent._vec_normalize_env is not None:
        raise ValueError("a VecNormalize cannot be saved for resuming: save it on its own")
    if agent.env is None or agent._last_obs is None:
        raise ValueError("there is nothing to resume: learn() was not called yet")
    # Of the class: a wrapper hands on what its env has, and would leave its own state out.
    if not hasattr(type(agent.env), "state_dict"):
        raise TypeError(
            f"{type(agent.env).__name__} has no state_dict(), so that training in it cannot be "
            "resumed: train in a GymnasiumVecEnv around a vector environment of this suite"
        )
    return {
        "env": agent.env.state_dict(),
        "last_obs": agent._last_obs,
        "episode_starts": agent._last_episode_starts,
        "episodes": list(agent.ep_info_buffer or []),
        "actions": agent.action_space.np_random.bit_generator.state,
    }


def stand_between_steps(agent: Any, state: Mapping[str, Any]) -> None:
    """Let an agent and its environments stand where :func:`between_steps` found them.

    Raises:
        ValueError: If something of it makes no sense.
    """
    agent.env.load_state_dict(state["env"])
    space, count = agent.observation_space, agent.n_envs
    agent._last_obs = Array((count, *space.shape), space.dtype)("last_obs", state["last_obs"])
    starts = Array((count,), np.bool_)("episode_starts", state["episode_starts"])
    agent._last_episode_starts = starts
    check_episodes(state["episodes"])
    agent.ep_info_buffer = deque(state["episodes"], maxlen=agent._stats_window_size)
    agent.ep_success_buffer = deque(maxlen=agent._stats_window_size)
    agent.action_space.np_random.bit_generator.state = state["actions"]


def warn_of_other_versions(path: AnyFile) -> None:
    """Warn if training is resumed with other versions of libraries than a file was written with."""
    if changed := other_versions(path):
        listed = ", ".join(f"{name} {then} ({now} here)" for name, (then, now) in changed.items())
        warnings.warn(
            f"{path} was written with {listed}: training is resumed, but perhaps not bit for bit "
            "as it would have there",
            stacklevel=3,
        )
