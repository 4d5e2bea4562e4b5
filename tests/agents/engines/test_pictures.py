"""Agents that see pictures, with both engines: the same lives, and who serves whom."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import tiny
import torch
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn

from continual_arcade.agents import (
    METHODS,
    ContinualDQN,
    DQNSettings,
    Exploration,
    Method,
    build_agent,
    compose,
)
from continual_arcade.agents.engines import eligibility
from continual_arcade.agents.methods import Part
from continual_arcade.agents.networks import SmallConvolutions
from continual_arcade.agents.replay import FIFOReplayBuffer
from continual_arcade.agents.replay.n_step import COLUMNS
from continual_arcade.envs import Schedule, make_game, shipped

TOLERANCE = 1e-5
"""Largest difference of a parameter; see ``test_parity.py``."""
PIXELS: dict[str, Any] = {"observation": "pixels", "screen_size": 21, "stack": 2}
SETTINGS = DQNSettings(
    hidden=(16,),
    batch_size=16,
    gradient_steps=2,
    num_envs=4,
    learning_starts=60,
    target_update_interval=40,
    buffer_size=200,
    learning_rate=3e-4,
    average=0.99,
)


def life(game: str = "Catcher", steps: int = 80) -> Schedule:
    return shipped("conflict", make_game(game, **PIXELS)).with_steps(steps)


def newborn(
    engine: Any,
    method: Method = METHODS["finetune"],
    parts: Sequence[Part] = (),
    game: str = "Catcher",
    pixels: dict[str, Any] = PIXELS,
    **changes: Any,
) -> ContinualDQN:
    settings = replace(SETTINGS, engine=engine, **changes)
    return build_agent(game, life(game), settings, 3, method, parts, **pixels)


def lived(engine: Any, *args: Any, **kwargs: Any) -> ContinualDQN:
    agent = newborn(engine, *args, **kwargs)
    return agent.learn(life().total_steps)


def vector(network: nn.Module) -> Any:
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()]).numpy()


def assert_same(torchs: ContinualDQN, compiled: ContinualDQN) -> None:
    assert not torchs.runs_compiled
    assert compiled.runs_compiled
    assert compiled._n_updates == torchs._n_updates > 80
    for name in ("q_net", "q_net_target"):
        difference = np.abs(vector(getattr(torchs, name)) - vector(getattr(compiled, name))).max()
        assert difference < TOLERANCE, (name, difference)
    for network in (torchs.weight_average, compiled.weight_average):
        assert network is not None
    for a, b in zip(
        torchs.weight_average.parameters,  # type: ignore[union-attr]
        compiled.weight_average.parameters,  # type: ignore[union-attr]
        strict=True,
    ):
        assert float((a - b).abs().max()) < TOLERANCE
    kept, others = (a.replay.stored(a.replay.stored_slots()) for a in (torchs, compiled))
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(kept, name), getattr(others, name))
    assert torchs.replay.observations.dtype == compiled.replay.observations.dtype == np.uint8
    assert (torchs._last_obs == compiled._last_obs).all()  # type: ignore[union-attr, operator]
    assert torchs.num_timesteps == compiled.num_timesteps
    assert torchs._episode_num == compiled._episode_num
    for part, twin in zip(torchs.parts, compiled.parts, strict=True):
        for name in ("omega", "center", "average", "path", "base"):
            for a, b in zip(getattr(part, name, []), getattr(twin, name, []), strict=True):
                scale = max(1.0, float(a.abs().max()))
                assert float((a - b).abs().max()) < 1e-3 * scale, (part.name, name)


@pytest.mark.one_in(3)
@pytest.mark.filterwarnings("ignore::UserWarning")  # penalties that dominate, A-GEM over Adam
@pytest.mark.parametrize(
    "name", ["finetune", "ewc", "si", "mas", "mer", "clear", "agem", "clone", "reservoir"]
)
def test_both_engines_lead_the_same_life(name: str) -> None:
    method = METHODS[name] if name != "clear" else compose("finetune", "mix", ["clear:after=60"])
    assert_same(lived("torch", method), lived("compiled", method))


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("changes", "pixels"),
    [
        ({"activation": "tanh", "hidden": (9, 7)}, {}),
        ({"double_q": False, "optimizer": "sgd", "n_steps": 1, "num_envs": 3}, {}),
        ({}, {"screen_size": (24, 31), "stack": 1, "colour": True}),
        # With larger steps PyTorch leads two lives, too, from parameters that differ by 2e-7.
        ({"learning_rate": 1e-4}, {"screen_size": 42, "stack": 4}),
        ({}, {"channels": "last"}),
    ],
)
def test_other_settings_and_pictures_too(changes: Any, pixels: Any) -> None:
    pixels = {**PIXELS, **pixels}
    assert_same(
        *(lived(e, game="FlappyBird", pixels=pixels, **changes) for e in ("torch", "compiled"))
    )


def test_single_examples_too() -> None:
    method = compose("finetune", "mix", ["mer:algorithm=7,memories=3,repeats=2"])
    sgd: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 3e-3}
    assert_same(lived("torch", method, **sgd), lived("compiled", method, **sgd))


class Watcher(Part):
    """Sees each step of the environments, and so keeps them under the ordinary loop."""

    name: ClassVar[str] = "watcher"

    def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
        assert transitions.observations.dtype == np.uint8


def test_the_ordinary_loop_and_the_compiled_one_are_one_life() -> None:
    fused, ordinary = lived("compiled"), lived("compiled", parts=[Watcher()])
    assert fused._fused is not None
    assert ordinary._fused is None
    assert ordinary.runs_compiled
    assert tiny.bits(fused) == tiny.bits(ordinary)


class EachStep(BaseCallback):
    """Keeps what is seen at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def _on_step(self) -> bool:
        self.seen.append(self.locals["new_obs"].copy())
        self.seen += [
            info["terminal_observation"].copy()
            for info in self.locals["infos"]
            if "terminal_observation" in info
        ]
        return True


