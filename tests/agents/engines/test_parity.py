"""Two engines, one meaning: the same parameters, draws and memory; and who serves whom."""

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import tiny
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from continual_arcade.agents import (
    METHODS,
    ContinualDQN,
    DivergedError,
    DQNSettings,
    Exploration,
    Method,
    build_agent,
    compose,
    machine_memory,
)
from continual_arcade.agents.engines import eligibility
from continual_arcade.agents.engines.compiled import CompiledEngine
from continual_arcade.agents.kernels import update
from continual_arcade.agents.kernels.activations import NOTHING, RELU
from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.agem import AGEM
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.l2 import L2
from continual_arcade.agents.methods.mask import HardMask
from continual_arcade.agents.methods.mer import MER
from continual_arcade.agents.methods.reptile import Reptile
from continual_arcade.agents.methods.rules import declared
from continual_arcade.agents.replay import (
    BalancedReplayBuffer,
    FIFOReplayBuffer,
    ReservoirReplayBuffer,
)
from continual_arcade.envs import Schedule, make_game, shipped
from continual_arcade.envs.phased_env import CARTPOLE, PhasedEnv, set_cartpole
from continual_arcade.envs.schedules import PhaseSpec

TOLERANCE = 1e-5
"""Largest difference of a parameter after 500 updates and more; parameters are of size 0.1. Such
lives end within 3e-6 of each other; a rounding that turns an action would show as 1e-3. Shorter
ones are held to the same."""

GAME = make_game("FlappyBird")
CONFLICT = shipped("conflict", GAME).with_steps(400)
SHORT = CONFLICT.with_steps(100)
"""120 updates, and more transitions than fit into the memory: each engine goes through all
that it does. Planted errors are found in lives of this length, too."""
EVERY_LENGTH = pytest.mark.parametrize(
    "life", [SHORT, pytest.param(CONFLICT, marks=pytest.mark.slow)], ids=["short", "long"]
)
COMPILED = [name for name in METHODS if name not in tiny.UNCOMPILED]
SETTINGS = DQNSettings(
    hidden=(16, 16),
    batch_size=16,
    gradient_steps=2,
    num_envs=4,
    learning_starts=60,
    target_update_interval=40,
    buffer_size=200,
    # Of no method's own: what rounding does to a life grows with the size of its steps.
    learning_rate=3e-4,
)


def lived(
    engine: Any,
    method: Method = METHODS["finetune"],
    schedule: Schedule = CONFLICT,
    parts: Sequence[Part] = (),
    **changes: Any,
) -> ContinualDQN:
    settings = replace(SETTINGS, engine=engine, **changes)
    if method.name == "packnet":
        method = replace(method, parts=("packnet:retrain=50",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # penalties that dominate, A-GEM over Adam: not the point
        made = [*method.make_parts(), *parts]
        context = tiny.context_of(made)
        agent = build_agent("FlappyBird", schedule, settings, 3, method, parts, context)
        agent.learn(schedule.total_steps)
    return agent


def vector(network: Any) -> Any:
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()]).numpy()


