"""Scenes as pictures of a few pixels: compiled, and exact.

A *scene* is what a game looks like, as numbers: rectangles from back to front, and their colours.
Its picture is *area-sampled*: a pixel has the mean colour of the area that it covers, so that even
a small picture shows where things are to a fraction of a pixel. That mean is exact: all edges of
the rectangles together cut the picture into cells of one colour, which are painted from back to
front, and then averaged.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from continual_arcade.envs.compiling import kernel, rule

_types: Any = numba.types
_copy_memory: Any = cgutils.raw_memcpy

FOLLOW, BEGIN, STAY, REST = 0, 1, 2, 3
"""What a scene is to those before it: it follows them, begins anew, or is the last of them; those
of a game that rests are not looked at."""

SIDES = 4
"""Numbers of a rectangle: left, top, right and bottom edge, in the game's own pixels."""
NOISE = 2
"""Numbers of the noise: its standard deviation [grey levels], and what it is drawn from."""

_VECTOR = 32
"""Lines are so many pixels long, or a multiple: loops over them are vector code without rests."""
_HALF = np.float32(0.5)
_RED, _GREEN, _BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)
"""Shares of luminance (ITU-R BT.601)."""

_GAMMA, _MIX_1, _MIX_2 = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_BYTE, _BITS_OF_BYTE = np.uint64(255), np.uint64(8)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_MEAN_OF_BYTES = np.float32(8 * 127.5)
_SD_OF_BYTES = np.float32(np.sqrt(8 * (256**2 - 1) / 12))


class Frame(NamedTuple):
    """What all pictures of a batch have in common, for compiled code."""

    colours: npt.NDArray[np.int64]
    """Which colour of the palette each rectangle has, shape ``(rectangles,)``."""
    across: float
    """Pixels of the picture per pixel of the game, from left to right."""
    down: float
    """The same from top to bottom."""
    rows: int
    columns: int
    channels: int
    """1 for grey, 3 for red, green and blue."""
    channels_last: bool


class _Work(NamedTuple):
    """Room for what one picture is made of."""

    across: npt.NDArray[np.float32]
    """Where the edges of all rectangles cut a line of the picture, sorted [pixels]."""
    down: npt.NDArray[np.float32]
    boxes: npt.NDArray[np.float32]
    """The rectangles that are seen, cut to the picture, shape ``(rectangles, SIDES)``."""
    colours: npt.NDArray[np.int64]
    """Their colours."""
    cells: npt.NDArray[np.int64]
    """Colour of each cell, shape ``(edges down, edges across)``."""
    palette: npt.NDArray[np.float32]
    """Brightness of each colour in the channel that is drawn."""
    line: npt.NDArray[np.float32]
    """One line of pixels."""
    mixed: npt.NDArray[np.float32]
    """The line of pixels in which edges lie, as far as it is known."""
    done: npt.NDArray[np.uint8]


