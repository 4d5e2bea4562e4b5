"""What the compiled engine can serve."""

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.dqn.policies import DQNPolicy
from torch import nn

from continual_arcade.agents.parts.catalogue import PARTS
from continual_arcade.agents.parts.mask import HardMask
from continual_arcade.agents.parts.part import Part
from continual_arcade.agents.parts.quadratic import QuadraticPenalty
from continual_arcade.agents.replay import (
    BalancedReplayBuffer,
    FIFOReplayBuffer,
    MixReplayBuffer,
    ReservoirReplayBuffer,
)

REPLAYS = (FIFOReplayBuffer, ReservoirReplayBuffer, MixReplayBuffer, BalancedReplayBuffer)
_BASES = (*PARTS.values(), QuadraticPenalty, HardMask)
_OWN = frozenset(
    {
        "name",
        "needs_boundaries",
        "conflicts",
        "settings",
        "bind",
        "phase_start",
        "phase_end",
        "importance",
        "estimate",
        "add_anchor",
        "freeze",
        "log",
        "state_dict",
        "load_state_dict",
    }
)
"""What a part of one's own may define beyond the part it is derived from: all that is called
between gradient steps."""
_STEPS = (
    "train",
    "sample",
    "td_targets",
    "td_loss",
    "_batches",
    "_update",
    "_synchronise",
    "_on_step",
    "epsilon_at",
    "_sample_action",
    "_store_transition",
    "predict",
)
"""Methods of the agent whose work compiled code does."""


def obstacle(agent: Any) -> str | None:
    """Return why the compiled engine cannot serve an agent, and what it serves; None if it can."""
    checks = (_agent, _spaces, _network, _optimizer, _replay, _parts)
    return next(filter(None, (check(agent) for check in checks)), None)


def _agent(agent: Any) -> str | None:
    for name in _STEPS:
        own = getattr(type(agent), name).__qualname__.startswith("ContinualDQN.")
        if not own or name in vars(agent):
            return f"{name}() of the agent was changed: it serves ContinualDQN as it is"
    if agent.device.type != "cpu":
        return f"the device is {agent.device}: it serves device='cpu'"
    return None


def _spaces(agent: Any) -> str | None:
    space = agent.observation_space
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        return f"the observation space is {space}: it serves Box spaces of one dimension"
    if agent.action_space.start != 0:
        return f"the first action is {agent.action_space.start}: it serves those that begin with 0"
    if agent._vec_normalize_env is not None:
        return "VecNormalize changes what is drawn from replay: it serves plain observations"
    return None


def _network(agent: Any) -> str | None:
    policy = agent.policy
    if not isinstance(policy, DQNPolicy):
        return f"the policy is {type(policy).__name__}: it serves 'MlpPolicy'"
    network = policy.q_net
    serves = "it serves linear layers with ReLU between them"
    if type(network.features_extractor) is not FlattenExtractor:
        return f"the network has a {type(network.features_extractor).__name__}: {serves}"
    layers = list(network.q_net)
    for i, layer in enumerate(layers):
        expected = nn.ReLU if i % 2 else nn.Linear
        if type(layer) is not expected:
            return f"the network has a {type(layer).__name__} as layer {i}: {serves}"
    if any(layer.bias is None for layer in layers[::2]) or len(layers) % 2 == 0:
        return f"the network has a layer without biases, or ends with ReLU: {serves}"
    if any(parameter.dtype != torch.float32 for parameter in network.parameters()):
        return "the network is not of float32"
    if any(parameter._backward_hooks for parameter in network.parameters()):
        return "a parameter has a hook on its gradient: it serves parameters without"
    for module in network.modules():
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
            return "the network has hooks: it serves networks without"
    return None


def _optimizer(agent: Any) -> str | None:
    optimizer = agent.policy.optimizer
    if type(optimizer) not in (torch.optim.Adam, torch.optim.SGD):
        return f"the optimizer is {type(optimizer).__name__}: it serves Adam and SGD"
    if len(optimizer.param_groups) != 1:
        return f"the optimizer has {len(optimizer.param_groups)} groups of parameters, not one"
    plain = (
        "weight_decay",
        "momentum",
        "nesterov",
        "amsgrad",
        "maximize",
        "decoupled_weight_decay",
    )
    for name in plain:
        if optimizer.param_groups[0].get(name):
            return f"the optimizer has {name}: it serves Adam and SGD without"
    return None


def _replay(agent: Any) -> str | None:
    if type(agent.replay_buffer) not in REPLAYS:
        names = ", ".join(kind.__name__ for kind in REPLAYS)
        return f"replay is a {type(agent.replay_buffer).__name__}: it serves {names}"
    if changed := sorted(
        {"sample", "add", "gather", "_draw", "_place"} & vars(agent.replay).keys()
    ):
        return f"{changed[0]}() of replay was changed: it serves replay as it is"
    return None


def _parts(agent: Any) -> str | None:
    masks = [part for part in agent.parts if isinstance(part, HardMask)]
    if len(masks) > 1:
        return f"there are {len(masks)} masks: it serves one, which may freeze all that they do"
    for part in agent.parts:
        why = _part(part)
        if why is not None:
            return why
    if masks:
        after = agent.parts[agent.parts.index(masks[0]) :]
        for part in after:
            if part.name == "agem":
                return f"part {masks[0].name!r} comes before 'agem': it serves masks after it"
    return None


def _part(part: Part) -> str | None:
    lineage = type(part).__mro__
    for name, value in vars(part).items():
        if callable(value) and name not in _OWN and hasattr(type(part), name):
            return f"{name}() of part {part.name!r} was changed: it serves parts as they are"
    base = next((kind for kind in lineage if kind in _BASES), None)
    if base is None:
        return (
            f"part {part.name!r} is none that it knows: it serves {', '.join(PARTS)}, and parts "
            "derived from these, QuadraticPenalty or HardMask"
        )
    for kind in lineage[: lineage.index(base)]:
        for name, value in vars(kind).items():
            works = (callable(value) or isinstance(value, property)) and not name.startswith("__")
            if works and name not in _OWN and hasattr(base, name):
                return f"part {part.name!r} changes {name}() of {base.__name__}"
    return None
