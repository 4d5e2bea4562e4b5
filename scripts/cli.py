"""What all commands share: how they end."""

import errno
import sys
from collections.abc import Callable


def run(command: Callable[[], None]) -> None:
    """Run a command; end with a message instead of a traceback where the user can mend it.

    Exits with 2 for a mistake or a failing disk, and with 130 when interrupted.
    """
    try:
        command()
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
