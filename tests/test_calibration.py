"""The methods reach what they reached on the tasks of their papers when that was published."""

import runpy
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from small_studies import run

from continual_arcade.evaluation import Run
from continual_arcade.studies.folder import StudyFolder
from continual_arcade.studies.study import find, load

ROOT = Path(__file__).parents[1]
FAR = 20.0
"""How far a mean may be from that of the published runs of the same seeds [right answers of 1,000]:
processors add in other orders, and twenty tasks make the most of that."""


def published() -> dict[tuple[str, str], Any]:
    found = runpy.run_path(str(ROOT / "docs" / "results" / "calibration.py"))["measured"]()
    assert found
    return found  # type: ignore[no-any-return]


def test_quick_cells_are_those_of_the_calibration() -> None:
    quick, whole = load(find("calibration-quick")), load(find("calibration"))
    assert quick.entries
    assert [entry for entry in quick.entries if entry not in whole.entries] == []
    assert [scenario for scenario in quick.scenarios if scenario not in whole.scenarios] == []
    assert (quick.evaluation, quick.probes) == (whole.evaluation, whole.probes)
    assert set(quick.seeds) <= set(whole.seeds)


@pytest.mark.slow  # minutes
def test_quick_cells_come_to_what_is_published(tmp_path: Path) -> None:
    run("run", "calibration-quick", "--out", tmp_path, "--jobs", 2)
    folder = StudyFolder.open(tmp_path / "calibration-quick")
    of_method: dict[tuple[str, str], list[float]] = {}
    for cell in folder.cells:
        record = Run.load(folder.place(cell)).scores
        of_method.setdefault((cell.scenario, cell.method), []).append(
            float(record.values[record.ends[-1]].mean())
        )
    for key, scores in of_method.items():
        wanted = published()[key].retained
        assert mean(scores) == pytest.approx(mean(wanted[: len(scores)]), abs=FAR), key
