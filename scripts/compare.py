"""Put runs that differ only by their seed together: what is kept, and how sure that is.

python -m continual_arcade.scripts.compare runs/FlappyBird-conflict__*
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import tyro
from rich.console import Console
from rich.table import Table

from continual_arcade.envs.messages import unknown
from continual_arcade.evaluation.comparison import Difference, paired_difference
from continual_arcade.evaluation.matrix import forgetting_matrix
from continual_arcade.evaluation.runs import Group, World, gather
from continual_arcade.evaluation.statistics import Estimate, mean_over_runs
from continual_arcade.scripts.cli import run

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Compare:
    """Put runs that differ only by their seed together: what is kept, and how sure that is."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs."""
    against: str | None = None
    """Method to take the differences of the others from, seed by seed; one of several settings as
    the table names it, "ewc, learning_rate=0.001". If not given: finetune, if it is there."""


def _scores(group: Group) -> "_Scores":
    """Return what the runs of a group come to."""
    records = [run.record() for run in group.runs.values()]
    matrices = [forgetting_matrix(record) for record in records]
    rows = list(enumerate(matrices[0].learnt))
    return _Scores(
        learnt=np.array([[m.values[row, i] for i, row in rows] for m in matrices]),
        end=np.array([m.values[-1] for m in matrices]),
        change=np.array([m.changes for m in matrices]),
    )


def _less(ours: Group, theirs: Group) -> Difference | None:
    """Compare the means over all phases at the end, seed by seed."""
    if ours is theirs or not ours.runs.keys() & theirs.runs.keys():
        return None
    one, other = (
        {seed: float(run.record().matrix[-1].mean()) for seed, run in group.runs.items()}
        for group in (ours, theirs)
    )
    return paired_difference(one, other)


@dataclass
class _Scores:
    """Scores of some runs, each of shape ``(runs, phases played)``."""

    learnt: Floats
    end: Floats
    change: Floats

    def of_phase(self, index: int) -> list[Estimate]:
        """Estimate the three of them for one phase."""
        return [mean_over_runs(v[:, index]) for v in (self.learnt, self.end, self.change)]

    @property
    def of_all(self) -> list[Estimate]:
        """Estimate the three of them for all phases: one number for each run first."""
        followed = ~np.isnan(self.change).all(axis=0)
        # A mean of no number is NaN, and no warning.
        change = self.change[:, followed].sum(axis=1) / (followed.sum() or np.nan)
        return [
            mean_over_runs(v) for v in (self.learnt.mean(axis=1), self.end.mean(axis=1), change)
        ]

    @property
    def worst(self) -> Estimate:
        """Estimate the score at the end in the phase that each run plays worst."""
        return mean_over_runs(self.end.min(axis=1))


_FORMATS = (".1f", ".1f", "+.1f")
_CAPTION = (
    "mean over runs ± 95 % t interval; of ten runs or more [95 % bootstrap interval].\n"
    "change: at the end less when just learnt; negative is forgetting.\n"
    "all: each run's mean over its phases; changes over those that another followed."
)


def compare(args: Compare, console: Console) -> None:
    """Print a table for each set of runs that differ only by their seed, and one over methods.

    Raises:
        ValueError: If there is nothing to compare, a seed was run twice, or no run is of the method
            to compare with.
        OSError: If there is no such run.
    """
    gathered = gather(args.folders)
    for left in gathered.left_out:
        console.print(f"left out: {left.path}: {left.reason}")
    if not gathered.worlds:
        raise ValueError("no run came to its end: there is nothing to compare")
    bases = [_base(world, args.against or "finetune") for world in gathered.worlds]
    if args.against is not None and not any(bases):
        names = {
            name
            for world in gathered.worlds
            for name in (world.labels if "," in args.against else [g.method for g in world.groups])
        }
        raise ValueError(unknown("method", args.against, sorted(names)))
    for world, base in zip(gathered.worlds, bases, strict=True):
        for group, label in zip(world.groups, world.labels, strict=True):
            console.print(_table(world, group, label))
        if len(world.groups) > 1:
            console.print(_summary(world))
            if base is not None:
                console.print(_differences(world, base))


def _base(world: World, name: str) -> Group | None:
    """Find the group to take differences from: the first that has the name, or is so labelled."""
    labelled = zip(world.groups, world.labels, strict=True)
    return next((group for group, label in labelled if name in (group.method, label)), None)


def _table(world: World, group: Group, label: str) -> Table:
    """Lay out the score of each phase when it was just learnt and at the end."""
    phases = next(iter(group.runs.values())).record().phases
    scores = _scores(group)
    table = Table(
        title=f"{world.title}, {label}: mean {world.points}",
        caption=f"seeds {', '.join(map(str, group.runs))}; {_CAPTION}",
        caption_justify="left",
    )
    table.add_column("phase played", no_wrap=True)
    for name in ("when just learnt", "at the end", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for i, phase in enumerate(phases):
        table.add_row(phase, *_cells(scores.of_phase(i)), end_section=i == len(phases) - 1)
    table.add_row("all", *_cells(scores.of_all))
    return table


def _summary(world: World) -> Table:
    """Lay out what the methods come to over all phases."""
    table = Table(
        title=f"{world.title}: mean {world.points} over all phases",
        caption=f"{_CAPTION}\nworst: at the end, in the phase that each run plays worst.",
        caption_justify="left",
    )
    table.add_column("method", overflow="fold")
    for name in ("runs", "when just learnt", "at the end", "change", "worst"):
        table.add_column(name, justify="right", no_wrap=True)
    for group, label in zip(world.groups, world.labels, strict=True):
        scores = _scores(group)
        table.add_row(label, str(len(group.runs)), *_cells(scores.of_all), f"{scores.worst:.1f}")
    return table


def _differences(world: World, base: Group) -> Table:
    """Lay out how much more the methods come to than one of them."""
    table = Table(
        title=f"{world.title}: mean {world.points} over all phases at the end, "
        f"less {base.label(world.groups)}",
        caption="mean difference of runs with equal seeds ± 95 % t interval; of ten pairs or more "
        "[95 % bootstrap interval].",
        caption_justify="left",
    )
    table.add_column("method", overflow="fold")
    for name in ("pairs", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    for group, label in zip(world.groups, world.labels, strict=True):
        if (difference := _less(group, base)) is not None:
            table.add_row(label, str(difference.pairs), f"{difference.estimate:+.1f}")
    return table


def _cells(estimates: list[Estimate]) -> list[str]:
    return [f"{e:{spec}}" for e, spec in zip(estimates, _FORMATS, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = tyro.cli(Compare, args=arguments, description=__doc__)
    run(lambda: compare(args, Console()))


if __name__ == "__main__":
    main()
