"""Schedules: what the parameters of an environment are at each lifetime step.

A schedule is data. It is a pure function of the lifetime step, holds no state, and never changes
when it is asked, so that training, evaluation, plots and a resumed run all see the same phases.
"""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Annotated, Any

from continual_arcade.envs.checks import (
    Whole,
    WrongTypeError,
    check_fields,
)
from continual_arcade.envs.messages import shown, unknown, value_of_parameter
from continual_arcade.envs.tunables import Params, Tunables, resolve


@dataclass(frozen=True)
class Phase:
    """What holds at one lifetime step."""

    index: int
    """Which phase of the schedule, from 0."""
    name: str
    params: Params
    """The parameters that the schedule sets; all others keep their defaults."""


LONGEST = 2**53
"""Steps of the longest schedule: up to here every step is a number that can be computed with."""


@dataclass(frozen=True, kw_only=True)
class PhaseSpec:
    """One phase of a schedule: so many steps with these parameters.

    Raises:
        ValueError: If a value is of the wrong type or out of range; the message names it.
    """

    name: str
    steps: Annotated[int, Whole(1, LONGEST)]
    """Length [lifetime steps]."""
    params: Params = field(default_factory=dict)
    """The parameters; at the beginning of the phase, if they move."""
    until: Params | None = None
    """Where the parameters have moved to, in a straight line, when the phase ends; None if they
    rest."""

    def __post_init__(self) -> None:
        check_fields(self, f"phase {shown(self.name)}")
        if self.until is not None and self.until.keys() != self.params.keys():
            raise ValueError(
                f"phase {self.name!r} moves from {sorted(self.params)} until {sorted(self.until)}: "
                "both must name the same parameters"
            )

    @property
    def way(self) -> tuple[Params, Params]:
        """Where the parameters are at the beginning and at the end; twice the same if they rest."""
        return self.params, self.params if self.until is None else self.until

    def params_at(self, fraction: float) -> Params:
        """Return the parameters after this fraction of the phase, from 0 to 1.

        At the end they are what is written, and before it not beyond that: rounding must not carry
        a value over its bound, or make a jump of what goes on.
        """
        begin, end = self.way
        if fraction == 1.0:  # of all fractions the only one with which the line misses it
            return dict(end)
        if self.until is None:
            return dict(begin)
        return {name: value + fraction * (end[name] - value) for name, value in begin.items()}


