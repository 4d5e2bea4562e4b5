"""Games are watched and played: in a window (SDL's dummy), or recorded."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest
from films import frames
from gymnasium import spaces
from PIL import Image
from stable_baselines3 import PPO
from undrawn import without_drawing

from continual_arcade.envs import ArcadeEnv, make_game, shipped
from continual_arcade.envs.drawing import film
from continual_arcade.envs.drawing.status import Notice
from continual_arcade.envs.drawing.window import Window
from continual_arcade.evaluation.filming import HOLD, Camera
from continual_arcade.scripts import play, train, watch
from continual_arcade.scripts.policies import load_agent
from continual_arcade.studies.references import RandomPlayer

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.one_in(3)
@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
@pytest.mark.parametrize("game", ["FlappyBird", "Catcher"])
def test_films_show_the_game(tmp_path: Path, suffix: str, game: str) -> None:
    path = tmp_path / f"film{suffix}"
    watch.main(["oracle", "--game", game, "--seconds", "1", "--record", str(path), "--phase", "2"])
    pictures = frames(path)
    assert len(pictures) == 30
    assert pictures[0].shape == ((512, 288, 3) if game == "FlappyBird" else (640, 640, 3))
    assert (pictures[0] != pictures[-1]).any()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.fixture(scope="module")
def sees_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of an agent that sees pictures."""
    root = tmp_path_factory.mktemp("pictures")
    with without_drawing():
        train.main(
            [
                *("--game", "Catcher", "--schedule", "conflict", "--phase-steps", "80"),
                *("--observation", "pixels", "--screen-size", "21", "--stack", "2"),
                *("--eval-every", "0", "--eval-at-end", "1", "--eval-episodes", "1"),
                *("--eval-max-steps", "8", "--dqn.learning-starts", "40", "--save-every", "0"),
                *("--no-probes", "--no-progress", "--out", str(root)),
            ]
        )
    (run,) = root.iterdir()
    return run


@pytest.mark.parametrize("mark", ["--observation", "--saliency"])
def test_what_an_agent_sees_stands_beside_its_game(
    sees_pictures: Path, tmp_path: Path, mark: str
) -> None:
    path = tmp_path / "film.gif"
    watch.main([str(sees_pictures), mark, "--seconds", "1", "--record", str(path)])
    pictures = frames(path)
    assert pictures[0].shape == (640, 640 + 397, 3)
    panel = pictures[-1][:, 640:].astype(int)
    red = (panel[..., 0] > panel[..., 1] + 60) & (panel[..., 0] > panel[..., 2] + 60)
    assert red.any() == (mark == "--saliency")
    assert (panel > 200).all(-1).any()  # the paddle


