"""Returns over several steps, against sums written out by hand for each start of each episode."""

import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.agents.replay.n_step import NStepAccumulator, Transitions

NAMES = [field.name for field in fields(Transitions)]


def accumulator(n_steps: int = 3, gamma: float = 0.9, n_envs: int = 2) -> NStepAccumulator:
    return NStepAccumulator(n_steps, gamma, n_envs, (2,), np.float32, 1, np.int64)


def a_life(seed: int, length: int, n_envs: int, ends: float) -> dict[str, np.ndarray]:
    """Steps with numbers that tell where they come from, arrays of shape (length, n_envs, ...)."""
    rng = np.random.default_rng(seed)
    number = np.arange(length * n_envs).reshape(length, n_envs)
    dones = rng.random((length, n_envs)) < ends
    return {
        "obs": np.stack([number, -number], axis=-1).astype(np.float32),
        "actions": rng.integers(0, 9, (length, n_envs, 1)),
        "rewards": rng.normal(size=(length, n_envs)).astype(np.float32),
        "next_obs": np.stack([number + 0.5, -number], axis=-1).astype(np.float32),
        "dones": dones,
        "timeouts": rng.random((length, n_envs)) < 0.5,
        "phases": rng.integers(0, 3, (length, n_envs)),
    }


def play(to: NStepAccumulator, life: dict[str, np.ndarray], begin: int, end: int) -> list[Any]:
    return [
        to.push(**{name: column[t] for name, column in life.items()}) for t in range(begin, end)
    ]


def by_hand(life: dict[str, np.ndarray], n_steps: int, gamma: float) -> list[list[tuple[Any, ...]]]:
    """For each step, what it completes; every start looks ahead on its own."""
    length, n_envs = life["dones"].shape
    completed: list[list[tuple[Any, ...]]] = [[] for _ in range(length)]
    for env in range(n_envs):
        for start in range(length):
            last = start
            while last < length and not life["dones"][last, env] and last < start + n_steps - 1:
                last += 1
            if last == length:
                continue
            rewards = [float(life["rewards"][t, env]) for t in range(start, last + 1)]
            completed[last].append(
                (
                    life["obs"][start, env],
                    life["actions"][start, env],
                    math.fsum(gamma**k * reward for k, reward in enumerate(rewards)),
                    life["next_obs"][last, env],
                    float(life["dones"][last, env] and not life["timeouts"][last, env]),
                    gamma ** len(rewards),
                    life["phases"][start, env],
                    life["dones"][last, env],
                )
            )
    return completed


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_steps=st.integers(1, 7),
    n_envs=st.integers(1, 4),
    length=st.integers(1, 30),
    gamma=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    ends=st.sampled_from([0.0, 0.1, 0.4, 1.0]),
)
def test_equals_the_sums_written_out(
    seed: int, n_steps: int, n_envs: int, length: int, gamma: float, ends: float
) -> None:
    life = a_life(seed, length, n_envs, ends)
    steps = play(accumulator(n_steps, gamma, n_envs), life, 0, length)
    for step, expected in zip(steps, by_hand(life, n_steps, gamma), strict=True):
        assert len(step) == len(expected)
        for row, values in enumerate(expected):
            for name, value in zip(NAMES, values, strict=True):
                np.testing.assert_allclose(getattr(step, name)[row], value, rtol=1e-6, atol=1e-6)


def test_types_and_shapes() -> None:
    for n_steps in (1, 3):
        for step in play(accumulator(n_steps), a_life(0, 6, 2, 0.3), 0, 6):
            n = len(step)
            shapes = [(n, 2), (n, 1), (n,), (n, 2), (n,), (n,), (n,), (n,)]
            assert [getattr(step, name).shape for name in NAMES] == shapes
            types = [np.float32, np.int64, *[np.float32] * 4, np.int64, np.bool_]
            assert [getattr(step, name).dtype for name in NAMES] == types


