"""Taking a run back to where it can go on: what was written after that is written again."""

import csv
from pathlib import Path

from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.whole_files import write_text_whole


def rewind(folder: RunFolder, step: int) -> None:
    """Remove what a run wrote after a lifetime step, and lines that were cut off.

    Args:
        folder: The run.
        step: The last lifetime step that stays; 0 if it begins anew, and nothing stays.
    """
    last = step if step else -1
    for table in (folder.table, folder.diagnostics, folder.costs):
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
    lines = path.read_bytes().decode("utf-8").splitlines(keepends=True)
    header = next(csv.reader(lines[:1]), [])
    kept = [
        line
        for line in lines[1:]
        if line.endswith("\n") and _step(next(csv.reader([line])), header, column) <= last
    ]
    if not kept:
        path.unlink()
        return
    write_text_whole(path, "".join([lines[0], *kept]))


def _step(cells: list[str], header: list[str], column: str) -> float:
    values = dict(zip(header, cells, strict=False))
    return float(values.get(column) or "inf")
