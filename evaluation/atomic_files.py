"""Files that are there as a whole or not at all, whether the process is killed or the disk full."""

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let a file be written under another name, and give it its own when it is on the disk.

    Args:
        path: The file; an older one of that name stays until the new one is there.
        write: Writes it, under the name that it is given.

    Raises:
        OSError: If it cannot be written; the message names the file.
    """
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        write(unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def write_text_whole(path: Path, text: str) -> None:
    """Write text, as UTF-8 and with its line ends as they are; see :func:`write_whole`."""
    write_whole(path, lambda unfinished: unfinished.write_text(text, "utf-8", newline=""))
