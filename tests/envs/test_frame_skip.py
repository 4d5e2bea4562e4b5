"""A step of several frames is as many steps of the bare game with the same action."""

import pickle
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from changed_sources import changed_copy
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.envs import (
    GAMES,
    IDS,
    ArcadeEnv,
    ArcadeVectorEnv,
    PhaseSpec,
    Schedule,
    catcher,
    frame_skip,
    make_game,
    shipped,
)
from continual_arcade.envs.compiling import rule
from continual_arcade.envs.game import Game
from continual_arcade.envs.oracles import Oracle, Unbeatable
from continual_arcade.evaluation import Evaluator
from continual_arcade.evaluation.protocol import Protocol
from continual_arcade.evaluation.score_range import score_range
from continual_arcade.evaluation.timetable import Timetable

EVERY_GAME = pytest.mark.parametrize("game", GAMES)
REWARDS = {"tick": 0.25, "positive": 1.5}
"""So that each frame is worth something."""


def same_state(one: Any, other: Any) -> bool:
    """Whether a state has the bits of the bare game's; steps are counted otherwise, on purpose."""
    return all(
        np.asarray(one[name]).tobytes() == np.asarray(other[name]).tobytes()
        for name in other
        if name != "steps"
    )


KINDS = [
    (game, phase)
    for game in GAMES
    for phase in range(len(shipped("conflict", make_game(game))) if game == "Tour" else 1)
]
"""Games with a phase of ``conflict``: all that there are of a game that is several games."""
EVERY_KIND = pytest.mark.parametrize(("game", "phase"), KINDS)


def alike(
    game: str, frames: int, seed: int, steps: int, phase: int = 0, **skipped: Any
) -> Iterator[bool]:
    """Play a game frame by frame beside itself; yield whether all is the same, step by step."""
    options: dict[str, Any] = {"rewards": REWARDS, "schedule": "conflict", "phase": phase}
    env = ArcadeEnv(game, frame_skip=frames, **options, **skipped)
    bare = ArcadeEnv(game, **options)
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    bare.reset(seed=seed)
    for step in range(1, steps + 1):
        action = int(rng.integers(env.game.num_actions))
        seen, reward, terminated, truncated, info = env.step(action)
        total, over = 0.0, False
        for _ in range(frames):
            like, one, over, _, other = bare.step(action)
            total += one
            if over:
                break
        yield bool(
            same_state(env.state, bare.state)
            and (skipped or np.array_equal(seen, like))
            and reward == total
            and (terminated, truncated) == (over, False)
            and info["score"] == other["score"]
            and info["lifetime_step"] == step
        )
        if over:
            env.reset()
            bare.reset()


@EVERY_KIND
@settings(max_examples=6)
@given(frames=st.sampled_from([2, 5]), seed=st.integers(0, 2**32))
def test_a_step_is_so_many_frames(game: str, phase: int, frames: int, seed: int) -> None:
    assert all(alike(game, frames, seed, 120, phase))


@pytest.mark.parametrize(
    ("game", "phase"), [("FlappyBird", 0), ("Catcher", 0), ("Tour", 0), ("Tour", 1)]
)
def test_a_step_of_a_game_in_pictures_is_so_many_frames(game: str, phase: int) -> None:
    assert all(alike(game, 5, 3, 120, phase, observation="pixels", screen_size=21))


@rule
def changes_its_action(block: Any, lane: int, constants: Any) -> None:
    """Plays Catcher, and leaves another action behind, as rules may."""
    catcher.advance(block, lane, constants)
    block.action[lane] -= 1.0


def changing(rewards: Mapping[str, float] | None = None) -> Game:
    game = catcher.catcher(rewards=rewards)
    rules = game.rules._replace(advance=changes_its_action)
    return replace(game, name="Changing", rules=rules, maker=changing, options={"rewards": rewards})


def test_each_frame_has_the_action_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GAMES, "Changing", changing)
    assert all(alike("Changing", 4, 0, 120))


@EVERY_GAME
def test_one_frame_is_the_bare_game(game: str) -> None:
    assert make_game(game, frame_skip=1).rules == make_game(game).rules
    assert make_game(game, frame_skip=2).rules == make_game(game, frame_skip=2).rules


@pytest.mark.parametrize("vector", [False, True])
def test_compiled_code_of_so_many_frames_is_for_no_other_number(vector: bool) -> None:
    """It was kept on disk under one name for all of them, and taken for another number's."""
    for frames in (2, 3, 2):
        options: dict[str, Any] = {"frame_skip": frames, "rewards": {"tick": 1.0}}
        env: Any = (
            ArcadeVectorEnv("FlappyBird", 2, **options)
            if vector
            else ArcadeEnv("FlappyBird", **options)
        )
        env.reset(seed=0)
        assert np.all(env.step(np.ones(2, np.int64) if vector else 1)[1] == frames)