def tree(state: Any) -> Any:
    """Return a state in which what is computed is rounded away, and what is counted is not."""
    if isinstance(state, dict):
        return {key: tree(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [tree(value) for value in state]
    if isinstance(state, torch.Tensor):
        return list(state.shape)
    if isinstance(state, np.ndarray):
        if state.dtype.names:
            return state.tobytes()
        if state.dtype == np.float32 and state.ndim == 2 and state.shape[1] == 2:
            return list(state.shape)  # values of two actions
        return state.tolist()
    return state


def assert_same(torchs: ContinualDQN, compiled: ContinualDQN) -> None:
    assert not torchs.runs_compiled
    assert compiled.runs_compiled
    for name in ("q_net", "q_net_target"):
        difference = np.abs(vector(getattr(torchs, name)) - vector(getattr(compiled, name))).max()
        assert difference < TOLERANCE, (name, difference)
    for name in ("num_timesteps", "_n_updates", "_episode_num", "_n_calls", "_syncs_due"):
        assert getattr(torchs, name) == getattr(compiled, name), name
    assert torchs.exploration_rate == compiled.exploration_rate
    assert (
        torchs._exploration_rng.bit_generator.state == compiled._exploration_rng.bit_generator.state
    )
    kept, other = torchs.replay.state_dict(), compiled.replay.state_dict()
    kept.pop("columns"), other.pop("columns")
    for state in (kept, other):  # an accumulator of single steps may leave what it has no use for
        if torchs.replay.n_steps == 1:
            state.pop("pending")
    assert tree(kept) == tree(other)
    assert tree(torchs.phase_tracker.state_dict()) == tree(compiled.phase_tracker.state_dict())
    assert tree(torchs.env.state_dict()) == tree(compiled.env.state_dict())  # type: ignore[union-attr]
    for part, twin in zip(torchs.parts, compiled.parts, strict=True):
        mine, its = part.state_dict(), twin.state_dict()
        constants = [state.pop("constant", 0.0) for state in (mine, its)]
        assert constants[0] == pytest.approx(constants[1], rel=1e-3)
        for name in declared(type(part)).rows:  # computed, as vectors are
            np.testing.assert_allclose(mine.pop(name), its.pop(name), rtol=1e-3, atol=1e-9)
        if "archive" in mine:  # parameters, as those of the networks
            np.testing.assert_allclose(mine.pop("archive"), its.pop("archive"), atol=TOLERANCE)
        assert tree(mine) == tree(its), part.name
        for name in ("omega", "center", "average", "path", "base"):
            for a, b in zip(mine.get(name, []), its.get(name, []), strict=True):
                scale = max(1.0, float(a.abs().max()))
                assert float((a - b).abs().max()) < 1e-3 * scale, (part.name, name)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n == "mer-faithful" else ()) for n in COMPILED],
)
@EVERY_LENGTH
def test_both_engines_lead_the_same_life(name: str, life: Schedule) -> None:
    torchs, compiled = (lived(engine, METHODS[name], life) for engine in ("torch", "compiled"))
    assert torchs._n_updates >= (500 if life is CONFLICT else 100)
    assert_same(torchs, compiled)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in ("si", "clear") else pytest.mark.slow) for n in COMPILED],
)
@EVERY_LENGTH
def test_with_tanh_too(name: str, life: Schedule) -> None:
    torchs, compiled = (
        lived(e, METHODS[name], life, activation="tanh") for e in ("torch", "compiled")
    )
    kinds = [type(layer) for layer in torchs.q_net.q_net]
    assert kinds == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert torchs._n_updates >= (500 if life is CONFLICT else 100)
    assert_same(torchs, compiled)


