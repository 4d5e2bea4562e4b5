"""A DQN for one long life: exploration that suits the game, in every sub-environment on its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.noise import ActionNoise


class ContinualDQN(DQN):
    """Stable-Baselines3's DQN with an exploration of its own.

    Two things differ from the parent. An exploratory action is drawn from ``action_prior``: to flap
    with probability 1/2, as a uniform choice does, keeps a bird at the ceiling, where it never
    meets a pipe. And each sub-environment tosses its own coin; the parent tosses one for all of
    them, so that all or none explore.

    A whole life is one call of ``learn()``: ``exploration_fraction`` is a fraction of the life, not
    of a phase.

    Args:
        policy: As in the parent.
        env: As in the parent.
        action_prior: Probability of each action in exploration; None for a uniform choice.
        **kwargs: As in the parent.

    Raises:
        ValueError: If the prior is no distribution over the actions.
    """

    def __init__(
        self, policy: Any, env: Any, *, action_prior: Sequence[float] | None = None, **kwargs: Any
    ) -> None:
        # A list, because that is what a saved tuple comes back as.
        self.action_prior = None if action_prior is None else [float(p) for p in action_prior]
        super().__init__(policy, env, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        # load() comes here a second time, with the generator restored: it must go on, not restart.
        if not hasattr(self, "_exploration_rng"):
            self._exploration_rng = np.random.default_rng(self.seed)
        actions = self.action_space
        assert isinstance(actions, spaces.Discrete)
        if self.action_prior is not None:
            prior = np.array(self.action_prior)
            if prior.shape != (actions.n,) or (prior < 0).any() or not np.isclose(prior.sum(), 1):
                raise ValueError(
                    f"action_prior = {self.action_prior} must give each of the {actions.n} "
                    "actions a probability, with a sum of 1"
                )

    def _explore(self, count: int) -> npt.NDArray[np.int64]:
        """Draw exploratory actions, shape ``(count,)``."""
        assert isinstance(self.action_space, spaces.Discrete)
        return self._exploration_rng.choice(
            int(self.action_space.n), size=count, p=self.action_prior
        ).astype(np.int64)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if self.num_timesteps < learning_starts:
            actions = self._explore(n_envs)
            return actions, actions
        return super()._sample_action(learning_starts, action_noise, n_envs)

    def predict(
        self,
        observation: Any,
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Choose actions, exploring unless told to be deterministic.

        Args:
            observation: One observation, or a batch of them.
            state: Not used.
            episode_start: Not used.
            deterministic: Whether to choose the best action always.

        Returns:
            The actions, and ``state``.
        """
        actions, state = self.policy.predict(observation, state, episode_start, deterministic=True)
        if deterministic:
            return actions, state
        actions = np.asarray(actions)
        chosen = np.atleast_1d(actions)
        explores = self._exploration_rng.random(len(chosen)) < self.exploration_rate
        chosen = np.where(explores, self._explore(len(chosen)), chosen)
        return chosen.reshape(actions.shape), state
