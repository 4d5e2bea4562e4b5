"""HAT: gates and their gradients by closed forms, and that what finished phases use never moves."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from isolated import (
    CONFLICT,
    ENGINES,
    PLAIN,
    SETTINGS,
    Notes,
    agent,
    check_comes_back,
    moved,
)

from continual_arcade.agents import METHODS, ContinualDQN, build_agent
from continual_arcade.agents.hidden_units import hidden_units
from continual_arcade.agents.methods import Method
from continual_arcade.agents.methods.hat import HAT
from continual_arcade.agents.methods.rules import rule
from continual_arcade.agents.networks import evaluation_mode
from continual_arcade.agents.told_networks import annealed

S_MAX = 400.0


@dataclass
class Noted(Notes, HAT):
    name: ClassVar[str] = "noted"

    def phase_end(self, learner: Any, phase: int) -> None:
        super().phase_end(learner, phase)
        vars(self)["weights"] = [p.detach().clone() for p in learner.q_net.parameters()]
        vars(self)["frozen"] = [free == 0 for free in self.free]


@dataclass
class Leaky(Noted):
    """Masks the gradient, as the source does, and leaves it to the optimiser to stand still."""

    name: ClassVar[str] = "leaky"

    @rule("constrain")
    def put_back(theta: Any, free: Any) -> Any:
        return theta


@dataclass
class Unmasked(Noted):
    """Lets weights that finished phases use have a gradient, and puts them back."""

    name: ClassVar[str] = "unmasked"

    @rule("project")
    def mask(gradient: Any, free: Any) -> Any:
        return gradient


@dataclass
class Forgets(Noted):
    """Protects weights between units of the first hidden layer and the second alone."""

    name: ClassVar[str] = "forgets"

    def _look_at(self, network: Any) -> None:
        super()._look_at(network)
        for free in (self.free[0], self.free[1]):
            free.fill_(1.0)


def small(kind: type[HAT] = HAT, **changes: Any) -> HAT:
    return kind(**{"c": 0.01, "cycle": 20, "rate": 30.0, **changes})


def learnt(part: HAT, engine: Any, steps: int = CONFLICT.total_steps, **changes: Any) -> Any:
    learner = agent(part, engine, **changes)
    learner.learn(steps)
    assert learner.runs_compiled == (engine == "compiled")
    return learner


# Closed forms, in double precision.


def test_a_compensated_gradient_is_that_of_the_largest_sharpness() -> None:
    """To 1e-12; which 1 - sigmoid in place of the sigmoid of the opposite is not."""
    worst = {"exact": 0.0, "planted": 0.0}
    for e in np.linspace(-6, 6, 49):
        for s in (1 / S_MAX, 0.1, 1.0, 5.0, 8.0):
            x = s * e
            by_gate = 1 / (1 + math.exp(-x)), 1 / (1 + math.exp(x))
            expected = S_MAX / (1 + math.exp(-e)) / (1 + math.exp(e))
            slopes = {"exact": by_gate[0] * by_gate[1], "planted": by_gate[0] * (1 - by_gate[0])}
            for which, slope in slopes.items():
                found = HAT.compensate(np.float64(e), s * slope, 0.0, 0.0, s, S_MAX)
                worst[which] = max(worst[which], abs(found / expected - 1))
    assert worst["exact"] < 1e-12
    assert worst["planted"] > 1e-9


def test_beyond_50_the_compensation_fades() -> None:
    for x, share in ((49.0, 1.0), (60.0, math.exp(-10.0)), (-60.0, math.exp(-10.0))):
        e = x / S_MAX
        slope = S_MAX / (1 + math.exp(-x)) / (1 + math.exp(x))
        found = HAT.compensate(np.float64(e), slope, 0.0, 0.0, S_MAX, S_MAX)
        expected = share * S_MAX / (1 + math.exp(-e)) / (1 + math.exp(e))
        assert found == pytest.approx(expected, rel=1e-9)


def test_the_cost_of_attention_has_this_gradient() -> None:
    rng = np.random.default_rng(0)
    e = torch.tensor(rng.normal(size=50), dtype=torch.float64, requires_grad=True)
    old = torch.tensor(rng.integers(0, 2, 50), dtype=torch.float64)
    for s in (0.01, 1.0, 10.0):
        cost = 0.75 * (torch.sigmoid(s * e) * (1 - old)).sum() / (1 - old).sum()
        (expected,) = torch.autograd.grad(cost, e)
        for planted in (False, True):
            asked = (1 - old) / (50 if planted else (1 - old).sum())
            # What is compensated, too, where the two sharpnesses are one: (cosh + 1) remains.
            found = HAT.compensate(e.detach(), 0.0 * e.detach(), asked, 0.75, s, s)
            found *= (torch.cosh(e.detach()) + 1) / (torch.cosh(s * e.detach()) + 1)
            assert torch.allclose(found, expected, rtol=1e-10, atol=1e-14) != planted


def test_the_sharpness_rises_from_its_inverse_to_the_largest() -> None:
    found = [HAT.anneal(float(k), 5.0, S_MAX) for k in range(5)]
    np.testing.assert_allclose(found, np.linspace(1 / S_MAX, S_MAX, 5), rtol=1e-12)
    assert HAT.anneal(0.0, 1.0, S_MAX) == S_MAX
    assert [HAT.go_on(float(k), 5.0) for k in range(5)] == [1, 2, 3, 4, 0]


def test_an_embedding_has_a_gradient_where_single_precision_has_no_1_minus_a() -> None:
    net = agent(small(), "torch").q_net
    with torch.no_grad():
        net.attention.embedding.fill_(0.5)
    with annealed(net, 60.0):
        gate = torch.cat(net.gates(net.finished))
    (found,) = torch.autograd.grad(gate.sum(), net.attention.embedding)
    assert found[0].numpy() == pytest.approx(60 * math.exp(-30), rel=1e-5)
    assert not found[1:].any()
    x = torch.full((1,), 30.0, requires_grad=True)  # what is planted: no gradient at all
    assert float(torch.autograd.grad(torch.sigmoid(x).sum(), x)[0]) == 0.0


def test_at_the_largest_sharpness_gates_are_nearly_0_or_1() -> None:
    learner = learnt(small(binarise=False), "compiled", 240)
    net = learner.q_net
    e = torch.tensor([[-6.0, -0.02, 0.02, 6.0] * 5] * 3)
    with torch.no_grad():
        net.attention.embedding.copy_(e)
    gates = torch.cat(net.gates(net.finished)).detach()
    assert bool(((gates - (e[1] > 0).float()).abs() < 1e-3).all())
    with annealed(net, 1.0):  # which soft ones are not
        soft = torch.cat(net.gates(net.finished)).detach()
    assert not bool(((soft - (e[1] > 0).float()).abs() < 1e-3).any(0).all())


# What is seen.


def test_an_observation_sees_the_gates_and_the_head_of_its_phase() -> None:
    learner = learnt(small(), "compiled")
    net = learner.q_net
    rng = np.random.default_rng(0)
    told = rng.integers(3, size=30)
    width = net.observation_space.shape[0] - 3
    rows = np.concatenate([rng.normal(size=(30, width)), np.eye(3)[told]], 1).astype(np.float32)
    with torch.no_grad():
        values = net(torch.from_numpy(rows)).numpy()
    units = hidden_units(net, rows)
    e = net.attention.embedding.detach().numpy().astype(np.float64)
    now = 1 / (1 + np.exp(-np.clip(400.0 * e[2], -500, 500)))
    gates = [*net.masks[:2].numpy(), now]
    wrong: list[bool] = []
    for row, phase, found, last in zip(rows, told, values, units[-1], strict=True):
        for mistaken in (False, True):
            gate = gates[(phase + 1) % 3 if mistaken else phase]
            x, at = row.astype(np.float64), 0
            for layer in list(net.q_net)[::2]:
                x = layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()
                if len(x) != 6:
                    x = np.maximum(x, 0.0) * gate[at : at + len(x)]
                    at, hidden = at + len(x), x
            if not mistaken:
                np.testing.assert_allclose(hidden, last, atol=1e-4)
                np.testing.assert_allclose(x[2 * phase : 2 * phase + 2], found, atol=1e-4)
            else:
                wrong.append(not np.allclose(x[2 * phase : 2 * phase + 2], found, atol=1e-4))
    assert np.mean(wrong) > 0.5


# What never moves again.


@tiny.EACH_ENGINE
def test_finished_phases_stay_as_they_are_to_the_bit(engine: Any) -> None:
    """By the last weights and by their average; which, if less is protected, they are not."""
    assert moved(small(Noted), engine) == []
    assert 0 in moved(small(Forgets), engine)


@tiny.EACH_ENGINE
def test_weights_between_used_units_stay_to_the_bit_with_adam(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are put back: moments of before, which are not forgotten here, would move them on."""
    reset = ContinualDQN.reinitialise

    def without(self: Any, network: bool, optimizer: bool, replay: bool) -> None:
        reset(self, network, optimizer=False, replay=replay)

    monkeypatch.setattr(ContinualDQN, "reinitialise", without)
    for kind, stays in ((Noted, True), (Leaky, False)):
        part = small(kind)
        learner = learnt(part, engine)
        seen = vars(part)
        same = [
            torch.equal(now[frozen], then[frozen])
            for now, then, frozen in zip(
                learner.q_net.parameters(), seen["weights"], seen["frozen"], strict=True
            )
        ]
        assert any(bool(frozen.any()) for frozen in seen["frozen"][:-1])
        assert all(same) == stays
        free = zip(learner.q_net.parameters(), seen["weights"], strict=True)
        assert not all(torch.equal(now, then) for now, then in free)


