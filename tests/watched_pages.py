"""Pages that are watched while they are open in a browser."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from playwright.sync_api import Page


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
        watched.complaints.append(f"failed: {request.url[:100]}: {request.failure}")

    def note_foreign(request: Any) -> None:
        if not request.url.startswith(("file:", "blob:", "data:")):
            watched.complaints.append(f"asked for {request.url}")

    page.on("console", note("console"))
    page.on("pageerror", note("error"))
    page.on("requestfailed", note_failed)
    page.on("request", note_foreign)
    return watched
