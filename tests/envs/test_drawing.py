"""Pictures show every body where the reference paints it, and nothing but the state."""

import copy
import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pygame
import pytest

from continual_arcade.envs.catcher import catcher
from continual_arcade.envs.core import Core, Snapshot
from continual_arcade.envs.drawing import catcher as catcher_art
from continual_arcade.envs.drawing import flappy_bird as flappy_bird_art
from continual_arcade.envs.drawing import hud
from continual_arcade.envs.drawing.screen import Screen
from continual_arcade.envs.drawing.status import Status
from continual_arcade.envs.flappy_bird import flappy_bird
from continual_arcade.envs.game import Game

Picture = npt.NDArray[np.uint8]
"""Shape ``(height, width, 3)``."""
Mask = npt.NDArray[np.bool_]
"""Shape ``(height, width)``."""
Frame = tuple[int, int, int, int]
"""Left, top, right and bottom of a part of a picture; the last two are just outside."""

GOLDEN = Path(__file__).parents[1] / "golden"
GROUND = 404
NOWHERE = -10_000.0

SCALES = pytest.mark.parametrize("scale", [1, 2, 3])


def state_of(game: Game, **changes: Any) -> Snapshot:
    """Return the first state of a game, with some fields changed."""
    core = Core(game, num_envs=1, lanes=1)
    core.seed(np.array([5], np.uint64))
    core.reset(np.array([[tunable.default for tunable in game.tunables.values()]]))
    state = core.snapshot()
    unknown = changes.keys() - state.keys()
    assert not unknown, f"no such fields: {unknown}"
    return {**state, **changes}


def bird_state(**changes: Any) -> Snapshot:
    """Return a state of Flappy Bird without any pipe, unless there are some among the changes."""
    clear = {"pipe_x": np.full(3, NOWHERE), "pipe_top": np.full(3, 100.0)}
    return state_of(flappy_bird(), **{**clear, **changes})


def pipe_state(x: float, top: float, **changes: Any) -> Snapshot:
    """Return a state of Flappy Bird with one pipe in the picture, and no bird."""
    bird = {"bird_y": NOWHERE}
    pipe_x = np.array([x, NOWHERE, NOWHERE])
    return bird_state(pipe_x=pipe_x, pipe_top=np.full(3, top), **{**bird, **changes})


def catcher_state(size: tuple[int, int] = (640, 640), lives: int = 3, **changes: Any) -> Snapshot:
    """Return a state of Catcher."""
    return state_of(catcher(size=size, lives=lives), **changes)


def pixels(surface: pygame.Surface) -> Picture:
    """Return what a surface shows."""
    return pygame.surfarray.array3d(surface).swapaxes(0, 1)


def painted(state: Snapshot, scale: int = 1) -> Picture:
    """Draw a state."""
    flappy = "bird_y" in state
    size = (288, 512) if flappy else (int(state["width"]), int(state["height"]))
    surface = pygame.Surface((size[0] * scale, size[1] * scale))
    surface.fill((255, 0, 255))  # so that whatever is left out shows
    (flappy_bird_art if flappy else catcher_art).paint(surface, state, scale)
    return pixels(surface)


