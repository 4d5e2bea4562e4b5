"""Environments of somebody else's are results as the suite's own are."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from continual_arcade.agents import ContinualDQN
from continual_arcade.envs import IDS, PhaseSpec, Schedule, make_game, shipped
from continual_arcade.envs.phased_env import CARTPOLE, PhasedEnv, set_cartpole, switching
from continual_arcade.evaluation import (
    EvaluationCallback,
    Evaluator,
    FunctionPolicy,
    GymEvaluator,
    Record,
    RunFolder,
    Timetable,
)
from continual_arcade.evaluation.table import read

SCHEDULE = Schedule(
    "poles",
    tuple(
        PhaseSpec(name=f"{length} m", steps=60, params={"length": length})
        for length in (0.25, 2.0, 0.25)
    ),
)
FOLLOW = FunctionPolicy(lambda seen: (seen[:, 2] + seen[:, 3] > 0).astype(np.int64))


def cartpole(phase: int | None = None) -> PhasedEnv:
    return PhasedEnv(gym.make("CartPole-v1"), SCHEDULE, CARTPOLE, set_cartpole, phase)


def by_hand(length: float, seed: int, limit: int) -> tuple[float, int]:
    """One episode in a bare environment."""
    env = gym.make("CartPole-v1")
    set_cartpole(
        env.unwrapped, {name: t.default for name, t in CARTPOLE.items()} | {"length": length}
    )
    observation, _ = env.reset(seed=seed)
    total, steps, over = 0.0, 0, False
    while not over and steps < limit:
        action = int(FOLLOW.predict(observation[np.newaxis])[0][0])
        observation, reward, terminated, truncated, _ = env.step(action)
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    return total, steps


@pytest.mark.parametrize("limit", [1_800, 100])
def test_each_episode_is_what_a_bare_environment_plays(limit: int) -> None:
    evaluator = GymEvaluator(cartpole, SCHEDULE, episodes=3, max_steps=limit)
    assert [phase.index for phase in evaluator.phases] == [0, 1]  # what comes back is played once
    for _ in range(2):  # and the same again
        played = evaluator.play(FOLLOW)
        for position, phase in enumerate(evaluator.phases):
            for episode, seed in enumerate(evaluator.seeds):
                expected = by_hand(phase.params["length"], seed, limit)
                assert expected == (
                    played.returns[position, episode],
                    played.lengths[position, episode],
                )
        np.testing.assert_array_equal(played.scores, played.returns)
    assert len(set(played.lengths.ravel().tolist())) > 1 or limit == 100
    assert played.lengths.max() > 60  # longer than the phase lasts in the schedule


def test_it_judges_a_game_of_the_suite_as_its_own_evaluator_does() -> None:
    schedule = shipped("conflict", make_game("Catcher"))
    policy = FunctionPolicy(lambda seen: np.where(seen[:, 0] > seen[:, 2], 0, 1))
    ours = Evaluator("Catcher", schedule, episodes=3, max_steps=300)

    def make(phase: int) -> gym.Env[Any, Any]:
        return gym.make(IDS["Catcher"], schedule=schedule, phase=phase)

    theirs = GymEvaluator(make, schedule, episodes=3, max_steps=300)
    one, other = ours.play(policy, keep=40), theirs.play(policy, keep=40)
    for name in ("returns", "scores", "lengths"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.scores != one.returns).any()  # the score is that of the info
    assert one.experience is not None
    assert other.experience is not None
    for name in ("counts", "observations", "actions", "rewards", "next_observations", "terminated"):
        np.testing.assert_array_equal(
            getattr(one.experience, name), getattr(other.experience, name), err_msg=name
        )


def test_a_life_with_it_is_evaluated_on_the_way_and_undisturbed(tmp_path: Path) -> None:
    ends = []
    for evaluated in (False, True):
        folder = RunFolder(tmp_path / str(evaluated))
        folder.make()
        agent = ContinualDQN("MlpPolicy", cartpole(), learning_starts=20, seed=0)
        evaluator = GymEvaluator(cartpole, SCHEDULE, episodes=2, max_steps=50)
        callback = EvaluationCallback(evaluator, Timetable(SCHEDULE), folder, seed=0)
        agent.learn(SCHEDULE.total_steps, callback if evaluated else None)
        ends.append([tensor.tolist() for tensor in agent.policy.state_dict().values()])
    assert ends[0] == ends[1]
    matrix = Record.from_table(read(folder.table), SCHEDULE).matrix
    assert matrix.shape == (4, 2)
    assert np.isfinite(matrix).all()


def test_which_environment_is_played_can_be_a_phase() -> None:
    schedule = Schedule(
        "two", tuple(PhaseSpec(name=f"env {i}", steps=50, params={"env": i}) for i in (0, 1))
    )

    def make(phase: int) -> PhasedEnv:
        heavy = gym.make("CartPole-v1")
        bare: Any = heavy.unwrapped
        bare.gravity = 30.0
        return switching([gym.make("CartPole-v1"), heavy], schedule, phase)

    lengths = GymEvaluator(make, schedule, episodes=4).play(FOLLOW).lengths
    assert (lengths[0] != lengths[1]).any()


def test_continuous_actions_are_handed_on() -> None:
    schedule = Schedule("one", (PhaseSpec(name="only", steps=5),))
    evaluator = GymEvaluator(
        lambda phase: gym.make("Pendulum-v1"), schedule, episodes=2, max_steps=9
    )
    assert evaluator.name == "Pendulum-v1"
    played = evaluator.play(FunctionPolicy(lambda seen: np.zeros((2, 1), np.float32)))
    assert played.lengths.tolist() == [[9, 9]]
    assert (played.returns < 0).all()


def test_an_environment_that_lives_on_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"index=0.* moves on to other phases: .*PhasedEnv\(\.\.\., phase=phase\)"
    ):
        GymEvaluator(lambda phase: cartpole(), SCHEDULE)
    with pytest.raises(ValueError, match=r"index=1.* stays in Phase\(index=0"):
        GymEvaluator(lambda phase: cartpole(0), SCHEDULE)
    harder = Schedule("harder", (PhaseSpec(name="x", steps=9, params={"length": 0.1}),))
    with pytest.raises(ValueError, match="the schedule that is evaluated"):
        GymEvaluator(cartpole, harder)


def test_numbers_and_spaces_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="episodes = 0"):
        GymEvaluator(cartpole, SCHEDULE, episodes=0)
    with pytest.raises(ValueError, match=r"observation space is Discrete\(16\); only Box"):
        GymEvaluator(lambda phase: gym.make("FrozenLake-v1"), SCHEDULE)
    names = ["CartPole-v1", "Acrobot-v1"]
    with pytest.raises(ValueError, match=r"observation space of one phase is Box.*must be equal"):
        GymEvaluator(lambda phase: gym.make(names[phase]), SCHEDULE)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.zeros(3, int), r"shape \(3,\); one for each game is \(4,\)"),
        (np.array([0, 1, 2, 0]), r"int64\(2\) is no action of Discrete\(2\)"),
        (np.zeros(4), r"float64\(0\.0\) is no action"),
    ],
)
def test_what_is_no_action_is_refused(returned: Any, message: str) -> None:
    evaluator = GymEvaluator(cartpole, SCHEDULE, episodes=2)
    with pytest.raises(ValueError, match=f"FunctionPolicy returned cannot be played: .*{message}"):
        evaluator.play(FunctionPolicy(lambda seen: returned))


def test_a_policy_for_other_spaces_is_refused_by_name() -> None:
    agent = ContinualDQN("MlpPolicy", gym.make("Acrobot-v1"))
    with pytest.raises(ValueError, match="ContinualDQN cannot play CartPole-v1: its observation"):
        GymEvaluator(cartpole, SCHEDULE, episodes=1).play(agent)


def test_without_a_list_of_seeds_they_follow_one_another() -> None:
    env = GymEvaluator(cartpole, SCHEDULE, episodes=2).env
    first, _ = env.reset(seed=7)
    for i, one in enumerate(first):
        np.testing.assert_array_equal(one, gym.make("CartPole-v1").reset(seed=7 + i)[0])
    np.testing.assert_array_equal(env.reset(seed=np.int64(7))[0], first)
    second, _ = env.reset()
    assert (first != second).any()
    env.close()
