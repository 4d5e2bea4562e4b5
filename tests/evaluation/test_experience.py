"""What is kept of a play: the lowest ranks, whatever the lengths; and the play is as it was."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.envs import make_game, shipped
from continual_arcade.evaluation import Evaluator, Experience
from continual_arcade.evaluation import experience as module
from continual_arcade.evaluation.experience import Recorder, Steps

FLAPPY = make_game("FlappyBird")
PLASTIC = np.roots([1, 0, -1, -1])[0].real


class Rule:
    """Flap below the middle of the next opening."""

    def predict(self, observation: Any, *, deterministic: bool = True) -> tuple[Any, None]:
        return np.where(observation[:, 0] > observation[:, 4] - 0.22, 0, 1), None


def rank(episode: int, step: int) -> int:
    """In whole numbers of any size, from the numbers that the sequence is defined by."""
    of_episode, of_step = (int(2**64 / 1.324717957244746**k) | 1 for k in (1, 2))
    return (episode * of_episode + step * of_step) % 2**64


def test_ranks_are_those_of_the_sequence() -> None:
    assert float(module._OF_EPISODE) / 2**64 == pytest.approx(1 / PLASTIC, abs=1e-12)
    assert float(module._OF_STEP) / 2**64 == pytest.approx(1 / PLASTIC**2, abs=1e-12)
    steps = np.arange(2_000, dtype=np.uint64) * module._OF_STEP
    ranks = np.arange(100, dtype=np.uint64)[:, None] * module._OF_EPISODE + steps
    assert len(np.unique(ranks)) == ranks.size


# --- a play of any lengths ----------------------------------------------------------------------


def record(lengths: np.ndarray, keep: int, recorder: type[Recorder] = Recorder) -> Experience:
    """Every transition says whose it is: its phase, episode and step."""
    phases, episodes = lengths.shape
    ends = lengths.ravel()
    recording = recorder(range(10, 10 + phases), episodes, keep)
    phase, episode = np.divmod(np.arange(len(ends)), episodes)
    for step in range(ends.max()):
        names = np.stack([phase, episode, np.full(len(ends), step)], axis=1)
        actions, rewards = 7 * episode + step, np.full(len(ends), step / 2)
        recording.note(step < ends, names, actions, rewards, -names, step == ends - 1)
    return recording.experience()


def expected(lengths: np.ndarray, keep: int) -> list[list[tuple[int, int, int]]]:
    found = []
    for phase, row in enumerate(lengths):
        all_ = [(phase, e, t) for e, length in enumerate(row) for t in range(length)]
        found.append(sorted(sorted(all_, key=lambda name: rank(*name[1:]))[:keep]))
    return found


def check(lengths: np.ndarray, keep: int, recorder: type[Recorder] = Recorder) -> None:
    got = record(lengths, keep, recorder)
    assert got.phases == tuple(range(10, 10 + len(lengths)))
    for position, names in enumerate(expected(lengths, keep)):
        steps = got.of(position)
        assert got.counts[position] == len(names) == min(keep, lengths[position].sum())
        assert [tuple(row) for row in steps.observations.tolist()] == names
        assert [tuple(-row) for row in steps.next_observations] == names
        assert steps.actions.tolist() == [7 * e + t for _, e, t in names]
        assert steps.rewards.tolist() == [t / 2 for _, _, t in names]
        assert steps.terminated.tolist() == [t == lengths[p, e] - 1 for p, e, t in names]
        assert not got.observations[position, len(names) :].any()


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(1, 200), min_size=3, max_size=3), min_size=1, max_size=4),
    keep=st.integers(1, 80),
)
def test_the_lowest_ranks_are_kept(lengths: list[list[int]], keep: int) -> None:
    check(np.array(lengths), keep)


LONG = np.array([[300, 120, 1], [7, 2, 3]])


def test_less_than_is_to_be_kept_is_kept_as_it_is() -> None:
    check(LONG, 1_000)


class Greedy(Recorder):
    """Forgets what it held when it is too much."""

    def _thin(self) -> None:
        self._held = self._held[-1:]
        super()._thin()


class Forgetful(Recorder):
    """Does not go on where the last stretch ended."""

    def _look_through(self) -> None:
        self._step = 0
        super()._look_through()


class Early(Recorder):
    """Keeps what comes first."""

    def _lowest(self, ranks: Any, phases: Any) -> Any:
        rows = [np.flatnonzero(phases == phase)[: self._keep] for phase in range(2)]
        return np.concatenate(rows)


@pytest.mark.parametrize("wrong", [Greedy, Forgetful, Early])
def test_wrong_ones_are_found(wrong: type[Recorder]) -> None:
    check(LONG, 20)
    with pytest.raises(AssertionError):
        check(LONG, 20, wrong)


@pytest.mark.parametrize("length", [20, 64, 100, 513, 1800])
@pytest.mark.parametrize("episodes", [5, 20, 32])
def test_they_are_spread_over_episodes_and_steps(length: int, episodes: int) -> None:
    keep = 256
    got = record(np.full((1, episodes), length), keep).of(0)
    count = min(keep, episodes * length)
    of_episode = np.bincount(got.observations[:, 1], minlength=episodes)
    of_time = np.bincount(got.observations[:, 2] * 10 // length, minlength=10)
    for shares in (of_episode, of_time):
        fair = count / len(shares)
        assert abs(shares - fair).max() <= 3 + 0.15 * fair


# --- a play of the evaluator --------------------------------------------------------------------


class Recording:
    """An environment that notes down what it was asked and what it said."""

    def __init__(self, env: Any) -> None:
        self.env, self.num_envs, self.game = env, env.num_envs, env.game
        self.steps: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def reset(self, **options: Any) -> Any:
        self.steps.clear()
        result = self.env.reset(**options)
        self.last = result[0].copy()
        return result

    def step(self, actions: Any) -> Any:
        result = self.env.step(actions)
        after, rewards, terminated, truncated, infos = result
        true = np.where((terminated | truncated)[:, None], infos.get("final_obs", after), after)
        self.steps.append((self.last, actions.copy(), rewards, true, terminated, truncated))
        self.last = after.copy()
        return result


def by_brute_force(recording: Recording, position: int, episodes: int, keep: int) -> Steps:
    columns = [np.stack(column) for column in zip(*recording.steps, strict=True)]
    over = columns[4] | columns[5]
    names = []
    for episode in range(episodes):
        place = position * episodes + episode
        length = int(over[:, place].argmax()) + 1
        names += [(rank(episode, time), place, time) for time in range(length)]
    kept = sorted(name[1:] for name in sorted(names)[:keep])
    return Steps(*(np.array([column[t, p] for p, t in kept]) for column in columns[:5]))


@pytest.mark.parametrize(("name", "limit"), [("conflict", 130), ("shrink", 90)])
@pytest.mark.parametrize("keep", [1, 50, 100_000])
def test_the_evaluator_keeps_what_was_played(name: str, limit: int, keep: int) -> None:
    evaluator = Evaluator("FlappyBird", shipped(name, FLAPPY), episodes=3, max_steps=limit)
    recording = Recording(evaluator.env)
    evaluator.env = recording  # type: ignore[assignment]
    played = evaluator.play(Rule(), keep)
    got = played.experience
    assert got is not None
    assert got.phases == tuple(phase.index for phase in evaluator.phases)
    ends = []
    for position in range(len(got.phases)):
        steps = got.of(position)
        wanted = by_brute_force(recording, position, 3, keep)
        for one, other in zip(steps, wanted, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        assert got.counts[position] == min(keep, played.lengths[position].sum())
        ends.append(int(steps.terminated.sum()))
        assert keep < 1_000 or ends[-1] == (played.lengths[position] < limit).sum()
    # Some episodes end by themselves, and some are cut off: then the last observation is the true.
    assert keep < 1_000 or 0 < sum(ends) < played.lengths.size


def test_what_is_played_does_not_depend_on_it() -> None:
    evaluator = Evaluator("FlappyBird", shipped("conflict", FLAPPY), episodes=4, max_steps=300)
    without, with_, again = (evaluator.play(Rule(), keep) for keep in (0, 64, 0))
    assert without.experience is None
    for name in ("returns", "scores", "lengths"):
        np.testing.assert_array_equal(getattr(without, name), getattr(with_, name))
        np.testing.assert_array_equal(getattr(without, name), getattr(again, name))


def test_nothing_is_drawn() -> None:
    evaluator = Evaluator("FlappyBird", shipped("conflict", FLAPPY), episodes=2, max_steps=50)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    evaluator.play(Rule(), 10)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_a_negative_number_is_refused() -> None:
    evaluator = Evaluator("FlappyBird", shipped("conflict", FLAPPY), episodes=1, max_steps=5)
    with pytest.raises(ValueError, match="keep = -1 must be a whole number, at least 0"):
        evaluator.play(Rule(), -1)
