"""Networks and their optimisers as plain data, for files."""

from typing import Any

import torch

from continual_arcade.agents.files.checks import (
    check_moments,
    check_network,
    check_options,
    moments_after_a_step,
)
from continual_arcade.agents.files.plain import from_plain, to_plain
from continual_arcade.agents.files.reading import check_keys

COMPILED = "_orig_mod"
"""What ``torch.compile`` puts into the names of what it has wrapped."""


def plain_name(name: str) -> str:
    """Return the name that a tensor or module had before anything was compiled."""
    return ".".join(piece for piece in name.split(".") if piece != COMPILED)


def network_of(policy: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers of a network by name."""
    return {plain_name(name): tensor for name, tensor in policy.state_dict().items()}


def parameters(policy: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the parameters of a network by name, each once."""
    return {plain_name(name): each for name, each in policy.named_parameters()}


def put_network(network: dict[str, torch.Tensor], policy: Any) -> None:
    """Give a policy the parameters of a file.

    Raises:
        ValueError: If they are those of another network, or not finite.
    """
    check_network(network, policy)
    policy.load_state_dict(network)


def optimizer_of(policy: Any) -> dict[str, Any]:
    """Return what an optimiser is, and what it keeps of each parameter."""
    optimizer: torch.optim.Optimizer = policy.optimizer
    names = {id(parameter): name for name, parameter in parameters(policy).items()}
    groups = []
    for group in optimizer.param_groups:
        options = {name: to_plain(value) for name, value in group.items() if name != "params"}
        # Of a parameter that is none of the network any more no moments are kept.
        moved = [names[id(each)] for each in group["params"] if id(each) in names]
        groups.append({"parameters": moved, "options": options})
    state = {
        names[id(parameter)]: {
            key: value if isinstance(value, torch.Tensor) else to_plain(value)
            for key, value in kept.items()
        }
        for parameter, kept in optimizer.state.items()
        if id(parameter) in names
    }
    return {"class": to_plain(type(optimizer)), "groups": groups, "state": state}


def restore_optimizer(policy: Any, saved: dict[str, Any], *, remade: bool) -> None:
    """Let the optimiser be what it was, also one that was exchanged or set in another way.

    Args:
        policy: The policy, with the optimiser that the arguments make.
        saved: What the file has.
        remade: Whether load() was handed other arguments of the policy: then these say what the
            optimiser is, and only if it is of the same kind the moments are taken over.

    Raises:
        ValueError: If what the file has makes no sense.
    """
    check_keys(saved, ("class", "groups", "state"), "its optimizer")
    named, optimizer = parameters(policy), policy.optimizer
    names = {id(parameter): name for name, parameter in named.items()}
    groups = [[names[id(each)] for each in group["params"]] for group in optimizer.param_groups]
    is_same = to_plain(type(optimizer)) == saved["class"]
    is_same &= groups == [group["parameters"] for group in saved["groups"]]
    if remade and not is_same:
        return
    options = [
        {name: from_plain(value, "policy_kwargs") for name, value in group["options"].items()}
        for group in saved["groups"]
    ]
    if not is_same:
        groups = [group["parameters"] for group in saved["groups"]]
        kind = from_plain(saved["class"], "policy_kwargs")
        optimizer = policy.optimizer = kind(
            [
                {**kept, "params": [named[name] for name in group]}
                for group, kept in zip(groups, options, strict=True)
            ]
        )
    now = optimizer.state_dict()["param_groups"]
    for group, kept in zip(now, options, strict=True):
        check_options(kept, group)
        group.update({"lr": kept["lr"]} if remade else kept)
    optimizer.load_state_dict({"state": {}, "param_groups": now})
    order = [name for group in groups for name in group]
    layout = moments_after_a_step(optimizer)
    check_moments(
        saved["state"],
        order,
        None if layout is None else dict(zip(order, layout, strict=True)),
    )
    moments = {
        number: {
            key: value if isinstance(value, torch.Tensor) else from_plain(value, "policy_kwargs")
            for key, value in saved["state"][name].items()
        }
        for number, name in enumerate(order)
        if name in saved["state"]
    }
    optimizer.load_state_dict({"state": moments, "param_groups": now})
