"""The summary of all methods, their differences, performance profiles, and all metrics."""

from collections.abc import Sequence

import numpy as np

from continual_arcade.evaluation.comparison import Difference
from continual_arcade.evaluation.metrics import METRICS
from continual_arcade.evaluation.policies import Network
from continual_arcade.evaluation.power import detectable_difference
from continual_arcade.evaluation.statistics import performance_profile
from continual_arcade.reports.method_results import MethodResults
from continual_arcade.reports.method_results import differences as differences_of
from continual_arcade.reports.pages.page_model import (
    DataTable,
    LineChart,
    LinePanel,
    Number,
    Section,
)
from continual_arcade.reports.pages.page_model import Series as Line
from continual_arcade.reports.resources import resources
from continual_arcade.reports.text import INTERVALS, UNSEEN, Notes, played_by

HEADLINES = {
    "la@mer": "when just learnt",
    "acc@gem": "at the end",
    "worst-phase@end": "worst phase",
    "bwt@gem": "backward transfer",
    "forgetting@chaudhry": "forgetting",
    "fwt@gem": "forward transfer",
    "auc@current-phase": "while training",
}
"""The metrics that a reader sees first, and what they are called there."""

DIFFERING = ("acc@gem", "worst-phase@end", "bwt@gem")
"""The metrics whose differences between methods are tested."""

_SIGNED = ("bwt@gem", "forgetting@chaudhry", "fwt@gem")


def summary(results: Sequence[MethodResults], points: str) -> Section:
    """Lay out the metrics that a reader wants first, a row for each method."""
    networks: dict[str, Network] = {one.label: one.runs[0].network for one in results}
    tables = [_headlines(results, points, normalised=False)]
    if results[0].context.references is not None:
        tables.append(_headlines(results, points, normalised=True))
    tables.append(resources(results))
    return Section(
        "about-summary",
        "Summary",
        f"Mean {points} in greedy evaluation episodes, averaged over all phases. "
        f"{played_by(networks)} The worst phase is that of each run at the end of training. "
        "Negative backward transfer is forgetting; negative values are kept.",
        tuple(tables),
    )


def _headlines(results: Sequence[MethodResults], points: str, *, normalised: bool) -> DataTable:
    notes = Notes()
    rows = []
    for one in results:
        cells = [
            notes.cell(
                one.estimate(metric, normalised=normalised),
                ("+" if metric in _SIGNED else "") + (".2f" if normalised else ".1f"),
                f"{one.label}, {name}",
            )
            for metric, name in HEADLINES.items()
        ]
        runs = Number(str(len(one.runs)), len(one.runs))
        rows.append((one.label, runs, *cells, _middle(one, notes, normalised)))
    return DataTable(
        key="summary-normalised" if normalised else "summary",
        title="Normalised: 0 is random play, 1 the oracle" if normalised else f"In {points}",
        caption=f"{INTERVALS} IQM: the mean without the best and the worst quarter of runs, with "
        "an interval from ten runs on.",
        columns=("method", "runs", *HEADLINES.values(), "at the end, IQM"),
        rows=tuple(rows),
        labels=tuple(one.label for one in results),
        notes=notes.lines(),
    )


def _middle(one: MethodResults, notes: Notes, normalised: bool) -> str:
    """Write the interquartile mean of the scores at the end."""
    found = one.middle("acc@gem", normalised=normalised)
    return notes.cell(found, ".2f" if normalised else ".1f", f"{one.label}, IQM")


def differences(results: Sequence[MethodResults], base: MethodResults, points: str) -> Section:
    """Lay out how much the methods differ from one of them, seed by seed."""
    return Section(
        "about-differences",
        f"Paired differences from {base.label}",
        "Runs of equal seed start from the same games, network and exploration, so each run is "
        "compared with the run of the same seed; only seeds that both methods have count. p values "
        "are of a sign-flip permutation test, with Holm's correction over the methods of a table. "
        f"{UNSEEN}",
        tuple(_difference(results, base, metric, points) for metric in DIFFERING),
    )


def _difference(
    results: Sequence[MethodResults], base: MethodResults, metric: str, points: str
) -> DataTable:
    found = differences_of(results, base, metric)
    notes = Notes()
    rows = [
        (one.label, Number(str(d.pairs), d.pairs), *_cells(d, one.label, notes)) for one, d in found
    ]
    return DataTable(
        key=f"difference-{metric.replace('@', '-')}",
        title=f"{METRICS[metric].title}, less that of {base.label}",
        caption="won: share of seeds in which the method scores higher; ties count half. smallest: "
        "the smallest true difference of which so many pairs have a p below 0.05, not corrected, "
        "with 80 % power.",
        columns=("method", "pairs", f"difference [{points}]", "p", "p (Holm)", "won", "smallest"),
        rows=tuple(rows),
        labels=tuple(one.label for one, _ in found),
        notes=notes.lines(),
    )