def frame_of(mask: Mask) -> Frame:
    """Return the smallest frame around all that is true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert rows.size, "there is nothing to see"
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def difference(first: Picture, second: Picture) -> Mask:
    """Return where two pictures differ."""
    return np.asarray((first != second).any(axis=2))


def shown(state: Snapshot, scale: int = 1, **away: Any) -> Frame:
    """Return the frame of what disappears from the picture with some changes of the state."""
    return frame_of(difference(painted(state, scale), painted({**state, **away}, scale)))


def scaled(frame: Frame, scale: int, size: tuple[int, int]) -> Frame:
    """Return a frame in pixels of the picture, without what is outside of it."""
    left, top, right, bottom = frame
    width, height = size
    clipped = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    return tuple(side * scale for side in clipped)  # type: ignore[return-value]


class TestFlappyBird:
    @pytest.mark.one_in(5)
    @SCALES
    @pytest.mark.parametrize("plumage", [0, 1, 2])
    @pytest.mark.parametrize("steps", [0, 14, 29])
    @pytest.mark.parametrize("gravity", [1.0, -1.0])
    def test_bird_is_34_by_24_with_its_corner_at_57_and_its_height(
        self, scale: int, plumage: int, steps: int, gravity: float
    ) -> None:
        state = bird_state(bird_y=200.0, plumage=plumage, steps=steps, gravity=gravity)
        expected = scaled((57, 200, 57 + 34, 200 + 24), scale, (288, 512))
        assert shown(state, scale, bird_y=NOWHERE) == expected

    @pytest.mark.parametrize(
        ("y", "top"), [(0.9, 0), (1.0, 1), (-0.9, 0), (-7.0, -7), (380.5, 380), (500.0, 500)]
    )
    def test_bird_is_at_the_whole_part_of_its_height(self, y: float, top: int) -> None:
        expected = scaled((57, top, 57 + 34, top + 24), 1, (288, 512))
        assert shown(bird_state(bird_y=y), bird_y=NOWHERE) == expected

    def test_bird_is_in_front_of_pipes_and_ground(self) -> None:
        state = pipe_state(70.0, 100.0, bird_y=390.0)
        assert shown(state, bird_y=NOWHERE) == (57, 390, 57 + 34, 390 + 24)

    @pytest.mark.one_in(5)
    @SCALES
    @pytest.mark.parametrize("colour", [0, 1])
    @pytest.mark.parametrize(
        ("x", "top", "gap"),
        [
            (150.0, 120.0, 100.0),
            (60.4, 15.0, 60.0),
            (263.6, 192.0, 200.0),
            (280.0, 100.0, 97.3),
            (10.0, 205.0, 75.0),
            (-0.4, 100.0, 100.0),
            (-22.0, 100.0, 100.0),
            (310.0, 100.0, 100.0),
        ],
    )
    def test_pipes_are_52_wide_and_leave_the_gap_open(
        self, scale: int, colour: int, x: float, top: float, gap: float
    ) -> None:
        state = pipe_state(x, top, gap=gap, pipe_colour=colour)
        covered = difference(
            painted(state, scale), painted({**state, "pipe_x": np.full(3, NOWHERE)}, scale)
        )
        middle = int(top + gap / 2) * scale
        left = int(x) - 26
        upper = scaled((left, 0, left + 52, int(top)), scale, (288, 512))
        lower = scaled((left, int(top + gap), left + 52, GROUND), scale, (288, 512))
        assert frame_of(covered[:middle]) == upper
        covered[:middle] = False
        assert frame_of(covered) == lower

    def test_every_pipe_is_shown(self) -> None:
        state = bird_state(
            pipe_x=np.array([30.0, 140.0, 250.0]), pipe_top=np.array([50.0, 120.0, 180.0])
        )
        for pipe in range(3):
            fewer = state["pipe_x"].copy()
            fewer[pipe] = NOWHERE
            left = int(state["pipe_x"][pipe]) - 26
            assert shown(state, pipe_x=fewer) == (left, 0, left + 52, GROUND)

    @SCALES
    @pytest.mark.parametrize("scroll", [4.0, 2.0, 3.3, 7.9])
    def test_ground_moves_with_the_pipes(self, scale: int, scroll: float) -> None:
        still = painted(bird_state(bird_y=NOWHERE, scroll=scroll), scale)
        for steps in (1, 2, 3, 11, 20):
            state = bird_state(bird_y=NOWHERE, scroll=scroll, steps=float(steps))
            moved = painted(state, scale)
            shift = (340 - int(340 - steps * scroll)) * scale
            width = still.shape[1] - shift
            rows = slice(GROUND * scale, None)
            assert (moved[rows, :width] == still[rows, shift:]).all()
            assert (moved[rows, :width] != still[rows, :width]).any()
            assert (moved[: GROUND * scale] == still[: GROUND * scale]).all()

    def test_ground_goes_on_for_ever(self) -> None:
        rows = slice(GROUND, None)
        before, after = (
            painted(bird_state(bird_y=NOWHERE, steps=float(steps)))[rows]
            for steps in (123_456, 123_457)
        )
        assert (before[:, 4:] == after[:, :-4]).all()

    @pytest.mark.one_in(4)
    @pytest.mark.parametrize(
        "path", sorted(GOLDEN.glob("flappy_*.npz")), ids=lambda path: path.stem
    )
    def test_wings_beat_as_recorded(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as trace:
            actions, frames = trace["action"], trace["bird_frame"]
            meta = json.loads(str(trace["meta"]))
        assert (meta["frame_skip"], meta["num_steps"]) == (1, 1)
        looks: dict[int, set[bytes]] = {}
        steps = 0
        for row, (action, frame) in enumerate(zip(actions, frames, strict=True)):
            steps = 0 if row == 0 or action == -1 else steps + 1
            looks.setdefault(int(frame), set()).add(bird_at_step(steps))
        assert all(len(look) == 1 for look in looks.values())
        assert len(set.union(*looks.values())) == len(looks)

    def test_traces_show_all_three_frames_of_the_wings(self) -> None:
        frames: set[int] = set()
        for path in GOLDEN.glob("flappy_*.npz"):
            with np.load(path, allow_pickle=False) as trace:
                frames |= set(trace["bird_frame"].tolist())
        assert frames == {0, 1, 2}

    def test_wings_are_up_then_level_then_down(self) -> None:
        up, level, down = (
            painted(bird_state(bird_y=200.0, plumage=1.0, steps=float(steps)))[200:224, 57:72]
            for steps in (0, 14, 29)
        )
        colour = level[12, 9].astype(int)  # of the middle of the wing

        def height(bird: Picture) -> float:
            rows, _ = np.nonzero((abs(bird - colour) < 4).all(axis=2))
            assert rows.size > 20
            return float(rows.mean())

        assert height(up) + 1 < height(level) < height(down) - 1

    def test_all_variants_look_different(self) -> None:
        variants = itertools.product((0.0, 1.0), (0.0, 1.0, 2.0), (0.0, 1.0))
        looks = {
            painted(
                pipe_state(
                    200.0, 100.0, bird_y=200.0, backdrop=night, plumage=plumage, pipe_colour=pipe
                )
            ).tobytes()
            for night, plumage, pipe in variants
        }
        assert len(looks) == 12

    def test_night_is_darker_than_day(self) -> None:
        day, night = (painted(bird_state(backdrop=backdrop)).mean() for backdrop in (0.0, 1.0))
        assert night < day - 50

    @pytest.mark.parametrize(("plumage", "strongest"), [(0, 0), (1, 2)])
    def test_plumage_has_its_colour(self, plumage: int, strongest: int) -> None:
        bird = painted(bird_state(bird_y=200.0, plumage=plumage))[200:224, 62:76].mean(axis=(0, 1))
        assert bird.argmax() == strongest

    def test_third_plumage_is_yellow(self) -> None:
        red, green, blue = painted(bird_state(bird_y=200.0, plumage=2))[203:220, 62:74].mean(
            axis=(0, 1)
        )
        assert min(red, green) > blue + 50

    @pytest.mark.parametrize(("colour", "strongest"), [(0, 0), (1, 1)])
    def test_pipe_has_its_colour(self, colour: int, strongest: int) -> None:
        picture = painted(pipe_state(150.0, 150.0, pipe_colour=colour))
        assert picture[10:140, 130:170].mean(axis=(0, 1)).argmax() == strongest

    @pytest.mark.parametrize("change", [{"lives": 0.0}, {"plumage": 2.0}, {"gravity": -1.0}])
    def test_what_is_about_the_bird_changes_the_bird_alone(self, change: Snapshot) -> None:
        left, top, right, bottom = shown(bird_state(bird_y=200.0, plumage=0.0), **change)
        assert left >= 57
        assert top >= 200
        assert right <= 57 + 34
        assert bottom <= 200 + 24


@cache
def bird_at_step(steps: int) -> bytes:
    """Return what the bird looks like after so many steps."""
    picture = painted(bird_state(bird_y=200.0, plumage=1.0, backdrop=0.0, steps=float(steps)))
    return picture[200:224, 57 : 57 + 34].tobytes()


class TestCatcher:
    @pytest.mark.one_in(4)
    @SCALES
    @pytest.mark.parametrize(
        ("size", "x", "width"),
        [
            ((640, 640), 250.0, 128.0),
            ((640, 640), 0.0, 32.0),
            ((640, 640), 320.0, 320.0),
            ((64, 64), 51.0, 13.0),
            ((64, 64), 9.0, 3.0),
            ((300, 100), 20.0, 60.0),
            ((16, 16), 5.0, 1.0),
        ],
    )
    def test_paddle_has_its_corner_at_its_place(
        self, scale: int, size: tuple[int, int], x: float, width: float
    ) -> None:
        state = catcher_state(size, paddle_x=x, paddle_width=width, pellet_y=NOWHERE)
        top = size[1] - int(state["paddle_height"]) - 3
        expected = scaled((int(x), top, int(x + width), size[1] - 3), scale, size)
        assert shown(state, scale, paddle_x=NOWHERE) == expected

    @pytest.mark.one_in(5)
    @SCALES
    @pytest.mark.parametrize(
        ("size", "x", "y"),
        [
            ((640, 640), 228.0, 200.0),
            ((640, 640), 76.0, -20.0),
            ((640, 640), 76.0, 630.0),
            ((64, 64), 8.0, 33.0),
            ((64, 64), 52.0, -3.0),
            ((16, 16), 4.0, 7.0),
        ],
    )
    def test_pellet_has_its_corner_at_its_place(
        self, scale: int, size: tuple[int, int], x: float, y: float
    ) -> None:
        state = catcher_state(size, pellet_x=x, pellet_y=y, paddle_x=NOWHERE)
        side = int(state["pellet"])
        expected = scaled((int(x), int(y), int(x) + side, int(y) + side), scale, size)
        assert shown(state, scale, pellet_y=NOWHERE) == expected

    def test_bodies_are_where_the_recorded_screens_have_them(self) -> None:
        with np.load(GOLDEN / "catcher64_speed0_chase_modern.npz", allow_pickle=False) as trace:
            columns = {name: trace[name] for name in ("player_x", "fruit_x", "fruit_y")}
            rows, screens = trace["frame_row"], trace["frame_rgb"]
        compared = 0
        for row, screen in zip(rows, screens, strict=True):
            state = catcher_state(
                (64, 64),
                paddle_x=float(columns["player_x"][row]),
                pellet_x=float(columns["fruit_x"][row]),
                pellet_y=float(columns["fruit_y"][row]),
            )
            paddle = (screen == (255, 255, 255)).all(axis=2)
            pellet = (screen == (255, 120, 120)).all(axis=2)
            if paddle.sum() == 13 * 3:  # no pellet in front of it
                assert shown(state, paddle_x=NOWHERE) == frame_of(paddle)
                compared += 1
            if pellet.any():
                assert shown(state, pellet_y=NOWHERE) == frame_of(pellet)
                compared += 1
        assert compared > 80

    def test_pellet_is_in_front_of_the_paddle(self) -> None:
        state = catcher_state((640, 640), paddle_x=200.0, pellet_x=228.0, pellet_y=600.0)
        assert shown(state, pellet_y=NOWHERE) == (228, 600, 228 + 38, 600 + 38)

    @pytest.mark.parametrize("width", [32.0, 128.0, 320.0])
    def test_paddle_shows_the_lives_that_are_left(self, width: float) -> None:
        states = [
            catcher_state((640, 640), paddle_x=200.0, paddle_width=width, lives=3)
            | {"lives": float(lives)}
            for lives in range(4)
        ]
        assert len({painted(state).tobytes() for state in states}) == 4
        left, top, right, bottom = shown(states[0], lives=3.0)
        assert left >= 200
        assert top >= 611
        assert right <= 200 + width
        assert bottom <= 637

    def test_more_lives_than_a_paddle_can_show(self) -> None:
        state = catcher_state((64, 64), lives=10_000)
        left = int(state["paddle_x"])
        assert shown(state, paddle_x=NOWHERE) == (left, 58, left + 13, 61)


STATES: dict[str, Callable[[], Snapshot]] = {
    "bird starts": lambda: state_of(flappy_bird()),
    "bird above": lambda: pipe_state(-300.0, 400.0, bird_y=-100.0, backdrop=1.0, lives=-1.0),
    "bird below": lambda: pipe_state(287.0, 0.0, bird_y=600.0, gap=60.0, steps=77.0),
    "catcher starts": catcher_state,
    "pellet above": lambda: catcher_state(pellet_y=-304.0, paddle_x=0.0),
    "pellet below": lambda: catcher_state(pellet_y=700.0, paddle_width=320.0, paddle_x=320.0),
    "smallest field": lambda: catcher_state((16, 16)),
}
"""Some of them are partly or wholly out of the picture."""


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest) -> Snapshot:
    """Each of the states."""
    return STATES[request.param]()


@pytest.mark.parametrize("scale", [1, 4])
def test_same_state_gives_same_picture(scale: int) -> None:
    """Whatever was painted before: each is painted again behind another than the first time."""
    states = {name: make() for name, make in STATES.items()}
    first = {name: painted(state, scale) for name, state in states.items()}
    for name in reversed(states):
        assert (painted(copy.deepcopy(states[name]), scale) == first[name]).all(), name


class TestEveryState:
    def test_all_of_the_picture_is_painted(self, state: Snapshot) -> None:
        assert not (painted(state) == (255, 0, 255)).all(axis=2).any()

    def test_drawing_leaves_the_state_alone(self, state: Snapshot) -> None:
        before = copy.deepcopy(state)
        painted(state)
        assert state.keys() == before.keys()
        for name, value in before.items():
            np.testing.assert_array_equal(state[name], value)


PLAIN = Status(score=0.0, lifetime_step=0)
USUAL = Status(
    score=7.0,
    lifetime_step=63_210,
    phase=2,
    phases=6,
    phase_name="gap 90",
    params={"gap": "90 px"},
    title="ewc, seed 3",
)
CROWDED = Status(
    score=1234567.0,
    lifetime_step=123_456_789,
    phase=77,
    phases=400,
    phase_name="a_phase whose name\nis so long that nobody would ever read it to its end " * 3,
    params=dict.fromkeys(("gap", "gravity", "flap", "scroll", "spacing"), "1.234 px/frame²"),
    title="an agent with a reservoir of 50,000 and more parts than one can count, seed 12 " * 3,
)
STATUSES = pytest.mark.parametrize(
    "status", [PLAIN, USUAL, CROWDED], ids=["plain", "usual", "full"]
)


def hud_picture(status: Status, size: tuple[int, int], edge: hud.Edge = "top") -> Picture:
    """Draw the heads-up display over a black picture."""
    surface = pygame.Surface(size)
    hud.paint(surface, status, edge)
    return pixels(surface)


def inked(picture: Picture) -> Mask:
    """Return where a picture is not black."""
    return np.asarray(picture.any(axis=2))


def lit(picture: Picture) -> Mask:
    """Return where there is writing, which is brighter than the panel."""
    return np.asarray(picture.max(axis=2) > 60)


class TestHud:
    @STATUSES
    @pytest.mark.parametrize("art", [flappy_bird_art, catcher_art])
    @pytest.mark.parametrize("scale", [1, 2, 4])
    def test_keeps_away_from_the_player(self, status: Status, art: ModuleType, scale: int) -> None:
        flappy = art is flappy_bird_art
        size = (288 * scale, 512 * scale) if flappy else (320 * scale, 320 * scale)
        _, top, _, bottom = frame_of(inked(hud_picture(status, size, art.HUD_EDGE)))
        if flappy:
            assert top >= GROUND * scale
        else:
            assert bottom <= 0.3 * size[1]

    @pytest.mark.one_in(5)
    @STATUSES
    @pytest.mark.parametrize("width", [256, 288, 400, 640, 1000, 1280])
    @pytest.mark.parametrize("edge", ["top", "bottom"])
    def test_writing_stays_inside_of_the_panel(
        self, status: Status, width: int, edge: hud.Edge
    ) -> None:
        picture = hud_picture(status, (width, width), edge)
        left, top, right, bottom = frame_of(inked(picture))
        assert left > 0
        assert right < width
        assert (top if edge == "top" else width - bottom) == left == width - right
        first, highest, last, lowest = frame_of(lit(picture))
        margin = 4
        assert left + margin <= first
        assert last <= right - margin
        assert top + margin <= highest
        assert lowest <= bottom - margin

    @pytest.mark.one_in(2)
    @pytest.mark.parametrize("width", [256, 640])
    def test_words_never_run_into_the_lifetime_step(self, width: int) -> None:
        step = Status(score=1.0, lifetime_step=1_000_000)
        alone = lit(hud_picture(step, (width, width)))
        columns = np.flatnonzero(alone.any(axis=0))
        gap = int(np.argmax(np.diff(columns)))  # between the score and the step
        step_left = int(columns[gap + 1])
        compared = 0
        for length in range(1, 60):
            status = Status(score=1.0, lifetime_step=1_000_000, title="m" * length)
            beside = lit(hud_picture(status, (width, width)))
            if frame_of(beside)[3] == frame_of(alone)[3]:  # all in one row
                assert (beside[:, step_left - 4 :] == alone[:, step_left - 4 :]).all()
                compared += 1
        assert compared > 3

    @pytest.mark.parametrize(
        "change",
        [
            {"score": 8.0},
            {"lifetime_step": 63_211},
            {"phase": 3},
            {"phases": 7},
            {"phase_name": "windy"},
            {"params": {"gap": "85 px"}},
            {"title": "er, seed 3"},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_shows_everything_that_it_is_told(self, change: dict[str, Any]) -> None:
        usual = {**vars(USUAL), "phase_name": "calm"}
        told, before = (
            hud_picture(Status(**told), (640, 640)) for told in ({**usual, **change}, usual)
        )
        assert difference(told, before).any()

    @pytest.mark.parametrize("width", [256, 640])
    @pytest.mark.parametrize("phases", [2, 6, 40, 100])
    def test_bar_shows_how_far_the_schedule_has_come(self, width: int, phases: int) -> None:
        for phase in (0, phases // 2, phases - 1):
            status = Status(score=0.0, lifetime_step=0, phase=phase, phases=phases)
            picture = hud_picture(status, (width, width))
            first, _, last, bottom = frame_of(lit(picture))
            bar = picture[bottom - 1, first:last].astype(int)
            golden = np.flatnonzero(bar[:, 0] > bar[:, 2] + 80)
            span = len(bar) / phases
            np.testing.assert_allclose(golden[0], phase * span, atol=2)
            np.testing.assert_allclose(golden[-1], (phase + 1) * span, atol=4)

    @pytest.mark.parametrize("edge", ["top", "bottom"])
    @pytest.mark.parametrize("width", [144, 288])
    def test_says_no_step_where_there_is_none(self, width: int, edge: hud.Edge) -> None:
        """Score and phase fit into one row then, also in a small picture."""
        brief = Status(score=12.0, lifetime_step=None, phase=2, phases=6)
        picture = hud_picture(brief, (width, width), edge)
        _, top, _, bottom = frame_of(inked(picture))
        assert bottom - top <= 54 * width // 144
        stepping = Status(**{**vars(brief), "lifetime_step": 1})
        changed = difference(picture, hud_picture(stepping, (width, width), edge))
        assert changed.any()
        for other in ({"score": 13.0}, {"phase": 3}, {"phases": 7}):
            told = hud_picture(Status(**{**vars(brief), **other}), (width, width), edge)
            assert difference(picture, told).any()

    def test_says_once_what_phase_and_parameters_have_in_common(self) -> None:
        nameless = Status(**{**vars(USUAL), "phase_name": ""})
        assert (hud_picture(USUAL, (640, 640)) == hud_picture(nameless, (640, 640))).all()

    def test_game_shows_through(self) -> None:
        pictures = []
        for brightness in (0, 255):
            surface = pygame.Surface((288, 512))
            surface.fill((brightness, brightness, brightness))
            hud.paint(surface, PLAIN, "top")
            pictures.append(pixels(surface))
        left, top, right, bottom = frame_of(inked(pictures[0]))
        middle = (top + bottom) // 2, (left + right) // 2
        shine = pictures[1][middle].astype(int) - pictures[0][middle]
        assert (shine > 40).all()
        assert (shine < 160).all()

    def test_survives_that_somebody_else_quits_pygame(self) -> None:
        before = hud_picture(USUAL, (288, 512))
        pygame.quit()
        other = Status(**{**vars(USUAL), "lifetime_step": 63_212})
        assert lit(hud_picture(other, (288, 512))).any()
        pygame.init()
        pygame.quit()
        pygame.init()
        last = Status(**{**vars(USUAL), "lifetime_step": 63_213})
        assert lit(hud_picture(last, (288, 512))).any()
        assert (hud_picture(USUAL, (288, 512)) == before).all()

    @pytest.mark.parametrize("size", [(16, 16), (64, 64), (100, 30)])
    def test_draws_what_it_can_where_there_is_hardly_room(self, size: tuple[int, int]) -> None:
        assert hud_picture(CROWDED, size).any()

    @pytest.mark.parametrize("title", ["a\x00b", "\n", "日本", "\x1b[31m"])
    def test_takes_any_text(self, title: str) -> None:
        status = Status(score=0.0, lifetime_step=0, title=title)
        assert hud_picture(status, (288, 512)).any()


class TestScreen:
    @pytest.mark.parametrize("game", [flappy_bird(), catcher()], ids=lambda game: game.name)
    def test_hud_covers_its_edge_of_the_picture_and_nothing_else(self, game: Game) -> None:
        state = state_of(game)
        bare, covered = (Screen(game, hud=on).picture(state, USUAL) for on in (False, True))
        assert bare.shape == covered.shape == (game.size[1], game.size[0], 3)
        assert (bare == painted(state)).all()
        _, top, _, bottom = frame_of(difference(bare, covered))
        if game.name == "FlappyBird":
            assert top > GROUND
        else:
            assert bottom < 100

    def test_small_games_are_enlarged_for_the_hud(self) -> None:
        game = catcher(size=(64, 64))
        state = state_of(game)
        assert Screen(game, hud=True).picture(state, USUAL).shape == (256, 256, 3)
        assert Screen(game, hud=False).picture(state, USUAL).shape == (64, 64, 3)


def run_python(code: str) -> str:
    """Run some lines in a Python of their own; return what they print."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


