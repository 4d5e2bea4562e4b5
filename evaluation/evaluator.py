"""The evaluator: plays an agent in every phase of a schedule, in one batch, on fixed seeds."""

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.arcade_vector_env import ArcadeVectorEnv
from continual_arcade.envs.schedules import Phase, Schedule
from continual_arcade.envs.tunables import resolve

FIRST_SEED = 1_000_000
"""Seed of the first evaluation episode: far from the seeds of training."""
MAX_STEPS = 1_800
"""Limit of an evaluation episode: 47 pipes of Flappy Bird, whatever the gap."""
EPISODES = 20


class Policy(Protocol):
    """What can be judged: any Stable-Baselines3 model, or any object with such a ``predict``."""

    def predict(self, observation: Any, *, deterministic: bool = True) -> tuple[Any, Any]:
        """Return actions for a batch of observations, and something that is ignored."""
        ...


@dataclass(frozen=True)
class Played:
    """What came of one evaluation; each array has the shape ``(phases, episodes)``."""

    returns: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    """Steps of each episode."""
    seconds: float

    @property
    def steps(self) -> int:
        """Steps of all episodes together."""
        return int(self.lengths.sum())


class Evaluator:
    """Plays the phases of a schedule.

    All phases and episodes are one batch. Episode ``i`` has the same seed in every phase and for
    every agent, so that agents differ by nothing but what they do. The evaluator has environments
    of its own and draws nothing from any other random stream: to evaluate does not change training.

    Args:
        game: Name of the game.
        schedule: The life whose phases are played; a phase that comes back is played once.
        episodes: Episodes in each phase.
        max_steps: Limit of an episode [steps].
        first_seed: Seed of the first episode; each one has the next.
        **options: Options of the game.

    Raises:
        ValueError: If a number is not positive, or the schedule does not suit the game.
    """

    def __init__(
        self,
        game: str,
        schedule: Schedule,
        *,
        episodes: int = EPISODES,
        max_steps: int = MAX_STEPS,
        first_seed: int = FIRST_SEED,
        **options: Any,
    ) -> None:
        for name, value in (("episodes", episodes), ("max_steps", max_steps)):
            if value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")
        if first_seed < 0:
            raise ValueError(f"first_seed = {first_seed} must not be negative")
        self.episodes = episodes
        self.phases: tuple[Phase, ...] = schedule.distinct
        self.seeds = [first_seed + episode for episode in range(episodes)]
        self.env = ArcadeVectorEnv(
            game, len(self.phases) * episodes, max_episode_steps=max_steps, **options
        )
        schedule.check(self.env.game.tunables)
        params = [resolve(self.env.game.tunables, phase.params) for phase in self.phases]
        self._pinned = {
            name: np.repeat([values[name] for values in params], episodes) for name in params[0]
        }

    def play(self, policy: Policy) -> Played:
        """Play every episode of every phase to its end."""
        begun = time.perf_counter()
        count = self.env.num_envs
        returns, scores = np.zeros(count), np.zeros(count)
        lengths = np.zeros(count, np.int64)
        running = np.ones(count, np.bool_)
        observations, _ = self.env.reset(
            seed=self.seeds * len(self.phases), options={"params": self._pinned}
        )
        while running.any():
            actions, _ = policy.predict(observations, deterministic=True)
            observations, rewards, terminated, truncated, infos = self.env.step(actions)
            returns[running] += rewards[running]
            lengths[running] += 1
            ends = running & (terminated | truncated)
            if ends.any():
                scores[ends] = infos["final_info"]["score"][ends]
                running &= ~ends
        shape = (len(self.phases), self.episodes)
        return Played(
            returns.reshape(shape),
            scores.reshape(shape),
            lengths.reshape(shape),
            time.perf_counter() - begun,
        )
