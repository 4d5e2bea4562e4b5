"""Tables that are cut off, on full disks, and read while they are written: whole rows, no fewer."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import pandas as pd
import pytest
from cut_off import cuts
from full_disks import files_of_at_most
from stable_baselines3.common.logger import CSVOutputFormat

from continual_arcade.evaluation import (
    costs,
    csv_table,
    footprints,
    network_diagnostics,
    table,
)
from continual_arcade.evaluation.costs import Cost
from continual_arcade.evaluation.footprints import Footprint
from continual_arcade.evaluation.network_diagnostics import Reading
from continual_arcade.evaluation.rewinding import rewind
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.table import Row
from continual_arcade.studies.progress import ProgressLog


def cost(step: int) -> Cost:
    return Cost(step, 1.25, 7, 0.5)


def held(step: int) -> Footprint:
    return Footprint(step, 90, 1080, 9600, 0, float("nan"))


def episode(step: int) -> Row:
    return Row("r", 0, step, -1, 0, 0, -1.5, 2.0, 7, 1_000_000, "0f" * 4)


def reading(step: int) -> Any:
    (row,) = network_diagnostics.rows(
        [Reading("a, b", float("nan"), 0)], run="r", seed=0, step=step, trained_phase=0
    )
    return row


KINDS: dict[str, tuple[Any, Callable[[int], Any]]] = {
    "costs": (costs, cost),
    "footprints": (footprints, held),
    "evaluations": (table, episode),
    "diagnostics": (network_diagnostics, reading),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[Any, Callable[[int], Any]]:
    return KINDS[request.param]


def written(path: Path, kind: tuple[Any, Callable[[int], Any]], *steps: int) -> bytes:
    of, row = kind
    for step in steps:
        of.append(path, [row(step)])
    return path.read_bytes()


@pytest.mark.parametrize("apart", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_table_cut_at_any_byte_is_mended_when_it_is_written(
    kind: tuple[Any, Callable[[int], Any]], apart: int, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    whole = written(path, kind, 0, 1)
    for cut in cuts(whole, apart):
        path.write_bytes(whole[:cut])
        kept = max(0, whole[:cut].count(b"\n") - 1)
        written(path, kind, 2)
        assert kind[0].read(path)["lifetime_step"].tolist() == [*range(kept), 2], cut


@pytest.mark.parametrize("apart", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_table_cut_at_any_byte_is_not_taken_for_whole(
    kind: tuple[Any, Callable[[int], Any]],
    apart: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(csv_table, "_PATIENCE", 0.0)
    path = tmp_path / "table.csv"
    whole = written(path, kind, 0, 1)
    ends = [cut for cut in range(len(whole) + 1) if whole[:cut].endswith(b"\n")]
    assert len(ends) == 3
    for cut in cuts(whole, apart):
        path.write_bytes(whole[:cut])
        if cut in ends[1:]:
            assert len(kind[0].read(path)) == ends.index(cut)
        else:
            with pytest.raises(ValueError, match=r"cut off|holds no|is not a|has the columns"):
                kind[0].read(path)


@pytest.mark.parametrize("before", [(), (0,), (0, 1)])
@pytest.mark.parametrize("room", [0, 1, 10])
def test_a_disk_that_is_full_at_any_line_leaves_a_table_that_goes_on(
    room: int, before: tuple[int, ...], kind: tuple[Any, Callable[[int], Any]], tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    content = written(path, kind, *before) if before else None
    with (
        files_of_at_most(len(content or b"") + room),
        pytest.raises(OSError, match=r"File too large: .*table\.csv"),
    ):
        written(path, kind, 5)
    assert (path.read_bytes() if path.exists() else None) == content
    written(path, kind, 6)
    assert kind[0].read(path)["lifetime_step"].tolist() == [*before, 6]


@pytest.mark.parametrize(
    "wrong",
    [{"score": float("inf")}, {"returned": float("nan")}, {"seed": 2**64}, {"eval_seed": 2**63}],
)
def test_what_could_not_be_read_is_not_written(wrong: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    before = written(path, KINDS["evaluations"], 0)
    with pytest.raises(ValueError, match=r" = \S+ cannot be written to a table of evaluations"):
        table.append(path, [episode(1), replace(episode(2), **wrong)])
    assert path.read_bytes() == before
    table.append(path, [replace(episode(1), seed=2**63 - 1, eval_seed=2**63 - 1)])
    assert table.read(path)["eval_seed"].tolist() == [1_000_000, 2**63 - 1]


# Whoever reads meanwhile.


def test_a_line_that_is_just_being_written_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    whole = written(path, KINDS["costs"], 0, 1)
    waited = []

    def sleep(_: float) -> None:
        waited.append(path.write_bytes(whole))

    monkeypatch.setattr(time, "sleep", sleep)
    for cut in (0, 5, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert len(costs.read(path)) == 2
    assert len(waited) == 3
    path.write_bytes(whole[:-1])
    monkeypatch.setattr(csv_table, "_PATIENCE", 0.0)
    with pytest.raises(ValueError, match="cut off"):  # so it would be without patience
        costs.read(path)


def test_a_table_that_is_being_written_can_be_read_at_any_time(tmp_path: Path) -> None:
    path = tmp_path / "evaluations.csv"
    rows = [replace(episode(0), run="r" * 200, episode=i) for i in range(60)]
    seen: list[pd.DataFrame] = []
    may_write, enough = Semaphore(), Event()

    def write() -> int:
        steps = 0
        while may_write.acquire() and not enough.is_set():
            table.append(path, [replace(row, lifetime_step=steps) for row in rows])
            steps += 1
        return steps

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        try:
            while len(seen) < 20 and not writing.done():
                if path.exists():
                    may_write.release(3)  # while it is read
                    seen.append(table.read(path))
        finally:
            enough.set()
            may_write.release()
        steps = writing.result()
    last = table.read(path)
    assert len(last) == steps * 60
    assert len(seen[-1]) > len(seen[0])
    for each in seen:
        assert each.equals(last[: len(each)])


# The log of training.

LINES: list[dict[str, Any]] = [
    {"time/total_timesteps": 4, "a": 1.5},
    {"time/total_timesteps": 8, "a": 2.5, "train/loss": 0.125},
    {"time/total_timesteps": 12, "b": 'with "quotes", and commas'},
    {"time/total_timesteps": 16, "train/loss": 3, "c": 7},
]


def logged(log: CSVOutputFormat, lines: list[dict[str, Any]]) -> None:
    for line in lines:
        log.write(line, dict.fromkeys(line, ()))  # type: ignore[misc]


def test_the_log_says_what_that_of_stable_baselines_says(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.csv"
    for log in (ProgressLog(ours), CSVOutputFormat(str(theirs))):
        logged(log, LINES)
        log.close()
    names = ["time/total_timesteps", "a", "train/loss", "b", "c"]
    one, other = pd.read_csv(ours), pd.read_csv(theirs)
    assert list(one) == names
    pd.testing.assert_frame_equal(one, other[names])


@pytest.mark.parametrize("kind", [ProgressLog, CSVOutputFormat])
def test_a_full_disk_mixes_no_columns_up(kind: Any, tmp_path: Path) -> None:
    path = tmp_path / "progress.csv"
    log = kind(path)
    logged(log, LINES[:2])
    before = path.read_bytes()
    with files_of_at_most(len(before) + 2):
        with pytest.raises(OSError, match="File too large"):
            logged(log, LINES[2:])
        after = path.read_bytes()
        if kind is ProgressLog:
            assert after == before
            log.close()
        else:  # what it is there for
            assert not after.startswith(before)
            with pytest.raises(OSError, match="File too large"):
                log.close()


def test_a_log_cut_at_any_byte_is_read_and_rewound(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.make()
    path = folder.progress_from(0)
    log = ProgressLog(path)
    logged(log, [{key: value for key, value in line.items() if key != "b"} for line in LINES])
    log.close()
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        lines = max(0, whole[:cut].count(b"\n") - 1)
        found = folder.read_progress()
        steps = [] if found is None else found["time/total_timesteps"].tolist()
        assert steps == [4, 8, 12, 16][:lines], cut
        rewind(folder, 8)
        assert path.exists() == (lines > 0)
        if lines:
            assert path.read_bytes() == b"".join(
                whole.splitlines(keepends=True)[: 1 + min(lines, 2)]
            )


def test_lines_that_make_no_sense_are_rewound(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.make()
    written(folder.costs, KINDS["costs"], 0, 100)
    whole = folder.costs.read_bytes()
    folder.costs.write_bytes(whole + b"\0\0\xff,1\r\nx,1,2,3\r\n\r\n200,1,2,3\r\n" + b"\0" * 50)
    rewind(folder, 150)
    assert folder.costs.read_bytes() == whole
