"""The evaluator: plays an agent in every phase of a schedule, in one batch, on fixed seeds."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from gymnasium.vector import VectorEnv

from continual_arcade.envs.arcade_vector_env import ArcadeVectorEnv
from continual_arcade.envs.checks import MOST_AT_ONCE, Instance, Whole
from continual_arcade.envs.context import HIDDEN, ContextKind
from continual_arcade.envs.games import make_game
from continual_arcade.envs.labelled import NUM_QUESTIONS
from continual_arcade.envs.schedules import Phase, Schedule
from continual_arcade.evaluation.actor import Actor
from continual_arcade.evaluation.experience import Experience, Recorder
from continual_arcade.evaluation.policies import Network, Policy

FIRST_SEED = 1_000_000
"""Seed of the first evaluation episode: far from the seeds of training."""
MAX_STEPS = 1_800
"""Limit of an evaluation episode: 47 pipes of Flappy Bird, whatever the gap."""
EPISODES = 20
_SEEDS = 2**63
"""How many there are for episodes."""


@dataclass(frozen=True)
class Played:
    """The result of one evaluation; each array has the shape ``(phases, episodes)``."""

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
    """Plays the phases of a schedule; its subclasses choose the environments.

    All phases and episodes are one batch. Episode ``i`` has the same seed in every phase and for
    every agent, so that agents differ by nothing but their actions. The evaluator has its own
    environments and draws nothing from any other random stream: it does not change training.

    Args:
        name: What is played, for messages.
        schedule: The schedule whose phases are played; a phase that recurs is played once.
        episodes: Episodes in each phase.
        max_steps: Limit of an episode [steps].
        first_seed: Seed of the first episode; each one has the next.

    Raises:
        ValueError: If a number is not positive, or the seeds are too large.
    """

    env: Games
    """The games; set by subclasses."""
    wrappers: Sequence[str] = ()
    """What each of them is wrapped in, as far as it may matter to a policy."""
    context: ContextKind = HIDDEN
    """What of its phase an observation shows."""
    action_masks: Callable[[], npt.NDArray[np.bool_]] | None = None
    """Returns which actions are valid in each of them; None if all are."""

    def __init__(
        self, name: str, schedule: Schedule, episodes: int, max_steps: int, first_seed: int
    ) -> None:
        Instance((Schedule,))("schedule", schedule)
        episodes = Whole(1, MOST_AT_ONCE)("episodes", episodes)
        # The table of evaluations keeps the seed of each episode, in 64 bits.
        first_seed = Whole(0, _SEEDS - episodes)("first_seed", first_seed)
        self.name = name
        self.schedule = schedule
        self.episodes = episodes
        self.max_steps = Whole(1)("max_steps", max_steps)
        self.options: Mapping[str, Any] = {}
        """Options of the game that are not as usual."""
        self.phases: tuple[Phase, ...] = schedule.distinct
        self.seeds = [first_seed + episode for episode in range(episodes)]
        self._options: dict[str, Any] = {}
        """Options of the games' ``reset``."""

    def play(self, policy: Policy, keep: int = 0, network: Network | None = None) -> Played:
        """Play every episode of every phase to its end.

        The policy sees what it saw in training: what a ``VecNormalize``, ``VecFrameStack`` or
        ``VecTransposeImage`` of its environment does to observations is done to these as well.

        Args:
            policy: Chooses the actions.
            keep: Transitions of each phase to keep, spread over all that are played, with
                observations as the policy sees them; what is played does not depend on it.
            network: By which weights of an agent it plays: their ``average`` along the way, or the
                ``last`` ones; the average if not given and the agent keeps one.

        Raises:
            TypeError: If it is no policy, or does not return whole numbers.
            ValueError: If it was made for other observations or actions, would not see what it saw
                in training, what it returns is not an action for each game, ``keep`` is negative,
                or the agent keeps no average.
        """
        keep = Whole(0)("keep", keep)
        actor = Actor(
            policy,
            played=self.name,
            observation_space=self.env.single_observation_space,
            action_space=self.env.single_action_space,
            network=network,
            context=self.context,
            wrappers=self.wrappers,
            action_masks=self.action_masks,
        )
        begun = time.perf_counter()
        count = self.env.num_envs
        returns, scores = np.zeros(count), np.zeros(count)
        lengths = np.zeros(count, np.int64)
        running = np.ones(count, np.bool_)
        indices = [phase.index for phase in self.phases]
        recorder = Recorder(indices, self.episodes, keep) if keep else None
        labelled = False
        seeds: Any = self.seeds * len(self.phases)  # which Gymnasium's signature leaves out
        observations, _ = self.env.reset(seed=seeds, options=dict(self._options))
        seen = actor.begin(observations)
        while running.any():
            actions = actor.act(seen)
            try:
                observations, rewards, terminated, truncated, infos = self.env.step(actions)
            except (TypeError, ValueError) as error:
                message = f"what {actor.name} returned cannot be played: {error}"
                raise type(error)(message) from error
            returns[running] += rewards[running]
            lengths[running] += 1
            ends = running & (terminated | truncated)
            if ends.any():
                # The last one of an episode, not the first one of another that nobody counts.
                observations = observations.copy()
                observations[ends] = infos["final_obs"][ends]
                scores[ends] = infos["final_info"]["score"][ends]
            before, seen = seen, actor.see(observations)
            if recorder is not None:
                labelled = "label" in infos
                if labelled:  # what is learnt there: each answer by itself, the right one
                    actions, rewards = infos["label"], np.ones(count)
                    terminated = np.ones(count, np.bool_)
                recorder.note(running, before, actions, rewards, seen, terminated)
            running = running & ~ends
        shape = (len(self.phases), self.episodes)
        experience = None
        if recorder is not None:
            experience = recorder.experience(labelled=labelled)
        return Played(
            returns.reshape(shape),
            scores.reshape(shape),
            lengths.reshape(shape),
            time.perf_counter() - begun,
            experience,
        )


class Evaluator(PhaseEvaluator[ArcadeVectorEnv]):
    """Plays the phases of a schedule in a game of this suite.

    Args:
        game: Name of the game.
        schedule: The schedule whose phases are played; a phase that recurs is played once.
        episodes: Episodes in each phase.
        max_steps: Limit of an episode [steps].
        first_seed: Seed of the first episode; each one has the next.
        context: What of its phase an observation shows; see
            :class:`~continual_arcade.envs.context.Context`.
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
        context: ContextKind = HIDDEN,
        **options: Any,
    ) -> None:
        super().__init__(game, schedule, episodes, max_steps, first_seed)
        self.options = options
        asked = make_game(game, **options).evaluated_with
        if own := sorted(set(asked) & set(options)):
            raise ValueError(
                f"{own[0]} = {options[own[0]]!r} of {game} is for evaluation, which sets it by "
                "itself, and training is not evaluation: leave it out"
            )
        self.env = ArcadeVectorEnv(
            game,
            len(self.phases) * episodes,
            max_episode_steps=max_steps,
            schedule=schedule,
            phase=0,  # it stays in the phases that the episodes begin in
            context=context,
            **options,
            **asked,
        )
        self.context = self.env.context.kind
        questions = int(self.env.game.constants.get(NUM_QUESTIONS, 0))
        if max_steps < questions:
            raise ValueError(
                f"max_steps = {max_steps:,} would end an exam of {game} early: it asks "
                f"{questions:,} questions"
            )
        indices = [phase.index for phase in self.phases]
        self._options["phase"] = np.repeat(indices, episodes)
