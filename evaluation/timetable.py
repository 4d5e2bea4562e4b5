"""When an agent is evaluated during training, and how often its state is kept."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from continual_arcade.envs.checks import Count, check_fields
from continual_arcade.envs.schedules import Schedule

SAVE_EVERY = 12_500
"""Interval between the states from which a run can be resumed [lifetime steps]."""
BEFORE = -1
"""Stage of an agent that has not been trained yet."""


class Due(NamedTuple):
    """One scheduled evaluation."""

    step: int
    """Lifetime step."""
    stage: int
    """Index of the phase that the agent is or has just been trained in; ``BEFORE`` if in none."""


@dataclass(frozen=True)
class Timetable:
    """The evaluations of a run: before training, at an interval in each phase, and at its end.

    The greedy skill of a DQN swings several-fold within a few hundred updates, so that one snapshot
    at the end of a phase is mostly noise. There may be several, shortly after one another; the mean
    of so many, the last ones of a phase, then stands for its end.

    Args:
        schedule: The schedule of the run.
        every: Interval, counted from the beginning of each phase [lifetime steps]; 0 for none.
        at_end: Evaluations at the end of each phase.
        spacing: Interval between those [lifetime steps]. Where a phase is too short for all, those
            that would be before its first step are left out.

    Raises:
        ValueError: If a number makes no sense.
    """

    schedule: Schedule
    every: int = 0
    at_end: Count = 1
    spacing: Count = 1_000

    def __post_init__(self) -> None:
        check_fields(self)

    @cached_property
    def due(self) -> tuple[Due, ...]:
        """All evaluations of the run, in order."""
        found = [Due(0, BEFORE)]
        for stage, end in enumerate(self.schedule.ends):
            start = end - self.schedule.phases[stage].steps
            steps = {end - back * self.spacing for back in range(self.at_end)}
            if self.every:
                steps |= set(range(start + self.every, end, self.every))
            found += [Due(step, stage) for step in sorted(steps) if step > start]
        return tuple(found)

    def expected(self, stride: int = 1) -> tuple[Due, ...]:
        """Return the evaluations as they are made where so many steps pass at once.

        Environments that step together may pass a step that was due; one evaluation then counts for
        all that were passed.

        Args:
            stride: Lifetime steps that pass at once, from step 0 on.
        """
        steps = sorted({self._made_at(due.step, stride) for due in self.due})
        return tuple(Due(step, self.last_until(step).stage) for step in steps)

    def is_expected(self, made: Due, stride: int = 1) -> bool:
        """Return whether an evaluation was due, also after the last phase should have ended."""
        due = self.last_until(made.step)
        return due.stage == made.stage and self._made_at(due.step, stride) == made.step

    @staticmethod
    def _made_at(step: int, stride: int) -> int:
        return -(-step // stride) * stride

    def next_after(self, step: int) -> int | None:
        """Return the lifetime step of the first evaluation after a step, or None.

        The last phase never ends: when its steps are over, the interval continues.
        """
        position = bisect_right(self.due, (step, len(self.schedule)))
        if position < len(self.due):
            return self.due[position].step
        return self._later(step, 1)

    def last_until(self, step: int) -> Due:
        """Return the last evaluation that was due at a lifetime step or before.

        Raises:
            ValueError: If the step is negative.
        """
        if step < 0:
            raise ValueError(f"lifetime step {step} is negative; training begins at step 0")
        later = self._later(step, 0)
        if later is not None and later > self.schedule.total_steps:
            return Due(later, len(self.schedule) - 1)
        return self.due[bisect_left(self.due, (step, len(self.schedule))) - 1]

    def stage_of(self, step: int, late: int = 0) -> int:
        """Return the phase that an agent is, or has just been, trained in at a step.

        At the end of a phase it is the one that ended.

        Args:
            step: Lifetime step.
            late: How many steps an evaluation may come after it was due, and still belong to it:
                environments that step together may pass it.

        Returns:
            The index of the phase; ``BEFORE`` before the first step.

        Raises:
            ValueError: If the step is negative.
        """
        due = self.last_until(step)
        if step == 0 or 0 < due.step <= step <= due.step + late:
            return due.stage
        return self.schedule.index_at(step - 1)

    def _later(self, step: int, ahead: int) -> int | None:
        """Return the multiple of the interval in the last phase at a step, or so many later."""
        if not self.every:
            return None
        start = self.schedule.total_steps - self.schedule.phases[-1].steps
        return start + ((step - start) // self.every + ahead) * self.every