def test_where_python_is_entered_makes_no_difference_but_it_sees_the_pictures() -> None:
    whole, pieces, torchs = newborn("compiled"), newborn("compiled"), newborn("torch")
    whole.learn(life().total_steps)
    mine, its = EachStep(), EachStep()
    pieces.learn(life().total_steps, mine)
    torchs.learn(life().total_steps, its)
    assert tiny.bits(whole) == tiny.bits(pieces)
    assert len(mine.seen) == len(its.seen) > life().total_steps // 4
    for step, (a, b) in enumerate(zip(mine.seen, its.seen, strict=True)):
        assert a.dtype == b.dtype == np.uint8
        assert a.shape[-3:] == (2, 21, 21)
        assert (a == b).all(), step


@pytest.mark.parametrize("name", ["finetune", "clone"])
def test_the_same_seed_gives_the_same_bits(name: str) -> None:
    first, second = (lived("compiled", METHODS[name]) for _ in range(2))
    assert tiny.bits(first) == tiny.bits(second)


def test_one_engine_goes_on_where_the_other_was(tmp_path: Path) -> None:
    agent = newborn("torch", METHODS["mer"])
    agent.learn(140)
    agent.save_training(tmp_path / "torch.zip")
    agent.learn(100, reset_num_timesteps=False)
    env = newborn("torch").env
    other = ContinualDQN.load(tmp_path / "torch.zip", env, "cpu", engine="compiled")
    other.learn(100, reset_num_timesteps=False)
    assert_same(agent, other)


def test_predictions_are_those_of_the_network() -> None:
    agent = newborn("compiled")
    space = agent.observation_space
    space.seed(0)
    observations = np.stack([space.sample() for _ in range(60)])
    with torch.no_grad():  # else the biases choose, whatever is seen
        last: Any = agent.q_net.q_net[-1]
        last.bias -= agent.q_net(torch.as_tensor(observations)).mean(0)
    found, _ = agent.predict(observations, deterministic=True)
    with torch.no_grad():
        expected = agent.q_net(torch.as_tensor(observations)).argmax(1)
    assert len(set(expected.tolist())) > 1
    assert found.tolist() == expected.tolist()
    one, _ = agent.predict(observations[0], deterministic=True)
    assert int(one) == int(expected[0])


@pytest.fixture(scope="module")
def rightly() -> ContinualDQN:
    """A life in torch, which the compiled engine leads as well."""
    agent = lived("torch")
    assert_same(agent, lived("compiled"))
    return agent


