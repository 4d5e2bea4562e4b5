"""Scenarios of other people's environments: trained, resumed, evaluated, filmed, and refused."""

import importlib.util
import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from stable_baselines3.common.callbacks import BaseCallback

from continual_arcade.agents import ContinualDQN, DQNSettings
from continual_arcade.agents.files.saving import KIND
from continual_arcade.agents.files.state_files import load_state
from continual_arcade.envs.games import OTHER
from continual_arcade.envs.other_games import games_of, other_games
from continual_arcade.evaluation import EvaluationSettings, replay_phases
from continual_arcade.evaluation.record import Record
from continual_arcade.evaluation.reference_files import shipped_references
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.runs import Run, gather
from continual_arcade.evaluation.table import read, same
from continual_arcade.scripts import report, train, watch
from continual_arcade.scripts import scenario as command
from continual_arcade.studies import cards
from continual_arcade.studies.references import completed
from continual_arcade.studies.run_spec import RunSpec, Training
from continual_arcade.studies.scenario import Scenario, dumps, find, load, names, save
from continual_arcade.studies.study import read as read_study

pytestmark = pytest.mark.usefixtures("undrawn")

SWAP: Mapping[str, Any] = {
    "format": 1,
    "name": "swap",
    "about": "CartPole, and with swapped keys.",
    "environment": {"id": "CartPole-v1", "kwargs": {"sutton_barto_reward": False}},
    "phases": [
        {"name": "normal", "steps": 240},
        {"name": "swapped", "steps": 160, "actions": [1, 0]},
        {"name": "sparse", "steps": 120, "kwargs": {"sutton_barto_reward": True}},
        {"name": "normal", "steps": 80},
    ],
    "settings": {"hidden": [8], "learning_starts": 60},
}
NEEDS = {
    "freeway-modes": "ale_py",
    "freeway-modes-pictures": "ale_py",
    "space-invaders-modes": "ale_py",
    "atari-tour": "ale_py",
    "lunar-lander-wind": "Box2D",
    "minigrid-tour": "minigrid",
}
OF_OTHERS = [name for name in names() if find(name).is_of_others]


def needing(name: str) -> Any:
    """Return a scenario as a parameter of a test that is skipped where its extra is missing."""
    module = NEEDS.get(name)
    lacks = module is not None and importlib.util.find_spec(module) is None
    return pytest.param(name, marks=pytest.mark.skipif(lacks, reason=f"{module} is not installed"))


def swap(**changes: Any) -> Scenario:
    return Scenario.from_dict({**SWAP, **changes})


def spec_of(scenario: Scenario, **changes: Any) -> RunSpec:
    settings = DQNSettings(
        num_envs=2, hidden=(8,), buffer_size=300, learning_starts=60, batch_size=16
    )
    return RunSpec(
        **{
            "game": scenario.game,
            "schedule": scenario.schedule,
            "settings": settings,
            "context": scenario.context,
            "options": scenario.options,
            "scenario": scenario,
            "evaluation": EvaluationSettings(every=0, at_end=1, episodes=2, max_steps=30),
            "save_every": 70,
            "seed": 3,
            **changes,
        }
    )


def trained(spec: RunSpec, path: Path) -> RunFolder:
    training = Training.prepare(spec, RunFolder(path))
    training.write({})
    training.train()
    return training.folder


# As data.


def test_what_is_written_is_read(tmp_path: Path) -> None:
    scenario = swap()
    assert scenario.game == OTHER
    assert [phase.params["env"] for phase in scenario.schedule.phases] == [0, 1, 2, 0]
    assert [game.actions for game in games_of(scenario.options)] == [(), (1, 0), ()]
    # What holds of all is written out; so the data of a run say all of it.
    data = scenario.to_dict()
    assert data["phases"][2] == {
        "name": "sparse",
        "steps": 120,
        "id": "CartPole-v1",
        "kwargs": {"sutton_barto_reward": True},
    }
    assert data.keys().isdisjoint({"game", "schedule", "options", "environment"})
    assert Scenario.from_dict(data) == scenario
    assert Scenario.from_dict(tomllib.loads(dumps(scenario))) == scenario
    assert Scenario.from_dict(json.loads(json.dumps(data))) == scenario
    save(scenario, tmp_path / "swap.toml")
    assert load(tmp_path / "swap.toml") == scenario
    halved = swap(phase_steps=50).schedule
    assert [phase.steps for phase in halved.phases] == [50] * 4
    assert len(scenario.schedule.distinct) == 3


