"""What a file says of an agent, checked before the agent takes it.

Compiled code reads and writes by these numbers without looking again, and training is resumed with
them for hours: so each of them must be one that training can lead to.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import unwrap
from typing import Any

import numpy as np
import torch
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import is_lazy

from continual_arcade.agents.methods.phase_memory import are_ends
from continual_arcade.agents.replay import TransitionReplayBuffer
from continual_arcade.agents.replay.n_step import MOST_PHASES, Transitions, check_columns
from continual_arcade.agents.settings import LARGEST_STEP
from continual_arcade.agents.told_networks import FinishesPhases
from continual_arcade.envs.checks import (
    Array,
    Each,
    Instance,
    Number,
    OrNone,
    Rule,
    Whole,
)
from continual_arcade.envs.schedules import LONGEST, Schedule

_STATISTICS = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "acc_delta", "exp_inf", "step")
"""What optimisers keep that is never negative."""
_SLACK = 4
"""How many times the parameters of a file a network may take while it is made: the parent makes
some of them more than once."""

_COUNT, _FINITE = Whole(0, LONGEST), Number()
COUNTERS: Mapping[str, Rule] = {
    "num_timesteps": _COUNT,
    "_total_timesteps": Whole(),  # learn() may have been told to go on for ever
    "_n_updates": _COUNT,
    "_n_calls": _COUNT,
    "_episode_num": _COUNT,
    "exploration_rate": Number(0, 1),
    "_current_progress_remaining": _FINITE,
    "_syncs_due": _COUNT,
    "_steps_before": _COUNT,
}
"""What an agent counts, and what these numbers must be."""


@contextmanager
def limited(network: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Within, let no module be made that is far larger than a network.

    What a file says of the layers is not to ask for more memory than what it holds of them. A
    parameter is noticed here when its memory was asked for, but not yet written to: which is when
    the system would hand it out.

    Raises:
        ValueError: If one is; from where it is made.
    """
    held = sum(each.numel() for each in network.values() if isinstance(each, torch.Tensor))
    left = _SLACK * held + 1_000

    def note(module: torch.nn.Module, name: str, parameter: Any) -> None:
        nonlocal left
        left -= 0 if is_lazy(parameter) else parameter.numel()
        if left < 0:
            raise ValueError(
                f"the network is another one: the arguments make one of more than {_SLACK} times "
                f"as many parameters as the {held:,} that are kept"
            )

    handle = register_module_parameter_registration_hook(note)
    try:
        yield
    finally:
        handle.remove()


def check_network(network: Any, policy: torch.nn.Module) -> None:
    """Check the parameters of a file against a network.

    Raises:
        ValueError: If it is another network, or a parameter is not finite.
    """
    own = policy.state_dict()
    found = {name: _kind(tensor) for name, tensor in Instance((dict,))("network", network).items()}
    expected = {name: _kind(tensor) for name, tensor in own.items()}
    if found != expected:
        different = sorted(
            name for name in {*found, *expected} if found.get(name) != expected.get(name)
        )
        raise ValueError(
            f"the network is another one: {', '.join(different[:3])} "
            f"{'are' if len(different) > 1 else 'is'} {found.get(different[0], 'not')} in the file "
            f"and {expected.get(different[0], 'not')} here, and {len(different)} of them differ"
        )
    learnt = {name for name, _ in policy.named_parameters()}
    for name, tensor in network.items():
        # What is not learnt may be infinite: a mask, for example. Or no tensor at all.
        if not isinstance(tensor, torch.Tensor):
            continue
        if not (tensor.isfinite() if name in learnt else ~tensor.isnan()).all():
            raise ValueError(f"{name} of the network is not finite")
    for prefix, module in policy.named_modules():
        if isinstance(module, FinishesPhases):
            for name, (low, high) in module.bounds().items():
                of_it = f"{prefix}.{name}" if prefix else name
                if not ((network[of_it] >= low) & (network[of_it] <= high)).all():
                    raise ValueError(f"{of_it} of the network must be from {low} to {high}")


def _kind(value: Any) -> str:
    """Say of what shape and type a tensor is; of anything else what it is."""
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)} of {value.dtype}"
    return type(value).__name__


