"""Frames that are kept once: what is drawn is what whole stacks would have been, bit for bit.

The oracle is the same memory with whole observations, as Stable-Baselines3 keeps them, and plain
counting of different frames. The mistakes that such a memory invites are planted.
"""

import copy
import ctypes
import pickle
from collections.abc import Iterator
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
from stable_baselines3.common.vec_env import DummyVecEnv

from continual_arcade.agents import (
    METHODS,
    ContinualDQN,
    DQNSettings,
    Exploration,
    build_agent,
    machine_memory,
)
from continual_arcade.agents.footprint import footprint
from continual_arcade.agents.kernels import frames as kernels
from continual_arcade.agents.networks import SmallConvolutions
from continual_arcade.agents.replay import (
    BalancedReplayBuffer,
    FIFOReplayBuffer,
    MixReplayBuffer,
    NoReplayBuffer,
    ReservoirReplayBuffer,
)
from continual_arcade.agents.replay import frames as frames_module
from continual_arcade.agents.replay.frames import FrameStore
from continual_arcade.agents.replay.n_step import COLUMNS
from continual_arcade.envs import Schedule, make_game, shipped
from continual_arcade.envs.compiling import plain, rebind
from continual_arcade.envs.games import OTHER
from continual_arcade.studies.scenario import find

ACTIONS = spaces.Discrete(3)


class WholeStacks(FIFOReplayBuffer):
    """The same memory, which keeps observations as they are."""

    keeps_frames = False


class Lives:
    """Sub-environments whose observations are stacks.

    Args:
        n_envs: How many there are.
        shape: Of a stack.
        colours: So many different frames there are, so that equal ones come again; of more than
            50, no two are equal.
        ends: How likely an episode ends in a step.
        padding: What a stack begins with: the first frame repeated, or black.
        length: Of each episode [steps], in place of ``ends``.
        shifts: Whether a stack holds the one before but for its oldest frame.
        seed: Of what happens.
    """

    def __init__(
        self,
        n_envs: int = 2,
        shape: tuple[int, ...] = (4, 4, 5),
        colours: int = 200,
        ends: float = 0.15,
        padding: str = "first",
        shifts: bool = True,
        seed: int = 0,
        length: int = 0,
    ) -> None:
        self.length = length
        self.n_envs, self.shape, self.colours, self.ends = n_envs, shape, colours, ends
        self.padding, self.shifts = padding, shifts
        self.rng = np.random.default_rng(seed)
        self.step_number = 0
        self.stacks = np.stack([self.begin() for _ in range(n_envs)])

    def frame(self) -> Any:
        """Return noise, or one of a few plain frames."""
        if self.colours > 50:
            return self.rng.integers(0, 256, self.shape[1:], np.uint8)
        return np.full(self.shape[1:], self.rng.integers(self.colours), np.uint8)

    def begin(self) -> Any:
        stack = np.zeros(self.shape, np.uint8)
        stack[:] = self.frame()
        if self.padding == "black":
            stack[:-1] = 0
        return stack

    def steps(self, count: int) -> Iterator[tuple[Any, ...]]:
        """Return what comes to a memory in so many steps."""
        for _ in range(count):
            after = np.roll(self.stacks, -1, axis=1)
            for stack in after:
                stack[-1] = self.frame()
            if not self.shifts:
                after = self.rng.integers(0, 256, after.shape, np.uint8)
            ended = self.rng.random(self.n_envs) < self.ends
            if self.length:
                ended[:] = (self.step_number + 1) % self.length == 0
            infos = [
                {
                    "TimeLimit.truncated": bool(self.rng.random() < 0.3),
                    "phase": self.step_number // 9,
                }
                for _ in ended
            ]
            actions, rewards = (
                self.rng.integers(0, 3, (self.n_envs, 1)),
                self.rng.random(self.n_envs),
            )
            yield self.stacks.copy(), after.copy(), actions, rewards, ended, infos
            self.stacks = after
            for i in np.flatnonzero(ended):
                self.stacks[i] = self.begin()
            self.step_number += 1


