"""Units that are off have no importance, and the log says how many parameters that leaves free."""

from typing import Any

import pytest
import tiny
import torch
from torch import nn

from continual_arcade.agents import ContinualDQN
from continual_arcade.agents.methods import make_part
from continual_arcade.agents.methods.importance import fisher_gauss, zero_shares

HIDDEN, FEATURES, ACTIONS, DEAD = 8, 8, 2, 3
OF_WEIGHTS_OUT = DEAD * ACTIONS / ((HIDDEN + 1) * ACTIONS)


def planted(network: Any, dead: int = DEAD) -> None:
    """Let so many units be off, whatever is seen, and all others be on."""
    with torch.no_grad():
        network.q_net[0].weight.mul_(0.1)
        network.q_net[0].bias.fill_(1.0)
        network.q_net[0].bias[:dead] = -100.0


def logged(name: str, engine: Any, activation: type[nn.Module], dead: int = DEAD) -> list[float]:
    """What is logged at the end of the first phase, layer by layer."""
    settings = {"lam": 1e-6, **({} if name == "si" else {"samples": 50})}
    agent = tiny.agent(
        make_part(name, settings),
        engine=engine,
        learning_rate=1e-4,
        policy={"activation_fn": activation},
    )
    for network in (agent.q_net, agent.q_net_target):
        planted(network, dead)
    tiny.live(agent, tiny.PHASE + 2 * tiny.NUM_ENVS)
    assert agent.runs_compiled == (engine == "compiled")
    assert agent._n_updates > 10
    values = agent.logger.name_to_value
    found = {key: value for key, value in values.items() if "zero_importance" in key}
    assert list(found) == [f"{name}/zero_importance_layer_{layer}" for layer in (0, 1)]
    return list(found.values())


@tiny.EACH_ENGINE
@pytest.mark.parametrize("name", ["ewc", "online-ewc", "si", "mas"])
def test_units_that_are_off_are_counted(name: str, engine: str) -> None:
    expected = pytest.approx([DEAD / HIDDEN, OF_WEIGHTS_OUT])
    assert logged(name, engine, nn.ReLU) == expected
    assert logged(name, engine, nn.ReLU, dead=0) == [0.0, 0.0]


@tiny.EACH_ENGINE
@pytest.mark.parametrize("name", ["ewc", "si"])
def test_a_tanh_that_is_saturated_still_says_something(name: str, engine: str) -> None:
    """What enters such a unit does not matter; what leaves it does."""
    assert logged(name, engine, nn.Tanh) == [DEAD / HIDDEN, 0.0]


def test_layers_are_modules_with_parameters() -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))
        network[1].weight[0], network[1].bias[0] = 0.0, -1.0
        states = torch.randn(20, 3)
    found = zero_shares(network, fisher_gauss(network, states))
    # Nothing comes back through a ReLU that is off, nor leaves it.
    assert found == [0.0, pytest.approx(2 / 8), pytest.approx(2 / 10)]


def test_l2_has_none_to_tell_of() -> None:
    agent: ContinualDQN = tiny.live(tiny.agent(make_part("l2", {"lam": 1e-6})), tiny.PHASE + 8)
    assert not [key for key in agent.logger.name_to_value if "zero_importance" in key]
