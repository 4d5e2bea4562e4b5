"""Learning curves per phase, the forgetting matrix, final scores, and adaptation times."""

from collections.abc import Sequence
from itertools import repeat

import numpy as np

from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.metrics import adaptation_times
from continual_arcade.evaluation.statistics import Estimate, kaplan_meier
from continual_arcade.reports.method_results import MethodResults, change, over_runs
from continual_arcade.reports.pages.page_model import (
    Band,
    BarChart,
    Bars,
    HeatMap,
    HeatPanel,
    LineChart,
    LinePanel,
    Series,
)
from continual_arcade.reports.text import (
    PLAYED,
    TRAINED,
    at_end,
    counted,
    spoken,
    without,
)


def bands(schedule: Schedule, highlighted: int | None = None) -> tuple[Band, ...]:
    """Return the phases of a schedule as bands of the x axis.

    Args:
        schedule: The schedule.
        highlighted: Phase whose exposures are to be seen; None for none.
    """
    starts = (0, *schedule.ends[:-1])
    return tuple(
        Band(start, end, stretch.name, schedule.replayed_as(index) == highlighted)
        for index, (start, end, stretch) in enumerate(
            zip(starts, schedule.ends, schedule.phases, strict=True)
        )
    )


def interval_arrays(estimates: Sequence[Estimate]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values and the ends of their intervals."""
    return (
        np.array([estimate.value for estimate in estimates]),
        np.array([estimate.low for estimate in estimates]),
        np.array([estimate.high for estimate in estimates]),
    )


def _interval(estimate: Estimate) -> str:
    if np.isnan(estimate.value):
        return estimate.reason or "not measured"
    said = counted(estimate.runs, "run") if estimate.at_end is None else at_end(estimate.at_end)
    return f"{estimate:.1f} ({said})"


def learning_curves(results: Sequence[MethodResults], schedule: Schedule, points: str) -> LineChart:
    """Draw the score in each phase during training."""
    means = [np.array([record.means for record in one.records]) for one in results]
    panels = []
    names = results[0].records[0].labels
    for column, (phase, name) in enumerate(zip(schedule.distinct, names, strict=True)):
        lines = []
        for one, of_runs in zip(results, means, strict=True):
            found = over_runs(of_runs[:, :, column], repeat(one.ranges[column], of_runs.shape[1]))
            steps = one.records[0].steps.astype(np.float64)
            hover = tuple(map(_interval, found))
            lines.append(Series(one.label, steps, *interval_arrays(found), hover=hover))
        panels.append(LinePanel(name, tuple(lines), bands(schedule, phase.index)))
    return LineChart(
        key="lifetimes",
        title="Score in each phase during training",
        caption="Each panel is one phase, played at every evaluation; it is shaded while that "
        "phase is trained. Lines are means over runs, shades their 95 % confidence intervals.",
        alt=f"Mean {points} in each of {len(panels)} phases over {schedule.total_steps:,} lifetime "
        f"steps, a line for each of {len(results)} methods. The table below has the numbers.",
        x_label="lifetime step",
        y_label=points,
        panels=tuple(panels),
    )


def matrix_chart(results: Sequence[MethodResults], schedule: Schedule, points: str) -> HeatMap:
    """Draw the forgetting matrix of each method."""
    record = results[0].records[0]
    panels = []
    for one in results:
        stages, phases = one.matrices.shape[1:]
        found = [over_runs(one.matrices[:, stage, :], one.ranges) for stage in range(stages)]
        # Shape (3, stages, phases).
        values, low, high = np.swapaxes([interval_arrays(of_stage) for of_stage in found], 0, 1)
        hover = tuple(
            tuple(_interval(found[stage][phase]) for stage in range(stages))
            for phase in range(phases)
        )
        panels.append(HeatPanel(one.label, (values.T,), (hover,), (low.T,), (high.T,)))
    count = results[0].runs[0].protocol.evaluation.at_end
    several = f"the mean of the last {count} evaluations of a phase, or of as many as it has"
    of_cell = several if count > 1 else "the last evaluation of a phase"
    return HeatMap(
        key="matrix",
        title="Forgetting matrix",
        caption=f"Mean {points}. Framed: when just learnt. Along a row, a drop to the right of the "
        f"frame is forgetting. A cell is {of_cell}.",
        alt="; ".join(f"{one.label}: {_matrix_in_words(one)}" for one in results),
        rows=record.labels,
        columns=("before", *record.stage_labels),
        rows_label=PLAYED,
        columns_label=TRAINED,
        value_label=points,
        panels=tuple(panels),
        marked=frozenset((column, row) for column, row in enumerate(record.learnt())),
    )


def _matrix_in_words(one: MethodResults) -> str:
    record = one.records[0]
    means = one.matrices.mean(axis=0)
    return ", ".join(
        f"{name} {spoken(means[row, column], '.1f')} when just learnt and "
        f"{spoken(means[-1, column], '.1f')} at the end"
        for column, (name, row) in enumerate(zip(record.labels, record.learnt(), strict=True))
    )


def ends(results: Sequence[MethodResults], points: str) -> BarChart:
    """Draw the score of each phase at the end, over all of them, and in the worst."""
    record = results[0].records[0]
    bars = []
    for one in results:
        last = one.matrices[:, -1, :]
        columns = np.column_stack([last, last.mean(axis=1), last.min(axis=1)])
        ranges = (*one.ranges, one.possible("acc@gem"), one.possible("worst-phase@end"))
        found = over_runs(columns, ranges)
        bars.append(Bars(one.label, *interval_arrays(found), hover=tuple(map(_interval, found))))
    return BarChart(
        key="ends",
        title="Score at the end of training",
        caption="Mean over runs and its 95 % confidence interval. Worst phase: the phase that each "
        "run plays worst.",
        alt="; ".join(
            f"{bar.label}: all phases {spoken(bar.values[-2], '.1f')}, "
            f"worst {spoken(bar.values[-1], '.1f')}"
            for bar in bars
        ),
        categories=(*record.labels, "all phases", "worst phase"),
        y_label=points,
        bars=tuple(bars),
    )


def changes(results: Sequence[MethodResults], points: str) -> BarChart:
    """Draw the change of each phase since it was just learnt."""
    record = results[0].records[0]
    last = len(record.ends) - 1
    followed = [column for column, row in enumerate(record.learnt()) if row < last]
    bars = []
    for one in results:
        found = [
            change(
                one.matrices[:, -1, column],
                one.matrices[:, record.learnt()[column], column],
                one.ranges[column],
            )
            for column in followed
        ]
        bars.append(Bars(one.label, *interval_arrays(found), hover=tuple(map(_interval, found))))
    return BarChart(
        key="changes",
        title="Change since just learnt",
        caption="Score at the end minus the score when the phase was first learnt; negative is "
        "forgetting. Phases that are not followed by another cannot be forgotten and are left out.",
        alt="; ".join(
            f"{bar.label}: "
            + ", ".join(
                f"{record.labels[column]} {spoken(value, '+.1f')}"
                for column, value in zip(followed, bar.values, strict=True)
            )
            for bar in bars
        ),
        categories=tuple(record.labels[column] for column in followed),
        y_label=points,
        bars=tuple(bars),
    )


def adaptation(results: Sequence[MethodResults], schedule: Schedule) -> LineChart | None:
    """Draw how many runs have adapted to each phase, over the steps since it began."""
    scale = results[0].context.references
    if scale is None:
        return None
    of_methods = [[adaptation_times(record, scale) for record in one.records] for one in results]
    panels = []
    missing: dict[str, str] = {}
    for stage, name in enumerate(results[0].records[0].stage_labels):
        lines = []
        for one, found in zip(results, of_methods, strict=True):
            times = np.array([times[stage] for times, _ in found])
            censored = np.array([censored[stage] for _, censored in found])
            if np.isnan(times).any():
                found_out = one.results[int(np.isnan(times).argmax())]["adaptation-time"]
                missing.setdefault(one.label, f"{found_out.reason} ({name})")
                continue
            curve = kaplan_meier(times, censored)
            lines.append(
                Series(
                    one.label,
                    np.concatenate([[0.0], curve.times, [float(schedule.phases[stage].steps)]]),
                    1 - np.concatenate([[1.0], curve.share, curve.share[-1:]]),
                )
            )
        panels.append(LinePanel(name, tuple(lines)))
    if not any(panel.series for panel in panels):
        return None
    return LineChart(
        key="adaptation",
        title="Share of runs that have adapted",
        caption="A run has adapted at the first evaluation at which the phase is played at four "
        "fifths of the way from random play to the oracle. Runs that had not by the end of the "
        "phase are censored (Kaplan-Meier estimate). The time resolution is that of evaluations."
        + without(missing),
        alt="Share of runs that have adapted to each phase by the steps since it began.",
        x_label="steps since the phase began",
        y_label="share of runs",
        panels=tuple(panels),
        steps=True,
    )
