"""Spectral regularisation: singular values by NumPy, slopes by differences, and planted errors."""

from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from fake_learner import FakeLearner
from torch import nn

from continual_arcade.agents.methods import make_part
from continual_arcade.agents.methods.rules import tensor_rule
from continual_arcade.agents.methods.spectral import Spectral
from continual_arcade.agents.methods.tensors import HIDDEN, OUTPUT, SCALE, SHIFT, roles

LAM = 0.3


def network(seed: int = 0, bias: bool = True) -> nn.Sequential:
    """Convolutions, layer normalisation and linear layers, in double precision."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Sequential(
            nn.Conv2d(2, 3, 2, bias=bias),
            nn.Flatten(),
            nn.Linear(12, 7, bias=bias),
            nn.LayerNorm(7) if bias else nn.Identity(),
            nn.ReLU(),
            nn.Linear(7, 2, bias=bias),
        )
        for tensor in layers.parameters():
            nn.init.normal_(tensor, std=0.5)
    return layers.double()


def penalty(tensors: Any, k: int = 2, output: bool = True) -> float:
    """What the penalty is, by NumPy: in the order conv, linear, norm, linear, weights first."""
    found = 0.0
    for i, tensor in enumerate(tensors):
        if i == 4:
            found += float(((tensor - 1) ** 2).sum())
        elif tensor.ndim == 1:
            found += np.linalg.norm(tensor) ** (2 * k)
        elif i != 6 or output:
            largest = np.linalg.svd(tensor.reshape(len(tensor), -1), compute_uv=False)[0]
            found += (largest**k - 1) ** 2
    return LAM * found


def numeric_gradient(tensors: list[Any], step: float = 1e-5, **options: Any) -> list[Any]:
    slopes = []
    for tensor in tensors:
        slope = np.zeros_like(tensor)
        for place in np.ndindex(tensor.shape):
            for side in (step, -step):
                tensor[place] += side
                slope[place] += penalty(tensors, **options) / (2 * side)
                tensor[place] -= side
        slopes.append(slope)
    return slopes


def check_gradient(kind: type[Spectral], **options: Any) -> None:
    learner = FakeLearner(network(), None, [kind(lam=LAM, iterations=200, **options)])  # type: ignore[arg-type]
    found = learner.gradient_of(learner.parts[0])
    tensors = [tensor.detach().numpy().copy() for tensor in learner.q_net.parameters()]
    for mine, wanted in zip(found, numeric_gradient(tensors, **options), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=2e-4, atol=2e-5)
    part: Any = learner.parts[0]
    assert LAM * part.penalty == pytest.approx(penalty(tensors, **options), rel=1e-5)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("output", [True, False])
def test_the_gradient_is_that_of_the_penalty(k: int, output: bool) -> None:
    check_gradient(Spectral, k=k, output=output)


class Frobenius(Spectral):
    """A mistake: the norm of all singular values in place of the largest."""

    name: ClassVar[str] = "frobenius"

    @tensor_rule("add_gradient", writes="penalty", when="lam")
    def pull(theta: Any, gradient: Any, right: Any, lam: Any, penalty: Any) -> Any:
        square = 0.0
        for row in theta:
            for weight in row:
                square += weight * weight
        for i in range(len(theta)):
            for j in range(theta.shape[1]):
                gradient[i, j] += lam * 4.0 * (square - 1.0) * theta[i, j]
        return penalty + (square - 1.0) ** 2


class Unstarted(Spectral):
    """A mistake: power iterations that start from nothing."""

    name: ClassVar[str] = "unstarted"

    def bind(self, learner: Any, rng: Any) -> None:
        super().bind(learner, rng)
        for tensor in self.right:
            tensor.zero_()


@pytest.mark.parametrize("kind", [Frobenius, Unstarted])
def test_another_gradient_is_found(kind: Any) -> None:
    with pytest.raises(AssertionError):
        check_gradient(kind)


def test_orthogonal_weights_are_left_alone() -> None:
    net = network(bias=False)
    for tensor in net.parameters():
        nn.init.orthogonal_(tensor)
    learner = FakeLearner(net, None, [Spectral(lam=LAM)])  # type: ignore[arg-type]
    part: Any = learner.parts[0]
    for _ in range(3):
        assert max(float(g.abs().max()) for g in learner.gradient_of(part)) < 1e-6
    assert part.penalty < 1e-10
    learner.put(*[tensor * 1.01 for tensor in net.parameters()])
    assert max(float(g.abs().max()) for g in learner.gradient_of(part)) > 1e-3


def test_what_the_tensors_are() -> None:
    assert roles(network()) == [HIDDEN, SHIFT, HIDDEN, SHIFT, SCALE, SHIFT, OUTPUT, SHIFT]
    with pytest.raises(ValueError, match="weight of a Bilinear in the network is neither"):
        roles(nn.Sequential(nn.Bilinear(2, 2, 2)))


def largest(agent: Any) -> list[float]:
    tensors = [t.detach().numpy() for t in agent.q_net.parameters() if t.ndim == 2]
    return [float(np.linalg.svd(tensor, compute_uv=False)[0]) for tensor in tensors]


def check_follows(agent: Any) -> None:
    """One step of the power iteration in each gradient step keeps up with the singular value."""
    part: Any = agent.parts[0]
    for tensor, right, wanted in zip(
        [t for t in agent.q_net.parameters() if t.ndim == 2],
        [t for t in part.right if t.ndim == 2],
        largest(agent),
        strict=True,
    ):
        assert float((tensor.detach() @ right[0]).norm()) == pytest.approx(wanted, rel=1e-3)


@tiny.EACH_ENGINE
def test_it_draws_the_largest_singular_value_to_1(engine: str) -> None:
    free, held = (
        tiny.live(tiny.agent(Spectral(lam=lam), engine=engine, learning_rate=5e-3))
        for lam in (0.0, 10.0)
    )
    assert held.runs_compiled == (engine == "compiled")
    assert np.abs(np.array(largest(held)) - 1).max() < 0.05
    assert np.abs(np.array(largest(free)) - 1).max() > 0.1
    check_follows(held)
    with pytest.raises(AssertionError):
        check_follows(free)  # whose vectors stay where they were drawn


def test_a_matrix_of_zeros_has_the_singular_value_0() -> None:
    net = network(bias=False)
    learner = FakeLearner(net, None, [Spectral(lam=LAM)])  # type: ignore[arg-type]
    learner.put(*[torch.zeros_like(tensor) for tensor in net.parameters()])
    part: Any = learner.parts[0]
    assert all(bool((g == 0).all()) for g in learner.gradient_of(part))
    assert part.penalty == 3.0
    assert all(bool(tensor.isfinite().all()) for tensor in part.right)


@tiny.EACH_ENGINE
def test_without_strength_it_is_the_dqn_bit_for_bit(engine: str) -> None:
    plain = tiny.bits(tiny.live(tiny.agent(engine=engine)))
    assert tiny.bits(tiny.live(tiny.agent(Spectral(lam=0.0), engine=engine))) == plain
    assert tiny.bits(tiny.live(tiny.agent(Spectral(lam=0.1), engine=engine))) != plain


def test_it_tells_what_it_costs() -> None:
    agent = tiny.live(tiny.agent(make_part("spectral")))
    agent.parts[0].log(agent)
    assert agent.logger.name_to_value["spectral/penalty"] > 0
