"""Pictures are exact: each pixel is the mean of the area that it covers, to rounding."""

import types
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pictures_by_hand import Rectangle, exact_mean, exact_picture

from continual_arcade.envs import raster
from continual_arcade.envs.raster import BEGIN, FOLLOW, REST, STAY, Frame

Show = Callable[..., None]
ROUNDING = 0.5 + 0.01
"""Half a grey level, and what float32 makes of edges and sums."""


class Case(NamedTuple):
    """A scene, and how it is drawn."""

    rectangles: tuple[tuple[float, float, float, float, int], ...]
    """Edges in the game's pixels, and which colour."""
    palette: tuple[int, ...]
    """The first one is that of the background."""
    size: tuple[int, int]
    """Width and height of the game."""
    rows: int
    columns: int
    grey: bool
    noise: float = 0.0
    seed: int = 0


def scene_of(case: Case) -> npt.NDArray[np.float32]:
    edges = [edge for rectangle in case.rectangles for edge in rectangle[:4]]
    return np.array([[*edges, *case.palette, case.noise, case.seed]], np.float32)


def frame_of(case: Case, channels_last: bool = False) -> Frame:
    return Frame(
        np.array([rectangle[4] for rectangle in case.rectangles], np.int64),
        case.columns / case.size[0],
        case.rows / case.size[1],
        case.rows,
        case.columns,
        1 if case.grey else 3,
        channels_last,
    )


def drawn(case: Case, show: Show = raster.show) -> npt.NDArray[np.uint8]:
    """Draw one picture, shape ``(channels, rows, columns)``, between bytes that must stay."""
    channels = 1 if case.grey else 3
    pixels = channels * case.rows * case.columns
    scenes = scene_of(case)
    around = np.full((3, pixels), 7, np.uint8)
    recent = np.zeros((1, 1, scenes.shape[1]), np.float32)
    pictures = np.full((1, 1, pixels), 99, np.uint8)
    moves, newest = np.array([BEGIN]), np.array([0])
    show(scenes, moves, frame_of(case), newest, recent, pictures, around[1:2])
    assert (around[[0, 2]] == 7).all()
    np.testing.assert_array_equal(recent[0], scenes)
    return around[1].reshape(channels, case.rows, case.columns)


def exact_rectangles(case: Case) -> list[Rectangle]:
    """In pixels of the picture; of edges as float32 holds them."""
    across, down = Fraction(case.columns, case.size[0]), Fraction(case.rows, case.size[1])
    return [
        Rectangle(
            Fraction(float(np.float32(left))) * across,
            Fraction(float(np.float32(top))) * down,
            Fraction(float(np.float32(right))) * across,
            Fraction(float(np.float32(bottom))) * down,
            case.palette[colour],
        )
        for left, top, right, bottom, colour in case.rectangles
    ]


def expected(case: Case) -> npt.NDArray[np.float64]:
    return exact_picture(
        exact_rectangles(case), case.palette[0], case.rows, case.columns, case.grey
    )


def worst(case: Case, show: Show = raster.show) -> float:
    """Return the largest error of a pixel [grey levels]."""
    return float(np.abs(drawn(case, show).astype(float) - expected(case)).max())


COLOURS = st.integers(0, 0xFFFFFF)


@st.composite
def cases(draw: st.DrawFn, largest: int = 9, most: int = 6) -> Case:
    """Any rectangles: overlapping, with edges in common, beyond the picture, of no size."""
    width, height = draw(st.integers(1, 30)), draw(st.integers(1, 30))
    palette = draw(st.lists(COLOURS, min_size=1, max_size=4))

    def edges(length: int) -> st.SearchStrategy[tuple[float, float]]:
        place = st.one_of(
            st.integers(-2, length + 2).map(float),
            st.fractions(-length, 2 * length, max_denominator=12).map(float),
            st.sampled_from([0.0, length / 2, length / 3, float(length)]),
        )
        return st.tuples(place, place).map(lambda pair: (min(pair), max(pair)))

    rectangles = []
    for _ in range(draw(st.integers(0, most))):
        (left, right), (top, bottom) = draw(edges(width)), draw(edges(height))
        colour = draw(st.integers(0, len(palette) - 1))
        rectangles.append((left, top, right, bottom, colour))
    sides = st.integers(1, largest)
    rows, columns, grey = draw(sides), draw(sides), draw(st.booleans())
    return Case(tuple(rectangles), tuple(palette), (width, height), rows, columns, grey)


