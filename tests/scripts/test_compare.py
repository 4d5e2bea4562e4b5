"""Runs that differ only by their seed, put together."""

import re
from pathlib import Path
from typing import Any

import pytest
from bounded_runs import written
from tables import write_run

from continual_arcade.agents import METHODS, Method, compose
from continual_arcade.envs import make_game, shipped
from continual_arcade.evaluation import EvaluationSettings
from continual_arcade.evaluation.bounded import Range
from continual_arcade.scripts import compare

SCHEDULE = shipped("conflict", make_game("FlappyBird")).with_steps(100)


def a_run(
    root: Path,
    seed: int,
    scores: list[tuple[float, float, float]],
    lr: float = 1e-3,
    method: str = "dqn",
    spec: Method = METHODS["finetune"],
    evaluation: EvaluationSettings | None = None,
) -> Path:
    """Write a run whose agent had ``scores[stage][phase]`` after each phase of training."""
    cells = {
        (stage * 100, stage - 1): [
            [score - apart, score + apart]
            for score in of_stage
            for apart in [min(0.5, score, 47 - score)]  # no other score is possible
        ]
        for stage, of_stage in enumerate(scores)
    }
    settings = {"learning_rate": lr}
    return write_run(
        root,
        SCHEDULE,
        cells,
        seed=seed,
        method=method,
        spec=spec,
        settings=settings,
        evaluation=evaluation,
    )


