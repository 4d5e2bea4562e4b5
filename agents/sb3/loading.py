"""Agents of Stable-Baselines3 from files, each checked before it is taken for what it says."""

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from continual_arcade.agents.algorithms.catalogue import find
from continual_arcade.agents.files.between_steps import (
    stand_between_steps,
    warn_of_other_versions,
)
from continual_arcade.agents.files.checks import COUNTERS, check_network, limited
from continual_arcade.agents.files.network_data import restore_optimizer
from continual_arcade.agents.files.reading import check_keys, naming
from continual_arcade.agents.files.space_data import check_spaces, space_from_data
from continual_arcade.agents.files.state_files import AnyFile, load_state
from continual_arcade.agents.sb3.agent import SB3Agent, agent_class
from continual_arcade.agents.sb3.saving import KEYS, KIND, TRAINING_KEYS, counters_of
from continual_arcade.envs.checks import (
    LARGEST,
    MOST_AT_ONCE,
    Instance,
    Whole,
    check_values,
    flag,
)


def load_agent(path: AnyFile, env: VecEnv | None = None) -> SB3Agent:
    """Read an agent from a file that :func:`~.saving.save_agent` wrote.

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
        check_keys(state, KEYS, "it")
        agent = _made(state, env)
        check_network(state["network"], agent.policy)
        agent.policy.load_state_dict(state["network"])
        restore_optimizer(agent.policy, state["optimizer"], remade=False)
        names = counters_of(agent)
        check_keys(state["counters"], names, "its counters")
        rules = {name: COUNTERS[name] for name in names}
        for name, value in check_values(state["counters"], rules).items():
            setattr(agent, name, value)
        agent.network_began = Whole(0, agent.num_timesteps)("network_began", state["network_began"])
        training = state["training"]
        if env is not None and training is not None:
            check_keys(Instance((dict,))("training", training), TRAINING_KEYS, "its training")
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
