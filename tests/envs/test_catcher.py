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


def round_as_the_reference(value: float) -> float:
    """Round to the nearest whole number, halves away from zero."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def falls(height: int, speed: float) -> bool:
    """Return whether a pellet gets on from wherever it may be."""
    return all(round_as_the_reference(y + speed) > y for y in range(-height, height + 1))


@pytest.mark.parametrize("height", [*range(16, 420, 7), 320, 321, 640, 1000])
def test_every_speed_within_bounds_is_one_at_which_pellets_fall(height: int) -> None:
    speed = tunables(4 * height, height)["fall_speed"]
    assert falls(height, speed.low)
    assert falls(height, speed.default)
    assert not falls(height, 0.5)  # it is rounded away from the field above it
    assert not falls(height, height / 640) or height > 320
    if height > 321:  # as it always was
        assert speed.low == height / 640


def test_the_slowest_pellets_arrive_on_small_fields() -> None:
    for height in (16, 100, 320):
        _, game = bare({"fall_speed": tunables(300, height)["fall_speed"].low}, size=(300, height))
        before = game.state["pellet_y"]
        for step in range(1, int(height - before) + 1):
            game.step(2)
            if step == 1:
                assert game.state["pellet_y"] == before + 1
        assert game.state["pellet_y"] == height
        with pytest.raises(ValueError, match="rounded, the pellet would never fall"):
            bare({"fall_speed": 0.5}, size=(300, height))


@pytest.mark.parametrize("width", [16, 17, 20, 23, 24, 64, 640])
def test_the_paddle_moves_both_ways_whatever_the_friction(width: int) -> None:
    kinds = tunables(width, 16)
    for friction in (kinds["friction"].low, kinds["friction"].high):
        for action in (0, 1):
            _, game = bare({"friction": friction}, size=(width, 16))
            before = game.state["paddle_x"]
            for _ in range(20):
                game.step(action)
            assert (game.state["paddle_x"] - before) * (2 * action - 1) > 0
    assert (kinds["friction"].high == 0.5) == (width >= 24)
    if width < 24:
        with pytest.raises(ValueError, match="rounded, the paddle would not move"):
            bare({"friction": 0.5}, size=(width, 16))


sizes = st.tuples(st.integers(16, 700), st.integers(16, 700)).filter(
    lambda size: size[0] > 4 * round(0.06 * size[1])
)


@settings(max_examples=30, deadline=None)
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
