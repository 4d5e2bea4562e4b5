"""What the compiled engine can serve.

Everything that is not known to be honoured is in the way: a method that was changed counts as one
that matters, unless it is listed among those that Python calls whichever engine computes.
"""

import math
from collections.abc import Iterator, Mapping
from functools import cache, partialmethod
from itertools import chain, pairwise
from types import FunctionType, NoneType
from typing import Any, get_origin

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn
from torch.nn.modules import module as torch_module
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from continual_arcade.agents.engines.binding import compile_rules
from continual_arcade.agents.exploration import Exploration
from continual_arcade.agents.kernels.activations import RELU, TANH
from continual_arcade.agents.kernels.convolution import Convolutions, Size, convolutions
from continual_arcade.agents.kernels.functions import RuleError
from continual_arcade.agents.kernels.program import HOOKS
from continual_arcade.agents.methods.base import Part
from continual_arcade.agents.methods.plans import Planner
from continual_arcade.agents.methods.rules import KeptGradient, Slope, declared
from continual_arcade.agents.methods.streaming import Streaming
from continual_arcade.agents.networks import (
    ContinualPolicy,
    SmallConvolutions,
)
from continual_arcade.agents.progressive_network import ProgressiveQNetwork
from continual_arcade.agents.replay import (
    BalancedReplayBuffer,
    FIFOReplayBuffer,
    MixReplayBuffer,
    NoReplayBuffer,
    ReservoirReplayBuffer,
)
from continual_arcade.agents.told_networks import (
    AttentionQNetwork,
    FinishesPhases,
    MultiHeadQNetwork,
    SubnetworksQNetwork,
)

REPLAYS = (
    FIFOReplayBuffer,
    ReservoirReplayBuffer,
    MixReplayBuffer,
    BalancedReplayBuffer,
    NoReplayBuffer,
)
ACTIVATIONS: Mapping[type[nn.Module], int] = {nn.ReLU: RELU, nn.Tanh: TANH}
"""The activations that there are compiled, one of which stands between all layers."""
_NETWORKS = (AttentionQNetwork, MultiHeadQNetwork, SubnetworksQNetwork, QNetwork)
"""Networks that there are compiled, derived ones first."""
OPTIONS = (
    "weight_decay",
    "momentum",
    "nesterov",
    "amsgrad",
    "maximize",
    "decoupled_weight_decay",
)
"""Options of an optimiser that change what it computes, all of which must be off."""

# What may be changed, in a subclass or in one object, because Python calls it with either engine.
_OF_AGENT = frozenset(
    {
        "_convert_train_freq",
        "_create_aliases",
        "_dump_logs",
        "_excluded_save_params",
        "_get_policy_from_name",
        "_get_torch_save_params",
        "_init_callback",
        "_setup_learn",
        "_setup_lr_schedule",
        "_setup_model",
        "_tell_phases",
        "_wrap_env",
        "collect_rollouts",
        "dump_logs",
        "ends_with",
        "get_env",
        "get_parameters",
        "get_vec_normalize_env",
        "learn",
        "load",
        "load_replay_buffer",
        "log_training",
        "logger",
        "optimizer",
        "reinitialise",
        "runs_compiled",
        "save",
        "save_replay_buffer",
        "save_training",
        "set_env",
        "set_logger",
        "set_parameters",
        "set_random_seed",
    }
)
_EACH_ROLLOUT = frozenset({"collect_rollouts", "learn", "log_training", "_tell_phases"})
"""Those of them that are called once a rollout."""
_OF_POLICY = frozenset(
    {
        "_build",
        "_dummy_schedule",
        "_get_constructor_parameters",
        "_update_features_extractor",
        "init_weights",
        "load",
        "load_from_vector",
        "make_features_extractor",
        "make_q_net",
        "parameters_to_vector",
        "save",
        "set_training_mode",
    }
)
_COUNTED = (
    "_episode_num",
    "_n_calls",
    "_n_updates",
    "_syncs_due",
    "exploration_rate",
    "num_timesteps",
)
"""Attributes of the agent that compiled code counts on, which a subclass may not compute."""
_WRAPPERS = (
    "contextlib",
    "torch._compile",
    "torch._dynamo.eval_frame",  # which it puts around methods of optimisers once it is imported
    "torch.optim.optimizer",
    "torch.utils._contextlib",
    "typing_extensions",
    "warnings",
)
"""Where the decorators are written that stand around methods as their classes define them."""
_STEP_HOOKS = (*HOOKS, "batches", "plans_batches", "defers_target", "first_values")
"""What a part does, or says, within a gradient step; Python is not called there."""
_BOUND = (Part, Planner, Streaming)
"""Whose hooks of a gradient step do no more than what is declared, which is what is bound."""


