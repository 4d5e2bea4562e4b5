"""PackNet: what belongs to whom, and that nobody's own ever moves again."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from gymnasium import spaces
from isolated import (
    CONFLICT,
    PLAIN,
    SETTINGS,
    Notes,
    agent,
    check_comes_back,
    moved,
    of_phase,
)
from torch import nn

from continual_arcade.agents import METHODS, ContinualDQN, build_agent
from continual_arcade.agents.hidden_units import hidden_units
from continual_arcade.agents.methods import Method, Part
from continual_arcade.agents.methods.clone import Clone
from continual_arcade.agents.methods.gem import GEM
from continual_arcade.agents.methods.l2 import L2
from continual_arcade.agents.methods.packnet import PackNet
from continual_arcade.agents.methods.rules import rule
from continual_arcade.agents.networks import ContinualPolicy
from continual_arcade.agents.told_networks import SubnetworksQNetwork
from continual_arcade.envs import Schedule


@dataclass
class Noted(Notes, PackNet):
    name: ClassVar[str] = "noted"


@dataclass
class Leaky(Noted):
    """Masks the gradient, as the original does, and leaves it to the optimiser to stand still."""

    name: ClassVar[str] = "leaky"

    @rule("constrain")
    def put_back(theta: Any, frozen: Any, held: Any) -> Any:
        return theta


@dataclass
class Forgets(Noted):
    """Does not freeze what later phases see as well."""

    name: ClassVar[str] = "forgets"

    def freeze(self, learner: Any, frozen: Any) -> None:
        newest = int(learner.q_net.finished) - 1
        owners = learner.q_net.owners
        only = iter([owner == newest for owner in owners])
        super().freeze(learner, [next(only) if f.ndim == 2 else f for f in frozen])


@tiny.EACH_ENGINE
def test_finished_phases_stay_as_they_are_to_the_bit(engine: Any) -> None:
    """By the last weights and by their average; which a leak, of any kind, is not."""
    assert moved(Noted(retrain=20), engine) == []
    assert moved(Leaky(retrain=20), engine) == []  # the optimiser was reset, and is Adam
    assert 0 in moved(Forgets(retrain=20), engine)


def test_momentum_of_the_optimiser_would_move_what_is_frozen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So it is put back, and the moments are forgotten: either would do, neither does not."""
    reset = ContinualDQN.reinitialise

    def without(self: Any, network: bool, optimizer: bool, replay: bool) -> None:
        reset(self, network, optimizer=False, replay=replay)

    monkeypatch.setattr(ContinualDQN, "reinitialise", without)
    assert moved(Noted(retrain=20), "torch") == []
    assert 0 in moved(Leaky(retrain=20), "torch")


@tiny.EACH_ENGINE
def test_each_phase_gets_the_same_share_of_each_layer(engine: Any) -> None:
    learner = agent(PackNet(retrain=5), engine)
    learner.learn(240)
    assert int(learner.q_net.finished) == 1
    for owner in learner.q_net.owners:
        assert int((owner == 0).sum()) == round(owner.numel() / 3)
        assert set(owner.unique().tolist()) == {-1, 0}
    learner.learn(CONFLICT.total_steps - 240, reset_num_timesteps=False)
    for owner in learner.q_net.owners:
        counts = [int((owner == p).sum()) for p in (-1, 0, 1)]
        assert sum(counts) == owner.numel()
        assert max(counts) - min(counts) <= 1
    target = learner.q_net_target
    assert all(map(torch.equal, learner.q_net.owners, target.owners))


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_it_keeps_the_largest_and_the_rest_begins_at_zero(average: float) -> None:
    part = PackNet(retrain=0)
    learner = agent(part, "torch", average=average)
    learner.learn(120)
    # With an average the agent is judged by it, and it is what is kept.
    kept_of = learner.averaged.q_net if average else learner.q_net
    before = [p.detach().clone() for p in kept_of.parameters() if p.ndim == 2]
    biases = [p.detach().clone() for p in kept_of.parameters() if p.ndim == 1]
    assert all(map(torch.equal, before, weights_of(learner.q_net))) == (not average)
    part.phase_end(learner, 0)
    now = [p for p in learner.q_net.parameters() if p.ndim == 2]
    for old, new, owner in zip(before, now, learner.q_net.owners, strict=True):
        kept = owner == 0
        assert old[kept].abs().min() >= old[~kept].abs().max()
        assert torch.equal(new[kept], old[kept])
        assert not new[~kept].any()
    found = [p for p in learner.q_net.parameters() if p.ndim == 1]
    assert all(map(torch.equal, biases, found))


