"""The demo, in a scenario that is small enough for a test."""

import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from matplotlib.figure import Figure

from continual_arcade.evaluation.runs import Run
from continual_arcade.reports.pages import files
from continual_arcade.scripts import demo
from continual_arcade.scripts.films import Films
from continual_arcade.studies.cards import place, read_spread, recommended
from continual_arcade.studies.scenario import find

TINY = {
    "format": 1,
    "name": "tiny",
    "about": "Small enough for a test.",
    "game": "Catcher",
    "schedule": "conflict",
    "phase_steps": 160,
    "context": "params",
    "memory": 0.5,
    "settings": {"engine": "torch", "hidden": [8], "learning_starts": 100},
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.toml"
    file.write_text(tomli_w.dumps(TINY), "utf-8")
    return file


def test_two_agents_are_trained_filmed_and_reported(
    tiny: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The charts of a page are drawn by the tests of reports, its films by test_report.py.
    monkeypatch.setattr(files, "draw", lambda *_: Figure(figsize=(1, 1)))
    monkeypatch.setattr(Films, "of", lambda *_: [])
    out = tiny.parent / "runs"
    demo.main(["--scenario", str(tiny), "--method", "reservoir", "--out", str(out), "--seed", "3"])
    printed = capsys.readouterr().out
    (folder,) = out.iterdir()
    paths = sorted(folder.glob("Catcher-tiny__*"))
    runs = {run.method: run for run in map(Run.load, paths)}
    assert set(runs) == {"finetune", "reservoir"}
    assert all(run.seed == 3 for run in runs.values())
    assert all((path / "matrix.png").stat().st_size > 1000 for path in paths)
    assert (folder / demo.MATRICES).stat().st_size > 1000
    assert (folder / demo.FILM).read_bytes().startswith(b"GIF89a")
    assert all(name in (folder / demo.PAGE).read_text("utf-8") for name in runs)
    assert printed.count("mean pellets caught\n") == 2
    assert "both in phase 'normal' again" in printed
    assert re.search(rf"everything is in {re.escape(str(folder))}\n", printed)


def test_what_makes_no_demo_is_refused(tiny: Path, capsys: Any) -> None:
    for arguments, message in (
        (["--method", "finetune"], "finetune' is trained anyway"),
        (["--method", "reservoit"], "did you mean 'reservoir'"),
        ([], "has no card that recommends a method"),
        (["--scenario", "catcher-conflikt"], "did you mean 'catcher-conflict'"),
    ):
        with pytest.raises(SystemExit, match=r"^2$"):
            demo.main(["--scenario", str(tiny), "--out", str(tiny.parent / "runs"), *arguments])
        assert message in capsys.readouterr().err
    assert not (tiny.parent / "runs").exists()


def test_the_demo_ends_in_a_phase_that_overwrites_the_one_that_is_filmed() -> None:
    """Else there would be nothing to see: the pellet's player must forget the first phase."""
    scenario = find(demo.Demo().scenario)
    first, last = scenario.schedule.phases[0], scenario.schedule.phases[-1]
    assert first.params["push"] == -last.params["push"]
    means = {one.method: one.mean for one in read_spread(place(scenario), scenario).methods}
    assert recommended(scenario) == max(means, key=means.__getitem__) != "finetune"
