"""What charts are drawn with is left as it was, also by threads that draw at the same time."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from threading import Event, Thread
from typing import Any

import matplotlib as mpl
import pytest

from continual_arcade.envs.drawing.chart_style import chart_style

Style = Callable[[Mapping[str, Any]], AbstractContextManager[Any]]
SETTINGS = {"figure.constrained_layout.use": True, "font.size": 3.0}


def left_behind(style: Style) -> bool:
    """Let two threads draw; the second wants to begin while the first does, and ends later."""
    inside, wants, ended = Event(), Event(), Event()

    def first() -> None:
        with style(SETTINGS):
            inside.set()
            wants.wait()
            ended.wait(0.2)  # without a lock the second one begins now
        ended.set()

    def second() -> None:
        inside.wait()
        wants.set()
        with style(SETTINGS):
            ended.wait()

    before = dict(mpl.rcParams)
    threads = [Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    differs = dict(mpl.rcParams) != before
    mpl.rcParams.update(before)
    return differs


@pytest.mark.filterwarnings("ignore::matplotlib.MatplotlibDeprecationWarning")
def test_threads_leave_nothing_behind() -> None:
    assert not left_behind(chart_style)
    assert left_behind(mpl.rc_context)  # type: ignore[arg-type]


def test_it_holds_within_and_within_itself() -> None:
    with chart_style(SETTINGS):
        with chart_style({"font.size": 5.0}):
            assert mpl.rcParams["font.size"] == 5.0
            assert mpl.rcParams["figure.constrained_layout.use"]
        assert mpl.rcParams["font.size"] == 3.0
    assert mpl.rcParams["font.size"] != 3.0