def why_not_compiled(agent: Any) -> str | None:
    """Return why the compiled engine does not support an agent, or None."""
    checks = (_agent, _spaces, _network, _optimizer, _replay, _parts)
    return next(filter(None, (check(agent) for check in checks)), None)


def is_told_of_rollouts(agent: Any) -> bool:
    """Return whether somebody overrides what is called once a rollout, and is to be called so."""
    known = known_kind(agent)
    others = frozenset(name for name, _ in _methods(known)) - _EACH_ROLLOUT
    return changed(agent, known, others) is not None


def known_kind(agent: Any) -> type:
    """Return the class that compiled code was written for, of which the agent's may be derived."""
    module = "continual_arcade.agents.continual_dqn"  # which imports this one
    return next(kind for kind in type(agent).__mro__ if kind.__module__ == module)


def _agent(agent: Any) -> str | None:
    name = changed(agent, known_kind(agent), _OF_AGENT)
    if name is not None:
        return f"{name}() of the agent was changed; supported: ContinualDQN as it is"
    computed = next((name for name in _COUNTED if hasattr(type(agent), name)), None)
    if computed is not None:
        return f"{computed} of the agent is computed by its class; supported: ContinualDQN as it is"
    explores = agent.exploration
    if type(explores) not in (Exploration, NoneType):
        return f"exploration is a {type(explores).__name__}; supported: Exploration as it is"
    name = explores and changed(explores, Exploration, frozenset())
    if name is not None:
        return f"{name}() of exploration was changed; supported: Exploration as it is"
    if agent.device.type != "cpu":
        return f"the device is {agent.device}; supported: device='cpu'"
    if torch.is_autocast_enabled("cpu"):
        return "torch.autocast is on; supported: float32 throughout"
    return None


def _spaces(agent: Any) -> str | None:
    space = agent.observation_space
    is_row = isinstance(space, spaces.Box) and len(space.shape) == 1
    if not is_row and not is_image_space(space):
        return (
            f"the observation space is {space}; supported: Box spaces of one dimension, and "
            "pictures of uint8, from 0 to 255"
        )
    if agent.action_space.start != 0:
        return f"the first action is {agent.action_space.start}; supported: those that begin with 0"
    if agent._vec_normalize_env is not None:
        return "VecNormalize changes what is drawn from replay; supported: plain observations"
    return None


def _network(agent: Any) -> str | None:
    policy = agent.policy
    if not isinstance(policy, DQNPolicy):
        return f"the policy is {type(policy).__name__}; supported: 'MlpPolicy' and 'CnnPolicy'"
    known = ContinualPolicy if isinstance(policy, ContinualPolicy) else DQNPolicy
    name = changed(policy, known, _OF_POLICY)
    if name is not None:
        return f"{name}() of the policy was changed; supported: policies as they are"
    for name in ("q_net", "q_net_target"):
        if getattr(agent, name) is not getattr(policy, name):
            return f"{name} of the agent and of its policy are two networks; supported: one"
        why = _layers(getattr(policy, name))
        if why is not None:
            return why if name == "q_net" else f"of the target network, {why}"
    shapes = [[p.shape for p in net.parameters()] for net in (policy.q_net, policy.q_net_target)]
    if shapes[0] != shapes[1]:
        return "the target network has another shape than the network"
    if heads_of(policy.q_net) != heads_of(policy.q_net_target):
        return "the target network has another number of heads than the network"
    if gated_of(policy.q_net) != gated_of(policy.q_net_target):
        return "one of network and target network has gates, and not the other"
    if activation_of(policy.q_net) != activation_of(policy.q_net_target):
        return "the target network has another activation than the network"
    if _looks(policy.q_net) != _looks(policy.q_net_target):
        return "the target network looks at pictures in another way than the network"
    if any(not parameter.requires_grad for parameter in policy.q_net.parameters()):
        return "a parameter is frozen (requires_grad is off); supported: networks learnt as a whole"
    tensors = [*policy.q_net.parameters(), *policy.q_net_target.parameters()]
    if len({tensor.data_ptr() for tensor in tensors}) < len(tensors):
        return "two layers share one tensor; supported: layers each with a tensor of its own"
    if torch_module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return "PyTorch has hooks on all modules; supported: networks without"
    if any(table for module in policy.modules() for table in hooks(module)):
        return "the network has hooks; supported: networks without"
    return None


