"""Exploration that suits the game, in every sub-environment on its own."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy import stats
from stable_baselines3 import DQN

from continual_arcade.agents import ContinualDQN, DQNSettings, GymnasiumVecEnv, build_dqn
from continual_arcade.envs import IDS, make_game, shipped

FLAPPY = IDS["FlappyBird"]


def agent(num_envs: int = 4, prior: Any = (0.1, 0.9), **kwargs: Any) -> ContinualDQN:
    env = GymnasiumVecEnv(gym.make_vec(FLAPPY, num_envs=num_envs))
    return ContinualDQN(
        "MlpPolicy", env, action_prior=prior, seed=kwargs.pop("seed", 0), device="cpu", **kwargs
    )


def choices(model: ContinualDQN, rate: float, rounds: int) -> np.ndarray:
    """Actions in one and the same situation, shape (rounds, num_envs)."""
    model.exploration_rate = rate
    observations = np.zeros((4, 8), np.float32)
    return np.stack([model.predict(observations)[0] for _ in range(rounds)])


def test_each_sub_environment_tosses_its_own_coin() -> None:
    model = agent(prior=(0.5, 0.5))
    greedy = model.predict(np.zeros((4, 8), np.float32), deterministic=True)[0]
    deviating = (choices(model, 0.5, 4_000) != greedy).sum(axis=1)
    # Each deviates with probability 1/2 * 1/2, on its own: a binomial distribution.
    expected = 4_000 * stats.binom(4, 0.25).pmf(range(5))
    assert stats.chisquare(np.bincount(deviating, minlength=5), expected).pvalue > 0.001


def test_plain_dqn_fails_that_test() -> None:
    """The parent tosses one coin for all: the reason why we have our own."""
    np.random.seed(0)  # noqa: NPY002  # the parent knows only the global generator
    model = DQN("MlpPolicy", GymnasiumVecEnv(gym.make_vec(FLAPPY, num_envs=4)), device="cpu")
    model.action_space.seed(0)
    greedy = model.predict(np.zeros((4, 8), np.float32), deterministic=True)[0]
    deviating = (choices(model, 0.5, 4_000) != greedy).sum(axis=1)  # type: ignore[arg-type]
    expected = 4_000 * stats.binom(4, 0.25).pmf(range(5))
    assert stats.chisquare(np.bincount(deviating, minlength=5), expected).pvalue < 1e-9


@pytest.mark.parametrize(("prior", "flaps"), [((0.1, 0.9), 0.1), (None, 0.5), ((1.0, 0.0), 1.0)])
def test_exploration_follows_the_prior(prior: Any, flaps: float) -> None:
    actions = choices(agent(prior=prior), 1.0, 3_000)
    assert (actions == 0).mean() == pytest.approx(flaps, abs=0.01)


def test_warm_up_follows_the_prior() -> None:
    model = agent(learning_starts=10**9)
    actions = np.stack([model._sample_action(10**9, n_envs=4)[0] for _ in range(3_000)])
    assert (actions == 0).mean() == pytest.approx(0.1, abs=0.01)


def test_without_exploration_it_is_greedy() -> None:
    model = agent()
    observations = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    model.exploration_rate = 0.0
    for deterministic in (True, False):
        actions, _ = model.predict(observations, deterministic=deterministic)
        plain, _ = DQN.predict(model, observations, deterministic=True)
        np.testing.assert_array_equal(actions, plain)
    model.exploration_rate = 1.0
    np.testing.assert_array_equal(model.predict(observations, deterministic=True)[0], plain)


def test_single_observations() -> None:
    model = agent()
    model.exploration_rate = 0.5
    action, _ = model.predict(np.zeros(8, np.float32))
    assert np.shape(action) == ()
    assert action in (0, 1)


def train(seed: int) -> list[np.ndarray]:
    model = agent(seed=seed, learning_starts=50, train_freq=1)
    model.learn(600)
    return [parameter.detach().numpy() for parameter in model.q_net.parameters()]


def test_same_seed_same_bits() -> None:
    for one, other in zip(train(3), train(3), strict=True):
        assert one.tobytes() == other.tobytes()
    assert any(not np.array_equal(a, b) for a, b in zip(train(3), train(4), strict=True))


def test_exploration_leaves_the_global_generator_alone() -> None:
    model = agent()
    np.random.seed(5)  # noqa: NPY002  # it is what must not be touched
    before = np.random.get_state()[1].tobytes()  # type: ignore[union-attr, index]  # noqa: NPY002
    choices(model, 0.5, 100)
    assert np.random.get_state()[1].tobytes() == before  # type: ignore[union-attr, index]  # noqa: NPY002


def test_a_loaded_agent_explores_on_where_it_was(tmp_path: Path) -> None:
    model = agent(learning_starts=50)
    model.learn(200)
    path = tmp_path / "agent.zip"
    model.save(path)
    loaded = ContinualDQN.load(path, device="cpu")
    assert loaded.action_prior == model.action_prior == [0.1, 0.9]
    np.testing.assert_array_equal(choices(model, 0.7, 50), choices(loaded, 0.7, 50))


@pytest.mark.parametrize("prior", [(0.5,), (0.5, 0.6), (-0.1, 1.1), (0.2, 0.3, 0.5)])
def test_priors_that_are_none(prior: Any) -> None:
    with pytest.raises(ValueError, match="action_prior"):
        agent(prior=prior)


@pytest.mark.parametrize("game", IDS)
def test_build_dqn_uses_the_settings(game: str) -> None:
    settings = DQNSettings(num_envs=3, hidden=(16,), n_steps=5, batch_size=7, buffer_size=300)
    schedule = shipped("conflict", make_game(game))
    model = build_dqn(game, schedule, settings, seed=1)
    assert model.n_envs == 3
    assert model.batch_size == 7
    assert model.replay_buffer.n_steps == 5  # type: ignore[union-attr]
    assert next(model.q_net.parameters()).shape[0] == 16
    assert model.get_env().get_attr("clock")[0].schedule == schedule  # type: ignore[union-attr]
    assert (model.action_prior is None) == (game == "Catcher")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size = 0"),
        ({"buffer_size": 50, "batch_size": 64}, "buffer_size = 50 is smaller"),
        ({"n_steps": 0}, "n_steps = 0"),
        ({"gradient_steps": 0}, "gradient_steps = 0"),
        ({"num_envs": 0}, "num_envs = 0"),
        ({"gamma": 1.5}, "gamma = 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate = nan"),
        ({"exploration_initial_eps": 2.0}, "exploration_initial_eps = 2"),
        ({"hidden": (0,)}, "hidden"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    schedule = shipped("shrink", make_game("FlappyBird"))
    with pytest.raises(ValueError, match=message):
        build_dqn("FlappyBird", schedule, DQNSettings(**change), seed=0)
