"""Agents of Stable-Baselines3: what they learn is what the library learns, from the same draws."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from stable_baselines3.common.callbacks import BaseCallback
from tiny import SaveAt, bits, differences

from continual_arcade.agents import METHODS, make_training_env
from continual_arcade.agents.algorithms.algorithm import Algorithm
from continual_arcade.agents.algorithms.catalogue import ALGORITHMS, find
from continual_arcade.agents.building import training_schedule
from continual_arcade.agents.continual_dqn import DivergedError
from continual_arcade.agents.files.state_files import load_state, save_state
from continual_arcade.agents.networks import ACTIVATIONS, CONVOLUTIONS
from continual_arcade.agents.sb3.agent import SB3Agent
from continual_arcade.agents.sb3.building import build_sb3_agent
from continual_arcade.agents.sb3.generators import OwnGenerators
from continual_arcade.agents.sb3.loading import load_agent
from continual_arcade.agents.sb3.saving import KIND
from continual_arcade.envs import Schedule, make_game, shipped

SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 10, "batch_size": 20, "n_epochs": 2},
    "a2c": {"n_steps": 5},
    "qrdqn": {
        "n_quantiles": 4,
        "batch_size": 8,
        "gradient_steps": 1,
        "buffer_size": 120,
        "learning_starts": 40,
        "target_update_interval": 40,
    },
}
CATCHER = make_game("Catcher")
STATIONARY = shipped("stationary", CATCHER).with_steps(240)
CONFLICT = shipped("conflict", CATCHER).with_steps(100)
"""Three phases, which end within a rollout of PPO."""


def small(name: str, **changes: Any) -> Any:
    return find(name).settings(**{"num_envs": 4, "hidden": (8,), **SMALL[name], **changes})


def agent(name: str, schedule: Schedule = CONFLICT, method: str = "finetune", **more: Any) -> Any:
    return build_sb3_agent("Catcher", schedule, small(name, **more), 3, METHODS[method])


def library(algorithm: Algorithm, schedule: Schedule = STATIONARY) -> Any:
    """The same without this suite."""
    s = small(algorithm.name)
    return algorithm.load()(
        "MlpPolicy",
        make_training_env("Catcher", schedule, s.num_envs),
        seed=3,
        device="cpu",
        policy_kwargs={
            "net_arch": [8],
            "activation_fn": ACTIVATIONS[s.activation],
            **s.policy_arguments(),
        },
        **s.arguments(),
    )


def global_state() -> list[Any]:
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002
    return [random.getstate(), str(numpy), torch.get_rng_state().numpy().tobytes()]


@contextmanager
def undisturbed() -> Iterator[None]:
    before = global_state()
    yield
    assert global_state() == before


class Draws(BaseCallback):
    """Draws from the global generators, as an evaluation of somebody else's might."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[float] = []

    def _on_step(self) -> bool:
        self.drawn += [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002
        return True


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=list(ALGORITHMS))
def test_it_is_the_algorithm_of_the_library_weight_for_weight(algorithm: Algorithm) -> None:
    plain = library(algorithm)
    plain.learn(STATIONARY.total_steps)
    with undisturbed():
        ours = agent(algorithm.name, STATIONARY)
        assert bits(ours) != bits(plain)
        ours.learn(STATIONARY.total_steps)
    assert bits(ours) == bits(plain)
    assert ours.num_timesteps == plain.num_timesteps == STATIONARY.total_steps


