"""What is published follows from the runs that are published with it."""

import contextlib
import io
import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from continual_arcade.evaluation.csv_table import read_csv
from continual_arcade.studies import publishing

RESULTS = Path(__file__).parents[1] / "docs" / "results"
RECOMPUTE = runpy.run_path(str(RESULTS / "recompute.py"))
STUDIES = RECOMPUTE["STUDIES"]


def test_the_claims_are_what_the_program_prints() -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(RESULTS / "claims.py"), run_name="__main__")
    head, _, tables = (RESULTS / "claims.md").read_text("utf-8").partition("-->\n\n")
    assert "not by hand" in head
    assert tables == printed.getvalue()


def test_the_page_of_ewc_has_the_tables_that_the_program_prints() -> None:
    program = runpy.run_path(str(RESULTS / "off_units.py"))
    page = (RESULTS.parent / "methods" / "ewc.md").read_text("utf-8")
    for name, lines in (("off-units", "lines"), ("off-units-fresh", "fresh_lines")):
        runs = program["scores"](name)
        assert "\n".join(program[lines](runs)) in page
        assert "\n".join(program[lines](runs[runs["seed"] % 10 > 0])) not in page


def test_the_page_that_helps_to_choose_has_the_tables_that_the_program_prints() -> None:
    program = runpy.run_path(str(RESULTS / "choosing.py"))
    page = (RESULTS.parent / "choosing.md").read_text("utf-8")
    for study in program["STUDIES"]:
        lines = program["lines"](study)
        assert "\n".join(lines) in page
        assert len(lines) == 2 + published(f"{study}-resources")["method"].nunique()


def test_the_page_of_pictures_has_those_of_its_study() -> None:
    program = runpy.run_path(str(RESULTS / "choosing.py"))
    page = (RESULTS.parent / "pictures.md").read_text("utf-8")
    one, other = (program["lines"]("pictures", scenario) for scenario in program["PICTURES"])
    assert len(one) == len(other) == 2 + 4
    assert "\n".join(one) in page
    assert "\n".join(other) in page


def published(name: str) -> pd.DataFrame:
    return read_csv(RESULTS / f"{name}.csv")


def text(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, float_format="%.6g")


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", STUDIES)
def test_what_numbers_can_be_follows_from_the_study(name: str) -> None:
    assert text(RECOMPUTE["ranges"](name)) == text(published(f"{name}-ranges"))


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", STUDIES)
def test_means_and_differences_follow_from_the_runs(name: str) -> None:
    runs, known = published(f"{name}-runs"), published(f"{name}-ranges")
    methods, differences = (
        (RESULTS / f"{name}-{kind}.csv").read_text("utf-8") for kind in ("methods", "differences")
    )
    assert text(publishing.methods(runs, known)) == methods
    assert text(publishing.differences(runs, known, STUDIES[name])) == differences
    fewer = runs[runs["seed"] > runs["seed"].min()]
    assert text(publishing.methods(fewer, known)) != methods
    # Of a study of one method there are none.
    is_alone = runs["method"].nunique() == 1
    assert is_alone == (text(publishing.differences(fewer, known, STUDIES[name])) == differences)
    assert text(publishing.methods(runs, known[:0])) != methods


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", STUDIES)
def test_the_page_shows_what_follows_from_the_runs(name: str) -> None:
    runs, known = published(f"{name}-runs"), published(f"{name}-ranges")
    made = RECOMPUTE["page"](name, runs, known)
    assert made == (RESULTS / f"{name}.md").read_text("utf-8")
    # In each scenario a line for each method and one for each less the base, below two headings.
    counts = runs.groupby("in")["method"].nunique()
    expected = sum(2 + count + (2 + count - 1 if count > 1 else 0) for count in counts)
    taken = RECOMPUTE["resources"](name)
    expected += 0 if taken is None else len(taken) + 2 * taken["in"].nunique()
    assert len([line for line in made.splitlines() if line.startswith("|")]) == expected
    assert RECOMPUTE["page"](name, runs[runs["seed"] > runs["seed"].min()], known) != made


def test_scores_below_nothing_are_in_the_picture_and_what_is_undefined_is_a_dash() -> None:
    table = published("classic-runs").assign(**{"la@mer": -150.0})
    table["acc@gem"] -= 200
    scenarios = table["in"].unique()
    figure = publishing.picture(
        table, published("classic-ranges")[:0], dict.fromkeys(scenarios, "")
    )
    left, _ = figure.axes[0].get_xlim()
    of_first = table[table["in"] == scenarios[0]]
    assert left < of_first.groupby("method")["acc@gem"].mean().min()
    alone = table[table["seed"] == table["seed"].min()].assign(**{"bwt@gem": float("nan")})
    page = publishing.page("classic", RECOMPUTE["ABOUT"], alone, alone[:0], "finetune")
    assert "nan" not in page


def calibration() -> dict[str, Any]:
    return runpy.run_path(str(RESULTS / "calibration.py"))


def test_the_page_of_calibration_has_the_table_that_is_published() -> None:
    text = (RESULTS.parent / "calibration.md").read_text("utf-8")
    ours = calibration()
    table = ours["table"]()
    assert len(table.splitlines()) > 2  # something is published
    assert f"<!-- calibration -->\n{table}\n" in text
    for papers in ("SPLIT", "TEN", "PROJECTION"):
        table = ours["small_table"](ours[papers])
        assert len(table.splitlines()) == 2 + sum(map(len, ours[papers].values()))
        assert f"\n{table}\n" in text


def test_the_page_of_calibration_has_the_table_of_figure_2a() -> None:
    program = runpy.run_path(str(RESULTS / "three_tasks.py"))
    text = (RESULTS.parent / "calibration.md").read_text("utf-8")
    table = read_csv(program["CURVES"])
    assert "\n".join(program["lines"](table)) in text
    assert "\n".join(program["lines"](table[table["seed"] > 0])) not in text


def test_the_page_of_calibration_has_the_table_of_plasticity() -> None:
    program = runpy.run_path(str(RESULTS / "plasticity.py"))
    text = (RESULTS.parent / "calibration.md").read_text("utf-8")
    table = read_csv(program["TASKS"])
    assert "\n".join(program["lines"](table)) in text
    assert "\n".join(program["lines"](table[table["seed"] > 1])) not in text


def test_the_page_of_calibration_has_the_tables_of_figure_2c() -> None:
    program = runpy.run_path(str(RESULTS / "fisher_overlap.py"))
    text = (RESULTS.parent / "calibration.md").read_text("utf-8")
    table = read_csv(program["LAYERS"])
    assert "\n".join(program["lines"](table)) in text
    assert "\n".join(program["lines"](table[table["seed"] > 0])) not in text
    assert "\n".join(program["kept"]()) in text


@pytest.mark.parametrize(
    ("mean", "low", "high", "paper", "verdict"),
    [
        (70.0, 69.0, 71.0, 70.9, "within the interval"),
        (70.0, 69.9, 70.1, 71.9, "within 2 points"),
        (70.0, 69.9, 70.1, 68.1, "within 2 points"),
        (70.0, 69.9, 70.1, 72.5, "off by -2.5"),
        (70.0, 69.9, 70.1, 60.0, "off by +10.0"),
        (70.0, 40.0, 100.0, 70.0, "seeds differ too much to say"),
    ],
)
def test_verdicts_of_calibration(
    mean: float, low: float, high: float, paper: float, verdict: str
) -> None:
    ours = calibration()
    assert ours["verdict"](ours["Estimate"](mean, low, high), paper) == verdict
