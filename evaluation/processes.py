"""Worker processes: each on one thread, and none outlives its parent for long.

They leave Ctrl-C, which reaches all processes of a terminal, to the parent.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any, Generic, TypeVar

from joblib.externals.loky import get_reusable_executor

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_EVERY = 0.5
"""Interval at which a process looks for its parent [s]."""
_IDLE = 300
"""How long a process waits for more to do [s]."""
_SOON = 5
"""How long what was handed out may take to be taken up, where nothing is wrong [s]."""
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1"
    for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM", "NUMBA", "NUMEXPR")
}


class WorkerDeathError(RuntimeError, Generic[Item]):
    """A process died while it worked; with it end the others that worked beside it."""

    def __init__(self, items: list[Item]) -> None:
        super().__init__(f"a process died over one of: {', '.join(map(str, items))}")
        self.items = items
        """What was being worked at, or was about to be, and has no result."""


def unordered(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> Iterator[Result]:
    """Call a function on each item in other processes; return results as soon as they are known.

    Items are taken one by one, when there is a process for them and the results so far were dealt
    with, so that there may be fewer in the end. If the iterator is closed the processes are killed.

    Args:
        function: What is called; it and the items are pickled.
        items: What it is called with.
        jobs: How many processes.

    Returns:
        The results, in no particular order.

    Raises:
        WorkerDeathError: If a process died.
        Exception: Whatever the function raises.
    """
    # From this thread alone: who hands out work from a callback, as joblib's Parallel does, is
    # not notified that the processes are dead, and waits for ever for what was never handed out.
    executor: Any = get_reusable_executor(
        jobs,
        timeout=_IDLE,
        initializer=_begin,
        initargs=(os.getpid(), os.getcwd()),
        env=_ONE_THREAD,
    )
    waiting = iter(items)
    at: dict[Future[Result], Item] = {}
    ended = False

    def hand_out() -> None:
        """Give each process that is free something to do."""
        while len(at) < jobs:
            try:
                item = next(waiting)
            except StopIteration:
                return
            try:
                at[executor.submit(function, item)] = item
            except BrokenExecutor as error:
                raise WorkerDeathError([*at.values(), item]) from error

    try:
        hand_out()
        while at:
            for future in wait(at, return_when=FIRST_COMPLETED).done:
                try:
                    result = future.result()
                except BrokenExecutor as error:
                    raise WorkerDeathError(list(at.values())) from error
                del at[future]
                yield result
            hand_out()
        ended = True
    finally:
        if not ended:
            # Its thread fails if it is stopped before it took up what was handed out last.
            deadline = time.monotonic() + _SOON
            while time.monotonic() < deadline and not all(_is_taken_up(each) for each in at):
                time.sleep(0.001)
            executor.shutdown(wait=True, kill_workers=True)


def _is_taken_up(future: Future[Any]) -> bool:
    return future.running() or future.done()


def _begin(parent: int, folder: str) -> None:
    """Begin to work for another process, in its folder; where that is another one, others do."""
    os.chdir(folder)
    # It lets go of its workers; one interrupted between two tasks would print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)


def end_with_parent(parent: int) -> None:
    """End this process at once when its parent has ended, however it did.

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