def test_masked_gradients_are_0_to_the_bit() -> None:
    for kind, masks in ((Noted, True), (Unmasked, False)):
        part = small(kind)
        learner = learnt(part, "torch", 300)
        assert int(learner.q_net.finished) == 2
        pairs = zip(learner.q_net.parameters(), part.free, strict=True)
        kept = torch.cat([p.grad[free == 0] for p, free in pairs])
        assert len(kept)
        assert bool((kept == 0).all()) == masks


def test_protection_is_1_minus_the_smaller_of_two_gates() -> None:
    """Weight by weight, with soft gates, too."""
    part = small(binarise=False)
    learner = agent(part, "torch")
    net = learner.q_net
    net.masks[:2] = torch.rand(2, 20, generator=torch.Generator().manual_seed(0))
    net.finished += 2
    used = net.masks[:2].amax(0)
    layers = [torch.ones(net.features_dim), used[:12], used[12:], torch.tensor([1.0] * 4 + [0] * 2)]
    free = net.free()
    for k, (into, out) in enumerate(pairwise(layers)):
        for i in range(len(out)):
            assert float(free[2 * k + 1][i]) == 1 - float(out[i])
            for j in range(len(into)):
                assert float(free[2 * k][i, j]) == 1 - min(float(out[i]), float(into[j]))
    assert free[-1].sum(1).tolist() == [0.0, 0.0, 20.0]
    costs = net.costs()[-1]
    torch.testing.assert_close(costs[2], (1 - used) / (1 - used).sum())
    assert not costs[:2].any()


