"""Tables for terminals of any width: nothing is cut, and nothing is read as markup."""

import io
import re
from collections.abc import Sequence

import pytest
import rich
from hypothesis import example, given, settings
from hypothesis import strategies as st
from printed import columns_of, without_spaces
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from continual_arcade.evaluation import terminal
from continual_arcade.evaluation.terminal import TerminalTable, plain_console

ODD = "[red]a[/red] [/] :smile: [[b]"
"""What rich would read as markup, or fail at."""

# Letters, what rich treats in its own way, and a character that is two columns wide.
TEXTS = st.text("ab[]/:_ 漢", min_size=1, max_size=30).map(str.strip).filter(bool)
NUMBERS = st.from_regex(r"[+-]?[0-9]{1,3}\.[0-9]( ± [0-9]{1,2}\.[0-9])?", fullmatch=True)


def printed(table: TerminalTable, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), markup=True)
    console.print(table)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def table_of(rows: Sequence[tuple[list[str], list[str]]], title: str = "title") -> TerminalTable:
    texts, numbers = (len(cells) for cells in rows[0])
    table = TerminalTable(title, list("ab"[:texts]), [f"number {i}" for i in range(numbers)], "end")
    for row in rows:
        table.add_row(*row[0], *row[1])
    return table


@st.composite
def contents(draw: st.DrawFn) -> list[tuple[list[str], list[str]]]:
    texts, numbers = draw(st.integers(1, 2)), draw(st.integers(1, 9))
    row = st.tuples(
        st.lists(TEXTS, min_size=texts, max_size=texts),
        st.lists(NUMBERS, min_size=numbers, max_size=numbers),
    )
    return draw(st.lists(row, min_size=1, max_size=4))


@settings(max_examples=40)
@given(rows=contents(), width=st.integers(30, 120))
@example(rows=[([ODD], ["1.0"] * 9)], width=40)
def test_nothing_is_cut(rows: list[tuple[list[str], list[str]]], width: int) -> None:
    text = printed(table_of(rows), width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    found = columns_of(text)
    for i, heading in zip(range(len(rows[0][0])), "ab", strict=False):
        # Folded, and repeated where the columns are more than there is room for.
        assert set(map(without_spaces, map("".join, found[heading]))) == {
            without_spaces("".join(row[0][i] for row in rows))
        }
    for i in range(len(rows[0][1])):
        ((*cells,),) = found[f"number {i}"]
        assert [cell for cell in cells if cell] == [row[1][i] for row in rows]


def test_what_cuts_is_found_out() -> None:
    """The table of rich, as it was used before, loses numbers in a narrow terminal."""
    table = Table()
    table.add_column("phase", no_wrap=True)
    for i in range(9):
        table.add_column(f"number {i}", justify="right", no_wrap=True)
    table.add_row("gap 100", *["*15.0"] * 9)
    console = Console(width=60, file=io.StringIO())
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    found = columns_of(console.file.getvalue())
    assert ["*15.0"] not in [cells for blocks in found.values() for cells in blocks]


def test_all_that_fits_stands_in_one_table() -> None:
    rows = [(["upside down"], ["1.0"] * 6)]
    wide = printed(table_of(rows), 200)
    assert wide.count("┏") == 1
    assert "number 5" in wide
    # Headings are folded before a table is split, and it is split before a number is broken.
    narrow = printed(table_of(rows), 66)
    assert narrow.count("┏") == 1
    assert "number" in narrow
    assert "number 5" not in narrow
    assert printed(table_of(rows), 40).count("┏") == 2


def test_names_are_not_broken_where_numbers_can_follow_below() -> None:
    names = ["large-split-digits-domain", "RelabelledFlappyBird"]
    found = columns_of(printed(table_of([(names, ["1,000,000"] * 4)]), 80))
    for heading, name in zip("ab", names, strict=True):
        assert {tuple(cells) for cells in found[heading]} == {(name,)}
    assert all(f"number {i}" in found for i in range(4))


def test_a_number_wider_than_the_terminal_is_folded() -> None:
    number = "1" * 50
    found = columns_of(printed(table_of([(["x"], [number])]), 30))
    assert "".join(found["number 0"][0]) == number


def test_titles_and_captions_are_folded() -> None:
    table = table_of([(["x"], ["1.0"])], title=f"{ODD} " * 4)
    assert without_spaces(printed(table, 25)).startswith(without_spaces(ODD) * 4)


def test_no_console_reads_markup_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither ours, which also prints lines as they are, nor the one that rich brings."""
    table = table_of([([ODD], ["1.0"])], title=ODD)
    for out in (rich.print, plain_console().print):
        out(table)
        assert capsys.readouterr().out.count(ODD) == 2
    line = f"/a/folder of/{ODD}/" + "x" * 200
    plain_console().out(line)
    assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize("columns", ["0", "3", "no number"])
def test_nonsense_about_the_terminal_ends_nothing(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    plain_console().print(table_of([(["text"], ["1.0"])]))
    assert re.search(r"│ text +│ +1\.0 │", capsys.readouterr().out)


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells do not fit 3 columns"):
        TerminalTable("title", ["a"], ["b", "c"]).add_row("x", "1")


def test_sections() -> None:
    table = table_of([(["x"], ["1.0"])])
    table.end_section()
    table.add_row("all", "2.0")
    lines = printed(table, 40).splitlines()
    assert [line[0] for line in lines] == list("t┏┃┡│├│└e")
    assert terminal.__doc__
