"""Perceptrons: which networks are some, and that the short way leads where the long one does."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import DQN
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from stable_baselines3.dqn.policies import QNetwork
from torch import nn

from continual_arcade.agents.methods import importance, perceptron
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.perceptron import as_perceptron
from continual_arcade.agents.networks import ContinualPolicy

BOX = spaces.Box(-10, 10, (2, 3))
ACTIVATIONS: list[type[nn.Module]] = [nn.ReLU, nn.Tanh]
TEMPERATURE = 0.7


def make(
    hidden: list[int],
    actions: int = 3,
    activation: type[nn.Module] = nn.ReLU,
    space: spaces.Box = BOX,
    **options: Any,
) -> QNetwork:
    policy = ContinualPolicy(
        space,
        spaces.Discrete(actions),
        lambda _: 1e-3,
        net_arch=hidden,
        activation_fn=activation,
        **options,
    )
    return policy.q_net


def rate(kind: str, network: nn.Module, states: torch.Tensor) -> Parameters:
    if kind == "gauss":
        return importance.fisher_gauss(network, states, chunk=16)
    if kind == "policy":
        return importance.fisher_policy(network, states, TEMPERATURE, chunk=16)
    if kind == "td":
        actions = torch.arange(len(states)) % 2
        targets = states.flatten(1)[:, 0]
        return importance.fisher_td(network, states, actions, targets, chunk=16)
    return importance.mas(network, states, "q" if kind == "mas q" else "advantage", chunk=16)


def both_ways(kind: str, network: nn.Module, states: torch.Tensor) -> tuple[Parameters, Parameters]:
    short = rate(kind, network, states)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importance, "as_perceptron", lambda network: None)
        return short, rate(kind, network, states)


def agree(ways: tuple[Parameters, Parameters]) -> None:
    for short, long in zip(*ways, strict=True):
        assert short.dtype == long.dtype
        assert not short.requires_grad
        torch.testing.assert_close(short, long, rtol=1e-3, atol=1e-5 * float(long.max()))


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spread(network: nn.Module, seed: int) -> nn.Module:
    """Draw parameters under which neither a unit nor a decision is dead."""
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            fan_in = parameter.shape[-1] if parameter.ndim > 1 else 1
            parameter.copy_(normal(seed + index, *parameter.shape) / fan_in**0.5)
    return network


every_kind = pytest.mark.parametrize("kind", ["gauss", "policy", "td", "mas q", "mas advantage"])


# --- both ways lead to the same -----------------------------------------------------------------


@every_kind
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 100),
    count=st.integers(1, 40),
    hidden=st.lists(st.integers(1, 12), max_size=3),
    actions=st.integers(2, 5),
    activation=st.sampled_from(ACTIVATIONS),
)
def test_both_ways_agree_in_single_precision(
    kind: str, seed: int, count: int, hidden: list[int], actions: int, activation: type[nn.Module]
) -> None:
    network = spread(make(hidden, actions, activation), seed)
    assert as_perceptron(network) is not None
    agree(both_ways(kind, network, normal(seed, count, 2, 3)))


@every_kind
def test_images_are_scaled_as_the_network_does(kind: str) -> None:
    space = spaces.Box(0, 255, (36, 36, 1), np.uint8)
    network = spread(make([8], space=space, features_extractor_class=FlattenExtractor), seed=1)
    states = torch.randint(256, (20, 36, 36, 1), generator=torch.Generator().manual_seed(0))
    assert as_perceptron(network) is not None
    agree(both_ways(kind, network, states.byte()))


@every_kind
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_wrong_derivative_is_found(
    kind: str, activation: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(perceptron._SLOPES, activation, torch.ones_like)
    network = spread(make([8, 8], activation=activation), seed=1)
    with pytest.raises(AssertionError):
        agree(both_ways(kind, network, normal(2, 30, 2, 3)))


@every_kind
def test_states_that_cancel_each_other_are_found(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = perceptron.Perceptron.factors

    def averaged(
        self: perceptron.Perceptron, *args: torch.Tensor
    ) -> list[tuple[torch.Tensor, ...]]:
        return [
            (slopes.mean(0, keepdim=True).expand_as(slopes), inputs)
            for slopes, inputs in factors(self, *args)
        ]

    monkeypatch.setattr(perceptron.Perceptron, "factors", averaged)
    with pytest.raises(AssertionError):
        agree(both_ways(kind, spread(make([8, 8]), seed=1), normal(2, 30, 2, 3)))


# --- what is a perceptron -----------------------------------------------------------------------


def linear() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))


def of_a_dqn() -> nn.Module:
    env = gym.make("CartPole-v1")
    return DQN("MlpPolicy", env, device="cpu", seed=0, buffer_size=10).q_net


PERCEPTRONS: dict[str, Callable[[], nn.Module]] = {
    "of a DQN": of_a_dqn,
    "tanh": lambda: make([8], activation=nn.Tanh),
    "no hidden layer": lambda: make([]),
    "in evaluation": lambda: make([8, 4]).eval(),
    "no policy": linear,
    "a layer": lambda: nn.Linear(6, 2),
    "double precision": lambda: linear().double(),
    "frozen": lambda: linear().requires_grad_(False),
}


@pytest.mark.parametrize("name", PERCEPTRONS)
def test_it_is_one(name: str) -> None:
    network = PERCEPTRONS[name]()
    perceptron = as_perceptron(network)
    assert perceptron is not None
    layers = [layer for layer in perceptron.layers if isinstance(layer, nn.Linear)]
    parameters = [tensor for layer in layers for tensor in layer.parameters()]
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True))


class Halved(nn.Linear):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return super().forward(batch) / 2


class Negative(QNetwork):
    def forward(self, batch: Any) -> torch.Tensor:
        return -super().forward(batch)


class Doubling(FlattenExtractor):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(batch)


def negative() -> nn.Module:
    return Negative(BOX, spaces.Discrete(2), FlattenExtractor(BOX), 6, [4])


def image() -> nn.Module:
    space = spaces.Box(0, 255, (1, 36, 36), np.uint8)
    return make([8], space=space, features_extractor_class=NatureCNN)


def the_same_layer_twice() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer)


def tied() -> nn.Module:
    network = linear()
    network[2].weight = network[0].weight
    return network


def spare() -> nn.Module:
    network = linear()
    network.register_parameter("spare", nn.Parameter(torch.zeros(2)))
    return network


def with_another_forward() -> nn.Module:
    network = linear()
    network[0].forward = lambda batch: -batch
    return network


def with_weights_made_of_others() -> nn.Module:
    network = linear()
    nn.utils.parametrizations.spectral_norm(network[0])
    return network


def hooked(how: str, part: str = "q_net.0") -> nn.Module:
    network = make([8])
    getattr(network.get_submodule(part), f"register_{how}_hook")(lambda *_: None)
    return network


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "layer norm": lambda: make([8], layer_norm=True),
    "dropout": lambda: make([8], dropout=0.1),
    "another activation": lambda: make([8], activation=nn.ELU),
    "convolutions": image,
    "another extractor": lambda: make([8], features_extractor_class=Doubling),
    "another Q-network": negative,
    "another linear layer": lambda: nn.Sequential(Halved(6, 6), nn.ReLU()),
    "another forward": with_another_forward,
    "nested": lambda: nn.Sequential(linear(), nn.ReLU()),
    "no bias": lambda: nn.Sequential(nn.Linear(6, 6, bias=False), nn.ReLU()),
    "the same layer twice": the_same_layer_twice,
    "tied weights": tied,
    "a spare parameter": spare,
    "weights made of others": with_weights_made_of_others,
    "forward hook": lambda: hooked("forward"),
    "forward hook of all": lambda: hooked("forward", part=""),
    "forward pre-hook": lambda: hooked("forward_pre"),
    "backward hook": lambda: hooked("full_backward"),
    "backward pre-hook": lambda: hooked("full_backward_pre"),
    "half precision": lambda: linear().half(),
    "another device": lambda: linear().to("meta"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_it_is_none(name: str) -> None:
    assert as_perceptron(OTHERS[name]()) is None
