"""Cameras film the episodes that the evaluator plays; side by side nothing differs but the play."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from continual_arcade.envs import make_game, shipped
from continual_arcade.envs.drawing.film import Picture
from continual_arcade.envs.oracles import Oracle
from continual_arcade.evaluation.evaluator import FIRST_SEED, Evaluator
from continual_arcade.evaluation.filming import HOLD, Camera, Shot, side_by_side

Rule = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


class Reflex:
    """Plays by a rule over the features, as many games at once as there are."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def predict(self, observation: Any, *, deterministic: bool = True) -> tuple[Any, None]:
        assert deterministic
        return self.rule(np.asarray(observation)), None


def schedule(game: str) -> Any:
    return shipped("shrink", make_game(game))


def aims(offset: float = 0.02) -> Reflex:
    """Flaps when the bird is below the middle of the next gap, or so much lower."""
    names = [feature.name for feature in make_game("FlappyBird").features]
    y, top, bottom = (names.index(n) for n in ("bird_y", "next_pipe_top", "next_pipe_bottom"))
    return Reflex(lambda o: np.where(o[..., y] > (o[..., top] + o[..., bottom]) / 2 + offset, 0, 1))


FALLS = Reflex(lambda o: np.ones(o.shape[:-1], np.int64))
STILL = Reflex(lambda o: np.full(o.shape[:-1], 2, np.int64))


def seen_by_evaluator(game: str, policy: Any, episodes: int) -> list[tuple[int, int]]:
    """Score and steps of each episode in phase 2, as an evaluation has them."""
    played = Evaluator(game, schedule(game), episodes=episodes, max_steps=10_000).play(policy)
    return list(zip(played.scores[2].astype(int), played.lengths[2].tolist(), strict=True))


def seen_by_camera(
    game: str, policy: Any, episodes: int, first_seed: int = FIRST_SEED
) -> list[tuple[int, int]]:
    camera = Camera(game, schedule(game), 2, width=16, hud="none")
    found = []
    for seed in range(first_seed, first_seed + episodes):
        pictures = sum(1 for _ in camera.film(policy, seed=seed))
        found.append((camera.score, pictures - 1))
    return found


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("game", "policy"), [("FlappyBird", aims()), ("Catcher", STILL)])
def test_a_camera_films_the_episodes_of_an_evaluation(game: str, policy: Reflex) -> None:
    expected = seen_by_evaluator(game, policy, 4)
    assert len(set(expected)) > 1
    assert seen_by_camera(game, policy, 4) == expected
    assert seen_by_camera(game, policy, 4, FIRST_SEED + 4) != expected  # others would be found out


def test_every_nth_picture_and_the_last() -> None:
    camera = Camera("FlappyBird", schedule("FlappyBird"), 0, width=144, hud="brief")
    all_of_them = list(camera.film(FALLS))
    assert camera.over
    for every in (2, 3, 7):
        thinned = list(camera.film(FALLS, every=every))
        expected = all_of_them[::every]
        if (len(all_of_them) - 1) % every:
            expected.append(all_of_them[-1])
        np.testing.assert_array_equal(thinned, expected)


@pytest.mark.parametrize(("seconds", "every", "count"), [(1.0, 1, 30), (1.0, 2, 15), (1e-9, 1, 1)])
def test_it_stops_after_so_many_seconds(seconds: float, every: int, count: int) -> None:
    camera = Camera("FlappyBird", schedule("FlappyBird"), 0, width=36, hud="none")
    pictures = list(camera.film(FALLS, seconds=seconds, every=every))
    assert len(pictures) == count
    assert not camera.over


@pytest.mark.parametrize(
    ("game", "width", "shape"),
    [
        ("FlappyBird", None, (512, 288, 3)),
        ("FlappyBird", 144, (256, 144, 3)),
        ("FlappyBird", 300, (533, 300, 3)),
        ("Catcher", 144, (144, 144, 3)),
        ("Catcher", None, (640, 640, 3)),
    ],
)
def test_pictures_are_as_wide_as_asked(
    game: str, width: int | None, shape: tuple[int, int, int]
) -> None:
    camera = Camera(game, schedule(game), 0, width=width)
    assert next(camera.film(Oracle(camera.env))).shape == shape
    assert camera.size == (shape[1], shape[0])


