"""Penalties: closed forms, explicit sums, identities, and the usual mistakes, which must fail."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal
from unittest import mock

import numpy as np
import pytest
import tiny
import torch
from fake_learner import FakeLearner, Point, Tensors, normal, now, same_bits, transitions
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from continual_arcade.agents import build_agent, compose
from continual_arcade.agents.continual_dqn import DivergedError
from continual_arcade.agents.methods import Batch, Part, make_part
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.l2 import L2
from continual_arcade.agents.methods.mas import MAS
from continual_arcade.agents.methods.online_ewc import OnlineEWC
from continual_arcade.agents.methods.quadratic import QuadraticPenalty
from continual_arcade.agents.methods.reptile import Reptile
from continual_arcade.agents.methods.si import SI
from continual_arcade.agents.methods.tensors import copies, gradients, parameters

PENALTIES = ("l2", "ewc", "online-ewc", "si", "mas")
each_penalty = pytest.mark.parametrize("name", PENALTIES)
SHAPES = ((3,), (2, 2))
SIZE = 7


def fails(check: Callable[[], object]) -> None:
    """A deliberately wrong variant must not pass the check."""
    with pytest.raises(AssertionError):
        check()


def close(one: Any, other: Any, rtol: float = 1e-9, atol: float = 1e-9) -> None:
    np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=rtol, atol=atol)


def split(flat: torch.Tensor) -> Tensors:
    """Seven numbers as parameters of two shapes."""
    return [piece.reshape(shape) for piece, shape in zip(flat.split([3, 4]), SHAPES, strict=True)]


def joined(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def nothing(network: Any, samples: Any) -> torch.Tensor:
    return 0 * network.flat().sum()


# --- one penalty for all phases -----------------------------------------------------------------


class LatestAnchor(L2):
    """What some call EWC: all importances around the last anchor."""

    merge: ClassVar[Literal["sum", "latest"]] = "latest"


class NoConstant(L2):
    """Forgets what the merged square lacks."""

    def value(self, tensors: Any) -> float:
        self.constant = 0.0
        return super().value(tensors)


def numbers(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    return st.lists(values, min_size=SIZE, max_size=SIZE)


POSITIONS = numbers(st.floats(-10, 10))
OMEGAS = numbers(st.just(0.0) | st.floats(1e-3, 1e3))
LAMS = st.just(0.0) | st.floats(1e-3, 1e3)


def check_merged(part: QuadraticPenalty, anchors: Any, theta: list[float]) -> None:
    """Value and gradient are those of the sum over the anchors."""
    at = torch.tensor(theta, dtype=torch.float64)
    learner = FakeLearner(Point(*split(at)), nothing, [part])
    value, gradient = 0.0, torch.zeros(SIZE, dtype=torch.float64)
    for omega, anchor in anchors:
        omega_k, theta_k = torch.tensor([omega, anchor], dtype=torch.float64)
        part.add_anchor(split(omega_k), split(theta_k))
        value += part.lam / 2 * float((omega_k * (at - theta_k) ** 2).sum())
        gradient += part.lam * omega_k * (at - theta_k)
    close(part.value(learner.q_net.parameters()), value, atol=1e-6)
    close(joined(learner.gradient_of(part)), gradient, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(LAMS, st.lists(st.tuples(OMEGAS, POSITIONS), min_size=1, max_size=4), POSITIONS)
def test_merged_penalties_are_their_sum(lam: float, anchors: Any, theta: list[float]) -> None:
    check_merged(L2(lam=lam), anchors, theta)


def test_the_latest_anchor_alone_is_not_their_sum() -> None:
    anchors = [([1.0] * SIZE, [0.0] * SIZE), ([2.0] * SIZE, [3.0] * SIZE)]
    theta = [1.0] * SIZE
    check_merged(L2(lam=2.0), anchors, theta)
    fails(lambda: check_merged(LatestAnchor(lam=2.0), anchors, theta))
    fails(lambda: check_merged(NoConstant(lam=2.0), anchors, theta))


def test_where_nothing_mattered_the_anchor_is_the_latest_and_finite() -> None:
    part = L2()
    zeros = torch.zeros(SIZE, dtype=torch.float64)
    for seed in (1, 2):
        part.add_anchor(split(zeros), split(normal(seed, SIZE)))
    assert torch.equal(joined(part.center), normal(2, SIZE))
    assert part.constant == 0


def test_where_a_parameter_stayed_its_anchor_stays_to_the_last_bit() -> None:
    """Or the pull there would be that of a rounding, of which Adam makes a whole step."""
    part, stayed = L2(), normal(1, SIZE).float()
    for seed in (2, 3, 4):
        part.add_anchor(split(normal(seed, SIZE).float().abs()), split(stayed))
        assert torch.equal(joined(part.center), stayed)
    assert part.constant == 0


def test_it_adds_to_the_gradient_that_is_there() -> None:
    part = L2(lam=3.0)
    learner = FakeLearner(Point(normal(0, SIZE)), nothing, [part])
    learner.end_phase()
    learner.put(normal(1, SIZE))
    learner.q_net.tensors[0].grad = normal(2, SIZE)
    part.add_gradient(learner)
    expected = normal(2, SIZE) + 3 * (normal(1, SIZE) - normal(0, SIZE))
    close(learner.q_net.tensors[0].grad, expected)


# --- linear regression, where everything has a closed form --------------------------------------

FEATURES = 3


class Doubled:
    """The penalty without its 1/2."""

    def add_gradient(self, learner: Any) -> None:
        super().add_gradient(learner)  # type: ignore[misc]
        super().add_gradient(learner)  # type: ignore[misc]


class DoubledEWC(Doubled, EWC):
    pass


class DoubledL2(Doubled, L2):
    pass


class LatestEWC(EWC):
    merge: ClassVar[Literal["sum", "latest"]] = "latest"


Job = tuple[torch.Tensor, torch.Tensor]


def task(seed: int) -> Job:
    """Inputs of unequal scale, so that importances differ; and what is to be predicted."""
    x = normal(seed, 30, FEATURES) * torch.tensor([0.5, 1.0, 1.5])
    return x, x @ normal(seed + 100, FEATURES) + 0.1 * normal(seed + 200, 30)


def regression(part: Part, **settings: Any) -> FakeLearner:
    """A learner of half the mean squared error."""

    def loss(network: Any, samples: Any) -> torch.Tensor:
        x, y = samples
        return 0.5 * (network(x)[:, 0] - y).square().mean()

    network = nn.Linear(FEATURES, 1, bias=False).double()
    return FakeLearner(network, loss, [part], lr=0.2, **settings)


def learn_tasks(
    part: Part, tasks: Sequence[Job], steps: int = 400
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Learn one task after the other; return where it ends, and where each one ended."""
    learner, ends = regression(part), []
    learner.put(torch.zeros(FEATURES))
    for phase, data in enumerate(tasks):
        if phase:
            learner.end_phase(phase - 1)
        learner.play(transitions(data[0].numpy()))
        learner._draw = lambda _, data=data: Batch(data)  # type: ignore[misc]
        learner.train(steps)
        ends.append(joined(now(learner.q_net)))
    return ends[-1], ends[:-1]


