"""The matrix says what was played when, against tables made by hand."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tables import gaps, record_of, write_run

from continual_arcade.evaluation import EvaluationSettings, Run, forgetting_matrix
from continual_arcade.evaluation.matrix import as_text
from continual_arcade.reports.run_pictures import show

THREE = gaps(100, 90, 80)
CELLS = {
    (0, -1): [[0, 0], [0, 2], [0, 0]],
    (50, 0): [[40, 40], [40, 40], [40, 40]],  # on the way: not in the matrix
    (100, 0): [[10, 20], [4, 6], [1, 1]],
    (150, 1): [[38, 38], [38, 38], [38, 38]],
    (200, 1): [[6, 8], [30, 40], [2, 4]],
    (300, 2): [[1, 3], [44, 46], [20, 30]],
}


def test_by_hand() -> None:
    matrix = forgetting_matrix(record_of(THREE, CELLS))
    np.testing.assert_array_equal(matrix.values, [[0, 1, 0], [15, 5, 1], [7, 35, 3], [2, 45, 25]])
    assert matrix.learnt == (1, 2, 3)
    # The first phase lost 13, the second gained 10 (never clipped), the last cannot be forgotten.
    np.testing.assert_array_equal(matrix.changes, [-13, 10, np.nan])


def test_the_text_fits_a_terminal() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(as_text(forgetting_matrix(record_of(THREE, CELLS)), "pipes passed"))
    text = console.export_text()
    assert "gap 100" in text
    assert "*15.0" in text
    assert "-13.0" in text
    assert "+10.0" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("stages", [6, 1])
def test_pictures(tmp_path: Path, stages: int) -> None:
    """Also of a run that was evaluated only before training."""
    evaluation = EvaluationSettings(every=50, at_end=1, episodes=2, first_seed=0)
    cells = {key: CELLS[key] for key in list(CELLS)[:stages]}
    run = Run.load(write_run(tmp_path, THREE, cells, evaluation=evaluation))
    console = Console(width=100, record=True, file=io.StringIO())
    show(run, tmp_path, console)
    assert "gap 100" in console.export_text()
    for name in ("matrix.png", "curves.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
