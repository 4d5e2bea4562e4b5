"""A page on disk: one HTML file, and a folder beside it with all of it as pictures and tables."""

import csv
import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from continual_arcade.envs.drawing.chart_style import chart_style
from continual_arcade.reports.pages.html import GENERATOR, render
from continual_arcade.reports.pages.latex import as_latex
from continual_arcade.reports.pages.numbers import cells_of, numbers_of
from continual_arcade.reports.pages.page_model import Chart, DataTable, Page
from continual_arcade.reports.pages.static import STYLE, draw
from continual_arcade.reports.pages.style import MethodStyle, method_styles

MANIFEST = "contents.json"
"""Lists what a report put into its folder, and says that it was a report."""


def folder_of(path: Path) -> Path:
    """Return the folder of a page: ``report_files`` for ``report.html``."""
    return path.with_name(f"{path.stem}_files")


def write(page: Page, path: Path) -> None:
    """Write a page and its files, all of them or none; an earlier report is replaced.

    Beside ``report.html`` there is then ``report_files`` with each chart as PNG, SVG and CSV and
    each table as CSV and LaTeX, under their keys.

    Args:
        page: What to write.
        path: The HTML file.

    Raises:
        ValueError: If the file would not end in ``.html``, or there are too many methods.
        FileNotFoundError: If its folder does not exist.
        FileExistsError: If something that is no report has its name, or that of its folder, or lies
            in its folder.
        OSError: If there is no room, or nothing may be written there.
    """
    if path.suffix.lower() != ".html":
        raise ValueError(f"a report is an .html file, not {path}: give a name such as report.html")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into")
    folder = folder_of(path)
    _check_is_report(path)
    _check_is_folder_of_report(folder)
    with _said_how_to_mend(path):
        unfinished = Path(tempfile.mkdtemp(prefix=f".unfinished-{path.stem}-", dir=path.parent))
        try:
            new_page, new_folder = unfinished / path.name, unfinished / folder.name
            _write_whole(new_page, render(page))
            new_folder.mkdir()
            _write_files(page, new_folder)
            with _published(new_folder, folder, unfinished / "earlier"):
                new_page.replace(path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def _published(new: Path, place: Path, earlier: Path) -> Iterator[None]:
    """Put a folder into its place; an earlier one is restored if what follows fails."""
    if place.exists():
        place.rename(earlier)
    try:
        new.rename(place)
        yield
    except BaseException:
        if place.exists():
            place.rename(new)
        if earlier.exists():
            earlier.rename(place)
        raise


def _check_is_report(path: Path) -> None:
    if not path.exists() and not path.is_symlink():
        return
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            if f'<meta name="generator" content="{GENERATOR}">' in file.read(4096):
                return
    raise FileExistsError(
        f"{path} exists and is no report of ours: it is kept; choose another name, or move it away"
    )


def _check_is_folder_of_report(folder: Path) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        ours = {MANIFEST, *manifest["files"]} if manifest["made_by"] == GENERATOR else None
    except (OSError, ValueError, LookupError, TypeError):
        ours = None
    if ours is None:
        raise FileExistsError(
            f"{folder} exists and was not made by a report: it is kept; choose another name for "
            "the report, or move the folder away"
        )
    if strange := sorted({entry.name for entry in folder.iterdir()} - ours):
        raise FileExistsError(
            f"{folder} holds {', '.join(strange[:3])}{', ...' if strange[3:] else ''}, which no "
            "report put there, and would be lost: move it away"
        )


def _write_files(page: Page, folder: Path) -> None:
    styles = method_styles(page.methods)
    for item in page.items():
        path = folder / item.key
        match item:
            case Chart():
                _write_pictures(item, styles, path)
                numbers = numbers_of(item)
                rows = [[_exact(cell) for cell in row] for row in numbers.rows]
                _write_csv(path.with_suffix(".csv"), [numbers.columns, *rows])
            case DataTable():
                columns, cells = cells_of(item)
                rows = [[_exact(cell) for cell in row] for row in cells]
                _write_csv(path.with_suffix(".csv"), [columns, *rows])
                _write_whole(path.with_suffix(".tex"), as_latex(item))
    names = sorted(entry.name for entry in folder.iterdir())
    manifest = {"made_by": GENERATOR, "title": page.title, "files": names}
    _write_whole(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def _write_pictures(chart: Chart, styles: dict[str, MethodStyle], path: Path) -> None:
    figure = draw(chart, styles)
    with chart_style(STYLE):
        # What goes where is found once, for both files.
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(path.with_suffix(".png"), dpi=150)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


def _exact(cell: str | float) -> str:
    """Write a number so that it can be read back; nothing for NaN."""
    if isinstance(cell, str):
        return cell
    return "" if math.isnan(cell) else repr(cell)


def _write_csv(path: Path, rows: Iterable[Iterable[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _write_whole(path: Path, text: str) -> None:
    """Write a text and see it to the disk."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _said_how_to_mend(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason += "; an earlier report is intact"
        raise type(error)(error.errno, f"{path} could not be written: {reason}") from error
