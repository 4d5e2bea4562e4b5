"""Processes that work for another one: each on one thread, and none outlives it for long.

Ctrl-C, which reaches all processes of a terminal, they leave to the one that they work for.
"""

import os
import signal
import threading
import time
from typing import Any

from joblib import parallel_config

LOCAL = "loky"
"""What joblib calls processes of this machine."""
_LOOK_EVERY = 0.5
"""Interval at which a process looks for its parent [s]."""


def local_workers(jobs: int) -> Any:
    """Let joblib hand out work to processes of this machine, within a ``with`` block.

    Args:
        jobs: How many.
    """
    return parallel_config(
        backend=LOCAL,
        n_jobs=jobs,
        inner_max_num_threads=1,
        initializer=_begin,
        initargs=(os.getpid(),),
    )


def _begin(parent: int) -> None:
    """Begin to work for another process."""
    # It lets go of its workers; one interrupted between two tasks would print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)


def end_with_parent(parent: int) -> None:
    """Let this process end at once when its parent has ended, however it did.

    What is killed cannot stop its children, and nobody would wait for what they find. A run can be
    cut off at any moment and resumed, so nothing else is done.

    Args:
        parent: Process that has started this one. It may have ended before this is called.
    """
    # A thread asks now and then, since no signal of a parent's end is known to all systems.
    threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os._exit(1)
