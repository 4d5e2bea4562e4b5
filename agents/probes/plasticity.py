"""How much of a Q-network is alive: signs that it is losing the ability to learn.

All functions leave the network as it was, and evaluate it in evaluation mode. Hidden units are
those of :mod:`continual_arcade.agents.hidden_units`.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.dqn.policies import QNetwork
from torch import nn

from continual_arcade.agents.crelu import CReLU
from continual_arcade.agents.hidden_units import hidden_units


def dormant_share(network: QNetwork, observations: npt.ArrayLike, threshold: float = 0.01) -> float:
    """Compute the share of the hidden units that are dormant.

    A unit is dormant if its mean absolute value is at most ``threshold`` times the mean over the
    units of its layer; in a layer that is silent altogether all of them are. Both halves of a CReLU
    are one unit.

    Source: Sokar et al. (2023), The dormant neuron phenomenon in deep reinforcement learning; the
    threshold is that of MEAL.

    Args:
        network: As in :func:`hidden_units`.
        observations: Shape ``(count, *obs)``.
        threshold: Share of the layer's mean, at least 0.

    Returns:
        From 0 to 1; NaN if the network has no hidden unit, or a unit is not finite.

    Raises:
        ValueError: As in :func:`hidden_units`; if the threshold is negative or not finite.
    """
    if not 0 <= threshold < math.inf:
        raise ValueError(f"threshold = {threshold} must be at least 0 and finite")
    dormant = units = 0
    layers = hidden_units(network, observations)
    # Convolutions, which have none, come first.
    in_halves = len(layers) - sum(isinstance(module, CReLU) for module in network.modules())
    for i, layer in enumerate(layers):
        sizes = layer.double().abs().mean(0)
        if i >= in_halves:
            above, below = sizes.chunk(2)
            sizes = above + below
        if not bool(sizes.isfinite().all()):
            return math.nan
        dormant += int((sizes <= threshold * sizes.mean()).sum())
        units += len(sizes)
    return dormant / units if units else math.nan


def effective_rank(features: npt.ArrayLike | torch.Tensor) -> float:
    """Compute the effective rank of a matrix of features, such as the last hidden layer's.

    That is exp(H) of the entropy H = -sum_k p_k log p_k of the singular values, p_k = s_k / sum s:
    n for n equal ones, 1 if one outweighs all others. Features are not centred.

    Source: Roy and Vetterli (2007), The effective rank: a measure of effective dimensionality.

    Args:
        features: Shape ``(count, units)``.

    Returns:
        From 1 to the lesser of both numbers; NaN if all features are zero, or one is not finite.

    Raises:
        ValueError: If it is no matrix, or an empty one.
    """
    if isinstance(features, torch.Tensor):
        features = features.detach().cpu().numpy()
    matrix = np.asarray(features, np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"features have shape {matrix.shape}: it must be (count, units)")
    if not np.isfinite(matrix).all():
        return math.nan
    sizes = np.linalg.svd(matrix, compute_uv=False)
    if sizes[0] == 0:
        return math.nan
    shares = sizes / sizes.sum()
    shares = shares[shares > 0]  # 0 log 0 = 0
    return float(np.exp(-np.sum(shares * np.log(shares))))


def weight_norm(network: nn.Module) -> float:
    """Compute the Euclidean norm of all trainable parameters of a network, biases included."""
    squares = (p.detach().double().square().sum() for p in network.parameters() if p.requires_grad)
    return math.sqrt(sum(float(square) for square in squares))
