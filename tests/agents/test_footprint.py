"""What an agent takes and keeps is what can be counted by hand."""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.buffers import ReplayBuffer
from tiny import CONFLICT, LIFE, NUM_ENVS, PHASE, SETTINGS, agent, live

from continual_arcade.agents import build_agent, make_training_env
from continual_arcade.agents.algorithms.ppo import PPOSettings
from continual_arcade.agents.footprint import footprint
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.method import compose
from continual_arcade.agents.replay import ReservoirReplayBuffer
from continual_arcade.agents.sb3.building import build_sb3_agent
from continual_arcade.evaluation.footprints import Footprint

FEATURES, HIDDEN, ACTIONS, FLOAT = 8, 8, 2, 4
NUMBERS = FEATURES * HIDDEN + HIDDEN + HIDDEN * ACTIONS + ACTIONS
"""Weights and biases of a network with one hidden layer."""


def test_it_has_the_fields_of_a_footprint() -> None:
    names = [field.name for field in fields(Footprint)]
    assert ["lifetime_step", *footprint(agent())] == names


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_networks_by_hand(engine: str) -> None:
    model = agent(engine=engine)
    assert model.observation_space.shape == (FEATURES,)
    before = footprint(model)
    assert before["parameters"] == NUMBERS
    assert before["network_bytes"] == 2 * NUMBERS * FLOAT  # and the target network
    tensors = len(list(model.q_net.parameters()))
    # Adam has two moments of each parameter, and counts the steps of each tensor.
    adam = 2 * NUMBERS * FLOAT + tensors * FLOAT
    assert footprint(live(model, PHASE))["network_bytes"] == before["network_bytes"] + adam
    averaged = agent(engine=engine, average=0.9)
    assert footprint(averaged)["network_bytes"] == 3 * NUMBERS * FLOAT
    assert footprint(averaged)["parameters"] == NUMBERS


def test_replay_by_hand() -> None:
    model = agent(buffer_size=200)
    # Both observations; action; reward, end, timeout, discount; phase.
    of_one = 2 * FEATURES * FLOAT + 8 + 4 * FLOAT + 8
    held = footprint(model)["replay_bytes"]
    assert 200 * of_one <= held <= 200 * of_one + 100


def test_a_method_by_hand() -> None:
    model = agent(EWC(lam=0.1, samples=20))
    nothing = footprint(model)["method_bytes"]
    live(model, PHASE + 40)
    # The first phase left one centre, and how important each parameter was; of the second the
    # newest transitions are remembered: observations, action, phase; reward, end, discount.
    of_one = 2 * FEATURES * FLOAT + 2 * 8 + 3 * FLOAT
    held = footprint(model)["method_bytes"] - nothing
    assert held == 2 * NUMBERS * FLOAT + 20 * of_one


@pytest.mark.parametrize("replay", [None, ReservoirReplayBuffer])
def test_observations_of_earlier_phases_in_replay(replay: Any) -> None:
    model = agent(buffer_size=60, **({} if replay is None else {"replay": replay}))
    live(model, PHASE)
    assert footprint(model)["earlier_observations"] == 0
    live(model, 40, reset_num_timesteps=False)
    kept = footprint(model)["earlier_observations"]
    began = model.replay.phases[model.replay.stored_slots()].tolist()
    assert kept == began.count(0)
    live(model, LIFE - PHASE - 40, reset_num_timesteps=False)
    kept = footprint(model)["earlier_observations"]
    assert (kept > 0) == (replay is not None)  # whoever keeps the newest has forgotten the others


def test_what_replay_does_not_know() -> None:
    model = agent(replay=ReplayBuffer, n_steps=1, env=make_training_env("FlappyBird", CONFLICT, 4))
    assert math.isnan(footprint(live(model, PHASE))["earlier_observations"])


def test_agents_of_stable_baselines() -> None:
    settings = PPOSettings(num_envs=NUM_ENVS, hidden=(8,))
    model: Any = build_sb3_agent("FlappyBird", CONFLICT, settings)
    held = footprint(model)
    # A network for actions, and one for values.
    of_values = FEATURES * HIDDEN + HIDDEN + HIDDEN + 1
    assert held["parameters"] == NUMBERS + of_values
    assert held["method_bytes"] == held["earlier_observations"] == 0
    assert held["replay_bytes"] > model.n_steps * NUM_ENVS * FEATURES * FLOAT


def test_to_measure_changes_nothing(tmp_path: Path) -> None:
    files = []
    for measured in (False, True):
        method = compose("finetune", parts=["ewc:lam=0.1", "clone:states=40"])
        model = build_agent("FlappyBird", CONFLICT, SETTINGS, 0, method)
        for _ in range(3):
            model.learn(PHASE, reset_num_timesteps=False, log_interval=None)  # type: ignore[arg-type]
            if measured:
                footprint(model)
        files.append([tensor.detach().numpy() for tensor in model.policy.parameters()])
    assert all(np.array_equal(one, other) for one, other in zip(*files, strict=True))


def test_frozen_layers_count_and_nothing_is_used_up() -> None:
    model = agent(engine="torch")
    next(iter(model.q_net.parameters())).requires_grad_(requires_grad=False)
    assert footprint(model)["parameters"] == NUMBERS
    model.replay.visits = iter([np.zeros(9)])  # type: ignore[attr-defined]  # of a user's replay
    footprint(model)
    assert len(list(model.replay.visits)) == 1  # type: ignore[attr-defined]
