"""What is published follows from the runs that are published with it."""

import contextlib
import io
import runpy
from pathlib import Path

import pandas as pd
import pytest

from continual_arcade.studies import publishing

RESULTS = Path(__file__).parents[1] / "docs" / "results"
STUDIES = {
    "classic": "finetune",
    "memory": "reservoir-5000",
    "lives": "finetune",
    "reasons": "reservoir",
}


def test_the_claims_are_what_the_program_prints() -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(RESULTS / "claims.py"), run_name="__main__")
    head, _, tables = (RESULTS / "claims.md").read_text("utf-8").partition("-->\n\n")
    assert "not by hand" in head
    assert tables == printed.getvalue()


def published(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv")


@pytest.mark.parametrize("name", STUDIES)
def test_means_and_differences_follow_from_the_runs(name: str) -> None:
    def text(table: pd.DataFrame) -> str:
        return table.to_csv(index=False, float_format="%.6g")

    runs = published(f"{name}-runs")
    methods, differences = (
        (RESULTS / f"{name}-{kind}.csv").read_text("utf-8") for kind in ("methods", "differences")
    )
    assert text(publishing.methods(runs)) == methods
    assert text(publishing.differences(runs, STUDIES[name])) == differences
    fewer = runs[runs["seed"] > 0]
    assert text(publishing.methods(fewer)) != methods
    assert text(publishing.differences(fewer, STUDIES[name])) != differences


@pytest.mark.parametrize("name", STUDIES)
def test_the_page_shows_what_follows_from_the_runs(name: str) -> None:
    about = {"versions": {}, "command": "", "git_commit": "", "machine": "", "python": ""}
    made = publishing.page(name, about, published(f"{name}-runs"), STUDIES[name])
    shown = (RESULTS / f"{name}.md").read_text("utf-8")
    tables = [
        [line for line in text.splitlines() if line.startswith(("|", "## "))]
        for text in (made, shown)
    ]
    assert tables[0] == tables[1]
    assert len(tables[0]) > 20