def _copies(typing_context: Any, to: Any, at: Any, source: Any, start: Any, count: Any) -> Any:
    """Compile ``_copy_bytes(to, at, source, start, count)``, of flat arrays of uint8."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def address(which: int) -> Any:
            array = context.make_array(signature.args[which])(context, builder, arguments[which])
            return builder.gep(array.data, [arguments[which + 1]])

        _copy_memory(builder, address(0), address(2), arguments[4], ir.Constant(ir.IntType(64), 1))
        return context.get_dummy_value()

    return _types.void(to, _types.intp, source, _types.intp, _types.intp), generate


_copy_bytes: Any = intrinsic(_copies)


@rule
def _work(rectangles: int, colours: int, columns: int) -> _Work:
    edges = 2 * rectangles + 2
    # One more than the last pixel: where the picture ends begins a pixel that nobody sees.
    width = (columns // _VECTOR + 1) * _VECTOR
    return _Work(
        np.empty(edges, np.float32),
        np.empty(edges, np.float32),
        np.empty((rectangles, SIDES), np.float32),
        np.empty(rectangles, np.int64),
        np.empty((edges, edges), np.int64),
        np.empty(colours, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.uint8),
    )


@rule
def _add_edge(edges: Any, count: int, place: float) -> int:
    """Add an edge to sorted ones, unless it is there; return how many there are."""
    at = count
    while edges[at - 1] > place:
        at -= 1
    if edges[at - 1] == place:
        return count
    for i in range(count, at, -1):
        edges[i] = edges[i - 1]
    edges[at] = place
    return count + 1


@rule
def _index(edges: Any, place: float) -> int:
    at = 0
    while edges[at] < place:
        at += 1
    return at


@rule
def _cut(work: Any, scene: Any, frame: Any) -> tuple[int, int]:
    """Cut the picture into cells of one colour; return how many edges there are each way."""
    zero, width, height = np.float32(0.0), np.float32(frame.columns), np.float32(frame.rows)
    across, down = np.float32(frame.across), np.float32(frame.down)
    edges_across = edges_down = 2
    work.across[0] = work.down[0] = zero
    work.across[1], work.down[1] = width, height
    seen = 0
    for k in range(len(frame.colours)):
        left = max(scene[SIDES * k] * across, zero)
        top = max(scene[SIDES * k + 1] * down, zero)
        right = min(scene[SIDES * k + 2] * across, width)
        bottom = min(scene[SIDES * k + 3] * down, height)
        if left >= right or top >= bottom:
            continue
        box = work.boxes[seen]
        box[0], box[1], box[2], box[3] = left, top, right, bottom
        work.colours[seen] = frame.colours[k]
        seen += 1
        edges_across = _add_edge(work.across, edges_across, left)
        edges_across = _add_edge(work.across, edges_across, right)
        edges_down = _add_edge(work.down, edges_down, top)
        edges_down = _add_edge(work.down, edges_down, bottom)
    for i in range(edges_down - 1):
        for j in range(edges_across - 1):
            work.cells[i, j] = 0
    for k in range(seen):
        box, colour = work.boxes[k], work.colours[k]
        first, last = _index(work.across, box[0]), _index(work.across, box[2])
        for i in range(_index(work.down, box[1]), _index(work.down, box[3])):
            for j in range(first, last):
                work.cells[i, j] = colour
    return edges_across, edges_down


@rule
def _mean_line(work: Any, row: int, edges: int) -> None:
    """Average a row of cells into pixels."""
    line, cells = work.line, work.cells[row]
    for j in range(len(line)):
        line[j] = 0.0
    for k in range(edges - 1):
        start, end = work.across[k], work.across[k + 1]
        shade = work.palette[cells[k]]
        first, last = int(start), int(end)
        if first == last:
            line[first] += (end - start) * shade
        else:
            line[first] += (np.float32(first + 1) - start) * shade
            for j in range(first + 1, last):
                line[j] = shade
            line[last] += (end - np.float32(last)) * shade


@rule
def _rounded(source: Any, done: Any) -> None:
    for j in range(len(source)):
        done[j] = np.uint8(np.int32(source[j] + _HALF))


@rule
def _draw_channel(
    work: Any, edges_across: int, edges_down: int, frame: Any, out: Any, at: int
) -> None:
    """Draw one channel of a picture, to ``out[at:]``.

    Lines within a row of cells are alike, and made once. One in which edges lie is the sum of what
    it has of each row of cells.
    """
    width = frame.columns
    row = 0
    for j in range(len(work.line)):
        work.mixed[j] = 0.0
    for i in range(edges_down - 1):
        start, end = work.down[i], work.down[i + 1]
        _mean_line(work, i, edges_across)
        if start > row:
            share = min(np.float32(row + 1), end) - start
            for j in range(len(work.line)):
                work.mixed[j] += share * work.line[j]
            if end < row + 1:
                continue
            _rounded(work.mixed, work.done)
            _copy_bytes(out, at, work.done, 0, width)
            at += width
            row += 1
        whole = int(end)
        if row < whole:
            _rounded(work.line, work.done)
            _copy_bytes(out, at, work.done, 0, width)
            drawn, wanted = width, (whole - row) * width
            while drawn < wanted:  # twice as many at a time
                more = min(drawn, wanted - drawn)
                _copy_bytes(out, at + drawn, out, at, more)
                drawn += more
            at += wanted
            row = whole
        share = end - np.float32(row)
        if share > 0.0:
            for j in range(len(work.line)):
                work.mixed[j] = share * work.line[j]


@rule
def _add_noise(scene: Any, frame: Any, out: Any, at: int) -> None:
    """Add to each pixel what is drawn for it: a sum of eight bytes, nearly normal."""
    last = len(scene) - NOISE
    deviation = scene[last] / _SD_OF_BYTES
    if deviation <= 0.0:
        return
    seed = np.uint64(scene[last + 1]) * _GAMMA
    for place in range(frame.channels * frame.rows * frame.columns):
        word = seed + np.uint64(place + 1) * _GAMMA  # SplitMix64, from a counter
        word = (word ^ (word >> _SHIFTS[0])) * _MIX_1
        word = (word ^ (word >> _SHIFTS[1])) * _MIX_2
        word = word ^ (word >> _SHIFTS[2])
        total = np.float32(0.0)
        for _ in range(8):
            total += np.float32(word & _BYTE)
            word = word >> _BITS_OF_BYTE
        shade = np.float32(out[at + place]) + deviation * (total - _MEAN_OF_BYTES)
        out[at + place] = np.uint8(np.int32(min(max(shade, 0.0), 255.0) + _HALF))


@rule
def _draw(work: Any, scene: Any, frame: Any, out: Any, at: int) -> None:
    """Draw a scene, channel by channel, to ``out[at:]``."""
    edges_across, edges_down = _cut(work, scene, frame)
    first = SIDES * len(frame.colours)
    for channel in range(frame.channels):
        for k in range(len(work.palette)):
            colour = int(scene[first + k])
            red, green = np.float32(colour >> 16), np.float32((colour >> 8) & 255)
            blue = np.float32(colour & 255)
            if frame.channels == 1:
                work.palette[k] = _RED * red + _GREEN * green + _BLUE * blue
            else:
                work.palette[k] = red if channel == 0 else green if channel == 1 else blue
        start = at + channel * frame.rows * frame.columns
        _draw_channel(work, edges_across, edges_down, frame, out, start)
    _add_noise(scene, frame, out, at)


def _show(
    scenes: Any, moves: Any, frame: Any, newest: Any, recent: Any, pictures: Any, seen: Any
) -> None:
    """Draw the newest scene of each game, and show it with those before it.

    Args:
        scenes: What each game looks like now, shape ``(num_envs, numbers)``.
        moves: ``FOLLOW``, ``BEGIN``, ``STAY`` or ``REST`` for each game.
        frame: See :class:`Frame`.
        newest: Which of the recent scenes of each game is the newest, changed.
        recent: The last scenes of each game, shape ``(num_envs, stack, numbers)``, changed.
        pictures: Their pictures, shape ``(num_envs, stack, pixels)``, changed.
        seen: Filled with the pictures of each game from the oldest to the newest, shape
            ``(num_envs, stack * pixels)``; not where a game rests.
    """
    stack, pixels = pictures.shape[1], pictures.shape[2]
    numbers = scenes.shape[1]
    flat, out = pictures.reshape(-1), seen.reshape(-1)
    colours = numbers - NOISE - SIDES * len(frame.colours)
    work = _work(len(frame.colours), colours, frame.columns)
    for env in range(len(scenes)):
        own = env * stack * pixels
        if moves[env] == REST:
            continue
        if moves[env] != STAY:
            newest[env] = slot = (newest[env] + 1) % stack
            _draw(work, scenes[env], frame, flat, own + slot * pixels)
            for j in range(numbers):
                recent[env, slot, j] = scenes[env, j]
            if moves[env] == BEGIN:
                for other in range(stack):
                    if other != slot:
                        _copy_bytes(flat, own + other * pixels, flat, own + slot * pixels, pixels)
                        for j in range(numbers):
                            recent[env, other, j] = scenes[env, j]
        oldest = (newest[env] + 1) % stack
        if frame.channels_last:
            area = frame.rows * frame.columns
            depth = stack * frame.channels
            for k in range(depth):
                source = own + (oldest + k // frame.channels) % stack * pixels
                source += k % frame.channels * area
                for place in range(area):
                    out[own + place * depth + k] = flat[source + place]
        else:
            older = (stack - oldest) * pixels
            _copy_bytes(out, own, flat, own + oldest * pixels, older)
            _copy_bytes(out, own + older, flat, own, stack * pixels - older)


show: Any = kernel(_show, {}, "pictures")
