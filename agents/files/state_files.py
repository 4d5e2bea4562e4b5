"""State trees as files: what a run needs to be resumed, whole or not at all, and never any code.

A *state tree* is a dict with text for keys. Its values are dicts of the same kind, lists, and
leaves: None, bool, int, float, str, NumPy arrays of numbers or truth values (also structured ones),
and PyTorch tensors. It comes back exactly, but for four things: a tuple becomes a list, any other
dict a plain one, a tensor lies on the CPU without its gradient, and what was shared by two branches
is there twice.

The file is a zip of ``state.json`` and ``arrays/0.npy``, ``arrays/1.npy``, ... In the JSON an
object with the only key ``$array``, ``$tensor``, ``$int`` or ``$float`` stands for a leaf that JSON
has no word for; a key of the tree that begins with ``$`` gets a second one. Nothing in it is
pickled, so that reading it runs no code, whoever made it.
"""

import errno
import hashlib
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from continual_arcade.agents.machine_memory import check_memory

AnyArray = npt.NDArray[Any]
AnyFile: TypeAlias = str | Path | IO[bytes]

_FORMAT = 1
_HEAD = "state.json"
_VERSIONS = ("continual-arcade", "torch", "numpy", "stable-baselines3")
version = cache(metadata.version)
"""To look through all that is installed takes longer than to write a small agent."""

# Level 1 makes a third of a replay buffer, at 130 MB/s; weights stay what they are, at 40 MB/s.
_COMPRESSION, _LEVEL = zipfile.ZIP_DEFLATED, 1

_NPY_VERSION = (3, 0)
_FLOATS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
"""The numbers that JSON has no word for."""

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
    OverflowError,
    MemoryError,
    RuntimeError,  # an entry that claims to be encrypted, or of an unknown compression; nesting
)
"""What reading a damaged file may raise, whichever byte it is that is wrong."""

_LONGEST_NAME = 255
"""Bytes of the longest name that file systems take."""
_HIGHEST_RATIO = 1032
"""How many bytes one byte may stand for at most, as zlib compresses."""
_PER_BYTE = 32
"""Bytes of memory that one byte of JSON may take as Python's objects: of a list in a list."""


def save_state(path: AnyFile, state: dict[str, Any], kind: str) -> None:
    """Write a state tree to a file, in place of an older one of that name.

    The file is there as a whole or not at all, even if the process is killed or the machine stops:
    until the last byte is on the disk, it has a name that begins with ``.unfinished-``.

    Args:
        path: The file; or one that is open for writing, which then has whatever was written when
            something fails.
        state: The tree.
        kind: What the tree describes, which :func:`load_state` must ask for.

    Raises:
        TypeError: If something in the tree cannot be kept; the message says where it is. Nothing
            is written.
        OSError: If the file cannot be written. An older file stays as it was.
    """
    arrays: list[AnyArray] = []
    head = {
        "format": _FORMAT,
        "kind": kind,
        "versions": {name: version(name) for name in _VERSIONS},
        "state": _pack(state, "state", arrays),
    }
    text = json.dumps(head, allow_nan=False).encode()
    if not isinstance(path, str | Path):
        _write(path, text, arrays)
        return
    path = Path(path)
    unfinished = path.with_name(_unfinished(path.name))
    try:
        with unfinished.open("wb") as file:
            _write(file, text, arrays)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def _unfinished(name: str) -> str:
    """Return the name of a file until its last byte is written; also of one with a long name."""
    whole = f".unfinished-{name}"
    if len(os.fsencode(whole)) <= _LONGEST_NAME:
        return whole
    return f".unfinished-{hashlib.sha256(os.fsencode(name)).hexdigest()}"


def load_state(path: AnyFile, kind: str) -> dict[str, Any]:
    """Read a state tree from a file.

    Args:
        path: The file, or one that is open for reading.
        kind: What the tree must describe.

    Raises:
        ValueError: If the file is damaged, is none of ours, describes something else, or was
            written by a newer version.
        OSError: If the file cannot be read.
    """
    with _opened(path) as file:
        archive, head = _open(path, file)
        if head["kind"] != kind:
            raise ValueError(
                f"{path} holds the state of {head['kind']!r}, not of {kind!r}: give another file"
            )
        with _damage_named(path):
            arrays = _Arrays(archive)
            state = _unpack(head["state"], arrays)
            if not isinstance(state, dict):
                raise ValueError("its state is no table")
            if arrays.left:
                raise ValueError(f"{min(arrays.left)} belongs to nothing")
            return state


def check_state(tree: Any, where: str) -> None:
    """Check that a tree can be saved.

    Raises:
        TypeError: If something in it cannot be kept; the message says where it is.
    """
    _pack(tree, where, [])