def make(kind: type[Any], lives: Lives, capacity: int = 17, n_steps: int = 1, seed: int = 0) -> Any:
    space = spaces.Box(0, 255, lives.shape, np.uint8)
    return kind(capacity, space, ACTIONS, "cpu", lives.n_envs, n_steps=n_steps, seed=seed)


def assert_same(once: Any, whole: Any) -> None:
    slots = whole.stored_slots()
    kept, expected = once.stored(slots), whole.stored(slots)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(kept, name), getattr(expected, name))
        assert getattr(kept, name).dtype == getattr(expected, name).dtype


def lived(lives: Lives, steps: int, *memories: Any) -> None:
    """Let memories live through the same steps, and see that they are the same after each."""
    for step in lives.steps(steps):
        for memory in memories:
            memory.add(*step)
        assert_same(*memories)
        if memories[0].seen:
            drawn = [memory.sample(5) for memory in memories]
            for one, other in zip(*drawn, strict=True):
                assert torch.equal(one, other)


def different_frames(whole: Any) -> int:
    """Count the frames that a memory of whole stacks shows, by their bytes."""
    stored = whole.stored(whole.stored_slots())
    both = np.concatenate([stored.observations, stored.next_observations])
    return len({frame.tobytes() for frame in both.reshape(-1, *both.shape[2:])})


@settings(max_examples=30, deadline=None)
@given(
    n_envs=st.integers(1, 4),
    n_steps=st.integers(1, 4),
    capacity=st.integers(1, 25),
    colours=st.sampled_from([1, 2, 5, 300]),
    ends=st.sampled_from([0.0, 0.2, 1.0]),
    padding=st.sampled_from(["first", "black"]),
    shifts=st.booleans(),
    channels=st.integers(1, 5),
    seed=st.integers(0, 10**6),
)
def test_it_holds_what_whole_stacks_hold(
    n_envs: int,
    n_steps: int,
    capacity: int,
    colours: int,
    ends: float,
    padding: str,
    shifts: bool,
    channels: int,
    seed: int,
) -> None:
    lives = Lives(n_envs, (channels, 5, 6), colours, ends, padding, shifts, seed)
    once, whole = (make(kind, lives, capacity, n_steps) for kind in (FIFOReplayBuffer, WholeStacks))
    lived(lives, 40, once, whole)
    if whole.seen:
        assert once.frames.count == different_frames(whole)
    once.reset()
    whole.reset()
    assert once.frames.count == 0
    lived(lives, 10, once, whole)


def test_a_frame_more_for_each_step_and_episode() -> None:
    """Counted by hand: 50 transitions of one environment, with episodes of ten steps."""
    lives = Lives(1, (4, 20, 20), colours=300, length=10)
    memory = make(FIFOReplayBuffer, lives, 50)
    for step in lives.steps(100):
        memory.add(*step)
    # Each step shows a new one, and each of five episodes its first.
    assert memory.frames.count == 50 + 5
    blocks = sum(block.nbytes for block in memory.frames._blocks)
    assert memory.frames.count * 400 <= blocks <= memory.frames.count * 400 + 20 * 400


# --- planted mistakes


class NewestFrames(WholeStacks):
    """Puts stacks together from the newest frames of the slots before, of one environment."""

    crosses_ends = True
    """Whether frames of the episode before come in."""
    seam = 0
    """How far it misses the slot that holds the oldest transition."""

    def add(self, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any, infos: Any) -> None:
        if not self.seen:
            self.ends = np.zeros(self.buffer_size, np.bool_)
        self.ends[self.seen % self.buffer_size] = done[0]
        super().add(obs, next_obs, action, reward, done, infos)

    def stored(self, slots: Any) -> Any:
        kept = super().stored(slots)
        for row, slot in enumerate(slots.tolist()):
            stack = self.stack(slot)
            if stack is not None:
                kept.observations[row] = stack
        return kept

    def stack(self, slot: int) -> Any:
        """Return what is seen in a slot; None where older frames are gone."""
        size, channels = self.buffer_size, self.obs_shape[0]
        oldest = (self.seen + self.seam) % size if self.full else 0
        frames = [self.observations[slot, 0, -1]]
        while len(frames) < channels:
            if slot == oldest:
                return None
            slot = (slot - 1) % size
            if self.ends[slot] and not self.crosses_ends:
                return np.stack([frames[0]] * (channels - len(frames)) + frames)
            frames.insert(0, self.observations[slot, 0, -1])
        return np.stack(frames)


