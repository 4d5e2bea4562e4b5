"""The games by name."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from continual_arcade.envs.catcher import catcher
from continual_arcade.envs.checks import OneOf
from continual_arcade.envs.flappy_bird import flappy_bird
from continual_arcade.envs.game import Game
from continual_arcade.envs.messages import unknown

GAMES: dict[str, Callable[..., Game]] = {"FlappyBird": flappy_bird, "Catcher": catcher}


def make_game(name: str, **options: Any) -> Game:
    """Make a game by name.

    Args:
        name: A key of ``GAMES``.
        **options: What that game lets one choose: rewards, and for Catcher size and lives.

    Raises:
        ValueError: If the name is unknown, or an option has no sense.
        TypeError: If there is no such option.
    """
    name = OneOf(tuple(GAMES))("game", name)
    known = signature(GAMES[name]).parameters
    for option in options:
        if option not in known:
            # The words of Python itself: clients that try what an environment takes read them.
            raise TypeError(
                f"{name}() got an unexpected keyword argument {option!r}: "
                + unknown(f"option of {name}", option, known)
            )
    return GAMES[name](**options)