def test_a_gif_is_what_was_drawn(tmp_path: Path) -> None:
    """One palette, no dithering: flat colours come back as they were, for ever and ever."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (4, 3), dtype=np.uint8)
    pictures = [colours[rng.integers(4, size=(24, 40))] for _ in range(5)]
    path = tmp_path / "f.gif"
    assert film.write(path, pictures, 25) == 5
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        assert image.info["duration"] == 40
        assert image.n_frames == 5  # type: ignore[attr-defined]
        for index, picture in enumerate(pictures):
            image.seek(index)
            difference = np.asarray(image.convert("RGB")).astype(int) - picture
            assert np.abs(difference).max() <= 8  # ffmpeg's palette has steps


def test_a_clip_is_a_small_film_in_memory(tmp_path: Path) -> None:
    """Of an odd size, too; its index comes first, and the same pictures are the same bytes."""
    camera = Camera("FlappyBird", shipped("shrink", make_game("FlappyBird")), 3, width=145)
    pictures = list(camera.film(RandomPlayer(spaces.Discrete(2)), every=2))
    clip = film.clip(pictures, 15)
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip)
    seen = frames(path)
    assert len(seen) == len(pictures)
    assert seen[0].shape == (258, 146, 3)  # sides are made even
    for picture, original in zip(seen, pictures, strict=True):
        difference = np.abs(picture[:258, :145].astype(int) - original)
        assert difference.mean() < 8
    assert np.abs(seen[0].astype(int) - seen[-1]).mean() > 8  # so another picture is found out
    assert clip.index(b"moov") < clip.index(b"mdat")
    assert film.clip(pictures, 15) == clip
    with pytest.raises(ValueError, match="no picture"):
        film.clip([], 15)


def test_a_film_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def pictures() -> Iterator[np.ndarray]:
        yield np.zeros((16, 16, 3), np.uint8)
        raise KeyError("the game broke")

    with pytest.raises(KeyError):
        film.write(tmp_path / "f.mp4", pictures(), 30)
    with pytest.raises(ValueError, match=r"picture 2 has shape \(9, 9, 3\)"):
        film.write(tmp_path / "f.gif", [np.zeros((n, n, 3), np.uint8) for n in (8, 9)], 30)
    with pytest.raises(ValueError, match="no picture"):
        film.write(tmp_path / "f.mp4", [], 30)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_leaves_nothing(tmp_path: Path) -> None:
    """No file may grow beyond 200 KiB, which is crossed by a film that does not compress."""
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 256, (200, 200, 3), dtype=np.uint8) for _ in range(200))
    limit = 200 * 1024
    previous = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, previous[1]))
    try:
        with pytest.raises(OSError, match=r"film\.mp4 could not be written"):
            film.write(tmp_path / "film.mp4", noise, 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, previous)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["orcale"], "does not exist: the player is oracle, random"),
        (["oracle", "--record", "film.avi"], ".gif or .mp4"),
        (["oracle", "--record", "/nowhere/film.gif"], "/nowhere does not exist"),
        (["oracle", "--phase", "9"], "phases 0 to 5"),
        (["oracle", "--phase", "gap 101"], "did you mean"),
        (["oracle", "--schedule", "shrnk"], "did you mean 'shrink'"),
        (["oracle", "--episodes", "0"], "episodes = 0"),
        (["oracle", "--seconds", "-1"], "seconds = -1"),
        ([__file__], "is damaged, or no state file"),
        (["tests"], "is no run"),
        (["oracle", "--seed", "-1"], "seed = -1"),
        (["oracle", "--checkpoints", "first"], "no run is given that has any"),
        (["oracle", "--network", "average"], "and oracle has none: name the folder of a run"),
        (["oracle", "--context", "params"], "and oracle knows the game itself: name the folder of"),
        (["oracle", "--saliency"], "--saliency is of the network of an agent, and oracle has none"),
        (["oracle", "random", "--observation"], "show what one agent sees, and here several play"),
        (["oracle"] * 11, "11 games side by side would be too narrow to follow: choose at most 10"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        watch.main(arguments)
    assert message in capsys.readouterr().err


def test_a_zip_of_another_library_is_refused_with_the_way_to_play_it(
    tmp_path: Path, capsys: Any
) -> None:
    PPO("MlpPolicy", "ContinualArcade/Catcher-v0", n_steps=64, device="cpu").save(tmp_path / "ppo")
    path = tmp_path / "ppo.zip"
    with pytest.raises(SystemExit, match=r"^2$"):
        watch.main([str(path), "--game", "Catcher", "--record", str(tmp_path / "x.gif")])
    assert "play it from Python, as in Camera(" in capsys.readouterr().err
    camera = Camera("Catcher", shipped("shrink", make_game("Catcher")), 0, width=32)
    assert len(list(camera.film(PPO.load(path), seconds=0.2))) == 6  # as it says


def test_a_checkpoint_is_played_in_the_life_it_comes_from(tmp_path: Path, capsys: Any) -> None:
    train.main(
        [
            *("--game", "Catcher", "--schedule", "conflict", "--phase-steps", "200"),
            *("--eval-every", "0", "--eval-episodes", "1", "--eval-max-steps", "20"),
            *("--dqn.hidden", "8", "--no-progress", "--out", str(tmp_path / "runs")),
            *("--dqn.learning-starts", "100"),
        ]
    )
    (run,) = (tmp_path / "runs").iterdir()
    checkpoint = run / "checkpoints" / "step_000000000600.zip"
    # "swapped keys" is a phase of conflict in Catcher, and in nothing else.
    options = ["--phase", "swapped keys", "--seconds", "0.2", "--record"]
    watch.main([str(checkpoint), *options, str(tmp_path / "film.gif")])
    assert frames(tmp_path / "film.gif")[0].shape == (640, 640, 3)
    # What is given need not be looked up, and what lies elsewhere tells nothing of it.
    (run / "config.json").write_text("{}")
    given = ["--game", "Catcher", "--schedule", "conflict", "--phase", "1", "--seconds", "0.2"]
    watch.main([str(checkpoint), *given, "--record", str(tmp_path / "given.gif")])
    moved = tmp_path / "agent" / "deep" / "agent.zip"
    moved.parent.mkdir(parents=True)
    checkpoint.rename(moved)
    (tmp_path / "agent" / "config.json").write_text("{}")
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        watch.main([str(moved), "--record", str(tmp_path / "other.gif")])
    assert "choose its game with --game" in capsys.readouterr().err
    assert not (tmp_path / "other.gif").exists()
    watch.main(
        [
            *(str(moved), "--game", "Catcher", "--schedule", "conflict"),
            *options,
            str(tmp_path / "other.gif"),
        ]
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Short runs: two of one method in Flappy Bird, one of another method, one in Catcher."""
    found = {}
    for name, extra in {
        "one": ["--seed", "0"],
        "two": ["--seed", "1"],
        "ewc": ["--method", "ewc", "--schedule", "conflict"],
        "catcher": ["--game", "Catcher", "--schedule", "shrink"],
    }.items():
        root = tmp_path_factory.mktemp(name)
        with without_drawing():
            train.main(
                [
                    *("--schedule", "grow", "--phase-steps", "200", "--dqn.hidden", "8"),
                    *("--eval-every", "0", "--eval-episodes", "1", "--eval-max-steps", "20"),
                    *("--dqn.learning-starts", "100", "--no-progress", "--out", str(root)),
                    *extra,
                ]
            )
        (found[name],) = root.iterdir()
    return found


