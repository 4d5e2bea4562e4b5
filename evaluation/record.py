"""What the table of one run says: a score for each evaluation, phase played and episode."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.table import params_hash
from continual_arcade.evaluation.timetable import BEFORE, Due, Timetable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Value = Literal["score", "return"]
Exposure = Literal["first", "last"]


@dataclass(frozen=True)
class Record:
    """The evaluations of one run, as arrays.

    A phase that comes back has one column. Whatever was not measured is NaN, and so is every mean
    that it is part of: nothing is averaged over what happens to be there.
    """

    schedule: Schedule
    values: Floats
    """Shape ``(evaluations, phases played, episodes)``."""
    steps: Ints
    """Lifetime step of each evaluation, ascending, shape ``(evaluations,)``."""
    stages: Ints
    """Index of the phase trained in at each evaluation, ``BEFORE`` if none, same shape."""
    at_end: int = 1
    """How many of the last evaluations of a phase stand for its end."""

    @classmethod
    def from_table(
        cls,
        table: pd.DataFrame,
        schedule: Schedule,
        *,
        value: Value = "score",
        timetable: Timetable | None = None,
        late: int = 0,
        at_end: int = 1,
        episodes: int | None = None,
    ) -> "Record":
        """Read the tidy table of one run.

        Args:
            table: Rows of one run, in any order.
            schedule: Its schedule.
            value: Which column counts.
            timetable: Which evaluations there should be: one that is not there is then NaN, instead
                of being unknown. Its ``at_end`` holds.
            late: How many steps an evaluation may come after it was due: environments that step
                together may pass it.
            at_end: How many of the last evaluations of a phase stand for its end, where there is no
                timetable.
            episodes: How many each evaluation should have in each phase; as many as the fullest one
                if not given.

        Raises:
            ValueError: If the table does not hold exactly one run, holds an episode twice, or was
                made with another schedule.
        """
        if table["run"].nunique() != 1:
            raise ValueError(f"a record is that of one run; the table holds {_runs(table)}")
        if timetable is not None:
            at_end = timetable.at_end
        if at_end < 1:
            raise ValueError(f"at_end = {at_end} must be at least 1")
        _check_phases(table, schedule)
        keys = np.stack([table["lifetime_step"].to_numpy(), table["trained_phase"].to_numpy()])
        found, rows = np.unique(keys.astype(np.int64), axis=1, return_inverse=True)
        position = {phase.index: column for column, phase in enumerate(schedule.distinct)}
        columns = table["eval_phase"].map(position).to_numpy(np.int64)
        episode = table["episode"].to_numpy(np.int64)
        count = int(episode.max()) + 1 if episodes is None else episodes
        if episode.min() < 0 or episode.max() >= count:
            wrong = episode.min() if episode.min() < 0 else episode.max()
            raise ValueError(f"the table holds an episode {wrong}; they are 0 to {count - 1}")
        shape = (found.shape[1], len(position), count)
        cells = np.ravel_multi_index((rows.reshape(-1), columns, episode), shape)
        if len(np.unique(cells)) < len(cells):
            raise ValueError("the table holds an episode of the same evaluation twice")
        values = np.full(shape, np.nan)
        values.reshape(-1)[cells] = table[value].to_numpy(np.float64)
        record = cls(schedule, values, found[0], found[1], at_end)
        return record if timetable is None else record._with_missing(timetable.due, late)

    def _with_missing(self, due: tuple[Due, ...], late: int) -> "Record":
        """Add evaluations that were due and are not there."""
        there: dict[int, list[int]] = {}
        for step, stage in zip(self.steps.tolist(), self.stages.tolist(), strict=True):
            there.setdefault(stage, []).append(step)
        missing = [
            one
            for one in due
            if not any(one.step <= step <= one.step + late for step in there.get(one.stage, ()))
        ]
        if not missing:
            return self
        steps = np.concatenate([self.steps, [one.step for one in missing]])
        stages = np.concatenate([self.stages, [one.stage for one in missing]])
        nothing = np.full((len(missing), *self.values.shape[1:]), np.nan)
        order = np.lexsort((stages, steps))
        values = np.concatenate([self.values, nothing])
        return replace(self, values=values[order], steps=steps[order], stages=stages[order])

    @cached_property
    def phases(self) -> tuple[str, ...]:
        """Name of each column."""
        return tuple(phase.name for phase in self.schedule.distinct)

    @cached_property
    def column_of(self) -> tuple[int, ...]:
        """For each phase of the schedule, the column in which it is played."""
        indices = [phase.index for phase in self.schedule.distinct]
        return tuple(
            indices.index(self.schedule.replayed_as(stage)) for stage in range(len(self.schedule))
        )

    @cached_property
    def means(self) -> Floats:
        """Mean over the episodes, shape ``(evaluations, phases played)``; NaN if one is missing."""
        means: Floats = self.values.mean(axis=2)
        return means

    @cached_property
    def ends(self) -> tuple[Ints, ...]:
        """For each row of the matrix, the evaluations whose mean it is.

        Row 0 is the one before training, row i stands for the end of the i-th phase. Empty if the
        run did not come there.
        """
        rows = []
        for stage in (BEFORE, *range(len(self.schedule))):
            (of_stage,) = np.nonzero(self.stages == stage)
            end = 0 if stage == BEFORE else self.schedule.ends[stage]
            if not len(of_stage) or self.steps[of_stage[-1]] < end:
                of_stage = of_stage[:0]
            rows.append(of_stage[-self.at_end :])
        return tuple(rows)

    @cached_property
    def matrix(self) -> Floats:
        """R[i, j]: mean in phase j at the end of the i-th phase of training.

        Shape ``(1 + phases of training, phases played)``; row 0 is before training.
        """
        nothing = np.full(self.means.shape[1], np.nan)
        return np.array([self.means[rows].mean(0) if len(rows) else nothing for rows in self.ends])

    def learnt(self, exposure: Exposure = "first") -> tuple[int, ...]:
        """Return for each column the row of the matrix after its phase was trained.

        Args:
            exposure: Which time counts where a phase comes back.
        """
        stages = range(len(self.column_of))
        rows = {self.column_of[stage]: stage + 1 for stage in stages}  # the last one stays
        if exposure == "first":
            rows = {self.column_of[stage]: stage + 1 for stage in reversed(stages)}
        return tuple(rows[column] for column in range(len(rows)))

    def why_missing(self, rows: npt.ArrayLike, columns: npt.ArrayLike) -> str:
        """Say why means are NaN.

        Args:
            rows: Evaluations that were wanted; if there are none, the run did not come there.
            columns: Columns that were wanted.

        Returns:
            A sentence about the first NaN among them; empty if there is none.
        """
        wanted = np.atleast_1d(np.asarray(rows, np.int64))
        measured = self.steps[~np.isnan(self.values).all(axis=(1, 2))]
        come = int(measured.max()) if len(measured) else 0
        total = self.schedule.total_steps
        if not len(wanted):
            return f"the run came to step {come:,} of {total:,}"
        for row in wanted:
            for column in np.atleast_1d(np.asarray(columns, np.int64)):
                there = int((~np.isnan(self.values[row, column])).sum())
                step, name = int(self.steps[row]), self.phases[column]
                if there == self.values.shape[2]:
                    continue
                if step > come:
                    return f"the run came to step {come:,} of {total:,}"
                if not there:
                    return f"{name} was not evaluated at step {step:,}"
                return f"{name} has {there} of {self.values.shape[2]} episodes at step {step:,}"
        return ""

    def rescaled(self, zero: Floats, one: Floats) -> "Record":
        """Return the record on another scale: ``zero`` becomes 0 and ``one`` becomes 1.

        Args:
            zero: For each column, shape ``(phases played,)``; NaN makes the column NaN.
            one: Likewise.
        """
        scale = (one - zero)[:, None]
        return replace(self, values=(self.values - zero[:, None]) / scale)


def _runs(table: pd.DataFrame) -> int:
    return int(table["run"].nunique())


def _check_phases(table: pd.DataFrame, schedule: Schedule) -> None:
    """Check that what was played are the phases of the schedule."""
    hashes: Mapping[int, str] = {p.index: params_hash(p.params) for p in schedule.distinct}
    pairs = table[["eval_phase", "params_hash"]].drop_duplicates()
    for phase, played in pairs.itertuples(index=False):
        if phase not in hashes:
            raise ValueError(
                f"the table holds phase {phase}, which schedule {schedule.name!r} does not replay: "
                f"it replays {', '.join(map(str, hashes))}"
            )
        if hashes[phase] != played:
            raise ValueError(
                f"phase {phase} was played with parameters {played}, schedule {schedule.name!r} "
                f"has {hashes[phase]} there: the table was made with another schedule"
            )
    stages = table["trained_phase"].to_numpy()
    if stages.min() < BEFORE or stages.max() >= len(schedule):
        wrong = stages.min() if stages.min() < BEFORE else stages.max()
        raise ValueError(
            f"the table holds an agent trained in phase {wrong}; schedule {schedule.name!r} has "
            f"phases 0 to {len(schedule) - 1}"
        )
