"""Put runs that differ only by their seed together: what is kept, and how sure that is.

python -m continual_arcade.scripts.compare runs/FlappyBird-conflict__dqn__*
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from continual_arcade.envs.games import make_game
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.matrix import Matrix, forgetting_matrix
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.statistics import mean_over_runs
from continual_arcade.evaluation.table import read
from continual_arcade.scripts.cli import run


@dataclass(frozen=True)
class Compare:
    """Put runs that differ only by their seed together: what is kept, and how sure that is."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs."""


@dataclass
class _Group:
    """Runs that differ only by their seed."""

    title: str
    points: str
    matrices: dict[int, Matrix]


def compare(args: Compare, console: Console) -> None:
    """Print a table for each set of runs that differ only by their seed.

    Raises:
        ValueError: If there is nothing to compare, a run is damaged, or a seed was run twice.
        OSError: If there is no such run.
    """
    if not args.folders:
        raise ValueError("no run is given: name at least one folder")
    groups: dict[str, _Group] = {}
    for path in args.folders:
        folder = RunFolder.open(path)
        config = folder.read_config()
        schedule = Schedule.from_dict(config["schedule"])
        matrix = forgetting_matrix(read(folder.table), schedule)
        if np.isnan(matrix.values[-1]).any():
            console.print(f"left out, because it did not come to its end: {path}")
            continue
        group = groups.setdefault(_all_but_the_seed(config), _group(config, schedule))
        if config["seed"] in group.matrices:
            raise ValueError(
                f"seed {config['seed']} is there twice ({path} is the second): the same life is "
                "no new evidence, leave one out"
            )
        group.matrices[config["seed"]] = matrix
    for group in groups.values():
        console.print(_table(group))


def _all_but_the_seed(config: dict[str, Any]) -> str:
    keys = ("game", "fingerprint", "method", "settings", "evaluation")
    return json.dumps([config[key] for key in keys], sort_keys=True)


def _group(config: dict[str, Any], schedule: Schedule) -> _Group:
    title = f"{config['game']}, {schedule.name}, {config['method']}"
    return _Group(title, make_game(config["game"]).points, {})


def _table(group: _Group) -> Table:
    """Lay out the score of each phase when it was just learnt and at the end."""
    matrices = list(group.matrices.values())
    phases, learnt = matrices[0].phases, matrices[0].learnt
    # Shape (runs, phases played) each.
    when_learnt = np.array([[m.values[row, i] for i, row in enumerate(learnt)] for m in matrices])
    at_the_end = np.array([m.values[-1] for m in matrices])
    changes = np.array([m.changes for m in matrices])
    seeds = ", ".join(str(seed) for seed in sorted(group.matrices))
    table = Table(
        title=f"{group.title}: mean {group.points}",
        caption=f"mean over runs ± 95 % t interval; seeds {seeds}.\n"
        "change: at the end less when just learnt; negative is forgetting.\n"
        "all: each run's mean over its phases; changes over those that another followed.",
        caption_justify="left",
    )
    table.add_column("phase played", no_wrap=True)
    for name in ("when just learnt", "at the end", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    columns = [(when_learnt, ".1f"), (at_the_end, ".1f"), (changes, "+.1f")]
    for i, phase in enumerate(phases):
        cells = [f"{mean_over_runs(values[:, i]):{spec}}" for values, spec in columns]
        table.add_row(phase, *cells, end_section=i == len(phases) - 1)
    # One number for each run first, then the interval: phases of one run are not independent.
    followed = ~np.isnan(changes).all(axis=0)
    means = [when_learnt.mean(axis=1), at_the_end.mean(axis=1)]
    means.append(
        changes[:, followed].mean(axis=1) if followed.any() else np.full(len(matrices), np.nan)
    )
    cells = [
        f"{mean_over_runs(values):{spec}}" for values, (_, spec) in zip(means, columns, strict=True)
    ]
    table.add_row("all", *cells)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = tyro.cli(Compare, args=arguments, description=__doc__)
    run(lambda: compare(args, Console()))


if __name__ == "__main__":
    main()
