"""The games by name."""

import warnings
from collections import ChainMap
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from inspect import signature
from typing import Any

from continual_arcade.envs.addition_facts import addition_facts
from continual_arcade.envs.catcher import catcher
from continual_arcade.envs.checks import OneOf
from continual_arcade.envs.digits import digits
from continual_arcade.envs.flappy_bird import flappy_bird
from continual_arcade.envs.game import Game, check_name, located
from continual_arcade.envs.messages import unknown
from continual_arcade.envs.relabelled import relabelled_catcher, relabelled_flappy_bird
from continual_arcade.envs.tour import tour

GAMES: dict[str, Callable[..., Game] | str] = {
    "FlappyBird": flappy_bird,
    "Catcher": catcher,
    "Tour": tour,
    "RelabelledFlappyBird": relabelled_flappy_bird,
    "RelabelledCatcher": relabelled_catcher,
}
"""The function that makes each game, or its ``"module:attribute"``. All commands, studies and
identifiers follow from this table."""

STREAMS: dict[str, Callable[..., Game] | str] = {
    "AdditionFacts": addition_facts,
    "Digits": digits,
}
"""The same of streams of labelled examples (``labelled.py``), which are no games to people: they
are made, registered, trained in and evaluated like games, in scenarios and studies."""

ENVIRONMENTS: Mapping[str, Callable[..., Game] | str] = ChainMap(GAMES, STREAMS)
"""Both."""

GROUP = "continual_arcade.games"
"""Entry points of installed packages that name further games. A package cannot replace a game."""

for _point in entry_points(group=GROUP):
    try:
        check_name(_point.name)
        if _point.name in STREAMS:
            raise ValueError(f"there is a stream {_point.name} already")
        GAMES.setdefault(_point.name, _point.value)
    except ValueError as _error:  # the others are there all the same
        warnings.warn(f"an entry point of {GROUP} is left out: {_error}", stacklevel=2)


def make_game(name: str, **options: Any) -> Game:
    """Make a game by name.

    Args:
        name: A key of ``ENVIRONMENTS``: a game, or a stream of labelled examples.
        **options: Options of that game, such as ``rewards``.

    Raises:
        ValueError: If the name is unknown, an option makes no sense, or what ``GAMES`` names
            cannot be imported or makes a game of another name.
        TypeError: If there is no such option.
    """
    name = OneOf(tuple(ENVIRONMENTS))("game", name)
    maker = ENVIRONMENTS[name]
    if isinstance(maker, str):
        maker = located(maker, f"game {name}")
    known = signature(maker).parameters
    for option in options:
        if option not in known:
            # The words of Python itself: clients that try what an environment takes read them.
            raise TypeError(
                f"{name}() got an unexpected keyword argument {option!r}: "
                + unknown(f"option of {name}", option, known)
            )
    game = maker(**options)
    if game.name != name:
        raise ValueError(f"game {name} calls itself {game.name!r}: both names must be the same")
    return game
