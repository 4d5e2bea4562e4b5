"""Scenarios: what is written is read, what makes no sense is refused by name, files are found."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from small_studies import SMALL

from continual_arcade.agents import METHODS, DQNSettings
from continual_arcade.agents.building import settings_of
from continual_arcade.envs import IDS, make_game, shipped
from continual_arcade.envs.context import CONTEXTS
from continual_arcade.envs.schedule_files import save as save_schedule
from continual_arcade.evaluation import EvaluationSettings, Protocol, runs
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.score_range import score_range
from continual_arcade.studies import scenario as scenarios
from continual_arcade.studies.references import measure
from continual_arcade.studies.run_spec import RunSpec, Training
from continual_arcade.studies.scenario import (
    SHIPPED,
    VARIABLE,
    Scenario,
    as_scenario,
    dumps,
    find,
    load,
    names,
    save,
)

NIGHT: Mapping[str, Any] = {
    "format": 1,
    "name": "night",
    "about": "What it is. And what for.",
    "game": "Catcher",
    "schedule": "conflict",
    "phase_steps": [200, 100, 300],
    "context": "params",
    "memory": 0.25,
    "settings": {"hidden": [8], "learning_rate": 3e-4, "learning_starts": 32},
}


def changed(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in {**NIGHT, **changes}.items() if v is not None}


def night(**changes: Any) -> Scenario:
    return Scenario.from_dict(changed(**changes))


def write(folder: Path, **changes: Any) -> Path:
    file = folder / f"{changes.get('name', 'night')}.toml"
    file.write_text(tomli_w.dumps(changed(**changes)), "utf-8")
    return file


@pytest.mark.parametrize("name", names())
def test_shipped_scenarios_make_sense(name: str) -> None:
    scenario = find(name)
    assert scenario == load(SHIPPED / f"{name}.toml")
    assert scenario.name == scenario.schedule.name == name
    assert scenario.about.endswith(".")
    assert not scenario.is_plain
    named: dict[str, Any] = {}
    for phase in scenario.schedule.phases:  # those of one name are one that comes back
        is_as = (phase.params, phase.until)
        assert named.setdefault(phase.name, is_as) == is_as, phase.name
    if scenario.is_of_others:
        return  # what it names can be made: test_other_games.py
    learner = scenario.learner()
    if scenario.memory is not None:
        assert learner.buffer_size == round(scenario.memory * scenario.schedule.total_steps)
    # A run of it can be built, and those of all its experts.
    phases = range(min(3, len(scenario.schedule)))
    labelled = scenario.make_game().rules.labelled
    for schedule in (scenario.schedule, *map(scenario.schedule.single, phases)):
        RunSpec(
            game=scenario.game,
            schedule=schedule,
            settings=learner,
            context=scenario.context,
            options=scenario.options,
            scenario=scenario,
            evaluation=EvaluationSettings(episodes=1 if labelled else 2),
        ).check_evaluation()


def params(scenario: Scenario) -> list[dict[str, float]]:
    return [phase.params for phase in scenario.schedule.phases]


@pytest.mark.parametrize("game", ["flappy-bird", "catcher"])
def test_forms_of_conflict_have_its_phases(game: str) -> None:
    conflict = find(f"{game}-conflict")
    in_game = make_game(conflict.game)
    named = {phase.name: dict(phase.params) for phase in conflict.schedule.phases}
    # Gaps are wide in all of them, so that each is mastered.
    gaps = {params.pop("gap", None) for params in named.values()}
    assert gaps == {150.0 if game == "flappy-bird" else None}
    assert named == in_game.conflict
    # In an order that overwrites: what comes last contradicts what came first.
    first, last = conflict.schedule.phases[0].params, conflict.schedule.phases[-1].params
    assert any(first[name] * last[name] < 0 for name in first) or game != "catcher"
    assert len({phase.steps for phase in conflict.schedule.phases}) == 1
    assert params(find(f"{game}-recurring")) == 2 * params(conflict)
    gradual = find(f"{game}-gradual").schedule
    rests = [phase.params for phase in gradual.phases if phase.until is None]
    assert sorted(map(str, rests)) == sorted(map(str, params(conflict)))
    # It drifts all the way, but where gravity turns over: that is the one jump.
    jumps = [
        (before.params_at(1.0), after.params_at(0.0))
        for before, after in pairwise(gradual.phases)
        if before.params_at(1.0) != after.params_at(0.0)
    ]
    turned = [
        {name: value if name == "gap" else -value for name, value in before.items()}
        for before, _ in jumps
    ]
    assert turned == [after for _, after in jumps]
    assert len(jumps) == len(gradual.boundaries) == (1 if game == "flappy-bird" else 0)
    assert find(f"{game}-curriculum").schedule.fingerprint == shipped("shrink", in_game).fingerprint


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", [name for name in names() if "gradual" in name])
def test_halfway_of_a_drift_an_oracle_solves_the_game(name: str) -> None:
    """All other phases are those of shipped schedules, whose tests let the oracle play them."""
    scenario = find(name)
    evaluation = EvaluationSettings(episodes=3, max_steps=600)
    protocol = Protocol(scenario.game, IDS[scenario.game], scenario.schedule, evaluation)
    possible = score_range(protocol)
    assert possible is not None
    for phase, highest in zip(scenario.schedule.distinct, possible.highest, strict=True):
        played = measure(scenario.game, phase.params, max_steps=600, episodes=3, making={})
        assert played.outcomes["oracle"]["score"].mean >= highest.mean() - 1 > 5, phase.name


contents = st.fixed_dictionaries(
    {
        "name": st.text("abcXYZ019.+-", max_size=8).map(lambda text: f"n{text}"),
        "about": st.text(max_size=20),
        "schedule": st.sampled_from(["conflict", "shrink", "cycle", "drift"]),
        "phase_steps": st.integers(500, 9_999),
        "context": st.sampled_from(CONTEXTS),
        "memory": st.none() | st.floats(0.1, 1),
        "settings": st.fixed_dictionaries(
            {},
            optional={
                "learning_rate": st.floats(1e-6, 1),
                "hidden": st.lists(st.integers(1, 9), max_size=3),
                "double_q": st.booleans(),
                "epsilon": st.sampled_from(["global", "per_phase", "constant"]),
            },
        ),
    }
).filter(lambda one: (one["context"], one["settings"].get("epsilon")) != ("inferred", "per_phase"))


@given(contents)
def test_a_scenario_survives_files(content: dict[str, Any]) -> None:
    scenario = night(**content)
    assert Scenario.from_dict(json.loads(json.dumps(scenario.to_dict()))) == scenario
    assert Scenario.from_dict(scenarios.tomllib.loads(dumps(scenario))) == scenario


@pytest.mark.parametrize("lost", ["about", "context", "memory", "settings"])
def test_what_a_file_lost_would_be_found_out(lost: str) -> None:
    data = night().to_dict()
    del data[lost]
    assert Scenario.from_dict(data) != night()


def test_a_file_is_written_once_and_read(tmp_path: Path) -> None:
    save(night(), tmp_path / "one.toml")
    assert load(tmp_path / "one.toml") == night()
    with pytest.raises(FileExistsError):
        save(night(), tmp_path / "one.toml")


def test_phases_may_have_unequal_lengths() -> None:
    assert [phase.steps for phase in night().schedule.phases] == [200, 100, 300]
    assert {phase.steps for phase in night(phase_steps=70).schedule.phases} == {70}
    assert night(phase_steps=None).schedule.total_steps == 150_000


def test_a_schedule_is_a_name_a_file_beside_it_or_a_table(tmp_path: Path) -> None:
    drift = shipped("drift", make_game("Catcher")).with_steps(90)
    save_schedule(drift, tmp_path / "mine.json")
    by_file = load(write(tmp_path, schedule="mine.json", phase_steps=None))
    table = {"phases": drift.to_dict()["phases"]}
    by_table = night(schedule=table, phase_steps=None)
    assert by_file == by_table
    assert by_file.schedule == replace(drift, name="night")
    # A table that has a name keeps it.
    assert night(schedule=drift.to_dict(), phase_steps=None).schedule == drift


def test_the_memory_is_a_share_of_all_steps() -> None:
    assert night(memory=0.25).learner().buffer_size == 150
    assert night(memory=1).learner().buffer_size == 600
    assert night(memory=None).learner().buffer_size == DQNSettings().buffer_size
    # Of the whole, for an expert of one phase too: it is a property of the learner.
    assert night(memory=0.0834).learner().buffer_size == 50


def test_what_was_set_on_purpose_stays() -> None:
    chosen = DQNSettings(learning_rate=0.01, buffer_size=77, gamma=0.5)
    assert night().learner(chosen) == replace(chosen, hidden=(8,), learning_starts=32)
    expected = DQNSettings(hidden=(8,), learning_rate=3e-4, learning_starts=32, buffer_size=150)
    assert night().learner() == expected
    # And is refused where it would not, because it looks as if nothing was chosen.
    with pytest.raises(ValueError, match=r"learning_rate = 0.00125 is the default, which gives"):
        night().check_given(["learning_rate"], DQNSettings())
    with pytest.raises(ValueError, match=r"buffer_size = 50000 is .*\(memory = 0.25\)"):
        night().check_given(["buffer_size"], DQNSettings())
    night().check_given(["learning_rate", "gamma"], chosen)


def test_only_a_method_with_an_optimiser_of_its_own_has_a_step_size_of_its_own() -> None:
    scenario = night()

    def of(name: str) -> DQNSettings:
        method = METHODS[name]
        return settings_of(method, scenario.learner(None, method), scenario.schedule)

    assert of("mer").learning_rate == of("finetune").learning_rate == 3e-4
    faithful = of("mer-faithful")
    own = METHODS["mer-faithful"].settings
    assert (faithful.optimizer, faithful.learning_rate) == ("sgd", own["learning_rate"])
    assert faithful.hidden == (8,)
    assert of("joint").buffer_size > scenario.schedule.total_steps


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"format": 2}, "a scenario says format = 1; this says 2"),
    ({"format": None}, "this says None"),
    ({"name": None}, "a scenario lacks 'name'"),
    ({"name": "a b"}, "scenario 'a b' must have a name of letters"),
    ({"name": 3}, "name = 3 of a scenario must be text"),
    ({"game": None}, "scenario 'night' lacks 'game'"),
    ({"game": "Cacher"}, "scenario 'night': unknown game 'Cacher': did you mean 'Catcher'"),
    ({"shedule": "x"}, "unknown key of a scenario 'shedule': did you mean 'schedule'"),
    ({"schedule": None}, "scenario 'night': it lacks 'schedule'"),
    ({"schedule": 3}, "scenario 'night': schedule = 3 must be a name, a file, or a table"),
    ({"schedule": "conflct"}, "unknown schedule 'conflct': did you mean 'conflict'"),
    ({"schedule": {"phases": 3}}, "phases of a schedule must be a list of tables, not 3"),
    ({"schedule": {}}, "this says None, so it is no schedule"),
    (
        {"schedule": {"phases": [{"steps": 300, "params": {"gap": 90.0}}]}, "phase_steps": None},
        "scenario 'night': phase 'phase 0' of schedule 'night': unknown parameter 'gap'",
    ),
    (
        {"schedule": {"phases": [{"steps": 300, "params": {"push": 9e9}}]}, "phase_steps": None},
        "scenario 'night': phase 'phase 0' of schedule 'night': push = 9",
    ),
    ({"phase_steps": [200, 100]}, "has 3 phases, and steps = [200, 100] are 2"),
    ({"phase_steps": 0}, "steps = 0 must be a whole number, at least 1"),
    ({"phase_steps": [1, 2, 2.5]}, "steps = 2.5 must be a whole number, at least 1"),
    ({"phase_steps": "12"}, "phases, and steps = '12' are"),
    ({"context": "hiden"}, "scenario 'night': unknown context 'hiden': did you mean 'hidden'"),
    (
        {"context": "params", "options": {"observation": "pixels"}},
        "scenario 'night': context = 'params' appends numbers to features",
    ),
    (
        {"context": "hidden", "options": {"observation": "pixels", "channels": "last"}},
        "scenario 'night': channels = 'last': pictures would be turned by a wrapper",
    ),
    (
        {"context": "hidden", "settings": {"inputs": "per_phase"}},
        "scenario 'night': inputs = 'per_phase' must be told the phase",
    ),
    (
        {"context": "params", "settings": {"task_window": 50}},
        "scenario 'night': task_window = 50 says how a task is inferred",
    ),
    ({"about": 3}, "scenario 'night': about = 3 must be text"),
    ({"memory": 0.0}, "scenario 'night': memory = 0.0 must be above 0 and at most 1"),
    ({"memory": 1.5}, "scenario 'night': memory = 1.5 must be above 0 and at most 1"),
    ({"memory": "all"}, "memory = 'all' must be a number, above 0 and at most 1"),
    (
        {"memory": 0.05},
        "scenario 'night': memory = 0.05 of 600 steps holds 30 transitions, fewer than batch_size "
        "= 32",
    ),
    ({"settings": 3}, "scenario 'night': settings = 3 must be a table"),
    ({"settings": {"gama": 1.0}}, "unknown setting 'gama': did you mean 'gamma'"),
    ({"settings": {"gamma": 2}}, "scenario 'night': gamma = 2 must be from 0 to 1"),
    ({"settings": {"double_q": "no"}}, "double_q = 'no' must be True or False"),
    ({"settings": {"buffer_size": 60}}, "memory = 0.25 and buffer_size = 60 both say what replay"),
    ({"memory": None, "settings": {"buffer_size": 9}}, "buffer_size = 9 is smaller than batch"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=lambda value: str(value)[:90])
def test_mistakes_are_named_with_the_file(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "night.toml"
    file.write_text(tomli_w.dumps(changed(**changes)), "utf-8")
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        load(file)
    assert str(refused.value).startswith(f"{file}: ")


@pytest.mark.parametrize("content", [b"name = ", b"name = '\xff'"])
def test_files_that_are_no_toml_are_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.toml is not readable as TOML"):
        find(str(tmp_path / "x.toml"))


def test_a_batch_of_the_user_must_fit_into_the_memory_too() -> None:
    with pytest.raises(ValueError, match=r"holds 150 transitions, fewer than batch_size = 256"):
        night().learner(DQNSettings(batch_size=256))


def test_a_scenario_that_nobody_knows_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown scenario 'catcher-conflic': did you mean 'catch"):
        find("catcher-conflic")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find("nowhere.toml")
    with pytest.raises(ValueError, match="a scenario is a name, a file or a table, not 3"):
        as_scenario(3, Path())  # type: ignore[arg-type]


def test_a_folder_of_ones_own_adds_its_scenarios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped_names = names()
    file = write(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert names() == (*shipped_names, "night")
    assert find("night") == night() == find(str(file))
    assert as_scenario("night", Path()) == as_scenario("night.toml", tmp_path) == night()
    (tmp_path / "day.toml").write_text(file.read_text())
    with pytest.raises(ValueError, match=r"day\.toml holds scenario 'night': give both the same"):
        find("day")
    write(tmp_path, name="catcher-conflict")
    with pytest.raises(ValueError, match="scenario 'catcher-conflict' is there twice"):
        find("night")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"CONTINUAL_ARCADE_SCENARIOS names .*nowhere, and it is"):
        names()


def test_a_run_that_could_not_be_resumed_is_refused_before_it_begins(tmp_path: Path) -> None:
    """Its environments would lie in a wrapper of Stable-Baselines3 that has no state."""
    seen = {"observation": "pixels", "screen_size": 21, "channels": "last"}
    schedule = shipped("conflict", make_game("Catcher", **seen)).with_steps(2_000)
    folder = RunFolder.new(tmp_path, "Catcher", "conflict", "finetune", 0)
    with pytest.raises(ValueError, match="could not be resumed; leave it out"):
        Training.prepare(RunSpec(game="Catcher", schedule=schedule, options=seen), folder)
    assert list(tmp_path.iterdir()) == []


def spec(scenario: Scenario, **changes: Any) -> RunSpec:
    arguments = {
        "game": scenario.game,
        "schedule": scenario.schedule,
        "settings": scenario.learner(),
        "context": scenario.context,
        "scenario": scenario,
    }
    return RunSpec(**{**arguments, **changes})


def test_a_run_says_its_scenario_which_decides_about_nothing() -> None:
    run = spec(night())
    config = json.loads(json.dumps(run.to_config()))
    assert config["scenario"]["name"] == "night"
    assert RunSpec.from_config(config) == run
    without = replace(run, scenario=None)
    assert without.protocol.key == run.protocol.key
    assert without.identity == run.identity
    assert "scenario" not in without.to_config()
    assert RunSpec.from_config(without.to_config()) == without
    assert runs.Comparison(run.protocol, []).title == "Catcher, night"
    assert spec(night(), schedule=night().schedule.single(2)).schedule.total_steps == 300


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": "hidden"}, "context = 'hidden' is not that of scenario 'night'"),
        ({"game": "FlappyBird"}, "game = 'FlappyBird' is not that of scenario 'night'"),
        ({"schedule": night().schedule.with_steps(99)}, "is not that of scenario 'night'"),
    ],
)
def test_a_run_of_something_else_does_not_bear_its_name(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        spec(night(), **changes)


def test_options_of_a_game_go_with_its_scenario(tmp_path: Path) -> None:
    """Catcher with one life: in training, in evaluation, in the file, and on the way back."""
    data = {
        "settings": SMALL["settings"],
        "name": "one-life",
        "game": "Catcher",
        "schedule": "conflict",
        "phase_steps": 60,
        "context": "hidden",
        "options": {"lives": 1},
    }
    scenario = Scenario.from_dict({"format": 1, **data})
    path = tmp_path / "one-life.toml"
    save(scenario, path)
    assert load(path) == scenario
    assert load(path).options == {"lives": 1}
    spec = RunSpec(
        game="Catcher",
        schedule=scenario.schedule,
        settings=scenario.learner(),
        options=scenario.options,
        scenario=scenario,
    )
    assert RunSpec.from_config(spec.to_config()).options == {"lives": 1}
    env: Any = spec.build().get_env()
    assert env.env.game.constants["lives_at_start"] == 1
    assert spec.protocol.make_evaluator().env.game.constants["lives_at_start"] == 1
    with pytest.raises(ValueError, match=r"options = '\{\}' is not that of scenario 'one-life'"):
        replace(spec, options={})
    with pytest.raises(ValueError, match=r"scenario 'one-life': .*'lifes'"):
        Scenario.from_dict({"format": 1, **data, "options": {"lifes": 1}})
    with pytest.raises(ValueError, match="scenario 'one-life': lives = 0"):
        Scenario.from_dict({"format": 1, **data, "options": {"lives": 0}})
