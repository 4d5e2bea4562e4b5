"""The evaluator: plays an agent in every phase of a schedule, in one batch, on fixed seeds."""

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.arcade_vector_env import ArcadeVectorEnv
from continual_arcade.envs.schedules import Phase, Schedule
from continual_arcade.envs.tunables import resolve
from continual_arcade.evaluation.experience import Experience, Recorder

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
    experience: Experience | None = None
    """Some of the transitions, if they were to be kept."""

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
        **options: Any,
    ) -> None:
        for name, value in (("episodes", episodes), ("max_steps", max_steps)):
            if value < 1:
                raise ValueError(f"{name} = {value} must be at least 1")
        self.episodes = episodes
        self.phases: tuple[Phase, ...] = schedule.distinct
        self.seeds = [FIRST_SEED + episode for episode in range(episodes)]
        self.env = ArcadeVectorEnv(
            game, len(self.phases) * episodes, max_episode_steps=max_steps, **options
        )
        schedule.check(self.env.game.tunables)
        params = [resolve(self.env.game.tunables, phase.params) for phase in self.phases]
        self._pinned = {
            name: np.repeat([values[name] for values in params], episodes) for name in params[0]
        }

    def play(self, policy: Policy, keep: int = 0) -> Played:
        """Play every episode of every phase to its end.

        Args:
            policy: Who acts.
            keep: Transitions of each phase to keep, spread over all that are played; what is played
                does not depend on it.

        Raises:
            ValueError: If ``keep`` is negative.
        """
        if keep < 0:
            raise ValueError(f"keep = {keep} must not be negative; 0 is for none")
        begun = time.perf_counter()
        count = self.env.num_envs
        returns, scores = np.zeros(count), np.zeros(count)
        lengths = np.zeros(count, np.int64)
        running = np.ones(count, np.bool_)
        indices = [phase.index for phase in self.phases]
        recorder = Recorder(indices, self.episodes, keep) if keep else None
        observations, _ = self.env.reset(
            seed=self.seeds * len(self.phases), options={"params": self._pinned}
        )
        while running.any():
            before = observations
            actions, _ = policy.predict(observations, deterministic=True)
            observations, rewards, terminated, truncated, infos = self.env.step(actions)
            returns[running] += rewards[running]
            lengths[running] += 1
            ends = running & (terminated | truncated)
            ended = ends.any()
            if recorder is not None:
                after = observations
                if ended:
                    after = observations.copy()
                    after[ends] = infos["final_obs"][ends]
                recorder.note(running, before, actions, rewards, after, terminated)
            if ended:
                scores[ends] = infos["final_info"]["score"][ends]
                running = running & ~ends
        shape = (len(self.phases), self.episodes)
        experience = None if recorder is None else recorder.experience()
        return Played(
            returns.reshape(shape),
            scores.reshape(shape),
            lengths.reshape(shape),
            time.perf_counter() - begun,
            experience,
        )
