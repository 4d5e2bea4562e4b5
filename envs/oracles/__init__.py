"""Scripted players that see the state and know the rules, one file for each game.

They show that a phase can be solved, and their score is the measure of a perfect one. Those that
cheat show what nobody can exceed.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.arcade_env import ArcadeEnv
from continual_arcade.envs.arcade_vector_env import ArcadeVectorEnv
from continual_arcade.envs.core import Core

Actions = npt.NDArray[np.int64]


class Oracle:
    """Plays a game by looking at its state instead of the observation.

    It has the ``predict`` of a Stable-Baselines3 policy, so that whatever plays an agent can play
    the oracle. It is bound to the environment whose state it sees.

    Args:
        env: The environment, single or vector; wrappers around it do not matter.

    Raises:
        TypeError: If it is no environment of this suite.
        ValueError: If its game has no oracle.
    """

    fact: ClassVar[Literal["oracle", "unbeatable"]] = "oracle"
    """Which fact of the game says who plays it."""

    def __init__(self, env: Any) -> None:
        bare = env.unwrapped
        if not isinstance(bare, (ArcadeEnv, ArcadeVectorEnv)):
            raise TypeError(f"the oracle plays the games of this suite, not {type(bare).__name__}")
        self._single = isinstance(bare, ArcadeEnv)
        player: Callable[[Core], Callable[[], Actions]] = bare.game.needed(self.fact)
        self._play = player(bare.core)

    def predict(
        self,
        observation: Any = None,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, None]:
        """Return what to do in the present state of the environment; no argument matters."""
        actions = self._play()
        return (actions[0] if self._single else actions), None


class Unbeatable(Oracle):
    """Cheats: it changes the state before each step, so that no episode is lost.

    So nobody can score more in the same episode, played to the same limit of steps.
    """

    fact = "unbeatable"
