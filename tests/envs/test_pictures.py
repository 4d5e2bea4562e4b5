"""What agents see in pictures: where things are, and the last pictures of an episode."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pygame
import pytest
from games_in_pictures import PICTURED, PICTURED_PAIRS, plays_bird, pure, pure_schedule, steady
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FrameStackObservation
from pictures_by_hand import Extent, clipped, extents, share
from stable_baselines3.common.env_checker import check_env as check_env_sb3
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first

from continual_arcade.envs import IDS, ArcadeEnv, ArcadeVectorEnv, Schedule, make_game, shipped
from continual_arcade.envs.picture_format import PictureFormat
from continual_arcade.envs.pictures import Pictures

EVERY_GAME = pytest.mark.parametrize("game", PICTURED)
SIZES = pytest.mark.parametrize("size", [84, 42, 21])
WITHIN = 0.02
"""How exactly positions can be read off [pixels]: bytes tell coverage to two thousandths."""
NOWHERE = -10_000.0
Mask = npt.NDArray[np.bool_]


class View:
    """Where a game is in a picture, and how to get there from its own pixels."""

    def __init__(self, game: str, bird: bool, rows: int, columns: int) -> None:
        width, height = make_game(game).size
        self.across, self.down = columns / width, rows / height
        # In Tour Flappy Bird has a frame of 4 px around it, and stands at the bottom.
        inside = bird and game == "Tour"
        self.left, self.top = ((640 - 288) / 2, 640.0 - 512 - 4) if inside else (0.0, 0.0)
        self.width, self.height = (288.0, 512.0) if bird else (640.0, 640.0)

    def x(self, low: float, high: float) -> tuple[float, float] | None:
        """Return from where to where something is in a line of the picture, None if outside."""
        part = clipped(low, high, self.width)
        return part and ((part[0] + self.left) * self.across, (part[1] + self.left) * self.across)

    def y(self, low: float, high: float) -> tuple[float, float] | None:
        part = clipped(low, high, self.height)
        return part and ((part[0] + self.top) * self.down, (part[1] + self.top) * self.down)


def same_places(found: list[Extent], wanted: list[tuple[float, float] | None]) -> bool:
    """Whether things are where they should be, from left to right or from top to bottom."""
    there = sorted(place for place in wanted if place is not None)
    # What covers less than half of a grey level of a pixel is not seen.
    there = [place for place in there if place[1] - place[0] > WITHIN or len(found) == len(there)]
    return len(found) == len(there) and all(
        extent.agrees_with(*place, within=WITHIN)
        for extent, place in zip(found, there, strict=True)
    )


def of_rectangle(covered: Any, axis: int, other: float) -> Any:
    """Return how much of each row or column a rectangle covers, which is so long the other way."""
    return covered.sum(axis=axis) / other


class Read:
    """What was read off pictures, and how often each thing could be."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.wrong: list[Any] = []

    def note(self, what: str, found: list[Extent], wanted: list[Any], state: Any) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        if not same_places(found, wanted):
            self.wrong.append((what, found, wanted, state["steps"]))


def read_bird(read: Read, picture: Any, view: View, state: Any) -> None:
    """Read where bird, ground and pipes are."""
    red, green, blue = (share(picture, channel) for channel in range(3))
    y = state["bird_y"]
    across, down = view.x(57.0, 91.0), view.y(y, y + 24.0)
    assert across is not None
    if down:
        wide, high = across[1] - across[0], down[1] - down[0]
        read.note("bird down", extents(of_rectangle(red, 1, wide)), [down], state)
        if high > 0.5:
            read.note("bird across", extents(of_rectangle(red, 0, high)), [across], state)
    else:
        read.note("no bird", extents(red.max(axis=0)), [], state)
    ground = view.y(404.48, 512.0)
    whole = view.x(0.0, 288.0)
    assert ground is not None
    assert whole is not None
    if not down or down[1] < ground[0]:
        rows = of_rectangle(blue, 1, whole[1] - whole[0])
        read.note("ground", extents(rows), [ground], state)
    above = int(ground[0]) - 1
    """A row of pixels that only lower parts of pipes reach, and birds on their way to death."""
    if red[above].any():
        return
    places = [view.x(x - 26.0, x + 26.0) for x in state["pipe_x"].tolist()]
    read.note("pipes across", extents(green[above]), places, state)
    for place, top in zip(places, state["pipe_top"].tolist(), strict=True):
        if place is None or np.ceil(place[0]) >= np.floor(place[1]):
            continue  # no column that it covers
        column = int(np.ceil(place[0]))
        if red[:, column].any():
            continue
        parts = [view.y(0.0, top), view.y(top + state["gap"], 404.48)]
        read.note("openings", extents(green[:, column]), parts, state)


