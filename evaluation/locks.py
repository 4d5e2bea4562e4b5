"""Who may write where: one writer at a time holds the lock of a folder, and says who it is.

A lock is one of the operating system (``flock``) on a file in the folder. It is released when its
process ends, however it ends, and a process that was forked meanwhile does not hold it. Whoever
only reads takes none.
"""

import os
import shlex
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows, where this can be imported, and no more
    fcntl = None

_LONGEST = 500
"""How much is said of the command of a holder [characters]."""


class LockedError(RuntimeError):
    """Another process, or another thread of this one, holds the lock."""


@dataclass
class _Hold:
    """A lock that this process holds."""

    descriptor: int
    thread: threading.Thread
    made: bool
    """Whether the folder was made for it."""
    blocks: int = 0
    """How many ``with`` blocks hold it."""


_holds: dict[Path, _Hold] = {}
_guard = threading.Lock()


@dataclass(frozen=True)
class Lock:
    """The right to write what is in a folder, or a file.

    Within a process it belongs to a thread, which has it at once if it takes it again, or if the
    thread that took it has ended.

    Args:
        file: What is locked; it is there as long as the lock is held.
        guarded: What must not be written by two, for messages.
    """

    file: Path
    guarded: Path

    @classmethod
    def of_folder(cls, folder: Path) -> "Lock":
        """Return the lock of all that is in a folder, which is made if it is not there."""
        return cls(folder / ".lock", folder)

    @classmethod
    def of_file(cls, file: Path) -> "Lock":
        """Return the lock of a single file."""
        return cls(file.with_name(f".{file.name}.lock"), file)

    @contextmanager
    def hold(
        self, *, wait: bool = False, command: str = "", report: Callable[[str], None] | None = None
    ) -> Iterator[None]:
        """Hold the lock while a block runs; for the arguments and errors see :meth:`acquire`."""
        self.acquire(wait=wait, command=command, report=report)
        with _guard:
            hold = _holds[self._key]
            hold.blocks += 1
        try:
            yield
        finally:
            with _guard:
                hold.blocks -= 1
            self.release()

    def acquire(
        self, *, wait: bool = False, command: str = "", report: Callable[[str], None] | None = None
    ) -> None:
        """Take the lock, until :meth:`release` or the end of the process.

        Args:
            wait: Wait until nobody else holds it.
            command: What is said of the holder; the command of this process if not given.
            report: Called with who holds it, before waiting.

        Raises:
            LockedError: If it is held elsewhere, unless ``wait``; the message says by whom.
            OSError: If the file cannot be written, or its file system has no locks.
        """
        while not self.held:
            made = not self.file.parent.exists()
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                if os.path.lexists(self.file.parent) and not self.file.parent.is_dir():
                    raise
                continue  # another thread or process has just removed it
            try:
                descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o666)
            except FileNotFoundError:  # whoever had made the folder has just removed it
                continue
            try:
                if not self._lock(descriptor, wait=False):
                    if not wait:
                        raise LockedError(self._refusal(descriptor))
                    if report is not None:
                        report(f"waiting for {self.guarded}: {_said(descriptor)}")
                    self._lock(descriptor, wait=True)
                taken = self._is_file_of(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            if not taken:
                os.close(descriptor)
                continue
            with _guard:
                _holds[self._key] = _Hold(descriptor, threading.current_thread(), made)
            try:
                _say(descriptor, command or shlex.join(sys.orig_argv), self.file)
            except OSError:
                self.release()
                raise

    def release(self) -> None:
        """Let go of the lock; within a block that holds it that is left to the block."""
        with _guard:
            hold = _holds.get(self._key)
            if hold is None or hold.blocks or hold.thread is not threading.current_thread():
                return
            del _holds[self._key]
        # The file stays: another process may be waiting for it.
        with suppress(OSError):
            os.ftruncate(hold.descriptor, 0)
            if hold.made and [*self.file.parent.iterdir()] == [self.file]:
                self.file.unlink()
                self.file.parent.rmdir()
        os.close(hold.descriptor)

    @property
    def _key(self) -> Path:
        return self.file.parent.resolve() / self.file.name

    @property
    def held(self) -> bool:
        """Whether this thread holds it, or has it from one that has ended."""
        with _guard:
            hold = _holds.get(self._key)
            if hold is None:
                return False
            if not self._is_file_of(hold.descriptor):  # somebody has removed the folder
                del _holds[self._key]
                os.close(hold.descriptor)
                return False
            if not hold.thread.is_alive():
                hold.thread, hold.blocks = threading.current_thread(), 0
            return hold.thread is threading.current_thread()

    def _lock(self, descriptor: int, *, wait: bool) -> bool:
        if fcntl is None:
            raise OSError(
                f"{self.guarded} cannot be locked on this system, and two processes might write to "
                "it at once: on Windows use WSL"
            )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError as error:
            raise OSError(
                error.errno,
                f"{self.guarded} cannot be locked ({error.strerror}), and two processes might "
                "write to it at once: choose a folder of another file system, or let this one be "
                "mounted with locks",
            ) from error
        return True

    def _is_file_of(self, descriptor: int) -> bool:
        """Whether the file is the one that was opened: its folder may have been removed."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.file.stat())
        except FileNotFoundError:
            return False

    def _refusal(self, descriptor: int) -> str:
        with _guard:
            who = "another thread of this process" if self._key in _holds else "another process"
        return (
            f"{who} is at work in {self.guarded}: {_said(descriptor)}. Wait until it is done, or "
            "stop it; nothing of it is lost"
        )


def _say(descriptor: int, command: str, file: Path) -> None:
    """Write down who holds a lock."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    short = " ".join(command.split())
    short = short if len(short) <= _LONGEST else f"{short[:_LONGEST]}..."
    text = f"process {os.getpid()} on {socket.gethostname()} since {since}: {short}\n"
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode("utf-8", "surrogateescape"), 0)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def _said(descriptor: int) -> str:
    """Read who holds a lock."""
    text = os.pread(descriptor, 4 * _LONGEST, 0).decode("utf-8", "replace").strip()
    return text or "it has not said yet who it is"


def _forget() -> None:
    """Let a process that was forked hold nothing of what its parent holds."""
    global _guard
    _guard = threading.Lock()  # another thread may have had it at that moment
    for hold in _holds.values():
        os.close(hold.descriptor)  # the parent's stays locked: that one is still open
    _holds.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
