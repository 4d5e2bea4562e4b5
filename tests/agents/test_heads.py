"""An output layer for each phase: who chooses it, what it learns, and that nothing else moves."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from gymnasium import spaces
from torch import nn

from continual_arcade.agents import ContinualDQN, build_agent
from continual_arcade.agents.methods import METHODS
from continual_arcade.agents.networks import ContinualPolicy
from continual_arcade.agents.told_networks import MultiHeadQNetwork
from continual_arcade.envs import Schedule, make_game, shipped

ACTIONS, FEATURES = 2, 7
CONFLICT = shipped("conflict", make_game("FlappyBird")).with_steps(100)
"""Three phases, of which the observations show the index."""
ALONE = Schedule("alone", (*CONFLICT.phases[:1],))
SETTINGS = replace(
    tiny.SETTINGS, heads="per_phase", hidden=(12, 8), learning_rate=3e-4, learning_starts=60
)


def network(heads: int = 3) -> Any:
    space = spaces.Box(
        np.array([-9.0] * (FEATURES - heads) + [0.0] * heads, np.float32),
        np.array([9.0] * (FEATURES - heads) + [1.0] * heads, np.float32),
    )
    torch.manual_seed(0)
    return ContinualPolicy(
        space, spaces.Discrete(ACTIONS), lambda _: 1e-3, net_arch=[12, 8], heads=heads
    ).q_net


def observations(heads: int = 3, count: int = 30) -> tuple[torch.Tensor, list[int]]:
    rng = np.random.default_rng(0)
    told = rng.integers(heads, size=count)
    features = rng.normal(size=(count, FEATURES - heads))
    rows = np.concatenate([features, np.eye(heads)[told]], axis=1).astype(np.float32)
    return torch.from_numpy(rows), told.tolist()


def by_hand(net: MultiHeadQNetwork, row: torch.Tensor, head: int) -> torch.Tensor:
    """Return what a network with one head alone says: the same hidden layers, and that head."""
    *hidden, last = list(net.q_net)
    alone = nn.Linear(last.in_features, ACTIONS)
    here = slice(head * ACTIONS, (head + 1) * ACTIONS)
    alone.load_state_dict({"weight": last.weight[here], "bias": last.bias[here]})
    return nn.Sequential(*hidden, alone)(row)


def test_each_observation_is_valued_by_the_head_of_its_phase() -> None:
    net = network()
    rows, told = observations()
    with torch.no_grad():
        values = net(rows)
        expected = [by_hand(net, row, head) for row, head in zip(rows, told, strict=True)]
        wrong = [by_hand(net, row, 0) for row in rows]
    torch.testing.assert_close(values, torch.stack(expected))
    assert not torch.allclose(values, torch.stack(wrong))  # as if all had the first one
    assert values.shape == (30, ACTIONS)


def test_it_is_the_largest_that_counts_and_the_first_of_equals() -> None:
    """A belief about the phase chooses the likeliest."""
    net = network()
    rows = torch.zeros(3, FEATURES)
    rows[1, -3:] = torch.tensor([0.2, 0.3, 0.5])
    rows[2, -3:] = torch.tensor([0.1, 0.45, 0.45])
    with torch.no_grad():
        for row, head in zip(rows, (0, 2, 1), strict=True):
            torch.testing.assert_close(net(row[None])[0], by_hand(net, row, head))


def lived(engine: Any, method: str = "finetune", schedule: Schedule = CONFLICT, **changes: Any):  # type: ignore[no-untyped-def]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # penalties that dominate: not the point
        agent = build_agent(
            "FlappyBird",
            schedule,
            replace(SETTINGS, engine=engine, **changes),
            3,
            METHODS[method],
            context="one-hot",
        )
        agent.learn(schedule.total_steps)
    assert agent.runs_compiled == (engine == "compiled")
    return agent


def vector(net: Any) -> Any:
    return np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])


METHODS_HERE = ("finetune", "ewc", "clear", "clone", "agem", "mer", "online", "er", "si")


@pytest.mark.one_in(4)
@pytest.mark.parametrize("method", METHODS_HERE)
def test_both_engines_learn_the_same(method: str) -> None:
    by_torch, by_compiled = (lived(engine, method) for engine in ("torch", "compiled"))
    for name in ("q_net", "q_net_target"):
        apart = np.abs(vector(getattr(by_torch, name)) - vector(getattr(by_compiled, name)))
        assert apart.max() < 2e-4
    np.testing.assert_array_equal(by_torch.replay.observations, by_compiled.replay.observations)
    np.testing.assert_array_equal(by_torch.replay.actions, by_compiled.replay.actions)


def test_plain_gradient_steps_on_single_examples_too() -> None:
    """Which compiled code makes without writing the gradient down."""
    life = CONFLICT.with_steps(28)
    of_both = [
        lived(engine, "mer-faithful", life, hidden=(12,), learning_starts=20)
        for engine in ("torch", "compiled")
    ]
    assert np.abs(vector(of_both[0].q_net) - vector(of_both[1].q_net)).max() < 2e-4


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_phase_moves_its_own_head_alone(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, with Adam: no slope reaches a head whose phase is not replayed."""

    def moved(agent: ContinualDQN, before: ContinualDQN) -> list[bool]:
        now, then = (one.q_net.q_net[-1] for one in (agent, before))
        return [
            not torch.equal(a, b)
            for a, b in zip(
                torch.cat([now.weight, now.bias[:, None]], 1).split(ACTIONS),
                torch.cat([then.weight, then.bias[:, None]], 1).split(ACTIONS),
                strict=True,
            )
        ]

    def two(end: int) -> list[bool]:
        agents = []
        for steps in (0, end):
            agent = build_agent(
                "FlappyBird",
                CONFLICT,
                replace(SETTINGS, engine=engine),
                3,
                METHODS["finetune"],
                context="one-hot",
            )
            if steps:
                agent.learn(steps)
            agents.append(agent)
        return moved(agents[1], agents[0])

    assert two(100) == [True, False, False]
    assert two(200)[2] is False
    if engine == "torch":  # a network that learns by all heads is found out
        plain = MultiHeadQNetwork.forward

        def mean(self: MultiHeadQNetwork, obs: Any) -> Any:
            return super(MultiHeadQNetwork, self).forward(obs)[:, :ACTIONS] + plain(self, obs)

        monkeypatch.setattr(MultiHeadQNetwork, "forward", mean)
        with monkeypatch.context() as patch:
            patch.setattr("continual_arcade.agents.continual_dqn.why_not_compiled", lambda _: "x")
            assert two(300)[1] is True


