"""Pages of everything that there can be, opened once."""

from collections.abc import Iterator

import pytest
import sample_pages as samples
from playwright.sync_api import Browser, Page
from watched_pages import Watched, opened_once, resize, settle

from continual_arcade.reports.pages.html import render


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return samples.film(tmp_path_factory.mktemp("film") / "film.mp4")


@pytest.fixture(scope="session")
def html(clip: bytes) -> str:
    return render(samples.full(clip))


@pytest.fixture(scope="session")
def opened(browser: Browser, html: str, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return opened_once(browser, html, tmp_path_factory.mktemp("page"))


@pytest.fixture
def desktop(opened: Watched) -> Iterator[Page]:
    """A page of everything, opened once."""
    page = opened.page
    resize(page, 1280, 720)
    page.emulate_media(media="screen", color_scheme="light", reduced_motion="no-preference")
    for toggle in page.get_by_role("checkbox").all():
        toggle.check()
    # Whatever a test before has left behind: what it opened, and where it was.
    page.evaluate(
        "for (const details of document.querySelectorAll('details')) details.open = false"
    )
    page.evaluate("scrollTo(0, 0)")
    settle(page)
    yield page
    complaints = opened.complaints.copy()
    opened.complaints.clear()
    assert complaints == []
