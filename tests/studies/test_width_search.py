"""Progressive width search: order, budget, a surrogate by least squares, and planted errors."""

import itertools
import json
import math
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from small_studies import InTurn, changed, refused, run

from continual_arcade.evaluation.evaluator import MAX_STEPS
from continual_arcade.studies import tuning as tunings
from continual_arcade.studies import width_search
from continual_arcade.studies.provenance import versions
from continual_arcade.studies.tuning import Trial, Tuning, load, tune
from continual_arcade.studies.width_search import Hidden, Widths, WidthSearch, surrogate
from continual_arcade.studies.work import Job, Outcome

SPACE = Widths((16, 32, 64, 128), layers=3, beam=2)
EVERY = 4 + 16 + 64
RANGE = {"low": 0.9, "high": 0.99, "first": 0.95}


def scores_of(network: Sequence[int]) -> float:
    """Best with two layers of 64 units; both too little and too much cost."""
    return -abs(len(network) - 2) - sum(abs(math.log2(width) - 6) for width in network) / 3


def tried(space: Widths, trials: int) -> list[Hidden]:
    search, found = WidthSearch(space), []
    for _ in range(trials):
        found.append(search.ask())
        search.tell(scores_of(found[-1]))
    return found


def by_least_squares(
    scores: dict[Hidden, float], networks: list[Hidden], ridge: float = 1.0
) -> list[float]:
    """Ridge regression as least squares with a row for each slope, and one intercept."""

    def row(network: Hidden) -> list[float]:
        logs = np.log2(network)
        return [len(network), logs.mean(), logs.mean() ** 2 / 10, logs[-1] - logs[0]]

    known = np.array([[1.0, *row(each)] for each in scores])
    rows = np.concatenate([known, np.sqrt(ridge) * np.eye(5)[1:]])
    values = np.concatenate([list(scores.values()), np.zeros(4)])
    slopes = np.linalg.lstsq(rows, values, rcond=None)[0]
    return [float(np.dot(slopes, [1.0, *row(each)])) for each in networks]


NETWORKS = st.lists(st.sampled_from([8, 16, 32, 64]), min_size=1, max_size=4).map(tuple)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(NETWORKS, st.floats(-2, 2), min_size=1), st.lists(NETWORKS, min_size=1))
def test_the_surrogate_is_ridge_regression(
    scores: dict[Hidden, float], networks: list[Hidden]
) -> None:
    found = surrogate(scores, networks)
    np.testing.assert_allclose(found, by_least_squares(scores, networks), atol=1e-7)


def test_another_strength_would_be_found() -> None:
    scores, networks = {(8,): 0.0, (64,): 1.0}, [(8, 8), (64, 64)]
    wrong = by_least_squares(scores, networks, ridge=2.0)
    assert not np.allclose(surrogate(scores, networks), wrong, atol=1e-3)


def test_small_networks_are_all_tried_and_each_size_comes_from_the_best_of_the_last() -> None:
    found = tried(SPACE, 8)
    assert found[:4] == [(16,), (32,), (64,), (128,)]
    assert [len(each) for each in found[4:]] == [2, 2, 3, 3]
    first = sorted(found[:4], key=scores_of, reverse=True)[:2]
    assert {each[:1] for each in found[4:6]} <= set(first)
    second = {each[:2] for each in found[6:]}
    assert second <= set(found[4:6])
    # By brute force: what least squares over all trials before expect most of.
    grown = [(*each, width) for each in first for width in SPACE.widths]
    expected = by_least_squares({each: scores_of(each) for each in found[:4]}, grown)
    best = sorted(zip(expected, grown, strict=True), reverse=True)[:2]
    assert [each for _, each in best] == found[4:6]


def test_what_is_left_of_a_budget_is_spent_and_nothing_is_tried_twice() -> None:
    for trials in (4, 9, 30, EVERY):
        found = tried(SPACE, trials)
        assert len(set(found)) == trials
    assert set(found) == {
        each for n in (1, 2, 3) for each in itertools.product(SPACE.widths, repeat=n)
    }


