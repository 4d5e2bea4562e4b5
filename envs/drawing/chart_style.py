"""The style of charts: settings of matplotlib that hold while one is drawn or saved."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

_ALONE = RLock()


@contextmanager
def chart_style(settings: Any) -> Iterator[None]:
    """Let settings of matplotlib hold, in this thread alone at a time.

    They are the process's: of two threads that both change them and put back what they found, the
    later one would leave those of the other behind for good.

    Args:
        settings: A table of values, by the names of ``matplotlib.rcParams``.
    """
    # Environments are made in many processes that never draw; matplotlib takes half a second.
    import matplotlib as mpl

    with _ALONE, mpl.rc_context(settings):
        yield
