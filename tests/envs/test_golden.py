"""The rules replay the recorded traces of the reference, and notice when they are wrong."""

import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import golden_replay
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


@dataclass(frozen=True)
class Replayed:
    """What came of a replay."""

    returncode: int
    stdout: str
    stderr: str


def replay(folder: Path) -> Replayed:
    """Run the program in this process, where its loops are there already."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        status = golden_replay.main([str(folder)])
    return Replayed(status, out.getvalue(), err.getvalue())


def change(source: Path, target: Path, **columns: object) -> None:
    with np.load(source) as file:
        np.savez(target, **{**dict(file), **columns})


def test_every_column_of_every_trace_is_replayed_exactly() -> None:
    result = replay(GOLDEN)
    assert result.returncode == 0, result.stderr
    files = len(list(GOLDEN.glob("*.npz")))
    assert result.stdout.startswith(f"files {files}  comparisons ")
    assert result.stdout.endswith("  mismatches 0  largest difference 0\n")
    assert int(result.stdout.split()[3]) > 700_000


def test_a_folder_without_traces_fails(tmp_path: Path) -> None:
    result = replay(tmp_path)
    assert result.returncode == 1
    assert result.stdout == "files 0  comparisons 0  mismatches 0  largest difference 0\n"


@pytest.mark.parametrize(
    "column", ["player_y", "pipe1_gap_start", "reward", "game_over", "lives", "bird_colour"]
)
def test_one_wrong_number_is_a_mismatch(tmp_path: Path, column: str) -> None:
    source = GOLDEN / "flappy_gap090_rule.npz"
    with np.load(source) as file:
        values = file[column].copy()
    values[500] += 1
    change(source, tmp_path / source.name, **{column: values})
    result = replay(tmp_path)
    assert result.returncode == 1
    assert "mismatches 0" not in result.stdout
    assert f"row 500 {column}" in result.stderr


def test_a_draw_that_we_could_not_make_is_a_mismatch(tmp_path: Path) -> None:
    source = GOLDEN / "flappy_gap090_rule.npz"
    with np.load(source) as file:
        draws, kinds = file["draw_value"].copy(), file["draw_kind"]
    draws[np.flatnonzero(kinds == 1)[-1]] = 198  # the lowest top at this gap is 197
    change(source, tmp_path / source.name, draw_value=draws)
    result = replay(tmp_path)
    assert result.returncode == 1
    assert "draws that we never make" in result.stderr


def test_a_damaged_or_foreign_file_is_named(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "flappy_gap100_rule.npz", tmp_path / "good.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    np.savez(tmp_path / "foreign.npz", meta="{}")
    result = replay(tmp_path)
    assert result.returncode == 1
    assert result.stdout.startswith("files 3 ")
    assert "broken.npz cannot be replayed" in result.stderr
    assert "foreign.npz cannot be replayed" in result.stderr
