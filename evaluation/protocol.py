"""What must be the same for the numbers of two runs to be comparable."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

from continual_arcade.envs.checks import AtOnce, Count, check_fields
from continual_arcade.envs.context import HIDDEN, ContextKind, check_context
from continual_arcade.envs.games import OTHER, make_game
from continual_arcade.envs.other_games import ids_of
from continual_arcade.envs.registration import IDS
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.evaluator import (
    EPISODES,
    FIRST_SEED,
    MAX_STEPS,
    Evaluator,
    PhaseEvaluator,
)
from continual_arcade.evaluation.gym_evaluator import OthersEvaluator
from continual_arcade.evaluation.timetable import Timetable

EVERY = 10_000
"""Interval between the evaluations of a phase [lifetime steps]."""
AT_END = 3
"""Evaluations that stand for the end of a phase: one would be mostly noise."""
SPACING = 1_000
"""Interval between those [lifetime steps]: many updates, and a small part of a phase."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How a training run is evaluated.

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


def check_spacing(settings: EvaluationSettings, prefix: str = "") -> None:
    """Check that nobody asks for an interval between evaluations of which there is one.

    Args:
        settings: What is asked for.
        prefix: What stands before the names of settings where they are asked for.

    Raises:
        ValueError: If somebody does.
    """
    if settings.at_end == 1 and settings.spacing != SPACING:
        raise ValueError(
            f"{prefix}spacing = {settings.spacing} counts only with {prefix}at_end above 1, and "
            f"{prefix}at_end = 1: leave it out, or have more evaluations at the end of a phase"
        )


def env_id(game: str, options: Mapping[str, Any]) -> str:
    """Return what Gymnasium calls a game; of other people's games all that are played.

    Raises:
        ValueError: If there is no such game.
    """
    return ids_of(options) if game == OTHER else IDS[game]


@dataclass(frozen=True)
class Protocol:
    """What a number depends on besides the agent: environment, schedule and evaluation."""

    game: str
    env: str
    """Gymnasium id, with the version of the rules."""
    schedule: Schedule
    evaluation: EvaluationSettings
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the game that are not as usual, such as Catcher's ``lives``."""
    context: ContextKind = HIDDEN
    """What of its phase an observation shows."""

    def __post_init__(self) -> None:
        check_context(self.context)

    @classmethod
    def of(cls, evaluator: PhaseEvaluator[Any], timetable: Timetable) -> "Protocol":
        """Return the protocol of runs that are evaluated in this way.

        Raises:
            ValueError: If the evaluator plays another schedule than the timetable is for.
        """
        schedule = timetable.schedule
        if evaluator.schedule.fingerprint != schedule.fingerprint:
            raise ValueError(
                f"the evaluator plays schedule {evaluator.schedule.name!r} "
                f"({evaluator.schedule.fingerprint}), the timetable is for {schedule.name!r} "
                f"({schedule.fingerprint}): give both the same"
            )
        settings = EvaluationSettings(
            every=timetable.every,
            at_end=timetable.at_end,
            spacing=timetable.spacing,
            episodes=evaluator.episodes,
            max_steps=evaluator.max_steps,
            first_seed=evaluator.seeds[0],
        )
        options, context = evaluator.options, evaluator.context
        env = evaluator.name
        if env in (OTHER, *IDS):
            env = env_id(env, options)
        return cls(evaluator.name, env, schedule, settings, options, context)

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
        settings = EvaluationSettings(
            **{field.name: config["evaluation"][field.name] for field in fields(EvaluationSettings)}
        )
        options = config.get("options", {})
        if not isinstance(options, dict):
            raise ValueError(f"options = {options!r} of a run must be a table")
        context = check_context(config.get("context", HIDDEN))
        return cls(config["game"], config["env"], schedule, settings, options, context)

    def to_config(self) -> dict[str, Any]:
        """Return plain data, as the configuration of a run has it."""
        config = {
            "game": self.game,
            "env": self.env,
            "schedule": self.schedule.to_dict(),
            "fingerprint": self.schedule.fingerprint,
            "evaluation": asdict(self.evaluation),
        }
        if self.options:
            config["options"] = dict(self.options)
        if self.context != HIDDEN:
            config["context"] = self.context
        return config

    @cached_property
    def timetable(self) -> Timetable:
        """When the agent is evaluated."""
        settings = self.evaluation
        return Timetable(self.schedule, settings.every, settings.at_end, settings.spacing)

    def make_evaluator(self) -> PhaseEvaluator[Any]:
        """Make what plays the evaluations.

        Raises:
            ValueError: If the game cannot be evaluated so.
        """
        settings = self.evaluation
        played: dict[str, Any] = {
            "episodes": settings.episodes,
            "max_steps": settings.max_steps,
            "first_seed": settings.first_seed,
            "context": self.context,
        }
        if self.game == OTHER:
            return OthersEvaluator(self.options, self.schedule, **played)
        if settings.episodes > 1 and make_game(self.game, **self.options).rules.labelled:
            raise ValueError(
                f"episodes = {settings.episodes} of an evaluation must be 1 in {self.game}: each "
                "would be the same exam (train --eval-episodes 1; in a study, episodes = 1 of "
                "[evaluation])"
            )
        return Evaluator(self.game, self.schedule, **played, **self.options)

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """What two comparable runs have in common; names of phases do not count."""
        return tuple(counts for counts, _ in self._terms.values())

    def differences(self, other: "Protocol") -> list[str]:
        """List the differences from another protocol; empty if numbers are comparable."""
        return [
            f"{name}: {ours} and {other._terms[name][1]}"
            for name, (counts, ours) in self._terms.items()
            if counts != other._terms[name][0]
        ]

    def distinction(self, others: Iterable["Protocol"]) -> str:
        """Return what distinguishes it from other protocols; empty if they are comparable."""
        theirs = [other._terms for other in others]
        return ", ".join(
            f"{name} {text}"
            for name, (counts, text) in self._terms.items()
            if any(terms[name][0] != counts for terms in theirs)
        )

    @cached_property
    def _terms(self) -> dict[str, tuple[Any, str]]:
        """All that must be equal, by name: what counts, and how it is written."""
        schedule = self.schedule
        options = json.dumps(self.options, sort_keys=True, default=str)
        return {
            "environment": (self.env, self.env),
            "options": (options, options),
            "context": (self.context, self.context),
            "schedule": (schedule.fingerprint, f"{schedule.name} ({schedule.fingerprint})"),
            **{
                f"evaluation.{name}": (value, f"{value:,}")
                for name, value in asdict(self.evaluation).items()
            },
        }
