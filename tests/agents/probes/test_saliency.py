"""Saliency against slopes that are known by hand, and against differences of values."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from continual_arcade.agents.networks import (
    ContinualCnnPolicy,
    ContinualPolicy,
    SmallConvolutions,
)
from continual_arcade.agents.probes.saliency import saliency

PICTURES = spaces.Box(0, 255, (2, 21, 21), np.uint8)


def perceptron(hidden: list[int], **options: Any) -> Any:
    space = spaces.Box(-10, 10, (3,))
    return ContinualPolicy(
        space, spaces.Discrete(2), lambda _: 1e-3, net_arch=hidden, **options
    ).q_net


def convolutional() -> Any:
    torch.manual_seed(0)
    policy = ContinualCnnPolicy(
        PICTURES,
        spaces.Discrete(3),
        lambda _: 1e-3,
        net_arch=[8],
        features_extractor_class=SmallConvolutions,
    )
    return policy.q_net


def test_of_a_linear_network_it_is_the_weights_of_the_best_action() -> None:
    network = perceptron([])
    weights = torch.tensor([[1.0, -2.0, 0.5], [-3.0, 4.0, 0.0]])
    with torch.no_grad():
        network.q_net[0].weight.copy_(weights)
        network.q_net[0].bias.zero_()
    found = saliency(network, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], np.float32))
    np.testing.assert_allclose(found, [[1.0, 2.0, 0.5], [3.0, 4.0, 0.0]])


def by_differences(network: Any, picture: np.ndarray, place: tuple[int, ...]) -> float:
    """The slope of the best value by one pixel, in shares of white, from values alone."""
    double = network.double()
    values = []
    for change in (-1e-4, 1e-4):
        seen = torch.as_tensor(picture[np.newaxis].astype(np.float64) / 255)
        seen[(0, *place)] += change
        with torch.no_grad():
            values.append(float(double.q_net(double.features_extractor(seen)).max()))
    network.float()
    return abs(values[1] - values[0]) / 2e-4


def test_of_pictures_it_is_the_slope_by_each_pixel() -> None:
    network = convolutional()
    picture = np.random.default_rng(0).integers(0, 256, PICTURES.shape, np.uint8)
    found = saliency(network, picture[np.newaxis])[0]
    assert found.shape == PICTURES.shape
    for place in [(0, 0, 0), (1, 20, 20), (0, 10, 7), (1, 3, 15)]:
        assert found[place] == pytest.approx(by_differences(network, picture, place), abs=1e-5)
    # The last row and column lie behind the last whole step of the filters.
    assert found[:, :19, :19].any()


def test_another_action_is_another_slope() -> None:
    """Taking the mean over actions, an easy slip, would be found."""
    network = perceptron([])
    with torch.no_grad():
        network.q_net[0].weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
        network.q_net[0].bias.copy_(torch.tensor([5.0, 0.0]))
    state = np.zeros((1, 3), np.float32)
    assert saliency(network, state).tolist() == [[1.0, 0.0, 0.0]]
    mean = network(torch.as_tensor(state)).mean()
    assert mean.item() == 2.5


def test_the_network_stays_as_it_was() -> None:
    network = perceptron([4], dropout=0.5)
    network.train()
    before = [parameter.clone() for parameter in network.parameters()]
    states = np.ones((2, 3), np.float32)
    assert np.array_equal(saliency(network, states), saliency(network, states))
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(map(torch.equal, before, network.parameters()))


@pytest.mark.parametrize("states", [np.zeros((0, 3)), np.zeros((4, 2)), np.zeros(3)])
def test_bad_observations_are_refused(states: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be \(count, 3\)"):
        saliency(perceptron([4]), states)


def told(option: str) -> Any:
    """A network that is told which of two phases it is, each of which knows something else."""
    space = spaces.Box(np.float32([-9, -9, 0, 0]), np.float32([9, 9, 1, 1]))
    torch.manual_seed(1)
    options: Any = {option: 2}
    policy = ContinualPolicy(space, spaces.Discrete(3), lambda _: 1e-3, net_arch=[6], **options)
    network: Any = policy.q_net
    if option == "subnetworks":
        network.finished += 1
        for owner in network.owners:
            owner.copy_(torch.randint(2, owner.shape) - 1)
    return network


@pytest.mark.parametrize("option", ["heads", "subnetworks"])
def test_who_answers_in_a_phase_is_who_is_asked(option: str) -> None:
    """Against differences of what the network says; its layers as a whole say something else."""
    network = told(option)
    rows = torch.tensor([[0.5, -0.7, 1, 0], [0.5, -0.7, 0, 1]])
    with torch.no_grad():
        best = network(rows).argmax(1)
        slopes = torch.stack(
            [
                (network(rows + step) - network(rows - step)).gather(1, best[:, None])[:, 0]
                for step in 1e-2 * torch.eye(2, 4)
            ],
            1,
        )
        whole = network.q_net(rows).amax(1) - network(rows).amax(1)
    found = saliency(network, rows.numpy())[:, :2]
    np.testing.assert_allclose(found, slopes.abs() / 2e-2, atol=1e-4)
    assert whole.abs().max() > 1e-3
