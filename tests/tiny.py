"""Agents so small, and lives so short, that tests can live through many of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

from continual_arcade.agents import ContinualDQN, DQNSettings, Exploration, make_training_env
from continual_arcade.agents.methods import Part
from continual_arcade.agents.replay import FIFOReplayBuffer
from continual_arcade.envs import Schedule, make_game, shipped
from continual_arcade.envs.context import HIDDEN, ContextKind

NUM_ENVS = 4
PHASE = 120
LEARNING_STARTS = 32
CONFLICT = shipped("conflict", make_game("FlappyBird")).with_steps(PHASE)
"""Three phases of contradicting physics."""
LIFE = CONFLICT.total_steps
UNCOMPILED = ("progressive",)
"""Methods, and parts, whose networks PyTorch alone computes."""
EACH_ENGINE = pytest.mark.parametrize(
    "engine", [pytest.param("torch", marks=pytest.mark.slow), "compiled"]
)
"""For what holds with either engine: both learn the same of each method, which tests of their own
say, and PyTorch takes many times as long."""
SETTINGS = DQNSettings(
    num_envs=NUM_ENVS,
    hidden=(8,),
    batch_size=16,
    gradient_steps=1,
    buffer_size=200,
    learning_starts=LEARNING_STARTS,
    target_update_interval=40,
    exploration_fraction=0.5,
)


def life(
    schedule: Schedule = CONFLICT, num_envs: int = NUM_ENVS, context: ContextKind = HIDDEN
) -> Any:
    return make_training_env("FlappyBird", schedule, num_envs, context)


def context_of(parts: Iterable[Part]) -> ContextKind:
    """Return what observations must show where parts are told the phase, or not."""
    return "one-hot" if any(part.told for part in parts) else HIDDEN


def agent(
    *parts: Part,
    kind: type[ContinualDQN] = ContinualDQN,
    replay: type[Any] = FIFOReplayBuffer,
    env: Any = None,
    seed: int = 0,
    policy: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> ContinualDQN:
    settings: dict[str, Any] = {
        "learning_rate": 1e-3,
        "buffer_size": 200,
        "learning_starts": LEARNING_STARTS,
        "batch_size": 16,
        "train_freq": 1,
        "gradient_steps": 1,
        "target_update_interval": 40,
        "exploration_fraction": 0.5,
        "n_steps": 1 if any(part.streaming for part in parts) else 3,
    }
    told = {part.told: len(CONFLICT.distinct) for part in parts if part.told}
    return kind(
        "MlpPolicy",
        life(context=context_of(parts)) if env is None else env,
        parts=parts,
        double_q=True,
        exploration=Exploration(),
        replay_buffer_class=replay,
        policy_kwargs={"net_arch": [8], **told, **(policy or {})},
        device="cpu",
        seed=seed,
        **{**settings, **kwargs},
    )


def live(agent: ContinualDQN, steps: int = LIFE, **kwargs: Any) -> ContinualDQN:
    """Live so many steps; nothing is logged."""
    agent.learn(steps, log_interval=None, **kwargs)  # type: ignore[arg-type]
    return agent


class SaveAt(BaseCallback):
    """Saves all that training needs, once, in the middle of a life."""

    def __init__(self, step: int, path: Path) -> None:
        super().__init__()
        self.step, self.path, self.saved = step, path, False

    def _on_rollout_start(self) -> None:
        if not self.saved and self.num_timesteps >= self.step:
            self.model.save_training(self.path)  # type: ignore[attr-defined]
            self.saved = True

    def _on_step(self) -> bool:
        return True


def bits(agent: ContinualDQN) -> bytes:
    """All parameters, of the network and of its target."""
    return b"".join(t.numpy().tobytes() for t in agent.policy.state_dict().values())


def inside(agent: ContinualDQN) -> dict[str, Any]:
    """All that decides how an agent goes on, but for its environments."""
    return {
        "policy": agent.policy.state_dict(),
        "moments": agent.optimizer.state_dict(),
        "average": agent.weight_average and agent.weight_average.state_dict(),
        "parts": [part.state_dict() for part in agent.parts],
        "replay": agent.replay.state_dict(),
        "life": agent.phase_tracker.state_dict(),
        "counters": [
            agent.num_timesteps,
            agent._n_updates,
            agent._n_calls,
            agent._episode_num,
            agent.exploration_rate,
            agent._syncs_due,
            agent.lifetime_step,
        ],
        "exploration": agent._exploration_rng.bit_generator.state,
        "network": agent._network_rng.bit_generator.state,
    }


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """Where two trees are not the same, bit for bit."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if list(map(str, one)) != list(map(str, other)):
            yield f"{where}: {list(one)} and {list(other)}"
            return
        for key, value in one.items():
            yield from differences(value, other[key], f"{where}/{key}")
    elif isinstance(one, Sequence) and not isinstance(one, str):
        if len(one) != len(other):
            yield f"{where}: {len(one)} and {len(other)}"
            return
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            yield from differences(a, b, f"{where}[{i}]")
    elif isinstance(one, np.ndarray | torch.Tensor):
        a, b = np.asarray(one), np.asarray(other)
        if a.dtype != b.dtype or a.shape != b.shape:
            yield f"{where}: {a.dtype}, {a.shape} and {b.dtype}, {b.shape}"
        elif a.tobytes() != b.tobytes():
            places = np.argwhere(a != b).tolist() if a.dtype.names is None else []
            first = tuple(places[0]) if places else ()
            how = f"{a[first]!r} and {b[first]!r}" if places else "in the sign of a zero, or a NaN"
            yield f"{where}: {how}, in {len(places)} places"
    elif one != other:
        yield f"{where}: {one} and {other}"


