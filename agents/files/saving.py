"""Agents as files that hold data and no code.

Stable-Baselines3's own format holds pickles, and loading a pickle may run any code. Ours holds
numbers, text and arrays; see :mod:`continual_arcade.agents.files.plain` for
what becomes of classes and functions.
"""

import dataclasses
import inspect
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.utils import (
    ConstantSchedule,
    FloatSchedule,
    LinearSchedule,
    get_system_info,
)
from stable_baselines3.her import HerReplayBuffer

from continual_arcade.agents.exploration import Exploration
from continual_arcade.agents.files.between_steps import KEYS as BETWEEN_STEPS
from continual_arcade.agents.files.between_steps import (
    between_steps,
    stand_between_steps,
    warn_of_other_versions,
)
from continual_arcade.agents.files.checks import (
    COUNTERS,
    check_mersenne,
    check_network,
    check_part,
    check_phases,
    limited,
)
from continual_arcade.agents.files.network_data import (
    COMPILED,
    network_of,
    optimizer_of,
    parameters,
    plain_name,
    put_network,
    restore_optimizer,
)
from continual_arcade.agents.files.plain import from_plain, name_of, settled, to_plain
from continual_arcade.agents.files.reading import check_keys, naming
from continual_arcade.agents.files.space_data import check_spaces, space_from_data, space_to_data
from continual_arcade.agents.files.state_files import (
    AnyFile,
    check_state,
    load_state,
    save_state,
    versions,
)
from continual_arcade.agents.methods.base import Part, all_or_none
from continual_arcade.agents.methods.catalogue import (
    PARTS,
    make_part,
    setting_types,
    settings_before,
)
from continual_arcade.agents.methods.rules import declared
from continual_arcade.agents.replay import TransitionReplayBuffer
from continual_arcade.agents.task_inference.inference import TaskInference
from continual_arcade.envs.checks import (
    MOST_AT_ONCE,
    Array,
    Instance,
    Whole,
    check_values,
    flag,
)
from continual_arcade.envs.messages import unknown

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
    "loss",
    "average",
    "engine",
    "callback_every",
)
"""Arguments of the constructor that are attributes of the same name."""
_OF_REPLAY = {"handle_timeout_termination": True, "long_term_fraction": 0.5}
"""Arguments of replay that may be changed in it later, and what they are if they are not given."""
_ALL_ARGUMENTS = (*_ARGUMENTS, "stats_window_size", "exploration")
_KEYS = (
    "arguments",
    "own_arguments",
    "policy",
    "parts",
    "spaces",
    "n_envs",
    "counters",
    "network",
    "exchanged",
    "frozen",
    "optimizer",
    "generators",
    "life",
    "training",
)
_AVERAGE = "average"
"""Only in files of agents that keep an average of their weights; as an argument it is missing in
files that were written before there was one."""
_NORMALISED = "normalised"
"""Only in files of agents that were trained on observations normalised by ``VecNormalize``."""
_INFERENCE = "inference"
"""Only in files of agents that infer their task."""
_TRAINING_KEYS = (*BETWEEN_STEPS, "replay", "numpy", "torch")
_LAST_KEYS = ("last_obs", "last_original_obs", "episode_starts")
"""What the agent saw last, to resume from there."""
_DEFAULT = {"default": None}
"""Stands for an argument that the file leaves out."""
_REMAKE = frozenset({"policy", "policy_kwargs"})
"""Arguments that say what the network and its optimiser are."""


