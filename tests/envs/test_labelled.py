"""Streams of labelled examples: contextual bandits, whose exams ask the same questions always."""

import pickle
from collections import Counter
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from scipy import stats
from stable_baselines3.common.env_checker import check_env as check_sb3

from continual_arcade.envs import (
    IDS,
    STREAMS,
    ArcadeEnv,
    ArcadeVectorEnv,
    Schedule,
    addition_facts,
    digits,
    images,
    make_game,
)
from continual_arcade.envs.addition_facts import FACTS, LEAST
from continual_arcade.envs.game import Game
from continual_arcade.envs.oracles import Oracle, Unbeatable
from continual_arcade.evaluation import EvaluationSettings, Evaluator
from continual_arcade.evaluation.protocol import Protocol

GAME = "AdditionFacts"
CONFLICT = Schedule.from_dict(
    {
        "format": 1,
        "name": "facts",
        "phases": [
            {"name": name, "steps": 60, "params": {"addend": addend}}
            for name, addend in (("ones", 1), ("twos", 2), ("sevens", 7))
        ],
    }
)

ROTATED = Schedule.from_dict(
    {
        "format": 1,
        "name": "rotated",
        "phases": [
            {"name": f"{angle}", "steps": 60, "params": {"angle": angle, "permutation": order}}
            for order, angle in enumerate((0, 40, 80))
        ],
    }
)


def facts(addend: int) -> set[tuple[int, int]]:
    """The facts with a number in them, counted out."""
    every = [(one, other) for one in range(1, 10) for other in range(1, 10)]
    return {pair for pair in every if addend in pair}


def read(observation: np.ndarray) -> tuple[int, int]:
    """The operands that an observation shows, from the three units that are on in each."""
    assert observation[24:].tolist() == [1.0] * 4
    operands = []
    for units in (observation[:12], observation[12:24]):
        (on,) = units.nonzero()
        assert set(units.tolist()) <= {0.0, 1.0}
        assert on.tolist() == [on[0], on[0] + 1, on[0] + 2]
        operands.append(int(on[0]))
    return operands[0], operands[1]


@pytest.mark.parametrize("addend", range(1, 10))
def test_an_exam_asks_each_fact_once_and_its_label_is_the_sum(addend: int) -> None:
    env = gym.make(IDS[GAME], exam=True)
    observation, info = env.reset(seed=0, options={"params": {"addend": addend}})
    assert "label" not in info  # it is told afterwards
    asked, over = [], False
    while not over:
        asked.append(read(observation))
        observation, reward, over, truncated, info = env.step(3)
        assert info["label"] == sum(asked[-1]) - LEAST
        assert reward == (1.0 if info["label"] == 3 else 0.0)
        assert not truncated
    assert len(asked) == FACTS == len(facts(addend))
    assert set(asked) == facts(addend)


def test_in_training_an_episode_is_one_example_drawn_with_equal_probability() -> None:
    env = gym.make_vec(IDS[GAME], num_envs=50, schedule=CONFLICT)
    observations, _ = env.reset(seed=3)
    seen: Counter[tuple[int, int]] = Counter()
    for step in range(200):
        asked = [read(row) for row in observations]
        if step < 1:
            assert set(asked) <= facts(1)
        observations, rewards, terminated, _, infos = env.step(np.full(50, step % 17))
        labels = infos["final_info"]["label"]
        assert terminated.all()
        assert labels.tolist() == [sum(pair) - LEAST for pair in asked]
        assert rewards.tolist() == [float(label == step % 17) for label in labels.tolist()]
        assert not infos["_label"].any()  # of the examples that are seen now nothing is told
        if step > 3:
            seen.update(asked)
    assert set(seen) == facts(7)  # the last phase stays
    assert stats.chisquare(list(seen.values())).pvalue > 1e-4


def test_what_is_asked_next_has_nothing_to_do_with_the_answer() -> None:
    shown = []
    for action in (0, 5):
        env = gym.make(IDS[GAME])
        observation, _ = env.reset(seed=8)
        shown.append([])
        for _ in range(30):
            env.step(action)
            observation, _ = env.reset()
            shown[-1].append(read(observation))
    assert shown[0] == shown[1]


def test_who_knows_all_answers_is_always_right() -> None:
    evaluator = Evaluator(GAME, CONFLICT, episodes=1)
    for player in (Oracle, Unbeatable):
        assert evaluator.play(player(evaluator.env)).scores.tolist() == [[FACTS]] * 3
    wrong = evaluator.play(_AlwaysZero())
    # Of the ones, the twos and the sevens only 1 + 1 gives the smallest sum.
    assert wrong.scores.ravel().tolist() == [1.0, 0.0, 0.0]


class _AlwaysZero:
    def predict(self, observation, **_):  # type: ignore[no-untyped-def]
        return np.zeros(len(observation), np.int64), None


