"""Bad input gets an error that names the value and the way out, before anything moves."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from continual_arcade.envs import IDS, PhaseSpec, Schedule, make_game

FLAPPY, CATCHER, TOUR = IDS["FlappyBird"], IDS["Catcher"], IDS["Tour"]
PIXELS = {"observation": "pixels"}
SKY_BOUNDS = r"sky_rgb = 16777216 is outside \[0, 16777215\]"


def looking(until: dict[str, float] | None = None, **params: float) -> Schedule:
    """A schedule of one phase."""
    return Schedule("s", (PhaseSpec(name="one", steps=50, params=params, until=until),))


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        (FLAPPY, {"schedule": "shrnk"}, "did you mean 'shrink'"),
        (FLAPPY, {"schedule": "shrink", "phase": 6}, "phases 0 to 5"),
        (FLAPPY, {"schedule": "shrink", "phase": "gap 1000"}, "did you mean 'gap 100'"),
        (FLAPPY, {"phase": 1}, "phase 1 of schedule 'stationary'"),
        (FLAPPY, {"render_mode": "rgb"}, "did you mean 'rgb_array'"),
        (FLAPPY, {"rewards": {"postive": 1.0}}, "did you mean 'positive'"),
        (FLAPPY, {"rewards": {"loss": float("nan")}}, "finite"),
        (FLAPPY, {"rewards": {"negative": -1.0}}, "unknown reward 'negative'"),
        (CATCHER, {"size": (10, 640)}, "at least 16"),
        (CATCHER, {"size": (100, 640)}, "too narrow"),
        (CATCHER, {"size": (64.5, 64)}, "whole number"),
        (CATCHER, {"lives": 0}, "lives = 0"),
        (CATCHER, {"size": (64, 64), "schedule": "shrink"}, "made for a field of 640x640"),
        (
            CATCHER,
            {"size": (64, 64), "schedule": "shrink", **PIXELS},
            "made for a field of 640x640",
        ),
        (
            CATCHER,
            {"size": (64, 64), "schedule": "shrink", "frame_skip": 2},
            "made for a field of 640x640",
        ),
        (FLAPPY, {"observation": "sound"}, "unknown observation 'sound': known are features, pix"),
        (FLAPPY, {"observation": "pixel"}, "did you mean 'pixels'"),
        (
            FLAPPY,
            {**PIXELS, "stack": 0},
            "stack = 0 must be a whole number, at least 1 and at most 64",
        ),
        (FLAPPY, {**PIXELS, "stack": 65}, "stack = 65"),
        (FLAPPY, {**PIXELS, "stack": True}, "stack = True must be a whole number"),
        (FLAPPY, {**PIXELS, "screen_size": 8}, r"8x8 is too small.*at least 15 rows and 9 columns"),
        (FLAPPY, {**PIXELS, "screen_size": (14, 9)}, "14x9 is too small for FlappyBird"),
        (FLAPPY, {**PIXELS, "screen_size": (15, 8)}, "15x8 is too small for FlappyBird"),
        (CATCHER, {**PIXELS, "screen_size": 16}, "at least 17 rows and 17 columns"),
        (TOUR, {**PIXELS, "screen_size": 17}, "at least 18 rows and 19 columns"),
        (FLAPPY, {**PIXELS, "screen_size": 5000}, r"screen_size\[0\] = 5000.* at most 4,096"),
        (FLAPPY, {**PIXELS, "screen_size": 0}, r"screen_size\[0\] = 0 must be a whole number"),
        (FLAPPY, {**PIXELS, "screen_size": (84, 84, 3)}, "must be rows and columns, or one whole"),
        (FLAPPY, {**PIXELS, "screen_size": 84.0}, "screen_size = 84.0 must be rows and columns"),
        (FLAPPY, {**PIXELS, "colour": "yes"}, "colour = 'yes' must be True or False"),
        (
            FLAPPY,
            {**PIXELS, "channels": "middle"},
            "unknown channels 'middle': known are first, last",
        ),
        (FLAPPY, {"stack": 4}, "stack = 4: there are no pictures with observation = 'features'"),
        (
            FLAPPY,
            {"screen_size": 84, "colour": True},
            "screen_size = 84, colour = True: .* make it with observation='pixels'",
        ),
        (
            FLAPPY,
            {**PIXELS, "context": "params"},
            "context = 'params' appends numbers .* leave it out",
        ),
        (CATCHER, {**PIXELS, "context": "one-hot"}, "let the looks tell phases apart .*field_rgb"),
        (
            IDS["RelabelledFlappyBird"],
            PIXELS,
            "RelabelledFlappyBird has no shapes: agents cannot see",
        ),
        (IDS["Digits"], PIXELS, "Digits has no shapes: .* make it with observation='features'"),
        (FLAPPY, {"frame_skip": 0}, "frame_skip = 0 must be a whole number, at least 1"),
        (FLAPPY, {"frame_skip": 101}, "at most 100"),
        (FLAPPY, {"frame_skip": 1.5}, "frame_skip = 1.5 must be a whole number"),
        (IDS["AdditionFacts"], {"frame_skip": 2}, "asks once and is over; leave frame_skip out"),
        (
            FLAPPY,
            {"schedule": looking(sky_rgb=5)},
            "sky_rgb is a look, and .* make it with observation='pixels'",
        ),
        (CATCHER, {"schedule": looking(noise=5)}, "noise is a look"),
        (IDS["RelabelledCatcher"], {"schedule": looking(noise=5)}, "unknown parameter 'noise'"),
        (FLAPPY, {"schedule": looking(sky_rgb=2**24), **PIXELS}, SKY_BOUNDS),
        (FLAPPY, {"schedule": looking(sky_rgb=-1), **PIXELS}, r"-1 is outside \[0, 16777215\]"),
        (
            FLAPPY,
            {"schedule": looking(sky_rgb=0.5), **PIXELS},
            "sky_rgb = 0.5 must be a whole number",
        ),
        (FLAPPY, {"schedule": looking(sky_rbg=5), **PIXELS}, "did you mean 'sky_rgb'"),
        (FLAPPY, {"schedule": looking(field_rgb=5), **PIXELS}, "unknown parameter 'field_rgb'"),
        (FLAPPY, {"schedule": looking(mirrored=0.5), **PIXELS}, "mirrored = 0.5 must be a whole"),
        (FLAPPY, {"schedule": looking(noise=65), **PIXELS}, r"65 grey levels is outside \[0, 64\]"),
        (FLAPPY, {"schedule": looking(distractor=73), **PIXELS}, r"73 px is outside \[0, 72\]"),
        (TOUR, {"schedule": looking(pellet_rgb=5), **PIXELS}, "acts only where which_game = 1"),
        (
            FLAPPY,
            {"schedule": looking({"sky_rgb": 255}, sky_rgb=0), **PIXELS},
            "sky_rgb moves from #000000 until #0000ff, and only whole numbers make sense",
        ),
    ],
)
@pytest.mark.parametrize("vector", [False, True])
def test_making(env_id: str, kwargs: dict[str, Any], message: str, vector: bool) -> None:
    with warnings.catch_warnings():
        # gym.make warns of a render mode that the metadata do not list, before we refuse it.
        warnings.simplefilter("ignore")
        if vector and "render_mode" in kwargs:
            message = "did you mean 'rgb_array'"
        with pytest.raises(ValueError, match=message):
            gym.make_vec(env_id, num_envs=2, **kwargs) if vector else gym.make(env_id, **kwargs)


@pytest.mark.parametrize("vector", [False, True])
def test_an_unknown_option_is_pythons_unexpected_keyword(vector: bool) -> None:
    # TorchRL tries which keywords an environment takes, and reads these words.
    message = "unexpected keyword argument 'lives': unknown option of FlappyBird 'lives'"
    with pytest.raises(TypeError, match=message):
        gym.make_vec(FLAPPY, num_envs=2, lives=2) if vector else gym.make(FLAPPY, lives=2)
    with pytest.raises(TypeError, match=message):
        make_game("FlappyBird", lives=2)


def test_what_is_not_known_of_pictures_is_pythons_unexpected_keyword() -> None:
    message = (
        "unexpected keyword argument 'channel': unknown option of FlappyBird 'channel': did you"
    )
    with pytest.raises(TypeError, match=message):
        gym.make(FLAPPY, **PIXELS, channel="first")


@pytest.mark.parametrize("vector", [False, True])
def test_pinning_looks(vector: bool) -> None:
    kwargs: dict[str, Any] = {**PIXELS, "screen_size": 21}
    env: Any = gym.make_vec(FLAPPY, 2, **kwargs) if vector else gym.make(FLAPPY, **kwargs)
    with pytest.raises(ValueError, match=SKY_BOUNDS):
        env.reset(options={"params": {"sky_rgb": 2**24}})
    with pytest.raises(ValueError, match=r"bird_rgb = 1\.5 must be a whole number"):
        env.reset(options={"params": {"bird_rgb": 1.5}})
    with pytest.raises(TypeError, match="bird_rgb = '#fff' must be a number"):
        env.reset(options={"params": {"bird_rgb": "#fff"}})


def test_unknown_game() -> None:
    with pytest.raises(ValueError, match="did you mean 'FlappyBird'"):
        make_game("FlapyBird")


@pytest.mark.parametrize(
    ("env_id", "params", "error", "message"),
    [
        (FLAPPY, {"gab": 90}, ValueError, "did you mean 'gap'"),
        (FLAPPY, {"gap": 20}, ValueError, r"gap = 20 px is outside \[60, 200\]: no bird fits"),
        (FLAPPY, {"gap": 300}, ValueError, r"outside \[60, 200\]"),
        (FLAPPY, {"gap": float("nan")}, ValueError, "gap = nan"),
        (FLAPPY, {"gap": float("inf")}, ValueError, "gap = inf"),
        (FLAPPY, {"gap": "wide"}, TypeError, "gap = 'wide' must be a number"),
        (FLAPPY, {"gap": None}, TypeError, "gap = None must be a number"),
        (FLAPPY, {"gap": True}, TypeError, "gap = True must be a number"),
        (CATCHER, {"paddle_width": 100.5}, ValueError, "whole number"),
        (CATCHER, {"friction": 0.0}, ValueError, r"outside \[0.02, 0.5\]"),
        (CATCHER, {"fall_speed": 100}, ValueError, "jump over the paddle"),
    ],
)
@pytest.mark.parametrize("vector", [False, True])
def test_pinning(
    env_id: str, params: dict[str, Any], error: type[Exception], message: str, vector: bool
) -> None:
    env: Any = gym.make_vec(env_id, num_envs=2) if vector else gym.make(env_id)
    with pytest.raises(error, match=message):
        env.reset(options={"params": params})


def test_pinning_arrays() -> None:
    env = gym.make_vec(FLAPPY, num_envs=3)
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        env.reset(options={"params": {"gap": [90, 80]}})
    with pytest.raises(ValueError, match="gap = 10"):
        env.reset(options={"params": {"gap": np.array([90.0, 10.0, 80.0])}})


@pytest.mark.parametrize("vector", [False, True])
def test_unknown_reset_options(vector: bool) -> None:
    env: Any = gym.make_vec(FLAPPY, num_envs=2) if vector else gym.make(FLAPPY)
    with pytest.raises(ValueError, match="unknown reset option 'parms': did you mean 'params'"):
        env.reset(options={"parms": {"gap": 90}})
    if not vector:
        with pytest.raises(ValueError, match="unknown reset option 'reset_mask'"):
            env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(options={})


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (2, ValueError, r"no action 2: the actions are 0 \(flap\), 1 \(no-op\)"),
        (-1, ValueError, "no action -1"),
        (2**80, TypeError, "whole number"),
        (0.5, TypeError, "not 0.5"),
        (1.0, TypeError, "not 1.0"),
        ("flap", TypeError, "not 'flap'"),
        (None, TypeError, "not None"),
        (np.array([0, 1]), TypeError, "whole number"),
        (float("nan"), TypeError, "whole number"),
    ],
)
def test_actions(action: Any, error: type[Exception], message: str) -> None:
    env = gym.make(FLAPPY).unwrapped
    env.reset(seed=0)
    before = env.state  # type: ignore[attr-defined]
    with pytest.raises(error, match=message):
        env.step(action)
    after = env.state  # type: ignore[attr-defined]
    assert str(before) == str(after)
    env.step(np.int32(1))
    env.step(np.array(1))  # zero-dimensional, as some policies return


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        ([0, 1, 2], ValueError, r"sub-environment 2: there is no action 2"),
        ([0, -1, 1], ValueError, r"sub-environment 1: there is no action -1"),
        ([0, 1], ValueError, r"shape \(2,\)"),
        ([[0, 1, 1]], ValueError, r"shape \(1, 3\)"),
        ([0.0, 1.0, 1.0], TypeError, "float64"),
        (["a", "b", "c"], TypeError, "whole numbers"),
        (1, ValueError, r"shape \(\)"),
    ],
)
def test_vector_actions(actions: Any, error: type[Exception], message: str) -> None:
    env: Any = gym.make_vec(FLAPPY, num_envs=3, schedule="shrink")
    env.reset(seed=0)
    before, step = env.core.blocks.copy(), env.clock.step
    with pytest.raises(error, match=message):
        env.step(actions)
    assert env.core.blocks.tobytes() == before.tobytes()
    assert env.clock.step == step
    env.step([0, 1, 1])


def test_a_wrong_action_at_a_boundary_leaves_the_phase_alone() -> None:
    phases = tuple(PhaseSpec(name=str(i), steps=4, params={"gap": 100.0 - i}) for i in range(3))
    env: Any = gym.make_vec(FLAPPY, num_envs=2, schedule=Schedule("s", phases))
    env.reset(seed=0)
    env.step([1, 1])
    with pytest.raises(ValueError, match="no action 7"):
        env.step([1, 7])  # would have crossed into phase 1
    assert (env.clock.step, env.clock.phase.index) == (2, 0)
    *_, truncated, infos = env.step([1, 1])
    assert truncated.all()
    assert infos["phase"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_envs": 0}, "num_envs = 0"),
        ({"num_envs": 2, "max_episode_steps": 0}, "max_episode_steps = 0"),
        ({"num_envs": 2, "max_episode_steps": -1}, "max_episode_steps = -1 .*, or None"),
        (
            {
                "num_envs": 30,
                "schedule": {
                    "format": 1,
                    "phases": [{"steps": 20, "name": "short"}, {"steps": 90}],
                },
            },
            "phase 'short' lasts 20 steps, but 30 environments",
        ),
    ],
)
def test_vector_sizes(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gym.make_vec(FLAPPY, **kwargs)


def test_seeds_of_a_vector_env() -> None:
    env = gym.make_vec(FLAPPY, num_envs=3)
    with pytest.raises(ValueError, match="2 seeds for 3"):
        env.reset(seed=[1, 2])  # type: ignore[arg-type]


def test_a_failed_reset_changes_nothing() -> None:
    env: Any = gym.make(FLAPPY, schedule="shrink").unwrapped
    env.reset(seed=0)
    for _ in range(10):
        env.step(1)
    before = (str(env.state), env.clock.step)
    with pytest.raises(ValueError, match="gap"):
        env.reset(seed=1, options={"params": {"gap": 1}})
    assert (str(env.state), env.clock.step) == before
    env.step(1)
