"""Importance of parameters, against loops over states, closed forms and the usual mistakes."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import DQN
from stable_baselines3.dqn.policies import QNetwork
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from continual_arcade.agents.methods import importance as importance_module
from continual_arcade.agents.methods.importance import (
    Parameters,
    fisher_gauss,
    fisher_labels,
    fisher_policy,
    fisher_td,
    mas,
    median_gap,
    normalise,
)

SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.integers(1, 20)
ACTIONS = st.integers(2, 4)
FEATURES = 3
TEMPERATURE = 0.7

# Name -> importance of a network for states, with all else that it needs made up from them.
KINDS: dict[str, Callable[..., Parameters]] = {
    "gauss": fisher_gauss,
    "policy": lambda network, states, **options: fisher_policy(
        network, states, TEMPERATURE, **options
    ),
    "td": lambda network, states, **options: fisher_td(
        network, states, *experience(states), **options
    ),
    "mas q": lambda network, states, **options: mas(network, states, "q", **options),
    "mas advantage": lambda network, states, **options: mas(
        network, states, "advantage", **options
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True, scope="module", params=["perceptrons", "any network"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Everything here holds for both ways to the gradients."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "any network":
            patch.setattr(importance_module, "as_perceptron", lambda network: None)
        yield request.param


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def experience(states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Actions and targets; the errors are on both sides of the kinks of the Huber loss."""
    return torch.arange(len(states)) % 2, 3 * states.flatten(1)[:, 0].sin()


def fill(network: nn.Module, seed: int) -> nn.Module:
    """Draw double-precision parameters without touching the global generator."""
    network.double()
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            parameter.copy_(normal((seed + index) % 2**32, *parameter.shape))
    return network


def small(seed: int, actions: int = 3, hidden: int = 5) -> nn.Module:
    return fill(
        nn.Sequential(nn.Linear(FEATURES, hidden), nn.Tanh(), nn.Linear(hidden, actions)), seed
    )


def linear(seed: int, actions: int = 2, features: int = FEATURES) -> nn.Linear:
    network = fill(nn.Linear(features, actions), seed)
    assert isinstance(network, nn.Linear)
    return network


def agree(one: Parameters, other: Parameters, rtol: float = 1e-10) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        assert not a.requires_grad
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=rtol, atol=1e-13)


def gradient(scalar: torch.Tensor, network: nn.Module) -> Parameters:
    return list(torch.autograd.grad(scalar, list(network.parameters()), retain_graph=True))


def length(values: torch.Tensor, target: str) -> torch.Tensor:
    if target == "mas advantage":
        values = values - values.mean(-1, keepdim=True)
    return (values**2).sum(-1)


def terms(kind: str, network: nn.Module, states: torch.Tensor) -> list[list[tuple[float, Any]]]:
    """For each state: the weights and the scalars whose gradients are squared (MAS: abs)."""
    actions, targets = experience(states)
    result = []
    for state, action, target in zip(states, actions, targets, strict=True):
        values = network(state[None])[0]
        if kind == "gauss":
            result.append([(1.0, value) for value in values])
        elif kind == "policy":
            log_policy = functional.log_softmax(values / TEMPERATURE, dim=0)
            result.append([(float(entry.detach().exp()), entry) for entry in log_policy])
        elif kind == "td":
            result.append([(1.0, functional.smooth_l1_loss(values[action], target, beta=1.0))])
        else:
            result.append([(1.0, length(values, kind))])
    return result


def by_loop(kind: str, network: nn.Module, states: torch.Tensor) -> Parameters:
    total = [torch.zeros_like(parameter) for parameter in network.parameters()]
    for state in terms(kind, network, states):
        for weight, scalar in state:
            for entry, slope in zip(total, gradient(scalar, network), strict=True):
                entry += weight * (slope.abs() if kind.startswith("mas") else slope**2)
    return [(entry / len(states)).detach() for entry in total]


def by_batch(kind: str, network: nn.Module, states: torch.Tensor) -> Parameters:
    """The usual mistake: average first, then square or take the absolute value."""
    rows = terms(kind, network, states)
    total = [torch.zeros_like(parameter) for parameter in network.parameters()]
    for column in zip(*rows, strict=True):
        mean = torch.stack([math.sqrt(weight) * scalar for weight, scalar in column]).mean()
        for entry, slope in zip(total, gradient(mean, network), strict=True):
            entry += slope.abs() if kind.startswith("mas") else slope**2
    return [entry.detach() for entry in total]


