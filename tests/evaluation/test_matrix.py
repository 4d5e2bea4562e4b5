"""The matrix says what was played when, against tables made by hand."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from continual_arcade.envs import Schedule, Stretch
from continual_arcade.evaluation import forgetting_matrix
from continual_arcade.evaluation.figures import draw_curves, draw_matrix
from continual_arcade.evaluation.matrix import as_text
from continual_arcade.evaluation.table import COLUMNS


def schedule(*values: float) -> Schedule:
    return Schedule(
        "s", tuple(Stretch(name=f"gap {v:g}", steps=100, params={"gap": v}) for v in values)
    )


def table(cells: dict[tuple[int, int], list[list[float]]], run: str = "r") -> pd.DataFrame:
    """Cells: (step, trained phase) -> scores of the episodes of each phase played."""
    records = [
        (run, 0, step, trained, phase, episode, score - 5, score, 10, episode, "h")
        for (step, trained), phases in cells.items()
        for phase, scores in enumerate(phases)
        for episode, score in enumerate(scores)
    ]
    return pd.DataFrame(records, columns=COLUMNS)


THREE = schedule(100, 90, 80)
LIFE = {
    (0, -1): [[0, 0], [0, 2], [0, 0]],
    (50, 0): [[99, 99], [99, 99], [99, 99]],  # on the way: not in the matrix
    (100, 0): [[10, 20], [4, 6], [1, 1]],
    (150, 1): [[88, 88], [88, 88], [88, 88]],
    (200, 1): [[6, 8], [30, 40], [2, 4]],
    (300, 2): [[1, 3], [40, 50], [20, 30]],
}


def test_by_hand() -> None:
    matrix = forgetting_matrix(table(LIFE), THREE)
    np.testing.assert_array_equal(matrix.values, [[0, 1, 0], [15, 5, 1], [7, 35, 3], [2, 45, 25]])
    assert matrix.learnt == (1, 2, 3)
    # The first phase lost 13, the second gained 10 (never clipped), the last cannot be forgotten.
    np.testing.assert_array_equal(matrix.changes, [-13, 10, np.nan])


def test_the_order_of_rows_does_not_matter() -> None:
    shuffled = table(LIFE).sample(frac=1, random_state=1)
    np.testing.assert_array_equal(
        forgetting_matrix(shuffled, THREE).values, forgetting_matrix(table(LIFE), THREE).values
    )


def test_a_phase_that_was_not_finished_is_unknown_and_not_zero() -> None:
    unfinished = {key: value for key, value in LIFE.items() if key != (300, 2)}
    unfinished[250, 2] = [[7, 7], [7, 7], [7, 7]]
    matrix = forgetting_matrix(table(unfinished), THREE)
    assert np.isnan(matrix.values[3]).all()
    assert np.isnan(matrix.changes).all()


def test_an_evaluation_a_little_late_counts() -> None:
    """Eight environments take eight steps at a time: 100 may have become 104."""
    late = {(104 if step == 100 else step, phase): v for (step, phase), v in LIFE.items()}
    np.testing.assert_array_equal(
        forgetting_matrix(table(late), THREE).values, forgetting_matrix(table(LIFE), THREE).values
    )


def test_a_phase_that_comes_back_has_one_column() -> None:
    cells = {(0, -1): [[0], [0]], (100, 0): [[9], [1]], (200, 1): [[3], [8]], (300, 2): [[9], [2]]}
    matrix = forgetting_matrix(table(cells), schedule(100, 90, 100))
    assert matrix.values.shape == (4, 2)
    assert matrix.learnt == (1, 2)
    np.testing.assert_array_equal(matrix.changes, [0, -6])


def test_several_runs_are_refused() -> None:
    both = pd.concat([table(LIFE), table(LIFE, run="other")])
    with pytest.raises(ValueError, match="the table holds 2"):
        forgetting_matrix(both, THREE)
    with pytest.raises(ValueError, match="the table holds 0"):
        forgetting_matrix(table({}), THREE)


def test_the_text_fits_a_terminal() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(as_text(forgetting_matrix(table(LIFE), THREE), "pipes passed"))
    text = console.export_text()
    assert "gap 100" in text
    assert "*15.0" in text
    assert "-13.0" in text
    assert "+10.0" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("life", [LIFE, {(0, -1): [[0], [0], [0]]}])
def test_pictures(tmp_path: Path, life: dict[tuple[int, int], list[list[float]]]) -> None:
    rows = table(life)
    draw_matrix(forgetting_matrix(rows, THREE), "pipes", "title", tmp_path / "m.png")
    draw_curves(rows, THREE, "pipes", "title", tmp_path / "c.png")
    for name in ("m.png", "c.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
