"""Runs are put together where numbers are comparable; what is not is said, never mixed."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tables import gaps, matrix_cells, write_run

from continual_arcade.agents.settings import BEFORE
from continual_arcade.evaluation import (
    EvaluationSettings,
    Protocol,
    Run,
    gather,
    network_diagnostics,
)

TWO = gaps(100, 90)
CELLS = matrix_cells(TWO, [[0, 0], [5, 1], [3, 8]])


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    config = json.loads((path / "config.json").read_text())
    change(config)
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_runs_that_differ_only_by_their_seed_are_a_group(tmp_path: Path) -> None:
    paths = [write_run(tmp_path, TWO, CELLS, seed=seed) for seed in (2, 0, 1)]
    paths += [write_run(tmp_path, TWO, CELLS, seed=0, settings={"learning_rate": 0.1})]
    paths += [write_run(tmp_path, TWO, CELLS, seed=7, method="ewc")]
    (comparison,) = gather(paths).comparisons
    assert [list(group.runs) for group in comparison.groups] == [[0, 1, 2], [0], [7]]
    assert comparison.labels == [
        "finetune, learning_rate=0.001",
        "finetune, learning_rate=0.1",
        "ewc",
    ]
    assert comparison.title == "FlappyBird, gaps"
    assert comparison.points == "pipes passed"
    assert comparison.groups[0].runs[2].scores.matrix.tolist() == [[0, 0], [5, 1], [3, 8]]


def test_settings_that_there_were_not_mean_what_was_done_then(tmp_path: Path) -> None:
    before = {"learning_rate": 0.1}
    paths = [
        write_run(tmp_path, TWO, CELLS, seed=seed, settings=settings)
        for seed, settings in enumerate((before, {**before, **BEFORE}, {**before, "average": 0.9}))
    ]
    (comparison,) = gather(paths).comparisons
    assert [list(group.runs) for group in comparison.groups] == [[0, 1], [2]]
    assert comparison.labels == ["finetune, average=0.0", "finetune, average=0.9"]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda c: c.update(env="ContinualArcade/FlappyBird-v1"), "environment: .*v0 and .*v1"),
        (lambda c: c["evaluation"].update(max_steps=900), "evaluation.max_steps: 1,800 and 900"),
        (lambda c: c["evaluation"].update(at_end=2), "evaluation.at_end: 1 and 2"),
    ],
)
def test_what_is_not_comparable_is_another_comparison(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], difference: str
) -> None:
    one = write_run(tmp_path, TWO, CELLS)
    other = edit(write_run(tmp_path, TWO, CELLS, seed=1), change)
    comparisons = gather([one, other], unfinished=True).comparisons
    assert len(comparisons) == 2
    (found,) = comparisons[0].protocol.differences(comparisons[1].protocol)
    assert re.fullmatch(difference, found)
    assert comparisons[0].protocol.differences(comparisons[0].protocol) == []


def test_worlds_of_one_title_are_told_apart_and_refused_by_name(tmp_path: Path) -> None:
    other = gaps(100, 90, steps=101)
    paths = [
        write_run(tmp_path, TWO, CELLS),
        edit(
            write_run(tmp_path, TWO, CELLS, seed=1),
            lambda c: c.update(env="ContinualArcade/FlappyBird-v1"),
        ),
        write_run(
            tmp_path,
            TWO,
            CELLS,
            seed=2,
            evaluation=EvaluationSettings(every=0, at_end=1, episodes=1),
        ),
        write_run(tmp_path, replace(other, name="longer"), matrix_cells(other, [[0, 0]] * 3)),
    ]
    gathered = gather(paths)
    zero, v0 = "evaluation.first_seed 0", "environment ContinualArcade/FlappyBird-v0"
    assert [comparison.title for comparison in gathered.comparisons] == [
        f"FlappyBird, gaps ({v0}, {zero})",
        f"FlappyBird, gaps (environment ContinualArcade/FlappyBird-v1, {zero})",
        f"FlappyBird, gaps ({v0}, evaluation.first_seed 1,000,000)",
        "FlappyBird, longer",
    ]
    with pytest.raises(ValueError, match="runs of different protocols are not comp") as error:
        gathered.check_comparable()
    first, *pairs, mend = str(error.value).splitlines()
    assert first.endswith(":")
    assert "--mixed" in mend
    differences = (
        "environment: ContinualArcade/FlappyBird-v0 and ContinualArcade/FlappyBird-v1",
        "evaluation.first_seed: 0 and 1,000,000",
        f"schedule: gaps ({TWO.fingerprint}) and longer ({other.fingerprint})",
    )
    for line, path, difference in zip(pairs, paths[1:], differences, strict=True):
        assert line == f"  {paths[0]} and {path}: {difference}"
    gather(paths[:1]).check_comparable()


def test_another_schedule_is_another_comparison_but_another_name_is_not(tmp_path: Path) -> None:
    named = replace(TWO, name="other name")
    longer = gaps(100, 90, steps=101)
    paths = [
        write_run(tmp_path, TWO, CELLS),
        write_run(tmp_path, named, CELLS, seed=1),
        write_run(tmp_path, longer, matrix_cells(longer, [[0, 0], [5, 1], [3, 8]]), seed=2),
    ]
    one, other = gather(paths).comparisons
    assert [len(group.runs) for group in one.groups] == [2]
    (difference,) = one.protocol.differences(other.protocol)
    assert difference == f"schedule: gaps ({TWO.fingerprint}) and gaps ({longer.fingerprint})"


def test_a_run_without_its_end_is_left_out_unless_asked_for(tmp_path: Path) -> None:
    short = write_run(tmp_path, TWO, {key: CELLS[key] for key in list(CELLS)[:2]})
    whole = write_run(tmp_path, TWO, CELLS, seed=1)
    gathered = gather([short, whole])
    assert [left.path for left in gathered.left_out] == [short]
    assert gathered.left_out[0].reason == "the run reached step 100 of 200"
    assert list(gathered.comparisons[0].groups[0].runs) == [1]
    both = gather([short, whole], unfinished=True)
    assert not both.left_out
    assert list(both.comparisons[0].groups[0].runs) == [0, 1]


def reading(run: Path, step: int, name: str | None = None) -> str:
    """A row of diagnostics."""
    return f"{name or run.name},0,{step},0,weight_norm,-1,-1,1.0\n"


HEADER = "run,seed,lifetime_step,trained_phase,quantity,phase,other_phase,value\n"


def diagnosed(run: Path, *rows: str) -> Path:
    (run / "diagnostics.csv").write_text(HEADER + "".join(rows))
    return run


def test_diagnostics_of_another_run_and_of_one_that_goes_on_are_told_apart(tmp_path: Path) -> None:
    whole = write_run(tmp_path, TWO, CELLS)
    Run.load(diagnosed(whole, reading(whole, 0), reading(whole, 100)))
    diagnosed(whole, reading(whole, 0), reading(whole, 100, "of the same seed"))
    with pytest.raises(ValueError, match="is that of another run: it holds run of the same seed"):
        Run.load(whole)
    diagnosed(whole, reading(whole, 0), reading(whole, 70))
    with pytest.raises(ValueError, match=r"holds step 70, which evaluations\.csv does not: it is"):
        Run.load(whole)
    diagnosed(whole, reading(whole, 200))
    drop_rows(whole, lambda row: row[2] != "200")
    message = r"is ahead of evaluations\.csv, which ends at step 100, and holds step 200: .*written"
    with pytest.raises(ValueError, match=message):
        Run.load(whole)


@pytest.mark.parametrize("moment", ["diagnostics.csv", "evaluations.csv"])
def test_a_run_can_be_read_while_it_is_written(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever file is read, the run writes its next evaluation just then."""
    from continual_arcade.evaluation import runs

    run = write_run(tmp_path, TWO, CELLS)
    later = (run / "evaluations.csv").read_text().splitlines(keepends=True)[-2:]
    drop_rows(run, lambda row: row[2] != "200")
    diagnosed(run, reading(run, 0), reading(run, 100))
    for name, module in (("diagnostics.csv", network_diagnostics), ("evaluations.csv", runs)):
        if name == moment:

            def and_writes(path: Path, read: Any = module.read) -> Any:  # type: ignore[attr-defined]
                found = read(path)
                for file, rows in (("evaluations", later), ("diagnostics", [reading(run, 200)])):
                    with (run / f"{file}.csv").open("a") as table:
                        table.writelines(rows)
                return found

            monkeypatch.setattr(module, "read", and_writes)
    found = Run.load(run)
    assert found.table["lifetime_step"].max() == (100 if moment == "evaluations.csv" else 200)
    # What was read before the table, and never after it, cannot be ahead of it.
    assert found.diagnostics is not None
    assert found.diagnostics["lifetime_step"].max() == 100