# --- against a loop over the states -------------------------------------------------------------


@every_kind
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, count=COUNTS, actions=ACTIONS)
def test_it_equals_a_loop_over_the_states(kind: str, seed: int, count: int, actions: int) -> None:
    network, states = small(seed, actions), normal(seed, count, FEATURES)
    agree(KINDS[kind](network, states), by_loop(kind, network, states))


@every_kind
def test_of_one_state_the_batch_is_right_too(kind: str) -> None:
    network, states = small(1), normal(2, 1, FEATURES)
    agree(KINDS[kind](network, states), by_batch(kind, network, states))


@every_kind
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, count=COUNTS, actions=ACTIONS)
def test_the_batch_gradient_is_never_larger(kind: str, seed: int, count: int, actions: int) -> None:
    network, states = small(seed, actions), normal(seed, count, FEATURES)
    right = KINDS[kind](network, states)
    for a, b in zip(right, by_batch(kind, network, states), strict=True):
        assert (a >= 0).all()
        assert (a >= b * (1 - 1e-9) - 1e-13).all()


@every_kind
def test_the_batch_gradient_fails_the_comparison(kind: str) -> None:
    network, states = small(1), normal(2, 32, FEATURES)
    with pytest.raises(AssertionError):
        agree(by_batch(kind, network, states), by_loop(kind, network, states), rtol=0.05)


def test_the_square_of_the_batch_gradient_is_too_small_by_the_size_of_the_batch() -> None:
    """Where gradients have a mean of zero: those of a linear network are centred features."""
    count = 64
    network, states = linear(1, features=500), normal(2, count, 500)
    weight, bias = fisher_gauss(network, states)
    wrong_weight, wrong_bias = by_batch("gauss", network, states)
    assert float(wrong_weight.sum() / weight.sum()) == pytest.approx(1 / count, rel=0.2)
    # The bias has the same gradient in all states: nothing cancels.
    agree([bias], [wrong_bias])


def test_the_batch_gradient_of_mas_is_much_too_small_where_signs_differ() -> None:
    network, states = linear(1), normal(2, 500, FEATURES)
    nn.init.zeros_(network.bias)
    weight, bias = mas(network, states, "q")
    wrong_weight, wrong_bias = by_batch("mas q", network, states)
    assert (wrong_weight < weight).all()
    assert (wrong_bias < 0.3 * bias).all()


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, count=COUNTS, batch=st.integers(2, 7))
def test_batches_of_td_are_what_they_say(seed: int, count: int, batch: int) -> None:
    """The usual mistake on purpose: that of each batch, weighed with how many states it has."""
    network, states = small(seed), normal(seed, count, FEATURES)
    actions, targets = experience(states)
    expected = [torch.zeros_like(parameter) for parameter in network.parameters()]
    for start in range(0, count, batch):
        some = slice(start, start + batch)
        values = network(states[some]).gather(1, actions[some, None])[:, 0]
        loss = functional.smooth_l1_loss(values, targets[some])
        for entry, slope in zip(expected, gradient(loss, network), strict=True):
            entry += len(values) / count * slope**2
    next(network.parameters()).requires_grad_(False)  # what a user has frozen is rated, too
    found = fisher_td(network, states, actions, targets, batch=batch)
    agree(found, [entry.detach() for entry in expected])
    if count > 1:
        with pytest.raises(AssertionError):
            agree(fisher_td(network, states, actions, targets), found)


class Even:
    """In place of a generator: numbers that are spread evenly over [0, 1)."""

    def random(self, shape: tuple[int, ...]) -> Any:
        return ((np.arange(shape[0]) + 0.5) / shape[0]).reshape(shape)


@settings(max_examples=6, deadline=None)
@given(seed=SEEDS, actions=ACTIONS, temperature=st.floats(3, 20))
def test_sampled_actions_are_those_of_the_policy(
    seed: int, actions: int, temperature: float
) -> None:
    network = small(seed, actions)
    states = normal(seed, 1, FEATURES).expand(5_000, -1)
    even: Any = Even()
    found = importance_module.fisher_sampled(network, states, temperature, even)
    for a, b in zip(found, fisher_policy(network, states, temperature), strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=2e-3 * float(b.max()) + 1e-12)