@tiny.EACH_ENGINE
def test_a_soft_mask_scales_the_step_of_adam(engine: Any) -> None:
    part = small(binarise=False)
    learner = agent(part, engine)
    part.free = [torch.full_like(free, 0.25) for free in part.free]
    part.embedded = [torch.zeros_like(free) for free in part.free]
    learner.learn(40)
    before = [p.detach().clone() for p in learner.q_net.parameters()]
    learner.policy.optimizer.state.clear()
    learner.train(1, 16)
    rate = SETTINGS.learning_rate
    pairs = zip(learner.q_net.parameters(), before, strict=True)
    steps = torch.cat([(now - then).detach().abs().flatten() for now, then in pairs])
    # The first step of Adam is the learning rate, whatever the size of the gradient.
    assert float(steps.max()) == pytest.approx(0.25 * rate, rel=1e-2)


# As a part.


def test_both_engines_learn_the_same() -> None:
    of_both = [learnt(small(rate=1.0), engine, learning_rate=3e-4) for engine in ENGINES]
    apart = [
        float((a - b).detach().abs().max())
        for a, b in zip(*(one.q_net.parameters() for one in of_both), strict=True)
    ]
    assert max(apart) < 2e-4
    rows = of_both[0].replay.observations[:30, 0]
    for told in range(3):
        rows[:, -3:] = np.eye(3)[told]
        np.testing.assert_array_equal(
            *(one.predict(rows, deterministic=True)[0] for one in of_both)
        )


