"""Looks are parameters: they change what is seen, and nothing of what happens."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from games_in_pictures import PICTURED, pure
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.envs import ArcadeEnv, ArcadeVectorEnv, PhaseSpec, Schedule, make_game
from continual_arcade.envs.compiling import plain
from continual_arcade.envs.pictured import LOUDEST, _to_and_fro, looks

EVERY_GAME = pytest.mark.parametrize("game", PICTURED)
EVERY_KIND = pytest.mark.parametrize(
    ("game", "kind"),
    [("FlappyBird", {}), ("Catcher", {}), *(("Tour", {"which_game": k}) for k in (0.0, 1.0))],
)
"""Every game, and both of Tour's."""
Picture = npt.NDArray[np.uint8]
OTHER_LOOKS = {"inverted": 1.0, "mirrored": 1.0, "noise": 30.0, "distractor": 70.0}


def played(
    game: str, params: dict[str, Any], steps: int = 60, seed: int = 4, **options: Any
) -> Iterator[tuple[Picture, Any]]:
    """Play with actions of a seed; yield the newest picture, shape ``(rows, columns, channels)``,
    and the state."""
    env = ArcadeEnv(game, observation="pixels", **{"stack": 1, "screen_size": (60, 40)} | options)
    assert env.pictures is not None
    rng = np.random.default_rng(seed)
    reset = {"params": params}
    seen = env.reset(seed=seed, options=reset)[0]
    for _ in range(steps):
        yield env.pictures.format.newest(seen), env.state
        seen, _, over, *_ = env.step(int(rng.integers(env.game.num_actions)))
        if over:
            seen = env.reset(options=reset)[0]


def assert_pictures(one: Iterator[Any], other: Iterator[Any], check: Any) -> None:
    for (picture, state), (wanted, like) in zip(one, other, strict=True):
        assert state["steps"] == like["steps"]
        check(picture, wanted)


def off_by(most: int) -> Any:
    def check(picture: Picture, wanted: Picture) -> None:
        difference = np.abs(picture.astype(int) - wanted.astype(int))
        assert difference.max() <= most
        assert (difference > 0).mean() < 0.02  # where the mean is just between two levels

    return check


@pytest.mark.one_in(3)
@EVERY_KIND
def test_a_colour_is_that_of_its_things(game: str, kind: dict[str, Any]) -> None:
    """Every colour that can be set is seen, and no other pixel changes with it."""
    bare = make_game(game)
    size = {"screen_size": bare.size[::-1], "colour": True}
    for name in pure(game, kind):
        colour = bare.colours[name.removesuffix("_rgb")]
        before = np.array([colour >> 16, colour >> 8 & 255, colour & 255])
        changed = 0
        both = zip(
            played(game, {**kind, name: 0x0A141E}, 41, **size),
            played(game, kind, 41, **size),
            strict=True,
        )
        for (picture, _), (like, _) in islice(both, 0, None, 10):
            differs = (picture != like).any(axis=2)
            changed += int(differs.sum())
            pixels = like[differs].astype(int)
            exact = (pixels == before).all(axis=1)
            assert (picture[differs][exact] == (0x0A, 0x14, 0x1E)).all()
            assert exact.mean() > 0.9 if len(exact) else True  # the others lie on an edge
            assert not (like[~differs] == before).all(axis=1).any()
        assert changed > 100, name


def test_what_would_not_be_seen_in_tour_is_refused() -> None:
    env = ArcadeEnv("Tour", observation="pixels")
    for name in ("wall", "sky", "pipe", "ground", "bird"):
        with pytest.raises(ValueError, match=f"{name}_rgb = 5 acts only where which_game = 0"):
            env.reset(options={"params": {"which_game": 1.0, f"{name}_rgb": 5}})
    for name in ("field", "paddle", "pellet"):
        with pytest.raises(ValueError, match=f"{name}_rgb = 5 acts only where which_game = 1"):
            env.reset(options={"params": {f"{name}_rgb": 5}})