def test_actions_that_are_not_of_the_policy_would_be_found() -> None:
    network = small(1)
    states = normal(2, 1, FEATURES).expand(5_000, -1)

    class Low:
        def random(self, shape: tuple[int, ...]) -> Any:
            return np.zeros(shape)  # always the first action

    low: Any = Low()
    found = importance_module.fisher_sampled(network, states, 5.0, low)
    right = fisher_policy(network, states, 5.0)
    assert not all(torch.allclose(a, b, rtol=0.05) for a, b in zip(found, right, strict=True))


# --- closed forms of a linear network -----------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, count=COUNTS)
def test_closed_form_gauss(seed: int, count: int) -> None:
    network, x = linear(seed), normal(seed + 9, count, FEATURES)
    agree(fisher_gauss(network, x), [(x**2).mean(0).expand(2, -1), torch.ones(2).double()])


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, count=COUNTS, temperature=st.floats(0.2, 50))
def test_closed_form_policy(seed: int, count: int, temperature: float) -> None:
    network, x = linear(seed), normal(seed + 9, count, FEATURES)
    with torch.no_grad():
        values = network(x)
    first = 1 / (1 + ((values[:, 1] - values[:, 0]) / temperature).exp())
    sharpness = first * (1 - first) / temperature**2
    expected = [(sharpness[:, None] * x**2).mean(0).expand(2, -1), sharpness.mean().expand(2)]
    agree(fisher_policy(network, x, temperature), expected)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, count=COUNTS, spread=st.sampled_from([0.1, 1.0, 10.0]))
def test_closed_form_td(seed: int, count: int, spread: float) -> None:
    network, x = linear(seed), normal(seed + 9, count, FEATURES)
    actions = torch.randint(2, (count,), generator=generator(seed))
    errors = spread * normal(seed + 10, count)
    with torch.no_grad():
        targets = network(x)[torch.arange(count), actions] - errors
    slopes = torch.where(errors.abs() < 1, errors, errors.sign()) ** 2
    chosen = functional.one_hot(actions, 2).double() * slopes[:, None]
    agree(
        fisher_td(network, x, actions, targets),
        [(chosen[:, :, None] * x[:, None] ** 2).mean(0), chosen.mean(0)],
    )


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, count=COUNTS, actions=ACTIONS, target=st.sampled_from(["q", "advantage"]))
def test_closed_form_mas(seed: int, count: int, actions: int, target: Any) -> None:
    network, x = linear(seed, actions), normal(seed + 9, count, FEATURES)
    with torch.no_grad():
        output = network(x)
    if target == "advantage":
        output -= output.mean(1, keepdim=True)
    agree(
        mas(network, x, target),
        [(2 * output[:, :, None] * x[:, None]).abs().mean(0), (2 * output).abs().mean(0)],
    )


# --- what changes it, and what does not ---------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, shift=st.floats(-100, 100), temperature=st.sampled_from([None, TEMPERATURE]))
def test_a_shift_of_all_values_changes_no_decision(
    seed: int, shift: float, temperature: float | None
) -> None:
    network, states = small(seed), normal(seed, 15, FEATURES)

    def rate() -> dict[str, Parameters]:
        return {
            "policy": fisher_policy(network, states, temperature),
            "advantage": mas(network, states, "advantage"),
            "gauss": fisher_gauss(network, states),
        }

    before = rate()
    with torch.no_grad():
        list(network.parameters())[-1].add_(shift)
    for kind, importance in rate().items():
        for a, b in zip(importance, before[kind], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10 * float(b.max()))


def test_a_shift_of_all_values_inflates_mas() -> None:
    """The reason for "advantage"."""
    network, states = small(1), normal(2, 50, FEATURES)
    before = mas(network, states, "q")
    with torch.no_grad():
        list(network.parameters())[-1].add_(100.0)
    for a, b in zip(mas(network, states, "q"), before, strict=True):
        assert a.mean() > 10 * b.mean()


@pytest.mark.parametrize(("error", "smaller"), [(1.0, 0.01), (-0.8, 0.02)])
def test_td_vanishes_with_the_square_of_the_error(error: float, smaller: float) -> None:
    network, states = small(1), normal(2, 50, FEATURES)
    actions = torch.arange(50) % 3
    with torch.no_grad():
        values = network(states)[torch.arange(50), actions]
    large = fisher_td(network, states, actions, values - error)
    little = fisher_td(network, states, actions, values - smaller)
    agree([tensor * (smaller / error) ** 2 for tensor in large], little, rtol=1e-9)
    # Beyond the kink the slope no longer grows.
    sign = math.copysign(1.0, error)
    agree(
        fisher_td(network, states, actions, values - 30 * sign),
        fisher_td(network, states, actions, values - sign),
        rtol=1e-9,
    )