@pytest.mark.parametrize(
    "name",
    [
        # Their games are those of the tour.
        pytest.param(*each.values, marks=(*each.marks, *((pytest.mark.slow,) if again else ())))
        for each in map(needing, OF_OTHERS)
        for again in [each.values[0] in ("freeway-modes", "space-invaders-modes")]
    ],
)
def test_each_of_its_environments_can_be_made(name: str) -> None:
    games = other_games(find(name).options)
    assert games.observation_space.shape
    if name == "freeway-modes-pictures":
        assert games.observation_space.shape == (4, 84, 84)


def test_what_needs_an_extra_is_what_is_said_to() -> None:
    modules = {
        name: {game.extra.module for game in games_of(find(name).options) if game.extra}
        for name in OF_OTHERS
    }
    expected = {name: {NEEDS[name]} if name in NEEDS else set() for name in OF_OTHERS}
    assert modules == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"game": "Catcher"}, "scenario 'swap': game = 'Catcher' beside phases"),
        ({"options": {"envs": []}}, "beside phases that name environments"),
        ({"phases": []}, "no phase"),
        ({"phases": [3]}, "phase 0 = 3 must be a table"),
        ({"phases": [{"name": "x"}]}, "phase 'x' lacks 'steps'"),
        ({"phases": [{"name": "x", "steps": 0}]}, "steps = 0"),
        ({"phases": [{"steps": 9, "params": {}}]}, "unknown key of phase 0 'params'"),
        ({"phases": [{"steps": 9, "wrappers": ["flat"]}]}, "phase 'phase 0': unknown wrapper"),
        ({"phases": [{"steps": 9, "id": "os:Foo-v0"}]}, "names a module"),
        ({"phases": [{"steps": 9, "kwargs": 3}]}, "kwargs = 3 of phase 'phase 0'"),
        ({"environment": {"id": "CartPole-v1", "steps": 3}}, "unknown key of its environment"),
        ({"environment": {}}, "phase 'normal': an environment lacks 'id'"),
        ({"context": "all"}, "context"),
    ],
    ids=str,
)
def test_data_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        swap(**changes)


def test_runs_with_other_environments_are_not_comparable() -> None:
    one = spec_of(swap()).protocol
    others = [
        swap(environment={"id": "CartPole-v0"}),
        swap(environment={"id": "CartPole-v1", "kwargs": {"sutton_barto_reward": True}}),
        swap(phases=[*SWAP["phases"][:3], {**SWAP["phases"][3], "wrappers": ["flatten"]}]),
        swap(phases=[{**SWAP["phases"][0], "actions": [0, 0]}, *SWAP["phases"][1:]]),
    ]
    for other in others:
        assert one.differences(spec_of(other).protocol)
    renamed = swap(name="other", phases=[{**each, "name": "p"} for each in SWAP["phases"]])
    assert not one.differences(spec_of(renamed).protocol)
    assert one.env == "CartPole-v1"
    with pytest.raises(ValueError, match=r"options = .* is not that of scenario 'swap'"):
        spec_of(swap(), options=others[1].options)


# Trained.


