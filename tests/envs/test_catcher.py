"""What the traces cannot show of Catcher: other fields, rewards, bounds."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.envs import IDS, ArcadeEnv, make_game
from continual_arcade.envs.catcher import rounded, tunables
from continual_arcade.envs.compiling import plain

ID = IDS["Catcher"]


def bare(params: dict[str, float] | None = None, **options: Any) -> tuple[Any, ArcadeEnv]:
    env = gym.make(ID, max_episode_steps=1_000_000, **options)
    env.reset(seed=0, options={"params": params or {}})
    assert isinstance(env.unwrapped, ArcadeEnv)
    return env, env.unwrapped


def put(env: ArcadeEnv, **values: float) -> None:
    for name, value in values.items():
        env.core.blocks[name] = value


@settings(deadline=None)  # the first call compiles
@given(st.floats(-1e6, 1e6))
def test_rounding_is_half_away_from_zero(value: float) -> None:
    expected = math.copysign(math.floor(abs(value)), value)
    if abs(value) - math.floor(abs(value)) >= 0.5:
        expected += math.copysign(1.0, value)
    assert plain(rounded)(value) == expected
    assert rounded(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, 1), (-0.5, -1), (2.5, 3), (-2.5, -3), (0.49999999999999994, 0), (-7.4, -7)],
)
def test_rounding_of_halves(value: float, expected: float) -> None:
    assert rounded(value) == expected


def test_a_pellet_half_a_pixel_above_the_field_is_rounded_away_from_zero() -> None:
    env, game = bare({"fall_speed": 20.5})
    put(game, pellet_y=-38.0, pellet_x=76.0)
    env.step(2)
    assert game.state["pellet_y"] == -18.0
    put(game, pellet_y=38.0)
    env.step(2)
    assert game.state["pellet_y"] == 59.0


sizes = st.tuples(st.integers(16, 700), st.integers(16, 700)).filter(
    lambda size: size[0] > 4 * round(0.06 * size[1])
)


@settings(max_examples=60, deadline=None)
@given(size=sizes, data=st.data(), seed=st.integers(0, 2**32))
def test_observations_stay_in_their_space(size: tuple[int, int], data: Any, seed: int) -> None:
    params = {
        name: data.draw(
            st.integers(math.ceil(kind.low), math.floor(kind.high))
            if kind.integer
            else st.one_of(st.floats(kind.low, kind.high), st.sampled_from([kind.low, kind.high])),
            label=name,
        )
        for name, kind in tunables(*size).items()
    }
    env = gym.make_vec(ID, num_envs=8, size=size)
    space = env.single_observation_space
    observations, _ = env.reset(seed=seed, options={"params": params})
    rng = np.random.default_rng(seed)
    actions = rng.integers(3, size=8)
    for step in range(150):
        assert all(observation in space for observation in observations)
        if step % 20 == 0:  # long pushes reach the highest speeds
            actions = rng.integers(3, size=8)
        observations, _, terminated, _, infos = env.step(actions)
        for i in np.flatnonzero(terminated):
            assert infos["final_obs"][i] in space


@settings(max_examples=40, deadline=None)
@given(size=sizes, seed=st.integers(0, 2**32))
def test_pellets_start_where_the_reference_drops_them(size: tuple[int, int], seed: int) -> None:
    width, height = size
    side = round(0.06 * height)
    env, game = bare(size=size)
    places = {(game.state["pellet_x"], game.state["pellet_y"])}
    env.reset(seed=seed)
    for _ in range(30):
        places.add((game.state["pellet_x"], game.state["pellet_y"]))
        env.reset()
    assert {x for x, _ in places} <= set(range(2 * side, width - 2 * side, side))
    assert {-y for _, y in places} <= set(range(side, height // 2, side))


def test_rewards_and_lives_can_be_set() -> None:
    env, game = bare(lives=2, rewards={"positive": 4, "negative": -2, "loss": -9, "tick": 0.5})
    put(game, pellet_y=640.0, pellet_x=76.0)
    assert env.step(2)[1:3] == (-1.5, False)
    put(game, pellet_y=620.0, pellet_x=game.state["paddle_x"])
    _, reward, over, _, info = env.step(2)
    assert (reward, over, info["score"]) == (4.5, False, 1.0)
    put(game, pellet_y=640.0, pellet_x=76.0)
    assert env.step(2)[1:3] == (-10.5, True)


def test_default_rewards_are_those_of_the_reference() -> None:
    env, game = bare()
    rewards = []
    for _ in range(3):
        put(game, pellet_y=640.0, pellet_x=76.0)
        _, reward, over, *_ = env.step(2)
        rewards.append(reward)
    assert rewards == [-1.0, -1.0, -6.0]
    assert over


def test_the_speeds_of_the_classic_schedule_are_whole_pixels() -> None:
    """The reference's default on 640 px, 0.608 px/ms, is 20.27 px a step and acts as 20."""
    default = make_game("Catcher").tunables["fall_speed"].default
    assert default == pytest.approx(0.608 * 1000 / 30)
    for speed, pixels in ((default, 20), (0.638 * 1000 / 30, 21), (0.758 * 1000 / 30, 25)):
        env, game = bare({"fall_speed": speed})
        put(game, pellet_y=100.0, pellet_x=76.0)
        env.step(2)
        assert game.state["pellet_y"] == 100.0 + pixels


def test_swapped_keys_push_the_other_way() -> None:
    paths = []
    for push, action in ((13.44, 0), (-13.44, 1)):
        env, game = bare({"push": push})
        path = []
        for _ in range(12):
            env.step(action)
            path.append(game.state["paddle_x"])
        paths.append(path)
    assert paths[0] == paths[1]
    assert paths[0][-1] < paths[0][0]


def test_features_are_what_the_documentation_says() -> None:
    env, game = bare(size=(320, 480))
    for step in range(60):
        observation, *_ = env.step(step // 7 % 3)
        state = game.state
        expected = [
            state["paddle_x"] / 160 - 1,
            state["paddle_velocity"] / 40,
            state["pellet_x"] / 160 - 1,
            state["pellet_y"] / 240 - 1,
        ]
        np.testing.assert_allclose(observation, expected, rtol=0, atol=1e-6)
