"""Which shipped schedules tests play in which game: not every game has the phases for all."""

from continual_arcade.envs import GAMES, make_game
from continual_arcade.envs.curricula import schedules_of

PAIRS = [
    (game, name)
    for game in GAMES
    for name in (*schedules_of(make_game(game)), "shuffle:3")
    if make_game(game).phases or not name.startswith("shuffle")
]
"""Every game with every schedule that it has."""
CLASSIC = [game for game in GAMES if make_game(game).phases]
"""Games that have phases of increasing difficulty."""


def or_conflict(game: str, name: str) -> str:
    """Return the name of a schedule; that of another one, if the game does not have it."""
    return name if name in schedules_of(make_game(game)) else "conflict"
