"""Games are watched and played: in a window (SDL's dummy), or recorded."""

import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pygame
import pytest
from PIL import Image

from continual_arcade.envs.drawing import film
from continual_arcade.scripts import play, train, watch


def frames(path: Path) -> list[np.ndarray]:
    """Read a film back."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24"]
    result = subprocess.run([*command, "-"], capture_output=True, check=True)
    size = re.search(r" (\d+)x(\d+)[, ]", result.stderr.decode())
    assert size is not None
    width, height = map(int, size.groups())
    return list(np.frombuffer(result.stdout, np.uint8).reshape(-1, height, width, 3))


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
@pytest.mark.parametrize("game", ["FlappyBird", "Catcher"])
def test_films_show_the_game(tmp_path: Path, suffix: str, game: str) -> None:
    path = tmp_path / f"film{suffix}"
    watch.main(["oracle", "--game", game, "--seconds", "1", "--record", str(path), "--phase", "2"])
    pictures = frames(path)
    assert 29 <= len(pictures) <= 32
    assert pictures[0].shape == ((512, 288, 3) if game == "FlappyBird" else (640, 640, 3))
    assert (pictures[0] != pictures[-1]).any()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


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
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        watch.main(arguments)
    assert message in capsys.readouterr().err


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


def test_a_person_plays_flappy_bird(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
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
