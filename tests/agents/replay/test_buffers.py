"""What replay keeps and draws: laws checked by enumeration and by statistics, contents bit by bit.

Each transition carries its number in the life, so that every slot tells what lies in it.
"""

import pickle
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import tiny
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy import stats
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from continual_arcade.agents import GymnasiumVecEnv, replay
from continual_arcade.agents.kernels import replay as kernels
from continual_arcade.agents.kernels.random import below
from continual_arcade.agents.methods.mer import MER
from continual_arcade.agents.replay import (
    BalancedReplayBuffer,
    FIFOReplayBuffer,
    MixReplayBuffer,
    ReservoirReplayBuffer,
    TransitionReplayBuffer,
)
from continual_arcade.agents.replay.buffer import decisions
from continual_arcade.envs import IDS
from continual_arcade.envs.compiling import plain, rebind

OBSERVATIONS = spaces.Box(-np.inf, np.inf, (2,), np.float32)
ACTIONS = spaces.Discrete(5)
KINDS = [FIFOReplayBuffer, ReservoirReplayBuffer, MixReplayBuffer, BalancedReplayBuffer]
Kind = type[TransitionReplayBuffer]


def make(kind: type[Any], capacity: int = 10, n_envs: int = 1, **kwargs: Any) -> Any:
    return kind(capacity, OBSERVATIONS, ACTIONS, "cpu", n_envs, **kwargs)


def offer(
    buffer: Any, first: int, *, phase: int = 0, done: Any = False, timeout: Any = False
) -> None:
    """One step of every sub-environment, with the numbers from ``first`` on."""
    n_envs = buffer.num_envs if isinstance(buffer, TransitionReplayBuffer) else buffer.n_envs
    dones = np.broadcast_to(done, n_envs)
    timeouts = np.broadcast_to(timeout, n_envs).tolist()
    infos = [{"TimeLimit.truncated": cut, "phase": phase} for cut in timeouts]
    buffer.add(*numbered(n_envs, first), dones, infos)


