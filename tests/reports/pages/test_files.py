import csv
import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sample_pages as samples

from continual_arcade.reports.pages import files
from continual_arcade.reports.pages.files import MANIFEST, write
from continual_arcade.reports.pages.html import render
from continual_arcade.reports.pages.numbers import numbers_of

SMALL = samples.page_of(samples.lines(), samples.table())
NAMES = {"curves.png", "curves.svg", "curves.csv", "summary.csv", "summary.tex"}


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_page_and_its_files(tmp_path: Path) -> None:
    write(SMALL, tmp_path / "report.html")
    assert names(tmp_path) == {"report.html", "report_files"}
    assert (tmp_path / "report.html").read_text("utf-8") == render(SMALL)
    assert names(tmp_path / "report_files") == NAMES | {MANIFEST}
    assert (tmp_path / "report_files" / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (tmp_path / "report_files" / "curves.svg").read_text("utf-8")
    manifest = json.loads((tmp_path / "report_files" / MANIFEST).read_text("utf-8"))
    assert set(manifest["files"]) == NAMES


@pytest.mark.usefixtures("undrawn")  # each kind is drawn in test_static.py
def test_every_kind_of_chart_has_its_files(tmp_path: Path) -> None:
    write(samples.full(b""), tmp_path / "all.html")
    written = names(tmp_path / "all_files")
    for chart in samples.charts():
        assert {f"{chart.key}.{kind}" for kind in ("png", "svg", "csv")} <= written


@pytest.mark.usefixtures("undrawn")
def test_numbers_can_be_read_back(tmp_path: Path) -> None:
    write(SMALL, tmp_path / "report.html")
    with (tmp_path / "report_files" / "curves.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    numbers = numbers_of(samples.lines())
    assert tuple(header) == numbers.columns
    for row, original in zip(rows, numbers.rows, strict=True):
        for text, cell in zip(row, original, strict=True):
            if isinstance(cell, str):
                assert text == cell
            else:
                assert float(text or "nan") == pytest.approx(cell, rel=0, nan_ok=True)
    with (tmp_path / "report_files" / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "method": "finetune",
        "average": "9.51",
        "average, low": "8.4",
        "average, high": "10.6",
        "forgetting": "",
        "forgetting, low": "",
        "forgetting, high": "",
    }
    assert [float(row["forgetting, low"] or "nan") for row in rows] == pytest.approx(
        [np.nan, -1.7, np.nan], nan_ok=True
    )


def test_the_same_page_makes_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(SMALL, tmp_path / name / "report.html")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.usefixtures("undrawn")
def test_files_of_an_earlier_report_do_not_stay(tmp_path: Path) -> None:
    write(SMALL, tmp_path / "report.html")
    write(samples.page_of(samples.bars()), tmp_path / "report.html")
    assert names(tmp_path) == {"report.html", "report_files"}
    assert names(tmp_path / "report_files") == {"bars.png", "bars.svg", "bars.csv", MANIFEST}


def test_a_page_that_is_no_report_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("<html>mine</html>")
    with pytest.raises(FileExistsError, match="no report of ours"):
        write(SMALL, path)
    assert path.read_text() == "<html>mine</html>"
    assert names(tmp_path) == {"report.html"}
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(FileExistsError, match="no report of ours"):
        write(SMALL, tmp_path / "folder.html")


def test_a_folder_that_is_no_reports_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "report_files"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="was not made by a report"):
        write(SMALL, tmp_path / "report.html")
    (folder / MANIFEST).write_text('{"made_by": "someone else", "files": ["mine.txt"]}')
    with pytest.raises(FileExistsError, match="was not made by a report"):
        write(SMALL, tmp_path / "report.html")
    assert names(tmp_path) == {"report_files"}
    assert (folder / "mine.txt").read_text() == "mine"


@pytest.mark.usefixtures("undrawn")
def test_what_a_user_put_into_the_folder_is_kept(tmp_path: Path) -> None:
    write(SMALL, tmp_path / "report.html")
    before = tree(tmp_path)
    (tmp_path / "report_files" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds notes\.txt, which no report put there"):
        write(samples.page_of(), tmp_path / "report.html")
    assert tree(tmp_path) == before | {"report_files/notes.txt": b"mine"}


@pytest.mark.parametrize("name", ["report", "report.htm", "report.pdf", ".html"])
def test_names_that_are_no_page(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"\.html"):
        write(SMALL, tmp_path / name)
    assert names(tmp_path) == set()


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write(SMALL, tmp_path / "nowhere" / "report.html")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("failing", ["_write_csv", "_write_pictures", "_write_whole", "_published"])
def test_a_full_disk_leaves_the_earlier_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "report.html"
    write(SMALL, path)
    before = tree(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, failing, full)
    with pytest.raises(OSError, match=r"report\.html could not be written: No space") as caught:
        write(replace(SMALL, title="Another"), path)
    assert caught.value.errno == errno.ENOSPC
    assert "earlier report is intact" in str(caught.value)
    assert tree(tmp_path) == before
    assert names(tmp_path) == {"report.html", "report_files"}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_failing_rename_brings_the_earlier_report_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    path = tmp_path / "report.html"
    write(SMALL, path)
    before = tree(tmp_path)
    real_rename, real_replace, calls = Path.rename, Path.replace, [0]

    def failing(real: Any) -> Any:
        def move(self: Path, target: Path) -> Any:
            calls[0] += 1
            if calls[0] == nth:
                raise OSError(errno.EIO, "broken")
            return real(self, target)

        return move

    monkeypatch.setattr(Path, "rename", failing(real_rename))
    monkeypatch.setattr(Path, "replace", failing(real_replace))
    with pytest.raises(OSError, match="broken"):
        write(replace(SMALL, title="Another"), path)
    assert tree(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="could not be written"):
        write(SMALL, tmp_path / "report.html")