def test_td_takes_columns_too() -> None:
    """As replay buffers give them."""
    network, states = small(1), normal(2, 9, FEATURES)
    actions, targets = experience(states)
    expected = fisher_td(network, states, actions, targets)
    agree(fisher_td(network, states, actions[:, None], targets[:, None], chunk=4), expected)
    agree(fisher_td(network, states, actions[:, None], targets, chunk=4), expected)


def test_a_policy_that_is_certain_has_no_importance() -> None:
    network, states = small(1), normal(2, 50, FEATURES)
    sizes = [
        float(sum(tensor.sum() for tensor in fisher_policy(network, states, temperature)))
        for temperature in (median_gap(network, states), 1e-4)
    ]
    assert sizes[1] < 1e-9 * sizes[0]


@every_kind
@settings(max_examples=6, deadline=None)
@given(seed=SEEDS, count=st.integers(1, 40), chunk=st.integers(1, 50))
def test_chunks_do_not_matter(kind: str, seed: int, count: int, chunk: int) -> None:
    network, states = small(seed), normal(seed, count, FEATURES)
    for size in (7, chunk):
        agree(
            KINDS[kind](network, states, chunk=size),
            KINDS[kind](network, states, chunk=256),
            rtol=1e-12,
        )


def test_the_chunk_bounds_what_is_in_memory() -> None:
    sizes = []

    class Watch(nn.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            sizes.append(len(batch))
            return super().forward(batch)

    network, states = fill(Watch(FEATURES, 2), 1), normal(2, 20, FEATURES)
    median_gap(network, states, chunk=8)
    assert sizes == [8, 8, 4]
    fisher_gauss(network, states, chunk=8)
    # The values of a chunk; then its gradients, at once, but each state on its own.
    assert sizes[3:] == [8, 8, 4, 1, 1, 1]


@every_kind
def test_more_states_need_no_larger_tensors(kind: str) -> None:
    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, operation: Any, _: Any, args: Any, options: Any) -> Any:
            result = operation(*args, **(options or {}))
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor):
                    self.size = max(self.size, tensor.numel())
            return result

    def largest(count: int, chunk: int) -> int:
        with Largest() as largest:
            KINDS[kind](small(1, hidden=100), normal(2, count, FEATURES), chunk=chunk)
        return largest.size

    assert largest(80, chunk=8) == largest(8, chunk=8) < largest(80, chunk=80)


@every_kind
def test_parameters_that_play_no_part_have_no_importance(kind: str) -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Parameter(torch.zeros(4))
            self.used = nn.Linear(FEATURES, 3)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            values: torch.Tensor = self.used(batch)
            return values

    spare, *used = KINDS[kind](fill(Spare(), 1), normal(2, 5, FEATURES))
    assert spare.tolist() == [0.0] * 4
    assert all((tensor > 0).any() for tensor in used)


# --- the median gap -----------------------------------------------------------------------------


def identity(actions: int) -> nn.Module:
    network = linear(0, actions, actions)
    with torch.no_grad():
        network.weight.copy_(torch.eye(actions))
        network.bias.zero_()
    return network


def test_median_gap() -> None:
    values = torch.tensor([[5.0, 1, 4], [-3, -9, -1], [0, 7, 0], [2, 2, -50]]).double()
    assert median_gap(identity(3), values) == pytest.approx(1.5)  # of 1, 2, 7, 0
    assert median_gap(identity(3), values[:3], chunk=2) == pytest.approx(2.0)


def test_without_a_temperature_it_is_the_median_gap() -> None:
    network, states = small(1), normal(2, 50, FEATURES)
    gap = median_gap(network, states)
    agree(fisher_policy(network, states), fisher_policy(network, states, gap))
    with pytest.raises(AssertionError):
        agree(fisher_policy(network, states), fisher_policy(network, states, 2 * gap))


# --- networks as they are used ------------------------------------------------------------------


@pytest.fixture
def q_network() -> QNetwork:
    model = DQN("MlpPolicy", gym.make("CartPole-v1"), device="cpu", seed=0, buffer_size=10)
    return model.q_net


