"""The evaluator of third-party environments, which are stepped side by side."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from continual_arcade.envs.clock import LifetimeClock
from continual_arcade.envs.context import HIDDEN, Context, ContextKind
from continual_arcade.envs.games import OTHER
from continual_arcade.envs.other_games import phase_env
from continual_arcade.envs.phased_env import AnyEnv
from continual_arcade.envs.schedules import Phase, Schedule
from continual_arcade.envs.seeds import plain_seeds
from continual_arcade.evaluation.evaluator import EPISODES, FIRST_SEED, MAX_STEPS, PhaseEvaluator


class SideBySide(VectorEnv[Any, Any, Any]):
    """Environments that each play one episode; one that has ended waits until the next reset.

    Args:
        envs: The environments, with equal spaces: observations are arrays, actions are whole
            numbers or arrays.
        max_steps: Limit of an episode [steps].

    Raises:
        ValueError: If the spaces differ, or are of another kind.
    """

    def __init__(self, envs: Sequence[AnyEnv], max_steps: int) -> None:
        self.envs = envs  # first: before 1.3 Gymnasium closes also what is refused here
        first = envs[0]
        for what, of_first, kinds in (
            ("observation", first.observation_space, (gym.spaces.Box,)),
            ("action", first.action_space, (gym.spaces.Discrete, gym.spaces.Box)),
        ):
            if not isinstance(of_first, kinds):
                named = " or ".join(kind.__name__ for kind in kinds)
                raise ValueError(f"the {what} space is {of_first}; only {named} can be evaluated")
            for env in envs:
                if (other := getattr(env, f"{what}_space")) != of_first:
                    raise ValueError(
                        f"the {what} space of one phase is {of_first}, that of another {other}: "
                        "one agent plays them all, so they must be equal"
                    )
        self.max_steps = max_steps
        self.num_envs = len(envs)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, self.num_envs)
        self.action_space = batch_space(first.action_space, self.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every environment.

        Args:
            seed: One for each, or the first of as many that follow one another.
            options: Passed to each ``reset``.
        """
        seeds: Sequence[int | None] = plain_seeds(seed, self.num_envs) or [None] * self.num_envs
        begun = [
            env.reset(seed=one, options=options) for env, one in zip(self.envs, seeds, strict=True)
        ]
        self._observations = np.stack([observation for observation, _ in begun])
        self._returns = np.zeros(self.num_envs)
        self._steps = 0
        self._resting = np.zeros(self.num_envs, np.bool_)
        return self._observations, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Play one step in those that do not rest.

        Returns:
            Observations (the last one of those that rest), rewards, where an episode was terminated
            and where it was truncated. The info has ``final_obs`` and ``final_info["score"]`` of
            those that have ended now: the ``score`` of their info or, if there is none, the return.

        Raises:
            ValueError: If there is not one valid action for each.
        """
        actions, expected = np.asarray(actions), self.action_space.shape
        if actions.shape != expected:
            raise ValueError(f"actions have shape {actions.shape}; one for each game is {expected}")
        rewards, scores = np.zeros(self.num_envs), np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), np.bool_)
        observations = self._observations.copy()
        self._steps += 1
        for i in np.flatnonzero(~self._resting).tolist():
            observations[i], rewards[i], terminated[i], truncated[i], info = self.envs[i].step(
                self._action(actions[i])
            )
            self._returns[i] += rewards[i]
            scores[i] = info.get("score", self._returns[i])
        truncated |= ~self._resting & ~terminated & (self._steps >= self.max_steps)
        self._resting |= terminated | truncated
        self._observations = observations
        infos = {"final_obs": observations, "final_info": {"score": scores}}
        return observations, rewards, terminated, truncated, infos

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are valid in each environment, shape ``(envs, actions)``."""
        return np.stack([env.get_wrapper_attr("action_masks")() for env in self.envs])

    def _action(self, action: Any) -> Any:
        """Return an action as an environment of its own wants it."""
        if isinstance(self.single_action_space, gym.spaces.Discrete):
            if not self.single_action_space.contains(action):
                raise ValueError(f"{action!r} is no action of {self.single_action_space}")
            return int(action)
        return action

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()


