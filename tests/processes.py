"""Processes that tests start, send signals to, and wait for."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HEEDING = f"""
import os, signal, sys
for number in {[int(signal.SIGHUP), int(signal.SIGINT), int(signal.SIGTERM)]}:
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.execvp(sys.argv[1], sys.argv[1:])
"""


def heeding_signals(command: Sequence[str]) -> list[str]:
    """The command with default signals.

    Tests that run under ``nohup``, or in the background of a script, ignore some, and so would all
    that they start.
    """
    return [sys.executable, "-I", "-S", "-c", _HEEDING, *command]


@contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a process that heeds signals, whatever the tests heed; it is killed in the end."""
    with subprocess.Popen(heeding_signals(command), text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(there: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is so, while a process runs that is to bring it about."""
    deadline = time.monotonic() + 120
    while not there():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended may still wait for whoever adopted it."""
    if Path("/proc/self/stat").exists():
        # Not every Linux has a ps.
        try:
            state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2]
        except (FileNotFoundError, ProcessLookupError):
            return False
    else:
        command = ["ps", "-o", "stat=", "-p", str(pid)]
        state = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return state.strip()[:1] not in ("", "Z", "X")


def children(pid: int) -> dict[int, str]:
    """The processes that a process has started, and their commands."""
    if Path("/proc/self/task").exists():
        # Not every Linux has a ps.
        pids = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        return {
            int(child): Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            for child in pids
        }
    command = ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "args="]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = (line.split(maxsplit=2) for line in said.splitlines())
    return {int(child): args for child, of, args in found if int(of) == pid}
