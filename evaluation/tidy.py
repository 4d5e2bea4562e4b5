"""Tidy tables on disk: whole rows, on the disk at once, and nothing taken for granted when read."""

import csv
import errno
import io
import math
import os
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd

RowT = TypeVar("RowT")
"""A dataclass; its fields are the columns, in order."""


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

    def append(self, path: Path, new: Iterable[RowT]) -> None:
        """Append rows to a table, which is made if it is not there.

        The rows are on the disk when this returns: a run that is killed keeps all of them. They are
        written all at once or not at all, so that a table never ends in half a row.

        Raises:
            OSError: If the disk is full or the file cannot be written; the message names the file.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        if not path.exists():
            writer.writerow(self.columns)
        writer.writerows(self._cells(row) for row in new)
        data = text.getvalue().encode()
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                if file.write(data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError as error:
                file.truncate(before)
                raise OSError(error.errno, error.strerror, str(path)) from error

    def _cells(self, row: RowT) -> list[Any]:
        cells = astuple(row)  # type: ignore[call-overload]
        return [
            "" if name in self.undefined - self.texts and math.isnan(cell) else cell
            for name, cell in zip(self.columns, cells, strict=True)
        ]

    def read(self, path: Path) -> pd.DataFrame:
        """Read a table.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is not such a table, or damaged; the message names the file.
        """
        try:
            table = pd.read_csv(path, dtype=dict.fromkeys(sorted(self.texts), str))
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a {self.name}: {error}") from error
        if tuple(table.columns) != self.columns:
            raise ValueError(
                f"{path} has the columns {', '.join(map(str, table.columns))}; a {self.name} has "
                f"{', '.join(self.columns)}"
            )
        if not path.read_bytes().endswith(b"\n"):
            # A number that was cut off would be read as a shorter one, or as none.
            raise ValueError(f"{path} is damaged: its last line is cut off")
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
            if name not in self.texts and table[name].dtype.kind not in "if":
                raise ValueError(f"{path} is damaged: {name} is no number in some line")
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
