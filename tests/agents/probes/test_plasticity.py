"""Dormant units, effective rank and weight norm, against networks and matrices known by hand."""

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import tiny
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from stable_baselines3.dqn.policies import QNetwork
from torch import nn

from continual_arcade.agents.hidden_units import hidden_units
from continual_arcade.agents.networks import ContinualPolicy, SmallConvolutions
from continual_arcade.agents.probes.plasticity import (
    dormant_share,
    effective_rank,
    weight_norm,
)


def make(hidden: list[int], features: int = 2, **options: Any) -> QNetwork:
    space: gym.Space[Any] = options.pop("space", spaces.Box(-10, 10, (features,)))
    policy = ContinualPolicy(space, spaces.Discrete(2), lambda _: 1e-3, net_arch=hidden, **options)
    return policy.q_net


def known() -> QNetwork:
    """Two layers of 4 and 2 units; for non-negative observations the means are known.

    At (1, 0) and (3, 2) the first layer has the means 2, 1, 0.012, 0 (its mean is 0.753), and the
    second 2 and 0.
    """
    network = make([4, 2])
    first, _, second, _, last = network.q_net
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.006, 0.0], [-1.0, -1.0]]))
        first.bias.zero_()
        second.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, -1.0, 0, 0]]))
        second.bias.zero_()
        last.weight.fill_(1.0)
        last.bias.zero_()
    return network


STATES = np.array([[1.0, 0.0], [3.0, 2.0]], np.float32)

# --- dormant units ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "dormant"),
    [(0.0, 2), (0.01, 2), (0.0159, 2), (0.016, 3), (1.0, 3), (1.4, 4), (3.0, 6)],
)
def test_units_known_to_be_dormant(threshold: float, dormant: int) -> None:
    assert dormant_share(known(), STATES, threshold) == dormant / 6


def check_dormant(share: Callable[..., float]) -> None:
    assert share(known(), STATES, 0.01) == pytest.approx(2 / 6)
    assert share(known(), STATES, 0.0159) == pytest.approx(2 / 6)
    assert share(known(), STATES, 0.016) == pytest.approx(3 / 6)
    assert share(known(), STATES, 0.0) == pytest.approx(2 / 6)
    tanh = make([3], activation_fn=nn.Tanh)
    with torch.no_grad():
        tanh.q_net[0].weight.copy_(torch.tensor([[1.0, 0], [-1.0, 0], [0, 1.0]]))
        tanh.q_net[0].bias.zero_()
    signs = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    assert share(tanh, signs, 0.01) == pytest.approx(1 / 3)  # the others average to zero, but live


def test_a_silent_layer_is_dormant_altogether() -> None:
    network = known()
    with torch.no_grad():
        network.q_net[0].bias.fill_(-100.0)
    assert dormant_share(network, STATES) == 1.0


def naive(network: QNetwork, states: Any, threshold: float, kind: str) -> float:
    """What is easily written instead."""
    layers = [layer.double() for layer in hidden_units(network, states)]
    sizes = [layer.mean(0).abs() if kind == "signed" else layer.abs().mean(0) for layer in layers]
    scales = [layer.mean() for layer in sizes]
    if kind == "absolute":
        scales = [torch.tensor(1.0)] * len(sizes)
    if kind == "whole network":
        scales = [torch.cat(sizes).mean()] * len(sizes)
    dormant = [layer <= threshold * scale for layer, scale in zip(sizes, scales, strict=True)]
    if kind == "mean of layers":
        return float(torch.stack([layer.double().mean() for layer in dormant]).mean())
    if kind == "strictly below":
        dormant = [a < threshold * b for a, b in zip(sizes, scales, strict=True)]
    return float(torch.cat(dormant).double().mean())


KINDS = ["signed", "absolute", "whole network", "mean of layers", "strictly below"]


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_ways_to_count_are_found(kind: str) -> None:
    check_dormant(dormant_share)
    with pytest.raises(AssertionError):
        check_dormant(lambda *arguments: naive(*arguments, kind))


# --- hidden units -------------------------------------------------------------------------------


def test_hidden_units_are_what_enters_each_layer_but_the_first() -> None:
    first, second = hidden_units(known(), STATES)
    np.testing.assert_allclose(first, [[1, 0, 0.006, 0], [3, 2, 0.018, 0]], rtol=1e-6)
    np.testing.assert_allclose(second, [[1, 0], [3, 0]])


