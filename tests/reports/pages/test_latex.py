import re
from dataclasses import replace

import pandas as pd
import sample_pages as samples
from hypothesis import given
from hypothesis import strategies as st

from continual_arcade.reports.pages.latex import as_latex, escaped
from continual_arcade.reports.pages.page_model import DataTable


@given(st.text("ab &%$#_{}\\~^", max_size=20))
def test_escaped_as_pandas_does(text: str) -> None:
    def plain(latex: str) -> str:
        # Commands end with {} here and with a space or "\ " there.
        return re.sub(r"(\\text[a-z]+)(\{\}|\\ | )", r"\1|", latex).replace(r"|\space ", "| ")

    theirs = pd.DataFrame([[text]]).style.format(escape="latex").to_latex()
    cell = theirs.splitlines()[2].removeprefix("0 & ").removesuffix(r" \\")
    assert plain(escaped(text)) == plain(cell)


@given(st.text(st.characters(codec="ascii", categories=["P", "S", "N", "L"]), max_size=30))
def test_nothing_is_left_that_latex_would_read(text: str) -> None:
    rest = re.sub(r"\\[&%$#_{}]|\\text[a-z]+\{\}", "", escaped(text))
    assert not set(rest) & set('\\&%$#_{}~^<>|"')


def test_an_escape_that_is_forgotten_is_found() -> None:
    rest = re.sub(r"\\[&%$#_{}]|\\text[a-z]+\{\}", "", escaped("50%").replace(r"\%", "%"))
    assert "%" in rest


def test_a_table_with_notes() -> None:
    lines = as_latex(samples.table()).splitlines()
    assert lines[:4] == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Summary.}",
        r"\label{tab:summary}",
    ]
    assert lines[4] == r"\begin{tabular}{lrr}"
    assert [line for line in lines if "rule" in line] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert lines[8] == r"finetune & 9.5 $\pm$ 1.1 & --\textsuperscript{a} \\"
    assert lines[9].endswith(r"& 10.0 $\pm$ 0.4 & $-$1.5 $\pm$ 0.2 \\")
    assert r"{\footnotesize \textsuperscript{b} A run is missing.}" in lines[-2]
    assert lines[-1] == r"\end{table}"


def test_tables_without_rows_or_notes() -> None:
    empty = DataTable(key="empty", title="", columns=("a", "b"), rows=())
    assert r"\begin{tabular}{ll}" in as_latex(empty)
    unmarked = replace(samples.table(), noted=())
    assert "textsuperscript" not in as_latex(unmarked)


def test_brackets_are_no_arguments_of_the_line_before() -> None:
    table = DataTable(key="t", title="", columns=("a",), rows=(("b",), ("[1pt]",), ("*",)))
    lines = as_latex(table).splitlines()
    assert "{}[1pt] \\\\" in lines
    assert "{}* \\\\" in lines
