"""A browser, and pages that are watched while they are open in it; a plugin of the tests."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

# No sandbox within the sandbox of a container, and nothing that calls home.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@dataclass
class Watched:
    """An open page and what went wrong in it."""

    page: Page
    complaints: list[str] = field(default_factory=list)


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
