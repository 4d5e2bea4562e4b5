"""Hare and tortoise: where the average is, in closed form, and what a return changes."""

from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from fake_learner import FakeLearner, Point, normal

from continual_arcade.agents.methods.hare_tortoise import HareTortoise
from continual_arcade.agents.methods.rules import rule
from continual_arcade.agents.methods.tensors import parameters

NEVER = 1_000_000


class Behind(HareTortoise):
    """A mistake: the average takes in the network as it was before the step."""

    name: ClassVar[str] = "behind"

    @rule("before_update", writes="slow")
    def follow(theta: Any, slow: Any, rate: Any) -> Any:
        return slow + rate * (theta - slow)


class FromTheStart(HareTortoise):
    """A mistake: after a return the tortoise begins where training began."""

    name: ClassVar[str] = "from-the-start"

    def between(self, learner: Any) -> None:
        first = [tensor.clone() for tensor in getattr(self, "first", self.slow)]
        vars(self).setdefault("first", [tensor.clone() for tensor in self.slow])
        super().between(learner)
        self.slow = first


def check_way(kind: type[HareTortoise], decay: float) -> None:
    """On a slope, P steps and a return go as far as P - d (1 - d^P) / (1 - d) steps."""
    slope, start, steps = normal(1, 5), normal(2, 5), 7

    def loss(network: Any, samples: Any) -> torch.Tensor:
        return (slope * network.flat()).sum()

    part = kind(decay=decay, optimizer=False)
    learner = FakeLearner(Point(start), loss, [part], lr=0.1)
    for returns in range(1, 5):
        learner.train(steps)
        part.between(learner)
        progress = returns * (steps - decay * (1 - decay**steps) / (1 - decay))
        found = learner.q_net.flat().detach()
        np.testing.assert_allclose(found, start - 0.1 * slope * progress, atol=1e-6)
        assert torch.equal(learner.q_net_target.flat(), learner.q_net.flat())


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_a_return_goes_as_far_back_as_the_closed_form(decay: float) -> None:
    check_way(HareTortoise, decay)


@pytest.mark.parametrize("kind", [Behind, FromTheStart])
def test_other_averages_are_elsewhere(kind: Any) -> None:
    with pytest.raises(AssertionError):
        check_way(kind, 0.5)


@tiny.EACH_ENGINE
def test_without_returns_it_is_the_dqn_bit_for_bit(engine: Any) -> None:
    plain = tiny.bits(tiny.live(tiny.agent(engine=engine)))
    for every, same in ((NEVER, True), (100, False)):
        part = HareTortoise(every=every, decay=0.9)
        agent = tiny.live(tiny.agent(part, engine=engine))
        assert agent.runs_compiled == (engine == "compiled")
        assert (tiny.bits(agent) == plain) == same
        assert part.last == (0 if same else 300)
        assert not all(map(torch.equal, part.slow, parameters(agent)))


@tiny.EACH_ENGINE
@pytest.mark.parametrize(("optimizer", "target"), [(True, True), (True, False), (False, True)])
def test_what_a_return_changes(engine: Any, optimizer: bool, target: bool) -> None:
    part = HareTortoise(every=NEVER, decay=0.9, optimizer=optimizer, target=target)
    agent = tiny.live(tiny.agent(part, engine=engine), 150)
    before = [tensor.detach().clone() for tensor in parameters(agent)]
    part.between(agent)
    assert all(map(torch.equal, parameters(agent), part.slow))
    assert not all(map(torch.equal, parameters(agent), before))
    followed = all(map(torch.equal, agent.q_net_target.parameters(), part.slow))
    assert followed == target
    assert bool(agent.optimizer.state) != optimizer
    tiny.live(agent, 60, reset_num_timesteps=False)
    assert agent.runs_compiled == (engine == "compiled")


def test_what_is_frozen_stays() -> None:
    part = HareTortoise(every=NEVER, decay=0.9)
    agent = tiny.live(tiny.agent(part), 150)
    bias = parameters(agent)[1]
    bias.requires_grad_(requires_grad=False)
    before = bias.clone()
    part.between(agent)
    assert torch.equal(bias, before)


def test_both_engines_return_to_the_same_place() -> None:
    both = [
        tiny.live(tiny.agent(HareTortoise(every=50, decay=0.9), engine=engine))
        for engine in ("torch", "compiled")
    ]
    pairs = zip(*map(parameters, both), strict=True)
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) < 1e-5


@pytest.mark.parametrize(("setting", "value"), [("every", 0), ("decay", 1.0), ("target", 2)])
def test_bad_settings_are_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=f"hare-tortoise: {setting}"):
        HareTortoise(**{setting: value})
