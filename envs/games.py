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
from continual_arcade.envs.frame_skip import skipping
from continual_arcade.envs.game import Game, check_name, located
from continual_arcade.envs.messages import shown, unknown
from continual_arcade.envs.picture_format import (
    FEATURES,
    OBSERVATIONS,
    PIXELS,
    SETTINGS,
    ObservationKind,
    PictureFormat,
)
from continual_arcade.envs.pictured import pictured
from continual_arcade.envs.relabelled import relabelled_catcher, relabelled_flappy_bird
from continual_arcade.envs.split_digits import split_digits
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
    "SplitDigits": split_digits,
}
"""The same of streams of labelled examples (``labelled.py``), which are no games to people: they
are made, registered, trained in and evaluated like games, in scenarios and studies."""

ENVIRONMENTS: Mapping[str, Callable[..., Game] | str] = ChainMap(GAMES, STREAMS)
"""Both."""

OTHER = "Gymnasium"
"""Stands in place of a game where a scenario names environments of other people
(``other_games.py``)."""

GROUP = "continual_arcade.games"
"""Entry points of installed packages that name further games. A package cannot replace a game."""

for _point in entry_points(group=GROUP):
    try:
        check_name(_point.name)
        if _point.name in (*STREAMS, OTHER):
            raise ValueError(f"there is something called {_point.name} already")
        GAMES.setdefault(_point.name, _point.value)
    except ValueError as _error:  # the others are there all the same
        warnings.warn(f"an entry point of {GROUP} is left out: {_error}", stacklevel=2)


SEEN = ("observation", *SETTINGS)
"""Options of what an agent sees; on the same seeds the same happens, whatever they are."""
OPTIONS = (*SEEN, "frame_skip")
"""Options that every game has."""


def make_game(
    name: str,
    observation: ObservationKind = FEATURES,
    frame_skip: int = 1,
    **options: Any,
) -> Game:
    """Make a game by name.

    Args:
        name: A key of ``ENVIRONMENTS``: a game, or a stream of labelled examples.
        observation: ``"features"``, numbers; or ``"pixels"``, pictures, whose looks are tunables,
            too.
        frame_skip: Frames that each step plays with the same action.
        **options: Options of that game, such as ``rewards``; of pictures, those of
            :class:`~continual_arcade.envs.picture_format.PictureFormat`, such as ``screen_size``.

    Raises:
        ValueError: If the name is unknown, an option makes no sense, or what ``GAMES`` names
            cannot be imported or makes a game of another name.
        TypeError: If there is no such option.
    """
    OneOf(OBSERVATIONS)("observation", observation)
    settings = {option: options.pop(option) for option in SETTINGS if option in options}
    if settings and observation != PIXELS:
        given = ", ".join(f"{option} = {shown(value)}" for option, value in settings.items())
        raise ValueError(
            f"{given}: there are no pictures with observation = {shown(observation)}; make it with "
            "observation='pixels', or leave that out"
        )
    pictures = PictureFormat(**settings) if observation == PIXELS else None
    game = skipping(_bare_game(name, options), frame_skip)
    return game if pictures is None else pictured(game, pictures)


def option_names(name: str) -> tuple[str, ...]:
    """Return the names of all options of a game; arguments and errors as of :func:`make_game`."""
    return (*signature(_maker_of(name)).parameters, *OPTIONS)


def _maker_of(name: str) -> Callable[..., Game]:
    """Return the function that makes a game."""
    maker = ENVIRONMENTS[OneOf(tuple(ENVIRONMENTS))("game", name)]
    return located(maker, f"game {name}") if isinstance(maker, str) else maker


def _bare_game(name: str, options: Mapping[str, Any]) -> Game:
    """Make a game as it is, from its own options."""
    maker = _maker_of(name)
    known = signature(maker).parameters
    for option in options:
        if option not in known:
            # The words of Python itself: clients that try what an environment takes read them.
            raise TypeError(
                f"{name}() got an unexpected keyword argument {option!r}: "
                + unknown(f"option of {name}", option, option_names(name))
            )
    game = maker(**options)
    if game.name != name:
        raise ValueError(f"game {name} calls itself {game.name!r}: both names must be the same")
    return game