@pytest.mark.parametrize("wrong", ["nothing", "gate"])
def test_another_activation_is_found(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that takes a network with Tanh for one with ReLU leads another life."""
    if wrong == "gate":
        monkeypatch.setitem(eligibility.ACTIVATIONS, nn.Tanh, RELU)  # type: ignore[arg-type]
    else:
        monkeypatch.setitem(eligibility.ACTIVATIONS, nn.Tanh, NOTHING)  # type: ignore[arg-type]
    life = CONFLICT.with_steps(60)
    torchs, compiled = (lived(e, schedule=life, activation="tanh") for e in ("torch", "compiled"))
    assert compiled.runs_compiled
    with pytest.raises(AssertionError):
        assert_same(torchs, compiled)


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    "text",
    [
        "balanced clear:after=60,what=advantage agem si",
        "reservoir clear:after=60,what=policy,temperature=0.5",
        "mix clear:after=60",
        "fifo clone:batch=8,what=policy",
        "fifo gem:transitions=30,batch=8,what=gradient",
        "fifo clone:batch=40,what=advantage",
        "mix generative-replay:states=60,samples=90,components=3 clear",
        "fifo lwf:alpha=5,what=policy",
        "fifo lwf:alpha=5 packnet:retrain=50",
        "reservoir ewc:lam=1,off_slope=1 online-ewc:fisher=td",
        "fifo agem:what=gradient",
        "mix gem:transitions=20 agem si",
        "balanced ewc:lam=100,anchor=ema",
        "balanced clone mer ewc",
        "balanced ewc:fisher=policy l2 si mas",
        "mix agem ewc reptile:every=7,eps=0.3",
        "mix lwf:alpha=5 mer clone",
        "mix upgd:noise=0.01 si ewc reptile:every=7",
        "mix spectral:lam=0.01 parseval:lam=0.01 agem mer",
        "balanced trac:epsilon=0.01 clear:after=60 si",
    ],
)
@pytest.mark.parametrize("steps", [100, pytest.param(250, marks=pytest.mark.slow)])
def test_compositions_too(text: str, steps: int) -> None:
    replay, *parts = text.split()
    method, life = compose("finetune", replay, parts), CONFLICT.with_steps(steps)
    assert_same(lived("torch", method, life), lived("compiled", method, life))


@pytest.mark.parametrize("replay", ["mix", pytest.param("balanced", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(["mer:algorithm=1,memories=5,repeats=2,beta=0.5"], marks=pytest.mark.slow),
        pytest.param(["mer:algorithm=6,memories=5,repeats=2"], marks=pytest.mark.slow),
        ["mer:algorithm=7,memories=5,repeats=3"],
        pytest.param(
            ["mer:algorithm=7,memories=3", "ewc", "clone:batch=8"], marks=pytest.mark.slow
        ),
    ],
)
@pytest.mark.parametrize(
    ("activation", "steps"),
    [
        ("relu", 60),
        pytest.param("relu", 100, marks=pytest.mark.slow),
        pytest.param("tanh", 100, marks=pytest.mark.slow),
    ],
)
def test_single_examples_too(replay: str, parts: list[str], activation: str, steps: int) -> None:
    method = compose("finetune", replay, parts)
    sgd: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 3e-3, "activation": activation}
    life = CONFLICT.with_steps(steps)
    assert_same(lived("torch", method, life, **sgd), lived("compiled", method, life, **sgd))


def test_single_examples_with_tanh_too() -> None:
    method = compose("finetune", "mix", ["mer:algorithm=7,memories=5,repeats=3"])
    sgd: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 3e-3, "activation": "tanh"}
    life = CONFLICT.with_steps(60)
    assert_same(lived("torch", method, life, **sgd), lived("compiled", method, life, **sgd))


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("schedule", "method", "changes"),
    [
        ("cycle", compose("finetune", "balanced", ["ewc"]), {}),
        ("drift", compose("finetune", "balanced", ["clear:after=60"]), {"epsilon": "per_phase"}),
        ("conflict", METHODS["mer"], {"num_envs": 1, "n_steps": 1}),
        ("conflict", METHODS["ewc"], {"double_q": False, "n_steps": 5, "num_envs": 3}),
        ("conflict", METHODS["reservoir"], {"epsilon": "constant", "hidden": (12,)}),
        ("conflict", METHODS["finetune"], {"hidden": (9, 7, 5), "optimizer": "sgd"}),
    ],
)
@pytest.mark.parametrize("updates", [120, pytest.param(400, marks=pytest.mark.slow)])
def test_other_lives_and_settings_too(
    schedule: str, method: Method, changes: dict[str, Any], updates: int
) -> None:
    life = shipped(schedule, GAME)
    num_envs = changes.get("num_envs", SETTINGS.num_envs)
    # So many updates, whatever the number of games; more where there are many phases, in each of
    # which episodes must begin.
    steps = SETTINGS.learning_starts + (updates // SETTINGS.gradient_steps + 10) * num_envs
    life = life.with_steps(max(150 if len(life) > 3 else 60, steps // len(life)))
    torchs, compiled = (lived(name, method, life, **changes) for name in ("torch", "compiled"))
    assert torchs._n_updates >= 0.75 * updates
    assert_same(torchs, compiled)


@pytest.mark.parametrize("steps", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_catcher_too(steps: int) -> None:
    game = make_game("Catcher")
    life = shipped("conflict", game).with_steps(steps)
    agents = []
    for engine in ("torch", "compiled"):
        settings = replace(SETTINGS, engine=engine)  # type: ignore[arg-type]
        agents.append(build_agent("Catcher", life, settings, 1, METHODS["ewc"]))
        agents[-1].learn(life.total_steps)
    assert_same(*agents)


@dataclass
class Freezes(HardMask):
    """Freezes a random half of the parameters at the end of the first phase."""

    name: ClassVar[str] = "freezes"
    needs_boundaries: ClassVar[bool] = True

    def phase_end(self, learner: Any, phase: int) -> None:
        if not self.frozen:
            shapes = [tensor.shape for tensor in learner.q_net.parameters()]
            self.freeze(learner, [torch.as_tensor(self.rng.random(s) < 0.5) for s in shapes])


def test_a_hard_mask_of_ones_own() -> None:
    agents = [lived(engine, schedule=SHORT, parts=[Freezes()]) for engine in ("torch", "compiled")]
    assert_same(*agents)
    for agent in agents:
        part: Any = agent.parts[0]
        for tensor, frozen, held in zip(
            agent.q_net.parameters(), part.frozen, part.held, strict=True
        ):
            still = frozen.bool()
            assert torch.equal(tensor.detach()[still], held[still])
            assert not torch.equal(tensor.detach()[~still], held[~still])


class More(Freezes):
    name: ClassVar[str] = "more"


def test_two_masks_and_a_projection_between_them() -> None:
    parts = [Freezes(), AGEM(), More()]
    agents = [
        lived(engine, schedule=SHORT, parts=copy.deepcopy(parts))
        for engine in ("torch", "compiled")
    ]
    assert_same(*agents)


def test_masks_of_another_shape_are_refused() -> None:
    agent = tiny.agent(Freezes())
    part: Any = agent.parts[0]
    with pytest.raises(ValueError, match=r"freezes: masks have shapes \[\(2,\)\], but"):
        part.freeze(agent, [torch.ones(2)])


MANY_PARTS = compose("finetune", "mix", ["clear:after=60", "reptile:every=7,eps=0.3"])


@pytest.fixture(scope="module")
def rightly() -> ContinualDQN:
    """A short life in torch, which the compiled engine leads as well."""
    agent = lived("torch", MANY_PARTS, SHORT, learning_rate=3e-3)
    assert_same(agent, lived("compiled", MANY_PARTS, SHORT, learning_rate=3e-3))
    return agent


@pytest.mark.parametrize(
    "wrong",
    [
        {"double_q": 0},
        {"beta_2": 0.9},
        {"max_grad_norm": 0.01},
        {"sync_every": 11},
        {"fifo_size": 90},
        {"long_term_fraction": 0.4},
        {"eps": 0.31},
        {"every": 6},
        {"alpha": 0.2},
        {"values_after": 70},
        {"learning_starts": 70},
    ],
)
def test_an_engine_that_means_something_else_is_found_out(
    wrong: dict[str, Any], rightly: ContinualDQN, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = CompiledEngine.before

    def wrongly(self: Any, *args: Any) -> None:
        before(self, *args)
        for name, value in wrong.items():
            if name in self.control.array.dtype.names:
                self.control.array[name] = value
            for binding in self._parts.parts:
                if name in binding.what.numbers:
                    binding.numbers[binding.what.numbers.index(name)] = value

    monkeypatch.setattr(CompiledEngine, "before", wrongly)
    with pytest.raises(AssertionError):
        assert_same(rightly, lived("compiled", MANY_PARTS, SHORT, learning_rate=3e-3))


@pytest.mark.parametrize("method", ["finetune", "ewc", "mer", "mer-faithful"])
def test_the_same_seed_gives_the_same_bits(method: str) -> None:
    first, second = (lived("compiled", METHODS[method]) for _ in range(2))
    assert tiny.bits(first) == tiny.bits(second)


# In place.


def test_what_is_changed_between_two_calls_is_what_is_learnt_from() -> None:
    agents = [
        tiny.agent(L2(lam=0.5), engine=engine, gradient_steps=2) for engine in ("torch", "compiled")
    ]
    for agent in agents:
        agent.learn(200, log_interval=None)  # type: ignore[arg-type]
        with torch.no_grad():
            for tensor in agent.q_net.parameters():
                tensor.mul_(1.5)
        agent.q_net.q_net[0].weight.data = agent.q_net.q_net[0].weight.data.clone() + 0.01
        agent.policy.optimizer.load_state_dict(agent.policy.optimizer.state_dict())
        part: Any = agent.parts[0]
        part.lam = 2.0
        part.center = [tensor + 0.1 for tensor in part.center]
        agent.max_grad_norm = 3.0
        agent.learn(150, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
        agent.reinitialise(network=True, optimizer=True, replay=True)
        agent.learn(100, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
    assert agents[1]._n_updates == agents[0]._n_updates > 150
    assert_same(*agents)
    for key, state in agents[0].policy.optimizer.state_dict()["state"].items():
        twin = agents[1].policy.optimizer.state_dict()["state"][key]
        for name, value in state.items():
            torch.testing.assert_close(value, twin[name], rtol=1e-3, atol=1e-6)


@EVERY_LENGTH
def test_one_engine_goes_on_where_the_other_was(life: Schedule, tmp_path: Path) -> None:
    method = METHODS["mer-lazy"]
    settings = replace(SETTINGS, engine="torch")
    agent = build_agent("FlappyBird", life, settings, 0, method)
    before = 3 * life.total_steps // 5  # in the second phase of three
    agent.learn(before)
    agent.save_training(tmp_path / "torch.zip")
    whole = life.total_steps - before
    agent.learn(whole, reset_num_timesteps=False)
    env = tiny.life(life)
    other = ContinualDQN.load(tmp_path / "torch.zip", env, "cpu", engine="compiled")
    other.learn(whole, reset_num_timesteps=False)
    assert_same(agent, other)


def test_replay_that_is_put_in_its_place(tmp_path: Path) -> None:
    first, second = tiny.agent(engine="compiled"), tiny.agent(engine="compiled", seed=1)
    first.learn(100)
    second.learn(100)
    first.save_replay_buffer(tmp_path / "replay.pkl")
    second.load_replay_buffer(tmp_path / "replay.pkl")
    seen = second.replay.seen
    second.learn(100, reset_num_timesteps=False)
    assert second.runs_compiled
    assert seen < second.replay.seen < seen + 101


def test_predictions_are_those_of_the_network() -> None:
    agent = lived("compiled")
    space = agent.observation_space
    observations = np.stack([space.sample() for _ in range(500)])
    found, _ = agent.predict(observations, deterministic=True)
    expected = agent.q_net(torch.as_tensor(observations)).argmax(1)
    assert found.tolist() == expected.tolist()
    one, _ = agent.predict(observations[0], deterministic=True)
    assert int(one) == int(expected[0])


# Who serves.


def cartpole(env: Any = "CartPole-v1", **kwargs: Any) -> ContinualDQN:
    settings: dict[str, Any] = {
        "exploration": Exploration("global"),
        "replay_buffer_class": ReservoirReplayBuffer,
        "learning_starts": 50,
        "batch_size": 16,
        "buffer_size": 400,
        "train_freq": 1,
        "target_update_interval": 50,
        "policy_kwargs": {"net_arch": [16, 16]},
        "seed": 0,
        "device": "cpu",
        "double_q": True,
        **kwargs,
    }
    return ContinualDQN("MlpPolicy", env, **settings)


@pytest.mark.parametrize("updates", [200, pytest.param(500, marks=pytest.mark.slow)])
def test_any_environment_under_the_ordinary_loop(updates: int) -> None:
    agents = [
        cartpole(engine=engine, n_steps=3, buffer_size=updates) for engine in ("torch", "compiled")
    ]
    for agent in agents:
        agent.learn(updates + 100)
    torchs, compiled = agents
    assert compiled.runs_compiled
    assert compiled._n_updates == torchs._n_updates >= updates
    assert np.abs(vector(torchs.q_net) - vector(compiled.q_net)).max() < TOLERANCE
    assert tree(torchs.replay.state_dict()) == tree(compiled.replay.state_dict())


@pytest.mark.parametrize(
    "part", [EWC, *(pytest.param(part, marks=pytest.mark.slow) for part in (MER, Reptile))]
)
@pytest.mark.parametrize("steps", [125, pytest.param(200, marks=pytest.mark.slow)])
def test_a_schedule_of_another_environment(part: type[Part], steps: int) -> None:
    stretches = (
        PhaseSpec(name="short", steps=steps, params={"length": 0.3}),
        PhaseSpec(name="long", steps=steps, params={"length": 1.0}),
    )
    agents = []
    for engine in ("torch", "compiled"):
        poles = Schedule("poles", stretches)
        env = PhasedEnv(gym.make("CartPole-v1"), poles, CARTPOLE, set_cartpole)
        agents.append(cartpole(env, engine=engine, parts=[part()]))
        agents[-1].learn(2 * steps)
    assert agents[0].phase_tracker.phase == agents[1].phase_tracker.phase == 1
    assert np.abs(vector(agents[0].q_net) - vector(agents[1].q_net)).max() < TOLERANCE


@dataclass
class Foreign(Part):
    """A part that none of ours is derived from, and that leaves the gradient step alone."""

    name: ClassVar[str] = "foreign"


class OwnImportance(EWC):
    """A penalty of one's own is served: what it changes happens between gradient steps."""

    name: ClassVar[str] = "own-importance"

    def importance(self, learner: Any, phase: int) -> Any:
        return [torch.ones_like(p) for p in learner.q_net.parameters()]


class OwnGradient(EWC):
    name: ClassVar[str] = "own-gradient"

    def add_gradient(self, learner: Any) -> None:
        pass


class OwnLoss(ContinualDQN):
    def td_loss(self, samples: Any) -> Any:
        return 2 * super().td_loss(samples)


class Named(ContinualDQN):
    def td_targets(self, samples: Any) -> Any:
        return 2 * super().td_targets(samples)


Named.__name__ = "ContinualDQN"


class Unchecked(ContinualDQN):
    """Learns on with what is no number."""

    def check_finite(self, *given: Any) -> None:
        pass


class Computed(ContinualDQN):
    @property  # type: ignore[override]
    def exploration_rate(self) -> float:
        return 0.3

    @exploration_rate.setter
    def exploration_rate(self, rate: float) -> None:
        pass


class OwnTanh(nn.Tanh):
    """May compute what it likes."""


def normalised() -> Any:
    return VecNormalize(DummyVecEnv([lambda: gym.make("CartPole-v1")]))


UNSERVED: list[tuple[Callable[[Any], Any], str]] = [
    (
        lambda e: tiny.agent(OwnGradient(), engine=e),
        r"'own-gradient' overrides add_gradient\(\)",
    ),
    (lambda e: tiny.agent(kind=OwnLoss, engine=e), r"td_loss\(\) of the agent was changed"),
    (lambda e: tiny.agent(kind=Named, engine=e), r"td_targets\(\) of the agent was changed"),
    (lambda e: tiny.agent(kind=Unchecked, engine=e), r"check_finite\(\) of the agent was changed"),
    (lambda e: tiny.agent(kind=Computed, engine=e), "exploration_rate of the agent is computed"),
    (lambda e: tiny.agent(policy={"layer_norm": True}, engine=e), "has a LayerNorm as layer 1"),
    (lambda e: tiny.agent(policy={"dropout": 0.1}, engine=e), "has a Dropout as layer 1"),
    (lambda e: tiny.agent(policy={"activation_fn": nn.GELU}, engine=e), "has a GELU as layer 1"),
    (lambda e: tiny.agent(policy={"activation_fn": OwnTanh}, engine=e), "has a OwnTanh as layer 1"),
    (
        lambda e: tiny.agent(policy={"optimizer_class": torch.optim.RMSprop}, engine=e),
        "the optimizer is RMSprop; supported: Adam and SGD",
    ),
    (
        lambda e: tiny.agent(policy={"optimizer_kwargs": {"weight_decay": 0.1}}, engine=e),
        "the optimizer has weight_decay",
    ),
    (lambda e: ContinualDQN("MlpPolicy", "CartPole-v1", engine=e), "replay is a ReplayBuffer"),
    (lambda e: cartpole(env=normalised(), engine=e), "VecNormalize changes what is drawn"),
]


@pytest.mark.parametrize(("make", "why"), UNSERVED)
def test_what_it_cannot_serve_is_said_at_once(make: Callable[[Any], Any], why: str) -> None:
    with pytest.raises(ValueError, match=f"the compiled engine does not support .*{why}"):
        make("compiled")
    agent = make("auto")
    assert not agent.runs_compiled
    assert agent.engine_report.startswith("torch, because ")
    assert make("torch").engine_report == "torch, because it was asked for"


def test_what_it_can_serve_it_does() -> None:
    for parts in ((), (OwnImportance(),), (Freezes(),), (Foreign(),)):
        assert tiny.agent(*parts).engine_report == "compiled"
    assert tiny.agent(replay=BalancedReplayBuffer).runs_compiled
    assert tiny.agent(policy={"optimizer_kwargs": {"betas": (0.8, 0.9)}}).runs_compiled
    assert tiny.agent(policy={"activation_fn": nn.Tanh}).runs_compiled
    assert tiny.agent(policy={"activation_fn": nn.Tanh, "net_arch": []}).runs_compiled


def test_activations_that_are_mixed_are_refused_by_name() -> None:
    agent = tiny.agent(policy={"net_arch": [8, 8]}, engine="compiled")
    agent.q_net.q_net[3] = nn.Tanh()
    with pytest.raises(ValueError, match="mixes ReLU and Tanh; supported: linear layers with"):
        agent.learn(50)
    agent.q_net.q_net[3] = nn.ReLU()
    agent.q_net_target.q_net[1] = agent.q_net_target.q_net[3] = nn.Tanh()
    with pytest.raises(ValueError, match="target network has another activation than the network"):
        agent.learn(50)


def test_an_unknown_engine() -> None:
    with pytest.raises(ValueError, match="unknown engine 'compield': did you mean 'compiled'"):
        tiny.agent(engine="compield")


def test_what_is_changed_later_is_found_when_learning_starts() -> None:
    agent = tiny.agent()
    assert agent.runs_compiled
    agent.q_net.q_net[0].weight.register_hook(lambda gradient: gradient)
    agent.learn(50)
    assert (
        agent.engine_report == "torch, because a parameter has a hook on its gradient; "
        "supported: parameters without"
    )
    agent = tiny.agent(engine="compiled")
    agent.td_loss = agent.td_loss  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"td_loss\(\) of the agent was changed"):
        agent.learn(50)


