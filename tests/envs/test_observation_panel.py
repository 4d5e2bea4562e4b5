"""What an agent sees is drawn as it is: pictures pixel by pixel, features as long as they are."""

import numpy as np
import pytest

from continual_arcade.envs import make_game, shipped
from continual_arcade.envs.context import Context
from continual_arcade.envs.drawing.lettering import GOLD
from continual_arcade.envs.drawing.observation import GROOVE, MARK, ObservationPanel

HEIGHT = 640


def is_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(-1)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("channels", ["first", "last"])
def test_every_pixel_is_seen(colour: bool, channels: str) -> None:
    game = make_game(
        "Catcher",
        observation="pixels",
        screen_size=(20, 30),
        stack=3,
        colour=colour,
        channels=channels,
    )
    assert game.pictures is not None
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 256, game.pictures.shape, np.uint8)
    drawn = ObservationPanel(game, (), HEIGHT).draw(seen)
    frames = game.pictures.frames(seen)
    assert frames.shape == (3, 20, 30, 3 if colour else 1)
    shown = {tuple(pixel) for pixel in drawn.reshape(-1, 3).tolist()}
    newest = np.broadcast_to(frames[-1], (20, 30, 3)).reshape(-1, 3).tolist()
    assert all(tuple(pixel) in shown for pixel in newest)
    # The newest one is the largest: its pixels are blocks of at least ten.
    scale = (drawn.shape[1] - 16) // 30
    assert scale >= 10
    left = (drawn.shape[1] - int(30 * (drawn.shape[1] - 16) / 30)) // 2
    assert drawn[8 + scale // 2, left + scale // 2].tolist() == newest[0]


def test_features_are_bars_of_their_length() -> None:
    game = make_game("Catcher")
    context = Context("params", shipped("conflict", game), game.tunables)
    panel = ObservationPanel(game, context.features, HEIGHT)
    numbers = np.array([0.5, 0.0, -1.0, 1.0, 0.0, 0.0, 0.25, -0.25], np.float32)
    drawn = panel.draw(numbers)
    rows = np.flatnonzero(is_colour(drawn, GOLD).any(1))
    starts = rows[np.flatnonzero(np.diff(rows, prepend=-9) > 1)]
    assert len(starts) == len(numbers)
    lengths = [int(is_colour(drawn[row], GOLD).sum()) for row in starts]
    room = int((is_colour(drawn[starts[0]], GOLD) | is_colour(drawn[starts[0]], GROOVE)).sum())
    for feature, number, length in zip(
        (*game.features, *context.features), numbers, lengths, strict=True
    ):
        share = abs(float(number)) / (feature.high - feature.low)
        assert length == pytest.approx(max(2, room * share), abs=1.5)


def test_what_weighs_most_is_marked_most() -> None:
    game = make_game("Catcher")
    panel = ObservationPanel(game, (), HEIGHT)
    numbers = np.zeros(4, np.float32)
    assert not is_colour(panel.draw(numbers), MARK).any()
    assert not is_colour(panel.draw(numbers, np.zeros(4)), MARK).any()
    drawn = panel.draw(numbers, np.array([1.0, 2.0, 0.5, 0.0]))
    lengths = is_colour(drawn, MARK).sum(1)
    found = [int(length) for length in lengths[np.flatnonzero(lengths)][::2]]
    assert found == [pytest.approx(found[1] / 2, abs=1), max(found), pytest.approx(found[1] / 4, 1)]


def test_marks_in_pictures_are_red() -> None:
    game = make_game("Catcher", observation="pixels", screen_size=20, stack=1)
    assert game.pictures is not None
    seen, weights = np.zeros(game.pictures.shape, np.uint8), np.zeros(game.pictures.shape)
    weights[0, 4, 6] = 3.0
    drawn = ObservationPanel(game, (), HEIGHT).draw(seen, weights)
    marked = np.argwhere(is_colour(drawn, MARK)).mean(0)
    scale = (drawn.shape[1] - 16) / 20
    np.testing.assert_allclose(marked, [8 + 4.5 * scale, 8 + 6.5 * scale], atol=1.5)
