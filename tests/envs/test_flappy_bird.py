"""What the traces cannot show of Flappy Bird: other worlds, rewards, bounds."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.envs import IDS, ArcadeEnv, make_game
from continual_arcade.envs.core import Core

ID = IDS["FlappyBird"]
GAME = make_game("FlappyBird")
NAMES = list(GAME.tunables)


def bare(**params: float) -> tuple[gym.Env[Any, Any], ArcadeEnv]:
    env = gym.make(ID, max_episode_steps=1_000_000)
    env.reset(seed=0, options={"params": params})
    assert isinstance(env.unwrapped, ArcadeEnv)
    return env, env.unwrapped


def fields(env: ArcadeEnv, **values: float) -> None:
    for name, value in values.items():
        env.core.blocks[name] = value


tunable_values = st.fixed_dictionaries(
    {
        name: st.one_of(
            st.floats(tunable.low, tunable.high),
            st.sampled_from([tunable.low, tunable.high, tunable.default]),
        )
        for name, tunable in GAME.tunables.items()
    }
)


@settings(max_examples=30, deadline=None)
@given(params=tunable_values, seed=st.integers(0, 2**32), rate=st.floats(0, 1))
def test_observations_stay_in_their_space(params: dict[str, float], seed: int, rate: float) -> None:
    env = gym.make_vec(ID, num_envs=16)
    space = env.single_observation_space
    observations, _ = env.reset(seed=seed, options={"params": params})
    rng = np.random.default_rng(seed)
    for _ in range(120):
        assert all(observation in space for observation in observations)
        actions = (rng.random(16) > rate).astype(np.int64)
        observations, _, terminated, _, infos = env.step(actions)
        for i in np.flatnonzero(terminated):
            assert infos["final_obs"][i] in space


def close(one: Any, other: Any) -> bool:
    """As ``np.allclose``, which takes twenty times as long."""
    return bool((abs(one - other) <= 1e-8 + 1e-5 * abs(other)).all())


@settings(max_examples=15, deadline=None)
@given(scroll=st.floats(2, 8), spacing=st.floats(110, 220))
def test_each_pipe_counts_exactly_once(scroll: float, spacing: float) -> None:
    """At any speed, also those that are no whole number: a ghost of a bird flies for ever."""
    env, game = bare(scroll=scroll, spacing=spacing)
    passed, steps, ahead = 0, 1_500, 0
    xs = game.state["pipe_x"].copy()
    for _ in range(steps):
        fields(game, lives=1e9, bird_y=200.0)
        *_, info = env.step(1)
        before, xs = xs, game.state["pipe_x"].copy()
        # A pipe has entered when its left edge came to 57 or less; the step after counts it.
        passed += ahead
        moved = before - scroll
        same = close(xs, moved)
        ahead = int(((before - 26 > 57) & (moved - 26 <= 57)).sum())
        assert same or close(xs[:2], moved[1:])
    assert info["score"] == passed
    assert passed >= 1_500 * scroll / (spacing + 40) - 5


@settings(max_examples=15, deadline=None)
@given(scroll=st.floats(2, 8), spacing=st.floats(110, 220), gap=st.floats(60, 200))
def test_pipes_come_in_order_and_apart(scroll: float, spacing: float, gap: float) -> None:
    """Two pipes are always ahead of the bird, and the openings are whole numbers in their range."""
    env, game = bare(scroll=scroll, spacing=spacing, gap=gap)
    for _ in range(600):
        fields(game, lives=1e9, bird_y=200.0)
        env.step(1)
        state = game.state
        xs, tops = state["pipe_x"], state["pipe_top"]
        # A pipe comes back up to one step late, and nearly 18 px farther off than the spacing.
        assert np.diff(xs).min() >= spacing - scroll
        assert (xs + 26 > 57).sum() >= 2
        assert tops.min() >= np.floor(gap / 4)
        assert tops.max() <= np.floor(0.474 * 512 - gap / 2)
        assert np.array_equal(tops, np.floor(tops))


def test_rewards_can_be_set() -> None:
    env = gym.make(ID, rewards={"positive": 3.0, "loss": -7.0, "tick": 0.25})
    game = env.unwrapped
    assert isinstance(game, ArcadeEnv)
    env.reset(seed=0)
    rewards = []
    for step in range(70):
        if step < 66:
            fields(game, bird_y=game.state["pipe_top"][0] + 40.0, bird_velocity=0.0)
        _, reward, terminated, _, info = env.step(1)
        rewards.append(reward)
        if terminated:
            break
    assert rewards[65] == 3.25  # the first pipe, on step 66
    assert set(rewards[:65]) == {0.25}
    assert info["score"] == 1
    fields(game, bird_y=400.0)
    while not terminated:
        _, reward, terminated, _, _ = env.step(1)
    assert reward == -6.75


def test_default_rewards_are_those_of_the_reference() -> None:
    env, game = bare()
    fields(game, bird_y=381.0)
    assert env.step(1)[1:3] == (-5.0, True)


@pytest.mark.parametrize(
    ("y", "dead"),
    [(0.0, True), (0.5, False), (380.0, False), (380.48, True), (380.4, False), (-3.0, True)],
)
def test_floor_and_ceiling(y: float, dead: bool) -> None:
    env, game = bare()
    fields(game, bird_y=y)
    assert env.step(1)[2] is dead


@pytest.mark.parametrize(
    ("x", "lethal"),
    [(31.0, False), (31.5, True), (99.0, True), (99.5, False), (99.4, True), (103.0, False)],
)
def test_the_lethal_window_of_a_pipe(x: float, lethal: bool) -> None:
    """31 < x by the reference's own test; the rounded boxes overlap while round(x) < 100."""
    env, game = bare()
    game.core.blocks["pipe_x"][0, :, 0] = [x, 300.0, 450.0]
    game.core.blocks["pipe_top"][0, :, 0] = [100.0, 100.0, 100.0]
    fields(game, bird_y=50.0)
    assert env.step(1)[2] is lethal


