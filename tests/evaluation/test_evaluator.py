"""The evaluator plays every phase on fixed seeds, and disturbs nothing."""

import re
import zipfile
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from continual_arcade.agents import DQNSettings, build_agent, compose
from continual_arcade.agents.footprint import footprint
from continual_arcade.envs import IDS, Schedule, make_game, shipped
from continual_arcade.envs.oracles import Oracle
from continual_arcade.evaluation import (
    EvaluationCallback,
    Evaluator,
    FunctionPolicy,
    RunFolder,
    Timetable,
    footprints,
)
from continual_arcade.evaluation.costs import read
from continual_arcade.studies.probes import PROBES

FLAPPY = make_game("FlappyBird")


class Rule:
    """A policy that sees only the observation: flap below the middle of the next opening."""

    def predict(self, observation: Any, *, deterministic: bool = True) -> tuple[Any, None]:
        observation = np.atleast_2d(observation)
        return np.where(observation[:, 0] > observation[:, 4] - 0.22, 0, 1), None


def by_hand(game: str, schedule: Schedule, episode_seed: int, phase: int, limit: int) -> Any:
    """One episode of one phase, played in a single environment."""
    env = gym.make(IDS[game], schedule=schedule, phase=phase, max_episode_steps=limit)
    observation, info = env.reset(seed=episode_seed)
    policy, total, steps, over = Rule(), 0.0, 0, False
    while not over:
        actions, _ = policy.predict(observation)
        observation, reward, terminated, truncated, info = env.step(int(actions[0]))
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    return total, info["score"], steps


@pytest.mark.parametrize("name", ["shrink", "conflict", "drift"])
def test_each_episode_is_what_a_single_environment_plays(name: str) -> None:
    schedule = shipped(name, FLAPPY)
    evaluator = Evaluator("FlappyBird", schedule, episodes=3, max_steps=400)
    played = evaluator.play(Rule())
    assert played.scores.shape == (len(schedule), 3)
    for position, phase in enumerate(evaluator.phases):
        for episode, seed in enumerate(evaluator.seeds):
            expected = by_hand("FlappyBird", schedule, seed, phase.index, 400)
            ours = (played.returns, played.scores, played.lengths)
            assert tuple(values[position, episode] for values in ours) == expected


