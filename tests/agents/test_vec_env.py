"""Stable-Baselines3 plays our vector environments as it plays its own."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import DQN
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from continual_arcade.agents import GymnasiumVecEnv
from continual_arcade.envs import GAMES, IDS, PhaseSpec, Schedule

EVERY_ID = pytest.mark.parametrize("env_id", [IDS[game] for game in GAMES], ids=[*GAMES])
LIMIT = 90


def adapted(env_id: str, num_envs: int, **kwargs: Any) -> GymnasiumVecEnv:
    return GymnasiumVecEnv(gym.make_vec(env_id, num_envs=num_envs, **kwargs))


@EVERY_ID
def test_single_environments_pass_sb3s_check(env_id: str) -> None:
    check_env(gym.make(env_id).unwrapped, skip_render_check=True)


@EVERY_ID
def test_it_is_what_dummy_vec_env_is(env_id: str) -> None:
    """Step for step the same as Stable-Baselines3's own VecEnv of monitored single environments."""
    count = 5
    ours = adapted(env_id, count, max_episode_steps=LIMIT)
    theirs = DummyVecEnv(
        [lambda: Monitor(gym.make(env_id, max_episode_steps=LIMIT)) for _ in range(count)]
    )
    for env in (ours, theirs):
        env.seed(17)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(17)
    ended = 0
    for _ in range(300):
        actions = rng.integers(ours.action_space.n, size=count)  # type: ignore[attr-defined]
        one, other = ours.step(actions), theirs.step(actions)
        for a, b in zip(one[:3], other[:3], strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        for a, b in zip(one[3], other[3], strict=True):
            assert a["score"] == b["score"]
            assert a.get("TimeLimit.truncated", False) == b.get("TimeLimit.truncated", False)
            if "terminal_observation" in b:
                ended += 1
                np.testing.assert_array_equal(a["terminal_observation"], b["terminal_observation"])
                assert a["episode"]["r"] == pytest.approx(b["episode"]["r"])
                assert a["episode"]["l"] == b["episode"]["l"]
            else:
                assert "terminal_observation" not in a
                assert "episode" not in a
    assert ended > 10


def test_a_phase_end_is_a_time_limit_and_no_death() -> None:
    phases = tuple(PhaseSpec(name=str(i), steps=20, params={"gap": 100.0 - i}) for i in range(2))
    env = adapted(IDS["FlappyBird"], 4, schedule=Schedule("s", phases))
    env.seed(0)
    env.reset()
    for step in range(1, 8):
        _, _, dones, infos = env.step(np.ones(4, np.int64))
        assert dones.all() == (step == 5)
        for info, reset_info in zip(infos, env.reset_infos, strict=True):
            assert info["phase"] == (0 if step <= 5 else 1)
            if step == 5:
                assert info["TimeLimit.truncated"]
                assert reset_info["phase"] == 1
                assert reset_info["phase_changed"]


@EVERY_ID
def test_plain_dqn_trains_on_eight_at_once(env_id: str) -> None:
    env = adapted(env_id, 8, schedule="conflict")
    model = DQN("MlpPolicy", env, learning_starts=100, train_freq=4, seed=0, device="cpu")
    before = [parameter.detach().clone() for parameter in model.q_net.parameters()]
    model.learn(1_024)
    assert model.num_timesteps == 1_024
    assert any(
        not np.array_equal(a, b.detach())
        for a, b in zip(before, model.q_net.parameters(), strict=True)
    )


@EVERY_ID
def test_plain_dqn_trains_on_a_single_environment(env_id: str) -> None:
    model = DQN("MlpPolicy", gym.make(env_id), learning_starts=50, seed=0, device="cpu")
    model.learn(300)
    assert model.num_timesteps == 300


def test_other_autoreset_modes_are_refused() -> None:
    env = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    with pytest.raises(ValueError, match="SAME_STEP"):
        GymnasiumVecEnv(env)


def test_gymnasiums_own_vector_envs_serve_as_well() -> None:
    env = SyncVectorEnv(
        [lambda: gym.make("CartPole-v1", max_episode_steps=15)] * 3,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    adapter = GymnasiumVecEnv(env)
    adapter.seed(0)
    adapter.reset()
    for step in range(1, 31):
        _, _, dones, infos = adapter.step(np.full(3, step % 2))
        for done, info in zip(dones, infos, strict=True):
            assert ("terminal_observation" in info) == done


def test_single_sub_environments_cannot_be_reached() -> None:
    env = adapted(IDS["Catcher"], 2)
    with pytest.raises(NotImplementedError, match="rows of one env"):
        env.env_method("reset")
    with pytest.raises(NotImplementedError, match=r"'push'.*set_options\({'params'"):
        env.set_attr("push", 3.0)
    assert env.get_attr("num_envs") == [2, 2]
    # Whoever asks for a space wants that of one.
    for name in ("observation_space", "action_space"):
        assert env.get_attr(name) == [getattr(env, name)] * 2
    # The sums of episodes are told as Monitor tells them, so that nobody misses it.
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.env_is_wrapped(gym.wrappers.TimeLimit) == [False, False]


def test_options_may_differ_in_values() -> None:
    env = adapted(IDS["FlappyBird"], 3)
    env.set_options([{"params": {"gap": gap}} for gap in (70.0, 80.0, 90.0)])
    env.reset()
    assert [info["params"]["gap"] for info in env.reset_infos] == [70.0, 80.0, 90.0]
    for others in ({"params": {"gravity": 1.0}}, {}, {"low": 1.0}):
        env.set_options([{"params": {"gap": 70.0}}, {"params": {"gap": 80.0}}, others])
        with pytest.raises(ValueError, match="only differ in the values of the same parameters"):
            env.reset()
    foreign = GymnasiumVecEnv(
        SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    )
    foreign.set_options({"low": -0.001, "high": 0.001})
    assert np.abs(foreign.reset()).max() <= 0.001
    foreign.set_options([{"low": -0.001}, {"low": -0.002}])
    with pytest.raises(ValueError, match="only differ in the values"):
        foreign.reset()


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_our_own_with_another_autoreset_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="make it with autoreset_mode='SameStep'"):
        adapted(IDS["Catcher"], 2, autoreset_mode=mode)


def test_options_and_pictures() -> None:
    env = adapted(IDS["FlappyBird"], 2, render_mode="rgb_array")
    env.set_options({"params": {"gap": 77.0}})
    env.seed(0)
    env.reset()
    assert [info["params"]["gap"] for info in env.reset_infos] == [77.0, 77.0]
    env.reset()
    assert [info["params"]["gap"] for info in env.reset_infos] == [100.0, 100.0]
    picture = env.render()
    assert picture is not None
    assert picture.size == 2 * 512 * 288 * 3
    env.close()
