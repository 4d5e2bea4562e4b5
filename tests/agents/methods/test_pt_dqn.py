"""PT-DQN: two networks by hand, what a lesson leads to in closed form, and what stays 0."""

from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from fake_learner import normal
from torch import nn
from torch.nn.utils import parameters_to_vector

from continual_arcade.agents import ContinualDQN
from continual_arcade.agents.crelu import CReLU
from continual_arcade.agents.methods import halves, pt_dqn
from continual_arcade.agents.methods.halves import half_of, learn_values, linear
from continual_arcade.agents.methods.pt_dqn import PTDQN
from continual_arcade.agents.methods.tensors import parameters

NEVER = 1_000_000
TWO_LAYERS = {"net_arch": [12, 8]}


def agent(*parts: Any, **settings: Any) -> ContinualDQN:
    return tiny.agent(*parts, **{"policy": TWO_LAYERS, **settings})


def alone(network: Any, second: bool, biases: Any) -> nn.Sequential:
    """One of the two networks, taken out of both, unit by unit."""
    layers: list[nn.Module] = []
    found = linear(network)
    inputs = list(range(found[0].in_features))
    for i, layer in enumerate(found):
        last = i == len(found) - 1
        units = list(range(layer.out_features))
        if not last:
            units = [u for u in units if (u >= layer.out_features / 2) == second]
        one = nn.Linear(len(inputs), len(units))
        with torch.no_grad():
            for a, unit in enumerate(units):
                one.bias[a] = biases[unit] if last else layer.bias[unit]
                for b, feature in enumerate(inputs):
                    one.weight[a, b] = layer.weight[unit, feature]
        layers += [one, nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers[:-1])


def both(learner: ContinualDQN, part: PTDQN) -> tuple[nn.Sequential, nn.Sequential]:
    """The transient and the permanent network of an agent."""
    shift = torch.from_numpy(part.shift)
    rest = linear(learner.q_net)[-1].bias.detach() - shift
    return alone(learner.q_net, False, rest), alone(learner.q_net, True, shift)


def trained(part: PTDQN, engine: str = "torch", steps: int = 200) -> ContinualDQN:
    return tiny.live(agent(part, engine=engine), steps)


def states(learner: ContinualDQN, count: int = 50) -> torch.Tensor:
    return torch.as_tensor(learner.replay.observations[:count, 0].copy())


# --- two networks -------------------------------------------------------------------------------


@tiny.EACH_ENGINE
def test_values_are_the_sum_of_two_networks(engine: str) -> None:
    part = PTDQN(every=40, updates=20)
    learner = trained(part, engine)
    assert learner.runs_compiled == (engine == "compiled")
    transient, permanent = both(learner, part)
    seen = states(learner)
    torch.testing.assert_close(learner.q_net(seen), transient(seen) + permanent(seen))
    for network in (transient, permanent):
        assert float(network(seen).detach().std()) > 1e-4
    between = linear(learner.q_net)[1].weight
    assert not between[:4, 6:].any()
    assert not between[4:, :6].any()


@tiny.EACH_ENGINE
def test_td_learning_moves_the_transient_network_alone(engine: str) -> None:
    part = PTDQN(every=100, updates=20)
    learner = trained(part, engine, 140)
    before = [tensor.clone() for tensor in half_tensors(learner, second=True)]
    moved = [tensor.clone() for tensor in half_tensors(learner, second=False)]
    tiny.live(learner, 40, reset_num_timesteps=False)
    assert part.last == 100
    assert all(map(torch.equal, half_tensors(learner, second=True), before))
    assert not any(map(torch.equal, half_tensors(learner, second=False), moved))


def half_tensors(learner: ContinualDQN, second: bool) -> list[torch.Tensor]:
    tensors = [tensor for pair in half_of(learner.q_net, second) for tensor in pair]
    return tensors[:-1] if second else tensors  # the last biases are those of both


def by_hand(transient: Any, permanent: Any, target: Any, samples: Any) -> list[torch.Tensor]:
    """Gradients of the transient network by the loss of the paper, with double Q and Huber."""
    with torch.no_grad():
        after = samples.next_observations
        best = (transient(after) + permanent(after)).argmax(1, keepdim=True)
        following = (target(after) + permanent(after)).gather(1, best)
        wanted = samples.rewards + samples.discounts * (1 - samples.dones) * following
    seen = samples.observations
    values = (transient(seen) + permanent(seen).detach()).gather(1, samples.actions.long())
    loss = nn.functional.huber_loss(values, wanted)
    return list(torch.autograd.grad(loss, list(transient.parameters())))


