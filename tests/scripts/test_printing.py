"""What commands print on terminals of any width, of things that users have named."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from printed import columns_of, without_spaces
from rich.errors import MarkupError
from rich.markup import render
from small_studies import write
from tables import write_run

from continual_arcade.agents import METHODS
from continual_arcade.envs import PhaseSpec, Schedule
from continual_arcade.envs.schedule_files import save
from continual_arcade.evaluation import Run
from continual_arcade.evaluation.matrix import as_text, forgetting_matrix
from continual_arcade.evaluation.terminal import plain_console
from continual_arcade.reports.run_pictures import show
from continual_arcade.scripts import compare, report, reporting, schedule, study, study_commands
from continual_arcade.studies.forecast import Cost, forecast
from continual_arcade.studies.grid import Cell

pytestmark = pytest.mark.usefixtures("undrawn")

ODD = "[red]a[/red] :smile: [/] $\\frac$"
"""What rich, emoji and matplotlib would read in another way than it is written."""
LONG = "a phase with a_name_that_is_longer_than_most_terminals_are_wide_" + "x" * 40
NAMES = ("normal", ODD, LONG, *(f"phase {i}" for i in range(9)))
"""A schedule of twelve phases, of which no table is narrow."""


def twelve() -> Schedule:
    return Schedule(
        "odd",
        tuple(
            PhaseSpec(name=name, steps=100, params={"gap": 100.0 - i})
            for i, name in enumerate(NAMES)
        ),
    )


def a_run(root: Path, seed: int, method: str) -> Path:
    schedule = twelve()
    cells = {
        (100 * stage, stage - 1): [[20.0 + seed + stage, 7.0 + phase] for phase in range(12)]
        for stage in range(13)
    }
    settings = {"learning_rate": 1e-3 if method == ODD else 0.5}
    root.mkdir(exist_ok=True)
    return write_run(
        root, schedule, cells, seed=seed, method=method, spec=METHODS["finetune"], settings=settings
    )


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    root = tmp_path / "[bold]runs"
    return [a_run(root, seed, method) for seed in range(3) for method in (ODD, "ewc", "finetune")]


def shows_the_matrix(runs: list[Path], tmp_path: Path) -> None:
    plain_console().print(as_text(forgetting_matrix(Run.load(runs[0]).scores), "pipes passed"))


def compares(runs: list[Path], tmp_path: Path) -> None:
    compare.main([*map(str, runs)])


MEASURED: dict[Path, list[Cost]] = {}
"""What a study costs, by its file."""


def costs(file: Path, left: Sequence[Cell]) -> list[Cost]:
    """Measure once: what a table shows may not hang on how busy the machine is meanwhile."""
    if file not in MEASURED:
        MEASURED[file] = forecast(left)
    return MEASURED[file]


def forecasts(runs: list[Path], tmp_path: Path) -> None:
    named = {"a-method-whose-name-is-" + "long-" * 12: {"preset": "si"}}
    file = write(tmp_path / "study.toml", methods={**named, "finetune": {}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_commands, "forecast", lambda left: costs(file, left))
        study.main(["run", str(file), "--out", str(tmp_path), "--dry-run"])


@pytest.mark.parametrize("command", [shows_the_matrix, compares, forecasts])
def test_a_narrow_terminal_shows_as_much_as_a_wide_one(
    command: Callable[[list[Path], Path], None],
    runs: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    def printed(columns: int) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        command(runs, tmp_path)
        return str(capsys.readouterr().out)

    def contents(text: str) -> dict[str, set[str]]:
        """What stands in each column, each table of it as one text: it is folded, but all there."""
        return {
            heading: {without_spaces("".join(cells)) for cells in tables}
            for heading, tables in columns_of(text).items()
        }

    wide = printed(1_000)
    expected = contents(wide)
    assert max(map(len, wide.splitlines())) > 100
    for columns in (40, 80, 200):
        narrow = printed(columns)
        assert contents(narrow) == expected
        drawn = [line for line in narrow.splitlines() if line[:1] in "┏┃│└"]
        assert max(map(len, drawn)) <= columns


def test_names_are_printed_as_they_are(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with pytest.raises(MarkupError):
        render(ODD)  # which is what happened, at the end of a training
    for path in (runs[0] / "evaluations.csv", runs[1] / "config.json"):
        path.write_text("damaged")
    with pytest.raises(SystemExit, match="1"):  # runs are left out
        compare.main([*map(str, runs)])
    said = without_spaces(capsys.readouterr().out)
    for name in (ODD, str(runs[0]), str(runs[1])):
        assert without_spaces(name) in said
    show(Run.load(runs[3]), tmp_path, plain_console())
    said = capsys.readouterr().out
    assert f"drawn in matrix.png and curves.png in {tmp_path}\n" in said
    monkeypatch.setattr(reporting, "write", lambda page, out: out.write_text("a page"))
    page = tmp_path / "[page].html"
    with pytest.raises(SystemExit, match="1"):
        report.main([*map(str, runs[3:]), str(runs[0]), "--film-seconds", "0", "-o", str(page)])
    said = capsys.readouterr().out
    assert f"left out: {runs[0]}: " in said
    assert said.endswith(f"the report is in {page}\n")


def test_a_picture_of_a_schedule_has_its_names(tmp_path: Path) -> None:
    """As text, in which a dollar sign begins no formula."""
    file, picture = tmp_path / "[odd].toml", tmp_path / "[odd].svg"
    save(twelve(), file)
    schedule.main([str(file), "--out", str(picture)])
    assert picture.read_text().count("$\\frac$") >= 1


def test_mistakes_are_told_as_they_are(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        compare.main([str(tmp_path / ODD)])
    assert str(tmp_path / ODD) in capsys.readouterr().err
