"""Compiling what a process needs, before it is needed, with a word to whoever waits."""

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np

from continual_arcade.agents.kernels.view import call_stored, size_of, store_arguments
from continual_arcade.envs.compiling import kernel

_typeof: Any = numba.typeof
_types: Any = numba.types
_PATIENCE = 2.0
"""How long it may take before a word is said [s]."""


class Entry:
    """A compiled function that Python calls often, with arguments that hardly ever change.

    Args:
        function: Compiled, and called by compiled code alone.
        owner: Whose it is; keeps the cache files of two games apart.
    """

    def __init__(self, function: Any, owner: str) -> None:
        self._function, self._owner = function, owner
        self._compiled: dict[Any, tuple[Callable[..., Any], Callable[..., Any], int]] = {}

    def prepared(self, arguments: Any) -> "Prepared":
        """Return the function with its arguments, a named tuple.

        It is compiled for arguments of these types, or read from the cache.
        """
        kind = _typeof(arguments)
        if kind not in self._compiled:
            with _announced():
                self._compiled[kind] = self._compile(kind)
        call, store, size = self._compiled[kind]
        return Prepared(call, store, arguments, size)

    def _compile(self, kind: Any) -> tuple[Callable[..., Any], Callable[..., Any], int]:
        # A cache file for each kind of arguments: it names their classes, which another process
        # that looks into the same file may not be able to import.
        said = f"{kind.instance_class.__module__} {kind}"
        owner = f"{self._owner}.{hashlib.sha256(said.encode()).hexdigest()[:12]}"
        names = {"stored_call": self._function, "ARGUMENTS": kind}
        call = kernel(call_stored, names, owner)
        store = kernel(store_arguments, {}, owner)
        # LLVM takes milliseconds to tell the size.
        return call.compile((_types.int64,)), store.compile((_types.int64, kind)), size_of(kind)


class Prepared:
    """A compiled function and what it is called with.

    Args:
        call: Calls it, given the address of its arguments.
        store: Stores these at an address.
        arguments: Kept alive as long as this object is.
        size: Bytes that they take.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        store: Callable[..., Any],
        arguments: Any,
        size: int,
    ) -> None:
        self._call, self.arguments = call, arguments
        self._place = np.zeros(size // 8 + 1, np.int64)
        self._address = self._place.ctypes.data
        store(self._address, arguments)

    def __call__(self) -> Any:
        """Call the function."""
        return self._call(self._address)


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
