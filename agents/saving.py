"""Agents as files that hold data and no code.

Stable-Baselines3's own format holds pickles, and loading a pickle may run any code. Ours holds
numbers, text and arrays; classes are named, and only those of libraries that the suite builds on
are looked up.
"""

import dataclasses
import re
import warnings
from collections import deque
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.type_aliases import TrainFreq

from continual_arcade.agents.exploration import Exploration
from continual_arcade.agents.parts.catalogue import PARTS, make_part, setting_types
from continual_arcade.agents.parts.part import Part, all_or_none
from continual_arcade.agents.replay import TransitionReplayBuffer
from continual_arcade.agents.state_files import load_state, other_versions, save_state

KIND = "agent"
"""What the files say they are."""
_ARGUMENTS = (
    "learning_rate",
    "buffer_size",
    "learning_starts",
    "batch_size",
    "tau",
    "gamma",
    "train_freq",
    "gradient_steps",
    "replay_buffer_class",
    "replay_buffer_kwargs",
    "optimize_memory_usage",
    "n_steps",
    "target_update_interval",
    "exploration_fraction",
    "exploration_initial_eps",
    "exploration_final_eps",
    "max_grad_norm",
    "tensorboard_log",
    "policy_kwargs",
    "verbose",
    "seed",
    "double_q",
    "engine",
    "callback_every",
)
"""Arguments of the constructor that are attributes of the same name."""
_ALL_ARGUMENTS = (*_ARGUMENTS, "stats_window_size", "exploration")
_KEYS = (
    "arguments",
    "policy",
    "parts",
    "spaces",
    "n_envs",
    "counters",
    "network",
    "optimizer",
    "generators",
    "life",
    "training",
)
_NORMALISED = "normalised"
"""Only in files of agents that were trained on observations normalised by ``VecNormalize``."""
_TRAINING_KEYS = (
    "replay",
    "env",
    "last_obs",
    "episode_starts",
    "episodes",
    "actions",
    "numpy",
    "torch",
)
_COUNTERS = (
    "num_timesteps",
    "_total_timesteps",
    "_n_updates",
    "_n_calls",
    "_episode_num",
    "exploration_rate",
    "_current_progress_remaining",
    "_syncs_due",
)
_MODULES = re.compile(
    r"torch\.nn\.modules\.\w+|torch\.optim\.\w+|"
    r"stable_baselines3\.(dqn\.policies|common\.(buffers|torch_layers))|"
    r"continual_arcade\.agents\.(networks|replay)"
)
"""Where classes that a file names may be defined: modules that do nothing when imported."""
AnyFile: TypeAlias = str | Path | IO[bytes]
_KINDS = (torch.nn.Module, torch.optim.Optimizer, ReplayBuffer)
"""What such a class may be."""


def save_agent(agent: Any, path: AnyFile, *, resumable: bool) -> None:
    """Write an agent to a file; there is all of it or what was there before.

    Args:
        agent: The agent.
        path: The file.
        resumable: Whether to keep replay, environments and random states, too, so that training
            goes on bit for bit.

    Raises:
        TypeError: If something cannot be written as data; the message says what.
        ValueError: If it is to be resumable, and there is nothing to go on with.
        OSError: If the file cannot be written.
    """
    state = {
        "arguments": _arguments(agent),
        "policy": _plain(agent.policy_class, "policy"),
        "parts": [_part(part) for part in agent.parts],
        "spaces": [_space(agent.observation_space), _space(agent.action_space)],
        "n_envs": agent.n_envs,
        "counters": {name: getattr(agent, name) for name in _COUNTERS},
        "network": agent.policy.state_dict(),
        "optimizer": _optimizer(agent.policy.optimizer),
        "generators": [
            rng.bit_generator.state for rng in (agent._exploration_rng, agent._network_rng)
        ],
        "life": agent.life.state_dict(),
        "training": _training(agent) if resumable else None,
    }
    normalizer = agent.get_vec_normalize_env()
    if agent.trained_normalised or (normalizer is not None and normalizer.norm_obs):
        state[_NORMALISED] = True  # its statistics are no part of the agent
    save_state(path, state, KIND)