def activation_of(network: QNetwork) -> int:
    """Return which activation a supported network has; ReLU if there is no place for one."""
    layers: Any = network.q_net
    return ACTIVATIONS[type(layers[1])] if len(layers) > 1 else RELU


def heads_of(network: QNetwork) -> int:
    """Return how many output layers a supported network has."""
    return network.heads if isinstance(network, MultiHeadQNetwork) else 1


def gated_of(network: QNetwork) -> int:
    """Return how many hidden units of a supported network have gates: all, or none."""
    return sum(network.sizes) if isinstance(network, AttentionQNetwork) else 0


def pictures_of(network: QNetwork) -> Convolutions | None:
    """Return the convolutions of a supported network, None if it has none."""
    looks = _looks(network)
    return None if looks is None else convolutions(network.observation_space.shape, *looks)  # type: ignore[arg-type]


def _looks(network: QNetwork) -> tuple[list[Size], float] | None:
    """Return how a network looks at pictures: its convolutions, and what pixels are divided by."""
    extractor = network.features_extractor
    if not isinstance(extractor, SmallConvolutions):
        return None
    sizes = []
    for layer in _convolutions(extractor):
        filters, _, *kernel = layer.weight.shape
        sizes.append(Size(filters, (kernel[0], kernel[1]), tuple(layer.stride)))
    return sizes, 255.0 if network.normalize_images else 1.0


def _convolutions(extractor: Any) -> list[Any]:
    """Return the convolutions of what sees observations; none if it leaves them as they are."""
    return list(extractor.layers)[:-1:2] if isinstance(extractor, SmallConvolutions) else []


def _extractor(network: Any) -> str | None:
    """Return what is in the way of what sees the observations."""
    extractor: Any = network.features_extractor
    space = network.observation_space
    serves = "supported: features as they are, and SmallConvolutions over pictures"
    is_picture = is_image_space(space)
    if type(extractor) is not (SmallConvolutions if is_picture else FlattenExtractor):
        what = "pictures" if is_picture else "features"
        return f"the network has a {type(extractor).__name__} over {what}; {serves}"
    name = changed(extractor, type(extractor), frozenset())
    if name is not None:
        what = "convolutions" if is_picture else "features"
        return f"{name}() of the {what} was changed; {serves}"
    if not is_picture:
        flatten: Any = extractor.flatten
        is_whole = type(flatten) is nn.Flatten and (flatten.start_dim, flatten.end_dim) == (1, -1)
        return None if is_whole else f"features are not flattened as they are; {serves}"
    layers: Any = extractor.layers
    kinds = [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.Flatten]
    if type(layers) is not nn.Sequential or [type(layer) for layer in layers] != kinds:
        return f"the layers of the convolutions were changed; {serves}"
    flatten = layers[-1]
    if (flatten.start_dim, flatten.end_dim) != (1, -1):
        return f"the convolutions are not flattened as a whole; {serves}"
    shape = tuple(space.shape)
    for layer in _convolutions(extractor):
        plain = {"padding": (0, 0), "dilation": (1, 1), "groups": 1, "transposed": False}
        for option, usual in plain.items():
            if getattr(layer, option) != usual:
                return f"a convolution has {option} = {getattr(layer, option)}; supported: {usual}"
        if layer.bias is None:
            return f"a convolution has no biases; {serves}"
        filters, channels, *kernel = layer.weight.shape
        places = [
            (side - k) // step + 1
            for side, k, step in zip(shape[1:], kernel, layer.stride, strict=True)
        ]
        if channels != shape[0] or layer.bias.shape != (filters,) or min(places) < 1:
            return f"a convolution of {tuple(layer.weight.shape)} does not fit what it sees"
        shape = filters, *places
    if math.prod(shape) != network.features_dim:
        return f"the convolutions give {math.prod(shape)} numbers, not {network.features_dim}"
    return None


