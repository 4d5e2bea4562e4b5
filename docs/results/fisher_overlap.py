"""Draws which layers two tasks share, from the runs of the study calibration-overlap.

    python docs/results/fisher_overlap.py [runs/calibration-overlap]

With the folder of the study it writes the overlaps at the end of each run to
calibration-overlap-layers.csv first; without, it reads that. It draws
docs/images/fisher_overlap.png and prints the tables of docs/calibration.md.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from continual_arcade.envs.drawing.chart_style import chart_style
from continual_arcade.evaluation.csv_table import read_csv
from continual_arcade.evaluation.network_diagnostics import OVERLAP, read
from continual_arcade.reports.pages.static import STYLE
from continual_arcade.studies.folder import StudyFolder

HERE = Path(__file__).parent
LAYERS = HERE / "calibration-overlap-layers.csv"
RUNS = HERE / "calibration-overlap-runs.csv"
PICTURE = HERE.parent / "images" / "fisher_overlap.png"
SCENARIOS = {"permuted-square-8": "little changes", "permuted-square-26": "nearly all changes"}
METHODS = {"online": "SGD", "ewc": "EWC"}
COLOURS = ("#1f6fb2", "#d1702a")


def layers(folder: StudyFolder) -> pd.DataFrame:
    """Return the overlap of both tasks at the end of each run, layer by layer."""
    rows = []
    for cell in folder.cells:
        table = read(folder.place(cell) / "diagnostics.csv")
        last = table[table["lifetime_step"] == table["lifetime_step"].max()]
        for quantity, value in zip(last["quantity"], last["value"], strict=True):
            if quantity.startswith(OVERLAP):
                layer = int(quantity.removeprefix(OVERLAP)) + 1
                rows.append((cell.scenario, cell.method, cell.seed, layer, value))
    return pd.DataFrame(rows, columns=["scenario", "method", "seed", "layer", "overlap"])


def picture(table: pd.DataFrame) -> Figure:
    """Draw the overlap by layer, run by run, a panel for each method."""
    with chart_style(STYLE):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        axes: Any = figure.subplots(1, len(METHODS), sharey=True)
        for axis, (method, title) in zip(axes, METHODS.items(), strict=True):
            for (scenario, label), colour in zip(SCENARIOS.items(), COLOURS, strict=True):
                of_it = table[(table["method"] == method) & (table["scenario"] == scenario)]
                for _, run in of_it.groupby("seed"):
                    axis.plot(run["layer"], run["overlap"], color=colour, alpha=0.25, linewidth=1)
                means = of_it.groupby("layer")["overlap"].mean()
                axis.plot(means.index, means, "o-", color=colour, label=label)
            axis.set_title(title)
            axis.set_xlabel("layer")
            axis.grid(axis="y", alpha=0.3)
        axes[0].set_ylabel("overlap of Fisher informations")
        axes[0].set_ylim(0, 1)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def lines(table: pd.DataFrame) -> Iterator[str]:
    """Write the means over seeds as a Markdown table."""
    numbers = sorted(set(table["layer"]))
    yield "| | " + " | ".join(f"layer {k}" for k in numbers) + " |"
    yield "|---|" + "---:|" * len(numbers)
    for method, title in METHODS.items():
        for scenario, label in SCENARIOS.items():
            of_it = table[(table["method"] == method) & (table["scenario"] == scenario)]
            by_layer = of_it.groupby("layer")["overlap"]
            cells = [f"{by_layer.mean()[k]:.2f} ± {by_layer.std()[k]:.2f}" for k in numbers]
            yield "| " + " | ".join([f"{title}, {label}", *cells]) + " |"


def kept() -> Iterator[str]:
    """Write what is known of both tasks as a Markdown table, mean and standard deviation [%]."""
    table = read_csv(RUNS)
    just, change = table["bwt@gem, from"], table["bwt@gem"]
    second = 2 * table["acc@gem"] - (just + change)  # of two tasks
    scores = pd.DataFrame({"just": just, "first": just + change, "second": second}) / 10
    yield "| | first, just learnt | first, at the end | second, at the end |"
    yield "|---|---:|---:|---:|"
    for method, title in METHODS.items():
        for scenario, label in SCENARIOS.items():
            of_it = scores[(table["method"] == method) & table["in"].str.endswith(scenario)]
            cells = [f"{of_it[name].mean():.1f} ± {of_it[name].std():.1f}" for name in of_it]
            yield "| " + " | ".join([f"{title}, {label}", *cells]) + " |"


def main() -> None:
    """Read the runs, if they are given; draw the picture and print the table."""
    if len(sys.argv) > 1:
        found = layers(StudyFolder.open(Path(sys.argv[1])))
        found.to_csv(LAYERS, index=False, float_format="%.6g")
    table = read_csv(LAYERS)
    picture(table).savefig(PICTURE, dpi=110)
    print("\n".join([*lines(table), "", *kept()]))


if __name__ == "__main__":
    main()
