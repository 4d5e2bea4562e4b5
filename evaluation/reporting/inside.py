"""What goes on inside the agents: gradients, plasticity, and what is remembered."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.diagnostics import ALL
from continual_arcade.evaluation.pages.content import (
    AreaChart,
    AreaPanel,
    HeatMap,
    HeatPanel,
    LineChart,
    LinePanel,
    Series,
)
from continual_arcade.evaluation.reporting.curves import bands, interval_arrays
from continual_arcade.evaluation.reporting.judged import Judged, over_runs
from continual_arcade.evaluation.timetable import BEFORE

_QUANTITIES = {
    "dormant_share": "Share of dormant units",
    "effective_rank": "Effective rank of the features",
    "weight_norm": "Norm of the weights",
    "gradient_norm": "Norm of the mean TD gradient, mean over phases",
}
"""What is drawn of the diagnostics over the life, and what it is called."""

_POINTS = 120
"""Points of a curve of the replay memory; logs of runs have their own."""


def interference(judged: Sequence[Judged], schedule: Schedule) -> HeatMap | None:
    """Draw how the gradients of the phases agree, at each evaluation."""
    phases = [phase.index for phase in schedule.distinct]
    due = judged[0].runs[0].protocol.timetable.due
    panels = []
    for one in judged:
        tables = [run.diagnostics for run in one.runs]
        if any(table is None for table in tables):
            continue
        cosines = [
            _by_pair(table[table["quantity"] == "gradient_cosine"], one, phases)
            for table in tables
            if table is not None
        ]
        found = np.array(cosines)
        means = found.mean(axis=0)
        panels.append(HeatPanel(one.label, tuple(means)))
    if not panels:
        return None
    names = judged[0].records[0].labels
    stages = ["before training", *(f"in {name}" for name in judged[0].records[0].stage_labels)]
    last = {panel.label: panel.frames[-1] for panel in panels}
    return HeatMap(
        key="interference",
        title="Gradient alignment of the phases",
        caption="Cosine of the mean TD gradients of two phases, from evaluation transitions, mean "
        "over runs. Blue: a step for one phase helps the other. Orange: it undoes what was learnt "
        "there.",
        alt="At the end of life: "
        + "; ".join(f"{label}: {_cosines_in_words(m, names)}" for label, m in last.items()),
        rows=names,
        columns=names,
        rows_label="phase",
        columns_label="phase",
        value_label="cosine",
        panels=tuple(panels),
        frames=tuple(f"step {one.step:,}, {stages[one.stage - BEFORE]}" for one in due),
        frames_label="evaluation",
        diverging=True,
        limits=(-1.0, 1.0),
        decimals=2,
    )


def _by_pair(table: pd.DataFrame, one: Judged, phases: Sequence[int]) -> np.ndarray:
    """Lay cosines out as ``(evaluations, phases, phases)``; NaN where there is none."""
    record = one.records[0]
    keys = table[["lifetime_step", "trained_phase", "phase", "other_phase"]]
    values = dict(zip(map(tuple, keys.to_numpy().tolist()), table["value"], strict=True))
    late = int(one.runs[0].config["settings"].get("num_envs", 1))
    steps = sorted(set(table["lifetime_step"]))
    laid = np.full((len(record.steps), len(phases), len(phases)), np.nan)
    for row, (due, stage) in enumerate(one.runs[0].protocol.timetable.due):
        at = next((step for step in steps if due <= step <= due + late), None)
        for i, phase in enumerate(phases):
            for j, other in enumerate(phases):
                laid[row, i, j] = values.get((at, stage, phase, other), np.nan)
    return laid


def _cosines_in_words(matrix: np.ndarray, names: Sequence[str]) -> str:
    pairs = [
        (matrix[i, j], f"{names[i]} and {names[j]}")
        for i in range(len(names))
        for j in range(i)
        if not np.isnan(matrix[i, j])
    ]
    if not pairs:
        return "no pair of phases"
    low, high = min(pairs), max(pairs)
    return f"least alike {low[1]} ({low[0]:+.2f}), most {high[1]} ({high[0]:+.2f})"


def plasticity(judged: Sequence[Judged], schedule: Schedule) -> tuple[LineChart, ...]:
    """Draw what is measured of the networks over the life, a chart for each quantity."""
    charts = []
    for quantity, title in _QUANTITIES.items():
        lines = []
        for one in judged:
            tables = [run.diagnostics for run in one.runs]
            curves = [_over_life(table, quantity) for table in tables if table is not None]
            if len(curves) < len(tables) or not all(len(curve) for curve in curves):
                continue
            grid = sorted(set.intersection(*(set(curve.index) for curve in curves)))
            found = over_runs(np.array([curve.loc[grid] for curve in curves], np.float64))
            lines.append(Series(one.label, np.array(grid, float), *interval_arrays(found)))
        if lines:
            charts.append(
                LineChart(
                    key=quantity.replace("_", "-"),
                    title=title,
                    caption="Mean over runs and its 95 % interval.",
                    alt=f"{title} over the life; at its end "
                    + "; ".join(f"{line.label}: {line.y[-1]:.3g}" for line in lines),
                    x_label="lifetime step",
                    y_label="",
                    panels=(LinePanel("", tuple(lines), bands(schedule)),),
                )
            )
    return tuple(charts)


def _over_life(table: pd.DataFrame, quantity: str) -> "pd.Series[float]":
    """Return a quantity by lifetime step: over all phases together, or else their mean."""
    found = table[table["quantity"] == quantity]
    together = found[found["phase"] == ALL]
    chosen = together if len(together) else found
    return chosen.groupby("lifetime_step")["value"].mean()


def memory(judged: Sequence[Judged], schedule: Schedule) -> tuple[AreaChart, ...]:
    """Draw which phases the transitions come from that are stored, and that are learnt from."""
    charts = []
    for kind, title in (("stored", "What is remembered"), ("drawn", "What is learnt from")):
        panels = []
        for one in judged:
            shares = [_shares(run.progress, kind, schedule) for run in one.runs]
            known = [share for share in shares if share is not None]
            if len(known) < len(shares):
                continue
            mean = np.mean(known, axis=0)
            layers = tuple(
                (name, mean[stage]) for stage, name in enumerate(one.records[0].stage_labels)
            )
            panels.append(AreaPanel(one.label, _grid(schedule), layers, bands(schedule)))
        if panels:
            charts.append(
                AreaChart(
                    key=f"replay-{kind}",
                    title=title,
                    caption="Share of each phase in the replay memory, mean over runs."
                    if kind == "stored"
                    else "Share of each phase in the batches since the line of the log before, "
                    "mean over runs.",
                    alt=f"Share of each phase, {kind}, over the life. At the end: "
                    + "; ".join(
                        f"{panel.label}: "
                        + ", ".join(f"{name} {layer[-1]:.0%}" for name, layer in panel.layers)
                        for panel in panels
                    ),
                    x_label="lifetime step",
                    y_label="share",
                    panels=tuple(panels),
                )
            )
    return tuple(charts)


def _grid(schedule: Schedule) -> np.ndarray:
    return np.linspace(0.0, schedule.total_steps, _POINTS)


def _shares(log: pd.DataFrame | None, kind: str, schedule: Schedule) -> np.ndarray | None:
    """Lay shares out as ``(phases of training, points)``; None if the run did not log them."""
    names = [f"replay/{kind}_phase_{stage}" for stage in range(len(schedule))]
    if log is None or not set(names) & set(log.columns):
        return None
    known = log.reindex(columns=names).fillna(0.0)
    known = known[known.sum(axis=1) > 0]
    steps = log.loc[known.index, "time/total_timesteps"]
    shares = known.div(known.sum(axis=1), axis=0)
    # The last line of the log holds until the next one.
    rows = np.searchsorted(steps.to_numpy(), _grid(schedule), side="right") - 1
    laid: np.ndarray = shares.to_numpy()[np.maximum(rows, 0)].T
    return laid
