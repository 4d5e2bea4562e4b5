"""Checkpoints are played as by the evaluator alone, in however many processes."""

import os
import signal
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO

from continual_arcade.envs import IDS, make_game, shipped
from continual_arcade.evaluation import (
    EvaluationSettings,
    Evaluator,
    FunctionPolicy,
    Policy,
    Protocol,
    Record,
    replay_phases,
)
from continual_arcade.evaluation.table import COLUMNS, append, read, same

CONFLICT = shipped("conflict", make_game("FlappyBird"))
SETTINGS = EvaluationSettings(episodes=2, max_steps=80)
GIVEN: dict[str, Any] = {"game": "FlappyBird", "evaluation": SETTINGS}


def flaps_below(height: float) -> FunctionPolicy:
    return FunctionPolicy(lambda seen: np.where(seen[:, 0] > seen[:, 4] - height, 0, 1))


def numbered(path: Path) -> Policy:
    """Opens a file that holds a number."""
    return flaps_below(float(path.read_text()))


def dies_over_two(path: Path) -> Policy:
    if path.name == "2":
        os._exit(1)
    return numbered(path)


def is_interrupted(path: Path) -> Policy:
    os.kill(os.getpid(), signal.SIGINT)
    return numbered(path)


def says_threads(path: Path) -> Policy:
    said = f"{torch.get_num_threads()} of torch, {os.environ.get('OMP_NUM_THREADS')} of OpenMP"
    raise ValueError(said)


@pytest.fixture
def paths(tmp_path: Path) -> dict[int, Path]:
    heights = {0: 0.0, 50_000: 0.1, 70_000: 0.2, 150_000: 0.3}
    for number, height in enumerate(heights.values()):
        (tmp_path / str(number)).write_text(str(height))
    return {step: tmp_path / str(number) for number, step in enumerate(heights)}


def test_each_checkpoint_is_played_as_by_the_evaluator() -> None:
    agents = {50_000: flaps_below(0.2), 0: flaps_below(0.0)}
    replayed = replay_phases(agents, CONFLICT, run="mine", seed=7, **GIVEN)
    table = replayed.table
    assert list(table.columns) == COLUMNS
    assert set(table["run"]) == {"mine"}
    assert set(table["seed"]) == {7}
    assert table["lifetime_step"].is_monotonic_increasing
    evaluator = Evaluator("FlappyBird", CONFLICT, episodes=2, max_steps=80)
    steps = 0
    for step, agent in agents.items():
        played = evaluator.play(agent)
        steps += played.steps
        mine = table[table["lifetime_step"] == step]
        assert mine["return"].tolist() == played.returns.reshape(-1).tolist()
        assert mine["score"].tolist() == played.scores.reshape(-1).tolist()
        assert mine["length"].tolist() == played.lengths.reshape(-1).tolist()
    assert replayed.steps == steps == table["length"].sum()
    assert replayed.seconds > 0


def test_a_checkpoint_belongs_to_the_phase_that_it_was_trained_in() -> None:
    agent = flaps_below(0.2)
    agents = dict.fromkeys((0, 1, 50_000, 50_004, 100_000, 149_999, 150_000), agent)
    for late, of_50_004 in ((0, 1), (8, 0)):
        table = replay_phases(agents, CONFLICT, late=late, **GIVEN).table
        stages = table.drop_duplicates("lifetime_step")["trained_phase"].tolist()
        assert stages == [-1, 0, 0, of_50_004, 1, 2, 2]


def test_a_checkpoint_may_miss_the_end_by_what_is_said() -> None:
    agents = {np.int64(150_008): flaps_below(0.2)}
    table = replay_phases(agents, CONFLICT, late=8, **GIVEN).table
    assert set(table["lifetime_step"]) == {150_008}
    assert set(table["trained_phase"]) == {2}


def test_its_table_is_that_of_a_record(tmp_path: Path) -> None:
    agents = {step: flaps_below(0.2) for step in (0, *CONFLICT.ends)}
    replayed = replay_phases(agents, CONFLICT, **GIVEN)
    matrix = Record.from_table(replayed.table, CONFLICT).matrix
    assert matrix.shape == (4, 3)
    assert not np.isnan(matrix).any()
    append(tmp_path / "table.csv", replayed.rows)
    assert same(read(tmp_path / "table.csv"), replayed.table)


def test_any_number_of_processes_gives_the_same_bits(paths: dict[int, Path]) -> None:
    one = replay_phases(paths, CONFLICT, load=numbered, **GIVEN)
    assert len(set(one.table.groupby("lifetime_step")["length"].sum())) > 1  # they do differ
    mixed = {**paths, 0: numbered(paths[0])}  # agents and paths
    assert replay_phases(mixed, CONFLICT, load=numbered, jobs=2, **GIVEN).rows == one.rows


def test_a_protocol_says_all_that_a_schedule_leaves_open() -> None:
    agents = {0: flaps_below(0.2)}
    protocol = Protocol("FlappyBird", IDS["FlappyBird"], CONFLICT, SETTINGS)
    expected = replay_phases(agents, protocol).rows
    for schedule in (CONFLICT, "conflict", CONFLICT.to_dict()):
        assert replay_phases(agents, schedule, **GIVEN).rows == expected
    with pytest.raises(ValueError, match="a protocol has them itself"):
        replay_phases(agents, protocol, game="FlappyBird")


