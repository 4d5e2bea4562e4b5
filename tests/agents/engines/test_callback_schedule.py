"""When callbacks want to be called, by themselves and in a list."""

import math
from typing import Any

import gymnasium as gym
import pytest
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    ConvertCallback,
    EvalCallback,
    EveryNTimesteps,
    StopTrainingOnMaxEpisodes,
)

from continual_arcade.agents.engines.callback_schedule import (
    skip,
    steps_until_due,
    watches_start,
)


class Own(BaseCallback):
    def __init__(self, due: int | None) -> None:
        super().__init__()
        self.due = due

    def next_due(self, num_timesteps: int) -> int | None:
        return self.due

    def _on_step(self) -> bool:
        return True


def test_a_callback_that_says_when() -> None:
    assert steps_until_due(Own(1000), 960, 8, 1) == 5
    assert steps_until_due(Own(1001), 960, 8, 1) == 6  # not before it is due
    assert steps_until_due(Own(960), 960, 8, 1) == 1
    assert steps_until_due(Own(None), 960, 8, 1) == math.inf


def test_callbacks_at_intervals_of_calls(tmp_path: Any) -> None:
    checkpoint = CheckpointCallback(10, str(tmp_path))
    assert steps_until_due(checkpoint, 0, 4, 1) == 10
    skip(checkpoint, 7, 4)
    assert steps_until_due(checkpoint, 28, 4, 1) == 3
    evaluation = EvalCallback(gym.make("CartPole-v1"), eval_freq=5)
    skip(evaluation, 5, 4)
    assert steps_until_due(evaluation, 0, 4, 1) == 5
    assert steps_until_due(EvalCallback(gym.make("CartPole-v1"), eval_freq=0), 0, 4, 1) == math.inf


def test_every_so_many_steps() -> None:
    callback = EveryNTimesteps(100, Own(None))
    assert steps_until_due(callback, 0, 8, 1) == 13
    callback.last_time_trigger = 104
    assert steps_until_due(callback, 200, 8, 1) == 1


@pytest.mark.parametrize("otherwise", [1, 25])
def test_those_that_do_not_say(otherwise: int, tmp_path: Any) -> None:
    class Derived(CheckpointCallback):
        """May want to look at every step."""

    assert steps_until_due(StopTrainingOnMaxEpisodes(3), 0, 1, otherwise) == otherwise
    assert steps_until_due(Derived(10, str(tmp_path)), 0, 1, otherwise) == otherwise
    assert steps_until_due(ConvertCallback(lambda *_: True), 0, 1, otherwise) == otherwise
    assert steps_until_due(ConvertCallback(None), 0, 1, otherwise) == math.inf


def test_of_a_list_the_first_to_be_due_counts() -> None:
    both = CallbackList([Own(50), CallbackList([Own(30), Own(None)])])
    assert steps_until_due(both, 0, 1, 1) == 30
    assert steps_until_due(CallbackList([]), 0, 1, 1) == math.inf
    skip(both, 9, 1)
    assert [callback.n_calls for callback in (both, *both.callbacks)] == [9, 9, 9]
    assert both.callbacks[1].callbacks[0].n_calls == 9  # type: ignore[attr-defined]


def test_a_list_of_somebody_else_may_want_more_than_what_is_in_it() -> None:
    class Counting(CallbackList): ...

    class Saying(CallbackList):
        def next_due(self, num_timesteps: int) -> int:
            return 20

    assert steps_until_due(Counting([Own(None)]), 0, 1, 1) == 1
    assert steps_until_due(Counting([Own(30)]), 0, 1, 50) == 30
    assert steps_until_due(Saying([Own(30)]), 0, 1, 1) == 20
    assert steps_until_due(Saying([Own(10)]), 0, 1, 1) == 10


def test_who_wants_to_know_of_starts() -> None:
    class Derived(Own):
        def _on_rollout_start(self) -> None: ...

    class Other(Own):
        def on_rollout_start(self) -> None: ...

    own, changed = Own(None), Own(None)
    vars(changed)["_on_rollout_start"] = lambda: None
    assert not watches_start(own)
    assert not watches_start(CallbackList([own, EveryNTimesteps(10, own)]))
    for callback in (Derived(None), Other(None), changed):
        assert watches_start(callback)
        assert watches_start(CallbackList([own, CallbackList([callback])]))
