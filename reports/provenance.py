"""Provenance: settings, runs, commits, and what evaluation has cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from continual_arcade.envs.messages import value_of_parameter
from continual_arcade.evaluation.commands import for_anybody
from continual_arcade.evaluation.runs import Comparison, Gathered, LeftOut, Run
from continual_arcade.reports.method_results import MethodResults, fitting
from continual_arcade.reports.pages.page_model import DataTable, Number, Section
from continual_arcade.reports.text import Notes


def settings(results: Sequence[MethodResults]) -> Section:
    """Lay out in what the methods differ, and what they share."""
    names = list(dict.fromkeys(name for one in results for name in one.group.settings))
    values = {
        name: [str(one.group.settings.get(name, "not set")) for one in results] for name in names
    }
    differing = [name for name in names if len(set(values[name])) > 1]
    shared = [name for name in names if name not in differing]
    tables = []
    if len(results) > 1:
        tables.append(
            DataTable(
                key="settings",
                title="Settings that differ",
                columns=("setting", *(one.label for one in results)),
                rows=tuple((name, *values[name]) for name in differing)
                or (("none", *("" for _ in results)),),
            )
        )
    tables.append(
        DataTable(
            key="settings-shared",
            title="Shared settings" if len(results) > 1 else "All settings",
            columns=("setting", "value"),
            rows=tuple((name, values[name][0]) for name in shared),
            folded=True,
        )
    )
    return Section("about-settings", "Settings", "", tuple(tables))


_CONTEXT = {
    "one-hot": "one-hot: agents are told the phase",
    "inferred": "inferred: nobody tells the phase; each agent infers its task, game by game",
}
"""What is said of contexts that tell the phase, or do not."""


def protocol(comparison: Comparison) -> DataTable:
    """Lay out how the runs were evaluated."""
    found = comparison.protocol
    rows = [
        ("environment", found.env),
        *((f"option, {name}", str(value)) for name, value in found.options.items()),
        ("context", _CONTEXT.get(found.context, found.context)),
        ("schedule", f"{found.schedule.name}, fingerprint {found.schedule.fingerprint}"),
        *(
            (
                f"phase {index}",
                f"{stretch.name}: {stretch.steps:,} steps, "
                + (_listed(stretch.params) or "defaults")
                + (f" until {_listed(stretch.until)}" if stretch.until else ""),
            )
            for index, stretch in enumerate(found.schedule.phases)
        ),
        *(
            (f"evaluation, {name}", f"{value:,}")
            for name, value in asdict(found.evaluation).items()
        ),
    ]
    return DataTable(
        key="protocol",
        title="Protocol",
        caption="Only runs for which all of this, but for names, is equal are compared.",
        columns=("setting", "value"),
        rows=(*_scenarios(comparison), *rows),
        folded=True,
    )


def _scenarios(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the scenarios that the runs are of, each with what it says about itself."""
    configs = [run.config for group in comparison.groups for run in group.runs.values()]
    written = [config["scenario"] for config in configs if "scenario" in config]
    about = {f"{one['name']}: {one.get('about', '')}".removesuffix(": ") for one in written}
    return [("scenario", text) for text in sorted(about)]


def costs(results: Sequence[MethodResults]) -> DataTable:
    """Lay out what evaluation has cost beside training."""
    notes = Notes()
    rows = []
    for one in results:
        known = [costs for run in one.runs if (costs := whole_costs(run)) is not None]
        if not known:
            reason = "no run was trained without interruption and has written all of it down"
            cells = [notes.number(np.nan, "", reason, one.label) for _ in range(5)]
        else:
            trained, training, played, evaluation = np.mean(known, axis=0).tolist()
            share = evaluation / (training + evaluation)
            written = zip(
                (trained, training, played, evaluation, share),
                (",.0f", ".1f", ",.0f", ".1f", ".0%"),
                strict=True,
            )
            cells = [Number(f"{value:{spec}}", value) for value, spec in written]
        rows.append((one.label, *cells))
    return DataTable(
        key="costs",
        title="Cost of evaluation",
        caption="Means over the runs that were trained without interruption, on the machines on "
        "which they ran.",
        columns=(
            "method",
            "training steps",
            "training [s]",
            "evaluation steps",
            "evaluation [s]",
            "evaluation's share of the time",
        ),
        rows=tuple(rows),
        labels=tuple(one.label for one in results),
        notes=notes.lines(),
    )


