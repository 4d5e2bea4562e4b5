"""A seed is any whole number, of Python or of NumPy, and the same run follows from it."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from continual_arcade.envs import IDS, PhaseSpec, Schedule
from continual_arcade.envs.phased_env import CARTPOLE, PhasedEnv, SwitchEnv, set_cartpole
from continual_arcade.envs.seeds import plain_seed, plain_seeds

KINDS = (np.int8, np.uint8, np.int32, np.int64, np.uint64, np.array)
ONE = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
MANY = pytest.mark.parametrize("kind", [list, tuple, np.array, lambda s: np.array(s, np.uint8)])
NO_SEEDS = [3.0, np.float64(3), "3", True, np.bool(True), b"3", [3], np.array([3]), {3}]


def phased() -> PhasedEnv:
    schedule = Schedule("s", (PhaseSpec(name="x", steps=5, params={"length": 1.0}),))
    return PhasedEnv(gym.make("CartPole-v1"), schedule, CARTPOLE, set_cartpole)


@pytest.mark.one_in(5)
@ONE
@pytest.mark.parametrize(
    "make",
    [
        *(lambda env_id=env_id: gym.make(env_id) for env_id in IDS.values()),
        *(lambda env_id=env_id: gym.make_vec(env_id, 3) for env_id in IDS.values()),
        phased,
        lambda: SwitchEnv([gym.make("CartPole-v1")] * 2),
    ],
    ids=[*IDS, *(f"{game} vector" for game in IDS), "phased", "switch"],
)
def test_one_seed(make: Any, kind: Any) -> None:
    expected, _ = make().reset(seed=7)
    found, _ = make().reset(seed=kind(7))
    np.testing.assert_array_equal(found, expected)


@MANY
@pytest.mark.parametrize("env_id", IDS.values())
def test_a_seed_for_each(env_id: str, kind: Any) -> None:
    env = gym.make_vec(env_id, 3)
    found, _ = env.reset(seed=kind([9, 7, 8]))
    for row, seed in zip(found, (9, 7, 8), strict=True):
        np.testing.assert_array_equal(row, gym.make(env_id).reset(seed=seed)[0])
    # Repeatable: nothing of an earlier run is left.
    env.step(np.zeros(3, np.int64))
    np.testing.assert_array_equal(env.reset(seed=kind([9, 7, 8]))[0], found)


def test_no_seed_for_each_is_none() -> None:
    env = gym.make_vec(IDS["Catcher"], 2)
    env.reset(seed=3)
    env.step(np.zeros(2, np.int64))
    env.reset(seed=[None, None])  # type: ignore[arg-type]  # as Gymnasium's own take it
    assert env.clock.step == 2  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"\[3, None\].*all of them one, or none"):
        env.reset(seed=[3, None])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="3 seeds for 2 sub-environments"):
        env.reset(seed=np.arange(3))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", NO_SEEDS, ids=repr)
def test_what_is_no_seed(wrong: Any) -> None:
    env: Any = gym.make(IDS["Catcher"])
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(TypeError, match="a seed is a whole number, not"):
        env.reset(seed=wrong)
    assert env.unwrapped.clock.step == 1
    vector = gym.make_vec(IDS["Catcher"], 1)
    if np.ndim(wrong) == 0:
        with pytest.raises(TypeError, match="a seed is a whole number, not"):
            vector.reset(seed=wrong)
    with pytest.raises(TypeError, match="a seed is a whole number, not"):
        vector.reset(seed=[wrong])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 0, not -1"):
        env.reset(seed=np.int64(-1))


@given(st.integers(0, 2**100), st.integers(1, 5))
def test_whole_numbers_of_any_size(seed: int, count: int) -> None:
    assert plain_seed(seed) == seed
    assert plain_seeds(seed, count) == [seed + i for i in range(count)]
    assert plain_seeds([seed] * count, count) == [seed] * count
    if seed < 2**64:
        found = plain_seed(np.uint64(seed))
        assert type(found) is int
        assert found == seed
