"""The tensors that are learnt, and their gradients."""

from typing import Any

import torch


def parameters(learner: Any) -> list[torch.nn.Parameter]:
    """Return the parameters that are learnt."""
    return list(learner.q_net.parameters())


def copies(tensors: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    """Return copies without a gradient."""
    return [tensor.detach().clone() for tensor in tensors]


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