def whole_costs(run: Run) -> tuple[float, float, float, float] | None:
    """Return steps and seconds of training and of evaluation; None if they are not of all of it.

    A row is missing, or the run was resumed: how long training took from its last evaluation to
    where it was cut off was not written down.
    """
    costs = run.costs
    if costs is None or run.folder.was_resumed:
        return None
    if set(costs["lifetime_step"]) != set(run.table["lifetime_step"]):
        return None
    return (
        float(costs["lifetime_step"].max()),
        float(costs["training_seconds"].sum()),
        float(costs["evaluation_steps"].sum()),
        float(costs["evaluation_seconds"].sum()),
    )


def provenance(comparison: Comparison, results: Sequence[MethodResults]) -> Section:
    """Lay out each run with its command, commit and versions."""
    rows = [
        (
            one.label,
            str(run.seed),
            run.folder.name,
            for_anybody(run.config.get("command", "")),
            str(run.config.get("git_commit") or "not a checkout")[:13],
            ", ".join(f"{k} {v}" for k, v in run.config.get("versions", {}).items()),
        )
        for one in results
        for run in one.runs
    ]
    runs = DataTable(
        key="runs",
        title="Runs",
        columns=("method", "seed", "run", "command", "commit", "versions"),
        rows=tuple(rows),
        labels=tuple(row[0] for row in rows),
        folded=True,
    )
    items = (costs(results), protocol(comparison), runs)
    return Section("about-provenance", "Provenance", "", items)


_UNUSED = "no phase of these runs, or evaluated or trained otherwise"


def unused_baselines(comparisons: Sequence[Comparison], given: Gathered) -> list[LeftOut]:
    """Find the runs that are the expert of no phase, each with the reason."""
    used_as = _experts_of(comparisons, given)
    paths = (run.folder.path for run in _runs(given))
    return [LeftOut(path, f"a baseline of {_UNUSED}") for path in paths if path not in used_as]


def baselines(comparisons: Sequence[Comparison], given: Gathered) -> DataTable:
    """Lay out which runs are used as the expert of which phase, and which are unused."""
    used_as = _experts_of(comparisons, given)
    rows = [
        (run.folder.name, run.method, used_as.get(run.folder.path, f"none: {_UNUSED}"))
        for run in _runs(given)
    ]
    rows += [(left.path.name, "unknown", f"none: {_reason(left)}") for left in given.left_out]
    return DataTable(
        key="baselines",
        title="Single-task experts",
        caption="The baselines of forward transfer, relative performance and sample efficiency. "
        "All are of one method: how the others would do on a single phase is not known.",
        columns=("run", "method", "stands for"),
        rows=tuple(rows),
    )


def _experts_of(comparisons: Sequence[Comparison], given: Gathered) -> dict[Path, str]:
    """Return of which phase each run is the expert, by its folder; those of none are not there."""
    used_as: dict[Path, str] = {}
    for comparison in comparisons:
        for column, group in fitting(comparison, given).items():
            name = comparison.protocol.schedule.distinct[column].name
            for run in group.runs.values():
                used_as[run.folder.path] = f"{comparison.title}: {name}"
    return used_as


def _runs(gathered: Gathered) -> list[Run]:
    return [
        run
        for comparison in gathered.comparisons
        for group in comparison.groups
        for run in group.runs.values()
    ]


def left_out(found: Sequence[LeftOut]) -> DataTable:
    """Lay out which runs are not in the numbers, and why."""
    return DataTable(
        key="left-out",
        title="Excluded runs",
        columns=("run", "reason"),
        rows=tuple((left.path.name, _reason(left)) for left in found),
    )


def _reason(left: LeftOut) -> str:
    """Return it as a page can say it to others, who have no such folder."""
    return left.reason.replace(str(left.path), left.path.name)


def _listed(params: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value_of_parameter(name, v)}" for name, v in params.items())