@dataclass(frozen=True)
class Schedule:
    """A sequence of phases.

    Args:
        name: What to call it.
        phases: Its phases, in order, at least one.

    Raises:
        ValueError: If there is no phase, or it is no name, or no phase; or if it is too long.
    """

    name: str
    phases: tuple[PhaseSpec, ...]

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.phases:
            raise ValueError(f"schedule {self.name!r} has no phase; it needs at least one")
        if self.total_steps > LONGEST:
            raise ValueError(
                f"schedule {self.name!r} lasts {self.total_steps:,} steps; the longest has "
                f"{LONGEST:,}"
            )

    def __len__(self) -> int:
        return len(self.phases)

    @property
    def total_steps(self) -> int:
        """Length of all phases together [lifetime steps]."""
        return self.ends[-1]

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The lifetime step at which each phase has ended."""
        return tuple(accumulate(spec.steps for spec in self.phases))

    @cached_property
    def boundaries(self) -> tuple[int, ...]:
        """The lifetime steps at which a new phase begins at once.

        Where the parameters only drift on, from the end of one phase into the next, there is none:
        no event happens there.
        """
        return tuple(
            end
            for end, (before, after) in zip(self.ends, pairwise(self.phases), strict=False)
            if not _drifts_on(before, after)
        )

    def index_at(self, step: int) -> int:
        """Return the index of the phase at a lifetime step; the last phase never ends.

        Raises:
            ValueError: If the step is negative.
        """
        if step < 0:
            raise ValueError(f"lifetime step {step} is negative; a run begins at step 0")
        return min(bisect_right(self.ends, step), len(self) - 1)

    def at(self, step: int) -> Phase:
        """Return what holds at a lifetime step; after the end, what held at the end.

        Raises:
            ValueError: If the step is negative.
        """
        index = self.index_at(step)
        spec = self.phases[index]
        fraction = min(1.0, 1.0 - (self.ends[index] - step) / spec.steps)
        return Phase(index, spec.name, spec.params_at(fraction))

    def next_boundary(self, step: int) -> int | None:
        """Return the first boundary after a lifetime step, or None."""
        position = bisect_right(self.boundaries, step)
        return self.boundaries[position] if position < len(self.boundaries) else None

    def frozen(self, phase: int | str) -> Phase:
        """Return one phase as it is to be played on its own.

        A phase whose parameters move is represented by its middle.

        Args:
            phase: Index or name; where a name occurs twice, its first occurrence.

        Raises:
            ValueError: If there is no such phase.
            TypeError: If it is neither an index nor a name.
        """
        index = self._index_of(phase)
        spec = self.phases[index]
        return Phase(index, spec.name, spec.params_at(0.5))

    def single(self, phase: int | str) -> "Schedule":
        """Return a schedule of this phase alone: as long, with the same parameters.

        A single-task expert is trained on it, with which runs over all phases are compared.

        Args:
            phase: Index or name; where a name occurs twice, its first occurrence.

        Raises:
            ValueError: If there is no such phase.
            TypeError: If it is neither an index nor a name.
        """
        index = self._index_of(phase)
        return Schedule(f"{self.name}-{index}", (self.phases[index],))

    def interleaved(self, turn: int = 2_000) -> "Schedule":
        """Return a schedule of the same length that takes turns between all phases.

        Each phase has as many steps in all as it has here. To train on it is joint training on
        all phases, as far as one can: a reference for what drift costs.

        Args:
            turn: Length of a turn, roughly; the phases are cut into equally many pieces
                [lifetime steps].

        Raises:
            ValueError: If the turn is no whole number of steps, at least 1.
        """
        turn = Whole(1)("turn", turn)
        rounds = max(1, round(self.total_steps / (turn * len(self))))
        rounds = min(rounds, *(spec.steps for spec in self.phases))
        pieces = []
        for number in range(rounds):
            for spec in self.phases:
                begin, end = (spec.steps * (number + n) // rounds for n in (0, 1))
                until = None if spec.until is None else spec.params_at(end / spec.steps)
                params = spec.params_at(begin / spec.steps)
                pieces.append(
                    PhaseSpec(name=spec.name, steps=end - begin, params=params, until=until)
                )
        return Schedule(f"{self.name}-interleaved", tuple(pieces))

    def _index_of(self, phase: int | str) -> int:
        """Return the index of a phase that is given by its index or name."""
        names = [spec.name for spec in self.phases]
        if isinstance(phase, str):
            if phase not in names:
                raise ValueError(unknown(f"phase of schedule {self.name!r}", phase, names))
            return names.index(phase)
        if isinstance(phase, bool) or not hasattr(phase, "__index__"):
            raise WrongTypeError(f"phase must be an index or a name, not {shown(phase)}")
        index = phase.__index__()
        if not 0 <= index < len(self):
            raise ValueError(
                f"phase {shown(index)} of schedule {self.name!r}: it has phases 0 to "
                f"{len(self) - 1} ({', '.join(names)})"
            )
        return index

    @cached_property
    def distinct(self) -> tuple[Phase, ...]:
        """The phases to replay: each frozen, and those that recur only once.

        By these agents are evaluated. A phase that moves is played at its middle, so that whatever
        rests there, or moves through it, is replayed as the same one; see :attr:`told` for phases
        that are the same from beginning to end.
        """
        seen: list[Params] = []
        phases = []
        for index in range(len(self)):
            phase = self.frozen(index)
            if phase.params not in seen:
                seen.append(phase.params)
                phases.append(phase)
        return tuple(phases)

    def replayed_as(self, index: int) -> int:
        """Return the index of the distinct phase that stands for a phase that may recur."""
        params = self.frozen(index).params
        return next(phase.index for phase in self.distinct if phase.params == params)

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Which of the phases in :attr:`told` each phase is, counted from 0.

        A phase comes back only as it was from its beginning to its end. One that moves is none that
        rests at its middle: who has learnt one of them has not learnt the other.
        """
        ways: list[tuple[Params, Params]] = []
        for spec in self.phases:
            if spec.way not in ways:
                ways.append(spec.way)
        return tuple(ways.index(spec.way) for spec in self.phases)

    @cached_property
    def told(self) -> tuple[Phase, ...]:
        """The phases that can be told apart, each frozen, and those that come back only once."""
        return tuple(self.frozen(self.places.index(place)) for place in range(1 + max(self.places)))

    def with_steps(self, steps: int | Sequence[int]) -> "Schedule":
        """Return the same phases with other lengths.

        Args:
            steps: That of all, or a list of that of each phase [lifetime steps].

        Raises:
            ValueError: If a length makes no sense, or the list is not as long as the schedule.
        """
        lengths = steps if isinstance(steps, Sequence) else [steps] * len(self)
        if isinstance(lengths, str) or len(lengths) != len(self):
            raise ValueError(
                f"schedule {self.name!r} has {len(self)} phases, and steps = {shown(steps)} are "
                f"{len(lengths)}: give one length for all, or one for each phase"
            )
        phases = zip(self.phases, lengths, strict=True)
        return replace(self, phases=tuple(replace(spec, steps=each) for spec, each in phases))

    def check(self, tunables: Tunables) -> None:
        """Check every phase against what an environment lets drift.

        Raises:
            ValueError: If a phase sets an unknown parameter, a value out of bounds, or one that
                would not act; or if it moves what takes whole numbers only.
        """
        for spec in self.phases:
            try:
                for params in (spec.params, spec.until or {}):
                    resolve(tunables, params)
                for name, value in (spec.until or {}).items():
                    if tunables[name].integer and value != spec.params[name]:
                        raise ValueError(
                            f"{name} moves from {value_of_parameter(name, spec.params[name])} "
                            f"until {value_of_parameter(name, value)}, and only whole numbers make "
                            "sense: let it change from phase to phase"
                        )
                resolve(tunables, spec.params_at(0.5))  # what acts at both ends may not on the way
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"phase {spec.name!r} of schedule {self.name!r}: {error}"
                ) from error

    def __str__(self) -> str:
        """Lay the schedule out as a table."""
        lines = [("phase", "name", "steps", "from", "to", "parameters")]
        for index, (spec, end) in enumerate(zip(self.phases, self.ends, strict=True)):
            values = [
                f"{name} = {value_of_parameter(name, value)}" for name, value in spec.params.items()
            ]
            if spec.until is not None:
                values = [
                    f"{text} until {value_of_parameter(name, spec.until[name])}"
                    for name, text in zip(spec.params, values, strict=True)
                ]
            lines.append(
                (
                    str(index),
                    spec.name,
                    f"{spec.steps:,}",
                    f"{end - spec.steps:,}",
                    f"{end:,}",
                    ", ".join(values) or "defaults",
                )
            )
        widths = [max(len(line[column]) for line in lines) for column in range(5)]
        body = [
            f"{line[0]:>{widths[0]}}  {line[1]:<{widths[1]}}  "
            + "  ".join(f"{line[column]:>{widths[column]}}" for column in (2, 3, 4))
            + f"  {line[5]}"
            for line in lines
        ]
        head = f"schedule {self.name}, {self.total_steps:,} steps, fingerprint {self.fingerprint}"
        return "\n".join([head, *body])

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits, equal if two schedules are written alike; names do not count.

        If they are equal, so are the parameters at every lifetime step. The reverse does not hold:
        with and without an ``until`` that equals ``params`` it is another one.
        """
        content = [
            [
                spec.steps,
                sorted((name, float(value)) for name, value in spec.params.items()),
                sorted((name, float(value)) for name, value in (spec.until or {}).items()),
            ]
            for spec in self.phases
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule as plain data; :meth:`from_dict` reads it back."""
        phases = []
        for spec in self.phases:
            phase: dict[str, Any] = {
                "name": spec.name,
                "steps": spec.steps,
                "params": dict(spec.params),
            }
            if spec.until is not None:
                phase["until"] = dict(spec.until)
            phases.append(phase)
        return {"format": FORMAT, "name": self.name, "phases": phases}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Schedule":
        """Read a schedule from plain data: what :meth:`to_dict` or ``dataclasses.asdict`` returned.

        Raises:
            ValueError: If the data are not a schedule, or one of a newer format.
        """
        if not isinstance(data, Mapping):
            raise WrongTypeError(f"a schedule is a table, not {shown(data)}")
        data = _in_the_form_of_a_file(data)
        version = data.get("format")
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise ValueError(
                f"a schedule says format = {FORMAT}; this says {shown(version)}, so it is no "
                "schedule"
            )
        if version > FORMAT:
            raise ValueError(
                f"the schedule has format {shown(version)} and this version reads up to {FORMAT}: "
                "update continual-arcade"
            )
        _only(data, {"format", "name", "phases"}, "schedule")
        phases = data.get("phases")
        if not isinstance(phases, (list, tuple)) or not all(
            isinstance(phase, Mapping) for phase in phases
        ):
            raise ValueError(f"phases of a schedule must be a list of tables, not {shown(phases)}")
        specs = []
        for index, phase in enumerate(phases):
            _only(phase, {"name", "steps", "params", "until"}, f"phase {index}")
            if "steps" not in phase:
                raise ValueError(f"phase {index} does not say how many steps it lasts")
            specs.append(PhaseSpec(**{"name": f"phase {index}", **phase}))
        return cls(data.get("name", "unnamed"), tuple(specs))


