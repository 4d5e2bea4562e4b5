"""Windows show pictures, on a desktop that may be smaller than they are."""

from typing import Any

import numpy as np
import pygame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from continual_arcade.envs.drawing.pixels import as_array, as_surface
from continual_arcade.envs.drawing.window import SHARE_OF_DESKTOP, Window, fitting

SIDES = st.integers(1, 5_000)


@given(size=st.tuples(SIDES, SIDES), desktop=st.tuples(st.integers(100, 5_000), SIDES))
def test_a_window_never_grows_beyond_the_desktop(
    size: tuple[int, int], desktop: tuple[int, int]
) -> None:
    window = fitting(size, [desktop, (10**6, 10**6)])
    room = tuple(SHARE_OF_DESKTOP * side for side in desktop)
    for side, have, free in zip(window, size, room, strict=True):
        assert 1 <= side <= max(1, have)
        assert side <= max(1, free)
    if size[0] <= room[0] and size[1] <= room[1]:
        assert window == size
    else:  # as large as can be, and of the same shape
        assert any(abs(w - max(1, r)) <= 1 for w, r in zip(window, room, strict=True))
        assert abs(window[0] * size[1] - window[1] * size[0]) <= 2 * max(size)


def noise(width: int, height: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def shown(picture: Any) -> Any:
    """What a window shows when it was given a picture, which must be asked for while it is open."""
    window = Window(picture.shape[1::-1], "test", frames_per_second=10_000)
    try:
        window.require_display()
        window.show(picture)
        assert not window.closed
        return as_array(pygame.display.get_surface())
    finally:
        window.close()


def test_a_window_shows_the_picture() -> None:
    picture = noise(300, 200)
    assert (shown(picture) == picture).all()


def test_on_a_small_desktop_the_picture_is_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pygame.display, "get_desktop_sizes", lambda: [(500, 200)])
    picture = np.repeat(np.repeat(noise(40, 20), 20, axis=0), 20, axis=1)  # 800 x 400
    window = shown(picture)
    assert window.shape == (180, 360, 3)
    # In the middle of each of the blocks there is its colour.
    rows, columns = ((np.arange(n) + 0.5) * 9 for n in (20, 40))
    middle = window[np.ix_(rows.astype(int), columns.astype(int))].astype(int)
    assert np.abs(middle - picture[10::20, 10::20]).max() <= 2


def test_closing_is_noticed() -> None:
    window = Window((30, 20), "test", frames_per_second=10_000)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    window.show(noise(30, 20))
    assert window.closed
    window.close()


def test_arrays_become_surfaces_and_arrays_again() -> None:
    picture = noise(31, 17)
    assert (as_array(as_surface(picture)) == picture).all()
    assert (as_array(as_surface(picture[::2, ::3])) == picture[::2, ::3]).all()
