"""The tidy table of evaluations: one row for each episode that was played."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from continual_arcade.evaluation.csv_table import TidyTable
from continual_arcade.evaluation.evaluator import PhaseEvaluator, Played
from continual_arcade.evaluation.policies import NETWORKS, Network


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
    network: Network = "last"
    """By which weights the agent played: the average of those along the way, or the last ones."""


_KEYS = ["run", "lifetime_step", "trained_phase", "eval_phase", "episode", "network"]
"""What makes a row the only one of its kind."""

COLUMNS = [field.name if field.name != "returned" else "return" for field in fields(Row)]

_TABLE = TidyTable[Row](
    name="table of evaluations",
    row="episode",
    columns=tuple(COLUMNS),
    texts=frozenset({"params_hash", "run", "network"}),
    keys=tuple(_KEYS),
    added={"network": "last"},
)


def rows(
    evaluator: PhaseEvaluator[Any],
    played: Played,
    *,
    run: str,
    seed: int,
    step: int,
    trained_phase: int,
    network: Network = "last",
) -> list[Row]:
    """Turn an evaluation into rows.

    Args:
        evaluator: The evaluator that played.
        played: The result.
        run: Name of the run.
        seed: Seed of the run.
        step: Training so far [lifetime steps].
        trained_phase: Index of the phase that it was trained in; ``BEFORE`` if in none.
        network: By which weights the agent played.
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
            network=network,
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


def read(path: Path, *, mended: bool = False) -> pd.DataFrame:
    """Read a table; see :meth:`~.csv_table.TidyTable.read`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not such a table, or damaged; the message names the file.
    """
    table = _TABLE.read(path, mended=mended)
    unknown = sorted(set(table["network"]) - set(NETWORKS))
    if unknown:
        raise ValueError(
            f"{path} is damaged: network {unknown[0]!r} must be one of {', '.join(NETWORKS)}"
        )
    return table


def of_network(table: pd.DataFrame, network: Network | None = None) -> pd.DataFrame:
    """Return the episodes that were played by some weights.

    Args:
        table: The tidy table; one without the column is one of last weights.
        network: Which; the average if not given and there is one.

    Raises:
        ValueError: If none was played by these.
    """
    if "network" not in table:
        table = table.assign(network="last")
    there = set(table["network"])
    chosen = network or ("average" if "average" in there else "last")
    if chosen not in there and len(table):
        raise ValueError(
            f"no episode was played by network {chosen!r}, only by {', '.join(sorted(there))}"
        )
    chosen_rows: pd.DataFrame = table[table["network"] == chosen]
    return chosen_rows


append = _TABLE.append


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Return whether two tables hold the same episodes with the same outcome, in any order."""
    first, second = (
        table.sort_values(_KEYS).reset_index(drop=True)[COLUMNS] for table in (one, other)
    )
    return first.equals(second)
