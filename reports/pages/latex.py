"""Tables as LaTeX, in the style of the package booktabs."""

import re
from collections.abc import Sequence

from continual_arcade.reports.pages.page_model import DataTable

_ESCAPED = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\u00b1": r"$\pm$",
    "\u00d7": r"$\times$",
    "\u2212": "$-$",
    "\u2013": "--",
    "\u2014": "---",
    "\u2026": r"\dots{}",
    "\u2192": r"$\rightarrow$",
    "\u2265": r"$\geq$",
    "\u2264": r"$\leq$",
    "\u221e": r"$\infty$",
    "\u0394": r"$\Delta$",
    "\u03bb": r"$\lambda$",
    "\u03b1": r"$\alpha$",
    "\u03b2": r"$\beta$",
    "\u03b3": r"$\gamma$",
    "\u03b5": r"$\varepsilon$",
    "\n": " ",
}
_NUMBER = re.compile(
    r"[<>\u2264\u2265]? ?[+\u2212-]?\d[\d,]*\.?\d*(e[+-]?\d+)? ?%?\*{0,3}( ?[\u00b1([].*)?"
)
_MISSING = ("", "-", "\u2013", "nan")


def as_latex(table: DataTable) -> str:
    r"""Write a table as a ``table`` environment, to be read with ``\input``; notes stand below.

    Needs the packages booktabs and, for quotation marks, textcomp with the T1 encoding.
    """
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    noted: dict[tuple[int, int], list[int]] = {}
    for row_number, column, note in table.noted:
        noted.setdefault((row_number, column), []).append(note)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(' '.join(filter(None, (_sentence(table.title), table.caption))))}}}",
        rf"\label{{tab:{table.key}}}",
        rf"\begin{{tabular}}{{{''.join(map(_alignment, columns))}}}",
        r"\toprule",
        _row([escaped(name) for name in table.columns]),
        r"\midrule",
    ]
    for i, texts in enumerate(table.rows):
        cells = [_cell(text) + _marks(noted.get((i, j))) for j, text in enumerate(texts)]
        lines.append(_row(cells))
    lines += [r"\bottomrule", r"\end{tabular}"]
    for number, remark in enumerate(table.notes):
        mark = _marks([number]) + " " if table.noted else ""
        lines.append(rf"\par\smallskip{{\footnotesize {mark}{escaped(remark)}}}")
    return "\n".join([*lines, r"\end{table}", ""])


def escaped(text: str) -> str:
    """Let a text be shown as it is."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def _sentence(title: str) -> str:
    return title if title.endswith((".", "?", "!")) or not title else f"{title}."


def _row(cells: Sequence[str]) -> str:
    # After the end of a line, a bracket or a star would be read as part of its command.
    return (
        " & ".join(f"{{}}{cell}" if cell.startswith(("[", "*")) else cell for cell in cells)
        + r" \\"
    )


def _cell(text: str) -> str:
    return "--" if text.strip().lower() in _MISSING else escaped(text)


def _marks(notes: Sequence[int] | None) -> str:
    return rf"\textsuperscript{{{','.join(map(_letters, notes))}}}" if notes else ""


def _letters(index: int) -> str:
    return chr(ord("a") + index % 26) * (index // 26 + 1)


def _alignment(cells: Sequence[str]) -> str:
    said = [cell for cell in cells if cell.strip().lower() not in _MISSING]
    return "r" if said and all(_NUMBER.fullmatch(cell) for cell in said) else "l"
