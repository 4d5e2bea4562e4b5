"""Evaluations on the way: one callback writes to a run at a time, and nothing is there twice."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny

from continual_arcade.evaluation import EvaluationCallback, Evaluator, RunFolder, Timetable
from continual_arcade.evaluation.locks import LockedError
from continual_arcade.evaluation.rewinding import rewind
from continual_arcade.evaluation.table import read

EVALUATED = [0, tiny.PHASE, 2 * tiny.PHASE, 3 * tiny.PHASE]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.make()
    return folder


def callback(folder: RunFolder, report: Callable[[int, Any], None] | None = None) -> Any:
    evaluator = Evaluator("FlappyBird", tiny.CONFLICT, episodes=1, max_steps=20)
    said = report or (lambda step, played: None)
    return EvaluationCallback(evaluator, Timetable(tiny.CONFLICT), folder, seed=0, report=said)


def steps(folder: RunFolder) -> list[int]:
    found: list[int] = read(folder.table)["lifetime_step"].unique().tolist()
    return found


@contextmanager
def held_elsewhere(folder: RunFolder) -> Iterator[None]:
    """Let another thread, which lives on, hold the lock of a run."""
    holds, done = threading.Event(), threading.Event()

    def hold() -> None:
        with folder.lock.hold():
            holds.set()
            done.wait()

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(hold)
        try:
            holds.wait()
            yield
        finally:
            done.set()
            holding.result()


def is_free(folder: RunFolder) -> bool:
    """Whether somebody else could take the lock."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(folder.lock.acquire).exception() is None


def test_while_somebody_else_writes_to_the_run_training_does_not_begin(folder: RunFolder) -> None:
    agent = tiny.agent()
    with held_elsewhere(folder), pytest.raises(LockedError, match=f"is at work in {folder.path}"):
        tiny.live(agent, callback=callback(folder))
    assert agent.num_timesteps == 0
    assert not folder.table.exists()
    tiny.live(agent, callback=callback(folder))
    assert steps(folder) == EVALUATED


def test_who_trains_is_not_disturbed_by_who_would_like_to(folder: RunFolder) -> None:
    refusals = []

    def report(step: int, played: Any) -> None:
        with ThreadPoolExecutor(1) as threads:
            second = threads.submit(tiny.live, tiny.agent(seed=1), callback=callback(folder))
            refusals.append(second.exception())

    tiny.live(tiny.agent(), callback=callback(folder, report))
    assert [type(refusal) for refusal in refusals] == [LockedError] * 4
    assert steps(folder) == EVALUATED
    assert is_free(folder)


@pytest.mark.parametrize("until", [tiny.PHASE, tiny.LIFE])
def test_what_was_evaluated_is_not_evaluated_again(until: int, folder: RunFolder) -> None:
    tiny.live(tiny.agent(), until, callback=callback(folder))
    before = folder.table.read_bytes()
    message = rf"holds evaluations up to step {until}, and training begins at step 0: give a new"
    with pytest.raises(ValueError, match=message):
        tiny.live(tiny.agent(seed=1), callback=callback(folder))
    assert folder.table.read_bytes() == before
    assert is_free(folder)
    # It goes on where it ended.
    agent = tiny.live(tiny.agent(), until)
    tiny.live(agent, tiny.LIFE - until, callback=callback(folder), reset_num_timesteps=False)
    assert steps(folder) == EVALUATED
    # And what comes after a step is no hindrance once it is removed.
    agent = tiny.live(tiny.agent(), tiny.PHASE)
    with pytest.raises(ValueError, match=r"training begins at step 120"):
        tiny.live(agent, tiny.PHASE, callback=callback(folder), reset_num_timesteps=False)
    rewind(folder, tiny.PHASE)
    tiny.live(agent, 2 * tiny.PHASE, callback=callback(folder), reset_num_timesteps=False)
    assert steps(folder) == EVALUATED


def test_two_in_one_training_do_not_write_everything_twice(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match="holds evaluations up to step 0"):
        tiny.live(tiny.agent(), callback=[callback(folder), callback(folder)])
    assert len(read(folder.table)) == 3
    agent = tiny.live(tiny.agent(), 4)
    with pytest.raises(RuntimeError, match="was changed since the last evaluation"):
        tiny.live(agent, callback=[callback(folder), callback(folder)], reset_num_timesteps=False)
    assert steps(folder) == EVALUATED[:2]


def test_training_that_failed_is_in_nobodys_way(folder: RunFolder) -> None:
    def fail(step: int, played: Any) -> None:
        if step:
            raise KeyboardInterrupt

    first = callback(folder, fail)
    with pytest.raises(KeyboardInterrupt):
        tiny.live(tiny.agent(), callback=first)
    rewind(folder, 0)
    tiny.live(tiny.agent(), callback=callback(folder))
    assert steps(folder) == EVALUATED
    assert is_free(folder)
