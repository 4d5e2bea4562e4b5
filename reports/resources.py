"""What methods take: time, memory, parameters, and what they keep of earlier phases."""

from collections.abc import Sequence
from math import isnan, nan

import numpy as np

from continual_arcade.reports.method_results import MethodResults
from continual_arcade.reports.pages.page_model import DataTable
from continual_arcade.reports.provenance import whole_costs
from continual_arcade.reports.text import Notes, counted

KEPT = "earlier_observations"
BASE = "finetune"
"""The method that others are measured beside."""

_HELD = {
    "parameters": ("parameters", 1),
    "networks [kB]": ("network_bytes", 1e3),
    "replay [kB]": ("replay_bytes", 1e3),
    "beside it [kB]": ("method_bytes", 1e3),
    "earlier observations": ("earlier_observations", 1),
}
"""Columns of the table: what they show, and in which unit."""
STEP = "step_seconds"


def measured(one: MethodResults) -> dict[str, float]:
    """Return what a run of a method takes; NaN where no run says the time, or not every one memory.

    Args:
        one: The method.

    Returns:
        ``step_seconds``, training for a lifetime step in the fastest run that was not interrupted
        [s]: what else a machine has to do only adds to it. And the fields of a
        :class:`~continual_arcade.evaluation.footprints.Footprint`, means over runs: the most of any
        evaluation, and of earlier observations those at the end.
    """
    costs = [whole_costs(run) for run in one.runs]
    times = [spent[1] / spent[0] for spent in costs if spent is not None and spent[0]]
    found = {STEP: min(times, default=nan)}
    tables = [run.footprints for run in one.runs if run.footprints is not None]
    for name, _ in _HELD.values():
        values = [table[name].iloc[-1] if name == KEPT else table[name].max() for table in tables]
        found[name] = float(np.mean(values)) if len(tables) == len(one.runs) else nan
    return found


def resources(results: Sequence[MethodResults]) -> DataTable:
    """Lay out what a run of each method takes, a row for each."""
    notes = Notes()
    taken = {one.label: measured(one) for one in results}
    beside = taken[BASE][STEP] if BASE in taken else nan
    rows = []
    for one in results:
        known, where = taken[one.label], one.label
        no_time = "no run was trained without interruption and has written down its costs"
        no_base = no_time if BASE in taken else f"there is no {BASE} beside it"
        lacking = sum(run.footprints is None for run in one.runs)
        nothing = f"{counted(lacking, 'run')} of {len(one.runs)} wrote no footprints.csv"
        times = known[STEP] / beside
        cells = [
            notes.number(known[STEP] * 1e6, ".1f", no_time, f"{where}, time"),
            notes.number(times, ".2f", no_base if isnan(beside) else no_time, f"{where}, times"),
        ]
        for column, (name, unit) in _HELD.items():
            reason = nothing if lacking else "its replay does not say of which phase it is"
            cells.append(notes.number(known[name] / unit, ",.0f", reason, f"{where}, {column}"))
        rows.append((one.label, *cells))
    return DataTable(
        key="resources",
        title="What it takes",
        caption="Training time is that of the fastest run that was not interrupted, without its "
        f"evaluations, on the machine on which it ran; that of {BASE} is of the same report. "
        "Parameters and memory are the most of any evaluation. Networks: all of them, with the "
        "state of the optimiser. Beside it: what the method keeps. Earlier observations: those of "
        "phases before the last one that are kept as they were seen, in replay and beside it, at "
        "the end of training.",
        columns=("method", "training [\N{MICRO SIGN}s a step]", f"times {BASE}", *_HELD),
        rows=tuple(rows),
        labels=tuple(one.label for one in results),
        notes=notes.lines(),
    )
