"""Concatenated ReLU: each hidden unit says how far it is above 0, and how far below."""

import torch as th
from torch import nn


class CReLU(nn.Module):
    """Gives max(x, 0) of all units, and behind these max(-x, 0): twice as many numbers.

    So no unit is dead, whatever its weights are, unless it is 0 everywhere.

    Source:
        Shang et al. 2016, "Understanding and improving convolutional neural networks via
        concatenated rectified linear units"; against the loss of plasticity Abbas et al. 2023.
    """

    def forward(self, units: th.Tensor) -> th.Tensor:
        """Return both halves, shape ``(..., 2 * units)``."""
        return th.cat([units.relu(), (-units).relu()], dim=-1)


def double_inputs(layers: nn.Sequential) -> None:
    """Let each linear layer behind a :class:`CReLU` have as many inputs as that gives numbers.

    Args:
        layers: Layers, one after the other; those behind are made anew.
    """
    doubles = False
    for i, layer in enumerate(list(layers)):
        if isinstance(layer, nn.Linear) and doubles:
            wide = nn.Linear(2 * layer.in_features, layer.out_features)
            layers[i] = wide.to(layer.weight.device)
            doubles = False
        doubles |= isinstance(layer, CReLU)
