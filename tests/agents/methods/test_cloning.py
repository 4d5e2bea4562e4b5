"""Cloning: the loss against loops, and what is held against what was there at the time."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import LIFE, NUM_ENVS, PHASE, History, agent, bits, differences, inside, live
from torch.nn import functional

from continual_arcade.agents.methods import Batch, Part, base, clone
from continual_arcade.agents.methods.base import q_values
from continual_arcade.agents.methods.clear import Clear
from continual_arcade.agents.methods.clone import Clone
from continual_arcade.agents.methods.compiled_rules import slope_function
from continual_arcade.agents.methods.online import Online
from continual_arcade.agents.methods.rules import numbers_for, slope_of_kept
from continual_arcade.agents.replay import FIFOReplayBuffer, MixReplayBuffer, ReservoirReplayBuffer

WHATS = ("q", "advantage", "policy")
each_what = pytest.mark.parametrize("what", WHATS)
SEEDS = st.integers(0, 2**32 - 1)


def held(what: Any, temperature: float) -> dict[str, Any]:
    """Settings of what is held, with the temperature of what has one."""
    return {"what": what, **({"temperature": temperature} if what == "policy" else {})}


def cloning_loss(values: Any, old: Any, what: Any, temperature: float = 1.0) -> Any:
    """The loss whose slope the parts say, mean over states: autograd is the oracle of the slope."""
    if what == "policy":
        now, then = (
            functional.log_softmax(values / temperature, 1),
            functional.log_softmax(old / temperature, 1),
        )
        return temperature**2 * functional.kl_div(now, then, reduction="batchmean", log_target=True)
    if what == "advantage":
        values = values - values.mean(1, keepdim=True)
        old = old - old.mean(1, keepdim=True)
    return functional.mse_loss(values, old)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def fails(check: Callable[[], object]) -> None:
    """A deliberately wrong variant must not pass the check."""
    with pytest.raises(AssertionError):
        check()


def move(model: Any) -> None:
    """Change what the network says."""
    with torch.no_grad():
        for tensor in model.q_net.parameters():
            tensor.mul_(1.5)


# --- the loss -----------------------------------------------------------------------------------


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def by_hand(values: Any, old: Any, what: str, temperature: float) -> float:
    """The loss, number by number."""
    rows = list(zip(values.tolist(), old.tolist(), strict=True))
    total = 0.0
    for now, then in rows:
        if what == "policy":
            p, q = softmax(then, temperature), softmax(now, temperature)
            divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
            total += temperature**2 * divergence
            continue
        if what == "advantage":
            now = [value - sum(now) / len(now) for value in now]
            then = [value - sum(then) / len(then) for value in then]
        total += sum((a - b) ** 2 for a, b in zip(now, then, strict=True)) / len(now)
    return total / len(rows)


@each_what
@settings(deadline=None)
@given(
    seed=SEEDS,
    count=st.integers(1, 9),
    actions=st.integers(2, 4),
    temperature=st.floats(0.2, 5.0),
)
def test_the_loss_is_the_one_by_hand(
    what: Any, seed: int, count: int, actions: int, temperature: float
) -> None:
    values, old = normal(seed, 2, count, actions)
    loss = float(cloning_loss(values, old, what, temperature))
    assert loss == pytest.approx(by_hand(values, old, what, temperature), rel=1e-9, abs=1e-12)


def backwards(values: Any, old: Any, what: Any, temperature: float) -> Any:
    return cloning_loss(old, values, what, temperature)


def unscaled(values: Any, old: Any, what: Any, temperature: float) -> Any:
    return cloning_loss(values / temperature, old / temperature, what)


def mean_of_all(values: Any, old: Any, what: Any, temperature: float) -> Any:
    return cloning_loss(values, old, what, temperature) / values.shape[1]


def uncentred(values: Any, old: Any, what: Any, temperature: float) -> Any:
    return cloning_loss(values, old, "q", temperature)


@pytest.mark.parametrize(
    ("mistake", "what"),
    [
        (backwards, "policy"),
        (unscaled, "policy"),
        (mean_of_all, "policy"),
        (mean_of_all, "q"),
        (uncentred, "advantage"),
    ],
)
def test_the_usual_mistakes_are_seen_by_hand(mistake: Any, what: Any) -> None:
    values, old = normal(1, 2, 5, 3)
    wrong = float(mistake(values, old, what, 0.5))
    assert wrong != pytest.approx(by_hand(values, old, what, 0.5), rel=1e-3)


@each_what
def test_only_the_policy_knows_a_temperature(what: Any) -> None:
    values, old = normal(2, 2, 5, 3)
    one, other = (float(cloning_loss(values, old, what, t)) for t in (0.5, 2.0))
    assert (one == other) == (what != "policy")


@each_what
def test_offsets_of_a_state_matter_only_to_the_values_themselves(what: Any) -> None:
    values = normal(3, 6, 3)
    moved = values + normal(4, 6, 1)
    assert (float(cloning_loss(moved, values, what)) < 1e-12) == (what != "q")


@each_what
def test_no_gradient_where_nothing_has_changed(what: Any) -> None:
    values = normal(5, 7, 3, dtype=torch.float32).requires_grad_()
    loss = cloning_loss(values, values.detach().clone(), what, 0.5)
    (slope,) = torch.autograd.grad(loss, values)
    if what == "policy":  # the probabilities of a softmax sum to one but for a rounding
        assert float(slope.abs().max()) < 1e-7
    else:
        assert not slope.any()
    (slope,) = torch.autograd.grad(cloning_loss(values, values.detach() * 1.1, what, 0.5), values)
    assert float(slope.abs().max()) > 1e-3


# --- CLEAR --------------------------------------------------------------------------------------

AFTER = 100


@dataclass
class Watch(Part):
    """Works out on its own what each slot of replay must hold."""

    name: ClassVar[str] = "watch"
    after: int = AFTER
    shadow: dict[int, np.ndarray] = field(default_factory=dict)
    late: dict[int, np.ndarray] = field(default_factory=dict)
    gradients: list[float] = field(default_factory=list)

    def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
        with torch.no_grad():
            observations = torch.as_tensor(transitions.observations)
            values = learner.q_net.eval()(observations).numpy()
            target = learner.q_net_target(observations).numpy()
        known = learner.num_timesteps > self.after
        for row, slot in zip(rows.tolist(), slots.tolist(), strict=True):
            self.shadow[slot] = values[row] if known else np.full_like(values[row], np.nan)
            self.late[slot] = target[row] if known else np.full_like(values[row], np.nan)
        if known and len(rows):
            batch = Batch(learner.replay.gather(slots), slots)
            (clear,) = (part for part in learner.parts if part.name == "clear")
            loss = clear.loss(learner, batch)
            slopes = torch.autograd.grad(loss, list(learner.q_net.parameters()))
            self.gradients.append(max(float(slope.abs().max()) for slope in slopes))


def as_column(expected: dict[int, np.ndarray], like: np.ndarray) -> np.ndarray:
    column = np.full_like(like, np.nan)
    for slot, values in expected.items():
        column[slot] = values
    return column


@pytest.mark.one_in(3)
@pytest.mark.parametrize("replay", [FIFOReplayBuffer, MixReplayBuffer])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_what_is_stored_is_q_of_that_moment(replay: Any, dropout: float) -> None:
    watch = Watch()
    model = live(
        agent(
            Clear(alpha=0.5, after=AFTER),
            watch,
            replay=replay,
            policy={"dropout": dropout},
            buffer_size=400,
        )
    )
    column = model.replay.columns["q_values"]
    np.testing.assert_allclose(column, as_column(watch.shadow, column), rtol=1e-5, atol=1e-6)
    unknown = np.isnan(column[sorted(watch.shadow)]).any(1)
    assert unknown.any()
    assert not unknown.all()
    # Held to what it just said, the network is not pulled anywhere.
    assert max(watch.gradients) < 1e-6
    # What the target network said, or what it says now, is something else.
    mistake = as_column(watch.late, column)
    assert not np.allclose(column, mistake, rtol=1e-5, atol=1e-6, equal_nan=True)
    now = q_values(model, model.replay.stored(model.replay.stored_slots()))
    before = column[model.replay.stored_slots()]
    known = ~np.isnan(before).any(1)
    assert not np.allclose(now[known], before[known], atol=1e-4)


def test_only_what_is_stored_later_has_values() -> None:
    model = live(agent(Clear(after=AFTER), buffer_size=4 * LIFE, n_steps=1))
    known = ~np.isnan(model.replay.columns["q_values"][:LIFE]).any(1)
    # A vector step that ends at step AFTER is still too early.
    np.testing.assert_array_equal(known, np.arange(LIFE) >= AFTER)


def test_nothing_is_stored_before_learning_starts() -> None:
    model = live(agent(Clear(after=0), buffer_size=4 * LIFE, n_steps=1, learning_starts=60))
    known = ~np.isnan(model.replay.columns["q_values"][:LIFE]).any(1)
    np.testing.assert_array_equal(known, np.arange(LIFE) >= 60)


class Forgetful(FIFOReplayBuffer):
    """A mistake: what others stored with a transition outlives it."""

    def add(self, *args: Any) -> None:
        kept = {name: column.copy() for name, column in self.columns.items()}
        super().add(*args)
        for name, column in self.columns.items():
            column[:] = kept[name]


@pytest.mark.parametrize("replay", [FIFOReplayBuffer, Forgetful])
def test_a_slot_that_is_overwritten_loses_its_value(replay: Any) -> None:
    model = live(agent(Clear(after=10**9), replay=replay, n_steps=1), 200)
    column = model.replay.columns["q_values"]
    assert np.isnan(column).all()
    column[:] = 7.0
    live(model, 10 * NUM_ENVS, reset_num_timesteps=False)
    gone = np.isnan(column).all(1)
    expected = np.arange(200) < 10 * NUM_ENVS
    assert np.array_equal(gone, expected) == (replay is FIFOReplayBuffer)


def test_without_alpha_it_is_the_method_without_the_part() -> None:
    without = live(agent(replay=MixReplayBuffer))
    idle = live(agent(Clear(alpha=0.0, after=AFTER), replay=MixReplayBuffer))
    holding = live(agent(Clear(alpha=0.5, after=AFTER), replay=MixReplayBuffer))
    assert bits(idle) == bits(without) != bits(holding)
    one, other = inside(idle), inside(without)
    for tree in (one, other):
        del tree["parts"], tree["replay"]["columns"]
    assert not list(differences(one, other))


@each_what
def test_the_loss_counts_what_has_no_value_as_held(what: Any) -> None:
    clear = Clear(alpha=0.3, after=AFTER, **held(what, 0.5))
    model = live(agent(clear, replay=MixReplayBuffer))
    batch = model.sample(64)
    assert batch.slots is not None
    old = torch.as_tensor(model.replay.columns["q_values"][batch.slots])
    rows = [i for i in range(64) if not math.isnan(old[i, 0])]
    assert 0 < len(rows) < 64
    values = model.q_net(batch.samples.observations)[rows]
    expected = pulled(model, 0.3 * len(rows) / 64 * cloning_loss(values, old[rows], what, 0.5))
    found = pulled(model, clear.loss(model, batch))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)
    # The mean over those that have a value is another one.
    fails(lambda: np.testing.assert_allclose(found, 64 / len(rows) * expected, rtol=1e-2))


def test_nothing_is_held_where_nothing_is_known() -> None:
    clear = Clear(after=10**9)
    model = live(agent(clear, replay=MixReplayBuffer))
    assert clear.loss(model, model.sample(16)) is None
    assert clear.loss(model, Batch(model.sample(16).samples)) is None


def test_clear_needs_replay_that_tells_slots() -> None:
    with pytest.raises(ValueError, match="does not tell where transitions are stored"):
        agent(Clear(), replay=None, n_steps=1)  # type: ignore[arg-type]


@dataclass
class DarkExperience(Part):
    """Compares each gradient with that of the loss of DER++, of one draw."""

    name: ClassVar[str] = "dark-experience"
    beta: float | None = None
    """Weight of the labels of what is replayed; as many as there are to each new one if None."""
    compared: int = 0

    def loss(self, learner: Any, batch: Batch) -> None:
        assert batch.slots is not None
        new, old = (np.flatnonzero(side) for side in (batch.slots < 0, batch.slots >= 0))
        of_new, of_old = (
            type(batch.samples)(*(column[torch.from_numpy(rows)] for column in batch.samples))
            for rows in (new, old)
        )
        share = len(old) / len(new)
        said = torch.as_tensor(learner.replay.columns["q_values"][batch.slots[old]])
        held = functional.mse_loss(learner.q_net(of_old.observations), said)
        beta = share if self.beta is None else self.beta
        loss = learner.td_loss(of_new) + share * 0.5 * held + beta * learner.td_loss(of_old)
        self.expected = pulled(learner, loss * len(new) / len(batch.slots))

    def add_gradient(self, learner: Any) -> None:
        found = [parameter.grad.numpy().reshape(-1) for parameter in learner.q_net.parameters()]
        np.testing.assert_allclose(np.concatenate(found), self.expected, rtol=1e-3, atol=1e-5)
        self.compared += 1


def test_with_what_comes_and_a_reservoir_it_is_dark_experience_replay() -> None:
    def check(part: DarkExperience) -> None:
        parts = [Online(replayed=True), Clear(alpha=0.5, after=0), part]
        live(agent(*parts, replay=ReservoirReplayBuffer, learning_starts=0, n_steps=1), PHASE)
        assert part.compared > 20

    check(DarkExperience())
    fails(lambda: check(DarkExperience(beta=1.0)))


def pulled(model: Any, loss: Any) -> np.ndarray:
    """The gradient of a loss, as one vector."""
    slopes = torch.autograd.grad(loss, list(model.q_net.parameters()))
    return np.concatenate([slope.numpy().reshape(-1) for slope in slopes])


@dataclass
class Unshifted(Clone):
    """A mistake: of the advantage it forgets that the mean moves, too."""

    name: ClassVar[str] = "unshifted"

    @slope_of_kept("observations", "values", size="batch", when="alpha")
    def hold(now: Any, old: Any, slope: Any, alpha: Any, what: Any, temperature: Any) -> None:
        for action in range(len(now)):
            slope[action] = 2.0 * alpha * (now[action] - old[action]) / len(now)


def check_slope(kind: type[Clone], what: Any, seed: int, rows: int, actions: int) -> None:
    """The slope that a part says is the derivative of the loss, by autograd."""
    part = kind(alpha=0.3, **held(what, 0.7))
    rng = np.random.default_rng(seed)
    now, old = (rng.normal(size=(rows, actions)).astype(np.float32) for _ in range(2))
    found, numbers = np.zeros_like(now), numbers_for(part, ("alpha", "what", "temperature"), None)
    places = [array.ctypes.data for array in (now, old, found, numbers)]
    slope_function(kind, kind.hold)(np.array([rows, actions, *places]))  # type: ignore[arg-type]
    values = torch.tensor(now, dtype=torch.float64, requires_grad=True)
    loss = 0.3 * cloning_loss(values, torch.as_tensor(old.astype(np.float64)), what, 0.7)
    (expected,) = torch.autograd.grad(loss, values)
    np.testing.assert_allclose(found / rows, expected, rtol=1e-4, atol=1e-7)


@each_what
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), actions=st.integers(2, 5))
def test_the_slope_is_the_derivative_of_the_loss(
    what: Any, seed: int, rows: int, actions: int
) -> None:
    check_slope(Clone, what, seed, rows, actions)


def test_a_slope_that_forgets_something_is_found_out() -> None:
    fails(lambda: check_slope(Unshifted, "advantage", 0, 4, 3))


# --- cloning at the end of phases ---------------------------------------------------------------


@dataclass
class Endings(Part):
    """Copies the network at the end of each phase."""

    name: ClassVar[str] = "endings"
    needs_boundaries: ClassVar[bool] = True
    networks: list[Any] = field(default_factory=list)

    def phase_end(self, learner: Any, phase: int) -> None:
        self.networks.append(copy.deepcopy(learner.q_net).eval())


def answers(network: Any, observations: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        values: np.ndarray = network(torch.as_tensor(observations)).numpy()
    return values


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_last_states_of_each_phase_are_kept_with_the_values_of_its_end(dropout: float) -> None:
    clone, endings, history = Clone(states=50), Endings(), History()
    model = live(agent(clone, endings, history, policy={"dropout": dropout}), LIFE)
    assert clone.observations is not None
    assert clone.values is not None
    assert len(endings.networks) == 2  # the third phase has not ended
    kept = [np.stack(history.observations[phase][-50:]) for phase in (0, 1)]
    np.testing.assert_array_equal(clone.observations, np.concatenate(kept))
    expected = np.concatenate([answers(*pair) for pair in zip(endings.networks, kept, strict=True)])
    np.testing.assert_allclose(clone.values, expected, rtol=1e-5, atol=1e-6)
    # The first states, the networks of other moments, or dropout would be seen.
    first = [np.stack(history.observations[phase][:50]) for phase in (0, 1)]
    assert not np.array_equal(clone.observations, np.concatenate(first))
    for network in (endings.networks[0], endings.networks[1], model.q_net.eval()):
        assert not np.allclose(clone.values, answers(network, clone.observations), atol=1e-5)
    for network in endings.networks:
        network.train()
    mistake = np.concatenate([answers(*pair) for pair in zip(endings.networks, kept, strict=True)])
    assert np.allclose(clone.values, mistake, atol=1e-5) == (dropout == 0)


def test_a_short_phase_keeps_all_it_has_and_nothing_of_another() -> None:
    clone, history = Clone(states=10_000), History()
    live(agent(clone, history))
    assert clone.observations is not None
    kept = [np.stack(history.observations[phase]) for phase in (0, 1)]
    assert [len(states) for states in kept] == [PHASE, PHASE]
    np.testing.assert_array_equal(clone.observations, np.concatenate(kept))


def drift_of_old_values(alpha: float, what: Any) -> float:
    """How far the values of the first phase are from what they were, after the second one."""
    clone = Clone(alpha=alpha, states=100, batch=64, **held(what, 0.5))
    model = live(agent(clone, gradient_steps=8, learning_rate=3e-3), 2 * PHASE)
    assert clone.observations is not None
    assert clone.values is not None
    now = torch.as_tensor(answers(model.q_net.eval(), clone.observations))
    return float(cloning_loss(now, torch.as_tensor(clone.values), what, 0.5)) ** 0.5


@each_what
def test_a_strong_pull_keeps_the_old_values(what: Any) -> None:
    free, held = drift_of_old_values(0.0, what), drift_of_old_values(100.0, what)
    assert held < 0.25 * free


def test_before_a_phase_has_ended_there_is_nothing_to_hold() -> None:
    one, other = (live(agent(*parts), PHASE) for parts in ([Clone(alpha=5.0)], []))
    assert bits(one) == bits(other)
    one, other = (live(agent(*parts), PHASE + 40) for parts in ([Clone(alpha=5.0)], []))
    assert bits(one) != bits(other)


def test_the_cloning_batch_is_drawn_from_all_phases() -> None:
    clone = Clone(alpha=1.0, states=50, batch=10_000)
    model = live(agent(clone))
    assert clone.observations is not None
    assert clone.values is not None
    values = torch.as_tensor(clone.values)
    every, *halves = (
        pulled(model, cloning_loss(model.q_net(torch.as_tensor(states)), old, "q"))
        for states, old in (
            (clone.observations[part], values[part])
            for part in (slice(None), slice(50), slice(50, 99))
        )
    )
    found = pulled(model, clone.loss(model, model.sample(16)))

    def apart(pull: np.ndarray) -> float:
        return float(np.linalg.norm(found - pull) / np.linalg.norm(every))

    assert apart(every) < 0.05
    assert all(apart(half) > 0.05 for half in halves)


class Misread(Clone):
    """Does not do as it is set."""

    wrong: ClassVar[dict[str, Any]] = {}

    def loss(self, learner: Any, batch: Batch) -> torch.Tensor | None:
        with mock.patch.multiple(self, **self.wrong):
            return super().loss(learner, batch)


class OfValues(Misread):
    wrong: ClassVar[dict[str, Any]] = {"what": "q"}


class Untempered(Misread):
    wrong: ClassVar[dict[str, Any]] = {"temperature": 1.0}


class Twice(Misread):
    wrong: ClassVar[dict[str, Any]] = {"batch": 10}


class Unweighed(Misread):
    wrong: ClassVar[dict[str, Any]] = {"alpha": 1.0}


def check_clone(what: Any, kind: type[Clone]) -> None:
    """The loss is the one by hand, of as many states as it is set to draw."""
    clone = kind(alpha=0.3, batch=5, **held(what, 0.5))
    model = live(agent(clone), PHASE + NUM_ENVS)
    move(model)
    assert clone.observations is not None
    assert clone.values is not None
    ahead = copy.deepcopy(clone.rng)
    drawn = ahead.integers(len(clone.values), size=5)
    now = model.q_net(torch.as_tensor(clone.observations[drawn]))
    loss = 0.3 * cloning_loss(now, torch.as_tensor(clone.values[drawn]), what, 0.5)
    expected = pulled(model, loss)
    found = pulled(model, clone.loss(model, model.sample(16)))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)
    assert clone.rng.bit_generator.state == ahead.bit_generator.state


@each_what
def test_the_loss_on_kept_states_does_as_it_is_set(what: Any) -> None:
    check_clone(what, Clone)
    mistakes: list[type[Clone]] = [Twice, Unweighed]
    mistakes += [] if what == "q" else [OfValues]
    mistakes += [Untempered] if what == "policy" else []
    for mistake in mistakes:
        fails(lambda mistake=mistake: check_clone(what, mistake))  # type: ignore[misc]


def noisy(learner: Any, transitions: Any) -> Any:
    values = q_values(learner, transitions)
    return values + 0.01 * np.random.default_rng(0).normal(size=values.shape).astype(np.float32)


def of_target(learner: Any, transitions: Any) -> Any:
    with mock.patch.object(learner, "q_net", learner.q_net_target):
        return q_values(learner, transitions)


def pull(model: Any, batch: Batch) -> float:
    """How strongly the parameters are pulled."""
    loss = model.parts[0].loss(model, batch)
    slopes = torch.autograd.grad(loss, list(model.q_net.parameters()))
    return max(float(slope.abs().max()) for slope in slopes)


def check_at_rest(part: Clear | Clone) -> None:
    """What was just stored pulls nowhere, until the network moves."""
    model = live(agent(part, gradient_steps=4, learning_rate=3e-3), PHASE)
    slots = np.arange(40)
    if isinstance(part, Clear):
        part.stored(model, model.replay.stored(slots), slots, slots)
    else:
        part.phase_end(model, 0)
    batch = Batch(model.replay.gather(slots), slots)
    assert pull(model, batch) < 1e-6
    model.train(1, 16)
    assert pull(model, batch) > 1e-5
    move(model)
    assert pull(model, batch) > 1e-3


@each_what
@pytest.mark.parametrize("kind", [Clear, Clone])
@pytest.mark.parametrize("mistake", [None, noisy, of_target])
def test_what_was_just_stored_pulls_nowhere(
    kind: Any, what: Any, mistake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"alpha": 1.0, **held(what, 0.5)}
    if kind is Clear:
        settings["after"] = 0
    if mistake is None:
        check_at_rest(kind(**settings))
        return
    monkeypatch.setattr(base if kind is Clear else clone, "q_values", mistake)
    fails(lambda: check_at_rest(kind(**settings)))


def test_asking_for_values_changes_nothing() -> None:
    model = live(agent(policy={"dropout": 0.5}), PHASE)
    played = model.replay.stored(np.arange(20))
    for training in (True, False):
        model.q_net.set_training_mode(training)
        drawn = torch.get_rng_state()
        values = q_values(model, played)
        assert torch.equal(torch.get_rng_state(), drawn)
        assert model.q_net.training is training
        with torch.no_grad():
            plain = model.q_net.eval()(torch.as_tensor(played.observations)).numpy()
            dropped = model.q_net.train()(torch.as_tensor(played.observations)).numpy()
        np.testing.assert_array_equal(values, plain)
        assert not np.allclose(values, dropped)


@pytest.mark.parametrize(
    ("part", "settings", "message"),
    [
        (Clear, {"alpha": -1.0}, "clear: alpha = -1"),
        (Clear, {"alpha": math.nan}, "clear: alpha = nan"),
        (Clone, {"alpha": math.inf}, "clone: alpha = inf"),
        (Clone, {"temperature": 0.0}, "clone: temperature = 0"),
        (Clone, {"what": "value"}, "clone: unknown what 'value'"),
        (Clear, {"what": "advantages"}, "did you mean 'advantage'"),
        (Clear, {"after": -1}, "clear: after = -1"),
        (Clone, {"states": 0}, "clone: states = 0"),
        (Clone, {"batch": 0}, "clone: batch = 0"),
    ],
)
def test_settings_that_make_no_sense(part: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        part(**settings)
