"""Learning labelled examples: the loss, both engines, and what parts make of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from continual_arcade.agents import (
    METHODS,
    ContinualDQN,
    DQNSettings,
    build_agent,
    compose,
    make_training_env,
)
from continual_arcade.agents.kernels.losses import CROSS_ENTROPY, SQUARED, label_slopes
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.importance import fisher_labels, fisher_policy
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.agents.settings import Loss
from continual_arcade.envs import Schedule, make_game, shipped
from continual_arcade.envs.addition_facts import DIGITS, FACTS, LEAST
from continual_arcade.evaluation import Evaluator

GAME = "AdditionFacts"
FACTS_OF_TWO = shipped("conflict", make_game(GAME))
LOSSES: tuple[Loss, ...] = ("cross_entropy", "squared")
SETTINGS = DQNSettings(
    num_envs=1,
    hidden=(16,),
    loss="cross_entropy",
    optimizer="sgd",
    learning_rate=0.1,
    batch_size=8,
    gradient_steps=1,
    buffer_size=60,
    learning_starts=10,
    n_steps=1,
    exploration_initial_eps=0.0,
    exploration_final_eps=0.0,
    average=0.0,
)


def schedule(steps: int) -> Schedule:
    return FACTS_OF_TWO.with_steps(steps)


def trained(engine: Any, method: Any, steps: int = 100, **changes: Any) -> ContinualDQN:
    its = replace(SETTINGS, engine=engine, **changes)
    agent = build_agent(GAME, schedule(steps), its, 0, method)
    agent.learn(2 * steps)
    assert agent.runs_compiled == (engine == "compiled")
    return agent


# The loss.


@njit
def _slopes(kind: int, values: Any, label: int, share: Any, slopes: Any) -> Any:
    return label_slopes(kind, values, label, share, slopes)


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=6),
    data=st.data(),
    kind=st.sampled_from([CROSS_ENTROPY, SQUARED]),
)
def test_slopes_are_the_derivatives_of_the_loss(
    values: list[float], data: st.DataObject, kind: Any
) -> None:
    """By PyTorch's own losses, in double precision."""
    label = data.draw(st.integers(0, len(values) - 1))
    given_values = np.array(values, np.float32)
    slopes = np.zeros_like(given_values)
    loss = _slopes(kind, given_values, label, np.float32(0.5), slopes)
    exact = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    if kind == CROSS_ENTROPY:
        expected = -torch.log_softmax(exact, 0)[label]
    else:
        wanted = torch.zeros_like(exact)
        wanted[label] = 1
        expected = 0.5 * torch.nn.functional.mse_loss(exact, wanted, reduction="sum")
    expected.backward()  # type: ignore[no-untyped-call]
    assert loss == pytest.approx(expected.item(), rel=1e-5, abs=1e-5)
    assert exact.grad is not None
    assert slopes == pytest.approx(0.5 * exact.grad.numpy(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("kind", [CROSS_ENTROPY, SQUARED])
@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_comes_through(kind: Any, strange: float) -> None:
    slopes = np.zeros(3, np.float32)
    loss = _slopes(kind, np.array([0, strange, 1], np.float32), 1, np.float32(1), slopes)
    assert not (np.isfinite(loss) and np.isfinite(slopes).all())


# The whole step, by hand.


def by_hand(agent: ContinualDQN, examples: list[tuple[npt.NDArray[Any], int]], loss: str) -> Any:
    """Plain SGD on one example after the other, in NumPy, in double precision."""
    layers = [
        (layer.weight.detach().numpy().astype(float), layer.bias.detach().numpy().astype(float))
        for layer in list(agent.q_net.q_net)[::2]
    ]
    (first, first_bias), (second, second_bias) = layers
    for x, label in examples:
        hidden = np.maximum(first @ x + first_bias, 0)
        values = second @ hidden + second_bias
        wanted = np.eye(len(values))[label]
        if loss == "cross_entropy":
            powers = np.exp(values - values.max())
            slope = powers / powers.sum() - wanted
        else:
            slope = values - wanted
        back = (second.T @ slope) * (hidden > 0)
        second -= 0.1 * np.outer(slope, hidden)
        second_bias -= 0.1 * slope
        first -= 0.1 * np.outer(back, x)
        first_bias -= 0.1 * back
    return [first, first_bias, second, second_bias]


def examples_of(steps: int, seed: int) -> list[tuple[npt.NDArray[Any], int]]:
    """What an agent with this seed meets, asked for without it."""
    env = make_training_env(GAME, schedule(steps), 1)
    env.seed(seed)
    met, observations = [], env.reset()
    for _ in range(2 * steps):
        example = observations[0].astype(float)
        observations, _, _, infos = env.step(np.zeros(1, np.int64))
        met.append((example, int(infos[0]["label"])))
    return met


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_online_learning_is_plain_gradient_descent(engine: Any, loss: Any) -> None:
    its = replace(SETTINGS, engine=engine, loss=loss, batch_size=1, learning_starts=0)
    agent = build_agent(GAME, schedule(60), its, 0, METHODS["online"])
    examples = examples_of(60, 0)
    expected = by_hand(agent, examples[:-1], loss)
    agent.learn(120)  # what follows the last step is learnt after it
    if agent._n_updates == 120:
        expected = by_hand(build_agent(GAME, schedule(60), its, 0), examples, loss)
    found = [parameter.detach().numpy() for parameter in agent.q_net.parameters()]
    for mine, exact in zip(found, expected, strict=True):
        assert mine == pytest.approx(exact, abs=2e-5)
    # One example less shows.
    short = by_hand(build_agent(GAME, schedule(60), its, 0), examples[:-2], loss)
    assert max(np.abs(mine - less).max() for mine, less in zip(found, short, strict=True)) > 1e-3


# Both engines, with all kinds of parts.

COMPOSED = {
    "algorithm 1": compose("finetune", "reservoir", ["mer:algorithm=1,memories=3,repeats=2"]),
    "algorithm 7": compose("finetune", "fifo", ["mer:algorithm=7,memories=3,repeats=2"]),
    "penalty": compose("finetune", "fifo", ["ewc:lam=0.1,fisher=policy,temperature=1.0"]),
}


# Single examples have a loss of their own; parts take their gradient from the same one.
FIRST = (("er", "cross_entropy"), ("agem", "squared"), ("algorithm 7", "cross_entropy"))
LEARNT = ("er", "agem", "gem", "clear", "si", "penalty", "algorithm 1", "algorithm 7")


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        pytest.param(name, loss, marks=() if (name, loss) in FIRST else pytest.mark.slow)
        for name in LEARNT
        for loss in LOSSES
    ],
)
def test_both_engines_learn_the_same(name: str, loss: Any) -> None:
    method = COMPOSED.get(name) or METHODS[name]
    optimizer = "sgd" if name.startswith("algorithm") else "adam"
    rate = 0.05 if optimizer == "sgd" else 1e-3
    changes = {"loss": loss, "optimizer": optimizer, "learning_rate": rate}
    torchs, compiled = (trained(engine, method, **changes) for engine in ("torch", "compiled"))
    assert torchs._n_updates == compiled._n_updates > 150
    one, other = (
        torch.cat([p.detach().reshape(-1) for p in agent.q_net.parameters()]).numpy()
        for agent in (torchs, compiled)
    )
    assert np.abs(one - other).max() < 2e-5
    assert np.array_equal(torchs.replay.actions, compiled.replay.actions)


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_replay_holds_the_right_answers(engine: Any) -> None:
    agent = trained(engine, METHODS["finetune"], buffer_size=300)
    asked = agent.replay.observations[:200, 0]
    operands = [units.argmax(axis=1) for units in (asked[:, :12], asked[:, 12:24])]
    assert np.array_equal(agent.replay.actions[:200, 0, 0], sum(operands) - LEAST)


