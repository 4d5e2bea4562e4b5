"""Labelled images, of digits above all: rotated, with their pixels permuted, or split by class.

The streams on which continual learning of classifiers is studied, in one game: rotated MNIST
(Lopez-Paz and Ranzato 2017), permuted MNIST (Goodfellow et al. 2013), split MNIST (Zenke et al.
2017), and whatever a schedule makes of the three parameters. An observation is an image, row by
row, from 0 (paper) to 1 (ink); an action is an answer. See ``labelled.py``.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.envs import images
from continual_arcade.envs.checks import flag
from continual_arcade.envs.compiling import rule
from continual_arcade.envs.game import Feature, Game, HowMany, Lanes
from continual_arcade.envs.images import Images, place_of
from continual_arcade.envs.labelled import (
    LANE_FIELDS,
    NUM_QUESTIONS,
    indices,
    labelled_rules,
)
from continual_arcade.envs.tables import address_of_table, byte_at, share, word_at
from continual_arcade.envs.tunables import Tunable, Tunables

SOURCE = "mnist-5k"
QUESTIONS = 1_000
"""Of an exam."""
PERMUTATIONS = 100
"""How many there are, the first of which leaves pixels where they are."""
IN_SPLIT = 2
"""Classes of a split."""
_ONE = 1 << 16
"""Places in a rotated image are counted in units of 2^-16 pixels."""


class Constants(NamedTuple):
    """What all lanes of a block share."""

    questions: float
    side: int
    classes: int
    held_out: int
    """1 if images to test with are shown, 0 for those to train with."""
    numbers: int
    """Where the table of :func:`numbers_of` lies."""
    pixels: int
    """Where all images lie, those to train with first."""


@rule
def constants(block: Any) -> Constants:
    """Read what all lanes share, once for a whole loop."""
    return Constants(
        block.questions,
        int(block.side),
        int(block.classes),
        int(block.held_out),
        address_of_table(block.numbers_key),
        address_of_table(block.pixels_key),
    )


def numbers_of(found: Images) -> npt.NDArray[np.int32]:
    """Return what rules need to know of images, as one table.

    Where the images of each class begin, and the last ones end, among those to train with; the same
    of those to test with; and each permutation: which pixel is shown in each place. Permutation k
    is ``numpy.random.default_rng(k).permutation(pixels)``, but for 0.
    """
    starts = [
        part + np.searchsorted(labels, np.arange(found.classes + 1))
        for part, labels in ((0, found.train_labels), (len(found.train), found.test_labels))
    ]
    pixels = found.side**2
    orders = [np.arange(pixels)]
    orders += [np.random.default_rng(k).permutation(pixels) for k in range(1, PERMUTATIONS)]
    return np.concatenate([*starts, *orders]).astype(np.int32)


@rule
def set_task(block: Any, lane: int, params: Any, row: int) -> None:
    """Take over the tunables."""
    block.angle[lane] = params[row, 0]
    block.permutation[lane] = params[row, 1]
    block.split[lane] = params[row, 2]
    block.square[lane] = params[row, 3]


@rule
def _start(constants: Any, label: int) -> Any:
    """Return the first image of a class."""
    return word_at(constants.numbers, constants.held_out * (constants.classes + 1) + label)


@rule
def first_class(block: Any, lane: int) -> int:
    """Return the first class of those that are shown."""
    return 0 if block.split[lane] == 0.0 else (int(block.split[lane]) - 1) * IN_SPLIT


@rule
def _end_class(block: Any, lane: int, constants: Any) -> int:
    whole = block.split[lane] == 0.0
    return constants.classes if whole else int(block.split[lane]) * IN_SPLIT


@rule
def num_examples(block: Any, lane: int, constants: Any) -> float:
    """Return how many images the task has."""
    end = _start(constants, _end_class(block, lane, constants))
    return float(end - _start(constants, first_class(block, lane)))


@rule
def _image(block: Any, lane: int, constants: Any) -> Any:
    """Return which of all images is shown."""
    return _start(constants, first_class(block, lane)) + int(block.example[lane])


@rule
def right_answer(block: Any, lane: int, constants: Any) -> float:
    """Return the class of the image."""
    image = _image(block, lane, constants)
    label = first_class(block, lane)
    while _start(constants, label + 1) <= image:
        label += 1
    return float(label)


@rule
def _fixed(value: float) -> int:
    return int(np.floor(value * _ONE + 0.5))


@rule
def _rounded(value: float) -> Any:
    return np.rint(value * 1e15) / 1e15


@rule
def observe(block: Any, lane: int, constants: Any, out: Any, at: int) -> None:
    """Write the image, rotated first, and then permuted.

    It is turned anticlockwise about its centre, each pixel showing the one that it lies in, as
    ``Image.rotate`` of Pillow does it, exactly; what comes from outside is paper. Of a square that
    is permuted the pixels follow one another as they do in the permutation of all.
    """
    side = constants.side
    size = side * side
    image = constants.pixels + _image(block, lane, constants) * size
    permutes = block.permutation[lane] != 0.0
    orders = 2 * (constants.classes + 1) + int(block.permutation[lane]) * size
    turned = -block.angle[lane] * (math.pi / 180.0)
    cos, sin = _rounded(np.cos(turned)), _rounded(np.sin(turned))
    centre = side / 2.0
    right, down = _fixed(cos), _fixed(sin)
    x_start = _fixed(centre - cos * centre - sin * centre + 0.5 * cos + 0.5 * sin)
    y_start = _fixed(centre + sin * centre - cos * centre - 0.5 * sin + 0.5 * cos)
    turns = right != _ONE or down != 0
    is_whole = block.square[lane] == 0.0
    square = side if is_whole else int(block.square[lane])
    first = (side - square) // 2
    end = first + square
    place = following = 0
    for to_y in range(side):
        for to_x in range(side):
            x, y, shown = to_x, to_y, place
            # To divide takes longer than all else: only where it is not known what comes out.
            if permutes and first <= x < end and first <= y < end:
                x, y = -1, -1
                while not (first <= x < end and first <= y < end):
                    shown = word_at(constants.numbers, orders + following)
                    following += 1
                    if is_whole and not turns:
                        break
                    x, y = shown % side, shown // side
            if turns:
                column = (x_start + right * x + down * y) >> 16
                row = (y_start - down * x + right * y) >> 16
                inside = 0 <= column < side and 0 <= row < side
                shown = row * side + column if inside else -1
            ink = byte_at(image, shown) if shown >= 0 else 0
            out[at + place] = np.float32(ink) * np.float32(1.0 / 255.0)
            place += 1


RULES = labelled_rules(
    constants=constants,
    set_task=set_task,
    num_examples=num_examples,
    right_answer=right_answer,
    observe=observe,
)


def tunables(classes: int, side: int) -> Tunables:
    """Return what may drift, of images of so many classes and so many pixels a side."""
    return {
        "angle": Tunable(
            default=0.0,
            low=-360.0,
            high=360.0,
            unit="°",
            harder="either",
            about="by how much images are turned anticlockwise",
        ),
        "permutation": Tunable(
            default=0,
            low=0,
            high=PERMUTATIONS - 1,
            unit="",
            harder="either",
            about="in which order pixels are shown; 0: as they are",
            integer=True,
        ),
        "split": Tunable(
            default=0,
            low=0,
            high=classes // IN_SPLIT,
            unit="",
            harder="either",
            about=f"which {IN_SPLIT} classes are shown: 1 for the first ones; 0: all classes",
            integer=True,
        ),
        "square": Tunable(
            default=0,
            low=0,
            high=side,
            unit="px",
            harder="either",
            about="side of the square in the middle whose pixels are permuted; 0: all pixels are",
            integer=True,
            acts_unless={"permutation": 0.0},
            excluded=(1.0, float(side)),
            why_excluded="a single pixel stays where it is, and all pixels are what 0 says",
        ),
    }


def counts(found: Images, exam: bool) -> HowMany:
    """Return how many images a task has: a function of lanes, by their ``split``."""
    of_class = np.bincount(
        found.test_labels if exam else found.train_labels, minlength=found.classes
    )
    pairs = [of_class[IN_SPLIT * k :][:IN_SPLIT] for k in range(found.classes // IN_SPLIT)]
    by_split = np.array([of_class.sum(), *map(np.sum, pairs)], np.float64)

    def count(lanes: Lanes) -> npt.NDArray[np.float64]:
        return by_split[lanes["split"].astype(np.int64)]

    return count


@cache
def _shared(source: str, stamp: tuple[Any, ...]) -> tuple[Images, float, float]:
    """Read images; return them, and the keys of what is shared of them.

    Args:
        source: Where they come from.
        stamp: Another one where they have changed.
    """
    found = images.load(source)
    pixels = np.concatenate([found.train, found.test]).reshape(-1)
    return found, share(numbers_of(found)), share(pixels)


def digits(images: str = SOURCE, exam: bool = False) -> Game:
    """Return the game.

    Args:
        images: Where the images come from: a key of ``envs.images.SOURCES``, or the path of a
            folder of IDX files.
        exam: Whether an episode asks 1,000 questions about the images to test with; else one about
            an image to train with.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the images are not installed, or damaged; the message says how to get them.
    """
    source, stamp = place_of(images)
    found, numbers, pixels = _shared(source, stamp)
    side = found.side
    questions = float(QUESTIONS) if flag("exam", exam) else 0.0
    return Game(
        name="Digits",
        actions=tuple(map(str, range(found.classes))),
        tunables=tunables(found.classes, side),
        features=tuple(
            Feature(f"pixel_{y}_{x}", 0.0, 1.0, f"ink in row {y}, column {x}, of {side} x {side}")
            for y in range(side)
            for x in range(side)
        ),
        constants={
            NUM_QUESTIONS: questions,
            "side": float(side),
            "classes": float(found.classes),
            "held_out": float(exam),
            "numbers_key": numbers,
            "pixels_key": pixels,
        },
        lane_fields=LANE_FIELDS,
        indices=indices(counts(found, exam), questions),
        rules=RULES,
        size=(640, 640),
        points=f"right answers of {QUESTIONS:,}, {found.source}",
        maker=digits,
        options={"images": source, "exam": exam},
        evaluated_with={"exam": True},
        oracle="continual_arcade.envs.oracles.labelled:Answers",
        unbeatable="continual_arcade.envs.oracles.labelled:Answers",
    )