def weights_of(network: Any) -> list[torch.Tensor]:
    return [p for p in network.parameters() if p.ndim == 2]


def test_retraining_moves_what_was_kept_and_nothing_else() -> None:
    part = PackNet(retrain=30)
    learner = agent(part, "torch")
    learner.learn(240)
    first = [p.detach().clone() for p in learner.q_net.parameters()]
    owners = [owner.clone() for owner in learner.q_net.owners]
    part.phase_end(learner, 1)
    now = list(learner.q_net.parameters())
    for old, new, owner in zip(first[::2], now[::2], owners, strict=True):
        new_owner = learner.q_net.owners[[o.shape for o in owners].index(owner.shape)]
        assert torch.equal(new[owner == 0], old[owner == 0])
        assert not new[new_owner < 0].any()
        assert not torch.equal(new[new_owner == 1], old[new_owner == 1])
    assert all(map(torch.equal, first[1::2], now[1::2]))  # biases are the first phase's


def test_an_observation_sees_the_weights_of_its_phase_and_of_earlier_ones() -> None:
    low, high = (np.float32([side] * 4 + [end] * 3) for side, end in ((-9, 0), (9, 1)))
    net: Any = ContinualPolicy(
        spaces.Box(low, high),
        spaces.Discrete(2),
        lambda _: 1e-3,
        net_arch=[6, 5],
        subnetworks=3,
    ).q_net
    assert isinstance(net, SubnetworksQNetwork)
    rng = np.random.default_rng(0)
    for owner in net.owners:
        owner.copy_(torch.from_numpy(rng.integers(-1, 2, tuple(owner.shape))))
    net.finished += 2
    told = rng.integers(3, size=30)
    rows = np.concatenate([rng.normal(size=(30, 4)), np.eye(3)[told]], 1).astype(np.float32)
    with torch.no_grad():
        values = net(torch.from_numpy(rows)).numpy()
        alone = np.concatenate([net(torch.from_numpy(row[None])).numpy() for row in rows])
    np.testing.assert_allclose(alone, values, atol=1e-6)
    # What probes are told of hidden units is of the same weights.
    last = hidden_units(net, rows)[-1]
    head, owner = net.q_net[-1], net.owners[-1]
    for mistaken in (False, True):
        given = []
        for units, phase in zip(last.roll(1, 0) if mistaken else last, told.tolist(), strict=True):
            sees = (owner >= 0) & (owner <= phase) if phase < 2 else torch.ones_like(owner).bool()
            given.append(units @ torch.where(sees, head.weight, 0.0).T + head.bias)
        close = np.allclose(torch.stack(given).detach().numpy(), values, atol=1e-5)
        assert close != mistaken
    for row, phase, found in zip(rows, told, values, strict=True):
        for mistaken in (False, True):
            x = row
            sees = phase + 1 if mistaken else phase
            for layer, owner in zip(list(net.q_net)[::2], net.owners, strict=True):
                weight = layer.weight.detach().numpy().copy()
                if sees < 2:
                    mask = owner.numpy()
                    weight[(mask < 0) | (mask > sees)] = 0.0
                x = weight @ x + layer.bias.detach().numpy()
                x = x if len(x) == 2 else np.maximum(x, 0.0)
            assert np.allclose(x, found, atol=1e-5) == (not mistaken or phase == 2)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    check_comes_back(PackNet(retrain=10), tmp_path)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"part 'packnet' must be told the phase.*context = 'hidd"):
        build_agent("FlappyBird", CONFLICT, SETTINGS, method=METHODS["packnet"])
    told: dict[str, Any] = {"method": METHODS["packnet"], "context": "one-hot"}
    with pytest.raises(
        ValueError, match=r"packnet. uses .* for each phase, and schedule .* but one"
    ):
        build_agent("FlappyBird", CONFLICT.single(1), SETTINGS, **told)
    with pytest.raises(ValueError, match=r"part 'packnet' uses .* for each phase, and tasks = 1"):
        build_agent(
            "FlappyBird", CONFLICT, replace(SETTINGS, tasks=1), **{**told, "context": "inferred"}
        )
    with pytest.raises(ValueError, match=r"give policy_kwargs=\{'subnetworks': 3\}"):
        tiny.agent(PackNet(), policy={"subnetworks": 1})
    with pytest.raises(ValueError, match="heads = 3 and subnetworks = 3"):
        tiny.agent(policy={"heads": 3, "subnetworks": 3})
    with pytest.raises(ValueError, match="packnet: retrain = -1 must be"):
        PackNet(retrain=-1)
    for other in ("upgd", "reptile", "reset"):
        with pytest.raises(ValueError, match=r"cannot be combined|exclude"):
            Method("both", "", parts=("packnet", other))
    first, second, third = CONFLICT.phases
    drifting = Schedule("drifting", (replace(first, until=second.params), second, third))
    assert drifting.boundaries == (240,)
    with pytest.raises(ValueError, match="'drifting' a phase drifts into the next one"):
        agent(PackNet(retrain=0), "torch", drifting)


