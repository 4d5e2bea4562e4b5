"""Notices are readable, whole, and over the picture of the game."""

import numpy as np
import pygame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.envs.drawing import notice as art
from continual_arcade.envs.drawing.lettering import BRIGHT, GOLD, write
from continual_arcade.envs.drawing.pixels import as_array
from continual_arcade.envs.drawing.status import Notice

WORDS = st.text("abcdefghij _.,0123456789", min_size=1, max_size=12).filter(str.strip)
LINES = st.lists(WORDS, min_size=1, max_size=8).map(" ".join)
NOTICES = st.builds(Notice, LINES, st.lists(LINES, max_size=5).map(tuple))
OVER = Notice(
    "Game over",
    (
        "1,234 pellets caught",
        "best of 12 games: 1,234",
        "press space to play again",
        "escape quits",
    ),
)


@settings(max_examples=40)
@given(notice=NOTICES, width=st.integers(100, 700), height=st.integers(100, 700))
def test_nothing_is_cut(notice: Notice, width: int, height: int) -> None:
    rows = art.layout(notice, (width, height))
    said = " ".join([notice.heading, *notice.lines]).replace("_", " ").split()
    assert " ".join(row.text for row in rows).split() == said
    panel = art._panel(notice, (width, height))
    assert panel.get_width() <= width
    assert panel.get_height() <= height
    assert all(write(*row).get_width() <= panel.get_width() for row in rows)


@pytest.mark.parametrize(
    "size", [(32, 32), (64, 64), (100, 40), (40, 200), (144, 256), (288, 512), (640, 640)]
)
def test_it_is_seen_whole(size: tuple[int, int]) -> None:
    """On a plain ground, around which nothing is drawn; and not a pixel of a letter is lost."""
    ground = (90, 140, 200)
    surface = pygame.Surface(size)
    surface.fill(ground)
    art.paint(surface, OVER)
    shaded = pygame.Surface(size)
    shaded.fill(ground)
    shaded.fill(art.SHADE, special_flags=pygame.BLEND_RGB_MULT)
    covered = (as_array(surface) != as_array(shaded)).any(axis=2)
    assert not covered[-1].any()
    panel = art._panel(OVER, size)
    rows, columns = np.nonzero(covered)
    # Its round corners leave the panel's sides where they are.
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == panel.get_size()


def test_the_type_is_as_large_as_there_is_room_for() -> None:
    small, large = ({row.size for row in art.layout(OVER, s)} for s in ((144, 256), (288, 512)))
    assert max(large) > max(small)
    assert max(row.size for row in art.layout(OVER, (4_000, 4_000))) == round(1.6 * art.LARGEST)
    narrow = art.layout(Notice("a", ("word " * 30,)), (288, 512))
    assert len(narrow) > 3  # broken between words before the type is made smaller
    assert {row.colour for row in art.layout(OVER, (288, 512))} == {GOLD, BRIGHT}
