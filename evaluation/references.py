"""What scores are measured against: random play and the oracle, in each phase."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from continual_arcade.envs.curricula import schedules_of, shipped
from continual_arcade.envs.game import Game
from continual_arcade.envs.games import GAMES, OTHER, SEEN, make_game
from continual_arcade.envs.tunables import Params, resolve
from continual_arcade.evaluation.protocol import Protocol
from continual_arcade.evaluation.record import Floats, Value

LEAST_DISTANCE = 1.0
"""What the oracle must have more than random play, to be a scale [points, or reward]: if all there
is to learn is less than one pipe or pellet, a share of it says nothing."""
LEAST_ERRORS = 4.0
"""And by so many standard errors of that difference, else it may be noise."""

Player = Literal["random", "oracle"]
PLAYERS: tuple[Player, ...] = get_args(Player)
VALUES: tuple[Value, ...] = get_args(Value)

Key = tuple[str, int, tuple[tuple[str, float], ...]]
"""Environment id, limit of an episode, and every parameter by name."""


@dataclass(frozen=True)
class Scale:
    """What becomes 0 and what becomes 1 when scores are put on a common scale.

    It is for :meth:`Record.rescaled`. Both are NaN where there is no such scale.
    """

    zero: Floats
    """Mean of random play in each phase played, shape ``(phases played,)``."""
    one: Floats
    """Mean of the oracle, same shape."""
    reason: str = ""
    """Why some are NaN; empty if none is."""


@dataclass(frozen=True)
class Outcome:
    """The result of a number of episodes."""

    mean: float
    spread: float
    """Standard deviation over the episodes (that of a sample, with n - 1)."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The scores of random play and of the oracle with some parameters."""

    env: str
    """Gymnasium id, with the version of the rules."""
    max_steps: int
    """Limit of an episode [steps]."""
    params: Params
    """Every parameter of the game."""
    episodes: int
    first_seed: int
    """Seed of the first episode; each one has the next."""
    random_seed: int
    """Seed of random play, which chooses actions uniformly."""
    outcomes: Mapping[Player, Mapping[Value, Outcome]]
    making: Mapping[str, Any]
    """What made it: ``command``, ``date``, ``python``, ``versions`` and ``git_commit``."""

    @property
    def key(self) -> Key:
        """What it is found by."""
        return _key(self.env, self.max_steps, self.params)

    def distance(self, value: Value) -> float:
        """Return how much more the oracle has than random play, on average."""
        return self.outcomes["oracle"][value].mean - self.outcomes["random"][value].mean

    def error(self, value: Value) -> float:
        """Return the standard error of that distance."""
        spreads = [self.outcomes[player][value].spread for player in PLAYERS]
        return math.hypot(*spreads) / math.sqrt(self.episodes)


class References:
    """References, found by environment, limit of an episode and parameters.

    Args:
        references: The later one counts where two are of the same.
    """

    def __init__(self, references: Iterable[Reference] = ()) -> None:
        self._by_key = {reference.key: reference for reference in references}

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Reference]:
        return iter(self._by_key.values())

    def find(self, env: str, max_steps: int, params: Params) -> Reference | None:
        """Return the reference for some parameters, or None.

        Args:
            env: Gymnasium id.
            max_steps: Limit of an episode [steps].
            params: Every parameter of the game.
        """
        return self._by_key.get(_key(env, max_steps, params))

    def merged(self, newer: Iterable[Reference]) -> "References":
        """Return these with others, which replace those that they are of the same as."""
        return References([*self, *newer])

    def scale(self, protocol: Protocol, value: Value = "score") -> Scale:
        """Return the scale on which random play is 0 and the oracle is 1.

        A phase has none if there is no reference for it, or if the oracle is hardly better than
        random play: by less than ``LEAST_DISTANCE``, or by less than ``LEAST_ERRORS`` standard
        errors of the difference.

        Args:
            protocol: Says which phases are played, and how long an episode is.
            value: Which column counts.
        """
        phases, limit = protocol.schedule.distinct, protocol.evaluation.max_steps
        zero, one = np.full(len(phases), np.nan), np.full(len(phases), np.nan)
        if protocol.game not in GAMES or changes_of_play(protocol.options):
            options = {} if protocol.game == OTHER else dict(protocol.options)
            played = f"{protocol.env} with {options}" if options else protocol.env
            reason = f"there are no references for {played}: only for the games of"
            return Scale(zero, one, f"{reason} the suite with their usual options")
        game = make_game(protocol.game)
        if not game.oracle:
            reason = f"{game.name} has no oracle to measure scores by, so they are not normalised"
            return Scale(zero, one, reason)
        missing, reasons = [], []
        for column, phase in enumerate(phases):
            found = self.find(protocol.env, limit, params_of_play(game, phase.params))
            if found is None:
                missing.append(phase.name)
                continue
            distance = found.distance(value)
            least = max(LEAST_DISTANCE, LEAST_ERRORS * found.error(value))
            if distance < least:
                reasons.append(
                    f"{phase.name}: the {value} of the oracle is {distance:.2f} above that of "
                    f"random play; to be a scale it must be {least:.2f} at least"
                )
                continue
            zero[column] = found.outcomes["random"][value].mean
            one[column] = found.outcomes["oracle"][value].mean
        if missing:
            reasons.append(
                f"{', '.join(missing)}: no reference for {protocol.env} with episodes of at most "
                f"{limit:,} steps; to make one: {_command(protocol)}"
            )
        return Scale(zero, one, "; ".join(reasons))


def changes_of_play(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options of a game that change what happens in it.

    Pictures do not: on the same seeds they show the game that there is with features.
    """
    return {
        name: value
        for name, value in options.items()
        if name not in SEEN and (name, value) != ("frame_skip", 1)
    }


def params_of_play(game: Game, params: Params) -> Params:
    """Return every parameter of a bare game that is in a phase; looks change no score."""
    return resolve(game.tunables, {name: params[name] for name in params if name in game.tunables})


def _key(env: str, max_steps: int, params: Params) -> Key:
    return env, max_steps, tuple(sorted(params.items()))


def _command(protocol: Protocol) -> str:
    """Return the command that makes the references for a protocol."""
    return (
        f"python -m continual_arcade.scripts.references --game {protocol.game} "
        f"--schedule {_name_of_shipped(protocol)} --max-steps {protocol.evaluation.max_steps} "
        "--out references.json"
    )


def _name_of_shipped(protocol: Protocol) -> str:
    """Return the name of a shipped schedule with all the phases, or what stands for a file."""
    game = make_game(protocol.game)
    wanted = [params_of_play(game, phase.params) for phase in protocol.schedule.distinct]
    for name in ("stationary", *schedules_of(game)):
        has = [resolve(game.tunables, phase.params) for phase in shipped(name, game).distinct]
        if all(params in has for params in wanted):
            return name
    return "SCHEDULE.toml"
