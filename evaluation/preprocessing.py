"""The preprocessing that a Stable-Baselines3 model was trained with, applied in evaluation.

Wrappers of vector environments that normalise, stack or transpose observations are part of what a
model has learnt. They are read off the environment that the model carries, and applied with their
statistics frozen. A wrapper that may change observations or actions in an unknown way is refused by
name, and so is a model that was normalised and comes without its statistics.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import (
    AsyncVectorEnv,
    SyncVectorEnv,
    VectorEnv,
    VectorRewardWrapper,
    VectorWrapper,
)
from gymnasium.wrappers import vector as vector_wrappers
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
)
from stable_baselines3.common.vec_env.stacked_observations import StackedObservations

from continual_arcade.envs.phased_env import AnyEnv, PhasedEnv
from continual_arcade.evaluation.policies import TransformFactory, other_space

_NEUTRAL: frozenset[type] = frozenset(
    {
        gym.Wrapper,
        gym.RewardWrapper,
        gym.wrappers.Autoreset,
        gym.wrappers.HumanRendering,
        gym.wrappers.NormalizeReward,
        gym.wrappers.OrderEnforcing,
        gym.wrappers.PassiveEnvChecker,
        gym.wrappers.RecordEpisodeStatistics,
        gym.wrappers.RecordVideo,
        gym.wrappers.RenderCollection,
        gym.wrappers.TimeLimit,
        Monitor,
        PhasedEnv,
        VectorWrapper,
        VectorRewardWrapper,
        vector_wrappers.DictInfoToList,
        vector_wrappers.HumanRendering,
        vector_wrappers.NormalizeReward,
        vector_wrappers.RecordEpisodeStatistics,
        vector_wrappers.RecordVideo,
        VecEnv,
        VecEnvWrapper,
        VecCheckNan,
        VecMonitor,
        VecVideoRecorder,
    }
)
"""Classes whose ``step`` and ``reset`` change neither observations nor actions."""

_BY_HAND = (
    "or evaluate FunctionPolicy(lambda seen: model.predict(as_in_training(seen), "
    "deterministic=True)[0]), with a function of yours (in replay_phases by `load`, in "
    "EvaluationCallback by `policy`)"
)


def transforms_of(
    policy: Any, space: spaces.Space[Any], wrappers: Sequence[str], played: str
) -> list[TransformFactory]:
    """Return the transforms of observations, in order, that a model needs.

    Args:
        policy: A model of Stable-Baselines3, or the policy of one, which has no environment.
        space: Space of the observations.
        wrappers: What the evaluated environments are wrapped in, see :func:`wrapper_names`.
        played: What is played, for messages.

    Raises:
        ValueError: If the policy would not see what it saw in training; the message says what is
            lacking.
    """
    name = type(policy).__name__
    is_model = isinstance(policy, BaseAlgorithm)
    env = policy.get_env() if is_model else None
    if env is None:
        made_for = getattr(policy, "observation_space", space)
        transposed = _transposed(space) == made_for
        if made_for != space and not transposed:
            raise ValueError(other_space(name, played, "observation", made_for, space))
        if is_model and _was_normalised(policy):
            raise ValueError(_lacks_statistics(name))
        return [lambda games: VecTransposeImage.transpose_image] if transposed else []
    base, around = _unwrapped(env)
    trained_in = _wrappers_within(base)
    if trained_in != list(wrappers):
        raise ValueError(
            f"{name} was trained in an environment wrapped in {_listed(trained_in)}, but {played} "
            f"is wrapped in {_listed(wrappers)} here, so that it would see or do something else: "
            f"use a GymEvaluator that makes environments wrapped in the same, {_BY_HAND}"
        )
    if base.observation_space != space:
        raise ValueError(other_space(name, played, "observation", base.observation_space, space))
    found = [made for one in around for made in _transforms(one, policy)]
    if _was_normalised(policy) and not any(isinstance(one, VecNormalize) for one in around):
        raise ValueError(_lacks_statistics(name))
    return found


def wrapper_names(env: AnyEnv) -> list[str]:
    """Return what an environment is wrapped in, outermost first, where that may matter to a policy.

    Wrappers that are known to change neither observations nor actions are left out.
    """
    return list(_names(_chain(env, gym.Wrapper)))


def _transforms(wrapper: VecEnvWrapper, policy: Any) -> Iterator[TransformFactory]:
    """Make what a wrapper does to observations.

    Raises:
        ValueError: If that is not known, or its statistics are those of nothing.
    """
    if _is(VecNormalize, wrapper):
        if wrapper.norm_obs:
            # Statistics begin with a count of 0.0001.
            if policy.num_timesteps and wrapper.obs_rms.count < 1:
                name, has = type(policy).__name__, "has a new one, without its statistics"
                raise ValueError(_lacks_statistics(name, has))
            yield lambda games: wrapper.normalize_obs
    elif _is(VecFrameStack, wrapper):
        yield lambda games: _FrameStack(games, wrapper.stacked_obs)
    elif _is(VecTransposeImage, wrapper):
        yield lambda games: wrapper.transpose_observations
    elif _may_matter(type(wrapper)):
        raise ValueError(
            f"{type(policy).__name__} was trained in an environment wrapped in "
            f"{type(wrapper).__name__}, of which it is not known what it does to observations and "
            "actions (of VecNormalize, VecFrameStack and VecTransposeImage it is): leave it out, "
            f"{_BY_HAND}"
        )


class _FrameStack:
    """Stacks observations as ``VecFrameStack`` does."""

    def __init__(self, games: int, like: StackedObservations[Any]) -> None:
        order = "first" if like.channels_first else "last"
        self._stack: StackedObservations[Any] = StackedObservations(
            games, like.n_stack, like.observation_space, order
        )
        self._begun = False

    def __call__(self, observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if not self._begun:
            self._begun = True
            return np.array(self._stack.reset(observations))
        none_begins = np.zeros(len(observations), np.bool_)
        return np.array(self._stack.update(observations, none_begins, [])[0])


def _was_normalised(model: BaseAlgorithm) -> bool:
    """Return whether a model was trained under ``VecNormalize``, as far as that is visible.

    On-policy algorithms keep observations as they were before only if they are normalised.
    Off-policy algorithms always keep them; only what lies outside the space was certainly changed.
    """
    if getattr(model, "trained_normalised", False):  # our own, whose files say so
        return True
    if not isinstance(model, OffPolicyAlgorithm):
        return model._last_original_obs is not None
    last, space = model._last_obs, model.observation_space
    if model.get_env() is not None or last is None or not isinstance(space, spaces.Box):
        return False
    return any(not space.contains(one) for one in np.asarray(last, space.dtype))


def _lacks_statistics(name: str, has: str = "comes without its statistics") -> str:
    return (
        f"{name} was trained on observations normalised by VecNormalize, and {has}: load it with "
        f"them, as in {name}.load(path, env=VecNormalize.load('vecnormalize.pkl', env)), {_BY_HAND}"
    )


def _transposed(space: spaces.Space[Any]) -> spaces.Space[Any] | None:
    """Return the space of pictures whose channels come first, None if it is not that of others."""
    if not is_image_space(space) or is_image_space_channels_first(space):  # type: ignore[arg-type]
        return None
    assert isinstance(space, spaces.Box)
    return VecTransposeImage.transpose_space(space)


def _unwrapped(env: VecEnv) -> tuple[VecEnv, list[VecEnvWrapper]]:
    """Return the innermost environment, and its wrappers, innermost first."""
    around = list(_chain(env, VecEnvWrapper, "venv"))
    return (around[-1].venv if around else env), around[::-1]


def _wrappers_within(base: VecEnv) -> list[str]:
    """Return what the environments within a vector environment are wrapped in, outermost first."""
    if isinstance(base, DummyVecEnv):
        return wrapper_names(base.envs[0])
    if isinstance(base, SubprocVecEnv):
        return _names_in(base.env_method("__str__", indices=[0])[0])
    batch = getattr(base, "env", None)  # one of Gymnasium's vector environments, handed over
    if not isinstance(batch, VectorEnv):
        return []
    around = list(_chain(batch, VectorWrapper))
    names, inner = list(_names(around)), around[-1].env if around else batch
    if isinstance(inner, SyncVectorEnv):
        return names + wrapper_names(inner.envs[0])
    if isinstance(inner, AsyncVectorEnv):
        return names + _names_in(inner.call("__str__")[0])
    return names


def _chain(env: Any, kind: type, inner: str = "env") -> Iterator[Any]:
    """Iterate over the wrappers of an environment, from the outermost one."""
    while isinstance(env, kind):
        yield env
        env = getattr(env, inner)


def _names(wrappers: Iterable[object]) -> Iterator[str]:
    return (type(one).__name__ for one in wrappers if _may_matter(type(one)))


def _names_in(text: str) -> list[str]:
    """Read the names of wrappers off how an environment in another process writes itself.

    That is ``<Outer<Inner<Environment<id>>>>``, or ends in ``<Environment instance>``.
    """
    names = re.findall(r"<(\w+)(?=<)", text)
    if " instance>" not in text:
        names = names[:-1]
    known = {kind.__name__ for kind in _NEUTRAL}
    return [name for name in names if name not in known]


def _may_matter(kind: type) -> bool:
    """Return whether a wrapper may change observations or actions, for all that is known."""
    methods = ("step", "reset", "step_async", "step_wait")
    defined = (next((c for c in kind.__mro__ if name in vars(c)), None) for name in methods)
    return not {found for found in defined if found is not None} <= _NEUTRAL


def _is(kind: type, wrapper: Any) -> bool:
    """Return whether a wrapper does in each step what a kind of it does."""
    return isinstance(wrapper, kind) and type(wrapper).step_wait is kind.step_wait  # type: ignore[attr-defined]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "nothing"
