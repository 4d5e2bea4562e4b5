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


def played(env: Any, options: Any = None, steps: int = 9, **more: Any) -> list[Any]:
    """Begin an episode and play some steps; return all that is told, but for what lies below."""
    told = [env.reset(options=options, **more), *(env.step(i % 2) for i in range(steps))]
    return [(seen[0].tolist(), *seen[1:]) for seen in told]


@pytest.mark.parametrize("context", ["hidden", "params", "one-hot"])
def test_an_episode_may_be_played_in_another_phase(context: Any) -> None:
    env, frozen = cartpole(context=context), cartpole(context=context, phase="long")
    other = played(env, {"phase": 1}, seed=3)
    assert played(env, {"phase": "long"}, seed=3) == other
    assert other == played(frozen, seed=3)
    assert other != played(env, seed=3)
    assert [told[-1]["phase"] for told in other] == [1] * 10
    bare: Any = env.unwrapped
    env.reset(options={"phase": 1, "params": {"masspole": 0.3}})
    assert (bare.length, bare.masspole) == (2.0, 0.3)
    _, info = env.reset()
    assert (info["phase"], bare.length, info["phase_changed"]) == (0, 0.25, True)
    _, info = env.reset(options={"phase": 1})
    assert (info["phase"], info["phase_changed"]) == (1, True)
    assert not env.reset(options={"phase": 1})[1]["phase_changed"]
    assert not env.reset(seed=0, options={"phase": 0})[1]["phase_changed"]


def test_phases_of_episodes_are_reported_as_by_the_games_of_the_suite() -> None:
    phases = tuple(
        PhaseSpec(name=f"p{i}", steps=6, params={"friction": 0.1 * (1 + i % 2)}) for i in range(3)
    )
    schedule = Schedule("s", phases)
    game = gym.make("ContinualArcade/Catcher-v0", schedule=schedule)
    friction: Any = {"friction": game.unwrapped.clock.tunables["friction"]}  # type: ignore[attr-defined]
    ours = PhasedEnv(gym.make("CartPole-v1"), schedule, friction, lambda env, params: None)
    rng = np.random.default_rng(0)
    told: Any = [(env.reset(seed=1)[1],) for env in (game, ours)]
    for _ in range(60):
        for a, b in zip(*told, strict=True):
            for name in ("phase", "lifetime_step", "phase_changed"):
                assert a[name] == b[name]
        draws = int(rng.integers(5))
        options: Any = {"phase": int(rng.integers(3))} if draws < 2 else None
        seed = 2 if draws == 4 else None
        steps = int(rng.integers(3))
        told = []
        for env in (game, ours):
            infos, ended = [env.reset(seed=seed, options=options)[1]], False
            for _ in range(steps):
                if not ended:
                    *_, terminated, truncated, info = env.step(1)
                    infos, ended = [*infos, info], terminated or truncated
            told.append(infos)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase": 7}, "7"),
        ({"phase": "lnog"}, "did you mean 'long'"),
        ({"phases": 1}, "unknown reset option 'phases': did you mean 'phase'"),
        ({"param": {"length": 1.0}}, "unknown reset option 'param': did you mean 'params'"),
        ({"params": {"lenght": 1.0}}, "did you mean 'length'"),
        ({"params": {"masscart": 0.5}}, "no such cart"),  # refused by who applies it
        ({"phase": 1, "params": {"masscart": 0.5}}, "no such cart"),
        ({"low": 1.0, "high": -1.0}, "[Ll]ow"),  # refused by CartPole, after it was applied
    ],
    ids=str,
)
@pytest.mark.parametrize("seed", [None, 5])
def test_a_reset_that_fails_changes_nothing(options: Any, message: str, seed: Any) -> None:
    def choosy(env: Any, params: Any) -> None:
        if params["masscart"] == 0.5:
            raise ValueError("no such cart")
        set_cartpole(env, params)

    def make() -> PhasedEnv:
        env = PhasedEnv(gym.make("CartPole-v1"), POLES, CARTPOLE, choosy, context="params")
        env.reset(seed=0)
        env.clock.go_to(50)
        env.reset(options={"params": {"gravity": 5.0}})
        env.clock.step = 65  # another phase would begin now
        return env

    env, untouched = make(), make()
    with pytest.raises((ValueError, AssertionError), match=message):
        env.reset(seed=seed, options=options)
    one, other = env.step(1), untouched.step(1)
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1:] == other[1:]
    assert vars(env.unwrapped)["gravity"] == 5.0
    assert env.clock.state_dict() == untouched.clock.state_dict()


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