WIDTH, HEIGHT = 288, 512


def panels(picture: np.ndarray, count: int) -> list[np.ndarray]:
    """Cut the games out of a picture: below everything else, with equal margins."""
    margin = (picture.shape[1] - count * WIDTH) // (count + 1)
    rows = picture[-margin - HEIGHT : -margin]
    return [rows[:, margin + i * (WIDTH + margin) :][:, :WIDTH] for i in range(count)]


def alone(run: Path, step: int, phase: int) -> list[np.ndarray]:
    """The pictures of one agent alone."""
    camera = Camera("FlappyBird", shipped("grow", make_game("FlappyBird")), phase, hud="none")
    agent = load_agent(run / "checkpoints" / f"step_{step:012d}.zip")
    return list(camera.film(agent))


def unlike(first: np.ndarray, second: np.ndarray) -> float:
    """How much two pictures differ, of which a film may have lost some colours."""
    return float(np.abs(first.astype(int) - second).mean())


@pytest.mark.slow
def test_forgetting_is_watched_side_by_side(runs: dict[str, Path], tmp_path: Path) -> None:
    """Each panel is the film of that agent alone, from the same seed, until it is over."""
    path = tmp_path / "film.mp4"
    options = ["--checkpoints", "first,end:2,last,1200", "--phase", "1", "--record", str(path)]
    watch.main([str(runs["one"]), *options])
    films = [alone(runs["one"], step, 1) for step in (0, 600, 1200, 1200)]
    pictures = frames(path)
    assert len(pictures) == max(map(len, films)) + HOLD
    for index, picture in enumerate(pictures):
        assert picture.shape == pictures[0].shape
        shown = panels(picture, 4)
        for panel, expected in zip(shown, films, strict=True):
            if index < len(expected):
                assert unlike(panel, expected[index]) < 4
            else:
                assert unlike(panel, expected[-1]) > 20  # darkened
        assert unlike(shown[2], shown[3]) < 2  # the last one is that of step 1200
    assert {film[0].tobytes() for film in films} == {films[0][0].tobytes()}
    # Agents that do not play alike would be found out.
    lengths = [len(film) for film in films]
    rivals = [alone(runs[name], step, 1) for name, step in (("one", 400), ("two", 1200))]
    assert any(len(rival) not in lengths or unlike(rival[-1], films[2][-1]) > 4 for rival in rivals)