NOTHING = (0.0, 0.0, 0.0)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal with room for every cell."""
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    return [
        a_run(tmp_path, 0, [NOTHING, (10, 1, 0), (4, 8, 0), (2, 6, 9)]),
        a_run(tmp_path, 1, [NOTHING, (12, 1, 0), (4, 8, 0), (4, 6, 9)]),
        a_run(tmp_path, 2, [NOTHING, (14, 1, 0), (4, 8, 0), (3, 6, 9)]),
    ]


def output(capsys: Any, *paths: Path, status: int = 0) -> tuple[str, dict[str, list[str]]]:
    arguments = [str(path) for path in paths]
    if status:
        with pytest.raises(SystemExit, match=rf"^{status}$"):
            compare.main(arguments)
    else:
        compare.main(arguments)
    text = capsys.readouterr().out
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
        if cells:
            rows[cells[0]] = cells[1:]
    return text, rows


MIDDLE = [23.5, 23.5]
"""What is added to scores between 0 and 47 pipes."""
CHANGES = Range(-47, 47)


def test_means_and_intervals_by_hand(three: list[Path], capsys: Any) -> None:
    text, rows = output(capsys, *three)
    assert rows["normal"] == [
        written([10, 12, 14], MIDDLE),
        written([2, 4, 3], MIDDLE),
        # One more run is in the middle at the end, and one when just learnt.
        written([-8, -8, -11], [23.5 - 12, 3 - 23.5], "+.1f", CHANGES),
    ]
    assert rows["upside down"] == [
        written([8, 8, 8], MIDDLE),
        written([6, 6, 6], MIDDLE),
        written([-2, -2, -2], [23.5 - 8, 6 - 23.5], "+.1f", CHANGES),
    ]
    assert rows["light"] == [written([9, 9, 9], MIDDLE)] * 2 + ["-"]
    # Of each run first: (10+8+9)/3 = 9, 29/3, 31/3; (2+6+9)/3, ...; (-8-2)/2, -5, -6.5, from
    # (10+8)/2, 10, 11 to 4, 5, 4.5.
    assert rows["all"] == [
        written([9, 29 / 3, 31 / 3], MIDDLE),
        written([17 / 3, 19 / 3, 6], MIDDLE),
        written([-5, -5, -6.5], [23.5 - 10, 4.5 - 23.5], "+.1f", CHANGES),
    ]
    assert "seeds 0, 1, 2" in text


def test_runs_at_an_end_are_marked(tmp_path: Path, capsys: Any) -> None:
    runs = [
        a_run(tmp_path, seed, [NOTHING, (46.9, 0, 5), (46.5, 0, 5), (end, 0.4, 6)])
        for seed, end in enumerate((46.9, 20, 46.9, 0.2, 46.6))
    ]
    text, rows = output(capsys, *runs)
    said = " ".join(text.split())
    assert rows["normal"][0] == written([46.9] * 5, MIDDLE) + " ^"
    assert rows["normal"][1].endswith(" ^")
    assert rows["upside down"][0] == written([0] * 5, MIDDLE) + " _"
    assert not rows["light"][0].endswith(("^", "_"))
    # Clopper and Pearson's interval of 3 of 5, and of 5 of 5.
    assert (
        "^ 3 of 5 runs at the cap (95 % interval of their share: 15 to 95 %): dqn, normal, at the "
        "end" in said
    )
    assert "_ 5 of 5 runs at the floor (95 % interval of their share: 48 to 100 %): dqn" in said


def test_notes_name_cells_as_the_tables_do(tmp_path: Path, capsys: Any) -> None:
    ends = [(0.5, 0.5, 0.4), (0.5, 0.4, 0.5), (0.4, 0.5, 0.5)]  # below a hundredth of 47 on average
    runs = [
        a_run(tmp_path, seed, [NOTHING, (5, 0, 0), (5, 5, 0), end], method=method)
        for method in ("one", "two")
        for seed, end in enumerate(ends)
    ]
    text, _ = output(capsys, *runs)
    (note,) = [line for line in text.splitlines() if line.startswith("_ 3 of 3")]
    assert note.endswith(": one, all, at the end; two, all, at the end; one, worst; two, worst")


def test_other_settings_are_another_table(three: list[Path], tmp_path: Path, capsys: Any) -> None:
    other = a_run(tmp_path, 0, [NOTHING, (1, 1, 1), (1, 1, 1), (1, 1, 1)], lr=0.5)
    text, _ = output(capsys, *three, other)
    for rate in ("0.001", "0.5"):
        assert text.count(f"FlappyBird, conflict, dqn, learning_rate={rate}") == 1
    assert "seeds 0, 1, 2;" in text
    assert "seeds 0;" in text
    # And a table over both, with the phase that each run plays worst: 2, 4 and 3.
    _, over_all = text.split("over all phases", 1)
    rows = [re.split(" *│ *", line)[1:-1] for line in over_all.splitlines() if "│" in line]
    assert [row[1:] for row in rows if row[1]] == [
        [
            "3",
            written([9, 29 / 3, 31 / 3], MIDDLE),
            written([17 / 3, 19 / 3, 6], MIDDLE),
            written([-5, -5, -6.5], [23.5 - 10, 4.5 - 23.5], "+.1f", CHANGES),
            written([2, 4, 3], MIDDLE),
        ],
        ["1", "1.0", "1.0", "+0.0", "1.0"],
    ]
    # What tells the two apart is named, in as many lines as there is room for.
    labels = "".join(row[0] for row in rows).replace(" ", "")
    assert labels == "dqn,learning_rate=0.001dqn,learning_rate=0.5"


def test_methods_of_one_name_are_not_put_together(tmp_path: Path, capsys: Any) -> None:
    part = compose("finetune", parts=["mer"])  # without the reservoir of the method
    runs = [
        a_run(tmp_path, seed, [NOTHING, *[(score,) * 3] * 3], method="mer", spec=spec)
        for seed, score, spec in ((0, 3.0, METHODS["mer"]), (1, 5.0, part))
    ]
    text, _ = output(capsys, *runs)
    assert "4.0" not in text  # the mean of both
    assert text.count("FlappyBird, conflict, mer") == 2
    over_all = text.split("over all phases", 1)[1].splitlines()
    labels = "".join(re.split(" *│ *", line)[1] for line in over_all if "│" in line)
    assert labels.replace(" ", "") == (
        f"mer,replay=reservoir,parts={METHODS['mer'].parts[0]}mer,replay=fifo,parts=mer"
    )


def test_differences_are_of_equal_seeds(three: list[Path], tmp_path: Path, capsys: Any) -> None:
    # At the end 17/3, 19/3, 18/3 without it; with it 3, 7 and, of another seed, 40.
    others = [
        a_run(tmp_path, seed, [NOTHING, *[(end,) * 3] * 3], method="mer")
        for seed, end in ((0, 3.0), (1, 7.0), (5, 40.0))
    ]
    paths = [str(path) for path in (*three, *others)]
    compare.main([*paths, "--against", "dqn"])
    table = capsys.readouterr().out.rpartition("┏")[2]
    # -8/3 and 2/3, of 5 less 6; one more pair has 23.5 less 6, and one 5 less 23.5.
    assert re.findall(r"│ (\w+) +│ +(\d) │ +(\S+ \[.*\]) │", table) == [
        ("mer", "2", written([-8 / 3, 2 / 3], [23.5 - 6, 5 - 23.5], "+.1f", CHANGES))
    ]
    compare.main(paths)
    assert "pairs" not in capsys.readouterr().out


def test_what_differences_are_taken_from_is_named(
    three: list[Path], tmp_path: Path, capsys: Any
) -> None:
    other = a_run(tmp_path, 0, [NOTHING, *[(1.0,) * 3] * 3], lr=0.5)
    paths = [str(path) for path in (*three, other)]
    # Of seed 0: 17/3 at the end, and 1.
    for against, label, row in (
        ("dqn", "dqn, learning_rate=0.001", ("dqn,learning_rate=0.5", "-4.7")),
        ("dqn, learning_rate=0.5", "dqn, learning_rate=0.5", ("dqn,learning_rate=0.001", "+4.7")),
    ):
        compare.main([*paths, "--against", against])
        before, _, body = capsys.readouterr().out.rpartition("┏")
        title = before[before.rindex("worst:") :]  # after the caption of the table before
        assert " ".join(title.split()).endswith(f"at the end, less {label}")
        cells = [re.split(" *│ *", line)[1:-1] for line in body.splitlines() if "│" in line]
        assert "".join(line[0] for line in cells).replace(" ", "") == row[0]
        assert [line[2] for line in cells if line[2]] == [row[1]]


def test_p_values_and_warnings_are_those_of_the_report(tmp_path: Path, capsys: Any) -> None:
    """Two methods beside a third one: six seeds that always win, and five, of which one loses."""
    always, mostly = (5, 6, 7, 6, 5, 6), (5, 6, 7, 6, -5)
    base = [NOTHING, *[(10,) * 3] * 3]
    paths = [a_run(tmp_path, seed, base, method="finetune") for seed in range(6)]
    for method, ends in (("a", always), ("b", mostly)):
        for seed, end in enumerate(ends):
            paths.append(a_run(tmp_path, seed, [NOTHING, *[(10 + end,) * 3] * 3], method=method))
    text, _ = output(capsys, *paths)
    table = text.rpartition("┏")[2]
    rows = {
        row[0]: row[1:] for row in (re.split(" *│ *", x)[1:-1] for x in table.splitlines()) if row
    }
    # All of 64 sign flips but two are nearer to 0: 2/64. Of 32 sums of +-5 +-6 +-7 +-6 +-5 those
    # of at least 19: 29, 19 twice (one 5 turned), and the same below 0: 6/32.
    assert [rows[name][-2:] for name in ("a", "b")] == [["0.031", "0.062"], ["0.188", "0.188"]]
    assert "warning" not in text  # five runs are enough
    text, _ = output(capsys, *paths[:4])
    said = " ".join(text.split())
    assert "warning: finetune: 4 runs are too few to evaluate a method" in said


def test_runs_of_other_protocols_are_refused_by_name_or_kept_apart(
    three: list[Path], tmp_path: Path, capsys: Any
) -> None:
    seeds = EvaluationSettings(every=0, at_end=1, episodes=2, first_seed=70)
    scores = [NOTHING, (1, 1, 1), (1, 1, 1), (1, 1, 1)]
    other = a_run(tmp_path, 3, scores, evaluation=seeds)  # type: ignore[arg-type]
    with pytest.raises(SystemExit, match=r"^2$"):
        compare.main([*map(str, three), str(other)])
    captured = capsys.readouterr()
    assert not captured.out
    assert f"{three[0]} and {other}: evaluation.first_seed: 0 and 70" in captured.err
    compare.main([*map(str, three), str(other), "--mixed"])
    text = " ".join(capsys.readouterr().out.split())
    for seed in ("0", "70"):
        assert text.count(f"FlappyBird, conflict (evaluation.first_seed {seed}), dqn:") == 1


def test_nothing_is_compared_with_what_is_not_there(three: list[Path], capsys: Any) -> None:
    for against, message in (
        ("dgn", "unknown method 'dgn': did you mean 'dqn'? known are dqn"),
        ("finetune", "unknown method 'finetune': known are dqn"),
        ("dqn, x=1", "unknown method 'dqn, x=1': did you mean 'dqn'"),
    ):
        with pytest.raises(SystemExit) as error:
            compare.main([*map(str, three), "--against", against])
        assert error.value.code == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert not captured.out


def test_a_run_that_was_cut_off_is_left_out(three: list[Path], tmp_path: Path, capsys: Any) -> None:
    short = a_run(tmp_path, 3, [NOTHING, (46, 46, 46)])
    text, rows = output(capsys, *three, short, status=1)
    assert "left out" in text
    assert rows["normal"][0] == written([10, 12, 14], MIDDLE)


def test_a_damaged_run_is_left_out_and_named(
    three: list[Path], tmp_path: Path, capsys: Any
) -> None:
    bad = a_run(tmp_path, 3, [NOTHING, *[(46.0,) * 3] * 3])
    table = bad / "evaluations.csv"
    table.write_text(table.read_text().replace("46.5", ""))
    text, rows = output(capsys, *three, bad, status=1)
    assert "damaged in line" in text.replace("\n", " ")
    assert rows["normal"][0] == written([10, 12, 14], MIDDLE)
    with pytest.raises(SystemExit):
        compare.main([str(bad)])
    assert "all runs were left out: there is nothing to compare" in capsys.readouterr().err


def test_the_same_life_twice_is_refused(three: list[Path], capsys: Any) -> None:
    with pytest.raises(SystemExit) as error:
        compare.main([str(three[0]), str(three[1]), str(three[0])])
    assert error.value.code == 2
    assert "seed 0 is there twice" in capsys.readouterr().err


def test_mistakes(tmp_path: Path, capsys: Any) -> None:
    for arguments, message in (([], "no run is given"), ([str(tmp_path)], "is no run")):
        with pytest.raises(SystemExit) as error:
            compare.main(arguments)
        assert error.value.code == 2
        assert message in capsys.readouterr().err
