"""What all commands share: how they end."""

import errno
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from continual_arcade.studies.streams import enduring_streams

NOTICE = 1
"""Exit status of what was done, with a result that whoever called must notice."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HINTS = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        ": there is no room. What was written before is intact.",
    ),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR), ": it is, or lies in, a file: choose another"),
}
"""What to do about errors of the file system."""


def run(command: Callable[[], int | None]) -> None:
    """Run a command, from the reading of its arguments to its end.

    It ends with a message instead of a traceback where the user can mend it. Whatever becomes of
    those who read what it prints, it runs to its end: when they are closed it is silent.

    Args:
        command: What is run; it may print in any way, on standard output and standard error. It
            returns its exit status: 0, which None stands for, or ``NOTICE``.

    Raises:
        SystemExit: With the status of the command, unless that is 0; with 2 after a mistake, or
            where something cannot be written; with 128 plus the number of the signal that asked
            it to end: 130 after Ctrl-C, 143 after SIGTERM.
    """
    with enduring_streams() as streams:
        end = _end_of(command)
        failures = [failure for stream in streams if (failure := stream.flushed())]
        if failures and (end is None or end.code in (None, 0, NOTICE)):
            print(f"error: not all output could be written: {failures[0]}", file=sys.stderr)
            end = SystemExit(2)
    if end is not None:
        raise end


def _end_of(command: Callable[[], int | None]) -> SystemExit | None:
    """Run a command; return how it ended, or None if there is nothing to say of that."""
    try:
        with _interrupted_by_signals():
            if status := command():
                return SystemExit(status)
    except SystemExit as end:
        return end
    except KeyboardInterrupt as interrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # where the line ends with ^C, or with half a progress bar
        notes = "".join(f"; {note}" for note in getattr(interrupt, "__notes__", ()))
        print(f"interrupted; what was written so far is intact{notes}", file=sys.stderr)
        number = interrupt.number if isinstance(interrupt, _Interrupt) else signal.SIGINT
        return SystemExit(128 + number)
    except OSError as error:
        of_file = error.filename and error.strerror  # else "[Errno 2] ...", or a message of ours
        said = f"{error.filename}: {error.strerror}" if of_file else f"{error}"
        print(f"error: {said}{_HINTS.get(error.errno or 0, '')}", file=sys.stderr)
        return SystemExit(2)
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return SystemExit(2)
    except MemoryError as error:
        what = f"{error}" or "there is not enough memory"
        way_out = "fewer num_envs, a smaller buffer_size, smaller pictures or hidden layers"
        print(f"error: {what}: {way_out}; or a larger machine", file=sys.stderr)
        return SystemExit(2)
    return None


class _Interrupt(KeyboardInterrupt):
    """A signal asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.strsignal(number))
        self.number = number


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt as Ctrl-C does, so that nothing half-done is left behind."""

    def interrupt(number: int, _: Any) -> None:
        raise _Interrupt(number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may change them
        # One that is ignored stays so: that is what nohup is for.
        before = {
            number: signal.signal(number, interrupt)
            for number in _ENDING
            if signal.getsignal(number) is not signal.SIG_IGN
        }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
