"""Projection: against its closed form, a minimiser, and what steps do to the remembered loss."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls
from tiny import EACH_ENGINE, LIFE, PHASE, History, agent, bits, inside, live

from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.agem import AGEM
from continual_arcade.agents.methods.agem import against as opposed
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.replay.n_step import Transitions


def projected(vector: Parameters, reference: Parameters) -> Parameters | None:
    """Project by the rules of the part; None if nothing is to be changed."""
    along = sum(float(AGEM.products(v, r).sum()) for v, r in zip(vector, reference, strict=True))
    square = sum(float(AGEM.squares(r).sum()) for r in reference)
    excess = opposed(along, square)
    if excess == 0:
        return None
    return [AGEM.project_gradient(v, r, excess) for v, r in zip(vector, reference, strict=True)]


SEEDS = st.integers(0, 2**32 - 1)
SHAPES = ((3, 2), (3,), (1, 3), ())


def vectors(seed: int, shapes: Any = SHAPES) -> tuple[Parameters, Parameters]:
    generator = torch.Generator().manual_seed(seed)
    one, other = (
        [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        for _ in range(2)
    )
    return one, other


def flat(tensors: Parameters) -> np.ndarray:
    return np.concatenate([np.asarray(tensor).reshape(-1) for tensor in tensors])


def against(seed: int, shapes: Any = SHAPES) -> tuple[Parameters, Parameters]:
    """A vector that points against a reference."""
    vector, reference = vectors(seed, shapes)
    if flat(vector) @ flat(reference) > 0:
        vector = [-tensor for tensor in vector]
    return vector, reference


def by_tensor(vector: Parameters, reference: Parameters) -> Parameters:
    """A mistake: each parameter's tensor is taken for a vector of its own."""
    changed = []
    for v, r in zip(vector, reference, strict=True):
        found = projected([v], [r])
        changed.append(v if found is None else found[0])
    return changed


@settings(deadline=None)
@given(seed=SEEDS)
def test_what_is_left_is_orthogonal_to_the_reference(seed: int) -> None:
    vector, reference = against(seed)
    changed = projected(vector, reference)
    assert changed is not None
    g, r = flat(vector), flat(reference)
    assert abs(flat(changed) @ r) < 1e-12 * np.linalg.norm(g) * np.linalg.norm(r) + 1e-15
    np.testing.assert_allclose(flat(changed), g - (g @ r) / (r @ r) * r, rtol=1e-9, atol=1e-12)
    assert [tensor.shape for tensor in changed] == [tensor.shape for tensor in vector]


@settings(deadline=None)
@given(seed=SEEDS)
def test_without_a_violation_nothing_is_touched(seed: int) -> None:
    vector, reference = against(seed)
    before = flat(reference).tobytes(), flat(vector).tobytes()
    assert projected([-tensor for tensor in vector], reference) is None
    projected(vector, reference)
    assert (flat(reference).tobytes(), flat(vector).tobytes()) == before


def test_edges() -> None:
    one = [torch.tensor([1.0, 0.0], dtype=torch.float64)]
    assert projected(one, [torch.tensor([0.0, 1.0], dtype=torch.float64)]) is None
    assert projected(one, [torch.zeros(2, dtype=torch.float64)]) is None
    changed = projected(one, [torch.tensor([-2.0, 0.0], dtype=torch.float64)])
    assert changed is not None
    assert not changed[0].any()


