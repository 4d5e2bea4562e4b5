"""Pictures of an evaluation: the forgetting matrix and the learning curve of each phase."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.matrix import Matrix

_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.dpi": 120,
    "figure.constrained_layout.use": True,
}
_PHASE_COLOURS = "viridis"
"""Phases are ordered, so their colours are."""


def draw_matrix(matrix: Matrix, points: str, title: str, path: Path) -> None:
    """Draw the forgetting matrix as a heat map.

    Args:
        matrix: The matrix.
        points: What the score counts.
        title: What it is of.
        path: Picture to write; the suffix says which kind.
    """
    with mpl.rc_context(_STYLE):
        stages, phases = matrix.values.shape
        figure = Figure(figsize=(2.6 + 0.95 * stages, 1.9 + 0.5 * phases))
        axes: Any = figure.subplots()
        top = max(1.0, float(np.nanmax(matrix.values, initial=0.0)))
        image = axes.imshow(
            matrix.values.T,
            cmap="YlGnBu",
            vmin=min(0.0, float(np.nanmin(matrix.values))),
            vmax=top,
            aspect="auto",
        )
        for stage in range(stages):
            for phase in range(phases):
                value = matrix.values[stage, phase]
                just_learnt = stage == matrix.learnt[phase]
                axes.text(
                    stage,
                    phase,
                    "-" if np.isnan(value) else f"{value:.1f}",
                    ha="center",
                    va="center",
                    color="white" if value > 0.6 * top else "black",
                    fontweight="bold" if just_learnt else "normal",
                )
                if just_learnt:
                    axes.add_patch(
                        Rectangle(
                            (stage - 0.5, phase - 0.5),
                            1,
                            1,
                            fill=False,
                            edgecolor="black",
                            lw=1.5,
                            clip_on=False,
                        )
                    )
        axes.set_xticks(range(stages), ["before", *(f"{i}" for i in range(1, stages))])
        axes.set_xlabel("phases trained so far")
        axes.set_yticks(range(phases), matrix.phases)
        axes.set_ylabel("phase played")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_title(title)
        bar = figure.colorbar(image, ax=axes, shrink=0.85)
        bar.set_label(f"mean {points}")
        bar.outline.set_visible(False)
        figure.savefig(path)


def draw_curves(
    table: pd.DataFrame, schedule: Schedule, points: str, title: str, path: Path
) -> None:
    """Draw the score in each phase over the life of one agent, with a band for each phase.

    The line is the mean over the evaluation episodes. Its shade spans the middle half of them: it
    shows how much episodes differ, and is no interval of confidence.

    Args:
        table: The tidy table of one run.
        schedule: Its schedule.
        points: What the score counts.
        title: What it is of.
        path: Picture to write; the suffix says which kind.
    """
    with mpl.rc_context(_STYLE):
        played = schedule.distinct
        rows = -(-len(played) // 3)
        figure = Figure(figsize=(11, 0.6 + 2.3 * rows))
        grid: Any = figure.subplots(
            rows, min(3, len(played)), sharex=True, sharey=True, squeeze=False
        )
        colours = mpl.colormaps[_PHASE_COLOURS](np.linspace(0.0, 0.85, len(played)))
        for position, phase in enumerate(played):
            axes = grid.flat[position]
            _shade_phases(axes, schedule, phase.index)
            episodes = table[table["eval_phase"] == phase.index].groupby("lifetime_step")["score"]
            mean = episodes.mean()
            low, high = episodes.quantile(0.25), episodes.quantile(0.75)
            axes.fill_between(mean.index, low, high, color=colours[position], alpha=0.25, lw=0)
            axes.plot(mean.index, mean, color=colours[position], lw=1.8, marker="o", ms=3)
            axes.set_title(phase.name, fontsize=10, fontweight="normal")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")
            axes.set_ylim(bottom=min(0.0, float(table["score"].min())))
            axes.margins(x=0)
        for axes in grid.flat[len(played) :]:
            axes.set_visible(False)
        figure.supxlabel("lifetime step (grey: the phase that is played is trained)", fontsize=10)
        figure.supylabel(points, fontsize=10)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
        figure.savefig(path)


def _shade_phases(axes: Any, schedule: Schedule, phase: int) -> None:
    starts = (0, *schedule.ends[:-1])
    for index, (start, end) in enumerate(zip(starts, schedule.ends, strict=True)):
        if schedule.replayed_as(index) == phase:
            axes.axvspan(start, end, color="0.9", lw=0)
        axes.axvline(end, color="0.8", lw=0.8, ls=":")
