"""Passes through the network against autograd."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from continual_arcade.agents.kernels.activations import RELU, TANH
from continual_arcade.agents.kernels.layout import ONLINE, Network, Shape
from continual_arcade.agents.kernels.network import ToAct, act, backward, best, forward
from continual_arcade.agents.kernels.update import CONTROL
from continual_arcade.envs.compiling import kernel


def _of_four(a: Any, b: Any, c: Any, d: Any) -> Any:
    return call(a, b, c, d)  # type: ignore[name-defined]  # noqa: F821  # bound when compiled


def _of_five(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    return call(a, b, c, d, e)  # type: ignore[name-defined]  # noqa: F821


# Kept on disk, unlike a rule that Python calls.
compiled_act = kernel(act, {}, "alone")
compiled_forward = kernel(_of_four, {"call": forward}, "forward")
compiled_backward = kernel(_of_five, {"call": backward}, "backward")


def perceptron(
    widths: list[int], seed: int, activation: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), activation()]
        return nn.Sequential(*layers[:-1])


def flat(network: nn.Sequential) -> Any:
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()]).numpy().copy()


def shown(network: nn.Sequential, inputs: Any) -> Network:
    widths = [network[0].in_features, *(layer.out_features for layer in list(network)[::2])]
    sizes = np.array(widths, np.int64)
    starts = np.cumsum([0, *((sizes[:-1] + 1) * sizes[1:])])[:-1]
    activation = TANH if any(isinstance(layer, nn.Tanh) for layer in network) else RELU
    parameters = flat(network)
    rows, units = len(inputs), int(sizes[1:].sum())
    buffers = [np.zeros(rows * units, np.float32) for _ in range(3)]
    return Network(
        Shape(sizes, starts, activation),
        parameters,
        parameters.copy(),
        np.zeros((2, len(parameters)), np.float32),
        np.ones(2, np.int64),
        np.zeros_like(parameters),
        np.zeros_like(parameters),
        np.zeros(0, np.float32),
        np.zeros(0, np.float32),
        np.ascontiguousarray(inputs, np.float32),
        *buffers,
        np.zeros(3),
        np.zeros((2, 2, 0), np.float32),
    )


shapes = st.lists(st.integers(1, 9), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)  # the first example compiles
@given(
    hidden=shapes,
    features=st.integers(1, 7),
    actions=st.integers(1, 4),
    rows=st.integers(1, 9),
    more=st.integers(0, 5),
    seed=st.integers(0, 1000),
    activation=st.sampled_from([nn.ReLU, nn.Tanh]),
)
def test_values_and_gradients_are_those_of_autograd(
    hidden: list[int],
    features: int,
    actions: int,
    rows: int,
    more: int,
    seed: int,
    activation: type[nn.Module],
) -> None:
    rng = np.random.default_rng(seed)
    network = perceptron([features, *hidden, actions], seed, activation)
    inputs = rng.standard_normal((rows + more, features)).astype(np.float32)
    slopes = rng.standard_normal((rows, actions)).astype(np.float32)
    net = shown(network, inputs)

    values = compiled_forward(net, ONLINE, net.inputs, net.activations)
    expected = network(torch.as_tensor(inputs))
    np.testing.assert_allclose(values, expected.detach().numpy(), rtol=1e-5, atol=1e-5)

    compiled_backward(net, rows, rows + more, slopes, net.gradient)
    (expected[:rows] * torch.as_tensor(slopes)).sum().backward()
    found = torch.cat([p.grad.reshape(-1) for p in network.parameters()])  # type: ignore[union-attr]
    np.testing.assert_allclose(net.gradient, found.numpy(), rtol=1e-4, atol=1e-5)

    # The same gradient with the derivative of one unit left out is found out.
    wrong = net.gradient.copy()
    wrong[np.abs(wrong).argmax()] *= 1.01
    if np.abs(net.gradient).max() > 1e-2:
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(wrong, found.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_gates_are_those_of_autograd(activation: type[nn.Module]) -> None:
    """Behind the activation, of the row of embeddings that counts, with a head for each."""
    rng = np.random.default_rng(0)
    network, rows, sharpness = perceptron([6, 7, 5, 6], 0, activation), 9, 1.5
    features = [rng.standard_normal((rows, 4)), np.eye(2)[rng.integers(2, size=rows)]]
    inputs = np.concatenate(features, 1).astype(np.float32)
    slopes = rng.standard_normal((rows, 3)).astype(np.float32)
    embeddings = rng.standard_normal((2, 12)).astype(np.float32)
    net = shown(network, inputs)
    net = net._replace(
        shape=net.shape._replace(heads=2, gated=12),
        online=np.concatenate([net.online, embeddings.ravel()]),
        transposed=np.zeros((2, len(net.online) + 24), np.float32),
        gradient=np.full(len(net.online) + 24, np.nan, np.float32),
        gating=np.array([1.0, sharpness, 400.0]),
        gates=np.zeros((2, 2, 12), np.float32),
    )
    values = compiled_forward(net, ONLINE, net.inputs, net.activations).copy()
    compiled_backward(net, rows, rows, slopes, net.gradient)

    learnt = torch.tensor(embeddings, requires_grad=True)
    for row in (1, 0):  # the other one is what is planted
        network.zero_grad()
        learnt.grad = None
        gates = torch.sigmoid(sharpness * learnt[row])
        first, then, second, and_then, last = network
        hidden = then(first(torch.tensor(inputs))) * gates[:7]
        of_all = last(and_then(second(hidden)) * gates[7:]).reshape(rows, 2, 3)
        expected = of_all[torch.arange(rows), torch.tensor(inputs[:, 4:]).argmax(1)]
        (expected * torch.tensor(slopes)).sum().backward()
        assert learnt.grad is not None
        tensors = [*(p.grad for p in network.parameters()), learnt.grad]
        found = torch.cat([g.reshape(-1) for g in tensors if g is not None]).numpy()
        assert np.allclose(values, expected.detach().numpy(), atol=1e-5) == (row == 1)
        assert np.allclose(net.gradient, found, rtol=1e-4, atol=1e-5) == (row == 1)


def test_the_gradient_of_another_activation_is_found() -> None:
    """ReLU's gate under tanh, and the slope of tanh under ReLU, are not those of autograd."""
    inputs = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    slopes = np.ones((5, 2), np.float32)
    for kind, other in ((nn.Tanh, RELU), (nn.ReLU, TANH)):
        network = perceptron([3, 6, 2], 0, kind)
        net = shown(network, inputs)
        compiled_forward(net, ONLINE, net.inputs, net.activations)
        network(torch.as_tensor(inputs)).sum().backward()
        found = torch.cat([p.grad.reshape(-1) for p in network.parameters()])  # type: ignore[union-attr]
        compiled_backward(net, 5, 5, slopes, net.gradient)
        np.testing.assert_allclose(net.gradient, found.numpy(), rtol=1e-4, atol=1e-5)
        wrong = net._replace(shape=net.shape._replace(activation=other))
        compiled_backward(wrong, 5, 5, slopes, net.gradient)
        with pytest.raises(AssertionError):
            np.testing.assert_allclose(net.gradient, found.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 5, -1])
