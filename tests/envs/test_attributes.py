"""What would change nothing cannot be set; all other attributes belong to whoever sets them."""

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from continual_arcade.envs import IDS, ArcadeEnv, ArcadeVectorEnv, PhaseSpec, Schedule
from continual_arcade.envs.phased_env import CARTPOLE, PhasedEnv, set_cartpole

FLAPPY, CATCHER = IDS["FlappyBird"], IDS["Catcher"]
EVERY_ID = pytest.mark.parametrize("env_id", IDS.values(), ids=IDS.keys())
STAYS = Schedule("s", (PhaseSpec(name="only", steps=100, params={"gravity": 5.0}),))


def phased() -> PhasedEnv:
    return PhasedEnv(gym.make("CartPole-v1"), STAYS, CARTPOLE, set_cartpole)


@EVERY_ID
@pytest.mark.parametrize("vector", [False, True])
def test_every_parameter_is_refused_with_the_way_out(env_id: str, vector: bool) -> None:
    env: Any = gym.make_vec(env_id, 2) if vector else gym.make(env_id).unwrapped
    env.reset(seed=0)
    before = env.core.blocks.copy()
    for name, tunable in env.game.tunables.items():
        with pytest.raises(
            AttributeError, match=rf"'{name}' is no attribute.*'params': {{'{name}'"
        ):
            setattr(env, name, tunable.high)
        assert not hasattr(env, name)
        # The way out is one.
        kinds = env.game.tunables
        acts = tunable.acts_where | {other: kinds[other].high for other in tunable.acts_unless}
        value = tunable.high - (tunable.high in tunable.excluded)
        _, info = env.reset(options={"params": {**acts, name: value}})
        assert np.all(info["params"][name] == value)
        env.reset(seed=0)
    assert env.core.blocks.tobytes() == before.tobytes()


@pytest.mark.parametrize("name", ["gravty", "Gravity", "graviti", "flapp", "spaceing"])
def test_a_slip_of_the_pen_is_refused(name: str) -> None:
    env = gym.make(FLAPPY).unwrapped
    with pytest.raises(AttributeError, match="did you mean"):
        setattr(env, name, 1.0)


