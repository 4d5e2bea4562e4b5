"""Context: what of its phase an observation shows.

Where equal observations ask for different actions, and nothing tells the phases apart, nobody can
remember all of them. A context appends features that tell them apart: the parameters that hold, or
the index of the phase. They change when an episode begins, as parameters do, and rest until it has
ended; so the last observation of a phase still shows that phase.
"""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from continual_arcade.envs.checks import OneOf
from continual_arcade.envs.game import Feature
from continual_arcade.envs.schedules import Schedule
from continual_arcade.envs.tunables import Tunable, Tunables

ContextKind = Literal["hidden", "params", "one-hot", "inferred"]
CONTEXTS: tuple[ContextKind, ...] = get_args(ContextKind)
HIDDEN: ContextKind = "hidden"
INFERRED: ContextKind = "inferred"
"""Nobody tells the phase: the agent infers a task, and sees that."""
WIDE = 100.0
"""Positive bounds so many times apart are seen on a logarithmic scale: on a linear one most of what
is between them would look the same."""

Floats = npt.NDArray[np.float64]


class Context:
    """What of its phase an observation shows, as features behind those of the environment.

    - ``"hidden"``: nothing.
    - ``"params"``: every tunable, from -1 at its smallest value to 1 at its largest; see
      :func:`scaled`. The scale is that of the tunable and not of the schedule: the same parameters
      always look the same. Where parameters move within a phase it shows those of the episode.
    - ``"one-hot"``: 1 for the phase, 0 for all others. Phases that set the same parameters are the
      same phase (:attr:`Schedule.told`), so that one that recurs looks as it did before. One whose
      parameters move is one phase from its beginning to its end, and the same as one that moves
      from there to there.
    - ``"inferred"``: nothing here; the agent infers a task, and adds that to what it sees.

    Args:
        kind: One of ``CONTEXTS``.
        schedule: The phases.
        tunables: What may drift.

    Raises:
        ValueError: If there is no such context.
    """

    def __init__(self, kind: str, schedule: Schedule, tunables: Tunables) -> None:
        self.kind: ContextKind = check_context(kind)
        self._schedule = schedule
        self._tunables = tunables
        self.is_hidden = self.kind in (HIDDEN, INFERRED)
        """Whether it shows nothing."""

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """What is appended, in this order."""
        if self.kind == "params":
            return tuple(
                Feature(name, -1.0, 1.0, f"{tunable.about}, {_scale(tunable)}")
                for name, tunable in self._tunables.items()
            )
        if self.kind == "one-hot":
            return tuple(
                Feature(f"phase_{phase.index}", 0.0, 1.0, f"1 in phase {phase.name!r}, else 0")
                for phase in self._schedule.told
            )
        return ()

    @cached_property
    def _places(self) -> npt.NDArray[np.int64]:
        return np.array(self._schedule.places)

    def rows(self, params: Floats, phases: Any) -> Floats:
        """Return what an episode begins with: its parameters, and behind them what they show.

        Args:
            params: Values of the tunables, shape ``(n, num_tunables)``.
            phases: Index of the phase of each row, shape ``(n,)``.

        Returns:
            Shape ``(n, num_tunables + num_features)``; of a hidden context the parameters as they
            are.
        """
        if self.is_hidden:
            return params
        if self.kind == "params":
            tunables = self._tunables.values()
            shown = [scaled(one, column) for one, column in zip(tunables, params.T, strict=True)]
            return np.column_stack([params, *shown])
        return np.column_stack([params, np.eye(len(self.features))[self._places[phases]]])

    def row(self, params: Mapping[str, float], phase: int) -> Floats:
        """Return the same of one episode, shape ``(1, num_tunables + num_features)``.

        Args:
            params: The parameters of the episode.
            phase: Index of its phase.
        """
        return self.rows(np.array([list(params.values())]), [phase])

    def of(self, params: Mapping[str, float], phase: int) -> npt.NDArray[np.float32]:
        """Return what an episode shows, shape ``(num_features,)``; arguments as of :meth:`row`."""
        return self.row(params, phase)[0, len(self._tunables) :].astype(np.float32)

    def extended(self, space: "gym.spaces.Box[Any]") -> "gym.spaces.Box[Any]":
        """Return the space of observations with the context behind them.

        Args:
            space: That of the observations without, of one dimension.
        """
        if self.is_hidden:
            return space
        low, high = (
            np.concatenate([bounds, [getattr(feature, side) for feature in self.features]])
            for side, bounds in (("low", space.low), ("high", space.high))
        )
        dtype: Any = space.dtype
        return gym.spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype)


def check_context(kind: object) -> ContextKind:
    """Return the kind of a context.

    Raises:
        WrongTypeError: If it is no text.
        ValueError: If there is none of that name.
    """
    checked: Any = OneOf(CONTEXTS)("context", kind)
    return checked  # type: ignore[no-any-return]


def scaled(tunable: Tunable, values: Floats) -> Floats:
    """Return values of a tunable on the scale on which a context shows them.

    It runs from -1 at the lower bound to 1 at the upper one: in a straight line; logarithmically
    where both bounds are positive and at least ``WIDE`` times apart. Where there is no bound it
    runs from -1 to 1 without reaching them: 0 at the default, 1/2 where a value exceeds the default
    by the size of the default (by 1, if the default is 0).

    Args:
        tunable: The tunable.
        values: Its values, of any shape.
    """
    low, high = tunable.low, tunable.high
    if not (math.isfinite(low) and math.isfinite(high)):
        away = values - tunable.default
        return away / (np.abs(away) + (abs(tunable.default) or 1.0))
    if low == high:
        return np.zeros_like(values)
    if _is_wide(tunable):
        return 2.0 * np.log(values / low) / math.log(high / low) - 1.0
    return 2.0 * (values - low) / (high - low) - 1.0


def _is_wide(tunable: Tunable) -> bool:
    return tunable.low > 0.0 and tunable.high >= WIDE * tunable.low


def _scale(tunable: Tunable) -> str:
    """Say on which scale a context shows a tunable."""
    low, high, unit = tunable.low, tunable.high, tunable.unit
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"0 at {tunable.default:g} {unit}, towards -1 and 1 far from it"
    scale = " on a logarithmic scale" if _is_wide(tunable) else ""
    return f"from -1 at {low:g} {unit} to 1 at {high:g} {unit}{scale}"
