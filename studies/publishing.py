"""The results of a study, as files to publish: numbers of each run, tables and a picture.

``NAME-runs.csv`` has a line for each run, and ``NAME-ranges.csv`` what its numbers can be, whatever
the runs do: from these two everything else can be computed again. ``NAME-methods.csv`` is what the
methods come to; ``NAME-differences.csv`` in what they differ from one of them, seed by seed;
``NAME-resources.csv`` what each method takes and keeps, if the runs have written it down;
``NAME.md`` is all of it as tables, with where they come from; ``NAME.png`` shows the results.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from continual_arcade.envs.drawing.chart_style import chart_style
from continual_arcade.evaluation.bounded import Range
from continual_arcade.evaluation.commands import for_anybody
from continual_arcade.evaluation.comparison import Difference, adjusted, paired_difference
from continual_arcade.evaluation.runs import Comparison
from continual_arcade.evaluation.statistics import mean_over_runs
from continual_arcade.reports.method_results import Extremes, MethodResults
from continual_arcade.reports.pages.static import STYLE
from continual_arcade.reports.pages.style import method_styles
from continual_arcade.reports.resources import KEPT, measured
from continual_arcade.reports.text import ENDS, MARKS, UNSEEN, listed
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
NORMALISED = "acc@gem, normalised"
CHANGE = "bwt@gem"
"""The one of them that is a difference of two scores."""
FROM = "bwt@gem, from"
"""The score that it is a change from."""
TO = "bwt@gem, to"
Ranges = Mapping[tuple[str, str], Range]
"""What numbers can be, by scenario and name."""


def runs(comparisons: Iterable[tuple[Comparison, Sequence[MethodResults]]]) -> pd.DataFrame:
    """Return a line for each run: what it is, and its results.

    Args:
        comparisons: Each with the results of its methods, measured with references.
    """
    return pd.DataFrame(
        {
            "in": comparison.title,
            "method": one.label,
            "seed": run.seed,
            **{name: results[name].value for name in METRICS},
            NORMALISED: normalised["acc@gem"].value,
            FROM: (results[CHANGE].levels or (math.nan, math.nan))[1],
        }
        for comparison, methods in comparisons
        for one in methods
        for run, results, normalised in zip(one.runs, one.results, one.normalised, strict=True)
    )


def ranges(extremes: Mapping[str, Extremes]) -> pd.DataFrame:
    """Return what the numbers can be, whatever the runs do; a line for each that is known.

    Args:
        extremes: The metrics of the lowest and of the highest scores, by scenario.
    """
    lines = []
    for scenario, of_scenario in extremes.items():
        extreme, normalised = of_scenario.measured.results, of_scenario.measured.normalised
        ends = {name: [run[name].value for run in extreme] for name in METRICS}
        ends[NORMALISED] = [run["acc@gem"].value for run in normalised]
        levels = [run[CHANGE].levels or (math.nan, math.nan) for run in extreme]
        ends[TO], ends[FROM] = map(list, zip(*levels, strict=True))
        del ends[CHANGE]
        lines += [
            {"in": scenario, "metric": name, "low": min(of_metric), "high": max(of_metric)}
            for name, of_metric in ends.items()
            if not any(map(math.isnan, of_metric))
        ]
    return pd.DataFrame(lines, columns=["in", "metric", "low", "high"])


def resources(
    comparisons: Iterable[tuple[Comparison, Sequence[MethodResults]]],
) -> pd.DataFrame:
    """Return what each method takes and keeps, as far as its runs have written it down.

    Args:
        comparisons: Each with the results of its methods.
    """
    found = pd.DataFrame(
        {"in": comparison.title, "method": one.label, **measured(one)}
        for comparison, methods in comparisons
        for one in methods
    )
    return found.dropna(subset=["parameters"])


def by_metric(known: pd.DataFrame) -> Ranges:
    """Return what :func:`ranges` returned, to look numbers up by scenario and name."""
    return {
        (scenario, metric): Range.of_score(low, high)
        for scenario, metric, low, high in known.itertuples(index=False)
    }


def possible(known: Ranges, scenario: Any, metric: str, group: pd.DataFrame) -> Range | None:
    """Return what a number can be; None if that is not known.

    Args:
        known: The ranges of all scenarios.
        scenario: Game and schedule of the runs.
        metric: Which number.
        group: Lines of :func:`runs`, those of a method: what a change can be depends on the scores
            that it is a change from. Where these are not there, those of all phases when just
            learnt stand for them.
    """
    if metric == CHANGE:
        to, from_ = (possible(known, scenario, name, group) for name in (TO, FROM))
        if to is None or from_ is None:
            return None
        before = float(group[FROM if FROM in group else "la@mer"].mean())
        return to.less(from_, before + float(group[CHANGE].mean()), before)
    return known.get((scenario, metric))


def publish(
    name: str,
    comparisons: Sequence[tuple[Comparison, Sequence[MethodResults]]],
    base: str,
    about: Mapping[str, Any],
    out: Path,
) -> None:
    """Write all files.

    Args:
        name: Name of the study.
        comparisons: Each with the results of its methods, measured with references.
        base: The method that differences are taken from.
        about: What the study was begun with: command and versions. Commits and machines are those
            of its runs.
        out: The folder.

    Raises:
        ValueError: If there are more methods than can be told apart in a picture, or the method
            that differences are taken from is there with several settings.
        OSError: If they cannot be written.
    """
    for comparison, results in comparisons:
        labels = [one.label for one in results]
        if base not in labels and (
            several := [one.label for one in results if one.group.method == base]
        ):
            raise ValueError(
                f"{base} is there with several settings in {comparison.title} "
                f"({'; '.join(several)}): differences from it are of one; make a study of each"
            )
    # Too many to be told apart in the picture are refused before anything is written.
    method_styles(tuple({one.label: None for _, results in comparisons for one in results}))
    out.mkdir(parents=True, exist_ok=True)
    table = runs(comparisons)
    extremes = ((each.title, results[0].extremes) for each, results in comparisons)
    known = ranges({title: found for title, found in extremes if found is not None})
    # In full, so that all else follows from them to the last digit.
    table.to_csv(out / f"{name}-runs.csv", index=False)
    known.to_csv(out / f"{name}-ranges.csv", index=False)
    points = {each.title: each.points for each, _ in comparisons}
    taken = resources(comparisons)
    if len(taken):
        taken.to_csv(out / f"{name}-resources.csv", index=False, float_format="%.17g")
    configs = [
        run.config for each, _ in comparisons for one in each.groups for run in one.runs.values()
    ]
    made = {**about, "where": _where(configs)}
    (out / f"{name}.md").write_text(page(name, made, table, known, base, taken), "utf-8")
    compute(name, table, known, base, points, out)


def _where(configs: Sequence[Mapping[str, Any]]) -> str:
    """Say of which commits runs are, and on which machines they were trained."""
    found = dict.fromkeys(config.get("git_commit") for config in configs)
    commits = [commit for commit in found if commit]
    of = [f"at commit{'s' * (len(commits) > 1)} {listed(commits)}"] if commits else []
    if len(commits) < len(found):
        of.append("from an installed package")
    return f"{' and '.join(of)} on {listed(dict.fromkeys(each['machine'] for each in configs))}"


def compute(
    name: str,
    table: pd.DataFrame,
    known: pd.DataFrame,
    base: str,
    points: Mapping[str, str],
    out: Path,
) -> None:
    """Write what follows from the runs alone: means, differences and the picture.

    Args:
        name: Name of the study.
        table: What :func:`runs` returned.
        known: What :func:`ranges` returned.
        base: The method that differences are taken from.
        points: What a score counts, by scenario.
        out: The folder.
    """
    means, apart = methods(table, known), differences(table, known, base)
    means.to_csv(out / f"{name}-methods.csv", index=False, float_format="%.6g")
    apart.to_csv(out / f"{name}-differences.csv", index=False, float_format="%.6g")
    with chart_style(STYLE):
        picture(table, known, points).savefig(out / f"{name}.png", dpi=110)


def methods(table: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Return what each method comes to: mean over runs and its 95 % interval.

    Args:
        table: What :func:`runs` returned.
        known: What :func:`ranges` returned.
    """
    lines = []
    of_metrics = by_metric(known)
    for (scenario, method), group in table.groupby(["in", "method"], sort=False):
        for metric in (*METRICS, NORMALISED):
            within = possible(of_metrics, scenario, metric, group)
            found = mean_over_runs(group[metric].to_numpy(float), within=within)
            lines.append(
                {
                    "in": scenario,
                    "method": method,
                    "metric": metric,
                    "runs": found.runs,
                    "mean": found.value,
                    "low": found.low,
                    "high": found.high,
                    "interval": found.kind,
                    "at end": "" if found.at_end is None else found.at_end.end,
                    "runs there": None if found.at_end is None else found.at_end.count,
                    "why not": found.reason,
                }
            )
    return pd.DataFrame(lines)


