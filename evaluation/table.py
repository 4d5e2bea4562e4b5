"""The tidy table of evaluations: one row for each episode that was played."""

import csv
import errno
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd

from continual_arcade.evaluation.evaluator import Evaluator, Played


@dataclass(frozen=True)
class Row:
    """One episode of an evaluation."""

    run: str
    """Name of the run."""
    seed: int
    """Seed of the run."""
    lifetime_step: int
    """How long the agent had lived."""
    trained_phase: int
    """Index of the phase that it was or had just been trained in; -1 before training."""
    eval_phase: int
    """Index of the phase that was played; of a phase that comes back, the first."""
    episode: int
    returned: float
    """Sum of the rewards; the column is called ``return``."""
    score: float
    length: int
    """Steps."""
    eval_seed: int
    """Seed of the episode."""
    params_hash: str
    """Eight hex digits of the parameters that were played."""


_KEYS = ["run", "lifetime_step", "trained_phase", "eval_phase", "episode"]
"""What makes a row the only one of its kind."""

COLUMNS = [field.name if field.name != "returned" else "return" for field in fields(Row)]


def rows(
    evaluator: Evaluator, played: Played, *, run: str, seed: int, step: int, trained_phase: int
) -> list[Row]:
    """Turn an evaluation into rows.

    Args:
        evaluator: Who played.
        played: What came of it.
        run: Name of the run.
        seed: Seed of the run.
        step: How long the agent had lived [lifetime steps].
        trained_phase: Index of the phase that it was trained in; ``BEFORE`` if in none.
    """
    return [
        Row(
            run=run,
            seed=seed,
            lifetime_step=step,
            trained_phase=trained_phase,
            eval_phase=phase.index,
            episode=episode,
            returned=float(played.returns[position, episode]),
            score=float(played.scores[position, episode]),
            length=int(played.lengths[position, episode]),
            eval_seed=evaluator.seeds[episode],
            params_hash=params_hash(phase.params),
        )
        for position, phase in enumerate(evaluator.phases)
        for episode in range(evaluator.episodes)
    ]


def frame(of: Iterable[Row]) -> pd.DataFrame:
    """Return rows as the tidy table."""
    return pd.DataFrame([tuple(asdict(row).values()) for row in of], columns=COLUMNS)


def params_hash(params: Mapping[str, float]) -> str:
    """Return eight hex digits that stand for the parameters of a phase."""
    text = json.dumps(sorted((name, float(value)) for name, value in params.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def append(path: Path, new: Iterable[Row]) -> None:
    """Append rows to a table, which is made if it is not there.

    The rows are on the disk when this returns: a run that is killed keeps all its evaluations.
    They are written all at once or not at all, so that a table never ends in half a row.

    Raises:
        OSError: If the disk is full or the file cannot be written; the message names the file.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if not path.exists():
        writer.writerow(COLUMNS)
    writer.writerows(asdict(row).values() for row in new)
    data = text.getvalue().encode()
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            if file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError as error:
            file.truncate(before)
            raise OSError(error.errno, error.strerror, str(path)) from error


def read(path: Path) -> pd.DataFrame:
    """Read a table.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not such a table, or damaged; the message names the file.
    """
    try:
        table = pd.read_csv(path, dtype={"params_hash": str, "run": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a table of evaluations: {error}") from error
    if list(table.columns) != COLUMNS:
        raise ValueError(
            f"{path} has the columns {', '.join(map(str, table.columns))}; a table of evaluations "
            f"has {', '.join(COLUMNS)}"
        )
    damaged = table.isna().any(axis=1)
    if damaged.any():
        raise ValueError(
            f"{path} is damaged in line {int(damaged.to_numpy().argmax()) + 2}: a value is missing"
        )
    for name in COLUMNS:
        if name not in ("run", "params_hash") and table[name].dtype.kind not in "if":
            raise ValueError(f"{path} is damaged: {name} is no number in some line")
    infinite = np.isinf(table[["return", "score"]].to_numpy(np.float64)).any(axis=1)
    if infinite.any():
        raise ValueError(
            f"{path} is damaged in line {int(infinite.argmax()) + 2}: no finite number"
        )
    twice = table.duplicated(_KEYS)
    if twice.any():
        raise ValueError(
            f"{path} holds the episode of line {int(twice.to_numpy().argmax()) + 2} twice"
        )
    return table


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Return whether two tables hold the same episodes with the same outcome, in any order."""
    first, second = (
        table.sort_values(_KEYS).reset_index(drop=True)[COLUMNS] for table in (one, other)
    )
    return first.equals(second)