class Stops(BaseCallback):
    """Ends training as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def _on_step(self) -> bool:
        if self.num_timesteps >= self.step:
            raise KeyboardInterrupt
        return True

    def next_due(self, num_timesteps: int) -> int | None:
        return max(self.step, num_timesteps + 1)


def assert_equal(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one.keys() - {"t"}:  # seconds
            assert_equal(one[key], other[key])
    elif isinstance(one, list):
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    elif hasattr(one, "numpy"):
        assert one.numpy().tobytes() == other.numpy().tobytes()
    elif isinstance(one, np.ndarray):
        assert one.tobytes() == other.tobytes()
    else:
        assert one == other or one != one


@pytest.mark.parametrize(
    ("stop", "engine"),  # after a state that is in the middle of an episode
    [
        (131, "compiled"),
        (300, "torch"),
        pytest.param(300, "compiled", marks=pytest.mark.slow),
        pytest.param(131, "torch", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_cut_off_ends_with_the_same_bits(
    stop: int, engine: Any, tmp_path: Path
) -> None:
    spec = spec_of(swap())
    spec = replace(spec, settings=replace(spec.settings, engine=engine))
    whole = trained(spec, tmp_path / "whole")
    training = Training.prepare(spec, RunFolder(tmp_path / "broken"))
    training.write({})
    with pytest.raises(KeyboardInterrupt):
        training.train([Stops(stop)])
    resumed = Training.resume(training.folder)
    assert 0 < resumed.agent.num_timesteps <= stop
    assert resumed.agent.num_timesteps % 70 < 2
    resumed.train()
    states = [load_state(each.training_state, KIND) for each in (whole, training.folder)]
    assert_equal(*states)
    tables = [read(each.table) for each in (whole, training.folder)]
    tables[1]["run"] = tables[0]["run"]
    assert same(*tables)


def test_what_was_evaluated_is_evaluated_again(tmp_path: Path) -> None:
    spec = spec_of(swap())
    folder = trained(spec, tmp_path / "run")
    config = folder.read_config()
    assert "packages" not in config  # CartPole is Gymnasium's own
    assert config["scenario"] == swap().to_dict()
    assert RunSpec.from_config(config).scenario == swap()
    assert spec.matches(config)
    assert not spec_of(swap(environment={"id": "CartPole-v0"})).matches(config)
    run = Run.load(folder.path)
    again = replay_phases(folder.checkpoints(), run.protocol, load=ContinualDQN.load, seed=3)
    table = read(folder.table)
    assert again.table["score"].tolist() == table["score"].tolist()
    assert again.table["return"].tolist() == table["return"].tolist()
    assert isinstance(run.scores, Record)
    (comparison,) = gather([folder.path]).comparisons
    assert comparison.title == "Gymnasium, swap"
    assert comparison.points == "score"
    scale = shipped_references().scale(run.protocol)
    assert np.isnan(scale.zero).all()
    assert scale.reason.startswith("there are no references for CartPole-v1: only for the games")
    assert len(completed(shipped_references(), [run.protocol], {})) == 0
    # An expert is one run of the same environments.
    single = replace(spec, schedule=spec.schedule.single(1))
    assert trained(single, tmp_path / "expert").read_config()["options"] == config["options"]


def test_nothing_is_written_of_what_cannot_be_trained(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "swap.toml"
    for changes, message in (
        ({"environment": {"id": "CartPole-v7"}}, "not registered"),
        ({"environment": {"id": "CartPole-v1", "kwargs": {"gravity": 3}}}, "keyword argument"),
        ({"environment": {"id": "FrozenLake-v1"}}, "only a Box"),
    ):
        phases = [{k: v for k, v in each.items() if k != "kwargs"} for each in SWAP["phases"]]
        file.write_text(tomli_w.dumps({**SWAP, "phases": phases, **changes}), "utf-8")
        with pytest.raises(SystemExit):
            train.main([f"--scenario={file}", f"--out={tmp_path / 'runs'}"])
        assert message in capsys.readouterr().err
        assert not (tmp_path / "runs").exists()


def test_the_commands_take_it(tmp_path: Path, capsys: Any) -> None:
    file, out = tmp_path / "swap.toml", tmp_path / "runs"
    file.write_text(tomli_w.dumps(dict(SWAP)), "utf-8")
    command.main(["show", str(file)])
    shown = capsys.readouterr().out
    assert "env 1: CartPole-v1\n  sutton_barto_reward = False\n  its actions are [1, 0]" in shown
    assert "padded with zeros to 4, and have 2 actions" in shown
    small = ["--eval-every=0", "--eval-at-end=1", "--eval-episodes=1", "--eval-max-steps=20"]
    train.main([f"--scenario={file}", f"--out={out}", "--no-progress", *small])
    (run,) = out.iterdir()
    assert run.name.startswith("Gymnasium-swap__finetune__0")
    report.main([str(run), "-o", str(tmp_path / "page.html")])
    assert "films are left out: environments of other people" in capsys.readouterr().out
    film = tmp_path / "film.gif"
    watch.main([str(run), "random", "--phase=1", f"--record={film}", "--seconds=0.2"])
    assert film.stat().st_size > 100
    for arguments, message in (
        (["oracle", f"--schedule={file}"], "there is no oracle of CartPole-v1"),
        ([str(run), "--saliency"], "what they draw themselves"),
        ([str(run), "--schedule=shrink"], "none of environments of other people"),
    ):
        with pytest.raises(SystemExit):
            watch.main([*arguments, f"--record={tmp_path / 'no.gif'}"])
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["card", str(file), f"--out={out}"])
    assert "no card, since its environments are other people's" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no card"):
        cards.check_game(swap())


def test_chance_plays_where_pictures_are_seen(tmp_path: Path) -> None:
    pytest.importorskip("ale_py", reason="the extra [atari] is not installed")
    film = tmp_path / "film.gif"
    schedule = "--schedule=freeway-modes-pictures"
    watch.main(["random", schedule, "--phase=1", f"--record={film}", "--seconds=0.2"])
    assert film.stat().st_size > 100


def test_a_study_takes_it() -> None:
    data = {
        "format": 1,
        "name": "others",
        "scenarios": [dict(SWAP)],
        "seeds": "0..1",
        "methods": {"finetune": {}, "ewc": {}, "reservoir": {}},
        "references": ["experts", "joint"],
        "evaluation": {"every": 0, "at_end": 1, "episodes": 1, "max_steps": 10},
        "settings": {"num_envs": 2, "batch_size": 8, "buffer_size": 100},
    }
    study = read_study(data, Path())
    study.check()
    assert type(study).from_dict(json.loads(json.dumps(study.to_dict()))) == study


# A short run of each that comes with the suite.


OFTEN = ("atari-tour", "lunar-lander-wind", "minigrid-tour")
"""One of each extra; the others are tested now and then: convolutions compile for a minute."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(*each.values, marks=(*each.marks, *(() if often else (pytest.mark.slow,))))
        for each in map(needing, OF_OTHERS)
        for often in [each.values[0] in OFTEN]
    ],
)
def test_it_is_trained_and_resumed(name: str, tmp_path: Path) -> None:
    found = find(name)
    phases = found.to_dict()["phases"][:2]
    learner = {k: v for k, v in found.to_dict()["settings"].items() if k != "hidden"}
    scenario = Scenario.from_dict(
        {"format": 1, "name": name, "phases": phases, "phase_steps": 60, "settings": learner}
    )
    settings = scenario.learner(
        DQNSettings(num_envs=2, hidden=(8,), buffer_size=90, learning_starts=20, batch_size=8)
    )
    evaluation = EvaluationSettings(every=0, at_end=1, episodes=1, max_steps=5)
    spec = spec_of(scenario, settings=settings, evaluation=evaluation, save_every=50)
    training = Training.prepare(spec, RunFolder(tmp_path / "broken"))
    training.write({})
    assert training.agent.runs_compiled
    with pytest.raises(KeyboardInterrupt):
        training.train([Stops(91)])
    Training.resume(training.folder).train()
    whole = trained(spec, tmp_path / "whole")
    assert_equal(
        *(load_state(each.training_state, KIND)["network"] for each in (whole, training.folder))
    )