@pytest.mark.parametrize("name", ALGORITHMS)
def test_neither_touches_what_the_other_draws_from(name: str) -> None:
    alone, beside, draws = agent(name), agent(name), Draws()
    alone.learn(CONFLICT.total_steps)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    beside.learn(CONFLICT.total_steps, callback=draws)
    assert bits(alone) == bits(beside)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    again = Draws()
    for _ in range(CONFLICT.total_steps // 4):
        again._on_step()
    assert draws.drawn == again.drawn
    with undisturbed():  # exploring, outside of training
        alone.predict(alone.env.reset())


def test_callbacks_within_its_generators_would_be_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(OwnGenerators, "outside", lambda self: nullcontext())
    with pytest.raises(AssertionError):
        test_neither_touches_what_the_other_draws_from("ppo")


class Seldom(BaseCallback):
    """Says when it is due."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[tuple[int, int]] = []

    def _on_step(self) -> bool:
        self.called.append((self.num_timesteps, self.n_calls))
        return True

    def next_due(self, num_timesteps: int) -> int:
        return (num_timesteps // 100 + 1) * 100


def test_a_callback_that_says_when_it_is_due_is_called_then() -> None:
    seldom = Seldom()
    agent("a2c").learn(300, callback=seldom)
    assert seldom.called == [(100, 25), (200, 50), (300, 75)]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["finetune", "from-scratch", "joint"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_resumed_training_ends_with_the_same_bits(name: str, method: str, tmp_path: Path) -> None:
    whole, saves = agent(name, method=method), SaveAt(120, tmp_path / "state.zip")
    whole.learn(CONFLICT.total_steps, callback=saves)
    assert saves.saved
    whole.save_training(tmp_path / "whole.zip")
    schedule = training_schedule(METHODS[method], CONFLICT)
    with undisturbed():
        resumed = load_agent(tmp_path / "state.zip", make_training_env("Catcher", schedule, 4))
        left = CONFLICT.total_steps - resumed.num_timesteps
        assert 0 < left < CONFLICT.total_steps
        resumed.learn(left, reset_num_timesteps=False)
    resumed.save_training(tmp_path / "resumed.zip")
    expected, found = (load_state(tmp_path / f"{n}.zip", KIND) for n in ("whole", "resumed"))
    for state in (expected, found):
        for episode in state["training"]["episodes"]:
            del episode["t"]  # the clock on the wall
    assert not list(differences(expected, found))
    assert bool(expected["training"]["memory"]) == (name == "qrdqn")


@pytest.mark.one_in(3)
@pytest.mark.parametrize("lost", ["generators", "memory", "counters", "optimizer", "env"])
def test_what_is_not_resumed_is_found_out(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: Any = lambda *args, **kwargs: None  # noqa: E731
    where = "continual_arcade.agents.sb3"
    if lost == "generators":
        monkeypatch.setattr(OwnGenerators, "load_state_dict", nothing)
    elif lost == "memory":
        monkeypatch.setattr(f"{where}.agent.OffPolicyAgent.load_memory_state", nothing)
    elif lost == "counters":
        monkeypatch.setattr(
            f"{where}.loading.check_values", lambda values, rules: {**values, "_n_calls": 0}
        )
    elif lost == "optimizer":
        monkeypatch.setattr(f"{where}.loading.restore_optimizer", nothing)
    else:
        monkeypatch.setattr(
            "continual_arcade.agents.vec_env.GymnasiumVecEnv.load_state_dict", nothing
        )
    with pytest.raises((AssertionError, ResetNeeded)):
        test_resumed_training_ends_with_the_same_bits("qrdqn", "finetune", tmp_path)


class Lengths(BaseCallback):
    """Notes where rollouts begin."""

    def __init__(self) -> None:
        super().__init__()
        self.begin: list[int] = []
        self.fresh: list[bool] = []

    def _on_rollout_start(self) -> None:
        self.begin.append(self.model.num_timesteps)
        self.fresh.append(not self.model.policy.optimizer.state)

    def _on_step(self) -> bool:
        return True


def test_the_last_rollout_is_as_long_as_what_is_left() -> None:
    lengths = Lengths()
    ours = agent("ppo")
    ours.learn(CONFLICT.total_steps, callback=lengths)
    assert ours.num_timesteps == CONFLICT.total_steps
    # Of 40 steps each; phases end within them, and the last is of 20.
    assert lengths.begin == list(range(0, 300, 40))
    assert ours._n_updates == 2 * 8


@pytest.mark.parametrize("name", ALGORITHMS)
def test_from_scratch_begins_anew_where_a_phase_does(name: str) -> None:
    lengths = Lengths()
    ours = agent(name, method="from-scratch")
    ours.learn(CONFLICT.total_steps, callback=lengths)
    begins = [step for step, fresh in zip(lengths.begin, lengths.fresh, strict=True) if fresh]
    if name == "qrdqn":  # which learns later
        begins = [step for step in begins if step % 100 == 0]
        assert ours.replay_buffer.pos == 25
    else:
        assert {100, 200} < set(lengths.begin)
        assert ours.rollout_buffer.buffer_size == {"ppo": 5, "a2c": 5}[name]
    assert begins == [0, 100, 200]
    assert ours.network_began == 200
    with pytest.raises(ValueError, match=r"after 300 steps call .*reset_num_timesteps=False"):
        ours.learn(20)
    assert ours.num_timesteps == CONFLICT.total_steps


def test_from_scratch_explores_again_in_each_phase() -> None:
    rates: dict[int, float] = {}

    class Rates(Lengths):
        def _on_step(self) -> bool:
            rates[self.num_timesteps] = self.model.exploration_rate  # type: ignore[attr-defined]
            return True

    agent("qrdqn", method="from-scratch").learn(CONFLICT.total_steps, callback=Rates())
    assert rates[100] == rates[200] == 0.01
    assert rates[108] > 0.2
    assert rates[208] == rates[108] == rates[8]


def test_from_scratch_needs_phases_that_end() -> None:
    with pytest.raises(ValueError, match="'from-scratch' needs phases that end at once"):
        agent("ppo", STATIONARY, "from-scratch")


def test_joint_takes_turns_between_phases() -> None:
    long = shipped("conflict", CATCHER).with_steps(8_000)
    schedule = agent("ppo", long, "joint").env.get_attr("clock")[0].schedule
    assert schedule == long.interleaved()
    assert len(schedule) > len(long)


@pytest.mark.parametrize("name", ["ppo", "qrdqn"])
def test_learning_that_diverges_ends_with_the_last_finite_network(
    name: str, tmp_path: Path
) -> None:
    ours = agent(name, learning_rate=1e30)
    with pytest.raises(DivergedError, match="try a smaller learning_rate"), undisturbed():
        ours.learn(CONFLICT.total_steps)
    ours.save(tmp_path / "agent.zip")
    assert bits(load_agent(tmp_path / "agent.zip")) == bits(ours)


@pytest.mark.parametrize("name", ["ppo", "qrdqn"])
def test_within_a_rollout_training_cannot_be_kept(name: str, tmp_path: Path) -> None:
    for hook in ("_on_step", "_on_rollout_end"):
        ours, path = agent(name), tmp_path / f"{hook}.zip"
        callback: Any = SaveAt(10**9, path)
        setattr(callback, hook, lambda ours=ours, path=path: ours.save_training(path))
        with pytest.raises(ValueError, match="in the middle of a rollout"):
            ours.learn(40, callback)
        assert not path.exists()
        ours.save_training(path)


def test_a_file_says_itself_what_it_is_of(tmp_path: Path) -> None:
    ours = agent("a2c")
    with pytest.raises(ValueError, match="nothing to resume"):
        ours.save_training(tmp_path / "none.zip")
    with pytest.raises(ValueError, match="own format"):
        ours.save(tmp_path / "none.zip", exclude=["gamma"])
    with pytest.raises(NotImplementedError, match=r"load_agent\(path\)"):
        type(ours).load(tmp_path / "none.zip")
    ours.save(tmp_path / "agent.zip")
    found = load_agent(tmp_path / "agent.zip")
    assert type(found).__name__ == "A2C"
    assert found.settings == ours.settings
    seen = ours.env.reset()
    actions, state = found.predict(seen, deterministic=True)
    assert state is None
    assert np.array_equal(actions, ours.predict(seen, deterministic=True)[0])
    env = make_training_env("FlappyBird", CONFLICT_OF_FLAPPY, 4)
    with pytest.raises(ValueError, match="it was trained in 4 environments that show"):
        load_agent(tmp_path / "agent.zip", env)


CONFLICT_OF_FLAPPY = shipped("conflict", make_game("FlappyBird"))


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("state") / "state.zip"
    ours = agent("qrdqn")
    ours.learn(80)
    ours.save_training(path)
    return load_state(path, KIND)


WRONG: list[tuple[tuple[Any, ...], Any, str]] = [
    (("algorithm",), "sac", "unknown algorithm"),
    (("settings", "hidden"), [100_000, 100_000], "another one"),
    (("settings", "gamma"), 2.0, "gamma"),
    (("seed",), -1, "seed"),
    (("n_envs",), 0, "n_envs"),
    (("from_scratch",), 1, "from_scratch"),
    (("network_began",), 10**6, "network_began"),
    (("counters", "num_timesteps"), -4, "num_timesteps"),
    (("counters", "exploration_rate"), 2.0, "exploration_rate"),
    (("spaces", 1, "n"), 4, "it was trained in 4 environments"),
    (("training", "last_obs"), np.zeros((3, 4), np.float32), "last_obs"),
    (("training", "memory", "position"), 10**6, "position"),
    (("training", "memory", "dones"), np.full((20, 4), 2.0, np.float32), "dones"),
    (("training", "memory", "full"), True, "must be an array"),
    (("training", "generators", "python"), [0] * 624, "python"),
    (("training", "generators", "torch"), torch.zeros(3, dtype=torch.uint8), "torch"),
    (("training", "generators", "gauss"), "x", "gauss"),
    (("training", "actions"), {}, "PCG64"),
]


@pytest.mark.parametrize(("place", "value", "message"), WRONG)
def test_a_file_that_makes_no_sense_is_refused(
    place: tuple[Any, ...], value: Any, message: str, state: dict[str, Any], tmp_path: Path
) -> None:
    wrong = _with(state, place, value)
    save_state(tmp_path / "wrong.zip", wrong, KIND)
    with pytest.raises(ValueError, match=message) as error, undisturbed():
        load_agent(tmp_path / "wrong.zip", make_training_env("Catcher", CONFLICT, 4))
    assert "wrong.zip" in str(error.value)


def test_the_file_that_was_not_changed_is_read(state: dict[str, Any], tmp_path: Path) -> None:
    save_state(tmp_path / "right.zip", state, KIND)
    found = load_agent(tmp_path / "right.zip", make_training_env("Catcher", CONFLICT, 4))
    assert isinstance(found, SB3Agent)
    assert found.num_timesteps == 80
    weights = next(name for name in state["network"] if name.endswith("weight"))
    bad = torch.full_like(state["network"][weights], torch.nan)
    save_state(tmp_path / "nan.zip", _with(state, ("network", weights), bad), KIND)
    with pytest.raises(ValueError, match="is not finite"):
        load_agent(tmp_path / "nan.zip")


def _with(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    copy = tree.copy()
    copy[place[0]] = _with(tree[place[0]], place[1:], value)
    return copy


def test_pictures_are_seen_through_the_same_convolutions(tmp_path: Path) -> None:
    seen = {"observation": "pixels", "screen_size": 21, "stack": 2}
    game = make_game("Catcher", **seen)
    schedule = shipped("stationary", game).with_steps(80)
    ours = build_sb3_agent("Catcher", schedule, small("a2c"), **seen)  # type: ignore[arg-type]
    ours.learn(80)
    assert type(ours.policy.features_extractor) is CONVOLUTIONS["small"]
    ours.save(tmp_path / "agent.zip")
    assert bits(load_agent(tmp_path / "agent.zip")) == bits(ours)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="convolutions = 'nature' look at pictures"):
        agent("ppo", convolutions="nature")
