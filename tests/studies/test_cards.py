"""Cards: each property by runs made by hand, and each fault planted in runs that have none."""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from tables import gaps, matrix_cells, write_run

from continual_arcade.agents import METHODS
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation import gather
from continual_arcade.evaluation.costs import COLUMNS
from continual_arcade.evaluation.protocol import EvaluationSettings
from continual_arcade.evaluation.reference_files import shipped_references
from continual_arcade.reports.method_results import collect_results, fitting
from continual_arcade.studies import cards
from continual_arcade.studies.cards import (
    Property,
    as_markdown,
    card_data,
    properties,
    read,
    read_spread,
)
from continual_arcade.studies.interference import Interference
from continual_arcade.studies.scenario import SHIPPED, Scenario, find, load, save
from continual_arcade.studies.spread import MethodSpread, PairSpread, Spread

TWO = gaps(100, 90)
ORACLE = 47.0
"""What the oracle has in the episodes of these runs; random play has 0."""
GOOD: Mapping[str, Sequence[Sequence[float]]] = {
    "finetune": ((0, 0), (46, 5), (10, 46)),
    "reservoir": ((0, 0), (45, 5), (40, 45)),
    "joint": ((0, 0), (30, 30), (44, 45)),
}
ALONE = (46.0, 45.0)
SPREAD = Spread(
    metric=cards.METRIC,
    unit="pellets caught",
    seeds=10,
    methods=(MethodSpread("finetune", 23.5, 6.5), MethodSpread("reservoir", 40.2, 6.8)),
    pairs=(PairSpread("reservoir", "finetune", 16.7, 8.0, 0.28),),
)
ALIKE = Interference(("normal",), 10, ())


