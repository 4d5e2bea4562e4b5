"""Processes that work for another one, which is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from continual_arcade.evaluation import processes

CHILD = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("processes", sys.argv[1])
processes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(processes)
if sys.argv[2] == "looks":
    processes.end_with_parent(int(sys.argv[3]))
print(os.getpid(), flush=True)
time.sleep(600)
"""
PARENT = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", *sys.argv[1:], str(os.getpid())])
time.sleep(600)
"""


def wait_for(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended may still wait for whoever adopted it."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return state.stdout.strip()[:1] not in ("", "Z")


@contextmanager
def family(child: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process, and its child, which looks for it or does not."""
    assert processes.__file__ is not None
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, processes.__file__, child],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            yield parent, int(parent.stdout.readline())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


@pytest.mark.parametrize("child", ["looks", "does not look"])
def test_a_child_ends_with_a_parent_that_is_killed(
    child: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with family(child) as (parent, pid):
        with family("looks") as (other, of_other):
            parent.kill()
            other.kill()
            wait_for(lambda: not is_there(of_other))
        if child == "looks":
            wait_for(lambda: not is_there(pid))
        else:  # so it would be
            assert is_there(pid)


def test_a_child_that_begins_after_its_parent_has_ended_does_nothing() -> None:
    code = f"import sys; sys.argv = {['', processes.__file__, 'looks', '1' * 7]!r}\n{CHILD}"
    ended = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert ended.returncode == 1