def test_layer_normalisation_and_dropout() -> None:
    network = make([8, 8], layer_norm=True, dropout=0.5).train()
    one, other = hidden_units(network, STATES), hidden_units(network, STATES)
    assert len(one) == 2
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)
        assert (a >= 0).all()
    linear, norm = network.q_net[0], network.q_net[1]
    expected = torch.relu(norm(linear(torch.as_tensor(STATES))))
    torch.testing.assert_close(one[0], expected)
    assert all(module.training for module in network.modules())


def test_without_hidden_units_there_is_nothing_to_say() -> None:
    network = make([])
    assert hidden_units(network, STATES) == []
    assert math.isnan(dormant_share(network, STATES))


def test_what_is_not_finite_is_not_counted() -> None:
    network = known()
    with torch.no_grad():
        network.q_net[0].weight[0, 0] = math.inf
    assert math.isnan(dormant_share(network, STATES + 1))


class Halved(nn.Module):
    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return signal / 2


def test_activations_of_ones_own_are_served() -> None:
    network = known()
    network.q_net[1] = Halved()
    np.testing.assert_allclose(hidden_units(network, STATES)[0][0], [0.5, 0, 0.003, -0.5])


def pictures(sees: type[Any], size: int) -> tuple[QNetwork, np.ndarray]:
    space = spaces.Box(0, 255, (2, size, size), np.uint8)
    network = make([4], space=space, features_extractor_class=sees)
    return network, np.random.default_rng(0).integers(0, 256, (5, *space.shape), np.uint8)


@pytest.mark.parametrize(("sees", "size"), [(SmallConvolutions, 21), (NatureCNN, 36)])
def test_a_filter_is_one_unit_wherever_it_looks(sees: type[Any], size: int) -> None:
    network, states = pictures(sees, size)
    seen: list[torch.Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _given, found: seen.append(found))
        for module in network.modules()
        if isinstance(module, nn.ReLU)
    ]
    with torch.no_grad():
        network(torch.as_tensor(states))
    for hook in hooks:
        hook.remove()
    found = hidden_units(network, states)
    assert len(found) == len(seen)
    for units, signal in zip(found, seen, strict=True):
        assert units.shape[1] == signal.shape[1]
        sizes = signal.abs().mean((0, *range(2, signal.ndim)))
        np.testing.assert_allclose(units.abs().mean(0), sizes, rtol=1e-5)


def test_a_silent_filter_is_dormant() -> None:
    network, states = pictures(SmallConvolutions, 21)
    first = network.features_extractor.layers[0]
    with torch.no_grad():
        first.weight[3] = 0.0
        first.bias[3] = -1.0
    layers = hidden_units(network, states)
    silent = [int((units.abs().mean(0) == 0).sum()) for units in layers]
    assert not layers[0][:, 3].any()
    assert sum(units.shape[1] for units in layers) == 16 + 32 + 4
    assert dormant_share(network, states, 0.0) == pytest.approx(sum(silent) / 52)


class Blurred(BaseFeaturesExtractor):
    def __init__(self, space: spaces.Box) -> None:
        super().__init__(space, features_dim=2)
        self.blur = nn.Linear(2, 2)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.blur(observations)


def extracted() -> QNetwork:
    return make([4], features_extractor_class=Blurred)


def parametric() -> QNetwork:
    return make([4], activation_fn=nn.PReLU)


def backwards() -> QNetwork:
    network = known()
    network.q_net = network.q_net[1:]
    return network


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (extracted, "has a Blurred, whose units would be left out"),
        (parametric, "has a PReLU: plasticity is measured in linear layers"),
        (backwards, "begins with a ReLU"),
        (lambda: nn.Linear(2, 2), "is a Linear, not a QNetwork"),
    ],
)
def test_other_networks_are_refused(network: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dormant_share(network(), STATES)


@pytest.mark.parametrize("states", [np.zeros((0, 2)), np.zeros((4, 3)), np.zeros(2)])
def test_bad_observations_are_refused(states: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"observations have shape .* must be \(count, 2\)"):
        hidden_units(known(), states)


@pytest.mark.parametrize("threshold", [-0.1, math.nan, math.inf])
def test_bad_thresholds_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=f"threshold = {threshold}"):
        dormant_share(known(), STATES, threshold)