class WithinEpisodes(NewestFrames):
    """The same, and rightly."""

    crosses_ends = False


class OffByOne(WithinEpisodes):
    """The same, but for the slot that holds the oldest transition."""

    seam = 1


@pytest.mark.parametrize(
    ("kind", "is_right"), [(WithinEpisodes, True), (NewestFrames, False), (OffByOne, False)]
)
def test_stacks_across_ends_and_at_the_seam_are_found(kind: type[Any], is_right: bool) -> None:
    lives = Lives(1)
    memories = make(kind, lives), make(WholeStacks, lives)
    if is_right:
        lived(lives, 60, *memories)
    else:
        with pytest.raises(AssertionError):
            lived(lives, 60, *memories)


def bytes_at(address: Any, count: Any) -> Any:
    """Return the bytes at an address, as compiled code does."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * int(count)).from_address(int(address)))


def run_by_python(**mistakes: Any) -> Any:
    """Return the very source of what keeps rows, run by Python, with mistakes in place of parts."""
    names: dict[str, Any] = {"bytes_at": bytes_at}
    used = ("copy", "frame_at", "_sum_of", "_is_same", "_head_of", "place_of", "let_go", "keep")
    for name in used:
        right = rebind(plain(getattr(kernels, name)), names)
        names[name] = mistakes[name](right) if name in mistakes else right
    return rebind(kernels.keep_rows, names)


def gives_away_too_early(let_go: Any) -> Any:
    def wrong(frames: Any, place: Any) -> None:
        frames.uses[place] = min(frames.uses[place], 1)
        only_once(let_go)(frames, place)

    return wrong


def only_once(let_go: Any) -> Any:
    """Let go of no place that was given away, else books go wrong and not only contents."""

    def checked(frames: Any, place: Any) -> None:
        if frames.uses[place] > 0:
            let_go(frames, place)

    return checked


def counts_once(place_of: Any) -> Any:
    def wrong(frames: Any, frame: Any) -> Any:
        place = place_of(frames, frame)
        frames.uses[place] = 1
        return place

    return wrong


def same_sum(right: Any) -> Any:
    """Let all frames have one sum, so that only their bytes tell them apart."""
    return lambda frames, frame: np.uint64(1)


def believes_sums(right: Any) -> Any:
    return lambda frame, other: True


@pytest.mark.parametrize(
    ("mistakes", "is_right"),
    [
        ({}, True),
        ({"_sum_of": same_sum}, True),
        ({"_sum_of": same_sum, "_is_same": believes_sums}, False),
        ({"let_go": gives_away_too_early}, False),
        ({"place_of": counts_once, "let_go": only_once}, False),
    ],
)
def test_mistakes_in_the_books_are_found(
    mistakes: dict[str, Any], is_right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = frames_module._ways_in()
    keep_rows = run_by_python(**mistakes)
    monkeypatch.setattr(frames_module, "_ways_in", lambda: (keep_rows, *ways[1:]))
    lives = Lives(2, (3, 3, 3))
    memories = make(FIFOReplayBuffer, lives, 7), make(WholeStacks, lives, 7)
    with np.errstate(over="ignore"):  # of whole numbers, which is meant
        if is_right:
            lived(lives, 30, *memories)
        else:
            with pytest.raises(AssertionError):
                lived(lives, 30, *memories)


# --- agents: the same training

SEEN: dict[str, Any] = {"observation": "pixels", "screen_size": 21, "stack": 3}
SCHEDULE = shipped("conflict", make_game("FlappyBird", **SEEN)).with_steps(80)


def newborn(engine: Any, method: str = "finetune", **changes: Any) -> ContinualDQN:
    # The oldest transitions are overwritten several times.
    small = {"buffer_size": 70, "engine": engine, "average": 0.9, **changes}
    chosen = DQNSettings(**{**vars(tiny.SETTINGS), **small})
    return build_agent("FlappyBird", SCHEDULE, chosen, 2, METHODS[method], **SEEN)


def learnt(engine: Any, method: str = "finetune", **changes: Any) -> ContinualDQN:
    return newborn(engine, method, **changes).learn(SCHEDULE.total_steps)


@pytest.mark.parametrize(
    ("engine", "method", "changes"),
    [
        ("torch", "finetune", {"n_steps": 3}),
        ("compiled", "finetune", {"n_steps": 3}),
        ("compiled", "finetune", {"n_steps": 1, "num_envs": 1}),
        ("compiled", "ewc", {}),
        pytest.param("torch", "ewc", {}, marks=pytest.mark.slow),
    ],
)
def test_agents_learn_the_same_bits(
    engine: str, method: str, changes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = learnt(engine, method, **changes)
    assert once.replay.frames is not None
    assert once.replay.full
    monkeypatch.setattr(FIFOReplayBuffer, "keeps_frames", False)
    whole = learnt(engine, method, **changes)
    assert whole.replay.frames is None
    assert once.runs_compiled == whole.runs_compiled == (engine == "compiled")
    assert tiny.bits(once) == tiny.bits(whole)
    assert once._n_updates == whole._n_updates > 40
    assert_same(once.replay, whole.replay)
    sizes = [footprint(agent)["replay_bytes"] for agent in (once, whole)]
    assert sizes[0] < 0.6 * sizes[1]


def test_a_single_frame_that_is_another_is_found_in_what_is_learnt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right, take = newborn("torch").learn(160), FrameStore.take

    def wrong(store: FrameStore, slots: Any) -> Any:
        seen, after = take(store, slots)
        for row in np.flatnonzero(slots == 0):
            seen[row, 0] = seen[row, 1]  # the oldest frame of one slot
        return seen, after

    monkeypatch.setattr(FrameStore, "take", wrong)
    assert tiny.bits(newborn("torch").learn(160)) != tiny.bits(right)


class Dots(gym.Env[Any, Any]):
    """An environment of somebody else: a dot that moves, seen in single frames."""

    observation_space = spaces.Box(0, 255, (21, 21), np.uint8)
    action_space = ACTIONS

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.left = (
            self.np_random.integers(2, 19, 2),
            int(self.np_random.integers(5, 12)),
        )
        return self.seen(), {}

    def seen(self) -> Any:
        frame = np.zeros((21, 21), np.uint8)
        frame[tuple(self.place)] = 255
        return frame

    def step(self, action: int) -> Any:
        self.place = np.clip(self.place + self.np_random.integers(-1, 2, 2) + action - 1, 0, 20)
        self.left -= 1
        ended, cut = self.left == 0, self.left == 1 and bool(self.np_random.random() < 0.5)
        return self.seen(), float(self.place[0] < 10), ended, cut and not ended, {}


def stacked(padding: str) -> Any:
    return gym.wrappers.FrameStackObservation(Dots(), 4, padding_type=padding)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("padding", ["reset", "zero"])
def test_stacks_of_other_peoples_environments(
    engine: Any, padding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def agent() -> ContinualDQN:
        return ContinualDQN(
            "CnnPolicy",
            DummyVecEnv([lambda: stacked(padding)] * 3),
            exploration=Exploration("global"),
            replay_buffer_class=FIFOReplayBuffer,
            policy_kwargs={"features_extractor_class": SmallConvolutions, "net_arch": [8]},
            engine=engine,
            n_steps=2,
            train_freq=1,
            batch_size=16,
            learning_starts=40,
            buffer_size=60,
            device="cpu",
            seed=4,
        ).learn(150)

    once = agent()
    assert once.replay.frames is not None
    # Its own frame for each of 60 transitions, and few more; a stack has four, of each two.
    assert once.replay.frames.count < 2 * 60
    monkeypatch.setattr(FIFOReplayBuffer, "keeps_frames", False)
    whole = agent()
    assert tiny.bits(once) == tiny.bits(whole)
    assert_same(once.replay, whole.replay)


def test_atari_across_ends_of_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ale_py", reason="the extra [atari] is not installed")
    scenario = find("freeway-modes-pictures")
    chosen = DQNSettings(
        num_envs=1, hidden=(8,), buffer_size=90, learning_starts=100, batch_size=8, n_steps=2
    )

    def agent() -> ContinualDQN:
        schedule = scenario.schedule.with_steps(40)
        of_two = Schedule("modes", schedule.phases[:2] + schedule.phases[:1])
        return build_agent(OTHER, of_two, chosen, 0, **scenario.options).learn(120)

    once = agent()
    assert once.replay.frames is not None
    assert once.replay.full
    assert once.replay.obs_shape == (4, 84, 84)
    # A frame for each of 90 transitions, and those before the oldest and the first ones.
    assert 45 < once.replay.frames.count < 90 + 20
    monkeypatch.setattr(FIFOReplayBuffer, "keeps_frames", False)
    whole = agent()
    assert tiny.bits(once) == tiny.bits(whole)
    assert_same(once.replay, whole.replay)


# --- copies and states


def test_copies_have_frames_of_their_own() -> None:
    lives = Lives()
    once, whole = (make(kind, lives) for kind in (FIFOReplayBuffer, WholeStacks))
    lived(lives, 20, once, whole)
    copies = [copy.deepcopy(once), pickle.loads(pickle.dumps(once))]
    others = [copy.deepcopy(whole) for _ in copies]
    for made, twin in zip(copies, others, strict=True):
        lived(copy.deepcopy(lives), 20, made, twin)
    assert_same(once, whole)


def flat(state: dict[str, Any]) -> list[Any]:
    return [(name, of.tobytes(), of.dtype) for name, of in state["arrays"].items()]


@pytest.mark.parametrize("as_whole", [False, True])
def test_what_is_resumed_goes_on_and_is_saved_the_same(as_whole: bool) -> None:
    """Also a state of before frames were kept, which has whole stacks."""
    lives = Lives(3, ends=0.3)
    once, whole = (make(kind, lives, n_steps=2) for kind in (FIFOReplayBuffer, WholeStacks))
    lived(lives, 25, once, whole)
    state = (whole if as_whole else once).state_dict()
    state["layout"]["kind"] = "FIFOReplayBuffer"
    resumed = make(FIFOReplayBuffer, lives, n_steps=2, seed=9)
    lived(Lives(3, seed=5), 9, resumed, make(WholeStacks, lives, n_steps=2, seed=9))
    resumed.load_state_dict(state)
    assert_same(resumed, whole)
    assert resumed.frames.count == once.frames.count
    assert flat(resumed.state_dict()) == flat(once.state_dict())
    resumed_too = copy.deepcopy(resumed)
    assert flat(resumed_too.state_dict()) == flat(once.state_dict())
    lived(lives, 25, resumed, whole)
    assert len(once.state_dict()["arrays"]["frames"]) == once.frames.count


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_run_that_is_resumed_ends_with_the_same_bits(engine: Any, tmp_path: Path) -> None:
    path, steps = tmp_path / "half.zip", SCHEDULE.total_steps
    whole = newborn(engine)
    whole.learn(steps, callback=tiny.SaveAt(160, path))
    resumed = ContinualDQN.load(path, newborn(engine).get_env(), "cpu")
    assert resumed.num_timesteps == 160
    assert resumed.replay.full
    resumed.learn(steps - 160, reset_num_timesteps=False)
    assert tiny.bits(whole) == tiny.bits(resumed)
    assert flat(whole.replay.state_dict()) == flat(resumed.replay.state_dict())


def test_an_empty_memory_is_saved_and_taken_back() -> None:
    lives = Lives()
    state = make(FIFOReplayBuffer, lives).state_dict()
    memory, whole = (make(kind, lives) for kind in (FIFOReplayBuffer, WholeStacks))
    memory.load_state_dict(state)
    assert memory.frames.count == 0
    lived(lives, 20, memory, whole)


def test_states_are_smaller() -> None:
    lives = Lives(1, (4, 30, 30), colours=300, ends=0.02)
    once, whole = (make(kind, lives, 200) for kind in (FIFOReplayBuffer, WholeStacks))
    for step in lives.steps(200):
        once.add(*step)
        whole.add(*step)
    sizes = [sum(a.nbytes for a in of.state_dict()["arrays"].values()) for of in (once, whole)]
    assert sizes[0] * 6 < sizes[1]


def shows_what_is_not_there(state: dict[str, Any]) -> None:
    state["arrays"]["shown"][3, 1, 2] = len(state["arrays"]["frames"])


def shows_nothing(state: dict[str, Any]) -> None:
    state["arrays"]["shown"][3, 1, 2] = -1


def of_other_sides(state: dict[str, Any]) -> None:
    state["arrays"]["frames"] = state["arrays"]["frames"].swapaxes(1, 2)


def of_other_numbers(state: dict[str, Any]) -> None:
    state["arrays"]["frames"] = state["arrays"]["frames"].astype(np.float32)


def for_fewer_slots(state: dict[str, Any]) -> None:
    state["arrays"]["shown"] = state["arrays"]["shown"][1:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shows_what_is_not_there, "shown"),
        (shows_nothing, "shown"),
        (of_other_sides, "frames have shape"),
        (of_other_numbers, "frames have shape .* float32"),
        (for_fewer_slots, "shown"),
    ],
)
def test_damaged_states_are_refused_and_change_nothing(damage: Any, message: str) -> None:
    lives = Lives()
    once, whole = (make(kind, lives) for kind in (FIFOReplayBuffer, WholeStacks))
    lived(lives, 20, once, whole)
    state = copy.deepcopy(once.state_dict())
    damage(state)
    with pytest.raises(ValueError, match=message):
        once.load_state_dict(state)
    assert_same(once, whole)


# --- who keeps frames, and memory that is short


def test_who_keeps_frames() -> None:
    picture, row = spaces.Box(0, 255, (2, 4, 5), np.uint8), spaces.Box(-1, 1, (3,), np.float32)
    floats = spaces.Box(0, 1, (2, 4, 5), np.float32)
    kinds = (ReservoirReplayBuffer, MixReplayBuffer, BalancedReplayBuffer, NoReplayBuffer)
    for kind in kinds:
        assert kind(10, picture, ACTIONS).frames is None
    channels_last = spaces.Box(0, 255, (4, 5, 2), np.uint8)
    for space in (row, floats, channels_last):
        assert FIFOReplayBuffer(10, space, ACTIONS).frames is None
    memory = FIFOReplayBuffer(10, picture, ACTIONS)
    assert memory.frames is not None
    assert memory.observation_space == picture
    with pytest.raises(IndexError, match="hold a transition"):
        memory.stored(np.array([0]))
    with pytest.raises(IndexError):  # never silently nothing
        memory.observations[np.array([0]), 0]


def test_memory_that_is_short_is_told_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 84 * 84
    space = spaces.Box(0, 255, (4, 84, 84), np.uint8)
    monkeypatch.setattr(machine_memory, "available_memory", lambda: 2**30)
    # As whole stacks 19,000 transitions fit.
    with pytest.raises(ValueError, match=r"buffer_size = 19,100 transitions take 1\.0 GiB"):
        WholeStacks(19_100, space, ACTIONS)
    each = size + 8 * 4 + 64
    fit = 2**30 // each
    assert FIFOReplayBuffer(fit, space, ACTIONS).buffer_size == fit
    message = rf"= {fit + 1:,} transitions, each frame of them once, take .*at most {fit:,} fit"
    with pytest.raises(ValueError, match=message):
        FIFOReplayBuffer(fit + 1, space, ACTIONS)


@pytest.mark.parametrize("shifts", [True, False])
def test_more_frames_than_fit_are_told_early(shifts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacks that have no frames in common are seen long before memory is full."""
    capacity, size = 1_500, 400
    lives = Lives(1, (4, 20, 20), colours=300, ends=0.0, shifts=shifts)
    memory = make(FIFOReplayBuffer, lives, capacity)
    monkeypatch.setattr(
        machine_memory, "available_memory", lambda: 2 * capacity * size - memory.frames.nbytes
    )

    def live(steps: int) -> None:
        for step in lives.steps(steps):
            memory.add(*step)

    if shifts:
        live(capacity + 100)
        return
    with pytest.raises(ValueError, match=r"the frames of buffer_size = 1,500 transitions, .* take"):
        live(capacity)
    assert memory.seen < capacity // 4
