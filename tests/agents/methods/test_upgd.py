"""UPGD: closed forms of single steps, its noise, what guards it, and planted errors."""

import math
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from fake_learner import FakeLearner
from torch import nn

from continual_arcade.agents.engines import binding
from continual_arcade.agents.methods import compiled_rules, make_part
from continual_arcade.agents.methods.rules import count, rule
from continual_arcade.agents.methods.upgd import UPGD

LR = 0.1


class Weights(nn.Linear):
    """Weights alone, and a loss whose gradient is given."""

    def __init__(self, *values: float) -> None:
        super().__init__(len(values), 1, bias=False)
        with torch.no_grad():
            self.weight.copy_(torch.tensor([values]))


def after(part: UPGD, values: list[float], slopes: list[list[float]], **options: Any) -> Any:
    """Parameters after gradient steps on losses of these slopes."""
    given = iter(slopes)
    learner = FakeLearner(
        Weights(*values),
        lambda net, _: (net.weight * torch.tensor([next(given)])).sum(),
        [part],
        lr=LR,
        **options,
    )
    learner.train(len(slopes))
    return learner.q_net.weight.detach().numpy()[0]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


QUIET: dict[str, Any] = {"noise": 0.0, "weight_decay": 0.0}


def check_single(kind: type[UPGD]) -> None:
    """One weight, without memory or noise: it is all of its own utility, or there is none."""
    for value, slope in ((0.8, -0.5), (-0.3, 2.0)):  # of use: without it the loss would rise
        found = after(kind(decay=0.0, **QUIET), [value], [[slope]])[0]
        assert found == pytest.approx(value - LR * slope * (1 - sigmoid(1.0)), rel=1e-6)
    for value, slope in ((0.8, 0.5), (-0.3, -2.0), (0.0, 1.0)):  # of none: it is not held
        found = after(kind(decay=0.0, **QUIET), [value], [[slope]])[0]
        assert found == pytest.approx(value - LR * slope, rel=1e-6)


def check_several(kind: type[UPGD]) -> None:
    """Three weights for three steps, by a recursion in double precision."""
    values, decay, shrinks = [0.5, -1.0, 2.0], 0.9, 0.3
    slopes = [[-1.0, 0.5, 0.2], [0.3, 0.8, -0.1], [-0.2, 0.1, -0.4]]
    wanted, utility = np.array(values), np.zeros(3)
    for slope in np.array(slopes):
        utility = decay * utility + (1 - decay) * -slope * wanted
        assert utility.max() > 0
        held = 1 / (1 + np.exp(-utility / utility.max()))
        wanted = wanted * (1 - LR * shrinks) - LR * slope * (1 - held)
    found = after(kind(decay=decay, noise=0.0, weight_decay=shrinks), values, slopes)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


class Unguarded(UPGD):
    """The reference's mistake: divided by the largest utility, whatever its sign is."""

    name: ClassVar[str] = "unguarded"

    @rule("project_update")
    def step(theta: Any, before: Any, utility: Any) -> Any:
        return theta - torch.sigmoid(utility / utility.max()) * (theta - before)


class Gradient(UPGD):
    """A mistake: utility of the other sign."""

    name: ClassVar[str] = "gradient"

    @rule("project", writes="utility", when="protect")
    def use(theta: Any, gradient: Any, utility: Any, rate: Any) -> Any:
        return utility + rate * (gradient * theta - utility)


class Forgetful(UPGD):
    """A mistake: no memory of utilities."""

    name: ClassVar[str] = "forgetful"

    @count("project", writes="rate")
    def share(decay: Any) -> Any:
        return 1.0


def test_steps_are_those_of_the_paper() -> None:
    check_single(UPGD)
    check_several(UPGD)


@pytest.mark.parametrize(
    ("kind", "check"),
    [(Unguarded, check_single), (Gradient, check_single), (Forgetful, check_several)],
)
def test_other_steps_are_found(kind: Any, check: Any) -> None:
    with pytest.raises(AssertionError):
        check(kind)


