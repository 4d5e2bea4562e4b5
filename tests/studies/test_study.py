"""Study files: what is written is read, and what makes no sense is refused by name."""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from small_studies import SCENARIO, SMALL, changed, small, write

from continual_arcade.agents import METHODS, DQNSettings
from continual_arcade.envs import make_game, shipped
from continual_arcade.evaluation import EvaluationSettings
from continual_arcade.studies.grid import cells
from continual_arcade.studies.scenario import Scenario
from continual_arcade.studies.study import (
    REFERENCES,
    SHIPPED,
    Entry,
    Study,
    differences,
    find,
    load,
    read,
)
from continual_arcade.studies.tuning import load as load_tuning

SCHEDULES = ("conflict", "shrink", "drift", "cycle")
NAMES = st.text("abcXYZ019.+-", min_size=1, max_size=8).map(lambda text: f"n{text}")


@st.composite
def studies(draw: st.DrawFn) -> Study:
    kinds = st.tuples(st.sampled_from(["FlappyBird", "Catcher"]), st.sampled_from(SCHEDULES))
    scenarios = tuple(
        Scenario(
            f"{game}-{schedule}",
            game,
            shipped(schedule, make_game(game)).with_steps(draw(st.integers(40, 999))),
        )
        for game, schedule in draw(st.lists(kinds, min_size=1, max_size=3, unique=True))
    )
    untold = [name for name, one in METHODS.items() if not any(p.told for p in one.make_parts())]
    presets = st.sampled_from([name for name in untold if name not in REFERENCES])
    settings = st.builds(
        DQNSettings,
        learning_starts=st.just(0),
        learning_rate=st.floats(1e-6, 1),
        hidden=st.lists(st.integers(1, 9), max_size=3).map(tuple),
        gamma=st.floats(0, 1),
        double_q=st.booleans(),
    )
    names = st.lists(st.sampled_from([one.name for one in scenarios]), unique=True)
    methods = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    # The first is trained in all of them, so that none is left without a method.
    only = [(), *(tuple(draw(names)) for _ in methods[1:])]
    return Study(
        name=draw(NAMES),
        about=draw(st.text(max_size=20)),
        scenarios=scenarios,
        entries=tuple(
            Entry(replace(METHODS[draw(presets)], name=name), draw(settings), its)
            for name, its in zip(methods, only, strict=True)
        ),
        seeds=tuple(draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True))),
        evaluation=draw(
            st.builds(EvaluationSettings, every=st.integers(0, 99), episodes=st.integers(1, 99))
        ),
        save_every=draw(st.integers(0, 10**6)),
        probes=draw(st.booleans()),
        references=tuple(draw(st.lists(st.sampled_from([*REFERENCES]), unique=True))),
        shared=draw(settings),
    )


@settings(max_examples=40)
@given(studies())
def test_a_study_survives_json(study: Study) -> None:
    assert Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study


@settings(max_examples=40)
@given(studies(), studies())
def test_differences_are_empty_for_equal_studies_alone(one: Study, other: Study) -> None:
    assert not list(differences(one.to_dict(), one.to_dict()))
    assert bool(list(differences(one.to_dict(), other.to_dict()))) == (one != other)


def without_lists(before: Any, now: Any) -> list[str]:
    """A wrong comparison: it does not look into lists."""
    if isinstance(before, Mapping):
        return [line for key in before for line in without_lists(before[key], now[key])]
    return [] if isinstance(before, list | tuple) or before == now else [f"{before} {now}"]


def change(study: Study, kind: str) -> Study:
    scenario = study.scenarios[0]
    *phases, last = scenario.schedule.phases
    longer = replace(scenario.schedule, phases=(*phases, replace(last, steps=last.steps + 1)))
    entry = study.entries[0]
    faster = replace(entry, settings=replace(entry.settings, n_steps=entry.settings.n_steps + 1))
    changes: dict[str, Study] = {
        "phases[": replace(
            study, scenarios=(replace(scenario, schedule=longer), *study.scenarios[1:])
        ),
        "n_steps": replace(study, entries=(faster, *study.entries[1:])),
        "seeds": replace(study, seeds=(*study.seeds, max(study.seeds) - 1 or 7, 2**32)),
        "episodes": replace(study, evaluation=replace(study.evaluation, episodes=100)),
        "save_every": replace(study, save_every=study.save_every + 1),
    }
    return changes[kind]