def _layers(network: Any) -> str | None:
    """Return what is in the way of one of the two networks."""
    serves = "supported: linear layers with ReLU, or with Tanh, between them"
    if not isinstance(network, QNetwork):
        return f"the network is a {type(network).__name__}; {serves}"
    if isinstance(network, ProgressiveQNetwork):
        return f"the network is a {type(network).__name__}, of several columns; {serves}"
    kind = next(kind for kind in _NETWORKS if isinstance(network, kind))
    name = changed(network, kind, _OF_POLICY)
    if name is not None:
        return f"{name}() of the network was changed; {serves}"
    why = _extractor(network)
    if why is not None:
        return why
    if type(network.q_net) is not nn.Sequential:
        return f"the network's layers are a {type(network.q_net).__name__}; {serves}"
    layers = list(network.q_net)
    for i, layer in enumerate(layers):
        known = type(layer) in ACTIVATIONS if i % 2 else type(layer) is nn.Linear
        if not known:
            return f"the network has a {type(layer).__name__} as layer {i}; {serves}"
    if len({type(layer) for layer in layers[1::2]}) > 1:
        names = " and ".join(dict.fromkeys(type(layer).__name__ for layer in layers[1::2]))
        return f"the network mixes {names}; {serves}"
    if any(layer.bias is None for layer in layers[::2]) or len(layers) % 2 == 0:
        return f"the network has a layer without biases, or ends with an activation; {serves}"
    seeing = _convolutions(network.features_extractor)
    own = [tensor for layer in [*seeing, *layers[::2]] for tensor in (layer.weight, layer.bias)]
    if isinstance(network, AttentionQNetwork):
        own.append(network.attention.embedding)
    found = list(network.parameters())
    if len(own) != len(found) or any(a is not b for a, b in zip(own, found, strict=True)):
        return f"the network has other parameters than those of its layers; {serves}"
    widths = [network.features_dim, *[layer.out_features for layer in layers[::2]]]
    for layer, (inputs, outputs) in zip(layers[::2], pairwise(widths), strict=True):
        if layer.weight.shape != (outputs, inputs) or layer.bias.shape != (outputs,):
            return f"a layer of {layer.weight.shape} does not fit its neighbours"
    outputs = heads_of(network) * int(network.action_space.n)
    if widths[-1] != outputs:
        return f"the network has {widths[-1]} outputs where there should be {outputs}"
    for module in network.modules():
        name = changed(module, type(module), _OF_POLICY)
        if name is not None and type(module).forward is not nn.Module.forward:
            return f"{name}() of a layer was changed; {serves}"
    for tensor in found:
        if tensor.dtype != torch.float32:
            return f"the network is of {tensor.dtype}; supported: float32"
        if tensor.device.type != "cpu":
            return f"a parameter is on {tensor.device}; supported: the CPU"
        if tensor.is_shared():  # type: ignore[no-untyped-call]
            return (
                "the network lies in memory shared with other processes (share_memory); supported: "
                "memory of its own"
            )
        if tensor._backward_hooks or tensor._post_accumulate_grad_hooks:
            return "a parameter has a hook on its gradient; supported: parameters without"
    return None


def _optimizer(agent: Any) -> str | None:
    optimizer = agent.policy.optimizer
    if type(optimizer) not in (torch.optim.Adam, torch.optim.SGD):
        return f"the optimizer is {type(optimizer).__name__}; supported: Adam and SGD"
    if len(optimizer.param_groups) != 1:
        return f"the optimizer has {len(optimizer.param_groups)} groups of parameters, not one"
    group = optimizer.param_groups[0]
    for name in OPTIONS:
        if group.get(name):
            return f"the optimizer has {name}; supported: Adam and SGD without"
    method = changed(optimizer, type(optimizer), frozenset())
    if method is not None:
        return f"{method}() of the optimizer was changed; supported: Adam and SGD as they are"
    of_all = (_global_optimizer_pre_hooks, _global_optimizer_post_hooks)
    if any(of_all) or any(hooks(optimizer)):
        return "the optimizer has hooks; supported: those without"
    moved, learnt = group["params"], list(agent.policy.q_net.parameters())
    if len(moved) != len(learnt) or any(a is not b for a, b in zip(moved, learnt, strict=True)):
        return "the optimizer moves other tensors than the network has; supported: all of them"
    ages = {float(optimizer.state.get(tensor, {}).get("step", 0)) for tensor in learnt}
    if len(ages) > 1:
        return "the optimizer has moments of several ages; supported: those that began together"
    return None


def _replay(agent: Any) -> str | None:
    replay = agent.replay_buffer
    if type(replay) not in REPLAYS:
        names = ", ".join(kind.__name__ for kind in REPLAYS)
        return f"replay is a {type(replay).__name__}; supported: {names}"
    name = changed(replay, type(replay), frozenset())
    if name is not None:
        return f"{name}() of replay was changed; supported: replay as it is"
    if not replay.handle_timeout_termination:
        return "handle_timeout_termination is off; supported: memories that tell a cut from an end"
    return None