def test_noise_is_that_of_its_own_generator() -> None:
    """Without protection noise is added as it is drawn: by NumPy, from the seed of the part."""
    for seed in (0, 1):
        found = after(UPGD(protect=False, noise=0.5, weight_decay=0.0), [0.0] * 4, [[0.0] * 4] * 2)
        drawn = np.random.default_rng([0, 0]).standard_normal((2, 4), dtype=np.float32)
        np.testing.assert_allclose(found, -LR * 0.5 * drawn.sum(0), rtol=1e-5)
        other = np.random.default_rng([seed, 1]).standard_normal((2, 4), dtype=np.float32)
        assert not np.allclose(found, -LR * 0.5 * other.sum(0), rtol=1e-2)


def test_noise_spares_what_is_of_use() -> None:
    part = UPGD(decay=0.0, noise=1.0, weight_decay=0.0)
    found = after(part, [1.0, 1.0], [[-2.0, 1.0]])
    drawn = np.random.default_rng([0, 0]).standard_normal(2, dtype=np.float32)
    for i, (slope, use) in enumerate(((-2.0, 2.0), (1.0, -1.0))):
        freely = 1 - sigmoid(use / 2.0)
        assert found[i] == pytest.approx(1.0 - LR * (slope + drawn[i]) * freely, rel=1e-5)


@tiny.EACH_ENGINE
@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_without_protection_noise_and_decay_it_is_the_dqn(engine: str, optimizer: Any) -> None:
    policy = {"optimizer_class": optimizer}
    plain = tiny.bits(tiny.live(tiny.agent(engine=engine, policy=policy)))
    for settings, same in (
        ({"protect": False, **QUIET}, True),
        (QUIET, False),
        ({**QUIET, "protect": False, "noise": 1.0}, False),
        ({**QUIET, "protect": False, "weight_decay": 1.0}, False),
    ):
        agent = tiny.live(tiny.agent(UPGD(**settings), engine=engine, policy=policy))
        assert agent.runs_compiled == (engine == "compiled")
        assert (tiny.bits(agent) == plain) == same


def test_the_learning_rate_is_that_of_the_optimiser_at_the_moment() -> None:
    """It is handed to both engines before they go on: a schedule of it is followed."""
    ends = []
    for engine in ("torch", "compiled"):
        part = UPGD(protect=False, noise=1.0, weight_decay=3.0)
        rates = tiny.agent(part, engine=engine, learning_rate=lambda left: 1e-2 * left)
        ends.append(tiny.live(rates))
    one, other = ([t.detach().numpy() for t in agent.q_net.parameters()] for agent in ends)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    constant = tiny.live(tiny.agent(UPGD(protect=False, noise=1.0), learning_rate=1e-2))
    assert tiny.bits(constant) != tiny.bits(ends[1])


@tiny.EACH_ENGINE
def test_noise_is_of_the_seed(engine: str) -> None:
    one, same, other = (
        tiny.bits(tiny.live(tiny.agent(UPGD(noise=0.1), engine=engine, seed=seed)))
        for seed in (0, 0, 1)
    )
    assert one == same != other


def test_it_tells_how_much_it_protects() -> None:
    agent = tiny.live(tiny.agent(make_part("upgd"), gradient_steps=2))
    agent.parts[0].log(agent)
    assert 0.3 < agent.logger.name_to_value["upgd/protected"] < 0.6


def test_where_numpy_does_not_show_what_draws_pytorch_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiled_rules, "HAS_NORMALS", False)
    monkeypatch.setattr(
        compiled_rules, "normals_function", compiled_rules.normals_function.__wrapped__
    )
    monkeypatch.setattr(binding, "normals_function", compiled_rules.normals_function)
    model = tiny.agent(UPGD(noise=0.01))
    assert "torch, because" in model.engine_report
    assert "a function that this NumPy does not show" in model.engine_report
    with pytest.raises(ValueError, match="does not show"):
        tiny.agent(UPGD(noise=0.01), engine="compiled")
