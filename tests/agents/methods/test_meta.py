"""Reptile and MER, against loops written by hand, identities, and the usual mistakes."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from fake_learner import FakeLearner, Point, Tensors, normal, now, same_bits, transitions
from scipy import stats
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import nn

from continual_arcade.agents import ContinualDQN, build_agent, compose
from continual_arcade.agents.methods import Batch, Part, make_part, plans, reptile, torch_rules
from continual_arcade.agents.methods.mer import MER
from continual_arcade.agents.methods.plans import draw_back, plan
from continual_arcade.agents.methods.reptile import Reptile
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.agents.replay import ReservoirReplayBuffer
from continual_arcade.agents.replay.n_step import Transitions

SGD = {"optimizer_class": torch.optim.SGD}
FEATURES = 3
RATE = 0.05


def fails(check: Callable[[], object]) -> None:
    """A deliberately wrong variant must not pass the check."""
    with pytest.raises(AssertionError):
        check()


def close(one: Any, other: Any, rtol: float = 1e-11) -> None:
    np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=rtol, atol=1e-12)


def all_close(one: Tensors, other: Tensors) -> None:
    for a, b in zip(one, other, strict=True):
        close(a, b)


def network() -> nn.Module:
    made = nn.Sequential(nn.Linear(FEATURES, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    with torch.no_grad():
        for index, tensor in enumerate(made.parameters()):
            tensor.copy_(normal(index, *tensor.shape))
    return made


def error(network: Any, samples: Any) -> torch.Tensor:
    """Half the mean squared error; rewards are what is to be predicted."""
    wanted = samples.rewards
    return 0.5 * (network(samples.observations) - wanted).square().mean()


def samples(x: torch.Tensor, y: torch.Tensor) -> ReplayBufferSamples:
    empty = torch.zeros(len(x), 1, dtype=torch.float64)
    return ReplayBufferSamples(x, empty, x, empty, y.reshape(-1, 1), empty)


def stream(seed: int = 0) -> Callable[[int], Batch]:
    """Draws that are the same whenever they are begun anew."""
    seeds = iter(range(1000 * seed, 1000 * seed + 1000))

    def draw(batch_size: int) -> Batch:
        x = normal(next(seeds), batch_size, FEATURES)
        return Batch(samples(x, x.sum(1).sin()))

    return draw


# --- Reptile ------------------------------------------------------------------------------------


class Late(Reptile):
    """Notes where the steps begin when they are over."""

    def interpolate(self, learner: Any) -> None:
        if self.steps + 1 == self.every:
            self.base = copies(parameters(learner))
        super().interpolate(learner)


class Once(Reptile):
    """Always draws back to where life began."""

    def interpolate(self, learner: Any) -> None:
        base = [tensor.clone() for tensor in self.base]
        super().interpolate(learner)
        self.base = base


class Beyond(Reptile):
    """Goes on from the end by the difference, as one public copy does."""

    def interpolate(self, learner: Any) -> None:
        self.steps += 1
        if self.steps == self.every:
            with torch.no_grad():
                for tensor, start in zip(parameters(learner), self.base, strict=True):
                    tensor.add_(self.eps * (tensor - start))
            self.base, self.steps = copies(parameters(learner)), 0


WRONG = (Late, Once, Beyond)


def path(part: Part | None, steps: int, optimizer: Any = torch.optim.SGD, **kwargs: Any) -> Tensors:
    parts = [] if part is None else [part]
    learner = FakeLearner(network(), error, parts, optimizer, stream(), **kwargs)
    learner.train(steps, 4)
    return now(learner.q_net)


@pytest.mark.parametrize("eps", [0.1, 0.5, 0.9])
def test_drawn_back_after_each_step_it_is_sgd_with_a_smaller_rate(eps: float) -> None:
    all_close(path(Reptile(every=1, eps=eps), 30, lr=RATE), path(None, 30, lr=eps * RATE))
    for wrong in WRONG:
        fails(
            lambda wrong=wrong: all_close(  # type: ignore[misc]
                path(wrong(every=1, eps=eps), 30, lr=RATE), path(None, 30, lr=eps * RATE)
            )
        )


def check_expansion(part: Reptile, second_order: float = 1.0) -> None:
    """theta_2 - theta_0 = -eps a (g_1 + g_2 - a H_2 g_1), exactly, for quadratic losses."""
    roots = [normal(seed, 5, 5) for seed in (1, 2)]
    h1, h2 = (root @ root.T / 5 for root in roots)
    b1, b2, start = (normal(seed, 5) for seed in (3, 4, 5))
    tasks = iter([(h1, b1), (h2, b2)])

    def loss(network: Any, _: Any) -> torch.Tensor:
        h, b = next(tasks)
        theta = network.flat()
        return theta @ h @ theta / 2 - b @ theta

    learner = FakeLearner(Point(start), loss, [part], lr=RATE)
    learner.train(2)
    g1, g2 = h1 @ start - b1, h2 @ start - b2
    expected = -part.eps * RATE * (g1 + g2 - second_order * RATE * h2 @ g1)
    close(learner.q_net.flat().detach() - start, expected)


def test_two_steps_on_quadratics_reward_gradients_that_agree() -> None:
    check_expansion(Reptile(every=2, eps=0.3))
    fails(lambda: check_expansion(Reptile(every=1, eps=0.3)))
    fails(lambda: check_expansion(Reptile(every=2, eps=0.3), second_order=0.0))
    for wrong in (Late, Beyond):  # one block is too few to tell where the next one begins
        fails(lambda wrong=wrong: check_expansion(wrong(every=2, eps=0.3)))  # type: ignore[misc]


class Lookahead:
    """Slow and fast weights around an optimiser (Zhang et al. 2019, algorithm 1)."""

    def __init__(self, fast: Any, optimizer: torch.optim.Optimizer, k: int, alpha: float) -> None:
        self.fast, self.optimizer, self.k, self.alpha = list(fast), optimizer, k, alpha
        self.slow = [weight.data.clone() for weight in self.fast]
        self.count = 0

    def step(self) -> None:
        self.optimizer.step()
        self.count += 1
        if self.count % self.k:
            return
        for slow, fast in zip(self.slow, self.fast, strict=True):
            slow += self.alpha * (fast.data - slow)
            fast.data = slow.clone()


def check_lookahead(part: Reptile, optimizer: Any, steps: int) -> None:
    other = network()
    lookahead = Lookahead(
        other.parameters(), optimizer(other.parameters(), lr=RATE), part.every, part.eps
    )
    draw = stream()
    for _ in range(steps):
        other.zero_grad()
        error(other, draw(4).samples).backward()
        lookahead.step()
    all_close(path(part, steps, optimizer, lr=RATE), now(other))


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("steps", [20, 23])
def test_it_is_lookahead(optimizer: Any, steps: int) -> None:
    check_lookahead(Reptile(every=5, eps=0.4), optimizer, steps)
    for wrong in WRONG:
        fails(lambda wrong=wrong: check_lookahead(wrong(every=5, eps=0.4), optimizer, steps))  # type: ignore[misc]


def a_life(*parts: Part, steps: int = 240, **kwargs: Any) -> Any:
    return tiny.live(tiny.agent(*parts, **{"gradient_steps": 2, **kwargs}), steps)


@pytest.mark.parametrize("every", [1, 2])
def test_a_life_that_keeps_all_is_the_same_bit_for_bit(every: int) -> None:
    plain = a_life()
    assert plain._n_updates > 50
    assert tiny.bits(plain) == tiny.bits(a_life(Reptile(every=every, eps=1.0)))
    assert tiny.bits(plain) != tiny.bits(a_life(Reptile(every=every, eps=0.999)))


@pytest.mark.parametrize("every", [1, 2])
def test_a_life_that_keeps_nothing_stands_still(every: int) -> None:
    frozen = a_life(Reptile(every=every, eps=0.0))
    assert frozen._n_updates > 50
    assert tiny.bits(frozen) == tiny.bits(tiny.agent())
    assert tiny.bits(a_life(Late(every=every, eps=0.0))) != tiny.bits(tiny.agent())


class Impatient(Reptile):
    """Has the target network synchronised in the middle of a block."""

    @property
    def defers_target(self) -> bool:
        return False


def check_targets(part: Reptile) -> None:
    """In a life, the target network only ever equals parameters that were drawn back."""
    life = tiny.agent(part, gradient_steps=2)
    bases, targets, waits = [copies(life.q_net.parameters())], [], 0  # type: ignore[arg-type]
    train = life.train

    def watched(*args: Any, **kwargs: Any) -> None:
        nonlocal waits
        train(*args, **kwargs)
        bases.append([tensor.clone() for tensor in part.base])
        targets.append(now(life.q_net_target))
        waits += bool(life._syncs_due)

    life.train = watched  # type: ignore[method-assign]
    tiny.live(life)
    assert all(any(same_bits(target, base) for base in bases) for target in targets)
    changes = sum(not same_bits(a, b) for a, b in pairwise(targets))
    assert changes >= 4
    if type(part) is Reptile:
        assert waits > 10


def test_the_target_network_waits_for_the_interpolation() -> None:
    every = 36  # of them, 20 are made from one synchronisation to the next
    check_targets(Reptile(every=every, eps=0.5))
    fails(lambda: check_targets(Impatient(every=every, eps=0.5)))


def test_reptile_goes_on_in_the_middle_of_a_block() -> None:
    draw = stream()
    one = FakeLearner(network(), error, [Reptile(every=5, eps=0.3)], draw=draw)
    one.train(7, 4)
    kept = one.parts[0].state_dict()
    assert kept["steps"] == 2
    other, forgetful = (
        FakeLearner(network(), error, [Reptile(every=5, eps=0.3)]) for _ in range(2)
    )
    for learner in (other, forgetful):
        learner.put(*now(one.q_net))
    other.parts[0].load_state_dict(copy.deepcopy(kept))
    for learner in (one, other, forgetful):
        learner._draw = stream(1)
        learner.train(9, 4)
    assert same_bits(one.q_net.parameters(), other.q_net.parameters())
    assert not same_bits(one.q_net.parameters(), forgetful.q_net.parameters())
    assert not list(tiny.differences(one.parts[0].state_dict(), other.parts[0].state_dict()))
    assert other.parts[0].defers_target


class Counting(nn.Module):
    """A network with buffers, one of them of whole numbers, that change as it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = network()
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("share", torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.share *= 0.5
        return self.layer(x)


def everything(name: str) -> Any:
    return {
        "reptile": lambda: Reptile(every=2, eps=0.25),
        "1": lambda: MER(algorithm="1", memories=2, repeats=2, beta=0.5, gamma=0.25),
        "6": lambda: MER(algorithm="6", memories=2, repeats=2, gamma=0.25),
        "7": lambda: MER(algorithm="7", memories=2, repeats=2, gamma=0.25),
        "batched": lambda: MER(algorithm="batched", gamma=0.25),
    }[name]()


class Moving(Part):
    """Has the target network move in each step, as nothing but a synchronisation should."""

    name: ClassVar[str] = "moving"

    def before_update(self, learner: Any) -> None:
        with torch.no_grad():
            for tensor in learner.q_net_target.parameters():
                tensor.add_(1.0)
        self.target = copy.deepcopy(learner.q_net_target.state_dict())


def with_target(learner: Any) -> list[Any]:
    return [*learner.q_net.parameters(), *learner.q_net_target.parameters()]


def with_buffers(learner: Any) -> list[Any]:
    return list(learner.q_net.state_dict(keep_vars=True).values())


def target_along(learner: Any, base: Tensors, rate: float) -> None:
    """Draws the target network to where the other one began."""
    draw_back(learner, base, rate)
    with torch.no_grad():
        for tensor, start in zip(learner.q_net_target.parameters(), base, strict=True):
            tensor.copy_(start + rate * (tensor - start))


def check_parameters_only(name: str) -> None:
    """The target network is where it was put, and buffers are what the steps made of them."""
    moving = Moving()
    learner = FakeLearner(Counting(), error, [moving, everything(name)], draw=stream())
    start = now(learner.q_net)
    learner.play(transitions(normal(3, 2, FEATURES).numpy(), normal(4, 2).numpy()))
    # Its last step is followed by an interpolation.
    learner.train(4, 2)
    steps = len(learner.learnt)
    assert steps >= 4
    assert not same_bits(start, learner.q_net.parameters())
    assert int(learner.q_net.calls) == steps
    assert float(learner.q_net.share) == 0.5**steps
    assert not list(tiny.differences(moving.target, learner.q_net_target.state_dict()))


@pytest.mark.parametrize("name", ["reptile", "1", "6", "7", "batched"])
def test_neither_the_target_network_nor_buffers_are_drawn_back(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_parameters_only(name)
    # Rules move nothing that has no gradient, so that buffers among the parameters stay.
    for mistake in (with_target,) if name == "reptile" else (with_target, with_buffers):
        with monkeypatch.context() as patched:
            for module in (plans, reptile, torch_rules):
                patched.setattr(module, "parameters", mistake)
            fails(lambda: check_parameters_only(name))
    kind: Any = Reptile if name == "reptile" else MER
    rightly = kind.interpolate

    def wrongly(self: Any, learner: Any) -> None:
        due = [(self.base, self.eps)] if name == "reptile" else self._due
        for base, rate in due:
            target_along(learner, base, rate)
        rightly(self, learner)

    monkeypatch.setattr(kind, "interpolate", wrongly)
    fails(lambda: check_parameters_only(name))


# --- MER in mini-batches ------------------------------------------------------------------------


class Joins(Part):
    """The batches of MER, by hand, and no interpolation."""

    name: ClassVar[str] = "joins"

    def __init__(self) -> None:
        self.new: list[Transitions] = []

    def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
        if learner.num_timesteps > learner.learning_starts and len(transitions):
            self.new.append(transitions)

    def batches(self, learner: Any, steps: int, batch_size: int) -> Iterator[Batch]:
        new, self.new = self.new, []
        if not new:
            return
        chosen = self.rng.integers(steps)
        for step in range(steps):
            drawn = learner.replay.sample(batch_size)
            if step != chosen:
                yield Batch(drawn)
                continue
            added = [learner.replay.as_samples(each) for each in new]
            yield Batch(
                ReplayBufferSamples(*(torch.cat(column) for column in zip(drawn, *added)))  # noqa: B905
            )


def reservoir_life(*parts: Part, **kwargs: Any) -> Any:
    # Parts of any kind, and the same bits.
    settings = {"gradient_steps": 4, "engine": "torch", "steps": 160, **kwargs}
    return a_life(*parts, replay=ReservoirReplayBuffer, **settings)


def test_without_interpolation_it_is_replay_of_the_same_batches_bit_for_bit() -> None:
    by_hand = reservoir_life(Joins())
    assert by_hand._n_updates > 100
    assert tiny.bits(by_hand) == tiny.bits(reservoir_life(MER(gamma=1.0)))
    assert tiny.bits(by_hand) != tiny.bits(reservoir_life(MER(gamma=0.999)))
    assert tiny.bits(by_hand) != tiny.bits(reservoir_life())


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("settings", "kwargs"),
    [
        ({"algorithm": "batched"}, {}),
        ({"algorithm": "1", "memories": 2}, {"policy": SGD}),
        ({"algorithm": "6", "memories": 2, "repeats": 2}, {"policy": SGD}),
        ({"algorithm": "7", "memories": 2, "repeats": 2}, {"policy": SGD}),
    ],
)
def test_where_nothing_is_kept_a_life_stands_still(settings: Any, kwargs: Any) -> None:
    untouched = tiny.agent(replay=ReservoirReplayBuffer, **kwargs)
    kwargs = {**kwargs, "steps": 90}
    frozen = reservoir_life(MER(gamma=0.0, **settings), **kwargs)
    assert frozen._n_updates > 50
    assert tiny.bits(frozen) == tiny.bits(untouched)
    other = reservoir_life(MER(gamma=0.1, **settings), **kwargs)
    assert tiny.bits(other) != tiny.bits(untouched)


def test_a_block_is_drawn_back_to_where_it_began() -> None:
    learner = FakeLearner(network(), error, [MER(gamma=0.3)], draw=stream())
    plain = FakeLearner(network(), error, [MER(gamma=1.0)], draw=stream())
    for block in range(5):
        base = now(learner.q_net)
        plain.put(*base)
        for each in (learner, plain):
            each.play(transitions(normal(block, 2, FEATURES).numpy(), normal(block, 2).numpy()))
            each.train(4, 8)
        expected = [
            start + 0.3 * (end - start) for start, end in zip(base, now(plain.q_net), strict=True)
        ]
        all_close(now(learner.q_net), expected)
        assert not same_bits(now(plain.q_net), expected)


class Within(Part):
    """Has the target network wait until a block has begun, if it is to; notes where steps end."""

    name: ClassVar[str] = "within"

    def __init__(self, waits: bool) -> None:
        self.holds, self.waits = waits, False
        self.end: Tensors = []

    @property
    def defers_target(self) -> bool:
        return self.waits

    def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
        self.waits = self.holds

    def before_update(self, learner: Any) -> None:
        self.waits = False

    def constrain(self, learner: Any) -> None:
        self.end = now(learner.q_net)


class Anytime(ContinualDQN):
    """Synchronises as soon as it may."""

    def _update(self, batch: Batch) -> float:
        loss = super()._update(batch)
        self._synchronise()
        return loss


class Lazy(MER):
    """Draws back when the next block begins."""

    def interpolate(self, learner: Any) -> None:
        pass

    def batches(self, learner: Any, steps: int, batch_size: int) -> Iterator[Batch]:
        super().interpolate(learner)
        yield from super().batches(learner, steps, batch_size)


def check_mer_targets(part: MER, waits: bool, kind: type[ContinualDQN] = ContinualDQN) -> None:
    """The target network only ever is where a block ended, drawn back."""
    within = Within(waits)
    life = tiny.agent(part, within, kind=kind, replay=ReservoirReplayBuffer, gradient_steps=4)
    drawn, targets, in_blocks = [now(life.q_net)], [], 0
    train = life.train

    def watched(*args: Any, **kwargs: Any) -> None:
        nonlocal in_blocks
        base, before, within.end = now(life.q_net), now(life.q_net_target), []
        train(*args, **kwargs)
        if within.end:
            pairs = zip(base, within.end, strict=True)
            drawn.append([start + part.gamma * (end - start) for start, end in pairs])
        targets.extend([before, now(life.q_net_target)])
        in_blocks += not same_bits(*targets[-2:])

    life.train = watched  # type: ignore[method-assign]
    tiny.live(life, 2 * tiny.PHASE)
    assert all(any(same_bits(target, each) for each in drawn) for target in targets)
    assert sum(not same_bits(a, b) for a, b in pairwise(targets)) >= 4
    assert (in_blocks >= 4) == waits


@pytest.mark.one_in(2)
@pytest.mark.parametrize("waits", [False, True])
def test_the_target_network_only_sees_blocks_of_mer_that_are_drawn_back(
    waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_mer_targets(MER(gamma=0.3), waits)
    fails(lambda: check_mer_targets(Lazy(gamma=0.3), waits))
    if waits:
        fails(lambda: check_mer_targets(MER(gamma=0.3), waits, Anytime))
    monkeypatch.setattr(plans, "draw_back", target_along)
    fails(lambda: check_mer_targets(MER(gamma=0.3), waits))


class Everywhere(MER):
    """Puts the newest transitions into each batch."""

    def batches(self, learner: Any, steps: int, batch_size: int) -> Iterator[Batch]:
        held = [*super().batches(learner, steps, batch_size)]
        yield from [max(held, key=lambda batch: len(batch.samples.rewards))] * steps


def check_newest(part: MER, blocks: int = 400, steps: int = 4) -> None:
    """The newest transitions are in one batch of each block, all of them, and in any of them."""
    learner = FakeLearner(network(), error, [part], draw=stream())
    learner._draw = lambda size: Batch(samples(torch.zeros(size, FEATURES), torch.zeros(size)))
    places = []
    for block in range(blocks):
        new = normal(block, 1 + block % 3, FEATURES)
        for row in new:
            learner.play(transitions(row[None].numpy()))
        batches = list(part.batches(learner, steps, 5))
        held = [step for step, batch in enumerate(batches) if len(batch.samples.rewards) > 5]
        assert len(batches) == steps
        assert len(held) == 1
        assert torch.equal(batches[held[0]].samples.observations[5:], new)
        places += held
        assert not list(part.batches(learner, steps, 5))  # they are learnt once
    assert stats.chisquare(np.bincount(places, minlength=steps)).pvalue > 0.001


class First(MER):
    """Always puts them into the first batch."""

    @plan
    def arrange(draws: Any, current: Any) -> None:
        for step in range(len(draws)):
            draws[step] = step
        current[0] = 1.0


def test_the_newest_transitions_are_in_one_batch_of_each_block() -> None:
    check_newest(MER())
    fails(lambda: check_newest(Everywhere()))
    fails(lambda: check_newest(First()))


class Watched(MER):
    """Notes how many transitions each batch holds."""

    def batches(self, learner: Any, steps: int, batch_size: int) -> Iterator[Batch]:
        for batch in super().batches(learner, steps, batch_size):
            self.sizes.append(len(batch.samples.rewards))
            yield batch


class Hoarding(Watched):
    """Keeps what was completed before learning starts."""

    def stored(self, learner: Any, *args: Any) -> None:
        starts, learner.learning_starts = learner.learning_starts, -1
        super().stored(learner, *args)
        learner.learning_starts = starts


def largest_batch(part: Any) -> int:
    part.sizes = []
    reservoir_life(part, learning_starts=120, steps=200)
    assert len(part.sizes) > 50
    return max(part.sizes)


def test_what_was_played_before_learning_starts_is_not_piled_up() -> None:
    most = 16 + 3 * tiny.NUM_ENVS  # a batch, and three steps of each game that ends
    assert 16 < largest_batch(Watched()) <= most
    assert largest_batch(Hoarding()) > most


# --- MER's algorithms on single examples --------------------------------------------------------

Example = tuple[np.ndarray, float]


def examples(seed: int, count: int) -> list[Example]:
    x = normal(seed, count, FEATURES).numpy()
    return [(row, float(np.sin(row.sum()))) for row in x]


def descend(w: np.ndarray, example: Example, weight: float = 1.0) -> np.ndarray:
    """One step of SGD on half the squared error of a linear model."""
    x, y = example
    return w - RATE * weight * (w @ x - y) * x


def algorithm_1(
    w: np.ndarray,
    stream: Sequence[Example],
    draw: Callable[[], Example],
    mer: MER,
    current_last: bool = False,
    beyond: bool = False,
) -> np.ndarray:
    """Riemer et al. 2019, algorithm 1; the flags are mistakes."""
    for current in stream:
        a0 = w
        for _ in range(mer.repeats):
            w0 = w
            memories = [draw() for _ in range(mer.memories)]
            batch = [*memories, current] if current_last else [current, *memories]
            for example in batch:
                w = descend(w, example)
            w = (w if beyond else w0) + mer.beta * (w - w0)
        w = a0 + mer.gamma * (w - a0)
    return w


def algorithm_6(
    w: np.ndarray,
    stream: Sequence[Example],
    draw: Callable[[], Example],
    mer: MER,
    current_last: bool = True,
    outer: bool = False,
) -> np.ndarray:
    """Algorithm 6: memories first, current example last, gamma for each repetition."""
    for current in stream:
        a0 = w
        for _ in range(mer.repeats):
            w0 = w
            memories = [draw() for _ in range(mer.memories)]
            for example in [*memories, current] if current_last else [current, *memories]:
                w = descend(w, example)
            if not outer:
                w = w0 + mer.gamma * (w - w0)
        if outer:
            w = a0 + mer.gamma * (w - a0)
    return w


def as_batch(example: Example) -> Batch:
    x, y = example
    return Batch(samples(torch.from_numpy(x)[None], torch.tensor([y], dtype=torch.float64)))


def drawing(memory: Sequence[Example], seed: int) -> Callable[[], Example]:
    rng = np.random.default_rng(seed)
    return lambda: memory[rng.integers(len(memory))]


def single(part: MER, incoming: Sequence[Example], draw: Callable[[], Example]) -> FakeLearner:
    """Learn the examples as they come in, two at a time."""

    def one(batch_size: int) -> Batch:
        assert batch_size == 1
        return as_batch(draw())

    model = nn.Linear(FEATURES, 1, bias=False).double()
    learner = FakeLearner(model, error, [part], draw=one, lr=RATE)
    learner.put(normal(99, FEATURES))
    for i in range(0, len(incoming), 2):
        pair = incoming[i : i + 2]
        x, y = np.stack([x for x, _ in pair]), np.array([y for _, y in pair])
        learner.play(transitions(x, y))
        learner.train(3, 7)  # neither has a meaning here
    return learner


def weights(learner: FakeLearner) -> np.ndarray:
    return now(learner.q_net)[0][0].numpy()


def check_single(reference: Any, part: MER, **mistakes: Any) -> None:
    incoming, memory = examples(1, 6), examples(2, 9)
    learner = single(part, incoming, drawing(memory, 7))
    assert len(learner.learnt) == len(incoming) * part.repeats * (part.memories + 1)
    start = normal(99, FEATURES).numpy()
    close(weights(learner), reference(start, incoming, drawing(memory, 7), part, **mistakes))


@pytest.mark.parametrize("beta", [1.0, 0.4])
@pytest.mark.parametrize("gamma", [1.0, 0.3])
@pytest.mark.parametrize(("memories", "repeats"), [(3, 2), (0, 3), (4, 1)])
def test_algorithm_1(memories: int, repeats: int, beta: float, gamma: float) -> None:
    check_single(algorithm_1, MER("1", memories, repeats, beta, gamma))


def test_algorithm_1_learns_the_current_example_first_and_draws_back_twice() -> None:
    def mer(beta: float = 0.4, gamma: float = 0.3) -> MER:
        return MER("1", 3, 2, beta, gamma)

    fails(lambda: check_single(algorithm_1, mer(), current_last=True))
    fails(lambda: check_single(algorithm_1, mer(), beyond=True))
    swapped = MER("1", 3, 2, 0.3, 0.4)
    fails(lambda: check_single(lambda w, s, d, _: algorithm_1(w, s, d, swapped), mer()))
    fails(lambda: check_single(algorithm_6, mer(beta=1.0)))


@pytest.mark.parametrize("gamma", [1.0, 0.3])
@pytest.mark.parametrize(("memories", "repeats"), [(3, 2), (0, 3), (4, 1)])
def test_algorithm_6(memories: int, repeats: int, gamma: float) -> None:
    check_single(algorithm_6, MER("6", memories, repeats, gamma=gamma))


def test_algorithm_6_learns_the_current_example_last_and_draws_back_each_time() -> None:
    fails(lambda: check_single(algorithm_6, MER("6", 3, 2, gamma=0.3), current_last=False))
    fails(lambda: check_single(algorithm_6, MER("6", 3, 2, gamma=0.3), outer=True))


def check_same_algorithm(gamma_of_6: float) -> None:
    """Algorithm 1 with one repetition, and algorithm 6, where the order of examples is the same."""
    one = single(MER("1", 3, 1, beta=0.5, gamma=0.6), examples(1, 2), iter_of(examples(2, 6)))
    a, b = examples(1, 2)
    m = examples(2, 6)
    # What was current comes in as a draw, and the last draw is current.
    other = single(MER("6", 3, 1, gamma=gamma_of_6), [m[2], m[5]], iter_of([a, *m[:2], b, *m[3:5]]))
    assert [batch.samples.rewards.item() for batch in one.learnt] == [
        batch.samples.rewards.item() for batch in other.learnt
    ]
    close(weights(one), weights(other))


def iter_of(draws: Sequence[Example]) -> Callable[[], Example]:
    iterator = iter(draws)
    return lambda: next(iterator)


def test_algorithm_1_with_one_repetition_is_algorithm_6() -> None:
    check_same_algorithm(0.5 * 0.6)
    fails(lambda: check_same_algorithm(0.5))


@pytest.mark.parametrize("algorithm", ["1", "6", "7"])
def test_without_interpolation_single_examples_are_plain_sgd_bit_for_bit(algorithm: Any) -> None:
    part = MER(algorithm, memories=3, repeats=1, gamma=1.0)
    learner = single(part, examples(1, 6), drawing(examples(2, 9), 7))
    plain = nn.Linear(FEATURES, 1, bias=False).double()
    plain.weight.data.copy_(normal(99, FEATURES)[None])
    optimizer = torch.optim.SGD(plain.parameters(), RATE)
    for batch in learner.learnt:
        optimizer.zero_grad()
        error(plain, batch.samples).backward()
        optimizer.step()
    assert same_bits(learner.q_net.parameters(), plain.parameters())
    part = MER(algorithm, memories=3, repeats=1, gamma=0.999)
    learner = single(part, examples(1, 6), drawing(examples(2, 9), 7))
    assert not same_bits(learner.q_net.parameters(), plain.parameters())


class Unweighed(MER):
    """Learns the current example like any other."""

    def batches(self, learner: Any, steps: int, batch_size: int) -> Iterator[Batch]:
        for batch in super().batches(learner, steps, batch_size):
            yield Batch(batch.samples)


class Positional(MER):
    """Gives a batch its weight in the place in which it always stood."""

    def batches(self, learner: Any, steps: int, batch_size: int) -> Iterator[Batch]:
        for batch in super().batches(learner, steps, batch_size):
            yield Batch(batch.samples, batch.slots, batch.weight)


class Repeated(MER):
    """Learns it several times instead of weighing it."""

    def batches(self, learner: Any, steps: int, batch_size: int) -> Iterator[Batch]:
        for batch in super().batches(learner, steps, batch_size):
            yield from [Batch(batch.samples)] * int(batch.weight)


class Ordered(MER):
    """Always learns it last."""

    @plan
    def arrange(
        draws: Any, current: Any, weights: Any, inner: Any, repeats: Any, gamma: Any
    ) -> None:
        last = len(draws) - 1
        for step in range(last):
            draws[step] = step
        current[last], weights[last], inner[last] = 1.0, repeats, gamma


def check_algorithm_7(part: MER) -> None:
    """Algorithm 7: once through memories and current example, shuffled, the latter weighed."""
    incoming, memory = examples(1, 100), examples(2, 9)
    learner = single(part, incoming, drawing(memory, 7))
    w, draw, places = normal(99, FEATURES).numpy(), drawing(memory, 7), []
    assert len(learner.learnt) == (part.memories + 1) * len(incoming)
    learnt = iter(learner.learnt)
    for current in incoming:
        start, left = w, [current, *(draw() for _ in range(part.memories))]
        for place in range(part.memories + 1):
            batch = next(learnt)
            wanted = [y for _, y in left]
            assert batch.samples.rewards.item() in wanted
            example = left.pop(wanted.index(batch.samples.rewards.item()))
            if example is current:
                places.append(place)
            w = descend(w, example, part.repeats if example is current else 1.0)
        assert not left
        w = start + part.gamma * (w - start)
    close(weights(learner), w)
    assert stats.chisquare(np.bincount(places, minlength=4)).pvalue > 0.001


def test_algorithm_7_weighs_the_current_example_and_learns_it_once() -> None:
    for kind in (MER, Positional):
        check_algorithm_7(kind("7", memories=3, repeats=5, gamma=0.2))
    for wrong in (Unweighed, Repeated, Ordered):
        fails(lambda wrong=wrong: check_algorithm_7(wrong("7", 3, 5, gamma=0.2)))  # type: ignore[misc]


# --- what they need, and what they keep ---------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["1", "6", "7"])
def test_single_examples_need_plain_sgd(algorithm: str) -> None:
    method = compose("finetune", parts=[f"mer:algorithm={algorithm}"])
    message = rf"algorithm {algorithm} .* plain SGD, not by Adam: .*=\{{'[a-z_]+': [a-zA-Z.]+\}} or"
    with pytest.raises(ValueError, match=message):
        build_agent("FlappyBird", tiny.CONFLICT, tiny.SETTINGS, method=method)
    momentum = {**SGD, "optimizer_kwargs": {"momentum": 0.9}}
    with pytest.raises(ValueError, match="plain SGD, not by SGD with momentum"):
        tiny.agent(make_part("mer", {"algorithm": algorithm}), policy=momentum)
    assert tiny.agent(make_part("mer", {"algorithm": algorithm}), policy=SGD).parts


def test_the_faithful_preset_brings_its_optimiser() -> None:
    agent = build_agent("FlappyBird", tiny.CONFLICT, tiny.SETTINGS, method=compose("mer-faithful"))
    assert type(agent.optimizer) is torch.optim.SGD
    assert type(tiny.agent(MER()).optimizer) is torch.optim.Adam  # mini-batches may use any


@pytest.mark.parametrize("algorithm", ["6", "7", "batched"])
def test_only_algorithm_1_has_a_beta(algorithm: Any) -> None:
    with pytest.raises(ValueError, match=r"beta = 0\.5 counts only with algorithm = '1'"):
        MER(algorithm, beta=0.5)


@pytest.mark.parametrize("name", ["memories", "repeats"])
def test_batches_are_the_learners(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} = 50 counts only with algorithm = '1' or"):
        make_part("mer", {name: 50})


def test_an_algorithm_may_be_given_as_a_number() -> None:
    assert make_part("mer", {"algorithm": 1}).settings["algorithm"] == "1"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("reptile", {"every": 0}, "reptile: every = 0"),
        ("reptile", {"eps": -0.1}, "reptile: eps = -0.1"),
        ("reptile", {"eps": 1.1}, "reptile: eps = 1.1"),
        ("reptile", {"eps": math.nan}, "reptile: eps = nan"),
        ("mer", {"algorithm": "2"}, "mer: unknown algorithm '2'"),
        ("mer", {"memories": -1}, "mer: memories = -1"),
        ("mer", {"repeats": 0}, "mer: repeats = 0"),
        ("mer", {"gamma": 1.5}, "mer: gamma = 1.5"),
        ("mer", {"gamma": math.nan}, "mer: gamma = nan"),
        ("mer", {"algorithm": "1", "beta": -0.5}, "mer: beta = -0.5"),
    ],
)
def test_settings_that_make_no_sense(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_part(name, settings)


@pytest.mark.parametrize("name", ["1", "6", "7", "batched"])
def test_mer_goes_on_with_what_was_not_learnt_yet(name: str) -> None:
    one = FakeLearner(network(), error, [everything(name)], draw=stream())
    for block in range(3):
        one.play(transitions(normal(block, 2, FEATURES).numpy(), normal(block, 2).numpy()))
        if block < 1:
            one.train(4, 2)
    kept = one.parts[0].state_dict()
    assert len(kept["completed"]["rewards"]) == 4
    other, forgetful = (FakeLearner(network(), error, [everything(name)]) for _ in range(2))
    for learner in (other, forgetful):
        learner.put(*now(one.q_net))
    other.parts[0].load_state_dict(copy.deepcopy(kept))
    for learner in (one, other, forgetful):
        learner._draw = stream(1)
        for _ in range(2):
            learner.play(transitions(normal(9, 3, FEATURES).numpy(), normal(9, 3).numpy()))
            learner.train(4, 2)
    assert same_bits(one.q_net.parameters(), other.q_net.parameters())
    assert not same_bits(one.q_net.parameters(), forgetful.q_net.parameters())
    assert not list(tiny.differences(one.parts[0].state_dict(), other.parts[0].state_dict()))
    empty = one.parts[0].state_dict()
    forgetful.parts[0].load_state_dict(empty)
    assert not list(forgetful.parts[0].batches(forgetful, 4, 2))


BESIDE: dict[str, dict[str, Any]] = {
    "clear": {"after": 60, "alpha": 0.5},
    "drop-and-grow": {"every": 30, "over": 200, "batch": 20},
    "packnet": {"retrain": 5},
    "pt-dqn": {"every": 30, "updates": 5, "batch": 16},
}


@pytest.mark.parametrize("algorithm", ["batched", pytest.param("6", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", BESIDE)
def test_what_is_frozen_stays_beside_it_to_the_bit(
    name: str, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters are drawn back to what they were moments before: there it was frozen, too."""

    def lived(engine: Any) -> tuple[torch.Tensor, bool]:
        other: Any = make_part(name, BESIDE[name])
        few = {} if algorithm == "batched" else {"memories": 2}
        mer = make_part("mer", {"algorithm": algorithm, **few})
        policy = SGD if few else {}
        agent = tiny.agent(mer, other, engine=engine, policy=policy, gradient_steps=2)
        stays = True
        for _ in range(tiny.PHASE // 20 + 2):
            tiny.live(agent, 20, reset_num_timesteps=not agent.num_timesteps)
            rows = zip(
                parameters(agent),
                getattr(other, "held", ()),
                getattr(other, "frozen", ()),
                strict=False,
            )
            stays &= all(torch.equal(now[mask > 0], held[mask > 0]) for now, held, mask in rows)
        return nn.utils.parameters_to_vector(parameters(agent)).detach(), stays

    one, stays = lived("torch")
    other, too = lived("compiled")
    assert stays
    assert too
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    # A planted error: they are drawn back to somewhere else.
    monkeypatch.setattr(plans, "copies", lambda kept: [each + 1e-3 for each in copies(kept)])
    assert lived("torch")[1] == (name == "clear")
