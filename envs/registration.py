"""The games as Gymnasium ids."""

from collections.abc import Callable
from typing import NoReturn

import gymnasium as gym

from continual_arcade.envs.game import Game, check_name
from continual_arcade.envs.games import ENVIRONMENTS, GAMES, GROUP, OTHER, STREAMS
from continual_arcade.envs.messages import unknown

MAX_EPISODE_STEPS = 10_000
"""An agent that never loses must be stopped."""


class _Ids(dict[str, str]):
    def __missing__(self, game: object) -> NoReturn:
        raise ValueError(
            f"{unknown('game', game, self)}; one of your own is added in each process by "
            f"register_game(), or for all of them by an entry point of {GROUP}"
        )


IDS: dict[str, str] = _Ids()
"""The Gymnasium id of each game; an unknown name is a ``ValueError`` that lists those there are."""


def register() -> None:
    """Register every game and stream.

    Called when ``continual_arcade.envs`` is imported; harmless again.
    """
    for game in ENVIRONMENTS:
        IDS[game] = f"ContinualArcade/{game}-v0"
        if IDS[game] not in gym.registry:
            gym.register(
                IDS[game],
                entry_point="continual_arcade.envs.arcade_env:ArcadeEnv",
                vector_entry_point="continual_arcade.envs.arcade_vector_env:ArcadeVectorEnv",
                max_episode_steps=MAX_EPISODE_STEPS,
                # The environments refuse a step before a reset, or after the end, by themselves.
                order_enforce=False,
                kwargs={"game": game},
            )


def register_game(name: str, maker: Callable[..., Game] | str) -> None:
    """Add a game of your own, in this process.

    Commands and the workers of a study are processes of their own: there, an entry point of the
    group ``continual_arcade.games`` in an installed package adds it.

    Args:
        name: Its name, in letters and digits, the same as that of the ``Game``.
        maker: The function that makes it, or its ``"module:attribute"``.

    Raises:
        ValueError: If the name is no such word, or that of another game.
    """
    check_name(name)
    if name in (*STREAMS, OTHER) or GAMES.setdefault(name, maker) != maker:
        raise ValueError(f"there is a game {name} already: choose another name")
    register()
