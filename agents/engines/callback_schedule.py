"""When callbacks want to be called, so that compiled training need not stop for them at every step.

A callback may say so itself, with a method ``next_due(num_timesteps)`` that returns the lifetime
step at which it next has something to do, or None for never; it is called then or soon after, and
perhaps before. Those of Stable-Baselines3 that act at intervals are known. All others are called at
every step, or every ``callback_every`` steps of a :class:`~.continual_dqn.ContinualDQN`.
"""

import math
from operator import attrgetter

from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    ConvertCallback,
    EvalCallback,
    EveryNTimesteps,
    ProgressBarCallback,
)


def steps_until_due(
    callback: BaseCallback, num_timesteps: int, num_envs: int, otherwise: int
) -> float:
    """Return in how many steps of all sub-environments a callback must be called.

    Args:
        callback: The callback, or a list of them.
        num_timesteps: Where the agent stands [lifetime steps].
        num_envs: Lifetime steps of a step of all sub-environments.
        otherwise: What holds for a callback that does not say.

    Returns:
        At least 1; inf for never.
    """
    kind = type(callback)
    if CallbackList in kind.__mro__:  # isinstance() asks the abstract base class, which takes long
        due = [
            steps_until_due(each, num_timesteps, num_envs, otherwise)
            for each in callback.callbacks  # type: ignore[attr-defined]
        ]
        if kind is not CallbackList:  # it may want more than what is in it
            due.append(_own_steps(callback, num_timesteps, num_envs, otherwise))
        return min(due, default=math.inf)
    return _own_steps(callback, num_timesteps, num_envs, otherwise)


def _own_steps(callback: BaseCallback, num_timesteps: int, num_envs: int, otherwise: int) -> float:
    """Return the same of a callback by itself, whatever others are in it."""
    kind = type(callback)
    next_due = getattr(callback, "next_due", None)
    if next_due is not None:
        due = next_due(num_timesteps)
        return math.inf if due is None else max(1, -(-(due - num_timesteps) // num_envs))
    # Of these classes alone: one derived from them may want more.
    if kind not in _KNOWN:
        return otherwise
    if kind is ProgressBarCallback:
        return math.inf
    if isinstance(callback, ConvertCallback):
        return math.inf if callback.callback is None else otherwise
    if isinstance(callback, EveryNTimesteps):
        due = callback.last_time_trigger + callback.n_steps
        return max(1, -(-(due - num_timesteps) // num_envs))
    every: int = getattr(callback, "eval_freq" if kind is EvalCallback else "save_freq")
    return every - callback.n_calls % every if every > 0 else math.inf


_KNOWN = frozenset(
    {CheckpointCallback, ConvertCallback, EvalCallback, EveryNTimesteps, ProgressBarCallback}
)


def watches_start(callback: BaseCallback) -> bool:
    """Return whether a callback has something to do when a rollout starts."""
    return _overrides(callback, _STARTS)


def watches_rollouts(callback: BaseCallback) -> bool:
    """Return whether a callback has something to do when a rollout starts, or when it ends."""
    return _overrides(callback, _STARTS_AND_ENDS)


def _overrides(callback: BaseCallback, methods: "_Methods") -> bool:
    """Return whether a callback has one of these methods of its own."""
    kind = type(callback)
    if not methods.names.isdisjoint(vars(callback)):
        return True
    if kind is CallbackList:
        return any(_overrides(each, methods) for each in callback.callbacks)  # type: ignore[attr-defined]
    return methods.of(kind) != methods.of(BaseCallback)


class _Methods:
    """Methods of callbacks, which are looked up together."""

    def __init__(self, *names: str) -> None:
        self.names, self.of = frozenset(names), attrgetter(*names)


_STARTS = _Methods("on_rollout_start", "_on_rollout_start")
_STARTS_AND_ENDS = _Methods(*_STARTS.names, "on_rollout_end", "_on_rollout_end")


def skip(callback: BaseCallback, steps: int, num_envs: int) -> None:
    """Let a callback count steps at which it was not called.

    Args:
        callback: The callback, or a list of them.
        steps: Steps of all sub-environments.
        num_envs: Lifetime steps of each.
    """
    if not steps:
        return
    callback.n_calls += steps
    if isinstance(callback, CallbackList):
        for each in callback.callbacks:
            skip(each, steps, num_envs)
    elif isinstance(callback, ProgressBarCallback):
        callback.pbar.update(steps * num_envs)
