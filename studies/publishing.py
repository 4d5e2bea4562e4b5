"""What a study came to, as files to publish: numbers of each run, tables and a picture.

``NAME-runs.csv`` has a line for each run, from which everything else can be computed again;
``NAME-methods.csv`` what the methods come to; ``NAME-differences.csv`` in what they differ from one
of them, seed by seed; ``NAME.md`` is both as tables, with where they come from; ``NAME.png`` shows
them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from continual_arcade.evaluation.commands import for_anybody
from continual_arcade.evaluation.comparison import adjusted, paired_difference
from continual_arcade.evaluation.pages.static import STYLE
from continual_arcade.evaluation.pages.style import method_styles
from continual_arcade.evaluation.reporting.judged import Judged
from continual_arcade.evaluation.runs import World
from continual_arcade.evaluation.statistics import mean_over_runs
from continual_arcade.studies.seeds import write_seeds

METRICS: Mapping[str, tuple[str, str]] = {
    "la@mer": ("when just learnt", ".1f"),
    "acc@gem": ("at the end", ".1f"),
    "bwt@gem": ("change", "+.1f"),
    "worst-phase@end": ("worst phase", ".1f"),
    "auc@current-phase": ("while training", ".1f"),
    "forward-transfer@continual-world": ("forward transfer", "+.2f"),
    "regret@dynamic": ("regret per step", ".2f"),
}
"""What is published, what it is called there, and how it is written."""
DIFFERING = ("acc@gem", "bwt@gem", "worst-phase@end")
"""What differences are published of."""


def runs(worlds: Iterable[tuple[World, Sequence[Judged]]]) -> pd.DataFrame:
    """Return a line for each run: what it is, and what it came to.

    Args:
        worlds: With all methods of each, judged with references.
    """
    return pd.DataFrame(
        {
            "in": world.title,
            "method": one.label,
            "seed": run.seed,
            **{name: results[name].value for name in METRICS},
            "acc@gem, normalised": normalised["acc@gem"].value,
        }
        for world, judged in worlds
        for one in judged
        for run, results, normalised in zip(one.runs, one.results, one.normalised, strict=True)
    )


def publish(
    name: str,
    worlds: Sequence[tuple[World, Sequence[Judged]]],
    base: str,
    about: Mapping[str, Any],
    out: Path,
) -> None:
    """Write all files.

    Args:
        name: Name of the study.
        worlds: With all methods of each, judged with references.
        base: The method that differences are taken from.
        about: What the study was begun with: command, versions, commit, machine.
        out: The folder.

    Raises:
        OSError: If they cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    table = runs(worlds)
    # In full, so that all else follows from it to the last digit.
    table.to_csv(out / f"{name}-runs.csv", index=False)
    methods(table).to_csv(out / f"{name}-methods.csv", index=False, float_format="%.6g")
    differences(table, base).to_csv(
        out / f"{name}-differences.csv", index=False, float_format="%.6g"
    )
    (out / f"{name}.md").write_text(page(name, about, table, base), "utf-8")
    points = {world.title: world.points for world, _ in worlds}
    with mpl.rc_context(STYLE):
        picture(table, points).savefig(out / f"{name}.png", dpi=110)


def methods(table: pd.DataFrame) -> pd.DataFrame:
    """Return what each method comes to: mean over runs and its 95 % interval.

    Args:
        table: What :func:`runs` returned.
    """
    lines = []
    for (world, method), group in table.groupby(["in", "method"], sort=False):
        for metric in table.columns[3:]:
            found = mean_over_runs(group[metric].to_numpy(float))
            lines.append(
                {
                    "in": world,
                    "method": method,
                    "metric": metric,
                    "runs": found.runs,
                    "mean": found.value,
                    "low": found.low,
                    "high": found.high,
                    "interval": found.kind,
                    "why not": found.reason,
                }
            )
    return pd.DataFrame(lines)


def differences(table: pd.DataFrame, base: str) -> pd.DataFrame:
    """Return in what the methods differ from one of them, seed by seed; Holm's over the methods.

    Args:
        table: What :func:`runs` returned.
        base: The method that differences are taken from.
    """
    lines = []
    for world, of_world in table.groupby("in", sort=False):
        for metric in DIFFERING:
            by_method = {
                str(method): dict(zip(group["seed"].tolist(), group[metric].tolist(), strict=True))
                for method, group in of_world.groupby("method", sort=False)
            }
            if base not in by_method:
                continue
            others = [method for method in by_method if method != base]
            found = [paired_difference(by_method[method], by_method[base]) for method in others]
            for method, one in zip(others, adjusted(found), strict=True):
                lines.append(
                    {
                        "in": world,
                        "metric": metric,
                        "method": method,
                        "less": base,
                        "pairs": one.pairs,
                        "difference": one.estimate.value,
                        "low": one.estimate.low,
                        "high": one.estimate.high,
                        "p": one.p,
                        "p (Holm)": one.adjusted_p,
                        "why not": one.reason,
                    }
                )
    return pd.DataFrame(lines)