@pytest.mark.parametrize("divisor", [1.0, 256.0])
def test_pictures_that_are_seen_otherwise_are_found(
    divisor: float, rightly: ContinualDQN, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = eligibility._looks
    monkeypatch.setattr(eligibility, "_looks", lambda network: (looks(network)[0], divisor))  # type: ignore[index]
    with pytest.raises(AssertionError):
        assert_same(rightly, lived("compiled"))


# Who serves.


class OwnConvolutions(SmallConvolutions):
    """May compute what it likes."""


@dataclass
class Noise(gym.Env[Any, Any]):
    """An environment of somebody else, seen in pictures that mean nothing."""

    space: Any = None

    def __post_init__(self) -> None:
        self.observation_space = self.space or gym.spaces.Box(0, 255, (2, 21, 21), np.uint8)
        self.action_space = gym.spaces.Discrete(3)
        self.place = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.place = 0
        return self.observation_space.sample(), {}

    def step(self, action: int) -> Any:
        self.place += 1
        return self.observation_space.sample(), float(action == 1), self.place > 9, False, {}


def foreign(engine: Any, extractor: Any = SmallConvolutions, **kwargs: Any) -> ContinualDQN:
    settings = {"learning_starts": 40, "buffer_size": 100, "seed": 1, "device": "cpu", **kwargs}
    policy = {"net_arch": [8], **settings.pop("policy_kwargs", {})}
    if extractor is not None:
        policy["features_extractor_class"] = extractor
    return ContinualDQN(
        "MlpPolicy" if extractor is None else "CnnPolicy",
        settings.pop("env", None) or Noise(),
        exploration=Exploration("global"),
        replay_buffer_class=FIFOReplayBuffer,
        policy_kwargs=policy,
        engine=engine,
        train_freq=1,
        batch_size=16,
        **settings,
    )


@pytest.mark.parametrize("normalize", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_any_environment_under_the_ordinary_loop(normalize: bool) -> None:
    agents = [
        foreign(engine, policy_kwargs={"normalize_images": normalize})
        for engine in ("torch", "compiled")
    ]
    for agent in agents:
        agent.learn(250)
    assert agents[1].runs_compiled
    assert agents[0]._n_updates == agents[1]._n_updates > 200
    scale = 1.0 if normalize else 10.0
    difference = np.abs(vector(agents[0].q_net) - vector(agents[1].q_net)).max()
    assert difference < scale * TOLERANCE


FLOATS = gym.spaces.Box(0, 1, (2, 21, 21), np.float32)
UNSERVED: list[tuple[Callable[[Any], Any], str]] = [
    (
        lambda e: newborn(e, pixels={**PIXELS, "screen_size": 44}, convolutions="nature"),
        "has a NatureCNN over pictures; supported: .*SmallConvolutions",
    ),
    (lambda e: newborn(e, layer_norm=True), "has a LayerNorm as layer 1"),
    (lambda e: newborn(e, dropout=0.1), "has a Dropout as layer 1"),
    (lambda e: foreign(e, None), "has a FlattenExtractor over pictures"),
    (lambda e: foreign(e, OwnConvolutions), "has a OwnConvolutions over pictures"),
    (
        lambda e: foreign(e, env=Noise(FLOATS), policy_kwargs={"normalize_images": False}),
        "the observation space is Box.* and pictures of uint8, from 0 to 255",
    ),
]


@pytest.mark.parametrize(("make", "why"), UNSERVED)
def test_what_it_cannot_serve_is_said_at_once(make: Callable[[Any], Any], why: str) -> None:
    with pytest.raises(ValueError, match=f"the compiled engine does not support .*{why}"):
        make("compiled")
    agent = make("auto")
    assert not agent.runs_compiled
    assert agent.engine_report.startswith("torch, because ")


def of(agent: Any, layer: int) -> Any:
    return agent.q_net.features_extractor.layers[layer]


def both(agent: Any, do: Callable[[Any], object]) -> None:
    for network in (agent.q_net, agent.q_net_target):
        do(network)


LATER: dict[str, tuple[Callable[[Any], object], str]] = {
    "padding": (lambda agent: setattr(of(agent, 0), "padding", (1, 1)), "has padding = "),
    "dilation": (lambda agent: setattr(of(agent, 2), "dilation", (2, 2)), "has dilation = "),
    "stride": (lambda agent: setattr(of(agent, 0), "stride", (1, 1)), "give .* numbers, not 512"),
    "activation": (
        lambda agent: agent.q_net.features_extractor.layers.__setitem__(1, nn.Tanh()),
        "the layers of the convolutions were changed",
    ),
    "flattening": (lambda agent: setattr(of(agent, 4), "start_dim", 2), "not flattened as a whole"),
    "forward": (
        lambda agent: setattr(agent.q_net.features_extractor, "forward", torch.flatten),
        r"forward\(\) of the convolutions was changed",
    ),
    "normalising": (
        lambda agent: setattr(agent.q_net, "normalize_images", False),
        "target network looks at pictures in another way",
    ),
    "frozen": (lambda agent: of(agent, 0).requires_grad_(False), "a parameter is frozen"),
    "hook": (
        lambda agent: of(agent, 2).register_forward_hook(lambda *given: 2 * given[-1]),
        "the network has hooks",
    ),
}


@pytest.mark.parametrize("name", LATER)
def test_what_is_changed_later_is_seen(name: str) -> None:
    do, why = LATER[name]
    agent = newborn("auto")
    agent.learn(80)
    assert agent.runs_compiled
    do(agent)
    assert not agent.runs_compiled
    assert re.search(why, agent.engine_report)
    agent = newborn("compiled")
    do(agent)
    with pytest.raises(ValueError, match=f"the compiled engine does not support .*{why}"):
        agent.learn(10)


def test_pixels_that_are_no_longer_divided_are_seen() -> None:
    agents = [newborn(engine, learning_rate=1e-5) for engine in ("torch", "compiled")]
    for agent in agents:
        agent.learn(100)
        both(agent, lambda network: setattr(network, "normalize_images", False))
        agent.learn(100, reset_num_timesteps=False)
    assert agents[1].runs_compiled
    difference = np.abs(vector(agents[0].q_net) - vector(agents[1].q_net)).max()
    assert difference < TOLERANCE
