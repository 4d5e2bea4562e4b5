"""The schedules that come with the suite, for both games.

``shrink`` is the classic: each phase is harder than the one before, and contains it. It is a
curriculum, so training on it may well improve the earlier phases. ``grow`` is the reverse.
``cycle`` comes back to where it began, twice. ``shuffle:SEED`` takes the phases of ``shrink`` in
another order. ``drift`` goes the way of ``shrink`` smoothly, without a boundary. ``conflict``
changes the physics so that the same observation asks for another action: here forgetting shows.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from continual_arcade.envs.catcher import DEFAULT_SIZE, PUSH_PER_WIDTH
from continual_arcade.envs.checks import WrongTypeError
from continual_arcade.envs.game import Game
from continual_arcade.envs.messages import shown, unknown
from continual_arcade.envs.schedule_files import SUFFIXES, load
from continual_arcade.envs.schedules import PhaseSpec, Schedule, stationary
from continual_arcade.envs.tunables import Params

PHASE_STEPS = 25_000
"""Length of a phase, as commonly quoted for Riemer et al. 2019 (arXiv 1810.11910)."""

_HARDER: dict[str, list[Params]] = {
    "FlappyBird": [{"gap": float(gap)} for gap in range(100, 74, -5)],
    "Catcher": [{"fall_speed": float(speed)} for speed in range(20, 26)],
}
"""The phases of ``shrink``."""

_PUSH = PUSH_PER_WIDTH * DEFAULT_SIZE[0]
_CONFLICTS: dict[str, dict[str, Params]] = {
    "FlappyBird": {
        "normal": {"gravity": 1.0, "flap": 9.0},
        "upside down": {"gravity": -1.0, "flap": -9.0},
        "light": {"gravity": 0.5, "flap": 6.0},
    },
    "Catcher": {
        "normal": {"push": _PUSH, "friction": 0.1},
        "swapped keys": {"push": -_PUSH, "friction": 0.1},
        "icy": {"push": _PUSH, "friction": 0.03},
    },
}
"""The phases of ``conflict``."""


def _named(params: Params) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in params.items())


def _phases(every: list[Params]) -> tuple[PhaseSpec, ...]:
    return tuple(
        PhaseSpec(name=_named(params), steps=PHASE_STEPS, params=params) for params in every
    )


def shrink(game: str) -> Schedule:
    """Harder and harder, in six phases."""
    return Schedule("shrink", _phases(_HARDER[game]))


def grow(game: str) -> Schedule:
    """Easier and easier, in six phases."""
    return Schedule("grow", _phases(_HARDER[game][::-1]))


def cycle(game: str) -> Schedule:
    """Easy, harder, hardest, and back to the beginning, twice: seven phases."""
    easy, harder, hardest = _HARDER[game][0], _HARDER[game][3], _HARDER[game][5]
    return Schedule("cycle", _phases([easy, harder, hardest, easy, harder, hardest, easy]))


def shuffle(game: str, seed: int = 0) -> Schedule:
    """The phases of ``shrink`` in an order that depends on the seed."""
    order = np.random.default_rng(seed).permutation(len(_HARDER[game]))
    return Schedule(f"shuffle:{seed}", _phases([_HARDER[game][index] for index in order]))


def drift(game: str) -> Schedule:
    """From the first to the last phase of ``shrink`` in a straight line, without a boundary."""
    first, last = _HARDER[game][0], _HARDER[game][-1]
    whole = PhaseSpec(name="whole", steps=PHASE_STEPS, params=first, until=last)
    count = len(_HARDER[game])
    stretches = []
    for index in range(count):
        start, end = whole.params_at(index / count), whole.params_at((index + 1) / count)
        name = ", ".join(f"{key} {start[key]:.4g} to {end[key]:.4g}" for key in start)
        stretches.append(PhaseSpec(name=name, steps=PHASE_STEPS, params=start, until=end))
    return Schedule("drift", tuple(stretches))


def conflict(game: str) -> Schedule:
    """Three kinds of physics in which the same observation asks for different actions."""
    return Schedule(
        "conflict",
        tuple(
            PhaseSpec(name=name, steps=2 * PHASE_STEPS, params=params)
            for name, params in _CONFLICTS[game].items()
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


def shipped(name: str, game: Game) -> Schedule:
    """Return a schedule of the suite.

    Args:
        name: A key of ``SHIPPED``, ``shuffle:SEED``, or ``stationary``.
        game: The game it is for.

    Raises:
        ValueError: If there is no such schedule, or it was not made for a field of this size.
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
    if game.name not in _HARDER:
        raise ValueError(f"schedule {name!r} is made for {' and '.join(_HARDER)}, not {game.name}")
    if game.name == "Catcher" and game.size != DEFAULT_SIZE:
        raise ValueError(
            f"schedule {name!r} is made for a field of {DEFAULT_SIZE[0]}x{DEFAULT_SIZE[1]} px, not "
            f"{game.size[0]}x{game.size[1]}: pass a Schedule with speeds for your field"
        )
    return SHIPPED[kind](game.name, int(argument)) if argument else SHIPPED[kind](game.name)


ScheduleLike = Schedule | str | Path | Mapping[str, Any] | None
"""What a user may give for a schedule; see :func:`as_schedule`."""


def as_schedule(value: ScheduleLike, game: Game) -> Schedule:
    """Return the schedule that a user means.

    Args:
        value: A schedule; the name of a shipped one; a path to a ``.toml`` or ``.json`` file; the
            plain data of :meth:`Schedule.to_dict`; or None, for a life in which nothing changes.
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
