"""A sparse network: how many weights are 0, which ones, and that they stay so to the bit."""

from fractions import Fraction
from typing import Any

import numpy as np
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.drop_and_grow import DropAndGrow, regrown


def by_hand(
    weight: list[float], slope: list[float], alive: list[bool], count: int, turned: int
) -> list[bool]:
    """The same one by one: drop the smallest until few enough are left, then grow."""
    left = [i for i, lives in enumerate(alive) if lives]
    while len(left) > max(0, count - turned):
        # Of equals the later one goes first.
        left.remove(min(left, key=lambda i: (abs(weight[i]), -i)))
    while len(left) < count:
        free = [i for i in range(len(weight)) if i not in left]
        left.append(max(free, key=lambda i: (abs(slope[i]), -i)))
    return [i in left for i in range(len(weight))]


@st.composite
def layers(draw: st.DrawFn) -> tuple[Any, ...]:
    size = draw(st.integers(1, 12))
    numbers = st.lists(
        st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]), min_size=size, max_size=size
    )
    alive = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    count = draw(st.integers(0, size))
    return draw(numbers), draw(numbers), alive, count, draw(st.integers(0, count))


def found(rule: Any, layer: tuple[Any, ...]) -> list[bool]:
    weight, slope, alive, count, turned = layer
    chosen = rule(torch.tensor(weight), torch.tensor(slope), torch.tensor(alive), count, turned)
    return list(chosen.tolist())


@given(layers())
def test_the_smallest_go_and_those_of_the_largest_gradient_come(layer: tuple[Any, ...]) -> None:
    assert found(regrown, layer) == by_hand(*layer)


def test_one_that_grows_by_weight_is_found() -> None:
    def planted(weight: Any, slope: Any, *others: Any) -> Any:
        return regrown(weight, weight, *others)

    layer = [3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [True, True, False, False], 2, 1
    assert found(regrown, layer) == by_hand(*layer) == [True, False, False, True]
    assert found(planted, layer) != by_hand(*layer)


class Counts(Part):
    """Counts the zeros of each layer after each step."""

    name = "counts"

    def __init__(self, part: DropAndGrow) -> None:
        self.part = part
        self.zeros: dict[int, list[int]] = {}
        self.moments: list[float] = []

    def completed(self, learner: Any, transitions: Any) -> None:
        pairs = zip(learner.q_net.parameters(), self.part.frozen, strict=True)
        every = [(weight, frozen > 0) for weight, frozen in pairs if weight.ndim > 1]
        self.zeros[learner.num_timesteps] = [int(zero.sum()) for _, zero in every]
        for weight, zero in every:
            assert not weight[zero].any()
            for name in ("exp_avg", "exp_avg_sq"):
                if name in (state := learner.optimizer.state.get(weight, {})):
                    self.moments.append(float(state[name][zero].abs().sum()))


@tiny.EACH_ENGINE
def test_zeros_follow_the_cubic_and_stay_zero(engine: str) -> None:
    part = DropAndGrow(start=0.25, end=0.75, every=40, over=240)
    counts = Counts(part)
    model = tiny.live(tiny.agent(part, counts, engine=engine))
    sizes = [tensor.numel() for tensor in model.q_net.parameters() if tensor.ndim > 1]
    for step, zeros in counts.zeros.items():
        # It acts at multiples of 40 once something has been learnt, before the next step.
        event = min((step - 1) // 40 * 40, 240)
        over = Fraction(event if event > tiny.LEARNING_STARTS else 0, 240)
        share = Fraction(3, 4) + (Fraction(1, 4) - Fraction(3, 4)) * (1 - over) ** 3
        assert zeros == [round(share * size) for size in sizes], step
    assert len({tuple(zeros) for zeros in counts.zeros.values()}) > 4
    assert sum(counts.moments) == 0.0
    assert len(counts.moments) > 20


@tiny.EACH_ENGINE
def test_which_weights_are_zero_changes(engine: str) -> None:
    places = []
    for turnover in (0.0, 0.5):
        part = DropAndGrow(start=0.5, end=0.5, every=40, over=10_000, turnover=turnover)
        model = tiny.agent(part, engine=engine)
        of_one = []
        for steps in (36, tiny.PHASE):
            tiny.live(model, steps, reset_num_timesteps=False)
            of_one.append(part.frozen[0].numpy().copy())
        places.append(of_one)
    assert np.array_equal(*places[0])
    assert not np.array_equal(*places[1])


@tiny.EACH_ENGINE
def test_without_zeros_it_is_the_dqn_to_the_bit(engine: str) -> None:
    part = DropAndGrow(start=0.0, end=0.0, every=40)
    models = [tiny.live(tiny.agent(*parts, engine=engine)) for parts in ((), (part,))]
    assert tiny.bits(models[0]) == tiny.bits(models[1])


def test_a_weight_that_grows_begins_at_zero_and_what_grows_changes_no_value() -> None:
    part = DropAndGrow(start=0.5, end=0.0, every=40, over=10_000, turnover=0.0)
    model = tiny.live(tiny.agent(part, engine="torch"), 100)
    seen = torch.as_tensor(model.replay.observations[:50, 0])
    before = model.q_net(seen)
    zeros = sum(int((tensor == 0).sum()) for tensor in part.held)
    part.end = -3.0  # far fewer zeros at once
    part.act(model)
    assert sum(int(frozen.sum()) for frozen in part.frozen) < zeros
    assert torch.equal(model.q_net(seen), before)


def test_a_layer_that_is_frozen_stays_as_it_is() -> None:
    model = tiny.agent(DropAndGrow(start=0.5, every=40, over=200), engine="torch")
    first, *_, last, _ = model.q_net.parameters()
    before = first.requires_grad_(requires_grad=False).clone()
    tiny.live(model)
    assert torch.equal(first, before)
    assert 0 < int((last == 0).sum()) < last.numel()