def read_catcher(read: Read, picture: Any, view: View, state: Any) -> None:
    """Read where paddle and pellet are."""
    red, green = share(picture, 0), share(picture, 1)
    x, y, side = state["pellet_x"], state["pellet_y"], state["pellet"]
    across, down = view.x(x, x + side), view.y(y, y + side)
    if across and down:
        wide, high = across[1] - across[0], down[1] - down[0]
        read.note("pellet down", extents(of_rectangle(red, 1, wide)), [down], state)
        if high > 0.5:
            read.note("pellet across", extents(of_rectangle(red, 0, high)), [across], state)
    else:
        read.note("no pellet", extents(red.max(axis=0)), [], state)
    x, width = state["paddle_x"], state["paddle_width"]
    across, down = view.x(x, x + width), view.y(611.0, 637.0)
    assert across is not None
    assert down is not None
    if red[int(down[0]) :].any():
        return  # a pellet may hide some of it
    wide, high = across[1] - across[0], down[1] - down[0]
    read.note("paddle down", extents(of_rectangle(green, 1, wide)), [down], state)
    read.note("paddle across", extents(of_rectangle(green, 0, high)), [across], state)


def read_off(
    game: str, schedule: Schedule, size: int | tuple[int, int], seed: int = 0
) -> tuple[Read, set[int]]:
    """Play through a schedule, and read everything off each newest picture."""
    env = ArcadeEnv(
        game, schedule=schedule, observation="pixels", screen_size=size, stack=1, colour=True
    )
    assert env.pictures is not None
    rows, columns = env.pictures.format.screen_size
    rng = np.random.default_rng(seed)
    read, phases = Read(), set()
    seen, info = env.reset(seed=seed)
    over = False
    while info["lifetime_step"] < schedule.total_steps:
        if over:
            seen, info = env.reset()
        state = env.state
        bird = plays_bird(game, state)
        picture = env.pictures.format.newest(seen)
        view = View(game, bird, rows, columns)
        (read_bird if bird else read_catcher)(read, picture, view, state)
        phases.add(info["phase"])
        seen, _, terminated, truncated, info = env.step(steady(game, env, rng))
        over = terminated or truncated
    return read, phases


@pytest.mark.one_in(7)
@pytest.mark.parametrize(("game", "name"), PICTURED_PAIRS)
@SIZES
def test_places_can_be_read_off_in_every_phase(game: str, name: str, size: int) -> None:
    schedule = pure_schedule(game, name, 70)
    read, phases = read_off(game, schedule, size)
    assert not read.wrong, read.wrong[:3]
    # In the middle of a drift no phase truncates an episode, and one may outlast a whole phase.
    assert len(phases) == len(schedule) or (name == "drift" and len(phases) >= 4)
    for what in ("bird down", "pipes across", "openings", "ground"):
        assert game == "Catcher" or read.counts[what] > 40
    for what in ("pellet down", "pellet across", "paddle across", "paddle down"):
        assert game == "FlappyBird" or read.counts[what] > 20


@pytest.mark.parametrize("size", [(21, 84), (100, 30)])
@EVERY_GAME
def test_rows_and_columns_need_not_be_as_many(game: str, size: tuple[int, int]) -> None:
    read, _ = read_off(game, pure_schedule(game, "conflict", 100), size)
    assert not read.wrong, read.wrong[:3]