@settings(max_examples=40)
@given(studies(), st.sampled_from(["phases[", "n_steps", "seeds", "episodes", "save_every"]))
def test_differences_name_what_was_changed(study: Study, kind: str) -> None:
    if kind == "seeds":
        other = replace(study, seeds=(*study.seeds, 2**32))
    else:
        other = change(replace(study, seeds=study.seeds[:1]), kind)
        study = replace(study, seeds=study.seeds[:1])
    (line,) = differences(study.to_dict(), other.to_dict())
    assert kind in line
    assert " before, " in line


def test_a_comparison_that_does_not_look_into_lists_would_be_found_out(tmp_path: Path) -> None:
    study = small(tmp_path)
    other = change(study, "phases[")
    assert list(differences(study.to_dict(), other.to_dict())) == [
        "worlds.FlappyBird-conflict.schedule.phases[2].steps: 80 before, 81 now"
    ]
    assert not without_lists(study.to_dict(), other.to_dict())


TWO = {"games": ["FlappyBird", "Catcher"]}
BIRD, CATCHER = "FlappyBird-conflict", "Catcher-conflict"


def test_a_method_may_have_other_settings_in_another_scenario(tmp_path: Path) -> None:
    slow, fast = {"learning_rate": 1e-4}, {"learning_rate": 1e-3}
    study = small(
        tmp_path,
        **TWO,
        methods={
            "slow": {"name": "finetune", "scenarios": [BIRD], "settings": slow},
            "fast": {"name": "finetune", "scenarios": [CATCHER], "settings": fast},
            "l2": {},
        },
    )
    assert Study.from_dict(study.to_dict()) == study
    rates = {cell.name: cell.make().settings.learning_rate for cell in cells(study)}
    assert rates[f"{BIRD}__finetune__0"] == 1e-4
    assert rates[f"{CATCHER}__finetune__0"] == 1e-3
    assert len(rates) == 2 * (2 + 2)


def test_what_a_scenario_is_evaluated_by_does_not_depend_on_methods_of_another(
    tmp_path: Path,
) -> None:
    uses = [{"use": "conflict", "name": "long", "phase_steps": 999}, {"use": "conflict"}]
    slow = {"learning_starts": 500}  # nothing would be learnt in the shorter one
    study = small(
        tmp_path,
        schedules=uses,
        methods={"ewc": {"scenarios": ["FlappyBird-long"], "settings": slow}, "l2": {}},
    )
    study.check()
    long, short = study.scenarios
    assert study.protocol(long).schedule == long.schedule
    assert study.protocol(short).schedule == short.schedule
    with pytest.raises(ValueError, match="nothing would be learnt"):
        study.spec(short, study.entries[0], 0)