def load_agent(cls: Any, path: AnyFile, env: Any, device: Any, overrides: dict[str, Any]) -> Any:
    """Read an agent from a file that :func:`save_agent` wrote.

    Args:
        cls: The class of the agent.
        path: The file.
        env: What it is to live in; None to use it for play only.
        device: Where its network is to be.
        overrides: Arguments of the constructor that are to be others than in the file.

    Raises:
        ValueError: If the file is damaged, foreign, or does not fit the environment.
        OSError: If it cannot be read.
    """
    state = load_state(path, KIND)
    normalised = bool(state.pop(_NORMALISED, False))
    _check_keys(state, _KEYS, "it", path)
    _check_keys(state["arguments"], _ALL_ARGUMENTS, "its arguments", path)
    arguments = {
        name: _argument(value, name, path)
        for name, value in state["arguments"].items()
        if name not in overrides
    }
    if "exploration" in arguments:
        arguments["exploration"] = _exploration(arguments["exploration"])
    kind = {**arguments, **overrides}["replay_buffer_class"]
    if kind is not None and issubclass(kind, TransitionReplayBuffer):
        for name in ("n_steps", "gamma", "seed"):
            if name in overrides:  # these are handed on to replay, too
                (arguments.get("replay_buffer_kwargs") or {}).pop(name, None)
    parts = overrides.pop("parts", None)
    if parts is None:
        parts = [_make_part(kept, path) for kept in state["parts"]]
    agent = cls(
        overrides.pop("policy", None) or _from_plain(state["policy"]),
        None,
        parts=parts,
        device=device,
        _init_setup_model=False,
        **{**arguments, **overrides},
    )
    agent.trained_normalised = normalised
    agent.observation_space, agent.action_space = map(_from_space, state["spaces"])
    agent.n_envs = state["n_envs"]
    if env is not None:
        env = cls._wrap_env(env, agent.verbose)
        agent.n_envs = env.num_envs
    agent._network = partial(_put_network, state["network"], path)
    with all_or_none(agent.parts):
        agent._setup_model()
        if env is not None:
            agent.set_env(env)
    _restore(agent, state, path)
    if state["training"] is not None and env is not None:
        _resume(agent, state["training"], path)
    return agent


def _check_keys(found: Iterable[str], expected: Iterable[str], what: str, path: AnyFile) -> None:
    """Check that a table of a file has what this version writes, and nothing else."""
    lacking, more = set(expected) - set(found), set(found) - set(expected)
    if lacking or more:
        raise ValueError(
            f"{path} was written by another version: {what} "
            + " and ".join(
                f"{verb} {', '.join(sorted(names))}"
                for verb, names in (("lacks", lacking), ("has", more))
                if names
            )
            + ". Load it with that version, or make it anew"
        )


def _put_network(network: dict[str, torch.Tensor], path: AnyFile, policy: Any) -> None:
    try:
        policy.load_state_dict(network)
    except RuntimeError as error:
        raise ValueError(f"{path}: the network is another one: {error}") from error


def _restore(agent: Any, state: dict[str, Any], path: AnyFile) -> None:
    optimizer = agent.policy.optimizer
    now = optimizer.state_dict()
    for group, rate in zip(now["param_groups"], state["optimizer"]["rates"], strict=True):
        group["lr"] = rate
    moments = {int(key): value for key, value in state["optimizer"]["state"].items()}
    optimizer.load_state_dict({"state": moments, "param_groups": now["param_groups"]})
    _check_keys(state["counters"], _COUNTERS, "its counters", path)
    _check_keys(state["life"], agent.life.state_dict(), "its life", path)
    for name, value in state["counters"].items():
        setattr(agent, name, value)
    generators = (agent._exploration_rng, agent._network_rng)
    for rng, kept in zip(generators, state["generators"], strict=True):
        rng.bit_generator.state = kept
    agent.life.load_state_dict(state["life"])
    by_name = {kept["name"]: kept["state"] for kept in state["parts"]}
    for part in agent.parts:
        if part.name in by_name:
            kept = by_name[part.name]
            if PARTS.get(part.name) is type(
                part
            ):  # what others keep may depend on what they learnt
                _check_keys(kept, part.state_dict(), f"the state of {part.name}", path)
            part.load_state_dict(_on_device(kept, agent.device))


