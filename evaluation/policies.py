"""Policies: what can be evaluated."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

Transform = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
"""Changes the observations of all games, step by step, from the first of their episodes on."""
TransformFactory = Callable[[int], Transform]
"""Makes a transform for a number of games whose episodes begin."""


class Policy(Protocol):
    """What can be evaluated: any Stable-Baselines3 model, or any object with such a ``predict``.

    A recurrent one takes ``state`` and ``episode_start`` as well: it gets back what it returned as
    its state, ``None`` at first, and where an episode begins. One that takes ``action_masks`` gets
    those of the environments.
    """

    def predict(self, observation: Any, *, deterministic: bool = True) -> tuple[Any, Any]:
        """Return actions for a batch of observations, and its state; None if it has none."""
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
            "(context='hidden', 'params' or 'one-hot'); if on stacked observations, load it with "
            f"its environment, as in {name}.load(path, env=VecFrameStack(env, n_stack))"
        )
    return message
