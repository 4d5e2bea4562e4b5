"""What the hidden units of a Q-network say of observations.

Hidden units are what enters each layer with weights but the first: with layer normalisation,
activation and gates, without dropout. A filter of a convolution is one unit, wherever it looks.
Where each phase has a column of layers, they are those of the column that answers, without its
adapters. Of a CReLU they are both halves, one behind the other.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from stable_baselines3.dqn.policies import QNetwork
from torch import nn

from continual_arcade.agents.networks import SmallConvolutions, evaluation_mode
from continual_arcade.agents.progressive_network import ProgressiveQNetwork
from continual_arcade.agents.told_networks import (
    AttentionQNetwork,
    PhaseInputs,
    SubnetworksQNetwork,
    told_phase,
)


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
    if isinstance(network, ProgressiveQNetwork):
        with evaluation_mode(network), torch.no_grad():
            return network.hidden_units(states)
    if isinstance(network, SubnetworksQNetwork) and not network.sees_all(states):
        return _by_phase(network, states)
    hidden: list[torch.Tensor] = []
    weighted = False
    with evaluation_mode(network), torch.no_grad():
        signal = preprocess_obs(states, space, normalize_images=network.normalize_images)
        assert isinstance(signal, torch.Tensor)
        units = signal
        gates: list[torch.Tensor] = []
        if isinstance(network, AttentionQNetwork):
            gates = network.gates(told_phase(states, network.phases))
        for layer in layers:
            if isinstance(layer, _WEIGHTED):
                if weighted:
                    if gates:
                        signal = units = units * gates[len(hidden)]
                    hidden.append(_by_filter(units))
                weighted = True
            signal = layer(signal)
            if not isinstance(layer, nn.Flatten):  # which makes many units of each filter
                units = signal
    return hidden


def _by_phase(network: SubnetworksQNetwork, states: torch.Tensor) -> list[torch.Tensor]:
    """Compute the same where observations of each phase see other weights."""
    told = told_phase(states, network.subnetworks)
    phases = sorted(set(told.tolist()))
    groups = [hidden_units(network.seen_from(p), states[told == p].cpu()) for p in phases]
    order = torch.cat([torch.nonzero(told == phase).flatten() for phase in phases]).argsort()
    return [torch.cat(layer)[order] for layer in zip(*groups, strict=True)]


_WEIGHTED = nn.Linear, nn.Conv2d, PhaseInputs


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
    elif isinstance(sees, PhaseInputs):
        layers = [sees, *layers]
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
