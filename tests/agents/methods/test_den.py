"""DEN: searches, proximal steps and splits by hand, and what earlier phases see of them."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from isolated import (
    CONFLICT,
    ENGINES,
    SETTINGS,
    Notes,
    agent,
    check_comes_back,
    of_phase,
)

from continual_arcade.agents import METHODS, ContinualDQN, build_agent, make_training_env
from continual_arcade.agents.methods import Method, Part
from continual_arcade.agents.methods.base import begin_from
from continual_arcade.agents.methods.den import DEN, EXPANSION, FIRST, HEAD, SUBNETWORK
from continual_arcade.agents.methods.growing_units import GrowingUnits, fed, reached
from continual_arcade.agents.methods.rules import rule

NEUTRAL = {"spare": 0.0, "units": 0, "l1": 0.0, "cut": 0.0, "head_steps": 0, "drift": np.inf}
PHASE = CONFLICT.phases[0].steps


def small(kind: type[DEN] = DEN, **changes: Any) -> DEN:
    steps = {"every": 4, "head_steps": 40, "retrain_steps": 28, "expand_steps": 20}
    return kind(**{**steps, "units": 2, "above": 0.0, "cut": 0.0, "group": 0.1, **changes})


def learnt(
    part: Part, engine: Any = "torch", steps: int = CONFLICT.total_steps, **more: Any
) -> Any:
    learner = agent(part, engine, **{"hidden": (24, 16), **more})
    learner.learn(steps, log_interval=None)
    assert learner.runs_compiled == (engine == "compiled")
    return learner


def born_of(units: GrowingUnits) -> list[torch.Tensor]:
    """Return the units that no finished phase sees, and the present one does."""
    return [seen & ~used for seen, used in zip(units.open, units.used, strict=True)]


# The search.


@st.composite
def networks(draw: st.DrawFn) -> tuple[Any, ...]:
    """Few weights, so that paths are rare, and marks of units and outputs."""
    sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = list(itertools.pairwise(sizes))
    weights = [
        torch.from_numpy(rng.integers(0, 2, (m, n)) * rng.normal(size=(m, n))) for n, m in shapes
    ]
    biases = [torch.from_numpy(rng.integers(0, 3, m) // 2 * 1.0) for _, m in shapes]
    marks = [torch.from_numpy(rng.random(m) < 0.8) for _, m in shapes]
    return weights, biases, marks[:-1], marks[-1]


def leads(weights: Any, path: Any, first: int) -> bool:
    """Return whether no weight is 0 on a path of units, which begins in a layer."""
    layers = enumerate(itertools.pairwise(path), first)
    return all(weights[layer][after, before] != 0 for layer, (before, after) in layers)


def by_all_paths(weights: Any, units: Any, outputs: Any) -> list[list[bool]]:
    """Try every path from every unit to every output."""
    there = [torch.nonzero(of).flatten().tolist() for of in (*units, outputs)]
    return [
        [
            i in there[layer]
            and any(
                leads(weights, (i, *p), layer + 1) for p in itertools.product(*there[layer + 1 :])
            )
            for i in range(len(units[layer]))
        ]
        for layer in range(len(units))
    ]


def by_all_sources(weights: Any, biases: Any, units: Any) -> list[list[bool]]:
    """Try every path to every unit from every feature, and from every bias that is not 0."""
    there = [torch.nonzero(of).flatten().tolist() for of in units]
    features = list(range(weights[0].shape[1]))

    def has(layer: int, i: int) -> bool:
        if i not in there[layer]:
            return False
        starts = [(0, features)]
        starts += [(k + 1, [j for j in there[k] if biases[k][j] != 0]) for k in range(layer)]
        ends = biases[layer][i] != 0
        return bool(ends) or any(
            leads(weights, (*p, i), first)
            for first, begin in starts
            for p in itertools.product(begin, *there[first:layer])
        )

    return [[has(layer, i) for i in range(len(of))] for layer, of in enumerate(units)]


@given(networks())
def test_the_search_finds_what_all_paths_find(network: tuple[Any, ...]) -> None:
    weights, biases, units, outputs = network
    found = [of.tolist() for of in reached(weights, outputs, units)]
    assert found == by_all_paths(weights, units, outputs)
    found = [of.tolist() for of in fed(weights, biases, units)]
    assert found == by_all_sources(weights, biases, units)


def test_a_search_that_goes_through_units_that_are_not_there_is_found() -> None:
    weights = [torch.ones(1, 1), torch.ones(2, 1), torch.tensor([[1.0, 0.0]])]
    biases = [torch.zeros(1), torch.zeros(2), torch.zeros(1)]
    outputs = torch.tensor([True])
    units = [torch.tensor([True]), torch.tensor([False, True])]
    expected = by_all_paths(weights, units, outputs)
    assert (
        [of.tolist() for of in reached(weights, outputs, units)]
        == expected
        == [[False], [False, False]]
    )
    every = [torch.ones_like(of) for of in units]
    assert [of.tolist() for of in reached(weights, outputs, every)] != expected
    units = [torch.tensor([False]), torch.tensor([True, True])]
    expected = by_all_sources(weights, biases, units)
    assert [of.tolist() for of in fed(weights, biases, units)] == expected
    assert [of.tolist() for of in fed(weights, biases, every)] != expected


# Proximal steps.


def norm(x: Any) -> float:
    return float(np.sqrt((x**2).sum()))


def is_step(before: Any, after: Any, by: float) -> bool:
    """Say whether half the squared distance and a norm, times a number, are least there.

    By the subgradient of the norm: of single numbers that is the l1 norm.
    """
    if not after.any():
        return norm(before) <= by
    return np.allclose(after - before + by * after / norm(after), 0.0, atol=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_steps_are_those_of_the_penalties(rate: float) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(6, 3)) * np.array([[0.01], [0.02], [0.5], [1.0], [2.0], [4.0]])
    by = 0.8 * rate

    def steps() -> tuple[Any, Any]:
        single = DEN.shrink(torch.from_numpy(weights), 0.8, rate).numpy()
        factor = np.full_like(weights, np.nan)
        assert DEN.measure(weights, np.ones_like(weights), factor, 0.8, rate) == 0.8
        return single, DEN.shorten(weights, factor)

    single, whole = steps()
    pairs = zip(weights.ravel(), single.ravel(), strict=True)
    assert all(is_step(np.array([one]), np.array([other]), by) for one, other in pairs)
    assert all(is_step(*rows, by) for rows in zip(weights, whole, strict=True))
    assert 0 < (whole == 0).all(1).sum() < 6
    # What is planted: the squared norm, the norm of all units together, and single weights.
    for wrong in (weights / (1 + by), weights * (1 - by / norm(weights)), single):
        assert not all(is_step(*rows, by) for rows in zip(weights, wrong, strict=True))


def in_expansion(engine: Any, **changes: Any) -> tuple[DEN, Any]:
    """Return an agent that has just added units, and given them weights."""
    part = small(
        **{"head_steps": 4, "retrain_steps": 8, "expand_steps": 1_000, "l1": 0.0, **changes}
    )
    learner = learnt(part, engine, PHASE + 40)
    assert part.stage == EXPANSION
    return part, learner


@tiny.EACH_ENGINE
def test_a_gradient_step_ends_with_the_proximal_step(engine: Any) -> None:
    """Of that of the optimiser alone, which an agent makes that has no penalty."""
    ends = {}
    for group in (0.0, 30.0, 3000.0):
        part, learner = in_expansion(engine, group=0.0)
        part.shortens = group
        learner.train(1, 16)
        ends[group] = [p.detach().double().numpy() for p in learner.q_net.parameters()]
        fresh = [of.numpy() > 0 for of in part.fresh]
    assert sum(of.any(1).sum() for of in fresh if of.ndim > 1) == 4
    for group in (30.0, 3000.0):
        same, apart = [], []
        for alone, now, where in zip(ends[0.0], ends[group], fresh, strict=True):
            expected = alone.copy()
            for unit in np.flatnonzero(where.any(1)) if where.ndim > 1 else ():
                row = where[unit]
                length = norm(alone[unit][row])
                left = max(0.0, 1 - group * SETTINGS.learning_rate / length)
                expected[unit][row] *= left
            same.append(np.allclose(expected, now, atol=1e-6))
            apart.append(not np.allclose(alone, now, atol=1e-6))
        assert all(same)
        assert sum(apart) == 2  # of either hidden layer
    assert all((now[where] == 0).all() for now, where in zip(ends[3000.0], fresh, strict=True))


# Stages.


@dataclass
class Watched(DEN):
    """Notes what is frozen in each stage, and whether it has moved at its end."""

    name: ClassVar[str] = "watched"

    def _mark(self, learner: Any, added: Any = None) -> None:
        super()._mark(learner, added)
        vars(self).setdefault("stages", []).append(self.stage)
        vars(self)["then"] = [p.detach().clone() for p in learner.q_net.parameters()]

    def completed(self, learner: Any, transitions: Any) -> None:
        super().completed(learner, transitions)
        rows = zip(learner.q_net.parameters(), vars(self)["then"], self.frozen, strict=True)
        same = [bool((now == then)[frozen > 0].all()) for now, then, frozen in rows]
        vars(self).setdefault("still", {}).setdefault(self.stage, []).append(all(same))


@dataclass
class Thin(Watched):
    """Whose new heads have few weights, of which the others never come back."""

    name: ClassVar[str] = "thin"

    def cut_off(self, learner: Any) -> None:
        super().cut_off(learner)
        units = GrowingUnits(learner.q_net)
        if self.stage == HEAD:
            unread = torch.nonzero(units.open[-1]).flatten()[1:]
            units.weights[-1][:, unread] *= (~units.outputs).float()[:, None]


@dataclass
class Loose(Thin):
    """Lets what is frozen have gradients, and does not put it back."""

    name: ClassVar[str] = "loose"

    @rule("project")
    def still(gradient: Any, frozen: Any) -> Any:
        return gradient

    @rule("constrain")
    def put_back(theta: Any, frozen: Any, held: Any) -> Any:
        return theta


@tiny.EACH_ENGINE
def test_what_is_outside_of_the_subnetwork_does_not_move_to_the_bit(engine: Any) -> None:
    for kind, holds in ((Thin, True), (Loose, False)):
        part = small(kind, drift=np.inf)
        learner = learnt(part, engine)
        seen = vars(part)
        assert {FIRST, HEAD, SUBNETWORK, EXPANSION} == {*seen["stages"]}
        for stage in (HEAD, SUBNETWORK, EXPANSION):
            assert all(seen["still"][stage]) == holds
        moved = zip(learner.q_net.parameters(), seen["then"], strict=True)
        assert not all(torch.equal(now, then) for now, then in moved)


def test_what_is_learnt_in_each_stage() -> None:
    """Weight by weight, of all layers."""
    part = small(Thin)
    learner = learnt(part, "torch", PHASE + 72)
    net: Any = learner.q_net
    units = GrowingUnits(net)
    assert part.stage == EXPANSION
    seen, born, found = ([*of] for of in (units.open, born_of(units), units.reached()))
    assert all(int(new.sum()) >= 2 for new in born)
    assert not bool((found[1] == seen[1]).all())
    features, actions = net.features_dim, int(net.action_space.n)
    heads = [False] * actions + [True] * actions + [False] * actions  # of the second phase

    def expected(stage: str) -> list[Any]:
        every = [True] * features, *(of.tolist() for of in seen)
        new = [False] * features, *(of.tolist() for of in born)
        sub = [True] * features, *(of.tolist() for of in found)
        marks = []
        for k in range(3):
            last = k == 2
            weights, biases = [], []
            for i in range(len(heads) if last else len(every[k + 1])):
                is_head = last and heads[i]
                biases.append(is_head or (stage == "sub" and not last and sub[k + 1][i]))
                weights.append(
                    [
                        (is_head and every[k][j] and (stage != "sub" or sub[k][j]))
                        or (stage == "sub" and not last and sub[k + 1][i] and sub[k][j])
                        or (
                            stage == "new"
                            and not last
                            and ((new[k + 1][i] and every[k][j]) or (every[k + 1][i] and new[k][j]))
                        )
                        for j in range(len(every[k]))
                    ]
                )
            marks += [weights, biases]
        return marks

    for stage, marks in (
        ("sub", units.subnetwork()),
        ("new", units.expansion(born)),
        ("head", units.head()),
    ):
        assert [mark.tolist() for mark in marks[:-1]] == expected(stage)
        assert not marks[-1].any()
    assert [m.tolist() for m in units.head()[:-1]] != expected("new")


@dataclass
class Marked(Watched):
    """Notes, as an expansion begins, what it marks, and which units were copied in the phase."""

    name: ClassVar[str] = "marked"

    def _enter(self, learner: Any, stage: int, added: Any = None) -> None:
        super()._enter(learner, stage, added)
        if stage == EXPANSION:
            new = [torch.nonzero(of).flatten().tolist() for of in added]
            fresh = [
                torch.nonzero(of.any(1)).flatten().tolist() for of in self.fresh[: 2 * len(new) : 2]
            ]
            born = [int(of.sum()) for of in born_of(self.units_of(learner))]
            vars(self).setdefault("looks", []).append((new, fresh, born))


@tiny.EACH_ENGINE
def test_copies_are_not_taken_for_units_that_were_added(engine: Any) -> None:
    """The group lasso, and what an expansion learns, are of added units alone."""
    part = small(Marked, drift=0.001, units=1, spare=0.75)
    learnt(part, engine)
    looks = vars(part)["looks"]
    assert any(sum(born) > sum(map(len, new)) for new, _, born in looks)  # there were copies
    assert all(fresh == new for new, fresh, _ in looks)


@tiny.EACH_ENGINE
def test_where_no_unit_is_spare_retraining_goes_on(engine: Any) -> None:
    part = small(Marked, units=4, spare=0.25, drift=np.inf)
    with pytest.warns(UserWarning, match="should have been added"):
        learnt(part, engine)
    looks = vars(part)["looks"]
    assert len(looks) < vars(part)["stages"].count(SUBNETWORK)
    assert all(any(new) for new, _, _ in looks)


def test_nothing_is_looked_at_before_something_is_stored() -> None:
    part = small(head_steps=0, retrain_steps=1, every=1, above=1e9, drift=np.inf)
    learnt(part, steps=PHASE + 30, num_envs=1, n_steps=5, learning_starts=0)


@tiny.EACH_ENGINE
def test_units_are_added_if_the_loss_stays_high(engine: Any) -> None:
    for above, expands in ((0.0, True), (1e9, False)):
        part = small(Watched, above=above, drift=np.inf)
        learner = learnt(part, engine, PHASE + 84)
        assert (EXPANSION in vars(part)["stages"]) == expands
        assert part.copied == 0
        assert part.loss_before > 0
        seen = [int(of.sum()) for of in GrowingUnits(learner.q_net).open]
        assert (seen > [6, 4]) == expands


def test_the_loss_is_that_of_transitions_of_the_phase() -> None:
    part = small()
    learner = learnt(part, "torch", PHASE + 60)
    rng = np.random.default_rng(0)
    part.rng = np.random.default_rng(0)
    slots = rng.choice(learner.replay.stored_slots(), 1024)
    samples = learner.replay.gather(slots)
    with torch.no_grad():
        values = learner.q_net(samples.observations).gather(1, samples.actions.long())
        apart = (values - learner.td_targets(samples)).abs()
    expected = torch.where(apart < 1, 0.5 * apart**2, apart - 0.5).mean()
    assert part.loss_of(learner) == pytest.approx(float(expected), rel=1e-4)


# Who sees which units.


def filled(part: DEN, engine: str = "torch") -> tuple[Any, GrowingUnits, Any]:
    """Return an agent in its second phase, with units of either kind, and what it says."""
    learner = learnt(part, engine, PHASE + 60)
    net = learner.q_net
    return learner, GrowingUnits(net), [of_phase(net, k) for k in (0, 1)]


def test_what_is_added_changes_nothing_until_it_is_learnt() -> None:
    learner, units, said = filled(small(units=0, drift=np.inf))
    net, before = learner.q_net, [int(of.sum()) for of in units.open]
    added = units.grow(3, np.random.default_rng(0))
    assert [int(of.sum()) for of in added] == [3, 3]
    assert all(map(torch.equal, added, born_of(units)))
    assert [int(of.sum()) for of in units.open] == [n + 3 for n in before]
    assert [torch.equal(of_phase(net, k), said[k]) for k in (0, 1)] == [True, True]
    new = [torch.nonzero(of).flatten() for of in born_of(units)]
    bounds = [
        units.weights[k][new[k]].abs().max() * units.weights[k].shape[1] ** 0.5 for k in (0, 1)
    ]
    assert all(0.7 < float(bound) <= 1 for bound in bounds)
    # Whatever they learn then, the first phase does not see it; the second one does.
    for k in (0, 1):
        for weight in (units.weights[k][new[k]], units.weights[k + 1][:, new[k]]):
            weight += 0.0
        units.weights[k][new[k]] = 1.0
        units.weights[k + 1][:, new[k]] = 1.0
        units.biases[k][new[k]] = 1.0
    assert torch.equal(of_phase(net, 0), said[0])
    assert not torch.allclose(of_phase(net, 1), said[1])
    # What is planted: the first phase sees them, too.
    net.masks[0] = torch.cat(units.open).float()
    assert not torch.allclose(of_phase(net, 0), said[0])


def test_units_that_give_nothing_go_and_nothing_changes() -> None:
    learner, units, _ = filled(small(units=0, drift=np.inf))
    net = learner.q_net
    units.grow(3, np.random.default_rng(0))
    new = [torch.nonzero(of).flatten() for of in born_of(units)]
    units.weights[0][new[0][0]] = 0.0  # has no input
    units.weights[1][:, new[0][:2]] = 0.5
    units.weights[1][:, new[0][2]] = 0.0  # nothing reads it
    units.weights[2][units.outputs.nonzero().flatten()[0], new[1][:2]] = 0.5
    units.weights[1][new[1][1]] = 0.0
    units.biases[1][new[1][1]] = 0.3  # has none, either, and says something all the same
    said = [of_phase(net, k) for k in (0, 1)]
    units.prune()
    kept = [of.tolist() for of in born_of(units)]
    assert [[i for i, there in enumerate(of) if there] for of in kept] == [
        [int(new[0][1])],
        new[1][:2].tolist(),
    ]
    assert [torch.equal(of_phase(net, k), said[k]) for k in (0, 1)] == [True, True]
    units.see([of & ~new for of, new in zip(units.open, born_of(units), strict=True)])
    assert not torch.allclose(of_phase(net, 1), said[1])  # what is planted: all of them go


def drifted(limit: float) -> tuple[Any, GrowingUnits, Any, Any]:
    """Return an agent whose units have drifted, and what it said when the phase began."""
    part = small(Noted, units=0, drift=np.inf)
    learner, units, _ = filled(part)
    assert part.stage == SUBNETWORK
    return part, units, learner.q_net, limit


@dataclass
class Noted(Notes, DEN):
    name: ClassVar[str] = "noted"


def distances(units: GrowingUnits, before: Any, net: Any) -> list[list[float]]:
    """One by one: of units that both phases see, by what the first phase sees."""
    seen, first = [of.tolist() for of in units.open], torch.split(net.masks[0], net.sizes)
    features = [j < net.features_dim - 2 for j in range(net.features_dim)]
    found = []
    for k, size in enumerate(net.sizes):
        inputs = features if k == 0 else (first[k - 1] > 0).tolist()
        row = []
        for i in range(size):
            squares = float((units.biases[k][i] - before[2 * k + 1][i]) ** 2)
            for j, counts in enumerate(inputs):
                squares += counts * float((units.weights[k][i, j] - before[2 * k][i, j]) ** 2)
            row.append(squares**0.5 * (seen[k][i] and float(first[k][i]) > 0))
        found.append(row)
    return found


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_units_that_have_drifted_are_copied(share: float) -> None:
    part, units, net, _ = drifted(share)
    by_hand = distances(units, part.center, net)
    for found, expected in zip(units.drift(part.center), by_hand, strict=True):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-7)
    every = sorted(d for of in by_hand for d in of if d > 0)
    limit = every[int(share * len(every))] if share else 0.0
    now, old = of_phase(net, 1), of_phase(net, 0)
    assert not torch.equal(old, vars(part)["said"][0])
    copied, lacking = units.split(part.center, limit)
    assert (copied, lacking) == (sum(d > limit for of in by_hand for d in of), 0)
    assert copied > 0
    torch.testing.assert_close(of_phase(net, 1), now, rtol=1e-4, atol=1e-5)
    # The first phase is what it was, to the bit, if all that moved were copied.
    assert torch.equal(of_phase(net, 0), vars(part)["said"][0]) == (share == 0.0)
    assert all(float(of.max()) <= limit for of in units.drift(part.center))
    # What is planted: a copy that nothing reads.
    for k, born in enumerate(born_of(units)):
        units.weights[k + 1][:, born] = 0.0
    assert not torch.allclose(of_phase(net, 1), now, atol=1e-4)


@dataclass
class Unrestored(Noted):
    """Copies units, and leaves those that earlier phases see as they are."""

    name: ClassVar[str] = "unrestored"

    def split(self, units: Any, before: Any) -> int:
        left = [[t.clone() for t in of] for of in (units.weights, units.biases)]
        copied = super().split(units, before)
        if copied:
            for of, kept in zip((units.weights, units.biases), left, strict=True):
                for tensor, was, there in zip(of, kept, units.used, strict=False):
                    tensor[there] = was[there]
        return copied


@tiny.EACH_ENGINE
def test_where_no_drift_is_allowed_finished_phases_stay_as_they_are(engine: Any) -> None:
    """To the bit, by the last weights and by their average; others do not."""
    for kind, changes, stays in (
        (Noted, {"drift": 0.0}, True),
        (Unrestored, {"drift": 0.0}, False),
        (Noted, {"drift": np.inf}, False),
    ):
        part = small(kind, units=1, **changes)
        learner = learnt(part, engine)
        part.act(learner)  # between two looks units may have moved
        learner._look_again()
        said = vars(part)["said"]
        assert sorted(said) == [0, 1]
        nets = [learner.q_net, learner.averaged.q_net]
        same = [torch.equal(of_phase(net, k), then) for k, then in said.items() for net in nets]
        assert all(same) == stays
        assert (part.copied > 0) == (part.drift == 0.0)


# As a part.


class Resets(Part):
    """What every method that isolates phases does where one ends."""

    name: ClassVar[str] = "resets"
    needs_boundaries: ClassVar[bool] = True

    def phase_end(self, learner: Any, phase: int) -> None:
        learner.q_net.load_state_dict(learner.averaged.q_net.state_dict())
        begin_from(learner, target=True, optimizer=True)
        learner.reinitialise(network=False, optimizer=False, replay=True)


@tiny.EACH_ENGINE
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_with_neutral_settings_it_is_the_dqn_with_a_head_for_each_phase(
    engine: Any, activation: Any
) -> None:
    """Bit for bit, to the end."""
    other = learnt(Resets(), engine, activation=activation, heads="per_phase")
    expected = list(other.q_net.parameters())
    for changes, same in (
        ({}, True),
        ({"l1": 1e-3}, False),
        ({"lam": 0.1}, False),
    ):
        learner = learnt(DEN(**{**NEUTRAL, **changes}), engine, activation=activation)
        found = list(learner.q_net.parameters())[:-1]
        assert all(map(torch.equal, found, expected)) == same, changes


def test_both_engines_learn_the_same() -> None:
    of_both = [learnt(small(), engine, learning_rate=3e-4) for engine in ENGINES]
    assert [one.parts[0].stage for one in of_both] == [of_both[0].parts[0].stage] * 2
    apart = [
        float((a - b).detach().abs().max())
        for a, b in zip(*(one.q_net.parameters() for one in of_both), strict=True)
    ]
    assert max(apart) < 2e-4
    assert torch.equal(*(one.q_net.masks for one in of_both))


class Forgetful(DEN):
    """Does not keep where weights were when the phase began."""

    name: ClassVar[str] = "den"

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict({**state, "center": [0 * tensor for tensor in state["center"]]})


@pytest.mark.one_in(5)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [DEN, Forgetful])
@pytest.mark.parametrize("more", [28, 48, 72, 92])
def test_what_is_resumed_ends_with_the_same_bits(
    engine: Any, kind: Any, more: int, tmp_path: Path
) -> None:
    """In the head, the subnetwork, the expansion, and the subnetwork again."""
    whole = learnt(small(lam=0.01), engine, PHASE + more)
    whole.save_training(tmp_path / "training.zip")
    whole.learn(64, reset_num_timesteps=False)
    env = make_training_env("FlappyBird", CONFLICT, SETTINGS.num_envs, "one-hot")
    resumed = ContinualDQN.load(
        tmp_path / "training.zip", env, "cpu", parts=[small(kind, lam=0.01)]
    )
    resumed.learn(64, reset_num_timesteps=False)
    apart = list(tiny.differences(tiny.inside(whole), tiny.inside(resumed)))
    assert (not apart) == (kind is DEN)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    check_comes_back(small(), tmp_path)


def test_a_network_without_spare_units_says_so_once() -> None:
    with pytest.warns(UserWarning, match="den: .* units should have been copied, and no more are"):
        learner = learnt(small(spare=0.2, drift=0.0))
    part = learner.parts[0]
    part.log(learner)
    named = learner.logger.name_to_value
    assert named["den/copied"] == part.copied > 0
    assert named["den/spare"] == 0.0
    assert 0.5 < named["den/seen"] < 1


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"part 'den' must be told the phase.*context = 'hidden'"):
        build_agent("FlappyBird", CONFLICT, SETTINGS, method=METHODS["den"])
    with pytest.raises(ValueError, match=r"give policy_kwargs=\{'attention': 3\}"):
        tiny.agent(DEN(), policy={"attention": 1})
    with pytest.raises(ValueError, match="without hidden layers there is nothing to gate"):
        agent(DEN(), hidden=())
    with pytest.raises(ValueError, match="layer_norm with attention = 3"):
        agent(DEN(), layer_norm=True)
    with pytest.raises(ValueError, match=r"units = 7 .* of whose units \[9, 6\] are spare"):
        agent(DEN(units=7), hidden=(12, 8))
    part = small()
    learner = agent(part, hidden=(24, 16))
    part.units = 7  # more than are spare may be, which is looked at when the part is bound
    with pytest.raises(ValueError, match=r"den: units = 7 was set, .* is that of units = 2"):
        learner.learn(20)
    for name, wrong in {
        "spare": (-0.1, 1.0),
        "drift": (-1.0,),
        "l1": (-1.0, 1e300),
        "group": (-1.0, 1e300),
        "cut": (-1.0, 1e300),
        "lam": (-1.0,),
        "above": (-1.0,),
        "units": (-1, 1.5),
        "head_steps": (-1,),
        "retrain_steps": (0,),
        "expand_steps": (0,),
        "every": (0,),
    }.items():
        for value in wrong:
            with pytest.raises(ValueError, match=f"den: {name} = "):
                DEN(**{name: value})
    for other in ("hat", "packnet", "reptile", "reset", "shrink-perturb", "ewc", "gem", "stream-q"):
        with pytest.raises(ValueError, match=r"cannot be combined|exclude"):
            Method("both", "", parts=("den", other))
    part = small()
    learner = learnt(part, "torch", 40)
    net: Any = learner.q_net
    net.q_net[0].weight.requires_grad_(requires_grad=False)
    with pytest.raises(
        ValueError, match=r"part 'den' .* q_net\.0\.weight is frozen: set its requires_grad"
    ):
        learner.learn(40, reset_num_timesteps=False)
    state = part.state_dict()
    with pytest.raises(ValueError, match="stage of den = 4"):
        part.load_state_dict({**state, "stage": 4})
    assert learner.parts == [part]
