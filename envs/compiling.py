"""How the rules of a game become machine code, and how that code is kept for the next process.

A game writes its rules as small plain functions over one *lane* (one environment). They are marked
with :func:`rule`, so that numba can inline them, and meet the loops that drive them in
:func:`kernel`, which compiles one loop of ``kernels.py`` with one game's rules.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

import numpy as np
from numba import config, njit

Function = TypeVar("Function", bound=Callable[..., Any])
_config: Any = config

# Everywhere error_model="numpy": divisions by zero give inf instead of a branch, which would keep a
# loop from vectorising. No fast-math: the games are exact, and the scalar and the vector build must
# give the same bits.


def rule(function: Function) -> Function:
    """Mark a function as part of a game's rules: compiled, and always inlined into its loop."""
    return cast(Function, njit(forceinline=True, error_model="numpy")(function))


def plain(function: Function) -> Function:
    """Return the Python function behind a compiled one."""
    return cast(Function, getattr(function, "py_func", function))


def rebind(function: Callable[..., Any], names: Mapping[str, Any]) -> FunctionType:
    """Return a copy of a plain function that finds other things behind some global names.

    Args:
        function: A plain or compiled function; a compiled one is unwrapped first.
        names: What the copy sees behind these global names.
    """
    source = plain(function)
    assert isinstance(source, FunctionType)
    return FunctionType(
        source.__code__,
        {**source.__globals__, **names},
        source.__name__,
        source.__defaults__,
        source.__closure__,
    )


def kernel(
    template: Callable[..., Any], names: Mapping[str, Any], owner: str, jit: Any = njit
) -> Any:
    """Compile a loop with the rules of one game, and cache the machine code on disk.

    Args:
        template: A plain function; what it calls by name is compiled into it.
        names: What these names stand for, such as the rules of a game.
        owner: Whose rules they are; keeps the cache files of two games apart.
        jit: What compiles it, a decorator of numba that takes ``cache`` and ``error_model``.

    Returns:
        The compiled function, numba's dispatcher if ``njit`` compiles it. Where no folder can hold
        a cache it is compiled again in each process, and a warning says so.

    Raises:
        RuntimeError: If numba is set to compile nothing.
    """
    if _config.DISABLE_JIT:
        raise RuntimeError(
            "NUMBA_DISABLE_JIT is set, and the games are compiled code, of which Python alone runs "
            "nothing: unset it"
        )
    function = rebind(template, names)
    parts = [plain(part) for part in (template, *names.values()) if callable(part)]
    sources = {Path(part.__code__.co_filename) for part in parts if isinstance(part, FunctionType)}
    if not all(source.is_file() for source in sources):
        # Rules from a notebook: nothing would show that they were edited.
        return jit(error_model="numpy")(function)
    # numba's cache watches only the file that holds the loop. The digest of all sources that may
    # have a part in it makes it watch them too: an edited rule never meets stale machine code,
    # wherever its game stands. The name of a part that is itself a kernel tells of its sources.
    folders = {Path(__file__).parent, *(source.parent for source in sources)}
    origin = [_digest_of(folder) for folder in sorted(folders)]
    origin += [getattr(part, "__qualname__", "") for part in parts]
    # What rules are bound to stands in no source: how many frames a step has, how wide a field is.
    origin += [line for part in parts for line in _bound(part, set())]
    origin += [line for name, value in names.items() for line in _constant(name, value)]
    digest = hashlib.sha256(" ".join(origin).encode()).hexdigest()[:12]
    function.__qualname__ = f"{template.__name__}.{owner}.{digest}"
    try:
        return jit(cache=True, error_model="numpy")(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        warnings.warn(
            "No folder to keep compiled code in, so each process compiles again (some seconds for "
            "a game, half a minute for a learner). Set NUMBA_CACHE_DIR to a writable folder to "
            "avoid that.",
            RuntimeWarning,
            stacklevel=2,
        )
        return jit(error_model="numpy")(function)


def _bound(part: Any, known: set[int]) -> Iterator[str]:
    """Yield the constants that a function finds behind its global names, and those it calls."""
    function = plain(part)
    if not isinstance(function, FunctionType) or id(function) in known:
        return
    known.add(id(function))
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if callable(value):
            yield from _bound(value, known)
        else:
            yield from _constant(name, value)


def _constant(name: str, value: Any) -> Iterator[str]:
    """Yield what there is to say of a constant; of anything else nothing."""
    if isinstance(value, np.ndarray):
        yield f"{name} {value.dtype} {value.shape} {value.tobytes().hex()}"
    elif isinstance(value, int | float | str | tuple | np.generic):
        yield f"{name} {value!r}"


@cache
def _digest_of(folder: Path) -> str:
    """Return a digest of the sources in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
