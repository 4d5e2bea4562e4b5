"""Two networks side by side in one: each hidden layer in two halves, with nothing between them.

The values of the whole are the sum of both, whose biases it has in one tensor.
"""

from collections.abc import Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from continual_arcade.agents.methods.perceptron import as_perceptron
from continual_arcade.agents.methods.tensors import check_free

Half = list[tuple[torch.Tensor, torch.Tensor]]
"""Weights and biases of one of them, layer by layer."""


def check_halves(network: Any, who: str) -> None:
    """Check that a network can be split.

    Args:
        network: The network.
        who: The part that splits it, for the message.

    Raises:
        ValueError: If it has other layers, or one of an odd number of units.
    """
    plain = as_perceptron(network) is not None and len(linear(network)) > 1
    if not plain or any(layer.out_features % 2 for layer in linear(network)[:-1]):
        raise ValueError(
            f"part {who!r} splits each hidden layer in two halves: it needs a perceptron over "
            "features, on the CPU, with hidden layers of an even number of units, such as hidden = "
            "64x64, with relu or tanh, and without layer_norm, dropout, heads and other options"
        )
    check_free(network, who)


def linear(network: Any) -> list[nn.Linear]:
    """Return the linear layers of a perceptron."""
    return [layer for layer in network.q_net if isinstance(layer, nn.Linear)]


def half_of(network: Any, second: bool) -> Half:
    """Return weights and biases of one half, as views; the last biases are those of both."""
    layers, views = linear(network), []
    for layer in layers:
        rows, columns = (
            slice(size // 2, None) if second else slice(size // 2)
            for size in (layer.out_features, layer.in_features)
        )
        rows = slice(None) if layer is layers[-1] else rows
        columns = slice(None) if layer is layers[0] else columns
        views.append((layer.weight.detach()[rows, columns], layer.bias.detach()[rows]))
    return views


def separate(network: Any) -> None:
    """Let there be nothing between the halves, and let the second one say 0."""
    views = [weight for second in (False, True) for weight, _ in half_of(network, second)]
    kept = [view.clone() for view in views]
    for layer in linear(network):
        layer.weight.detach().zero_()
    for view, weight in zip(views[:-1], kept[:-1], strict=True):
        view.copy_(weight)


def outside(network: Any, second: bool) -> list[torch.Tensor]:
    """Return booleans for all parameters: which do not belong to a half."""
    mask = deepcopy(network)
    for tensor in mask.parameters():
        tensor.detach().fill_(1.0)
    for tensor in chain.from_iterable(half_of(mask, second)):
        tensor.zero_()
    return [tensor.detach() > 0 for tensor in mask.parameters()]


def learn_values(half: Half, network: Any, batches: Iterable[Any], rate: float) -> float:
    """Let a half learn values by Adam, in place; return the mean squared error on the way.

    Args:
        half: Its weights and biases.
        network: Has the activations between them.
        batches: Features and values, shapes ``(batch, features)`` and ``(batch, actions)``.
        rate: Step size.
    """
    tensors = [tensor.requires_grad_() for tensor in chain.from_iterable(half)]
    optimizer, errors = torch.optim.Adam(tensors, rate), []
    for signal, values in batches:
        pairs = iter(half)
        for layer in network.q_net:
            is_linear = isinstance(layer, nn.Linear)
            signal = functional.linear(signal, *next(pairs)) if is_linear else layer(signal)
        loss = functional.mse_loss(signal, values)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        errors.append(loss.item())
    return float(np.mean(errors)) if errors else 0.0
