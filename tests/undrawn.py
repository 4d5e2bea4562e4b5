"""Charts that are not drawn, for tests that look at no picture; a plugin of the tests.

Files are there all the same. What is drawn is tested in ``tests/reports``, and each command's own
pictures by the tests that do not use this.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def without_drawing() -> Iterator[None]:
    """Make every chart of a run and of a page an empty picture."""
    # Imported only where they are used: all processes of the tests load this plugin.
    from matplotlib.figure import Figure

    from continual_arcade.reports import run_pictures
    from continual_arcade.reports.pages import files

    def empty(*_: Any) -> Figure:
        return Figure(figsize=(1, 1))

    with pytest.MonkeyPatch.context() as patch:
        for module in (run_pictures, files):
            patch.setattr(module, "draw", empty)
        yield


@pytest.fixture
def undrawn() -> Iterator[None]:
    with without_drawing():
        yield
