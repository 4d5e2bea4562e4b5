"""The tidy table of evaluations: one row for each episode that was played."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any

import pandas as pd

from continual_arcade.evaluation.csv_table import TidyTable
from continual_arcade.evaluation.evaluator import PhaseEvaluator, Played


@dataclass(frozen=True)
class Row:
    """One episode of an evaluation."""

    run: str
    """Name of the run."""
    seed: int
    """Seed of the run."""
    lifetime_step: int
    """Training so far [lifetime steps]."""
    trained_phase: int
    """Index of the phase that it was or had just been trained in; -1 before training."""
    eval_phase: int
    """Index of the phase that was played; of a phase that recurs, the first."""
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

_TABLE = TidyTable[Row](
    name="table of evaluations",
    row="episode",
    columns=tuple(COLUMNS),
    texts=frozenset({"params_hash", "run"}),
    keys=tuple(_KEYS),
)


def rows(
    evaluator: PhaseEvaluator[Any],
    played: Played,
    *,
    run: str,
    seed: int,
    step: int,
    trained_phase: int,
) -> list[Row]:
    """Turn an evaluation into rows.

    Args:
        evaluator: The evaluator that played.
        played: The result.
        run: Name of the run.
        seed: Seed of the run.
        step: Training so far [lifetime steps].
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
    return pd.DataFrame([astuple(row) for row in of], columns=COLUMNS)


def params_hash(params: Mapping[str, float]) -> str:
    """Return eight hex digits that stand for the parameters of a phase."""
    text = json.dumps(sorted((name, float(value)) for name, value in params.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


append, read = _TABLE.append, _TABLE.read


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Return whether two tables hold the same episodes with the same outcome, in any order."""
    first, second = (
        table.sort_values(_KEYS).reset_index(drop=True)[COLUMNS] for table in (one, other)
    )
    return first.equals(second)
