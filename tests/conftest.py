"""What holds for every test: no screen, no sound, one thread; nothing that a shell was told."""

import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Said before any library reads it, and to all processes that tests start.
os.environ.update(
    SDL_VIDEODRIVER="dummy",
    SDL_AUDIODRIVER="dummy",
    PYGAME_HIDE_SUPPORT_PROMPT="1",
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    MPLBACKEND="agg",
)
FOR_USERS = (
    # How wide and how colourful a terminal is.
    *("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
    *("PYTHON_COLORS", "PYTHONIOENCODING", "PYTHONWARNINGS"),
    # Where things are that are not ours: a checkout, a cluster, a place for logs.
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "RAY_ADDRESS", "SB3_LOGDIR", "SB3_LOG_FORMAT"),
)
"""Variables that change what is tested; a test that wants one sets it."""

# How long an example takes says how busy the machine is.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

pytest_plugins = ["undrawn", "watched_pages"]


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of what `one_in(n)` marks, every n-th case is quick, the first among them; others are slow.

    For cases that are alike, each of which takes long for what it adds. Where they vary in two
    ways, n should divide the number of neither, so that each way meets each other one.
    """
    counts: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("one_in")
        if mark is None:
            continue
        (n,) = mark.args
        of_it = item.nodeid.partition("[")[0]
        if counts[of_it] % n:
            item.add_marker(pytest.mark.slow)
        counts[of_it] += 1


def pytest_collection_finish() -> None:
    """Let the collector of garbage leave alone what all tests have imported: it stays anyway.

    And look less often: Python's own numbers are those of small programs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


@pytest.fixture(scope="session")
def strict(pytestconfig: pytest.Config) -> list[str]:
    """Options of Python with which warnings are errors, but those that the tests let through."""
    return [f"-W{one}" for one in ("error", *(pytestconfig.getoption("pythonwarnings") or ()))]


@pytest.fixture(autouse=True)
def _charts_as_they_were() -> Iterator[None]:
    """Find out who leaves the style of a chart behind, and let the others not suffer for it."""
    yield
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is not None and matplotlib.rcParams["figure.constrained_layout.use"]:
        matplotlib.rcdefaults()
        pytest.fail("the style of charts was left behind")


@pytest.fixture(scope="session", autouse=True)
def _as_in_a_plain_shell() -> Iterator[None]:
    """Hide what is for users; not before there are tests, so that pytest itself heeds it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in FOR_USERS:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _disks_that_are_not_waited_for() -> Iterator[None]:
    """No test cuts the power, so what was written is there for whoever reads it.

    An error of a disk is one of the tests' own (``full_disks.py``); what is no open file is refused
    as before.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield
