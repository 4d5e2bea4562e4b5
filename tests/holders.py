"""Other processes, which hold locks."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from continual_arcade.evaluation.locks import Lock

BEGIN = """
import importlib.util, os, subprocess, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("locks", sys.argv[1])
locks = sys.modules["locks"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(locks)
lock = locks.Lock.of_folder(Path(sys.argv[2]))
"""
"""The module by itself: what is tested does not wait for torch to be imported."""


@contextmanager
def process(code: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run code in another process that holds locks."""
    source = sys.modules[Lock.__module__].__file__
    assert source is not None
    with (
        TemporaryDirectory() as scripts,
        subprocess.Popen(
            [sys.executable, script(scripts, code), source, str(folder), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as running,
    ):
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def script(folder: str, code: str) -> str:
    path = Path(folder) / "holder.py"
    path.write_text(BEGIN + code, "utf-8")
    return str(path)


def line(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


HOLD = "lock.acquire(); print('there', flush=True); sys.stdin.read()"


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock of a folder."""
    with process(HOLD, folder) as holder:
        assert line(holder) == "there"
        yield holder