def test_what_is_not_finite_comes_through_fast_math(
    bad: float, where: int, activation: type[nn.Module]
) -> None:
    network = perceptron([3, 4, 2], 0, activation)
    inputs = np.ones((2, 3), np.float32)
    net = shown(network, inputs)
    net.online[where] = bad
    values = compiled_forward(net, ONLINE, net.inputs, net.activations)
    flat_parameters = torch.as_tensor(net.online)
    expected = _by_torch(network, flat_parameters, torch.as_tensor(inputs))
    np.testing.assert_array_equal(np.isnan(values), torch.isnan(expected).numpy())
    np.testing.assert_array_equal(np.isinf(values), torch.isinf(expected).numpy())

    slopes = np.full((2, 2), np.nan, np.float32)
    compiled_backward(net, 2, 2, slopes, net.gradient)
    assert np.isnan(net.gradient).any()


def _by_torch(network: nn.Sequential, parameters: torch.Tensor, inputs: torch.Tensor) -> Any:
    at = 0
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(parameters[at : at + p.numel()].view_as(p))
            at += p.numel()
        return network(inputs)


def test_the_best_action_is_the_first_of_equals_and_nan_counts_as_high() -> None:
    table = np.array([[1, 3, 3], [2, 1, 2], [1, np.nan, 5], [np.nan, 7, np.nan]], np.float32)
    found = [best(table, row) for row in range(len(table))]
    assert found == torch.as_tensor(table).argmax(1).tolist()


def test_acting_is_argmax() -> None:
    network = perceptron([5, 8, 3], 1)
    inputs = np.random.default_rng(0).standard_normal((50, 5)).astype(np.float32)
    net = shown(network, inputs)
    control, found = np.zeros(1, CONTROL), np.zeros(60, np.int64)
    control["rows"] = 50
    compiled_act(ToAct(control, net, found))
    assert found[:50].tolist() == network(torch.as_tensor(inputs)).argmax(1).tolist()