def check_gradient(part: PTDQN) -> None:
    learner = trained(part)
    transient, permanent = both(learner, part)
    rest = linear(learner.q_net_target)[-1].bias.detach() - torch.from_numpy(part.shift)
    target = alone(learner.q_net_target, False, rest)
    samples = learner.replay.gather(learner.replay.stored_slots()[:40])
    expected = by_hand(transient, permanent, target, samples)
    learner.optimizer.zero_grad()
    learner.td_loss(samples).backward()
    part.project(learner)
    for tensor, found in zip(learner.q_net.parameters(), with_gradient(learner), strict=True):
        tensor.grad = found
    gradient = deepcopy(learner.q_net)
    for tensor, of in zip(gradient.parameters(), learner.q_net.parameters(), strict=True):
        assert of.grad is not None
        tensor.data.copy_(of.grad)
    found = [tensor for pair in half_of(gradient, second=False) for tensor in pair]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    rest_of = [tensor for pair in half_of(gradient, second=True) for tensor in pair][:-1]
    assert not any(bool(tensor.any()) for tensor in rest_of)


def with_gradient(learner: ContinualDQN) -> list[torch.Tensor]:
    found = [tensor.grad for tensor in learner.q_net.parameters()]
    assert all(tensor is not None for tensor in found)
    return found  # type: ignore[return-value]


def test_gradients_are_those_of_two_networks_by_hand() -> None:
    check_gradient(PTDQN(every=40, updates=20))


class Mixed(PTDQN):
    """A mistake: weights between the halves are learnt, too."""

    name: ClassVar[str] = "mixed"

    def freeze(self, learner: Any, frozen: Any) -> None:
        super().freeze(learner, [torch.zeros_like(tensor) for tensor in frozen])


def test_weights_between_them_are_found() -> None:
    with pytest.raises(AssertionError):
        check_gradient(Mixed(every=40, updates=20))


@tiny.EACH_ENGINE
def test_without_lessons_it_is_the_dqn_of_half_the_units(engine: Any) -> None:
    """The permanent values are 0, and what is transient is a network of its own, bit for bit."""
    settings: dict[str, Any] = {"engine": engine, "max_grad_norm": np.inf}
    part = PTDQN(every=NEVER)
    learner = agent(part, **settings)
    part.phase_start(learner, 0)  # which splits it
    small = tiny.agent(policy={"net_arch": [6, 4]}, **settings)
    start = half_tensors(learner, second=False)
    with torch.no_grad():
        for network in (small.q_net, small.q_net_target):
            for tensor, value in zip(network.parameters(), start, strict=True):
                tensor.copy_(value)
    for one in (learner, small):
        tiny.live(one)
        assert one.runs_compiled == (engine == "compiled")
    found, plain = half_tensors(learner, second=False), parameters(small)
    if engine == "compiled":
        assert all(map(torch.equal, found, plain))
    for one, other in zip(found, plain, strict=True):  # a BLAS adds otherwise, by size
        torch.testing.assert_close(one, other.detach(), rtol=0, atol=1e-5)
    assert not linear(learner.q_net)[-1].weight[:, 4:].any()


# --- lessons --------------------------------------------------------------------------------------