def test_the_log_says_which_engine_runs(capsys: pytest.CaptureFixture[str]) -> None:
    tiny.agent(verbose=1)
    assert "engine: compiled\n" in capsys.readouterr().out
    tiny.agent(verbose=1, engine="torch")
    assert "engine: torch, because it was asked for\n" in capsys.readouterr().out


# What goes wrong.


@pytest.mark.parametrize("method", ["finetune", "mer", "mer-faithful"])
def test_divergence_stops_before_the_parameters_change(method: str) -> None:
    changes: dict[str, Any] = {"learning_rate": 1e12}
    if method == "mer-faithful":
        changes["optimizer"] = "sgd"
    agent = build_agent(
        "FlappyBird", CONFLICT, replace(SETTINGS, engine="compiled", **changes), 0, METHODS[method]
    )
    with pytest.raises(DivergedError, match=r"at step \d+ the loss is .* and its gradient's norm"):
        agent.learn(CONFLICT.total_steps)
    assert agent.num_timesteps > SETTINGS.learning_starts
    assert np.isfinite(vector(agent.q_net)).all()


class Broken(gym.Env[Any, Any]):
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, what: str, last: bool) -> None:
        self.what, self.last, self.count = what, last, 0

    def reset(self, **kwargs: Any) -> Any:
        super().reset(**kwargs)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.count += 1
        bad = self.count == 30
        observation = np.ones(2, np.float32)
        if bad and self.what == "observation":
            observation[1] = np.nan
        reward = np.inf if bad and self.what == "reward" else 1.0
        return observation, reward, bad and self.last, False, {}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("what", ["observation", "reward"])
