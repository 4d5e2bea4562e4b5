"""What the table of one run says: a score for each evaluation, phase played and episode."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.policies import Network
from continual_arcade.evaluation.table import of_network, params_hash
from continual_arcade.evaluation.timetable import BEFORE, Due, Timetable

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Value = Literal["score", "return"]
Exposure = Literal["first", "last"]


@dataclass(frozen=True)
class Record:
    """The evaluations of one run, as arrays.

    A phase that recurs has one column. Whatever was not measured is NaN, and so is every mean
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
        stride: int = 1,
        at_end: int = 1,
        episodes: int | None = None,
        network: Network | None = None,
    ) -> "Record":
        """Read the tidy table of one run.

        Args:
            table: Rows of one run, in any order.
            schedule: Its schedule.
            value: Which column counts.
            timetable: Which evaluations there should be: one that is not there is then NaN, instead
                of being unknown, and others are refused. Its ``at_end`` holds.
            stride: Lifetime steps that pass at once in training, and so over what is due.
            at_end: How many of the last evaluations of a phase stand for its end, where there is no
                timetable.
            episodes: How many each evaluation should have in each phase; as many as the fullest one
                if not given.
            network: Which episodes count: those that were played by the ``average`` of the weights,
                or by the ``last`` ones; the average if not given and there is one.

        Raises:
            ValueError: If the table does not hold exactly one run, holds an episode twice, a step
                that is no whole number or an infinite value, or was made with another schedule or
                timetable.
        """
        if table["run"].nunique() != 1:
            raise ValueError(f"a record is that of one run; the table holds {_runs(table)}")
        table = of_network(table, network)
        if timetable is not None:
            at_end = timetable.at_end
        if at_end < 1:
            raise ValueError(f"at_end = {at_end} must be at least 1")
        _check_counts(table)
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
        if np.isinf(values).any():
            raise ValueError(f"the table holds a {value} that is infinite")
        record = cls(schedule, values, found[0], found[1], at_end)
        return record if timetable is None else record._as_due(timetable, stride)

    def _as_due(self, timetable: Timetable, stride: int) -> "Record":
        """Check that all evaluations were due, and add those that are not there."""
        there = [Due(*of) for of in zip(self.steps.tolist(), self.stages.tolist(), strict=True)]
        for made in there:
            if not timetable.is_expected(made, stride):
                raise ValueError(
                    f"the table holds an evaluation at step {made.step:,} of an agent trained in "
                    f"phase {made.stage}, which was not due: the next one before was at step "
                    f"{timetable.last_until(made.step).step:,}"
                )
        missing = [due for due in timetable.expected(stride) if due not in there]
        if not missing:
            return self
        steps = np.concatenate([self.steps, [due.step for due in missing]])
        stages = np.concatenate([self.stages, [due.stage for due in missing]])
        nothing = np.full((len(missing), *self.values.shape[1:]), np.nan)
        order = np.lexsort((stages, steps))
        values = np.concatenate([self.values, nothing])
        return replace(self, values=values[order], steps=steps[order], stages=stages[order])

    @cached_property
    def phases(self) -> tuple[str, ...]:
        """Name of each column."""
        return tuple(phase.name for phase in self.schedule.distinct)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Name of each column, numbered where two phases share one."""
        return _numbered(self.phases)

    @cached_property
    def stage_labels(self) -> tuple[str, ...]:
        """Name of each phase of the schedule; one that recurs is numbered: ``gap 90 (2)``."""
        return _numbered(self.labels[column] for column in self.column_of)

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
    def by_stage(self) -> tuple[Ints, ...]:
        """The evaluations before training, and those of each phase of the schedule, ascending."""
        return tuple(
            np.nonzero(self.stages == stage)[0] for stage in (BEFORE, *range(len(self.schedule)))
        )

    @cached_property
    def ends(self) -> tuple[Ints, ...]:
        """For each row of the matrix, the evaluations whose mean it is.

        Row 0 is the one before training, row i stands for the end of the i-th phase. Empty if the
        run did not reach it.
        """
        return tuple(
            of_stage[-self.at_end :]
            if len(of_stage) and self.steps[of_stage[-1]] >= end
            else of_stage[:0]
            for of_stage, end in zip(self.by_stage, (0, *self.schedule.ends), strict=True)
        )

    def during(self, stage: int) -> Ints:
        """Return the evaluations from the beginning of a phase of the schedule to its end.

        The first one is the last before the phase: nothing was learnt in between. Empty if either
        end was not evaluated.
        """
        before, end = self.ends[stage], self.ends[stage + 1]
        if not len(before) or not len(end):
            return end[:0]
        return np.concatenate([before[-1:], self.by_stage[stage + 1]])

    @cached_property
    def matrix(self) -> Floats:
        """R[i, j]: mean in phase j at the end of the i-th phase of training.

        Shape ``(1 + phases of training, phases played)``; row 0 is before training.
        """
        nothing = np.full(self.means.shape[1], np.nan)
        return np.array([self.means[rows].mean(0) if len(rows) else nothing for rows in self.ends])

    @cached_property
    def time_means(self) -> Floats:
        """Mean over the steps of each phase of the schedule, by the trapezoid rule.

        Shape ``(phases of training, phases played)``. Grids of evaluations need not be equal; NaN
        where either end of the phase, or an evaluation between them, is missing.
        """
        return np.array(
            [self.mean_over_steps(self.during(stage)) for stage in range(len(self.schedule))]
        )

    def mean_over_steps(self, rows: Ints) -> Floats:
        """Return the means over lifetime steps, between evaluations along a straight line.

        Args:
            rows: Evaluations, ascending.

        Returns:
            For each column, shape ``(phases played,)``; NaN where one of them is missing, and if
            they span no step.
        """
        steps, values = self.steps[rows], self.means[rows]
        if not len(rows) or steps[-1] == steps[0]:
            return np.full(values.shape[1], np.nan)
        weights = np.diff(steps) / (2.0 * (steps[-1] - steps[0]))
        means: Floats = weights @ (values[1:] + values[:-1])
        return means

    def learnt(self, exposure: Exposure = "first") -> tuple[int, ...]:
        """Return for each column the row of the matrix after its phase was trained.

        Args:
            exposure: Which exposure counts where a phase recurs.
        """
        stages = range(len(self.column_of))
        rows = {self.column_of[stage]: stage + 1 for stage in stages}  # the last one stays
        if exposure == "first":
            rows = {self.column_of[stage]: stage + 1 for stage in reversed(stages)}
        return tuple(rows[column] for column in range(len(rows)))

    def why_missing(self, rows: npt.ArrayLike, columns: npt.ArrayLike) -> str:
        """Say why means are NaN.

        Args:
            rows: Evaluations that were wanted; if there are none, the run did not reach them.
            columns: Columns that were wanted.

        Returns:
            A sentence about the first NaN among them; empty if there is none.
        """
        at = np.atleast_1d(np.asarray(rows, np.int64))
        of = np.atleast_1d(np.asarray(columns, np.int64))
        reached, total = self._reached, self.schedule.total_steps
        if not len(at):
            return f"the run reached step {reached:,} of {total:,}"
        episodes = self.values.shape[2]
        there = (~np.isnan(self.values[np.ix_(at, of)])).sum(axis=2)
        for i, j in np.argwhere(there < episodes)[:1]:
            step, name = int(self.steps[at[i]]), self.labels[of[j]]
            if step > reached:
                return f"the run reached step {reached:,} of {total:,}"
            if not there[i, j]:
                return f"{name} was not evaluated at step {step:,}"
            return f"{name} has {there[i, j]} of {episodes} episodes at step {step:,}"
        return ""

    def why_no_end(self, row: int) -> str:
        """Say why a row of the matrix stands for no evaluation; empty if it does for some.

        Args:
            row: Row of the matrix; -1 is the last.
        """
        row %= len(self.ends)
        if len(self.ends[row]):
            return ""
        if row == 0:
            return "there is no evaluation before training"
        if self._reached < self.schedule.ends[row - 1]:
            return self.why_missing([], [])
        return f"there is no evaluation at the end of {self.stage_labels[row - 1]}"

    @cached_property
    def _reached(self) -> int:
        """Lifetime step of the last evaluation that holds anything."""
        measured = self.steps[~np.isnan(self.values).all(axis=(1, 2))]
        return int(measured.max()) if len(measured) else 0

    def rescaled(self, zero: Floats, one: Floats) -> "Record":
        """Return the record on another scale: ``zero`` becomes 0 and ``one`` becomes 1.

        Args:
            zero: For each column, shape ``(phases played,)``; NaN makes the column NaN.
            one: Likewise.
        """
        scale = (one - zero)[:, None]
        return replace(self, values=(self.values - zero[:, None]) / scale)


def _numbered(names: Iterable[str]) -> tuple[str, ...]:
    """Number those that occur more than once: ``a``, ``a (2)``."""
    found: list[str] = []
    for name in names:
        count, unique = 1, name
        while unique in found:
            count += 1
            unique = f"{name} ({count})"
        found.append(unique)
    return tuple(found)


def _runs(table: pd.DataFrame) -> int:
    return int(table["run"].nunique())


def _check_counts(table: pd.DataFrame) -> None:
    """Check that what counts something is a whole number, and no step is negative."""
    for name in ("lifetime_step", "trained_phase", "eval_phase", "episode"):
        values = table[name].to_numpy(np.float64)
        if (broken := values[values != np.trunc(values)]).size:
            raise ValueError(f"the table holds {name} {broken[0]}, which is no whole number")
    if (first := int(table["lifetime_step"].min())) < 0:
        raise ValueError(f"the table holds lifetime step {first}; training begins at step 0")


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
