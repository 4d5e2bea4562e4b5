"""How much of a Q-network is alive: signs that it is losing the ability to learn.

All functions leave the network as it was, and evaluate it in evaluation mode. Hidden units are what
enters each layer with weights but the first: with layer normalisation and activation, without
dropout. A filter of a convolution is one unit, wherever it looks.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from stable_baselines3.dqn.policies import QNetwork
from torch import nn

from continual_arcade.agents.networks import SmallConvolutions, evaluation_mode


def hidden_units(network: QNetwork, observations: npt.ArrayLike) -> list[torch.Tensor]:
    """Compute what the hidden units of a network say about observations.

    Args:
        network: A Q-network of linear layers, convolutions, layer normalisation, and modules
            without parameters.
        observations: Shape ``(count, *obs)``.

    Returns:
        One tensor for each hidden layer, shape ``(count, units)``; of convolutions ``(count *
        places, filters)``.

    Raises:
        ValueError: If the network has other layers, or the observations do not suit it.
    """
    layers = _layers(network)
    states = torch.as_tensor(np.asarray(observations), device=network.device)
    space = network.observation_space
    if states.shape[1:] != space.shape or not len(states):
        raise ValueError(
            f"observations have shape {tuple(states.shape)}: it must be (count, "
            f"{', '.join(map(str, space.shape or ()))}), with at least one"
        )
    hidden: list[torch.Tensor] = []
    weighted = False
    with evaluation_mode(network), torch.no_grad():
        signal = preprocess_obs(states, space, normalize_images=network.normalize_images)
        assert isinstance(signal, torch.Tensor)
        units = signal
        for layer in layers:
            if isinstance(layer, _WEIGHTED):
                if weighted:
                    hidden.append(_by_filter(units))
                weighted = True
            signal = layer(signal)
            if not isinstance(layer, nn.Flatten):  # which makes many units of each filter
                units = signal
    return hidden


_WEIGHTED = nn.Linear, nn.Conv2d


def _by_filter(units: torch.Tensor) -> torch.Tensor:
    """Return units as columns: those of a convolution once for each place it looks at."""
    return units.movedim(1, -1).flatten(0, -2) if units.ndim > 2 else units


def _layers(network: QNetwork) -> list[nn.Module]:
    """Return all layers of a network, from the observation to the values."""
    serves = (
        "plasticity is measured in linear layers, convolutions, layer normalisation and "
        "activations without parameters, one after the other"
    )
    if not isinstance(network, QNetwork):
        raise ValueError(f"the network is a {type(network).__name__}, not a QNetwork: {serves}")
    sees: Any = network.features_extractor
    body = network.q_net
    layers: list[nn.Module] = list(body) if isinstance(body, nn.Sequential) else [body]
    behind = layers[0]
    if isinstance(sees, FlattenExtractor):
        layers = [sees.flatten, *layers]
    elif isinstance(sees, SmallConvolutions):
        layers = [*sees.layers, *layers]
    elif isinstance(sees, NatureCNN):
        layers = [*sees.cnn, *sees.linear, *layers]
    else:
        raise ValueError(
            f"the network has a {type(sees).__name__}, whose units would be left out: {serves}"
        )
    for layer in layers:
        if not (isinstance(layer, (*_WEIGHTED, nn.LayerNorm)) or not list(layer.parameters())):
            raise ValueError(f"the network has a {type(layer).__name__}: {serves}")
    if not isinstance(behind, nn.Linear):
        raise ValueError(f"the network begins with a {type(behind).__name__}: {serves}")
    return layers


def dormant_share(network: QNetwork, observations: npt.ArrayLike, threshold: float = 0.01) -> float:
    """Compute the share of the hidden units that are dormant.

    A unit is dormant if its mean absolute value is at most ``threshold`` times the mean over the
    units of its layer; in a layer that is silent altogether all of them are.

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
    for layer in hidden_units(network, observations):
        sizes = layer.double().abs().mean(0)
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