def test_a_small_picture_is_the_large_one_reduced() -> None:
    large, small = (
        next(Camera("FlappyBird", schedule("FlappyBird"), 0, width=w, hud="none").film(FALLS))
        for w in (288, 144)
    )
    averaged = large.reshape(256, 2, 144, 2, 3).mean(axis=(1, 3))
    assert np.abs(averaged - small).max() <= 2


def test_a_brief_display_says_score_and_phase_and_nothing_else() -> None:
    """Only the score changes what it shows; the full one also shows the step and who plays."""

    def hud_of(hud: Any, title: str = "", steps: int = 0) -> Picture:
        camera = Camera("FlappyBird", schedule("FlappyBird"), 1, hud=hud, title=title)
        pictures = camera.film(FALLS)
        picture = next(pictures)
        for _ in range(steps):
            picture = next(pictures)
        bare = Camera("FlappyBird", schedule("FlappyBird"), 1, hud="none").film(FALLS)
        for _ in range(steps + 1):
            without = next(bare)
        return np.where((picture != without).any(axis=2, keepdims=True), picture, 0)[420:]

    def bright(picture: Picture) -> Any:
        return picture.min(axis=2) > 170

    def changed(one: Picture, other: Picture) -> int:
        return int((bright(one) != bright(other)).sum())

    # At the edge of a letter the ground that moves behind it may make one pixel brighter.
    assert changed(hud_of("brief"), hud_of("brief", title="ewc", steps=4)) <= 2
    assert changed(hud_of("full"), hud_of("full", steps=4)) > 10
    assert changed(hud_of("full"), hud_of("brief")) > 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0.0}, "seconds = 0.0 must be positive"),
        ({"seconds": float("nan")}, "seconds = nan must be positive"),
        ({"every": 0}, "every = 0 must be at least 1"),
    ],
)
def test_mistakes_are_said_before_anything_is_played(options: dict[str, Any], message: str) -> None:
    camera = Camera("FlappyBird", schedule("FlappyBird"), 0)
    with pytest.raises(ValueError, match=message):
        camera.film(FALLS, **options)
    with pytest.raises(ValueError, match="width = 0 must be at least 1"):
        Camera("FlappyBird", schedule("FlappyBird"), 0, width=0)
    with pytest.raises(ValueError, match="phase 9"):
        Camera("FlappyBird", schedule("FlappyBird"), 9)


def shot(policy: Any, phase: int = 0, width: int = 144) -> Shot:
    camera = Camera("FlappyBird", schedule("FlappyBird"), phase, width=width, hud="none")
    return Shot(camera, policy, "who", "when")


def panels_of(picture: Picture, count: int, width: int = 144) -> list[Picture]:
    """Cut the games out of a picture: below everything else, with equal margins."""
    height, margin = width * 512 // 288, (picture.shape[1] - count * width) // (count + 1)
    rows = picture[-margin - height : -margin]
    return [rows[:, margin + i * (width + margin) :][:, :width] for i in range(count)]