def kind_of(path: AnyFile) -> str:
    """Return what the tree of a file describes.

    Raises:
        ValueError: If the file is damaged, is none of ours, or was written by a newer version.
        OSError: If the file cannot be read.
    """
    with _opened(path) as file:
        _, head = _open(path, file)
    found: str = head["kind"]
    return found


def versions(path: AnyFile) -> dict[str, Any]:
    """Return the versions of the libraries that a file was written with, by name.

    Raises:
        ValueError: If the file is damaged, is none of ours, or was written by a newer version.
        OSError: If the file cannot be read.
    """
    with _opened(path) as file:
        _, head = _open(path, file)
    found: dict[str, Any] = head.get("versions", {})
    return found


def other_versions(path: AnyFile) -> dict[str, tuple[Any, str]]:
    """Return the libraries that a file was written with in other versions: (then, now) by name.

    Raises:
        ValueError: If the file is damaged, is none of ours, or was written by a newer version.
        OSError: If the file cannot be read.
    """
    then = versions(path)
    now = {name: version(name) for name in _VERSIONS}
    return {name: (then.get(name), now[name]) for name in now if then.get(name) != now[name]}


def is_foreign(path: AnyFile) -> bool:
    """Say whether a file is in Stable-Baselines3's own format, which can run code when loaded.

    Raises:
        OSError: If the file cannot be read.
    """
    with _opened(path) as file:
        try:
            return _is_sb3(zipfile.ZipFile(file))
        except (*_DAMAGE, OSError):
            return False


def _pack(value: Any, where: str, arrays: list[AnyArray]) -> Any:
    """Return a tree as JSON has it, and put its arrays into a list."""
    # Exact types: what is derived from them, as NumPy's float64 is, would come back as another.
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        # Decimal digits beyond these are slow, and Python refuses to read very many.
        return value if abs(value) < 2**63 else {"$int": hex(value)}
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:
                raise TypeError(f"{where} has the key {key!r}: the keys of a state are text")
        return {
            f"${key}" if key.startswith("$") else key: _pack(item, f'{where}["{key}"]', arrays)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_pack(item, f"{where}[{i}]", arrays) for i, item in enumerate(value)]
    if isinstance(value, torch.Tensor):
        arrays.append(_array_of(value, where))
        return {"$tensor": len(arrays) - 1}
    if type(value) is np.ndarray:
        if not _is_numeric(value.dtype):
            raise TypeError(f"{where} is an array of {value.dtype}: only numbers can be kept")
        arrays.append(value)
        return {"$array": len(arrays) - 1}
    hint = "; take its item()" if isinstance(value, np.generic) else ""
    raise TypeError(
        f"{where} is of type {type(value).__module__}.{type(value).__qualname__}, which no state "
        f"file holds{hint}"
    )


def _array_of(tensor: torch.Tensor, where: str) -> AnyArray:
    try:
        return tensor.detach().cpu().resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"{where} is a tensor of {tensor.dtype} and {tensor.layout}, which NumPy does not have"
        ) from error


def _is_numeric(dtype: np.dtype[Any]) -> bool:
    if dtype.fields is not None:
        return bool(dtype.fields) and all(_is_numeric(each[0]) for each in dtype.fields.values())
    return dtype.base.kind in "biufc" if dtype.subdtype is None else _is_numeric(dtype.base)


def _write(file: IO[bytes], text: bytes, arrays: list[AnyArray]) -> None:
    with zipfile.ZipFile(file, "w", _COMPRESSION, compresslevel=_LEVEL) as archive:
        with archive.open(_HEAD, "w") as entry:
            entry.write(text)
        for number, array in enumerate(arrays):
            with archive.open(_entry(number), "w", force_zip64=True) as entry:
                # Version 3 knows names in any language, and NumPy does not warn of a version it is
                # told to write.
                np.lib.format.write_array(entry, array, version=_NPY_VERSION, allow_pickle=False)


def _entry(number: int) -> str:
    return f"arrays/{number}.npy"


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where that can be asked for.

    The file is there already: a folder that may not be read, or a file system that knows no such
    thing, is no reason to say that it is not.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _opened(path: AnyFile) -> Iterator[IO[bytes]]:
    if isinstance(path, str | Path):
        with Path(path).open("rb") as file:
            yield file
    else:
        path.seek(0)
        yield path
        path.seek(0)