def test_above_the_picture_there_is_no_pipe() -> None:
    """The bird's box ends 12 px below y: at -12 it no longer overlaps a pipe. One life is lost at
    the ceiling either way; one more by a pipe only where the boxes overlap."""
    for y, lives in ((-11.0, -1.0), (-11.5, 0.0), (-12.0, 0.0)):
        env, game = bare()
        game.core.blocks["pipe_x"][0, :, 0] = [60.0, 300.0, 450.0]
        fields(game, bird_y=y)
        env.step(1)
        assert game.state["lives"] == lives


def test_a_world_on_its_head_is_the_mirror_image() -> None:
    """With gravity and flap reversed, heights above the start become depths below it."""
    paths = []
    for sign in (1.0, -1.0):
        env, game = bare(gravity=sign, flap=9.0 * sign)
        path = []
        for step in range(30):
            env.step(0 if step in (16, 18, 19, 28) else 1)
            path.append(sign * (game.state["bird_y"] - 256.0))
        paths.append(path)
    assert paths[0] == paths[1]


def test_the_scroll_speed_moves_the_pipes() -> None:
    env, game = bare(scroll=5.0, spacing=150.0)
    assert game.state["pipe_x"].tolist() == [340.0, 490.0, 640.0]
    env.step(1)
    assert game.state["pipe_x"].tolist() == [335.0, 485.0, 635.0]


def test_a_start_velocity_is_carried_into_the_episode() -> None:
    """The core can do what the reference does; the environments never ask for it."""
    core = Core(GAME, 3)
    params = np.array([[tunable.default for tunable in GAME.tunables.values()]])
    core.reset(params, velocity=-8.0)
    assert core.field("bird_velocity").tolist() == [-8.0] * 3
    env, game = bare()
    env.step(0)
    env.reset()
    assert game.state["bird_velocity"] == 0.0


def test_features_are_what_the_documentation_says() -> None:
    env, game = bare(gap=90.0)
    for step in range(50):
        observation, *_ = env.step(0 if step % 11 == 0 else 1)
        state = game.state
        ahead = [
            (x, top) for x, top in zip(state["pipe_x"], state["pipe_top"], strict=True) if x > 31
        ]
        (x1, top1), (x2, top2) = sorted(ahead)[:2]
        height = (0.79 * 512 - 24) / 2
        expected = [
            state["bird_y"] / height - 1,
            state["bird_velocity"] / 10,
            (x1 + 26 - 57) / 144 - 1,
            top1 / height - 1,
            (top1 + 90) / height - 1,
            (x2 + 26 - 57) / 144 - 1,
            top2 / height - 1,
            (top2 + 90) / height - 1,
        ]
        np.testing.assert_allclose(observation, expected, rtol=0, atol=1e-6)
    assert [feature.name for feature in GAME.features][:3] == [
        "bird_y",
        "bird_velocity",
        "next_pipe_distance",
    ]
    assert NAMES == ["gap", "gravity", "flap", "scroll", "spacing"]
