"""A whole report of many methods in a browser, on a phone and on a small laptop."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from tables import gaps, matrix_cells, write_run
from watched_pages import Watched, drawn, resize, settle, watch

from continual_arcade.agents import METHODS
from continual_arcade.evaluation import gather
from continual_arcade.evaluation.reference_files import shipped_references
from continual_arcade.reports.page import build_page
from continual_arcade.reports.pages.html import render

SIX = gaps(100, 95, 90, 85, 80, 75)
EIGHT = tuple(METHODS)[:8]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight methods with five seeds: intervals of the widest kind, of two ends each."""
    root = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    paths = []
    for method in EIGHT:
        for seed in range(5):
            rows = rng.gamma(3, 6, (7, 6)).clip(0, 47)
            cells = matrix_cells(SIX, rows.tolist())
            paths.append(
                write_run(
                    *(root, SIX, cells),
                    seed=seed,
                    method=method,
                    spec=METHODS[method],
                    settings={"buffer_size": SIX.total_steps},  # worth a warning
                )
            )
    page = build_page(gather(paths), references=shipped_references())
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render(page), "utf-8")
    return path


@pytest.fixture(scope="module")
def opened(browser: Browser, path: Path) -> Iterator[Watched]:
    watched = watch(browser.new_page())
    watched.page.goto(path.as_uri())
    yield watched
    assert watched.complaints == []
    watched.page.close()


CUT = """() => [...document.querySelectorAll('.table')]
    .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.closest('.item').id)"""


def unfold_all(page: Page) -> None:
    """Show every table, and wait until those that are made then are there."""
    page.evaluate("for (const fold of document.querySelectorAll('main details')) fold.open = true")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.numbers')].every(n => n.querySelector('tbody tr'))"
    )
    settle(page)


@pytest.mark.slow
def test_no_column_is_cut_on_a_laptop(opened: Watched) -> None:
    page = opened.page
    resize(page, 1280, 800)
    unfold_all(page)
    assert page.locator(".table table").count() >= 20
    assert page.evaluate(CUT) == []
    assert page.locator(".scrolls").count() == 0
    planted = "box => { box.querySelector('td').style.minWidth = '1000px'; }"
    page.locator("#summary .table").evaluate(planted)
    assert page.evaluate(CUT) == ["summary"]
    page.locator("#summary .table").evaluate("b => { b.querySelector('td').style.minWidth = ''; }")


def test_on_a_phone_tables_say_that_they_scroll_and_keep_their_labels(opened: Watched) -> None:
    page = opened.page
    resize(page, 390, 800)
    unfold_all(page)
    too_wide = "document.documentElement.scrollWidth > innerWidth"
    assert not page.evaluate(too_wide)
    page.evaluate("document.querySelector('#summary').style.width = '500px'")
    assert page.evaluate(too_wide)
    page.evaluate("document.querySelector('#summary').style.width = ''")
    assert set(page.evaluate(CUT)) >= {"summary", "metrics"}
    marked = page.locator(".table.scrolls").evaluate_all(
        "boxes => boxes.map(box => box.closest('.item').id)"
    )
    assert marked == page.evaluate(CUT)
    box = page.locator("#summary .table")
    hint = box.evaluate("box => getComputedStyle(box, '::before').content")
    assert hint.startswith('"Scrolls sideways')
    box.evaluate("box => { box.scrollLeft = 200; }")
    # The method of a row stays where it can be read, above what moves below it.
    of_row = box.locator("tbody th").first.bounding_box()
    around = box.bounding_box()
    assert of_row is not None
    assert around is not None
    assert of_row["x"] == pytest.approx(around["x"], abs=1)
    at_label = "e => document.elementFromPoint(e.getBoundingClientRect().x + 5, " + (
        "e.getBoundingClientRect().y + 8) === e"
    )
    box.scroll_into_view_if_needed()
    assert box.locator("tbody th").first.evaluate(at_label)
    box.evaluate("box => { box.scrollLeft = 0; }")


def bands(page: Page) -> list[str]:
    """What is written over the first learning curve."""
    plot = drawn(page.locator("#lifetimes .plot").first)
    return plot.locator(".annotation-text").all_text_contents()


@pytest.mark.slow
def test_labels_of_charts_are_kept_however_narrow(opened: Watched) -> None:
    page = opened.page
    names = ["gap 100", "gap 95", "gap 90", "gap 85", "gap 80", "gap 75"]
    for width, numbered in ((800, False), (390, True)):
        resize(page, width, 800)
        assert bands(page) == ([*"123456"] if numbered else names)
        legend = page.locator("#lifetimes .bands")
        assert legend.is_visible() == numbered
        assert legend.text_content() == "Phases: " + ", ".join(
            f"{i} {name}" for i, name in enumerate(names, 1)
        )
        bars = drawn(page.locator("#ends .plot"))
        ticks = bars.locator(".xtick text").filter(visible=True).all_text_contents()
        assert ticks == [*names, "all phases", "worst phase"]
        verdict = drawn(page.locator("#verdict .plot"))
        assert set(verdict.locator(".textpoint text").all_text_contents()) == set(EIGHT)


def test_a_report_begins_with_its_verdict(opened: Watched) -> None:
    page = opened.page
    headings = page.locator("main h2").all_text_contents()
    assert headings[:3] == ["Verdict", "Warnings", "Summary"]
    resize(page, 390, 800)
    page.evaluate("scrollTo(0, 0)")
    headline = page.locator(".headline")
    expect(headline).to_be_in_viewport()
    assert " is ahead with " in (headline.text_content() or "")
    row = page.locator("#verdict .plot")
    page.get_by_role("checkbox", name="finetune").uncheck()
    left = drawn(row).locator(".textpoint text").all_text_contents()
    assert set(left) == set(EIGHT) - {"finetune"}
    page.get_by_role("button", name="Show all").click()