def _open(path: AnyFile, file: IO[bytes]) -> tuple[zipfile.ZipFile, dict[str, Any]]:
    """Open a file, and read what it says of itself."""
    with _damage_named(path):
        archive = zipfile.ZipFile(file)
    if _is_sb3(archive):
        raise ValueError(
            f"{path} is in Stable-Baselines3's own format, which can run code when it is loaded: "
            "if you trust whoever made it, load it with trust=True"
        )
    if _HEAD not in archive.namelist():
        raise ValueError(
            f"{path} is no state file of this suite, it has no {_HEAD}: give one that was saved by "
            "a run"
        )
    with _damage_named(path):
        _check_entries(archive)
        head = json.loads(archive.read(_HEAD), parse_constant=_no_number)
        number = head["format"]
        if type(number) is not int or number < 1:
            raise ValueError(f"{number!r} is no number of a format")
    if number > _FORMAT:
        raise ValueError(
            f"{path} is in format {number}, this version reads formats up to {_FORMAT}: install a "
            "newer continual-arcade"
        )
    with _damage_named(path):
        versions = head.get("versions", {})
        if type(head["kind"]) is not str or "state" not in head or type(versions) is not dict:
            raise ValueError(f"{_HEAD} lacks what every state file has")
    return archive, head


def _check_entries(archive: zipfile.ZipFile) -> None:
    """Check what a file says of its entries, before any of them is unpacked.

    No entry can hold more than its bytes can stand for; all of them together must fit into memory;
    and there is nothing but what was written here.

    Raises:
        ValueError: If it is not so.
    """
    entries = archive.infolist()
    names = {entry.filename for entry in entries}
    if names != {_HEAD, *(_entry(number) for number in range(len(entries) - 1))}:
        raise ValueError("it has entries of other names than a state file, or one of them twice")
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{entry.filename} is compressed in another way than a state file")
        if entry.file_size > _HIGHEST_RATIO * entry.compress_size:
            raise ValueError(
                f"{entry.filename} claims {entry.file_size:,} bytes, which {entry.compress_size:,} "
                "cannot hold"
            )
    sizes = {entry.filename: entry.file_size for entry in entries}
    # A tensor is a copy of its array.
    largest = max(sizes.values())
    check_memory("the arrays in it", sum(sizes.values()) + largest + _PER_BYTE * sizes[_HEAD])


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _is_sb3(archive: zipfile.ZipFile) -> bool:
    return set(archive.namelist()) >= {"data", "_stable_baselines3_version"}


@contextmanager
def _damage_named(path: AnyFile) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGE, OSError) as error:
        # Of these two the file is the cause: no place that a seek could go to, no data of bzip2.
        if isinstance(error, OSError) and error.errno not in (errno.EINVAL, None):
            raise
        why = error.args[0] if error.args else type(error).__name__
        raise ValueError(
            f"{path} is damaged, or no state file: {why}. Take an earlier one, or make it again"
        ) from error


class _Arrays:
    """The arrays of a file, each of which belongs to one place of the tree."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.left = {name for name in archive.namelist() if name != _HEAD}
        """Entries that no place has asked for yet."""

    def read(self, number: Any) -> AnyArray:
        """Read an array.

        Raises:
            ValueError: If there is none of this number any more, or its header does not fit.
        """
        name = _entry(number) if type(number) is int else f"arrays/{number!r}"
        if name not in self.left:
            raise ValueError(f"two places ask for {name}, or there is none")
        self.left.remove(name)
        with self._archive.open(name) as entry:
            self._check_header(entry, self._archive.getinfo(name).file_size)
        with self._archive.open(name) as entry:
            array: AnyArray = np.lib.format.read_array(entry, allow_pickle=False)
        # Compiled code counts on the order in which numbers lie.
        return array if array.flags.c_contiguous else array.copy(order="C")

    def _check_header(self, entry: IO[bytes], size: int) -> None:
        """Check that the header of an array asks for as much memory as there are bytes."""
        if np.lib.format.read_magic(entry) != _NPY_VERSION:
            raise ValueError("an array is of another version")
        # That of version 2 is the same but for names in other languages, which do not count here.
        shape, _, dtype = np.lib.format.read_array_header_2_0(entry)
        if not (_is_numeric(dtype) and dtype.itemsize):
            raise ValueError(f"an array of {dtype}: object arrays and text are not kept here")
        wanted, held = math.prod(shape) * dtype.itemsize, size - entry.tell()
        if any(length < 0 for length in shape) or wanted != held:
            raise ValueError(
                f"an array says shape {shape} of {dtype}, {wanted:,} bytes, and has {held:,}"
            )


def _unpack(node: Any, arrays: _Arrays) -> Any:
    """Return the tree that JSON and the arrays of a file describe."""
    if isinstance(node, list):
        return [_unpack(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        [(key, value)] = node.items()
        if key == "$int":
            return int(value, 16)
        if key == "$float":
            return _FLOATS[value]
        if key == "$array":
            return arrays.read(value)
        if key == "$tensor":
            # Copied to memory that lies as PyTorch's own does: last bits may depend on that.
            return torch.tensor(arrays.read(value))
    return {key.removeprefix("$"): _unpack(item, arrays) for key, item in node.items()}
