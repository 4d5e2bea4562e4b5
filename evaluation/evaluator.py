"""The evaluator: plays an agent in every phase of a schedule, in one batch, on fixed seeds."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from gymnasium.vector import VectorEnv

from continual_arcade.envs.arcade_vector_env import ArcadeVectorEnv
from continual_arcade.envs.schedules import Phase, Schedule
from continual_arcade.envs.tunables import resolve
from continual_arcade.evaluation.experience import Experience, Recorder

FIRST_SEED = 1_000_000
"""Seed of the first evaluation episode: far from the seeds of training."""
MAX_STEPS = 1_800
"""Limit of an evaluation episode: 47 pipes of Flappy Bird, whatever the gap."""
EPISODES = 20
_SEEDS = 2**63
"""How many there are for episodes."""


class Policy(Protocol):
    """What can be judged: any Stable-Baselines3 model, or any object with such a ``predict``."""

    def predict(self, observation: Any, *, deterministic: bool = True) -> tuple[Any, Any]:
        """Return actions for a batch of observations, and something that is ignored."""
        ...


@dataclass(frozen=True)
class FunctionPolicy:
    """A policy made of a plain function.

    Args:
        function: Returns an action for each of a batch of observations, shape ``(games, features)``
            -> whole numbers, shape ``(games,)``.
    """

    function: Callable[[Any], Any]

    def predict(self, observation: Any, *, deterministic: bool = True) -> tuple[Any, None]:
        """Return what the function returns."""
        return self.function(observation), None


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


Games = TypeVar("Games", bound=VectorEnv[Any, Any, Any])
"""What is played: ``phases * episodes`` games side by side, phase by phase."""


class PhaseEvaluator(Generic[Games]):
    """Plays the phases of a schedule; its subclasses say in which environments.

    All phases and episodes are one batch. Episode ``i`` has the same seed in every phase and for
    every agent, so that agents differ by nothing but what they do. The evaluator has environments
    of its own and draws nothing from any other random stream: to evaluate does not change training.

    Args:
        name: What is played, for messages.
        schedule: The life whose phases are played; a phase that comes back is played once.
        episodes: Episodes in each phase.
        max_steps: Limit of an episode [steps].
        first_seed: Seed of the first episode; each one has the next.

    Raises:
        ValueError: If a number is not positive, or the seeds are too large.
    """

    env: Games
    """The games; set by subclasses."""

    def __init__(
        self, name: str, schedule: Schedule, episodes: int, max_steps: int, first_seed: int
    ) -> None:
        for what, value in (("episodes", episodes), ("max_steps", max_steps)):
            if value < 1:
                raise ValueError(f"{what} = {value} must be at least 1")
        if isinstance(first_seed, bool) or not isinstance(first_seed, (int, np.integer)):
            raise ValueError(f"first_seed = {first_seed!r} must be a whole number")
        if first_seed < 0:
            raise ValueError(f"first_seed = {first_seed} must not be negative")
        if first_seed + episodes > _SEEDS:
            raise ValueError(
                f"first_seed = {first_seed} must be at most {_SEEDS - episodes}: the table of "
                "evaluations keeps the seed of each episode, in 64 bits"
            )
        self.name = name
        self.episodes = episodes
        self.phases: tuple[Phase, ...] = schedule.distinct
        self.seeds = [int(first_seed) + episode for episode in range(episodes)]
        self._options: dict[str, Any] = {}
        """What the games are told when they begin."""

    def play(self, policy: Policy, keep: int = 0) -> Played:
        """Play every episode of every phase to its end.

        Args:
            policy: Who acts.
            keep: Transitions of each phase to keep, spread over all that are played; what is played
                does not depend on it.

        Raises:
            TypeError: If it is no policy, or does not return whole numbers.
            ValueError: If it was made for other observations or actions, what it returns is not an
                action for each game, or ``keep`` is negative.
        """
        if keep < 0:
            raise ValueError(f"keep = {keep} must not be negative; 0 is for none")
        self._check(policy)
        begun = time.perf_counter()
        count = self.env.num_envs
        returns, scores = np.zeros(count), np.zeros(count)
        lengths = np.zeros(count, np.int64)
        running = np.ones(count, np.bool_)
        indices = [phase.index for phase in self.phases]
        recorder = Recorder(indices, self.episodes, keep) if keep else None
        seeds: Any = self.seeds * len(self.phases)  # which Gymnasium's signature leaves out
        observations, _ = self.env.reset(seed=seeds, options=dict(self._options))
        while running.any():
            before = observations
            decided: Any = policy.predict(observations, deterministic=True)
            if not isinstance(decided, tuple) or len(decided) != 2:
                raise TypeError(
                    f"predict of {_name(policy)} must return a pair, actions and something that is "
                    f"ignored, not {type(decided).__name__}"
                )
            actions = decided[0]
            try:
                observations, rewards, terminated, truncated, infos = self.env.step(actions)
            except (TypeError, ValueError) as error:
                message = f"what {_name(policy)} returned cannot be played: {error}"
                raise type(error)(message) from error
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

    def _check(self, policy: Policy) -> None:
        """Check that a policy can play, as far as it says what it was made for."""
        if not hasattr(policy, "predict"):
            raise TypeError(
                f"{_name(policy)} has no predict, so it is no policy; a plain function is one as "
                "FunctionPolicy(function)"
            )
        for what, shown in (
            ("observation", self.env.single_observation_space),
            ("action", self.env.single_action_space),
        ):
            made_for = getattr(policy, f"{what}_space", shown)
            if made_for != shown:
                found, expected = (" ".join(str(space).split()) for space in (made_for, shown))
                raise ValueError(
                    f"{_name(policy)} cannot play {self.name}: its {what} space is "
                    f"{found}, that of the game {expected}"
                )


class Evaluator(PhaseEvaluator[ArcadeVectorEnv]):
    """Plays the phases of a schedule in a game of this suite.

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
        super().__init__(game, schedule, episodes, max_steps, first_seed)
        self.env = ArcadeVectorEnv(
            game, len(self.phases) * episodes, max_episode_steps=max_steps, **options
        )
        schedule.check(self.env.game.tunables)
        params = [resolve(self.env.game.tunables, phase.params) for phase in self.phases]
        self._options["params"] = {
            name: np.repeat([values[name] for values in params], episodes) for name in params[0]
        }


def _name(policy: object) -> str:
    return getattr(policy, "__name__", type(policy).__name__)
