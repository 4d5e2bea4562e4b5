"""When callbacks want to be called, so that compiled training need not stop for them at every step.

A callback may say so itself, with a method ``next_due(num_timesteps)`` that returns the lifetime
step at which it next has something to do, or None for never; it is called then or soon after, and
perhaps before. Those of Stable-Baselines3 that act at intervals are known. All others are called at
every step, or every ``callback_every`` steps of a :class:`~.continual_dqn.ContinualDQN`.
"""

import math

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
    if isinstance(callback, CallbackList):
        return min(
            (
                steps_until_due(each, num_timesteps, num_envs, otherwise)
                for each in callback.callbacks
            ),
            default=math.inf,
        )
    next_due = getattr(callback, "next_due", None)
    if next_due is not None:
        due = next_due(num_timesteps)
        return math.inf if due is None else max(1, -(-(due - num_timesteps) // num_envs))
    # Of these classes alone: one derived from them may want more.
    kind = type(callback)
    if kind is ProgressBarCallback or (
        isinstance(callback, ConvertCallback) and callback.callback is None
    ):
        return math.inf
    if kind is EvalCallback or kind is CheckpointCallback:
        every: int = getattr(callback, "eval_freq" if kind is EvalCallback else "save_freq")
        return every - callback.n_calls % every if every > 0 else math.inf
    if isinstance(callback, EveryNTimesteps) and kind is EveryNTimesteps:
        due = callback.last_time_trigger + callback.n_steps
        return max(1, -(-(due - num_timesteps) // num_envs))
    return otherwise


def watches_start(callback: BaseCallback) -> bool:
    """Return whether a callback has something to do when a rollout starts."""
    if "on_rollout_start" in vars(callback) or "_on_rollout_start" in vars(callback):
        return True
    kind = type(callback)
    if kind is CallbackList:
        return any(map(watches_start, callback.callbacks))  # type: ignore[attr-defined]
    return (
        kind.on_rollout_start is not BaseCallback.on_rollout_start
        or kind._on_rollout_start is not BaseCallback._on_rollout_start
    )


def skip(callback: BaseCallback, steps: int, num_envs: int) -> None:
    """Let a callback count steps at which it was not called.

    Args:
        callback: The callback, or a list of them.
        steps: Steps of all sub-environments.
        num_envs: Lifetime steps of each.
    """
    callback.n_calls += steps
    if isinstance(callback, CallbackList):
        for each in callback.callbacks:
            skip(each, steps, num_envs)
    elif isinstance(callback, ProgressBarCallback):
        callback.pbar.update(steps * num_envs)
