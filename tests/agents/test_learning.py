"""The agent learns, and forgets: over five seeds each. Takes minutes; run by ``make slow``."""

from pathlib import Path

import numpy as np
import pytest
import torch

from continual_arcade.agents import DQNSettings, build_agent
from continual_arcade.envs import Schedule, make_game, shipped
from continual_arcade.evaluation import (
    EvaluationCallback,
    Evaluator,
    Record,
    RunFolder,
    Timetable,
)
from continual_arcade.evaluation.statistics import mean_over_runs
from continual_arcade.evaluation.table import read

SEEDS = range(5)

pytestmark = pytest.mark.slow


def lives(schedule: Schedule, root: Path) -> np.ndarray:
    """The forgetting matrix of each seed."""
    torch.set_num_threads(1)
    matrices = []
    for seed in SEEDS:
        agent = build_agent("FlappyBird", schedule, DQNSettings(), seed)
        folder = RunFolder.new(root, "FlappyBird", schedule.name, "dqn", seed)
        folder.make()
        evaluator = Evaluator("FlappyBird", schedule)
        callback = EvaluationCallback(evaluator, Timetable(schedule), folder, seed=seed)
        agent.learn(schedule.total_steps, callback=callback)
        matrices.append(Record.from_table(read(folder.table), schedule).matrix)
        print(f"seed {seed}: {np.round(matrices[-1], 1).tolist()}")
    return np.array(matrices)


def test_it_learns_the_first_phase(tmp_path: Path) -> None:
    first = shipped("shrink", make_game("FlappyBird")).phases[:1]
    scores = lives(Schedule("first phase", first), tmp_path)[:, 1, 0]
    assert scores.mean() > 10
    assert (scores > 1).all()


def test_it_forgets_what_conflicts(tmp_path: Path) -> None:
    game = make_game("FlappyBird")
    both = shipped("conflict", game).phases[:2]
    matrices = lives(Schedule("two", both), tmp_path)
    learnt, later = matrices[:, 1, 0], matrices[:, 2, 0]
    assert learnt.mean() > 10
    change = mean_over_runs(later - learnt)
    assert change.high < 0