def state_of(network: nn.Module) -> list[Any]:
    return [
        [module.training for module in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [parameter.detach().numpy().tobytes() for parameter in network.parameters()],
        [None if p.grad is None else p.grad.numpy().tobytes() for p in network.parameters()],
        [buffer.numpy().tobytes() for buffer in network.buffers()],
        torch.get_rng_state().numpy().tobytes(),
        np.random.get_state()[1].tobytes(),  # type: ignore[index]  # noqa: NPY002
    ]


@every_kind
@pytest.mark.parametrize("training", [True, False])
def test_stable_baselines_network_is_rated_and_left_alone(
    kind: str, training: bool, q_network: QNetwork
) -> None:
    states = normal(3, 20, 4).float()
    q_network.train(training)
    first, *others = q_network.parameters()
    first.grad = torch.ones_like(first)
    others[0].requires_grad_(False)
    before = state_of(q_network)
    importance = KINDS[kind](q_network, states, chunk=6)
    median_gap(q_network, states)
    assert state_of(q_network) == before
    assert [t.shape for t in importance] == [p.shape for p in q_network.parameters()]
    others[0].requires_grad_(True)
    agree(importance, by_loop(kind, q_network, states), rtol=1e-3)
    with torch.no_grad():
        agree(importance, KINDS[kind](q_network, states, chunk=6))


def test_image_networks() -> None:
    """A network with convolutions, whose states have more than one dimension."""
    network = fill(
        nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 2)), seed=1
    )
    states = normal(2, 6, 2, 4, 4)
    for kind, rate in KINDS.items():
        agree(rate(network, states), by_loop(kind, network, states))


@every_kind
def test_dropout_is_off_and_comes_back(kind: str) -> None:
    plain, states = small(1), normal(2, 20, FEATURES)
    assert isinstance(plain, nn.Sequential)
    dropping = nn.Sequential(
        plain[0],
        nn.Dropout(0.5),
        plain[1],
        nn.BatchNorm1d(5, eps=0.0, affine=False).double(),
        plain[2],
    )
    # The running mean is 0, the variance 1: in evaluation the normalisation does nothing.
    dropping.train()
    dropping[3].eval()
    before = state_of(dropping)
    agree(KINDS[kind](dropping, states), KINDS[kind](plain, states))
    assert median_gap(dropping, states) == pytest.approx(median_gap(plain, states))
    assert state_of(dropping) == before


def test_the_training_flag_comes_back_after_errors() -> None:
    class Broken(nn.Linear):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            assert not self.training
            raise RuntimeError("broken")

    broken, states = Broken(FEATURES, 2), normal(1, 4, FEATURES)
    rates: list[Callable[..., object]] = [*KINDS.values(), median_gap]
    for rate in rates:
        with pytest.raises(RuntimeError, match="broken"):
            rate(broken, states)
        assert broken.training
    network = small(1)
    with pytest.raises(ValueError, match="actions contain 3"):
        fisher_td(network, states, torch.tensor([0, 1, 2, 3]), states[:, 0], chunk=2)
    assert network.training


# --- normalise ----------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, scale=st.sampled_from([1e-30, 1.0, 1e30]))
def test_normalise(seed: int, scale: float) -> None:
    importance = [scale * normal(seed, 4, 3).square(), scale * normal(seed + 1, 5).square()]
    originals = [tensor.clone() for tensor in importance]
    mean = normalise(importance, "mean")
    assert torch.cat([tensor.flatten() for tensor in mean]).mean() == pytest.approx(1)
    trace = normalise(importance, "trace")
    assert sum(float(tensor.sum()) for tensor in trace) == pytest.approx(1)
    agree(mean, [17 * tensor for tensor in trace])
    none = normalise(importance, "none")
    for after, before, same, now in zip(importance, originals, none, mean, strict=True):
        assert torch.equal(after, before)
        assert torch.equal(same, before)
        assert same is not after
        assert now.numpy() / before.numpy() == pytest.approx(
            float(mean[0][0, 0] / originals[0][0, 0])
        )


def test_normalise_copes_with_tiny_numbers_of_single_precision() -> None:
    tiny = torch.zeros(1_000)
    tiny[0] = 1e-44
    normalised = normalise([tiny], "mean")[0]
    assert normalised.dtype == torch.float32
    assert normalised[0] == pytest.approx(1_000)