@EVERY_KIND
@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_batches_are_single_games(game: str, phase: int, mode: str) -> None:
    """In more than a block; the frames of a game that ends within a step leave the others alone."""
    count = 70
    options: dict[str, Any] = {"frame_skip": 3, "rewards": REWARDS}
    options |= {"schedule": "conflict", "phase": phase}
    many = ArcadeVectorEnv(game, count, autoreset_mode=mode, **options)
    singles = [ArcadeEnv(game, **options) for _ in range(count)]
    rng = np.random.default_rng(0)
    seen = many.reset(seed=1)[0]
    alone = [env.reset(seed=1 + i)[0] for i, env in enumerate(singles)]
    np.testing.assert_array_equal(seen, alone)
    ended, ends = np.zeros(count, np.bool_), 0
    for _ in range(30):
        if mode == "Disabled" and ended.any():
            many.reset(options={"reset_mask": ended})
            for i in np.flatnonzero(ended).tolist():
                singles[i].reset()
        actions = rng.integers(many.single_action_space.n, size=count)
        seen, rewards, terminated, _, infos = many.step(actions)
        for i, env in enumerate(singles):
            if mode == "NextStep" and ended[i]:
                np.testing.assert_array_equal(seen[i], env.reset()[0])
                continue
            like, reward, over, _, _ = env.step(int(actions[i]))
            assert (rewards[i], terminated[i]) == (reward, over)
            if over and mode == "SameStep":
                np.testing.assert_array_equal(infos["final_obs"][i], like)
                like = env.reset()[0]
            np.testing.assert_array_equal(seen[i], like)
        ended = terminated
        ends += int(ended.sum())
    assert ends > 20 or game.endswith("Catcher") or phase


def test_clocks_and_limits_count_steps_of_the_agent() -> None:
    schedule = Schedule(
        "two", tuple(PhaseSpec(name=str(i), steps=30, params={"gap": 100.0 - i}) for i in range(2))
    )
    env = ArcadeEnv("FlappyBird", schedule, frame_skip=4)
    env.reset(seed=0)
    phases = []
    for step in range(1, 61):
        _, _, terminated, truncated, info = env.step(1)
        assert info["lifetime_step"] == step
        assert truncated == (step == 30) or step == 60
        phases.append(info["phase"])
        if terminated or truncated:
            env.reset()
    assert phases == [0] * 30 + [1] * 30
    many = ArcadeVectorEnv("Catcher", 2, max_episode_steps=7, frame_skip=5)
    many.reset(seed=0)
    for step in range(1, 22):
        _, _, _, truncated, infos = many.step(np.full(2, 2))
        assert truncated.tolist() == [step % 7 == 0] * 2
    assert infos["lifetime_step"].tolist() == [42, 42]
    limited: gym.Env[Any, Any] = gym.make(IDS["Catcher"], frame_skip=5, max_episode_steps=7)
    limited.reset(seed=0)
    assert [limited.step(2)[3] for _ in range(7)] == [False] * 6 + [True]


def test_it_is_a_fact_of_the_environment() -> None:
    env = ArcadeEnv("Tour", frame_skip=4)
    assert env.game.frame_skip == 4
    assert pickle.loads(pickle.dumps(env)).game.frame_skip == 4
    assert make_game("FlappyBird", frame_skip=7).title == "Flappy Bird"


def test_players_who_know_the_rules_do_not_play_several_frames_at_a_time() -> None:
    """They plan each frame. An unbeatable one would lose episodes, and so call scores impossible
    that others reach."""
    env = ArcadeEnv("FlappyBird", frame_skip=4)
    for player, fact in ((Oracle, "oracle"), (Unbeatable, "unbeatable")):
        with pytest.raises(ValueError, match=f"FlappyBird has no {fact}"):
            player(env)
    schedule = shipped("conflict", make_game("FlappyBird")).with_steps(100)

    def known(**options: Any) -> Any:
        evaluator = Evaluator("FlappyBird", schedule, episodes=2, max_steps=50, **options)
        return score_range(Protocol.of(evaluator, Timetable(schedule)))

    assert known() is not None
    assert known(frame_skip=4) is None


# --- planted errors -------------------------------------------------------------------------------


WRONG = {
    "a draw that a frame asks for is left to the last one": (
        "        if frame and block.event[lane] & DRAW:\n"
        "            bare_settle(block, lane, constants)\n"
    ),
    "frames go on after the end": "        if block.event[lane] & OVER:\n            break\n",
    "rewards do not add up": "    block.reward[lane] = reward\n",
    "a frame has the action that the last one left": "        block.action[lane] = action",
}
"""By name: the lines that are left out."""


@pytest.mark.parametrize("name", WRONG)
def test_wrong_frames_are_found(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = changed_copy(frame_skip, tmp_path, monkeypatch, "wrong", (WRONG[name], ""))
    monkeypatch.setattr(frame_skip, "_advance", copy._advance)
    monkeypatch.setattr(frame_skip, "_rules", frame_skip._rules.__wrapped__)
    monkeypatch.setitem(GAMES, "Changing", changing)
    assert not all(alike("Changing" if "action" in name else "Catcher", 4, 0, 200))
