"""Draws how three tasks are learnt and kept, from the runs of the study calibration-three.

    python docs/results/three_tasks.py [runs/calibration-three]

With the folder of the study it writes the accuracies of each run through training to
calibration-three-curves.csv first; without, it reads that. It draws docs/images/three_tasks.png and
prints the table of docs/calibration.md.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from continual_arcade.envs.drawing.chart_style import chart_style
from continual_arcade.evaluation.csv_table import read_csv
from continual_arcade.evaluation.runs import Run
from continual_arcade.evaluation.table import of_network
from continual_arcade.reports.pages.static import STYLE
from continual_arcade.studies.folder import StudyFolder

HERE = Path(__file__).parent
CURVES = HERE / "calibration-three-curves.csv"
PICTURE = HERE.parent / "images" / "three_tasks.png"
METHODS = {"online": "SGD", "l2": "L2", "ewc": "EWC"}
TASKS = "ABC"
COLOURS = ("#6b6b6b", "#d1702a", "#1f6fb2")
QUESTIONS = 1_000
"""Of an exam, of which a score is the number answered right."""


def curves(folder: StudyFolder) -> pd.DataFrame:
    """Return the accuracy in each task through training, run by run."""
    found = []
    for cell in folder.cells:
        run = Run.load(folder.place(cell))
        table = of_network(run.table, run.network)
        found.append(
            pd.DataFrame(
                {
                    "method": cell.method,
                    "seed": cell.seed,
                    "step": table["lifetime_step"],
                    "task": [TASKS[phase] for phase in table["eval_phase"]],
                    "accuracy": table["score"] / QUESTIONS,
                }
            )
        )
    return pd.concat(found)


def picture(table: pd.DataFrame) -> Figure:
    """Draw the accuracy in each task, a panel for each, from when it begins to be learnt."""
    ends = table["step"].max() / len(TASKS)
    with chart_style(STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained")
        panels: Any = figure.subplots(len(TASKS), 1, sharex=True, sharey=True)
        for number, (axis, task) in enumerate(zip(panels, TASKS, strict=True)):
            began = table[(table["task"] == task) & (table["step"] >= number * ends)]
            for (method, title), colour in zip(METHODS.items(), COLOURS, strict=True):
                of_it = began[began["method"] == method]
                for _, run in of_it.groupby("seed"):
                    axis.plot(run["step"], run["accuracy"], color=colour, alpha=0.2, linewidth=1)
                means = of_it.groupby("step")["accuracy"].mean()
                axis.plot(means.index, means, color=colour, label=title)
            for change in range(1, len(TASKS)):
                axis.axvline(change * ends, color="black", linewidth=0.8, alpha=0.4)
            axis.set_ylabel(f"task {task}")
            axis.grid(axis="y", alpha=0.3)
        panels[0].set_ylim(0.7, 1)
        panels[-1].set_xlabel("examples")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(METHODS))
    return figure


def lines(table: pd.DataFrame) -> Iterator[str]:
    """Write what is known at the end, and what was when just learnt, as a Markdown table [%]."""
    total = table["step"].max()
    yield "| | A, just learnt | A, at the end | B, at the end | C, at the end | all, at the end |"
    yield "|---|" + "---:|" * (len(TASKS) + 2)
    for method, title in METHODS.items():
        of_it = table[table["method"] == method]
        just = of_it[(of_it["step"] == total // len(TASKS)) & (of_it["task"] == "A")]
        end = of_it[of_it["step"] == total]
        columns = [just.set_index("seed")["accuracy"]]
        columns += [end[end["task"] == task].set_index("seed")["accuracy"] for task in TASKS]
        columns.append(end.groupby("seed")["accuracy"].mean())
        cells = [f"{100 * one.mean():.1f} ± {100 * one.std():.1f}" for one in columns]
        yield "| " + " | ".join([title, *cells]) + " |"


def main() -> None:
    """Read the runs, if they are given; draw the picture and print the table."""
    if len(sys.argv) > 1:
        found = curves(StudyFolder.open(Path(sys.argv[1])))
        found.to_csv(CURVES, index=False, float_format="%.6g")
    table = read_csv(CURVES)
    picture(table).savefig(PICTURE, dpi=110)
    print("\n".join(lines(table)))


if __name__ == "__main__":
    main()