CHECKSUMS = """
import zlib
import gymnasium as gym
import continual_arcade.envs

checksums = []
for game in ("FlappyBird", "Catcher"):
    env = gym.make(f"ContinualArcade/{game}-v0", render_mode="rgb_array")
    env.reset(seed=0)
    checksums.append(zlib.crc32(env.render().tobytes()))
"""


def test_pictures_need_no_display_and_are_the_same_in_every_process() -> None:
    here: dict[str, Any] = {}
    exec(CHECKSUMS, here)
    there = run_python(
        "import pygame\n"
        "def no_display(*arguments, **keywords):\n"
        "    raise AssertionError('a display was asked for')\n"
        "pygame.display.init = pygame.display.set_mode = pygame.init = no_display\n"
        f"{CHECKSUMS}"
        "assert not pygame.display.get_init()\n"
        "print(checksums)\n"
    )
    assert there.splitlines()[-1] == str(here["checksums"])


def test_threads_may_draw_first() -> None:
    """As those do that film for a report: nothing is loaded by the first who draws."""
    printed = run_python(
        "import sys, threading, types\n"
        "import pygame\n"
        "from continual_arcade.envs.drawing.pixels import as_array\n"
        "assert type(sys.modules['pygame.surfarray']) is types.ModuleType, 'it is loaded later'\n"
        "surface, ready, shapes = pygame.Surface((9, 7)), threading.Barrier(8), []\n"
        "def draw():\n"
        "    ready.wait()\n"
        "    shapes.append(as_array(surface).shape)\n"
        "threads = [threading.Thread(target=draw) for _ in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(shapes == [(7, 9, 3)] * 8)\n"
    )
    assert printed.splitlines()[-1] == "True"
