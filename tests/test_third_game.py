"""A game is its file, its painter and one line: no command knows one by name."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
import small_studies
from films import frames
from third_game.tightrope import tightrope

from continual_arcade.agents import build_agent, make_training_env
from continual_arcade.envs import GAMES, IDS, Schedule, make_game, register_game, shipped
from continual_arcade.envs.curricula import SHIPPED, as_schedule, schedules_of
from continual_arcade.envs.drawing.screen import Screen
from continual_arcade.envs.game import Game, Keys
from continual_arcade.envs.oracles import Oracle, Unbeatable
from continual_arcade.evaluation import Evaluator, RunFolder, shipped_references
from continual_arcade.evaluation.filming import Camera
from continual_arcade.evaluation.reference_files import load
from continual_arcade.evaluation.runs import gather
from continual_arcade.scripts import (
    evaluate,
    play,
    references,
    report,
    schedule,
    train,
    watch,
)

TESTS = Path(__file__).parent
NAME = "Tightrope"
SHORT = [
    *("--eval-every", "0", "--eval-at-end", "1", "--eval-episodes", "2", "--eval-max-steps", "40"),
    *("--dqn.engine", "torch", "--dqn.hidden", "8", "--dqn.learning-starts", "50"),
    *("--no-progress",),
]
"""Compiling the learner takes most of a minute; a slow test does it."""


def bare() -> Game:
    """The same rules, and no fact that only some purposes need."""
    return replace(
        tightrope(),
        name="Bare",
        maker=bare,
        phases=(),
        conflict={},
        action_prior=None,
        keys=None,
        painter="",
        oracle="",
        unbeatable="",
    )


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Add the games, each in one line; afterwards the others are alone again."""
    register_game(NAME, "third_game.tightrope:tightrope")
    register_game("Bare", bare)
    yield
    for name in (NAME, "Bare"):
        del GAMES[name]
        del gym.registry[IDS.pop(name)]


