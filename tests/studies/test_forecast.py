"""What a study will cost: every kind of run is measured; what can be trained is not refused."""

import time
from pathlib import Path
from typing import Any

import pytest
from small_studies import SCENARIO, InTurn, made, small

from continual_arcade.agents import METHODS
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.studies import forecast as forecasting
from continual_arcade.studies.folder import StudyFolder
from continual_arcade.studies.forecast import forecast
from continual_arcade.studies.grid import cells
from continual_arcade.studies.running import run_all


@pytest.fixture(autouse=True)
def short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "SAMPLE", 200)


def test_each_kind_of_run_is_counted_once(tmp_path: Path) -> None:
    study = small(
        tmp_path,
        references=["experts", "joint", "from-scratch"],
        methods={"finetune": {}, "ewc": {}},
        schedules=["conflict", "shrink"],
        seeds="0..2",
    )
    all_cells = list(cells(study))
    costs = forecast(all_cells)
    assert sum(cost.runs for cost in costs) == len(all_cells)
    kinds = {(cost.scenario, cost.method): cost.runs for cost in costs}
    assert len(kinds) == len(costs) == 2 * (2 + 2 + 1)
    assert kinds["FlappyBird-conflict", "ewc"] == 3
    assert kinds["FlappyBird-conflict", "expert"] == 3 * 3
    assert all(min(cost.train_seconds, cost.evaluation_seconds, cost.disk) > 0 for cost in costs)
    assert forecast([]) == []


@pytest.mark.one_in(9)
@pytest.mark.parametrize("method", [*METHODS])
def test_every_method_can_be_forecast(method: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {}
    if any(part.told for part in METHODS[method].make_parts()):
        changes = dict.fromkeys(("games", "schedules", "phase_steps", "settings"))
        changes["scenarios"] = [{**SCENARIO, "context": "one-hot"}]
    short = {"at_end": 3, "spacing": 9}
    entry = {"parts": ["packnet:retrain=9"], "preset": "finetune"} if method == "packnet" else {}
    study = small(tmp_path, methods={method: entry}, seeds="0", evaluation=short, **changes)
    study.check()
    (cost,) = forecast(list(cells(study)))
    assert (cost.method, cost.runs) == (method, 1)


def test_what_is_done_where_phases_end_does_not_grow_with_the_phases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = EWC.phase_end

    def slow(part: EWC, learner: Any, phase: int) -> None:
        time.sleep(0.5)
        end(part, learner, phase)

    monkeypatch.setattr(EWC, "phase_end", slow)
    study = small(tmp_path, methods={"ewc": {}}, seeds="0", phase_steps=1_000_000)
    (cost,) = forecast(list(cells(study)))
    # Two phases end: 1 s of millions of steps; as a cost of each of them it would be hours.
    fast = 3_000_000 / cost.train_seconds
    monkeypatch.setattr(EWC, "phase_end", end)
    (without,) = forecast(list(cells(study)))
    assert fast > 0.2 * 3_000_000 / without.train_seconds


def test_longer_lives_cost_more_and_more_evaluations_take_more_room(tmp_path: Path) -> None:
    def disk(**changes: object) -> int:
        return forecast(list(cells(small(tmp_path, seeds="0", **changes))))[0].disk

    once = disk(save_every=0)
    assert disk(save_every=0, evaluation={"every": 20}) >= 3 * once
    # The state to resume from holds what replay remembers.
    assert disk(save_every=10) - once == pytest.approx(200 * 50, abs=1_000)


def test_the_room_is_of_the_order_of_what_is_taken(tmp_path: Path) -> None:
    study = small(tmp_path, seeds="0", evaluation={"every": 20, "episodes": 5})
    (cost,) = forecast(list(cells(study)))
    folder = StudyFolder(tmp_path / "small")
    with folder.lock.hold():
        folder.begin(study, made())
        run_all(folder, InTurn(), folder.cells)
    taken = sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file())
    assert taken / 4 < cost.disk < taken * 2
