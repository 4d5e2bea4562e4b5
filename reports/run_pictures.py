"""What is shown of a run: the forgetting matrix and the curves, on the terminal and as pictures."""

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
from rich.console import Console

from continual_arcade.evaluation.matrix import as_text, forgetting_matrix
from continual_arcade.evaluation.runs import Comparison, Group, Run
from continual_arcade.reports.curves import learning_curves, matrix_chart
from continual_arcade.reports.method_results import collect_results
from continual_arcade.reports.pages.static import STYLE, draw
from continual_arcade.reports.pages.style import method_styles
from continual_arcade.reports.text import played_by


def show(run: Run, folder: Path, console: Console) -> None:
    """Print the matrix of a run, and draw it and its curves.

    Args:
        run: The run, with its own table or with one that was computed again.
        folder: Where the pictures go.
        console: Where to print.

    Raises:
        ValueError: If the table does not fit the schedule.
        OSError: If a picture cannot be written.
    """
    comparison = Comparison(run.protocol, [Group(run.method, run.settings, {run.seed: run})])
    results = collect_results(comparison, None, {})
    console.print(as_text(forgetting_matrix(run.scores), comparison.points))
    console.out(played_by({run.method: run.network}))
    title = f"{comparison.title}, {run.method}, seed {run.seed}"
    schedule, styles = run.protocol.schedule, method_styles((run.method,))
    charts = {
        "matrix.png": matrix_chart(results, schedule, comparison.points),
        "curves.png": learning_curves(results, schedule, comparison.points),
    }
    for name, chart in charts.items():
        figure = draw(replace(chart, title=title), styles)
        with mpl.rc_context(STYLE):
            figure.savefig(folder / name, dpi=120)
    console.out(f"drawn in {' and '.join(charts)} in {folder}")
