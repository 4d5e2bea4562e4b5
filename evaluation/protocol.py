"""What must be the same for the numbers of two runs to be comparable."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from continual_arcade.envs.checks import AtOnce, Count, check_fields
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.evaluator import EPISODES, FIRST_SEED, MAX_STEPS, Evaluator
from continual_arcade.evaluation.timetable import Timetable

EVERY = 10_000
"""Interval between the evaluations of a phase [lifetime steps]."""
AT_END = 3
"""Evaluations that stand for the end of a phase: one would be mostly noise."""
SPACING = 1_000
"""Interval between those [lifetime steps]: many updates, and a small part of a phase."""


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How a life is evaluated.

    Args:
        every: Interval between evaluations, counted from the beginning of each phase [lifetime
            steps]; 0 for phase ends only.
        at_end: Evaluations whose mean stands for the end of a phase.
        spacing: Interval between those [lifetime steps].
        episodes: Episodes in each phase.
        max_steps: Limit of an episode [steps].
        first_seed: Seed of the first episode; each one has the next.

    Raises:
        ValueError: If a value is no whole number, or out of range; the message names it.
    """

    every: int = EVERY
    at_end: Count = AT_END
    spacing: Count = SPACING
    episodes: AtOnce = EPISODES
    max_steps: Count = MAX_STEPS
    first_seed: int = FIRST_SEED

    def __post_init__(self) -> None:
        check_fields(self, "evaluation")


@dataclass(frozen=True)
class Protocol:
    """What a number depends on beside the agent: environment, life and evaluation."""

    game: str
    env: str
    """Gymnasium id, with the version of the rules."""
    schedule: Schedule
    judging: Judging

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Protocol":
        """Read the protocol from the configuration of a run.

        Raises:
            ValueError: If it makes no sense.
        """
        try:
            schedule = Schedule.from_dict(config["schedule"])
        except TypeError as error:
            raise ValueError(f"the schedule of a run is damaged: {error}") from error
        if schedule.fingerprint != config["fingerprint"]:
            raise ValueError(
                f"the schedule has fingerprint {schedule.fingerprint}, the run was made with "
                f"{config['fingerprint']}: its configuration was changed"
            )
        judging = Judging(
            **{field.name: config["evaluation"][field.name] for field in fields(Judging)}
        )
        return cls(config["game"], config["env"], schedule, judging)

    @cached_property
    def timetable(self) -> Timetable:
        """When the life is evaluated."""
        judging = self.judging
        return Timetable(self.schedule, judging.every, judging.at_end, judging.spacing)

    def make_evaluator(self) -> Evaluator:
        """Make what plays the evaluations."""
        judging = self.judging
        return Evaluator(
            self.game,
            self.schedule,
            episodes=judging.episodes,
            max_steps=judging.max_steps,
            first_seed=judging.first_seed,
        )

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """What two comparable runs have in common; names of phases do not count."""
        return (self.env, self.schedule.fingerprint, *asdict(self.judging).values())

    def differences(self, other: "Protocol") -> list[str]:
        """Say in what another protocol differs; an empty list if numbers are comparable."""
        found = []
        if self.env != other.env:
            found.append(f"environment: {self.env} and {other.env}")
        if self.schedule.fingerprint != other.schedule.fingerprint:
            one, two = self.schedule, other.schedule
            found.append(
                f"schedule: {one.name} ({one.fingerprint}) and {two.name} ({two.fingerprint})"
            )
        theirs = asdict(other.judging)
        for name, value in asdict(self.judging).items():
            if value != theirs[name]:
                found.append(f"evaluation.{name}: {value:,} and {theirs[name]:,}")
        return found
