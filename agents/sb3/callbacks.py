"""Callbacks of an agent, called where the global generators are those of everybody else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from continual_arcade.agents.engines.callback_schedule import skip, steps_until_due
from continual_arcade.agents.sb3.generators import OwnGenerators

_SELDOM = 64
"""Callbacks that are in no hurry are called after so many steps of all games."""


class Outside(BaseCallback):
    """Calls a callback with the global generators of everybody else, when it is due.

    To exchange the generators at every step would take a tenth of the time of training. So a
    callback that says when it is due next is not called before, and of the rollouts only those
    beginnings and ends are told that follow a call.

    Args:
        callback: The callback, or a list of them.
        generators: Those of the agent.
    """

    def __init__(self, callback: BaseCallback, generators: OwnGenerators) -> None:
        super().__init__()
        self.callback = callback
        self.generators = generators
        self._left = 1
        """Steps of all games until it is called."""
        self._skipped = 0
        self._was_called = True

    def _init_callback(self) -> None:
        self.callback.init_callback(self.model)

    def _on_training_start(self) -> None:
        with self.generators.outside():
            self.callback.on_training_start(self.locals, self.globals)
        self._look_ahead()

    def _on_rollout_start(self) -> None:
        if not self._was_called:
            return
        self._was_called = False
        with self.generators.outside():
            self.callback.on_rollout_start()

    def _on_step(self) -> bool:
        self._left -= 1
        if self._left > 0:
            self._skipped += 1
            return True
        skip(self.callback, self._skipped, self.training_env.num_envs)
        self._skipped, self._was_called = 0, True
        with self._within_rollout(), self.generators.outside():
            goes_on = self.callback.on_step()
        self._look_ahead()
        return goes_on

    def _on_rollout_end(self) -> None:
        if not self._was_called:
            return
        with self._within_rollout(), self.generators.outside():
            self.callback.on_rollout_end()

    def _on_training_end(self) -> None:
        skip(self.callback, self._skipped, self.training_env.num_envs)
        with self.generators.outside():
            self.callback.on_training_end()

    def update_child_locals(self, locals_: dict[str, Any]) -> None:
        """Hand on what the loop of training knows."""
        self.callback.update_locals(locals_)

    @contextmanager
    def _within_rollout(self) -> Iterator[None]:
        agent: Any = self.model
        agent.within_rollout = True
        try:
            yield
        finally:
            agent.within_rollout = False

    def _look_ahead(self) -> None:
        count = self.training_env.num_envs
        due = steps_until_due(self.callback, self.model.num_timesteps, count, otherwise=1)
        self._left = int(min(due, _SELDOM))
