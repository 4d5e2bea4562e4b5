"""How a policy is asked for its actions: it sees what it saw in training, and keeps its state."""

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from continual_arcade.envs.context import HIDDEN, INFERRED, ContextKind
from continual_arcade.evaluation.policies import (
    Follower,
    Inference,
    Network,
    Policy,
    Transform,
    TransformFactory,
    other_space,
    playing_by,
)


class Actor:
    """Plays games by a policy, which sees what it saw in training and keeps its state.

    :meth:`begin` and :meth:`see` turn observations into what the policy sees, in every step once;
    :meth:`act` asks for its actions.

    Args:
        policy: The policy.
        played: What is played, for messages.
        network: By which of its weights it plays; what it is evaluated by if not given.
        context: What of its phase an observation shows. A policy that infers its task does so where
            this is ``"inferred"``, by the transitions of each game alone.
        observation_space: Space of the observations of one game.
        action_space: Space of the actions of one game.
        wrappers: What the games are wrapped in, see
            :func:`~continual_arcade.evaluation.preprocessing.wrapper_names`.
        action_masks: Returns which actions are valid in each game, shape ``(games, actions)``; None
            if all are.

    Raises:
        TypeError: If it is no policy.
        ValueError: If it was made for other observations or actions, or would not see what it saw
            in training.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        played: str,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        network: Network | None = None,
        context: ContextKind = HIDDEN,
        wrappers: Sequence[str] = (),
        action_masks: Callable[[], npt.NDArray[np.bool_]] | None = None,
    ) -> None:
        self.name = getattr(policy, "__name__", type(policy).__name__)
        """Name of the policy, for messages."""
        if not hasattr(policy, "predict"):
            raise TypeError(
                f"{self.name} has no predict, so it is no policy; a plain function is one as "
                "FunctionPolicy(function)"
            )
        # An average of weights sees what the agent sees whose weights they are.
        agent = getattr(policy, "average_of", policy)
        self._inference = _inference_of(agent, context, played)
        if self._inference is not None:
            observation_space = self._inference.extended(observation_space)
        self._factories = _transforms(agent, observation_space, wrappers, played)
        made_for = getattr(policy, "action_space", action_space)
        if made_for != action_space:
            raise ValueError(other_space(self.name, played, "action", made_for, action_space))
        self._predict: Callable[..., Any] = playing_by(policy, network).predict
        taken = _arguments(self._predict)
        self._memory = [name for name in ("state", "episode_start") if name in taken]
        self._masks = action_masks if "action_masks" in taken else None
        if "action_masks" in taken and action_masks is None:
            raise ValueError(
                f"{self.name} takes action_masks, which {played} does not have: evaluate it in "
                "environments that have them, or without, as FunctionPolicy(lambda seen: "
                "model.predict(seen, deterministic=True)[0])"
            )
        self._transforms: list[Transform] = []
        self._follower: Follower | None = None
        self._actions: Any = None
        self._state: Any = None
        self._starts = np.zeros(0, np.bool_)

    def begin(self, observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Begin an episode in every game.

        Args:
            observations: The first ones, shape ``(games, *obs)``.

        Returns:
            What the policy sees.
        """
        games = len(observations)
        self._transforms = [factory(games) for factory in self._factories]
        self._follower = None if self._inference is None else self._inference.follow(games)
        self._actions = None
        self._state, self._starts = None, np.ones(games, np.bool_)
        return self.see(observations)

    def see(self, observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what the policy sees of the next observations, shape ``(games, *obs)``."""
        if self._follower is not None:
            observations = self._follower.see(observations, self._actions)
        for transform in self._transforms:
            observations = transform(observations)
        return observations

    def act(self, seen: npt.NDArray[Any]) -> Any:
        """Return the actions of the policy.

        Args:
            seen: What :meth:`begin` or :meth:`see` returned.

        Raises:
            TypeError: If its ``predict`` returns no pair.
        """
        memory = {"state": self._state, "episode_start": self._starts}
        arguments: dict[str, Any] = {name: memory[name] for name in self._memory}
        if self._masks is not None:
            arguments["action_masks"] = self._masks()
        decided = self._predict(seen, deterministic=True, **arguments)
        if not isinstance(decided, tuple) or len(decided) != 2:
            raise TypeError(
                f"predict of {self.name} must return a pair, actions and its state or None, not "
                f"{type(decided).__name__}"
            )
        actions, self._state = decided
        self._starts = np.zeros(len(seen), np.bool_)
        self._actions = actions
        return actions


def _inference_of(policy: Any, context: ContextKind, played: str) -> Inference | None:
    """Return what a policy infers its task by, None if it does not.

    Raises:
        ValueError: If it infers, and what is played is to tell it, or the other way round.
    """
    inference: Inference | None = getattr(policy, "task_inference", None)
    name = type(policy).__name__
    if inference is not None and context != INFERRED:
        raise ValueError(
            f"{name} infers its task, and {played} is played with context = {context!r}: choose "
            "context = 'inferred'"
        )
    if inference is None and context == INFERRED and _is_of_sb3(policy):
        raise ValueError(
            f"{name} infers no task, and {played} is played with context = 'inferred': choose the "
            "context that it was trained with"
        )
    return inference


def _is_of_sb3(policy: Any) -> bool:
    return any(kind.__module__.startswith("stable_baselines3.") for kind in type(policy).__mro__)


def _transforms(
    policy: Policy, space: spaces.Space[Any], wrappers: Sequence[str], played: str
) -> list[TransformFactory]:
    """Return what is to be done to observations, in order, before a policy sees them.

    Raises:
        ValueError: If it would not see what it was made for.
    """
    if _is_of_sb3(policy):
        # Here, since it needs PyTorch, which takes seconds to load; a model has loaded it.
        from continual_arcade.evaluation.preprocessing import transforms_of

        return transforms_of(policy, space, wrappers, played)
    made_for = getattr(policy, "observation_space", space)
    if made_for != space:
        name = type(policy).__name__
        raise ValueError(other_space(name, played, "observation", made_for, space))
    return []


def _arguments(function: Callable[..., Any]) -> set[str]:
    """Return the names of what a function takes; one that takes any takes what models take."""
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):  # it is not written in Python
        return set()
    names = {one.name for one in parameters}
    if any(one.kind is Parameter.VAR_KEYWORD for one in parameters):
        names |= {"state", "episode_start"}
    return names
