"""Agents of Stable-Baselines3 as files that hold data and no code.

Stable-Baselines3's own format holds pickles, and loading a pickle may run any code. What an agent
is follows here from the name of its algorithm and its settings; the rest are numbers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from continual_arcade.agents.files.between_steps import KEYS as BETWEEN_STEPS
from continual_arcade.agents.files.between_steps import between_steps
from continual_arcade.agents.files.network_data import network_of, optimizer_of
from continual_arcade.agents.files.reading import check_keys
from continual_arcade.agents.files.space_data import space_to_data
from continual_arcade.agents.files.state_files import AnyFile, save_state
from continual_arcade.envs.checks import Array, Instance, Whole, flag

KIND = "sb3 agent"
"""What the files say they are."""
_COUNTERS = (
    "num_timesteps",
    "_total_timesteps",
    "_n_updates",
    "_episode_num",
    "_current_progress_remaining",
)
"""What all algorithms count."""
KEYS = (
    "algorithm",
    "settings",
    "seed",
    "sees_pictures",
    "from_scratch",
    "network_began",
    "spaces",
    "n_envs",
    "counters",
    "network",
    "optimizer",
    "training",
)
TRAINING_KEYS = (*BETWEEN_STEPS, "memory", "generators")


def save_agent(agent: Any, path: AnyFile, *, resumable: bool) -> None:
    """Write an agent to a file, in a new folder if need be; all of it or what was there before.

    Args:
        agent: The agent.
        path: The file.
        resumable: Whether to keep what only training needs, too, so that it resumes bit for bit.
            That is only between two rollouts.

    Raises:
        ValueError: If it is to be resumable, and there is nothing to resume.
        OSError: If the file cannot be written.
    """
    training = None
    if resumable:
        training = {
            **between_steps(agent),
            "memory": agent.memory_state(),
            "generators": agent.generators.state_dict(),
        }
    state = {
        "algorithm": agent.algorithm.name,
        "settings": agent.settings.to_dict(),
        "seed": agent.seed,
        "sees_pictures": agent.sees_pictures,
        "from_scratch": agent.from_scratch,
        "network_began": agent.network_began,
        "spaces": [space_to_data(agent.observation_space), space_to_data(agent.action_space)],
        "n_envs": agent.n_envs,
        "counters": {name: getattr(agent, name) for name in counters_of(agent)},
        "network": network_of(agent.policy),
        "optimizer": optimizer_of(agent.policy),
        "training": training,
    }
    if isinstance(path, str | Path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_state(path, state, KIND)


def counters_of(agent: Any) -> tuple[str, ...]:
    """Return the names of all that an agent counts."""
    return (*_COUNTERS, *agent.algorithm.counters)


def check_memory_state(state: Any, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Check the transitions of a file.

    Args:
        state: What the file has.
        columns: Those of the memory that is to hold them.

    Raises:
        ValueError: If they do not suit it, or make no sense.
    """
    check_keys(Instance((dict,))("memory", state), ("position", "full", *columns), "its memory")
    rows = len(next(iter(columns.values())))
    position = Whole(0, rows - 1)("position", state["position"])
    filled = rows if flag("full", state["full"]) else position
    for name, column in columns.items():
        Array((filled, *column.shape[1:]), column.dtype)(name, state[name])
    for name in columns.keys() & {"dones", "timeouts"}:
        Array((filled, *columns[name].shape[1:]), columns[name].dtype, 0, 1)(name, state[name])
