"""Which phase of its life an agent is in, as its environments tell."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from continual_arcade.envs.schedules import Schedule


class Life:
    """Follows the phases of a number of environments.

    A phase has ended when no sub-environment is in it any more; phases are told apart by
    ``info["phase"]``, which only grows.

    Args:
        num_envs: Number of sub-environments.
    """

    def __init__(self, num_envs: int) -> None:
        self.schedule: Schedule | None = None
        self.has_boundaries = False
        self.description = "this environment"
        self.phase: int | None = None
        """The phase that the parts know of; None before the life begins."""
        self.entered = 0
        """Lifetime step at which it began."""
        self._phases = np.zeros(num_envs, np.int64)

    def look_at(self, env: VecEnv) -> None:
        """Find out what the schedule of the environments is."""
        try:
            clock = env.get_attr("clock")[0]
        except AttributeError:
            self.schedule = None
            self.description = "this environment, which has no schedule,"
            self.has_boundaries = False
            return
        self.schedule = clock.schedule
        self.description = f"schedule {clock.schedule.name!r}"
        self.has_boundaries = clock.frozen is None and clock.schedule.next_boundary(0) is not None

    def begin(self, env: VecEnv) -> None:
        """Begin, with environments that were just reset."""
        self.phase = None
        self._phases = np.array([info.get("phase", 0) for info in env.reset_infos], np.int64)

    def episodes_ended(self, dones: npt.NDArray[Any], env: VecEnv) -> None:
        """Take note of the phases of the episodes that follow."""
        for i in np.flatnonzero(dones):
            self._phases[i] = env.reset_infos[i].get("phase", 0)

    def news(self) -> Iterator[tuple[int | None, int]]:
        """Return the phases that ended and began since: (the old one or None, the new one)."""
        now = int(self._phases.min())
        if now != self.phase:
            yield self.phase, now

    def enter(self, phase: int, step: int) -> None:
        """Take note that the parts know of a phase.

        Args:
            phase: Its index.
            step: Lifetime step now.
        """
        self.phase, self.entered = phase, step

    def progress_of_phase(self, step: int) -> float:
        """Return how much of the phase is over, from 0 to 1.

        Args:
            step: Lifetime step now.

        Raises:
            ValueError: If there is no schedule to tell how long it is.
        """
        if self.schedule is None:
            raise ValueError(
                "exploration per phase needs a schedule, which the environment does not have: "
                "choose epsilon 'global' or 'constant'"
            )
        phase = 0 if self.phase is None else self.phase
        return min(1.0, (step - self.entered) / self.schedule.stretches[phase].steps)

    def state_dict(self) -> dict[str, Any]:
        """Return where life stands."""
        return {"phase": self.phase, "entered": self.entered, "phases": self._phases}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.phase, self.entered = state["phase"], state["entered"]
        self._phases = np.array(state["phases"], np.int64)
