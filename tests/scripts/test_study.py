"""Studies from the command line: run, looked at, reported, grown, verified, tuned."""

import csv
import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w
from published import paths_under
from small_studies import SMALL, changed, everything, refused, run, tables, write

from continual_arcade.envs import make_game, shipped
from continual_arcade.evaluation.evaluator import MAX_STEPS
from continual_arcade.evaluation.power import detectable_difference, pairs_needed
from continual_arcade.evaluation.protocol import EvaluationSettings
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.scripts import study_commands
from continual_arcade.scripts.study_commands import _experts, results_of
from continual_arcade.studies import cards
from continual_arcade.studies import scenario as scenarios
from continual_arcade.studies.folder import StudyFolder
from continual_arcade.studies.interference import Interference
from continual_arcade.studies.run_spec import Training
from continual_arcade.studies.scenario import Scenario
from continual_arcade.studies.spread import MethodSpread, PairSpread, Spread

pytestmark = pytest.mark.usefixtures("undrawn")

WITH_REFERENCES: dict[str, Any] = {
    "references": ["experts", "joint", "from-scratch"],
    "methods": {"ewc": {}},
    # As the references that come with the suite were played, which forward transfer needs.
    "evaluation": {"every": 40, "max_steps": MAX_STEPS},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with all references, to its end."""
    root = tmp_path_factory.mktemp("study")
    file = write(root / "small.toml", **WITH_REFERENCES)
    said = run("run", file, "--out", root, "--jobs=1")
    assert "0 of 12 runs are finished" in said
    assert "all 12 runs are finished; to see their results:" in said
    assert f"study report {shlex.quote(str(root / 'small'))}" in said
    return root


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """The same study, to do with it what one likes."""
    subprocess.run(["cp", "-r", f"{root}/.", str(tmp_path)], check=True)
    return tmp_path


def test_every_run_is_what_training_alone_makes(root: Path, tmp_path: Path) -> None:
    folder = StudyFolder.open(root / "small")
    found = tables(root / "small")
    assert len(found) == 12
    for cell in folder.cells:
        if cell.seed:
            continue
        training = Training.prepare(cell.make(), RunFolder(tmp_path / cell.name))
        training.write({})
        training.train()
        assert training.folder.table.read_bytes() == found[cell.name], cell.name


def test_a_finished_study_is_left_as_it_is(root: Path) -> None:
    before = everything(root / "small" / "runs"), tables(root / "small")
    for command in (["run", root / "small.toml", "--out", root], ["resume", root / "small"]):
        said = run(*command, "--jobs=1")
        assert "12 of 12 runs are finished" in said
        assert "minutes of compute" not in said
    assert (everything(root / "small" / "runs"), tables(root / "small")) == before


def test_what_a_study_was_run_with_is_written_beside_it(root: Path) -> None:
    data = json.loads((root / "small" / "study.json").read_text())
    (made,) = data["made"]
    command = shlex.join(["run", str(root / "small.toml"), "--out", str(root), "--jobs=1"])
    assert made["command"] == f"python -m continual_arcade.scripts.study {command}"
    assert {"python", "versions", "git_commit", "machine", "date"} <= made.keys()
    config = RunFolder(root / "small" / "runs" / "FlappyBird-conflict__ewc__0").read_config()
    assert config["study"] == "small"
    assert config["versions"] == made["versions"]


def test_status_counts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    by_file, by_name = ([each, "--out", root] for each in (root / "small.toml", "small"))
    for arguments in ([root / "small"], by_file, by_name):
        said = run("status", *arguments)
        assert "small: 12 runs" in said
        # In, method, finished.
        cells = [re.split(r"\s*│\s*", line.strip("│ ")) for line in said.splitlines()]
        rows = {row[1]: row for row in cells if len(row) > 2}
        assert rows["ewc"][:3] == ["FlappyBird-conflict", "ewc", "2"]
        assert rows["expert"][:3] == ["FlappyBird-conflict", "expert", "6"]
        assert re.search(r"all\s+│\s+│\s+12 ", said)
    listed = run("status", root / "small", "--all")
    assert listed.count("finished  FlappyBird") == 12
    assert "unknown shipped study 'smal'" in refused("status", "smal", "--out", root)


def test_a_folder_without_a_study_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = refused("status", tmp_path / "empty")
    assert "is no study: it has no study.json; `study run` begins one" in message
    message = refused("resume", "quick", "--out", tmp_path)
    assert f"{tmp_path / 'quick'} is no study" in message
    assert "unknown shipped study" in refused("run", tmp_path / "none.toml")


# Reports.


def forward_transfer(page: Path) -> list[str]:
    """What the page says of it, for each method."""
    with (page.with_name(f"{page.stem}_files") / "metrics.csv").open(encoding="utf-8") as file:
        rows = {row.pop("metric"): row for row in csv.DictReader(file)}
    found = rows["forward-transfer@continual-world"]
    return [cell for name, cell in found.items() if not name.endswith((", low", ", high"))]


@pytest.mark.slow
def test_the_report_has_the_experts_as_baselines(root: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert f"the report is in {page}" in run("report", root / "small", "-o", page)
    assert "<h1>Study small</h1>" in page.read_text("utf-8")
    values = forward_transfer(page)
    assert len(values) == 3
    assert all(math.isfinite(float(value.split()[0])) for value in values)


@pytest.mark.slow
def test_the_report_waits_until_all_runs_are_finished(copy: Path) -> None:
    folder = StudyFolder.open(copy / "small")
    for cell in folder.cells:
        if cell.kind == "expert":
            (folder.place(cell) / "finished.json").unlink()
    message = refused("report", folder.path)
    assert "6 of 12 runs are not finished: `python -m continual_arcade.scripts.study res" in message
    assert not (folder.path / "report.html").exists()
    assert "the report is in" in run("report", folder.path, "--unfinished")
    # Without experts there is no number, and a report that forgot them would be found out.
    assert forward_transfer(folder.path / "report.html") == [""] * 3


@pytest.mark.parametrize("place", ["small/runs/FlappyBird-conflict__ewc__1", "references"])
def test_the_report_refuses_runs_that_were_changed_by_hand(place: str, copy: Path) -> None:
    path = copy / place
    if place == "references":
        path = next(path.glob("*__expert__1"))
    table = path / "evaluations.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))
    message = refused("report", copy / "small")
    assert f"{table} is not what it was when the run was finished: put it back" in message


# Published.


def test_what_is_published_can_be_run_by_anybody(root: Path, tmp_path: Path) -> None:
    said = run("publish", root / "small", "--to", tmp_path / "results", "--against", "ewc")
    assert f"the results are in {tmp_path / 'results'}" in said
    page = (tmp_path / "results" / "small.md").read_text("utf-8")
    assert "\n    python -m continual_arcade.scripts.study run small.toml\n" in page
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert names == {
        "small.md",
        "small.png",
        *(f"small-{kind}.csv" for kind in ("runs", "ranges", "methods", "differences")),
        "small-resources.csv",
    }
    taken = pd.read_csv(tmp_path / "results" / "small-resources.csv").set_index("method")
    assert taken.index.tolist() == ["ewc", "joint", "from-scratch"]
    assert (taken["method_bytes"] > 0).tolist() == [True, False, False]
    _, table = page.split("| method | 1,000 steps [ms] |")
    written = dict(re.findall(r"\| `([a-z-]+)` \| [0-9.,]+ \| ([0-9,]+) \|", table))
    assert written == {name: f"{count:,}" for name, count in taken["parameters"].items()}
    run("report", root / "small", "-o", tmp_path / "results" / "page.html")
    assert paths_under(tmp_path) == {}
    with (tmp_path / "results" / "page_files" / "runs.csv").open(encoding="utf-8") as file:
        commands = {row["command"] for row in csv.DictReader(file)}
    assert commands == {"python -m continual_arcade.scripts.study run small.toml"}


def test_it_is_published_where_runs_are_from(copy: Path, tmp_path: Path) -> None:
    for name, commit in (("0", "abc"), ("1", None)):
        path = copy / "small" / "runs" / f"FlappyBird-conflict__ewc__{name}" / "config.json"
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "git_commit": commit, "machine": f"vm {name}"}))
    run("publish", copy / "small", "--to", tmp_path / "results", "--against", "ewc")
    page = (tmp_path / "results" / "small.md").read_text("utf-8")
    assert re.search(r"at commits abc.* and from an installed package on vm 0, vm 1 and ", page)


def test_scenarios_that_share_a_phase_have_experts_of_their_own(tmp_path: Path) -> None:
    whole = shipped("conflict", make_game("FlappyBird")).with_steps(80)
    settings = {name: value for name, value in SMALL["settings"].items() if name != "buffer_size"}
    for name, phases in (("whole", whole.phases), ("half", whole.phases[:2])):
        schedule = replace(whole, name=name, phases=phases)
        one = Scenario(name, "FlappyBird", schedule, memory=0.5, settings=settings)
        (tmp_path / f"{name}.toml").write_text(tomli_w.dumps(one.to_dict()))
    study: dict[str, Any] = {
        "scenarios": ["whole.toml", "half.toml"],
        "seeds": "0",
        "references": ["experts"],
        **dict.fromkeys(("games", "schedules", "phase_steps", "settings")),
    }
    # Without a method that learns as the experts do nothing would tell whose they are.
    file = write(tmp_path / "small.toml", **study, methods={"ewc": {}})
    assert "nothing tells whose they are: let 'finetune'" in refused("run", file, "--dry-run")
    write(file, **study)
    run("run", file, "--out", tmp_path, "--jobs=1")
    found = results_of(StudyFolder(tmp_path / "small"))
    assert [len(experts) for _, _, experts in found] == [3, 2]
    for (comparison, _, experts), memory in zip(found, (120, 80), strict=True):
        learners = [*comparison.groups, *experts.values()]
        assert {group.settings["buffer_size"] for group in learners} == {memory}
    run("report", tmp_path / "small", "--film-seconds=0")
    run("publish", tmp_path / "small", "--to", tmp_path / "results", "--against", "finetune")
    # With those of the one alone, the other has none.
    folder = StudyFolder(tmp_path / "small")
    finished = [cell for cell in folder.cells if cell.scenario == "whole"]
    (left,) = _experts(folder, finished)
    assert left.make().schedule.phases[0].name == whole.phases[2].name


# More of it, and others.


def test_add_runs_what_is_new_and_nothing_else(copy: Path) -> None:
    before = tables(copy / "small")
    marks = {path: path.stat().st_ino for path in copy.rglob("finished.json")}
    more = {**WITH_REFERENCES, "seeds": "0..2", "methods": {"ewc": {}, "mer": {}}}
    file = write(copy / "small.toml", **more)
    assert "begun as another one" in refused("run", file, "--out", copy, "--jobs=1")
    said = run("add", file, "--out", copy, "--jobs=1")
    assert "seeds: [2]\nmethods: mer\n" in said
    # One more seed of six kinds of run, and three of the new method.
    assert "12 of 21 runs are finished" in said
    after = tables(copy / "small")
    assert len(after) == 21
    assert {name: after[name] for name in before} == before
    assert (
        marks.items() <= {path: path.stat().st_ino for path in copy.rglob("finished.json")}.items()
    )
    assert "nothing is new" in run("add", file, "--out", copy, "--jobs=1")
    assert "21 of 21" in run("run", file, "--out", copy, "--jobs=1")


def test_add_refuses_changes_and_what_was_not_begun(copy: Path, tmp_path: Path) -> None:
    before = everything(copy)
    file = write(tmp_path / "other" / "s.toml", **WITH_REFERENCES, settings={"n_steps": 1})
    message = refused("add", file, "--out", copy, "--jobs=1")
    assert "settings.n_steps: 3 before, 1 now" in message
    file = write(tmp_path / "other" / "s.toml", name="new")
    assert "is no study" in refused("add", file, "--out", copy, "--jobs=1")
    assert everything(copy).items() >= before.items()
    assert not (copy / "new").exists()


def test_a_study_that_was_changed_is_not_run_and_the_difference_is_shown(copy: Path) -> None:
    before = tables(copy / "small")
    file = write(copy / "small.toml", **WITH_REFERENCES, phase_steps=90)
    for extra in ([], ["--dry-run"]):
        message = refused("run", file, "--out", copy, "--jobs=1", *extra)
        assert "begun as another one" in message
        assert "worlds.FlappyBird-conflict.schedule.phases[1].steps: 80 before, 90 now" in message
        assert "another folder with --out" in message
    # Whoever names the file means what it says; the folder is what was begun.
    for command in ("resume", "status", "report", "verify"):
        assert "80 before, 90 now" in refused(command, file, "--out", copy)
    run("status", copy / "small")
    assert tables(copy / "small") == before


def test_other_versions_run_nothing(copy: Path) -> None:
    plan = copy / "small" / "study.json"
    data = json.loads(plan.read_text())
    data["made"][0]["versions"]["torch"] = "1.0"
    plan.write_text(json.dumps(data))
    write(copy / "small.toml", **{**WITH_REFERENCES, "seeds": "0..2"})
    before = everything(copy)
    for command in (["resume", copy / "small"], ["add", copy / "small.toml", "--out", copy]):
        message = refused(*command, "--jobs=1")
        assert re.search(r"was begun with other versions: torch \S+ instead of 1.0", message)
    assert {**everything(copy), copy / "small" / ".lock": b""} == {
        **before,
        copy / "small" / ".lock": b"",
    }


OTHER_VERSION = (
    "import importlib.metadata as m, sys; real = m.version\n"
    "m.version = lambda name: '0.0' if name == 'numba' else real(name)\n"
    "from continual_arcade.scripts.study import main; main(sys.argv[1:])\n"
)


@pytest.mark.slow
def test_a_process_with_other_versions_lives_nothing(copy: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", OTHER_VERSION, "resume", str(copy / "small"), "--jobs=1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert re.search(r"begun with other versions: numba 0.0 instead of \d", result.stderr)


def test_a_dry_run_says_what_it_costs_and_writes_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "small.toml", **WITH_REFERENCES)
    said = run("run", file, "--out", tmp_path / "runs", "--dry-run", "--jobs=2")
    assert "12 runs that are still to be trained" in said
    for method in ("ewc", "joint", "from-scratch", "expert"):
        assert method in said
    assert re.search(r"with 2 at a time from \d+ to \d+ minutes. About \d+ MB on the disk", said)
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_of_a_finished_study_has_nothing_to_do(copy: Path) -> None:
    said = run("run", copy / "small.toml", "--out", copy, "--dry-run")
    assert "0 runs that are still to be trained" in said


def a_scenario(folder: Path, *, card: bool = True) -> Path:
    """A scenario in a file of its own, with a card that was made by hand."""
    file = folder / "tiny.toml"
    data = {"format": 1, "name": "tiny", "game": "Catcher", "schedule": "conflict"}
    data |= {"phase_steps": 80, "settings": changed()["settings"]}
    file.write_text(tomli_w.dumps(data), "utf-8")
    scenario = scenarios.load(file)
    place = cards.place(scenario)
    assert place == folder / "cards" / "tiny.toml"
    if card:
        names = ("finetune", "ewc", "reservoir")
        spread = Spread(
            metric="acc@gem",
            unit="pellets caught",
            seeds=10,
            methods=tuple(MethodSpread(name, 20.0, 5.0) for name in names),
            pairs=(
                PairSpread("ewc", "finetune", 2.0, 4.0),
                PairSpread("reservoir", "finetune", 9.0, 6.0),
                PairSpread("reservoir", "ewc", 7.0, 8.0),
            ),
        )
        place.parent.mkdir(exist_ok=True)
        data = cards.card_data(
            scenario, [], spread, Interference(("a",), 2, ()), {"command": "a test"}
        )
        place.write_text(tomli_w.dumps(data), "utf-8")
    return file


IN_TINY: Mapping[str, Any] = {
    "games": None,
    "schedules": None,
    "phase_steps": None,
    "scenarios": ["tiny.toml"],
    "seeds": "0..9",
    "settings": None,
    "evaluation": None,
}


def in_tiny(folder: Path, *arguments: object, status: int = 0, **changes: Any) -> str:
    """What a dry run of a study in it says, in one line."""
    methods = {name: {} for name in ("finetune", "ewc", "reservoir")}
    file = write(folder / "study.toml", **{**IN_TINY, "methods": methods, **changes})
    said = run("run", file, "--out", folder / "runs", "--dry-run", *arguments, status=status)
    return " ".join(said.split())


@pytest.fixture
def costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forecast measures short runs, which is tested where forecasts are."""
    monkeypatch.setattr(study_commands, "forecast", lambda left: [])


@pytest.mark.usefixtures("costs_nothing")
def test_a_dry_run_says_what_so_many_seeds_can_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    a_scenario(tmp_path)
    said = in_tiny(tmp_path, "--difference", "5")
    assert "paired sign-flip test with 10 seeds is 0.002: no correction" in said
    assert "3 methods here are 3 pairs: so it can decide them." in said
    assert "acc@gem [pellets caught] that 10 seeds show with 80% probability" in said
    for name, sd in (("ewc less finetune", 4.0), ("reservoir less ewc", 8.0)):
        numbers = [
            f"{sd:.2f}",
            *(f"{detectable_difference(10, sd, level=level):.2f}" for level in (0.05, 0.05 / 3)),
            *(f"{pairs_needed(5.0, sd, level=level)}" for level in (0.05, 0.05 / 3)),
        ]
        assert f"{name} │ {' │ '.join(numbers)} │" in said
    assert "seeds for 5, all 3 pairs" in said
    # Without a difference that is wanted there are no seeds for one.
    assert "seeds for" not in in_tiny(tmp_path)
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("costs_nothing")
def test_a_dry_run_says_what_no_effect_can_mend(tmp_path: Path) -> None:
    a_scenario(tmp_path)
    many = {f"m{number}": {"preset": "finetune"} for number in range(15)}
    said = in_tiny(tmp_path, methods=many)
    assert "no correction over more than 25 pairs of methods leaves anything significant" in said
    assert "15 methods here are 105 pairs: so nothing can be decided over all of them; " in said
    assert "it takes 13 seeds at least" in said
    said = in_tiny(tmp_path, methods=many, seeds="0..12")
    assert "so it can decide them" in said
    said = in_tiny(tmp_path, seeds="3")
    assert "with 1 seed is 1: no difference can be decided, not even a single one" in said
    assert "it takes 7 seeds at least" in said
    assert "one method alone" in in_tiny(tmp_path, methods={"ewc": {}})


@pytest.mark.usefixtures("costs_nothing")
def test_only_what_was_measured_is_said(tmp_path: Path) -> None:
    a_scenario(tmp_path)
    methods = {"finetune": {}, "ewc": {"parts": ["reptile"]}, "mer": {}, "reservoir": {}}
    said = in_tiny(tmp_path, methods=methods)
    assert "not on the card of tiny, or with other settings there: ewc and mer" in said
    assert "reservoir less finetune" in said
    assert "ewc less" not in said
    assert "all 6 pairs" in said  # the correction is over all that the study compares
    said = in_tiny(tmp_path, settings={"learning_rate": 0.5})
    assert "with other settings there: finetune, ewc and reservoir" in said
    assert "evaluates in another way" not in said
    assert "evaluates in another way" in in_tiny(tmp_path, evaluation={"episodes": 1})
    # How often it evaluates between phase ends says nothing of them.
    of_ends = asdict(EvaluationSettings(every=0))
    assert "evaluates in another way" not in in_tiny(tmp_path, evaluation=of_ends)


@pytest.mark.usefixtures("costs_nothing")
def test_a_dry_run_without_a_card_says_so_and_how_to_make_one(tmp_path: Path) -> None:
    file = a_scenario(tmp_path, card=False)
    said = in_tiny(tmp_path)
    assert f"tiny has no card, {tmp_path / 'cards' / 'tiny.toml'}: " in said
    assert f"scenario card {file} --to {tmp_path / 'cards'}" in said
    a_scenario(tmp_path)
    place = tmp_path / "cards" / "tiny.toml"
    whole = place.read_text("utf-8")
    place.write_text(whole.replace('version = "', 'version = "0.'), "utf-8")
    said = in_tiny(tmp_path)
    assert re.search(r"differ by is not known: .*measured by version 0\.\d.*measure it again", said)
    place.write_text(whole, "utf-8")
    file.write_text(file.read_text("utf-8").replace("phase_steps = 80", "phase_steps = 90"))
    assert "had another schedule, context or learner; measure it again" in in_tiny(tmp_path)
    inline = {"name": "inline", "game": "Catcher", "schedule": "shrink"}
    said = in_tiny(tmp_path, scenarios=[inline])
    assert "inline has no card, since it is in no file of its own" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dry-run", "--difference", "0"], "difference = 0 must be a number above 0"),
        (["--dry-run", "--difference", "-3"], "difference = -3 must be a number above 0"),
        (["--dry-run", "--difference", "nan"], "difference = nan must be a number above 0"),
        (["--difference", "5"], "difference = 5 is for --dry-run: give both"),
    ],
)
def test_a_difference_that_is_none_is_refused(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "small.toml")
    said = run("run", file, "--out", tmp_path / "runs", *arguments, status=2)
    assert message in said
    assert not (tmp_path / "runs").exists()


