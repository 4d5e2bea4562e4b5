"""The command that measures a scenario's card, in a scenario that is small enough for a test."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from small_studies import SCENARIO

from continual_arcade.scripts import scenario as command
from continual_arcade.scripts import study, study_commands
from continual_arcade.scripts.cli import NOTICE
from continual_arcade.studies.folder import StudyFolder

pytestmark = pytest.mark.usefixtures("undrawn")


def card(file: Path, *arguments: str) -> int:
    given = ["card", str(file), "--jobs", "1", "--out", str(file.parent), *arguments]
    with pytest.raises(SystemExit) as end:
        command.main(given)
    return int(end.value.code or 0)


def test_what_a_card_was_measured_by_is_not_repeated_and_counts(
    tmp_path: Path, capsys: Any
) -> None:
    """And what was measured of another scenario does not mix with it."""
    file = tmp_path / "tiny.toml"
    file.write_text(tomli_w.dumps(SCENARIO), "utf-8")
    few = ["--methods", "finetune", "--seeds", "0..1"]
    assert card(file, *few) == NOTICE
    folder = StudyFolder(tmp_path / "card-tiny")
    before = {path: path.stat().st_mtime_ns for path in folder.path.glob("runs/*/evaluations.csv")}
    assert len(before) == 2
    made = {path.name for path in folder.path.glob("tiny*.*")}
    assert made == {"tiny.toml", "tiny.md", "tiny.png", "tiny-interference.png"}
    assert card(file, "--methods", "finetune", "reservoir", "--seeds", "1..2") == NOTICE
    assert {path: path.stat().st_mtime_ns for path in before} == before
    study = StudyFolder(folder.path).study
    assert [entry.method.name for entry in study.entries] == ["finetune", "reservoir"]
    assert study.seeds == (0, 1, 2)
    assert len([*folder.path.glob("runs/*/evaluations.csv")]) == 6
    assert "2 methods with 3 runs each" in (folder.path / "tiny.md").read_text("utf-8")
    # Asked for less, it still has what it has.
    assert card(file, *few) == NOTICE
    data = tomllib.loads((folder.path / "tiny.toml").read_text("utf-8"))
    assert data["made"]["seeds"] == "0..2"
    file.write_text(tomli_w.dumps({**SCENARIO, "phase_steps": 96}), "utf-8")
    assert card(file, *few) == 2
    errors = capsys.readouterr().err
    assert "was begun as another one" in errors
    assert "another folder with --out" in errors


def test_mistakes_are_named_before_anything_is_trained(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(tomli_w.dumps(SCENARIO), "utf-8")
    for given, said in (
        (["--methods", "finetune", "finetune"], "methods: finetune is named more than once"),
        (["--methods", "reservoir"], "methods = reservoir: finetune must be among them"),
        (["--to", str(file)], "is, or lies in, a file: choose another"),
        (["--to", str(file / "deep")], "is, or lies in, a file: choose another"),
        (["--cluster", "nope"], "cluster = 'nope': choose loky, ray, or another"),
    ):
        assert card(file, "--seeds", "0..1", *given) == 2
        assert said in capsys.readouterr().err
        assert not (tmp_path / "card-tiny").exists()
    with pytest.raises(SystemExit, match="2"):
        command.main(["card"])
    assert "name a scenario" in capsys.readouterr().err


def test_streams_of_labelled_examples_have_no_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a dry run does not tell anybody to measure one."""
    # A forecast measures short runs, which is tested where forecasts are.
    monkeypatch.setattr(study_commands, "forecast", lambda left: [])
    assert card(Path("addition-facts"), "--out", str(tmp_path)) == 2
    refused = "addition-facts has no card, since it is of labelled examples"
    assert refused in capsys.readouterr().err
    file = tmp_path / "facts.toml"
    data = {
        "format": 1,
        "name": "facts",
        "scenarios": ["addition-facts"],
        "seeds": "0..6",
        "evaluation": {"every": 0, "episodes": 1},
        "methods": {"online": {}, "er": {}},
    }
    file.write_text(tomli_w.dumps(data))
    study.main(["run", str(file), "--dry-run", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert refused in printed
    assert "to measure it" not in printed


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"lives": 1}, "options = {'lives': 1}"),
        ({"observation": "pixels", "frame_skip": 4}, "options = {'frame_skip': 4}"),
    ],
)
def test_what_has_no_scale_is_refused_before_anything_is_trained(
    options: dict[str, Any], what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiny.toml"
    data = {**SCENARIO, "game": "Catcher", "options": options, "schedule": "conflict"}
    file.write_text(tomli_w.dumps({**data, "context": "hidden"}), "utf-8")
    assert card(file, "--seeds", "0..1") == 2
    refused = capsys.readouterr().err
    assert "tiny has no card, since Catcher has " + what in refused
    assert "compare its methods in a study" in refused
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]
