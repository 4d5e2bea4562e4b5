"""Interference on cards: cosines of known runs, each taken from the moment that is meant."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from tables import gaps, matrix_cells, write_run

from continual_arcade.agents import METHODS
from continual_arcade.evaluation import gather, network_diagnostics
from continual_arcade.evaluation.network_diagnostics import Reading
from continual_arcade.reports.method_results import MethodResults, collect_results
from continual_arcade.studies.interference import AT_END, BEFORE, BEGINS, Interference

COMES_BACK = gaps(100, 90, 80, 100)
"""The first phase is trained again at the end."""
PAIRS = [(0, 1), (0, 2), (1, 2)]


def cosine(stage: int, i: int, j: int, seed: int) -> float:
    """Another one at each moment for each pair."""
    if i == j:
        return 1.0
    return 0.2 * (stage + 1) - 0.1 * (i + j) + 0.05 * (seed - 1) - (0.4 if stage == 3 else 0)


def results(root: Path, *, undefined: tuple[int, int, int] | None = None) -> list[MethodResults]:
    """Three runs each of finetune and joint, whose cosines at an evaluation are negated."""
    for seed in range(3):
        for method in ("finetune", "joint"):
            rows = [np.array([0.0, 0.0, 0.0])] * 5
            path = write_run(
                root,
                COMES_BACK,
                matrix_cells(COMES_BACK, rows),
                seed=seed,
                method=method,
                spec=METHODS[method],
            )
            sign = 1 if method == "finetune" else -1
            for stage in range(-1, 4):
                readings = []
                for i in range(3):
                    for j in range(3):
                        value = sign * cosine(stage, i, j, seed)
                        if undefined == (stage, min(i, j), max(i, j)) and seed == 1:
                            value = np.nan
                        readings.append(Reading("gradient_cosine", value, i, j))
                table = network_diagnostics.rows(
                    readings,
                    run=path.name,
                    seed=seed,
                    step=100 * (stage + 1),
                    trained_phase=stage,
                )
                network_diagnostics.append(path / "diagnostics.csv", table)
    (comparison,) = gather(root.iterdir()).comparisons
    found = {one.group.method: one for one in collect_results(comparison, None, {})}
    return [found["finetune"], found["joint"]]


def test_each_cosine_is_of_its_moment(tmp_path: Path) -> None:
    found = Interference.of(*results(tmp_path))
    assert found.phases == ("gap 100", "gap 90", "gap 80")
    assert found.seeds == 3
    before, begins, ends, joint = found.measured
    assert [one.moment for one in found.measured] == [BEFORE, BEGINS, AT_END, AT_END]
    assert (ends.method, joint.method) == ("finetune", "joint")
    for i, j in PAIRS:
        assert before.means[i, j] == pytest.approx(cosine(-1, i, j, 1))
        # The later one of them begins when the stage before it ends; its return does not count.
        assert begins.means[i, j] == begins.means[j, i] == pytest.approx(cosine(j - 1, i, j, 1))
        assert ends.means[i, j] == pytest.approx(cosine(3, i, j, 1))
        assert joint.means[i, j] == pytest.approx(-cosine(3, i, j, 1))
        for one in found.measured:
            assert one.sds[i, j] == pytest.approx(0.05)
    np.testing.assert_allclose(np.diag(ends.means), 1.0)


def test_data_table_and_picture_say_the_same(tmp_path: Path) -> None:
    found = Interference.of(*results(tmp_path))
    data = tomllib.loads(tomli_w.dumps(found.to_data()))
    assert data["seeds"] == 3
    begins = data["measured"][1]
    assert (begins["method"], begins["moment"]) == ("finetune", BEGINS)
    assert begins["pairs"][0] == {"one": "gap 100", "other": "gap 90", "cosine": 0.1, "sd": 0.05}
    lines = found.as_markdown().splitlines()
    assert len(lines) == 2 + len(PAIRS)
    assert lines[0].startswith("| phases | before training | finetune, as the later phase begins |")
    assert lines[2].split(" | ")[:3] == ["| gap 100, gap 90", "-0.10 ± 0.05", "+0.10 ± 0.05"]
    chart = found.chart("a title")
    assert chart.limits == (-1.0, 1.0)
    shown = {panel.label: panel.frames[0] for panel in chart.panels}
    assert shown["finetune, at the end"][0, 1] == found.measured[2].means[0, 1]
    assert "finetune, at the end: least alike are gap 90 and gap 80 (+0.10)" in chart.alt


def test_what_is_undefined_of_one_seed_is_not_made_up_for_by_others(tmp_path: Path) -> None:
    found = Interference.of(*results(tmp_path, undefined=(3, 0, 1)))
    data = found.to_data()
    assert data["measured"][2]["pairs"][0] == {"one": "gap 100", "other": "gap 90"}
    assert "cosine" in data["measured"][2]["pairs"][1]
    assert found.as_markdown().splitlines()[2].count("undefined") == 2  # finetune's, and joint's
    assert "gap 100 and gap 90" not in found.chart("a title").alt.split("finetune, at the end")[1]


def test_runs_without_diagnostics_are_named(tmp_path: Path) -> None:
    results(tmp_path)
    for path in tmp_path.glob("*joint*/diagnostics.csv"):
        path.unlink()
    (comparison,) = gather(tmp_path.iterdir()).comparisons
    found = {one.group.method: one for one in collect_results(comparison, None, {})}
    with pytest.raises(ValueError, match=r"joint: 3 runs? of 3 wrote no diagnostics.csv"):
        Interference.of(found["finetune"], found["joint"])


def test_one_run_has_no_spread(tmp_path: Path) -> None:
    results(tmp_path)
    (one, *_) = tmp_path.glob("*finetune*")
    (comparison,) = gather([one]).comparisons
    (alone,) = collect_results(comparison, None, {})
    with pytest.raises(ValueError, match="finetune: a spread between seeds takes two runs"):
        Interference.of(alone, alone)
