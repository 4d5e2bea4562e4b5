"""Runs are re-run: bits on the same kind of machine, where they are expected elsewhere."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from small_studies import Dies, InTurn, run, write

from continual_arcade.studies import verifying
from continual_arcade.studies.folder import StudyFolder
from continual_arcade.studies.verifying import CONFIDENCE, Check, draw, verify


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    root = tmp_path_factory.mktemp("finished_study")
    run("run", write(root / "small.toml", seeds="0..4"), "--out", root, "--jobs=1")
    return StudyFolder.open(root / "small")


@pytest.fixture
def copy(finished_study: StudyFolder, tmp_path: Path) -> StudyFolder:
    shutil.copytree(finished_study.path, tmp_path / "small")
    return StudyFolder.open(tmp_path / "small")


def test_a_share_is_drawn_by_seed_and_of_the_finished_alone(copy: StudyFolder) -> None:
    (copy.place(copy.cells[2]) / "finished.json").unlink()
    for share, count in ((0.01, 1), (0.5, 2), (0.51, 3), (1.0, 4)):
        chosen = draw(copy, share, 7)
        assert len(chosen) == count
        assert chosen == draw(copy, share, 7)
        assert copy.cells[2] not in chosen
    found = {draw(copy, 0.01, seed)[0].seed for seed in range(50)}
    assert found == {0, 1, 3, 4}


def test_nothing_finished_is_nothing_to_verify(copy: StudyFolder) -> None:
    for mark in copy.path.glob("runs/*/finished.json"):
        mark.unlink()
    with pytest.raises(ValueError, match=r"no run of .* is finished: there is nothing to verify"):
        draw(copy, 1.0, 0)


def verdicts(folder: StudyFolder, out: Path) -> list[str]:
    chosen = draw(folder, 0.01, 0)
    before = {path: path.read_bytes() for path in folder.path.rglob("*.csv")}
    checks: list[Check] = list(verify(folder, chosen, InTurn(), out))
    assert {path: path.read_bytes() for path in folder.path.rglob("*.csv")} == before
    return [check.verdict for check in checks]


def moved(folder: StudyFolder) -> None:
    """As if all had been trained on another kind of machine."""
    for path in folder.path.glob("runs/*/config.json"):
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "machine": "another"}))


def test_the_same_machine_makes_the_same_bits(copy: StudyFolder, tmp_path: Path) -> None:
    assert verdicts(copy, tmp_path / "out") == ["same bits"]


def test_a_worker_that_dies_over_it_is_replaced(copy: StudyFolder, tmp_path: Path) -> None:
    executor = Dies("finetune", times=1)
    checks = list(verify(copy, draw(copy, 1.0, 0), executor, tmp_path / "out"))
    assert executor.deaths == 1
    assert [check.verdict for check in checks] == ["same bits"] * 5


def test_on_another_machine_it_must_be_where_it_is_expected(
    copy: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved(copy)
    for offset, verdict in ((0.0, "within"), (50.0, "outside")):
        out = tmp_path / verdict
        monkeypatch.setattr(
            verifying,
            "_result",
            lambda each, out=out, by=offset: (
                each.config["seed"] + (by if each.folder.path.parent == out else 0.0)
            ),
        )
        assert verdicts(copy, out) == [verdict]


def test_the_interval_is_that_of_one_more_draw(
    copy: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of values that are normal, the share CONFIDENCE is within; and the closed form is scipy's."""
    values = [3.0, 4.5, 2.0, 7.0, 5.5]
    half = stats.t.interval(
        CONFIDENCE, 4, scale=np.std(values, ddof=1) * math.sqrt(1 + 1 / len(values))
    )[1]
    moved(copy)
    for inside, verdict in ((0.999, "within"), (1.001, "outside")):
        out = tmp_path / verdict
        monkeypatch.setattr(
            verifying,
            "_result",
            lambda each, out=out, inside=inside: (
                np.mean(values) + inside * half
                if each.folder.path.parent == out
                else values[each.config["seed"]]
            ),
        )
        assert verdicts(copy, out) == [verdict]


def test_few_runs_expect_nothing(copy: StudyFolder, tmp_path: Path) -> None:
    moved(copy)
    for cell in copy.cells[2:]:
        (copy.place(cell) / "finished.json").unlink()
    chosen = draw(copy, 0.01, 0)
    (check,) = verify(copy, chosen, InTurn(), tmp_path / "out")
    assert (check.verdict, check.is_good) == ("failed", False)
    assert check.detail == "2 runs are too few to expect anything of"


def test_a_run_that_cannot_be_lived_again_is_no_success(copy: StudyFolder, tmp_path: Path) -> None:
    data = json.loads(copy.plan.read_text())
    data["made"][0]["versions"]["numpy"] = "1.0"
    copy.plan.write_text(json.dumps(data))
    assert verdicts(StudyFolder.open(copy.path), tmp_path / "out") == ["failed"]