def check_closed_form(part: QuadraticPenalty, count: int, fisher: bool) -> None:
    """Where it ends solves (H + lam sum F_k) theta = b + lam sum F_k theta_k."""
    found, anchors = learn_tasks(part, [task(seed) for seed in range(count)])
    x, y = task(count - 1)
    left, right = x.T @ x / len(x), x.T @ y / len(x)
    for seed, anchor in enumerate(anchors):
        before, _ = task(seed)
        importance = (before**2).mean(0) if fisher else torch.ones(FEATURES, dtype=torch.float64)
        left = left + part.lam * importance.diag()
        right = right + part.lam * importance * anchor
    close(found, torch.linalg.solve(left, right), rtol=1e-8)


def test_ewc_on_a_linear_regression_ends_at_the_closed_form() -> None:
    check_closed_form(EWC(lam=0.7, normalise="none"), 3, fisher=True)
    fails(lambda: check_closed_form(DoubledEWC(lam=0.7, normalise="none"), 2, fisher=True))
    fails(lambda: check_closed_form(L2(lam=0.7), 2, fisher=True))


def test_ewc_holds_each_phase_around_its_own_anchor() -> None:
    fails(lambda: check_closed_form(LatestEWC(lam=0.7, normalise="none"), 3, fisher=True))


def test_l2_is_ridge_regression_to_the_anchor() -> None:
    check_closed_form(L2(lam=0.7), 3, fisher=False)
    fails(lambda: check_closed_form(DoubledL2(lam=0.7), 2, fisher=False))


@pytest.mark.parametrize(("how", "sums_to"), [("mean", FEATURES), ("trace", 1.0)])
def test_importance_is_normalised_for_each_phase(how: Any, sums_to: float) -> None:
    part = EWC(normalise=how)
    learner = regression(part)
    for count, scale in ((1, 1.0), (2, 50.0)):
        learner.play(transitions(scale * task(0)[0].numpy()))
        learner.end_phase(count)
        # Without normalisation, the second phase would count 2500 times as much.
        close(joined(part.omega).sum(), count * sums_to)


def test_only_the_newest_transitions_of_the_phase_tell_the_importance() -> None:
    part = EWC(samples=10, normalise="none")
    learner = regression(part)
    x = normal(0, 25, FEATURES)
    for rows in x.split(6):
        learner.play(transitions(rows.numpy()))
    learner.end_phase()
    close(joined(part.omega), (x[-10:] ** 2).mean(0))
    learner.play(transitions(normal(1, 4, FEATURES).numpy()))
    learner.end_phase(1)
    close(joined(part.omega), (x[-10:] ** 2).mean(0) + (normal(1, 4, FEATURES) ** 2).mean(0))


# --- linear regression on all tasks together ----------------------------------------------------


class OfTheMean(EWC):
    """Squares the mean gradient of the states, in which they cancel each other."""

    def estimate(self, learner: Any, transitions: Any) -> Parameters:
        mean = learner.q_net(torch.from_numpy(transitions.observations)).mean()
        slopes = torch.autograd.grad(mean, list(learner.q_net.parameters()))
        return [slope.square() for slope in slopes]


class EachAnchor(OnlineEWC):
    """Holds each phase around its own anchor, though the later ones know of the earlier phases."""

    merge: ClassVar[Literal["sum", "latest"]] = "sum"


class NewestOnly(OnlineEWC):
    """Forgets the penalty before the latest."""

    def add_anchor(self, importance: Parameters, anchor: Parameters) -> None:
        self.omega = []
        super().add_anchor(importance, anchor)