def test_experience_of_an_exam_holds_the_right_answers_each_by_itself() -> None:
    evaluator = Evaluator(GAME, CONFLICT, episodes=1)
    played = evaluator.play(_AlwaysZero(), keep=FACTS)
    assert played.experience is not None
    assert played.experience.labelled
    for position, addend in enumerate((1, 2, 7)):
        steps = played.experience.of(position)
        pairs = [read(row) for row in steps.observations]
        assert set(pairs) == facts(addend)
        assert steps.actions.tolist() == [sum(pair) - LEAST for pair in pairs]
        assert steps.terminated.all()
        assert (steps.rewards == 1).all()


def test_an_exam_is_asked_once_and_as_a_whole() -> None:
    protocol = Protocol(GAME, IDS[GAME], CONFLICT, EvaluationSettings(episodes=2))
    with pytest.raises(ValueError, match=r"episodes = 2 .* must be 1 in AdditionFacts: each"):
        protocol.make_evaluator()
    with pytest.raises(ValueError, match=r"max_steps = 16 would end .* early: it asks 17"):
        Evaluator(GAME, CONFLICT, episodes=1, max_steps=16)


def test_what_the_evaluator_sets_is_no_option_of_a_run() -> None:
    """Else training would see what is tested with, or an evaluation be another than was asked."""
    for exam in (True, False):
        with pytest.raises(ValueError, match=f"exam = {exam} of AdditionFacts is for evaluation"):
            Evaluator(GAME, CONFLICT, episodes=1, exam=exam)
        settings = EvaluationSettings(episodes=1)
        with pytest.raises(ValueError, match="leave it out"):
            Protocol(GAME, IDS[GAME], CONFLICT, settings, {"exam": exam}).make_evaluator()


def test_a_game_without_labels_tells_none() -> None:
    assert not make_game("Catcher").rules.labelled
    env = gym.make(IDS["Catcher"])
    env.reset(seed=0)
    assert "label" not in env.step(0)[4]


@pytest.mark.parametrize("context", ["hidden", "params", "one-hot"])
@pytest.mark.parametrize("exam", [False, True])
@pytest.mark.parametrize("game", STREAMS)
def test_sub_environments_play_what_single_ones_play(game: str, exam: bool, context: str) -> None:
    schedule = CONFLICT if game == GAME else ROTATED
    made = {"schedule": schedule, "context": context, "exam": exam}
    vector = gym.make_vec(IDS[game], num_envs=3, **made)
    # Single environments have a clock each, on which a phase lasts a third as long.
    alone = [gym.make(IDS[game], **{**made, "schedule": schedule.with_steps(20)}) for _ in range(3)]
    observations, _ = vector.reset(seed=5)
    seen = [env.reset(seed=5 + i)[0] for i, env in enumerate(alone)]
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert np.array_equal(observations, np.stack(seen))
        actions = rng.integers(vector.single_action_space.n, size=3)
        observations, rewards, terminated, truncated, infos = vector.step(actions)
        ended = terminated | truncated
        told = infos["label"].copy()
        if ended.any():
            told[ended] = infos["final_info"]["label"][ended]
        assert np.array_equal(infos["_label"], ~ended)
        for i, env in enumerate(alone):
            seen[i], reward, over, cut, info = env.step(actions[i])
            assert (reward, over, cut) == (rewards[i], terminated[i], truncated[i])
            assert info["label"] == told[i]
            if over or cut:
                seen[i], _ = env.reset()


@pytest.mark.parametrize("game", STREAMS)
def test_checkers_find_nothing(game: str) -> None:
    env = gym.make(IDS[game], disable_env_checker=True).unwrapped
    check_gymnasium(env, skip_render_check=True)
    check_sb3(env)


@pytest.mark.parametrize("game", STREAMS)
def test_a_state_and_a_copy_resume(game: str) -> None:
    schedule = CONFLICT if game == GAME else ROTATED
    one, other = (gym.make_vec(IDS[game], num_envs=3, schedule=schedule) for _ in range(2))
    one.reset(seed=1)
    for _ in range(30):
        one.step(np.zeros(3, np.int64))
    other.reset(seed=2)
    other.load_state_dict(one.state_dict())  # type: ignore[attr-defined]
    other = pickle.loads(pickle.dumps(other))
    for _ in range(30):
        mine, its = one.step(np.zeros(3, np.int64)), other.step(np.zeros(3, np.int64))
        for a, b in zip(mine[:4], its[:4], strict=True):
            assert np.array_equal(a, b)
        assert np.array_equal(mine[4]["final_info"]["label"], its[4]["final_info"]["label"])