@EVERY_KIND
@pytest.mark.parametrize("colour", [True, False])
def test_mirrored_pictures_are_flipped(game: str, kind: dict[str, Any], colour: bool) -> None:
    """Fractions of pixels, too: 40 columns cut through everything."""
    with_square = {**kind, "distractor": 50.5}
    assert_pictures(
        played(game, {**with_square, "mirrored": 1}, colour=colour),
        ((picture[:, ::-1], state) for picture, state in played(game, with_square, colour=colour)),
        off_by(1),
    )


def test_fields_of_every_size_are_mirrored_about_their_own_middle() -> None:
    """Compiled code of one size was kept on disk, and taken for that of another."""
    for side in (640, 64, 640):
        options: dict[str, Any] = {"size": (side, side), "screen_size": 64}
        assert_pictures(
            played("Catcher", {"mirrored": 1}, 20, **options),
            ((p[:, ::-1], state) for p, state in played("Catcher", {}, 20, **options)),
            off_by(1),
        )


@EVERY_KIND
def test_inverted_pictures_are_negatives(game: str, kind: dict[str, Any]) -> None:
    def negatives(colour: bool, **options: Any) -> Iterator[Any]:
        for picture, state in played(game, kind, colour=colour, **options):
            yield 255 - picture, state

    inverted = {**kind, "inverted": 1}
    for colour in (True, False):
        assert_pictures(played(game, inverted, colour=colour), negatives(colour), off_by(1))


@EVERY_KIND
def test_grey_is_the_luminance(game: str, kind: dict[str, Any]) -> None:
    for (grey, _), (colour, _) in zip(
        played(game, kind), played(game, kind, colour=True), strict=True
    ):
        luminance = colour.astype(float) @ [0.299, 0.587, 0.114]
        assert np.abs(grey[..., 0] - luminance).max() <= 1.01


@EVERY_KIND
def test_the_square_that_distracts(game: str, kind: dict[str, Any]) -> None:
    """It stays in the field, moves, is behind every thing and before what is behind them."""
    width, height = make_game(game).size
    side = 60.0
    size = {"screen_size": (height, width), "colour": True}
    params = {**kind, **pure(game, kind)}
    params.pop("bird_rgb", None)
    params.pop("pellet_rgb", None)
    colour = make_game(game).colours["bird" if game == "FlappyBird" else "pellet"]
    own = np.array([colour >> 16, colour >> 8 & 255, colour & 255])
    places, whole_ones = [], 0
    for (shown, _), (without, _) in zip(
        played(game, {**params, "distractor": side}, 80, **size),
        played(game, params, 80, **size),
        strict=True,
    ):
        changed = (shown != without).any(axis=2)
        assert without[changed].max(initial=0) < 255  # it hides nothing of pipes, ground, paddle
        whole = (shown == own).all(axis=2) & changed
        rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
        if len(rows):
            assert len(rows) <= side
            assert len(columns) <= side
            places.append((columns[0], rows[0]))
            whole_ones += int(whole.sum() >= (side - 1) ** 2)
    assert len(places) > 70
    assert whole_ones > 20
    assert len(set(places)) > 60
    steps = np.abs(np.diff(np.array(places), axis=0))
    assert np.median(steps[:, 0]) == 3
    assert np.median(steps[:, 1]) == 2


@given(start=st.floats(0, 2**24), side=st.floats(0, 160), steps=st.integers(0, 2**40))
def test_the_square_never_leaves_the_field(start: float, side: float, steps: int) -> None:
    at = plain(_to_and_fro)(start + 3.0 * steps, 288 - side)
    assert 0 <= at <= 288 - side
    after = plain(_to_and_fro)(start + 3.0 * (steps + 1), 288 - side)
    assert (
        abs(abs(after - at) - 3) < 0.01 or min(at, after, 288 - side - at, 288 - side - after) < 3
    )


# --- noise ----------------------------------------------------------------------------------------

GREY = {
    "FlappyBird": dict.fromkeys(("sky_rgb", "pipe_rgb", "ground_rgb", "bird_rgb"), 0x808080),
    "Catcher": dict.fromkeys(("field_rgb", "paddle_rgb", "pellet_rgb"), 0x808080),
    "Tour": dict.fromkeys(("wall_rgb", "sky_rgb", "pipe_rgb", "ground_rgb", "bird_rgb"), 0x808080),
}
"""Pictures of nothing but noise."""


