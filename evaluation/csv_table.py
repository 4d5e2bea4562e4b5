"""Tidy tables on disk: whole rows, synced at once, and validated when read, digit for digit."""

import csv
import io
import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd

RowT = TypeVar("RowT")
"""A dataclass; its fields are the columns, in order."""
_WHOLE = range(-(2**63), 2**63)
"""Whole numbers that can be read again."""
_PATIENCE = 0.5
"""How long a line that is cut off may take to become whole: somebody may be writing it [s]."""
_ROUNDS = tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1)
"""Whether pandas reads one number in six as its neighbour unless told otherwise; from 3.1 on it
reads all as they are written, and to tell it is deprecated."""


def read_csv(source: Path | io.BytesIO, **options: Any) -> pd.DataFrame:
    """Read a table as ``pandas.read_csv`` does, each number as it is written.

    Args:
        source: A file, or its bytes.
        **options: Others of ``pandas.read_csv``.
    """
    if _ROUNDS:
        options["float_precision"] = "round_trip"
    table: pd.DataFrame = pd.read_csv(source, **options)
    return table


@dataclass(frozen=True)
class TidyTable(Generic[RowT]):
    """What a table holds, and how it is written and read."""

    name: str
    """What it is called in messages, such as "table of evaluations"."""
    row: str
    """What a row is called."""
    columns: tuple[str, ...]
    """One for each field of a row."""
    texts: frozenset[str]
    """Columns of text; all others are numbers."""
    keys: tuple[str, ...]
    """What makes a row the only one of its kind."""
    undefined: frozenset[str] = frozenset()
    """Columns in which a number may be NaN, or a text empty; both are written as nothing."""
    added: Mapping[str, Any] = field(default_factory=dict)
    """The last columns, as far as tables of earlier versions lack them, and what they mean there.
    A table that was begun without them is continued without them."""

    def append(self, path: Path, new: Iterable[RowT]) -> None:
        """Append rows to a table, which is made if it is not there.

        The rows are on the disk when this returns: a run that is killed keeps all of them. They are
        written all at once or not at all. A last line that was cut off nevertheless, by a kill or a
        power cut in the middle of writing, is removed first.

        Raises:
            ValueError: If a number could not be read again; nothing is written then.
            OSError: If the disk is full or the file cannot be written; the message names the file.
        """
        cells = [self._cells(row) for row in new]
        with path.open("a+b", buffering=0) as file:
            before = _mend(file)
            file.seek(0)
            if before and self.added and file.readline() == _csv([self._older()]):
                cells = [self._without_added(path, row) for row in cells]
            rows = _csv(cells)
            data = memoryview(rows if before else self._header() + rows)
            try:
                while data:
                    data = data[file.write(data) :]
                os.fsync(file.fileno())
            except OSError as error:
                file.truncate(before)
                if not before:
                    path.unlink()
                raise OSError(error.errno, error.strerror, str(path)) from error

    def _header(self) -> bytes:
        return _csv([self.columns])

    def _older(self) -> tuple[str, ...]:
        """Return the columns of earlier versions."""
        return self.columns[: len(self.columns) - len(self.added)]

    def _without_added(self, path: Path, cells: list[Any]) -> list[Any]:
        count = len(self._older())
        for (name, meant), cell in zip(self.added.items(), cells[count:], strict=True):
            if cell != meant:
                raise ValueError(
                    f"{path} was begun by an earlier version, without the column {name}: there it "
                    f"is {meant!r}, and {cell!r} cannot be written to it"
                )
        return cells[:count]

    def _cells(self, row: RowT) -> list[Any]:
        cells = astuple(row)  # type: ignore[call-overload]
        return [
            cell if name in self.texts else self._number(name, cell)
            for name, cell in zip(self.columns, cells, strict=True)
        ]

    def _number(self, name: str, cell: Any) -> Any:
        """Return a number as it is written; one that could not be read again is refused."""
        if name in self.undefined and math.isnan(cell):
            return ""
        if not math.isfinite(cell) or (isinstance(cell, int) and cell not in _WHOLE):
            raise ValueError(
                f"{name} = {cell} cannot be written to a {self.name}: numbers are finite, and "
                "whole ones have 64 bits"
            )
        return cell

    def read(self, path: Path, *, mended: bool = False) -> pd.DataFrame:
        """Read a table.

        Args:
            path: The file.
            mended: Read it as :meth:`append` would leave it: without a last line that is cut off.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is not such a table, or damaged; the message names the file.
        """
        data = path.read_bytes() if mended else _settled(path)
        cut_off = not data.endswith(b"\n")
        if mended:
            data = data[: _whole(data)] or self._header()
        try:
            table = read_csv(io.BytesIO(data), dtype=dict.fromkeys(sorted(self.texts), str))
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a {self.name}: {error}") from error
        if self.added and tuple(table.columns) == self._older():
            table = table.assign(**self.added)
        if tuple(table.columns) != self.columns:
            raise ValueError(
                f"{path} has the columns {', '.join(map(str, table.columns))}; a {self.name} has "
                f"{', '.join(self.columns)}"
            )
        if cut_off and not mended:
            # A number that was cut off would be read as a shorter one, or as none.
            raise ValueError(f"{path} is damaged: its last line is cut off")
        if table.empty and not mended:
            raise ValueError(f"{path} holds no {self.row}")
        for name in self.undefined & self.texts:
            table[name] = table[name].fillna("")
        needed = [name for name in self.columns if name not in self.undefined]
        damaged = table[needed].isna().any(axis=1)
        if damaged.any():
            raise ValueError(
                f"{path} is damaged in line {int(damaged.to_numpy().argmax()) + 2}: a value is "
                "missing"
            )
        for name in self.columns:
            if name not in self.texts and len(table) and table[name].dtype.kind not in "if":
                wrong = pd.to_numeric(table[name], errors="coerce").isna() & table[name].notna()
                raise ValueError(
                    f"{path} is damaged: {name} is no number in some line, the first of them line "
                    f"{int(wrong.to_numpy().argmax()) + 2}"
                )
        numbers = table[[name for name in self.columns if name not in self.texts]]
        infinite = np.isinf(numbers.to_numpy(np.float64)).any(axis=1)
        if infinite.any():
            raise ValueError(
                f"{path} is damaged in line {int(infinite.argmax()) + 2}: no finite number"
            )
        twice = table.duplicated(list(self.keys))
        if twice.any():
            raise ValueError(
                f"{path} holds the {self.row} of line {int(twice.to_numpy().argmax()) + 2} twice"
            )
        return table


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _whole(data: bytes) -> int:
    """Return how many bytes the lines have that are not cut off."""
    return data.rfind(b"\n") + 1


def _mend(file: io.FileIO) -> int:
    """Remove a last line that is cut off; return how many bytes the others have."""
    size = file.seek(0, os.SEEK_END)
    if size:
        file.seek(size - 1)
        if file.read() != b"\n":
            file.seek(0)
            size = _whole(file.read())
            file.truncate(size)
    return size


def _settled(path: Path) -> bytes:
    """Read a table; if its last line is cut off, it may be that somebody is writing it."""
    given_up = time.monotonic() + _PATIENCE
    while not (data := path.read_bytes()).endswith(b"\n") and time.monotonic() < given_up:
        time.sleep(_PATIENCE / 10)
    return data
