"""Whether an agent is still what the compiled engine was made for.

Compiled code works on the memory of an agent, and does what the agent was when the engine looked.
Users freeze layers, exchange networks and optimisers, register hooks, replace generators, move
tensors into shared memory: each time before compiled code is entered, all of that is compared. It
is compared object by object, because that takes microseconds; what an agent may be is looked at by
:mod:`~continual_arcade.agents.engines.eligibility`, when something has changed.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, call
from typing import Any

import torch
from torch import nn

from continual_arcade.agents.engines.eligibility import OPTIONS, hooks
from continual_arcade.agents.engines.same import Same

_OF_AGENT = (
    "parts",
    "policy",
    "q_net",
    "q_net_target",
    "replay_buffer",
    "weight_average",
    "exploration",
    "_exploration_rng",
)
_OF_OPTIMIZER = ("state", "param_groups")
_OF_REPLAY = (
    "observations",
    "next_observations",
    "frames",
    "actions",
    "rewards",
    "dones",
    "discounts",
    "phases",
    "columns",
    "rng",
    "placement_rng",
    "accumulator",
)
_OF_ACCUMULATOR = (
    "_observations",
    "_actions",
    "_returns",
    "_phases",
    "_counts",
    "_weights",
    "_discounts",
)
_OF_PARAMETER = attrgetter("requires_grad", "_backward_hooks", "_post_accumulate_grad_hooks")
_LAYERS: Mapping[type[nn.Module], Sequence[str]] = {
    nn.Conv2d: ("stride", "padding", "dilation", "groups", "transposed"),
    nn.Flatten: ("start_dim", "end_dim"),
}
"""Settings of layers that decide what these compute."""
_NUMBERS_OF_AGENT = attrgetter("n_envs", "learning_starts", "_steps_before", "gamma")
_NUMBERS_OF_REPLAY = attrgetter("buffer_size", "handle_timeout_termination")


class Snapshot:
    """What an agent was at one moment, as far as compiled code does not read it at each call.

    It keeps alive what compiled code knows by its address alone: the random generators.

    Args:
        agent: The agent; its parameters and moments lie where compiled code works on them.
    """

    def __init__(self, agent: Any) -> None:
        policy, replay = agent.policy, agent.replay_buffer
        optimizer = policy.optimizer
        group = optimizer.param_groups[0]
        networks = [*policy.q_net.modules(), *policy.q_net_target.modules()]
        same = Same()
        same.attributes(agent, _OF_AGENT)
        same.attributes(policy, ("optimizer",))
        same.attributes(optimizer, _OF_OPTIMIZER)
        same.attributes(replay, _OF_REPLAY)
        same.attributes(replay.accumulator, _OF_ACCUMULATOR)
        for part in agent.parts:
            same.attributes(part, ("rng",))
        for items in (agent.parts, optimizer.param_groups, group["params"]):
            same.items(items)
        same.entries(group, ("params",))
        for network in (policy.q_net, policy.q_net_target):
            same.attributes(network, ("normalize_images",))
        for module in networks:
            for kind, names in _LAYERS.items():
                if isinstance(module, kind):
                    same.attributes(module, names)
        # A table of hooks, layers or parameters may be exchanged as a whole.
        for thing in (policy, optimizer, *networks):
            tables = [name for name, value in vars(thing).items() if isinstance(value, dict)]
            same.attributes(thing, tables)
        # A method that was replaced in one object alone is one attribute more of it.
        for owner in (agent, replay, optimizer, policy, *networks, *agent.parts):
            same.size(vars(owner), len(vars(owner)))
        for thing in (*networks, optimizer):
            for table in hooks(thing):
                same.size(table, 0)
        # Tables of which every value must stay what it is: layers, parameters, moments.
        same.values(policy._modules)
        for module in networks:
            same.values(module._modules)
            same.values(module._parameters)
        for state in optimizer.state.values():
            same.values(state)
        same.values(optimizer.state)
        same.values(replay.columns)
        self._same = same
        self._group = group
        parameters = list(policy.q_net.parameters())
        self._free = [_OF_PARAMETER(parameter) for parameter in parameters]
        self._parameters = parameters
        self._places = [
            tensor.data_ptr
            for tensor in (*parameters, *policy.q_net_target.parameters(), *_averages(agent))
        ]
        self._settings = [_getter(part, part.settings) for part in agent.parts]
        own = ("fifo_size", "long_term_fraction")
        self._settings.append(_getter(replay, [name for name in own if hasattr(replay, name)]))
        self._numbers = self._numbered(agent)

    def holds(self, agent: Any) -> bool:
        """Return whether the agent is still the same."""
        return (
            self._same.holds()  # else it need not have what is looked at next
            and self._numbered(agent) == self._numbers
            and [*map(_OF_PARAMETER, self._parameters)] == self._free
            and not any(map(self._group.get, OPTIONS))
            and not torch.is_autocast_enabled("cpu")
        )

    def _numbered(self, agent: Any) -> list[Any]:
        """Return settings that compiled code is told once, and where the parameters lie.

        They lie elsewhere after ``.to()``, ``.data = ...`` or ``share_memory()``.
        """
        return [
            _NUMBERS_OF_AGENT(agent),
            _NUMBERS_OF_REPLAY(agent.replay_buffer),
            *map(call, self._places),
            *map(call, self._settings),
        ]


def _averages(agent: Any) -> list[Any]:
    return [] if agent.weight_average is None else agent.weight_average.parameters


def _getter(owner: Any, names: Sequence[str] | dict[str, Any]) -> Callable[[], Any]:
    """Return a function that returns these attributes of an object as they are now."""
    if not names:
        return lambda: None
    get = attrgetter(*names)
    return lambda: get(owner)
