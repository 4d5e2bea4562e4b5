"""Tables as they are printed on a terminal, read again."""

import re


def without_spaces(text: str) -> str:
    return "".join(text.split())


def columns_of(text: str) -> dict[str, list[list[str]]]:
    """Read tables that were drawn with lines.

    Returns:
        By heading, for each table that has such a column, what stands in each line below it.
    """
    found: dict[str, list[list[str]]] = {}
    for table in re.findall(r"┏.*?└", text, re.DOTALL):
        head, _, body = table.partition("┡")
        # Headings are folded, from the top or from the bottom.
        headings = [" ".join(filter(None, parts)) for parts in zip(*_cells(head, "┃"), strict=True)]
        lines = _cells(body, "│")
        for column, heading in enumerate(headings):
            found.setdefault(heading, []).append([line[column] for line in lines])
    return found


def _cells(text: str, line: str) -> list[list[str]]:
    rows = [row for row in text.splitlines() if row.startswith(line)]
    return [[cell.strip() for cell in row.split(line)[1:-1]] for row in rows]