@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_what_is_not_finite_stops_and_names_step_and_env(
    engine: str, what: str, last: bool
) -> None:
    envs = DummyVecEnv([lambda: Broken("nothing", last), lambda: Broken(what, last)])
    agent = cartpole(env=envs, engine=engine, learning_starts=10)
    with pytest.raises(ValueError, match=f"at step 60 sub-environment 1 gave the {what} .*not fin"):
        agent.learn(200)
    assert agent.replay.seen == 58


@pytest.mark.parametrize(
    ("text", "spoil", "why"),
    [
        ("clone", lambda part: setattr(part, "values", part.values[:, :1]), "values has shape"),
        ("clone", lambda part: setattr(part, "values", part.values[:-1]), "values has shape"),
        ("agem", lambda part: part.kept.update(actions=part.kept["actions"] + 7), "do not exist"),
        ("agem", lambda part: part.kept.update(dones=part.kept["dones"][:-1]), "dones has shape"),
    ],
    ids=["narrow values", "few values", "actions", "few dones"],
)
def test_a_part_whose_state_is_damaged(text: str, spoil: Any, why: str) -> None:
    agent = build_agent(
        "FlappyBird",
        CONFLICT,
        replace(SETTINGS, engine="compiled"),
        method=compose("finetune", parts=[text]),
    )
    agent.learn(500)
    part: Any = agent.parts[0]
    spoil(part)
    if text == "agem":
        part.kept["rewards"] = part.kept["rewards"].copy()  # as after a load
    with pytest.raises(ValueError, match=why):
        agent.learn(100, reset_num_timesteps=False)


