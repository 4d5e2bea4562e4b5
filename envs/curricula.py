"""The schedules that come with the suite, made of the phases of a game.

``shrink`` is the classic: each phase is harder than the one before, and contains it. It is a
curriculum, so training on it may well improve the earlier phases. ``grow`` is the reverse.
``cycle`` returns to its first phase, twice. ``shuffle:SEED`` takes the phases of ``shrink`` in
another order. ``drift`` moves along ``shrink`` smoothly, without a boundary. ``conflict``
changes the physics so that the same observation asks for another action: here forgetting shows.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from continual_arcade.envs.checks import WrongTypeError
from continual_arcade.envs.game import Game
from continual_arcade.envs.messages import shown, unknown
from continual_arcade.envs.schedule_files import SUFFIXES, load
from continual_arcade.envs.schedules import PhaseSpec, Schedule, stationary
from continual_arcade.envs.tunables import Params

PHASE_STEPS = 25_000
"""Length of a phase, as commonly quoted for Riemer et al. 2019 (arXiv 1810.11910)."""


def _named(params: Params) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in params.items())


def _phases(every: Sequence[Params]) -> tuple[PhaseSpec, ...]:
    return tuple(
        PhaseSpec(name=_named(params), steps=PHASE_STEPS, params=params) for params in every
    )


def shrink(game: Game) -> Schedule:
    """Harder and harder."""
    return Schedule("shrink", _phases(game.phases))


def grow(game: Game) -> Schedule:
    """Easier and easier."""
    return Schedule("grow", _phases(game.phases[::-1]))


def cycle(game: Game) -> Schedule:
    """Easy, harder, hardest, and back to the first phase, twice."""
    count = len(game.phases)
    turn = [game.phases[index] for index in sorted({0, count // 2, count - 1})]
    return Schedule("cycle", _phases([*turn, *turn, turn[0]]))


def shuffle(game: Game, seed: int = 0) -> Schedule:
    """The phases of ``shrink`` in an order that depends on the seed."""
    order = np.random.default_rng(seed).permutation(len(game.phases))
    return Schedule(f"shuffle:{seed}", _phases([game.phases[index] for index in order]))


def drift(game: Game) -> Schedule:
    """From the first to the last phase of ``shrink`` in a straight line, without a boundary."""
    count = len(game.phases)
    whole = PhaseSpec(name="whole", steps=PHASE_STEPS, params=game.phases[0], until=game.phases[-1])
    phases = []
    for index in range(count):
        start, end = whole.params_at(index / count), whole.params_at((index + 1) / count)
        name = ", ".join(f"{key} {start[key]:.4g} to {end[key]:.4g}" for key in start)
        phases.append(PhaseSpec(name=name, steps=PHASE_STEPS, params=start, until=end))
    return Schedule("drift", tuple(phases))


def conflict(game: Game) -> Schedule:
    """Kinds of physics in which the same observation asks for different actions."""
    return Schedule(
        "conflict",
        tuple(
            PhaseSpec(name=name, steps=2 * PHASE_STEPS, params=params)
            for name, params in game.conflict.items()
        ),
    )


SHIPPED: Mapping[str, Callable[..., Schedule]] = {
    "shrink": shrink,
    "grow": grow,
    "cycle": cycle,
    "shuffle": shuffle,
    "drift": drift,
    "conflict": conflict,
}


def schedules_of(game: Game) -> tuple[str, ...]:
    """Return the keys of ``SHIPPED`` for which a game has the phases."""
    return tuple(name for name in SHIPPED if _made_of(name, game))


def _made_of(name: str, game: Game) -> Any:
    """Return the phases of a game that a schedule is made of."""
    return game.conflict if name == "conflict" else game.phases


def shipped(name: str, game: Game) -> Schedule:
    """Return a schedule of the suite.

    Args:
        name: A key of ``SHIPPED``, ``shuffle:SEED``, or ``stationary``.
        game: The game it is for.

    Raises:
        ValueError: If there is no such schedule, or the game has no phases for it, perhaps only on
            a field of this size.
    """
    if name == "stationary":
        return stationary()
    kind, colon, argument = name.partition(":")
    if kind not in SHIPPED:
        raise ValueError(unknown("schedule", name, ["stationary", *SHIPPED]))
    if colon and kind != "shuffle":
        raise ValueError(f"schedule {kind!r} takes no argument, but {name!r} gives one")
    if colon and not argument.isdecimal():
        raise ValueError(f"the seed in schedule {name!r} must be a whole number, as in 'shuffle:7'")
    if not _made_of(kind, game):
        _refuse(name, kind, game)
    return SHIPPED[kind](game, int(argument)) if argument else SHIPPED[kind](game)


def _refuse(name: str, kind: str, game: Game) -> NoReturn:
    usual = game.bare.maker()
    if _made_of(kind, usual) and usual.size != game.size:
        raise ValueError(
            f"schedule {name!r} is made for a field of {usual.size[0]}x{usual.size[1]} px, not "
            f"{game.size[0]}x{game.size[1]}: pass a Schedule with values for your field"
        )
    fact = "conflict" if kind == "conflict" else "phases"
    raise ValueError(
        f"{game.name} has no {fact}, of which schedule {name!r} is made: choose "
        f"{' or '.join(('stationary', *schedules_of(game)))}, pass a Schedule or a file, or give "
        f"its Game {fact}=..."
    )


ScheduleLike = Schedule | str | Path | Mapping[str, Any] | None
"""What a user may give for a schedule; see :func:`as_schedule`."""


def as_schedule(value: ScheduleLike, game: Game) -> Schedule:
    """Return the schedule that a user means.

    Args:
        value: A schedule; the name of a shipped one; a path to a ``.toml`` or ``.json`` file; the
            plain data of :meth:`Schedule.to_dict`; or None, for a run in which nothing changes.
        game: The game it is for.

    Raises:
        ValueError: If it is no schedule.
        WrongTypeError: If it is something else altogether.
        OSError: If the file cannot be read.
    """
    if value is None:
        return stationary()
    if isinstance(value, Schedule):
        return value
    if isinstance(value, Mapping):
        return Schedule.from_dict(value)
    if isinstance(value, Path) or (isinstance(value, str) and value.endswith(SUFFIXES)):
        return load(value)
    if isinstance(value, str):
        return shipped(value, game)
    raise WrongTypeError(
        f"a schedule is a Schedule, a name, a path or plain data, not {shown(value)}"
    )
