"""The examples run as the page says, say something sensible, and are short."""

import re
import runpy
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from continual_arcade.envs import make_game, shipped
from continual_arcade.evaluation import Record, Run
from continual_arcade.evaluation.metrics import Context
from continual_arcade.evaluation.table import read
from continual_arcade.scripts import compare, report

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGE = (ROOT / "docs" / "bring-your-own.md").read_text("utf-8")
NUMBER = r"-?\d+\.\d*"


def run(folder: Path, path: Path, *arguments: object) -> str:
    """What a file says that is run in a folder, as if by Python."""
    said = StringIO()
    with (
        pytest.MonkeyPatch.context() as patched,
        redirect_stdout(said),
    ):
        patched.chdir(folder)
        patched.setenv("COLUMNS", "100")
        patched.setattr(sys, "argv", [path.name, *map(str, arguments)])
        runpy.run_path(str(path), run_name="__main__")
    return said.getvalue()


def example(folder: Path, name: str, *arguments: object) -> str:
    return run(folder, ROOT / "examples" / f"{name}.py", *arguments)


def numbers(line: str) -> list[float]:
    return [float(number) for number in re.findall(NUMBER, line)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_is_short_and_on_the_page_as_it_is(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 40
    assert f"```python\n{text}```" in PAGE
    assert f"python examples/{path.name}" in PAGE


@pytest.mark.slow  # PPO with the same callback: test_external_runs.py
def test_ppo(tmp_path: Path) -> None:
    said = example(tmp_path, "ppo", "--steps", 2_048)
    for phase in ("normal", "swapped keys", "icy"):
        (row,) = re.findall(rf"│ {phase} .*", said)
        assert len(numbers(row)) == (4 if phase == "icy" else 5)
    metrics = dict(re.findall(rf"^(\S+@\S+) +({NUMBER})", said, re.MULTILINE))
    assert list(metrics) == ["acc@gem", "bwt@gem", "worst-phase@end"]
    # What it shows is what it has written.
    (folder,) = (tmp_path / "runs").iterdir()
    schedule = shipped("conflict", make_game("Catcher")).with_steps(2_048)
    record = Record.from_table(read(folder / "evaluations.csv"), schedule)
    assert record.steps.tolist() == list(range(0, 3 * 2_048 + 1, 1_024))
    assert float(metrics["acc@gem"]) == pytest.approx(record.matrix[-1].mean(), abs=0.06)
    assert len(list((folder / "checkpoints").glob("step_*.zip"))) == 7
    assert Run.load(folder).method == "ppo"


@pytest.mark.slow  # what it calls is tested in test_replaying.py and test_external_runs.py
@pytest.mark.usefixtures("undrawn")
def test_external_agents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = example(tmp_path, "external_agents", "--steps", 256, "--seeds", 1)
    paths = [tmp_path / line.removeprefix("the run is in ") for line in said.splitlines()]
    assert [Run.load(path).method for path in paths] == ["ppo-plain", "ppo-bonus"]
    for path in paths:
        run_of, schedule = Run.load(path), shipped("conflict", make_game("Catcher")).with_steps(256)
        assert run_of.scores.steps.tolist() == [0, *schedule.ends]
        assert len(run_of.table) == 4 * 3 * 20
    # And on they go, as the page says.
    compare.main([*map(str, paths), "--against", "ppo-plain"])
    printed = capsys.readouterr().out
    assert re.search(r"│ ppo-bonus │ +1 │ +[+-]\d+\.\d │ +1\.000 │ +1\.000 │", printed)
    report.main([*map(str, paths), "-o", str(tmp_path / "ppo.html")])
    assert ">ppo-bonus</" in (tmp_path / "ppo.html").read_text("utf-8")
    for line in ("compare runs/Catcher-conflict__ppo-* --against ppo-plain", "report runs/Cat"):
        assert f"python -m continual_arcade.scripts.{line}" in PAGE


def test_cleanrl_style(tmp_path: Path) -> None:
    said = example(tmp_path, "cleanrl_style", "--steps", 400)
    matrix = np.array([numbers(line) for line in said.splitlines()])
    assert matrix.shape == (4, 3)
    assert (matrix >= 0).all()


def test_own_environment(tmp_path: Path) -> None:
    lines = example(tmp_path, "own_environment", "--steps", 150).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "after normal",
        "after swapped keys",
        "after long pole",
    ]
    for line in lines:
        assert len(numbers(line)) == 3
        assert all(1 <= score <= 500 for score in numbers(line))


def test_own_method(tmp_path: Path) -> None:
    without, beside = example(tmp_path, "own_method", "--steps", 1_200).splitlines()
    assert without.startswith("[]: ")
    assert beside.startswith("[ShrinkPerturb(shrink=0.4, noise=0.01)]: ")
    assert len(numbers(without)) == len(numbers(beside.split("]: ")[1])) == 3


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    short = "--phase-steps 400 --eval-every 200 --eval-episodes 2 --eval-max-steps 300"
    options = ["--game", "Catcher", "--schedule", "conflict", "--no-progress"]
    run(folder, ROOT / "scripts" / "train.py", *options, *short.split())
    (path,) = (folder / "runs").iterdir()
    return path


def worst_met_by_hand(record: Record) -> float:
    """The same as the example's, phase by phase and trapezoid by trapezoid."""
    worst = []
    for row, stage in zip(record.means, record.stages, strict=True):
        met = {record.column_of[past] for past in range(max(stage, 0) + 1)}
        worst.append(min(row[column] for column in met))
    area = 0.0
    for i in range(1, len(worst)):
        area += (worst[i] + worst[i - 1]) / 2 * float(record.steps[i] - record.steps[i - 1])
    return area / record.schedule.total_steps


def test_own_metric_on_a_run(finished: Path, tmp_path: Path) -> None:
    said = example(tmp_path, "own_metric", finished)
    found = {line.split()[2]: float(line.split()[3]) for line in said.splitlines()}
    assert list(found) == ["worst-met@lifetime", "worst-phase@end", "acc@gem"]
    record = Run.load(finished).scores
    assert found["worst-met@lifetime"] == pytest.approx(worst_met_by_hand(record), abs=0.06)


def metric() -> object:
    names: dict[str, object] = {"__name__": "own_metric"}
    exec((ROOT / "examples" / "own_metric.py").read_text("utf-8"), names)
    return names["METRIC"]


def test_own_metric_counts_only_what_was_met_and_says_what_is_missing() -> None:
    from tables import gaps, matrix_cells, record_of

    ours = metric()
    rows = [[1, 2, 4], [10, 6, 5], [12, 20, 8], [7, 14, 30]]
    record = record_of(gaps(100, 90, 80), matrix_cells(gaps(100, 90, 80), rows))
    result = ours.compute(record, Context())  # type: ignore[attr-defined]
    # Met: the first; the first; both of the first two; all.
    assert result.value == pytest.approx(np.mean([(1 + 10) / 2, (10 + 12) / 2, (12 + 7) / 2]))
    everything = np.mean([(1 + 5) / 2, (5 + 8) / 2, (8 + 7) / 2])
    assert result.value != pytest.approx(everything)  # what was never met cannot be forgotten
    cells = matrix_cells(gaps(100, 90, 80), rows)
    short = record_of(gaps(100, 90, 80), dict(list(cells.items())[:-1]))
    result = ours.compute(short, Context())  # type: ignore[attr-defined]
    assert np.isnan(result.value)
    assert "reached step" in result.reason