FOREIGN = """run,seed,lifetime_step,trained_phase,quantity,phase,other_phase,value
foreign,99,100,0,weight_norm,-1,-1,1.0
"""


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def drop_rows(path: Path, keep: Callable[[list[str]], bool]) -> None:
    table = path / "evaluations.csv"
    header, *rows = table.read_text().splitlines()
    kept = [row for row in rows if keep(row.split(","))]
    table.write_text("\n".join([header, *kept]) + "\n")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: (p / "evaluations.csv").unlink(), "was not evaluated yet"),
        (lambda p: (p / "progress.csv").write_text("a,b\n1,2\n"), "time/total_timesteps is no n"),
        (
            lambda p: (p / "progress.csv").write_text("time/total_timesteps,a\n1,many\n"),
            "a is no number",
        ),
        (lambda p: (p / "diagnostics.csv").write_text(FOREIGN), "is that of another run"),
        (lambda p: (p / "costs.csv").write_text("1,2"), "is not a table of costs|has the columns"),
        (lambda p: (p / "footprints.csv").write_text("1,2\n3,4\n"), "a table of footprints has"),
        (lambda p: edit(p, lambda c: c.update(settings=[])), "damaged: settings"),
        (lambda p: edit(p, lambda c: c.update(seed="0")), "damaged: seed"),
        (lambda p: edit(p, lambda c: c["schedule"]["phases"][0].update(params={"gap": "x"})), "is"),
        (lambda p: cut(p / "evaluations.csv", 3), "its last line is cut off"),
        (lambda p: (p / "config.json").write_text("{"), "is damaged"),
        (lambda p: (p / "evaluations.csv").write_text("a,b\n1,2\n"), "has the columns a, b"),
        (lambda p: edit(p, lambda c: c.update(seed=3)), "holds seeds \\[0\\], the run has seed 3"),
        (lambda p: edit(p, lambda c: c.update(fingerprint="0" * 16)), "configuration was changed"),
        (
            lambda p: edit(p, lambda c: c["evaluation"].update(first_seed=5)),
            "line 2 was played with another seed",
        ),
        (
            lambda p: edit(p, lambda c: c["evaluation"].update(every="often")),
            "evaluation: every = 'often' must be",
        ),
        (
            lambda p: edit(p, lambda c: c["evaluation"].update(episodes=0)),
            "episodes = 0 must be",
        ),
        (lambda p: edit(p, lambda c: c["evaluation"].update(every=-1)), "every = -1"),
        (lambda p: drop_rows(p, lambda row: row[2] != "200"), "the run reached step 100 of 200"),
        (
            lambda p: drop_rows(p, lambda row: (row[2], row[4]) != ("200", "1")),
            "gap 90 was not evaluated at step 200",
        ),
    ],
)
def test_a_damaged_run_is_left_out_with_its_reason(
    tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    bad, good = write_run(tmp_path, TWO, CELLS), write_run(tmp_path, TWO, CELLS, seed=1)
    damage(bad)
    gathered = gather([bad, good])
    assert [left.path for left in gathered.left_out] == [bad]
    assert re.search(reason, gathered.left_out[0].reason)
    assert [list(group.runs) for group in gathered.comparisons[0].groups] == [[1]]


def test_an_evaluation_that_is_missing_on_the_way_is_nan(tmp_path: Path) -> None:
    cells = {**CELLS, (50, 0): [[1], [1]], (150, 1): [[1], [1]]}
    evaluation = EvaluationSettings(every=50, at_end=1, episodes=1, first_seed=0)
    path = write_run(tmp_path, TWO, cells, evaluation=evaluation)
    drop_rows(path, lambda row: row[2] != "150")
    record = Run.load(path).scores
    assert record.steps.tolist() == [0, 50, 100, 150, 200]
    assert record.why_missing([3], [0]) == "gap 100 was not evaluated at step 150"


def test_the_same_life_twice_is_refused(tmp_path: Path) -> None:
    one, other = write_run(tmp_path, TWO, CELLS), write_run(tmp_path, TWO, CELLS)
    with pytest.raises(ValueError, match="seed 0 is there twice") as error:
        gather([one, other])
    assert one.name in str(error.value)
    assert other.name in str(error.value)


def test_nothing_or_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run is given"):
        gather([])
    with pytest.raises(FileNotFoundError, match="is no run"):
        gather([tmp_path])


def test_a_protocol_makes_what_it_says(tmp_path: Path) -> None:
    protocol = Protocol(
        "FlappyBird", "ContinualArcade/FlappyBird-v0", TWO, EvaluationSettings(episodes=3)
    )
    evaluator = protocol.make_evaluator()
    assert evaluator.seeds == [1_000_000, 1_000_001, 1_000_002]
    assert protocol.timetable.due == ((0, -1), (100, 0), (200, 1))