@EVERY_GAME
@pytest.mark.parametrize("noise", [5.0, 25.0])
@pytest.mark.parametrize("colour", [True, False])
def test_noise_has_the_mean_and_deviation_that_it_is_said_to_have(
    game: str, noise: float, colour: bool
) -> None:
    pictures = [
        picture.astype(float) - 128
        for picture, _ in played(game, {**GREY[game], "noise": noise}, 20, colour=colour)
    ]
    every = np.stack(pictures)
    count = every.size
    assert abs(every.mean()) < 4 * noise / count**0.5
    assert every.std() == pytest.approx((noise**2 + 1 / 12) ** 0.5, rel=0.02)
    flat = every.reshape(len(every), -1)
    between = np.corrcoef(flat)[np.triu_indices(len(flat), 1)]
    assert np.abs(between).max() < 5 / flat.shape[1] ** 0.5  # other noise in each step


@EVERY_GAME
def test_noise_is_that_of_its_seed(game: str) -> None:
    params = {**GREY[game], "noise": 25.0}
    one, same, other = (
        [picture for picture, _ in played(game, params, 15, seed=seed)] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (np.stack(one) != np.stack(other)).mean() > 0.9


def test_noise_of_a_batch_is_that_of_single_games_and_differs_between_them() -> None:
    options = {"params": {**GREY["FlappyBird"], "noise": 25.0}}
    how: dict[str, Any] = {"observation": "pixels", "screen_size": (60, 40), "stack": 1}
    many = ArcadeVectorEnv("FlappyBird", 3, **how)
    singles = [ArcadeEnv("FlappyBird", **how) for _ in range(3)]
    seen = many.reset(seed=7, options=options)[0]
    alone = [env.reset(seed=7 + i, options=options)[0] for i, env in enumerate(singles)]
    for _ in range(20):
        np.testing.assert_array_equal(seen, alone)
        between = np.corrcoef(seen.reshape(3, -1).astype(float))[np.triu_indices(3, 1)]
        assert np.abs(between).max() < 0.1
        seen, alone = many.step(np.ones(3, np.int64))[0], [env.step(1)[0] for env in singles]


# --- nothing of it happens ------------------------------------------------------------------------


@EVERY_KIND
@settings(max_examples=12)
@given(data=st.data())
def test_looks_change_nothing_of_what_happens(game: str, kind: dict[str, Any], data: Any) -> None:
    """All fields of the bare game are the same bits, the state of its generator among them."""
    bare = make_game(game)
    wild = {}
    for name, tunable in looks(bare).items():
        acts = all(kind.get(key, 0.0) == value for key, value in tunable.acts_where.items())
        if acts and data.draw(st.booleans()):
            value = data.draw(st.floats(tunable.low, tunable.high))
            wild[name] = float(int(value)) if tunable.integer else value
    seed, stack = data.draw(st.integers(0, 2**32)), data.draw(st.integers(1, 4))
    assert happens_alike(game, kind, wild, seed, stack)


def happens_alike(game: str, kind: Any, wild: Any, seed: int, stack: int, steps: int = 120) -> bool:
    env = ArcadeEnv(game, observation="pixels", screen_size=21, stack=stack)
    bare = ArcadeEnv(game)
    rng = np.random.default_rng(seed)
    options, plain = {"params": {**kind, **wild}}, {"params": kind}
    env.reset(seed=seed, options=options)
    bare.reset(seed=seed, options=plain)
    for _ in range(steps):
        state, other = env.state, bare.state
        for name in other:
            if np.asarray(state[name]).tobytes() != np.asarray(other[name]).tobytes():
                return False
        action = int(rng.integers(bare.game.num_actions))
        (_, *step, _), (_, *like, _) = env.step(action), bare.step(action)
        if step != like:
            return False
        if like[1]:
            env.reset(options=options)
            bare.reset(options=plain)
    return True


@pytest.mark.one_in(5)
@EVERY_KIND
@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_batches_of_bare_and_pictured_games_play_alike(
    game: str, kind: dict[str, Any], mode: str
) -> None:
    """With all looks at once, in more games than a block has."""
    count = 70
    wild = {**kind, **OTHER_LOOKS}
    env = ArcadeVectorEnv(
        game, count, 50, autoreset_mode=mode, observation="pixels", screen_size=21, stack=2
    )
    bare = ArcadeVectorEnv(game, count, 50, autoreset_mode=mode)
    rng = np.random.default_rng(0)
    env.reset(seed=1, options={"params": wild})
    bare.reset(seed=1, options={"params": kind})
    for _ in range(120):
        actions = rng.integers(bare.single_action_space.n, size=count)
        (_, *step, _), (_, *like, _) = env.step(actions), bare.step(actions)
        for one, other in zip(step, like, strict=True):
            np.testing.assert_array_equal(one, other)
        ended = like[1] | like[2]
        if mode == "Disabled" and ended.any():
            mask = {"reset_mask": ended}
            env.reset(options={"params": wild, **mask})
            bare.reset(options={"params": kind, **mask})
    for i in range(count):
        state, other = env.state(i), bare.state(i)
        for name, value in other.items():
            np.testing.assert_array_equal(state[name], value)


def test_a_game_that_is_changed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would be by a rule that draws what a look is, or plays on."""
    assert happens_alike("FlappyBird", {}, OTHER_LOOKS, 3, 1)
    assert not happens_alike("FlappyBird", {}, {"gap": 99.0}, 3, 1)
    reset = ArcadeEnv.reset

    def draws(env: ArcadeEnv, **options: Any) -> Any:
        result = reset(env, **options)
        if env.pictures is not None:
            env.core.blocks["random"] += 1
        return result

    monkeypatch.setattr(ArcadeEnv, "reset", draws)
    assert not happens_alike("FlappyBird", {}, OTHER_LOOKS, 3, 1)


# --- in schedules ---------------------------------------------------------------------------------


def test_a_schedule_may_change_what_is_seen_what_happens_or_both() -> None:
    phases = (
        PhaseSpec(name="day", steps=40),
        PhaseSpec(name="night", steps=40, params={"sky_rgb": 0x000020, "inverted": 0.0}),
        PhaseSpec(name="narrow", steps=40, params={"gap": 70.0}),
        PhaseSpec(name="both", steps=40, params={"gap": 70.0, "mirrored": 1.0}),
    )
    schedule = Schedule("looks", phases)
    env = ArcadeEnv("FlappyBird", schedule, observation="pixels", colour=True, stack=1)
    seen, info = env.reset(seed=0)
    first: dict[int, Any] = {}
    while info["lifetime_step"] < 160:
        first.setdefault(info["phase"], (seen, info["params"]))
        seen, _, terminated, truncated, info = env.step(1)
        if terminated or truncated:
            seen, info = env.reset()
    (day, _), (night, dark), (narrow, small), (both, params) = first.values()
    assert list(first) == [0, 1, 2, 3]
    assert day[:, 0, 0].tolist() == [0x70, 0xC5, 0xCE]
    assert night[:, 0, 0].tolist() == [0, 0, 0x20]
    assert (dark["sky_rgb"], dark["gap"]) == (0x20, 100.0)
    np.testing.assert_array_equal(day, narrow)  # no pipe is there yet
    assert small["gap"] == params["gap"] == 70.0
    off_by(1)(both, narrow[:, :, ::-1])


def test_noise_and_the_square_may_drift() -> None:
    phases = (
        PhaseSpec(
            name="louder",
            steps=400,
            params={"noise": 0.0, "distractor": 0.0},
            until={"noise": LOUDEST, "distractor": 72.0},
        ),
    )
    env = ArcadeEnv("FlappyBird", Schedule("drift", phases), observation="pixels", screen_size=21)
    info, seen = env.reset(seed=0)[1], []
    while info["lifetime_step"] < 400:
        seen.append(info["params"]["noise"])
        _, _, terminated, truncated, info = env.step(1)
        if terminated or truncated:
            info = env.reset()[1]
    assert len(set(seen)) > 5
    assert sorted(seen) == seen