def test_facts_are_learnt_and_forgotten() -> None:
    """McCloskey and Cohen 1989: after the twos next to nothing is left of the ones."""
    for seed in range(3):
        its = replace(SETTINGS, batch_size=1, learning_starts=0, hidden=(50,))
        agent = build_agent(GAME, schedule(1500), its, seed, METHODS["online"])
        exam = Evaluator(GAME, schedule(1500), episodes=1)
        agent.learn(1500)
        ones, _ = exam.play(agent).scores.ravel()
        assert ones == FACTS
        agent.learn(1500, reset_num_timesteps=False)
        ones, twos = exam.play(agent).scores.ravel()
        assert twos == FACTS
        # 1 + 2 and 2 + 1 are of both.
        assert ones <= DIGITS


@pytest.mark.parametrize("engine", [pytest.param("torch", marks=pytest.mark.slow), "compiled"])
def test_training_resumes_bit_for_bit(engine: Any, tmp_path: Path) -> None:
    method = METHODS["er"]
    whole = trained(engine, method, steps=60)
    first = build_agent(GAME, schedule(60), replace(SETTINGS, engine=engine), 0, method)
    save = tiny.SaveAt(50, tmp_path / "half.zip")
    first.learn(120, callback=save)
    assert save.saved
    env = make_training_env(GAME, schedule(60), 1)
    resumed = ContinualDQN.load(tmp_path / "half.zip", env=env, device="cpu")
    assert resumed.loss == "cross_entropy"
    resumed.learn(120 - resumed.num_timesteps, reset_num_timesteps=False)
    assert list(tiny.differences(tiny.inside(whole), tiny.inside(resumed))) == []


# Importance.


def per_example(network: Any, states: torch.Tensor, labels: torch.Tensor, loss: str) -> list[Any]:
    """The mean squared gradient of each example's loss, by autograd, one after the other."""
    total = [torch.zeros_like(parameter) for parameter in network.parameters()]
    for state, label in zip(states, labels, strict=True):
        values = network(state[None])
        if loss == "cross_entropy":
            its = torch.nn.functional.cross_entropy(values, label[None])
        else:
            wanted = torch.nn.functional.one_hot(label[None], values.shape[1])
            its = 0.5 * (values - wanted).square().sum()
        for entry, gradient in zip(
            total, torch.autograd.grad(its, [*network.parameters()]), strict=True
        ):
            entry += gradient.square() / len(states)
    return total


