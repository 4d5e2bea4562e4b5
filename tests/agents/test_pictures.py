"""Agents that see pictures: every method learns from them, and what is saved goes on as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from gymnasium import spaces
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.torch_layers import NatureCNN
from torch import nn

from continual_arcade.agents import METHODS, ContinualDQN, DQNSettings, build_agent
from continual_arcade.agents.networks import SmallConvolutions
from continual_arcade.envs import make_game, shipped

SEEN: dict[str, Any] = {"observation": "pixels", "screen_size": 21, "stack": 2}
CONFLICT = shipped("conflict", make_game("Catcher", **SEEN)).with_steps(60)
OF_FEATURES = ("redo", "continual-backprop", "neurogenesis")
"""Methods that recycle hidden units of perceptrons."""
TOLD = ("den", "hat", "packnet", "progressive")
"""Methods that features tell the phase."""


def agent(method: str = "finetune", seen: dict[str, Any] = SEEN, **changes: Any) -> ContinualDQN:
    chosen = {**vars(tiny.SETTINGS), "engine": "torch", **changes}
    return build_agent("Catcher", CONFLICT, DQNSettings(**chosen), method=METHODS[method], **seen)


def weights(learner: ContinualDQN) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in learner.policy.parameters()])


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    "method",
    [
        name
        for name in METHODS
        if name not in ("generative-replay", "mer-faithful", *TOLD, *OF_FEATURES, "pt-dqn")
    ],
)
def test_every_method_learns_from_pictures(method: str) -> None:
    learner = agent(method)
    before = weights(learner).clone()
    learner.learn(CONFLICT.total_steps)
    after = weights(learner)
    assert learner.num_timesteps == CONFLICT.total_steps
    assert bool(torch.isfinite(after).all())
    assert not torch.equal(before, after)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("method", ["finetune", "ewc", "si", "mer", "agem"])
def test_what_is_resumed_ends_with_the_same_bits(method: str, tmp_path: Path) -> None:
    path = tmp_path / "half.zip"
    whole, steps = agent(method), CONFLICT.total_steps
    whole.learn(steps, callback=tiny.SaveAt(120, path))
    resumed = ContinualDQN.load(path, agent(method).get_env(), "cpu")
    assert resumed.num_timesteps == 120
    resumed.learn(steps - 120, reset_num_timesteps=False)
    assert torch.equal(weights(whole), weights(resumed))


def test_a_saved_agent_acts_as_before(tmp_path: Path) -> None:
    learner = agent()
    learner.learn(120)
    learner.save(tmp_path / "agent.zip")
    loaded = ContinualDQN.load(tmp_path / "agent.zip")
    seen = np.random.default_rng(0).integers(0, 256, (50, 2, 21, 21), np.uint8)
    assert np.array_equal(learner.predict(seen)[0], loaded.predict(seen)[0])


def unseen(sees: Any, rows: int, columns: int) -> int:
    """Return how many pixels have no influence on what convolutions give, by autograd."""
    seen = torch.zeros(1, 2, rows, columns, requires_grad=True)
    given = seen
    for layer in sees:
        if isinstance(layer, nn.Conv2d):
            given = nn.functional.conv2d(given, torch.ones_like(layer.weight), stride=layer.stride)
    given.sum().backward()
    assert seen.grad is not None
    return int((seen.grad == 0).sum()) // 2


@settings(max_examples=60)
@given(rows=st.integers(9, 130), columns=st.integers(9, 130))
@example(21, 21)
@example(42, 42)
@example(84, 84)
def test_small_convolutions_see_every_pixel_from_about_ten_by_ten_places(
    rows: int, columns: int
) -> None:
    sees = SmallConvolutions(spaces.Box(0, 255, (2, rows, columns), np.uint8))
    first: Any = sees.layers[0]
    assert unseen(sees.layers, rows, columns) == 0
    given = sees.layers(torch.zeros(1, 2, rows, columns))
    assert given.shape == (1, sees.features_dim)
    places = sees.layers[0](torch.zeros(1, 2, rows, columns)).shape[-2:]
    assert 6 <= min(places) <= 14
    for side in (0, 1):  # neighbours overlap by half at least
        assert 2 <= first.kernel_size[side] / first.stride[side] < 3


def test_convolutions_that_miss_an_edge_are_found_out() -> None:
    """As those of twice their stride do, which there were before: Catcher's paddle was unseen."""
    narrow = [nn.Conv2d(2, 16, 4, 2), nn.Conv2d(16, 32, 3, 2)]
    assert unseen(narrow, 21, 21) == 21 + 20


