"""The scale between random play and the oracle: what it is, and where there is none."""

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tyro
from schedules_of_games import PAIRS
from tables import gaps, record_of

from continual_arcade.envs import GAMES, IDS, PhaseSpec, Schedule, make_game, shipped
from continual_arcade.envs.oracles import Oracle
from continual_arcade.envs.tunables import resolve
from continual_arcade.evaluation import (
    EvaluationSettings,
    Evaluator,
    FunctionPolicy,
    Protocol,
    Reference,
    References,
    Scale,
    shipped_references,
)
from continual_arcade.evaluation.references import Outcome
from continual_arcade.scripts.references import MakeReferences

ENV = IDS["FlappyBird"]
TUNABLES = make_game("FlappyBird").tunables
MAKING = {"command": "c", "date": "d", "python": "p", "versions": {}, "git_commit": None}


def protocol(schedule: Schedule, max_steps: int = 1_800, game: str = "FlappyBird") -> Protocol:
    return Protocol(game, IDS[game], schedule, EvaluationSettings(max_steps=max_steps))


def reference(gap: float, random: float, oracle: float, spread: float = 0.0) -> Reference:
    """Returns are five less than scores."""
    return Reference(
        env=ENV,
        max_steps=1_800,
        params=resolve(TUNABLES, {"gap": gap}),
        episodes=100,
        first_seed=0,
        random_seed=0,
        outcomes={
            "random": {"score": Outcome(random, spread), "return": Outcome(random - 5, spread)},
            "oracle": {"score": Outcome(oracle, spread), "return": Outcome(oracle - 5, spread)},
        },
        making=MAKING,
    )


def test_random_play_is_zero_and_the_oracle_is_one() -> None:
    references = References([reference(100, 2.0, 42.0), reference(90, 1.0, 21.0)])
    schedule = gaps(100, 90, 100)
    scale = references.scale(protocol(schedule))
    assert scale.zero.tolist() == [2.0, 1.0]
    assert scale.one.tolist() == [42.0, 21.0]
    assert scale.reason == ""
    of_returns = references.scale(protocol(schedule), "return")
    assert (of_returns.zero.tolist(), of_returns.one.tolist()) == ([-3.0, -4.0], [37.0, 16.0])


def scales_as_it_should(rescaled: Callable[[Any, Scale], Any]) -> bool:
    """Scores of random play, of the oracle and half way become 0, 1 and a half."""
    references = References([reference(100, 2.0, 42.0), reference(90, 1.0, 21.0)])
    schedule = gaps(100, 90)
    record = record_of(
        schedule, {(0, -1): [[2.0, 22.0], [1.0, 11.0]], (100, 0): [[42.0], [21.0]] * 1}
    )
    values = rescaled(record, references.scale(protocol(schedule))).values
    expected = [[[0.0, 0.5], [0.0, 0.5]], [[1.0, np.nan], [1.0, np.nan]]]
    return np.array_equal(values, expected, equal_nan=True)


def test_a_record_on_this_scale() -> None:
    assert scales_as_it_should(lambda record, scale: record.rescaled(scale.zero, scale.one))
    # An oracle that is not taken down to zero first is found out, and so are swapped ends.
    assert not scales_as_it_should(
        lambda record, scale: replace(record, values=record.values / scale.one[:, None])
    )
    assert not scales_as_it_should(lambda record, scale: record.rescaled(scale.one, scale.zero))


def test_a_phase_without_a_reference_is_nan_and_says_what_makes_one() -> None:
    references = References([reference(100, 2.0, 42.0)])
    scale = references.scale(protocol(gaps(100, 90, 62)))
    np.testing.assert_array_equal(scale.zero, [2.0, np.nan, np.nan])
    np.testing.assert_array_equal(scale.one, [42.0, np.nan, np.nan])
    assert scale.reason.startswith(f"gap 90, gap 62: no reference for {ENV} with episodes of at ")
    assert "at most 1,800 steps" in scale.reason
    assert "--schedule SCHEDULE.toml" in scale.reason  # it is none of the suite's


@pytest.mark.parametrize(
    ("schedule", "named"),
    [
        (shipped("shrink", make_game("Catcher")).with_steps(7), "shrink"),
        (shipped("shuffle:5", make_game("Catcher")), "shrink"),
        (shipped("drift", make_game("Catcher")).single(2), "drift"),
        (shipped("stationary", make_game("Catcher")), "stationary"),
    ],
)
def test_the_command_that_it_says_is_one(schedule: Schedule, named: str) -> None:
    reason = shipped_references().scale(protocol(schedule, 60, "Catcher")).reason
    (command,) = re.findall(
        r"to make one: python -m continual_arcade\.scripts\.references (.*)", reason
    )
    args = tyro.cli(MakeReferences, args=shlex.split(command))
    assert (args.game, args.schedule, args.max_steps) == ("Catcher", (named,), 60)


