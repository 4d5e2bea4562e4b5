"""Policies: what can be evaluated."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy.typing as npt

Network = Literal["average", "last"]
"""By which weights of an agent it plays: the average of those along the way, or the last ones."""
NETWORKS: tuple[Network, ...] = get_args(Network)
Transform = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
"""Changes the observations of all games, step by step, from the first of their episodes on."""
TransformFactory = Callable[[int], Transform]
"""Makes a transform for a number of games whose episodes begin."""


class Follower(Protocol):
    """Infers the task of each of several games, from transition to transition."""

    def see(
        self, observations: npt.NDArray[Any], actions: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Return what the policy sees of the next observations, after these actions."""
        ...


class Inference(Protocol):
    """What a policy infers its task by: its attribute ``task_inference``, if it has one.

    Then what it sees is made of observations that tell no phase. Each game is followed by its own
    transitions alone, from what was known before it began.
    """

    def extended(self, space: Any) -> Any:
        """Return the space of what the policy sees of observations of a space."""
        ...

    def follow(self, games: int) -> Follower:
        """Return what follows so many games, which begin now."""
        ...


class Policy(Protocol):
    """What can be evaluated: any Stable-Baselines3 model, or any object with such a ``predict``.

    A recurrent one takes ``state`` and ``episode_start`` as well: it gets back what it returned as
    its state, ``None`` at first, and where an episode begins. One that takes ``action_masks`` gets
    those of the environments.
    """

    def predict(self, observation: Any, *, deterministic: bool = True) -> tuple[Any, Any]:
        """Return actions for a batch of observations, and its state; None if it has none."""
        ...


def networks_of(policy: Any) -> tuple[Network, ...]:
    """Return by which weights a policy can play; the first is what it is evaluated by.

    An agent that keeps an average of its weights says so by its attribute ``averaged``.
    """
    return ("last",) if getattr(policy, "averaged", None) is None else NETWORKS


def playing_by(policy: Any, network: Network | None = None) -> Any:
    """Return what plays by some weights of a policy.

    Args:
        policy: Any policy.
        network: Which; what it is evaluated by if not given.

    Raises:
        ValueError: If it has no such weights.
    """
    known = networks_of(policy)
    chosen = known[0] if network is None else network
    if chosen not in NETWORKS:
        raise ValueError(f"network = {chosen!r} must be one of {', '.join(NETWORKS)}")
    if chosen not in known:
        raise ValueError(
            f"{type(policy).__name__} keeps no average of its weights: let it play by network "
            "'last', or train a DQN with average=0.999"
        )
    return policy.averaged if chosen == "average" else policy


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


def other_space(name: str, played: str, what: str, made_for: Any, space: Any) -> str:
    """Say that a policy was made for another space.

    Args:
        name: Name of the policy.
        played: What is played.
        what: ``"observation"`` or ``"action"``.
        made_for: The space that the policy was made for.
        space: That of the game.
    """
    found, expected = (" ".join(str(one).split()) for one in (made_for, space))
    message = (
        f"{name} cannot play {played}: its {what} space is {found}, that of the game {expected}"
    )
    shapes = getattr(made_for, "shape", None), getattr(space, "shape", None)
    if what == "observation" and shapes[0] != shapes[1]:
        message += (
            "; if it was trained with another context of the phase, play it with the same "
            "(context='hidden', 'params', 'one-hot' or 'inferred'); if on stacked observations, "
            f"load it with its environment, {name}.load(path, env=VecFrameStack(env, n_stack))"
        )
    return message