@pytest.mark.parametrize("loss", LOSSES)
def test_empirical_fisher_is_of_the_loss_that_is_learnt(loss: Any) -> None:
    agent = trained("torch", METHODS["finetune"], steps=40, loss=loss)
    states = torch.as_tensor(agent.replay.observations[:20, 0])
    labels = torch.as_tensor(agent.replay.actions[:20, 0, 0])
    found = fisher_labels(agent.q_net, states, labels, loss)
    for mine, exact in zip(found, per_example(agent.q_net, states, labels, loss), strict=True):
        assert torch.allclose(mine, exact, rtol=1e-4, atol=1e-9)
    shifted = per_example(agent.q_net, states, (labels + 1) % 17, loss)
    assert not torch.allclose(found[0], shifted[0], rtol=1e-2)


def test_over_all_labels_by_their_probability_it_is_the_fisher_information() -> None:
    agent = trained("torch", METHODS["finetune"], steps=40)
    states = torch.as_tensor(agent.replay.observations[:1, 0])
    with torch.no_grad():
        chances = agent.q_net(states).softmax(1)[0]
    expected = [torch.zeros_like(parameter) for parameter in agent.q_net.parameters()]
    for label, chance in enumerate(chances):
        its = fisher_labels(agent.q_net, states, torch.tensor([label]), "cross_entropy")
        for entry, term in zip(expected, its, strict=True):
            entry += chance * term
    found = fisher_policy(agent.q_net, states, 1.0)
    for mine, exact in zip(found, expected, strict=True):
        assert torch.allclose(mine, exact, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_part_estimates_it(loss: Any) -> None:
    ewc = EWC(fisher="td", normalise="none")
    agent = build_agent(GAME, schedule(60), replace(SETTINGS, loss=loss), 0, parts=[ewc])
    agent.learn(60)
    memory = agent.replay
    states, labels = memory.observations[:20, 0], memory.actions[:20, 0]
    met = Transitions(
        states,
        labels,
        np.zeros(20, np.float32),
        states,
        np.ones(20, np.float32),
        np.zeros(20, np.float32),
        np.zeros(20, np.int64),
    )
    expected = per_example(
        agent.q_net, torch.as_tensor(states), torch.as_tensor(labels[:, 0]), loss
    )
    for mine, exact in zip(ewc.estimate(agent, met), expected, strict=True):
        assert torch.allclose(mine, exact, rtol=1e-4, atol=1e-9)


# What cannot be honoured is refused.


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_game_without_labels_is_refused(engine: Any) -> None:
    with pytest.raises(ValueError, match=r"Catcher has no labels.*loss = 'td'"):
        build_agent("Catcher", shipped("conflict", make_game("Catcher")), SETTINGS)
    # Those who make agents themselves are told by the first step, also in the middle of a run.
    agent = tiny.agent(loss="cross_entropy", engine=engine)
    with pytest.raises(ValueError, match=r"sub-environment 0 has label = None.*loss = 'td'"):
        agent.learn(40)
    agent = tiny.agent(engine=engine)
    agent.learn(80)
    assert agent.runs_compiled == (engine == "compiled")
    agent.loss = "squared"
    with pytest.raises(ValueError, match=r"sub-environment 0 has label = None.*loss = 'td'"):
        agent.learn(40, reset_num_timesteps=False)


@pytest.mark.parametrize("loss", ["mse", None, 3])
def test_an_unknown_loss_is_refused(loss: Any) -> None:
    with pytest.raises(ValueError, match="unknown loss"):
        DQNSettings(loss=loss)
    with pytest.raises(ValueError, match="unknown loss"):
        tiny.agent(loss=loss)
    agent = tiny.agent()
    with pytest.raises(ValueError, match="unknown loss"):
        agent.loss = loss
    assert agent.loss == "td"


@pytest.mark.parametrize("engine", [pytest.param("torch", marks=pytest.mark.slow), "compiled"])
def test_another_loss_counts_at_once(engine: Any) -> None:
    """Half of the way by one loss, then by the other: neither of the two alone."""
    agent = build_agent(GAME, schedule(60), replace(SETTINGS, engine=engine), 0)
    agent.learn(60)
    agent.loss = "squared"
    agent.learn(60, reset_num_timesteps=False)
    first = trained(engine, METHODS["finetune"], steps=60)
    second = trained(engine, METHODS["finetune"], steps=60, loss="squared")
    assert len({tiny.bits(one) for one in (agent, first, second)}) == 3
    other = build_agent(
        GAME,
        schedule(60),
        replace(SETTINGS, engine="torch" if engine == "compiled" else "compiled"),
        0,
    )
    other.learn(60)
    other.loss = "squared"
    other.learn(60, reset_num_timesteps=False)
    for mine, its in zip(agent.q_net.parameters(), other.q_net.parameters(), strict=True):
        assert torch.allclose(mine, its, atol=2e-5)