# Verified.


def test_verify_lives_runs_again_and_compares_the_bits(copy: Path) -> None:
    said = run("verify", copy / "small", "--share", "0.2", "--draw-seed", "1", "--jobs=1")
    assert "3 runs are re-run, drawn with seed 1" in said
    assert said.count("same bits  FlappyBird") == 3
    assert "all 3 are as they were before" in said


def test_verify_finds_out_a_table_that_was_changed(tmp_path: Path) -> None:
    run("run", write(tmp_path / "small.toml"), "--out", tmp_path, "--jobs=1")
    table = tmp_path / "small" / "runs" / "FlappyBird-conflict__finetune__1" / "evaluations.csv"
    head, *lines = table.read_text().splitlines()
    values = dict(zip(head.split(","), lines[-1].split(","), strict=True))
    values["score"] = str(float(values["score"]) + 1)
    table.write_text("\n".join([head, *lines[:-1], ",".join(values.values())]) + "\n")
    message = run("verify", tmp_path / "small", "--share", "1", "--jobs=1", status=1)
    assert "1 of 2 runs differ from what they were before" in message


@pytest.mark.parametrize("share", ["0", "1.5", "nan", "-1"])
def test_verify_refuses_a_share_that_is_none(share: str, root: Path) -> None:
    message = refused("verify", root / "small", f"--share={share}")
    assert re.search(r"share = \S+ must be above 0 and at most 1", message)
    assert not list((root / "small").glob("verified*"))


@pytest.mark.parametrize("jobs", ["0", "-1"])
def test_no_jobs_are_refused_before_anything_is_written(jobs: str, tmp_path: Path) -> None:
    file = write(tmp_path / "small.toml")
    message = refused("run", file, "--out", tmp_path / "runs", f"--jobs={jobs}")
    assert f"jobs = {jobs} must be at least 1" in message
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "small.toml")
    (tmp_path / "taken").write_text("a file")
    assert "taken" in refused("run", file, "--out", tmp_path / "taken", "--jobs=1")