def _on_device(state: Any, device: torch.device) -> Any:
    """Return a tree whose tensors lie on a device."""
    if isinstance(state, dict):
        return {key: _on_device(value, device) for key, value in state.items()}
    if isinstance(state, list):
        return [_on_device(value, device) for value in state]
    return state.to(device) if isinstance(state, torch.Tensor) else state


def _training(agent: Any) -> dict[str, Any]:
    """Return what only training needs."""
    if agent._vec_normalize_env is not None:
        raise ValueError("a VecNormalize cannot be saved to go on with: save it on its own")
    if agent.env is None or agent._last_obs is None:
        raise ValueError("there is nothing to go on with: learn() was not called yet")
    # Of the class: a wrapper hands on what its env has, and would leave its own state out.
    if not hasattr(type(agent.env), "state_dict"):
        raise TypeError(
            f"{type(agent.env).__name__} has no state_dict(), so that a life in it cannot be gone "
            "on with: live in a GymnasiumVecEnv around a vector environment of this suite"
        )
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002  # the parent's draws come from it
    return {
        "replay": agent.replay.state_dict(),
        "env": agent.env.state_dict(),
        "last_obs": agent._last_obs,
        "episode_starts": agent._last_episode_starts,
        "episodes": list(agent.ep_info_buffer or []),
        "actions": agent.action_space.np_random.bit_generator.state,
        "numpy": legacy,
        "torch": torch.get_rng_state(),
    }


def _resume(agent: Any, training: dict[str, Any], path: AnyFile) -> None:
    _check_keys(training, _TRAINING_KEYS, "its training", path)
    if changed := other_versions(path):
        listed = ", ".join(f"{name} {then} ({now} here)" for name, (then, now) in changed.items())
        warnings.warn(
            f"{path} was written with {listed}: training goes on, but perhaps not bit for bit as "
            "it would have there",
            stacklevel=2,
        )
    agent.replay.load_state_dict(training["replay"])
    agent.env.load_state_dict(training["env"])
    agent._last_obs = training["last_obs"]
    agent._last_episode_starts = training["episode_starts"]
    agent.ep_info_buffer = deque(training["episodes"], maxlen=agent._stats_window_size)
    agent.ep_success_buffer = deque(maxlen=agent._stats_window_size)
    agent.action_space.np_random.bit_generator.state = training["actions"]
    np.random.set_state(training["numpy"])  # noqa: NPY002
    torch.set_rng_state(training["torch"])


def _arguments(agent: Any) -> dict[str, Any]:
    found = {name: getattr(agent, name) for name in _ARGUMENTS}
    found["stats_window_size"] = agent._stats_window_size
    kind, given = agent.replay_buffer_class, agent.replay_buffer_kwargs or {}
    if kind is not None and issubclass(kind, TransitionReplayBuffer):
        found["n_steps"] = 1  # the buffer's own arguments say it already
    elif _follows(kind, agent.n_steps, given):
        found["replay_buffer_class"] = None
        found["replay_buffer_kwargs"] = {
            name: value for name, value in given.items() if name not in ("n_steps", "gamma")
        }
    if found["tensorboard_log"] is not None:
        found["tensorboard_log"] = str(found["tensorboard_log"])
    exploration = agent.exploration
    found["exploration"] = None if exploration is None else dataclasses.asdict(exploration)
    return {name: _plain(value, name) for name, value in found.items()}


def _follows(kind: Any, n_steps: int, kwargs: dict[str, Any]) -> bool:
    """Say whether the parent would choose this replay itself, to suit ``n_steps``."""
    if n_steps == 1:
        return kind is ReplayBuffer
    return kind is NStepReplayBuffer and kwargs.get("n_steps") == n_steps


