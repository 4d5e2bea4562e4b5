"""The gradient of each state on its own, in plain multi-layer perceptrons.

For the weights of a linear layer it is the outer product of two vectors: the gradient for what
leaves the layer, and what entered it. Squares and absolute values of it are outer products too; so
their sum over many states is a product of two matrices, and no gradient needs to be written out.

Source: Goodfellow (2015), Efficient per-example gradient computations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.dqn.policies import QNetwork
from torch import nn

_SLOPES: dict[type[nn.Module], Callable[[torch.Tensor], torch.Tensor]] = {
    nn.ReLU: lambda output: output > 0,
    nn.Tanh: lambda output: 1 - output.square(),
}
"""The activations, each with its derivative in terms of its output."""

_CHANGES = (
    "forward",
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
"""Where a module keeps what makes it do something else than others of its type."""


@dataclass(frozen=True)
class Perceptron:
    """Linear layers and activations, one after the other."""

    network: nn.Module
    """The network that these layers are all of."""
    layers: Sequence[nn.Module]
    """Linear layers, ReLU and Tanh, in any order."""

    def factors(
        self, states: torch.Tensor, mixes: torch.Tensor, off_slope: float = 0.0
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Compute the factors of the gradients of weighted sums of the values.

        Args:
            states: Observations, shape ``(count, ...)``.
            mixes: What each value weighs in each sum, shape ``(count, mixes, actions)``.
            off_slope: What the derivative of a ReLU counts as where it is off.

        Returns:
            For each linear layer the derivatives of the sums by its outputs, shape
            ``(count, mixes, outputs)``, and its inputs, shape ``(count, inputs)``. The former are
            also the gradients of its bias.
        """
        signal = states
        if isinstance(self.network, QNetwork):
            signal = self.network.extract_features(states, self.network.features_extractor)
        passed = []
        for layer in self.layers:
            before, signal = signal, layer(signal)
            passed.append((layer, before, signal))

        factors = []
        slopes = mixes
        for layer, before, after in reversed(passed):
            if isinstance(layer, nn.Linear):
                factors.append((slopes, before))
                slopes = slopes @ layer.weight
            else:
                slope = _SLOPES[type(layer)](after)
                if off_slope and type(layer) is nn.ReLU:
                    slope = torch.where(slope, 1.0, off_slope)
                slopes = slopes * slope.unsqueeze(1)
        return factors[::-1]


def as_perceptron(network: nn.Module) -> Perceptron | None:
    """Recognise a plain multi-layer perceptron.

    That is a single linear layer, an ``nn.Sequential`` of such and activations, or a ``QNetwork``
    that only flattens what it hands to one; on the CPU, in single or double precision. Everything
    must be exactly of these types: a subclass may compute what it likes.

    Args:
        network: Any network.

    Returns:
        The perceptron, or None if the network is anything else.
    """
    body = network
    if type(network) is QNetwork:
        if type(network.features_extractor) is not FlattenExtractor:
            return None
        body = network.q_net
    layers = list(body) if type(body) is nn.Sequential else [body]
    if not all(type(layer) is nn.Linear or type(layer) in _SLOPES for layer in layers):
        return None
    if any(vars(module).get(change) for module in network.modules() for change in _CHANGES):
        return None

    # Equal lists: each layer has a bias, none comes twice, and there is nothing beside them.
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    expected = [id(tensor) for layer in linear for tensor in (layer.weight, layer.bias)]
    parameters = list(network.parameters())
    if [id(parameter) for parameter in parameters] != expected:
        return None
    for parameter in parameters:
        if parameter.device.type != "cpu" or parameter.dtype not in (torch.float32, torch.float64):
            return None
    return Perceptron(network, layers)
