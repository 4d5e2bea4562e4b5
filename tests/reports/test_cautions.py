"""What a page warns of: by runs made by hand, each fault planted in runs that have none."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tables import gaps, matrix_cells, write_run

from continual_arcade.agents import METHODS
from continual_arcade.evaluation import gather
from continual_arcade.evaluation.reference_files import shipped_references
from continual_arcade.reports.cautions import cautions
from continual_arcade.reports.method_results import collect_results
from continual_arcade.reports.verdict import section

TWO = gaps(100, 90)
GOOD = ((0, 0), (40, 5), (30, 41))
"""Learnt, adapted to, and partly forgotten: in the episodes of these runs the oracle has 47."""


def warned(
    root: Path,
    rows: Sequence[Sequence[float]] = GOOD,
    *,
    methods: Sequence[str] = ("finetune",),
    seeds: int = 5,
    size: int = 100,
    scale: bool = True,
) -> list[str]:
    paths = [
        write_run(
            root,
            TWO,
            matrix_cells(TWO, [np.asarray(row) + seed / 100 for row in rows]),
            seed=seed,
            method=method,
            spec=METHODS[method],
            settings={"buffer_size": size},
        )
        for method in methods
        for seed in range(seeds)
    ]
    (comparison,) = gather(paths).comparisons
    found = shipped_references().scale(comparison.protocol, "score") if scale else None
    return cautions(collect_results(comparison, found, {}))


def test_good_runs_are_warned_of_nothing(tmp_path: Path) -> None:
    assert warned(tmp_path) == []


def test_what_was_learnt_when_it_came_back_was_learnt(tmp_path: Path) -> None:
    cycle = gaps(100, 90, 100, 90)
    learnt = [[0, 0], [1, 0], [0, 1], [40, 1], [30, 41]]
    forgotten = [[0, 0], [1, 0], [0, 1], [1, 1], [0, 1]]
    for rows, nothing in ((learnt, False), (forgotten, True)):
        (tmp_path / f"{nothing}").mkdir()
        paths = [
            write_run(tmp_path / f"{nothing}", cycle, matrix_cells(cycle, rows), seed=seed)
            for seed in range(5)
        ]
        (comparison,) = gather(paths).comparisons
        scale = shipped_references().scale(comparison.protocol, "score")
        results = collect_results(comparison, scale, {})
        assert any("learnt by" in one for one in cautions(results)) is nothing
        headline = section(results, results[0], "pipes").headline
        assert headline.startswith("Nothing was learnt") is nothing


def test_few_runs(tmp_path: Path) -> None:
    (said,) = warned(tmp_path, methods=("finetune", "reservoir"), seeds=4)
    assert said.startswith("finetune and reservoir: 4 runs are too few to evaluate a method")
    assert "spread of 0.0129" in said  # of 0, 0.01, 0.02 and 0.03


@pytest.mark.parametrize("score", [4.6, 4.8])
def test_nothing_was_learnt_up_to_a_tenth_of_the_oracle(tmp_path: Path, score: float) -> None:
    found = warned(tmp_path, ((0, 0), (score, 0), (0, score)))
    assert any(one.startswith("Nothing was learnt by finetune") for one in found) == (score < 4.7)
    assert any("No run adapted to any phase" in one for one in found)


def test_a_phase_that_was_not_learnt_is_named(tmp_path: Path) -> None:
    rows = ((0, 0), (40, 0), (30, 2))
    found = warned(tmp_path, rows, methods=("finetune", "reservoir"))
    assert found[0].startswith("gap 90 was not learnt by any method: played at most 10 % of the")
    assert found[1].startswith("No run adapted to gap 90 before it ended")
    assert len(found) == 2


def test_one_run_that_adapts_is_enough(tmp_path: Path) -> None:
    assert not any("adapted" in one for one in warned(tmp_path, ((0, 0), (38, 5), (30, 38))))
    near = warned(tmp_path / "", ((0, 0), (37, 5), (30, 37)), methods=("mer",))
    assert sum("adapted to any phase" in one for one in near) == 1


@pytest.mark.parametrize(
    ("methods", "size", "named"),
    [
        (("finetune", "reservoir"), 200, "finetune and reservoir"),
        (("finetune", "reservoir"), 199, ""),
        # The short part of a mixed memory fills; a perfect memory is meant to hold all.
        (("finetune", "mix", "perfect-memory", "joint"), 200, "finetune"),
    ],
)
def test_a_memory_that_never_fills(
    tmp_path: Path, methods: Sequence[str], size: int, named: str
) -> None:
    found = warned(tmp_path, methods=methods, size=size)
    start = f"The replay memory of {named} never filled: it holds 200 transitions, and a run makes"
    assert [one.startswith(start) for one in found] == [True] * bool(named)


def test_without_references_nothing_is_said_of_learning(tmp_path: Path) -> None:
    assert warned(tmp_path, ((0, 0), (0, 0), (0, 0)), scale=False) == []


def test_a_phase_without_references_is_named(tmp_path: Path) -> None:
    odd = gaps(100, 97)
    path = write_run(tmp_path, odd, matrix_cells(odd, GOOD), settings={"buffer_size": 100})
    (comparison,) = gather([path]).comparisons
    scale = shipped_references().scale(comparison.protocol, "score")
    results = collect_results(comparison, scale, {})
    assert any(
        "Whether all phases were learnt is not known: gap 97" in s for s in cautions(results)
    )
    # A scale that is not damaged is not complained of.
    whole = replace(scale, zero=np.zeros(2), one=np.full(2, 47.0), reason="")
    assert not any(
        "is not known" in one for one in cautions(collect_results(comparison, whole, {}))
    )