def refused(main: Callable[[list[str]], None], arguments: list[str], capsys: Any) -> str:
    """Run a command that must end with an error; return the error, on one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)
    error: str = capsys.readouterr().err
    assert "Traceback" not in error
    return " ".join(error.split())


@pytest.mark.usefixtures("undrawn")
def test_it_is_trained_evaluated_watched_and_reported(tmp_path: Path, capsys: Any) -> None:
    runs, film = tmp_path / "runs", tmp_path / "film.gif"
    game = ["--game", NAME, "--schedule", "conflict", "--phase-steps", "200"]
    train.main([*game, *SHORT, "--out", str(runs)])
    (run,) = runs.iterdir()
    assert run.name.startswith("Tightrope-conflict__finetune__0__")
    assert RunFolder.open(run).read_config()["env"] == "ContinualArcade/Tightrope-v0"
    assert "steps walked" in capsys.readouterr().out
    evaluate.main([str(run)])
    watch.main([str(run), "--phase", "swapped", "--seconds", "0.5", "--record", str(film)])
    pictures = frames(film)
    assert pictures[0].shape == (240, 320, 3)
    assert (pictures[0] != pictures[-1]).any()
    page = tmp_path / "report.html"
    report.main([str(run), "-o", str(page), "--film-seconds", "0.2"])
    printed = " ".join(capsys.readouterr().out.split())
    # The suite ships no references for it: that is said, and how to make them.
    assert "no reference for ContinualArcade/Tightrope-v0" in printed
    assert "scripts.references --game Tightrope --schedule conflict --max-steps 40" in printed
    text = page.read_text("utf-8")
    assert "steps walked" in text
    assert "video/mp4" in text


@pytest.mark.usefixtures("undrawn")
def test_it_is_studied(tmp_path: Path) -> None:
    settings = {"engine": "torch"}
    file = small_studies.write(tmp_path / "s.toml", games=[NAME], seeds="0", settings=settings)
    small_studies.run("run", file, "--jobs", "1", "--out", tmp_path)
    small_studies.run("report", tmp_path / "small", "--film-seconds", "0")
    study = tmp_path / "small"
    assert {one.env for one in load(study / "references.json")} == {IDS[NAME]}
    assert "Tightrope, conflict" in (study / "report.html").read_text("utf-8")


@pytest.mark.usefixtures("undrawn")
def test_a_game_without_an_oracle_is_studied_and_the_report_says_so(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"settings": {"engine": "torch"}, "schedules": ["two.toml"]}
    small_studies.write(tmp_path / "s.toml", games=["Bare"], seeds="0", **changes)
    (tmp_path / "two.toml").write_text(
        'format = 1\nname = "two"\n'
        '[[phases]]\nname = "calm"\nsteps = 80\nparams = { gust = 0.01 }\n'
        '[[phases]]\nname = "storm"\nsteps = 80\nparams = { gust = 0.1 }\n'
    )
    small_studies.run("run", tmp_path / "s.toml", "--jobs", "1", "--out", tmp_path)
    study = tmp_path / "small"
    printed = small_studies.run("report", study, "--film-seconds", "0.2")
    assert "Bare has no oracle to measure scores by" in printed
    assert "films are left out: Bare has no painter" in printed
    assert "no oracle to measure scores by" in (study / "report.html").read_text("utf-8")
    assert list(load(study / "references.json")) == []


@pytest.mark.usefixtures("undrawn")
def test_a_run_of_a_game_that_is_not_here_is_reported_as_far_as_it_can_be(
    tmp_path: Path, capsys: Any
) -> None:
    register_game("Gone", gone)
    game = ["--game", "Gone", "--schedule", "conflict", "--phase-steps", "80"]
    train.main([*game, *SHORT, "--out", str(tmp_path / "runs")])
    (run,) = (tmp_path / "runs").iterdir()
    del GAMES["Gone"]
    del gym.registry[IDS.pop("Gone")]
    report.main([str(run), "-o", str(tmp_path / "page.html")])
    assert "films are left out: there is no game Gone here" in capsys.readouterr().out
    (comparison,) = gather([run]).comparisons
    assert comparison.points == "score"
    for main in (evaluate.main, watch.main):
        assert "Gone" in refused(main, [str(run)], capsys)


def gone() -> Game:
    return replace(tightrope(), name="Gone", maker=gone)


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (watch, ["oracle", "--record", "x.gif"], "Bare has no painter: it cannot be drawn; give"),
        (play, [], "Bare has no keys: nobody can play it at the keyboard; give its Game keys="),
        (references, [], "Bare has no oracle: let random play or an agent play it, or give its"),
        (schedule, ["cycle"], "Bare has no phases, of which schedule 'cycle' is made: choose "),
        (schedule, ["conflict"], "Bare has no conflict, of which schedule 'conflict' is made"),
        (train, ["--out", "runs"], "Bare has no phases, of which schedule 'shrink' is made"),
    ],
)
def test_what_a_game_lacks_is_refused_by_name(
    command: Any,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    game = ["Bare"] if command is play else ["--game", "Bare"]
    where = ["--schedule", "stationary"] if command in (watch, play) else []
    assert message in refused(command.main, [*arguments, *game, *where], capsys)
    assert list(tmp_path.iterdir()) == []


def test_what_a_game_lacks_is_refused_in_python() -> None:
    env = gym.make(IDS["Bare"])
    for player in (Oracle, Unbeatable):
        with pytest.raises(ValueError, match=f"Bare has no {player.__name__.lower()}"):
            player(env)
    for make in (gym.make, gym.make_vec):
        with pytest.raises(ValueError, match="Bare has no painter"):
            make(IDS["Bare"], render_mode="rgb_array")
    assert schedules_of(make_game("Bare")) == ()
    assert schedules_of(make_game(NAME)) == tuple(SHIPPED)


def test_a_name_that_nobody_has_is_refused_by_name() -> None:
    life = Schedule.from_dict(shipped("stationary", make_game(NAME)).to_dict())
    for call in (
        lambda: make_training_env("Tightrop", life, 2),
        lambda: build_agent("Tightrop", life),
        lambda: Evaluator("Tightrop", life),
        lambda: Camera("Tightrop", life, 0),
        lambda: IDS["Tightrop"],
    ):
        with pytest.raises(ValueError, match=r"Tightrop'.*Tightrope"):
            call()
    assert "Tightrop" not in IDS
    assert IDS.get("Tightrop") is None


def test_the_commands_list_it(capsys: Any) -> None:
    for command in (train, watch, references, schedule, play):
        with pytest.raises(SystemExit, match=r"^0$"):
            command.main(["--help"])
        # Without the frame around the options, in which some versions of tyro break the list.
        text = "".join(capsys.readouterr().out.replace("│", " ").split())
        assert "FlappyBird,Catcher," in text
        assert ",Tightrope,Bare}" in text
    assert "Tightrope:arrowspushthewalker." in text


def test_a_person_plays_it(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Leans ever farther to the side of the key that is held, and falls."""
    count, flip = 0, pygame.display.flip
    key = pygame.event.Event(pygame.KEYDOWN, key=pygame.K_RIGHT)

    def see() -> None:
        nonlocal count
        flip()
        count += 1
        if count == 5:
            pygame.event.post(key)
        elif count > 5 and count % 40 == 0:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    monkeypatch.setattr(pygame.display, "flip", see)
    (score,) = play.play(play.Play(game=NAME, seed=0))
    assert 3 <= score <= 12
    assert f"game 1: {score} steps walked" in capsys.readouterr().out


def test_its_oracle_solves_every_phase() -> None:
    game = make_game(NAME)
    life = as_schedule("shrink", game)
    evaluator = Evaluator(NAME, life, episodes=5, max_steps=300)
    scores = evaluator.play(Oracle(evaluator.env)).scores
    assert (scores == 300).all()
    assert (evaluator.play(Unbeatable(evaluator.env)).scores == scores).all()


