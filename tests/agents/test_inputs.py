"""A first hidden layer for each phase: who chooses it, and that no other is moved."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import NatureCNN
from torch import nn

from continual_arcade.agents import (
    METHODS,
    ContinualDQN,
    DQNSettings,
    build_agent,
    make_training_env,
)
from continual_arcade.agents.hidden_units import hidden_units
from continual_arcade.agents.methods import make_part
from continual_arcade.agents.methods.importance import fisher_policy
from continual_arcade.agents.networks import ContinualPolicy
from continual_arcade.agents.told_networks import PhaseInputs
from continual_arcade.envs import make_game, shipped

GAME, STEPS, PHASES = "AdditionFacts", 60, 2
SCHEDULE = shipped("conflict", make_game(GAME)).with_steps(STEPS)
SETTINGS = DQNSettings(
    num_envs=1,
    hidden=(16, 8),
    inputs="per_phase",
    loss="cross_entropy",
    optimizer="sgd",
    learning_rate=0.1,
    batch_size=1,
    gradient_steps=1,
    buffer_size=60,
    learning_starts=0,
    n_steps=1,
    exploration_initial_eps=0.0,
    exploration_final_eps=0.0,
    average=0.0,
)
FEATURES, ACTIONS = 7, 3


def made(method: str = "online", **changes: Any) -> ContinualDQN:
    its = replace(SETTINGS, **changes)
    return build_agent(GAME, SCHEDULE, its, 0, METHODS[method], context="one-hot")


def policy(phases: int = 3, **options: Any) -> ContinualPolicy:
    space = spaces.Box(
        np.array([-9.0] * (FEATURES - phases) + [0.0] * phases, np.float32),
        np.array([9.0] * (FEATURES - phases) + [1.0] * phases, np.float32),
    )
    torch.manual_seed(0)
    given = {"net_arch": [12, 8], "inputs": phases, **options}
    return ContinualPolicy(space, spaces.Discrete(ACTIONS), lambda _: 1e-3, **given)


def observations(phases: int = 3, count: int = 30) -> tuple[torch.Tensor, list[int]]:
    rng = np.random.default_rng(0)
    told = rng.integers(phases, size=count)
    features = rng.normal(size=(count, FEATURES - phases))
    rows = np.concatenate([features, np.eye(phases)[told]], axis=1).astype(np.float32)
    return torch.from_numpy(rows), told.tolist()


def by_blocks(network: Any, rows: torch.Tensor, told: list[int]) -> torch.Tensor:
    """Say what a plain perceptron says whose inputs are a block of features for each phase.

    All but that of the phase are 0, and each has a 1 of its own beside its features, for biases.
    """
    layers = network.features_extractor.layers
    wide = torch.cat([torch.cat([one.weight, one.bias[:, None]], 1) for one in layers], 1)
    size = FEATURES - len(layers)
    seen = torch.zeros(len(rows), len(layers), size + 1)
    for row, phase, block in zip(rows, told, seen, strict=True):
        block[phase, :size] = row[:size]
        block[phase, size] = 1.0
    hidden = torch.relu(seen.flatten(1) @ wide.T)
    return network.q_net(hidden)  # type: ignore[no-any-return]


def test_each_observation_enters_by_the_layer_of_its_phase() -> None:
    network = policy().q_net
    rows, told = observations()
    values = network(rows)
    torch.testing.assert_close(values, by_blocks(network, rows, told))
    assert not torch.allclose(values, by_blocks(network, rows, [0] * len(told)))
    with torch.no_grad():  # as it acts, one by one
        torch.testing.assert_close(torch.cat([network(row[None]) for row in rows]), values)
        torch.testing.assert_close(network(rows), values)
    slopes, expected = (
        torch.autograd.grad(which.square().sum(), list(network.parameters()), retain_graph=True)
        for which in (values, by_blocks(network, rows, told))
    )
    for mine, its in zip(slopes, expected, strict=True):
        torch.testing.assert_close(mine, its)


def test_it_is_the_largest_that_counts_and_the_first_of_equals() -> None:
    network = policy().q_net
    rows = torch.ones(3, FEATURES)
    rows[:, -3:] = torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.1, 0.45, 0.45]])
    torch.testing.assert_close(network(rows), by_blocks(network, rows, [0, 2, 1]))


def test_each_layer_is_drawn_as_if_it_were_alone() -> None:
    """By its own inputs and outputs, whatever the number of phases."""
    options: Any = {"initial": "xavier", "net_arch": [300, 8]}
    for layer in policy(**options).q_net.features_extractor.layers:  # type: ignore[union-attr]
        bound = (6 / (FEATURES - 3 + 300)) ** 0.5
        assert 0.95 * bound < float(layer.weight.detach().abs().max()) <= bound
        assert not layer.bias.any()


def examples() -> list[tuple[npt.NDArray[Any], int, int]]:
    """What an agent meets, asked for without it: features, phase and label."""
    env = make_training_env(GAME, SCHEDULE, 1, "one-hot")
    env.seed(0)
    met, rows = [], env.reset()
    for _ in range(PHASES * STEPS):
        row = rows[0].astype(float)
        rows, _, _, infos = env.step(np.zeros(1, np.int64))
        told = row[-PHASES:].argmax()
        met.append((row[:-PHASES], int(told), int(infos[0]["label"])))
    return met


def by_hand(agent: ContinualDQN, met: list[Any], alone: int | None = None) -> Any:
    """Plain SGD on one example after the other, in NumPy, in double precision."""
    network: Any = agent.q_net
    layers = [*network.features_extractor.layers, *list(network.q_net)[::2]]
    weights = [
        [tensor.detach().numpy().astype(float) for tensor in (layer.weight, layer.bias)]
        for layer in layers
    ]
    for x, phase, label in met:
        entering = weights[phase if alone is None else alone]
        signals, passed = [x], [entering, *weights[PHASES:]]
        for weight, bias in passed:
            signals.append(np.maximum(weight @ signals[-1] + bias, 0))
        values = passed[-1][0] @ signals[-2] + passed[-1][1]
        powers = np.exp(values - values.max())
        slope = powers / powers.sum() - np.eye(len(values))[label]
        for i in reversed(range(len(passed))):
            weight, bias = passed[i]
            back = (weight.T @ slope) * (signals[i] > 0)
            weight -= 0.1 * np.outer(slope, signals[i])
            bias -= 0.1 * slope
            slope = back
    return [tensor for pair in weights for tensor in pair]


def test_online_learning_is_plain_gradient_descent_through_the_layer_of_the_phase() -> None:
    agent = made()
    agent.learn(PHASES * STEPS)
    assert not agent.runs_compiled
    met = examples()[: agent._n_updates]
    assert len(met) >= PHASES * STEPS - 1
    found = [parameter.detach().numpy() for parameter in agent.q_net.parameters()]
    for mine, exact in zip(found, by_hand(made(), met), strict=True):
        assert mine == pytest.approx(exact, abs=2e-5)
    wrong = by_hand(made(), met, alone=0)  # as if all phases had the first one
    assert max(np.abs(mine - its).max() for mine, its in zip(found, wrong, strict=True)) > 1e-2


def moved(agent: ContinualDQN, before: Any) -> list[bool]:
    layers: Any = agent.q_net.features_extractor.layers  # type: ignore[union-attr]
    return [
        not torch.equal(layer.weight, before[f"features_extractor.layers.{i}.weight"])
        for i, layer in enumerate(layers)
    ]


def test_a_phase_moves_its_own_layer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(method: str) -> list[list[bool]]:
        agent = made(method)
        states = []
        for _ in range(PHASES):
            states.append({name: t.clone() for name, t in agent.q_net.state_dict().items()})
            agent.learn(STEPS, reset_num_timesteps=not agent.num_timesteps)
        return [moved(agent, state) for state in states]

    assert two("online") == [[True, True], [False, True]]
    assert two("er") == [[True, True], [True, True]]  # replay moves earlier ones, as it should

    def mean(self: PhaseInputs, rows: torch.Tensor) -> torch.Tensor:
        """A mistake: all layers have a part in each observation."""
        seen = rows[..., : -self.phases]
        return self.activation(sum(layer(seen) for layer in self.layers))  # type: ignore[no-any-return]

    monkeypatch.setattr(PhaseInputs, "forward", mean)
    assert two("online")[1] == [True, True]


def test_hidden_units_are_those_of_the_layer_of_the_phase() -> None:
    network: Any = policy().q_net
    rows, told = observations()
    first, second = hidden_units(network, rows.numpy())
    layers = network.features_extractor.layers
    expected = [torch.relu(layers[phase](row[:-3])) for row, phase in zip(rows, told, strict=True)]
    torch.testing.assert_close(first, torch.stack(expected).detach())
    torch.testing.assert_close(second, torch.relu(network.q_net[0](first)).detach())


def test_a_fisher_information_is_that_of_gradients_one_by_one() -> None:
    network: Any = policy().q_net
    rows, _ = observations(count=6)
    found = fisher_policy(network, rows, 1.0)
    expected = [torch.zeros_like(tensor) for tensor in network.parameters()]
    for row in rows:
        shares = torch.softmax(network(row[None])[0], 0).detach()
        for action, share in enumerate(shares):
            log = torch.log_softmax(network(row[None])[0], 0)[action]
            for entry, slope in zip(
                expected, torch.autograd.grad(log, list(network.parameters())), strict=True
            ):
                entry += share * slope.square() / len(rows)
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-7)


def test_it_is_saved_and_resumed(tmp_path: Path) -> None:
    agent = made("er")
    agent.learn(STEPS + 20)
    agent.save(tmp_path / "agent.zip")
    env = make_training_env(GAME, SCHEDULE, 1, "one-hot")
    loaded = ContinualDQN.load(tmp_path / "agent.zip", env)
    rows = agent.replay.observations[:50, 0]
    np.testing.assert_array_equal(agent.predict(rows)[0], loaded.predict(rows)[0])
    assert isinstance(loaded.q_net.features_extractor, PhaseInputs)
    policy = agent.policy
    again = type(policy)(**policy._get_constructor_parameters())
    again.load_state_dict(policy.state_dict())
    seen = torch.as_tensor(rows)
    torch.testing.assert_close(again.q_net(seen), agent.q_net(seen))


def test_what_nothing_tells_is_refused() -> None:
    for context in ("hidden", "params"):
        said = f"inputs = 'per_phase' must be told the phase.*context = '{context}' no observation"
        with pytest.raises(ValueError, match=said):
            build_agent(GAME, SCHEDULE, SETTINGS, context=context)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inputs = 5: the last 5 features must say which phase"):
        ContinualDQN("MlpPolicy", tiny.life(), policy_kwargs={"inputs": 5})
    with pytest.raises(ValueError, match="inputs = 0 must be"):
        ContinualDQN("MlpPolicy", tiny.life(), policy_kwargs={"inputs": 0})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heads": 3}, "heads = 3 and inputs = 3: each of them gives a phase parameters"),
        ({"layer_norm": True}, "layer_norm with inputs = 3"),
        ({"dropout": 0.5}, "dropout = 0.5 with inputs = 3"),
        ({"net_arch": []}, "inputs = 3 with net_arch = .. over a FlattenExtractor"),
        ({"features_extractor_class": NatureCNN}, "over a NatureCNN"),
    ],
)
def test_what_does_not_go_together_is_refused(options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        policy(**options)


def test_crelu_is_refused() -> None:
    with pytest.raises(ValueError, match="activation CReLU with inputs = 2"):
        made(activation="crelu")


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("redo", "recycles units .* there are several first ones: choose"),
        ("continual-backprop", "recycles units .* there are several first ones: choose"),
        ("packnet", "subnetworks = 2 and inputs = 2"),
    ],
)
def test_parts_that_know_plain_perceptrons_alone_refuse_it(part: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build_agent(GAME, SCHEDULE, SETTINGS, parts=[make_part(part)], context="one-hot")


def test_one_phase_has_a_plain_network() -> None:
    network: Any = policy(1).q_net
    assert [type(layer) for layer in network.q_net] == [nn.Linear, nn.ReLU] * 2 + [nn.Linear]
