"""The tensors that are learnt, their gradients, and what they are in the network."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from continual_arcade.agents.networks import evaluation_mode
from continual_arcade.agents.told_networks import Embeddings

HIDDEN, OUTPUT, SHIFT, SCALE, GATE = range(5)
"""What a tensor is: weights of a hidden layer or of the output layer, what is added to units
(biases, and the shift of layer normalisation), what they are multiplied by (its gain), or what
gates are computed of."""


def parameters(learner: Any) -> list[torch.nn.Parameter]:
    """Return the parameters that are learnt."""
    return list(learner.q_net.parameters())


def copies(tensors: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    """Return copies without a gradient."""
    return [tensor.detach().clone() for tensor in tensors]


def values_by(learner: Any, tensors: Iterable[torch.Tensor], states: Any) -> torch.Tensor:
    """Return what the network says of states by other parameters, and as it says it when it acts.

    Args:
        learner: The learner.
        tensors: The other parameters, in the order of its own.
        states: Observations, as the network takes them.
    """
    names = (name for name, _ in learner.q_net.named_parameters())
    others = dict(zip(names, tensors, strict=True))
    with evaluation_mode(learner.q_net), torch.no_grad():
        values: torch.Tensor = functional_call(learner.q_net, others, (states,))
    return values


def gradients(learner: Any) -> list[torch.Tensor]:
    """Return the gradients of the parameters, which may be changed in place.

    Frozen parameters have none: zeros stand in their place, which move nothing.

    Raises:
        RuntimeError: If a parameter that is learnt has none.
    """
    found = []
    for name, parameter in learner.q_net.named_parameters():
        if parameter.grad is None and parameter.requires_grad:
            raise RuntimeError(f"{name} of the network has no gradient: it takes no part in Q")
        found.append(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    return found


def other_than_sgd(optimizer: torch.optim.Optimizer) -> str:
    """Return what an optimiser is called if it is not plain SGD; else nothing."""
    momentum = " with momentum" if optimizer.defaults.get("momentum") else ""
    is_plain = type(optimizer) is torch.optim.SGD and not momentum
    return "" if is_plain else type(optimizer).__name__ + momentum


def forget_moments(optimizer: torch.optim.Optimizer, tensor: torch.Tensor, where: Any) -> None:
    """Let an optimiser forget what it has kept of some numbers of a tensor.

    Args:
        optimizer: The optimiser.
        tensor: One of those that it moves.
        where: Which of its numbers, as an index.
    """
    for moment in optimizer.state.get(tensor, {}).values():
        if isinstance(moment, torch.Tensor) and moment.shape == tensor.shape:
            moment[where] = 0.0


def check_free(network: nn.Module, who: str) -> None:
    """Check that no parameter is frozen.

    Raises:
        ValueError: If one is.
    """
    for name, tensor in network.named_parameters():
        if not tensor.requires_grad:
            raise ValueError(
                f"part {who!r} moves all parameters, and {name} is frozen: set its requires_grad"
            )


def roles(network: nn.Module) -> list[int]:
    """Return what each parameter of a network is, in their order.

    Raises:
        ValueError: If one is neither of a linear layer, nor of a convolution, a layer
            normalisation or gates.
    """
    found: dict[nn.Parameter, int] = {}
    layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    for module in network.modules():
        weights = OUTPUT if layers and module is layers[-1] else HIDDEN
        for name, tensor in module.named_parameters(recurse=False):
            role = SHIFT if name == "bias" else weights
            if isinstance(module, Embeddings):
                role = GATE
            elif not isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm):
                raise ValueError(
                    f"{name} of a {type(module).__name__} in the network is neither weights nor "
                    "biases of a linear layer, a convolution or a layer normalisation: the part "
                    "does not know what to do with it"
                )
            if isinstance(module, nn.LayerNorm) and name == "weight":
                role = SCALE
            found[tensor] = role
    return [found[tensor] for tensor in network.parameters()]