@pytest.mark.parametrize(
    ("distance", "spread", "refused"),
    [
        (1.0, 0.0, False),
        (0.99, 0.0, True),  # less than a point
        (-3.0, 0.0, True),
        # Four standard errors, of sqrt(2) times the spread over sqrt(100) each, are 5.66.
        (5.7, 10.0, False),
        (5.6, 10.0, True),
    ],
)
def test_a_scale_as_small_as_its_noise_is_refused(
    distance: float, spread: float, refused: bool
) -> None:
    references = References([reference(100, 2.0, 2.0 + distance, spread)])
    scale = references.scale(protocol(gaps(100)))
    assert np.isnan(scale.zero).all() == np.isnan(scale.one).all() == refused
    assert bool(scale.reason) == refused
    if refused:
        assert (
            f"the score of the oracle is {distance:.2f} above that of random play" in scale.reason
        )


def random_player(env: Any) -> FunctionPolicy:
    """Return who chooses at random, the same in each environment, and sees nothing."""
    rng = np.random.default_rng(0)
    return FunctionPolicy(lambda seen: rng.integers(env.single_action_space.n, size=len(seen)))


PIXELS = {"observation": "pixels", "screen_size": 42, "stack": 2}


def seen(schedule: Schedule, **options: Any) -> Protocol:
    return replace(protocol(schedule), options=options)


def test_a_game_in_pictures_has_the_scale_of_the_same_game_with_features() -> None:
    references = References([reference(100, 2.0, 42.0), reference(90, 1.0, 21.0)])
    looks = {"sky_rgb": 0x102040, "inverted": 1.0, "noise": 10.0}
    phases = (
        PhaseSpec(name="day", steps=10, params={"gap": 100}),
        PhaseSpec(name="night", steps=10, params={"gap": 100, **looks}),
        PhaseSpec(name="narrow", steps=10, params={"gap": 90}),
    )
    scale = references.scale(seen(Schedule("looks", phases), **PIXELS))
    assert scale.reason == ""
    assert scale.zero.tolist() == [2.0, 2.0, 1.0]
    assert scale.one.tolist() == [42.0, 42.0, 21.0]
    plain = gaps(100, 90)
    for other in ({**PIXELS, "frame_skip": 2}, {"frame_skip": 2}, {"rewards": "catch"}):
        refused = references.scale(seen(plain, **other))
        assert np.isnan(refused.zero).all()
        assert "there are no references" in refused.reason


@pytest.mark.parametrize("game", ["FlappyBird", "Catcher"])
def test_who_plays_by_the_state_scores_the_same_however_the_game_is_seen(game: str) -> None:
    """That is what allows the one scale for both."""
    phases = Schedule("two", tuple(shipped("conflict", make_game(game)).with_steps(9).phases[:2]))
    looks = {"noise": 9.0, "mirrored": 1.0, "distractor": 30.0}
    other = Schedule("seen", tuple(replace(p, params={**p.params, **looks}) for p in phases.phases))
    features = Evaluator(game, phases, episodes=3, max_steps=300)
    pictures = Evaluator(game, other, episodes=3, max_steps=300, **PIXELS)
    for make in (Oracle, random_player):
        by_features, by_pictures = (one.play(make(one.env)) for one in (features, pictures))
        np.testing.assert_array_equal(by_features.scores, by_pictures.scores)
        np.testing.assert_array_equal(by_features.returns, by_pictures.returns)
        assert by_features.steps == by_pictures.steps > 100


def test_references_belong_to_one_limit_and_one_version_of_the_rules() -> None:
    references = References([reference(100, 2.0, 42.0)])
    for other in (
        protocol(gaps(100), 1_799),
        replace(protocol(gaps(100)), env="ContinualArcade/FlappyBird-v1"),
    ):
        assert np.isnan(references.scale(other).zero).all()
    # Parameters are compared with all defaults filled in, however a schedule writes them.
    as_default = Schedule("s", (replace(gaps(100).phases[0], params={"gravity": 1.0}),))
    assert references.scale(protocol(as_default)).zero.tolist() == [2.0]


@pytest.mark.parametrize(("game", "name"), [*PAIRS, *((game, "stationary") for game in GAMES)])
@pytest.mark.parametrize("value", ["score", "return"])
def test_every_shipped_schedule_has_a_scale(game: str, name: str, value: Any) -> None:
    schedule = shipped(name, make_game(game))
    scale = shipped_references().scale(protocol(schedule, game=game), value)
    assert scale.reason == ""
    assert scale.zero.shape == scale.one.shape == (len(schedule.distinct),)
    assert (scale.one > scale.zero + 40).all()


def test_merging_replaces_what_is_there_and_keeps_the_rest() -> None:
    old = References([reference(100, 2.0, 42.0), reference(90, 1.0, 21.0)])
    merged = old.merged([reference(90, 3.0, 30.0), reference(80, 0.0, 10.0)])
    assert len(merged) == 3
    assert merged.scale(protocol(gaps(100, 90, 80))).one.tolist() == [42.0, 30.0, 10.0]
    assert len(old) == 2