def _parts(agent: Any) -> str | None:
    found = next(filter(None, map(_part, agent.parts)), None)
    if found is not None or not isinstance(agent.q_net, FinishesPhases):
        return found
    for part in agent.parts:
        steps = [*chain.from_iterable(declared(type(part)).steps.values())]
        if any(isinstance(s, KeptGradient) or (isinstance(s, Slope) and s.states) for s in steps):
            return (
                f"part {part.name!r} learns from what it keeps, which may be of finished phases, "
                "and compiled code knows the network of the phase that is learnt"
            )
        gated = isinstance(agent.q_net, AttentionQNetwork)
        if gated and any(isinstance(s, Slope) and s.parameters for s in steps):
            return (
                f"part {part.name!r} compares with other parameters, of which compiled code "
                "computes no gates; supported: networks without them"
            )
    return None


def _part(part: Part) -> str | None:
    """Return what is in the way of a part: every hook of a gradient step must be declared."""
    for name in (*_STEP_HOOKS, "stored", "completed"):
        if name in vars(part):
            return f"{name}() of part {part.name!r} was changed; supported: parts as they are"
    for name in _STEP_HOOKS:
        provider = _provider(type(part), name)
        if provider not in _BOUND or not _is_from(vars(provider)[name], provider):
            return (
                f"part {part.name!r} overrides {name}(), which only Python can run: say it by rules"
            )
    if isinstance(part, Planner) and type(part).completed is not Planner.completed:
        return f"part {part.name!r} overrides completed() of a planner, which only Python can run"
    losses = [
        step for step in declared(type(part)).steps.get("loss", ()) if isinstance(step, Slope)
    ]
    known = ("", "q_values") if part.values_after else ("",)
    strange = [step.column for step in losses if step.column not in known]
    if strange:
        return f"part {part.name!r} compares with the column {strange[0]!r}; supported: 'q_values'"
    try:
        compile_rules(part)
    except RuleError as error:
        return str(error)
    return None


def changed(thing: Any, known: type, harmless: frozenset[str]) -> str | None:
    """Return the name of a method of a thing that is not as its class defines it.

    Args:
        thing: An object.
        known: The class that compiled code was written for; the thing is of it, or of a subclass.
        harmless: Names of methods that may be others.
    """
    own, kind = vars(thing), type(thing)
    for name, provider in _methods(known):
        if name in harmless:
            continue
        is_replaced = name in own or not _is_from(vars(provider)[name], provider)
        if is_replaced or _provider(kind, name) is not provider:
            return name
    return None


@cache
def _methods(kind: type) -> tuple[tuple[str, type], ...]:
    """Return the methods of a class, and which class provides each."""
    names = [name for name in dir(kind) if _is_method(name, _static(kind, name))]
    return tuple((name, _provider(kind, name)) for name in names)


def _is_method(name: str, value: Any) -> bool:
    described = (property, classmethod, staticmethod, partialmethod)
    works = callable(value) or isinstance(value, described)
    is_magic = name.startswith("__") and name != "__call__"
    return works and not is_magic and not isinstance(value, type) and get_origin(value) is None


def _provider(kind: type, name: str) -> type:
    return next(base for base in kind.__mro__ if name in vars(base))


def _static(kind: type, name: str) -> Any:
    return vars(_provider(kind, name))[name]


@cache
def _is_from(value: Any, provider: type) -> bool:
    """Return whether a method was written in the class that has it, or was put there later."""
    function: Any = getattr(value, "fget", None) or getattr(value, "__func__", value)
    while type(function) is FunctionType and hasattr(function, "__wrapped__"):
        if function.__globals__["__name__"] not in _WRAPPERS:
            return False
        function = vars(function)["__wrapped__"]
    # Its code alone is its own: functools.wraps copies all names.
    return (
        type(function) is FunctionType
        and function.__globals__["__name__"] == provider.__module__
        and function.__code__.co_qualname.startswith(f"{provider.__qualname__}.")
    )


def hooks(thing: Any) -> Iterator[Mapping[Any, Any]]:
    """Yield the tables of hooks of a module or optimiser that are called when it works."""
    for name, table in vars(thing).items():
        if isinstance(table, Mapping) and name.endswith("_hooks") and "state_dict" not in name:
            yield table