def _cells(difference: Difference, label: str, notes: Notes) -> list[str]:
    reason = difference.reason or difference.estimate.reason
    pairs, smallest, why_none = difference.pairs, np.nan, reason
    if not np.isnan(difference.spread):
        smallest = detectable_difference(pairs, difference.spread)
        if np.isinf(smallest):
            smallest, why_none = np.nan, f"{pairs} pairs cannot make any difference significant"
    return [
        notes.cell(difference.estimate, "+.1f", f"{label}, difference"),
        notes.number(difference.p, ".3f", reason, f"{label}, p"),
        notes.number(difference.adjusted_p, ".3f", reason, f"{label}, p"),
        notes.cell(difference.wins, ".2f", f"{label}, won"),
        notes.number(smallest, ".1f", why_none, f"{label}, smallest"),
    ]


def profiles(results: Sequence[MethodResults], points: str) -> LineChart:
    """Draw which share of runs exceeds each score: over all phases, and in the worst."""
    metrics = {"acc@gem": "all phases", "worst-phase@end": "worst phase"}
    values = {
        metric: [np.array(list(one.by_seed(metric).values())) for one in results]
        for metric in metrics
    }
    panels = []
    for metric, title in metrics.items():
        known = np.concatenate(values[metric])
        known = known[~np.isnan(known)]
        low = min(0.0, float(known.min(initial=0.0)))
        thresholds = np.linspace(low, max(1.0, float(known.max(initial=0.0))), 101)
        lines = []
        for one, sample in zip(results, values[metric], strict=True):
            if np.isnan(sample).any():
                continue  # the summary says why
            profile = performance_profile(sample, thresholds)
            lines.append(Line(one.label, thresholds, profile.share, profile.low, profile.high))
        panels.append(LinePanel(title, tuple(lines)))
    for column, name in enumerate(results[0].records[0].labels):
        ends = [one.matrices[:, -1, column] for one in results]
        known = np.concatenate(ends)
        thresholds = np.linspace(
            min(0.0, float(np.nanmin(known, initial=0.0))),
            max(1.0, float(np.nanmax(known, initial=0.0))),
            101,
        )
        panels.append(
            LinePanel(
                name,
                tuple(
                    Line(one.label, thresholds, p.share, p.low, p.high)
                    for one, sample in zip(results, ends, strict=True)
                    if not np.isnan(sample).any()
                    for p in [performance_profile(sample, thresholds)]
                ),
            )
        )
    return LineChart(
        key="profiles",
        title="Performance profiles",
        caption="Share of runs whose score at the end is above a threshold, with a 95 % band for "
        "the whole curve. A higher curve is better.",
        alt="Share of runs above each score at the end of training, a line for each method: "
        + _ends_in_words(results, points),
        x_label=f"{points} at the end",
        y_label="share of runs",
        panels=tuple(panels),
        steps=True,
    )


def _ends_in_words(results: Sequence[MethodResults], points: str) -> str:
    return "; ".join(f"{one.label} {one.estimate('acc@gem'):.1f} {points}" for one in results) + "."


def all_metrics(results: Sequence[MethodResults]) -> Section:
    """Lay out every metric for every method, and what each one is."""
    tables = [_every(results, normalised=False)]
    if results[0].context.references is not None:
        tables.append(_every(results, normalised=True))
    definitions = DataTable(
        key="definitions",
        title="Definitions",
        columns=("metric", "name", "better", "formula", "source"),
        rows=tuple(
            (m.name, m.title, m.better or "-", m.formula, m.source) for m in METRICS.values()
        ),
        folded=True,
    )
    return Section(
        "about-metrics",
        "All metrics",
        "Papers use one name for different metrics; the part after the @ names the source.",
        (*tables, definitions),
    )


def _every(results: Sequence[MethodResults], *, normalised: bool) -> DataTable:
    notes = Notes()
    rows = []
    for metric in METRICS.values():
        spec = ("+" if metric.name in _SIGNED else "") + (".3f" if normalised else ".2f")
        cells = [
            notes.cell(one.estimate(metric.name, normalised=normalised), spec, f"{metric.name}")
            for one in results
        ]
        rows.append((metric.name, *cells))
    for one in results:
        for metric in METRICS.values():
            said = {r[metric.name].note for r in (one.normalised if normalised else one.results)}
            for note in sorted(filter(None, said)):
                notes.remark(f"{metric.name}, {one.label}", note)
    return DataTable(
        key="metrics-normalised" if normalised else "metrics",
        title="Normalised: 0 is random play, 1 the oracle" if normalised else "In points",
        caption=INTERVALS,
        columns=("metric", *(one.label for one in results)),
        rows=tuple(rows),
        notes=notes.lines(),
        folded=True,
    )
