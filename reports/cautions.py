"""Warnings about the numbers: too few runs, nothing learnt, nothing that could differ."""

from collections.abc import Iterator, Sequence

import numpy as np

from continual_arcade.evaluation.metrics import adaptation_times
from continual_arcade.evaluation.statistics import few_runs_warning
from continual_arcade.reports.method_results import MethodResults
from continual_arcade.reports.text import listed
from continual_arcade.reports.verdict import NOTHING


def cautions(results: Sequence[MethodResults]) -> list[str]:
    """Return a sentence or two for each reason to doubt the numbers of a comparison."""
    return [
        *_few_runs(results),
        *_nothing_learnt(results),
        *_nobody_adapted(results),
        *_memory_never_filled(results),
    ]


def _few_runs(results: Sequence[MethodResults]) -> Iterator[str]:
    """Name the methods with few runs, those with equally many together."""
    of_runs: dict[int, list[MethodResults]] = {}
    for one in results:
        of_runs.setdefault(len(one.runs), []).append(one)
    for runs, those in of_runs.items():
        ends = [list(one.by_seed("acc@gem").values()) for one in those]
        # By what the least certain of them could show.
        spread = float(np.std(ends, axis=1, ddof=1).max()) if runs > 1 else np.nan
        if warning := few_runs_warning(runs, spread):
            yield f"{listed(one.label for one in those)}: {warning}"


def _nothing_learnt(results: Sequence[MethodResults]) -> Iterator[str]:
    """Name the phases that a method did not learn, methods with the same ones together."""
    scale = results[0].context.references
    if scale is None:
        return
    if scale.reason:
        yield f"Whether all phases were learnt is not known: {scale.reason}."
    names = results[0].records[0].labels
    of_phases: dict[tuple[str, ...], list[str]] = {}
    for one in results:
        record, matrix = one.records[0], one.matrices.mean(axis=0)
        # One that recurs may be learnt when it comes back.
        rows = (record.learnt(), record.learnt("last"), -1)
        learnt = np.max([matrix[row, range(len(names))] for row in rows], axis=0)
        shares = (learnt - scale.zero) / (scale.one - scale.zero)
        unlearnt = tuple(
            name for name, share in zip(names, shares, strict=True) if share <= NOTHING
        )
        of_phases.setdefault(unlearnt, []).append(one.label)
    limit = (
        f"at most {NOTHING:.0%}".replace("%", " %") + " of the way from random play to the oracle"
    )
    for phases, labels in of_phases.items():
        who = "any method" if len(labels) == len(results) > 1 else listed(labels)
        if len(phases) == len(names):
            yield (
                f"Nothing was learnt by {who}: each phase is played {limit}, when it was just "
                "trained and at the end. Nothing can be forgotten then, and differences say "
                "nothing."
            )
        elif phases:
            yield (
                f"{listed(phases)} {'was' if len(phases) == 1 else 'were'} not learnt by {who}: "
                f"played {limit}, when just trained and at the end. What is forgotten there says "
                "nothing."
            )


def _nobody_adapted(results: Sequence[MethodResults]) -> Iterator[str]:
    """Name the phases to which no run of any method adapted while they were trained."""
    scale = results[0].context.references
    if scale is None:
        return
    found = [adaptation_times(record, scale) for one in results for record in one.records]
    stages = results[0].records[0].stage_labels
    missed = [
        name
        for stage, name in enumerate(stages)
        if all(censored[stage] and not np.isnan(times[stage]) for times, censored in found)
    ]
    if missed:
        where = "any phase" if len(missed) == len(stages) else listed(missed)
        yield (
            f"No run adapted to {where} before it ended: none was evaluated there at four fifths "
            "of the way from random play to the oracle. Phases may be too short, or too hard."
        )


_ALIKE = ("fifo", "reservoir")
"""Kinds of replay that hold the same transitions until one has to be dropped."""


def _memory_never_filled(results: Sequence[MethodResults]) -> Iterator[str]:
    """Say where a memory holds a whole run, so that its kind makes no difference."""
    total = results[0].runs[0].protocol.schedule.total_steps
    roomy = [
        one
        for one in results
        if not one.is_reference
        and str(one.group.settings.get("replay", "")).split(":")[0] in _ALIKE
        and (one.group.settings.get("buffer_size") or 0) >= total
    ]
    if roomy:
        size = min(one.group.settings["buffer_size"] for one in roomy)
        yield (
            f"The replay memory of {listed(one.label for one in roomy)} never filled: it "
            f"holds {size:,} transitions, and a run makes {total:,}. The kinds of replay "
            f"({listed(_ALIKE)}) hold the same then, and cannot differ."
        )
