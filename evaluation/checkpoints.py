"""The checkpoints of a run by name: the first, the last, just learnt, at the end of a phase."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from continual_arcade.envs.schedules import Phase, Schedule
from continual_arcade.evaluation.run_folder import RunFolder


@dataclass(frozen=True)
class Checkpoints:
    """The agent of a run at several lifetime steps.

    Args:
        paths: The checkpoints by lifetime step, in order.
        schedule: The schedule of the run.
        late: How many steps a checkpoint may come after it was due: environments that step
            together may pass it.
    """

    folder: RunFolder
    paths: dict[int, Path]
    schedule: Schedule
    late: int = 1

    @classmethod
    def of(cls, folder: RunFolder) -> "Checkpoints":
        """Look at a run.

        Raises:
            FileNotFoundError: If there is no checkpoint.
            ValueError: If the configuration is damaged.
        """
        config = folder.read_config()
        late = int(config["settings"].get("num_envs", 1))
        return cls(folder, folder.checkpoints(), Schedule.from_dict(config["schedule"]), late)

    def find(self, name: str, played: Phase) -> int:
        """Return the lifetime step of a checkpoint.

        Args:
            name: ``first`` (step 0), ``last``, ``learnt`` (when the phase that is played had been
                trained for the first time), ``end:K`` (when phase K had been trained), or a
                lifetime step.
            played: The phase that is played.

        Raises:
            ValueError: If there is no such checkpoint; the message says which ones there are.
        """
        named = self._named(played)
        if name in named:
            return named[name]
        if name.isdecimal() and int(name) in self.paths:
            return int(name)
        raise ValueError(
            f"{self.folder.path} has no checkpoint {name!r}: it has {', '.join(named)} and those "
            f"of steps {', '.join(map(str, self.paths))}"
        )

    def moment(self, step: int, played: Phase) -> str:
        """Describe a lifetime step in the training of the agent.

        Args:
            step: The lifetime step.
            played: The phase that is played.
        """
        named = self._named(played)
        if step == 0:
            return "before training"
        if step == named.get("learnt"):
            return "just learnt"
        if step >= self.schedule.total_steps:
            return "at the end"
        for index, stretch in enumerate(self.schedule.phases):
            if step == self._ends.get(index):
                return f"after {stretch.name}"
        return f"while learning {self.schedule.at(step).name}"

    def _named(self, played: Phase) -> dict[str, int]:
        """Return all checkpoints that have a name, by name."""
        named = {"first": 0} if 0 in self.paths else {}
        named |= {f"end:{index}": step for index, step in self._ends.items()}
        phases = [self.schedule.frozen(index) for index in range(len(self.schedule))]
        learnt = next((phase.index for phase in phases if phase.params == played.params), None)
        if learnt in self._ends:
            named["learnt"] = self._ends[learnt]
        return {**named, "last": max(self.paths)}

    @cached_property
    def _ends(self) -> dict[int, int]:
        """The checkpoint at the end of each phase that has one."""
        found = {
            index: next((step for step in self.paths if end <= step < end + self.late), None)
            for index, end in enumerate(self.schedule.ends)
        }
        return {index: step for index, step in found.items() if step is not None}
