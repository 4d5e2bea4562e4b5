"""Recycled units: who is chosen, what becomes of them, and what must not change."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import floor
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from torch import nn

from continual_arcade.agents import METHODS, ContinualDQN, build_agent
from continual_arcade.agents.averaging import WeightAverage
from continual_arcade.agents.engines import eligibility
from continual_arcade.agents.engines.env_loop import EnvLoop
from continual_arcade.agents.engines.game_loop import GameLoop
from continual_arcade.agents.hidden_units import hidden_units
from continual_arcade.agents.methods import Part, make_part
from continual_arcade.agents.methods.continual_backprop import ContinualBackprop
from continual_arcade.agents.methods.neurogenesis import Neurogenesis
from continual_arcade.agents.methods.recycler import Hidden, Recycler
from continual_arcade.agents.methods.redo import ReDo, dormant
from continual_arcade.agents.probes.plasticity import dormant_share

BUSY: dict[str, dict[str, Any]] = {
    "redo": {"every": 36, "tau": 0.6},
    "neurogenesis": {"every": 36, "rate": 0.2},
    "continual-backprop": {"every": 36, "rate": 0.02, "maturity": 9},
}
NEUTRAL: dict[str, dict[str, Any]] = {
    "redo": {"every": 36, "tau": 0.6, "apply": False},
    "neurogenesis": {"every": 36, "rate": 0.0},
    "continual-backprop": {"every": 36, "rate": 0.0, "maturity": 0},
}


@dataclass
class Named(Recycler):
    """Recycles the units that it is told."""

    name: ClassVar[str] = "named"
    units: dict[int, list[int]] = field(default_factory=dict)

    def choose(self, index: int, hidden: Hidden, said: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.units.get(index, []), dtype=torch.int64)


class Transferring(Named):
    transfers: ClassVar[bool] = True


class KeepsOutgoing(Named):
    """A mistake: what is drawn again still has its say."""

    def recycle(self, hidden: Hidden, *given: Any) -> None:
        before = hidden.out.weight.detach().clone()
        super().recycle(hidden, *given)
        with torch.no_grad():
            hidden.out.weight.copy_(before)


def learnt(part: Part, engine: Any = "torch", **changes: Any) -> ContinualDQN:
    """Return an agent of two hidden layers, which has learnt while nothing was due."""
    policy = {"net_arch": [8, 6], **changes.pop("policy", {})}
    return tiny.live(tiny.agent(part, engine=engine, policy=policy, **changes), tiny.PHASE)


def silence(agent: ContinualDQN, layer: int, unit: int) -> None:
    """Let a unit be dead, in both networks."""
    for network in (agent.q_net, agent.q_net_target):
        into = linears(network)[layer]
        with torch.no_grad():
            into.weight[unit], into.bias[unit] = 0.0, -1.0


def linears(network: Any) -> list[Any]:
    return [layer for layer in network.q_net if isinstance(layer, nn.Linear)]


def values(network: Any) -> torch.Tensor:
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32))
    with torch.no_grad():
        found: torch.Tensor = network(rows)
    return found


# --- what becomes of units ------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 1])
def test_a_dead_unit_leaves_the_values_as_they_are_and_a_live_one_does_not(layer: int) -> None:
    for unit, lives in ((2, False), (3, True)):
        part = Named(units={layer: [unit]})
        agent = learnt(part)
        silence(agent, layer, 2)
        with torch.no_grad():  # one that says something of every observation
            linears(agent.q_net)[layer].bias[3] = 5.0
        for network in (agent.q_net, agent.q_net_target):
            before = values(network)
            weights = linears(network)[layer].weight[unit].clone()
            agent.parts[0].between(agent)
            assert not torch.equal(linears(network)[layer].weight[unit], weights)
            if network is agent.q_net:
                assert torch.equal(values(network), before) != lives


def test_outgoing_weights_that_stay_change_what_is_said() -> None:
    for kind, same in ((Named, True), (KeepsOutgoing, False)):
        agent = learnt(kind(units={0: [2]}))
        silence(agent, 0, 2)
        before = values(agent.q_net)
        agent.parts[0].between(agent)
        assert torch.equal(values(agent.q_net), before) == same


@tiny.EACH_ENGINE
def test_weights_are_drawn_and_moments_forgotten_of_these_units_alone(engine: Any) -> None:
    part = Named(units={0: [1, 4], 1: [5]})
    agent = learnt(part, engine)
    before = [tensor.detach().clone() for tensor in agent.q_net.parameters()]
    moments = copy.deepcopy(agent.optimizer.state_dict()["state"])
    part.between(agent)
    masks = [torch.zeros_like(tensor, dtype=torch.bool) for tensor in before]
    for layer, units in part.units.items():
        masks[2 * layer][units] = masks[2 * layer + 1][units] = True
        masks[2 * layer + 2][:, units] = True
    now = agent.optimizer.state_dict()["state"]
    for i, (mask, tensor) in enumerate(zip(masks, agent.q_net.parameters(), strict=True)):
        assert torch.equal(tensor[~mask], before[i][~mask])
        for name in ("exp_avg", "exp_avg_sq"):
            assert not now[i][name][mask].any()
            assert torch.equal(now[i][name][~mask], moments[i][name][~mask])
            assert bool(moments[i][name].any())
        assert now[i]["step"] == moments[i]["step"]
    first, second, last = linears(agent.q_net)
    for into, units, out in ((first, [1, 4], second), (second, [5], last)):
        kept = [unit for unit in range(into.out_features) if unit not in units]
        fresh = into.weight.detach()[units]
        if into is second:  # what the first layer's units give to it is 0, too
            fresh = fresh[:, [0, 2, 3, 5, 6, 7]]
        assert bool((fresh.abs() <= into.in_features**-0.5).all())
        assert float(fresh.abs().min()) > 0
        assert not into.bias[units].any()
        assert not out.weight[:, units].any()
        assert bool(out.weight[:, kept].any())
    assert agent.runs_compiled == (engine == "compiled")


def test_drawn_weights_are_uniform_over_the_range_of_the_layer() -> None:
    part = Named()
    tiny.agent(part)
    drawn = part.draw(nn.Linear(16, 3), (10_000,)).numpy()
    assert abs(drawn).max() <= 0.25
    assert drawn.var() == pytest.approx(0.25**2 / 3, rel=0.05)
    assert drawn.mean() == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("target", [True, False])
def test_the_target_network_goes_along_or_stays(target: bool) -> None:
    part = Named(units={0: [1]}, target=target)
    agent = learnt(part)
    before = copy.deepcopy(agent.q_net_target.state_dict())
    part.between(agent)
    online, followed = linears(agent.q_net), linears(agent.q_net_target)
    assert torch.equal(online[0].weight[1], followed[0].weight[1]) == target
    assert bool(followed[1].weight[:, 1].any()) != target
    others = [unit for unit in range(8) if unit != 1]
    assert torch.equal(followed[0].weight[others], before["q_net.0.weight"][others])
    if not target:
        assert not [*tiny.differences(dict(agent.q_net_target.state_dict()), dict(before))]


@pytest.mark.parametrize("kind", [Transferring, Named])
def test_a_transfer_keeps_the_mean_of_what_the_next_layer_is_given(kind: Any) -> None:
    part = kind(units={0: [0, 3, 5]})
    agent = learnt(part)
    replay, rng = agent.replay, copy.deepcopy(part.rng)
    slots = replay.stored_slots()
    seen = replay.observations[slots[rng.integers(len(slots), size=part.batch)], 0]

    def means(network: Any) -> torch.Tensor:
        units = hidden_units(network, seen)[0]
        with torch.no_grad():
            found: torch.Tensor = linears(network)[1](units).mean(0)
        return found

    networks = (agent.q_net, agent.q_net_target)
    before = [means(network) for network in networks]
    gave = [hidden_units(network, seen)[0][:, [0, 3, 5]].mean() for network in networks]
    assert min(gave) > 0.01
    part.between(agent)
    kept = [torch.allclose(means(n), b, atol=1e-6) for n, b in zip(networks, before, strict=True)]
    assert kept == [part.transfers] * 2


def test_layer_normalisation_of_a_unit_begins_again_too() -> None:
    part = Named(units={0: [1]})
    agent = learnt(part, policy={"layer_norm": True})
    (first, _) = (m for m in agent.q_net.q_net if isinstance(m, nn.LayerNorm))
    assert first.weight[1] != 1
    other = first.weight[0].clone()
    part.between(agent)
    assert (first.weight[1], first.bias[1], first.weight[0]) == (1, 0, other)
    assert not agent.optimizer.state[first.weight]["exp_avg"][1]


def test_what_is_frozen_is_left_alone() -> None:
    part = Neurogenesis(every=36, rate=1.0)
    agent = learnt(part)
    linears(agent.q_net)[0].weight.requires_grad_(requires_grad=False)
    before = [tensor.detach().clone() for tensor in linears(agent.q_net)[0].parameters()]
    rows = linears(agent.q_net)[1].weight.clone()
    part.between(agent)
    assert all(map(torch.equal, linears(agent.q_net)[0].parameters(), before))
    assert not torch.equal(linears(agent.q_net)[1].weight, rows)
    # And of the other layer so many units begin again as of one beside a layer that is not frozen.
    part.rate, part.looks, part.recycled = 0.1, 0, 0
    for _ in range(20):
        part.between(agent)
    assert (part.recycled, part.looks) == (2 * len(rows), 20)


# --- who is chosen --------------------------------------------------------------------------------


def test_dormant_units_by_hand() -> None:
    said = torch.tensor([[4.0, 0.1, 0.0, -1.0, 0.0], [4.0, -0.2, 0.0, 2.0, 0.0]])
    # Means of absolute values: 4, 0.15, 0, 1.5, 0; of the layer: 1.13.
    assert dormant(said, 0.1).tolist() == [2, 4]
    assert dormant(said, 0.14).tolist() == [1, 2, 4]
    assert dormant(said, 0.0).tolist() == [2, 4]
    assert dormant(torch.zeros(3, 2), 0.0).tolist() == [0, 1]
    assert dormant(said[:, :2].mean(0, keepdim=True), 0.05).tolist() == [1]  # signs cancelled


def test_dormant_units_are_those_that_the_probe_counts() -> None:
    part = ReDo(tau=0.5)
    agent = learnt(part)
    seen = agent.replay.observations[agent.replay.stored_slots(), 0]
    chosen = [len(dormant(said, 0.5)) for said in hidden_units(agent.q_net, seen)]
    assert sum(chosen) / 14 == dormant_share(agent.q_net, seen, 0.5)
    assert 0 < sum(chosen) < 14


@pytest.mark.parametrize("rate", [0.0, 0.03, 0.1, 1.0])
def test_turnover_at_random_adds_up_exactly(rate: float) -> None:
    part = Neurogenesis(rate=rate)
    tiny.agent(part)
    said, total, met = torch.zeros(4, 10), 0, set()
    for look in range(1, 101):
        part.looks = look
        units = part.choose(0, None, said)  # type: ignore[arg-type]
        part.choose(1, None, said)  # type: ignore[arg-type]
        assert len(set(units.tolist())) == len(units)
        total += len(units)
        met |= set(units.tolist())
        assert total == floor(Fraction(str(rate)) * 10 * look)
    assert len(met) == 10 or rate < 0.1


def hidden_layer(weights: list[float]) -> Hidden:
    into, out = nn.Linear(2, len(weights)), nn.Linear(len(weights), 1)
    with torch.no_grad():
        out.weight.copy_(torch.tensor([weights]))
    return Hidden(into, [], out)


def alone(size: int, **settings: Any) -> ContinualBackprop:
    """Return a part for one layer."""
    part = ContinualBackprop(**settings)
    tiny.agent(part, policy={"net_arch": [size]})
    return part


def test_utility_is_the_average_of_its_closed_form() -> None:
    part, hidden = alone(3, decay=0.8, rate=0.0), hidden_layer([2.0, -1.0, 0.5])
    rng = np.random.default_rng(0)
    signals = rng.normal(size=(7, 4, 3))
    for signal in signals:
        part.choose(0, hidden, torch.from_numpy(signal))
    sizes = np.abs(signals).mean(1) * [2.0, 1.0, 0.5]
    weights = 0.2 * 0.8 ** np.arange(6, -1, -1)
    np.testing.assert_allclose(part.utility[0], weights @ sizes, rtol=1e-12)
    assert part.looks[0].tolist() == [7, 7, 7]


class Uncorrected(ContinualBackprop):
    """A mistake: averages of young units are too small beside those of old ones."""

    def choose(self, index: int, hidden: Hidden, said: torch.Tensor) -> torch.Tensor:
        self.looks[index] += 10_000
        chosen = super().choose(index, hidden, said)
        self.looks[index] -= 10_000
        return chosen


@pytest.mark.parametrize("kind", [ContinualBackprop, Uncorrected])
def test_the_least_useful_goes_however_young_it_is(kind: Any) -> None:
    part, hidden = kind(maturity=0, rate=0.0), hidden_layer([1.0, 1.0, 1.0])
    tiny.agent(part, policy={"net_arch": [3]})
    said = torch.tensor([[3.0, 2.0, 5.0]])
    for look in range(20):
        if look == 19:  # the most useful one is new, and has been looked at once
            part.utility[0][2], part.looks[0][2] = 0.0, 0
            part.owed[0] += 1
        part.updates += 1
        chosen = part.choose(0, hidden, said)
    assert chosen.tolist() == ([1] if kind is ContinualBackprop else [2])


@pytest.mark.parametrize(
    ("maturity", "step"), [(0, 5), (12, 5), (40, 7)], ids=["at once", "soon", "later"]
)
def test_replacements_add_up_exactly_and_respect_maturity(maturity: int, step: int) -> None:
    part = alone(8, maturity=maturity, rate=0.01)
    hidden, rng = hidden_layer([1.0] * 8), np.random.default_rng(1)
    born, owed, total, at = [0] * 8, Fraction(0), 0, 0
    for _ in range(100):
        at += step
        part.updates = at
        chosen = part.choose(0, hidden, torch.from_numpy(rng.random((4, 8)))).tolist()
        part.before = at
        mature = [unit for unit in range(8) if at - born[unit] > maturity]
        owed += Fraction(1, 100) * len(mature) * step
        assert len(chosen) == floor(owed)
        assert set(chosen) <= set(mature)
        owed -= len(chosen)
        total += len(chosen)
        for unit in chosen:
            born[unit] = at
    assert part.born[0].tolist() == born
    assert total == 40 if maturity == 0 else 0 < total < 8 * step


@tiny.EACH_ENGINE
def test_gradient_steps_are_counted(engine: Any) -> None:
    part = ContinualBackprop(every=36)
    agent = tiny.live(tiny.agent(part, engine=engine, gradient_steps=3))
    assert part.updates == agent._n_updates > 100
    assert part.before == part.updates - 3 * ((agent.num_timesteps - part.last) // 4)


# --- when it acts, in both engines ----------------------------------------------------------------


@dataclass
class Clock(Part):
    """Notes when it is called."""

    name: ClassVar[str] = "clock"
    every: int = 50
    seen: list[Any] = field(default_factory=list)

    def next_due(self, learner: Any) -> int | None:
        last = self.seen[-1][0] if self.seen else 0
        return None if last >= 260 else (last // self.every + 1) * self.every

    def between(self, learner: Any) -> None:
        assert not learner.policy.training
        self.seen.append((learner.num_timesteps, learner._n_updates, learner.replay.seen))


def calls(engine: Any, env: Callable[[], Any], **changes: Any) -> list[Any]:
    clock = Clock()
    agent = tiny.live(tiny.agent(clock, engine=engine, env=env(), **changes))
    assert agent.runs_compiled == (engine == "compiled")
    kind = EnvLoop if isinstance(env(), tiny.Corridor) else GameLoop
    assert engine == "torch" or isinstance(agent._fused, kind)
    return clock.seen


@pytest.mark.one_in(3)
@pytest.mark.parametrize("train_freq", [1, 3])
@pytest.mark.parametrize("env", [tiny.life, tiny.Corridor], ids=["games", "an environment"])
def test_both_engines_call_between_the_same_steps(
    env: Any, train_freq: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torchs = calls("torch", env, train_freq=train_freq)
    assert calls("compiled", env, train_freq=train_freq) == torchs
    count = 1 if env is tiny.Corridor else tiny.NUM_ENVS
    rollout = count * train_freq
    due = [-(-step // rollout) * rollout for step in range(50, 301, 50)]
    assert [step for step, *_ in torchs] == due
    for step, updates, _ in torchs:  # all that was played is learnt from
        assert abs(updates - (step - tiny.LEARNING_STARTS) // rollout) <= 1
    # An engine that forgets to stop calls late.
    harmless = eligibility._OF_AGENT | {"next_due"}
    monkeypatch.setattr(eligibility, "_OF_AGENT", harmless)
    monkeypatch.setattr(ContinualDQN, "next_due", 10_000)
    assert calls("compiled", env, train_freq=train_freq) != torchs


def test_how_long_a_compiled_loop_lasts_makes_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It depends on the clock on the wall."""
    found = set()
    for longest in (1, 5, 4096):
        monkeypatch.setattr(GameLoop, "_longest", lambda _, steps=longest: steps)
        part = make_part("continual-backprop", BUSY["continual-backprop"])
        found.add(tiny.bits(tiny.live(tiny.agent(part, engine="compiled"))))
    assert len(found) == 1


