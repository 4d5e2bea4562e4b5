"""What evaluation costs, next to the training between evaluations."""

from dataclasses import dataclass, fields

from continual_arcade.evaluation.csv_table import TidyTable


@dataclass(frozen=True)
class Cost:
    """One evaluation, and the training before it."""

    lifetime_step: int
    """Training so far [lifetime steps]."""
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

append, read = _TABLE.append, _TABLE.read