def _exploration(value: dict[str, Any] | None) -> Exploration | None:
    if value is None:
        return None
    prior = value["prior"]
    return Exploration(value["epsilon"], None if prior is None else tuple(prior))


def _part(part: Any) -> dict[str, Any]:
    return {
        "name": part.name,
        "settings": {name: _plain(value, name) for name, value in part.settings.items()},
        "state": part.state_dict(),
    }


def _make_part(kept: dict[str, Any], path: AnyFile) -> Part:
    if kept["name"] not in PARTS:
        raise ValueError(
            f"{path} has a part {kept['name']!r}, which is not one of this suite: make it, and "
            "hand all parts to load(..., parts=[...])"
        )
    settings = {name: _from_plain(value) for name, value in kept["settings"].items()}
    _check_keys(settings, setting_types(PARTS[kept["name"]]), f"part {kept['name']!r}", path)
    return make_part(kept["name"], settings)


def _plain(value: Any, name: str) -> Any:
    """Turn an argument into plain data; a class becomes its name, a tuple is marked as one."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return value
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, TrainFreq):
        return {"tuple": [value.frequency, value.unit.value]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(item, name) for item in value]}
    if isinstance(value, list):
        return [_plain(item, name) for item in value]
    if isinstance(value, dict):
        return {"dict": {key: _plain(item, f"{name}[{key!r}]") for key, item in value.items()}}
    if isinstance(value, type):
        return {"class": f"{value.__module__}:{value.__qualname__}"}
    if callable(value):
        return {"function": repr(value)}
    raise TypeError(f"{name} = {value!r} cannot be saved as data")


def _argument(value: Any, name: str, path: AnyFile) -> Any:
    """Return an argument from plain data; a function among it must be handed in anew."""
    if function := _function_in(value, name):
        raise ValueError(
            f"{path}: {function} was a function, which no file holds: hand it to load(), as "
            f"{name}=..."
        )
    return _from_plain(value)


def _function_in(value: Any, where: str) -> str | None:
    """Say where in plain data a function stands, if one does."""
    if not isinstance(value, dict):
        items = value if isinstance(value, list) else []
        return next(filter(None, (_function_in(item, where) for item in items)), None)
    ((kind, content),) = value.items()
    if kind == "function":
        return where
    if kind == "dict":
        found = (_function_in(item, f"{where}[{key!r}]") for key, item in content.items())
        return next(filter(None, found), None)
    return _function_in(content, where)


def _from_plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tuple":
        return tuple(_from_plain(item) for item in content)
    if kind == "dict":
        return {key: _from_plain(item) for key, item in content.items()}
    return _class(content)


def _class(name: str) -> type[Any]:
    """Look a class up, where only networks, optimisers and replay memories are defined."""
    module, _, qualified = name.partition(":")
    found: Any = None
    if _MODULES.fullmatch(module):
        try:
            found = getattr(import_module(module), qualified, None)
        except ImportError:
            found = None
    # A module also shows what it imports: only what it defines itself counts.
    if not (isinstance(found, type) and issubclass(found, _KINDS) and found.__module__ == module):
        raise ValueError(
            f"the file names the class {name}, which is not looked up, because it is no network, "
            "optimiser or replay memory of torch, Stable-Baselines3 or this suite: hand it to "
            "load(), e.g. policy_kwargs={...}"
        )
    return found


def _space(space: spaces.Space[Any]) -> dict[str, Any]:
    if isinstance(space, spaces.Box):
        return {"low": space.low, "high": space.high, "dtype": space.dtype.str}
    if isinstance(space, spaces.Discrete):
        return {"n": int(space.n), "start": int(space.start)}
    raise TypeError(f"space {space} cannot be saved: only Box and Discrete can")


def _from_space(state: dict[str, Any]) -> spaces.Space[Any]:
    if "n" in state:
        return spaces.Discrete(state["n"], start=state["start"])
    return spaces.Box(state["low"], state["high"], dtype=np.dtype(state["dtype"]).type)


def _optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    state = optimizer.state_dict()
    return {
        "state": {str(key): value for key, value in state["state"].items()},
        "rates": [group["lr"] for group in state["param_groups"]],
    }