@pytest.mark.parametrize("how", ["mean", "trace", "none"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, 0.0], "zero for all parameters"),
        ([1.0, math.nan], "not finite"),
        ([1.0, math.inf], "not finite"),
    ],
)
def test_importance_that_cannot_be_normalised(how: Any, values: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normalise([torch.zeros(2), torch.tensor(values)], how)


def test_unknown_names() -> None:
    network, states = small(1), normal(2, 4, FEATURES)
    with pytest.raises(ValueError, match="how = 'max'"):
        normalise([torch.ones(2)], "max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="target = 'policy'"):
        mas(network, states, "policy")  # type: ignore[arg-type]


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "gap"])
@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((0, FEATURES), {}, r"states have shape \(0, 3\): there must be at least one"),
        ((5,), {}, r"states have shape \(5,\): it must be \(count, \.\.\.\)"),
        ((5, 2, FEATURES), {}, r"values .* have shape"),
        ((5, FEATURES), {"chunk": 0}, "chunk = 0"),
    ],
)
def test_bad_states(kind: str, shape: tuple[int, ...], options: Any, message: str) -> None:
    def td(network: nn.Module, states: torch.Tensor, **options: Any) -> Parameters:
        # experience() would stumble over these shapes itself.
        nothing = torch.zeros(shape[:1])
        return fisher_td(network, states, nothing.long(), nothing, **options)

    rate: Any = {**KINDS, "gap": median_gap, "td": td}[kind]
    with pytest.raises(ValueError, match=message):
        rate(small(1), torch.zeros(shape).double(), **options)


@every_kind
def test_states_that_are_not_of_the_observation_space(kind: str, q_network: QNetwork) -> None:
    with pytest.raises(ValueError, match=r"\(3, 2, 2\): each must be of shape \(4,\)"):
        KINDS[kind](q_network, torch.ones(3, 2, 2))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_bad_temperatures(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature = {temperature}"):
        fisher_policy(small(1), normal(2, 4, FEATURES), temperature)


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_bad_median_gaps(value: float) -> None:
    states = torch.full((4, 2), value).double()
    with pytest.raises(ValueError, match=f"temperature = {value}, the median gap,"):
        fisher_policy(identity(2), states)


def test_one_action_is_no_decision() -> None:
    network, states = small(1, actions=1), normal(2, 4, FEATURES)
    calls: list[Callable[[], object]] = [
        lambda: median_gap(network, states),
        lambda: fisher_policy(network, states, 1.0),
        lambda: mas(network, states, "advantage"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="at least 2 actions"):
            call()
    agree(fisher_gauss(network, states), by_loop("gauss", network, states))
    agree(mas(network, states, "q"), by_loop("mas q", network, states))


@pytest.mark.parametrize(
    ("actions", "targets", "message"),
    [
        ([0, 1], [0.0, 0.0, 0.0], r"actions have shape \(2,\): it must be \(3,\) or"),
        ([[0, 1, 0]], [0.0, 0.0, 0.0], r"actions have shape \(1, 3\)"),
        ([0, 1, 0], [0.0], r"targets have shape \(1,\)"),
        ([0, 1, 0], [0.0, math.inf, 0.0], "targets must be finite"),
        ([0.0, 1.0, 0.0], [0.0, 0.0, 0.0], "actions are of torch.float32"),
        ([True, False, True], [0.0, 0.0, 0.0], "actions are of torch.bool"),
        ([0, -1, 0], [0.0, 0.0, 0.0], "actions contain -1: there are only 2"),
        ([0, 2, 0], [0.0, 0.0, 0.0], "actions contain 2: there are only 2"),
    ],
)
def test_bad_experience(actions: Any, targets: Any, message: str) -> None:
    network, states = small(1, actions=2), normal(2, 3, FEATURES)
    with pytest.raises(ValueError, match=message):
        fisher_td(network, states, torch.tensor(actions), torch.tensor(targets))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1]), r"labels have shape \(2,\): it must be \(3,\)"),
        (torch.tensor([0.0, 1.0, 1.0]), "labels are of torch.float32: they must be whole"),
        (torch.tensor([0, 1, 2]), "labels contain 2: there are only 2"),
        (torch.tensor([0, -1, 1]), "labels contain -1"),
    ],
)
def test_labels_that_there_are_not_are_refused(labels: torch.Tensor, message: str) -> None:
    network = nn.Sequential(nn.Linear(4, 2))
    with pytest.raises(ValueError, match=message):
        fisher_labels(network, torch.zeros(3, 4), labels, "cross_entropy")
