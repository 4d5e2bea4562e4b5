"""Concatenated ReLU: a constructed network, counts by hand, what is dead, and who refuses it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from fake_learner import normal
from torch import nn

from continual_arcade.agents import ContinualDQN, DQNSettings, build_agent
from continual_arcade.agents.crelu import CReLU, double_inputs
from continual_arcade.agents.hidden_units import hidden_units
from continual_arcade.agents.methods import make_part
from continual_arcade.agents.probes.plasticity import dormant_share
from continual_arcade.envs import make_game, shipped


def agent(*parts: Any, hidden: tuple[int, ...] = (6, 4), **policy: Any) -> ContinualDQN:
    return tiny.agent(*parts, policy={"net_arch": [*hidden], "activation_fn": CReLU, **policy})


def layers_of(learner: ContinualDQN, kind: type[Any] = nn.Linear) -> list[Any]:
    layers: Any = learner.q_net.q_net
    return [layer for layer in layers if isinstance(layer, kind)]


class Twice(CReLU):
    """A mistake: the same half twice."""

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        return torch.cat([units.relu(), units.relu()], dim=-1)


def check_identity(activation: nn.Module) -> None:
    """x = relu(x) - relu(-x): with the right weights two layers of it are the linear map W."""
    wanted = normal(1, 2, 5).float()
    network = nn.Sequential(nn.Linear(5, 5), activation, nn.Linear(5, 5), activation)
    network.append(nn.Linear(5, 2))
    double_inputs(network)
    with torch.no_grad():
        identity = torch.eye(5)
        for layer, weight in zip(network[::2], (identity, identity, wanted), strict=True):
            assert isinstance(layer, nn.Linear)
            wide = weight if layer is network[0] else torch.cat([weight, -weight], 1)
            layer.weight.copy_(wide)
            layer.bias.zero_()
    seen = normal(2, 20, 5).float()
    torch.testing.assert_close(network(seen), seen @ wanted.T)


def test_a_constructed_network_is_linear() -> None:
    check_identity(CReLU())


def test_other_halves_are_found() -> None:
    with pytest.raises(AssertionError):
        check_identity(Twice())


def test_both_halves_by_hand() -> None:
    units = normal(3, 4, 3)
    found = CReLU()(units).numpy()
    for row, given in zip(units.numpy(), found, strict=True):
        assert given.tolist() == [max(x, 0.0) for x in row] + [max(-x, 0.0) for x in row]


@pytest.mark.parametrize(
    "options", [{}, {"layer_norm": True}, {"dropout": 0.1}, {"layer_norm": True, "dropout": 0.1}]
)
def test_shapes_and_counts(options: dict[str, Any]) -> None:
    learner = agent(**options)
    inputs, actions = 8, 2
    shapes = [tuple(layer.weight.shape) for layer in layers_of(learner)]
    assert shapes == [(6, inputs), (4, 12), (actions, 8)]
    norms = 2 * (6 + 4) if options.get("layer_norm") else 0
    count = 6 * inputs + 6 + 4 * 2 * 6 + 4 + actions * 2 * 4 + actions + norms
    assert sum(tensor.numel() for tensor in learner.q_net.parameters()) == count
    kinds = [type(layer) for layer in learner.q_net.q_net]  # type: ignore[union-attr]
    if "dropout" in options:  # both halves of a unit need not be left out together
        assert kinds[kinds.index(nn.Dropout) - 1] is CReLU
    assert learner.q_net_target.state_dict().keys() == learner.q_net.state_dict().keys()


def test_the_count_on_the_page() -> None:
    counts = {}
    for activation in ("relu", "crelu"):
        settings = DQNSettings(activation=activation)  # type: ignore[arg-type]
        made = build_agent("FlappyBird", tiny.CONFLICT, settings)
        assert made.observation_space.shape == (8,)
        counts[activation] = sum(tensor.numel() for tensor in made.q_net.parameters())
    assert counts == {"relu": 4866, "crelu": 9090}


def test_hidden_units_are_both_halves() -> None:
    learner = agent(dropout=0.5)
    seen = normal(4, 30, 8).float().numpy()
    learner.q_net.eval()
    first, second, last = layers_of(learner)

    def halves(layer: Any, signal: torch.Tensor) -> torch.Tensor:
        units = layer(signal)
        return torch.cat([units.clamp(min=0), (-units).clamp(min=0)], 1)

    one = halves(first, torch.as_tensor(seen))
    two = halves(second, one)
    found = hidden_units(learner.q_net, seen)
    torch.testing.assert_close(found, [one.detach(), two.detach()])
    torch.testing.assert_close(learner.q_net(torch.as_tensor(seen)), last(two))


def test_a_unit_that_is_off_is_not_dormant_and_one_that_is_zero_is() -> None:
    seen = normal(5, 30, 8).float().numpy()
    shares = {}
    for activation in (nn.ReLU, CReLU):
        learner = tiny.agent(policy={"net_arch": [5], "activation_fn": activation})
        into = layers_of(learner)[0]
        with torch.no_grad():
            into.bias[:2] = -100.0
            into.weight[4], into.bias[4] = 0.0, 0.0
        shares[activation] = dormant_share(learner.q_net, seen, threshold=0.0)
    assert shares == {nn.ReLU: 0.6, CReLU: 0.2}


def test_filters_before_it_are_no_halves() -> None:
    seen = {"observation": "pixels", "screen_size": 21, "stack": 2}
    settings = DQNSettings(**{**vars(tiny.SETTINGS), "activation": "crelu", "engine": "torch"})
    schedule = shipped("conflict", make_game("Catcher", **seen)).with_steps(80)
    learner = build_agent("Catcher", schedule, settings, **seen)
    with torch.no_grad():
        for tensor in layers_of(learner)[0].parameters():
            tensor.zero_()
        for module in learner.q_net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.abs_()  # so that no filter is off
    pictures = np.random.default_rng(6).integers(0, 256, (9, *learner.observation_space.shape))
    share = dormant_share(learner.q_net, pictures.astype(np.uint8), threshold=0.0)
    assert share == 8 / (16 + 32 + 8)


def test_a_unit_that_is_off_learns() -> None:
    moved = {}
    for activation in (nn.ReLU, CReLU):
        learner = tiny.agent(policy={"net_arch": [5], "activation_fn": activation})
        into = layers_of(learner)[0]
        with torch.no_grad():
            into.bias[:] = -100.0
        before = into.weight.detach().clone()
        tiny.live(learner, 80)
        moved[activation] = not torch.equal(layers_of(learner)[0].weight, before)
    assert moved == {nn.ReLU: False, CReLU: True}


@pytest.mark.one_in(7)
@pytest.mark.parametrize(
    "part",
    ["agem", "clone", "ewc", "l2-init", "mas", "parseval", "si", "spectral", "trac", "upgd"],
)
def test_parts_learn_and_go_on_with_the_same_bits(part: str, tmp_path: Path) -> None:
    path = tmp_path / "half.zip"
    whole = agent(make_part(part))
    tiny.live(whole, callback=tiny.SaveAt(180, path))
    assert whole.engine_report == (
        "torch, because the network has a CReLU as layer 1; supported: linear layers with ReLU, or "
        "with Tanh, between them"
    )
    resumed = ContinualDQN.load(path, tiny.life(), "cpu")
    tiny.live(resumed, tiny.LIFE - resumed.num_timesteps, reset_num_timesteps=False)
    assert not list(tiny.differences(tiny.inside(whole), tiny.inside(resumed)))


def test_a_head_for_each_phase_goes_with_it() -> None:
    settings = DQNSettings(**{**vars(tiny.SETTINGS), "activation": "crelu", "heads": "per_phase"})
    learner = build_agent("FlappyBird", tiny.CONFLICT, settings, context="one-hot")
    assert layers_of(learner)[-1].weight.shape == (3 * 2, 2 * 8)
    tiny.live(learner, 100)
    assert np.isfinite(learner.last_td_loss)


@pytest.mark.parametrize("part", ["redo", "continual-backprop", "neurogenesis"])
def test_recyclers_refuse_it(part: str) -> None:
    with pytest.raises(ValueError, match=f"part '{part}' recycles units that give one number"):
        agent(make_part(part))


@pytest.mark.parametrize(("part", "option"), [("packnet", "subnetworks"), ("hat", "attention")])
def test_networks_of_phases_refuse_it(part: str, option: str) -> None:
    with pytest.raises(ValueError, match=f"activation CReLU with {option} = 3: its units give two"):
        agent(make_part(part))
    with pytest.raises(ValueError, match="activation CReLU with columns = 3"):
        agent(make_part("progressive"))


def test_who_needs_one_number_of_each_unit_refuses_it() -> None:
    with pytest.raises(ValueError, match=r"off_slope = 0\.1, but the network has no nn.ReLU"):
        agent(make_part("ewc", {"off_slope": 0.1}))
    with pytest.raises(ValueError, match="'pt-dqn' splits each hidden layer"):
        agent(make_part("pt-dqn"))
    with pytest.raises(ValueError, match=r"does not support this agent: .* CReLU"):
        tiny.agent(policy={"net_arch": [6], "activation_fn": CReLU}, engine="compiled")
