"""What is printed on a terminal: tables of which nothing is cut, and text that is left as it is."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions, ConsoleOptions, JustifyMethod, RenderResult
from rich.table import Table
from rich.text import Text

_BORDER = 3
"""Characters between the contents of two columns; a table has one more at its edge."""
_NARROWEST = 20
"""A terminal that has, or says that it has, fewer columns breaks the lines by itself."""


def plain_console() -> Console:
    """Return a console for standard output.

    Folders, phases and methods are named by users: no bracket in a name is markup.
    """
    console = Console(markup=False, emoji=False, highlight=False)
    # A terminal without a cursor (TERM=dumb) has a width all the same; to rich it has 80 columns.
    size = shutil.get_terminal_size() if console.is_dumb_terminal else console.size
    if size != console.size or size[0] < _NARROWEST:
        console.size = ConsoleDimensions(max(size[0], _NARROWEST), size[1])
    return console


@dataclass
class TerminalTable:
    """A table of texts and numbers, to be printed on a console of any width.

    Texts are folded, between words where these are no wider than their share of two thirds of the
    terminal; numbers stay whole: columns of numbers for which there is no room follow in
    further tables, each of which begins with the same texts. Only a number that is wider than the
    terminal is folded.

    Args:
        title: What stands above.
        texts: Headings of the first columns, which hold texts.
        numbers: Headings of the others.
        caption: What stands below.
    """

    title: str
    texts: Sequence[str]
    numbers: Sequence[str]
    caption: str = ""
    _rows: list[tuple[str, ...]] = field(default_factory=list, init=False)
    _section_ends: set[int] = field(default_factory=set, init=False)

    def add_row(self, *cells: str) -> None:
        """Add a row: its texts, then its numbers.

        Raises:
            ValueError: If there are not as many cells as columns.
        """
        if len(cells) != len(self._headings):
            raise ValueError(f"{len(cells)} cells do not fit {len(self._headings)} columns")
        self._rows.append(cells)

    def end_section(self) -> None:
        """Draw a line below the rows there are so far."""
        self._section_ends.add(len(self._rows))

    @property
    def _headings(self) -> tuple[str, ...]:
        return (*self.texts, *self.numbers)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the table as wide as the console is."""
        yield Text(self.title, style="table.title", overflow="fold")
        for widths in self._blocks(options.max_width):
            table = Table()
            for column, width in widths.items():
                justify: JustifyMethod = "left" if column < len(self.texts) else "right"
                heading = Text(self._headings[column])
                table.add_column(heading, justify=justify, width=width, overflow="fold")
            for number, row in enumerate(self._rows, start=1):
                cells = [Text(row[column]) for column in widths]
                table.add_row(*cells, end_section=number in self._section_ends)
            yield table
        if self.caption:
            yield Text(self.caption, style="table.caption", overflow="fold")

    def _blocks(self, room: int) -> Iterator[Mapping[int, int]]:
        """Share the columns out to tables; return the width of each column of each table.

        Args:
            room: Width of the console.
        """
        texts = range(len(self.texts))
        whole, least = {}, {}
        for column, heading in enumerate(self._headings):
            cells = [row[column] for row in self._rows]
            whole[column] = _widest([heading, *cells])
            # Headings may be folded between words; and texts, where words are too long within.
            if column in texts:
                cells = " ".join(cells).split()
            least[column] = _widest([*heading.split(), *cells])
            if column in texts:
                # Names are there to be copied; further tables cost less than one in two pieces.
                least[column] = min(least[column], 2 * room // (3 * len(texts)))
        left = list(range(len(texts), len(self._headings)))
        while True:
            block = list(texts)
            while left and (
                len(block) == len(texts)
                or _total(least[column] for column in (*block, left[0])) <= room
            ):
                block.append(left.pop(0))
            widths, numbers = {column: whole[column] for column in block}, block[len(texts) :]
            for columns, limits in ((numbers, least), (texts, least), (texts, {}), (numbers, {})):
                _shrink(widths, columns, limits, room)
            yield widths
            if not left:
                return


def _widest(texts: Iterable[str]) -> int:
    return max(1, *map(cell_len, texts))


def _total(widths: Iterable[int]) -> int:
    """Return the width of a table."""
    return sum(width + _BORDER for width in widths) + 1


def _shrink(
    widths: dict[int, int], columns: Iterable[int], limits: Mapping[int, int], room: int
) -> None:
    """Make the widest of some columns narrower, until the table fits or they are at their limit."""
    while _total(widths.values()) > room:
        wide = [column for column in columns if widths[column] > limits.get(column, 1)]
        if not wide:
            return
        widths[max(wide, key=widths.__getitem__)] -= 1
