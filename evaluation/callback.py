"""Evaluations on the way through a life, as a Stable-Baselines3 callback."""

from bisect import bisect_right
from collections.abc import Callable

from stable_baselines3.common.callbacks import BaseCallback

from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.evaluator import Evaluator, Played
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.table import BEFORE, append, rows


class EvaluationCallback(BaseCallback):
    """Plays all phases before training, at each phase end and at an interval.

    Each evaluation goes to the table of the run at once, and the agent that was judged is kept as a
    checkpoint, so that the table can be computed again.

    Args:
        evaluator: Who plays.
        schedule: The life of the agent.
        folder: Where the table and the checkpoints go.
        seed: Seed of the run.
        every: Interval between evaluations [lifetime steps]; 0 for phase ends only.
        report: Called after each evaluation with the lifetime step and what came of it.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        schedule: Schedule,
        folder: RunFolder,
        *,
        seed: int,
        every: int = 0,
        report: Callable[[int, Played], None] = lambda step, played: None,
    ) -> None:
        super().__init__()
        if every < 0:
            raise ValueError(f"every = {every} must not be negative; 0 is for phase ends only")
        self.evaluator = evaluator
        self.schedule = schedule
        self.folder = folder
        self.seed = seed
        self.every = every
        self.report = report
        self.seconds = 0.0
        """What evaluation has cost so far [s]."""
        self.steps = 0
        """Evaluation steps so far."""
        self._ended = 0
        self._intervals = 0

    def _on_training_start(self) -> None:
        self._look_at_the_clock()
        if not self.num_timesteps:  # else training goes on, and what lies behind was evaluated
            self._evaluate(BEFORE)

    def _on_step(self) -> bool:
        ended, intervals = self._ended, self._intervals
        self._look_at_the_clock()
        if self._ended > ended:
            self._evaluate(self._ended - 1)
        elif self._intervals > intervals:
            self._evaluate(min(self._ended, len(self.schedule) - 1))
        return True

    def next_due(self, num_timesteps: int) -> int | None:
        """Return the lifetime step at which there is something to evaluate next."""
        index = bisect_right(self.schedule.ends, num_timesteps)
        due = list(self.schedule.ends[index : index + 1])
        if self.every:
            due.append((num_timesteps // self.every + 1) * self.every)
        return min(due, default=None)

    def _look_at_the_clock(self) -> None:
        self._ended = bisect_right(self.schedule.ends, self.num_timesteps)
        self._intervals = self.num_timesteps // self.every if self.every else 0

    def _evaluate(self, trained_phase: int) -> None:
        played = self.evaluator.play(self.model)
        step = self.num_timesteps
        self.folder.save_checkpoint(step, self.model.save)
        append(
            self.folder.table,
            rows(
                self.evaluator,
                played,
                run=self.folder.name,
                seed=self.seed,
                step=step,
                trained_phase=trained_phase,
            ),
        )
        self.seconds += played.seconds
        self.steps += played.steps
        self.report(step, played)
