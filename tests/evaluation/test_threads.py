"""On how many threads is computed, in PyTorch and in NumPy's linear algebra."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from threadpoolctl import threadpool_info, threadpool_limits
from tiny import CONFLICT, SETTINGS

from continual_arcade.evaluation import EvaluationSettings
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.threads import one_thread
from continual_arcade.studies.run_spec import RunSpec, Training


def threads() -> set[int]:
    """Return the numbers of threads of PyTorch and of every library of linear algebra."""
    libraries = {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}
    return {torch.get_num_threads(), *libraries}


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2, "blas"):
        yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_one_thread_and_then_as_before() -> None:
    assert threads() == {2}
    with one_thread():
        assert threads() == {1}
    assert threads() == {2}
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert threads() == {2}


class Looks(BaseCallback):
    def _on_step(self) -> bool:
        self.seen = threads()
        return True


@pytest.mark.usefixtures("two_threads")
def test_a_run_computes_on_one_thread(tmp_path: Path) -> None:
    """Its evaluations, too: a decomposition of a small matrix on two busy cores took 0.3 s."""
    spec = RunSpec(
        game="FlappyBird",
        schedule=CONFLICT,
        settings=SETTINGS,
        evaluation=EvaluationSettings(every=0, at_end=1, episodes=1, max_steps=20),
        save_every=0,
    )
    training = Training.prepare(spec, RunFolder(tmp_path / "run"))
    training.write({})
    looks = Looks()
    training.train([looks])
    assert looks.seen == {1}