class GymEvaluator(PhaseEvaluator[SideBySide]):
    """Plays the phases of a schedule in any environment of Gymnasium.

    The score of an episode is the ``score`` of its last info or, if there is none, its return. The
    environments are Python objects that are stepped one after the other: it takes as long as they.

    A policy that was trained in wrapped environments needs them wrapped in the same here. Wrappers
    with running statistics must hold those of training, and not update them.

    Args:
        make: Makes an environment that stays in one phase for ever, given its index. With
            the suite's wrapper: ``lambda phase: PhasedEnv(env(), schedule, tunables, apply,
            phase)``.
        schedule: The schedule whose phases are played; a phase that recurs is played once.
        episodes: Episodes in each phase.
        max_steps: Limit of an episode, beside the environment's own [steps].
        first_seed: Seed of the first episode; each one has the next.

    Raises:
        ValueError: If a number is not positive, an environment has a lifetime clock that does not
            stay in the phase of this schedule, their spaces are not supported, or a wrapper updates
            its statistics.
    """

    def __init__(
        self,
        make: Callable[[int], AnyEnv],
        schedule: Schedule,
        *,
        episodes: int = EPISODES,
        max_steps: int = MAX_STEPS,
        first_seed: int = FIRST_SEED,
    ) -> None:
        super().__init__("this environment", schedule, episodes, max_steps, first_seed)
        envs = [make(phase.index) for phase in self.phases for _ in range(episodes)]
        for position, phase in enumerate(self.phases):
            _check_stays(envs[position * episodes], phase)
        for env in envs:
            _check_statistics(env)
        self.env = SideBySide(envs, max_steps)
        if envs[0].has_wrapper_attr("context"):
            context = envs[0].get_wrapper_attr("context")
            self.context = context.kind if isinstance(context, Context) else HIDDEN
        # Here, since it needs PyTorch, which takes seconds to load.
        from continual_arcade.evaluation.preprocessing import wrapper_names

        self.wrappers = wrapper_names(envs[0])
        if envs[0].has_wrapper_attr("action_masks"):
            self.action_masks = self.env.action_masks
        spec = envs[0].spec
        self.name = type(envs[0].unwrapped).__name__ if spec is None else spec.id


class OthersEvaluator(GymEvaluator):
    """Plays the phases of a scenario of other people's environments.

    Each phase and each episode has an environment of its own, built for it; what is wrapped is
    wrapped as in training, since both are made from the same data.

    Args:
        options: The options of the run, which name the environments.
        schedule: The schedule whose phases are played; a phase that recurs is played once.
        episodes: Episodes in each phase.
        max_steps: Limit of an episode, beside the environment's own [steps].
        first_seed: Seed of the first episode; each one has the next.
        context: What of its phase an observation shows.

    Raises:
        ValueError: If a number is not positive, or an environment cannot be made.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        schedule: Schedule,
        *,
        episodes: int = EPISODES,
        max_steps: int = MAX_STEPS,
        first_seed: int = FIRST_SEED,
        context: ContextKind = HIDDEN,
    ) -> None:
        super().__init__(
            lambda phase: phase_env(options, schedule, phase, context),
            schedule,
            episodes=episodes,
            max_steps=max_steps,
            first_seed=first_seed,
        )
        self.name, self.options, self.context = OTHER, options, context
        self.wrappers = ()


def _check_stays(env: AnyEnv, phase: Phase) -> None:
    """Check that an environment with a clock stays in a phase; others cannot be checked."""
    clock = env.get_wrapper_attr("clock") if env.has_wrapper_attr("clock") else None
    if isinstance(clock, LifetimeClock) and clock.frozen != phase:
        stays = "moves on to other phases" if clock.frozen is None else f"stays in {clock.frozen}"
        raise ValueError(
            f"the environment made for {phase} {stays}: pass the index on, as in "
            "PhasedEnv(..., phase=phase), with the schedule that is evaluated"
        )


def _check_statistics(env: AnyEnv) -> None:
    """Check that no wrapper updates its statistics, which would change each evaluation."""
    while isinstance(env, gym.Wrapper):
        if getattr(env, "update_running_mean", False):
            raise ValueError(
                f"{type(env).__name__} updates its statistics during evaluation: give it those "
                "of training, and set its update_running_mean = False"
            )
        env = env.env