def measured(
    root: Path,
    rows: Mapping[str, Sequence[Sequence[float]]] = GOOD,
    alone: Sequence[float] = ALONE,
    *,
    seeds: int = 3,
    apart: float = 0.1,
    experts: bool = True,
    phases: Schedule = TWO,
) -> dict[str, Property]:
    """The properties of runs in which seeds differ by so many pipes."""

    def run(schedule: Any, of: Sequence[Sequence[float]], method: str, seed: int) -> Path:
        values = [np.asarray(row, float) + apart * (seed - seeds // 2) for row in of]
        return write_run(
            root,
            schedule,
            matrix_cells(schedule, [np.clip(each, 0, ORACLE) for each in values]),
            seed=seed,
            method=method,
            spec=METHODS[method],
        )

    paths = [run(phases, of, method, seed) for method, of in rows.items() for seed in range(seeds)]
    singles = [
        run(phases.single(phase), ((0,), (score,)), "finetune", seed)
        for phase, score in enumerate(alone)
        for seed in range(seeds)
    ]
    (comparison,) = gather(paths).comparisons
    found = fitting(comparison, gather(singles)) if experts else {}
    scale = shipped_references().scale(comparison.protocol, "score")
    scale = replace(scale, zero=np.zeros(2), one=np.full(2, ORACLE), reason="")
    results = collect_results(comparison, scale, found)
    runs = {column: tuple(group.runs.values()) for column, group in found.items()}
    return {one.name: one for one in properties(results, runs)}


def test_a_scenario_that_has_all_but_what_takes_more_runs(tmp_path: Path) -> None:
    found = measured(tmp_path)
    assert found["learnable"].value == pytest.approx(45 / ORACLE)
    assert found["learnable, spread"].value == pytest.approx(0.1 / ORACLE)
    assert found["reconcilable"].value == pytest.approx((44 + 45) / (46 + 45))
    assert found["forgetful"].value == pytest.approx((10 - 46) / 46)  # the last is followed by none
    for name in ("learnable", "learnable, spread", "reconcilable", "forgetful"):
        assert found[name].is_met, name
        assert found[name].verdict == "met"
    for name in ("separating", "quiet", "cheap"):
        assert math.isnan(found[name].value)
        assert not found[name].is_met
        assert found[name].verdict == "not measured"
        assert found[name].detail


@pytest.mark.parametrize(
    ("missed", "rows", "alone", "apart"),
    [
        ("learnable", {}, (46.0, 40.0), 0.1),
        ("learnable, spread", {}, (44.0, 44.0), 3.0),
        ("reconcilable", {"joint": ((0, 0), (20, 20), (44, 30))}, ALONE, 0.1),
        ("forgetful", {"finetune": ((0, 0), (46, 5), (30, 46))}, ALONE, 0.1),
    ],
)
def test_each_fault_is_found(
    tmp_path: Path, missed: str, rows: Any, alone: Sequence[float], apart: float
) -> None:
    found = measured(tmp_path, {**GOOD, **rows}, alone, apart=apart)
    assert found[missed].verdict == "missed"
    assert found["forgetful"].is_met == (missed != "forgetful")


def test_phases_of_one_name_count_each(tmp_path: Path) -> None:
    """They are told apart by a number, as in matrices; not the last one counts for all."""
    of_one_name = replace(TWO, phases=tuple(replace(phase, name="gap") for phase in TWO.phases))
    found = measured(tmp_path, alone=(20.0, 45.0), phases=of_one_name)
    assert found["learnable"].value == pytest.approx(20 / ORACLE)
    assert found["learnable"].detail == "gap 0.43, gap (2) 0.96; 3 seeds"
    for name in ("solvable", "reconcilable"):
        assert "gap (2) " in found[name].detail, name


def test_shares_of_next_to_nothing_are_not_measured(tmp_path: Path) -> None:
    little = {**GOOD, "finetune": ((0, 0), (2, 0), (1, 2))}
    assert "finetune learns 0.04 in gap 100" in measured(tmp_path, little)["forgetful"].detail
    found = measured(tmp_path / "", alone=(2.0, 45.0))["reconcilable"]
    assert math.isnan(found.value)
    assert "experts reach 0.04 in gap 100" in found.detail


def test_pairs_are_decided_with_twenty_seeds(tmp_path: Path) -> None:
    found = measured(tmp_path, seeds=20, apart=0.02)["separating"]
    assert found.value == 1.0
    assert "1 of 1 pairs of 2 methods, 20 seeds" in found.detail  # joint is no method to compare
    again = {**GOOD, "reservoir": GOOD["finetune"]}
    (tmp_path / "same").mkdir()
    assert measured(tmp_path / "same", again, seeds=20)["separating"].value == 0.0


def test_the_fastest_run_of_each_method_says_what_a_study_costs(tmp_path: Path) -> None:
    """Whatever else the machine had to do beside the others."""

    def cost(path: Path, seconds: float) -> None:
        rows = [(0, 0.0, 9, 1.0), (100, seconds, 9, 1.0), (200, seconds, 9, 1.0)]
        lines = [",".join(map(str, row)) for row in (COLUMNS, *rows)]
        (path / "costs.csv").write_text("\n".join([*lines, ""]))

    seconds = {"finetune": (10.0, 1_000.0), "reservoir": (200.0, 40.0), "joint": (9.0, 9.0)}

    def run(method: str, seed: int) -> Path:
        cells = matrix_cells(TWO, [np.asarray(row, float) for row in GOOD[method]])
        path = write_run(tmp_path, TWO, cells, seed=seed, method=method, spec=METHODS[method])
        cost(path, seconds[method][seed])
        return path

    (comparison,) = gather([run(method, seed) for method in GOOD for seed in (0, 1)]).comparisons
    found = cards._cheap(collect_results(comparison, None, {}))
    each = ((2 * 10.0 + 3.0) + (2 * 40.0 + 3.0)) / 2  # that of joint does not count
    assert found.value == pytest.approx(each * 15 * cards.FEWEST / cards.CORES / 60)
    assert "the fastest of each method" in found.detail


def test_swings_are_those_between_the_last_evaluations(tmp_path: Path) -> None:
    evaluation = EvaluationSettings(every=0, at_end=2, spacing=10, episodes=1, first_seed=0)

    def run(method: str, seed: int, swing: float) -> Path:
        cells = {
            (step, trained): [[40 + seed + sign * swing], [40 + seed + sign * swing]]
            for step, trained, sign in (
                *((0, -1, 0), (90, 0, 1), (100, 0, -1)),
                *((190, 1, 1), (200, 1, -1)),
            )
        }
        of = {"seed": seed, "method": method, "spec": METHODS[method], "evaluation": evaluation}
        return write_run(tmp_path, TWO, cells, **of)  # type: ignore[arg-type]

    def quiet(swing: float) -> Property:
        for path in tmp_path.iterdir():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        paths = [run("finetune", seed, swing) for seed in range(3)]
        (comparison,) = gather(paths).comparisons
        return cards._quiet(collect_results(comparison, None, {}))

    assert quiet(0.25).value == pytest.approx(0.25 * math.sqrt(2))  # seeds are 1 apart
    assert quiet(1.0).verdict == "missed"


def test_a_card_lies_beside_the_file_of_its_scenario(tmp_path: Path) -> None:
    shipped = find("catcher-conflict")
    assert cards.place(shipped) == SHIPPED / "cards" / "catcher-conflict.toml"
    assert " card catcher-conflict --to " in cards.how_to_measure(shipped)
    file = tmp_path / "file of it.toml"
    save(replace(shipped, name="night"), file)
    mine = load(file)
    assert cards.place(mine) == tmp_path / "cards" / "night.toml"
    assert f" card '{file}' --to {tmp_path / 'cards'}" in cards.how_to_measure(mine)
    assert cards.place(replace(shipped, file=None)) is None
    assert mine == replace(shipped, name="night")  # where it was read from is no part of it
    with pytest.raises(ValueError, match="unknown key of a scenario 'file'"):
        Scenario.from_dict({**shipped.to_dict(), "file": "x"})


def test_the_spread_of_a_card_is_that_of_its_runs(tmp_path: Path) -> None:
    scores = {
        "finetune": [3.0, 8.0, 4.0, 9.0],
        "reservoir": [14.0, 17.0, 16.0, 20.0],
        "joint": [40.0, 40.0, 41.0, 42.0],
    }
    paths = [
        write_run(
            tmp_path,
            TWO,
            matrix_cells(TWO, [np.array(row) for row in ((0, 0), (30, 1), (end - 1, end + 1))]),
            seed=seed,
            method=method,
            spec=METHODS[method],
        )
        for method, ends in scores.items()
        for seed, end in enumerate(ends)
    ]
    (comparison,) = gather(paths).comparisons
    results = collect_results(comparison, None, {})
    found = Spread.of(find("flappy-bird-conflict"), results, cards.METRIC)
    assert (found.seeds, found.unit) == (4, "pipes passed")
    assert [one.method for one in found.methods] == ["finetune", "reservoir"]  # joint is no method
    ours, theirs = np.array(scores["reservoir"]), np.array(scores["finetune"])
    assert found.methods[1].sd == pytest.approx(ours.std(ddof=1), abs=1e-4)
    (pair,) = found.pairs
    assert {pair.ours, pair.theirs} == {"finetune", "reservoir"}
    sign = 1 if pair.ours == "reservoir" else -1
    assert pair.difference == pytest.approx(sign * (ours - theirs).mean(), abs=1e-4)
    assert pair.sd == pytest.approx((ours - theirs).std(ddof=1), abs=1e-4)
    # What the three spreads imply.
    implied = (ours.var(ddof=1) + theirs.var(ddof=1) - (ours - theirs).var(ddof=1)) / 2
    implied /= ours.std(ddof=1) * theirs.std(ddof=1)
    assert pair.correlation == pytest.approx(implied, abs=1e-4)
    again = tomllib.loads(tomli_w.dumps(found.to_data()))
    assert Spread.from_data(again) == found
    one = [one for one in results if one.group.method == "finetune"]
    assert Spread.of(find("flappy-bird-conflict"), one, cards.METRIC).pairs == ()
    (tmp_path / f"{paths[0].name}").rename(tmp_path / "gone")
    (comparison,) = gather(paths[1:]).comparisons
    with pytest.raises(ValueError, match=r"has seeds \[.*, others have \[0, 1, 2, 3\]"):
        Spread.of(find("flappy-bird-conflict"), collect_results(comparison, None, {}), cards.METRIC)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 1}, "seeds = 1 of spread must be at least 2"),
        ({"unit": 3}, "unit = 3 of spread must be text"),
        ({"more": 3}, "unknown key of spread 'more'"),
        ({"pairs": [3]}, "spread.pairs is a list of tables, and 3 is none"),
        ({"methods": [{"method": "a", "mean": 1}]}, "spread.methods lacks 'sd'"),
        ({"methods": [{"method": "a", "mean": 1, "sd": -1}]}, "sd = -1.0 of spread.methods must"),
        ({"methods": [{"method": "a", "mean": math.nan, "sd": 1}]}, "mean = nan of spread.method"),
        (None, "spread must be a table, not None"),
    ],
)
def test_a_damaged_spread_is_refused_by_name(change: Any, message: str, tmp_path: Path) -> None:
    scenario = find("catcher-conflict")
    path = tmp_path / "card.toml"
    data = card_data(scenario, [], SPREAD, ALIKE, {})
    if change is None:
        del data["spread"]
    else:
        data["spread"] |= change
    path.write_text(tomli_w.dumps(data), "utf-8")
    with pytest.raises(ValueError, match=re.escape(f"is damaged: {message}")):
        read_spread(path, scenario)
    assert "spread" not in message or read(path, scenario)["scenario"] == scenario.name


