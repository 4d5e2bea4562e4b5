"""Games whose phase nobody tells: the agent sees, and hears of, the task that it infers."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from continual_arcade.agents.task_inference.inference import InferenceSettings, TaskInference
from continual_arcade.agents.vec_env import GymnasiumVecEnv
from continual_arcade.envs.checks import Array


class InferringVecEnv(GymnasiumVecEnv):
    """Adds to observations which task was inferred, and says so instead of the phase.

    ``info["phase"]`` is the index of the inferred segment, so that all parts are told of inferred
    boundaries. Where a segment begins the pieces of episodes before and after it are two to whoever
    learns, as at the boundary of a schedule: the first is truncated, the game goes on. Only what
    scores, ``params`` and ``lifetime_step`` say is that of the schedule.

    Args:
        env: The vector environment, as in the parent.
        settings: How tasks are told apart.

    Raises:
        ValueError: If observations are no rows of numbers, actions cannot be counted, or it does
            not reset in the same step.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], settings: InferenceSettings) -> None:
        super().__init__(env)
        if not isinstance(self.action_space, spaces.Discrete):
            raise ValueError(
                f"context = 'inferred' counts what actions do, and actions are of "
                f"{self.action_space}: choose context = 'hidden'"
            )
        self.inference = TaskInference(self.observation_space, int(self.action_space.n), settings)
        """What infers the task; an agent that is trained here takes it along."""
        self._space = self.inference.space
        self.observation_space = self.inference.extended(self._space)
        self._before: npt.NDArray[Any] = np.zeros((self.num_envs, *self._space.shape))

    def take(self, inference: TaskInference) -> None:
        """Let what an agent has inferred be what is known here.

        Args:
            inference: That of the agent.

        Raises:
            ValueError: If it is of other observations, or tells tasks apart in another way.
        """
        if (inference.space, inference.settings) != (self._space, self.inference.settings):
            raise ValueError(
                f"the agent infers its task from {inference.space} with {inference.settings}, and "
                f"these environments from {self._space} with {self.inference.settings}: make them "
                "with the same"
            )
        self.inference = inference

    def reset(self) -> Any:
        """Start an episode in every sub-environment; what was inferred stays."""
        self._before = super().reset().copy()
        self._tell(self.reset_infos)
        return self.inference.told(self._before, self.inference.task)

    def step_wait(self) -> VecEnvStepReturn:
        """Play one step in every sub-environment, and infer."""
        observations, rewards, dones, infos = super().step_wait()
        seen: npt.NDArray[Any] = np.array(observations)
        last = seen.copy()
        for i in np.flatnonzero(dones).tolist():
            last[i] = infos[i]["terminal_observation"]
        self._tell(infos)
        inference, task = self.inference, self.inference.task
        switches = inference.observe(self._before, self._actions, last)
        ends = np.ones_like(dones) if switches else dones
        ending = inference.told(last, task)
        for i in np.flatnonzero(ends).tolist():
            if not dones[i]:  # the game goes on
                self.reset_infos[i] = dict(infos[i])
                infos[i]["TimeLimit.truncated"] = True
            infos[i]["terminal_observation"] = ending[i]
            self._tell(self.reset_infos[i : i + 1])
        self._before = seen
        return inference.told(seen, inference.task), rewards, ends, infos

    def _tell(self, infos: list[dict[str, Any]]) -> None:
        for info in infos:
            info["phase"] = self.inference.segment

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides what follows; what was inferred the agent keeps."""
        return {**super().state_dict(), "before": deepcopy(self._before)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume exactly where another one was.

        Raises:
            ValueError: If it makes no sense; then nothing has changed.
        """
        rest = dict(state)
        before = rest.pop("before", None)
        kind: Any = self._space.dtype
        Array((self.num_envs, *self._space.shape), kind)("before", before)
        super().load_state_dict(rest)
        self._before = np.array(before)