def save_agent(agent: Any, path: AnyFile, *, resumable: bool, exclude: Iterable[str] = ()) -> None:
    """Write an agent to a file, in a new folder if need be; all of it or what was there before.

    Args:
        agent: The agent.
        path: The file.
        resumable: Whether to keep replay, environments and random states, too, so that training
            resumes bit for bit.
        exclude: Arguments of the constructor to leave out: whoever loads the file gets the default.

    Raises:
        TypeError: If a part of somebody else's keeps what is no data; the message says what.
        ValueError: If it is to be resumable, and there is nothing to resume.
        OSError: If the file cannot be written.
    """
    agent.check_parts()
    exchanged = architecture(agent.policy) != agent.architecture
    arguments = _arguments(agent)
    for name in exclude:
        arguments[name] = _DEFAULT
    state = {
        "arguments": arguments,
        "own_arguments": _own_arguments(agent),
        "policy": to_plain(agent.policy_class),
        "parts": [_part(part) for part in agent.parts],
        "spaces": [space_to_data(agent.observation_space), space_to_data(agent.action_space)],
        "n_envs": agent.n_envs,
        "counters": {name: getattr(agent, name) for name in COUNTERS},
        "network": network_of(agent.policy),
        "exchanged": exchanged,
        "frozen": [
            name for name, each in parameters(agent.policy).items() if not each.requires_grad
        ],
        "optimizer": optimizer_of(agent.policy),
        "generators": [
            rng.bit_generator.state for rng in (agent._exploration_rng, agent._network_rng)
        ],
        "life": agent.phase_tracker.state_dict(),
        "training": _training(agent) if resumable else _last(agent),
    }
    if exchanged:
        warnings.warn(
            "the network is not the one any more that policy and policy_kwargs have made: its "
            "parameters are saved, but load() must be handed a policy or policy_kwargs that make "
            "such a network",
            stacklevel=3,
        )
    agent.follow_network()
    if agent.weight_average is not None:
        state[_AVERAGE] = agent.weight_average.state_dict()
    if agent.task_inference is not None:
        state[_INFERENCE] = agent.task_inference.state_dict()
    if isinstance(path, str | Path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    normalizer = agent.get_vec_normalize_env()
    if agent.trained_normalised or (normalizer is not None and normalizer.norm_obs):
        state[_NORMALISED] = True  # its statistics are no part of the agent
    save_state(path, state, KIND)


def check_savable(parts: Iterable[Part]) -> None:
    """Check, before anything is learnt, that parts of somebody else's can be saved.

    Raises:
        TypeError: If the state of one is no tree of plain values, arrays and tensors.
    """
    for part in parts:
        if not _is_ours(part):
            check_state(part.state_dict(), f"part {part.name!r}")


def check_selection(agent: Any, exclude: Iterable[str], include: Iterable[str]) -> list[str]:
    """Return which arguments a file is to leave out.

    Args:
        agent: The agent.
        exclude: What the file is to leave out.
        include: What it is to have all the same.

    Raises:
        ValueError: If it cannot have, or do without, one of these.
    """
    absent = set(agent._excluded_save_params())
    for name in include:
        if name in absent:
            raise ValueError(
                f"include: {name!r} cannot be in the file, which holds data and no code: "
                "save_training() keeps replay and environments, save_replay_buffer() replay alone"
            )
    left_out = [name for name in exclude if name not in absent.union(include)]
    for name in left_out:
        if name not in _ALL_ARGUMENTS:
            raise ValueError(unknown("argument to exclude", name, _ALL_ARGUMENTS))
    return left_out


def arguments_among(custom_objects: dict[str, Any]) -> dict[str, Any]:
    """Return those of Stable-Baselines3's custom objects that are arguments of an agent.

    Scripts hand the same ones to all algorithms (``clip_range``, ``lr_schedule``), so that others
    are passed over.

    Raises:
        ValueError: If a name looks like that of an argument, and is not.
    """
    known = (*_ALL_ARGUMENTS, "policy", "parts")
    named = {
        "policy" if name == "policy_class" else name: value
        for name, value in custom_objects.items()
    }
    for name in named.keys() - set(known):
        if get_close_matches(name, known, n=1, cutoff=0.85):
            raise ValueError(unknown("argument in custom_objects", name, known))
    return {name: value for name, value in named.items() if name in known}


def print_versions(path: AnyFile) -> None:
    """Print the versions of what is installed here, and of what a file was written with."""
    print("== CURRENT SYSTEM INFO ==")
    get_system_info()
    print("== SAVED MODEL SYSTEM INFO ==")
    for name, number in versions(path).items():
        print(f"- {name}: {number}")


def load_agent(
    cls: Any, path: AnyFile, env: Any, device: Any, overrides: dict[str, Any], force_reset: bool
) -> Any:
    """Read an agent from a file that :func:`save_agent` wrote.

    Args:
        cls: The class of the agent.
        path: The file.
        env: What it is to be trained in; None to use it for play only.
        device: Where its network is to be.
        overrides: Arguments of the constructor that are to be others than in the file.
        force_reset: Whether the environment is to be reset before training is resumed; if not, it
            must be where the agent saw it last.

    Raises:
        TypeError: If there is no such argument.
        ValueError: If the file is damaged, foreign, or does not fit the environment.
        OSError: If it cannot be read.
    """
    known = {"policy", "parts", *_ALL_ARGUMENTS, *_own_names(cls)}
    for name in overrides:
        if name not in known:
            raise TypeError(unknown(f"argument of {cls.__name__}", name, sorted(known)))
    state = load_state(path, KIND)
    with naming(path):
        normalised = flag(_NORMALISED, state.pop(_NORMALISED, False))
        average = state.pop(_AVERAGE, None)
        inference = state.pop(_INFERENCE, None)
        arguments = Instance((dict,))("arguments", state.get("arguments", {}))
        arguments.setdefault("loss", "td")  # which was the only one before it was an argument
        if average is None and arguments.setdefault(_AVERAGE, 0.0) not in (0.0, _DEFAULT):
            raise ValueError("it lacks the average of the weights, perhaps it is damaged")
        agent = _made(cls, state, device, dict(overrides))
        if inference is not None:
            seen, actions = agent.observation_space, int(agent.action_space.n)
            check_keys(
                Instance((dict,))(_INFERENCE, inference), TaskInference.KEYS, "its inference"
            )
            agent.task_inference = TaskInference.from_state(inference, seen, actions)
    agent.trained_normalised = normalised
    if env is not None:
        env = cls._wrap_env(env, agent.verbose)
        agent.n_envs = env.num_envs
    kind = agent.replay_buffer_class
    if kind is not None and issubclass(kind, HerReplayBuffer):
        if env is None:
            raise ValueError(
                f"{path}: {kind.__name__} asks the environment: hand it in, as env=..."
            )
        agent.env = env  # it is asked before set_env() is called
    with all_or_none(agent.parts):
        # What somebody hands in may make whatever it likes beside the network.
        is_theirs = not _REMAKE.isdisjoint(overrides)
        with naming(path), nullcontext() if is_theirs else limited(state["network"]):
            agent._setup_model()
        if env is not None:
            with naming(path):
                agent.set_env(env)
    with naming(path):
        _restore(agent, state, remade=is_theirs)
        _restore_average(agent, average, remade=is_theirs)
        training = state["training"] or {}
        is_resumable = bool(training) and training.keys() != set(_LAST_KEYS)
        if is_resumable and env is not None:
            _resume(agent, training, path)
        elif training and (env is None or not force_reset):
            _go_on(agent, training, state["n_envs"])
    return agent


def _made(cls: Any, state: dict[str, Any], device: Any, given: dict[str, Any]) -> Any:
    """Make the agent, without its network."""
    check_keys(state, _KEYS, "it")
    check_keys(state["arguments"], _ALL_ARGUMENTS, "its arguments")
    Instance((dict,))("network", state["network"])
    if flag("exchanged", state["exchanged"]) and _REMAKE.isdisjoint(given):
        raise ValueError(
            "the network was exchanged after policy and policy_kwargs had made it, for one that no "
            "file holds: hand load() a policy or policy_kwargs that make such a network"
        )
    own = _own_names(cls)
    kept = {name: value for name, value in state["own_arguments"].items() if name in own}
    arguments = {
        name: from_plain(value, name)
        for name, value in {**state["arguments"], **kept}.items()
        if name not in given and value != _DEFAULT
    }
    if "exploration" in arguments:
        found = arguments["exploration"]
        arguments["exploration"] = None if found is None else Exploration(**found)
    kind = {**arguments, **given}.get("replay_buffer_class")
    if kind is not None and issubclass(kind, TransitionReplayBuffer):
        for name in ("n_steps", "gamma", "seed"):
            if name in given:  # these are handed on to replay, too
                (arguments.get("replay_buffer_kwargs") or {}).pop(name, None)
    parts = given.pop("parts", None)
    if parts is None:
        parts = [_make_part(each) for each in Instance((list,))("parts", state["parts"])]
    policy = given.pop("policy", None) or from_plain(state["policy"], "policy")
    agent = cls(
        policy, None, parts=parts, device=device, _init_setup_model=False, **{**arguments, **given}
    )
    agent.observation_space, agent.action_space = map(space_from_data, state["spaces"])
    Instance((spaces.Discrete,))("the action space", agent.action_space)
    check_spaces(agent.observation_space, agent.action_space)
    agent.n_envs = Whole(1, MOST_AT_ONCE)("n_envs", state["n_envs"])
    agent._network = partial(put_network, state["network"])
    return agent


def architecture(policy: torch.nn.Module) -> list[tuple[str, str, str]]:
    """Return what a network is made of: name, class and settings of each of its modules."""
    return [
        (plain_name(name), name_of(type(module)), module.extra_repr())
        for name, module in policy.named_modules(remove_duplicate=False)
        if COMPILED not in module._modules
    ]


def _restore(agent: Any, state: dict[str, Any], *, remade: bool) -> None:
    restore_optimizer(agent.policy, state["optimizer"], remade=remade)
    named = parameters(agent.policy)
    for name in state["frozen"]:
        named[name].requires_grad_(False)
    counters = Instance((dict,))("counters", state["counters"])
    counters.setdefault("_steps_before", 0)  # in files that were written before it was counted
    check_keys(counters, COUNTERS, "its counters")
    check_keys(state["life"], agent.phase_tracker.state_dict(), "its phase tracker")
    for name, value in check_values(counters, COUNTERS).items():
        setattr(agent, name, value)
    generators = (agent._exploration_rng, agent._network_rng)
    for rng, kept in zip(generators, state["generators"], strict=True):
        rng.bit_generator.state = kept
    resumes = state["training"] is not None and agent.env is not None
    check_phases(state["life"], state["n_envs"], agent.phase_tracker.schedule if resumes else None)
    agent.phase_tracker.load_state_dict(state["life"])
    by_name = {kept["name"]: kept for kept in state["parts"]}
    for part in agent.parts:
        if part.name not in by_name:
            continue
        kept = by_name[part.name]["state"]
        if state["n_envs"] != agent.n_envs:  # what each game has, other games begin without
            vectors = declared(type(part)).vectors
            of_games = {n: v for n, v in part.state_dict().items() if n in vectors}
            kept |= {n: v for n, v in of_games.items() if vectors[n].per_game}
        # What others keep may depend on what they learnt.
        if _is_ours(part) and settled(by_name[part.name]["class"]) == name_of(type(part)):
            fresh = part.state_dict()
            check_keys(kept, fresh, f"the state of {part.name}")
            try:
                check_part(kept, fresh, agent, getattr(part, "every", None))
            except ValueError as error:
                raise ValueError(f"part {part.name!r}: {error}") from error
        part.load_state_dict(_on_device(kept, agent.device))


def _restore_average(agent: Any, kept: Any, *, remade: bool) -> None:
    """Let the average of the weights be what it was, if there is one in the file and one is kept.

    A network of somebody else's, or an average that is asked for now, begins with the network.
    """
    average = agent.weight_average
    if average is None or kept is None or remade:
        return
    check_keys(Instance((dict,))(_AVERAGE, kept), ("updates", "network"), "its average")
    check_network(kept["network"], average.network)
    average.load_state_dict(kept, agent.q_net)


def _is_ours(part: Part) -> bool:
    return PARTS.get(part.name) is type(part)


def _on_device(state: Any, device: torch.device) -> Any:
    """Return a tree whose tensors lie on a device."""
    if isinstance(state, dict):
        return {key: _on_device(value, device) for key, value in state.items()}
    if isinstance(state, list):
        return [_on_device(value, device) for value in state]
    return state.to(device) if isinstance(state, torch.Tensor) else state


def _last(agent: Any) -> dict[str, Any] | None:
    """Return what the agent saw last, to resume in an environment that stays where it is."""
    if agent._last_obs is None:
        return None
    return {
        "last_obs": agent._last_obs,
        "last_original_obs": agent._last_original_obs,
        "episode_starts": agent._last_episode_starts,
    }


def _go_on(agent: Any, last: dict[str, Any], count: int) -> None:
    """Let the agent resume from what it saw last, in so many environments."""
    if last.keys() != set(_LAST_KEYS):
        check_keys(last, _TRAINING_KEYS, "its training")
    if agent.env is not None and count != agent.env.num_envs:
        raise ValueError(
            f"it was saved in {count} environments, this has {agent.env.num_envs}, so that it "
            "cannot be where it was: load it with force_reset=True"
        )
    space = agent.observation_space
    agent._last_obs = _seen("last_obs", last["last_obs"], space, count)
    original = last.get("last_original_obs")
    if original is not None:
        original = _seen("last_original_obs", original, space, count)
    agent._last_original_obs = original
    starts = Array((count,), np.bool_)("episode_starts", last["episode_starts"])
    agent._last_episode_starts = starts


def _seen(name: str, value: Any, space: spaces.Space[Any], count: int) -> Any:
    """Return observations of so many environments, which may be normalised.

    Raises:
        ValueError: If they are of another shape.
    """
    if isinstance(space, spaces.Dict):
        table = Instance((dict,))(name, value)
        check_keys(table, space.spaces, name)
        return {key: _seen(key, table[key], each, count) for key, each in space.spaces.items()}
    expected = (count, *(space.shape or ()))
    shape = Instance((np.ndarray,))(name, value).shape
    # Stable-Baselines3's memory for dictionaries reshapes numbers in place when it adds them.
    if shape != expected and not (isinstance(space, spaces.Discrete) and shape == (count, 1)):
        raise ValueError(f"{name} has shape {shape}, not {expected}")
    return value


def _training(agent: Any) -> dict[str, Any]:
    """Return what only training needs."""
    _check_schedules(agent)
    stands = between_steps(agent)
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002  # the parent's draws come from it
    return {
        "replay": agent.replay.state_dict(),
        **stands,
        "numpy": legacy,
        "torch": torch.get_rng_state(),
    }


def _check_schedules(agent: Any) -> None:
    """Check that the agent's schedules are those that its arguments make, which are all it keeps.

    Raises:
        ValueError: If not: training would be resumed with others.
    """
    final, fraction = agent.exploration_final_eps, agent.exploration_fraction
    explores: Any = ConstantSchedule(final)
    if fraction:
        explores = LinearSchedule(agent.exploration_initial_eps, final, fraction)
    made = {"learning_rate": ("lr_schedule", FloatSchedule(agent.learning_rate))}
    if agent.exploration is None or agent.exploration.epsilon != "constant":
        names = "exploration_initial_eps, exploration_final_eps and exploration_fraction"
        made[names] = ("exploration_schedule", explores)
    for names, (name, expected) in made.items():
        if repr(getattr(agent, name)) != repr(expected):  # they do not compare
            raise ValueError(
                f"{name} is {getattr(agent, name)!r}, and {names}, which a file keeps, make "
                f"{expected!r}: training would be resumed with that one. Set both alike, or keep "
                "what the agent has learnt alone, by save()"
            )


def _resume(agent: Any, training: dict[str, Any], path: AnyFile) -> None:
    check_keys(training, _TRAINING_KEYS, "its training")
    warn_of_other_versions(path)
    agent.replay.load_state_dict(training["replay"])
    stand_between_steps(agent, training)
    check_mersenne(training["numpy"])
    # Last, and PyTorch first, which looks at what it gets: a file that is refused changes nothing
    # that others draw from.
    torch.set_rng_state(training["torch"])
    np.random.set_state(training["numpy"])  # noqa: NPY002


def _arguments(agent: Any) -> dict[str, Any]:
    found = {name: getattr(agent, name) for name in _ARGUMENTS}
    found["stats_window_size"] = agent._stats_window_size
    kind, given = agent.replay_buffer_class, agent.replay_buffer_kwargs or {}
    if kind is not None and issubclass(kind, TransitionReplayBuffer):
        found["n_steps"] = 1  # the buffer's own arguments say it already
        now = vars(agent.replay_buffer)
        changed = {
            name: now[name]
            for name, usual in _OF_REPLAY.items()
            if name in now and now[name] != given.get(name, usual)
        }
        found["replay_buffer_kwargs"] = {**given, **changed}
    elif _follows(kind, agent.n_steps, given):
        found["replay_buffer_class"] = None
        found["replay_buffer_kwargs"] = {
            name: value for name, value in given.items() if name not in ("n_steps", "gamma")
        }
    if found["tensorboard_log"] is not None:
        found["tensorboard_log"] = str(found["tensorboard_log"])
    exploration = agent.exploration
    is_plain = type(exploration) is Exploration
    found["exploration"] = dataclasses.asdict(exploration) if is_plain else exploration
    return {name: to_plain(value) for name, value in found.items()}


def _own_arguments(agent: Any) -> dict[str, Any]:
    """Return the arguments that a class derived from ContinualDQN has beside its own."""
    return {name: to_plain(getattr(agent, name, _NOT_KEPT)) for name in _own_names(type(agent))}


class _NotKept:
    def __repr__(self) -> str:
        return "the agent has no attribute of this name"


_NOT_KEPT = _NotKept()
"""Stands for an argument of which nothing is known but its name."""


def _own_names(cls: type[Any]) -> list[str]:
    """Return the names of these arguments."""
    known = {"self", "policy", "env", "parts", "device", *_ALL_ARGUMENTS}
    found: dict[str, None] = {}
    for kind in cls.__mro__:
        if kind.__module__ == "continual_arcade.agents.continual_dqn":
            break
        if "__init__" in vars(kind):
            for name, parameter in inspect.signature(vars(kind)["__init__"]).parameters.items():
                is_one = parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
                if is_one and name not in known and not name.startswith("_"):
                    found[name] = None
    return list(found)


def _follows(kind: Any, n_steps: int, kwargs: dict[str, Any]) -> bool:
    """Say whether the parent would choose this replay itself, to suit ``n_steps``."""
    if n_steps == 1:
        return kind in (ReplayBuffer, DictReplayBuffer)
    return kind is NStepReplayBuffer and kwargs.get("n_steps") == n_steps


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "class": name_of(type(part)),
        "settings": {name: to_plain(value) for name, value in part.settings.items()},
        "state": part.state_dict(),
    }


def _make_part(kept: dict[str, Any]) -> Part:
    name = kept["name"]
    if name not in PARTS or settled(kept["class"]) != name_of(PARTS[name]):
        raise ValueError(
            f"the file has a part {name!r}, which is not one of this suite: make it, and hand all "
            "parts to load(..., parts=[...])"
        )
    told = {key: from_plain(value, "parts") for key, value in kept["settings"].items()}
    settings = {**settings_before(PARTS[name]), **told}
    check_keys(settings, setting_types(PARTS[name]), f"part {name!r}")
    return make_part(name, settings)
