"""TD gradients against numbers by hand, finite differences and training; nothing is touched."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from continual_arcade.agents import ContinualDQN
from continual_arcade.agents.methods import Batch
from continual_arcade.agents.probes.interference import Steps, alignment, td_gradients


def corridor(features: int = 3, actions: int = 2, **kwargs: Any) -> ContinualDQN:
    agent = tiny.agent(env=tiny.Corridor(actions, features), **kwargs)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for network in (agent.q_net, agent.q_net_target):
            for parameter in network.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return agent


def steps(count: int = 40, features: int = 3, actions: int = 2, seed: int = 0) -> Steps:
    """Errors are on both sides of the kinks of the loss, and a fifth of the episodes ends."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(count, features)).astype(np.float32),
        rng.integers(actions, size=count),
        rng.normal(scale=2, size=count),
        rng.normal(size=(count, features)).astype(np.float32),
        rng.random(count) < 0.2,
    )


# --- by hand ------------------------------------------------------------------------------------


def test_a_linear_network_by_hand() -> None:
    agent = corridor(features=2, policy={"net_arch": []}, gamma=0.5)
    online, target = agent.q_net.q_net[0], agent.q_net_target.q_net[0]
    with torch.no_grad():
        online.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        online.bias.copy_(torch.tensor([0.0, 0.5]))
        target.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.25]]))
        target.bias.zero_()
    observations = np.array([[0.5, 1.0], [1.0, 0.0], [0.0, 2.0]])
    nexts = np.array([[1.0, 2.0], [4.0, 0.0], [9.0, 9.0]])
    actions, rewards = np.array([0, 1, 1]), np.array([0.5, 5.0, 2.25])
    terminated = np.array([False, False, True])
    # 1: online prefers action 1 (2.5 > 1), worth 0.5 to the target: y = 0.5 + 0.25, delta = -0.25
    # 2: online prefers action 0, worth 8: y = 5 + 4 = 9, Q = 0.5: delta = -8.5, clipped to -1
    # 3: over: y = 2.25, Q = 2.5, delta = 0.25
    weight = np.array([[-0.25 * 0.5, -0.25 * 1.0], [-1.0 * 1.0, 0.25 * 2.0]]) / 3
    bias = np.array([-0.25, -1.0 + 0.25]) / 3
    got = td_gradients(agent, observations, actions, rewards, nexts, terminated)
    np.testing.assert_allclose(got, np.concatenate([weight.ravel(), bias]), rtol=1e-6)


# --- by an independent loss ---------------------------------------------------------------------

Parameters = list[np.ndarray]


def values(parameters: Parameters, states: np.ndarray) -> np.ndarray:
    signal = states.astype(np.float64)
    for i in range(0, len(parameters), 2):
        signal = signal @ parameters[i].T + parameters[i + 1]
        if i + 2 < len(parameters):
            signal = np.maximum(signal, 0)
    return signal


def loss(agent: ContinualDQN, moved: Parameters, batch: Steps) -> float:
    """The mean TD loss where only what is learnt has moved, in double precision."""
    observations, actions, rewards, nexts, terminated = batch
    online, target = (
        [p.detach().numpy().astype(np.float64) for p in network.parameters()]
        for network in (agent.q_net, agent.q_net_target)
    )
    rows = np.arange(len(actions))
    worth = values(target, nexts)
    best = values(online, nexts).argmax(1) if agent.double_q else worth.argmax(1)
    targets = rewards + agent.gamma * worth[rows, best] * ~terminated
    errors = np.abs(values(moved, observations)[rows, actions] - targets)
    return float(np.where(errors < 1, errors**2 / 2, errors - 0.5).mean())


