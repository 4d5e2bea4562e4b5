"""Which phase of its schedule an agent is in, as its environments report it."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from continual_arcade.agents.task_inference.vec_env import InferringVecEnv
from continual_arcade.envs.clock import LifetimeClock
from continual_arcade.envs.schedules import Schedule


class PhaseTracker:
    """Follows the phases of a number of environments.

    A phase has ended when no sub-environment is in it any more; phases are told apart by
    ``info["phase"]``, which only grows. Phases that drift into one another, so that there is no
    boundary between them, are one to the parts. Where the agent infers its task, phases are the
    segments that it infers, and there is no schedule.

    Args:
        num_envs: Number of sub-environments.
    """

    def __init__(self, num_envs: int) -> None:
        self.schedule: Schedule | None = None
        self.has_boundaries = False
        self.has_phases = False
        """Whether there is a schedule of several phases."""
        self.drifts = False
        """Whether there is a schedule in which a phase drifts into the next one."""
        self.follows = False
        """Whether there is a schedule that the environments follow, and do not stay in a phase."""
        self.description = "this environment"
        self.phase: int | None = None
        """The phase that the parts know of; None before training begins."""
        self.step = 0
        """Where the clock of the environments stood last [lifetime steps]."""
        self._phases = np.zeros(num_envs, np.int64)
        self._infers: InferringVecEnv | None = None

    def look_at(self, env: VecEnv) -> None:
        """Find out what the schedule of the environments is."""
        self._infers = None
        if isinstance(env.unwrapped, InferringVecEnv):
            self._infers = env.unwrapped
            self.schedule = None
            self.description = "this environment, whose tasks are inferred,"
            self.has_boundaries = self.has_phases = True
            self.follows = self.drifts = False
            return
        # Others have a clock, too: that of Gymnasium's CartPole is pygame's, or None.
        clock = env.get_attr("clock")[0] if env.has_attr("clock") else None
        if not isinstance(clock, LifetimeClock):
            self.schedule = None
            self.description = "this environment, which has no schedule,"
            self.has_boundaries = self.has_phases = self.follows = self.drifts = False
            return
        self.schedule = clock.schedule
        self.description = f"schedule {clock.schedule.name!r}"
        self.follows = clock.frozen is None
        self.has_boundaries = self.follows and bool(clock.schedule.boundaries)
        self.has_phases = self.follows and len(clock.schedule) > 1
        self.drifts = 1 + len(clock.schedule.boundaries) < len(clock.schedule)

    def begin(self, env: VecEnv) -> None:
        """Begin, or resume, with environments that were just reset.

        Raises:
            ValueError: If they do not report their phase, although their schedule has several.
        """
        infos = env.unwrapped.reset_infos
        if self.has_phases and not all("phase" in info for info in infos):
            raise ValueError(
                f"{self.description} has several phases, but the info of a reset does not say "
                "which one it is: leave out the wrapper that drops info['phase']"
            )
        self._phases = np.array([info.get("phase", 0) for info in infos], np.int64)
        # Who does not tell the step is where it was.
        step = min((info.get("lifetime_step", self.step) for info in infos), default=0)
        if self.phase is not None and (step < self.step or self._phases.min() < self.phase):
            self.phase = None  # another run: clocks do not run backwards
        self.step = step

    def stepped(self, infos: list[dict[str, Any]], dones: npt.NDArray[Any], env: VecEnv) -> None:
        """Take note of a step, and of the phases of the episodes that follow.

        Args:
            infos: What each sub-environment said of the step.
            dones: Where an episode ended, shape ``(num_envs,)``.
            env: The environments.
        """
        self.step = min([info.get("lifetime_step", 0) for info in infos])
        for i, done in enumerate(dones):
            if done:
                self._phases[i] = env.unwrapped.reset_infos[i].get("phase", 0)

    @property
    def has_news(self) -> bool:
        """Whether a phase has begun since the last call of :meth:`news`."""
        return min(self._phases.tolist()) != self.phase

    def news(self) -> tuple[int | None, int] | None:
        """Return what ended and began since the last call, None if nothing.

        Returns:
            The phase that ended, the last of those that drifted into one another; None at the
            beginning of training. And the phase that began.
        """
        before, now = self.phase, int(self._phases.min())
        self.phase = now
        if before is None:
            return None, now
        if now == before:
            return None
        ends_with = self.ends_with(before)
        return None if self.ends_with(now) == ends_with else (ends_with, now)

    def ends_with(self, phase: int) -> int:
        """Return the last of the phases that a phase drifts into; itself, if into none."""
        if self.schedule is None:
            return phase
        begins = self.schedule.ends[phase] - self.schedule.phases[phase].steps
        boundary = self.schedule.next_boundary(begins)
        if boundary is None:
            return len(self.schedule) - 1
        return self.schedule.ends.index(boundary)

    def place_of(self, phase: int) -> int:
        """Return which of the phases that are told apart, or of the inferred tasks, one is."""
        if self._infers is not None:
            return self._infers.inference.task_of(phase)
        return phase if self.schedule is None else self.schedule.places[phase]

    @property
    def followed(self) -> Schedule | None:
        """The schedule that the environments follow, None if there is none, or they stay."""
        return self.schedule if self.follows else None

    @property
    def current(self) -> set[int]:
        """The phases of the running episodes, and that which has begun by the clock."""
        followed = self.followed
        now = () if followed is None else (followed.index_at(self.step),)
        return {*self._phases.tolist(), *now}

    @property
    def until_recurrence(self) -> float:
        """How long it takes until a phase begins that was there before [lifetime steps].

        Inf if none does, or nobody knows.
        """
        if self.followed is None:
            return math.inf
        places, begins = self.followed.places, [0, *self.followed.ends[:-1]]
        coming = [
            step - self.step
            for phase, step in enumerate(begins)
            if step > self.step and places[phase] in places[:phase]
        ]
        return min(coming, default=math.inf)

    def catch_up(self, step: int, phases: npt.NDArray[np.int64]) -> None:
        """Take note of steps that were not told one by one.

        Args:
            step: Where the clock of the environments stands [lifetime steps].
            phases: Phases of the running episodes, shape ``(num_envs,)``.
        """
        self.step = step
        self._phases[:] = phases

    @property
    def phases(self) -> npt.NDArray[np.int64]:
        """Phases of the running episodes, a copy, shape ``(num_envs,)``."""
        return self._phases.copy()

    def progress_of_phase(self, ahead: int = 0) -> float:
        """Return how much of the phase is over by the clock, from 0 to 1.

        Args:
            ahead: Look so much further ahead [lifetime steps].

        Raises:
            ValueError: If there is no schedule that is followed.
        """
        followed = self.followed
        if followed is None:
            stays = "" if self.schedule is None else " stays in one phase for ever"
            raise ValueError(
                f"exploration per phase needs phases that end, but {self.description}"
                f"{stays or ' has none'}: choose epsilon 'global' or 'constant'"
            )
        step = self.step + ahead
        index = followed.index_at(step)
        left = followed.ends[index] - step
        return min(1.0, 1.0 - left / followed.phases[index].steps)

    def state_dict(self) -> dict[str, Any]:
        """Return the phase and the clock."""
        return {"phase": self.phase, "step": self.step, "phases": self._phases}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from there."""
        self.phase, self.step = state["phase"], state["step"]
        self._phases = np.array(state["phases"], np.int64)