@pytest.mark.parametrize(
    ("env_id", "vector", "names"),
    [
        (FLAPPY, False, ["schedule", "phase", "rewards", "game", "max_episode_steps"]),
        (CATCHER, False, ["size", "lives"]),
        (FLAPPY, True, ["schedule", "phase", "num_envs", "max_episode_steps", "autoreset_mode"]),
        (CATCHER, True, ["size", "lives", "rewards", "game"]),
        *((FLAPPY, vector, ["observation", "frame_skip", "stack"]) for vector in (False, True)),
    ],
)
def test_what_is_fixed_when_it_is_made(env_id: str, vector: bool, names: list[str]) -> None:
    env: Any = gym.make_vec(env_id, 2) if vector else gym.make(env_id).unwrapped
    for made in (env, copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        for name in names:
            with pytest.raises(AttributeError, match=f"'{name}' is fixed.*make another one"):
                setattr(made, name, 3)


@pytest.mark.parametrize("vector", [False, True])
def test_options_of_a_game_in_pictures_are_fixed_too(vector: bool) -> None:
    how: dict[str, Any] = {"observation": "pixels", "screen_size": 21, "frame_skip": 2}
    env: Any = gym.make_vec(CATCHER, 2, **how) if vector else gym.make(CATCHER, **how).unwrapped
    for name in ("size", "lives", "rewards", "screen_size", "colour", "channels", "stack"):
        with pytest.raises(AttributeError, match=f"'{name}' is fixed.*make another one"):
            setattr(env, name, 3)


def test_wrappers_and_vector_environments_hand_it_on() -> None:
    env = gym.make(FLAPPY)
    for force in (True, False):
        with pytest.raises(AttributeError, match="'gravity' is no attribute"):
            env.set_wrapper_attr("gravity", 2.0, force=force)
    vector = SyncVectorEnv([lambda: gym.make(FLAPPY)] * 2)
    with pytest.raises(AttributeError, match="'gravity' is no attribute"):
        vector.set_attr("gravity", [1.0, 2.0])
    assert env.set_wrapper_attr("hud", False)
    assert env.unwrapped.hud is False  # type: ignore[attr-defined]
    assert env.set_wrapper_attr("mine", 1)
    assert env.get_wrapper_attr("mine") == 1


# This is how Gymnasium logs it.
@pytest.mark.filterwarnings(
    "ignore:.*(ERROR. Traceback|Received the following|Raising):UserWarning"
)
def test_other_processes_hand_it_on() -> None:
    vector = AsyncVectorEnv([lambda: gym.make(FLAPPY)] * 2)
    try:
        with pytest.raises(AttributeError, match="'gravity' is no attribute"):
            vector.set_attr("gravity", [1.0, 2.0])
    finally:
        vector.close(terminate=True)


@pytest.mark.parametrize("vector", [False, True])
def test_everything_else_belongs_to_whoever_sets_it(vector: bool) -> None:
    env: Any = gym.make_vec(FLAPPY, 2) if vector else gym.make(FLAPPY).unwrapped
    for name in ("foo", "mine", "gap_seen", "is_vector_env", "reward_space", "_gravity", "_phase2"):
        setattr(env, name, name)
        assert getattr(env, name) == name
    env._np_random, _ = gym.utils.seeding.np_random(3)
    env.np_random = env._np_random
    env.spec = env.spec
    env.metadata = dict(env.metadata)
    env.action_space = env.action_space
    env.observation_space = env.observation_space
    env.reset(seed=0)


@pytest.mark.parametrize("vector", [False, True])
def test_what_acts_when_something_is_drawn_may_be_changed(vector: bool) -> None:
    def make(**kwargs: Any) -> Any:
        return gym.make_vec(FLAPPY, 1, **kwargs) if vector else gym.make(FLAPPY, **kwargs)

    env = make().unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="choose a render_mode"):
        env.render()
    env.render_mode = "rgb_array"
    with_hud = env.render()
    env.hud = False
    without = env.render()
    assert np.shape(with_hud) == np.shape(without)
    assert not np.array_equal(with_hud, without)
    expected = make(render_mode="rgb_array", hud=False)
    expected.reset(seed=0)
    np.testing.assert_array_equal(without, expected.render())
    env.render_mode = "rgb"
    with pytest.raises(ValueError, match="choose a render_mode"):
        env.render()
    env.close()


def test_a_window_is_opened_and_closed_as_the_mode_says() -> None:
    env: Any = gym.make(CATCHER, render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    picture = env.render()
    env.render_mode = "human"
    env.step(0)  # shows itself
    assert env._screen.has_window
    assert env.render() is None
    env.render_mode = "rgb_array"
    assert env.render().shape == picture.shape
    assert not env._screen.has_window
    env.close()


def test_a_foreign_environment_whose_parameters_follow_a_schedule() -> None:
    env = phased()
    for name in ("gravity", "schedule", "phase"):
        for set_it in (setattr, lambda env, name, value: env.set_wrapper_attr(name, value)):
            with pytest.raises(AttributeError, match=f"'{name}' is"):
                set_it(env, name, 3.0)
    outer = gym.wrappers.TimeLimit(env, 10)
    with pytest.raises(AttributeError, match="'length' is no attribute"):
        outer.set_wrapper_attr("length", 2.0)
    env.set_wrapper_attr("theta_threshold_radians", 0.1)  # which is CartPole's, and does not drift
    assert env.unwrapped.theta_threshold_radians == 0.1  # type: ignore[attr-defined]
    env.mine = 3  # type: ignore[attr-defined]
    env.reset(seed=0)
    assert env.unwrapped.gravity == 5.0  # type: ignore[attr-defined]


def test_a_class_derived_from_ours_may_have_what_it_likes() -> None:
    class Mine(ArcadeEnv):
        def __init__(self, difficulty: int, **kwargs: Any) -> None:
            super().__init__("FlappyBird", **kwargs)
            self.difficulty = difficulty
            self.counted = 0

        def step(self, action: Any) -> Any:
            self.counted += 1
            return super().step(action)

    env = Mine(3, schedule="shrink")
    env.reset(seed=0)
    env.step(1)
    assert (env.counted, env.difficulty) == (1, 3)
    with pytest.raises(AttributeError, match="'gap' is no attribute"):
        env.gap = 90  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="'schedule' is fixed"):
        env.schedule = "grow"  # type: ignore[attr-defined]
    assert not issubclass(ArcadeVectorEnv, gym.Env)
