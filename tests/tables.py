"""Tables of evaluations and runs made by hand, so that tests know the expected results."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from continual_arcade.agents import METHODS, Method
from continual_arcade.envs import IDS, PhaseSpec, Schedule
from continual_arcade.evaluation import EvaluationSettings, Record
from continual_arcade.evaluation.table import COLUMNS, params_hash

Cells = Mapping[tuple[int, int], npt.ArrayLike]
"""(lifetime step, phase trained) -> scores, shape (phases played, episodes)."""


def gaps(*values: float, steps: int = 100) -> Schedule:
    """Flappy Bird with one gap after the other; an equal one comes back."""
    return Schedule(
        "gaps",
        tuple(PhaseSpec(name=f"gap {v:g}", steps=steps, params={"gap": v}) for v in values),
    )


def table_of(
    schedule: Schedule, cells: Cells, *, run: str = "r", seed: int = 0, first_seed: int = 0
) -> pd.DataFrame:
    """The tidy table; the return is the score less five."""
    records = [
        (
            *(run, seed, step, trained, phase.index, episode, score - 5.0, score, 10),
            *(first_seed + episode, params_hash(phase.params), "last"),
        )
        for (step, trained), of_phases in cells.items()
        for phase, scores in zip(
            schedule.distinct, np.asarray(of_phases, float).tolist(), strict=True
        )
        for episode, score in enumerate(scores)
    ]
    return pd.DataFrame(records, columns=COLUMNS)


def record_of(schedule: Schedule, cells: Cells, **options: Any) -> Record:
    return Record.from_table(table_of(schedule, cells), schedule, **options)


def matrix_cells(schedule: Schedule, rows: Sequence[Sequence[float]]) -> Cells:
    """One evaluation of one episode before training, and one at each phase end."""
    steps = (0, *schedule.ends)
    return {(steps[i], i - 1): [[value] for value in row] for i, row in enumerate(rows)}


def write_run(
    root: Path,
    schedule: Schedule,
    cells: Cells,
    *,
    seed: int = 0,
    method: str = "finetune",
    spec: Method = METHODS["finetune"],
    settings: Mapping[str, Any] | None = None,
    evaluation: EvaluationSettings | None = None,
    game: str = "FlappyBird",
) -> Path:
    """A run on the disk, without checkpoints; evaluated as the cells say, at phase ends only."""
    episodes = len(np.asarray(next(iter(cells.values())))[0])
    if evaluation is None:
        evaluation = EvaluationSettings(every=0, at_end=1, episodes=episodes, first_seed=0)
    given = dict(settings or {"learning_rate": 0.001})
    names = [game, schedule.name, method, spec.name, *map(str, given.values())]
    path = root / "__".join([*names, str(seed), str(len(list(root.iterdir())))]).replace("/", "-")
    path.mkdir()
    config = {
        "game": game,
        "env": IDS[game],
        "schedule": schedule.to_dict(),
        "fingerprint": schedule.fingerprint,
        "method": method,
        "method_spec": spec.to_dict(),
        "seed": seed,
        "settings": given,
        "save_every": 0,
        "evaluation": asdict(evaluation),
    }
    (path / "config.json").write_text(json.dumps(config))
    rows = table_of(schedule, cells, run=path.name, seed=seed, first_seed=evaluation.first_seed)
    rows.to_csv(path / "evaluations.csv", index=False, quoting=csv.QUOTE_MINIMAL)
    return path