def test_exploration_follows_its_prior() -> None:
    agent = build_agent(NAME, as_schedule("conflict", make_game(NAME)))
    assert agent.exploration is not None
    assert agent.exploration.prior == (0.25, 0.25, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a__b"}, "game = 'a__b' must be a name of letters and digits"),
        ({"phases": ({"gust": 0.1}, {"gust": 9.0})}, r"phases\[1\] of Tightrope: gust = 9"),
        ({"phases": ({"gust": 0.1},)}, "phases of Tightrope must be at least two"),
        ({"phases": ({"gust": 0.1}, {"push": 0.1})}, "all set the same parameters"),
        ({"conflict": {"x": {"wind": 1.0}}}, r"conflict\['x'\] of Tightrope: unknown parameter"),
        ({"action_prior": (0.5, 0.5)}, r"action_prior = \(0.5, 0.5\) of Tightrope must be 3"),
        ({"action_prior": (0.5, 0.6, -0.1)}, "must be 3 probabilities that add up to 1"),
        ({"keys": Keys({"a": 3}, idle=0, about="")}, "keys of Tightrope: a = 3 is no action"),
        ({"keys": Keys({"a": 1}, idle=-1, about="")}, "keys of Tightrope: idle = -1 is no action"),
    ],
)
def test_facts_that_contradict_each_other(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(tightrope(), **changes)


def test_names_that_lead_nowhere() -> None:
    lost = replace(tightrope(), oracle="third_game.tightrope:Nobody", painter="third_game.nothing")
    with pytest.raises(
        ValueError, match=r"oracle of Tightrope, 'third_game.tightrope:Nobody', can"
    ):
        lost.needed("oracle")
    with pytest.raises(ValueError, match=r"painter of Tightrope, 'third_game\.nothing', cannot be"):
        lost.needed("painter")
    with pytest.raises(ValueError, match=r"painter of Tightrope, math, has no paint"):
        Screen(replace(tightrope(), painter="math"))
    with pytest.raises(ValueError, match="there is a game Catcher already"):
        register_game("Catcher", tightrope)
    with pytest.raises(ValueError, match="must be a name of letters and digits"):
        register_game("Tight-Rope", tightrope)
    register_game(NAME, "third_game.tightrope:tightrope")  # the same again is harmless
    for name, maker in {"Wrong": tightrope, "Lost": "third_game.tightrope:lost"}.items():
        register_game(name, maker)
        try:
            with pytest.raises(ValueError, match=f"{name}.*(calls itself|cannot be imported)"):
                make_game(name)
        finally:
            del GAMES[name]
            del gym.registry[IDS.pop(name)]


def test_references_of_all_games_leave_out_those_without_an_oracle(
    tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "references.json"
    few = ["--episodes", "2", "--max-steps", "50", "--schedule", "stationary"]
    references.main([*few, "--out", str(out)])
    assert "Bare is left out: it has no oracle" in capsys.readouterr().err
    assert {one.env for one in load(out)} == {IDS[game] for game in GAMES if game != "Bare"}
    assert len(shipped_references()) > 0


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """A package that adds the game by an entry point: for every process, with one line."""
    about = tmp_path / "site" / "tightrope-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tightrope\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[continual_arcade.games]\n"
        "Tightrope = third_game.tightrope:tightrope\n"
        "Broken = nowhere:game\n"
        "Catcher = nowhere:game\n"
        "no name = nowhere:game\n"
    )
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(about.parent), str(TESTS)))}


def python(*arguments: object, env: dict[str, str]) -> tuple[int, str]:
    found = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    return found.returncode, found.stdout + found.stderr


def command(name: str, *arguments: object, env: dict[str, str]) -> tuple[int, str]:
    return python("-m", f"continual_arcade.scripts.{name}", *arguments, env=env)


def test_an_installed_game_is_there_for_every_command(installed: dict[str, str]) -> None:
    status, said = command("schedule", "conflict", "--game", NAME, env=installed)
    assert (status, "swapped" in said) == (0, True), said
    assert "left out: game = 'no name' must be a name of letters and digits" in said
    others = (
        "from continual_arcade.scripts.schedule import main\n"
        "main(['--game', 'Catcher'])\n"
        "main(['--game', 'Broken'])"
    )
    status, said = python("-c", others, env=installed)
    assert "fall_speed 25" in said  # what is there is not replaced
    assert (status, "game Broken, 'nowhere:game', cannot be imported" in said) == (2, True), said


@pytest.mark.slow
def test_workers_and_the_compiled_engine_know_an_installed_game(
    tmp_path: Path, installed: dict[str, str]
) -> None:
    file = small_studies.write(tmp_path / "s.toml", games=[NAME])
    status, said = command("study", "run", file, "--jobs", 2, "--out", tmp_path, env=installed)
    assert status == 0, said
    for config in tmp_path.rglob("config.json"):
        assert '"engine": "compiled"' in config.read_text("utf-8")
    assert len(list(tmp_path.rglob("finished.json"))) == 2


def test_pickled_games_are_made_again() -> None:
    import pickle

    again = pickle.loads(pickle.dumps(make_game(NAME)))
    assert again == make_game(NAME)
    np.testing.assert_array_equal(again.feature_bounds()[1], np.float32([2.0, 0.2]))
