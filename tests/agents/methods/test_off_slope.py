"""Units that are off are held by what would switch them on, if the estimate is told to."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny
import torch
from torch import nn

from continual_arcade.agents.methods import importance, make_part, perceptron
from continual_arcade.agents.methods.importance import Parameters, fisher_gauss, leaky

Floats = npt.NDArray[np.float64]
SLOPE = 0.5
UNSEEN = 2
"""An input that is always 0."""
DEAD = 1
"""A unit of the first layer that is always off."""


def network(in_place: bool = False) -> nn.Sequential:
    made = nn.Sequential(
        nn.Linear(3, 4), nn.ReLU(in_place), nn.Linear(4, 5), nn.ReLU(in_place), nn.Linear(5, 2)
    ).double()
    drawn = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in made.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=drawn, dtype=torch.float64))
        made[0].get_parameter("bias")[DEAD] = -100.0
    return made


def states() -> torch.Tensor:
    seen = torch.randn(30, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    seen[:, UNSEEN] = 0.0
    return seen


def by_hand(net: nn.Sequential, seen: torch.Tensor, slope: float) -> list[Floats]:
    """The mean of squared gradients in NumPy, state by state and action by action."""
    w1, b1, w2, b2, w3, b3 = (p.detach().numpy() for p in net.parameters())
    total = [np.zeros_like(p) for p in (w1, b1, w2, b2, w3, b3)]
    for x in seen.numpy():
        z1 = w1 @ x + b1
        h1 = np.maximum(z1, 0)
        z2 = w2 @ h1 + b2
        h2 = np.maximum(z2, 0)
        for action in range(len(b3)):
            g3 = np.eye(len(b3))[action]
            g2 = (w3.T @ g3) * np.where(z2 > 0, 1.0, slope)
            g1 = (w2.T @ g2) * np.where(z1 > 0, 1.0, slope)
            gradients = np.outer(g1, x), g1, np.outer(g2, h1), g2, np.outer(g3, h2), g3
            for entry, gradient in zip(total, gradients, strict=True):
                entry += gradient**2
    return [entry / len(seen) for entry in total]


def agree(found: Parameters, expected: list[Floats]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-10, atol=1e-13)


@pytest.fixture(params=["perceptrons", "any network"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "any network":
        monkeypatch.setattr(importance, "as_perceptron", lambda network: None)
    return request.param


@pytest.mark.parametrize("slope", [0.0, SLOPE, 1.0])
@pytest.mark.parametrize("in_place", [False, True])
def test_it_is_what_it_is_by_hand(way: str, slope: float, in_place: bool) -> None:
    net = network(in_place)
    agree(fisher_gauss(net, states(), off_slope=slope, chunk=7), by_hand(net, states(), slope))


def no_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "leaky", lambda network, off_slope: leaky(network, 0.0))
    factors = perceptron.Perceptron.factors
    monkeypatch.setattr(
        perceptron.Perceptron, "factors", lambda self, s, m, off_slope: factors(self, s, m)
    )


def leak_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "leaky", lambda network, off_slope: leaky(network, 1.0))
    factors = perceptron.Perceptron.factors
    monkeypatch.setattr(
        perceptron.Perceptron, "factors", lambda self, s, m, off_slope: factors(self, s, m, 1.0)
    )


@pytest.mark.parametrize("error", [no_leak, leak_of_one])
def test_a_wrong_slope_is_found(
    way: str, error: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    error(monkeypatch)
    net = network()
    with pytest.raises(AssertionError):
        agree(fisher_gauss(net, states(), off_slope=SLOPE), by_hand(net, states(), SLOPE))


def test_what_would_switch_a_unit_on_is_held_and_what_was_never_seen_is_free(way: str) -> None:
    w1, b1, w2, *_ = fisher_gauss(network(), states())
    assert b1[DEAD] == 0
    assert (w1[DEAD] == 0).all()
    w1, b1, w2, *_ = fisher_gauss(network(), states(), off_slope=1.0)
    assert b1[DEAD] > 0
    assert (w1[DEAD, :UNSEEN] > 0).all()
    assert (w1[:, UNSEEN] == 0).all()
    assert (w2[:, DEAD] == 0).all()  # it passes nothing on as long as it is off


def test_the_network_computes_the_same_and_is_left_as_it_was(way: str) -> None:
    net = network(in_place=True)
    before = net(states())
    with leaky(net, SLOPE):
        assert torch.equal(net(states()), before)
    fisher_gauss(net, states(), off_slope=SLOPE)
    assert not any(module._forward_hooks for module in net.modules())
    assert net[1].inplace
    assert net[3].inplace
    with pytest.raises(ValueError, match="shape"):
        fisher_gauss(net, torch.zeros(3), off_slope=SLOPE)


@pytest.mark.parametrize("name", ["ewc", "online-ewc"])
@pytest.mark.parametrize("fisher", ["gauss", "policy", "sampled", "td"])
def test_agents_estimate_with_it(name: str, fisher: str) -> None:
    def omega(off_slope: float) -> Parameters:
        part = make_part(
            name, {"lam": 1e-6, "samples": 50, "fisher": fisher, "off_slope": off_slope}
        )
        agent: Any = tiny.agent(part, learning_rate=1e-4)
        for net in (agent.q_net, agent.q_net_target):
            with torch.no_grad():
                net.q_net[0].bias[DEAD] = -100.0
        tiny.live(agent, tiny.PHASE + 2 * tiny.NUM_ENVS)
        found: Parameters = agent.parts[0].omega
        return found

    assert omega(0.0)[1][DEAD] == 0
    assert omega(1.0)[1][DEAD] > 0


def test_without_a_relu_there_is_nothing_to_hold() -> None:
    part = make_part("ewc", {"off_slope": 1.0})
    with pytest.raises(ValueError, match=r"off_slope = 1, but the network has no nn\.ReLU"):
        tiny.agent(part, policy={"activation_fn": nn.Tanh})
    with pytest.raises(ValueError, match="off_slope"):
        make_part("ewc", {"off_slope": -0.1})
