"""What all commands share: how they end."""

import errno
import sys
from collections.abc import Callable

NOTICE = 1
"""Exit status of what was done, and came out in a way that whoever called must notice."""


def run(command: Callable[[], int | None]) -> None:
    """Run a command; end with a message instead of a traceback where the user can mend it.

    Exits with what the command returns (0 or ``NOTICE``; None is 0), with 2 for a mistake or a
    failing disk, and with 130 when interrupted.
    """
    try:
        if status := command():
            sys.exit(status)
    except KeyboardInterrupt:
        print("\ninterrupted; what was written so far is intact", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        message = str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            message = f"{error}: there is no room. What was written before is intact."
        print(f"error: {message}", file=sys.stderr)
        sys.exit(2)
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
