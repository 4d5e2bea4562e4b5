"""Put runs that differ only by their seed together: what is kept, and how sure that is.

python -m continual_arcade.scripts.compare runs/FlappyBird-conflict__*
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import tyro
from rich.console import Console
from rich.table import Table

from continual_arcade.envs.games import make_game
from continual_arcade.envs.messages import unknown
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.matrix import Matrix, forgetting_matrix
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.statistics import Estimate, mean_over_runs
from continual_arcade.evaluation.table import read
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


@dataclass
class _Group:
    """Runs that differ only by their seed."""

    world: str
    method: str
    settings: dict[str, Any]
    """Those of the learner, and what the method adds: methods of one name need not be one."""
    points: str
    matrices: dict[int, Matrix]

    def less(self, other: "_Group") -> Estimate | None:
        """Estimate how much higher the mean over all phases is at the end, seed by seed."""
        seeds = sorted(self.matrices.keys() & other.matrices.keys())
        if self is other or not seeds:
            return None
        return mean_over_runs(
            [
                self.matrices[seed].values[-1].mean() - other.matrices[seed].values[-1].mean()
                for seed in seeds
            ]
        )

    @property
    def scores(self) -> "_Scores":
        """What the runs come to."""
        matrices = [self.matrices[seed] for seed in sorted(self.matrices)]
        rows = list(enumerate(matrices[0].learnt))
        return _Scores(
            learnt=np.array([[m.values[row, i] for i, row in rows] for m in matrices]),
            end=np.array([m.values[-1] for m in matrices]),
            change=np.array([m.changes for m in matrices]),
        )


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
        ValueError: If there is nothing to compare, a run is damaged, a seed was run twice, or no
            run is of the method to compare with.
        OSError: If there is no such run.
    """
    if not args.folders:
        raise ValueError("no run is given: name at least one folder")
    worlds: dict[str, dict[str, _Group]] = {}
    for path in args.folders:
        folder = RunFolder.open(path)
        config = folder.read_config()
        schedule = Schedule.from_dict(config["schedule"])
        matrix = forgetting_matrix(read(folder.table), schedule)
        if np.isnan(matrix.values[-1]).any():
            console.print(f"left out, because it did not come to its end: {path}")
            continue
        groups = worlds.setdefault(_key(config, "game", "fingerprint", "evaluation"), {})
        found = _group(config, schedule)
        key = json.dumps([found.method, found.settings], sort_keys=True)
        group = groups.setdefault(key, found)
        if config["seed"] in group.matrices:
            raise ValueError(
                f"seed {config['seed']} is there twice ({path} is the second): the same life is "
                "no new evidence, leave one out"
            )
        group.matrices[config["seed"]] = matrix
    of_worlds = [list(groups.values()) for groups in worlds.values()]
    bases = [_base(groups, args.against or "finetune") for groups in of_worlds]
    if args.against is not None and not any(bases):
        labelled = "," in args.against
        names = {_label(g, gs) if labelled else g.method for gs in of_worlds for g in gs}
        raise ValueError(unknown("method", args.against, sorted(names)))
    for of_world, base in zip(of_worlds, bases, strict=True):
        for one in of_world:
            console.print(_table(one, of_world))
        if len(of_world) > 1:
            console.print(_summary(of_world))
            if base is not None:
                console.print(_differences(of_world, base))


def _base(groups: list[_Group], name: str) -> _Group | None:
    """Find the group to take differences from: the first that has the name, or is so labelled."""
    return next((g for g in groups if name in (g.method, _label(g, groups))), None)


def _key(config: dict[str, Any], *names: str) -> str:
    return json.dumps([config[name] for name in names], sort_keys=True)


def _group(config: dict[str, Any], schedule: Schedule) -> _Group:
    world = f"{config['game']}, {schedule.name}"
    points = make_game(config["game"]).points
    spec = config["method_spec"]
    added = {name: spec[name] for name in ("replay", "parts", "remembers_all")}
    added["parts"] = "+".join(added["parts"]) or "none"
    return _Group(world, config["method"], {**config["settings"], **added}, points, {})


def _table(group: _Group, groups: list[_Group]) -> Table:
    """Lay out the score of each phase when it was just learnt and at the end."""
    phases = next(iter(group.matrices.values())).phases
    scores = group.scores
    seeds = ", ".join(str(seed) for seed in sorted(group.matrices))
    table = Table(
        title=f"{group.world}, {_label(group, groups)}: mean {group.points}",
        caption=f"seeds {seeds}; {_CAPTION}",
        caption_justify="left",
    )
    table.add_column("phase played", no_wrap=True)
    for name in ("when just learnt", "at the end", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for i, phase in enumerate(phases):
        table.add_row(phase, *_cells(scores.of_phase(i)), end_section=i == len(phases) - 1)
    table.add_row("all", *_cells(scores.of_all))
    return table


def _summary(groups: list[_Group]) -> Table:
    """Lay out what the methods come to over all phases."""
    table = Table(
        title=f"{groups[0].world}: mean {groups[0].points} over all phases",
        caption=f"{_CAPTION}\nworst: at the end, in the phase that each run plays worst.",
        caption_justify="left",
    )
    table.add_column("method", overflow="fold")
    for name in ("runs", "when just learnt", "at the end", "change", "worst"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in groups:
        scores = group.scores
        runs = str(len(group.matrices))
        table.add_row(_label(group, groups), runs, *_cells(scores.of_all), f"{scores.worst:.1f}")
    return table


def _differences(groups: list[_Group], base: _Group) -> Table:
    """Lay out how much more the methods come to than one of them."""
    table = Table(
        title=f"{base.world}: mean {base.points} over all phases at the end, "
        f"less {_label(base, groups)}",
        caption="mean difference of runs with equal seeds ± 95 % t interval; of ten pairs or more "
        "[95 % bootstrap interval].",
        caption_justify="left",
    )
    table.add_column("method", overflow="fold")
    for name in ("pairs", "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in groups:
        if (difference := group.less(base)) is not None:
            table.add_row(_label(group, groups), str(difference.runs), f"{difference:+.1f}")
    return table


def _label(group: _Group, groups: list[_Group]) -> str:
    """Name a group: its method, and the settings in which others of that method differ."""
    namesakes = [other.settings for other in groups if other.method == group.method]
    differing = [
        f"{name}={value}"
        for name, value in group.settings.items()
        if any(settings.get(name) != value for settings in namesakes)
    ]
    return ", ".join([group.method, *differing])


def _cells(estimates: list[Estimate]) -> list[str]:
    return [f"{e:{spec}}" for e, spec in zip(estimates, _FORMATS, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = tyro.cli(Compare, args=arguments, description=__doc__)
    run(lambda: compare(args, Console()))


if __name__ == "__main__":
    main()