def test_it_plays_the_same_again() -> None:
    evaluator = Evaluator("Catcher", shipped("shrink", make_game("Catcher")), episodes=4)
    oracle = Oracle(evaluator.env)
    one, other = evaluator.play(oracle), evaluator.play(oracle)
    for name in ("returns", "scores", "lengths"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.steps == 6 * 4 * 1_800
    assert one.seconds > 0


def test_every_phase_and_agent_meets_the_same_pipes() -> None:
    evaluator = Evaluator("FlappyBird", shipped("conflict", FLAPPY), episodes=5)
    evaluator.play(Rule())
    evaluator.env.reset(seed=evaluator.seeds * 3)
    tops = evaluator.env.core.field("pipe_top").reshape(3, 5, 3)
    np.testing.assert_array_equal(tops[0], tops[1])
    np.testing.assert_array_equal(tops[0], tops[2])
    assert len(np.unique(tops[0], axis=0)) == 5


def test_a_phase_that_comes_back_is_played_once() -> None:
    evaluator = Evaluator("FlappyBird", shipped("cycle", FLAPPY), episodes=1, max_steps=50)
    assert [phase.index for phase in evaluator.phases] == [0, 1, 2]


def test_the_limit_is_a_known_ceiling() -> None:
    evaluator = Evaluator("FlappyBird", shipped("shrink", FLAPPY), episodes=2)
    assert (evaluator.play(Oracle(evaluator.env)).scores == 47).all()


@pytest.mark.parametrize(("name", "value"), [("episodes", 0), ("max_steps", -1)])
def test_sizes_must_be_positive(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} = {value}"):
        Evaluator("FlappyBird", shipped("shrink", FLAPPY), **{name: value})


def test_a_schedule_for_another_game_is_refused() -> None:
    with pytest.raises(ValueError, match="fall_speed"):
        Evaluator("FlappyBird", shipped("shrink", make_game("Catcher")))


# The other engine is probed without harm in test_probes.py, too.
@pytest.mark.parametrize("engine", [pytest.param("torch", marks=pytest.mark.slow), "compiled"])
@pytest.mark.parametrize("method", [pytest.param("finetune", marks=pytest.mark.slow), "mer"])
def test_evaluation_does_not_change_training(tmp_path: Any, engine: Any, method: str) -> None:
    """A run that is evaluated and probed ends with the same bits as one that is not.

    Not only in its parameters: optimiser, replay memory, parts and every random state, too.
    """
    schedule = shipped("shrink", FLAPPY).with_steps(80)
    settings = DQNSettings(learning_starts=60, hidden=(16,), engine=engine)
    ends = []
    for name, every in (("plain", None), ("probed", 20)):
        agent = build_agent("FlappyBird", schedule, settings, 3, compose(method))
        callback = None
        if every is not None:
            folder = RunFolder(tmp_path / name)
            folder.make()
            evaluator = Evaluator("FlappyBird", schedule, episodes=2, max_steps=100)
            timetable = Timetable(schedule, every, at_end=2, spacing=12)
            callback = EvaluationCallback(
                evaluator, timetable, folder, seed=3, probes=PROBES, footprint=footprint
            )
        agent.learn(schedule.total_steps, callback=callback)
        agent.save_training(tmp_path / f"{name}.zip")
        with zipfile.ZipFile(tmp_path / f"{name}.zip") as state:
            ends.append({member: state.read(member) for member in state.namelist()})
        # All but what a clock on the wall says of each episode.
        ends[-1]["state.json"] = re.sub(rb'"t": [0-9.]+', b"", ends[-1]["state.json"])
    assert len(ends[0]) > 1
    assert ends[0] == ends[1]
    assert len(read(tmp_path / "probed" / "costs.csv")) == 1 + 6 * 5
    assert len(footprints.read(tmp_path / "probed" / "footprints.csv")) == 1 + 6 * 5
    assert (tmp_path / "probed" / "diagnostics.csv").exists()


def small() -> Evaluator:
    return Evaluator("FlappyBird", shipped("conflict", FLAPPY), episodes=2, max_steps=40)


def test_a_plain_function_can_be_judged() -> None:
    function = FunctionPolicy(lambda seen: np.where(seen[:, 0] > seen[:, 4] - 0.22, 0, 1))
    one, other = small().play(function), small().play(Rule())
    np.testing.assert_array_equal(one.returns, other.returns)


@pytest.mark.parametrize(
    ("returned", "kind", "message"),
    [
        (np.zeros(5, int), ValueError, r"shape \(5,\); one for each sub-environment is \(6,\)"),
        (np.zeros((6, 1), int), ValueError, r"shape \(6, 1\)"),
        (1, ValueError, r"shape \(\)"),
        (np.zeros(6), TypeError, "must be whole numbers, not float64"),
        (np.zeros(6, bool), TypeError, "must be whole numbers, not bool"),
        (np.array([0, 1, 0, 2, 0, 0]), ValueError, "sub-environment 3: there is no action 2"),
        (np.full(6, -1), ValueError, "there is no action -1"),
    ],
)
def test_what_is_no_action_is_refused(returned: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"what FunctionPolicy returned cannot be played: .*{message}"):
        small().play(FunctionPolicy(lambda seen: returned))


def test_what_is_no_policy_is_refused() -> None:
    class Bare:
        def predict(self, observation: Any, *, deterministic: bool = True) -> Any:
            return np.zeros(len(observation), int)

    nothing: Any = Rule.predict
    with pytest.raises(TypeError, match=r"predict has no predict.*FunctionPolicy\(function\)"):
        small().play(nothing)
    with pytest.raises(TypeError, match=r"predict of Bare must return a pair.*not ndarray"):
        small().play(Bare())


def test_a_policy_for_other_spaces_is_refused_before_it_plays() -> None:
    class ForCatcher(Rule):
        observation_space = gym.make(IDS["Catcher"]).observation_space

    class ManyButtons(Rule):
        action_space = gym.spaces.Discrete(18)

    with pytest.raises(
        ValueError, match=r"ForCatcher cannot play FlappyBird: its obs.*\(4,\).*\(8,\)"
    ):
        small().play(ForCatcher())
    with pytest.raises(ValueError, match=r"its action space is Discrete\(18\), .* Discrete\(2\)"):
        small().play(ManyButtons())
