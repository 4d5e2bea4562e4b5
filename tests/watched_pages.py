"""A browser, and pages that are watched while they are open in it; a plugin of the tests."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

# No sandbox within the sandbox of a container, and nothing that calls home.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
PATIENCE = 30.0
"""How long an event is waited for before it is said not to come [s]."""
expect.set_options(timeout=1000 * PATIENCE)


@dataclass
class Watched:
    """An open page and what went wrong in it."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def wait_for(self, came: Callable[[str], bool]) -> str:
        """Wait until what went wrong is what is waited for, and return all of it."""
        deadline = time.monotonic() + PATIENCE
        while not came(said := " ".join(self.complaints)):
            assert time.monotonic() < deadline, f"it did not go wrong in this way: {said}"
            self.page.wait_for_timeout(10)  # lets Playwright hear what the page says
        return said


def settle(page: Page) -> None:
    """Let the page notice what it looks like now.

    Observers of a page are told of a picture in the order in which they were made, those of sizes
    before those of what is in view: when this one is told, all of the page's own have been.
    """
    page.evaluate(
        "() => new Promise(done => new IntersectionObserver(done).observe(document.body))"
    )


def resize(page: Page, width: int, height: int) -> None:
    """Give a page another size, and let it notice."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function("([w, h]) => innerWidth === w && innerHeight === h", arg=[width, height])
    settle(page)


def drawn(plot: Locator) -> Locator:
    """Bring a plot into view, wait until it is drawn as it is to be now, and return it."""
    plot.scroll_into_view_if_needed()
    settle(plot.page)
    expect(plot).not_to_have_class(re.compile("outdated"))
    return plot


def unfold(page: Page, chart: str) -> Locator:
    """Show the numbers of a chart, wait until they are there, and return their rows."""
    page.locator(f"#{chart} .numbers summary").click()
    rows = page.locator(f"#{chart} .numbers tbody tr")
    rows.first.wait_for()
    return rows


class Open(Protocol):
    """Opens a page from the disk."""

    def __call__(self, html: str, *, broken: bool = False, **context: Any) -> Watched: ...


def watch(page: Page) -> Watched:
    """Collect errors, warnings and whatever is asked of a network, as they happen."""
    watched = Watched(page)

    def note(kind: str) -> Callable[[Any], None]:
        return lambda event: watched.complaints.append(
            f"{kind}: {getattr(event, 'text', event)}"[:200]
        )

    def note_failed(request: Any) -> None:
        if request.url.startswith("blob:") and "ERR_ABORTED" in str(request.failure):
            return  # the page itself took a film away before it was loaded
        watched.complaints.append(f"failed: {request.url[:100]}: {request.failure}")

    def note_foreign(request: Any) -> None:
        if not request.url.startswith(("file:", "blob:", "data:")):
            watched.complaints.append(f"asked for {request.url}")

    page.on("console", note("console"))
    page.on("pageerror", note("error"))
    page.on("requestfailed", note_failed)
    page.on("request", note_foreign)
    return watched


def opened_once(browser: Browser, html: str, folder: Path) -> Watched:
    """Open a page that several tests look at: opening one costs more than most tests of it."""
    path = folder / "page.html"
    path.write_text(html, "utf-8")
    watched = watch(browser.new_page())
    watched.page.set_default_timeout(1000 * PATIENCE)
    watched.page.goto(path.as_uri())
    return watched


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


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open pages; at the end none of them may have complained, but those said to be broken."""
    opened: list[tuple[Watched, bool]] = []

    def open_page(html: str, *, broken: bool = False, **context: Any) -> Watched:
        path = tmp_path / f"page{len(opened)}.html"
        path.write_text(html, "utf-8")
        page = browser.new_context(**{"reduced_motion": "no-preference", **context}).new_page()
        page.set_default_timeout(1000 * PATIENCE)
        watched = watch(page)
        opened.append((watched, broken))
        page.goto(path.as_uri())
        return watched

    yield open_page
    complaints = [found for watched, broken in opened if not broken for found in watched.complaints]
    for watched, _ in opened:
        watched.page.context.close()
    assert complaints == []
