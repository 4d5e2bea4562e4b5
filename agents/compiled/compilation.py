"""Compiling what a process needs, before it is needed, with a word to whoever waits."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba

_PATIENCE = 2.0
"""How long it may take before a word is said [s]."""


def compiled(kernel: Any, arguments: tuple[Any, ...]) -> None:
    """Compile a kernel for arguments of these types, or read it from the cache."""
    signature = tuple(numba.typeof(argument) for argument in arguments)
    if signature in kernel.overloads:
        return
    with _announced():
        kernel.compile(signature)


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
