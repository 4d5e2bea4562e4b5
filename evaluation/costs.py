"""What evaluation costs, beside the training that it judges."""

from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from continual_arcade.evaluation.tidy import TidyTable


@dataclass(frozen=True)
class Cost:
    """One evaluation, and the training before it."""

    lifetime_step: int
    """How long the agent had lived."""
    training_seconds: float
    """Training since the evaluation before, or since the run began or was resumed [s]."""
    evaluation_steps: int
    """Steps of all episodes together."""
    evaluation_seconds: float
    """All that the evaluation took, with probes and the checkpoint [s]."""


COLUMNS = [field.name for field in fields(Cost)]

_TABLE = TidyTable[Cost](
    name="table of costs",
    row="evaluation",
    columns=tuple(COLUMNS),
    texts=frozenset(),
    keys=("lifetime_step",),
)


def append(path: Path, cost: Cost) -> None:
    """Append an evaluation to a table, which is made if it is not there.

    Raises:
        OSError: If the disk is full or the file cannot be written; the message names the file.
    """
    _TABLE.append(path, [cost])


def read(path: Path) -> pd.DataFrame:
    """Read a table.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not such a table, or damaged; the message names the file.
    """
    return _TABLE.read(path)