@tiny.EACH_ENGINE
@pytest.mark.parametrize("name", NEUTRAL)
def test_what_recycles_nothing_is_the_dqn_bit_for_bit(name: str, engine: Any) -> None:
    plain = tiny.bits(tiny.live(tiny.agent(engine=engine)))
    for settings, same in ((NEUTRAL, True), (BUSY, False)):
        agent = tiny.live(tiny.agent(make_part(name, settings[name]), engine=engine))
        assert (tiny.bits(agent) == plain) == same
        part: Any = agent.parts[0]
        assert bool(part.recycled) != same
        assert part.last > 300


@pytest.mark.parametrize("name", BUSY)
def test_another_run_is_looked_at_too(name: str) -> None:
    agent = tiny.live(tiny.agent(make_part(name, BUSY[name])))
    part: Any = agent.parts[0]
    agent.set_env(tiny.life())
    tiny.live(agent, 100)
    assert tiny.LIFE + 72 <= part.last <= tiny.LIFE + 100


@tiny.EACH_ENGINE
def test_the_average_of_the_weights_goes_on(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the units that were not recycled; without knowing of these it would begin again."""

    def averaged_over() -> tuple[ContinualDQN, int]:
        part = Neurogenesis(every=40, rate=0.1)
        agent = tiny.live(tiny.agent(part, engine=engine, average=0.99))
        assert part.recycled > 0
        assert agent.weight_average is not None
        return agent, agent.weight_average.updates

    agent, updates = averaged_over()
    assert updates == agent._n_updates
    average: Any = agent.weight_average
    part = Named(units={0: [1]})
    part.bind(agent, np.random.default_rng(0))
    before = [tensor.detach().clone() for tensor in average.parameters]
    part.between(agent)
    average.jump(agent.q_net)
    assert torch.equal(average.parameters[0][1], linears(agent.q_net)[0].weight[1])
    assert torch.equal(average.parameters[0][2:], before[0][2:])
    monkeypatch.setattr(WeightAverage, "jump", lambda *_: None)
    assert averaged_over()[1] < agent._n_updates


# --- what is told and refused ---------------------------------------------------------------------


def test_it_tells_what_it_found() -> None:
    part = ReDo(every=36, tau=0.6)
    agent = tiny.live(tiny.agent(part))
    recycled, share = part.recycled, part.dormant / part.found
    part.log(agent)
    told = agent.logger.name_to_value
    assert told["redo/recycled"] == recycled > 0
    assert told["redo/dormant_share"] == share
    assert 0 < share < 1
    assert part.recycled == part.found == 0


def test_a_replay_memory_of_others_is_refused() -> None:
    with pytest.raises(ValueError, match="ReplayBuffer does not tell where transitions are"):
        tiny.agent(ReDo(), replay=ReplayBuffer, n_steps=1)


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("redo", "tau", -0.1),
        ("redo", "every", 0),
        ("neurogenesis", "rate", 1.5),
        ("neurogenesis", "outgoing", "one"),
        ("continual-backprop", "maturity", -1),
        ("continual-backprop", "decay", 1.0),
    ],
)
def test_bad_settings_are_refused_by_name(name: str, setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*{setting}"):
        make_part(name, {setting: value})


@pytest.mark.parametrize("name", ["redo", "continual-backprop", "neurogenesis"])
def test_several_first_layers_are_refused_by_name(name: str) -> None:
    settings = replace(tiny.SETTINGS, inputs="per_phase")
    method = METHODS[name]
    with pytest.raises(ValueError, match="inputs = 'per_phase' there are several first ones"):
        build_agent("FlappyBird", tiny.CONFLICT, settings, 0, method, context="one-hot")