def test_a_death_is_told_from_a_cut_and_the_rest_comes_out_oldest_first() -> None:
    one = accumulator(n_steps=3, gamma=0.5, n_envs=1)

    def push(number: int, done: bool, timeout: bool) -> Transitions:
        obs = np.full((1, 2), number, np.float32)
        return one.push(
            obs, *map(np.array, ([[0]], [1.0])), obs + 1, *map(np.array, ([done], [timeout], [0]))
        )

    for timeout, terminated in ((False, 1.0), (True, 0.0)):
        assert len(push(0, done=False, timeout=False)) == 0
        assert one.pending == 1
        rest = push(1, done=True, timeout=timeout)
        assert one.pending == 0
        np.testing.assert_array_equal(rest.observations[:, 0], [0, 1])
        np.testing.assert_array_equal(rest.next_observations[:, 0], [2, 2])
        np.testing.assert_array_equal(rest.rewards, [1.5, 1.0])
        np.testing.assert_array_equal(rest.discounts, [0.25, 0.5])
        np.testing.assert_array_equal(rest.dones, [terminated] * 2)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_what_comes_out_is_a_copy(n_steps: int) -> None:
    life = a_life(0, 6, 2, 0.0)
    to = accumulator(n_steps)
    completed = play(to, life, 0, n_steps)[-1]
    before = [getattr(completed, name).copy() for name in NAMES]
    for column in life.values():
        column[:n_steps] = 1
    play(to, life, n_steps, 6)
    for name, values in zip(NAMES, before, strict=True):
        np.testing.assert_array_equal(getattr(completed, name), values)


def test_rows_are_taken_in_the_order_asked_for() -> None:
    (completed,) = play(accumulator(1, n_envs=4), a_life(0, 1, 4, 0.5), 0, 1)
    taken = completed.take([2, 0])
    for name in NAMES:
        np.testing.assert_array_equal(getattr(taken, name), getattr(completed, name)[[2, 0]])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_steps=st.integers(1, 5),
    split=st.integers(0, 20),
    ends=st.sampled_from([0.0, 0.2]),
)
def test_a_loaded_one_goes_on_bit_for_bit(seed: int, n_steps: int, split: int, ends: float) -> None:
    life = a_life(seed, 20, 3, ends)
    first, second = accumulator(n_steps, n_envs=3), accumulator(n_steps, n_envs=3)
    play(first, life, 0, split)
    state = first.state_dict()
    expected = play(first, life, split, 20)
    play(second, a_life(seed + 1, 4, 3, 0.0), 0, 4)
    second.load_state_dict(state)
    for one, other in zip(expected, play(second, life, split, 20), strict=True):
        for name in NAMES:
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_cleared_it_knows_nothing_of_before() -> None:
    life = a_life(0, 8, 2, 0.0)
    to = accumulator(3)
    play(to, life, 0, 4)
    to.clear()
    assert to.pending == 0
    assert [len(step) for step in play(to, life, 4, 8)] == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_steps": 0}, "n_steps = 0"),
        ({"n_steps": 1.5}, r"n_steps = 1\.5"),
        ({"n_steps": math.nan}, "n_steps = nan"),
        ({"n_steps": math.inf}, "n_steps = inf"),
        ({"n_envs": 0}, "n_envs = 0"),
        ({"gamma": -0.1}, r"gamma = -0\.1"),
        ({"gamma": 1.1}, r"gamma = 1\.1"),
        ({"gamma": math.nan}, "gamma = nan"),
    ],
)
def test_numbers_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        accumulator(**change)


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("name", ["obs", "actions", "rewards", "next_obs", "dones", "phases"])
def test_too_few_rows(n_steps: int, name: str) -> None:
    step = {name: column[0] for name, column in a_life(0, 1, 2, 0.0).items()}
    with pytest.raises(ValueError, match="reshape"):
        accumulator(n_steps).push(**{**step, name: step[name][:1]})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (accumulator(gamma=0.5), r"gamma is 0\.9 here and 0\.5"),
        (accumulator(n_steps=4), "shape"),
        (accumulator(n_envs=5), "shape"),
        (NStepAccumulator(3, 0.9, 2, (2,), np.uint8, 1, np.int64), "uint8"),
    ],
)
def test_saved_steps_that_do_not_fit(other: NStepAccumulator, message: str) -> None:
    to = accumulator()
    play(to, a_life(0, 2, 2, 0.0), 0, 2)
    with pytest.raises(ValueError, match=message):
        to.load_state_dict(other.state_dict())
    assert to.pending == 4
