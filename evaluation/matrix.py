"""The forgetting matrix: how well each phase is played after each phase of training."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from continual_arcade.evaluation.record import Record
from continual_arcade.evaluation.terminal import TerminalTable


@dataclass(frozen=True)
class Matrix:
    """Mean scores by phase played and stage of training."""

    values: npt.NDArray[np.float64]
    """Mean scores, shape ``(1 + phases of training, phases played)``. Row 0 is before training and
    row i after i phases of it; NaN where a phase was not trained to its end."""
    stages: tuple[str, ...]
    """Name of each row."""
    phases: tuple[str, ...]
    """Name of each column."""
    learnt: tuple[int, ...]
    """For each column, the row after its phase was trained for the first time."""

    @property
    def changes(self) -> npt.NDArray[np.float64]:
        """Score at the end less score when just learnt, for each column; negative is forgetting.

        NaN for a phase that was not followed by another one: nothing could be forgotten.
        """
        last = len(self.values) - 1
        return np.array(
            [
                self.values[last, column] - self.values[row, column] if row < last else np.nan
                for column, row in enumerate(self.learnt)
            ]
        )


def forgetting_matrix(record: Record) -> Matrix:
    """Lay out the matrix of one run."""
    return Matrix(
        values=record.matrix,
        stages=("before training", *(f"after {name}" for name in record.stage_labels)),
        phases=record.labels,
        learnt=record.learnt(),
    )


def as_text(matrix: Matrix, points: str) -> TerminalTable:
    """Lay the matrix out for a console of rich, a row for each phase played.

    Args:
        matrix: The matrix.
        points: What the score counts.
    """
    table = TerminalTable(
        title=f"mean {points}",
        texts=["phase played"],
        numbers=[*map(str, range(len(matrix.stages))), "change"],
        caption="0: before training; 1, 2, ...: after so many phases of it; *: just learnt.\n"
        "change: at the end less when just learnt; negative is forgetting.",
    )
    for column, phase in enumerate(matrix.phases):
        cells = [
            f"*{_number(value)}" if row == matrix.learnt[column] else _number(value)
            for row, value in enumerate(matrix.values[:, column])
        ]
        table.add_row(phase, *cells, _number(matrix.changes[column], "+"))
    return table


def _number(value: float, sign: str = "") -> str:
    return "-" if np.isnan(value) else f"{value:{sign}.1f}"