def test_it_finds_the_best_of_84_networks_in_ten_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which the same search with a surrogate that expects the opposite does not."""
    assert max(tried(SPACE, 10), key=scores_of) == (64, 64)
    right = width_search.surrogate
    monkeypatch.setattr(width_search, "surrogate", lambda *given: -right(*given))
    assert max(tried(SPACE, 10), key=scores_of) != (64, 64)


@dataclass
class Rule:
    """Trains nothing: scores are those of the rule."""

    jobs: list[Job] = field(default_factory=list)

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        for job in jobs:
            self.jobs.append(job)
            value = scores_of(job.spec["settings"]["hidden"])
            yield Outcome(job.name, "finished", 1.0, "here", str(value))


def tuning_of(folder: Path, trials: int, **search: Any) -> Tuning:
    """A tuning of networks, on the scale of the references that come with the suite."""
    data = changed(
        methods={"finetune": method(**search)},
        trials=trials,
        seeds="1000",
        save_every=0,
        evaluation={"max_steps": MAX_STEPS},
    )
    path = folder / "tuning.toml"
    path.write_text(tomli_w.dumps(data), "utf-8")
    return load(path)


def searched(tuning: Tuning, out: Path, executor: Any) -> tuple[str, dict[str, Trial]]:
    best = tune(tuning, executor, out, versions(), lambda trial: None)
    return (out / "trials.csv").read_text("utf-8"), best


def method(**search: Any) -> dict[str, Any]:
    return {"settings": {"hidden": "{net}"}, "search": {"net": search}}


def test_it_is_a_search_of_a_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks are those that are trained, in that order, and the best is chosen."""
    monkeypatch.setattr(tunings, "_objective", lambda outcome, _: float(outcome.digest))
    tuning = tuning_of(tmp_path, 10, widths=[16, 32, 64, 128], layers=3, beam=2)
    executor = Rule()
    table, best = searched(tuning, tmp_path / "out", executor)
    trained = [tuple(job.spec["settings"]["hidden"]) for job in executor.jobs]
    assert trained == tried(SPACE, 10)
    assert json.loads(best["finetune"].values) == {"net": [64, 64]}
    assert '""net"": [64, 64]' in table
    chosen = tomllib.loads((tmp_path / "out" / "chosen.toml").read_text("utf-8"))
    assert chosen["methods"]["finetune"] == {"settings": {"hidden": [64, 64]}}


def test_real_networks_are_trained(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path, 3, widths=[4, 8], layers=2, beam=1)
    table, _ = searched(tuning, tmp_path / "out", InTurn())
    assert len(table.splitlines()) == 1 + 3
    config = json.loads(
        (tmp_path / "out/trials/FlappyBird-conflict__finetune-2__1000/config.json").read_text()
    )
    assert len(config["settings"]["hidden"]) == 2


@pytest.mark.parametrize(
    ("search", "trials", "message"),
    [
        ({"widths": []}, 3, "widths = [] must be numbers of units from 1 on"),
        ({"widths": [0, 8]}, 3, "widths = [0, 8] must be numbers of units from 1 on"),
        ({"widths": [8, 8]}, 3, "widths = [8, 8] must be numbers of units from 1 on, each larger"),
        ({"widths": [8, 4]}, 3, "widths = [8, 4] must be numbers of units from 1 on, each larger"),
        ({"widths": [8.0]}, 3, "widths = [8.0] must be whole numbers of units"),
        ({"widths": [True]}, 3, "widths = [True] must be whole numbers of units"),
        ({"widths": [8], "layers": 0}, 3, "layers = 0 must be at least 1"),
        ({"widths": [8], "beam": 0}, 3, "beam = 0 must be at least 1"),
        ({"widths": [8, 16], "layers": 16}, 3, "layers = 16 of 2 widths: more than 100,000 netw"),
        ({"widths": [8, 16], "layers": 10**9}, 3, "give fewer layers, or fewer widths"),
        ({"widths": [8], "first": 8}, 3, "unknown key of search 'net' of method 'finetune' 'fi"),
        ({"widths": [8, 16], "layers": 2}, 1, "trials = 1: there are 2 networks of one hidden la"),
        ({"widths": [8, 16], "layers": 2}, 7, "and 6 in all; give 2 to 6"),
    ],
    ids=str,
)
def test_mistakes_are_named(
    search: dict[str, Any], trials: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        tuning_of(tmp_path, trials, **search)


def test_each_width_is_tried_out_before_anything_is_trained(tmp_path: Path) -> None:
    """Else a run would fail where its turn comes, and all trials with it."""
    for widths, message in (
        ([8, 9], r"net = \[9\]: pt in .*even number"),
        ([8, 10], None),
        ([8, 10**12], r"net = \[1000000000000\]: .*memory"),
    ):
        data = changed(
            methods={"pt": {"preset": "pt-dqn", **method(widths=widths, layers=2)}},
            trials=3,
            seeds="1000",
            save_every=0,
            evaluation={"max_steps": MAX_STEPS},
        )
        (tmp_path / "tuning.toml").write_text(tomli_w.dumps(data), "utf-8")
        tuning = load(tmp_path / "tuning.toml")
        tuning.study.check()
        with pytest.raises(ValueError, match=message) if message else nullcontext():
            tuning.check()


def test_widths_are_searched_alone(tmp_path: Path) -> None:
    both = method(widths=[8])
    both["search"]["gamma"] = RANGE
    path = tmp_path / "tuning.toml"
    path.write_text(tomli_w.dumps(changed(methods={"finetune": both}, trials=1)), "utf-8")
    with pytest.raises(ValueError, match="widths are searched alone; leave out net, gamma but one"):
        load(path)


def test_optuna_is_needed_for_numbers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    tuning_of(tmp_path, 1, widths=[8], layers=1)
    assert "finetune: " in run("tune", tmp_path / "tuning.toml", "--out", tmp_path, "--jobs=1")
    numbers = {"settings": {"gamma": "{gamma}"}, "search": {"gamma": RANGE}}
    data = changed(methods={"finetune": numbers}, trials=1)
    (tmp_path / "numbers.toml").write_text(tomli_w.dumps(data), "utf-8")
    said = refused("tune", tmp_path / "numbers.toml", "--out", tmp_path)
    assert "tuning needs Optuna: pip install 'continual-arcade[tune]'" in said