def test_side_by_side_each_game_is_as_it_is_alone() -> None:
    policies = (aims(), FALLS)
    alone = [list(shot(policy).camera.film(policy)) for policy in policies]
    assert len(alone[1]) < len(alone[0])  # the other one goes on
    together = list(side_by_side([shot(policy) for policy in policies]))
    assert len(together) == len(alone[0]) + HOLD
    for index, picture in enumerate(together):
        for panel, film in zip(panels_of(picture, 2), alone, strict=True):
            if index < len(film):
                assert (panel == film[index]).all()
            else:  # over: darkened, and otherwise as it was, but for the words in the middle
                dark, last = panel.astype(int), film[-1].astype(int)
                rows = np.r_[0 : len(last) // 3, 2 * len(last) // 3 : len(last)]
                assert (dark[rows] <= 0.5 * last[rows] + 1).all()
                assert (dark[rows] >= 0.3 * last[rows] - 1).all()
                assert dark.max() > 200


def test_the_same_agent_twice_is_the_same_game_twice() -> None:
    """And another seed, or another agent, is found out."""
    same, other = ([shot(aims()), shot(policy)] for policy in (aims(), aims(offset=0.06)))
    assert all((a == b).all() for a, b in (panels_of(p, 2) for p in side_by_side(same)))
    assert any((a != b).any() for a, b in (panels_of(p, 2) for p in side_by_side(other)))
    films = [shot(aims()).camera.film(aims(), seed=seed) for seed in (0, 1)]
    assert any((a != b).any() for a, b in zip(*films, strict=False))


def test_later_episodes_have_equal_seeds_too() -> None:
    """However long the one before was for each of them."""

    def look(seed: int) -> bytes:
        return next(shot(FALLS, width=36).camera.film(FALLS, seed=seed)).tobytes()

    seed = next(s for s in range(100) if len({look(s), look(s + 1), look(s + 2)}) == 3)
    shots = [shot(aims(), width=36), shot(FALLS, width=36)]
    looks: dict[bytes, list[int]] = {look(seed + episode): [] for episode in range(3)}
    for index, picture in enumerate(side_by_side(shots, seed=seed, episodes=3)):
        one, other = panels_of(picture, 2, width=36)
        if (one == other).all() and one.tobytes() in looks:
            looks[one.tobytes()].append(index)
    starts = [index for indices in looks.values() for index in indices]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert all(len(indices) == 1 for indices in looks.values())


def test_captions_show_score_and_words() -> None:
    def top(headline: str, detail: str, policy: Any, index: int) -> Picture:
        camera = shot(policy).camera
        pictures = list(side_by_side([Shot(camera, policy, headline, detail)]))
        return pictures[index][:-270]

    usual = top("who", "when", aims(), 0)
    assert (usual == top("who", "when", FALLS, 0)).all()
    assert (usual != top("she", "when", FALLS, 0)).any()
    assert (usual != top("who", "then", FALLS, 0)).any()
    # Between two pictures nothing changes there but the step, until a pipe is passed.
    pictures = list(side_by_side([shot(aims())]))
    captions = [picture[30:-270, :72].tobytes() for picture in pictures]
    camera = shot(aims()).camera
    scores = [camera.score for _ in camera.film(aims())]
    scores += scores[-1:] * HOLD
    assert len(set(scores)) > 1
    for i in range(1, len(scores)):
        assert (captions[i] == captions[i - 1]) == (scores[i] == scores[i - 1])


def test_side_by_side_wants_players_in_pictures_of_one_size() -> None:
    with pytest.raises(ValueError, match="one size, these have"):
        side_by_side([shot(FALLS), shot(FALLS, width=100)])
    with pytest.raises(ValueError, match="one size"):
        side_by_side([])
    with pytest.raises(ValueError, match="episodes = 0"):
        side_by_side([shot(FALLS)], episodes=0)


def test_what_weighs_is_what_the_policy_sees() -> None:
    """And it is refused where nothing shows it."""
    asked: list[npt.NDArray[Any]] = []

    def weighs(seen: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        asked.append(seen)
        return np.ones(seen.shape)

    camera = Camera("FlappyBird", schedule("FlappyBird"), 0, shows_observation=True)
    pictures = list(camera.film(aims(), seconds=0.2, weighs=weighs))
    assert [seen.shape for seen in asked] == [(1, 8)] * len(pictures)
    assert all(picture.shape[:2] == camera.size[::-1] for picture in pictures)
    bare = Camera("FlappyBird", schedule("FlappyBird"), 0)
    assert camera.size[0] > bare.size[0]
    with pytest.raises(ValueError, match="shows_observation=True"):
        bare.film(aims(), weighs=weighs)
