"""L2 towards the start: closed forms, what it equals, and the usual mistakes, which must fail."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from fake_learner import FakeLearner, Point, normal

from continual_arcade.agents.methods import make_part
from continual_arcade.agents.methods.l2 import L2
from continual_arcade.agents.methods.l2_init import L2Init
from continual_arcade.agents.methods.tensors import copies, parameters

SIZE = 5


class ToZero(L2Init):
    """Weight decay: what it would be without the start."""

    name: ClassVar[str] = "to-zero"

    def bind(self, learner: Any, rng: Any) -> None:
        super().bind(learner, rng)
        self.center = [torch.zeros_like(tensor) for tensor in self.center]


class Whole(L2Init):
    """The square without its half."""

    name: ClassVar[str] = "whole"

    def add_gradient(self, learner: Any) -> None:
        super().add_gradient(learner)
        super().add_gradient(learner)


class Moving(L2Init):
    """Holds what the network was at the end of the phase, too."""

    name: ClassVar[str] = "moving"

    def phase_end(self, learner: Any, phase: int) -> None:
        now = copies(parameters(learner))
        self.add_anchor([torch.ones_like(tensor) for tensor in now], now)


def check_minimum(kind: Callable[..., Any], lam: float) -> None:
    """On a quadratic loss SGD ends at (H + lam)^-1 (b + lam theta_0), whatever phases end."""
    rng = np.random.default_rng(1)
    factor, (slope, start) = rng.normal(size=(SIZE, SIZE)), rng.normal(size=(2, SIZE))
    curvature = factor @ factor.T / SIZE + 0.2 * np.eye(SIZE)
    given, linear = torch.from_numpy(curvature), torch.from_numpy(slope)

    def loss(network: Any, samples: Any) -> torch.Tensor:
        theta = network.flat()
        return 0.5 * theta @ given @ theta - linear @ theta

    learner = FakeLearner(Point(torch.from_numpy(start)), loss, [kind(lam=lam)], lr=0.2)
    learner.train(3)
    learner.end_phase()
    learner.train(600)
    found = learner.q_net.flat().detach().numpy()
    wanted = np.linalg.solve(curvature + lam * np.eye(SIZE), slope + lam * start)
    np.testing.assert_allclose(found, wanted, atol=1e-8)


@pytest.mark.parametrize("lam", [0.0, 0.3, 2.0])
def test_it_ends_at_the_minimum_of_loss_and_penalty(lam: float) -> None:
    check_minimum(L2Init, lam)


@pytest.mark.parametrize("kind", [ToZero, Whole, Moving])
def test_other_penalties_end_elsewhere(kind: Any) -> None:
    with pytest.raises(AssertionError):
        check_minimum(kind, 0.3)


def test_its_value_is_half_the_squared_distance_to_the_start() -> None:
    part = L2Init(lam=0.5)
    learner = FakeLearner(Point(normal(0, SIZE)), lambda net, _: net.flat().sum(), [part])
    assert part.value(parameters(learner)) == 0
    learner.put(normal(1, SIZE))
    distance = float((normal(1, SIZE) - normal(0, SIZE)).square().sum())
    assert part.value(parameters(learner)) == pytest.approx(0.25 * distance)


class FromTheFirstStep(L2):
    """L2, as if a phase had ended before training began, and no other one ever did."""

    name: ClassVar[str] = "from-the-first-step"
    needs_boundaries: ClassVar[bool] = False

    def bind(self, learner: Any, rng: Any) -> None:
        super().bind(learner, rng)
        super().phase_end(learner, 0)

    def phase_end(self, learner: Any, phase: int) -> None:
        pass


@tiny.EACH_ENGINE
def test_it_is_l2_with_one_boundary_at_the_start_bit_for_bit(engine: str) -> None:
    one = tiny.live(tiny.agent(L2Init(lam=0.1), engine=engine))
    other = tiny.live(tiny.agent(FromTheFirstStep(lam=0.1), engine=engine))
    assert one.runs_compiled == other.runs_compiled == (engine == "compiled")
    assert tiny.bits(one) == tiny.bits(other)
    assert tiny.bits(one) != tiny.bits(tiny.live(tiny.agent(L2(lam=0.1), engine=engine)))


@tiny.EACH_ENGINE
def test_without_strength_it_is_the_dqn_bit_for_bit(engine: str) -> None:
    plain = tiny.bits(tiny.live(tiny.agent(engine=engine)))
    assert tiny.bits(tiny.live(tiny.agent(L2Init(lam=0.0), engine=engine))) == plain
    assert tiny.bits(tiny.live(tiny.agent(L2Init(lam=0.1), engine=engine))) != plain


def test_the_stronger_it_is_the_nearer_the_network_stays() -> None:
    distances = []
    for lam in (0.0, 1e-2, 1.0):
        model = tiny.agent(L2Init(lam=lam))
        start = copies(parameters(model))
        tiny.live(model)
        pairs = zip(parameters(model), start, strict=True)
        distances.append(sum(float((a - b).detach().square().sum()) for a, b in pairs))
    assert distances[0] > distances[1] > distances[2] > 0


def test_it_tells_what_it_costs() -> None:
    agent = tiny.live(tiny.agent(make_part("l2-init"), gradient_steps=2))
    agent.parts[0].log(agent)
    told = agent.logger.name_to_value
    assert 0 < told["l2-init/share_of_gradient"] < 1
    assert told["l2-init/penalty"] > 0
    assert not hasattr(make_part("l2-init"), "anchor")
