"""GEM: its steps against the nearest that does no harm, in training, with both engines."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import tiny
import torch
from numba.extending import register_jitable
from scipy.optimize import nnls
from tiny import LIFE, PHASE, History, agent, bits, live

from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.agem import AGEM
from continual_arcade.agents.methods.gem import GEM
from continual_arcade.agents.methods.rules import mixture
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.envs import Schedule
from continual_arcade.envs.phased_env import CARTPOLE, PhasedEnv
from continual_arcade.envs.schedules import PhaseSpec

SGD = {"optimizer_class": torch.optim.SGD}
SMALL = {"transitions": 20}


def flat(tensors: Any) -> Any:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).double().numpy()


def gem_of(model: Any) -> Any:
    return next(part for part in model.parts if isinstance(part, GEM))


def nearest(vector: Any, references: Any, margin: float = 0.0) -> Any:
    """Lopez-Paz and Ranzato 2017, eqs. 8 to 11, by SciPy; weights are margin and more."""
    if (references @ vector >= 0).all():
        return vector
    start = vector + margin * references.sum(0)
    weights, _ = nnls(references.T, -start)
    return start + weights @ references


@dataclass
class Watch(Part):
    """Compares each step with what it should be, in PyTorch."""

    name: ClassVar[str] = "watch"
    errors: list[float] = field(default_factory=list)
    turned: list[bool] = field(default_factory=list)
    untouched: list[bool] = field(default_factory=list)

    def bind(self, learner: Any, rng: Any) -> None:
        super().bind(learner, rng)
        learner.optimizer.register_step_post_hook(self.keep)
        self.network = learner.q_net

    def keep(self, *_: Any) -> None:
        self.stepped = flat(self.network.parameters())

    def before_update(self, learner: Any) -> None:
        self.start = flat(learner.q_net.parameters())

    def add_gradient(self, learner: Any) -> None:
        self.raw = flat([tensor.grad for tensor in learner.q_net.parameters()])

    def project(self, learner: Any) -> None:
        self.changed = flat([tensor.grad for tensor in learner.q_net.parameters()])

    def after_update(self, learner: Any) -> None:
        gem = gem_of(learner)
        if not gem.remembered:
            return
        references = np.stack([flat(row) for row in gem.references])
        now = flat(learner.q_net.parameters())
        if gem.what == "gradient":
            given, found = self.raw, self.changed
        else:
            given, found = self.start - self.stepped, self.start - now
        expected = nearest(given, references, gem.margin)
        size = np.linalg.norm(given) + gem.margin * np.linalg.norm(references, axis=1).sum()
        self.errors.append(float(np.abs(found - expected).max() / size))
        self.turned.append(bool(gem.turned))
        if not gem.turned:
            self.untouched.append(found.tobytes() == given.tobytes())


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("settings", "policy", "rate"),
    [
        ({"what": "update"}, None, 1e-2),
        ({"what": "update"}, SGD, 1e-1),
        ({"what": "gradient"}, SGD, 1e-1),
        ({"what": "gradient", "margin": 0.5}, SGD, 1e-2),
        ({"what": "update", "batch": 8}, None, 1e-2),
    ],
)
def test_each_step_is_the_nearest_that_does_no_harm(settings: Any, policy: Any, rate: Any) -> None:
    watch = Watch()
    model = agent(
        GEM(**SMALL, **settings), watch, gradient_steps=2, learning_rate=rate, policy=policy
    )
    live(model)
    assert len(watch.errors) == 2 * (LIFE - PHASE) // 4
    assert max(watch.errors) < 1e-4  # parameters are rounded to single precision
    assert sum(watch.turned) > 20
    assert watch.untouched
    assert all(watch.untouched)


# --- with either engine ---------------------------------------------------------------------------


@register_jitable
def spare_the_last(gram: Any, products: Any, weights: Any, margin: Any) -> Any:
    """A mistake: of all references the newest alone is spared."""
    last = len(products) - 1
    if products[last] < 0.0:
        weights[last] = -products[last] / gram[last, last]
    return products[last] < 0.0


@register_jitable
def spare_half(gram: Any, products: Any, weights: Any, margin: Any) -> Any:
    """A mistake: the products are taken for half of what they are."""
    for i in range(len(products)):
        weights[i] = max(0.0, -0.5 * products[i] / gram[i, i])
    return 1.0


@dataclass
class SparesTheLast(GEM):
    name: ClassVar[str] = "spares-the-last"

    @mixture("project_update", of="references", to="step", writes="turned", when="of_step")
    def project_step(gram: Any, products: Any, weights: Any, margin: Any) -> Any:
        return spare_the_last(gram, products, weights, margin)


@dataclass
class SparesHalf(GEM):
    name: ClassVar[str] = "spares-half"

    @mixture("project_update", of="references", to="step", writes="turned", when="of_step")
    def project_step(gram: Any, products: Any, weights: Any, margin: Any) -> Any:
        return spare_half(gram, products, weights, margin)


def worst(kind: type[GEM], engine: str) -> float:
    """The lowest cosine of a step of training with a reference, of some 60 steps."""
    part = kind(**SMALL)
    model = live(agent(part, engine=engine, learning_rate=1e-2, buffer_size=40), 2 * PHASE)
    assert model.runs_compiled == (engine == "compiled")
    cosines = []
    for _ in range(60):
        live(model, tiny.NUM_ENVS, reset_num_timesteps=False)
        step = flat(part.before) - flat(model.q_net.parameters())
        for row in part.references:
            reference = flat(row)
            size = np.linalg.norm(step) * np.linalg.norm(reference)
            cosines.append(step @ reference / max(size, 1e-30))
    assert len(part.references) in (1, 2)
    return float(min(cosines))


@tiny.EACH_ENGINE
def test_no_step_harms_the_memory_of_any_phase(engine: str) -> None:
    assert worst(GEM, engine) > -1e-3  # of a cosine; parameters are rounded to single precision


@pytest.mark.parametrize("mistake", [SparesTheLast, SparesHalf])
@tiny.EACH_ENGINE
def test_a_mistake_is_found(mistake: type[GEM], engine: str) -> None:
    assert worst(mistake, engine) < -1e-2


def difference(one: Any, other: Any) -> float:
    return float(np.abs(flat(one.q_net.parameters()) - flat(other.q_net.parameters())).max())


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        ({}, None),
        pytest.param({"batch": 8}, None, marks=pytest.mark.slow),
        ({"what": "gradient", "margin": 0.5}, SGD),
    ],
)
def test_both_engines_train_alike(settings: Any, policy: Any) -> None:
    torchs, compiled = (
        live(
            agent(
                GEM(**SMALL, **settings),
                engine=engine,
                gradient_steps=2,
                policy=policy,
                learning_rate=3e-3,
            )
        )
        for engine in ("torch", "compiled")
    )
    assert compiled.runs_compiled
    assert difference(torchs, compiled) < 1e-5
    one, other = gem_of(torchs), gem_of(compiled)
    assert one.projected == other.projected > 10
    assert one.tried == other.tried == (LIFE - PHASE) // 2
    for row, twin in zip(one.references, other.references, strict=True):
        np.testing.assert_allclose(flat(row), flat(twin), atol=1e-4)


@pytest.mark.parametrize("what", ["update", "gradient"])
@tiny.EACH_ENGINE
def test_of_one_phase_it_is_agem(engine: str, what: Any) -> None:
    """With as many drawn of what is kept, and from the same stream."""
    agents = []
    for kind in (GEM, AGEM):
        part = kind(transitions=50, batch=16, what=what)
        model = agent(part, engine=engine, gradient_steps=2, policy=SGD, learning_rate=0.1)
        agents.append(live(model, 2 * PHASE))
    one, other = agents[0].parts[0], agents[1].parts[0]
    assert one.projected == other.projected > 20  # type: ignore[attr-defined]
    assert difference(*agents) < 1e-6
    # With a second phase it is not.
    for model in agents:
        live(model, LIFE - 2 * PHASE, reset_num_timesteps=False)
    assert difference(*agents) > 1e-4


class Still(gym.Env[Any, Any]):
    """Always the same transition: what is remembered pulls where everything pulls."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gym.spaces.Discrete(1)

    def reset(self, **kwargs: Any) -> Any:
        super().reset(**kwargs)
        return np.array([0.1, 0.5, -0.3], np.float32), {}

    def step(self, action: Any) -> Any:
        return np.array([0.1, 0.5, -0.3], np.float32), 3.0, True, False, {}