@dataclass
class Spy(Part):
    """Notes which hooks are called, in which order; and does nothing."""

    name: ClassVar[str] = "spy"
    label: str = "spy"
    events: list[tuple[Any, ...]] = field(default_factory=list)

    def phase_start(self, learner: Any, phase: int) -> None:
        self.events.append((self.label, "phase_start", phase))

    def phase_end(self, learner: Any, phase: int) -> None:
        self.events.append((self.label, "phase_end", phase))

    def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
        self.events.append((self.label, "stored", set(transitions.phases.tolist())))

    def before_update(self, learner: Any) -> None:
        self.events.append((self.label, "before_update"))

    def on_td_gradient(self, learner: Any) -> None:
        self.events.append((self.label, "on_td_gradient"))

    def loss(self, learner: Any, batch: Any) -> None:
        self.events.append((self.label, "loss"))

    def add_gradient(self, learner: Any) -> None:
        self.events.append((self.label, "add_gradient"))

    def project(self, learner: Any) -> None:
        self.events.append((self.label, "project"))

    def project_update(self, learner: Any) -> None:
        self.events.append((self.label, "project_update"))

    def constrain(self, learner: Any) -> None:
        self.events.append((self.label, "constrain"))

    def interpolate(self, learner: Any) -> None:
        self.events.append((self.label, "interpolate"))

    def after_update(self, learner: Any) -> None:
        self.events.append((self.label, "after_update"))


@dataclass
class History(Part):
    """Keeps all transitions that were stored, phase by phase, as they came."""

    name: ClassVar[str] = "history"
    observations: dict[int, list[np.ndarray]] = field(default_factory=dict)
    rewards: dict[int, list[float]] = field(default_factory=dict)

    def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
        for row, phase in enumerate(transitions.phases.tolist()):
            self.observations.setdefault(phase, []).append(transitions.observations[row].copy())
            self.rewards.setdefault(phase, []).append(float(transitions.rewards[row]))


class Corridor(gym.Env[np.ndarray, int]):
    """An environment of somebody else: no schedule, and as many actions as one likes."""

    def __init__(self, actions: int = 2, features: int = 8) -> None:
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (features,), np.float32)
        self.action_space = gym.spaces.Discrete(actions)
        self.place = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place = 0
        return self.observation_space.sample(), {}

    def step(self, action: int) -> Any:
        self.place += 1
        return self.observation_space.sample(), float(action), self.place > 9, False, {}
