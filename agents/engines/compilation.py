"""Compiling what a process needs, before it is needed, with a word to whoever waits."""

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import cfunc

from continual_arcade.agents.kernels.view import (
    call_stored,
    run_stored,
    size_of,
    store_arguments,
)
from continual_arcade.envs.compiling import kernel

_typeof: Any = numba.typeof
_types: Any = numba.types
_OF_ADDRESS = partial(cfunc, _types.void(_types.int64))
"""Compiles a C function that is given an address."""
_PATIENCE = 2.0
"""How long it may take before a word is said [s]."""


class _Compiled:
    """A function that is compiled for arguments that hardly ever change, and stored.

    Args:
        function: Compiled, and called by compiled code alone.
        owner: Whose it is; keeps the cache files of two games apart.
    """

    def __init__(self, function: Any, owner: str) -> None:
        self._function, self._owner = function, owner
        self._subject = "the learner"
        """What whoever waits is told of."""
        self._compiled: dict[Any, tuple[Any, Callable[..., Any], int]] = {}

    def _made(self, arguments: Any) -> tuple[Any, "Stored"]:
        """Return the function, and its arguments, a named tuple, stored.

        It is compiled for arguments of these types, or read from the cache.
        """
        kind = _typeof(arguments)
        if kind not in self._compiled:
            with _announced(self._subject):
                self._compiled[kind] = self._compile(kind)
        call, store, size = self._compiled[kind]
        return call, Stored(store, arguments, size)

    def _compile(self, kind: Any) -> tuple[Any, Callable[..., Any], int]:
        # A cache file for each kind of arguments: it names their classes, which another process
        # that looks into the same file may not be able to import.
        said = f"{kind.instance_class.__module__} {kind}"
        owner = f"{self._owner}.{hashlib.sha256(said.encode()).hexdigest()[:12]}"
        names = {"stored_call": self._function, "ARGUMENTS": kind}
        store = kernel(store_arguments, {}, owner)
        # LLVM takes milliseconds to tell the size.
        return self._call(names, owner), store.compile((_types.int64, kind)), size_of(kind)

    def _call(self, names: dict[str, Any], owner: str) -> Any:
        """Return what calls the function, given the address of its arguments."""
        raise NotImplementedError


class Entry(_Compiled):
    """A compiled function that Python calls often."""

    def prepared(self, arguments: Any) -> "Prepared":
        """Return the function with its arguments, a named tuple."""
        return Prepared(*self._made(arguments))

    def _call(self, names: dict[str, Any], owner: str) -> Any:
        return kernel(call_stored, names, owner).compile((_types.int64,))


class Callee(_Compiled):
    """A compiled function that other compiled code calls, by its address."""

    def __init__(self, function: Any, owner: str) -> None:
        super().__init__(function, owner)
        self._subject = f"the steps of {owner}"

    def prepared(self, arguments: Any) -> "Addressed":
        """Return where the function lies, and its arguments, a named tuple."""
        function, stored = self._made(arguments)
        return Addressed(function.address, stored.address, (function, stored))

    def _call(self, names: dict[str, Any], owner: str) -> Any:
        return kernel(run_stored, names, owner, _OF_ADDRESS)


class Stored:
    """Arguments of compiled code, stored in memory.

    Args:
        store: Stores them at an address.
        arguments: Kept alive as long as this object is.
        size: Bytes that they take.
    """

    def __init__(self, store: Callable[..., Any], arguments: Any, size: int) -> None:
        self.arguments = arguments
        self._place = np.zeros(size // 8 + 1, np.int64)
        self.address = self._place.ctypes.data
        """Where they lie."""
        store(self.address, arguments)


class Prepared:
    """A compiled function and what it is called with.

    Args:
        call: Calls it, given the address of its arguments.
        stored: These.
    """

    def __init__(self, call: Callable[..., Any], stored: Stored) -> None:
        self._call, self._stored, self._address = call, stored, stored.address

    @property
    def arguments(self) -> Any:
        """What it is called with."""
        return self._stored.arguments

    def __call__(self) -> Any:
        """Call the function."""
        return self._call(self._address)


class Addressed(NamedTuple):
    """A compiled function and what it is called with, for compiled code."""

    function: int
    """Where the function lies."""
    arguments: int
    """Where its arguments lie."""
    kept: Any
    """What must be alive as long as it is called."""


@contextmanager
def _announced(subject: str) -> Iterator[None]:
    """Say on standard error what takes so long, and for how long it has."""
    over = threading.Event()
    thread = threading.Thread(target=_announce, args=(over, subject), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _announce(over: threading.Event, subject: str) -> None:
    begun = time.perf_counter()
    if over.wait(_PATIENCE):
        return
    text = f"compiling {subject} for this machine; it is kept for next time"
    if not sys.stderr.isatty():
        print(f"{text} ...", file=sys.stderr, flush=True)
        over.wait()
    while not over.wait(0.5):
        elapsed = time.perf_counter() - begun
        print(f"\r{text} ... {elapsed:.0f} s", end="", file=sys.stderr, flush=True)
    elapsed = time.perf_counter() - begun
    start = "\r" if sys.stderr.isatty() else ""
    print(f"{start}{text}: done in {elapsed:.0f} s", file=sys.stderr, flush=True)