@pytest.mark.slow
def test_episodes_begin_alike_in_all_panels(runs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    options = ["--checkpoints", "first", "--episodes", "2", "--seed", "3", "--record", str(path)]
    watch.main([str(runs["one"]), "random", *options])
    pictures = frames(path)
    schedule = shipped("grow", make_game("FlappyBird"))
    agent = load_agent(runs["one"] / "checkpoints" / "step_000000000000.zip")
    for seed in (3, 4):
        camera = Camera("FlappyBird", schedule, 0, hud="none")
        first = next(camera.film(agent, seed=seed))
        beginnings = [
            picture for picture in pictures if all(unlike(p, first) < 4 for p in panels(picture, 2))
        ]
        assert beginnings


def test_several_runs_and_players_side_by_side(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shots = []
    side_by_side = watch.side_by_side

    def spy(given: Any, **options: Any) -> Any:
        shots.append([(shot.headline, shot.detail) for shot in given])
        return side_by_side(given, **options)

    monkeypatch.setattr(watch, "side_by_side", spy)
    one, two, ewc = (str(runs[name]) for name in ("one", "two", "ewc"))
    checkpoint = runs["one"] / "checkpoints" / "step_000000000400.zip"
    moved = tmp_path / "my agent.zip"
    moved.write_bytes(checkpoint.read_bytes())
    for number, players in enumerate(
        (
            ["oracle", one, two],
            [one, ewc, "--schedule", "grow", "--checkpoints", "first, last"],
            [one, "--checkpoints", "first,learnt,200,400,last", "--phase", "1"],
            [str(checkpoint), str(moved), "random", "--phase", "1"],
            ["oracle", "oracle"],
        )
    ):
        film_path = tmp_path / f"{number}.mp4"
        watch.main([*players, "--seconds", "0.1", "--record", str(film_path)])
        assert len(frames(film_path)) == 3
    assert shots == [
        [
            ("oracle", ""),
            ("finetune, seed 0", "at the end, after 1,200 steps"),
            ("finetune, seed 1", "at the end, after 1,200 steps"),
        ],
        [
            ("finetune", "before training"),
            ("finetune", "at the end, after 1,200 steps"),
            ("ewc", "before training"),
            ("ewc", "at the end, after 600 steps"),
        ],
        [
            ("before training", ""),
            ("just learnt", "after 400 steps"),
            ("after gap 75", "after 200 steps"),
            ("just learnt", "after 400 steps"),
            ("at the end", "after 1,200 steps"),
        ],
        [
            ("finetune", "just learnt, after 400 steps"),
            ("my agent", ""),
            ("random", ""),
        ],
        [("oracle", ""), ("oracle", "")],
    ]


@pytest.mark.parametrize(
    ("players", "options", "message"),
    [
        (
            ["one"],
            ["--checkpoints", "first,frist"],
            "has no checkpoint 'frist': it has first, end:0",
        ),
        (["one"], ["--checkpoints", "7"], "those of steps 0, 200, 400, 600, 800, 1000, 1200"),
        (["one"], ["--checkpoints", "end:6"], "has no checkpoint 'end:6'"),
        (["one"], ["--checkpoints", "first,"], "has no checkpoint ''"),
        (["one", "catcher"], [], "side by side all play one game"),
        (
            ["one", "catcher"],
            ["--game", "FlappyBird", "--schedule", "grow"],
            "choose its game with",
        ),
        (["one", "ewc"], ["--phase", "1"], "phase 1 is 'gap 80' in the schedule of"),
        (["one"], ["--checkpoints", "first," * 10 + "last"], "11 games side by side"),
    ],
)
def test_mistakes_side_by_side(
    runs: dict[str, Path],
    players: list[str],
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: Any,
) -> None:
    path = tmp_path / "film.gif"
    with pytest.raises(SystemExit, match="2"):
        watch.main([*(str(runs[name]) for name in players), *options, "--record", str(path)])
    assert message in capsys.readouterr().err
    assert not path.exists()


def test_side_by_side_in_a_window_that_is_closed(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One window for all; it fits the desktop, though the pictures would not."""
    sizes = []
    flip = pygame.display.flip

    def see() -> None:
        flip()
        sizes.append(pygame.display.get_surface().get_size())
        if len(sizes) == 12:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    monkeypatch.setattr(pygame.display, "flip", see)
    watch.main([str(runs["one"]), "oracle", "--checkpoints", "first,learnt,last"])
    assert len(sizes) == 12
    desktop = (1024, 768)
    assert all(w <= d for size in sizes for w, d in zip(size, desktop, strict=True))
    assert sizes[0][0] > 800


def test_no_film_is_overwritten(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "film.gif"
    path.write_text("precious")
    with pytest.raises(SystemExit, match="2"):
        watch.main(["oracle", "--record", str(path)])
    assert "exists" in capsys.readouterr().err
    assert path.read_text() == "precious"


@pytest.mark.parametrize("player", ["oracle", "random"])
def test_watching_in_a_window(player: str) -> None:
    watch.main([player, "--game", "Catcher", "--seconds", "0.5", "--schedule", "conflict"])


def test_closing_the_window_ends_it() -> None:
    pygame.display.init()
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    watch.main(["oracle", "--seconds", "3600"])


def test_without_a_display_it_says_so() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "continual_arcade.scripts.watch", "oracle"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert result.returncode == 2
    assert "record to a file instead" in result.stderr


class Person:
    """Presses keys while the game is drawn, and closes the window in the end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, script: dict[int, list[Any]]) -> None:
        self.script = script
        self.frames = 0
        flip = pygame.display.flip

        def see() -> None:
            flip()
            for event in self.script.get(self.frames, []):
                pygame.event.post(event)
            self.frames += 1

        monkeypatch.setattr(pygame.display, "flip", see)


def press(key: int, up: bool = False) -> Any:
    return pygame.event.Event(pygame.KEYUP if up else pygame.KEYDOWN, key=key)


def test_a_person_plays_flappy_bird(
    monkeypatch: pytest.MonkeyPatch, no_waiting: None, capsys: Any
) -> None:
    """Flaps once, falls, dies, plays again, and escapes."""
    person = Person(
        monkeypatch,
        {10: [press(pygame.K_SPACE)], 90: [press(pygame.K_SPACE)], 200: [press(pygame.K_ESCAPE)]},
    )
    scores = play.play(play.Play(game="FlappyBird", seed=0, phase_seconds=600))
    assert scores == [0, 0]
    assert 200 <= person.frames <= 203
    assert "game 1: 0 pipes passed" in capsys.readouterr().out


def test_a_person_plays_catcher_through_phases(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    seen: list[float] = []
    monkeypatch.setattr(
        "continual_arcade.envs.arcade_env.ArcadeEnv.render",
        _spy(seen),
    )
    script = {
        5: [press(pygame.K_RIGHT)],
        15: [press(pygame.K_RIGHT, up=True), press(pygame.K_a)],
        25: [press(pygame.K_a, up=True)],
        70: [pygame.event.Event(pygame.QUIT)],
    }
    Person(monkeypatch, script)
    play.play(play.Play(game="Catcher", seed=0, phase_seconds=1))
    assert max(seen) > seen[0] + 100
    assert min(seen[20:30]) < max(seen) - 50
    printed = capsys.readouterr().out
    assert "phase 2: fall_speed 21" in printed
    assert "phase 3: fall_speed 22" in printed


def _spy(seen: list[float]) -> Any:
    from continual_arcade.envs.arcade_env import ArcadeEnv

    render = ArcadeEnv.render

    def spy(env: ArcadeEnv) -> Any:
        seen.append(env.state["paddle_x"])
        return render(env)

    return spy


def test_phases_must_last(capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        play.main(["FlappyBird", "--phase-seconds", "0"])
    assert "phase_seconds = 0" in capsys.readouterr().err


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are shown as fast as they are drawn."""

    class Clock:
        def tick(self, frames_per_second: int) -> None:
            pass

    monkeypatch.setattr(pygame.time, "Clock", Clock)


@dataclass
class Watched:
    """What an environment went through while somebody played."""

    frames: list[tuple[int, Notice | None]] = field(default_factory=list)
    """Lifetime step and notice of each picture."""
    actions: list[int] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)
    """All that the game remembers, at each picture."""

    @property
    def headings(self) -> list[str | None]:
        """The headings of the notices, one for each picture; None while the game is played."""
        return [None if notice is None else notice.heading for _, notice in self.frames]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, no_waiting: None) -> Watched:
    found = Watched()
    render, step = ArcadeEnv.render, ArcadeEnv.step

    def see(env: ArcadeEnv) -> Any:
        found.frames.append((env.clock.step, env.notice))
        found.states.append(env.core.blocks.tobytes())
        return render(env)

    def act(env: ArcadeEnv, action: Any) -> Any:
        found.actions.append(int(action))
        return step(env, action)

    monkeypatch.setattr(ArcadeEnv, "render", see)
    monkeypatch.setattr(ArcadeEnv, "step", act)
    return found


CLOSE = pygame.event.Event(pygame.QUIT)
AWAY = pygame.event.Event(pygame.WINDOWFOCUSLOST)


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("game", "key", "action"),
    [
        ("FlappyBird", pygame.K_SPACE, 0),
        ("FlappyBird", pygame.K_w, 0),
        ("FlappyBird", pygame.K_UP, 0),
        ("FlappyBird", pygame.K_RETURN, 1),
        ("Catcher", pygame.K_LEFT, 0),
        ("Catcher", pygame.K_d, 1),
        ("Catcher", pygame.K_SPACE, 2),
    ],
)
def test_a_game_waits_for_the_first_key(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, game: Any, key: int, action: int
) -> None:
    """However long that takes: no step is made, and nothing moves. The key counts at once."""
    others = [press(k) for k in (pygame.K_LALT, pygame.K_x, pygame.K_p)]
    Person(monkeypatch, {50: others, 200: [press(key)], 210: [CLOSE]})
    assert play.play(play.Play(game=game, seed=0)) == []
    # One picture by the reset, those that wait, and then one for each step.
    waiting = watched.frames[1:201]
    assert {step for step, _ in waiting} == {0}
    assert {notice.heading for _, notice in waiting if notice} == {make_game(game).title}
    assert len(set(watched.states[:201])) == 1
    assert watched.headings[201:] == [None] * 10
    assert [step for step, _ in watched.frames[201:]] == list(range(1, 11))
    assert watched.actions[0] == action
    (notice,) = {notice for _, notice in waiting}
    assert notice is not None
    said = " ".join(notice.lines)
    assert make_game(game).needed("keys").about in said
    for word in ("space to start", "p pauses", "escape quits"):
        assert word in said


@pytest.mark.parametrize(
    ("pause", "resume"),
    [
        (press(pygame.K_p), press(pygame.K_p)),
        (press(pygame.K_ESCAPE), press(pygame.K_SPACE)),
        (AWAY, press(pygame.K_RETURN)),
    ],
)
def test_a_game_that_is_paused_goes_on_where_it_was(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, pause: Any, resume: Any
) -> None:
    Person(monkeypatch, {5: [press(pygame.K_LEFT)], 20: [pause], 60: [resume], 70: [CLOSE]})
    assert play.play(play.Play(game="Catcher", seed=0)) == []
    paused = [i for i, heading in enumerate(watched.headings) if heading == "Paused"]
    assert paused == list(range(paused[0], paused[0] + 40))
    assert len(set(watched.states[paused[0] - 1 : paused[-1] + 1])) == 1
    steps = [step for step, notice in watched.frames if notice is None]
    assert steps[1:] == list(range(1, len(watched.actions) + 1))
    # A key that is held stays held; not so where its end may have passed unseen.
    after = watched.actions[paused[0] - 6 :]
    assert set(watched.actions[: paused[0] - 6]) == {0}
    assert set(after) == ({2} if pause is AWAY else {0})


def test_keys_that_are_held_act_where_they_repeat(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Tour a bird flaps once for a key, and the paddle is pushed as long as one is held."""
    script = {
        5: [press(pygame.K_RETURN)],
        10: [press(pygame.K_UP)],
        20: [press(pygame.K_LEFT)],
        26: [CLOSE],
    }
    Person(monkeypatch, script)
    play.play(play.Play(game="Tour", schedule="conflict", seed=0))
    assert watched.actions.count(0) == 1  # flap
    first = watched.actions.index(1)
    assert set(watched.actions[first:]) == {1}  # left
    assert len(watched.actions[first:]) > 3


@pytest.mark.parametrize("game", ["FlappyBird", "Catcher"])
def test_a_game_that_is_over_says_the_result_and_how_to_go_on(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, game: Any, capsys: Any
) -> None:
    """A key that was meant for the lost game does not start the next one."""
    space, escape = press(pygame.K_SPACE), press(pygame.K_ESCAPE)
    person = Person(monkeypatch, {5: [space]})
    over = 0
    render = ArcadeEnv.render

    def see(env: ArcadeEnv) -> Any:
        nonlocal over
        if env.notice is not None and env.notice.heading == "Game over":
            over += 1
            # Of the first game the 1st to the 15th picture, then the 100th; of the second the 50th.
            if over in (*range(1, play.HOLD + 1), 100):
                person.script[person.frames] = [space]
            if over == 150:
                person.script[person.frames] = [escape]
        return render(env)

    monkeypatch.setattr(ArcadeEnv, "render", see)
    scores = play.play(play.Play(game=game, seed=0))
    assert len(scores) == 2
    assert over == 150
    points = make_game(game).points
    last = ("press space to play again", "escape quits")
    said = [notice for _, notice in watched.frames if notice and notice.heading == "Game over"]
    assert {notice.lines for notice in said[:100]} == {(f"{scores[0]} {points}", *last)}
    best = f"best of 2 games: {max(scores)}"
    assert {notice.lines for notice in said[100:]} == {(f"{scores[1]} {points}", best, *last)}
    assert f"game 2: {scores[1]} {points}" in capsys.readouterr().out
    # While it waits, the lost game stays as it is.
    lost = [state for state, h in zip(watched.states, watched.headings, strict=True) if h]
    assert len(set(lost[-50:])) == 1


def test_the_mouse_does_not_block_the_keyboard(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SDL keeps some 65,000 events, and drops what comes when they are not taken away."""
    moves = [
        pygame.event.Event(pygame.MOUSEMOTION, pos=(1, 1), rel=(0, 0), buttons=(0, 0, 0))
    ] * 1_000
    script: dict[int, list[Any]] = dict.fromkeys(range(70), moves)
    Person(monkeypatch, {**script, 80: [press(pygame.K_SPACE)], 90: [CLOSE]})
    play.play(play.Play(seed=0))
    assert len(watched.actions) == 10


def test_closing_the_window_ends_the_play_wherever_it_is(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    for script in (
        {3: [CLOSE]},
        {3: [press(pygame.K_ESCAPE)]},
        {3: [press(pygame.K_SPACE)], 9: [press(pygame.K_p)], 12: [CLOSE]},
        {3: [press(pygame.K_SPACE)], 9: [press(pygame.K_ESCAPE)], 12: [press(pygame.K_ESCAPE)]},
    ):
        person = Person(monkeypatch, script)
        assert play.play(play.Play(seed=0)) == []
        assert person.frames == max(script) + 1
        assert not pygame.display.get_init()


def test_whoever_watches_is_told_what_is_loaded(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, no_waiting: None, capsys: Any
) -> None:
    """On the terminal, and in the window, which is there before all else."""
    said: list[str] = []
    say, load = Window.say, watch.load_agent

    def hear(window: Window, notice: Notice) -> None:
        said.extend((notice.heading, *notice.lines))
        say(window, notice)

    def loaded(path: Path) -> Any:
        said.append("agent")
        assert pygame.display.get_surface() is not None
        return load(path)

    monkeypatch.setattr(Window, "say", hear)
    monkeypatch.setattr(watch, "load_agent", loaded)
    person = Person(monkeypatch, {20: [press(pygame.K_ESCAPE)]})
    watch.main([str(runs["one"]), "oracle", "--checkpoints", "last"])
    names = ("PyTorch", "FlappyBird", "finetune after 1,200 steps", "agent", "oracle")
    assert [word for word in said if word != "Loading"] == list(names)
    lines = [f"loading {name} ..." for name in names if name != "agent"]
    assert capsys.readouterr().err.splitlines() == lines
    assert person.frames == 21  # and escape ends it
    watch.main(["oracle", "--seconds", "0.1"])
    assert "PyTorch" not in capsys.readouterr().err


@pytest.mark.parametrize("players", [["oracle"], ["oracle", "random", "oracle"]])
@pytest.mark.parametrize("options", [[], ["--no-hud"], ["--game", "Catcher"]])
def test_a_window_has_the_size_of_its_pictures(
    players: list[str], options: list[str], monkeypatch: pytest.MonkeyPatch, no_waiting: None
) -> None:
    """Though it is opened before there are any."""
    sizes = set()
    monkeypatch.setattr(pygame.display, "get_desktop_sizes", lambda: [(10_000, 10_000)])
    show = Window.show

    def see(window: Window, picture: np.ndarray) -> None:
        sizes.add((window.size, picture.shape[1::-1]))
        show(window, picture)

    monkeypatch.setattr(Window, "show", see)
    watch.main([*players, *options, "--seconds", "0.1"])
    ((window, picture),) = sizes
    assert window == picture
