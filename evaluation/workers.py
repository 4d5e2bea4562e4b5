"""Processes that work for this one."""

import signal


def leave_interrupts() -> None:
    """Leave Ctrl-C, which reaches all processes of a terminal, to the one that has the workers.

    It lets go of them. Who was interrupted between two tasks would say so with a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
