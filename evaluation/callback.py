"""Evaluations on the way through a life, as a Stable-Baselines3 callback."""

from collections.abc import Callable

from stable_baselines3.common.callbacks import BaseCallback

from continual_arcade.evaluation.evaluator import Evaluator, Played
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.table import append, rows
from continual_arcade.evaluation.timetable import Due, Timetable


class EvaluationCallback(BaseCallback):
    """Plays all phases before training, at phase ends and at an interval.

    Each evaluation goes to the table of the run at once, and the agent that was judged is kept as a
    checkpoint, so that the table can be computed again.

    Args:
        evaluator: Who plays.
        timetable: When.
        folder: Where the table and the checkpoints go.
        seed: Seed of the run.
        report: Called after each evaluation with the lifetime step and what came of it.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        timetable: Timetable,
        folder: RunFolder,
        *,
        seed: int,
        report: Callable[[int, Played], None] = lambda step, played: None,
    ) -> None:
        super().__init__()
        self.evaluator = evaluator
        self.timetable = timetable
        self.folder = folder
        self.seed = seed
        self.report = report
        self.seconds = 0.0
        """What evaluation has cost so far [s]."""
        self.steps = 0
        """Evaluation steps so far."""
        self._last: Due | None = None

    def _on_training_start(self) -> None:
        self._last = self.timetable.last_until(self.num_timesteps)
        if not self.num_timesteps:  # else training goes on, and what lies behind was evaluated
            self._evaluate(self._last.stage)

    def _on_step(self) -> bool:
        due = self.timetable.last_until(self.num_timesteps)
        if due != self._last:
            self._last = due
            self._evaluate(due.stage)
        return True

    def next_due(self, num_timesteps: int) -> int | None:
        """Return the lifetime step at which there is something to evaluate next."""
        return self.timetable.next_after(num_timesteps)

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
