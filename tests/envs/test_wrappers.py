"""Every wrapper of Gymnasium around our environments: what it gives lies in the space it claims."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import gymnasium.wrappers as single
import gymnasium.wrappers.vector as vector
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from continual_arcade.envs import GAMES, IDS

EVERY_ID = pytest.mark.parametrize("env_id", [IDS[game] for game in GAMES], ids=[*GAMES])
GYMNASIUM = tuple(int(part) for part in gym.__version__.split(".")[:2])
Make = Callable[..., Any]
Recipe = Callable[[Make, Path], Any]


def identity(value: Any) -> Any:
    return value


def pictures(make: Make) -> Any:
    return make(render_mode="rgb_array", hud=False)


SINGLE: dict[str, Recipe | str] = {
    "AddRenderObservation": lambda make, _: single.AddRenderObservation(pictures(make)),
    "AddWhiteNoise": lambda make, _: single.AddWhiteNoise(
        pictures(make), probability_of_noise_per_pixel=0.5
    ),
    "ArrayConversion": "array_api_compat",
    "AtariPreprocessing": "is for Atari",
    "Autoreset": lambda make, _: single.Autoreset(make()),
    "ClipAction": "is for Box actions",
    "ClipReward": lambda make, _: single.ClipReward(make(), -1, 1),
    "DelayObservation": lambda make, _: single.DelayObservation(make(), 2),
    "DiscretizeAction": "is for Box actions",
    "DiscretizeObservation": lambda make, _: single.DiscretizeObservation(make(), 5),
    "DtypeObservation": lambda make, _: single.DtypeObservation(make(), np.float32),
    "FilterObservation": "is for Dict and Tuple observations",
    "FlattenObservation": lambda make, _: single.FlattenObservation(make()),
    "FrameStackObservation": lambda make, _: single.FrameStackObservation(make(), 4),
    "GrayscaleObservation": lambda make, _: single.GrayscaleObservation(
        single.AddRenderObservation(pictures(make))
    ),
    "HumanRendering": "waits for its window; make(render_mode='human') is ours",
    "JaxToNumpy": "jax",
    "JaxToTorch": "jax",
    "MaxAndSkipObservation": lambda make, _: single.MaxAndSkipObservation(make(), 4),
    "NormalizeObservation": lambda make, _: single.NormalizeObservation(make()),
    "NormalizeReward": lambda make, _: single.NormalizeReward(make()),
    "NumpyToTorch": "array_api_compat",
    "ObstructView": lambda make, _: single.ObstructView(
        pictures(make), obstructed_pixels_ratio=0.3, obstruction_width=8
    ),
    "OrderEnforcing": lambda make, _: single.OrderEnforcing(make()),
    "PassiveEnvChecker": lambda make, _: single.PassiveEnvChecker(make()),
    "RecordEpisodeStatistics": lambda make, _: single.RecordEpisodeStatistics(make()),
    "RecordVideo": lambda make, path: single.RecordVideo(
        pictures(make), str(path / "new"), step_trigger=lambda step: step == 0, video_length=5
    ),
    "RenderCollection": lambda make, _: single.RenderCollection(pictures(make)),
    "RepeatAction": lambda make, _: single.RepeatAction(make(), 3),
    "RescaleAction": "is for Box actions",
    "RescaleObservation": lambda make, _: single.RescaleObservation(
        make(), np.float32(-1), np.float32(1)
    ),
    "ReshapeObservation": lambda make, _: single.ReshapeObservation(
        make(), (1, *make().observation_space.shape)
    ),
    "ResizeObservation": "cv2",
    "StickyAction": lambda make, _: single.StickyAction(make(), 0.25),
    "TimeAwareObservation": lambda make, _: single.TimeAwareObservation(make()),
    "TimeLimit": lambda make, _: single.TimeLimit(make(), 30),
    "TransformAction": lambda make, _: single.TransformAction(
        make(), identity, make().action_space
    ),
    "TransformObservation": lambda make, _: single.TransformObservation(
        make(), identity, make().observation_space
    ),
    "TransformReward": lambda make, _: single.TransformReward(make(), identity),
}
"""How each is made; or a package that it needs and the tests lack, or why it is none for us."""

VECTOR: dict[str, Recipe | str] = {
    "ArrayConversion": "array_api_compat",
    "ClipAction": "is for Box actions",
    "ClipReward": lambda make, _: vector.ClipReward(make(), -1, 1),
    "DictInfoToList": lambda make, _: vector.DictInfoToList(make()),
    "DtypeObservation": lambda make, _: vector.DtypeObservation(make(), np.float32),
    "FilterObservation": "is for Dict and Tuple observations",
    "FlattenObservation": lambda make, _: vector.FlattenObservation(make()),
    "GrayscaleObservation": "is for pictures as observations",
    "HumanRendering": "cv2",
    "JaxToNumpy": "jax",
    "JaxToTorch": "jax",
    "NormalizeObservation": lambda make, _: vector.NormalizeObservation(make()),
    "NormalizeReward": lambda make, _: vector.NormalizeReward(make()),
    "NumpyToTorch": "array_api_compat",
    "RecordEpisodeStatistics": lambda make, _: vector.RecordEpisodeStatistics(make()),
    "RecordVideo": lambda make, path: vector.RecordVideo(
        pictures(make), str(path / "new"), step_trigger=lambda step: step == 0, video_length=5
    ),
    "RescaleAction": "is for Box actions",
    "RescaleObservation": lambda make, _: vector.RescaleObservation(
        make(), np.float32(-1), np.float32(1)
    ),
    "ReshapeObservation": lambda make, _: vector.ReshapeObservation(
        make(), (1, *make().single_observation_space.shape)
    ),
    "ResizeObservation": "is for pictures as observations",
    "TransformAction": lambda make, _: vector.TransformAction(make(), identity),
    "TransformObservation": lambda make, _: vector.TransformObservation(make(), identity),
    "TransformReward": lambda make, _: vector.TransformReward(make(), identity),
    "VectorizeTransformAction": lambda make, _: vector.VectorizeTransformAction(
        make(), single.TransformAction, func=identity, action_space=make().single_action_space
    ),
    "VectorizeTransformObservation": lambda make, _: vector.VectorizeTransformObservation(
        make(), single.TransformObservation, func=identity, observation_space=None
    ),
    "VectorizeTransformReward": lambda make, _: vector.VectorizeTransformReward(
        make(), single.TransformReward, func=identity
    ),
}
OBSERVING = {
    "DtypeObservation",
    "FlattenObservation",
    "NormalizeObservation",
    "RescaleObservation",
    "ReshapeObservation",
    "TransformObservation",
    "VectorizeTransformObservation",
}
"""Which change observations; Gymnasium gives them no SAME_STEP, and the first normaliser no
DISABLED either."""


def wrapped(recipe: Recipe | str, make: Make, path: Path) -> Any:
    """Make a wrapped environment, or say why not."""
    if isinstance(recipe, str):
        if " " not in recipe:
            pytest.importorskip(recipe)
            pytest.skip(f"{recipe} is no package of the tests")
        pytest.skip(recipe)
    try:
        return recipe(make, path)
    except gym.error.DependencyNotInstalled as error:
        pytest.skip(str(error))


@pytest.mark.one_in(4)
@EVERY_ID
@pytest.mark.parametrize("name", sorted(set(single.__all__) - {"vector"}))
def test_around_a_single_environment(env_id: str, name: str, tmp_path: Path) -> None:
    env = wrapped(SINGLE[name], lambda **kwargs: gym.make(env_id, **kwargs), tmp_path)
    seen, _ = env.reset(seed=3)
    env.action_space.seed(3)
    episodes = 0
    draws = name in ("AddRenderObservation", "GrayscaleObservation", "RenderCollection")
    for _ in range(20 if draws else 320):
        assert env.observation_space.contains(seen)
        seen, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert np.isfinite(float(reward))
        if terminated or truncated:
            episodes += 1
            seen, _ = env.reset()
    assert episodes or draws
    env.close()


@pytest.mark.one_in(4)
@pytest.mark.filterwarnings(
    "ignore:.*Recorded episodes will not contain the last frame:UserWarning"
)
@EVERY_ID
@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", vector.__all__)
def test_around_a_vector_environment(
    env_id: str, name: str, mode: AutoresetMode, tmp_path: Path
) -> None:
    def make(**kwargs: Any) -> Any:
        return gym.make_vec(env_id, 3, autoreset_mode=mode, max_episode_steps=40, **kwargs)

    served = {AutoresetMode.NEXT_STEP}
    served |= {AutoresetMode.DISABLED} if name != "NormalizeObservation" else set()
    if name in OBSERVING and mode not in served:
        with pytest.raises((ValueError, AssertionError)) as refusal:
            wrapped(VECTOR[name], make, tmp_path)
        refusing = refusal.traceback[-1]  # before 1.4 a bare assertion
        assert "gymnasium" in Path(refusing.path).parts
        assert re.search(r"autoreset_mode.*NEXT_STEP", str(refusing.statement), re.DOTALL)
        return
    env = wrapped(VECTOR[name], make, tmp_path)
    assert env.metadata["autoreset_mode"] is mode
    seen, _ = env.reset(seed=3)
    env.action_space.seed(3)
    episodes = 0
    # Before 1.3 it claims the space of what it normalises.
    claims = name != "NormalizeObservation" or GYMNASIUM >= (1, 3)
    # Before 1.4 first steps are taken for resets, which they are in the other mode.
    forgets = mode is AutoresetMode.SAME_STEP and GYMNASIUM < (1, 4)
    for _ in range(90):
        assert env.observation_space.contains(seen) or (not claims and np.isfinite(seen).all())
        seen, rewards, terminated, truncated, infos = env.step(env.action_space.sample())
        assert np.isfinite(rewards).all()
        ended = terminated | truncated
        episodes += int(ended.sum())
        if ended.any() and name == "RecordEpisodeStatistics":
            assert (infos["episode"]["l"][ended] <= 40).all()
            assert np.isin(infos["episode"]["l"][truncated], [39, 40] if forgets else 40).all()
        if mode is AutoresetMode.DISABLED and ended.any():
            seen, _ = env.reset(options={"reset_mask": ended})
    assert episodes >= 3
    env.close()


@pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
def test_infos_as_lists_are_those_of_gymnasiums_own(mode: AutoresetMode) -> None:
    ours = gym.make_vec(IDS["FlappyBird"], 3, autoreset_mode=mode, max_episode_steps=20)
    theirs = SyncVectorEnv(
        [lambda: gym.make(IDS["FlappyBird"], max_episode_steps=20)] * 3, autoreset_mode=mode
    )
    one, other = map(vector.DictInfoToList, (ours, theirs))
    told = [env.reset(seed=1)[1] for env in (one, other)]
    for _ in range(45):
        for a, b in zip(*told, strict=True):
            assert a.keys() == b.keys()
            for name in ("phase", "params", "score", "phase_changed"):
                assert a[name] == b[name]
            if "final_obs" in b:
                np.testing.assert_array_equal(a["final_obs"], b["final_obs"])
                assert a["final_info"]["params"] == b["final_info"]["params"]
        steps = [env.step(np.array([1, 1, 0])) for env in (one, other)]
        told = [step[4] for step in steps]
        if mode is AutoresetMode.DISABLED and (ended := steps[0][2] | steps[0][3]).any():
            for env in (one, other):
                env.reset(options={"reset_mask": ended.copy()})


@EVERY_ID
@pytest.mark.parametrize("checker", [None, True, False])
def test_with_and_without_the_passive_checker(env_id: str, checker: bool | None) -> None:
    env = gym.make(env_id, disable_env_checker=checker)
    env.reset(seed=0)
    for _ in range(5):
        env.step(env.action_space.sample())
    assert ("PassiveEnvChecker" in str(env)) == (checker is not True)


@EVERY_ID
@pytest.mark.parametrize("how", ["sync", "vector_entry_point"])
def test_ways_to_vectorise(env_id: str, how: str) -> None:
    env = gym.make_vec(env_id, 2, vectorization_mode=how, schedule="conflict")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert env.spec is not None
    again = gym.make_vec(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert type(again) is type(env)
    np.testing.assert_array_equal(again.reset(seed=4)[0], env.reset(seed=4)[0])


@pytest.mark.parametrize(
    "context",
    # That a process is spawned is tested in test_contracts.py, too.
    ["fork", pytest.param("spawn", marks=pytest.mark.slow)],
)
def test_ways_to_start_processes(context: str) -> None:
    # Importing the module that registers is what a started process needs: the id may say so.
    env = gym.make_vec(
        f"continual_arcade.envs:{IDS['Catcher']}",
        2,
        vectorization_mode="async",
        vector_kwargs={"context": context, "autoreset_mode": AutoresetMode.SAME_STEP},
        max_episode_steps=12,
    )
    ours = gym.make_vec(IDS["Catcher"], 2, max_episode_steps=12)
    try:
        np.testing.assert_array_equal(env.reset(seed=2)[0], ours.reset(seed=2)[0])
        for _ in range(30):
            one, other = (each.step(np.array([0, 2])) for each in (env, ours))
            for a, b in zip(one[:4], other[:4], strict=True):
                np.testing.assert_array_equal(a, b)
    finally:
        env.close()