@pytest.mark.parametrize("shapes", [((2,),), ((1, 2), (1,)), ((2,), (1, 1), (2,))])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_nearest_vector_that_does_no_harm(shapes: Any, seed: int) -> None:
    vector, reference = against(seed, shapes)
    g, r = flat(vector), flat(reference)
    found = minimize(
        lambda x: ((x - g) ** 2).sum(),
        r,
        jac=lambda x: 2 * (x - g),
        method="SLSQP",
        constraints={"type": "ineq", "fun": lambda x: x @ r, "jac": lambda x: r},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    changed = projected(vector, reference)
    assert changed is not None
    np.testing.assert_allclose(flat(changed), found.x, atol=1e-5)
    if len(shapes) > 1:
        assert not np.allclose(flat(by_tensor(vector, reference)), found.x, atol=1e-2)


def gem(vector: np.ndarray, *memories: np.ndarray) -> np.ndarray:
    """GEM (Lopez-Paz & Ranzato 2017, eqs. 8 to 11), by its dual: v >= 0 of least |g + v G|^2."""
    v, _ = nnls(np.stack(memories, 1), -vector)
    return np.asarray(vector + np.stack(memories, 1) @ v)


def unconditional(vector: Parameters, reference: Parameters) -> Parameters:
    """A mistake: what points along the reference is taken away, too."""
    turned = projected([-tensor for tensor in vector], reference)
    return projected(vector, reference) or [-tensor for tensor in turned or []]


def halfway(vector: Parameters, reference: Parameters) -> Parameters:
    """A mistake: takes away half of what points against the reference."""
    found = projected(vector, reference) or vector
    return [(a + b) / 2 for a, b in zip(vector, found, strict=True)]


def reflected(vector: Parameters, reference: Parameters) -> Parameters:
    """A mistake: goes twice as far."""
    found = projected(vector, reference) or vector
    return [2 * b - a for a, b in zip(vector, found, strict=True)]


def as_it_is(vector: Parameters, reference: Parameters) -> Parameters:
    return projected(vector, reference) or vector


Projection = Callable[[Parameters, Parameters], Parameters]


def check_gem(project: Projection, seed: int) -> None:
    """It solves GEM's programme, and nothing that does no harm is nearer."""
    vector, reference = vectors(seed)
    g, r = flat(vector), flat(reference)
    found = flat(project(vector, reference))
    np.testing.assert_allclose(found, gem(g, r), rtol=1e-9, atol=1e-12)
    others = (
        found
        + np.random.default_rng(seed).normal(size=(200, len(g))) * np.logspace(-3, 1, 200)[:, None]
    )
    harmless = others[others @ r >= 0]
    assert len(harmless) > 20
    assert (((harmless - g) ** 2).sum(1) >= ((found - g) ** 2).sum() - 1e-12).all()


@settings(deadline=None)
@given(seed=SEEDS)
def test_of_one_memory_it_is_gem(seed: int) -> None:
    check_gem(as_it_is, seed)


@pytest.mark.parametrize("mistake", [unconditional, halfway, reflected, by_tensor])
def test_a_mistake_is_not_gem(mistake: Projection) -> None:
    wrong = 0
    for seed in range(20):
        try:
            check_gem(mistake, seed)
        except AssertionError:
            wrong += 1
    assert wrong > 5  # where there is something to project, or nothing


def test_of_two_memories_it_is_not_gem() -> None:
    """Their mean may be spared, and one of them harmed."""
    harmed = 0
    for seed in range(20):
        (vector, one), (two, _) = vectors(seed), vectors(seed + 1000)
        mean = [(a + b) / 2 for a, b in zip(one, two, strict=True)]
        g, memories = flat(vector), (flat(one), flat(two))
        both = gem(g, *memories)
        assert all(both @ memory > -1e-12 for memory in memories)
        found = flat(as_it_is(vector, mean))
        harmed += any(found @ memory < -1e-3 for memory in memories)
    assert harmed > 5


def test_tensor_by_tensor_is_another_projection() -> None:
    products = []
    for seed in range(20):
        vector, reference = against(seed)
        g, r = flat(vector), flat(reference)
        mistake = flat(by_tensor(vector, reference))
        assert not np.allclose(mistake, g - (g @ r) / (r @ r) * r, rtol=1e-3)
        products.append(abs(mistake @ r))
    assert np.mean(np.array(products) > 1e-3) > 0.5  # else every tensor happens to do harm


# --- in a life ----------------------------------------------------------------------------------


@dataclass
class Consequences(Part):
    """Notes by how much each step changes the remembered loss, to first order."""

    name: ClassVar[str] = "consequences"
    before: list[torch.Tensor] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    turned: list[float] = field(default_factory=list)

    def before_update(self, learner: Any) -> None:
        self.before = [tensor.detach().clone() for tensor in learner.q_net.parameters()]

    def add_gradient(self, learner: Any) -> None:
        self.raw = [tensor.grad.clone() for tensor in learner.q_net.parameters()]

    def after_update(self, learner: Any) -> None:
        (agem,) = (part for part in learner.parts if part.name == "agem")
        if not agem.remembered:
            return
        reference = flat(agem.reference).astype(np.float64)
        now = [tensor.detach() for tensor in learner.q_net.parameters()]
        step = flat([a - b for a, b in zip(now, self.before, strict=True)]).astype(np.float64)
        scale = np.linalg.norm(step) * np.linalg.norm(reference)
        self.changes.append(float(step @ reference / max(scale, 1e-30)))
        gradient = flat(self.raw).astype(np.float64)
        self.turned.append(float(gradient @ reference))


def consequences(what: Any, optimizer: type[torch.optim.Optimizer], rate: float) -> Consequences:
    watch = Consequences()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = agent(
            AGEM(what=what, batch=64),
            watch,
            gradient_steps=2,
            learning_rate=rate,
            buffer_size=40,  # it holds nothing of older phases for long
            policy={"optimizer_class": optimizer},
        )
    live(model)
    assert len(watch.changes) == 2 * (LIFE - PHASE) // 4
    return watch


TOLERANCE = 1e-3  # of a cosine; parameters are rounded to single precision


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_no_projected_step_raises_the_remembered_loss(optimizer: Any) -> None:
    watch = consequences("update", optimizer, 1e-2 if optimizer is torch.optim.Adam else 1e-1)
    assert max(watch.changes) < TOLERANCE
    assert np.mean(np.array(watch.turned) < 0) > 0.05  # there was something to project


def test_a_projected_gradient_does_no_harm_under_plain_sgd() -> None:
    watch = consequences("gradient", torch.optim.SGD, 1e-1)
    assert max(watch.changes) < TOLERANCE


def test_adam_voids_the_projection_of_gradients() -> None:
    watch = consequences("gradient", torch.optim.Adam, 1e-2)
    assert np.mean(np.array(watch.changes) > 10 * TOLERANCE) > 0.2


def test_only_what_adam_voids_is_warned_of() -> None:
    sgd: dict[str, Any] = {"optimizer_class": torch.optim.SGD}
    with pytest.warns(UserWarning, match="agem: SGD with momentum turns the projected gradient"):
        agent(AGEM(what="gradient"), policy={**sgd, "optimizer_kwargs": {"momentum": 0.9}})
    with pytest.warns(UserWarning, match=r"agem: Adam turns the projected gradient.*what='update'"):
        agent(AGEM(what="gradient"))
    agent(AGEM(what="gradient"), policy=sgd)
    agent(AGEM(what="update"))


class ByTensor(AGEM):
    """The mistake of :func:`by_tensor` in a life."""

    def project_update(self, learner: Any) -> None:
        with torch.no_grad():
            for now, before, reference in zip(
                learner.q_net.parameters(), self.before, self.reference, strict=False
            ):
                changed = projected([before - now], [reference])
                if changed is not None:
                    now.copy_(before - changed[0])


@pytest.mark.parametrize("part", [AGEM, ByTensor])
def test_the_step_is_projected_as_a_whole(part: Any) -> None:
    """Where the whole step does no harm, no tensor of it is touched."""

    @dataclass
    class Compare(Part):
        name: ClassVar[str] = "compare"
        touched: list[bool] = field(default_factory=list)
        errors: list[float] = field(default_factory=list)

        def __post_init__(self) -> None:
            self.stepped: list[torch.Tensor] = []

        def bind(self, learner: Any, rng: Any) -> None:
            super().bind(learner, rng)
            learner.optimizer.register_step_post_hook(self.keep)
            self.network = learner.q_net

        def keep(self, *_: Any) -> None:
            self.stepped = [tensor.detach().clone() for tensor in self.network.parameters()]

        def after_update(self, learner: Any) -> None:
            (agem,) = (other for other in learner.parts if isinstance(other, AGEM))
            if not agem.remembered:
                return
            before, stepped = flat(agem.before), flat(self.stepped)
            reference = flat(agem.reference).astype(np.float64)
            now = flat([tensor.detach() for tensor in learner.q_net.parameters()])
            step = stepped.astype(np.float64) - before
            if step @ reference < -1e-9:
                self.touched.append(now.tobytes() != stepped.tobytes())
            elif step @ reference > 1e-9:
                step -= (step @ reference) / (reference @ reference) * reference
                self.errors.append(float(np.abs(now - (before + step)).max()))

    compare = Compare()
    live(agent(part(), compare, gradient_steps=4), 2 * PHASE)
    assert len(compare.touched) > 30
    assert any(compare.touched) == (part is ByTensor)
    assert compare.errors
    assert (max(compare.errors) < 1e-6) == (part is AGEM)


def test_the_last_transitions_of_each_phase_are_kept() -> None:
    part, history = AGEM(transitions=50), History()
    live(agent(part, history))
    assert part.kept["phases"].tolist() == [0] * 50 + [1] * 50
    for name, seen in (("observations", history.observations), ("rewards", history.rewards)):
        last = np.concatenate([np.asarray(seen[phase][-50:]) for phase in (0, 1)])  # type: ignore[index]
        np.testing.assert_array_equal(part.kept[name], last.astype(np.float32))
        first = np.concatenate([np.asarray(seen[phase][:50]) for phase in (0, 1)])  # type: ignore[index]
        assert not np.array_equal(part.kept[name], first.astype(np.float32))


def test_a_short_phase_keeps_all_it_has_and_nothing_of_another() -> None:
    part = AGEM(transitions=10_000)
    live(agent(part))
    assert part.kept["phases"].tolist() == [0] * PHASE + [1] * PHASE


def test_the_reference_is_the_gradient_on_what_was_kept() -> None:
    part = AGEM(transitions=50, batch=20)
    model = live(agent(part, engine="torch"))
    ahead = np.random.default_rng()
    ahead.bit_generator.state = part.rng.bit_generator.state
    drawn = ahead.integers(100, size=20)
    remembered = Transitions(**{name: column[drawn] for name, column in part.kept.items()})
    samples = model.replay.as_samples(remembered)
    with torch.no_grad():
        best = model.q_net(samples.next_observations).argmax(1, keepdim=True)
        values = model.q_net_target(samples.next_observations).gather(1, best)
        targets = samples.rewards + (1 - samples.dones) * samples.discounts * values
    taken = model.q_net(samples.observations).gather(1, samples.actions)
    loss = torch.nn.functional.smooth_l1_loss(taken, targets)
    expected = torch.autograd.grad(loss, list(model.q_net.parameters()))
    before = [tensor.grad.clone() for tensor in model.q_net.parameters()]  # type: ignore[union-attr]
    part.project(model)
    np.testing.assert_allclose(flat(part.reference), flat(list(expected)), rtol=1e-5, atol=1e-7)
    after = [tensor.grad for tensor in model.q_net.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))  # type: ignore[arg-type]


