"""Agents of Stable-Baselines3 as files that hold data and no code.

Stable-Baselines3's own format holds pickles, and loading a pickle may run any code. What an agent
is follows here from the name of its algorithm and its settings; the rest are numbers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from continual_arcade.agents.algorithms.catalogue import find
from continual_arcade.agents.files.between_steps import (
    KEYS,
    between_steps,
    stand_between_steps,
    warn_of_other_versions,
)
from continual_arcade.agents.files.checks import COUNTERS, check_network, limited
from continual_arcade.agents.files.network_data import (
    network_of,
    optimizer_of,
    restore_optimizer,
)
from continual_arcade.agents.files.reading import check_keys, naming
from continual_arcade.agents.files.space_data import check_spaces, space_from_data, space_to_data
from continual_arcade.agents.files.state_files import AnyFile, load_state, save_state
from continual_arcade.agents.sb3.agent import SB3Agent, agent_class
from continual_arcade.envs.checks import (
    LARGEST,
    MOST_AT_ONCE,
    Array,
    Instance,
    Whole,
    check_values,
    flag,
)

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
_KEYS = (
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
_TRAINING_KEYS = (*KEYS, "memory", "generators")


def save_agent(agent: SB3Agent, path: AnyFile, *, resumable: bool) -> None:
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
        "counters": {name: getattr(agent, name) for name in _counters(agent)},
        "network": network_of(agent.policy),
        "optimizer": optimizer_of(agent.policy),
        "training": training,
    }
    if isinstance(path, str | Path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_state(path, state, KIND)


def _counters(agent: SB3Agent) -> tuple[str, ...]:
    return (*_COUNTERS, *agent.algorithm.counters)


def load_agent(path: AnyFile, env: VecEnv | None = None) -> SB3Agent:
    """Read an agent from a file that :func:`save_agent` wrote.

    Args:
        path: The file.
        env: What it was trained in, made anew, to resume training; None to use it for play only.

    Raises:
        ValueError: If the file is damaged, holds nothing to resume, or does not fit the
            environment; or if the library of its algorithm is not installed.
        OSError: If it cannot be read.
    """
    state = load_state(path, KIND)
    with naming(path):
        check_keys(state, _KEYS, "it")
        agent = _made(state, env)
        check_network(state["network"], agent.policy)
        agent.policy.load_state_dict(state["network"])
        restore_optimizer(agent.policy, state["optimizer"], remade=False)
        names = _counters(agent)
        check_keys(state["counters"], names, "its counters")
        rules = {name: COUNTERS[name] for name in names}
        for name, value in check_values(state["counters"], rules).items():
            setattr(agent, name, value)
        agent.network_began = Whole(0, agent.num_timesteps)("network_began", state["network_began"])
        training = state["training"]
        if env is not None and training is not None:
            check_keys(Instance((dict,))("training", training), _TRAINING_KEYS, "its training")
            warn_of_other_versions(path)
            agent.load_memory_state(training["memory"])
            agent.generators.load_state_dict(training["generators"])
            stand_between_steps(agent, training)
    return agent


def _made(state: Mapping[str, Any], env: VecEnv | None) -> SB3Agent:
    """Make the agent, as it was before it learnt anything."""
    algorithm = find(state["algorithm"])
    settings = algorithm.settings.from_dict(state["settings"])
    seen, done = map(space_from_data, state["spaces"])
    check_spaces(seen, done)
    count = Whole(1, MOST_AT_ONCE)("n_envs", state["n_envs"])
    if env is not None:
        here = (env.observation_space, env.action_space, env.num_envs)
        if here != (seen, done, count):
            raise ValueError(
                f"it was trained in {count} environments that show {seen} and take {done}, and "
                f"these are {here[2]} that show {here[0]} and take {here[1]}"
            )
    with limited(Instance((dict,))("network", state["network"])):
        return agent_class(algorithm)(
            settings,
            env,
            seed=Whole(0, LARGEST)("seed", state["seed"]),
            sees_pictures=flag("sees_pictures", state["sees_pictures"]),
            from_scratch=flag("from_scratch", state["from_scratch"]),
            of_spaces=(seen, done, count),
        )


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
