"""Rewinding a run to where it can be resumed: what was written after that is written again."""

import csv
import math
from pathlib import Path

from continual_arcade.evaluation.atomic_files import write_whole
from continual_arcade.evaluation.run_folder import RunFolder


def rewind(folder: RunFolder, step: int) -> None:
    """Remove what a run wrote after a lifetime step, and lines that were cut off.

    Args:
        folder: The run.
        step: The last lifetime step that stays; 0 to start from scratch, with nothing left.
    """
    last = step if step else -1
    for table in (folder.table, folder.diagnostics, folder.costs, folder.footprints):
        _keep_lines(table, "lifetime_step", last)
    for log in folder.path.glob("progress*.csv"):
        _keep_lines(log, "time/total_timesteps", last)
    for path in (folder.path / "checkpoints").glob("step_*.zip"):
        if int(path.stem.removeprefix("step_")) > last:
            path.unlink()
    if step == 0:
        folder.training_state.unlink(missing_ok=True)


def _keep_lines(path: Path, column: str, last: int) -> None:
    """Keep the whole lines of a table up to a step; a table without any is removed."""
    if not path.exists():
        return
    header, *lines = path.read_bytes().splitlines(keepends=True) or [b""]
    names = _cells(header)
    kept = [line for line in lines if line.endswith(b"\n") and _step(line, names, column) <= last]
    if kept:
        write_whole(path, lambda unfinished: unfinished.write_bytes(b"".join([header, *kept])))
    else:
        path.unlink()


def _cells(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8", "replace")]), [])


def _step(line: bytes, names: list[str], column: str) -> float:
    """Return the step of a line; infinity if it has none."""
    try:
        return float(dict(zip(names, _cells(line), strict=False))[column])
    except (KeyError, ValueError, csv.Error):
        return math.inf