def test_before_a_phase_has_ended_it_does_nothing() -> None:
    one, other = (live(agent(*parts), PHASE) for parts in ([AGEM()], []))
    assert bits(one) == bits(other)
    assert inside(one)["counters"] == inside(other)["counters"]
    one, other = (live(agent(*parts, gradient_steps=8)) for parts in ([AGEM()], []))
    assert bits(one) != bits(other)


def test_the_log_tells_how_often_it_projected() -> None:
    model = live(agent(AGEM(), gradient_steps=4))
    model.dump_logs = lambda: None  # type: ignore[method-assign]
    (part,) = model.parts
    part.log(model)
    share = model.logger.name_to_value["agem/projected"]
    assert 0 < share < 1
    part.log(model)  # no step since: the old value stays
    assert model.logger.name_to_value["agem/projected"] == share


@EACH_ENGINE
def test_what_is_projected_may_be_changed_between_two_calls(engine: str) -> None:
    part = AGEM()
    model = agent(part, engine=engine, policy={"optimizer_class": torch.optim.SGD})
    live(model, 2 * PHASE)
    for what, left in (("gradient", "excess_of_step"), ("update", "excess")):
        setattr(part, left, -0.5)  # as the last step may have left it
        part.what = what  # type: ignore[assignment]
        live(model, 40, reset_num_timesteps=False)
        assert getattr(part, left) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transitions": 0}, "agem: transitions = 0"),
        ({"batch": -1}, "agem: batch = -1"),
        ({"what": "updates"}, "agem: unknown what 'updates': did you mean 'update'"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AGEM(**settings)