def counted(game: str, params: dict[str, float], exam: bool) -> int:
    """Count the examples of a task, one by one."""
    if game == GAME:
        return len(facts(int(params["addend"])))
    found = images.load(digits.SOURCE)
    labels = (found.test_labels if exam else found.train_labels).tolist()
    split = int(params["split"])
    return sum(split == 0 or label // 2 == split - 1 for label in labels)


TASKS: list[tuple[str, dict[str, float]]] = [
    *((GAME, {"addend": addend}) for addend in (1, 9)),
    *(("Digits", {"split": split}) for split in (0, 1, 5)),
    *(("SplitDigits", {"split": split}) for split in (1, 3)),
]
ANSWERS = {GAME: 17, "Digits": 10, "SplitDigits": 2}


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("exam", [False, True])
@pytest.mark.parametrize(("game", "params"), TASKS)
def test_a_state_finds_nothing_where_there_is_nothing(
    game: str, params: dict[str, float], exam: bool, count: int
) -> None:
    """Compiled code looks up what a state says: 1e9 for an example ended the process."""
    env: Any = ArcadeVectorEnv(game, count, exam=exam) if count else ArcadeEnv(game, exam=exam)
    env.reset(seed=0, options={"params": params})
    examples, lane = counted(game, params, exam), max(count - 1, 0)
    questions = {GAME: FACTS, "Digits": 1_000, "SplitDigits": 1_000}[game] if exam else 1
    for name, most in (
        ("example", examples - 1),
        ("label", ANSWERS[game] - 1),
        ("question", questions),
    ):
        before = env.state_dict()
        for wrong in (-1.0, 0.5, most + 1.0, 5e6, 1e9, -1e18, 2.0**53):
            state = env.state_dict()
            state["blocks"][name][0, lane] = wrong
            with pytest.raises(
                ValueError, match=f"damaged: {name} must be a whole number from 0 to {most}"
            ):
                env.load_state_dict(state)
            np.testing.assert_array_equal(env.state_dict()["blocks"], before["blocks"])
        for right in (0.0, float(most)):
            state = env.state_dict()
            state["blocks"][name][0, lane] = right
            env.load_state_dict(state)
        env.load_state_dict(before)
    env.step(np.zeros(count, np.int64) if count else 0)


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize(
    ("game", "name", "wrong"),
    [
        (GAME, "addend", 1.5),
        ("Digits", "split", 0.5),
        ("Digits", "permutation", 98.5),
        ("Digits", "square", 0.5),
        ("SplitDigits", "split", 1.25),
        ("Tour", "which_game", 0.5),
        ("RelabelledCatcher", "labels", 4.5),
    ],
)
def test_a_state_has_no_part_of_a_task(game: str, name: str, wrong: float, count: int) -> None:
    """Half a split was a class below 0."""
    env: Any = ArcadeVectorEnv(game, count) if count else ArcadeEnv(game)
    env.reset(seed=0)
    state = env.state_dict()
    state["blocks"][name][0, -1 if not count else count - 1] = wrong
    with pytest.raises(ValueError, match=f"damaged: {name} must be a whole number"):
        env.load_state_dict(state)
    if count:
        state = env.state_dict()
        state["rows"][1, [*env.game.tunables].index(name)] = wrong
        with pytest.raises(ValueError, match=f"damaged: {name} must be a whole number"):
            env.load_state_dict(state)


def test_a_state_that_goes_on_has_begun() -> None:
    """Nothing was looked at in one that had not, and yet it was played on, or begun with."""
    single = ArcadeEnv("SplitDigits")
    state = {**single.state_dict(), "ended": False}
    with pytest.raises(ValueError, match="damaged: split must be from 1 to 5"):
        single.load_state_dict(state)
    many = ArcadeVectorEnv("SplitDigits", 2)
    state = {**many.state_dict(), "same": True}
    with pytest.raises(ValueError, match="damaged: split must be from 1 to 5"):
        many.load_state_dict(state)


def silent_facts(exam: bool = False) -> Game:
    facts = addition_facts.addition_facts(exam)
    return replace(facts, name="SilentFacts", indices={}, maker=silent_facts)


def test_a_label_is_an_action_in_every_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in one of somebody else's, which says nothing of what its rules look up."""
    monkeypatch.setitem(STREAMS, "SilentFacts", silent_facts)
    env = ArcadeEnv("SilentFacts")
    env.reset(seed=0)
    state = env.state_dict()
    state["blocks"]["label"] = 17.0
    with pytest.raises(ValueError, match="label must be a whole number from 0 to 16"):
        env.load_state_dict(state)


def test_what_is_looked_up_is_a_field() -> None:
    game = make_game("Catcher")
    for name in ("exmaple", "gap"):
        with pytest.raises(ValueError, match=f"indices of Catcher: '{name}' is no field of a lane"):
            replace(game, indices={name: 3})
    with pytest.raises(ValueError, match="indices of FlappyBird: 'pipe_x' is no field"):
        replace(make_game("FlappyBird"), indices={"pipe_x": 3})