def test_nature_is_that_of_stable_baselines3() -> None:
    learner = agent(seen={**SEEN, "screen_size": 36}, convolutions="nature")
    assert type(learner.q_net.features_extractor) is NatureCNN
    with pytest.raises(ValueError, match=r"needs pictures of at least 36x36 pixels.*35x35"):
        agent(seen={**SEEN, "screen_size": 35}, convolutions="nature")


@pytest.mark.parametrize("size", [36, 42, 43, 44, 64, 80, 84])
def test_nature_is_refused_where_it_would_miss_an_edge(size: int) -> None:
    sees = NatureCNN(spaces.Box(0, 255, (2, size, size), np.uint8)).cnn
    if not unseen(sees, size, size):
        assert size in (36, 44, 84)
        agent(seen={**SEEN, "screen_size": size}, convolutions="nature")
        return
    missed = (size - 36) % 8
    assert unseen(sees, size, size) == size**2 - (size - missed) ** 2
    with pytest.raises(ValueError, match=f"would not see the last {missed} rows and {missed} col"):
        agent(seen={**SEEN, "screen_size": size}, convolutions="nature")


@pytest.mark.parametrize("method", OF_FEATURES)
def test_filters_are_not_recycled(method: str) -> None:
    with pytest.raises(ValueError, match=f"part '{method}' recycles units of perceptrons, and the"):
        agent(method)


def test_filters_are_not_split() -> None:
    with pytest.raises(ValueError, match=r"part 'pt-dqn' splits each hidden layer"):
        agent("pt-dqn")


@pytest.mark.parametrize("method", ["den", "hat", "packnet"])
def test_a_method_that_is_told_the_phase_by_features_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match=rf"part '{method}' must be told.*context = 'hidden'"):
        agent(method)


def test_convolutions_are_not_asked_of_who_sees_features() -> None:
    of_pictures = DQNSettings(convolutions="nature")
    schedule = shipped("conflict", make_game("Catcher"))
    with pytest.raises(ValueError, match="convolutions = 'nature' look at pictures, and of Catche"):
        build_agent("Catcher", schedule, of_pictures)


def layers_without_biases(learner: Any) -> list[Any]:
    """Return the layers with weights, all of whose biases must be 0."""
    layers = [one for one in learner.q_net.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    assert len(layers) == 4
    assert not any(layer.bias.any() for layer in layers)
    return layers


def test_initial_weights_are_those_that_are_asked_for_in_convolutions_too() -> None:
    for layer in layers_without_biases(agent(initial="xavier")):
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
        bound = (6 / (fan_in + fan_out)) ** 0.5
        assert 0.8 * bound < float(layer.weight.detach().abs().max()) <= bound


def test_sparse_initial_weights_leave_each_unit_a_tenth_and_at_least_one() -> None:
    for layer in layers_without_biases(agent(initial="sparse")):
        units = layer.weight.detach().reshape(len(layer.weight), -1)
        count = units.shape[1]
        left = [int((unit != 0).sum()) for unit in units]
        assert set(left) == {max(1, count // 10)}  # 0.9 of them, rounded up, are 0
        assert 0.5 * count**-0.5 < float(units.abs().max()) <= count**-0.5
        assert len({tuple((unit != 0).tolist()) for unit in units}) > 1  # not the same of all


def test_one_seed_one_life() -> None:
    lives = [agent("reservoir") for _ in range(2)]
    for learner in lives:
        learner.learn(CONFLICT.total_steps)
    assert torch.equal(*map(weights, lives))


def test_features_are_not_fed_to_an_agent_that_sees_pictures() -> None:
    learner = agent()
    with pytest.raises(ValueError, match=r"[Oo]bservation space"):
        learner.set_env(tiny.life(num_envs=tiny.NUM_ENVS))
