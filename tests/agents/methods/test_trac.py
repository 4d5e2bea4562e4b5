"""TRAC: a scalar reference with SciPy's erfi, the base optimiser's bits, and planted errors."""

from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.special
import tiny
import torch
from fake_learner import FakeLearner, Point

from continual_arcade.agents.files.checks import check_part
from continual_arcade.agents.methods import make_part
from continual_arcade.agents.methods.rules import count, rule, total
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.agents.methods.trac import DISCOUNTS, TRAC, erfi

LR, START, GOAL, STEPS = 0.05, 0.7, 3.0, 300


def slope(theta: float, step: int) -> float:
    """Of a parabola whose lowest place moves away halfway."""
    return theta - (GOAL if step < STEPS // 2 else -GOAL)


def by_the_paper(epsilon: float) -> tuple[list[float], list[float]]:
    """One parameter in double precision: where it is after each step, and the scales."""
    theta = base = START
    sums, squares, discounts = np.full(6, epsilon), np.zeros(6), np.array(DISCOUNTS)
    places, scales = [], []
    for step in range(STEPS):
        gradient = slope(theta, step)
        along = gradient * (base - START)
        base -= LR * gradient
        squares = discounts**2 * squares + along**2
        sums = discounts * sums - along
        tuned = scipy.special.erfi(sums / (np.sqrt(2) * np.sqrt(squares) + epsilon))
        scale = max(epsilon / scipy.special.erfi(1 / np.sqrt(2)) * tuned.sum(), 0.0)
        theta = START + scale * (base - START)
        places.append(theta)
        scales.append(scale)
    return places, scales


def check_trace(kind: type[TRAC], epsilon: float = 1e-8) -> None:
    part: Any = kind(epsilon=epsilon)
    steps = iter(range(STEPS))
    learner = FakeLearner(
        Point(torch.tensor([START], dtype=torch.float64)),
        lambda net, _: (net.flat() * slope(net.flat().item(), next(steps))).sum(),
        [part],
        lr=LR,
    )
    places, scales = by_the_paper(epsilon)
    for place, scale in zip(places, scales, strict=True):
        learner.train(1)
        assert part.scale == pytest.approx(scale, rel=1e-6)
        assert learner.q_net.flat().item() == pytest.approx(place, rel=1e-6)
    assert max(scales) > 0.4  # something was tuned
    assert np.ptp(places) > 1.0


@pytest.mark.parametrize("epsilon", [1e-8, 1e-4])
def test_it_is_the_papers_algorithm(epsilon: float) -> None:
    check_trace(TRAC, epsilon)


class Backwards(TRAC):
    """A mistake: the scale falls where gradients point back."""

    name: ClassVar[str] = "backwards"

    @total("project", writes="along")
    def products(gradient: Any, base: Any, reference: Any) -> Any:
        return gradient * (reference - base)


class Undiscounted(TRAC):
    """A mistake: squares are discounted as sums are."""

    name: ClassVar[str] = "undiscounted"

    @count("project_update", writes="scale")
    def tune(sums: Any, squares: Any, along: Any, epsilon: Any) -> Any:
        scale = 0.0
        for i in range(6):
            squares[i] = DISCOUNTS[i] * squares[i] + along * along
            sums[i] = DISCOUNTS[i] * sums[i] - along
            scale += erfi(sums[i] / (np.sqrt(2.0 * squares[i]) + epsilon))
        return max(epsilon * scale / erfi(0.5**0.5), 0.0)


class Compounding(TRAC):
    """A mistake: the base goes on from where the network was put."""

    name: ClassVar[str] = "compounding"

    @rule("project_update", writes="base")
    def go(theta: Any) -> Any:
        return theta


@pytest.mark.parametrize("kind", [Backwards, Undiscounted, Compounding])
def test_other_algorithms_are_found(kind: Any) -> None:
    with pytest.raises(AssertionError):
        check_trace(kind)


def test_the_imaginary_error_function_is_scipys() -> None:
    for x in (0.0, 1e-12, -0.3, 1.0, 3.0, -6.0, 20.0, 26.0):
        assert erfi(x) == pytest.approx(scipy.special.erfi(x), rel=1e-13)
    assert erfi(30.0) == scipy.special.erfi(30.0) == np.inf


class Fixed(TRAC):
    """With a scale that stays 1."""

    name: ClassVar[str] = "fixed"

    @count("project_update", writes="scale")
    def tune(scale: Any) -> Any:
        return 1.0


class Rounded(Fixed):
    """A mistake: it rounds, even with a scale of 1."""

    name: ClassVar[str] = "rounded"

    @rule("project_update")
    def put(base: Any, reference: Any, scale: Any) -> Any:
        return reference + scale * (base - reference)


@tiny.EACH_ENGINE
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_with_a_scale_of_1_it_is_the_base_optimiser_bit_for_bit(
    engine: str, optimizer: Any
) -> None:
    policy = {"optimizer_class": optimizer}
    plain = tiny.bits(tiny.live(tiny.agent(engine=engine, policy=policy)))
    rounds = (Rounded, optimizer is torch.optim.SGD)  # whose steps are too small here to show it
    for kind, same in ((Fixed, True), rounds, (TRAC, False)):
        agent = tiny.live(tiny.agent(kind(), engine=engine, policy=policy))
        assert agent.runs_compiled == (engine == "compiled")
        assert (tiny.bits(agent) == plain) == same


@tiny.EACH_ENGINE
def test_what_is_changed_by_hand_is_where_it_begins_again(engine: str) -> None:
    agent = tiny.agent(TRAC(), engine=engine)
    part: Any = agent.parts[0]
    tiny.live(agent, 200)
    begun = copies(parameters(tiny.agent(TRAC(), engine=engine)))
    assert all(map(torch.equal, part.reference, begun))
    with torch.no_grad():
        for tensor in agent.q_net.parameters():
            tensor.mul_(1.5)
    there = copies(parameters(agent))
    tiny.live(agent, 100, reset_num_timesteps=False)
    assert all(map(torch.equal, part.reference, there))


def test_it_tells_its_scale() -> None:
    agent = tiny.live(tiny.agent(make_part("trac")))
    agent.parts[0].log(agent)
    assert agent.logger.name_to_value["trac/scale"] > 1e-7


@pytest.mark.parametrize(
    ("name", "value"),
    [("sums", np.zeros(5)), ("squares", np.full(6, np.nan)), ("sums", [0.0] * 6), ("sums", 0.0)],
)
def test_files_with_other_tuners_are_refused(name: str, value: Any) -> None:
    model = tiny.agent(TRAC())
    state = model.parts[0].state_dict()
    check_part(state, model.parts[0].state_dict(), model, None)
    with pytest.raises(ValueError, match=name):
        check_part({**state, name: value}, model.parts[0].state_dict(), model, None)