def of_still(*parts: Part, engine: str) -> Any:
    phases = tuple(PhaseSpec(name=name, steps=60, params={}) for name in ("one", "two", "three"))

    def make() -> Any:
        return PhasedEnv(Still(), Schedule("still", phases), CARTPOLE, lambda env, params: None)

    return agent(*parts, env=make(), engine=engine)


@pytest.mark.parametrize("margin", [0.0, 0.5])
@tiny.EACH_ENGINE
def test_where_nothing_is_violated_it_is_the_dqn_bit_for_bit(engine: str, margin: float) -> None:
    what: Any = "gradient" if margin else "update"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Adam, which is not the point
        gem, plain = (
            live(of_still(*parts, engine=engine), 180)
            for parts in ([GEM(**SMALL, what=what, margin=margin)], [])
        )
    part = gem_of(gem)
    assert part.tried == 120
    assert part.projected == 0
    assert all(np.abs(flat(row)).max() > 1e-6 for row in part.references)
    assert bits(gem) == bits(plain)


@tiny.EACH_ENGINE
def test_before_a_phase_has_ended_it_does_nothing(engine: str) -> None:
    one, other = (live(agent(*parts, engine=engine), PHASE) for parts in ([GEM()], []))
    assert bits(one) == bits(other)


# --- what is kept, and what references are computed of --------------------------------------------