def rotation(seed: int, rows: int = FEATURES) -> torch.Tensor:
    """Orthonormal columns."""
    basis: torch.Tensor = torch.linalg.qr(normal(seed, rows, FEATURES)).Q
    return basis


def uncorrelated(seed: int) -> Job:
    """Inputs that are orthogonal: their Fisher information is its diagonal."""
    x = 30**0.5 * rotation(seed, 30) * torch.tensor([0.8, 1.0, 1.3])
    return x, x @ normal(seed + 100, FEATURES) + 0.1 * normal(seed + 200, 30)


def turned(data: Job, basis: torch.Tensor) -> Job:
    """The same task in other coordinates."""
    return data[0] @ basis, data[1]


def check_joint(part: QuadraticPenalty, tasks: Sequence[Job]) -> None:
    """Learnt one after the other, the tasks end where least squares on all their data do."""
    found, _ = learn_tasks(part, tasks, 200)
    x, y = (torch.cat(column) for column in zip(*tasks, strict=True))
    close(found, torch.linalg.lstsq(x, y[:, None]).solution[:, 0], rtol=1e-8)


def test_where_fisher_is_diagonal_ewc_ends_at_the_joint_solution() -> None:
    tasks = [uncorrelated(0), turned(uncorrelated(1), rotation(9))]
    check_joint(EWC(lam=1.0, normalise="none"), tasks)
    for wrong in (EWC(lam=2.0, normalise="none"), EWC(lam=1.0), L2(lam=1.0)):
        fails(lambda wrong=wrong: check_joint(wrong, tasks))  # type: ignore[misc]
    fails(lambda: check_joint(DoubledEWC(lam=1.0, normalise="none"), tasks))
    fails(lambda: check_joint(OfTheMean(lam=1.0, normalise="none"), tasks))


def test_in_its_eigenbasis_any_fisher_ends_at_the_joint_solution() -> None:
    tasks = [turned(uncorrelated(seed), rotation(seed + 7)) for seed in range(2)]
    fails(lambda: check_joint(EWC(lam=1.0, normalise="none"), tasks))
    basis = torch.linalg.eigh(tasks[0][0].T @ tasks[0][0]).eigenvectors
    check_joint(EWC(lam=1.0, normalise="none"), [turned(data, basis) for data in tasks])


def test_of_three_tasks_the_latest_anchor_knows_of_both_before() -> None:
    tasks = [uncorrelated(0), uncorrelated(1), turned(uncorrelated(2), rotation(9))]
    settings: dict[str, Any] = {"lam": 1.0, "decay": 1.0, "normalise": "none"}
    check_joint(OnlineEWC(**settings), tasks)
    for wrong in (EachAnchor, NewestOnly, FirstAnchor):
        fails(lambda wrong=wrong: check_joint(wrong(**settings), tasks))  # type: ignore[misc]
    fails(lambda: check_joint(OnlineEWC(**{**settings, "decay": 0.9}), tasks))


# --- which importance it is ---------------------------------------------------------------------

Terms = Callable[[int, torch.Tensor], list[tuple[float, torch.Tensor]]]
REWARDS = 2 * normal(81, 30)
ACTIONS = np.arange(30) % 2


def targets(samples: Any) -> torch.Tensor:
    """What is to be learnt, which is not the rewards."""
    return 2 * samples.rewards - 1  # type: ignore[no-any-return]


def slopes_of(learner: FakeLearner, terms: Terms) -> Iterator[tuple[float, torch.Tensor]]:
    """Go through all terms of all states, one by one."""
    for row, state in enumerate(task(0)[0]):
        for weight, term in terms(row, learner.q_net(state[None])[0]):
            slopes = torch.autograd.grad(term, learner.q_net.parameters(), retain_graph=True)
            yield weight, joined(slopes)