def test_it_is_saved_and_resumed(tmp_path: Path) -> None:
    agent = lived("compiled")
    agent.save(tmp_path / "agent.zip")
    loaded = ContinualDQN.load(tmp_path / "agent.zip")
    rows = agent.replay.observations[:50, 0]
    np.testing.assert_array_equal(agent.predict(rows)[0], loaded.predict(rows)[0])
    assert isinstance(loaded.q_net, MultiHeadQNetwork)
    assert loaded.q_net.heads == 3


def test_what_nothing_tells_is_refused() -> None:
    for context in ("hidden", "params"):
        said = f"heads = 'per_phase' must be told the phase.*context = '{context}' no observation"
        with pytest.raises(ValueError, match=said):
            build_agent("FlappyBird", CONFLICT, SETTINGS, context=context)
    with pytest.raises(ValueError, match=r"heads = 5: the last 5 features must say which phase"):
        ContinualDQN("MlpPolicy", tiny.life(), policy_kwargs={"heads": 5})
    with pytest.raises(ValueError, match="heads = 0 must be"):
        ContinualDQN("MlpPolicy", tiny.life(), policy_kwargs={"heads": 0})
    of_one = build_agent("FlappyBird", ALONE, SETTINGS, context="one-hot")
    assert type(of_one.q_net).__name__ == "QNetwork"
