"""A report says what its runs say: numbers by hand; what is missing is said, never filled in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bounded_runs import by_hand, written
from tables import gaps, matrix_cells, write_run

from continual_arcade.evaluation import EvaluationSettings, gather, network_diagnostics
from continual_arcade.evaluation.bounded import Range
from continual_arcade.evaluation.metrics import METRICS
from continual_arcade.evaluation.network_diagnostics import Reading
from continual_arcade.evaluation.reference_files import shipped_references
from continual_arcade.evaluation.statistics import Estimate, mean_over_runs
from continual_arcade.reports.page import build_page
from continual_arcade.reports.pages.numbers import cells_of, numbers_of
from continual_arcade.reports.pages.page_model import (
    AreaChart,
    BarChart,
    DataTable,
    DotChart,
    HeatMap,
    Item,
    LineChart,
    Page,
)

TWO = gaps(100, 90)
JUDGING = EvaluationSettings(every=0, at_end=1, episodes=1, first_seed=0)
MIDDLE = [23.5, 23.5]
"""What is added to scores between 0 and 47 pipes."""
SCORES = Range.of_score(0, 47)
CHANGES = Range(-47, 47)
PLAIN = {seed: [[0, 0], [10 + seed, 2], [4, 8]] for seed in range(3)}
BETTER = {seed: [[0, 0], [9, 2], [8, 9 + seed]] for seed in range(3)}


def runs(
    root: Path,
    rows: Mapping[int, Sequence[Sequence[float]]],
    method: str = "finetune",
    schedule: object = TWO,
) -> list[Path]:
    return [
        write_run(
            root,
            schedule,  # type: ignore[arg-type]
            matrix_cells(schedule, of_seed),  # type: ignore[arg-type]
            seed=seed,
            method=method,
        )
        for seed, of_seed in rows.items()
    ]


def page_of(paths: Sequence[Path], **options: object) -> Page:
    settings: dict[str, object] = {"references": None, **options}
    unfinished = bool(settings.pop("unfinished", False))
    return build_page(gather(paths, unfinished=unfinished), **settings)  # type: ignore[arg-type]


def item(page: Page, key: str) -> Item:
    return next(found for found in page.items() if found.key == key)


def cells(page: Page, key: str) -> dict[str, dict[str, str]]:
    table = item(page, key)
    assert isinstance(table, DataTable)
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


@pytest.fixture
def both(tmp_path: Path) -> list[Path]:
    return runs(tmp_path, PLAIN) + runs(tmp_path, BETTER, "ewc")


def test_the_summary_by_hand(both: list[Path]) -> None:
    found = cells(page_of(both), "summary")
    # Just learnt: (10+8)/2, (11+8)/2, (12+8)/2. Two more runs are in the middle of what can be.
    assert found["finetune"]["when just learnt"] == written([9, 9.5, 10], MIDDLE)
    assert found["finetune"]["at the end"] == written([6, 6, 6], MIDDLE)
    assert found["finetune"]["worst phase"] == written([4, 4, 4], MIDDLE)
    # One phase was followed by another: from 10, 11, 12 to 4. One more run is in the middle at the
    # end, and one when just learnt.
    falls = [-6.0, -7.0, -8.0], [23.5 - 11, 4 - 23.5]
    assert found["finetune"]["backward transfer"] == written(*falls, "+.1f", CHANGES)
    rises = ([-x for x in side] for side in falls)
    assert found["finetune"]["forgetting"] == written(*rises, "+.1f", CHANGES)
    # From 0 before training to 2.
    assert found["finetune"]["forward transfer"] == written(
        [2, 2, 2], [23.5 - 0, 2 - 23.5], "+.1f", CHANGES
    )
    assert found["ewc"]["at the end"] == written([8.5, 9, 9.5], MIDDLE)
    assert found["ewc"]["runs"] == "3"


def test_differences_are_of_equal_seeds(both: list[Path]) -> None:
    page = page_of(both)
    found = cells(page, "difference-acc-gem")
    # 8.5 - 6, 9 - 6, 9.5 - 6; the signs of three pairs can be flipped in eight ways.
    added = [23.5 - 6, 9 - 23.5]  # ours in the middle, less 6; 9, less theirs in the middle
    assert found["ewc"]["difference [pipes passed]"] == written(
        [2.5, 3, 3.5], added, "+.1f", CHANGES
    )
    assert (found["ewc"]["p"], found["ewc"]["p (Holm)"]) == ("0.250", "0.250")
    assert found["ewc"]["won"].startswith("1.00 [")
    # Of so few pairs p cannot be below 0.05.
    assert found["ewc"]["smallest"] == "\N{EN DASH}"
    table = item(page, "difference-acc-gem")
    assert isinstance(table, DataTable)
    assert any("3 pairs cannot make any difference significant" in note for note in table.notes)
    other = cells(page_of(both, against="ewc"), "difference-acc-gem")
    assert other["finetune"]["difference [pipes passed]"] == written(
        [-2.5, -3, -3.5], [-x for x in added], "+.1f", CHANGES
    )
    with pytest.raises(ValueError, match="unknown method 'ewk': did you mean 'ewc'"):
        page_of(both, against="ewk")


def test_runs_at_an_end_are_marked(tmp_path: Path) -> None:
    held = {seed: [[0, 0], [47, 0], [end, 0]] for seed, end in enumerate((47, 3, 46.9))}
    page = page_of(runs(tmp_path, held), references=shipped_references())
    table = item(page, "summary")
    assert isinstance(table, DataTable)
    found = cells(page, "summary")["finetune"]
    assert found["worst phase"] == written([0, 0, 0], MIDDLE) + " _"
    assert found["at the end"] == written([23.5, 1.5, 23.45], MIDDLE)
    share = "(95 % interval of their share: 29 to 100 %)"
    assert f"_ 3 of 3 runs at the floor {share}: finetune, worst phase" in table.notes
    assert cells(page, "summary-normalised")["finetune"]["worst phase"].endswith(" _")
    chart = item(page, "ends")
    assert isinstance(chart, BarChart)
    share = "(95 % interval of their share: 9 to 99 %)"
    assert f"2 of 3 runs at the cap {share}" in chart.bars[0].hover[0]
    assert chart.bars[0].high[0] == 47


def test_no_interval_leaves_what_can_be(tmp_path: Path) -> None:
    crowded = {seed: [[0, 0], [47, 1], [end, 46]] for seed, end in enumerate((0, 47, 2))}
    page = page_of(runs(tmp_path, crowded) + runs(tmp_path, PLAIN, "ewc"))
    for key, lowest in (("ends", 0), ("changes", -47)):
        chart = item(page, key)
        assert isinstance(chart, BarChart)
        for bars in chart.bars:
            assert (np.array(bars.low) >= lowest).all()
            assert (np.array(bars.high) <= 47).all()
    curves = item(page, "lifetimes")
    assert isinstance(curves, LineChart)
    for panel in curves.panels:
        for line in panel.series:
            assert line.low is not None
            assert line.high is not None
            assert (line.low >= 0).all()
            assert (line.high <= 47).all()
    for row in cells(page, "difference-acc-gem").values():
        low, high = row["difference [pipes passed]"].split("[")[1].rstrip("]").split(", ")
        assert -47 <= float(low) < float(high) <= 47


def test_the_verdict_is_that_of_the_tables(both: list[Path]) -> None:
    page = page_of(both)
    (verdict,) = page.verdicts
    difference = cells(page, "difference-acc-gem")["ewc"]
    row = cells(page, "summary")
    assert verdict.headline == (
        "ewc is ahead with 9.0 pipes passed at the end, not significantly better than finetune "
        f"({difference['difference [pipes passed]']}, p = {difference['p (Holm)']}), and shows "
        "no significant forgetting (1.0 [-12.4, 14.0])."
    )
    assert row["ewc"]["at the end"] == "9.0 [4.9, 24.7]"
    assert "3 seeds cannot make any difference significant: at least 6 are needed." in verdict.text
    assert "finetune has forgotten most, 64 % of what it had learnt (7.0 of 11.0)" in verdict.text
    (picture,) = verdict.items
    assert isinstance(picture, DotChart)
    assert [dot.label for dot in picture.dots] == ["ewc", "finetune"]
    found = [(dot.before, dot.value) for dot in picture.dots]
    np.testing.assert_allclose(found, [(9.5, 9.0), (9.5, 6.0)])
    assert picture.marks == ()
    with_oracle = page_of(both, references=shipped_references()).verdicts[0].items[0]
    assert isinstance(with_oracle, DotChart)
    assert [name for name, _ in with_oracle.marks] == ["random play", "oracle"]
    assert with_oracle.marks[1][1] == pytest.approx(47, abs=1)


def test_a_page_says_what_it_is_for(both: list[Path]) -> None:
    assert (page_of(both).title, page_of(both).about) == ("FlappyBird, gaps", "")
    page = page_of(both, title="Study small", about="two methods, to see")
    assert (page.title, page.about) == ("Study small", "two methods, to see")
    assert page.subtitle == "FlappyBird, gaps: 6 runs of 2 methods"


def numbers_in(estimate: Estimate) -> object:
    return pytest.approx([estimate.value, estimate.low, estimate.high])


def test_numbers_are_kept_as_numbers(both: list[Path]) -> None:
    table = item(page_of(both), "summary")
    assert isinstance(table, DataTable)
    columns, rows = cells_of(table)
    found = dict(zip(columns, rows[0], strict=True))
    written = [found[f"when just learnt{end}"] for end in ("", ", low", ", high")]
    assert written == numbers_in(mean_over_runs([9.0, 9.5, 10.0], within=SCORES))
    assert found["runs"] == 3
    matrix = item(page_of(both), "matrix")
    assert isinstance(matrix, HeatMap)
    numbers = numbers_of(matrix)
    assert numbers.columns == (
        *("method", "phase played", "after training in", "pipes passed", "low", "high", "remark"),
    )
    # After training in the first phase.
    assert list(numbers.rows[1][3:6]) == numbers_in(
        mean_over_runs([10.0, 11.0, 12.0], within=SCORES)
    )


def test_charts_show_the_numbers(both: list[Path]) -> None:
    page = page_of(both)
    matrix = item(page, "matrix")
    assert isinstance(matrix, HeatMap)
    assert matrix.columns == ("before", "gap 100", "gap 90")
    np.testing.assert_allclose(matrix.panels[0].frames[0], [[0, 11, 4], [0, 2, 8]])
    assert matrix.marked == {(0, 1), (1, 2)}
    ends, changes = item(page, "ends"), item(page, "changes")
    assert isinstance(ends, BarChart)
    assert isinstance(changes, BarChart)
    np.testing.assert_allclose(ends.bars[1].values, [8, 10, 9, 8])
    assert changes.categories == ("gap 100",)
    np.testing.assert_allclose(changes.bars[0].values, [-7])
    curves = item(page, "lifetimes")
    assert isinstance(curves, LineChart)
    line = curves.panels[0].series[0]
    np.testing.assert_allclose(line.x, [0, 100, 200])
    np.testing.assert_allclose(line.y, [0, 11, 4])
    assert [band.highlighted for band in curves.panels[1].bands] == [False, True]
    for chart in page.items():
        if not isinstance(chart, DataTable):
            assert getattr(chart, "alt", "films"), chart.key


def test_every_metric_is_there_with_what_it_is(both: list[Path]) -> None:
    page = page_of(both, references=shipped_references())
    for key in ("metrics", "metrics-normalised", "definitions"):
        assert list(cells(page, key)) == list(METRICS)
    assert cells(page, "metrics")["acc@gem"]["ewc"] == written([8.5, 9, 9.5], MIDDLE, ".2f")
    # The limit of an episode lets the oracle pass 47 pipes, random play passes none.
    value, low, high = map(
        float, re.findall(r"[\d.]+", cells(page, "metrics-normalised")["acc@gem"]["ewc"])
    )
    assert value == pytest.approx(9 / 47, abs=0.02)
    # Another scale changes nothing but the unit.
    assert [low, high] == pytest.approx(
        [end / 47 for end in by_hand([8.5, 9, 9.5], MIDDLE)], abs=0.02
    )


def test_what_is_undefined_says_why(both: list[Path]) -> None:
    page = page_of(both)
    table = item(page, "metrics")
    assert isinstance(table, DataTable)
    assert cells(page, "metrics")["regret@dynamic"]["ewc"] == "\N{EN DASH}"
    assert any("regret@dynamic" in note for note in table.notes)
    assert not any(": it was not measured" in note for note in table.notes)


def test_a_phase_without_references_is_said_to_have_none(tmp_path: Path) -> None:
    paths = runs(tmp_path, PLAIN, schedule=gaps(100, 97))
    page = page_of(paths, references=shipped_references())
    for key, metric in (("summary-normalised", "the end"), ("metrics-normalised", "acc@gem")):
        table = item(page, key)
        assert isinstance(table, DataTable)
        said = [note for note in table.notes if metric in note and ", IQM:" not in note]
        assert len(said) == 1
        assert "gap 97: no reference for " in said[0]
        assert not any("was not evaluated" in note for note in table.notes)
    # In points everything is there.
    assert cells(page, "summary")["finetune"]["at the end"] == written([6, 6, 6], MIDDLE)


def test_one_run_of_one_phase_and_one_episode(tmp_path: Path) -> None:
    one = gaps(100)
    page = page_of(runs(tmp_path, {0: [[0], [7]]}, schedule=one), references=shipped_references())
    found = cells(page, "summary")["finetune"]
    assert found["at the end"] == "7.0"
    assert found["backward transfer"] == "\N{EN DASH}"
    summary = item(page, "summary")
    assert isinstance(summary, DataTable)
    assert any("backward transfer" in note and "phase" in note for note in summary.notes)
    assert "difference-acc-gem" not in [found.key for found in page.items()]
    assert any("finetune" in warning and "1 run" in warning for warning in page.warnings)


def test_a_run_that_is_still_being_written_spoils_no_number(tmp_path: Path) -> None:
    paths = runs(tmp_path, PLAIN)
    short = write_run(tmp_path, TWO, {(0, -1): [[0], [0]], (100, 0): [[46], [46]]}, seed=9)
    page = page_of([*paths, short])
    assert cells(page, "summary")["finetune"]["runs"] == "3"
    assert cells(page, "left-out")[short.name]["reason"] == "the run reached step 100 of 200"
    taken = page_of([*paths, short], unfinished=True)
    found = cells(taken, "summary")["finetune"]
    assert found["runs"] == "4"
    assert found["at the end"] == "\N{EN DASH}"
    table = item(taken, "summary")
    assert isinstance(table, DataTable)
    assert any("reached step 100 of 200" in note for note in table.notes)


def test_no_run_that_can_be_reported(tmp_path: Path) -> None:
    short = write_run(tmp_path, TWO, {(0, -1): [[0], [0]]})
    with pytest.raises(ValueError, match="no run finished"):
        page_of([short])


def test_protocols_are_kept_apart(tmp_path: Path) -> None:
    longer = gaps(100, 90, steps=200)
    paths = runs(tmp_path, PLAIN) + runs(tmp_path, {0: [[0, 0], [30, 2], [40, 8]]}, schedule=longer)
    page = page_of(paths)
    assert cells(page, "scenario-0-summary")["finetune"]["runs"] == "3"
    assert cells(page, "scenario-1-summary")["finetune"]["at the end"] == "24.0"
    assert page.warnings[0].startswith("Runs of different protocols are on this page")
    titles = [one.title for one in page.verdicts]
    assert all(title.startswith("FlappyBird, gaps (schedule gaps (") for title in titles)
    assert len(set(titles)) == 2
    assert page.title == "FlappyBird, gaps"  # and not all in which they differ, for each of them
    assert "6.0 pipes" in page.verdicts[0].headline
    assert "24.0 pipes" in page.verdicts[1].headline
    keys = [found.key for found in page.items()] + [section.key for section in page.sections]
    assert len(keys) == len(set(keys))


def test_single_phase_runs_are_baselines_where_they_fit(tmp_path: Path) -> None:
    paths = runs(tmp_path, PLAIN)
    name = "forward-transfer@meal"
    assert cells(page_of(paths), "metrics")[name]["finetune"] == "\N{EN DASH}"
    alone = [gaps(100), gaps(90), gaps(75)]
    paths_alone = [
        path for schedule in alone for path in runs(tmp_path, {0: [[0], [8]]}, schedule=schedule)
    ]
    baselines = gather(paths_alone)
    page = page_of(paths, baselines=baselines)
    stands = [row["stands for"] for row in cells(page, "baselines").values()]
    assert stands[:2] == ["FlappyBird, gaps: gap 100", "FlappyBird, gaps: gap 90"]
    assert stands[2].startswith("none: ")
    other = runs(tmp_path, {0: [[0], [8]]}, "ewc", schedule=alone[0])
    with pytest.raises(ValueError, match="of several methods or settings"):
        page_of([*paths, *runs(tmp_path, PLAIN, "ewc")], baselines=gather([*paths_alone, *other]))
    # Of several those count that learn as these runs do.
    several = cells(page_of(paths, baselines=gather([*other, *paths_alone])), "baselines")
    assert [row["stands for"] for row in several.values()][:2] == [
        "none: no phase of these runs, or evaluated or trained otherwise",
        stands[0],
    ]
    found = cells(page_of(paths, baselines=baselines), "metrics")[name]["finetune"]
    # While its phase is trained: (0 + 10)/2, 11/2, 12/2 in the first, (2 + 8)/2 in the second;
    # alone (0 + 8)/2. So (5, 5.5, 6)/4 - 1 and 5/4 - 1.
    expected = np.mean([(np.array([5, 5.5, 6]) / 4 - 1).mean(), 0.25])
    assert float(found.split(" [")[0]) == pytest.approx(expected, abs=0.006)


def test_what_goes_on_inside(tmp_path: Path) -> None:
    paths = runs(tmp_path, PLAIN)
    for seed, path in enumerate(paths):
        for step, stage in ((0, -1), (100, 0), (200, 1)):
            cosines = [
                Reading("gradient_cosine", 1.0 if i == j else -0.1 * seed, i, j)
                for i in range(2)
                for j in range(2)
            ]
            of_all = [Reading("dormant_share", 0.1 * (seed + stage + 1))]
            of_all += [
                Reading(
                    f"fisher_overlap_layer_{layer}", 0.1 * seed + 0.2 * layer + 0.01 * stage, 0, 1
                )
                for layer in range(2)
            ]
            rows = network_diagnostics.rows(
                [*cosines, *of_all], run=path.name, seed=seed, step=step, trained_phase=stage
            )
            network_diagnostics.append(path / "diagnostics.csv", rows)
        (path / "progress.csv").write_text(
            "time/total_timesteps,replay/stored_phase_0,replay/stored_phase_1,"
            "replay/drawn_phase_0,replay/drawn_phase_1\n"
            "50,,,0.0,0.0\n100,1.0,,1.0,\n200,0.25,0.75,0.5,0.5\n"
        )
        (path / "costs.csv").write_text(
            "lifetime_step,training_seconds,evaluation_steps,evaluation_seconds\n"
            "0,0.0,0,0.0\n100,3.0,50,0.5\n200,3.0,50,0.5\n"
        )
        (path / "footprints.csv").write_text(
            "lifetime_step,parameters,network_bytes,replay_bytes,method_bytes,"
            "earlier_observations\n"
            f"0,90,720,9600,0,0\n100,90,1440,9600,{2000 + seed * 3000},0\n"
            f"200,90,1440,9600,0,{10 * seed}\n"
        )
    page = page_of(paths)
    interference = item(page, "interference")
    assert isinstance(interference, HeatMap)
    assert len(interference.frames) == 3
    np.testing.assert_allclose(interference.panels[0].frames[-1], [[1, -0.1], [-0.1, 1]])
    overlap = item(page, "fisher-overlap")
    assert isinstance(overlap, HeatMap)
    assert overlap.frames == ("layer 1", "layer 2")
    np.testing.assert_allclose(
        overlap.panels[0].frames, [[[1, at], [at, 1]] for at in (0.11, 0.31)]
    )
    plasticity = item(page, "dormant-share")
    assert isinstance(plasticity, LineChart)
    np.testing.assert_allclose(plasticity.panels[0].series[0].y, [0.1, 0.2, 0.3])
    memory = item(page, "replay-stored")
    assert isinstance(memory, AreaChart)
    (_, first), (_, second) = memory.panels[0].layers
    # Nothing is known before the first line of the log, at step 100, or after the last.
    assert (memory.panels[0].x[0], memory.panels[0].x[-1]) == (100, 200)
    assert (first[0], first[-1], second[-1]) == (1.0, 0.25, 0.75)
    np.testing.assert_allclose(first + second, 1)
    drawn = item(page, "replay-drawn")
    assert isinstance(drawn, AreaChart)
    # A line tells of the batches since the one before.
    assert drawn.panels[0].layers[0][1].tolist() == [1.0] + [0.5] * (len(drawn.panels[0].x) - 1)
    costs = cells(page, "costs")["finetune"]
    assert costs["training [s]"] == "6.0"
    assert costs["evaluation's share of the time"] == "14%"
    taken = cells(page, "resources")["finetune"]
    assert list(taken.values()) == [
        "finetune", "30000.0", "1.00", "90", "1", "10", "5", "10"
    ]  # fmt: skip
    # What a resumed run took before it was cut off is not in its table.
    resumed = (paths[0] / "costs.csv").read_text().replace("100,3.0", "100,0.1")
    (paths[0] / "costs.csv").write_text(resumed)
    (paths[0] / "progress_from_000000000090.csv").write_text("time/total_timesteps\n100\n")
    whole = page_of(paths)
    assert cells(whole, "costs")["finetune"]["training [s]"] == "6.0"
    assert "30000.0" in cells(whole, "resources")["finetune"].values()
    # What no run wrote down is unknown, and so is memory of which one did not.
    for path in paths:
        (path / "costs.csv").unlink()
    (paths[1] / "footprints.csv").unlink()
    (paths[0] / "diagnostics.csv").unlink()
    without = page_of(paths)
    assert cells(without, "costs")["finetune"]["training [s]"] == "\N{EN DASH}"
    assert set(cells(without, "resources")["finetune"].values()) == {"finetune", "\N{EN DASH}"}
    assert "interference" not in [found.key for found in without.items()]
    # Beside another method that has them, it is said who lacks what.
    others = runs(tmp_path, BETTER, "ewc")
    partly = item(page_of([*paths[1:], *others]), "interference")
    assert isinstance(partly, HeatMap)
    assert [panel.label for panel in partly.panels] == ["finetune"]
    assert "Without ewc: 3 runs of 3 wrote no diagnostics.csv" in partly.caption
    # The fastest of each method: twice as long as finetune took.
    for path in paths[1:]:
        (path / "costs.csv").write_text(
            "lifetime_step,training_seconds,evaluation_steps,evaluation_seconds\n"
            "0,0.0,0,0.0\n100,3.0,50,0.5\n200,3.0,50,0.5\n"
        )
    for path in others:
        (path / "costs.csv").write_text(
            "lifetime_step,training_seconds,evaluation_steps,evaluation_seconds\n"
            f"0,0.0,0,0.0\n100,{9 if path == others[0] else 6}.0,50,0.5\n200,6.0,50,0.5\n"
        )
    both = cells(page_of([*paths[1:], *others]), "resources")
    assert both["ewc"]["times finetune"] == "2.00"
    assert cells(page_of(others), "resources")["ewc"]["times finetune"] == "\N{EN DASH}"


def test_a_phase_that_comes_back(tmp_path: Path) -> None:
    cycle = gaps(100, 90, 100)
    page = page_of(runs(tmp_path, {0: [[0, 0], [9, 1], [3, 8], [9, 2]]}, schedule=cycle))
    matrix = item(page, "matrix")
    assert isinstance(matrix, HeatMap)
    assert matrix.rows == ("gap 100", "gap 90")
    assert matrix.columns == ("before", "gap 100", "gap 90", "gap 100 (2)")


def test_phases_of_one_name_are_told_apart(tmp_path: Path) -> None:
    schedule = replace(TWO, phases=tuple(replace(s, name="same") for s in TWO.phases))
    matrix = item(page_of(runs(tmp_path, {0: PLAIN[0]}, schedule=schedule)), "matrix")
    assert isinstance(matrix, HeatMap)
    assert matrix.rows == ("same", "same (2)")
