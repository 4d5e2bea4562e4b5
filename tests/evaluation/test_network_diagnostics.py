"""The table of diagnostics: undefined is nothing, and what is cut off is not taken for it."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from continual_arcade.evaluation import Reading, RunFolder
from continual_arcade.evaluation.network_diagnostics import COLUMNS, append, read, rows
from continual_arcade.evaluation.rewinding import rewind

READINGS = [
    Reading("gradient_norm", 0.5, 0),
    Reading("gradient_norm", 0.0, 1),
    Reading("gradient_cosine", 1.0, 0, 0),
    Reading("gradient_cosine", math.nan, 0, 1),
    Reading("weight_norm", 1 / 3),
]


def written(path: Path, *steps: int) -> Path:
    for step in steps:
        append(path, rows(READINGS, run="r", seed=4, step=step, trained_phase=step // 100 - 1))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "d.csv", 0, 100)
    table = read(path)
    assert list(table.columns) == COLUMNS
    assert COLUMNS == [
        "run",
        "seed",
        "lifetime_step",
        "trained_phase",
        "quantity",
        "phase",
        "other_phase",
        "value",
    ]
    assert len(table) == 10
    assert table["lifetime_step"].tolist() == [0] * 5 + [100] * 5
    assert table["trained_phase"].tolist() == [-1] * 5 + [0] * 5
    one = table[:5]
    assert one["quantity"].tolist() == [reading.quantity for reading in READINGS]
    assert one["phase"].tolist() == [0, 1, 0, 0, -1]
    assert one["other_phase"].tolist() == [-1, -1, 0, 1, -1]
    np.testing.assert_array_equal(one["value"], [reading.value for reading in READINGS])
    assert path.read_text().splitlines()[4] == "r,0,0,-1,gradient_cosine,0,1,".replace(
        "r,0", "r,4", 1
    )


def test_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    values = np.random.default_rng(0).normal(size=200) * 10.0 ** np.arange(-100, 100)
    readings = [Reading("q", value, phase) for phase, value in enumerate(values.tolist())]
    append(path, rows(readings, run="1", seed=0, step=1, trained_phase=0))
    np.testing.assert_array_equal(read(path)["value"], values)


def test_a_table_of_nothing_but_undefined_values(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    append(path, rows([Reading("q", math.nan)], run="r", seed=0, step=1, trained_phase=0))
    assert read(path)["value"].isna().all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "", "is not a table of diagnostics"),
        (lambda text: "a,b\n1,2\n", "has the columns a, b; a table of diagnostics has run, seed"),
        (lambda text: text[:-4], "its last line is cut off"),
        (
            lambda text: text.replace("r,4,0,-1,weight_norm,-1", "r,4,0,-1,,-1"),
            "in line 6: a value",
        ),
        (lambda text: text + text.splitlines()[2] + "\n", "holds the reading of line 7 twice"),
        (lambda text: text.replace("0.5", "half"), "value is no number in some line"),
    ],
)
def test_damaged_tables_are_named(
    tmp_path: Path, damage: Callable[[str], str], message: str
) -> None:
    path = written(tmp_path / "d.csv", 0)
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


def test_a_missing_table_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.csv")


def test_a_run_that_goes_on_writes_again_what_came_after(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.make()
    written(folder.diagnostics, 0, 100)
    expected = folder.diagnostics.read_bytes()
    written(folder.diagnostics, 200)
    rewind(folder, 100)
    assert folder.diagnostics.read_bytes() == expected
    rewind(folder, 0)
    assert not folder.diagnostics.exists()
