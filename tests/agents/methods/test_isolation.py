"""What all methods refuse that give each phase parameters of its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from tiny import CONFLICT, SETTINGS

from continual_arcade.agents import ContinualDQN, build_agent
from continual_arcade.agents.building import make_training_env
from continual_arcade.agents.methods import METHODS, PARTS, make_part
from continual_arcade.agents.methods.isolation import Isolation
from continual_arcade.envs import Schedule

ISOLATING = [name for name, part in PARTS.items() if issubclass(part, Isolation)]
EACH = pytest.mark.parametrize("name", ISOLATING)


def test_which_they_are() -> None:
    assert sorted(ISOLATING) == ["den", "hat", "packnet", "progressive"]
    assert sorted(ISOLATING) == sorted(name for name, part in PARTS.items() if part.told)


@EACH
def test_phases_that_drift_into_one_another_are_refused(name: str) -> None:
    """One end would be taken for that of the first of them alone."""
    first, second, third = CONFLICT.phases
    schedule = Schedule("drifts", (replace(first, until=second.params), second, third))
    with pytest.raises(ValueError, match=f"'{name}' freezes what .* or drifts into"):
        build_agent("FlappyBird", schedule, SETTINGS, method=METHODS[name], context="one-hot")


@EACH
def test_observations_that_tell_another_phase_are_refused(name: str) -> None:
    """It would be learnt as that one, and what was kept of it would change."""
    env: Any = make_training_env("FlappyBird", CONFLICT, SETTINGS.num_envs, "one-hot")
    step = env.env.step

    def swapped(actions: Any) -> Any:
        observations, *rest = step(actions)
        return np.concatenate([observations[:, :-3], np.roll(observations[:, -3:], 1, 1)], 1), *rest

    env.env.step = swapped
    part = make_part(name)
    learner = tiny.agent(part, env=env, policy={part.told: 3}, engine="torch")
    with pytest.raises(ValueError, match="of phase 1 tells that it is of phase 2, which would be"):
        learner.learn(200)


@EACH
def test_a_file_with_a_phase_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    """And one with anything else in its buffers that training cannot lead to."""
    agent = build_agent("FlappyBird", CONFLICT, SETTINGS, method=METHODS[name], context="one-hot")
    agent.save(tmp_path / "right.zip")
    ContinualDQN.load(tmp_path / "right.zip")
    network: Any = agent.q_net
    bounded = network.bounds()
    assert {n for n, _ in network.named_buffers()} == {*bounded}  # none was forgotten
    for buffer, (low, high) in bounded.items():
        kept = getattr(network, buffer)
        for wrong in (low - 1, high + 1):
            if np.isinf(wrong):
                continue
            setattr(network, buffer, torch.full_like(kept, wrong))
            agent.save(tmp_path / "wrong.zip")
            with pytest.raises(ValueError, match=rf"q_net\.{buffer} of the network must be from"):
                ContinualDQN.load(tmp_path / "wrong.zip")
        setattr(network, buffer, kept)
