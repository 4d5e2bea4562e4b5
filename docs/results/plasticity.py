"""Draws how well each of fifty tasks is learnt, from the runs of the study calibration-plasticity.

    python docs/results/plasticity.py [runs/calibration-plasticity]

With the folder of the study it writes the accuracy in each task at its end, run by run, to
calibration-plasticity-tasks.csv first; without, it reads that. It draws docs/images/plasticity.png
and prints the table of docs/calibration.md.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from continual_arcade.envs.drawing.chart_style import chart_style
from continual_arcade.evaluation.csv_table import read_csv
from continual_arcade.evaluation.runs import Run
from continual_arcade.reports.pages.static import STYLE
from continual_arcade.studies.folder import StudyFolder

HERE = Path(__file__).parent
TASKS = HERE / "calibration-plasticity-tasks.csv"
PICTURE = HERE.parent / "images" / "plasticity.png"
METHODS = {
    "online": ("backpropagation", "#d1702a"),
    "continual-backprop": ("continual backpropagation", "#1f6fb2"),
    "from-scratch": ("a new network for each task", "#6b6b6b"),
}
SPANS = ((1, 10), (11, 20), (21, 30), (31, 40), (41, 50))
"""Tasks, from the first of a column of the table to its last."""
QUESTIONS = 1_000
"""Of an exam, of which a score is the number answered right."""


def just_learnt(folder: StudyFolder) -> pd.DataFrame:
    """Return the accuracy in each task at its end, run by run."""
    found = []
    for cell in folder.cells:
        known = np.diag(Run.load(folder.place(cell)).scores.matrix[1:]) / QUESTIONS
        tasks = np.arange(1, len(known) + 1)
        of_it = {"method": cell.method, "seed": cell.seed, "task": tasks, "accuracy": known}
        found.append(pd.DataFrame(of_it))
    return pd.concat(found)


def picture(table: pd.DataFrame) -> Figure:
    """Draw the accuracy in each task at its end: each run, and the mean of all."""
    with chart_style(STYLE):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        axis: Any = figure.subplots()
        for method, (title, colour) in METHODS.items():
            of_it = table[table["method"] == method]
            for _, run in of_it.groupby("seed"):
                axis.plot(run["task"], run["accuracy"], color=colour, alpha=0.2, linewidth=1)
            means = of_it.groupby("task")["accuracy"].mean()
            axis.plot(means.index, means, color=colour, label=title)
        axis.set_xlabel("task")
        axis.set_ylabel("accuracy in it at its end")
        axis.grid(axis="y", alpha=0.3)
        figure.legend(loc="outside lower center", ncols=len(METHODS))
    return figure


def lines(table: pd.DataFrame) -> Iterator[str]:
    """Write how well tasks were learnt, early and late, as a Markdown table [%]."""
    titles = [f"tasks {first} to {last}" for first, last in SPANS]
    yield f"| | {' | '.join(titles)} | last ten less first ten |"
    yield "|---|" + "---:|" * (len(SPANS) + 1)
    for method, (title, _) in METHODS.items():
        of_it = table[table["method"] == method]
        means = [
            of_it[of_it["task"].between(first, last)].groupby("seed")["accuracy"].mean()
            for first, last in SPANS
        ]
        cells = [f"{100 * one.mean():.1f} ± {100 * one.std():.1f}" for one in means]
        change = means[-1] - means[0]
        cells.append(f"{100 * change.mean():+.1f} ± {100 * change.std():.1f}")
        yield "| " + " | ".join([title, *cells]) + " |"


def main() -> None:
    """Read the runs, if they are given; draw the picture and print the table."""
    if len(sys.argv) > 1:
        found = just_learnt(StudyFolder.open(Path(sys.argv[1])))
        found.to_csv(TASKS, index=False, float_format="%.6g")
    table = read_csv(TASKS)
    picture(table).savefig(PICTURE, dpi=110)
    print("\n".join(lines(table)))


if __name__ == "__main__":
    main()
