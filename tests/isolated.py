"""Methods that give phases parameters of their own: their agents, and what finished phases say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch

from continual_arcade.agents import METHODS, ContinualDQN, build_agent
from continual_arcade.agents.methods import Part
from continual_arcade.envs import Schedule, make_game, shipped

CONFLICT = shipped("conflict", make_game("FlappyBird")).with_steps(120)
"""Three phases."""
SETTINGS = replace(tiny.SETTINGS, hidden=(12, 8), learning_rate=1e-3)
PLAIN = METHODS["finetune"]
ENGINES = ("torch", "compiled")


def of_phase(net: Any, phase: int) -> torch.Tensor:
    """Return what a network says of fixed observations of a phase."""
    rng = np.random.default_rng(phase)
    width = net.observation_space.shape[0] - 3
    rows = np.concatenate([rng.normal(size=(40, width)), np.eye(3)[[phase] * 40]], 1)
    with torch.no_grad():
        values: torch.Tensor = net(torch.from_numpy(rows.astype(np.float32))).clone()
    return values


def agent(part: Part, engine: Any = "torch", schedule: Schedule = CONFLICT, **changes: Any) -> Any:
    settings = replace(SETTINGS, engine=engine, **changes)
    return build_agent("FlappyBird", schedule, settings, 3, PLAIN, [part], context="one-hot")


class Notes:
    """Mixed into a part: notes what each finished phase says, at its end."""

    def phase_end(self, learner: Any, phase: int) -> None:
        super().phase_end(learner, phase)  # type: ignore[misc]
        finished = int(learner.q_net.finished) - 1
        vars(self).setdefault("said", {})[finished] = of_phase(learner.q_net, finished)


def moved(part: Any, engine: Any) -> list[int]:
    """Return of which finished phases something was not, to the bit, as it had been."""
    learner = agent(part, engine)
    learner.learn(CONFLICT.total_steps)
    assert learner.runs_compiled == (engine == "compiled")
    nets = [learner.q_net, learner.averaged.q_net]
    said: dict[int, torch.Tensor] = vars(part)["said"]
    assert sorted(said) == [0, 1]
    return [
        p for p, then in said.items() for net in nets if not torch.equal(of_phase(net, p), then)
    ]


def check_comes_back(part: Part, folder: Path) -> None:
    """Assert that a file of a trained agent has all that its phases say."""
    whole = agent(part).learn(CONFLICT.total_steps)
    whole.save(folder / "end.zip")
    loaded = ContinualDQN.load(folder / "end.zip")
    for phase in (0, 1, 2):
        assert torch.equal(of_phase(whole.q_net, phase), of_phase(loaded.q_net, phase))
