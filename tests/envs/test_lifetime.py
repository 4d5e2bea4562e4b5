"""A run in phases: clock, boundaries, pinned episodes, in single and vector environments."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from continual_arcade.envs import (
    IDS,
    ArcadeEnv,
    ArcadeVectorEnv,
    PhaseSpec,
    Schedule,
    make_game,
    shipped,
)

ID = IDS["FlappyBird"]


def gaps(*values: float, steps: int = 30) -> Schedule:
    return Schedule(
        "gaps", tuple(PhaseSpec(name=f"{v:g}", steps=steps, params={"gap": v}) for v in values)
    )


def vector(num_envs: int, **kwargs: Any) -> ArcadeVectorEnv:
    env = gym.make_vec(ID, num_envs=num_envs, **kwargs)
    assert isinstance(env, ArcadeVectorEnv)
    return env


def test_nothing_has_changed_where_nothing_was_before() -> None:
    """A first reset in another phase than the first one changes none, with a seed or without."""
    schedule = shipped("conflict", make_game("Catcher"))
    options = {"phase": 1}
    for seed in (None, 3):
        single, many = ArcadeEnv("Catcher", schedule), ArcadeVectorEnv("Catcher", 2, None, schedule)
        for env in (single, many):
            _, info = env.reset(seed=seed, options=options)
            assert np.all(info["phase"] == 1)
            assert not np.any(info["phase_changed"])
            _, info = env.reset(options={"phase": 2})
            assert np.all(info["phase_changed"])
            _, info = env.reset(seed=5, options=options)
            assert not np.any(info["phase_changed"])


def test_a_boundary_truncates_and_never_terminates() -> None:
    env = gym.make(ID, schedule=gaps(100, 80, 60))
    _, info = env.reset(seed=0)
    seen = []
    for step in range(1, 121):
        _, reward, terminated, truncated, info = env.step(1 if step % 12 else 0)
        assert info["lifetime_step"] == step
        seen.append((info["phase"], info["params"]["gap"]))
        if truncated:
            assert not terminated
            assert reward == 0.0
            assert step in (30, 60)
            _, info = env.reset()
            assert info["phase_changed"]
            assert info["phase"] == step // 30
        elif terminated:
            _, info = env.reset()
            assert not info["phase_changed"]
    assert seen == [
        (min((s - 1) // 30, 2), [100, 80, 60][min((s - 1) // 30, 2)]) for s in range(1, 121)
    ]


def test_the_clock_survives_resets_and_rewinds_with_a_seed() -> None:
    env = gym.make(ID, schedule=gaps(100, 80))
    env.reset(seed=0)
    for _ in range(3):
        for _ in range(10):
            env.step(1)
        _, info = env.reset()
    assert (info["lifetime_step"], info["phase"], info["phase_changed"]) == (30, 1, True)
    _, info = env.reset()
    assert not info["phase_changed"]
    _, info = env.reset(seed=0)
    assert (info["lifetime_step"], info["phase"], info["phase_changed"]) == (0, 0, False)


def test_a_parameter_never_acts_in_the_middle_of_an_episode() -> None:
    ramp = Schedule(
        "r", (PhaseSpec(name="r", steps=100, params={"gap": 100.0}, until={"gap": 60.0}),)
    )
    env = gym.make(ID, schedule=ramp)
    _, info = env.reset(seed=0)
    seen = [info["params"]["gap"]]
    for step in range(40):
        *_, info = env.step(1 if step % 12 else 0)
        assert info["params"]["gap"] == seen[-1]
        if step in (9, 19):
            _, info = env.reset()
            seen.append(info["params"]["gap"])
    assert seen == [100.0, 96.0, 92.0]


def test_a_frozen_phase_has_no_boundary() -> None:
    env = gym.make(ID, schedule=gaps(100, 80, 60, steps=5), phase=1)
    _, info = env.reset(seed=0)
    for _ in range(20):
        *_, truncated, info = env.step(1)
        assert not truncated
        assert (info["phase"], info["params"]["gap"]) == (1, 80.0)
    env = gym.make(ID, schedule=gaps(100, 80, 60), phase="60")
    assert env.reset(seed=0)[1]["phase"] == 2


def test_pinned_parameters_hold_for_one_episode() -> None:
    env = gym.make(ID, schedule=gaps(100, 80))
    _, info = env.reset(seed=0, options={"params": {"gap": 66, "gravity": 0.5}})
    assert (info["params"]["gap"], info["params"]["gravity"]) == (66.0, 0.5)
    *_, info = env.step(1)
    assert info["params"]["gap"] == 66.0
    assert env.unwrapped.state["gap"] == 66.0  # type: ignore[attr-defined]
    _, info = env.reset()
    assert (info["params"]["gap"], info["params"]["gravity"]) == (100.0, 1.0)


def test_infos_can_be_kept_and_changed() -> None:
    env = gym.make(ID)
    _, info = env.reset(seed=0)
    info["params"]["gap"] = 1.0
    *_, info = env.step(1)
    assert info["params"]["gap"] == 100.0


def test_a_life_of_many_counts_the_transitions_of_all() -> None:
    env = vector(8, schedule=gaps(100, 80, 60, steps=100))
    _, infos = env.reset(seed=0)
    assert infos["lifetime_step"].tolist() == [0] * 8
    for step in range(1, 40):
        _, rewards, terminated, truncated, infos = env.step(np.ones(8, np.int64))
        assert infos["lifetime_step"].tolist() == [8 * step] * 8
        # 104 is the first multiple of 8 that is not below 100; the boundary at 200 is met exactly.
        at_boundary = step in (13, 25)
        assert truncated.all() == at_boundary
        assert infos["phase_changed"].all() == at_boundary
        phase = 0 if step < 13 else 1 if step < 25 else 2
        assert infos["phase"].tolist() == [phase] * 8
        assert infos["params"]["gap"].tolist() == [[100.0, 80.0, 60.0][phase]] * 8
        if at_boundary:
            assert infos["final_info"]["phase"].tolist() == [phase - 1] * 8
            assert (rewards[~terminated] == 0).all()
        assert env.core.field("gap").tolist() == infos["params"]["gap"].tolist()


def test_an_ended_episode_is_followed_by_another_in_the_same_step() -> None:
    env = vector(3, max_episode_steps=20)
    observations, _ = env.reset(seed=0)
    for step in range(1, 41):
        actions = np.array([1, 0, 1])
        before = observations
        observations, _, terminated, truncated, infos = env.step(actions)
        assert observations is not before
        ended = terminated | truncated
        assert truncated.all() == (step % 20 == 0 and not terminated.any()) or terminated.any()
        if ended.any():
            assert infos["_final_obs"].tolist() == ended.tolist()
            assert infos["_final_info"].tolist() == ended.tolist()
            fresh = env.core.field("steps") == 0
            assert fresh.tolist() == ended.tolist()
            assert not np.array_equal(infos["final_obs"][ended], observations[ended])
            assert (infos["final_obs"][~ended] == 0).all()
        else:
            assert "final_obs" not in infos


def test_drift_reaches_each_sub_environment_with_its_own_next_episode() -> None:
    ramp = Schedule(
        "r", (PhaseSpec(name="r", steps=3000, params={"gap": 100.0}, until={"gap": 60.0}),)
    )
    env = vector(6, schedule=ramp)
    env.reset(seed=1)
    rng = np.random.default_rng(1)
    held = np.full(6, 100.0)
    for _ in range(400):
        _, _, terminated, truncated, infos = env.step((rng.random(6) > 0.1).astype(np.int64))
        now = ramp.at(env.clock.step).params["gap"]
        ended = terminated | truncated
        np.testing.assert_array_equal(
            infos["final_info"]["params"]["gap"] if ended.any() else held, held
        )
        held = np.where(ended, now, held)
        np.testing.assert_array_equal(infos["params"]["gap"], held)
        np.testing.assert_array_equal(env.core.field("gap"), held)
    assert len(set(held)) > 2


def test_a_phase_without_a_jump_reaches_each_sub_environment_with_its_own_next_episode() -> None:
    # The parameters are the same in both phases, so nothing is truncated where they meet.
    schedule = Schedule(
        "level",
        (
            PhaseSpec(name="one", steps=400, params={"gap": 100.0}, until={"gap": 100.0}),
            PhaseSpec(name="two", steps=8_000, params={"gap": 100.0}),
        ),
    )
    env = vector(4, schedule=schedule)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    phases = np.zeros(4, int)
    for _ in range(1_000):
        _, _, terminated, truncated, infos = env.step((rng.random(4) < 0.93).astype(int))
        begun = terminated | truncated
        step = int(infos["lifetime_step"].max())
        phases = np.where(begun & (step >= 400), 1, phases)
        np.testing.assert_array_equal(infos["phase"], phases)
    assert (phases == 1).all()


def test_parameters_can_be_pinned_for_each_sub_environment() -> None:
    env = vector(4, schedule=gaps(100, 80, steps=10_000))
    pinned = np.array([100.0, 90.0, 80.0, 70.0])
    _, infos = env.reset(seed=[5, 5, 5, 5], options={"params": {"gap": pinned, "gravity": 0.9}})
    assert infos["params"]["gap"].tolist() == pinned.tolist()
    assert env.core.field("gravity").tolist() == [0.9] * 4
    alive = np.ones(4, np.bool_)
    while alive.any():
        *_, terminated, _, infos = env.step(np.ones(4, np.int64))
        alive &= ~terminated
        expected = np.where(alive, pinned, 100.0)
        assert infos["params"]["gap"].tolist() == expected.tolist()


def test_the_same_seed_for_each_gives_the_same_openings() -> None:
    env = vector(3)
    env.reset(seed=[7, 7, 8])
    tops = env.core.field("pipe_top")
    assert tops[0].tolist() == tops[1].tolist() != tops[2].tolist()


def test_arrays_in_infos_are_fresh_or_read_only() -> None:
    env = vector(4, schedule=gaps(100, 80, steps=1000))
    env.reset(seed=0)
    one, other = env.step(np.ones(4, np.int64)), env.step(np.ones(4, np.int64))
    for a, b in zip(one[:4], other[:4], strict=True):
        assert not np.shares_memory(a, b)
    for name in ("lifetime_step", "score"):
        assert not np.shares_memory(one[4][name], other[4][name])
    for shared in (one[4]["phase"], one[4]["params"]["gap"], one[4]["_score"]):
        with pytest.raises(ValueError, match="read-only"):
            shared[0] = 1


@pytest.mark.parametrize("num_envs", [1, 63, 64, 65, 130])
def test_padding_never_leaks(num_envs: int) -> None:
    """Lanes behind the last environment play along unseen."""
    env = vector(num_envs, max_episode_steps=30)
    observations, infos = env.reset(seed=3)
    assert observations.shape == (num_envs, 8)
    for _ in range(80):
        observations, rewards, terminated, truncated, infos = env.step(np.ones(num_envs, np.int64))
        for array in (observations, rewards, terminated, truncated, infos["score"]):
            assert len(array) == num_envs
        assert np.isfinite(observations).all()
    # Whatever the number of environments, the first one goes through the same phases.
    alone = vector(1, max_episode_steps=30)
    alone.reset(seed=3)
    for _ in range(80):
        expected = alone.step(np.ones(1, np.int64))[0]
    np.testing.assert_array_equal(observations[0], expected[0])
