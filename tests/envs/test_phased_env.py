"""The wrapper gives any environment a schedule."""

import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from continual_arcade.envs import PhaseSpec, Schedule
from continual_arcade.envs.phased_env import (
    CARTPOLE,
    PhasedEnv,
    SwitchEnv,
    set_cartpole,
    switching,
)
from continual_arcade.envs.schedule_files import save

POLES = Schedule(
    "poles",
    (
        PhaseSpec(name="short", steps=60, params={"length": 0.25}),
        PhaseSpec(name="long", steps=60, params={"length": 2.0}),
    ),
)


def cartpole(**kwargs: Any) -> PhasedEnv:
    return PhasedEnv(gym.make("CartPole-v1"), POLES, CARTPOLE, set_cartpole, **kwargs)


def test_the_pole_grows_and_what_is_derived_from_it() -> None:
    env = cartpole()
    _, info = env.reset(seed=0)
    pole: Any = env.unwrapped
    seen = []
    for step in range(1, 121):
        _, _, terminated, truncated, info = env.step(step % 2)
        seen.append(info["phase"])
        length = 0.25 if step <= 60 else 2.0
        assert info["params"]["length"] == pole.length == length
        assert pole.polemass_length == 0.1 * length
        assert info["lifetime_step"] == step
        if step == 60:
            assert truncated
        if terminated or truncated:
            _, info = env.reset()
            assert info["phase_changed"] == (step == 60)
    assert seen == [0] * 60 + [1] * 60


def test_a_phase_plays_like_an_environment_made_for_it() -> None:
    env = cartpole(phase="long")
    by_hand = gym.make("CartPole-v1")
    bare: Any = by_hand.unwrapped
    bare.length, bare.polemass_length = 2.0, 0.2
    one, other = env.reset(seed=5)[0], by_hand.reset(seed=5)[0]
    for step in range(30):
        np.testing.assert_array_equal(one, other)
        one, other = env.step(step % 2)[0], by_hand.step(step % 2)[0]


def test_pinned_frozen_and_other_options() -> None:
    env = cartpole(phase=0)
    # The environment below gets what is not ours: CartPole's bounds of the first state.
    observation, info = env.reset(
        seed=1, options={"params": {"length": 1.0}, "low": -0.001, "high": 0.001}
    )
    assert info["params"]["length"] == 1.0
    assert np.abs(observation).max() <= 0.001
    _, info = env.reset()
    assert info["params"]["length"] == 0.25


# Gymnasium's own CartPole has infinite bounds, which its own check does not like; and the check
# would rather see an environment without wrappers.
CARTPOLE_IS_NO_MODEL = pytest.mark.filterwarnings(
    "ignore:.*(is -?infinity|different from the unwrapped version):UserWarning"
)


@CARTPOLE_IS_NO_MODEL
def test_a_seeded_life_is_deterministic() -> None:
    env = cartpole()
    check_env(env, skip_render_check=True)
    one = [env.reset(seed=3)] + [env.step(i % 2)[:4] for i in range(10)]
    for _ in range(80):
        *_, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            env.reset()
    other = [env.reset(seed=3)] + [env.step(i % 2)[:4] for i in range(10)]
    assert str(one) == str(other)


def test_it_travels() -> None:
    env = cartpole()
    env.reset(seed=0)
    copy = pickle.loads(pickle.dumps(env))
    assert str(env.step(1)) == str(copy.step(1))


@CARTPOLE_IS_NO_MODEL
def test_a_list_of_environments_with_equal_spaces() -> None:
    schedule = Schedule(
        "two",
        tuple(PhaseSpec(name=f"env {i}", steps=20, params={"env": float(i)}) for i in (0, 1, 0)),
    )
    light, heavy = gym.make("CartPole-v1"), gym.make("CartPole-v1")
    bare: Any = heavy.unwrapped
    bare.gravity = 30.0
    env = switching([light, heavy], schedule)
    env.reset(seed=0)
    switch: Any = env.unwrapped
    played = []
    for step in range(60):
        played.append(switch.envs.index(switch.env))
        *_, terminated, truncated, _ = env.step(step % 2)
        if terminated or truncated:
            env.reset()
    assert played == [0] * 20 + [1] * 20 + [0] * 20
    check_env(SwitchEnv([gym.make("CartPole-v1"), gym.make("CartPole-v1")]), skip_render_check=True)
    env.close()


def test_environments_with_other_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="environment 1 has observation_space"):
        SwitchEnv([gym.make("CartPole-v1"), gym.make("MountainCar-v0")])
    with pytest.raises(ValueError, match="at least one"):
        SwitchEnv([])
    three = Schedule("s", (PhaseSpec(name="x", steps=5, params={"env": 2.0}),))
    with pytest.raises(ValueError, match=r"env = 2 is outside \[0, 1\]"):
        switching([gym.make("CartPole-v1")] * 2, three)


def test_schedules_are_checked_and_may_come_from_files(tmp_path: Path) -> None:
    save(POLES, tmp_path / "poles.toml")
    env = PhasedEnv(gym.make("CartPole-v1"), tmp_path / "poles.toml", CARTPOLE, set_cartpole)
    assert env.clock.schedule == POLES
    wrong = Schedule("s", (PhaseSpec(name="x", steps=5, params={"lenght": 1.0}),))
    with pytest.raises(ValueError, match="did you mean 'length'"):
        PhasedEnv(gym.make("CartPole-v1"), wrong.to_dict(), CARTPOLE, set_cartpole)
    with pytest.raises(ValueError, match="length = 9"):
        cartpole().reset(options={"params": {"length": 9.0}})