def test_references_without_probes_are_not_those_with_them(tmp_path: Path) -> None:
    """Or a card, which needs them, would find runs that have none."""
    studies = [
        small(tmp_path, references=["experts", "joint"], probes=probes) for probes in (True, False)
    ]
    shared = [{cell.name for cell in cells(study) if cell.is_shared} for study in studies]
    assert len(shared[0]) == len(shared[1]) == 2 * (3 + 1)
    assert not shared[0] & shared[1]


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"l2": {"scenarios": ["Catcher-shrink"]}}, "unknown scenario of method 'l2' in this stud"),
        ({"l2": {"scenarios": [BIRD, BIRD]}}, f"{BIRD!r} is there twice: leave one out"),
        ({"l2": {"scenarios": [BIRD]}}, f"no method of study 'small' is trained in {CATCHER!r}"),
        ({"l2": {}, "mine": {"name": "l2", "scenarios": [BIRD]}}, f"method of {BIRD} 'l2' is ther"),
        ({"l2": {"scenarios": BIRD}}, "must be a list"),
    ],
)
def test_methods_that_name_scenarios_wrongly_are_refused(
    methods: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        small(tmp_path, **TWO, methods=methods)


@settings(max_examples=40)
@given(studies())
def test_every_run_has_a_name_of_its_own(study: Study) -> None:
    found = list(cells(study))
    assert len({cell.name for cell in found}) == len(found)
    assert all(re.fullmatch(r"[\w.+-]+", cell.name) for cell in found)
    names = {(cell.scenario, cell.method, cell.seed) for cell in found if cell.kind == "method"}
    assert names == {
        (scenario.name, entry.method.name, seed)
        for scenario in study.scenarios
        for entry in study.entries
        if not entry.scenarios or scenario.name in entry.scenarios
        for seed in study.seeds
    }


def test_experts_of_worlds_that_share_a_phase_are_lived_once(tmp_path: Path) -> None:
    study = small(
        tmp_path,
        schedules=[{"use": "shrink", "name": "one"}, {"use": "grow", "name": "two"}],
        references=["experts"],
        seeds="5",
    )
    phases = [
        sorted(phase.params.items())
        for scenario in study.scenarios
        for phase in scenario.schedule.distinct
    ]
    different = {json.dumps(phase) for phase in phases}
    assert len(different) < len(phases)
    experts = [cell for cell in cells(study) if cell.kind == "expert"]
    names = {
        json.dumps(sorted(cell.make().schedule.distinct[0].params.items())) for cell in experts
    }
    assert len(experts) == len(different) == len(names)


def test_references_live_as_the_study_does_and_by_its_shared_settings(tmp_path: Path) -> None:
    study = small(
        tmp_path,
        references=["experts", "joint", "from-scratch"],
        methods={"finetune": {"settings": {"n_steps": 7}}},
        seeds="3",
    )
    found = {(cell.kind, cell.method): cell.make() for cell in cells(study)}
    assert set(found) == {
        ("method", "finetune"),
        ("reference", "joint"),
        ("reference", "from-scratch"),
        ("expert", "expert"),
    }
    for (kind, _), spec in found.items():
        assert spec.settings.n_steps == (7 if kind == "method" else 3)
        assert spec.seed == 3
        assert spec.evaluation == study.evaluation
    assert {spec.schedule.total_steps for spec in found.values()} == {240, 80}


def few(study: Study, scenario: Scenario) -> tuple[Entry, ...]:
    """Some of what is trained in a scenario: each method is in one, or in all that it names."""
    scenarios, methods = len(study.scenarios), len(study.methods)
    place = study.scenarios.index(scenario)
    return tuple(
        entry
        for number, entry in enumerate(study.methods)
        if scenario.name in entry.scenarios
        or (not entry.scenarios and number % scenarios == place % methods)
    )


@pytest.mark.filterwarnings("ignore:agem. Adam turns")  # as a paper has it, on purpose
@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.toml")), ids=lambda file: file.stem)
@pytest.mark.parametrize(
    "trained_in",
    [few, pytest.param(Study.trained_in, marks=pytest.mark.slow)],
    ids=["few", "every"],
)
def test_shipped_studies_make_sense(
    trained_in: Callable[[Study, Scenario], tuple[Entry, ...]],
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To make an agent for each method in each scenario takes half a minute for the largest."""
    study = load_tuning(file).study if "trials" in tomllib.loads(file.read_text()) else load(file)
    with monkeypatch.context() as patched:
        patched.setattr(Study, "trained_in", trained_in)
        checked = [each for one in study.scenarios for each in study.trained_in(one)]
        assert {entry.label for entry in checked} == {entry.label for entry in study.methods}
        study.check()
    assert study.about
    assert Study.from_dict(study.to_dict()) == study
    assert find(file.stem) == file


def test_a_folder_of_the_name_of_a_shipped_study_is_not_taken_for_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quick").mkdir()
    assert find("quick") == SHIPPED / "quick.toml"
    with pytest.raises(FileNotFoundError, match="did you mean 'quick'"):
        find("quik")


def test_methods_take_what_they_do_not_say_from_the_study(tmp_path: Path) -> None:
    study = small(
        tmp_path,
        settings={"learning_rate": 0.01},
        methods={
            "finetune": {},
            "ewc-strong": {"preset": "finetune", "parts": ["ewc:lam=100"]},
            "mixed": {"preset": "finetune", "replay": "mix", "settings": {"hidden": [4, 4]}},
        },
    )
    one, ewc, mixed = study.entries
    assert (one.method.name, ewc.method.name, mixed.method.name) == (
        *("finetune", "ewc-strong", "mixed"),
    )
    assert ewc.method.parts == ("ewc:lam=100",)
    assert mixed.method.replay == "mix"
    assert ewc.settings == study.shared == one.settings
    assert mixed.settings == replace(study.shared, hidden=(4, 4))


def test_schedules_may_be_files_beside_the_study_and_for_one_game(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'format = 1\nname = "mine"\n[[phases]]\nname = "wide"\nsteps = 90\nparams = {gap = 99}\n'
    )
    study = small(
        tmp_path,
        phase_steps=None,
        games=["FlappyBird", "Catcher"],
        schedules=[
            {"use": "mine.toml", "games": ["FlappyBird"]},
            {"use": "conflict", "phase_steps": 70, "name": "short"},
        ],
    )
    assert {scenario.name: scenario.schedule.total_steps for scenario in study.scenarios} == {
        "FlappyBird-mine": 90,
        "FlappyBird-short": 210,
        "Catcher-short": 210,
    }


NIGHT: dict[str, Any] = {
    "name": "night",
    "game": "Catcher",
    "schedule": "conflict",
    "phase_steps": [80, 90, 100],
    "context": "params",
    "memory": 0.5,
    "settings": {"learning_rate": 3e-4, "gamma": 0.9},
}
ALONE: dict[str, Any] = {"games": None, "schedules": None, "phase_steps": None}
"""Changes that leave a study nothing to train in but its scenarios."""
UNSET: dict[str, Any] = {"num_envs": 4, "hidden": [8], "batch_size": 8, "learning_starts": 40}


def test_scenarios_stand_beside_schedules_or_alone(tmp_path: Path) -> None:
    (tmp_path / "day.toml").write_text(tomli_w.dumps({**NIGHT, "format": 1, "name": "day"}))
    named = [NIGHT, "day.toml", "catcher-conflict"]
    study = small(tmp_path, scenarios=named)
    assert [scenario.name for scenario in study.scenarios] == [
        *("night", "day", "catcher-conflict", "FlappyBird-conflict")
    ]
    alone = small(tmp_path, scenarios=named, **ALONE)
    assert alone.scenarios == study.scenarios[:3]
    assert [scenario.is_plain for scenario in study.scenarios] == [False, False, False, True]
    assert Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study
    night, plain = (study.to_dict()["worlds"][name] for name in ("night", "FlappyBird-conflict"))
    assert plain.keys() == {"game", "schedule"}  # as 0.1.0 has it
    assert night.keys() == {"game", "schedule", "context", "memory", "settings"}
    names = {cell.name for cell in cells(study)}
    assert {"night__finetune__0", "FlappyBird-conflict__finetune__1"} <= names


def test_the_learner_of_a_scenario_gives_way_to_the_study_and_to_methods(tmp_path: Path) -> None:
    study = small(
        tmp_path,
        scenarios=[NIGHT],
        **ALONE,
        settings={"buffer_size": 64, "learning_rate": 0.01},
        methods={"finetune": {}, "slow": {"preset": "mer", "settings": {"learning_rate": 0.001}}},
        references=["experts", "joint"],
        seeds="0",
    )
    study.check()
    found = {cell.method: cell.make() for cell in cells(study)}
    assert {name: spec.settings.learning_rate for name, spec in found.items()} == {
        "finetune": 0.01,
        "slow": 0.001,
        "joint": 0.01,
        "expert": 0.01,
    }
    for name, spec in found.items():
        assert spec.settings.gamma == 0.9
        assert spec.settings.hidden == (8,)
        assert spec.settings.buffer_size == (270 + 4 if name == "joint" else 64)
        assert spec.scenario == study.scenarios[0]
        assert spec.context == "params"


def test_experts_of_agents_that_explore_in_each_phase_explore_in_theirs(tmp_path: Path) -> None:
    """In a single phase there is no other, and each expert can be made."""
    study = small(tmp_path, settings={"epsilon": "per_phase"}, references=["experts"], seeds="0")
    specs = {cell.method: cell.make() for cell in cells(study)}
    assert specs["finetune"].settings.epsilon == "per_phase"
    assert specs["expert"].settings == specs["finetune"].settings
    agent = specs["expert"].build()
    agent.learn(8)
    # A tenth of the phase is over, and exploration falls in the first 15 % of it.
    assert agent.exploration_rate == pytest.approx(0.5 - 0.49 * 0.1 / 0.15)


def test_what_a_study_does_not_say_is_that_of_the_scenario(tmp_path: Path) -> None:
    changes = {**changed(scenarios=[NIGHT], **ALONE), "settings": UNSET}
    study = read(changes, tmp_path)
    spec = study.spec(study.scenarios[0], study.entries[0], 0)
    assert (spec.settings.learning_rate, spec.settings.buffer_size) == (3e-4, 135)


IN_SCENARIOS: list[tuple[dict[str, Any], str]] = [
    ({"scenarios": "night"}, "scenarios = 'night' of a study must be a list"),
    ({"scenarios": [3]}, "a scenario is a name, a file or a table, not 3"),
    ({"scenarios": ["catcher-conflct"]}, "unknown scenario 'catcher-conflct': did you mean"),
    ({"scenarios": [{**NIGHT, "memory": 2}]}, "scenario 'night': memory = 2 must be above 0"),
    ({"scenarios": [NIGHT, NIGHT]}, "'night' is there twice"),
    ({"scenarios": [NIGHT], "schedules": None}, "games = ['FlappyBird'] is for schedules, and"),
    (
        {"scenarios": [NIGHT], "settings": {"gamma": 0.99}},
        "gamma = 0.99 is the default, which gives way to that of scenario 'night' (0.9)",
    ),
    (
        {"scenarios": [NIGHT], "methods": {"ewc": {"settings": {"gamma": 0.99}}}},
        "method 'ewc': gamma = 0.99 is the default, which gives way",
    ),
]


@pytest.mark.parametrize(("changes", "message"), IN_SCENARIOS, ids=lambda value: str(value)[-60:])
def test_mistakes_in_scenarios_are_named_with_the_file(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    test_mistakes_are_named_with_the_file(changes, message, tmp_path)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    # Keys and types.
    ({"sedes": "0..3"}, "unknown key of a study 'sedes': did you mean 'seeds'"),
    ({"format": 2}, "format = 1; this says 2"),
    ({"format": None}, "this says None"),
    ({"name": None}, "a study lacks 'name'"),
    ({"name": 3}, "name = 3 of a study must be text"),
    ({"methods": None}, "a study lacks 'methods'"),
    ({"methods": 3}, "methods = 3 of a study must be a table"),
    ({"seeds": None}, "a study lacks 'seeds'"),
    ({"seeds": 3}, "seeds = 3 of a study must be text"),
    ({"schedules": "conflict"}, "schedules = 'conflict' of a study must be a list"),
    ({"schedules": [3]}, "a schedule is a name, a file or a table, not 3"),
    ({"schedules": [{"name": "x"}]}, "a schedule lacks 'use'"),
    ({"schedules": [{"use": "shrink", "step": 9}]}, "unknown key of a schedule 'step'"),
    ({"games": [["FlappyBird"]]}, "games of a study must be a list of texts"),
    ({"references": [{}]}, "references of a study must be a list of texts"),
    ({"settings": 3}, "settings must be a table, not 3"),
    ({"settings": {"batch_size": 8.5}}, "batch_size = 8.5 of settings must be a whole number"),
    ({"settings": {"batch_size": True}}, "batch_size = True of settings must be a whole number"),
    ({"settings": {"double_q": 1}}, "double_q = 1 of settings must be true or false"),
    ({"settings": {"hidden": 8}}, "hidden = 8 of settings must be a list"),
    ({"settings": {"hidden": ["8"]}}, "hidden = ['8'] of settings must be a list of whole numbers"),
    ({"settings": {"gama": 1.0}}, "unknown key of settings 'gama': did you mean 'gamma'"),
    ({"evaluation": {"episods": 2}}, "unknown key of evaluation 'episods': did you mean 'episodes"),
    ({"evaluation": {"every": 1.5}}, "every = 1.5 of evaluation must be a whole number"),
    ({"evaluation": 3}, "evaluation must be a table, not 3"),
    ({"methods": {"ewc": 3}}, "method 'ewc' must be a table, not 3: write ewc = {} at least"),
    ({"methods": {"ewc": {"part": []}}}, "unknown key of method 'ewc' 'part'"),
    ({"methods": {"ewc": {"parts": [3]}}}, "parts of method 'ewc' must be a list of texts"),
    # Names that are not known.
    ({"games": ["FlapyBird"]}, "unknown game 'FlapyBird': did you mean 'FlappyBird'"),
    ({"schedules": ["conflct"]}, "did you mean 'conflict'"),
    ({"schedules": [{"use": "shrink", "games": ["Catcher"]}]}, "unknown game of schedule 'shrink'"),
    ({"references": ["expert"]}, "unknown reference 'expert': did you mean 'experts'"),
    ({"methods": {"mine": {}}}, "one with a name of its own says preset = ..."),
    ({"methods": {"mine": {"preset": "ewcc"}}}, "unknown method 'ewcc': did you mean 'ewc'"),
    ({"methods": {"x": {"preset": "ewc", "parts": ["ewv"]}}}, "method 'x': unknown part 'ewv'"),
    ({"methods": {"x": {"preset": "ewc", "replay": "fif"}}}, "did you mean 'fifo'"),
    # What is there twice.
    ({"games": ["FlappyBird", "FlappyBird"]}, "game 'FlappyBird' is there twice"),
    ({"schedules": ["shrink", "shrink"]}, "schedule of a game 'FlappyBird-shrink' is there twice"),
    ({"seeds": "0,1,0"}, "0 is there twice"),
    ({"references": ["joint", "joint"]}, "reference 'joint' is there twice: leave one out"),
    ({"references": ["joint"], "methods": {"joint": {}}}, "joint is both a method and a reference"),
    # What there must be one of.
    ({"games": []}, "has no game with a schedule: name at least one"),
    ({"schedules": []}, "has no game with a schedule: name at least one"),
    ({"seeds": ""}, "names no seed"),
    # Names of folders.
    ({"name": ""}, "study '' must have a name of letters"),
    ({"name": "a/b"}, "study 'a/b' must have a name of letters"),
    ({"name": "a__b"}, "no two _ in a row"),
    ({"name": ".."}, "study '..' must begin with a letter or a digit"),
    ({"name": "-rf"}, "study '-rf' must begin with a letter or a digit"),
    ({"name": "n" * 101}, "at most 100 characters"),
    ({"name": "ä" * 51}, "at most 100 characters, of which those beyond ASCII count for several"),
    ({"name": "references"}, "would have the folder that all studies share"),
    ({"schedules": [{"use": "shrink", "name": "my phases"}]}, "'FlappyBird-my phases' must have"),
    ({"methods": {"a b": {"preset": "ewc"}}}, "method 'a b' must have a name of letters"),
    ({"methods": {"expert": {"preset": "ewc"}}}, "has the name of a reference"),
    # Budgets.
    ({"phase_steps": 0}, "phase_steps = 0 must be at least 1"),
    ({"phase_steps": -5}, "phase_steps = -5 must be at least 1"),
    ({"schedules": [{"use": "shrink", "phase_steps": 0}]}, "phase_steps = 0 must be at least 1"),
    ({"evaluation": {"episodes": 0}}, "evaluation.episodes = 0 must be at least 1"),
    ({"evaluation": {"every": -1}}, "evaluation.every = -1 must be at least 0"),
    ({"evaluation": {"max_steps": 0}}, "evaluation.max_steps = 0 must be at least 1"),
    (
        {"evaluation": {"at_end": 1, "spacing": 50}},
        "evaluation.spacing = 50 counts only with evaluation.at_end above 1",
    ),
    ({"settings": {"batch_size": 0}}, "batch_size = 0 must be"),
    ({"settings": {"buffer_size": 3}}, "buffer_size = 3 is smaller"),
    ({"settings": {"learning_rate": -1}}, "learning_rate = -1.0 must be above 0 and at most"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=lambda value: str(value)[:50])
def test_mistakes_are_named_with_the_file(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "study.toml", **changes)
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        load(file)
    assert str(refused.value).startswith(f"{file}: ")


def test_scenarios_that_could_be_taken_for_each_other_are_refused(tmp_path: Path) -> None:
    for name, schedule, memory in (("one", "conflict", 0.5), ("two", "shrink", 0.6)):
        settings = {k: v for k, v in SMALL["settings"].items() if k != "buffer_size"}
        one = {**SCENARIO, "name": name, "memory": memory, "settings": settings}
        (tmp_path / f"{name}.toml").write_text(tomli_w.dumps({**one, "schedule": schedule}))
        (tmp_path / f"{name}-more.toml").write_text(
            tomli_w.dumps({**one, "name": f"{name}-more", "memory": 0.9, "schedule": "conflict"})
        )
    alone = {**ALONE, "settings": None, "references": ["experts"]}
    apart = small(tmp_path, **alone, scenarios=["one.toml", "two.toml"])
    apart.check()
    with pytest.raises(ValueError, match="'one' and 'one-more' differ in their learner alone"):
        small(tmp_path, **alone, scenarios=["one.toml", "one-more.toml"]).check()


LATE: list[tuple[dict[str, Any], str]] = [
    (
        {"settings": {"learning_starts": 240}},
        "learning_starts = 240, but the schedule ends after 240",
    ),
    ({"save_every": -1}, "save_every = -1 must not be negative"),
    ({"phase_steps": 3, "settings": {"learning_starts": 1}}, "lasts 3 steps, but 4 environments"),
    (
        {"schedules": ["drift"], "methods": {"ewc": {}}},
        "ewc in FlappyBird-drift: part 'ewc' needs to be told where phases end",
    ),
    # An expert is trained in one phase alone, and must learn there.
    (
        {"settings": {"learning_starts": 100}, "references": ["experts"]},
        "expert of phase 'normal' in FlappyBird-conflict: learning_starts = 100, but the schedule",
    ),
]


@pytest.mark.parametrize(("changes", "message"), LATE, ids=lambda value: str(value)[:50])
def test_what_no_agent_can_live_is_said_before_anything_is_lived(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    study = small(tmp_path, **changes)
    with pytest.raises(ValueError, match=re.escape(message)):
        study.check()


def test_no_method_is_not_a_study() -> None:
    with pytest.raises(ValueError, match="study 'small' has no method: name at least one"):
        read({**SMALL, "methods": {}}, Path())


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"name = ", "not readable as TOML"), (b"name = '\xff'", "not readable as TOML")],
)
def test_files_that_are_no_toml_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        load(file)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data.pop("worlds"), "damaged: KeyError"),
        (lambda data: data.update(format=9), "format 9; this version reads format 1"),
        (lambda data: data.update(worlds=[]), "damaged: AttributeError"),
        (lambda data: data.update(seeds=[1, 1]), "seed 1 is there twice"),
        (lambda data: data["evaluation"].update(epi=1), "damaged: TypeError"),
        (lambda data: data["methods"]["finetune"]["method"].pop("parts"), "another version"),
    ],
)
def test_damaged_data_are_no_study(damage: Any, message: str, tmp_path: Path) -> None:
    data = json.loads(json.dumps(small(tmp_path).to_dict()))
    damage(data)
    with pytest.raises(ValueError, match=message):
        Study.from_dict(data)


def test_the_small_study_says_what_the_tests_think(tmp_path: Path) -> None:
    study = small(tmp_path)
    assert asdict(study.shared)["hidden"] == (8,)
    assert [scenario.schedule.total_steps for scenario in study.scenarios] == [240]
    assert changed(seeds="7")["seeds"] == "7"
