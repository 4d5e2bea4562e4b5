"""The command that lists and shows scenarios, and training in one by its name."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from continual_arcade.envs import schedule_files
from continual_arcade.evaluation import gather, reference_files
from continual_arcade.evaluation.table import read
from continual_arcade.scripts import options, play, references, schedule, train, training, watch
from continual_arcade.scripts import scenario as command
from continual_arcade.scripts.schedules import game_for
from continual_arcade.studies.scenario import VARIABLE, find, load, names

pytestmark = pytest.mark.usefixtures("undrawn")

TINY = {
    "format": 1,
    "name": "tiny",
    "about": "Small enough for a test, with a discount of 0.9. Else it is good for nothing.",
    "game": "Catcher",
    "schedule": "conflict",
    "phase_steps": [120, 60, 90],
    "context": "params",
    "memory": 0.5,
    "settings": {
        "engine": "torch",
        "gamma": 0.9,
        "num_envs": 4,
        "hidden": [8],
        "batch_size": 16,
        "learning_starts": 32,
    },
}
SHORT = ["--eval-every=0", "--eval-at-end=1", "--eval-episodes=1", "--eval-max-steps=40"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(tomli_w.dumps(TINY), "utf-8")
    return file


def refused(main: Any, arguments: list[str], capsys: Any) -> str:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(arguments)
    errors: str = capsys.readouterr().err
    assert "Traceback" not in errors
    return errors


def test_all_scenarios_are_listed(tiny: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tiny.parent))
    monkeypatch.setenv("COLUMNS", "120")
    command.main(["list"])
    printed = capsys.readouterr().out
    for name in names():
        scenario = find(name)
        (line,) = (line for line in printed.splitlines() if line.startswith(f"│ {name} "))
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        steps = f"{scenario.schedule.total_steps:,}"
        assert cells[1:5] == [scenario.game, f"{len(scenario.schedule)}", steps, scenario.context]
        assert f"\n{name}: {scenario.about[:20]}" in printed
    # Of what is said of it, the first sentence.
    assert "\ntiny: Small enough for a test, with a discount of 0.9.\n" in printed


def test_a_scenario_is_shown_with_all_that_it_says(tiny: Path, capsys: Any) -> None:
    command.main(["show", str(tiny)])
    printed = capsys.readouterr().out
    assert TINY["about"] in printed
    assert str(load(tiny).schedule) in printed
    assert "  4  fall_speed: speed of the pellet" in printed
    assert "memory: 0.5 of 270 steps, 135 transitions" in printed
    assert set(re.findall(r"^\* (\w+) = ", printed, re.M)) == {*TINY["settings"], "buffer_size"}  # type: ignore[misc]
    assert "* gamma = 0.9\n" in printed
    assert "  n_steps = 3\n" in printed


def test_what_is_written_is_the_same_scenario(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "schedule.json"
    command.main(["show", str(tiny), "--out", str(one)])
    command.main(["show", str(tiny), "--out", str(other)])
    assert load(one) == load(tiny)
    assert schedule_files.load(other) == load(tiny).schedule
    picture = tmp_path / "one.svg"
    command.main(["show", "catcher-gradual", "--out", str(picture)])
    assert "catcher-gradual" in picture.read_text() or picture.stat().st_size > 1_000
    assert "exists, and nothing is overwritten" in refused(
        command.main, ["show", str(tiny), "--out", str(one)], capsys
    )
    assert "did you mean 'catcher-conflict'" in refused(
        command.main, ["show", "catcher-conflit"], capsys
    )


def one_run(root: Path) -> Path:
    (path,) = root.iterdir()
    return path


def test_training_in_a_scenario_and_resuming_it(tiny: Path, tmp_path: Path, capsys: Any) -> None:
    given = ["--scenario", str(tiny), "--dqn.n-steps", "1", *SHORT]
    train.main([*given, "--save-every", "100", "--out", str(tmp_path / "runs")])
    run = one_run(tmp_path / "runs")
    assert run.name.startswith("Catcher-tiny__finetune__0__")
    config = json.loads((run / "config.json").read_text())
    assert config["scenario"] == load(tiny).to_dict()
    settings = config["settings"]
    assert (settings["n_steps"], settings["buffer_size"], settings["hidden"]) == (1, 135, [8])
    assert config["context"] == "params"
    # Cut off in the middle, it is resumed as it began, whatever became of the file.
    tiny.unlink()
    before, text = read(run / "evaluations.csv"), (run / "config.json").read_text()
    for state in (run / "checkpoints").iterdir():
        state.unlink()
    train.main(["--resume", str(run)])
    assert read(run / "evaluations.csv").equals(before)
    assert (run / "config.json").read_text() == text
    (comparison,) = gather([run]).comparisons
    assert comparison.title == "Catcher, tiny"


def test_an_expert_of_a_scenario_has_its_learner(tiny: Path) -> None:
    asked = options.Train(scenario=str(tiny), only_phase="icy")
    spec = training.spec_of(asked)
    assert spec.schedule.total_steps == 90
    assert spec.settings.buffer_size == 135


@pytest.mark.parametrize(
    "given",
    [
        "--game=Catcher",
        "--game Catcher",
        "--schedule shrink",
        "--phase_steps 9",
        "--context hidden",
    ],
)
def test_what_a_scenario_says_is_said_once(given: str, tiny: Path, capsys: Any) -> None:
    said = refused(train.main, ["--scenario", str(tiny), *given.split()], capsys)
    option = re.split("[ =]", given)[0].replace("_", "-")
    assert f"{option} cannot be given with --scenario" in said


def test_from_python_too(tiny: Path) -> None:
    with pytest.raises(ValueError, match="--phase-steps cannot be given with --scenario"):
        training.spec_of(options.Train(scenario=str(tiny), phase_steps=9))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--dqn.gamma 0.99", "gamma = 0.99 is the default, which gives way to that of scenario"),
        ("--dqn.batch-size=256", "holds 135 transitions, fewer than batch_size = 256"),
    ],
)
def test_settings_that_would_not_count_are_refused(
    given: str, message: str, tiny: Path, capsys: Any
) -> None:
    said = refused(train.main, ["--scenario", str(tiny), *given.split()], capsys)
    assert message in said


def test_a_scenario_stands_wherever_a_schedule_does(tiny: Path, capsys: Any) -> None:
    """By its file, and by its name; its phases are played."""
    scenario, name = load(tiny), "catcher-conflict"
    on_catcher = ["--game", "Catcher"]
    schedule.main([str(tiny), *on_catcher])
    assert capsys.readouterr().out == f"{scenario.schedule}\n"
    for game in (on_catcher, []):  # which the scenario says itself
        schedule.main([name, *game])
        assert capsys.readouterr().out == f"{find(name).schedule}\n"
    film, scores = tiny.with_name("film.gif"), tiny.with_name("references.json")
    short = ["--schedule", str(tiny), *on_catcher]
    watched = ["oracle", "--schedule", str(tiny), "--phase", "swapped keys", "--seconds=1"]
    watch.main([*watched, "--record", str(film)])
    assert "loading Catcher" in capsys.readouterr().err
    assert film.read_bytes().startswith(b"GIF89a")
    few = ["--episodes=2", "--max-steps=20"]
    references.main([*short, *few, "--out", str(scores)])
    played = [one.params["push"] for one in reference_files.load(scores)]
    assert sorted(played) == sorted(phase.params["push"] for phase in scenario.schedule.distinct)


def test_a_scenario_of_another_game_is_no_schedule_for_this_one(tiny: Path, capsys: Any) -> None:
    for given in (str(tiny), "catcher-conflict"):
        errors = refused(schedule.main, [given, "--game", "FlappyBird"], capsys)
        assert "is one of Catcher, not of FlappyBird" in errors
    for given in (str(tiny), "catcher-conflict"):
        errors = refused(train.main, ["--game", "Catcher", "--schedule", given], capsys)
        assert "is a scenario" in errors
        assert "--scenario" in errors
    for main, others in (
        (schedule.main, "cartpole-swapped-keys"),
        (play.main, "--schedule=atari-tour"),
    ):
        errors = refused(main, [others], capsys)
        assert "is one of other people's environments, and no schedule of a game" in errors
    errors = refused(schedule.main, ["catcher-conflikt", "--game", "Catcher"], capsys)
    assert "unknown schedule 'catcher-conflikt'" in errors


@pytest.mark.parametrize(
    ("said", "named", "game"),
    [
        (None, "catcher-conflict", "Catcher"),
        (None, "tour", "Tour"),
        (None, "cycle", "FlappyBird"),
        ("Catcher", "cycle", "Catcher"),
        ("FlappyBird", "catcher-conflict", "FlappyBird"),  # which is refused by the schedule
    ],
)
def test_a_scenario_says_its_game(said: str | None, named: str, game: str) -> None:
    assert game_for(said, named) == game