@lru_cache(maxsize=1_000)
def numbered(n_envs: int, first: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Observations, next ones, actions and rewards of a step, which nobody may write to."""
    number = first + np.arange(n_envs, dtype=np.float32)
    made = (
        np.stack([number, -number], axis=1),
        np.stack([number + 0.5, -number], axis=1),
        (number % 5).astype(np.int64),
        number / 7,
    )
    for array in made:
        array.flags.writeable = False
    return made


def numbers(buffer: TransitionReplayBuffer) -> list[int]:
    """What is stored, in the order of the slots."""
    return buffer.observations[buffer.stored_slots(), 0, 0].astype(int).tolist()


def fill(buffer: Any, count: int, phase_of: Callable[[int], int] = lambda number: 0) -> None:
    n_envs = buffer.num_envs if isinstance(buffer, TransitionReplayBuffer) else buffer.n_envs
    for first in range(0, count, n_envs):
        offer(buffer, first, phase=phase_of(first))


# --- the law of the reservoir


class Scripted:
    """Draws what a script says, and remembers from how many values it chose."""

    def __init__(self, script: tuple[int, ...]) -> None:
        self.script = list(script)
        self.bounds: list[int] = []

    def below(self, stream: Any, bound: int) -> int:
        self.bounds.append(bound)
        return self.script.pop(0) if self.script else 0


def deciding(below: Callable[[Any, int], int], reservoir: Any = kernels._reservoir) -> Any:
    """The very source of the decisions, run by Python, with draws of ours.

    Args:
        below: Draws in place of a generator.
        reservoir: The law of the reservoir, or a mistake in its place.
    """
    names = {name: plain(getattr(kernels, name)) for name in ("balanced_size", "index_of")}
    names["_reservoir"] = rebind(plain(reservoir), {"below": below})
    return lambda: (rebind(plain(kernels.decide), names), decisions()[1])


LONG_TERM: list[tuple[type[Any], dict[str, Any], int, slice]] = [
    (ReservoirReplayBuffer, {}, 2, slice(None)),
    (MixReplayBuffer, {"fifo_size": 3}, 5, slice(3, None)),
    (BalancedReplayBuffer, {}, 2, slice(None)),
]


def inclusion(
    kind: type[Any],
    kwargs: Any,
    capacity: int,
    part: slice,
    n_envs: int,
    reservoir: Any = kernels._reservoir,
) -> Counter[Any]:
    """How many of all possible courses of 6 offers end with which two numbers kept."""

    def course(script: tuple[int, ...]) -> tuple[Scripted, tuple[float, ...]]:
        drawn = Scripted(script)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(replay.buffer, "decisions", deciding(drawn.below, reservoir))
            buffer = make(kind, capacity, n_envs, **kwargs)
            fill(buffer, 6)
        return drawn, tuple(sorted(buffer.observations[part, 0, 0].tolist()))

    bounds = course(())[0].bounds
    return Counter(course(script)[1] for script in product(*map(range, bounds)))


@pytest.mark.one_in(5)
@pytest.mark.parametrize("n_envs", [1, 2, 3, 6])
@pytest.mark.parametrize(("kind", "kwargs", "capacity", "part"), LONG_TERM)
def test_every_pair_is_kept_in_equally_many_of_all_courses(
    kind: type[Any], kwargs: Any, capacity: int, part: slice, n_envs: int
) -> None:
    pairs = inclusion(kind, kwargs, capacity, part, n_envs)
    assert set(pairs) == set(combinations(range(6), 2))
    assert set(pairs.values()) == {3 * 4 * 5 * 6 // 15}


def off_by_one(stream: Any, index: int, capacity: int) -> int:
    """The reservoir of the original code: it counts first, and then draws with both ends."""
    if index < capacity:
        return index
    slot = below(stream, index + 2)
    return slot if slot < capacity else -1


def row_wise(
    book: Any, kind: int, size: int, capacity: int, seen: int, phases: Any, rows: Any, slots: Any
) -> int:
    """A reservoir of rows: what came in together stays or goes together."""
    count, row = len(phases), seen // len(phases)
    place = row if row < capacity // count else below(book.placement, row + 1)
    if place >= capacity // count:
        return 0
    for i in range(count):
        rows[i], slots[i] = i, place * count + i
    return count


def test_off_by_one_fails_that_test() -> None:
    assert len(set(inclusion(*LONG_TERM[0], 1, off_by_one).values())) > 1


def uniformity(n_envs: int = 12, runs: int = 6_000) -> float:
    """P-value of every offer being kept equally often: 6 of 60, chi-square.

    Within a run exactly 6 are kept, so the counts vary less than those of independent draws: by
    1 - 6/60, times 60/59 for what a count has in common with the others.
    """
    capacity, count = 6, 60
    buffer = make(ReservoirReplayBuffer, capacity, n_envs, seed=1)
    kept = np.zeros(count)
    for _ in range(runs):
        buffer.reset()
        fill(buffer, count)
        kept[numbers(buffer)] += 1
    expected = runs * capacity / count
    variance = expected * (1 - capacity / count) * count / (count - 1)
    return float(stats.chi2(count - 1).sf(((kept - expected) ** 2).sum() / variance))


def test_every_transition_is_kept_equally_often() -> None:
    assert 0.001 < uniformity() < 0.999


@pytest.mark.slow
def test_off_by_one_fails_that_test_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    draws = deciding(lambda stream, bound: int(rng.integers(bound)), off_by_one)
    monkeypatch.setattr(replay.buffer, "decisions", draws)
    assert uniformity() < 1e-6


def variance_ratio(kind: type[Any], capacity: int, part: slice, runs: int) -> float:
    """Variance of how many of every other step are kept, in units of the hypergeometric one."""
    held, count, n_envs = 50, 500, 10
    buffer = make(kind, capacity, n_envs, seed=2)
    kept = []
    for _ in range(runs):
        buffer.reset()
        for first in range(0, count, n_envs):
            offer(buffer, first)
        kept.append((buffer.observations[part, 0, 0] // n_envs % 2).sum())
    assert np.mean(kept) == pytest.approx(held / 2, abs=1)
    return float(np.var(kept, ddof=1) / (held * 0.25 * (count - held) / (count - 1)))


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("kind", "capacity", "part"),
    [(ReservoirReplayBuffer, 50, slice(None)), (MixReplayBuffer, 100, slice(50, None))],
)
def test_sub_environments_are_kept_independently(
    kind: type[Any], capacity: int, part: slice
) -> None:
    runs = 300
    ratio = variance_ratio(kind, capacity, part, runs)
    assert 0.001 < stats.chi2(runs - 1).sf(ratio * (runs - 1)) < 0.999


def test_row_wise_fails_that_test(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = njit(row_wise), decisions()[1]
    monkeypatch.setattr(replay.buffer, "decisions", lambda: wrong)
    assert variance_ratio(ReservoirReplayBuffer, 50, slice(None), 150) > 7


# --- contents


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("kind", [FIFOReplayBuffer, ReservoirReplayBuffer, BalancedReplayBuffer])
def test_until_it_is_full_it_holds_what_its_parent_holds(kind: type[Any], n_envs: int) -> None:
    ours, parent = make(kind, 60, n_envs), make(ReplayBuffer, 60, n_envs)
    rng = np.random.default_rng(0)
    for first in range(0, 60, n_envs):
        done, timeout = rng.random((2, n_envs)) < 0.5
        for buffer in (ours, parent):
            offer(buffer, first, done=done, timeout=done & timeout)
        held = ours.size()
        assert held == parent.size() * n_envs == first + n_envs
        for name in ("observations", "next_observations", "actions", "rewards"):
            theirs = getattr(parent, name).reshape(60, -1)[:held]
            assert getattr(ours, name)[:held].tobytes() == theirs.tobytes()
        theirs = (parent.dones * (1 - parent.timeouts)).reshape(60)[:held]
        assert ours.dones[:held, 0].tobytes() == theirs.tobytes()
    assert ours.full
    assert ours.pos == 0


def test_fifo_holds_what_its_parent_holds_for_ever() -> None:
    ours, parent = make(FIFOReplayBuffer, 7), make(ReplayBuffer, 7)
    for number in range(40):
        for buffer in (ours, parent):
            offer(buffer, number)
        assert (ours.pos, ours.full, ours.size()) == (parent.pos, parent.full, parent.size())
        assert ours.observations.tobytes() == parent.observations.tobytes()


def test_several_steps_equal_those_that_the_parent_finds_when_it_draws() -> None:
    ours = make(FIFOReplayBuffer, 100, n_steps=3, gamma=0.9)
    theirs = make(NStepReplayBuffer, 100, n_steps=3, gamma=0.9)
    rng = np.random.default_rng(0)
    for number in range(60):
        done, timeout = rng.random(2) < 0.25
        for buffer in (ours, theirs):
            offer(buffer, number, done=done, timeout=done & timeout)
    count = ours.size()
    assert count >= 58
    expected = theirs._get_samples(np.arange(count))
    for one, other in zip(ours.gather(np.arange(count)), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_an_overwritten_slot_keeps_no_stale_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (FIFOReplayBuffer, ReservoirReplayBuffer, BalancedReplayBuffer):
        buffer = make(kind, 1)
        # Always takes the slot.
        monkeypatch.setattr(replay.buffer, "decisions", deciding(Scripted(()).below))
        for number, (timeout, terminated) in enumerate([(True, 0.0), (False, 1.0), (True, 0.0)]):
            offer(buffer, number, done=True, timeout=timeout)
            assert numbers(buffer) == [number]
            assert buffer.sample(1).dones.item() == terminated
            assert not buffer.timeouts.any()


def test_a_cut_counts_as_death_if_so_wished() -> None:
    buffer = make(FIFOReplayBuffer, 2, handle_timeout_termination=False)
    offer(buffer, 0, done=True, timeout=True)
    assert buffer.dones[0, 0] == 1.0


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    capacity=st.integers(4, 13),
    n_envs=st.integers(1, 6),
    phases=st.lists(st.integers(0, 3), min_size=1, max_size=25),
)
def test_slots_hold_whole_transitions_and_placed_tells_which(
    kind: Kind, capacity: int, n_envs: int, phases: list[int]
) -> None:
    buffer = make(kind, capacity, n_envs)
    mark = buffer.add_column("mark", (2,), np.int64, -1)
    for step, phase in enumerate(phases):
        offer(buffer, step * n_envs, phase=phase)
        rows, slots = buffer.placed
        assert len(buffer.latest) == n_envs
        np.testing.assert_array_equal(mark[slots], -1)
        mark[slots] = buffer.latest.observations[rows, :1].astype(int)

        held = buffer.stored_slots()
        assert len(held) == buffer.size() <= capacity
        assert sorted(set(held)) == held.tolist()
        number = buffer.observations[held, 0, 0]
        stored = buffer.stored(held)
        np.testing.assert_array_equal(stored.observations[:, 1], -number)
        np.testing.assert_array_equal(stored.next_observations[:, 0], number + 0.5)
        np.testing.assert_array_equal(stored.actions[:, 0], number % 5)
        np.testing.assert_array_equal(stored.rewards, number / np.float32(7))
        of_phase = np.array(phases)[(number // n_envs).astype(int)]
        np.testing.assert_array_equal(stored.phases, of_phase)
        np.testing.assert_array_equal(stored.discounts, np.float32(0.99))
        # Columns go with their transition, and nothing new lies where it was not announced.
        np.testing.assert_array_equal(mark[held], np.stack([number, number], axis=1))
        np.testing.assert_array_equal(np.sort(slots), held[number >= step * n_envs])
    assert buffer.seen == len(phases) * n_envs


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_completed_before_there_are_enough_steps(kind: Kind) -> None:
    buffer = make(kind, 10, 2, n_steps=3)
    for step in range(2):
        offer(buffer, 2 * step)
        assert len(buffer.latest) == len(buffer.placed[0]) == buffer.size() == 0
    with pytest.raises(ValueError, match="nothing to draw"):
        buffer.sample(4)
    offer(buffer, 4)
    assert len(buffer.latest) == 2
    buffer.drop_pending()
    offer(buffer, 6)
    assert len(buffer.latest) == 0


# --- mix


@pytest.mark.one_in(6)
@pytest.mark.parametrize("batch", [1, 2, 5, 8, 33])
@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_a_mixed_batch_has_its_fraction_of_the_long_term(fraction: float, batch: int) -> None:
    buffer = make(MixReplayBuffer, 20, fifo_size=6, long_term_fraction=fraction)
    drawn = 0
    for number in range(1_000):
        offer(buffer, number)
        assert len(buffer.sample(batch).observations) == batch
        assert set(buffer.sampled) <= set(buffer.stored_slots())
        old = int((buffer.sampled >= 6).sum())
        assert abs(old - fraction * batch) < 1
        drawn += old
    # On average it is exact; the deviation of a sum of coins is at most sqrt(1,000) / 2.
    assert abs(drawn - 1_000 * fraction * batch) <= 4 * np.sqrt(1_000) / 2
    recent = buffer.observations[:6, 0, 0]
    assert set(recent) == set(range(994, 1_000))


@pytest.mark.parametrize(
    ("fraction", "child", "size"), [(0.0, FIFOReplayBuffer, 6), (1.0, ReservoirReplayBuffer, 14)]
)
@pytest.mark.parametrize("n_envs", [1, 4])
def test_with_one_part_only_it_is_that_child(
    fraction: float, child: Kind, size: int, n_envs: int
) -> None:
    mix = make(MixReplayBuffer, 20, n_envs, fifo_size=6, long_term_fraction=fraction, seed=3)
    alone = make(child, size, n_envs, seed=3)
    for step in range(40):
        for buffer in (mix, alone):
            offer(buffer, step * n_envs)
        for one, other in zip(mix.sample(9), alone.sample(9), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_phase_shares_of_a_mix_are_those_expected() -> None:
    """Recent ones are all of the last phase; the long term has each as long as it lasted."""
    buffer = make(MixReplayBuffer, 2_000, 10, fifo_size=1_000)
    fill(buffer, 10_000, lambda number: int(number >= 7_000))
    assert buffer.phase_shares()[1] == pytest.approx(0.5 + 0.5 * 0.3, abs=0.02)
    for _ in range(200):
        buffer.sample(100)
    assert buffer.batch_phase_shares()[1] == pytest.approx(0.65, abs=0.02)
    buffer.reset_batch_counts()
    assert buffer.batch_phase_shares() == {}


# --- balanced


def test_phases_share_a_balanced_memory_equally() -> None:
    buffer = make(BalancedReplayBuffer, 30, 2)
    sizes = []
    for phase, length in enumerate([100, 30, 200, 8]):
        for step in range(length):
            offer(buffer, 2 * step, phase=phase)
        sizes.append(np.bincount(buffer.phases[buffer.stored_slots()]).tolist())
    assert sizes == [[30], [15, 15], [10, 10, 10], [7, 7, 7, 7]]
    assert buffer.size() == 28
    assert not buffer.full
    assert buffer.phase_shares() == {0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25}


def test_a_balanced_memory_samples_each_phase_uniformly_and_draws_uniformly() -> None:
    """Over the life of a phase that is interrupted, comes back, and has to shrink."""
    lengths = [(0, 12), (1, 9), (0, 15), (2, 30), (0, 6), (1, 6)]
    runs, n_envs = 1_500, 3
    buffer = make(BalancedReplayBuffer, 15, n_envs, seed=5)
    kept = np.zeros(sum(length for _, length in lengths))
    phases = np.repeat([phase for phase, _ in lengths], [length for _, length in lengths])
    drawn = np.zeros(15)
    for _ in range(runs):
        buffer.reset()
        fill(buffer, len(kept), lambda number: int(phases[number]))
        held = numbers(buffer)
        assert len(held) == 15
        kept[held] += 1
        buffer.sample(4)
        drawn += np.bincount(buffer.sampled, minlength=15)
    for phase in range(3):
        counts = kept[phases == phase]
        expected = runs * 5 / len(counts)
        assert counts.sum() == pytest.approx(5 * runs)
        variance = expected * (1 - 5 / len(counts)) * len(counts) / (len(counts) - 1)
        statistic = ((counts - expected) ** 2).sum() / variance
        assert 0.001 < stats.chi2(len(counts) - 1).sf(statistic) < 0.999
    assert stats.chisquare(drawn).pvalue > 0.001


def test_too_many_phases_for_the_slots() -> None:
    buffer = make(BalancedReplayBuffer, 2)
    for phase in range(2):
        offer(buffer, phase, phase=phase)
    with pytest.raises(ValueError, match="cannot hold a transition of each of 3 phases"):
        offer(buffer, 2, phase=2)


# --- batches


@pytest.mark.parametrize("kind", [FIFOReplayBuffer, ReservoirReplayBuffer])
def test_all_that_is_stored_is_drawn_equally_often(kind: Kind) -> None:
    buffer = make(kind, 20)
    for count in (13, 60):
        fill(buffer, count)
        drawn = np.zeros(buffer.size())
        for _ in range(300):
            buffer.sample(100)
            drawn += np.bincount(buffer.sampled, minlength=len(drawn))
        assert stats.chisquare(drawn).pvalue > 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_what_lies_in_the_slots_it_names(kind: Kind) -> None:
    buffer = make(kind, 12, 2, n_steps=2, gamma=0.5)
    fill(buffer, 40)
    batch = buffer.sample(6)
    slots = buffer.sampled
    assert batch.observations.shape == batch.next_observations.shape == (6, 2)
    assert batch.discounts is not None
    for column in (batch.actions, batch.rewards, batch.dones, batch.discounts):
        assert column.shape == (6, 1)
    np.testing.assert_array_equal(batch.observations, buffer.observations[slots, 0])
    np.testing.assert_array_equal(batch.rewards, buffer.rewards[slots])
    np.testing.assert_array_equal(batch.discounts, np.full((6, 1), 0.25))
    for one, other in zip(batch, buffer._get_samples(slots), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    latest = buffer.as_samples(buffer.latest)
    np.testing.assert_array_equal(latest.observations, buffer.latest.observations)
    batch.observations.zero_()
    assert buffer.observations[slots].any()


def normaliser(norm_reward: bool) -> VecNormalize:
    env = VecNormalize(DummyVecEnv([lambda: gym.make("MountainCar-v0")]), norm_reward=norm_reward)
    env.obs_rms.mean, env.obs_rms.var = np.array([1.0, 2.0]), np.array([4.0, 9.0])  # type: ignore[union-attr]
    env.ret_rms.var = np.array(25.0)
    return env


def test_batches_are_normalised_as_those_of_the_parent() -> None:
    ours, parent = make(FIFOReplayBuffer), make(ReplayBuffer)
    for buffer in (ours, parent):
        fill(buffer, 10)
    env = normaliser(norm_reward=True)
    expected = parent._get_samples(np.arange(10), env)
    for one, other in zip(ours.gather(np.arange(10), env)[:5], expected[:5], strict=True):
        torch.testing.assert_close(one, other)


def test_sums_of_rewards_are_not_normalised() -> None:
    buffer = make(FIFOReplayBuffer, n_steps=2)
    fill(buffer, 10)
    with pytest.raises(ValueError, match="norm_reward=False"):
        buffer.sample(3, normaliser(norm_reward=True))
    batch = buffer.gather(np.arange(3), normaliser(norm_reward=False))
    np.testing.assert_array_equal(batch.rewards, buffer.rewards[:3])
    np.testing.assert_allclose(batch.observations[:, 0], (np.arange(3) - 1) / 2, rtol=1e-5)


def test_shares_of_the_draws_add_up() -> None:
    buffer = make(FIFOReplayBuffer, 10)
    fill(buffer, 10, lambda number: int(number > 2))
    drawn: Counter[int] = Counter()
    for _ in range(5):
        buffer.sample(8)
        drawn.update(buffer.phases[buffer.sampled].tolist())
    assert buffer.batch_phase_shares() == {phase: drawn[phase] / 40 for phase in (0, 1)}
    assert buffer.phase_shares() == {0: 0.3, 1: 0.7}


# --- randomness and state


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_does_not_depend_on_how_often_it_draws(kind: Kind) -> None:
    one, other, third = make(kind, seed=1), make(kind, seed=1), make(kind, seed=2)
    for number in range(50):
        for buffer in (one, other, third):
            offer(buffer, number, phase=number // 20)
        one.sample(3)
    assert numbers(one) == numbers(other)
    assert (numbers(one) == numbers(third)) == (kind is FIFOReplayBuffer)


@pytest.mark.parametrize("kind", KINDS)
def test_the_global_generators_are_left_alone(kind: Kind) -> None:
    np.random.seed(5)  # noqa: NPY002  # it is what must not be touched
    torch.manual_seed(5)
    before, torch_before = pickle.dumps(np.random.get_state()), torch.get_rng_state()  # noqa: NPY002
    buffer = make(kind, n_envs=2)
    for step in range(30):
        offer(buffer, 2 * step, phase=step // 10)
        buffer.sample(5)
    buffer.reset()
    assert pickle.dumps(np.random.get_state()) == before  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


def flat(state: Any, name: str = "") -> dict[str, Any]:
    if isinstance(state, dict):
        assert all(isinstance(key, str) for key in state), "no file keeps other keys"
        items = [flat(value, f"{name}/{key}") for key, value in state.items()]
        return {key: value for item in items for key, value in item.items()}
    return {name: (state.shape, state.tobytes()) if isinstance(state, np.ndarray) else state}


def live(buffer: Any, begin: int, end: int, phases: list[int]) -> list[bytes]:
    """A stretch of life with draws; return all that was drawn."""
    drawn = []
    for step in range(begin, end):
        done = np.arange(buffer.num_envs) + step
        offer(buffer, step * buffer.num_envs, phase=phases[step], done=done % 5 == 0)
        slots = buffer.placed[1]
        buffer.columns["age"][slots] = step
        if buffer.size():
            drawn += [part.numpy().tobytes() for part in buffer.sample(4)]
            drawn.append(buffer.columns["age"][buffer.sampled].tobytes())
    return drawn


def resumable(kind: type[Any], seed: int, **kwargs: Any) -> Any:
    buffer = make(kind, 9, **kwargs, seed=seed)
    buffer.add_column("age", (), np.int32, -1)
    return buffer


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    n_envs=st.integers(1, 4),
    n_steps=st.integers(1, 4),
    phases=st.lists(st.integers(0, 3), min_size=20, max_size=20),
    split=st.integers(0, 20),
    pickled=st.booleans(),
)
def test_resumed_it_goes_on_bit_for_bit(
    kind: Kind, n_envs: int, n_steps: int, phases: list[int], split: int, pickled: bool
) -> None:
    whole = resumable(kind, 0, n_envs=n_envs, n_steps=n_steps)
    live(whole, 0, split, phases)
    if pickled:
        resumed = pickle.loads(pickle.dumps(whole))
        expected = live(whole, split, 20, phases)
    else:
        state = whole.state_dict()
        assert all(len(array) == whole.size() for array in state["arrays"].values())
        expected = live(whole, split, 20, phases)
        resumed = resumable(kind, 1, n_envs=n_envs, n_steps=n_steps)
        live(resumed, 0, 7, phases)
        resumed.load_state_dict(state)
    assert live(resumed, split, 20, phases) == expected
    assert flat(resumed.state_dict()) == flat(whole.state_dict())
    assert (resumed.pos, resumed.full) == (whole.pos, whole.full)
    assert resumed.batch_phase_shares() == whole.batch_phase_shares()


@pytest.mark.parametrize("kind", KINDS)
def test_reset_it_is_empty_but_its_generators_go_on(kind: Kind) -> None:
    buffer = resumable(kind, 0, n_envs=2, n_steps=2)
    live(buffer, 0, 20, [step // 7 for step in range(20)])
    before = buffer.state_dict()
    buffer.reset()
    after = buffer.state_dict()
    assert (buffer.size(), buffer.seen, buffer.pos, buffer.full) == (0, 0, 0, False)
    assert buffer.phase_shares() == buffer.batch_phase_shares() == {}
    assert (buffer.columns["age"] == -1).all()
    assert buffer.accumulator.pending == len(buffer.latest) == len(buffer.sampled) == 0
    assert after["rng"] == before["rng"]
    assert after["placement_rng"] == before["placement_rng"]
    with pytest.raises(ValueError, match="nothing to draw"):
        buffer.sample(1)
    live(buffer, 0, 20, [step // 7 for step in range(20)])
    assert buffer.size() > 0


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: resumable(FIFOReplayBuffer, 0), "kind is 'MixReplayBuffer' here and 'FIFO"),
        (lambda: make(MixReplayBuffer, 8), "buffer_size is 9 here and 8"),
        (lambda: make(MixReplayBuffer, 9, 2), "num_envs is 1 here and 2"),
        (lambda: make(MixReplayBuffer, 9, n_steps=2), "n_steps is 1 here and 2"),
        (lambda: make(MixReplayBuffer, 9, gamma=0.5), r"gamma is 0\.99 here and 0\.5"),
        (lambda: make(MixReplayBuffer, 9, fifo_size=5), "fifo_size is 4 here and 5"),
    ],
)
def test_states_that_do_not_fit(other: Callable[[], Any], message: str) -> None:
    buffer = resumable(MixReplayBuffer, 0)
    live(buffer, 0, 20, [0] * 20)
    before = flat(buffer.state_dict())
    with pytest.raises(ValueError, match=message):
        buffer.load_state_dict(other().state_dict())
    assert flat(buffer.state_dict()) == before


def test_columns_that_only_one_side_has() -> None:
    saved = resumable(MixReplayBuffer, 0)  # with a column "age"
    live(saved, 0, 20, [0] * 20)
    without = make(MixReplayBuffer, 9)
    without.load_state_dict(saved.state_dict())
    assert without.columns == {}
    np.testing.assert_array_equal(without.observations, saved.observations)
    again = resumable(MixReplayBuffer, 0)
    again.columns["age"][:] = 7
    again.load_state_dict(without.state_dict())
    assert (again.columns["age"] == -1).all()
    np.testing.assert_array_equal(again.observations, saved.observations)
    assert saved.columns["age"].max() > -1


def test_states_of_other_observations() -> None:
    other = FIFOReplayBuffer(10, spaces.Box(-1, 1, (3,), np.float32), ACTIONS, "cpu")
    with pytest.raises(ValueError, match=r"observations have shape \(0, 1, 2\)"):
        make(FIFOReplayBuffer).load_state_dict(other.state_dict())


# --- bad input, and the parent's agent


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"buffer_size": 0}, "buffer_size = 0"),
        ({"buffer_size": 10.5}, r"buffer_size = 10\.5"),
        ({"buffer_size": float("nan")}, "buffer_size = nan"),
        ({"n_envs": 0}, "n_envs = 0"),
        ({"n_steps": 0}, "n_steps = 0"),
        ({"gamma": 1.01}, r"gamma = 1\.01"),
        ({"gamma": float("nan")}, "gamma = nan"),
        ({"optimize_memory_usage": True}, "neighbouring slot"),
        ({"observation_space": spaces.Dict({"a": OBSERVATIONS})}, "FlattenObservation"),
    ],
)
def test_settings_that_make_no_sense(kind: Kind, change: dict[str, Any], message: str) -> None:
    values = {"buffer_size": 10, "observation_space": OBSERVATIONS, "action_space": ACTIONS}
    with pytest.raises(ValueError, match=message):
        kind(**{**values, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fifo_size": 0}, "fifo_size = 0"),
        ({"fifo_size": 10}, "fifo_size = 10 must leave slots"),
        ({"long_term_fraction": -0.1}, r"long_term_fraction = -0\.1"),
        ({"long_term_fraction": float("nan")}, "long_term_fraction = nan"),
        ({"capacity": 1}, "no room for two"),
    ],
)
def test_mixes_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(MixReplayBuffer, **change)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("long_term_fraction", 1.5, r"long_term_fraction = 1\.5"),
        ("long_term_fraction", float("nan"), "long_term_fraction = nan"),
        ("fifo_size", 90, "fifo_size=100: make a new one"),
        ("fifo_size", 1_000, "fifo_size=100: make a new one"),
    ],
)
def test_a_mix_cannot_be_changed_to_what_makes_no_sense(
    name: str, value: Any, message: str
) -> None:
    """Compiled code wrote beyond a batch."""
    memory = tiny.agent(replay=MixReplayBuffer).replay
    before = getattr(memory, name)
    with pytest.raises(ValueError, match=message):
        setattr(memory, name, value)
    assert getattr(memory, name) == before
    setattr(memory, name, before)


@pytest.mark.parametrize("kind", KINDS)
def test_calls_that_make_no_sense(kind: Kind) -> None:
    buffer = make(kind, n_envs=2)
    buffer.add_column("mark", (), np.int64, 0)
    with pytest.raises(ValueError, match="'mark' is there already"):
        buffer.add_column("mark", (), np.int64, 0)
    offer(buffer, 0)
    for size in (0, -1, 2.5):
        with pytest.raises(ValueError, match="batch_size = "):
            buffer.sample(size)  # type: ignore[arg-type]
    rows = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match="reshape"):
        buffer.add(rows, rows, *np.zeros((3, 3)), [{}] * 3)  # type: ignore[call-arg]


def test_discrete_observations_and_wide_actions() -> None:
    buffer = FIFOReplayBuffer(6, spaces.Discrete(9), spaces.Box(-1, 1, (3,), np.float64), n_envs=2)
    buffer.add(
        np.array([1, 2]), np.array([3, 4]), np.ones((2, 3)), np.ones(2), np.zeros(2), [{}, {}]
    )
    batch = buffer.gather(np.arange(2))
    np.testing.assert_array_equal(batch.observations, [[1], [2]])
    np.testing.assert_array_equal(batch.next_observations, [[3], [4]])
    assert batch.actions.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_learns_from_it_and_saves_it(kind: Kind, tmp_path: Path) -> None:
    agent = DQN(
        "MlpPolicy",
        GymnasiumVecEnv(gym.make_vec(IDS["FlappyBird"], num_envs=4)),
        replay_buffer_class=kind,
        replay_buffer_kwargs={"n_steps": 3, "seed": 1},
        buffer_size=100,
        learning_starts=40,
        seed=0,
        device="cpu",
    )
    agent.learn(400)
    buffer = agent.replay_buffer
    assert isinstance(buffer, kind)
    assert buffer.size() == 100
    assert buffer.seen + buffer.accumulator.pending == 400
    agent.save_replay_buffer(tmp_path / "replay.pkl")
    agent.load_replay_buffer(tmp_path / "replay.pkl")
    loaded = agent.replay_buffer
    assert isinstance(loaded, kind)
    assert flat(loaded.state_dict()) == flat(buffer.state_dict())


def test_a_balanced_memory_below_a_batch_is_learnt_from_all_the_same() -> None:
    """Three phases share 16 slots, of which 15 are used: less than a batch."""
    model = tiny.agent(replay=BalancedReplayBuffer, buffer_size=16, n_steps=1)
    tiny.live(model)
    assert model.replay.size() == 15
    assert model._n_updates == (tiny.LIFE - tiny.LEARNING_STARTS) // tiny.NUM_ENVS


def test_single_draws_of_mer_come_from_both_halves_of_a_mix() -> None:
    model = tiny.agent(
        MER(algorithm="1", memories=3),
        replay=MixReplayBuffer,
        policy={"optimizer_class": torch.optim.SGD},
        learning_rate=1e-4,
    )
    drawn: list[int] = []
    sample = model.replay.sample

    def noting(*args: Any, **kwargs: Any) -> Any:
        batch = sample(*args, **kwargs)
        drawn.extend(model.replay.sampled.tolist())
        return batch

    model.replay.sample = noting  # type: ignore[method-assign]
    steps = 200
    tiny.live(model, steps)
    old = sum(slot >= model.replay.fifo_size for slot in drawn)  # type: ignore[attr-defined]
    assert len(drawn) == 3 * (steps - tiny.LEARNING_STARTS)
    assert abs(old - len(drawn) / 2) < 4 * np.sqrt(len(drawn)) / 2


def test_a_memory_that_does_not_say_what_it_keeps_is_refused() -> None:
    class Half(TransitionReplayBuffer):
        def _draw(self, batch_size: int) -> Any:
            return np.zeros(batch_size, np.int64)

    for kind in (TransitionReplayBuffer, Half):
        with pytest.raises(TypeError, match=f"{kind.__name__} does not say what it keeps"):
            make(kind)