_OPTIONS: Mapping[str, Rule] = {
    "betas": Each(Number(0, below=1)),
    "weight_decay": Number(0, LARGEST_STEP),
    "momentum": Number(0, LARGEST_STEP),
}
_OPTION = Number(-LARGEST_STEP, LARGEST_STEP)
"""All others, such as ``lr``: a schedule may fall below 0 behind the end of training."""


def check_options(kept: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Check the options of an optimiser: step size and the like.

    Args:
        kept: What the file, or the optimiser, has.
        usual: What an optimiser of this kind has.

    Raises:
        ValueError: If one is of another type, or makes no sense.
    """
    for name, value in kept.items():
        like = usual.get(name)
        value, like = (
            it.item() if isinstance(it, torch.Tensor) and it.numel() == 1 else it
            for it in (value, like)
        )
        if name == "params":
            raise ValueError("the optimizer has an option 'params'")
        if name in _OPTIONS:
            _OPTIONS[name](f"{name} of the optimizer", value)
        elif isinstance(like, (int, float)) and not isinstance(like, bool):
            _OPTION(f"{name} of the optimizer", value)
        elif None not in (like, value):
            Instance((type(like),))(f"{name} of the optimizer", value)


def check_moments(
    state: Mapping[str, Any], names: Sequence[str], layout: Mapping[str, Any] | None
) -> None:
    """Check what an optimiser keeps of each parameter.

    Args:
        state: What the file has, by name of the parameter.
        names: The parameters that it moves.
        layout: What the optimiser keeps of each parameter after a step; None if that is not known,
            and whatever it likes must be right.

    Raises:
        ValueError: If something is lacking, of another shape, or not finite.
    """
    for name, kept in state.items():
        if name not in names:
            raise ValueError(f"the optimizer keeps something of {name!r}, which it does not move")
        kept = Instance((dict,))(f"what the optimizer keeps of {name}", kept)
        if layout is None:
            continue
        for key, value in kept.items():
            if isinstance(value, torch.Tensor):
                numbers = value.double() if not value.is_complex() else value.abs()
                is_wrong = not numbers.isfinite().all()
                is_wrong |= key in _STATISTICS and bool((numbers < 0).any())
                is_wrong |= key == "step" and bool((numbers > LONGEST).any())
                if is_wrong:
                    raise ValueError(f"{key} of {name} in the optimizer makes no sense")
            elif value is not None:
                _FINITE(f"{key} of {name} in the optimizer", value)
        for key, expected in layout[name].items():
            if key not in kept or _kind(kept[key]) != _kind(expected):
                raise ValueError(
                    f"the optimizer keeps {key} of {name} as {_kind(kept.get(key))}, and it "
                    f"must be {_kind(expected)}"
                )


def moments_after_a_step(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]] | None:
    """Return what a like optimiser keeps of each parameter after a step, in their order.

    Only optimisers of torch are asked: what a step of somebody else's does is not known.
    """
    if not type(optimizer).__module__.startswith("torch.optim"):
        return None
    groups: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        copies = [torch.zeros_like(parameter) for parameter in group["params"]]
        for copy in copies:
            copy.grad = torch.zeros_like(copy)
        groups.append({**group, "params": copies})
    kind: Any = type(optimizer)
    probe = kind(groups)
    try:
        with torch.no_grad():  # what is wrapped around it imports PyTorch's compiler, for a second
            unwrap(kind.step)(probe)
    except (TypeError, RuntimeError):  # one that wants to compute the loss itself, or other slopes
        return None
    return [dict(probe.state[copy]) for group in groups for copy in group["params"]]


def check_part(
    state: Mapping[str, Any], fresh: Mapping[str, Any], agent: Any, every: int | None
) -> None:
    """Check the state of a part of this suite.

    Args:
        state: What the file has.
        fresh: What the part would save now, at its beginning.
        agent: The agent that the part serves.
        every: Gradient steps from one interpolation to the next, if the part counts them.

    Raises:
        ValueError: If it does not suit the agent's network and replay, or makes no sense.
    """
    shapes = [tuple(parameter.shape) for parameter in agent.q_net.parameters()]
    expected = [f"{shape} of {torch.float32}" for shape in shapes]
    for name, value in state.items():
        if name in ("rng", "ended"):
            continue  # the generator looks at itself; and see below
        if name == "recent":
            for phase, kept in Instance((dict,))(name, value).items():
                Whole(0)("phase", int(phase))
                _check_transitions(kept, agent)
        elif name in ("completed", "kept"):
            _check_transitions(value, agent)
        elif name in ("observations", "values"):
            _check_states(name, value, agent)
        elif name == "archive":
            numbers = sum(parameter.numel() for parameter in agent.q_net.parameters())
            Array((None, numbers), np.float32)(name, value)
        elif name == "tried":
            Array((len(state["archive"]), 2), np.float64)(name, value)
        elif name == "ends":
            _check_ends(value, state["kept"])
        elif name == "steps":
            Whole(0, (every or 1) - 1)(name, value)
        elif name == "deeper":  # of so many steps it is said how many are done
            Whole(0, Whole(0)("flowed", state["flowed"]))(name, value)
        elif isinstance(fresh.get(name), np.ndarray):
            Array(fresh[name].shape, fresh[name].dtype)(name, value)
        elif isinstance(value, list):
            # The average of another anchor is left out by the part itself.
            if fresh[name] and not value and name != "average":
                raise ValueError(f"{name} is empty")
            _check_tensors(name, value, [*map(_kind, fresh[name])] or expected)
        else:
            _FINITE(name, value)
    if "ended" in state:
        Array((len(state["completed"].get("rewards", ())),), np.bool_)("ended", state["ended"])
    lengths = {name: len(state[name]) for name in ("omega", "center") if name in state}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"there are not as many of each: {lengths}")
    states, values = state.get("observations"), state.get("values")
    if (0 if states is None else len(states)) != (0 if values is None else len(values)):
        raise ValueError("there are not as many values as observations")


def _check_tensors(name: str, tensors: Sequence[Any], expected: list[str]) -> None:
    if tensors and [_kind(tensor) for tensor in tensors] != expected:
        raise ValueError(f"{name} does not have the shapes that suit the network's parameters")
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise ValueError(f"{name} is not finite")


def _check_transitions(columns: Any, agent: Any) -> None:
    replay: TransitionReplayBuffer = agent.replay
    if Instance((dict,))("transitions", columns):
        like: Transitions = replay.stored(np.zeros(0, np.int64))
        check_columns(columns, like, replay.actions_below)


def _check_ends(ends: Any, kept: Any) -> None:
    count = len(kept["rewards"]) if kept else 0
    if not are_ends(Instance((list,))("ends", ends), count):
        raise ValueError(f"ends = {ends} are not those of memories of {count} transitions")


def _check_states(name: str, values: Any, agent: Any) -> None:
    if values is None:
        return
    like = agent.replay.stored(np.zeros(0, np.int64)).observations
    shape, dtype = like.shape[1:], like.dtype
    if name == "values":
        shape, dtype = (int(agent.action_space.n),), np.dtype(np.float32)
    Array((None, *shape), dtype)(name, values)


def check_phases(state: Mapping[str, Any], n_envs: int, schedule: Schedule | None) -> None:
    """Check the phase that a run is said to be in.

    Args:
        state: What the file has.
        n_envs: Sub-environments.
        schedule: The schedule, if it is known.

    Raises:
        ValueError: If it makes no sense.
    """
    last = MOST_PHASES - 1 if schedule is None else len(schedule) - 1
    OrNone(Whole(0, last))("phase", state["phase"])
    Whole(0, LONGEST)("step", state["step"])
    Array((n_envs,), np.int64, 0, last)("phases", state["phases"])


def check_episodes(episodes: Any) -> None:
    """Check what is said of episodes that ended.

    Raises:
        ValueError: If it makes no sense.
    """
    for episode in Instance((list,))("episodes", episodes):
        for key in ("r", "t"):
            _FINITE(f"{key} of an episode", Instance((dict,))("an episode", episode)[key])
        Whole(0)("l of an episode", episode["l"])


def check_mersenne(state: Any) -> None:
    """Check the state of NumPy's global generator, which NumPy takes without a look.

    Raises:
        ValueError: If it would read beyond its own memory.
    """
    inner = Instance((dict,))("state", Instance((dict,))("numpy", state)["state"])
    Whole(0, 624)("pos", inner["pos"])
    Array((624,), np.uint32)("key", inner["key"])
    Whole(0, 1)("has_gauss", state["has_gauss"])
    _FINITE("gauss", state["gauss"])
