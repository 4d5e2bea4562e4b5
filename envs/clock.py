"""The lifetime clock: where in its schedule an environment stands."""

import sys
from collections.abc import Mapping
from typing import Any

from continual_arcade.envs.checks import Whole, check_values, flag
from continual_arcade.envs.schedules import LONGEST, Phase, Schedule
from continual_arcade.envs.tunables import Params, Tunables, resolve

NEVER = sys.maxsize
"""A lifetime step that no agent reaches."""


class LifetimeClock:
    """Counts the transitions of a run and determines the phase.

    The clock survives ``reset()``: a run has one lifetime of many episodes. It rewinds
    only when an environment is seeded, so that a seeded environment is deterministic. What holds is
    read when an episode begins, and nothing changes in the middle of one.

    Args:
        schedule: The schedule.
        tunables: What the environment lets drift.
        phase: Index or name of the phase to stay in for ever; None for all of them in turn.
        pace: Transitions by which the clock will move at a time.

    Raises:
        ValueError: If the schedule does not suit the environment, has no such phase, or has one
            that the clock would jump over.
    """

    def __init__(
        self,
        schedule: Schedule,
        tunables: Tunables,
        phase: int | str | None = None,
        pace: int = 1,
    ) -> None:
        schedule.check(tunables)
        for spec in schedule.phases if len(schedule) > 1 and phase is None else ():
            if spec.steps < pace:
                raise ValueError(
                    f"phase {spec.name!r} lasts {spec.steps} steps, but {pace} environments "
                    f"take {pace} steps at a time: use fewer environments or longer phases"
                )
        self.schedule = schedule
        self.tunables = tunables
        self.frozen: Phase | None = None if phase is None else schedule.frozen(phase)
        self.go_to(0)

    def go_to(self, step: int) -> None:
        """Move the clock to any lifetime step, as if it had counted up to it."""
        self.step = step
        self.phase_changed = False
        self._enter()

    def begin_episode(self) -> None:
        """Read what holds from now on."""
        self.phase_changed = False
        if self.step >= self._holds_until:
            before = self.phase.index
            self._enter()
            self.phase_changed = self.phase.index != before

    def params_of_next(self, rewinds: bool) -> Params:
        """Return the parameters that an episode would have that began now; nothing moves.

        Args:
            rewinds: Whether the clock would rewind first.
        """
        phase = self.frozen or self.schedule.at(0 if rewinds else self.step)
        return resolve(self.tunables, phase.params)

    def quiet_steps(self, pace: int) -> int:
        """Return how many times the clock can advance before anything changes.

        Args:
            pace: Transitions by which it moves at a time.
        """
        next_news = min(self.boundary, self._holds_until)
        return max(0, (next_news - 1 - self.step) // pace)

    def advance(self, pace: int, times: int) -> None:
        """Advance a number of times, as if an episode began each time."""
        while times:
            self.step += pace
            self.begin_episode()
            times -= 1
            if times and (quiet := min(times, self.quiet_steps(pace))):
                self.step += pace * quiet
                self.phase_changed = False
                times -= quiet

    def state_dict(self) -> dict[str, Any]:
        """Return where the clock stands, and the schedule it follows."""
        return {
            "fingerprint": self.schedule.fingerprint,
            "frozen": None if self.frozen is None else self.frozen.index,
            "step": self.step,
            "read_at": self._read_at,
            "phase_changed": self.phase_changed,
        }

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Make sure that a clock can resume from a state.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If the other clock followed another schedule, or the state is damaged.
        """
        own = self.state_dict()
        if lacking := own.keys() - state.keys():
            raise ValueError(f"the state is damaged: its clock lacks {', '.join(sorted(lacking))}")
        for name, about in (("fingerprint", "schedule"), ("frozen", "phase")):
            if state[name] != own[name]:
                raise ValueError(
                    f"the state belongs to a run with {about} {state[name]}, this one has "
                    f"{about} {own[name]}: use the same schedule and phase"
                )
        check_values(state, {"step": Whole(0, LONGEST), "read_at": Whole(), "phase_changed": flag})
        if state["read_at"] > state["step"]:
            raise ValueError(
                f"the state is damaged: at step {state['step']} it holds what was read at step "
                f"{state['read_at']}"
            )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from where another clock stood.

        Args:
            state: What :meth:`state_dict` returned.

        Raises:
            ValueError: If the other clock followed another schedule, or the state is damaged; then
                nothing has moved.
        """
        self.check_state(state)
        self.go_to(state["read_at"])
        self.step = state["step"]
        self.phase_changed = state["phase_changed"]

    def info(self, params: Params) -> dict[str, Any]:
        """Return what an environment reports of its phase in ``info``.

        Args:
            params: The parameters of the episode.
        """
        return {
            "phase": self.phase.index,
            "params": params.copy(),
            "lifetime_step": self.step,
            "phase_changed": self.phase_changed,
        }

    def _enter(self) -> None:
        self._read_at = self.step
        self.phase = self.frozen or self.schedule.at(self.step)
        self.params: Params = resolve(self.tunables, self.phase.params)
        boundary = None if self.frozen else self.schedule.next_boundary(self.step)
        self.boundary = NEVER if boundary is None else boundary
        """The lifetime step at which every episode is truncated."""
        self._holds_until = self._end_of_params()

    def _end_of_params(self) -> int:
        index = self.phase.index
        if self.frozen is not None:
            return NEVER
        if self.schedule.phases[index].until is not None:
            return self.step
        return NEVER if index == len(self.schedule) - 1 else self.schedule.ends[index]
