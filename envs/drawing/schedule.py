"""Schedules as a picture."""

from pathlib import Path
from typing import Any

from continual_arcade.envs.drawing.chart_style import chart_style
from continual_arcade.envs.schedules import Schedule


def draw(schedule: Schedule, path: str | Path) -> None:
    """Draw each parameter over all lifetime steps, phase by phase.

    Args:
        schedule: The schedule.
        path: Picture to write; the suffix says which kind.
    """
    # Users name phases: a dollar sign in a name begins no formula.
    with chart_style({"text.parse_math": False}):
        _figure(schedule).savefig(path)


def _figure(schedule: Schedule) -> Any:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = sorted({name for spec in schedule.phases for name in spec.params})
    figure = Figure(figsize=(9, 1.2 + 1.7 * max(1, len(names))), layout="constrained", dpi=120)
    grid: Any = figure.subplots(max(1, len(names)), sharex=True, squeeze=False)
    colours = mpl.colormaps["viridis"]
    starts = (0, *schedule.ends[:-1])
    for axes, name in zip(grid[:, 0], names or ["nothing drifts"], strict=True):
        for index, spec in enumerate(schedule.phases):
            start, end = starts[index], schedule.ends[index]
            shade = colours(0.85 * index / max(1, len(schedule) - 1))
            axes.axvspan(start, end, color=shade, alpha=0.12, lw=0)
            if name in spec.params:
                ends = [spec.params_at(0.0)[name], spec.params_at(1.0)[name]]
                axes.plot([start, end], ends, color=shade, lw=3, solid_capstyle="butt")
        for boundary in schedule.boundaries:
            axes.axvline(boundary, color="0.4", lw=0.8, ls=":")
        axes.set_ylabel(name)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0, y=0.2)
    top = grid[0, 0]
    for index, spec in enumerate(schedule.phases):
        middle = (starts[index] + schedule.ends[index]) / 2
        top.annotate(
            spec.name,
            (middle, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    grid[-1, 0].set_xlabel("lifetime step")
    grid[-1, 0].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figure.suptitle(
        f"Schedule {schedule.name} (dotted: boundaries)", x=0.01, ha="left", fontsize=11
    )
    return figure