def test_the_last_transitions_of_each_phase_are_a_memory_of_their_own() -> None:
    part, history = GEM(transitions=50), History()
    live(agent(part, history))
    assert part.ends == [50, 100]
    assert part.kept["phases"].tolist() == [0] * 50 + [1] * 50
    last = np.concatenate([np.asarray(history.observations[phase][-50:]) for phase in (0, 1)])
    np.testing.assert_array_equal(part.kept["observations"], last.astype(np.float32))


@pytest.mark.parametrize("batch", [None, 7])
def test_references_are_the_gradients_on_each_memory(batch: int | None) -> None:
    part = GEM(transitions=30, batch=batch)
    model = live(agent(part, engine="torch"))
    ahead = np.random.default_rng()
    ahead.bit_generator.state = part.rng.bit_generator.state
    part.project(model)
    for phase, found in enumerate(part.references):
        drawn = np.arange(30) if batch is None else ahead.integers(30, size=batch)
        kept = {name: column[30 * phase + drawn] for name, column in part.kept.items()}
        samples = model.replay.as_samples(Transitions(**kept))
        with torch.no_grad():
            best = model.q_net(samples.next_observations).argmax(1, keepdim=True)
            values = model.q_net_target(samples.next_observations).gather(1, best)
            targets = samples.rewards + (1 - samples.dones) * samples.discounts * values
        taken = model.q_net(samples.observations).gather(1, samples.actions)
        loss = torch.nn.functional.smooth_l1_loss(taken, targets)
        expected = torch.autograd.grad(loss, list(model.q_net.parameters()))
        np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-5, atol=1e-7)
    assert part.rng.bit_generator.state == ahead.bit_generator.state


def test_a_frozen_layer_is_left_alone() -> None:
    model = agent(GEM(**SMALL), gradient_steps=4)
    for parameter in model.q_net.q_net[0].parameters():
        parameter.requires_grad_(False)
    start = flat(model.q_net.q_net[0].parameters())
    live(model)
    assert np.array_equal(flat(model.q_net.q_net[0].parameters()), start)
    assert gem_of(model).projected > 0


def test_the_log_tells_how_often_it_projected() -> None:
    model = live(agent(GEM(**SMALL), gradient_steps=4))
    model.dump_logs = lambda: None  # type: ignore[method-assign]
    (part,) = model.parts
    part.log(model)
    assert 0 < model.logger.name_to_value["gem/projected"] < 1


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transitions": 0}, "gem: transitions = 0"),
        ({"batch": 0}, "gem: batch = 0"),
        ({"batch": 21, "transitions": 20}, "gem: batch = 21 is more than the 20 transitions"),
        ({"margin": -0.5, "what": "gradient"}, "gem: margin = -0.5"),
        ({"margin": float("nan"), "what": "gradient"}, "gem: margin = nan"),
        ({"margin": 0.5}, "margin = 0.5 is a share of gradients.*use what='gradient'"),
        ({"what": "updates"}, "gem: unknown what 'updates': did you mean 'update'"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GEM(**settings)


def test_only_what_adam_voids_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"gem: Adam turns the projected gradient.*what='update'"):
        agent(GEM(what="gradient"))
    agent(GEM(what="gradient"), policy=SGD)
    agent(GEM(what="update"))


DAMAGES: dict[str, Callable[[Any], Any]] = {
    "beyond": lambda ends: [*ends[:-1], ends[-1] + 1],
    "none": lambda ends: [],
    "back": lambda ends: ends[::-1],
    "empty": lambda ends: [0, *ends],
    "fractions": lambda ends: [float(end) for end in ends],
    "negative": lambda ends: [-5, *ends],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_memories_that_end_elsewhere_are_refused(damage: str, tmp_path: Any) -> None:
    model = live(agent(GEM(**SMALL), engine="compiled"))
    part: Any = gem_of(model)
    part.ends = DAMAGES[damage](part.ends)
    with pytest.raises(ValueError, match=r"gem': its memories end at .* its state is damaged"):
        live(model, 40, reset_num_timesteps=False)
    model.save(tmp_path / "agent.zip")
    with pytest.raises(ValueError, match=r"agent.zip: part 'gem': ends = .* are not those of mem"):
        type(model).load(tmp_path / "agent.zip", device="cpu")