def gauss(row: int, q: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
    return [(1.0, value) for value in q]


def policy(temperature: float) -> Terms:
    def terms(row: int, q: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        powers = (q / temperature).exp()
        return [(float(p.detach()), p.log()) for p in powers / powers.sum()]

    return terms


def huber(row: int, q: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
    error = (q[ACTIONS[row]] - (2 * REWARDS[row] - 1)).abs()
    return [(1.0, error**2 / 2 if error < 1 else error - 0.5)]


def ended(part: Any) -> FakeLearner:
    """A learner of two values whose first phase has ended."""
    learner = make_learner(part)
    learner.td_targets = targets  # type: ignore[method-assign]
    played = transitions(task(0)[0].numpy(), REWARDS.numpy())
    learner.play(replace(played, actions=ACTIONS[:, None]))
    learner.end_phase()
    return learner


def check_fisher(part: EWC, terms: Terms) -> None:
    """The importance is the mean square of the gradients of these terms."""
    learner = ended(part)
    expected = sum(weight * slope.square() for weight, slope in slopes_of(learner, terms))
    close(joined(part.omega), expected / 30)


def median_gap() -> float:
    values = make_learner(EWC()).q_net(task(0)[0]).detach().numpy()
    return float(np.median(np.abs(values[:, 0] - values[:, 1])))


class Misread(EWC):
    """Does not do as it is set."""

    wrong: ClassVar[dict[str, Any]] = {}

    def estimate(self, learner: Any, transitions: Any) -> Parameters:
        with mock.patch.multiple(self, **self.wrong):
            return super().estimate(learner, transitions)


class TakenForTd(Misread):
    wrong: ClassVar[dict[str, Any]] = {"fisher": "td"}


class TakenForGauss(Misread):
    wrong: ClassVar[dict[str, Any]] = {"fisher": "gauss"}


class Untempered(Misread):
    wrong: ClassVar[dict[str, Any]] = {"temperature": None}


class AtOne(Misread):
    wrong: ClassVar[dict[str, Any]] = {"temperature": 1.0}


class OfRewards(EWC):
    """Takes the rewards for the targets."""

    def estimate(self, learner: Any, transitions: Any) -> Parameters:
        with mock.patch.object(learner, "td_targets", lambda samples: samples.rewards):
            return super().estimate(learner, transitions)


@pytest.mark.parametrize(
    ("settings", "terms", "wrong"),
    [
        ({}, gauss, ()),
        ({"fisher": "gauss"}, gauss, (TakenForTd,)),
        ({"fisher": "policy", "temperature": 0.3}, policy(0.3), (TakenForTd, Untempered)),
        ({"fisher": "policy"}, None, (TakenForTd, TakenForGauss, AtOne)),
        ({"fisher": "td"}, huber, (TakenForGauss, OfRewards)),
    ],
)
def test_ewc_estimates_the_fisher_information_it_is_set_to(
    settings: dict[str, Any], terms: Terms | None, wrong: Any
) -> None:
    terms = terms or policy(median_gap())
    check_fisher(EWC(normalise="none", **settings), terms)
    for mistake in wrong:
        fails(lambda mistake=mistake: check_fisher(mistake(normalise="none", **settings), terms))  # type: ignore[misc]


def check_output(part: MAS, centred: bool) -> None:
    """The importance is the mean of |d ||f||^2 / dtheta|."""

    def terms(row: int, q: torch.Tensor) -> list[tuple[float, torch.Tensor]]:
        f = q - q.mean() if centred else q
        return [(1.0, (f**2).sum())]

    expected = sum(slope.abs() for _, slope in slopes_of(ended(part), terms))
    close(joined(part.omega), expected / 30)


class ValuesMAS(MAS):
    """Always takes the values themselves."""

    def estimate(self, learner: Any, transitions: Any) -> Parameters:
        with mock.patch.object(self, "output", "q"):
            return super().estimate(learner, transitions)


def test_mas_rates_advantages_unless_it_is_told_to_rate_values() -> None:
    check_output(MAS(normalise="none"), centred=True)
    check_output(MAS(normalise="none", output="advantage"), centred=True)
    check_output(MAS(normalise="none", output="q"), centred=False)
    fails(lambda: check_output(MAS(normalise="none", output="q"), centred=True))
    fails(lambda: check_output(ValuesMAS(normalise="none"), centred=True))


# --- MAS ----------------------------------------------------------------------------------------


class SummedMAS(MAS):
    merge: ClassVar[Literal["sum", "latest"]] = "sum"


def check_mas(part: MAS) -> None:
    """Importances are added, E|2 q x| for a linear network; the anchor is the latest."""
    learner = regression(part)
    omega = torch.zeros(FEATURES, dtype=torch.float64)
    for phase in range(2):
        weights, x = normal(phase, FEATURES), task(phase)[0]
        learner.put(weights)
        learner.play(transitions(x.numpy()))
        learner.end_phase(phase)
        omega += (2 * (x @ weights)[:, None] * x).abs().mean(0)
    learner.put(normal(5, FEATURES))
    expected = part.lam * omega * (normal(5, FEATURES) - normal(1, FEATURES))
    close(joined(learner.gradient_of(part)), expected)


def test_mas_adds_importances_and_moves_the_anchor() -> None:
    check_mas(MAS(lam=0.3, normalise="none", output="q"))
    fails(lambda: check_mas(SummedMAS(lam=0.3, normalise="none", output="q")))
    fails(lambda: check_mas(MAS(lam=0.3, normalise="mean", output="q")))


# --- online EWC ---------------------------------------------------------------------------------


class DecayOnce(OnlineEWC):
    """Fades in the recursion only: the penalty weighs with F* itself."""

    def add_anchor(self, importance: Parameters, anchor: Parameters) -> None:
        for omega in self.omega:
            omega.mul_(self.decay)
        QuadraticPenalty.add_anchor(self, importance, anchor)


class FirstAnchor(OnlineEWC):
    def add_anchor(self, importance: Parameters, anchor: Parameters) -> None:
        first = list(self.center or anchor)
        super().add_anchor(importance, anchor)
        self.center = first


def check_online(part: OnlineEWC, phases: int) -> None:
    """The penalty is lam / 2 decay F* (theta - theta_last)^2, F* = sum_j decay^(i - j) F_j."""
    learner = FakeLearner(Point(*split(normal(9, SIZE))), nothing, [part])
    fishers = [normal(j, SIZE).square() for j in range(phases)]
    for j, fisher in enumerate(fishers):
        part.add_anchor(split(fisher), split(normal(20 + j, SIZE)))
    star = sum(part.decay ** (phases - 1 - j) * fisher for j, fisher in enumerate(fishers))
    away = normal(9, SIZE) - normal(20 + phases - 1, SIZE)
    close(joined(learner.gradient_of(part)), part.lam * part.decay * star * away)
    value = part.lam / 2 * part.decay * (star * away**2).sum()
    close(part.value(learner.q_net.parameters()), value)


@pytest.mark.parametrize("phases", [1, 2, 4])
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.95, 1.0])
def test_online_ewc_is_the_recursion_of_its_paper(decay: float, phases: int) -> None:
    check_online(OnlineEWC(lam=2.0, decay=decay), phases)


def test_online_ewc_fades_in_the_penalty_too_and_holds_the_latest_anchor() -> None:
    fails(lambda: check_online(DecayOnce(lam=2.0, decay=0.5), 3))
    fails(lambda: check_online(FirstAnchor(lam=2.0, decay=0.5), 3))


def test_online_ewc_that_keeps_all_is_ewc_after_one_phase() -> None:
    def pull(part: EWC, phases: int) -> Tensors:
        learner = regression(part)
        for phase in range(phases):
            learner.put(normal(phase, FEATURES))
            learner.play(transitions(task(phase)[0].numpy()))
            learner.end_phase(phase)
        learner.put(normal(50, FEATURES))
        return learner.gradient_of(part)

    assert same_bits(pull(OnlineEWC(decay=1.0), 1), pull(EWC(), 1))
    assert not same_bits(pull(OnlineEWC(decay=0.9), 1), pull(EWC(), 1))
    assert not same_bits(pull(OnlineEWC(decay=1.0), 2), pull(EWC(), 2))


# --- synaptic intelligence ----------------------------------------------------------------------


class PenalisedSI(SI):
    """Takes the whole gradient for that of the loss, as public code does."""

    def project(self, learner: Any) -> None:
        self.of_loss = [gradient.clone() for gradient in gradients(learner)]


class UnwalkedSI(SI):
    """Measures the optimiser's step, before the parameters are drawn back."""

    def constrain(self, learner: Any) -> None:
        super().after_update(learner)

    def after_update(self, learner: Any) -> None:
        pass


def hessian() -> torch.Tensor:
    root = normal(70, SIZE, SIZE)
    return root @ root.T / SIZE


def bowl(network: Any, samples: Any) -> torch.Tensor:
    """A quadratic loss."""
    theta = network.flat()
    return theta @ hessian() @ theta / 2 - normal(71, SIZE) @ theta


def loss_at(network: Any) -> float:
    return float(bowl(network, None).detach())


def check_identity(part: SI, others: Sequence[Part], optimizer: Any, phases: int) -> None:
    """The sum of the path is the loss that was gained, and 1/2 sum dtheta^T H dtheta."""
    start = Point(*split(normal(72, SIZE)))
    learner = FakeLearner(start, bowl, [*others, part], optimizer, lr=0.05)
    for phase in range(phases):
        if phase:
            learner.end_phase(phase - 1)
            # A jump, so that there is again something to gain.
            learner.put(*split(joined(now(learner.q_net)) + normal(73 + phase, SIZE)))
            part.phase_start(learner, phase)
        before, loss = joined(now(learner.q_net)), loss_at(learner.q_net)
        curvature = 0.0
        for _ in range(20):
            learner.train(1)
            after = joined(now(learner.q_net))
            curvature += float((after - before) @ hessian() @ (after - before)) / 2
            before = after
        gained = loss - loss_at(learner.q_net)
        assert abs(gained) > 0.1
        close(joined(part.path).sum(), gained + curvature, rtol=1e-10)


OPTIMIZERS = [torch.optim.SGD, torch.optim.Adam]


@pytest.mark.parametrize("phases", [1, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_path_of_si_sums_to_the_loss_that_was_gained(optimizer: Any, phases: int) -> None:
    check_identity(SI(lam=2.0), [], optimizer, phases)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_path_of_si_needs_the_gradient_without_the_penalty(optimizer: Any) -> None:
    check_identity(PenalisedSI(lam=2.0), [], optimizer, phases=1)  # there is none yet
    fails(lambda: check_identity(PenalisedSI(lam=2.0), [], optimizer, phases=2))


def test_the_path_of_si_is_the_one_that_was_walked() -> None:
    back = {"every": 3, "eps": 0.4}
    check_identity(SI(), [Reptile(**back)], torch.optim.SGD, phases=1)  # type: ignore[arg-type]
    wrong = UnwalkedSI()
    fails(lambda: check_identity(wrong, [Reptile(**back)], torch.optim.SGD, phases=1))  # type: ignore[arg-type]


class SignedSI(SI):
    """Lets importance become negative, which repels."""

    def add_anchor(self, importance: Parameters, anchor: Parameters) -> None:
        QuadraticPenalty.add_anchor(self, importance, anchor)


class FreshSI(SI):
    """Forgets the importance of earlier phases."""

    def add_anchor(self, importance: Parameters, anchor: Parameters) -> None:
        self.omega = []
        super().add_anchor(importance, anchor)


def check_importance(part: SI) -> None:
    """Omega <- max(0, Omega + omega / ((theta - theta_start)^2 + xi)), phase by phase."""
    learner = FakeLearner(Point(*split(normal(0, SIZE))), nothing, [part])
    expected = torch.zeros(SIZE, dtype=torch.float64)
    for phase in range(3):
        start, end, path = (normal(10 * phase + i, SIZE) for i in range(3))
        learner.put(*split(start))
        part.phase_start(learner, phase)
        part.path = split(path)
        learner.put(*split(end))
        learner.end_phase(phase)
        expected = (expected + path / ((end - start) ** 2 + part.damping)).clamp(min=0)
        close(joined(part.omega), expected)
        close(joined(part.center), end)
        assert not joined(part.path).any()
        close(joined(part.start), end)


def test_the_importance_of_si_is_that_of_its_paper() -> None:
    check_importance(SI(damping=0.2))
    fails(lambda: check_importance(SignedSI(damping=0.2)))
    fails(lambda: check_importance(FreshSI(damping=0.2)))


def test_what_did_not_move_did_nothing() -> None:
    part = SI(lam=5.0)
    learner = FakeLearner(Point(*split(normal(72, SIZE))), bowl, [part], lr=0.0)
    learner.train(10)
    learner.end_phase()
    assert not joined(part.omega).any()
    learner.put(*split(normal(0, SIZE)))
    assert not joined(learner.gradient_of(part)).any()


# --- anchored at an average ---------------------------------------------------------------------


@dataclass
class Seen(L2):
    """Keeps the parameters that it was asked to rate."""

    def importance(self, learner: Any, phase: int) -> Parameters:
        self.asked_at = copies(parameters(learner))
        return super().importance(learner, phase)


class Unmoved(Seen):
    """Rates the parameters where they happen to be."""

    def phase_end(self, learner: Any, phase: int) -> None:
        self.add_anchor(self.importance(learner, phase), [a.clone() for a in self.average])


class Eager(Seen):
    """Averages before each step instead of after it."""

    def before_update(self, learner: Any) -> None:
        super().after_update(learner)

    def after_update(self, learner: Any) -> None:
        pass


def check_average(part: Seen) -> None:
    """The anchor is the moving average, and importance is estimated there."""
    decay = 0.8
    learner = FakeLearner(Point(*split(normal(72, SIZE))), bowl, [part])
    path = [joined(now(learner.q_net))]
    for phase in range(2):
        for _ in range(7):
            learner.train(1)
            path.append(joined(now(learner.q_net)))
        steps = len(path) - 1
        expected = decay**steps * path[0]
        for step in range(1, steps + 1):
            expected = expected + (1 - decay) * decay ** (steps - step) * path[step]
        before = now(learner.q_net)
        target = now(learner.q_net_target)
        part.omega = []
        learner.end_phase(phase)
        assert same_bits(before, learner.q_net.parameters())
        assert same_bits(target, learner.q_net_target.parameters())
        close(joined(part.center), expected)
        close(joined(part.asked_at), expected)


def test_an_average_as_anchor_is_the_exponential_one() -> None:
    check_average(Seen(anchor="ema", ema_decay=0.8))
    fails(lambda: check_average(Seen(anchor="ema", ema_decay=0.7)))
    fails(lambda: check_average(Seen(anchor="last")))
    fails(lambda: check_average(Unmoved(anchor="ema", ema_decay=0.8)))
    fails(lambda: check_average(Eager(anchor="ema", ema_decay=0.8)))


def test_parameters_are_put_back_if_importance_cannot_be_estimated() -> None:
    part = EWC(anchor="ema", ema_decay=0.5)
    learner = regression(part)
    learner.put(normal(0, FEATURES))
    before = now(learner.q_net)
    with pytest.raises(ValueError, match="no transition of phase 0"):
        learner.end_phase()
    assert same_bits(before, learner.q_net.parameters())


# --- all of them, in a real life ----------------------------------------------------------------


def a_life(*parts: Part) -> Any:
    return tiny.live(tiny.agent(*parts), steps=2 * tiny.PHASE + 60)


@each_penalty
def test_without_strength_a_life_is_the_same_bit_for_bit(name: str) -> None:
    plain, weak = a_life(), a_life(make_part(name, {"lam": 0.0}))
    assert plain._n_updates > 50
    assert len(weak.parts[0].omega) == len(list(weak.q_net.parameters()))
    assert tiny.bits(plain) == tiny.bits(weak)
    kept = [agent.replay.state_dict()["arrays"] for agent in (plain, weak)]
    assert not list(tiny.differences(*kept))
    strong = a_life(make_part(name, {"lam": 0.01}))
    assert tiny.bits(plain) != tiny.bits(strong)


def test_a_composed_method_without_strength_is_finetuning() -> None:
    def parameters_of(method: Any) -> Tensors:
        agent = build_agent("FlappyBird", tiny.CONFLICT, tiny.SETTINGS, 3, method)
        return now(tiny.live(agent, 200).q_net)

    plain = parameters_of(compose("finetune"))
    assert same_bits(plain, parameters_of(compose("finetune", parts=["ewc:lam=0", "si:lam=0"])))
    assert not same_bits(plain, parameters_of(compose("ewc", parts=["si"])))


@each_penalty
def test_at_the_anchor_nothing_pulls_and_importance_is_not_negative(name: str) -> None:
    life = tiny.agent(make_part(name, {"lam": 0.01}))
    part: Any = life.parts[0]
    pulls = []

    def phase_end(learner: Any, phase: int) -> None:
        type(part).phase_end(part, learner, phase)
        if phase == 0 or part.merge == "latest":
            pulls.append(FakeLearner.gradient_of(learner, part))

    part.phase_end = phase_end
    tiny.live(life)
    assert len(pulls) == (1 if part.merge == "sum" else 2)
    assert all(not gradient.any() for pull in pulls for gradient in pull)
    assert all((omega >= 0).all() for omega in part.omega)
    assert any((omega > 0).any() for omega in part.omega)
    assert any(gradient.any() for gradient in FakeLearner.gradient_of(life, part))  # type: ignore[arg-type]


@dataclass
class Rated(L2):
    """Rates with the network as it finds it, and notes what it would be without dropout."""

    def importance(self, learner: Any, phase: int) -> Parameters:
        states = torch.as_tensor(learner.replay.stored(np.arange(20)).observations)

        def rate(network: Any) -> Parameters:
            length = network(states).square().sum()
            return [slope.abs() for slope in torch.autograd.grad(length, network.parameters())]

        self.expected = rate(copy.deepcopy(learner.q_net).eval())
        return rate(learner.q_net)


class StillLearning(Part):
    """Leaves dropout on, as it is in gradient steps."""

    name: ClassVar[str] = "still-learning"

    def phase_end(self, learner: Any, phase: int) -> None:
        learner.policy.set_training_mode(True)


def check_without_dropout(*before: Part) -> None:
    """What a part computes at a phase end is what the network says in play."""
    part = Rated(lam=0.0)
    life = tiny.live(tiny.agent(*before, part, policy={"dropout": 0.5}), tiny.PHASE + 8)
    assert life._n_updates > 10
    assert same_bits(part.omega, part.expected)


def test_at_a_phase_end_parts_find_the_network_without_dropout() -> None:
    check_without_dropout()
    fails(lambda: check_without_dropout(StillLearning()))


class Endless(Part):
    """Adds a single number that is none, from the second phase on."""

    name: ClassVar[str] = "endless"
    needs_boundaries: ClassVar[bool] = True
    entry: float = 0.0

    def phase_end(self, learner: Any, phase: int) -> None:
        self.entry = math.inf

    def add_gradient(self, learner: Any) -> None:
        gradients(learner)[-1][0] += self.entry


class Kept(Part):
    """Keeps what there was before the step."""

    name: ClassVar[str] = "kept"

    def before_update(self, learner: Any) -> None:
        self.bits = tiny.bits(learner)
        self.moments = copy.deepcopy(learner.optimizer.state_dict())


def check_stopped(part: Part) -> None:
    """It stops where a pull is not finite, before anything has changed.

    That is the first step of the second phase; only what is cloned has not moved before it.
    """
    steps = 1 + (part.name == "clone")
    kept, message = Kept(), ""
    life = tiny.agent(part, kept)
    try:
        tiny.live(life, tiny.PHASE + 12)
    except DivergedError as error:
        message = str(error)
    assert (
        f"at step {tiny.PHASE + steps * tiny.NUM_ENVS} the loss is {life.last_td_loss} " in message
    )
    assert f"the strength of {part.name}" in message
    assert math.isfinite(life.last_td_loss)
    assert tiny.bits(life) == kept.bits
    assert not list(tiny.differences(life.optimizer.state_dict(), kept.moments))


@pytest.mark.parametrize(
    "part",
    [
        lambda: make_part("l2", {"lam": 1e300}),
        lambda: make_part("clone", {"alpha": 1e300}),
        Endless,
    ],
    ids=["l2", "clone", "endless"],
)
def test_a_pull_that_is_not_finite_stops_before_the_parameters_change(
    part: Callable[[], Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_stopped(part())
    # A mistake: the norm is never looked at.
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.ones(()))
    fails(lambda: check_stopped(part()))


# --- what is logged -----------------------------------------------------------------------------


def heavy(lam: float) -> tuple[L2, FakeLearner]:
    """A penalty that pulls with lam along each of seven parameters, beside a gradient of 1."""
    part = L2(lam=lam)
    learner = FakeLearner(Point(torch.zeros(SIZE).double()), nothing, [part])
    learner.end_phase()
    learner.put(torch.ones(SIZE))
    learner.measures, learner.last_td_loss = True, 0.5
    return part, learner


def measure(part: L2, learner: FakeLearner) -> dict[str, Any]:
    learner.q_net.tensors[0].grad = torch.ones(SIZE).double()
    part.add_gradient(learner)
    part.log(learner)
    return dict(learner.logger.name_to_value)


def test_shares_of_loss_and_gradient_are_logged() -> None:
    logged = measure(*heavy(3.0))
    assert logged["l2/penalty"] == pytest.approx(3 * SIZE / 2)
    assert logged["l2/share_of_gradient"] == pytest.approx(3 / 4)
    assert logged["l2/share_of_loss"] == pytest.approx((3 * SIZE / 2) / (3 * SIZE / 2 + 0.5))


def test_what_was_not_measured_is_not_logged() -> None:
    part, learner = heavy(3.0)
    learner.measures = False
    assert measure(part, learner) == {}
    learner.measures = True
    part.omega = []
    assert measure(part, learner) == {}


def test_shares_are_those_since_the_last_line() -> None:
    part, learner = heavy(3.0)
    for pull in (1.0, 2.0):
        learner.put(pull * torch.ones(SIZE))
        learner.q_net.tensors[0].grad = torch.ones(SIZE).double()
        part.add_gradient(learner)
    part.log(learner)
    expected = (3 / 4 + 6 / 7) / 2
    assert learner.logger.name_to_value["l2/share_of_gradient"] == pytest.approx(expected)
    learner.put(torch.ones(SIZE))
    assert measure(part, learner)["l2/share_of_gradient"] == pytest.approx(3 / 4)


def test_a_penalty_that_dominates_warns_once_in_each_phase() -> None:
    measure(*heavy(8.0))  # 8 / 9 of the gradient: no warning, which would be an error here
    part, learner = heavy(1e6)
    learner.lifetime_step = 77
    for phase in (1, 2):
        with pytest.warns(UserWarning, match=r"at step 77 the penalty of l2 .* lam = 1e\+06"):
            measure(part, learner)
        measure(part, learner)
        learner.put(torch.zeros(SIZE))
        learner.end_phase(phase)
        learner.put(torch.ones(SIZE))


def test_a_real_life_logs_and_warns() -> None:
    life = tiny.agent(make_part("online-ewc", {"lam": 1e6}), gradient_steps=3)
    with pytest.warns(UserWarning, match=r"online-ewc makes up .* of the gradient.*lam = 1e\+06"):
        life.learn(tiny.LIFE, log_interval=1)


# --- going on later -----------------------------------------------------------------------------


def make_learner(part: Part) -> FakeLearner:
    """A small network with everything that the penalties ask for."""

    def loss(network: Any, samples: Any) -> torch.Tensor:
        x, y = task(60)
        return 0.5 * (network(x)[:, 0] - y).square().mean()

    network = nn.Sequential(nn.Linear(FEATURES, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        for i, tensor in enumerate(network.parameters()):
            tensor.copy_(0.5 * normal(i, *tensor.shape))
    return FakeLearner(network, loss, [part])


def go_on(learner: FakeLearner, phases: range) -> None:
    for phase in phases:
        learner.train(3)
        learner.play(transitions(task(phase)[0].numpy()))
        learner.end_phase(phase)
        learner.train(2)
        learner.play(transitions(task(phase + 10)[0].numpy()))


@pytest.mark.parametrize(
    ("name", "settings"),
    [*((name, {"lam": 0.1}) for name in PENALTIES), ("ewc", {"lam": 0.1, "anchor": "ema"})],
)
@pytest.mark.parametrize("phases", [0, 2])
def test_a_fresh_part_goes_on_from_what_was_kept(
    name: str, settings: dict[str, Any], phases: int
) -> None:
    one = make_learner(make_part(name, settings))
    go_on(one, range(phases))
    one.train(3)
    one.play(transitions(task(30)[0].numpy()))
    kept = one.parts[0].state_dict()
    other = make_learner(make_part(name, settings))
    other.put(*now(one.q_net))
    other.parts[0].load_state_dict(kept)
    before = copy.deepcopy(kept)
    for learner in (one, other):
        go_on(learner, range(phases, phases + 2))
    assert same_bits(one.q_net.parameters(), other.q_net.parameters())
    assert not list(tiny.differences(one.parts[0].state_dict(), other.parts[0].state_dict()))
    pulls = [learner.gradient_of(learner.parts[0]) for learner in (one, other)]
    assert same_bits(*pulls)
    assert any(pull.any() for pull in pulls[0])
    # What was kept is a copy, which nobody goes on to change.
    assert not list(tiny.differences(before, kept))
    forgetful = make_learner(make_part(name, settings))
    forgetful.put(*now(one.q_net))
    assert not any(pull.any() for pull in forgetful.gradient_of(forgetful.parts[0]))


# --- settings -----------------------------------------------------------------------------------


@each_penalty
@pytest.mark.parametrize("lam", [-1.0, math.nan, math.inf])
def test_strengths_that_make_no_sense(name: str, lam: float) -> None:
    with pytest.raises(ValueError, match=rf"{name}: lam = {lam}"):
        make_part(name, {"lam": lam})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("l2", {"anchor": "first"}, "l2: unknown anchor 'first'"),
        ("si", {"anchor": "ema"}, "si: anchor = 'ema'"),
        ("l2", {"ema_decay": 1.1}, "l2: ema_decay = 1.1"),
        ("l2", {"ema_decay": math.nan}, "l2: ema_decay = nan"),
        ("ewc", {"fisher": "gaus"}, "ewc: unknown fisher 'gaus': did you mean 'gauss'"),
        ("ewc", {"temperature": 0.0}, "ewc: temperature = 0"),
        ("ewc", {"temperature": math.inf}, "ewc: temperature = inf"),
        ("ewc", {"normalise": "max"}, "ewc: unknown normalise 'max'"),
        ("mas", {"normalise": "sum"}, "mas: unknown normalise 'sum'"),
        ("ewc", {"samples": 0}, "ewc: samples = 0"),
        ("mas", {"samples": -3}, "mas: samples = -3"),
        ("online-ewc", {"decay": 1.01}, "online-ewc: decay = 1.01"),
        ("online-ewc", {"decay": -0.1}, "online-ewc: decay = -0.1"),
        ("online-ewc", {"decay": math.nan}, "online-ewc: decay = nan"),
        ("mas", {"output": "policy"}, "mas: unknown output 'policy'"),
        ("si", {"damping": 0.0}, "si: damping = 0"),
        ("si", {"damping": math.inf}, "si: damping = inf"),
    ],
)
def test_settings_that_make_no_sense(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_part(name, settings)