@pytest.mark.parametrize("field", ["bird_y", "pipe_x", "pipe_top", "pellet_y", "paddle_x"])
def test_a_thing_a_fiftieth_of_a_pixel_off_is_found(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    game = "FlappyBird" if field in ("bird_y", "pipe_x", "pipe_top") else "Catcher"
    actual = ArcadeEnv.state.fget  # type: ignore[attr-defined]

    def moved(env: ArcadeEnv) -> Any:
        state = actual(env)
        return {**state, field: state[field] + 0.05 * 512 / 84}

    schedule = pure_schedule(game, "conflict", 70)
    assert not read_off(game, schedule, 84)[0].wrong
    monkeypatch.setattr(ArcadeEnv, "state", property(moved))
    assert read_off(game, schedule, 84)[0].wrong


# --- beside what people see -----------------------------------------------------------------------


def painted(game: str, state: Any) -> Any:
    """Draw a state as it is drawn for people, shape ``(height, width, 3)``."""
    surface = pygame.Surface(make_game(game).size)
    make_game(game).needed("painter").paint(surface, state, 1)
    return pygame.surfarray.array3d(surface).swapaxes(0, 1)


def frame_of(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def without(state: Any, field: str, place: int | None = None) -> Any:
    """Return a state in which something is far away."""
    if place is None:
        return {**state, field: NOWHERE}
    values = state[field].copy()
    values[place] = NOWHERE
    return {**state, field: values}


def things(game: str, state: Any) -> Iterator[tuple[str, int, Any]]:
    """Yield what can be taken away: its name, its channel, and the state without it."""
    if plays_bird(game, state):
        yield "bird", 0, without(state, "bird_y")
        for place in range(2):  # the third one is outside of the picture
            yield f"pipe {place}", 1, without(state, "pipe_x", place)
    else:
        yield "pellet", 0, without(state, "pellet_y")
        yield "paddle", 1, without(state, "paddle_x")


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("game", "which"), [("FlappyBird", 0), ("Catcher", 1), ("Tour", 0), ("Tour", 1)]
)
def test_people_and_agents_see_things_in_the_same_places(game: str, which: int) -> None:
    width, height = make_game(game).size
    env = ArcadeEnv(
        game,
        render_mode="rgb_array",
        hud=False,
        observation="pixels",
        screen_size=(height, width),
        stack=1,
        colour=True,
    )
    params: dict[str, Any] = {"which_game": which} if game == "Tour" else {}
    params |= pure(game, params)
    rng = np.random.default_rng(1)
    env.reset(seed=2, options={"params": params})
    compared = dict.fromkeys((name for name, *_ in things(game, env.state)), 0)
    view = View(game, which == 0, height, width)
    ground = int(view.top + 404.48)
    for step in range(260):
        seen, _, over, *_ = env.step(steady(game, env, rng))
        state = env.state
        if step % 13 == 0:
            shown, picture = env.render(), np.moveaxis(seen, 0, -1)
            np.testing.assert_array_equal(shown, painted(game, state))
            for name, channel, gone in things(game, state):
                mask = (shown != painted(game, gone)).any(axis=2)
                agents = share(picture, channel) > 0.5
                if name.startswith("pipe"):
                    # Others have the same colour: look only where this one is.
                    x = state["pipe_x"][int(name[-1])] + view.left
                    beside = np.ones(width, np.bool_)
                    beside[max(int(x) - 40, 0) : max(int(x) + 40, 0)] = False
                    agents[:, beside] = False
                    mask[ground:] = False  # where its foot is painted over
                if not mask.any() or not agents.any():
                    assert mask.sum() <= 1 * max(mask.shape)
                    assert not agents.any() or name == "bird"
                    continue
                one, other = frame_of(mask), frame_of(agents)
                if name.startswith("pipe") and other[2] - other[0] < 5:
                    continue  # its cap, which is as wide as what kills; the rest is drawn narrower
                assert max(abs(a - b) for a, b in zip(one, other, strict=True)) <= 1, (
                    name,
                    step,
                    one,
                    other,
                )
                compared[name] += 1
                if name.startswith("pipe") and one[2] - one[0] > 50 and not hides(picture, one):
                    middle = (one[0] + one[2]) // 2
                    free = [np.flatnonzero(~m[:ground, middle]) for m in (mask, agents)]
                    free = [rows[rows >= view.top] for rows in free]
                    assert abs(int(free[0][0]) - int(free[1][0])) <= 1
                    assert abs(int(free[0][-1]) - int(free[1][-1])) <= 1
                    compared["openings"] = compared.get("openings", 0) + 1
        if over:
            env.reset(options={"params": params})
    assert min(compared.values()) >= 3, compared
    assert which == 1 or compared["openings"] >= 3


def hides(picture: Any, frame: tuple[int, int, int, int]) -> bool:
    """Whether a bird is before something."""
    return bool(share(picture, 0)[:, frame[0] : frame[2]].any())


# --- the last pictures ----------------------------------------------------------------------------

LAYOUTS = pytest.mark.parametrize(
    ("colour", "channels"), [(False, "first"), (True, "first"), (False, "last"), (True, "last")]
)


def make(game: str, **options: Any) -> gym.Env[Any, Any]:
    return gym.make(IDS[game], observation="pixels", **options)


def rollout(env: gym.Env[Any, Any], steps: int, seed: int = 3) -> Iterator[tuple[bool, Any]]:
    """Play through many episodes; yield whether one has begun, and what is seen."""
    rng = np.random.default_rng(seed)
    yield True, env.reset(seed=seed)[0]
    for _ in range(steps):
        seen, _, terminated, truncated, _ = env.step(int(rng.random() < 0.9))
        yield False, seen
        if terminated or truncated:
            yield True, env.reset()[0]


@EVERY_GAME
@LAYOUTS
def test_a_stack_is_what_gymnasium_stacks(game: str, colour: bool, channels: str) -> None:
    how = {"screen_size": (30, 24), "colour": colour, "max_episode_steps": 25}
    env = make(game, stack=3, channels=channels, **how)
    single = make(game, stack=1, channels="first", **how)
    theirs = FrameStackObservation(single, 3, padding_type="reset")
    begun = 0
    for (begins, seen), (_, stacked) in zip(rollout(env, 140), rollout(theirs, 140), strict=True):
        wanted = stacked.reshape(-1, *stacked.shape[2:])  # (stack, channels, ...) -> one axis
        first = np.moveaxis(seen, -1, 0) if channels == "last" else seen
        assert seen.shape == env.observation_space.shape
        assert seen.dtype == np.uint8
        np.testing.assert_array_equal(first, wanted)
        if begins:
            begun += 1
            pictures = first.reshape(3, -1)
            assert (pictures == pictures[-1]).all()  # nothing of the episode before
    assert begun > 4


@EVERY_GAME
def test_pictures_are_fresh_each_time(game: str) -> None:
    kept = [(seen, seen.copy()) for _, seen in rollout(make(game, screen_size=21), 60)]
    for seen, copy in kept:
        np.testing.assert_array_equal(seen, copy)
    assert len({id(seen) for seen, _ in kept}) == len(kept)


@EVERY_GAME
@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
@LAYOUTS
def test_batches_stack_by_hand_through_the_ends_of_phases(
    game: str, mode: str, colour: bool, channels: str
) -> None:
    """All sub-environments share a clock, at whose boundaries they are truncated together."""
    assert batches_stack(game, mode, colour, channels)


def batches_stack(game: str, mode: str, colour: bool, channels: str, count: int = 5) -> bool:
    schedule = shipped("conflict", make_game(game)).with_steps(150)
    one, other = (
        ArcadeVectorEnv(
            game,
            count,
            40,
            schedule,
            autoreset_mode=mode,
            observation="pixels",
            screen_size=(20, 22),
            stack=stack,
            colour=colour,
            channels=channels if stack > 1 else "first",
        )
        for stack in (3, 1)
    )
    rng = np.random.default_rng(0)
    queues: list[deque[Any]] = [deque(maxlen=3) for _ in range(count)]

    def push(pictures: Any, begins: Any, stays: Any = None) -> Any:
        for i, queue in enumerate(queues):
            if begins[i]:
                queue.extend([pictures[i]] * 3)
            elif stays is None or not stays[i]:
                queue.append(pictures[i])
        stacked = np.stack([np.concatenate(queue) for queue in queues])
        return np.moveaxis(stacked, 1, -1) if channels == "last" else stacked

    everyone = np.ones(count, np.bool_)
    good = np.array_equal(one.reset(seed=1)[0], push(other.reset(seed=1)[0], everyone))
    waiting, ends, changes = ~everyone, 0, 0
    while one.clock.step < 450:
        if mode == "Disabled" and waiting.any():
            options = {"reset_mask": waiting}
            seen, infos = one.reset(options=options)
            good &= np.array_equal(
                seen, push(other.reset(options=options)[0], waiting, stays=~waiting)
            )
            changes += int(infos["phase_changed"].any())
        actions = rng.integers(one.single_action_space.n, size=count)
        seen, _, terminated, truncated, infos = one.step(actions)
        single, *_, others = other.step(actions)
        ended = terminated | truncated
        if mode == "SameStep":
            if ended.any():
                finals = [
                    np.concatenate([*list(q)[1:], f])
                    for q, f in zip(queues, others["final_obs"], strict=True)
                ]
                final = np.stack(finals)
                final = np.moveaxis(final, 1, -1) if channels == "last" else final
                good &= np.array_equal(infos["final_obs"][ended], final[ended])
                good &= not infos["final_obs"][~ended].any()
            good &= np.array_equal(seen, push(single, ended))
        else:
            good &= np.array_equal(seen, push(single, waiting if mode == "NextStep" else ~everyone))
            waiting = ended
        ends += int(ended.sum())
        changes += int(infos["phase_changed"].any())
    assert ends >= 10
    assert changes == len(schedule) - 1 or mode != "SameStep"
    return bool(good)


def never_begins(pictures: Any, scenes: Any, moves: Any = None) -> Any:
    """Plant an error: a stack shows the episode before."""
    return FOLLOW_AS_IT_IS(
        pictures, scenes, None if moves is None else np.where(moves == 1, 0, moves)
    )


def never_stays(pictures: Any, scenes: Any, moves: Any = None) -> Any:
    """Plant an error: who plays on sees the same picture twice when another begins."""
    return FOLLOW_AS_IT_IS(
        pictures, scenes, None if moves is None else np.where(moves == 2, 0, moves)
    )


def always_begins(pictures: Any, scenes: Any, moves: Any = None) -> Any:
    """Plant an error: all begin when one does."""
    begins = moves is not None and (np.asarray(moves) == 1).any()
    return FOLLOW_AS_IT_IS(pictures, scenes, np.full(len(scenes), 1) if begins else moves)


FOLLOW_AS_IT_IS = Pictures.follow


@pytest.mark.parametrize(
    ("plant", "mode"),
    [
        (never_begins, "SameStep"),
        (never_begins, "NextStep"),
        (never_stays, "Disabled"),
        (always_begins, "SameStep"),
        (always_begins, "NextStep"),
    ],
)
def test_stacks_of_a_batch_that_are_wrong_are_found(
    plant: Any, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pictures, "follow", plant)
    assert not batches_stack("FlappyBird", mode, False, "first")


def test_a_last_picture_that_is_not_the_last_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(pictures: Pictures, scenes: Any, ends: Any) -> Any:
        return pictures.follow(scenes, np.where(ends, 2, 3))

    monkeypatch.setattr(Pictures, "finish", stale)
    assert not batches_stack("FlappyBird", "SameStep", False, "first")


# --- others who read them -------------------------------------------------------------------------

SETTINGS = [
    {},
    {"stack": 1, "colour": True, "channels": "last"},
    {"screen_size": (40, 50), "stack": 2, "colour": True, "frame_skip": 3},
]


@EVERY_GAME
@pytest.mark.parametrize("settings", SETTINGS)
def test_it_is_an_environment_of_gymnasium_and_of_stable_baselines3(
    game: str, settings: dict[str, Any]
) -> None:
    env = make(game, **settings)
    check_env(env.unwrapped)  # warnings are errors
    check_env_sb3(env.unwrapped, skip_render_check=True)
    space = env.observation_space
    assert isinstance(space, gym.spaces.Box)
    assert (space.dtype, space.low.min(), space.high.max()) == (np.uint8, 0, 255)
    assert is_image_space(space)
    assert is_image_space_channels_first(space) == (settings.get("channels") != "last")
    batch = gym.make_vec(IDS[game], 3, observation="pixels", **settings)
    assert batch.single_observation_space == space
    assert batch.observation_space.shape == (3, *space.shape)
    assert batch.observation_space.contains(batch.reset(seed=0)[0])


@EVERY_GAME
@pytest.mark.parametrize("settings", SETTINGS)
def test_its_spec_makes_it_again(game: str, settings: dict[str, Any]) -> None:
    env = make(game, schedule="conflict", **settings)
    assert env.spec is not None
    spec = EnvSpec.from_json(env.spec.to_json())
    for (_, one), (_, other) in zip(rollout(env, 60), rollout(gym.make(spec), 60), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "given", [(40, 30), [40, 30], np.array([40, 30]), np.array([40, 30], "u1")]
)
def test_a_size_may_be_an_array(given: Any) -> None:
    env = gym.make(IDS["FlappyBird"], observation="pixels", screen_size=given)
    assert env.observation_space.shape == (4, 40, 30)
    assert env.spec is not None
    assert gym.make(EnvSpec.from_json(env.spec.to_json())).observation_space.shape == (4, 40, 30)
    assert PictureFormat(screen_size=np.array(21)).screen_size == (21, 21)  # type: ignore[arg-type]
    for wrong in (np.array([40.0, 30.0]), np.array([[40, 30]]), np.array([4, 5, 6])):
        with pytest.raises(ValueError, match="screen_size"):
            PictureFormat(screen_size=wrong)  # type: ignore[arg-type]


def test_pictures_are_spoken_of_as_what_they_are() -> None:
    env = ArcadeEnv("FlappyBird", observation="pixels")
    assert env.observation_space.shape == (4, 84, 84)
    assert env.pictures is not None
    assert env.pictures.format.describe() == "4 grey pictures of 84x84 pixels, channels first"
    for name, value in (("observation", "features"), ("stack", 2), ("frame_skip", 2)):
        with pytest.raises(AttributeError, match=name):
            setattr(env, name, value)


# --- golden pictures ------------------------------------------------------------------------------

GOLDEN = Path(__file__).parents[1] / "golden" / "pictures"
STEP = 43
"""By then there are pipes, and a pellet on its way."""


def golden(name: str) -> Any:
    """Return a row of pictures: the four of a stack, grey, and the newest in colour."""
    game, _, number = name.partition("-")
    rows = []
    for colour in (False, True):
        env = ArcadeEnv(game, observation="pixels", colour=colour)
        assert env.pictures is not None
        options = {"params": {"which_game": int(number)}} if number else None
        env.reset(seed=11, options=options)
        rng = np.random.default_rng(0)
        for _ in range(STEP):
            seen, _, over, *_ = env.step(steady(game, env, rng))
            assert not over
        rows += (
            [np.repeat(p[..., None], 3, axis=-1) for p in seen]
            if not colour
            else [env.pictures.format.newest(seen)]
        )
    return np.concatenate(rows, axis=1)


@pytest.mark.parametrize("name", ["FlappyBird", "Catcher", "Tour-0", "Tour-1"])
def test_golden_pictures(name: str) -> None:
    """They have been looked at. A change that is meant draws them again:
    ``python tests/envs/test_pictures.py``."""
    kept = pygame.surfarray.array3d(pygame.image.load(GOLDEN / f"{name}.png")).swapaxes(0, 1)
    np.testing.assert_array_equal(golden(name), kept)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for one in ("FlappyBird", "Catcher", "Tour-0", "Tour-1"):
        drawn = pygame.surfarray.make_surface(golden(one).swapaxes(0, 1))
        pygame.image.save(drawn, GOLDEN / f"{one}.png")