@pytest.mark.parametrize(
    ("where", "value"),
    [("actions", 2), ("actions", -1), ("phases", -1), ("phases", 10**9), ("slots", 200)],
)
def test_a_memory_that_is_damaged(where: str, value: int) -> None:
    model = tiny.agent()
    model.learn(100)
    state = model.replay.state_dict()
    (state if where == "slots" else state["arrays"])[where][-1] = value
    other = tiny.agent()
    with pytest.raises(ValueError, match=rf"{where} (go from|in use are) .* it is damaged"):
        other.replay.load_state_dict(state)
    assert other.replay.seen == 0


def test_a_memory_larger_than_the_machine() -> None:
    with pytest.raises(ValueError, match=r"10,000,000,000,000 transitions take .* GiB"):
        tiny.agent(buffer_size=10**13)
    with pytest.raises(ValueError, match=r"at most [\d,]+ fit"):
        FIFOReplayBuffer(
            10**13, gym.spaces.Box(0, 1, (4,), np.float32), gym.spaces.Discrete(2), device="cpu"
        )


def test_what_a_container_may_still_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_memory, "_CGROUP", tmp_path)
    of_machine = machine_memory.available_memory()
    (tmp_path / "memory.max").write_text("1000\n", "ascii")
    (tmp_path / "memory.current").write_text("900\n", "ascii")
    assert machine_memory.available_memory() == 100
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 300\n", "ascii")
    assert machine_memory.available_memory() == 400  # what files were read into is handed over
    (tmp_path / "memory.max").write_text("max\n", "ascii")
    assert of_machine is not None
    assert machine_memory.available_memory() == pytest.approx(of_machine, rel=0.2)


def test_without_its_extras_it_is_still_the_parent_bit_for_bit() -> None:
    kwargs: dict[str, Any] = {"seed": 0, "device": "cpu", "learning_starts": 50}
    mine, parents = (
        kind("MlpPolicy", "CartPole-v1", **kwargs).learn(300) for kind in (ContinualDQN, DQN)
    )
    assert (vector(mine.q_net) == vector(parents.q_net)).all()


def test_the_control_record_has_no_field_twice() -> None:
    assert len(set(update.CONTROL.names or ())) == len(update.CONTROL.names or ())