@pytest.mark.parametrize("option", [{"layer_norm": True}, {"dropout": 0.2}])
def test_weights_belong_to_phases_behind_normalisation_and_dropout_too(option: Any) -> None:
    part = Noted(retrain=3)
    learner = agent(part, "torch", **option)
    learner.learn(CONFLICT.total_steps, log_interval=None)
    learner.policy.set_training_mode(False)
    net: Any = learner.q_net
    assert [owner.shape for owner in net.owners] == [weight.shape for weight in net.weights]
    assert {*net.bounds()} >= {name for name, _ in net.named_buffers() if "owner" in name}
    for phase in (0, 1):
        assert all(bool((owner == phase).any()) for owner in net.owners)
        assert torch.equal(of_phase(net, phase), vars(part)["said"][phase])


def test_other_parts_look_at_what_is_kept_in_whatever_order_they_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lived(*parts: Part) -> bytes:
        env = tiny.life(CONFLICT, context="one-hot")
        learner = tiny.agent(*parts, env=env, engine="torch")
        learner.learn(CONFLICT.phases[0].steps + 80, log_interval=None)
        return tiny.bits(learner)

    def in_both_orders() -> set[bytes]:
        return {lived(L2(lam=10.0), PackNet(retrain=0)), lived(PackNet(retrain=0), L2(lam=10.0))}

    assert len(in_both_orders()) == 1
    # What is planted: parts are told in the order in which they are listed.
    monkeypatch.setattr(PackNet, "settles", False)
    assert len(in_both_orders()) == 2


@pytest.mark.parametrize("retrain", [0, 5])
def test_what_somebody_else_has_frozen_is_refused_before_it_is_pruned(retrain: int) -> None:
    learner = agent(PackNet(retrain=retrain), "torch")
    weight = learner.q_net.weights[0]
    weight.requires_grad_(requires_grad=False)
    before = weight.clone()
    with pytest.raises(ValueError, match=r"part 'packnet' .* is frozen: set its requires_grad"):
        learner.learn(CONFLICT.total_steps)
    assert torch.equal(weight, before)


def test_of_one_phase_it_is_the_dqn() -> None:
    """Bit for bit: nothing is pruned before a phase ends, and the last one never is."""
    alone = Schedule("alone", CONFLICT.phases[:1])
    plain = build_agent("FlappyBird", alone, SETTINGS, 3, PLAIN, context="one-hot")
    two = Schedule("two", CONFLICT.phases[:2])
    packed = agent(PackNet(), "torch", two)
    other = build_agent(
        "FlappyBird", two, replace(SETTINGS, engine="torch"), 3, PLAIN, context="one-hot"
    )
    for learner in (packed, other):
        learner.learn(118)
    assert all(map(torch.equal, packed.q_net.parameters(), other.q_net.parameters()))
    assert isinstance(plain.q_net, nn.Module)


@pytest.mark.parametrize("kind", [Clone, GEM])
def test_what_is_kept_of_finished_phases_is_seen_by_their_weights(kind: Any) -> None:
    """Compiled code would see it by all weights: so PyTorch learns, and says why."""
    agents = []
    for engine in ("torch", "auto"):
        parts = [PackNet(retrain=5), kind(**({"alpha": 5.0} if kind is Clone else {}))]
        agents.append(tiny.live(tiny.agent(*parts, engine=engine), tiny.PHASE + 80))
    assert f"part {kind.name!r} learns from what it keeps" in agents[1].engine_report
    assert tiny.bits(agents[0]) == tiny.bits(agents[1])
    with pytest.raises(ValueError, match="which may be of finished phases"):
        tiny.agent(PackNet(), kind(), engine="compiled")