def differences(table: pd.DataFrame, known: pd.DataFrame, base: str) -> pd.DataFrame:
    """Return in what the methods differ from one of them, seed by seed; Holm's over the methods.

    Args:
        table: What :func:`runs` returned.
        known: What :func:`ranges` returned.
        base: The method that differences are taken from.
    """
    lines = []
    of_metrics = by_metric(known)
    for scenario, of_scenario in table.groupby("in", sort=False):
        groups = {str(method): group for method, group in of_scenario.groupby("method", sort=False)}
        if base not in groups:
            continue
        others = [method for method in groups if method != base]
        for metric in DIFFERING:
            found = [
                difference(groups[method], groups[base], metric, of_metrics) for method in others
            ]
            for method, one in zip(others, adjusted(found), strict=True):
                lines.append(
                    {
                        "in": scenario,
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


def difference(ours: pd.DataFrame, theirs: pd.DataFrame, metric: str, known: Ranges) -> Difference:
    """Compare two methods, seed by seed.

    Args:
        ours: Lines of :func:`runs`, those of a method in one scenario.
        theirs: Those of the other, in the same.
        metric: What is compared.
        known: The ranges of all scenarios.
    """
    mine, others = (
        dict(zip(group["seed"].tolist(), group[metric].tolist(), strict=True))
        for group in (ours, theirs)
    )
    in_ours, in_theirs = (
        possible(known, group["in"].iloc[0], metric, group) for group in (ours, theirs)
    )
    within = None if in_ours is None or in_theirs is None else (in_ours, in_theirs)
    return paired_difference(mine, others, within=within)


def page(
    name: str,
    about: Mapping[str, Any],
    table: pd.DataFrame,
    known: pd.DataFrame,
    base: str,
    taken: pd.DataFrame | None = None,
) -> str:
    """Write the tables as Markdown, with where they come from.

    Args:
        name: Name of the study.
        about: What it was begun with, and ``where`` it was trained.
        table: What :func:`runs` returned.
        known: What :func:`ranges` returned.
        base: The method that differences are taken from.
        taken: What :func:`resources` returned, if it is known.
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
        f"{about['where']}, Python {about['python']}, {versions}.",
        "",
        "Means over runs with 95 % intervals, which stay within what a score can be. "
        f"{ENDS} Differences from `{base}` are of equal seeds; p is that of a sign-flip test with "
        f"Holm's correction over the methods. {UNSEEN} Each run: "
        f"[{name}-runs.csv]({name}-runs.csv), and what its numbers can be: "
        f"[{name}-ranges.csv]({name}-ranges.csv).",
    ]
    means = methods(table, known).set_index(["in", "method", "metric"])
    apart = differences(table, known, base)
    for scenario, of_scenario in table.groupby("in", sort=False):
        lines += ["", f"## {scenario}", "", *_means(scenario, of_scenario, means)]
        if scenario in set(apart.get("in", ())):
            lines += ["", *_differences(apart[apart["in"] == scenario], base)]
        if taken is not None and scenario in set(taken.get("in", ())):
            lines += ["", *_resources(taken[taken["in"] == scenario])]
    return "\n".join(lines) + "\n"


def _means(scenario: Any, of_scenario: pd.DataFrame, means: Any) -> Iterator[str]:
    yield "| method | runs | " + " | ".join(title for title, _ in METRICS.values()) + " |"
    yield "|---|---:|" + "---:|" * len(METRICS)
    for method, group in of_scenario.groupby("method", sort=False):
        cells = [
            _marked(means.loc[(scenario, method, metric)], spec)
            for metric, (_, spec) in METRICS.items()
        ]
        yield f"| `{method}` | {len(group)} | " + " | ".join(cells) + " |"


def _resources(of_scenario: pd.DataFrame) -> Iterator[str]:
    yield (
        "What it takes: training time of the fastest run, on a machine that may have had other "
        "work; parameters and memory at most, of all networks with the state of the optimiser, of "
        "replay, and of what the method keeps beside it; and observations of earlier phases that "
        "are kept as they were seen, at the end."
    )
    yield ""
    yield (
        "| method | 1,000 steps [ms] | parameters | networks [kB] | replay [kB] | beside it [kB] "
        "| earlier observations |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for line in of_scenario.to_dict("records"):
        held = [line[name] / 1e3 for name in ("network_bytes", "replay_bytes", "method_bytes")]
        cells = [line["step_seconds"] * 1e6, line["parameters"], *held, line[KEPT]]
        written = (f"{cell:,.{0 if i else 1}f}" for i, cell in enumerate(cells))
        yield f"| `{line['method']}` | " + " | ".join(written) + " |"


def _differences(of_scenario: pd.DataFrame, base: str) -> Iterator[str]:
    titles = [METRICS[metric][0] for metric in DIFFERING]
    yield f"| less `{base}` | pairs | " + " | ".join(f"{title} | p" for title in titles) + " |"
    yield "|---|---:|" + "---:|---:|" * len(DIFFERING)
    for method, group in of_scenario.groupby("method", sort=False):
        by_metric = group.set_index("metric")
        cells = [
            f"{_interval(by_metric.loc[metric], 'difference', '+.1f')} | "
            f"{_number(by_metric.loc[metric]['p (Holm)'], '.3f')}"
            for metric in DIFFERING
        ]
        yield f"| `{method}` | {group['pairs'].iloc[0]} | " + " | ".join(cells) + " |"


def _number(value: Any, spec: str) -> str:
    return "-" if math.isnan(value) else f"{value:{spec}}"


def _marked(line: Any, spec: str) -> str:
    mark = MARKS.get(line["at end"])
    return _interval(line, "mean", spec) + (f" {mark}" if mark else "")


def _interval(line: Any, value: str, spec: str) -> str:
    if math.isnan(line[value]):
        return "-"
    if math.isnan(line["low"]):
        return f"{line[value]:{spec}}"
    return f"{line[value]:{spec}} [{line['low']:{spec}}, {line['high']:{spec}}]"


def picture(table: pd.DataFrame, known: pd.DataFrame, points: Mapping[str, str]) -> Figure:
    """Draw what the methods come to at the end, and what has changed since it was learnt.

    Args:
        table: What :func:`runs` returned.
        known: What :func:`ranges` returned.
        points: What a score counts, by scenario.
    """
    scenarios = list(dict.fromkeys(table["in"]))
    names = list(dict.fromkeys(table["method"]))
    styles = method_styles(tuple(names))
    means: Any = methods(table, known).set_index(["in", "method", "metric"])
    with chart_style(STYLE):
        figure = Figure(figsize=(9, (0.24 * len(names) + 0.9) * len(scenarios)))
        axes = figure.subplots(len(scenarios), 2, squeeze=False, sharey=True)
        for row, scenario in enumerate(scenarios):
            for column, metric in enumerate(("acc@gem", "bwt@gem")):
                axis = axes[row][column]
                for place, name in enumerate(names):
                    if (scenario, name, metric) not in means.index:
                        continue
                    line = means.loc[(scenario, name, metric)]
                    colour = styles[name].light
                    axis.plot([line["low"], line["high"]], [place] * 2, color=colour, linewidth=2)
                    axis.plot([line["mean"]], [place], "o", color=colour, markersize=5)
                axis.set_yticks(range(len(names)), names)
                axis.set_ylim(len(names) - 0.5, -0.5)
                axis.grid(axis="x", alpha=0.3)
                title = "all phases at the end" if metric == "acc@gem" else "change since learnt"
                axis.set_title(f"{scenario}: {title}")
                axis.set_xlabel(points[scenario])
                if metric == "bwt@gem":
                    axis.axvline(0, color="grey", linewidth=0.8)
                elif axis.get_xlim()[0] > 0:  # below it there are scores that are negative
                    axis.set_xlim(left=0)
    return figure
