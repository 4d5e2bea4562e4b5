"""What methods take: time, memory, parameters, and what they keep of earlier phases."""

from collections.abc import Sequence
from math import isnan, nan

import numpy as np

from continual_arcade.evaluation.runs import Run
from continual_arcade.reports.method_results import MethodResults
from continual_arcade.reports.pages.page_model import DataTable
from continual_arcade.reports.provenance import whole_costs
from continual_arcade.reports.text import Notes, counted

BASE = "finetune"
"""The method that others are measured beside."""

_HELD = {
    "parameters": ("parameters", 1, ",.0f"),
    "networks [kB]": ("network_bytes", 1e3, ",.0f"),
    "replay [kB]": ("replay_bytes", 1e3, ",.0f"),
    "beside it [kB]": ("method_bytes", 1e3, ",.0f"),
    "earlier observations": ("earlier_observations", 1, ",.0f"),
}
"""Columns of the table: what they show of a footprint, in which unit, and how it is written."""


def resources(results: Sequence[MethodResults]) -> DataTable:
    """Lay out what a run of each method takes, a row for each."""
    notes = Notes()
    times = {one.label: _step_seconds(one) for one in results}
    beside = times.get(BASE, nan)
    rows = []
    for one in results:
        seconds = times[one.label]
        unknown = "not every run has written down its costs"
        no_base = unknown if BASE in times else f"there is no {BASE} beside it"
        cells = [
            notes.number(seconds * 1e6, ".1f", unknown, f"{one.label}, time"),
            notes.number(
                seconds / beside,
                ".2f",
                no_base if isnan(beside) else unknown,
                f"{one.label}, times {BASE}",
            ),
            *(_held(one, column, notes) for column in _HELD),
        ]
        rows.append((one.label, *cells))
    return DataTable(
        key="resources",
        title="What it takes",
        caption="Training time is that of the fastest run, without its evaluations, on the "
        f"machine on which it ran; that of {BASE} is of the same report. Parameters and memory are "
        "the most of any evaluation. Networks: all of them, with the state of the optimiser. "
        "Beside it: what the method keeps. Earlier observations: those of phases before the last "
        "one that are kept as they were seen, in replay and beside it, at the end of training.",
        columns=("method", "training [\N{MICRO SIGN}s a step]", f"times {BASE}", *_HELD),
        rows=tuple(rows),
        labels=tuple(one.label for one in results),
        notes=notes.lines(),
    )


def _step_seconds(one: MethodResults) -> float:
    """Return what training takes for a step [s]: what else a machine has to do only adds to it."""
    found = [whole_costs(run) for run in one.runs]
    known = [spent[1] / spent[0] for spent in found if spent is not None and spent[0]]
    return min(known) if len(known) == len(one.runs) else nan


def _held(one: MethodResults, column: str, notes: Notes) -> str:
    """Write what the runs of a method hold, their mean."""
    name, unit, spec = _HELD[column]
    known = [_of_run(run, name) for run in one.runs if run.footprints is not None]
    if len(known) < len(one.runs):
        lacking = counted(len(one.runs) - len(known), "run")
        reason = f"{lacking} of {len(one.runs)} wrote no footprints.csv"
        return notes.number(nan, "", reason, one.label)
    value = float(np.mean(known)) / unit
    reason = "its replay does not say of which phase it is"
    return notes.number(value, spec, reason, f"{one.label}, {column}")


def _of_run(run: Run, name: str) -> float:
    assert run.footprints is not None
    values = run.footprints[name]
    return float(values.iloc[-1] if name == "earlier_observations" else values.max())
