"""Inside the agents: gradient interference, plasticity, and the content of replay."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt
import pandas as pd

from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.bounded import Range
from continual_arcade.evaluation.network_diagnostics import ALL, OVERLAP
from continual_arcade.evaluation.record import Record
from continual_arcade.evaluation.timetable import BEFORE
from continual_arcade.reports.curves import bands, interval_arrays
from continual_arcade.reports.method_results import MethodResults, over_runs
from continual_arcade.reports.pages.page_model import (
    AreaChart,
    AreaPanel,
    HeatMap,
    HeatPanel,
    LineChart,
    LinePanel,
    Series,
)
from continual_arcade.reports.text import counted, spoken, without

_NOT_NEGATIVE = Range(0.0, np.inf)

_QUANTITIES = {
    "dormant_share": ("Share of dormant units", Range(0.0, 1.0)),
    "effective_rank": ("Effective rank of the features", _NOT_NEGATIVE),
    "weight_norm": ("Norm of the weights", _NOT_NEGATIVE),
    "gradient_norm": ("Norm of the mean TD gradient, mean over phases", _NOT_NEGATIVE),
}
"""The diagnostics that are drawn, their titles, and their ranges."""

_POINTS = 240
"""Points of a curve of the replay memory; logs of runs have their own."""


def interference(results: Sequence[MethodResults], schedule: Schedule) -> HeatMap | None:
    """Draw how the gradients of the phases agree, at each evaluation."""
    phases = [phase.index for phase in schedule.distinct]
    record = results[0].records[0]
    panels = []
    missing: dict[str, str] = {}
    for one in results:
        tables, reason = _diagnostics(one)
        cosines = [_by_pair(table, one.records[0], phases) for table in tables]
        if reason:
            missing[one.label] = reason
        elif one.records[0].steps.tolist() != record.steps.tolist():
            missing[one.label] = f"it was evaluated at other steps than {results[0].label}"
        else:
            panels.append(HeatPanel(one.label, tuple(np.mean(cosines, axis=0))))
    if not panels:
        return None
    names = record.labels
    stages = ["before training", *(f"in {name}" for name in record.stage_labels)]
    moments = zip(record.steps.tolist(), record.stages.tolist(), strict=True)
    last = {panel.label: panel.frames[-1] for panel in panels}
    return HeatMap(
        key="interference",
        title="Gradient alignment between phases",
        caption="Cosine similarity of the mean TD gradients of two phases on evaluation "
        "transitions, mean over runs. Blue: a step for one phase also lowers the loss of the other "
        "(transfer). Orange: it raises it (interference)." + without(missing),
        alt="At the end of training: "
        + "; ".join(f"{label}: {_cosines_in_words(m, names)}" for label, m in last.items()),
        rows=names,
        columns=names,
        rows_label="phase",
        columns_label="phase",
        value_label="cosine",
        panels=tuple(panels),
        frames=tuple(f"step {step:,}, {stages[stage - BEFORE]}" for step, stage in moments),
        frames_label="evaluation",
        diverging=True,
        limits=(-1.0, 1.0),
        decimals=2,
    )


def overlap(results: Sequence[MethodResults], schedule: Schedule) -> HeatMap | None:
    """Draw how far the phases use the same parameters at the end, layer by layer."""
    phases = [phase.index for phase in schedule.distinct]
    panels: list[HeatPanel] = []
    missing: dict[str, str] = {}
    for one in results:
        tables, reason = _diagnostics(one)
        found = [_overlaps(table, phases) for table in tables]
        layers = {len(matrices) for matrices in found}
        if reason:
            missing[one.label] = reason
        elif 0 in layers:
            missing[one.label] = "a run did not measure it"
        elif len({*layers, *(len(panel.frames) for panel in panels)}) > 1:
            missing[one.label] = f"its networks have other layers than those of {results[0].label}"
        else:
            panels.append(HeatPanel(one.label, tuple(np.mean(found, axis=0))))
    if not panels:
        return None
    names = results[0].records[0].labels
    pairs = np.tril_indices(len(phases), -1)
    return HeatMap(
        key="fisher-overlap",
        title="Overlap of Fisher informations at the end",
        caption="How far two phases use the same parameters of a layer, at the last evaluation, "
        "mean over runs: 1 for the same in the same proportions, 0 for others." + without(missing),
        alt="Mean over pairs of phases, from the first layer to the last: "
        + "; ".join(
            f"{panel.label}: "
            + ", ".join(spoken(float(frame[pairs].mean()), ".2f") for frame in panel.frames)
            for panel in panels
        ),
        rows=names,
        columns=names,
        rows_label="phase",
        columns_label="phase",
        value_label="overlap",
        panels=tuple(panels),
        frames=tuple(f"layer {k + 1}" for k in range(len(panels[0].frames))),
        frames_label="layer",
        limits=(0.0, 1.0),
        decimals=2,
    )


def _overlaps(table: pd.DataFrame, phases: Sequence[int]) -> list[np.ndarray]:
    """Lay the overlaps of the last evaluation out as one matrix for each layer."""
    matrices: list[np.ndarray] = []
    last = table[table["lifetime_step"] == table["lifetime_step"].max()]
    while len(of_layer := last[last["quantity"] == f"{OVERLAP}{len(matrices)}"]):
        keys = zip(of_layer["phase"], of_layer["other_phase"], strict=True)
        values = dict(zip(map(frozenset, keys), of_layer["value"], strict=True))
        matrices.append(
            np.array(
                [
                    [1.0 if i == j else values.get(frozenset((i, j)), np.nan) for j in phases]
                    for i in phases
                ]
            )
        )
    return matrices


def cosines_at_ends(one: MethodResults) -> npt.NDArray[np.float64]:
    """Return how the gradients of the phases agree before training and at each phase end.

    As in the forgetting matrix, a phase end is the mean of its last evaluations.

    Args:
        one: Runs of a method, of which all wrote their diagnostics.

    Returns:
        Cosines, shape ``(runs, 1 + phases of training, phases, phases)``; NaN where one is
        undefined.

    Raises:
        ValueError: If a run has no diagnostics.
    """
    tables, reason = _diagnostics(one)
    if reason:
        raise ValueError(f"{one.label}: {reason}")
    phases = [phase.index for phase in one.runs[0].protocol.schedule.distinct]
    found = []
    for table, record in zip(tables, one.records, strict=True):
        cosines = _by_pair(table, record, phases)
        found.append([cosines[rows].mean(axis=0) for rows in record.ends])
    return np.array(found)


def _diagnostics(one: MethodResults) -> tuple[list[pd.DataFrame], str]:
    """Return the network diagnostics of all runs, or why they are missing."""
    found = [run.diagnostics for run in one.runs]
    known = [table for table in found if table is not None]
    if len(known) < len(found):
        lacking = counted(len(found) - len(known), "run")
        return known, f"{lacking} of {len(found)} wrote no diagnostics.csv"
    return known, ""


def _by_pair(table: pd.DataFrame, record: Record, phases: Sequence[int]) -> np.ndarray:
    """Lay cosines out as ``(evaluations, phases, phases)``; NaN where there is none."""
    cosines = table[table["quantity"] == "gradient_cosine"]
    keys = cosines[["lifetime_step", "trained_phase", "phase", "other_phase"]]
    values = dict(zip(map(tuple, keys.to_numpy().tolist()), cosines["value"], strict=True))
    moments = zip(record.steps.tolist(), record.stages.tolist(), strict=True)
    return np.array(
        [
            [[values.get((*moment, phase, other), np.nan) for other in phases] for phase in phases]
            for moment in moments
        ]
    )


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


def plasticity(results: Sequence[MethodResults], schedule: Schedule) -> tuple[LineChart, ...]:
    """Draw what is measured of the networks during training, a chart for each quantity."""
    charts = []
    for quantity, (title, within) in _QUANTITIES.items():
        lines = []
        missing: dict[str, str] = {}
        for one in results:
            tables, reason = _diagnostics(one)
            curves = [_over_run(table, quantity) for table in tables]
            if reason or not all(len(curve) for curve in curves):
                missing[one.label] = reason or "a run did not measure it"
                continue
            grid = sorted(set.intersection(*(set(curve.index) for curve in curves)))
            values = np.array([curve.loc[grid] for curve in curves], np.float64)
            found = over_runs(values, repeat(within, len(grid)))
            lines.append(Series(one.label, np.array(grid, float), *interval_arrays(found)))
        if lines:
            at_end = "; ".join(f"{line.label}: {spoken(line.y[-1], '.3g')}" for line in lines)
            charts.append(
                LineChart(
                    key=quantity.replace("_", "-"),
                    title=title,
                    caption="Mean over runs and its 95 % confidence interval." + without(missing),
                    alt=f"{title} during training; at the end {at_end}",
                    x_label="lifetime step",
                    y_label="",
                    panels=(LinePanel("", tuple(lines), bands(schedule)),),
                )
            )
    return tuple(charts)


def _over_run(table: pd.DataFrame, quantity: str) -> "pd.Series[float]":
    """Return a quantity by lifetime step: over all phases together, or else their mean."""
    found = table[table["quantity"] == quantity]
    together = found[found["phase"] == ALL]
    chosen = together if len(together) else found
    # What is unknown of one phase is not made up for by the others.
    means = chosen.groupby("lifetime_step")["value"].agg(lambda values: values.mean(skipna=False))
    return means.astype(np.float64)


def memory(results: Sequence[MethodResults], schedule: Schedule) -> tuple[AreaChart, ...]:
    """Draw from which phases the transitions come that are stored, and that are learnt from."""
    charts = []
    for kind, (title, caption) in _MEMORY.items():
        panels = []
        missing: dict[str, str] = {}
        for one in results:
            logs = [_logged(run.progress, kind, schedule) for run in one.runs]
            known = [log for log in logs if log is not None]
            if len(known) < len(logs):
                lacking = counted(len(logs) - len(known), "run")
                missing[one.label] = f"{lacking} of {len(logs)} did not log it"
                continue
            # Only where every run is known: nothing is drawn before a first or after a last line.
            steps = np.linspace(
                max(float(log.steps[0]) for log in known),
                min(float(log.steps[-1]) for log in known),
                _POINTS,
            )
            mean = np.mean([log.at(steps) for log in known], axis=0)
            layers = tuple(zip(one.records[0].stage_labels, mean, strict=True))
            panels.append(AreaPanel(one.label, steps, layers, bands(schedule)))
        if panels:
            charts.append(
                AreaChart(
                    key=f"replay-{kind}",
                    title=title,
                    caption=f"{caption}{without(missing)}",
                    alt=f"{title}. At the last line of the logs: "
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


_MEMORY = {
    "stored": (
        "Content of the replay memory",
        "Share of each phase among the stored transitions, mean over runs, between the first and "
        "the last line of their logs.",
    ),
    "drawn": (
        "Content of the batches",
        "Share of each phase among the sampled transitions between one line of the log and the "
        "next, mean over runs.",
    ),
}
"""Kinds of shares that are logged, with title and caption."""


@dataclass(frozen=True)
class _Logged:
    """Shares of the phases, line by line of a log."""

    steps: npt.NDArray[np.float64]
    """Shape ``(lines,)``."""
    shares: npt.NDArray[np.float64]
    """Shape ``(phases of training, lines)``."""
    backwards: bool
    """Whether a line covers the time before it; else it describes its own moment."""

    def at(self, steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the shares at some steps, shape ``(phases of training, steps)``."""
        if self.backwards:
            return self.shares[:, np.searchsorted(self.steps, steps, side="left")]
        return np.array([np.interp(steps, self.steps, share) for share in self.shares])


def _logged(log: pd.DataFrame | None, kind: str, schedule: Schedule) -> _Logged | None:
    """Return what a run has logged of its replay memory; None if that is nothing."""
    names = [f"replay/{kind}_phase_{stage}" for stage in range(len(schedule))]
    if log is None or not set(names) & set(log.columns):
        return None
    known = log.reindex(columns=names).fillna(0.0)
    known = known[known.sum(axis=1) > 0]
    if known.empty:
        return None
    shares = known.div(known.sum(axis=1), axis=0).to_numpy(np.float64).T
    steps = log.loc[known.index, "time/total_timesteps"].to_numpy(np.float64)
    return _Logged(steps, shares, backwards=kind == "drawn")
