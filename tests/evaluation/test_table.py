"""The tidy table: whole rows, on the disk at once, and nothing taken for granted when read."""

import resource
from pathlib import Path

import numpy as np
import pytest

from continual_arcade.envs import make_game, shipped
from continual_arcade.evaluation import Evaluator, Played
from continual_arcade.evaluation.table import COLUMNS, append, params_hash, read, rows, same

SCHEDULE = shipped("conflict", make_game("FlappyBird"))


def evaluation(step: int, phase: int, run: str = "r", score: float = 0.0) -> list[object]:
    evaluator = Evaluator("FlappyBird", SCHEDULE, episodes=2, max_steps=10)
    scores = np.arange(6.0).reshape(3, 2) + score
    played = Played(scores - 5, scores, np.full((3, 2), 7), 0.1)
    return list(rows(evaluator, played, run=run, seed=4, step=step, trained_phase=phase))


def test_a_row_for_each_episode(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    append(path, evaluation(0, -1))  # type: ignore[arg-type]
    append(path, evaluation(100, 0, score=10))  # type: ignore[arg-type]
    table = read(path)
    assert list(table.columns) == COLUMNS
    assert COLUMNS == [
        "run",
        "seed",
        "lifetime_step",
        "trained_phase",
        "eval_phase",
        "episode",
        "return",
        "score",
        "length",
        "eval_seed",
        "params_hash",
        "network",
    ]
    assert len(table) == 12
    first = table.iloc[0]
    assert first["return"] == -5.0
    assert (first["trained_phase"], first["eval_phase"], first["episode"]) == (-1, 0, 0)
    assert first["eval_seed"] == 1_000_000
    assert first["params_hash"] == params_hash(SCHEDULE.frozen(0).params)
    assert table["params_hash"].nunique() == 3
    assert table["score"].tolist() == [*range(6), *range(10, 16)]


def test_same_tables_in_another_order(tmp_path: Path) -> None:
    one, other = tmp_path / "1.csv", tmp_path / "2.csv"
    append(one, [*evaluation(0, -1), *evaluation(9, 0)])  # type: ignore[arg-type]
    append(other, [*evaluation(9, 0), *evaluation(0, -1)])  # type: ignore[arg-type]
    assert same(read(one), read(other))
    append(other, evaluation(10, 1))  # type: ignore[arg-type]
    assert not same(read(one), read(other))


def test_hashes_stand_for_parameters() -> None:
    assert params_hash({"a": 1.0, "b": 2.0}) == params_hash({"b": 2, "a": 1})
    assert params_hash({"a": 1.0}) != params_hash({"a": 1.0000001})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: "", "not a table of evaluations"),
        (lambda text: "a,b\n1,2\n", "has the columns a, b"),
        (lambda text: text[: text.rindex(",") - 6] + "\n", "damaged in line 7"),
        (lambda text: text + text.splitlines()[1] + "\n", "line 8 twice"),
        (lambda text: text.replace("0.0,7,", "nan,7,"), "damaged in line"),
        (lambda text: text.replace("0.0,7,", "inf,7,"), "line 2: no finite number"),
        (lambda text: text.replace(",7,", ",seven,"), "length is no number in some line"),
    ],
)
def test_damaged_tables_are_named(tmp_path: Path, damage: object, message: str) -> None:
    path = tmp_path / "t.csv"
    append(path, evaluation(0, -1))  # type: ignore[arg-type]
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with pytest.raises(ValueError, match=message) as error:
        read(path)
    assert str(path) in str(error.value)


def test_a_full_disk_leaves_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    append(path, evaluation(0, -1))  # type: ignore[arg-type]
    before = path.read_bytes()
    previous = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, previous[1]))
    try:
        with pytest.raises(OSError, match=r"t\.csv"):
            append(path, evaluation(9, 0))  # type: ignore[arg-type]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, previous)
    assert path.read_bytes() == before


def test_a_missing_table_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.csv")
