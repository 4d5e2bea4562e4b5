"""Compiling what a process needs, before it is needed, with a word to whoever waits."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba

_typeof: Any = numba.typeof
_PATIENCE = 2.0
"""How long it may take before a word is said [s]."""


class Entry:
    """A kernel that is called with arguments of types that hardly ever change.

    To look up the types of a hundred arrays costs more than many a call does with them.

    Args:
        kernel: What numba made of a function.
    """

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._entries: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def prepared(self, arguments: tuple[Any, ...]) -> Callable[..., Any]:
        """Return machine code for arguments of these types: compiled, or read from the cache.

        Args:
            arguments: Like those it will be called with; with others, whose arrays have another
                number of dimensions, element type or layout, anything may happen.
        """
        signature = tuple(_typeof(argument) for argument in arguments)
        if signature not in self._entries:
            with _announced():
                self._entries[signature] = self._kernel.compile(signature)
        return self._entries[signature]


@contextmanager
def _announced() -> Iterator[None]:
    """Say on standard error what takes so long, and for how long it has."""
    over = threading.Event()
    thread = threading.Thread(target=_announce, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _announce(over: threading.Event) -> None:
    begun = time.perf_counter()
    if over.wait(_PATIENCE):
        return
    text = "compiling the learner for this machine; it is kept for next time"
    if not sys.stderr.isatty():
        print(f"{text} ...", file=sys.stderr, flush=True)
        over.wait()
    while not over.wait(0.5):
        elapsed = time.perf_counter() - begun
        print(f"\r{text} ... {elapsed:.0f} s", end="", file=sys.stderr, flush=True)
    elapsed = time.perf_counter() - begun
    start = "\r" if sys.stderr.isatty() else ""
    print(f"{start}{text}: done in {elapsed:.0f} s", file=sys.stderr, flush=True)