def test_nothing_is_touched() -> None:
    agent = tiny.live(tiny.agent(), 120)
    before = tiny.inside(agent), [m.training for m in agent.policy.modules()]
    stream = torch.get_rng_state()
    states = np.zeros((5, *agent.observation_space.shape), np.float32)  # type: ignore[misc]
    dormant_share(agent.q_net, states)
    effective_rank(hidden_units(agent.q_net, states)[-1])
    weight_norm(agent.q_net)
    assert not list(tiny.differences(before[0], tiny.inside(agent)))
    assert before[1] == [m.training for m in agent.policy.modules()]
    assert torch.equal(stream, torch.get_rng_state())


# --- effective rank -----------------------------------------------------------------------------


def rotated(sizes: list[float], rows: int, seed: int) -> np.ndarray:
    """A matrix with these singular values."""
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.normal(size=(rows, len(sizes))))
    right, _ = np.linalg.qr(rng.normal(size=(len(sizes), len(sizes))))
    return np.asarray(left @ np.diag(sizes) @ right)


def check_rank(rank: Callable[[Any], float]) -> None:
    # Halves and quarters: H = log 2 / 2 + 2 log 4 / 4 = 1.5 log 2. Not centred: a constant counts.
    assert rank(np.diag([4.0, 2.0, 2.0])) == pytest.approx(2**1.5)
    assert rank(np.diag([5.0, 5.0, 5.0, 0.0])) == pytest.approx(3)
    assert rank(np.ones((7, 3))) == pytest.approx(1)


@given(sizes=st.lists(st.floats(0.01, 100), min_size=1, max_size=6), seed=st.integers(0, 2**32 - 1))
def test_the_rank_of_known_singular_values(sizes: list[float], seed: int) -> None:
    shares = np.array(sizes) / np.sum(sizes)
    expected = float(np.prod(shares**-shares))
    matrix = rotated(sizes, 9, seed)
    assert effective_rank(matrix) == pytest.approx(expected, rel=1e-6)
    assert effective_rank(torch.from_numpy(matrix)) == effective_rank(matrix)
    assert effective_rank(3 * matrix.T) == pytest.approx(expected, rel=1e-6)


def entropy_rank(matrix: Any, kind: str) -> float:
    sizes = np.linalg.svd(np.asarray(matrix), compute_uv=False)
    if kind == "squares":
        sizes = sizes**2
    if kind == "centred":
        centred = np.asarray(matrix) - np.mean(matrix, 0)
        sizes = np.linalg.svd(centred, compute_uv=False) + 1e-12
    if kind == "count":
        return float((sizes > 0.01 * sizes.sum()).sum())
    shares = sizes[sizes > 1e-300] / sizes.sum()
    base = 2 if kind == "bits" else math.e
    return float(np.exp(-np.sum(shares * np.log(shares)) / math.log(base)))


@pytest.mark.parametrize("kind", ["squares", "centred", "count", "bits"])
def test_wrong_ranks_are_found(kind: str) -> None:
    check_rank(effective_rank)
    check_rank(lambda matrix: entropy_rank(matrix, "right"))
    with pytest.raises(AssertionError):
        check_rank(lambda matrix: entropy_rank(matrix, kind))


def test_undefined_ranks_are_nan() -> None:
    assert math.isnan(effective_rank(np.zeros((4, 3))))
    assert math.isnan(effective_rank([[1.0, math.inf]]))


@pytest.mark.parametrize("features", [np.zeros(3), np.zeros((0, 3)), np.zeros((2, 2, 2))])
def test_what_is_no_matrix_is_refused(features: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"features have shape"):
        effective_rank(features)


# --- weight norm --------------------------------------------------------------------------------


def test_the_norm_is_that_of_all_trainable_parameters() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 3.0]]))
        layer.bias.fill_(6.0)
    assert weight_norm(layer) == pytest.approx(7.0)  # 4 + 9 + 36 = 49
    layer.bias.requires_grad_(False)
    assert weight_norm(layer) == pytest.approx(math.sqrt(13))
