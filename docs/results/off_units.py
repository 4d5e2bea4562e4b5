"""Draw what EWC keeps where units are off, and print the tables, from the published runs.

python docs/results/off_units.py

reads the CSV files of off-units and off-units-fresh beside it, writes docs/images/ewc_off_units.png
and prints the tables of docs/methods/ewc.md: no run is needed. Of two phases the change is that of
the first one; so the scores of both at the end follow from it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from continual_arcade.envs.drawing.chart_style import chart_style
from continual_arcade.evaluation.comparison import Difference, adjusted
from continual_arcade.evaluation.csv_table import read_csv
from continual_arcade.reports.pages.static import STYLE
from continual_arcade.studies.publishing import by_metric, difference

HERE = Path(__file__).parent
PICTURE = HERE.parent / "images" / "ewc_off_units.png"
LAMS = ("0.1", "1", "10")
KINDS = {
    "relu": "ReLU",
    "off-slope": "ReLU, off_slope=1",
    "tanh": "tanh",
}
"""Kinds of EWC, as their runs and as the panels are called."""
FINETUNE = {"relu": "finetune-relu", "off-slope": "finetune-relu", "tanh": "finetune-tanh"}
"""What each of them is without a penalty."""
METRIC = "worst-phase@end"
"""What is compared: the pellets of the phase that is played worst at the end."""
HEADINGS = ("first, just learnt", "first, at the end", "second, at the end", "worse of both")
COLOURS = ("#1f6fb2", "#d1702a")


def scores(study: str) -> pd.DataFrame:
    """Return the scores of each run: both phases at the end, and the first when just learnt."""
    table = read_csv(HERE / f"{study}-runs.csv")
    just, change = table["bwt@gem, from"], table["bwt@gem"]
    first = just + change
    found = table[["in", "method", "seed", METRIC, "acc@gem", "bwt@gem", "bwt@gem, from"]]
    return found.assign(just=just, first=first, second=2 * table["acc@gem"] - first)


def columns(kind: str) -> list[tuple[str, str]]:
    """Return the methods of a panel, from left to right, each with its strength."""
    return [("0", FINETUNE[kind]), *((lam, f"{kind}-{lam}") for lam in LAMS)]


def picture(table: pd.DataFrame) -> Figure:
    """Draw the scores of both phases at the end, run by run, by strength of the penalty."""
    with chart_style(STYLE):
        figure = Figure(figsize=(9, 3.5), layout="constrained")
        axes: Any = figure.subplots(1, len(KINDS), sharey=True)
        for axis, (kind, title) in zip(axes, KINDS.items(), strict=True):
            for phase, shift, colour in zip(
                ("first", "second"), (-0.14, 0.14), COLOURS, strict=True
            ):
                means = []
                for place, (_, method) in enumerate(columns(kind)):
                    of_method = table[table["method"] == method]
                    count = len(of_method)
                    places = [
                        place + shift + 0.1 * (i / max(count - 1, 1) - 0.5) for i in range(count)
                    ]
                    axis.plot(places, of_method[phase], "o", color=colour, alpha=0.4, markersize=4)
                    means.append(of_method[phase].mean())
                at = [place + shift for place in range(len(means))]
                axis.plot(at, means, "_", color=colour, markersize=18, markeredgewidth=2.5)
                axis.plot(at, means, color=colour, linewidth=1, alpha=0.5, label=f"{phase} phase")
            axis.set_title(title)
            axis.set_xticks(range(len(LAMS) + 1), [lam for lam, _ in columns(kind)])
            axis.set_xlabel("lam")
            axis.grid(axis="y", alpha=0.3)
        axes[0].set_ylabel("pellets at the end")
        axes[0].set_ylim(bottom=0)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def cells(group: pd.DataFrame) -> list[str]:
    """Write the scores of a method, mean and standard deviation over its runs."""
    columns = ("just", "first", "second", METRIC)
    return [f"{group[column].mean():.1f} ± {group[column].std():.1f}" for column in columns]


def compared(one: Difference) -> list[str]:
    """Write a difference with its interval, and its p."""
    found = one.estimate
    p = f"{one.adjusted_p:.3f}" if one.adjusted_p >= 0.001 else "< 0.001"
    return [f"{found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}]", p]


def lines(table: pd.DataFrame) -> Iterator[str]:
    """Write the study as a Markdown table, with pairs at equal strength."""
    known = by_metric(read_csv(HERE / "off-units-ranges.csv"))
    of_method = dict(list(table.groupby("method")))
    pairs = [f"{kind}-{lam}" for kind in KINDS if kind != "relu" for lam in LAMS]
    apart = adjusted(
        [
            difference(of_method[name], of_method[f"relu-{name.rpartition('-')[2]}"], METRIC, known)
            for name in pairs
        ]
    )
    found = dict(zip(pairs, map(compared, apart), strict=True))
    yield "| EWC with | `lam` | " + " | ".join(HEADINGS) + " | less ReLU | p |"
    yield "|---|---:|" + "---:|" * (len(HEADINGS) + 2)
    for kind, title in KINDS.items():
        for lam, name in columns(kind):
            if lam == "0" and kind == "off-slope":  # stands there already
                continue
            row = [title, lam, *cells(of_method[name]), *found.get(name, ["", ""])]
            yield "| " + " | ".join(row) + " |"


def fresh_lines(table: pd.DataFrame) -> Iterator[str]:
    """Write the one comparison on fresh seeds as a Markdown table."""
    known = by_metric(read_csv(HERE / "off-units-fresh-ranges.csv"))
    plain, held = (table[table["method"] == name] for name in ("relu-1", "off-slope-1"))
    (one,) = adjusted([difference(held, plain, METRIC, known)])
    yield "| seeds 10..29, `lam=1` | " + " | ".join(HEADINGS) + " | less ReLU | p |"
    yield "|---|" + "---:|" * (len(HEADINGS) + 2)
    yield "| " + " | ".join([KINDS["relu"], *cells(plain), "", ""]) + " |"
    yield "| " + " | ".join([KINDS["off-slope"], *cells(held), *compared(one)]) + " |"


def main() -> None:
    """Draw the picture and print the tables."""
    runs = scores("off-units")
    picture(runs).savefig(PICTURE, dpi=110)
    print("\n".join([*lines(runs), "", *fresh_lines(scores("off-units-fresh"))]))


if __name__ == "__main__":
    main()
