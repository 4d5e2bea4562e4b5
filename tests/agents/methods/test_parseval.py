"""Parseval regularisation: slopes by differences, orthogonal rows, and planted errors."""

from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from fake_learner import FakeLearner
from torch import nn

from continual_arcade.agents.methods import make_part
from continual_arcade.agents.methods.parseval import Parseval, draw
from continual_arcade.agents.methods.rules import tensor_rule

LAM, S = 0.3, 1.7


def network() -> nn.Sequential:
    """A tall, a wide and an output layer, and filters that are wide, in double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(5, 9), nn.Linear(9, 4), nn.Linear(4, 2)
        )
        for tensor in layers.parameters():
            nn.init.normal_(tensor, std=0.5)
    return layers.double()


def penalty(tensors: Any) -> float:
    """What the penalty is, by its definition: of weights, but for the last."""
    found = 0.0
    for tensor in tensors[:-2]:
        if tensor.ndim > 1:
            rows = tensor.reshape(len(tensor), -1)
            found += float(((rows @ rows.T - S * np.eye(len(rows))) ** 2).sum())
    return LAM * found


def check_gradient(kind: type[Parseval]) -> None:
    learner = FakeLearner(network(), None, [kind(lam=LAM, s=S)])  # type: ignore[arg-type]
    found = learner.gradient_of(learner.parts[0])
    tensors = [tensor.detach().numpy().copy() for tensor in learner.q_net.parameters()]
    for tensor, mine in zip(tensors, found, strict=True):
        for place in np.ndindex(tensor.shape):
            slope = 0.0
            for side in (1e-5, -1e-5):
                tensor[place] += side
                slope += penalty(tensors) / (2 * side)
                tensor[place] -= side
            assert float(mine[place]) == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_the_gradient_is_that_of_the_penalty() -> None:
    check_gradient(Parseval)


class EveryLayer(Parseval):
    """A mistake: the output layer is held, too."""

    name: ClassVar[str] = "every-layer"

    @tensor_rule("add_gradient", writes="penalty", when="lam")
    def pull(theta: Any, gradient: Any, role: Any, lam: Any, s: Any, penalty: Any) -> Any:
        return penalty + draw(theta, gradient, lam, s) if role < 2 else penalty


class Half(Parseval):
    """A mistake: the gradient of one factor alone."""

    name: ClassVar[str] = "half"

    @tensor_rule("add_gradient", writes="penalty", when="lam")
    def pull(theta: Any, gradient: Any, role: Any, lam: Any, s: Any, penalty: Any) -> Any:
        return penalty + draw(theta, gradient, 0.5 * lam, s) if role == 0 else penalty


@pytest.mark.parametrize("kind", [EveryLayer, Half])
def test_another_gradient_is_found(kind: Any) -> None:
    with pytest.raises(AssertionError):
        check_gradient(kind)


def test_orthogonal_rows_of_the_right_length_are_left_alone() -> None:
    net = network()
    for tensor in net.parameters():
        if tensor.ndim > 1:
            nn.init.orthogonal_(tensor, gain=S**0.5)
    learner = FakeLearner(net, None, [Parseval(lam=LAM, s=S)])  # type: ignore[arg-type]
    part: Any = learner.parts[0]
    assert max(float(g.abs().max()) for g in learner.gradient_of(part)) < 1e-5
    assert part.penalty < 1e-10
    other = FakeLearner(net, None, [Parseval(lam=LAM, s=1.0)])  # type: ignore[arg-type]
    assert max(float(g.abs().max()) for g in other.gradient_of(other.parts[0])) > 0.1


@tiny.EACH_ENGINE
def test_it_draws_rows_to_be_orthogonal(engine: str) -> None:
    def away(lam: float) -> list[float]:
        part, policy = Parseval(lam=lam), {"net_arch": [12, 7]}
        agent = tiny.live(tiny.agent(part, engine=engine, learning_rate=1e-2, policy=policy))
        assert agent.runs_compiled == (engine == "compiled")
        first, second, _ = [t.detach() for t in agent.q_net.parameters() if t.ndim == 2]
        grams = (first.T @ first, second @ second.T)  # the first has more rows than columns
        return [float((gram - 2.0 * torch.eye(len(gram))).norm()) for gram in grams]

    free, held = away(0.0), away(10.0)
    assert all(after < 0.2 * before for after, before in zip(held, free, strict=True))


@tiny.EACH_ENGINE
def test_without_strength_it_is_the_dqn_bit_for_bit(engine: str) -> None:
    plain = tiny.bits(tiny.live(tiny.agent(engine=engine)))
    assert tiny.bits(tiny.live(tiny.agent(Parseval(lam=0.0), engine=engine))) == plain
    assert tiny.bits(tiny.live(tiny.agent(Parseval(lam=0.1), engine=engine))) != plain


def test_it_tells_what_it_costs() -> None:
    agent = tiny.live(tiny.agent(make_part("parseval")))
    agent.parts[0].log(agent)
    assert agent.logger.name_to_value["parseval/penalty"] > 0