NOTHING = Case((), (0x123456,), (5, 7), 3, 2, grey=False)
WHOLE = Case(((0.0, 0.0, 8.0, 8.0, 1),), (0, 0xFFFFFF), (8, 8), 8, 8, grey=True)


@settings(max_examples=100)
@given(case=cases())
@example(case=NOTHING)
@example(case=WHOLE)
def test_each_pixel_is_the_mean_of_its_area(case: Case) -> None:
    assert worst(case) <= ROUNDING


@pytest.mark.one_in(5)
@pytest.mark.parametrize("columns", [1, 31, 32, 33, 63, 64, 65, 84])
@pytest.mark.parametrize("rows", [1, 2, 33])
def test_lines_of_every_length(rows: int, columns: int) -> None:
    """Vector code works on so many pixels at a time, and one more is room for what nobody sees."""
    rectangles = (
        (-3.0, 2.25, 5.5, 20.0, 1),
        (4.0, 4.0, 47.75, 9.125, 2),
        (40.0, 0.0, 48.0, 40.0, 3),
        (47.9, 39.9, 60.0, 60.0, 1),
    )
    palette = (0x70C5CE, 0xFFFFFF, 0x000000, 0xC82020)
    for grey in (True, False):
        case = Case(rectangles, palette, (48, 40), rows, columns, grey)
        assert worst(case) <= ROUNDING


@settings(max_examples=50)
@given(case=cases())
def test_a_picture_has_the_mean_of_its_scene(case: Case) -> None:
    window = [*map(Fraction, (0, 0, case.columns, case.rows))]
    mean = exact_mean(exact_rectangles(case), case.palette[0], window, case.grey)
    # Each pixel is rounded, so that this is as much as one can ask; and all of one colour if 1x1.
    assert np.abs(drawn(case).mean(axis=(1, 2)) - np.array(mean, float)).max() <= ROUNDING
    one = case._replace(rows=1, columns=1)
    assert np.abs(drawn(one)[:, 0, 0] - np.array(mean, float)).max() <= ROUNDING


