"""A browser, and pages that are watched while they are open in it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample_pages as samples
from playwright.sync_api import Browser, Page, sync_playwright
from watched_pages import Open, Watched, watch

from continual_arcade.evaluation.pages.html import render

# No sandbox within the sandbox of a container, and nothing that calls home.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        reason = "there is no Chromium on the PATH: `make browser` installs it"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return samples.film(tmp_path_factory.mktemp("film") / "film.mp4")


@pytest.fixture(scope="session")
def html(clip: bytes) -> str:
    return render(samples.full(clip))


@pytest.fixture(scope="session")
def opened(browser: Browser, html: str, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(html, "utf-8")
    watched = watch(browser.new_page())
    watched.page.set_default_timeout(10_000)
    watched.page.goto(path.as_uri())
    return watched


@pytest.fixture
def desktop(opened: Watched) -> Iterator[Page]:
    """A page of everything, opened once: opening one costs more than most tests of it."""
    page = opened.page
    page.set_viewport_size({"width": 1280, "height": 720})
    page.emulate_media(media="screen", color_scheme="light", reduced_motion="no-preference")
    for toggle in page.get_by_role("checkbox").all():
        toggle.check()
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    yield page
    complaints = opened.complaints.copy()
    opened.complaints.clear()
    assert complaints == []


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open pages; at the end none of them may have complained, but those said to be broken."""
    opened: list[tuple[Watched, bool]] = []

    def open_page(html: str, *, broken: bool = False, **context: Any) -> Watched:
        path = tmp_path / f"page{len(opened)}.html"
        path.write_text(html, "utf-8")
        page = browser.new_context(**{"reduced_motion": "no-preference", **context}).new_page()
        page.set_default_timeout(10_000)
        watched = watch(page)
        opened.append((watched, broken))
        page.goto(path.as_uri())
        return watched

    yield open_page
    complaints = [found for watched, broken in opened if not broken for found in watched.complaints]
    for watched, _ in opened:
        watched.page.context.close()
    assert complaints == []