def test_what_a_card_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs runs of joint"):
        measured(tmp_path, {"finetune": GOOD["finetune"]})
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="needs experts of each phase, and gap 100, gap 90 has"):
        measured(tmp_path / "other", experts=False)


def test_a_card_is_written_and_read_for_the_scenario_as_it_was(tmp_path: Path) -> None:
    scenario = find("catcher-conflict")
    found = [
        Property("learnable", "experts", 0.95, 0.9, at_least=True, detail="normal 0.95"),
        Property("quiet", "spread", math.nan, 0.5, at_least=False, detail="one evaluation"),
    ]
    data = card_data(scenario, found, SPREAD, ALIKE, {"command": "a test", "git_commit": None})
    path = tmp_path / "card.toml"
    path.write_text(tomli_w.dumps(data), "utf-8")
    kept = read(path, scenario)
    assert [one["verdict"] for one in kept["properties"]] == ["met", "not measured"]
    assert "value" not in kept["properties"][1]
    assert "| learnable | experts: normal 0.95 | 0.95 | ≥ 0.9 | met |" in as_markdown(found)
    assert "|  | ≤ 0.5 | **not measured** |" in as_markdown(found)
    for changed in (
        replace(scenario, context="one-hot"),
        replace(scenario, settings={**scenario.settings, "learning_rate": 1e-3}),
        replace(scenario, schedule=scenario.schedule.with_steps(50_000)),
    ):
        with pytest.raises(ValueError, match="another schedule, context or learner; measure it ag"):
            read(path, changed)
    with pytest.raises(ValueError, match="the card of 'catcher-conflict'"):
        read(path, find("flappy-bird-conflict"))
    path.write_text(tomli_w.dumps({**data, "version": "0.0.1"}), "utf-8")
    with pytest.raises(ValueError, match=r"measured by version 0\.0\.1, this is"):
        read(path, scenario)
    path.write_text("format = 1\n", "utf-8")  # a card of before
    with pytest.raises(ValueError, match="no card of format 2; measure it again: python -m"):
        read(path, scenario)
    path.write_text("= [", "utf-8")
    with pytest.raises(ValueError, match="is no card"):
        read(path, scenario)
