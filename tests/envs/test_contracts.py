"""What Gymnasium asks of an environment, for every id and every schedule."""

import pickle
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from schedules_of_games import PAIRS, or_conflict

from continual_arcade.envs import GAMES, IDS, ArcadeEnv, ArcadeVectorEnv, make_game, shipped

EVERY_ID = pytest.mark.parametrize("env_id", [IDS[game] for game in GAMES], ids=[*GAMES])
EVERY_SCHEDULE = pytest.mark.parametrize(
    ("env_id", "schedule"),
    [(IDS[game], name) for game, name in [*((game, None) for game in GAMES), *PAIRS]],
)
SHORT = 40
"""A phase length that many episodes cross."""


def game_of(env_id: str) -> str:
    return env_id.split("/")[1].removesuffix("-v0")


def short(env_id: str, name: str, steps: int = SHORT) -> dict[str, Any]:
    game = game_of(env_id)
    return shipped(or_conflict(game, name), make_game(game)).with_steps(steps).to_dict()


def rollout(env: gym.Env[Any, Any], seed: int, steps: int) -> Iterator[tuple[Any, ...]]:
    """Seed an environment and play it with actions of the same seed."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(env.action_space.n, size=steps)  # type: ignore[attr-defined]
    yield env.reset(seed=seed)
    for action in actions.tolist():
        step = env.step(action)
        yield step
        if step[2] or step[3]:
            yield env.reset()


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (tuple, list)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


@pytest.mark.one_in(7)
@EVERY_SCHEDULE
@pytest.mark.parametrize("phase", [None, 1])
def test_check_env(env_id: str, schedule: str | None, phase: int | None) -> None:
    if schedule is None and phase is not None:
        pytest.skip("a phase is one of a schedule")
    env = gym.make(env_id, schedule=schedule, phase=phase)
    check_env(env.unwrapped)  # warnings are errors
    check_env(
        gym.make(env_id, schedule=None if schedule is None else short(env_id, schedule)).unwrapped
    )


@EVERY_ID
def test_ids_name_their_game(env_id: str) -> None:
    env = gym.make(env_id)
    assert isinstance(env.unwrapped, ArcadeEnv)
    assert env.unwrapped.game.name in env_id
    assert env.spec is not None
    assert env.spec.max_episode_steps == 10_000


def test_ids_can_be_made_without_an_import() -> None:
    env = gym.make("continual_arcade.envs:ContinualArcade/Catcher-v0")
    assert env.reset(seed=0)[0].shape == (4,)


@pytest.mark.one_in(3)
@EVERY_SCHEDULE
def test_same_seed_same_life(env_id: str, schedule: str | None) -> None:
    kwargs = {} if schedule is None else {"schedule": short(env_id, schedule)}
    one, other = gym.make(env_id, **kwargs), gym.make(env_id, **kwargs)
    next(iter(rollout(other, seed=99, steps=1)))  # another past must not matter
    for a, b in zip(rollout(one, 7, 400), rollout(other, 7, 400), strict=True):
        assert_same(a, b)


@EVERY_ID
def test_another_seed_another_life(env_id: str) -> None:
    runs = [
        np.concatenate([step[0] for step in rollout(gym.make(env_id), seed, 200) if len(step) == 5])
        for seed in (1, 2)
    ]
    assert runs[0].shape != runs[1].shape or not np.array_equal(*runs)


@EVERY_ID
def test_an_unseeded_env_goes_on_by_chance(env_id: str) -> None:
    starts = set()
    for _ in range(3):
        env = gym.make(env_id)
        for _ in range(3):
            starts.add(env.reset()[0].tobytes())
    assert len(starts) > 4


@pytest.mark.one_in(3)
@EVERY_SCHEDULE
def test_scalar_and_vector_env_play_the_same_life(env_id: str, schedule: str | None) -> None:
    kwargs = {} if schedule is None else {"schedule": short(env_id, schedule)}
    scalar = gym.make(env_id, max_episode_steps=60, **kwargs)
    vector = gym.make_vec(env_id, num_envs=1, max_episode_steps=60, **kwargs)
    observation, info = scalar.reset(seed=5)
    observations, infos = vector.reset(seed=5)
    rng = np.random.default_rng(5)
    for _ in range(600):
        np.testing.assert_array_equal(observation, observations[0])
        for key in ("phase", "lifetime_step", "phase_changed", "score"):
            assert info[key] == infos[key][0]
        assert info["params"] == {name: infos["params"][name][0] for name in info["params"]}
        action = int(rng.integers(scalar.action_space.n))  # type: ignore[attr-defined]
        observation, reward, terminated, truncated, info = scalar.step(action)
        observations, rewards, terminations, truncations, infos = vector.step(np.array([action]))
        assert (reward, terminated, truncated) == (rewards[0], terminations[0], truncations[0])
        if terminated or truncated:
            np.testing.assert_array_equal(observation, infos["final_obs"][0])
            assert info["score"] == infos["final_info"]["score"][0]
            assert info["phase"] == infos["final_info"]["phase"][0]
            observation, info = scalar.reset()


@EVERY_ID
def test_each_sub_environment_plays_as_a_single_one(env_id: str) -> None:
    count = 70  # more than one block, and not a multiple of it
    scalars = [gym.make(env_id, max_episode_steps=150) for _ in range(count)]
    vector = gym.make_vec(env_id, num_envs=count, max_episode_steps=150)
    expected = np.stack([env.reset(seed=11 + i)[0] for i, env in enumerate(scalars)])
    observations, _ = vector.reset(seed=11)
    rng = np.random.default_rng(11)
    for _ in range(160):
        np.testing.assert_array_equal(observations, expected)
        actions = rng.integers(vector.single_action_space.n, size=count)  # type: ignore[attr-defined]
        observations, rewards, terminations, truncations, infos = vector.step(actions)
        for i, env in enumerate(scalars):
            expected[i], reward, terminated, truncated, _ = env.step(int(actions[i]))
            assert (reward, terminated, truncated) == (rewards[i], terminations[i], truncations[i])
            if terminated or truncated:
                np.testing.assert_array_equal(expected[i], infos["final_obs"][i])
                expected[i], _ = env.reset()


@EVERY_SCHEDULE
def test_spec_survives_json(env_id: str, schedule: str | None) -> None:
    given = schedule if schedule is None else short(env_id, schedule)
    spec = gym.make(env_id, schedule=given).spec
    assert spec is not None
    again = EnvSpec.from_json(spec.to_json())
    assert again == spec
    for a, b in zip(rollout(gym.make(spec), 3, 90), rollout(gym.make(again), 3, 90), strict=True):
        assert_same(a, b)


@EVERY_ID
@pytest.mark.parametrize("steps", [0, 25])
def test_a_pickled_env_goes_on_where_it_was(env_id: str, steps: int) -> None:
    env = gym.make(env_id, schedule=short(env_id, "shrink"), render_mode="rgb_array")
    list(rollout(env, 21, steps))
    env.render()
    copy = pickle.loads(pickle.dumps(env))
    for _ in range(60):
        action = int(env.np_random.integers(2))
        copy.np_random.integers(2)
        one, other = env.step(action), copy.step(action)
        assert_same(one, other)
        if one[2] or one[3]:
            assert_same(env.reset(), copy.reset())
    assert_same(env.render(), copy.render())


@EVERY_ID
def test_a_pickled_vector_env_goes_on_where_it_was(env_id: str) -> None:
    env = gym.make_vec(env_id, num_envs=66, schedule=short(env_id, "drift", 660))
    env.reset(seed=3)
    rng = np.random.default_rng(3)
    actions = rng.integers(2, size=(60, 66))
    for row in actions:
        env.step(row)
    copy = pickle.loads(pickle.dumps(env))
    for row in actions:
        assert_same(env.step(row), copy.step(row))


def test_spawned_workers() -> None:
    env_id, schedule = IDS["Tour"], "conflict"

    def make() -> gym.Env[Any, Any]:
        return gym.make(f"continual_arcade.envs:{env_id}", schedule=schedule)

    workers = AsyncVectorEnv([make, make], context="spawn")
    vector = gym.make_vec(env_id, num_envs=2)
    try:
        observations, _ = workers.reset(seed=4)
        np.testing.assert_array_equal(observations, vector.reset(seed=4)[0])
        for _ in range(30):
            actions = np.zeros(2, np.int64)
            np.testing.assert_array_equal(workers.step(actions)[0], vector.step(actions)[0])
    finally:
        workers.close()


@EVERY_ID
def test_make_vec_gives_our_own_vector_env(env_id: str) -> None:
    env = gym.make_vec(env_id, num_envs=3)
    assert isinstance(env, ArcadeVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.observation_space.shape == (3, *env.single_observation_space.shape)  # type: ignore[misc]
    sync = gym.make_vec(env_id, num_envs=3, vectorization_mode="sync")
    assert sync.single_observation_space == env.single_observation_space
    assert sync.single_action_space == env.single_action_space


@EVERY_ID
@pytest.mark.parametrize("mode", [None, "rgb_array", "human"])
def test_render_modes(env_id: str, mode: str | None) -> None:
    env = gym.make(env_id, render_mode=mode)
    env.reset(seed=0)
    env.step(0)
    if mode is None:
        with pytest.raises(ValueError, match="choose a render_mode"):
            env.unwrapped.render()
    else:
        picture = env.render()
        assert picture is None if mode == "human" else picture.shape[2] == 3  # type: ignore[union-attr]
    env.close()
    env.close()


@EVERY_ID
def test_a_vector_env_draws_every_game(env_id: str) -> None:
    env = gym.make_vec(env_id, num_envs=3, render_mode="rgb_array")
    env.reset(seed=0)
    single = gym.make(env_id, render_mode="rgb_array", hud=False)
    single.reset(seed=1)
    plain = gym.make_vec(env_id, num_envs=3, render_mode="rgb_array", hud=False)
    plain.reset(seed=0)
    pictures: Any = env.render()
    assert len(pictures) == 3
    assert all(picture.shape == pictures[0].shape for picture in pictures)
    np.testing.assert_array_equal(plain.render()[1], single.render())  # type: ignore[index]
    env.close()


@EVERY_ID
def test_order_is_enforced(env_id: str) -> None:
    env = gym.make(env_id, schedule=short(env_id, "shrink", 5))
    with pytest.raises(ResetNeeded, match=r"reset\(\) before step\(\)"):
        env.step(0)
    env.reset(seed=0)
    for _ in range(5):
        *_, truncated, _ = env.step(1)
    assert truncated
    with pytest.raises(ResetNeeded):
        env.step(1)
    env.reset()
    env.step(1)
    vector = gym.make_vec(env_id, num_envs=2)
    with pytest.raises(ResetNeeded):
        vector.step(np.zeros(2, np.int64))
