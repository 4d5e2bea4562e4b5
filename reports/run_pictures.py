"""What is shown of a run: the forgetting matrix and the curves, on the terminal and as pictures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from continual_arcade.envs.drawing.chart_style import chart_style
from continual_arcade.evaluation.matrix import as_text, forgetting_matrix
from continual_arcade.evaluation.runs import Comparison, Group, Run
from continual_arcade.reports.curves import learning_curves, matrix_chart
from continual_arcade.reports.method_results import MethodResults, collect_results
from continual_arcade.reports.pages.page_model import Chart
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
    schedule = run.protocol.schedule
    charts = {
        "matrix.png": matrix_chart(results, schedule, comparison.points),
        "curves.png": learning_curves(results, schedule, comparison.points),
    }
    for name, chart in charts.items():
        write_chart(chart, title, results, folder / name)
    console.out(f"drawn in {' and '.join(charts)} in {folder}")


def write_matrices(comparison: Comparison, results: Sequence[MethodResults], path: Path) -> None:
    """Draw the forgetting matrices of several methods side by side.

    Args:
        comparison: Their runs.
        results: Their results.
        path: Of the picture.

    Raises:
        OSError: If it cannot be written.
    """
    chart = matrix_chart(results, comparison.protocol.schedule, comparison.points)
    write_chart(chart, comparison.title, results, path)


def write_chart(chart: Chart, title: str, results: Sequence[MethodResults], path: Path) -> None:
    """Draw a chart of some results.

    Raises:
        OSError: If it cannot be written.
    """
    figure = draw(replace(chart, title=title), method_styles(tuple(one.label for one in results)))
    with chart_style(STYLE):
        figure.savefig(path, dpi=120)
