"""Small C functions made of the rules of a method, which compiled code calls by their address.

So the engine is compiled once, and knows no method: what a part does within a gradient step comes
to it as a list of addresses. Each function takes one argument, the address of a record of whole
numbers (lengths and further addresses), because that is all that two pieces of code that know
nothing of each other can agree on.
"""

import ctypes
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import cfunc, njit, types
from numba.core.errors import NumbaError

from continual_arcade.agents.kernels.inner import FUSED, WIDE, inner, intrinsic

_types: Any = types
carray: Any = vars(numba)["carray"]


@intrinsic
def _pointer(typing_context: Any, address: Any, like: Any) -> Any:
    """Make a pointer of an address; ``like`` is a NumPy type, such as ``np.float32``."""
    pointer = _types.CPointer(like.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(types.int64, like), generate


@intrinsic
def _address(typing_context: Any, array: Any) -> Any:
    """Return where the first element of an array lies."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), generate


@intrinsic
def _call(typing_context: Any, function: Any, record: Any) -> Any:
    """Call the C function at an address with the address of its record."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
        pointer = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(pointer, [arguments[1]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@inner()
def words_at(address: Any, count: Any) -> Any:
    """Return the whole numbers at an address, shape ``(count,)``."""
    return carray(_pointer(address, np.int64), (count,))


@inner()
def floats_at(address: Any, count: Any) -> Any:
    """Return the numbers of single precision at an address, shape ``(count,)``."""
    return carray(_pointer(address, np.float32), (count,))


@inner()
def bytes_at(address: Any, count: Any) -> Any:
    """Return the bytes at an address, shape ``(count,)``."""
    return carray(_pointer(address, np.uint8), (count,))


@inner()
def like_at(array: Any, address: Any, count: Any) -> Any:
    """Return the numbers at an address, of the type of those of an array, shape ``(count,)``."""
    return carray(_pointer(address, array.dtype), (count,))


@inner()
def doubles_at(address: Any, count: Any) -> Any:
    """Return the numbers of double precision at an address, shape ``(count,)``."""
    return carray(_pointer(address, np.float64), (count,))


@inner()
def address_of(array: Any) -> Any:
    """Return where the first element of an array lies."""
    return _address(array)


@inner()
def call(function: Any, record: Any) -> None:
    """Call the C function at an address with the address of its record."""
    _call(function, record)


Function = TypeVar("Function", bound=Callable[..., Any])


def cached(function: Function) -> Function:
    """Cache results as ``functools.cache`` does, and keep the types."""
    return cast(Function, cache(function))


class RuleError(ValueError):
    """A rule cannot be compiled; what it says is for the author of the rule."""


class CFunction:
    """A compiled function of one record.

    Args:
        compiled: What numba made of it.
    """

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self.address = int(compiled.address)
        """Where it lies, as long as this object lives."""
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self.address)

    def __call__(self, record: np.ndarray[Any, Any]) -> None:
        """Call it from Python.

        Args:
            record: Its whole numbers; whatever these point to must be kept alive by the caller.
        """
        self._call(record.ctypes.data)


def of_single_precision(function: Callable[..., Any]) -> Any:
    """Return a rule over numbers of single precision as compiled code, to be inlined.

    What is written as ``0.5`` in it is of single precision, too: in double precision the vectors
    of the machine would hold half as many, and PyTorch means the same.
    """
    code = function.__code__
    constants = tuple(np.float32(c) if type(c) is float else c for c in code.co_consts)
    return _compiled(code.replace(co_consts=constants), function, FUSED)


def of_double_precision(function: Callable[..., Any]) -> Any:
    """Return a rule over numbers of double precision as compiled code, to be inlined."""
    return _compiled(function.__code__, function, frozenset())


def _compiled(code: Any, function: Any, fastmath: frozenset[str]) -> Any:
    copy = FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    flags: Any = set(fastmath) or False
    return njit(forceinline=True, error_model="numpy", fastmath=flags)(copy)


def check_compiles(function: Any, arguments: tuple[Any, ...], what: str) -> None:
    """Compile a rule by itself, so that a fault in it is told as one of that rule.

    Args:
        function: As :func:`of_single_precision` returns it.
        arguments: Types of what it is called with.
        what: What it is, for the message.

    Raises:
        RuleError: If numba cannot compile it.
    """
    try:
        function.compile(arguments)
    except NumbaError as error:
        raise RuleError(f"{what} cannot be compiled: {_shortened(error, function)}") from error


def _shortened(error: NumbaError, function: Any) -> str:
    """Return the line of a rule that is wrong, and what is wrong with it."""
    code = function.py_func.__code__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    place = next((line for line in lines if line.startswith("File ")), "")
    number = place.rpartition("line ")[2].rstrip(":") or str(code.co_firstlineno)
    reasons = [
        line
        for line in lines
        if not line.startswith(("File ", "Failed in", "During:", "- ", "There are", "<"))
    ]
    why = (reasons or [type(error).__name__])[0].removesuffix(".")
    source = ""
    if number.isdigit() and Path(code.co_filename).is_file():
        text = Path(code.co_filename).read_text(encoding="utf-8").splitlines()
        source = text[int(number) - 1].strip() if int(number) <= len(text) else ""
    return f"{why}, in line {number} of {Path(code.co_filename).name}: {source}"


_MADE: dict[str, CFunction] = {}
_CONSTANTS = (int, float, complex, str, tuple, bytes, np.generic, np.ndarray)
"""Of these kinds are the constants that compiled code has in it."""


def c_function(
    text: str,
    rules: Mapping[str, Any],
    owner: Callable[..., Any],
    suspects: Sequence[tuple[Any, tuple[Any, ...], str]],
) -> CFunction:
    """Compile a C function, or take it from the cache on disk.

    Args:
        text: Source of a function ``run(record)``, which may use :func:`words_at` and the like.
        rules: What else it finds by name, such as compiled rules.
        owner: A function of the file beside which the machine code is kept.
        suspects: Arguments of :func:`check_compiles`, for each rule, if something is wrong.

    Raises:
        RuleError: If numba cannot compile it.
    """
    file = owner.__code__.co_filename
    parts = [text, _digest_of(str(Path(__file__).parent)), _digest_of(str(Path(file).parent), file)]
    for name, rule in rules.items():
        parts += [name, *content(rule)]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    if digest in _MADE:
        return _MADE[digest]
    names: dict[str, Any] = {
        "__name__": __name__,
        "words_at": words_at,
        "floats_at": floats_at,
        "doubles_at": doubles_at,
        "single": np.float32,
        **rules,
    }
    exec(compile(text, file, "exec"), names)
    run = names["run"]
    run.__qualname__ = f"{owner.__qualname__}.{digest}"
    try:
        made = _c_function(run)
    except NumbaError as error:
        for suspect in suspects:
            check_compiles(*suspect)
        raise RuleError(f"rules of {owner.__qualname__} cannot be compiled: {error}") from error
    _MADE[digest] = CFunction(made)
    return _MADE[digest]


def _c_function(run: Any) -> Any:
    options: Any = {"error_model": "numpy", "fastmath": set(WIDE)}
    try:
        return cfunc(types.void(types.int64), cache=True, **options)(run)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return cfunc(types.void(types.int64), **options)(run)


def content(thing: Any, seen: set[int] | None = None) -> list[str]:
    """Return what a function computes: its code, and all that it finds by name.

    A rule may use a number or a function of a notebook, or of a module, of which no file that is
    looked at tells that it has changed.
    """
    seen = set() if seen is None else seen
    thing = getattr(thing, "py_func", thing)  # of what is compiled
    code = getattr(thing, "__code__", None)
    if not isinstance(code, CodeType):
        return [_written(thing)] if isinstance(thing, _CONSTANTS) else []
    if id(thing) in seen:  # not its code, which functions with other constants may share
        return []
    seen.add(id(thing))
    found, names = [_written(code), _written(thing.__defaults__)], _names(code)
    known = [thing.__globals__.get(name) for name in names]
    places = [thing.__globals__, *(vars(one) for one in known if isinstance(one, ModuleType))]
    for name in names:
        found.append(name)
        for place in places:
            found += content(place.get(name), seen)
    for cell in thing.__closure__ or ():
        found += content(cell.cell_contents, seen)
    return found


def _names(code: CodeType) -> list[str]:
    """Return the names that code looks up, that of its inner functions too."""
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return [*code.co_names, *(name for one in inner for name in _names(one))]


def _written(value: Any) -> str:
    """Write a constant so that all processes write it alike.

    The ``repr`` of code has its address, and that of a set the order of this process.
    """
    if isinstance(value, CodeType):
        return f"{value.co_code.hex()} {value.co_names} {_written(value.co_consts)}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_written, value))})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_written, value)))}}}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {value.tobytes().hex()}"
    return f"{type(value).__name__} {value!r}"


@cache
def _digest_of(folder: str, file: str = "") -> str:
    """Return a digest of the sources in a folder of this suite, or else of one file."""
    suite = Path(__file__).parent.parent
    found = [Path(file)] if file and suite not in Path(folder, "x").parents else []
    digest = hashlib.sha256()
    for path in found or sorted(Path(folder).glob("*.py")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
