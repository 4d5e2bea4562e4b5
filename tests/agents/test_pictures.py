"""Agents that see pictures: every method learns from them, and what is saved goes on as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from stable_baselines3.common.torch_layers import NatureCNN
from torch import nn

from continual_arcade.agents import METHODS, ContinualDQN, DQNSettings, build_agent
from continual_arcade.agents.networks import SmallConvolutions
from continual_arcade.envs import make_game, shipped

SEEN: dict[str, Any] = {"observation": "pixels", "screen_size": 21, "stack": 2}
CONFLICT = shipped("conflict", make_game("Catcher", **SEEN)).with_steps(80)


def agent(method: str = "finetune", seen: dict[str, Any] = SEEN, **settings: Any) -> ContinualDQN:
    chosen = {**vars(tiny.SETTINGS), "engine": "torch", **settings}
    return build_agent("Catcher", CONFLICT, DQNSettings(**chosen), method=METHODS[method], **seen)


def weights(learner: ContinualDQN) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in learner.policy.parameters()])


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", [name for name in METHODS if name != "mer-faithful"])
def test_every_method_learns_from_pictures(method: str) -> None:
    learner = agent(method)
    before = weights(learner).clone()
    learner.learn(CONFLICT.total_steps)
    after = weights(learner)
    assert learner.num_timesteps == CONFLICT.total_steps
    assert bool(torch.isfinite(after).all())
    assert not torch.equal(before, after)


@pytest.mark.parametrize("method", ["finetune", "ewc", "mer", "agem", "si"])
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


@pytest.mark.parametrize("size", [17, 21, 42, 84, 100])
def test_small_convolutions_see_about_ten_by_ten_places(size: int) -> None:
    learner = agent(seen={**SEEN, "screen_size": size})
    sees: Any = learner.q_net.features_extractor
    assert isinstance(sees, SmallConvolutions)
    first = sees.layers[0](torch.zeros(1, 2, size, size))
    assert 7 <= first.shape[-1] <= 10
    # Neighbouring filters overlap by half, so that an edge of a picture is never lost.
    assert sees.layers[0].kernel_size[0] == 2 * sees.layers[0].stride[0]
    assert learner.q_net.q_net[0].in_features == sees.features_dim


def test_nature_is_that_of_stable_baselines3() -> None:
    learner = agent(seen={**SEEN, "screen_size": 36}, convolutions="nature")
    assert type(learner.q_net.features_extractor) is NatureCNN
    with pytest.raises(ValueError, match=r"needs pictures of at least 36x36 pixels.*35x35"):
        agent(seen={**SEEN, "screen_size": 35}, convolutions="nature")


def test_convolutions_are_not_asked_of_who_sees_features() -> None:
    settings = DQNSettings(convolutions="nature")
    schedule = shipped("conflict", make_game("Catcher"))
    with pytest.raises(ValueError, match="convolutions = 'nature' look at pictures, and of Catche"):
        build_agent("Catcher", schedule, settings)


def test_initial_weights_are_those_that_are_asked_for_in_convolutions_too() -> None:
    learner = agent(initial="xavier")
    layers = [
        layer for layer in learner.q_net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    assert len(layers) == 4
    for layer in layers:
        assert layer.bias is not None
        assert not layer.bias.any()
        fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
        bound = (6 / (fan_in + fan_out)) ** 0.5
        assert 0.8 * bound < float(layer.weight.detach().abs().max()) <= bound


def test_one_seed_one_life() -> None:
    lives = [agent("reservoir") for _ in range(2)]
    for learner in lives:
        learner.learn(CONFLICT.total_steps)
    assert torch.equal(*map(weights, lives))


def test_features_are_not_fed_to_an_agent_that_sees_pictures() -> None:
    learner = agent()
    with pytest.raises(ValueError, match=r"[Oo]bservation space"):
        learner.set_env(tiny.life(num_envs=tiny.NUM_ENVS))