@pytest.mark.parametrize("kind", [PPO, DQN])
def test_models_of_stable_baselines(tmp_path: Path, kind: Any) -> None:
    env = gym.make(IDS["FlappyBird"], schedule="conflict")
    options = {"n_steps": 64} if kind is PPO else {"learning_starts": 10, "buffer_size": 100}
    model = kind("MlpPolicy", env, seed=0, device="cpu", **options)
    model.save(tmp_path / "0.zip")
    model.learn(64)
    model.save(tmp_path / "64.zip")
    stored = {0: tmp_path / "0.zip", 64: str(tmp_path / "64")}  # which may lack its suffix
    replayed = replay_phases(stored, CONFLICT, load=kind.load, **GIVEN)
    loaded = {0: kind.load(tmp_path / "0.zip"), 64: model}
    assert replayed.rows == replay_phases(loaded, CONFLICT, **GIVEN).rows


def test_every_mistake_names_the_checkpoint(paths: dict[int, Path]) -> None:
    def replay(checkpoints: Any, load: Any = numbered) -> Any:
        return replay_phases(checkpoints, CONFLICT, load=load, **GIVEN)

    missing = {**paths, 60_000: paths[0].with_name("lost.zip")}
    with pytest.raises(FileNotFoundError, match=r"of step 60,000 does not exist: .*lost\.zip"):
        replay(missing)
    damaged = {**paths, 60_000: paths[0].with_name("damaged")}
    damaged[60_000].write_text("seven")
    with pytest.raises(ValueError, match=r"step 60,000 \(.*damaged\): could not convert"):
        replay(damaged)
    with pytest.raises(ValueError, match=r"step 0 \(.*/0\): KeyError: 'state'"):
        replay({0: paths[0]}, load=lambda path: {}["state"])
    with pytest.raises(ValueError, match=r"step 0 \(.*/0\): .*zip"):
        replay({0: paths[0]}, load=PPO.load)


def test_a_policy_for_another_game_is_named_with_what_it_expects(tmp_path: Path) -> None:
    PPO("MlpPolicy", gym.make(IDS["Catcher"]), device="cpu").save(tmp_path / "catcher.zip")
    with pytest.raises(
        ValueError,
        match=r"step 5 \(.*catcher.zip\): PPO cannot play FlappyBird: its observation space is "
        r"Box\(.*\(4,\), float32\), that of the game Box\(.*\(8,\), float32\)",
    ):
        replay_phases({5: tmp_path / "catcher.zip"}, CONFLICT, load=PPO.load, **GIVEN)


@pytest.mark.slow
def test_a_process_that_dies_is_said_with_its_checkpoint(paths: dict[int, Path]) -> None:
    with pytest.raises(RuntimeError, match=r"process died over the checkpoint of step .*70,000"):
        replay_phases(paths, CONFLICT, load=dies_over_two, jobs=2, **GIVEN)


def test_ctrl_c_is_left_to_whoever_has_the_processes(paths: dict[int, Path]) -> None:
    undisturbed = replay_phases(paths, CONFLICT, load=numbered, **GIVEN)
    assert replay_phases(paths, CONFLICT, load=is_interrupted, jobs=2, **GIVEN).rows == (
        undisturbed.rows
    )


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_plays_on_one_thread_and_a_mistake_names_its_checkpoint(
    paths: dict[int, Path], jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match=r"step 0 \(.*/0\): 1 of torch") as caught:
            replay_phases({0: paths[0]}, CONFLICT, load=says_threads, jobs=jobs, **GIVEN)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert jobs == 1 or "1 of OpenMP" in str(caught.value)


@pytest.mark.parametrize(
    ("checkpoints", "options", "message"),
    [
        ({}, GIVEN, "no checkpoint is given"),
        ({-1: flaps_below(0.2)}, GIVEN, "lifetime_step = -1 must be a whole number, at least 0"),
        ({0: flaps_below(0.2)}, {**GIVEN, "jobs": 0}, "jobs = 0"),
        ({0: flaps_below(0.2)}, {"evaluation": SETTINGS}, "name it, as in game='Catcher'"),
        ({0: flaps_below(0.2)}, {**GIVEN, "game": "Catcher"}, "unknown parameter 'gravity'"),
        ({9: "agent.zip"}, GIVEN, "step 9 is a path: say what opens it"),
        ({0: flaps_below(0.2)}, {**GIVEN, "jobs": 1.5}, "jobs = 1.5 must be a whole number"),
        ({0: flaps_below(0.2)}, {**GIVEN, "late": -1}, "late = -1 must be a whole number, at l"),
        ({0: flaps_below(0.2)}, {**GIVEN, "seed": -1}, "seed = -1 must be"),
        ({0.5: flaps_below(0.2)}, GIVEN, "lifetime_step = 0.5 must be a whole number"),
        (
            {"0": flaps_below(0.2), 1: flaps_below(0.2)},
            GIVEN,
            "lifetime_step = '0' must be a whole number",
        ),
        ({True: flaps_below(0.2)}, GIVEN, "lifetime_step = True must be a whole number"),
        (
            {0: flaps_below(0.2), 170_000: flaps_below(0.2)},
            GIVEN,
            "step 170,000 is beyond the end of schedule 'conflict', which has 150,000 steps",
        ),
        ({150_009: flaps_below(0.2)}, {**GIVEN, "late": 8}, "step 150,009 is beyond the end"),
    ],
)
def test_what_makes_no_sense(checkpoints: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replay_phases(checkpoints, CONFLICT, **options)
