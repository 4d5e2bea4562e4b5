"""Who may write where: one process at a study, and one at a run.

A lock is let go of when its process ends, however it ends.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process that runs the study, or the tuning, in a folder.

    Raises:
        RuntimeError: If another one is at it.
        OSError: If nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise RuntimeError(
                f"another process is at work in {folder}: {file.read().strip()}. Wait until it is "
                "done, or stop it; nothing of it is lost"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


@contextmanager
def in_turn(run: Path) -> Iterator[None]:
    """Wait until no other process is at a run, such as one that outlived its study."""
    locks = run.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / run.name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