def one_layer(features: int, actions: int) -> Any:
    """A network without hidden layers, as far as a lesson looks at it."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q_net = nn.Sequential(nn.Linear(features, actions))

    return Linear()


def test_a_lesson_leads_to_least_squares() -> None:
    """Of a linear network, with a step size that falls."""
    states, values = normal(1, 60, 4).float(), normal(2, 60, 2).float()
    network = one_layer(4, 2)
    half = [(torch.zeros(2, 4), torch.zeros(2))]
    for rate in (0.1, 0.01, 0.001, 0.0001):
        error = learn_values(half, network, [(states, values)] * 400, rate)
    with_ones = np.hstack([states.numpy(), np.ones((60, 1))])
    best, residuals, *_ = np.linalg.lstsq(with_ones, values.numpy())
    found = torch.hstack([half[0][0], half[0][1][:, None]]).detach().numpy().T
    np.testing.assert_allclose(found, best, atol=1e-4)
    assert error == pytest.approx(residuals.sum() / 120, rel=1e-4)


def test_a_table_becomes_the_mean_of_what_was_said_of_each_state() -> None:
    states = torch.eye(3)[[0, 0, 1, 2, 2, 2]]
    values = torch.tensor([[1.0], [3.0], [5.0], [0.0], [1.0], [5.0]])
    half = [(torch.zeros(1, 3), torch.zeros(1))]
    for rate in (0.1, 0.01, 0.001):
        learn_values(half, one_layer(3, 1), [(states, values)] * 600, rate)
    said = (half[0][0] + half[0][1]).detach().numpy()
    np.testing.assert_allclose(said, [[2.0, 5.0, 2.0]], atol=1e-3)


def check_lesson(part: PTDQN, keep: float, updates: int = 2_000, close: float = 0.03) -> None:
    """After a long lesson: Q_P is what Q was, and Q_T is ``keep`` times what it was."""
    learner = trained(part)
    seen = states(learner, 20)
    old = [network(seen).detach() for network in both(learner, part)]
    part.keep, part.updates, part.rate = keep, updates, 3e-3
    learner.replay.observations[:] = learner.replay.observations[:20].repeat(10, 0)
    part.act(learner)
    transient, permanent = (network(seen).detach() for network in both(learner, part))
    torch.testing.assert_close(transient, keep * old[0], rtol=1e-5, atol=1e-5)
    spread = float((old[0] + old[1]).std())
    off = float((permanent - old[0] - old[1]).square().mean()) ** 0.5
    assert off < close * spread, "the permanent network does not say what both said"
    assert (
        tiny.bits(learner)[: len(tiny.bits(learner)) // 2]
        == tiny.bits(learner)[len(tiny.bits(learner)) // 2 :]
    )


@pytest.mark.parametrize(
    "keep",
    [0.5, pytest.param(0.0, marks=pytest.mark.slow), pytest.param(1.0, marks=pytest.mark.slow)],
)
def test_a_lesson_hands_over_what_both_say(keep: float) -> None:
    check_lesson(PTDQN(every=100, updates=20), keep)


def test_other_lessons_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are so far off that a fifth of the lesson shows it, and who teaches rightly is not."""
    short: dict[str, Any] = {"keep": 0.5, "updates": 400, "close": 0.1}
    check_lesson(PTDQN(every=100, updates=20), **short)

    class Moving(PTDQN):
        """A mistake: what is taught follows what has been learnt."""

        name: ClassVar[str] = "moving"

        def _lesson(self, learner: Any, teacher: Any) -> Any:
            return super()._lesson(learner, learner.q_net)

    with pytest.raises(AssertionError, match="does not say what both said"):
        check_lesson(Moving(every=100, updates=20), **short)

    class Forgetful(PTDQN):
        """A mistake: it learns what the transient network says, and forgets what it said."""

        name: ClassVar[str] = "forgetful"

        def _lesson(self, learner: Any, teacher: Any) -> Any:
            half_of(teacher, second=True)[-1][0].zero_()
            teacher.q_net[-1].bias.detach().sub_(torch.from_numpy(self.shift))
            return super()._lesson(learner, teacher)

    with pytest.raises(AssertionError, match="does not say what both said"):
        check_lesson(Forgetful(every=100, updates=300, rate=3e-3), **short)

    def doubled(half: Any, *others: Any) -> float:
        error = learn_values(half, *others)
        half[-1][1].data.mul_(2)
        return error

    monkeypatch.setattr(pt_dqn, "learn_values", doubled)
    with pytest.raises(AssertionError):
        check_lesson(PTDQN(every=100, updates=20), **short)


# --- around it ------------------------------------------------------------------------------------


@tiny.EACH_ENGINE
def test_what_is_resumed_ends_with_the_same_bits(engine: Any, tmp_path: Any) -> None:
    path = tmp_path / "half.zip"
    whole = agent(PTDQN(every=50, updates=5), engine=engine, average=0.9)
    tiny.live(whole, callback=tiny.SaveAt(180, path))
    resumed = ContinualDQN.load(path, tiny.life(), "cpu")
    tiny.live(resumed, tiny.LIFE - resumed.num_timesteps, reset_num_timesteps=False)
    assert not list(tiny.differences(tiny.inside(whole), tiny.inside(resumed)))


def test_both_engines_do_the_same() -> None:
    made = [trained(PTDQN(every=40, updates=5), engine, 300) for engine in ("torch", "compiled")]
    one, other = (parameters_to_vector(parameters(each)).detach() for each in made)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_it_splits_the_network_that_training_begins_with() -> None:
    part = PTDQN(every=NEVER)
    learner = agent(part, learning_rate=0.0)
    learner.set_parameters(agent(seed=1).get_parameters())
    expected = deepcopy(learner.q_net)
    halves.separate(expected)
    tiny.live(learner)
    assert all(map(torch.equal, parameters(learner), expected.parameters()))


@pytest.mark.parametrize(
    "policy",
    [
        {"net_arch": [7]},
        {"net_arch": []},
        {"net_arch": [8], "layer_norm": True},
        {"net_arch": [8], "dropout": 0.1},
        {"net_arch": [8], "activation_fn": nn.ELU},
        {"net_arch": [8], "activation_fn": CReLU},
    ],
    ids=str,
)
def test_networks_that_it_cannot_split_are_refused(policy: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'pt-dqn' splits each hidden layer .* relu or tanh"):
        tiny.agent(PTDQN(), policy=policy)


def test_what_is_frozen_is_refused() -> None:
    learner = trained(PTDQN(every=100, updates=5), steps=140)
    parameters(learner)[0].requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match=r"'pt-dqn' moves all parameters, and q_net.0.weight is"):
        tiny.live(learner, 100, reset_num_timesteps=False)


@pytest.mark.parametrize(("setting", "value"), [("every", 0), ("keep", 1.5), ("rate", 0)])
def test_bad_settings_are_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=f"pt-dqn: {setting}"):
        PTDQN(**{setting: value})