def page(name: str, about: Mapping[str, Any], table: pd.DataFrame, base: str) -> str:
    """Write the tables as Markdown, with where they come from.

    Args:
        name: Name of the study.
        about: What it was begun with.
        table: What :func:`runs` returned.
        base: The method that differences are taken from.
    """
    seeds = write_seeds(sorted(set(table["seed"].tolist())))
    versions = ", ".join(f"{key} {value}" for key, value in about["versions"].items())
    lines = [
        f"# Study `{name}`",
        "",
        "<!-- Written by `study publish` from the runs; not by hand. -->",
        "",
        f"{len(table)} runs, seeds {seeds}, made by",
        "",
        f"    {for_anybody(about['command'])}",
        "",
        f"at commit {about['git_commit']} on {about['machine']}, Python {about['python']}, "
        f"{versions}.",
        "",
        "Means over runs with 95 % intervals (Student's t below ten runs, bootstrap from ten on). "
        f"Differences from `{base}` are of equal seeds; p is that of a sign-flip test with Holm's "
        f"correction over the methods. Each run: [{name}-runs.csv]({name}-runs.csv).",
    ]
    means = methods(table).set_index(["in", "method", "metric"])
    apart = differences(table, base)
    for world, of_world in table.groupby("in", sort=False):
        lines += ["", f"## {world}", "", *_means(world, of_world, means)]
        if not apart.empty:
            lines += ["", *_differences(apart[apart["in"] == world], base)]
    return "\n".join(lines) + "\n"


def _means(world: Any, of_world: pd.DataFrame, means: Any) -> Iterator[str]:
    yield "| method | runs | " + " | ".join(title for title, _ in METRICS.values()) + " |"
    yield "|---|---:|" + "---:|" * len(METRICS)
    for method, group in of_world.groupby("method", sort=False):
        cells = [
            _interval(means.loc[(world, method, metric)], "mean", spec)
            for metric, (_, spec) in METRICS.items()
        ]
        yield f"| `{method}` | {len(group)} | " + " | ".join(cells) + " |"


def _differences(of_world: pd.DataFrame, base: str) -> Iterator[str]:
    titles = [METRICS[metric][0] for metric in DIFFERING]
    yield f"| less `{base}` | pairs | " + " | ".join(f"{title} | p" for title in titles) + " |"
    yield "|---|---:|" + "---:|---:|" * len(DIFFERING)
    for method, group in of_world.groupby("method", sort=False):
        by_metric = group.set_index("metric")
        cells = [
            f"{_interval(by_metric.loc[metric], 'difference', '+.1f')} | "
            f"{by_metric.loc[metric]['p (Holm)']:.3f}"
            for metric in DIFFERING
        ]
        yield f"| `{method}` | {group['pairs'].iloc[0]} | " + " | ".join(cells) + " |"


def _interval(line: Any, value: str, spec: str) -> str:
    if math.isnan(line[value]):
        return "-"
    if math.isnan(line["low"]):
        return f"{line[value]:{spec}}"
    return f"{line[value]:{spec}} [{line['low']:{spec}}, {line['high']:{spec}}]"


def picture(table: pd.DataFrame, points: Mapping[str, str]) -> Figure:
    """Draw what the methods come to at the end, and what has changed since it was learnt.

    Args:
        table: What :func:`runs` returned.
        points: What a score counts, by world.
    """
    worlds = list(dict.fromkeys(table["in"]))
    names = list(dict.fromkeys(table["method"]))
    styles = method_styles(tuple(names))
    means: Any = methods(table).set_index(["in", "method", "metric"])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, (0.24 * len(names) + 0.9) * len(worlds)))
        axes = figure.subplots(len(worlds), 2, squeeze=False, sharey=True)
        for row, world in enumerate(worlds):
            for column, metric in enumerate(("acc@gem", "bwt@gem")):
                axis = axes[row][column]
                for place, name in enumerate(names):
                    if (world, name, metric) not in means.index:
                        continue
                    line = means.loc[(world, name, metric)]
                    colour = styles[name].light
                    axis.plot([line["low"], line["high"]], [place] * 2, color=colour, linewidth=2)
                    axis.plot([line["mean"]], [place], "o", color=colour, markersize=5)
                axis.set_yticks(range(len(names)), names)
                axis.set_ylim(len(names) - 0.5, -0.5)
                axis.grid(axis="x", alpha=0.3)
                title = "all phases at the end" if metric == "acc@gem" else "change since learnt"
                axis.set_title(f"{world}: {title}")
                axis.set_xlabel(points[world])
                if metric == "bwt@gem":
                    axis.axvline(0, color="grey", linewidth=0.8)
                else:
                    axis.set_xlim(left=0)
    return figure