def check_differences(agent: ContinualDQN, batch: Steps) -> None:
    here = [p.detach().numpy().astype(np.float64) for p in agent.q_net.parameters()]
    differences = []
    for i, tensor in enumerate(here):
        for place in np.ndindex(tensor.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [array.copy() for array in here]
                moved[i][place] += step
                ends.append(loss(agent, moved, batch))
            differences.append((ends[0] - ends[1]) / 2e-6)
    got = td_gradients(agent, *batch).numpy()
    np.testing.assert_allclose(got, differences, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("double_q", [True, False])
def test_finite_differences(engine: Any, double_q: bool) -> None:
    agent = corridor(engine=engine, policy={"net_arch": [5, 4]})
    agent.double_q = double_q
    check_differences(agent, steps())


def td(
    agent: Any,
    samples: Any,
    *,
    double: bool = True,
    frozen: bool = True,
    ends: bool = True,
    own: bool = False,
    discount: float = 1.0,
) -> torch.Tensor:
    """Targets that are right as they stand, and wrong with any argument changed."""
    with torch.set_grad_enabled(not frozen):
        network = agent.q_net if own or not frozen else agent.q_net_target
        worth = network(samples.next_observations)
        chooser = agent.q_net(samples.next_observations) if double else worth
        worth = worth.gather(1, chooser.argmax(1, keepdim=True))
        over = samples.dones if ends else torch.zeros_like(samples.dones)
        targets: torch.Tensor = samples.rewards + (1 - over) * discount * agent.gamma * worth
    return targets


WRONG: dict[str, dict[str, Any]] = {
    "no Double DQN": {"double": False},
    "through the target": {"frozen": False},
    "termination ignored": {"ends": False},
    "no target network": {"own": True},
    "several steps": {"discount": 0.9},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_targets_are_found(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = corridor(engine="torch")
    monkeypatch.setattr(ContinualDQN, "td_targets", td)
    check_differences(agent, steps())
    monkeypatch.setattr(ContinualDQN, "td_targets", lambda a, s: td(a, s, **WRONG[wrong]))
    with pytest.raises(AssertionError):
        check_differences(agent, steps())


# --- by what training does ----------------------------------------------------------------------


def training_step(agent: ContinualDQN, batch: Steps) -> np.ndarray:
    """What one step of plain gradient descent with rate 1 takes away."""
    observations, actions, rewards, nexts, terminated = batch
    samples = ReplayBufferSamples(
        torch.as_tensor(observations),
        torch.as_tensor(actions)[:, None],
        torch.as_tensor(nexts),
        torch.as_tensor(terminated, dtype=torch.float32)[:, None],
        torch.as_tensor(rewards, dtype=torch.float32)[:, None],
    )
    agent.sample = lambda size: Batch(samples)  # type: ignore[method-assign]
    agent.replay.seen = 10_000
    agent.set_logger(Logger(None, []))
    before = torch.cat([p.detach().flatten().clone() for p in agent.q_net.parameters()])
    agent.train(1, len(rewards))
    after = torch.cat([p.detach().flatten() for p in agent.q_net.parameters()])
    return (before - after).numpy()


@pytest.mark.parametrize("double_q", [True, False])
def test_it_is_the_gradient_of_training(double_q: bool) -> None:
    sgd = {"net_arch": [6, 5], "optimizer_class": torch.optim.SGD}
    agent = corridor(engine="torch", policy=sgd, learning_rate=1.0, max_grad_norm=1e9)
    agent.double_q = double_q
    batch = steps(seed=3)
    expected = td_gradients(agent, *batch).numpy()
    assert np.linalg.norm(expected) > 0.1
    np.testing.assert_allclose(training_step(agent, batch), expected, rtol=1e-3, atol=1e-6)


# --- what is left out, what is left alone -------------------------------------------------------


def test_dropout_is_off() -> None:
    agent = corridor(policy={"net_arch": [16], "dropout": 0.5, "layer_norm": True})
    agent.policy.set_training_mode(True)
    one, other = (td_gradients(agent, *steps()) for _ in range(2))
    assert torch.equal(one, other)
    assert agent.q_net.training


def test_frozen_parameters_have_no_place() -> None:
    agent = corridor(policy={"net_arch": [4]}, engine="torch")
    everything = td_gradients(agent, *steps())
    first = next(agent.q_net.parameters())
    first.requires_grad_(False)
    assert torch.equal(td_gradients(agent, *steps()), everything[first.numel() :])
    agent.q_net.requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameter"):
        td_gradients(agent, *steps())


def streams() -> list[Any]:
    return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]  # noqa: NPY002


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_nothing_of_the_agent_is_touched(engine: Any) -> None:
    agent = tiny.live(tiny.agent(engine=engine), 200)
    agent.policy.set_training_mode(engine == "torch")
    parameters = [*agent.q_net.parameters(), *agent.q_net_target.parameters()]
    for number, parameter in enumerate(agent.q_net.parameters()):
        if number:  # one without a gradient, as there is none with the compiled engine
            parameter.grad = torch.full_like(parameter, number)
    fired: list[Any] = []
    hooks = [p.register_hook(fired.append) for p in agent.q_net.parameters()]

    def state() -> tuple[Any, ...]:
        modes = [module.training for module in agent.policy.modules()]
        grads = [None if p.grad is None else p.grad.clone() for p in parameters]
        places = [p.data_ptr() for p in parameters]
        return tiny.inside(agent), modes, grads, places, streams(), vars(agent).copy()

    before = state()
    saved = [tiny.bits(agent), [p.detach().clone() for p in parameters]]
    batch = steps(features=agent.observation_space.shape[0])  # type: ignore[index]
    alignment(agent, [batch, batch])
    after = state()
    assert not list(tiny.differences(before[0], after[0]))
    assert before[1] == after[1]
    for one, other in zip(before[2], after[2], strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one, other)
    assert before[3:5] == after[3:5]
    assert all(before[5][name] is vars(agent)[name] for name in before[5])
    assert saved[0] == tiny.bits(agent)
    assert not fired
    for hook in hooks:
        hook.remove()


# --- alignment ----------------------------------------------------------------------------------


def test_cosines_and_norms() -> None:
    agent = corridor(policy={"net_arch": [8]})
    batches = [steps(seed=seed) for seed in range(3)]
    gradients = [td_gradients(agent, *batch).double().numpy() for batch in batches]
    got = alignment(agent, batches)
    for i, one in enumerate(gradients):
        assert got.norms[i] == pytest.approx(np.sqrt((one**2).sum()))
        for j, other in enumerate(gradients):
            cosine = one @ other / np.sqrt((one**2).sum() * (other**2).sum())
            assert got.cosines[i, j] == pytest.approx(cosine, abs=1e-12)
    assert np.diag(got.cosines).tolist() == [1.0, 1.0, 1.0]
    assert got.reasons == ("", "", "")


def test_a_step_on_one_phase_does_to_the_other_what_the_sign_says() -> None:
    agent = corridor(policy={"net_arch": []}, gamma=0.0)
    with torch.no_grad():
        for parameter in agent.q_net.parameters():
            parameter.zero_()
    states = np.ones((4, 3), np.float32)
    actions, over = np.zeros(4, np.int64), np.zeros(4, np.bool_)
    # The same states and actions are rewarded, punished, and rewarded more.
    batches = [(states, actions, np.full(4, r), states, over) for r in (0.5, -0.5, 3.0)]
    got = alignment(agent, batches)
    np.testing.assert_allclose(got.cosines[0], [1, -1, 1])
    here = [p.detach().numpy().astype(np.float64) for p in agent.q_net.parameters()]
    step = td_gradients(agent, *batches[0]).double().numpy() * 1e-3
    moved = [here[0] - step[:-2].reshape(here[0].shape), here[1] - step[-2:]]
    changes = [loss(agent, moved, batch) - loss(agent, here, batch) for batch in batches]
    assert (np.sign(changes) == -np.sign(got.cosines[0])).all()


def test_what_is_undefined_has_a_reason() -> None:
    agent = corridor(policy={"net_arch": []}, gamma=0.0)
    with torch.no_grad():
        for parameter in agent.q_net.parameters():
            parameter.zero_()
    full = steps()
    none: Any = tuple(column[:0] for column in full)
    learnt = (full[0], full[1], np.zeros(40), full[3], full[4])
    endless = (np.full_like(full[0], np.inf), *full[1:])
    got = alignment(agent, [full, none, learnt, endless])
    assert got.reasons == (
        "",
        "there are no transitions",
        "the gradient is zero",
        "the gradient is not finite",
    )
    np.testing.assert_array_equal(np.isnan(got.norms), [False, True, False, True])
    assert got.norms[2] == 0
    assert got.cosines[0, 0] == 1
    assert np.isnan(got.cosines).sum() == 15


# --- bad input ----------------------------------------------------------------------------------


def with_(index: int, column: Any) -> Callable[[Steps], Any]:
    return lambda batch: (*batch[:index], column(batch[index]), *batch[index + 1 :])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda batch: tuple(c[:0] for c in batch), "there are no transitions"),
        (with_(0, lambda c: c[:, :2]), r"observations have shape \(40, 2\): it must be \(40, 3\)"),
        (with_(3, lambda c: c[:7]), r"next_observations have shape \(7, 3\)"),
        (with_(1, lambda c: c[:, None]), r"actions have shape \(40, 1\)"),
        (with_(1, lambda c: c + 0.5), "actions are of float64: they must be whole numbers"),
        (with_(1, lambda c: c + 1), "actions contain 2: the agent has actions 0 to 1"),
        (with_(1, lambda c: c - 1), "actions contain -1"),
        (with_(2, lambda c: c[:3]), r"rewards have shape \(3,\)"),
        (with_(4, lambda c: c[:3]), r"terminated have shape \(3,\)"),
    ],
)
def test_bad_transitions_are_refused(damage: Callable[[Steps], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        td_gradients(corridor(), *damage(steps()))


def test_normalised_observations_are_refused() -> None:
    env = VecNormalize(DummyVecEnv([lambda: tiny.Corridor(2, 3)]))
    with pytest.raises(ValueError, match="VecNormalize"):
        td_gradients(tiny.agent(env=env), *steps())


def test_a_loss_of_another_network_is_refused() -> None:
    class Other(ContinualDQN):
        def td_loss(self, samples: Any) -> torch.Tensor:
            return self.policy.q_net(samples.observations).mean()  # type: ignore[no-any-return]

    with pytest.raises(ValueError, match="td_loss of Other does not depend on its q_net"):
        td_gradients(corridor(kind=Other), *steps())
