"""What a score can be: what nobody exceeds, and what is said of who does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tables import gaps, matrix_cells, write_run

from continual_arcade.envs import IDS, make_game, shipped
from continual_arcade.envs.oracles import Oracle
from continual_arcade.evaluation import EvaluationSettings, Protocol, gather
from continual_arcade.evaluation.score_range import score_range

TWO = gaps(100, 90)


def protocol(game: str, name: str = "shrink", **settings: int) -> Protocol:
    return Protocol(game, IDS[game], shipped(name, make_game(game)), EvaluationSettings(**settings))


def test_it_is_that_of_the_episodes_that_are_played() -> None:
    results = protocol("Catcher", episodes=4)
    found = score_range(results)
    assert found is not None
    assert found.highest.shape == (6, 4)
    evaluator = results.make_evaluator()
    scores = evaluator.play(Oracle(evaluator.env)).scores
    assert (scores <= found.highest).all()
    assert (scores >= found.highest - 1).all()
    assert [within.high for within in found.of_phases] == found.highest.mean(axis=1).tolist()
    assert {within.low for within in found.of_phases} == {0.0}
    # Other episodes are other pellets; shorter ones have fewer.
    other = score_range(protocol("Catcher", episodes=4, first_seed=7))
    shorter = score_range(protocol("Catcher", episodes=4, max_steps=900))
    assert other is not None
    assert shorter is not None
    assert (other.highest != found.highest).any()
    assert (shorter.highest < found.highest).all()


def test_forty_seven_pipes_come_by_whatever_the_gap() -> None:
    found = score_range(protocol("FlappyBird", "conflict", episodes=2))
    assert found is not None
    assert (found.highest == 47).all()


def test_an_episode_too_short_for_a_point_has_no_width() -> None:
    found = score_range(protocol("FlappyBird", episodes=2, max_steps=10))
    assert found is not None
    assert {(within.low, within.high) for within in found.of_phases} == {(0.0, 0.0)}


@pytest.mark.parametrize("change", [{"game": "Pong"}, {"env": "ContinualArcade/FlappyBird-v9"}])
def test_of_other_rules_nothing_is_known(change: dict[str, str]) -> None:
    assert score_range(replace(protocol("FlappyBird"), **change)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("score", [-1.0, 47.5, 48.0])
def test_a_run_with_an_impossible_score_is_left_out(tmp_path: Path, score: float) -> None:
    good = write_run(tmp_path, TWO, matrix_cells(TWO, [[0, 0], [47, 1], [3, 8]]))
    bad = write_run(tmp_path, TWO, matrix_cells(TWO, [[0, 0], [5, score], [3, 8]]), seed=1)
    gathered = gather([good, bad])
    assert [
        list(group.runs) for comparison in gathered.comparisons for group in comparison.groups
    ] == [[0]]
    (left,) = gathered.left_out
    assert left.path == bad
    assert (
        f"a score of {score:g} in gap 90, episode 0, at step 100 is impossible: there it is "
        "between 0 and 47 in 1,800 steps" in left.reason
    )


def test_what_is_missing_is_not_impossible(tmp_path: Path) -> None:
    short = write_run(tmp_path, TWO, {(0, -1): [[0], [0]], (100, 0): [[46], [3]]})
    (left,) = gather([short]).left_out
    assert left.reason == "the run reached step 100 of 200"
    (comparison,) = gather([short], unfinished=True).comparisons
    assert np.isnan(comparison.groups[0].runs[0].scores.values).any()