FORMAT = 1
"""Version of the serialised form."""


def stationary() -> Schedule:
    """Return the schedule in which nothing ever changes."""
    return Schedule("stationary", (PhaseSpec(name="default", steps=1),))


def _in_the_form_of_a_file(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add the format to what ``dataclasses.asdict`` returned; leave all else as it is.

    So Gymnasium writes a schedule that was given to make() into a specification.
    """
    if data.keys() == {"name", "stretches"}:  # as version 0.1.0 called the phases
        return {"format": FORMAT, "name": data["name"], "phases": data["stretches"]}
    phases = data.get("phases") if data.keys() == {"name", "phases"} else None
    fields = {"name", "steps", "params", "until"}  # a file leaves some of them out
    if isinstance(phases, (list, tuple)) and all(
        isinstance(phase, Mapping) and phase.keys() == fields for phase in phases
    ):
        return {"format": FORMAT, **data}
    return data


def _drifts_on(before: PhaseSpec, after: PhaseSpec) -> bool:
    if before.until is None and after.until is None:
        return False
    return before.way[1] == after.way[0]


def _only(data: Mapping[str, Any], known: set[str], what: str) -> None:
    for key in data:
        if key not in known:
            raise ValueError(unknown(f"key of a {what}", key, sorted(known)))
