"""Folders of labelled images, small enough to be made for one test."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np


def idx(array: np.ndarray) -> bytes:
    """Write an array as IDX, as its format is described (LeCun's page on MNIST)."""
    head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(np.uint8).tobytes()


def write_folder(folder: Path) -> Path:
    """Write two dozen images of 4 x 4 pixels in three classes, in no order; return the folder.

    The pixel of row 0, column 0, is the label. The smaller part is packed.
    """
    rng = np.random.default_rng(0)
    for part, count in (("train", 18), ("t10k", 6)):
        labels = rng.permutation(np.arange(count) % 3)
        pixels = rng.integers(256, size=(count, 4, 4))
        pixels[:, 0, 0] = labels
        pack: Callable[[bytes], bytes] = gzip.compress if part == "t10k" else bytes
        end = ".gz" if part == "t10k" else ""
        (folder / f"{part}-images-idx3-ubyte{end}").write_bytes(pack(idx(pixels)))
        (folder / f"{part}-labels-idx1-ubyte{end}").write_bytes(pack(idx(labels)))
    return folder