@settings(max_examples=50)
@given(case=cases(largest=6), finer=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_a_finer_picture_averages_to_a_coarser_one(case: Case, finer: tuple[int, int]) -> None:
    down, across = finer
    fine = drawn(case._replace(rows=case.rows * down, columns=case.columns * across))
    channels = len(fine)
    blocks = fine.reshape(channels, case.rows, down, case.columns, across).mean(axis=(2, 4))
    assert np.abs(blocks - drawn(case)).max() <= 2 * ROUNDING


@settings(max_examples=50)
@given(case=cases())
def test_grey_is_the_luminance_of_the_colours(case: Case) -> None:
    grey, colour = (drawn(case._replace(grey=grey)).astype(float) for grey in (True, False))
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    assert np.abs(grey[0] - luminance).max() <= 2 * ROUNDING


@pytest.mark.parametrize("grey", [True, False])
def test_noise_is_normal_and_one_of_a_kind(grey: bool) -> None:
    assert noise_is_as_said(raster.show, grey)


def noise_is_as_said(show: Show, grey: bool, rows: int = 84) -> bool:
    """Whether noise on a grey field has the mean and the deviation that it is said to have."""
    pictures = []
    for seed in (1, 2):
        case = Case((), (0x808080,), (8, 8), rows, 84, grey, noise=20.0, seed=seed)
        noise = drawn(case, show).astype(float) - 128.0
        count = noise.size
        good = abs(noise.mean()) < 4 * 20 / count**0.5
        good &= abs(noise.std() - 20.0) < 4 * 20 / (2 * count) ** 0.5
        # Nearly normal: .683 and .954 within one and two deviations, here of whole numbers.
        for deviations, wanted in ((1, 0.695), (2, 0.957)):
            inside = float((np.abs(noise) <= 20 * deviations).mean())
            good &= abs(inside - wanted) < 4 * (wanted * (1 - wanted) / count) ** 0.5 + 0.005
        flat = noise.reshape(-1)
        for lag in (1, 2, 84):  # nothing of a pixel is in its neighbours
            good &= abs(np.corrcoef(flat[:-lag], flat[lag:])[0, 1]) < 4.5 / count**0.5
        if not good:
            return False
        pictures.append(flat)
    return bool(abs(np.corrcoef(*pictures)[0, 1]) < 4.5 / len(flat) ** 0.5)


def test_noise_stops_at_black_and_white() -> None:
    for colour in (0x000000, 0xFFFFFF):
        case = Case((), (colour,), (8, 8), 84, 84, grey=True, noise=64.0, seed=3)
        picture = drawn(case)
        half = (picture == (colour & 255)).mean()
        assert 0.45 < half < 0.55  # the others went the way that is open
        assert np.abs(picture.astype(float) - (colour & 255)).max() > 120


def test_no_noise_is_none() -> None:
    case = Case(((1.0, 1.0, 5.5, 5.5, 1),), (0, 0xABCDEF), (8, 8), 9, 9, grey=False, seed=12345)
    np.testing.assert_array_equal(drawn(case), drawn(case._replace(seed=54321)))


class Shown:
    """What is seen of some games, as one would do it by hand: a queue of pictures for each."""

    def __init__(self, num_envs: int, stack: int) -> None:
        self.queues: list[deque[Any]] = [deque(maxlen=stack) for _ in range(num_envs)]

    def show(self, pictures: Sequence[Any], moves: Sequence[int]) -> list[Any]:
        seen = []
        for queue, picture, move in zip(self.queues, pictures, moves, strict=True):
            if move == BEGIN:
                queue.extend([picture] * (queue.maxlen or 0))
            elif move == FOLLOW:
                queue.append(picture)
            seen.append(None if move == REST else np.concatenate(list(queue)))
        return seen


def stacks_are_right(
    show: Show, stack: int, moves: Sequence[Sequence[int]], grey: bool, channels_last: bool
) -> bool:
    """Whether some games are seen as by hand; each picture has a colour of its own."""
    num_envs = len(moves[0])
    base = Case(((1.0, 1.0, 2.0, 3.0, 1),), (0, 0), (3, 4), 4, 3, grey)
    pixels = (1 if grey else 3) * 12
    frame = frame_of(base, channels_last)
    newest = np.full(num_envs, stack - 1)
    recent = np.zeros((num_envs, stack, len(scene_of(base)[0])), np.float32)
    pictures = np.zeros((num_envs, stack, pixels), np.uint8)
    model = Shown(num_envs, stack)
    for step, row in enumerate([[BEGIN] * num_envs, *moves]):
        games = [
            base._replace(palette=(0, 0x010203 * (1 + step % 30) + 0x010000 * env % 0x300000))
            for env in range(num_envs)
        ]
        scenes = np.concatenate([scene_of(game) for game in games])
        seen = np.zeros((num_envs, stack * pixels), np.uint8)
        show(scenes, np.array(row), frame, newest, recent, pictures, seen)
        for env, wanted in enumerate(model.show([drawn(game) for game in games], row)):
            if wanted is None:
                if seen[env].any():
                    return False
                continue
            shown = np.moveaxis(wanted, 0, -1) if channels_last else wanted
            if not np.array_equal(seen[env], shown.reshape(-1)):
                return False
    return True


@settings(max_examples=60)
@given(
    stack=st.integers(1, 5),
    moves=st.integers(1, 3).flatmap(
        lambda count: st.lists(
            st.lists(st.sampled_from([FOLLOW, BEGIN, STAY, REST]), min_size=count, max_size=count),
            min_size=1,
            max_size=12,
        )
    ),
    grey=st.booleans(),
    channels_last=st.booleans(),
)
def test_stacks_are_the_last_pictures_oldest_first(
    stack: int, moves: list[list[int]], grey: bool, channels_last: bool
) -> None:
    assert stacks_are_right(raster.show, stack, moves, grey, channels_last)


# --- planted errors -------------------------------------------------------------------------------

MUTATIONS = [
    ("if left >= right or top >= bottom:", "if False:"),
    ("if left >= right or top >= bottom:", "if left >= right:"),
    ("for k in range(seen):", "for k in range(seen - 1, -1, -1):"),
    ("top = max(scene[SIDES * k + 1] * down, zero)", "top = max(scene[SIDES * k + 1], zero)"),
    ("left = max(scene[SIDES * k] * across, zero)", "left = scene[SIDES * k] * across"),
    ("bottom = min(scene[SIDES * k + 3] * down, height)", "bottom = scene[SIDES * k + 3] * down"),
    ("while edges[at - 1] > place:", "while edges[at - 1] > place + 1:"),
    ("            work.cells[i, j] = 0", "            pass"),
    (
        "for j in range(first, last):\n                work",
        "for j in range(first, last - 1):\n                work",
    ),
    ("line[first] += (end - start) * shade", "line[first] = (end - start) * shade"),
    ("line[first] += (np.float32(first + 1) - start) * shade", "line[first] = shade"),
    ("            line[last] += (end - np.float32(last)) * shade\n", ""),
    ("                line[j] = shade\n", "                line[j] += shade / 2\n"),
    ("share = min(np.float32(row + 1), end) - start", "share = np.float32(row + 1) - start"),
    ("share = min(np.float32(row + 1), end) - start", "share = end - start"),
    ("            if end < row + 1:", "            if end <= row + 1:"),
    ("work.mixed[j] = share * work.line[j]", "work.mixed[j] += share * work.line[j]"),
    ("work.mixed[j] += share * work.line[j]", "work.mixed[j] = share * work.line[j]"),
    ("np.int32(source[j] + _HALF)", "np.int32(source[j])"),
    ("drawn, wanted = width, (whole - row) * width", "drawn, wanted = width, width"),
    ("red if channel == 0 else green if", "green if channel == 0 else red if"),
    ("_RED * red + _GREEN * green", "_GREEN * red + _RED * green"),
    ("work.colours[seen] = frame.colours[k]", "work.colours[seen] = k + 1"),
    ("start = at + channel * frame.rows * frame.columns", "start = at + channel * frame.columns"),
]
MUTATIONS_OF_STACKS = [
    ("oldest = (newest[env] + 1) % stack", "oldest = newest[env]"),
    ("if moves[env] == BEGIN:", "if False:"),
    ("if moves[env] == REST:", "if False:"),
    ("if moves[env] != STAY:", "if True:"),
    ("(oldest + k // frame.channels) % stack", "(oldest + k) % stack"),
    ("own = env * stack * pixels", "own = 0"),
    ("out[own + place * depth + k]", "out[own + k * area + place]"),
    ("_copy_bytes(out, own + older, flat, own, stack * pixels - older)", "pass"),
]
MUTATIONS_OF_NOISE = [
    ("deviation * (total - _MEAN_OF_BYTES)", "deviation * (total - 8 * 125)"),
    ("np.sqrt(8 * (256**2 - 1) / 12)", "np.sqrt(7 * (256**2 - 1) / 12)"),
    ("for _ in range(8):", "for _ in range(7):"),
    ("            word = word >> _BITS_OF_BYTE\n", ""),
    ("np.uint64(place + 1) * _GAMMA", "np.uint64(place // 2 + 1) * _GAMMA"),
    ("seed = np.uint64(scene[last + 1]) * _GAMMA", "seed = _GAMMA"),
]


def mutant(old: str, new: str) -> Show:
    """The raster, uncompiled, with one piece of its source replaced."""
    path = Path(str(raster.__file__))
    source = path.read_text("utf-8")
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times"
    plain = "def rule(part): return part\ndef kernel(template, *_): return template\n"
    imported = "from continual_arcade.envs.compiling import kernel, rule\n"
    assert source.count(imported) == 1
    module = types.ModuleType("mutant_of_raster")
    text = source.replace(old, new).replace(imported, plain)
    exec(compile(text, str(path), "exec"), module.__dict__)

    def copied(to: Any, at: int, source: Any, start: int, count: int) -> None:
        to[at : at + count] = source[start : start + count].copy()

    module.__dict__["_copy_bytes"] = copied
    return module.show  # type: ignore[no-any-return]


AS_IT_IS = ("_HALF = np.float32(0.5)", "_HALF = np.float32(0.5)")


def some_cases(count: int = 40) -> list[Case]:
    """Scenes with all that there is, the same ones each time."""
    rng = np.random.default_rng(0)
    found = [NOTHING, WHOLE]
    for _ in range(count):
        width, height = rng.integers(4, 20, size=2).tolist()
        palette = tuple(rng.integers(0, 0x1000000, size=3).tolist())
        rectangles = []
        for _ in range(int(rng.integers(1, 6))):
            step = float(rng.choice([1.0, 0.25, 1 / 3]))
            across, down = (
                np.sort(rng.integers(-5, 30, size=2)) * step * side / 15 for side in (width, height)
            )
            rectangles.append((across[0], down[0], across[1], down[1], int(rng.integers(3))))
        rows, columns = rng.integers(1, 11, size=2).tolist()
        grey = bool(rng.random() < 0.5)
        found.append(Case(tuple(rectangles), palette, (width, height), rows, columns, grey))
    return found


CASES = [(case, expected(case)) for case in some_cases()]


def noticed(show: Show) -> bool:
    """Whether a picture comes out differently, or nothing at all."""
    try:
        return any(np.abs(drawn(case, show) - exact).max() > ROUNDING for case, exact in CASES)
    except (AssertionError, IndexError, ValueError, OverflowError):
        return True


def misplaced(show: Show) -> bool:
    """Whether stacks come out differently."""
    moves = [[FOLLOW, BEGIN, STAY], [FOLLOW, FOLLOW, REST], [BEGIN, STAY, FOLLOW]] * 3
    try:
        return not all(
            stacks_are_right(show, 3, moves, grey, last)
            for grey in (True, False)
            for last in (True, False)
        )
    except (AssertionError, IndexError, ValueError):
        return True


def unlike_noise(show: Show) -> bool:
    with np.errstate(over="ignore"):  # SplitMix64 counts modulo 2**64
        return not noise_is_as_said(show, grey=True, rows=60)


def test_the_raster_as_it_is_passes_uncompiled() -> None:
    show = mutant(*AS_IT_IS)
    assert not noticed(show)
    assert not misplaced(show)
    assert not unlike_noise(show)


@pytest.mark.parametrize(("old", "new"), MUTATIONS)
def test_errors_of_pixels_are_found(old: str, new: str) -> None:
    assert noticed(mutant(old, new))


@pytest.mark.parametrize(("old", "new"), MUTATIONS_OF_STACKS)
def test_errors_of_stacks_are_found(old: str, new: str) -> None:
    assert misplaced(mutant(old, new))


@pytest.mark.parametrize(("old", "new"), MUTATIONS_OF_NOISE)
def test_errors_of_noise_are_found(old: str, new: str) -> None:
    assert unlike_noise(mutant(old, new))
