"""Standard output and standard error that never fail, whatever becomes of those who read them.

To train, or to evaluate, is not to end because a pipe was closed to which a line was printed.
"""

import codecs
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_READER_IS_CLOSED = (errno.EPIPE, errno.EIO)
"""A pipe that nobody reads any more, and a terminal that was closed."""
_ESCAPE = "continual_arcade.escape"
"""How characters are written that the encoding of a stream does not have."""


@contextmanager
def enduring_streams() -> "Iterator[list[Stream]]":
    """Let whatever prints do so through streams that never fail.

    What a reader does not want any more is dropped. So is what a full disk does not take; but the
    stream remembers that. Libraries and child processes that write to the descriptors themselves
    are spared from the first failure of a reader on.

    Returns:
        The streams that took the place of those of the process. What somebody has put there instead
        is left to them.
    """
    _occupy_standard_descriptors()
    before = sys.stdout, sys.stderr
    streams: list[Stream] = []
    try:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:  # it was closed when Python started
                nowhere = open(os.devnull, "w", encoding="utf-8", errors=_ESCAPE)  # noqa: SIM115
                setattr(sys, name, nowhere)
            # What somebody has put in its place is left to them.
            elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
                with suppress(OSError):
                    stream.flush()
                streams.append(Stream(stream))
                setattr(sys, name, streams[-1])
        yield streams
    finally:
        for mine in streams:
            mine.flush()
        sys.stdout, sys.stderr = before


class _Outlet(io.FileIO):
    """A standard stream that never fails: what cannot be written is dropped.

    Args:
        descriptor: Of the stream; it stays open.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.failure: OSError | None = None
        """Why something was dropped, unless it is that nobody wants to read it."""

    def write(self, data: Any, /) -> int:
        """Write some bytes, or drop them all; return how many need not be written any more."""
        try:
            while (written := super().write(data)) is None:
                # Its reader is slow, and somebody has set the pipe not to wait for it.
                select.select([], [self], [])
            return written
        except OSError as error:
            if error.errno in _READER_IS_CLOSED:
                # Child processes and libraries that write to the descriptor are spared as well.
                descriptor = os.open(os.devnull, os.O_WRONLY)
                os.dup2(descriptor, self.fileno())
                os.close(descriptor)
            else:
                self.failure = error
            return len(data)


class Stream(io.TextIOWrapper):
    """A text stream that never fails, in place of another one.

    Args:
        like: The other one, whose descriptor it shares.
    """

    def __init__(self, like: io.TextIOWrapper) -> None:
        self._outlet = _Outlet(like.fileno())
        super().__init__(
            io.BufferedWriter(self._outlet),
            encoding=like.encoding,
            errors=_ESCAPE,
            line_buffering=like.line_buffering or like.write_through,
        )

    def flushed(self) -> OSError | None:
        """Write all that waits; return why the disk did not take something, ever."""
        self.flush()
        return self._outlet.failure


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write the names of files as they are, and what an encoding does not have by its number."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


codecs.register_error(_ESCAPE, _escape)


def _occupy_standard_descriptors() -> None:
    """Open /dev/null in place of standard streams that are closed.

    Otherwise the next file takes their number, and a table of evaluations receives whatever
    libraries and child processes have to say.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