@pytest.mark.one_in(3)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_with_open_gates_it_is_the_dqn_with_a_head_for_each_phase(
    engine: Any, activation: Any
) -> None:
    """Bit for bit, in the first phase: embeddings of 6, and always s_max."""
    plain = replace(SETTINGS, engine=engine, activation=activation, heads="per_phase")
    other = build_agent("FlappyBird", CONFLICT, plain, 3, PLAIN, context="one-hot").learn(116)
    for planted in (False, True):
        learner = agent(HAT(c=0.0, cycle=3 if planted else 1), engine, activation=activation)
        with torch.no_grad():
            for net in (learner.q_net, learner.q_net_target):
                net.attention.embedding.fill_(6.0)
        learner.learn(116)
        *of_layers, embedding = learner.q_net.parameters()
        expected = other.q_net.parameters()
        same = [torch.equal(a, b) for a, b in zip(of_layers, expected, strict=True)]
        assert all(same) != planted
        assert bool((embedding == 6.0).all()) != planted


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    check_comes_back(small(), tmp_path)


def test_units_that_are_used_up_are_warned_of() -> None:
    part = small()
    learner = learnt(part, "torch", 60)
    with torch.no_grad():
        learner.q_net.attention.embedding[0] = 1.0
    with pytest.warns(
        UserWarning, match="hat: after 1 phases all units of a hidden layer are used"
    ):
        part.phase_end(learner, 0)
    part.log(learner)
    assert learner.logger.name_to_value["hat/used"] == 1.0
    assert 0 <= learner.logger.name_to_value["hat/open"] < 1


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"part 'hat' must be told the phase.*context = 'hidden'"):
        build_agent("FlappyBird", CONFLICT, SETTINGS, method=METHODS["hat"])
    with pytest.raises(ValueError, match=r"give policy_kwargs=\{'attention': 3\}"):
        tiny.agent(HAT(), policy={"attention": 1})
    with pytest.raises(ValueError, match="heads = 3 and attention = 3"):
        tiny.agent(policy={"heads": 3, "attention": 3})
    with pytest.raises(ValueError, match="layer_norm with attention = 3"):
        agent(HAT(), "torch", layer_norm=True)
    with pytest.raises(ValueError, match="without hidden layers there is nothing to gate"):
        agent(HAT(), "torch", hidden=())
    for name, value in {"c": -1.0, "s_max": 1.0, "cycle": 0, "rate": 0.0}.items():
        with pytest.raises(ValueError, match=f"hat: {name} = "):
            HAT(**{name: value})
    for other in ("packnet", "reptile", "reset", "redo", "hare-tortoise", "ewc", "gem"):
        with pytest.raises(ValueError, match=r"cannot be combined|exclude"):
            Method("both", "", parts=("hat", other))


def test_dropout_is_learnt_with_pytorch() -> None:
    learner = agent(small(), "auto", dropout=0.2)
    learner.learn(200)
    assert "Dropout" in learner.engine_report
    rows = torch.from_numpy(learner.replay.observations[:5, 0])
    with evaluation_mode(learner.q_net):
        assert torch.equal(learner.q_net(rows), learner.q_net(rows))
