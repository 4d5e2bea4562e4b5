"""Learning without forgetting: who teaches, what is held, and when."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from tiny import (
    EACH_ENGINE,
    LIFE,
    NUM_ENVS,
    PHASE,
    SaveAt,
    agent,
    bits,
    differences,
    inside,
    life,
    live,
)

from continual_arcade.agents import ContinualDQN
from continual_arcade.agents.engines import game_loop
from continual_arcade.agents.methods import Batch, Part
from continual_arcade.agents.methods.clear import Clear
from continual_arcade.agents.methods.hat import HAT
from continual_arcade.agents.methods.lwf import LwF
from continual_arcade.agents.methods.mer import MER
from continual_arcade.agents.methods.rules import slope_by_others, vector
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.agents.replay import FIFOReplayBuffer, MixReplayBuffer, ReservoirReplayBuffer

ENGINES = ("torch", "compiled")


@dataclass
class Oracle(Part):
    """The page's formula, from a copy of the network and autograd; the phases are its own."""

    name: ClassVar[str] = "oracle"
    needs_boundaries: ClassVar[bool] = True
    alpha: float = 1.0
    network: Any = None
    begun: int = 0
    held: int = 0
    """Rows that were held."""
    left_out: int = 0
    """Rows of earlier phases that were not, of batches with some that were."""

    def phase_end(self, learner: Any, phase: int) -> None:
        self.network = copy.deepcopy(learner.q_net).eval()

    def phase_start(self, learner: Any, phase: int) -> None:
        self.begun = phase

    def loss(self, learner: Any, batch: Any) -> Any:
        if self.network is None:
            return None
        states = batch.samples.observations
        new = torch.from_numpy(learner.replay.phases[batch.slots] >= self.begun)
        if not new.any():
            return None
        with torch.no_grad():
            old = self.network(states)
        self.held += int(new.sum())
        self.left_out += int((~new).sum())
        squares = (learner.q_net(states[new]) - old[new]).square().mean(1)
        return self.alpha * squares.sum() / len(states)


@dataclass
class OfTarget(LwF):
    """A mistake: the target network teaches."""

    name: ClassVar[str] = "of-target"

    def phase_end(self, learner: Any, phase: int) -> None:
        self.teacher = copies(list(learner.q_net_target.parameters()))


@dataclass
class Itself(LwF):
    """A mistake: the network as it is now teaches itself."""

    name: ClassVar[str] = "itself"

    def before_update(self, learner: Any) -> None:
        self.teacher = self.teacher and copies(parameters(learner))


@dataclass
class Hoarder(LwF):
    """A mistake: what was observed in earlier phases is held, too."""

    name: ClassVar[str] = "hoarder"

    def phase_start(self, learner: Any, phase: int) -> None:
        self.phase = 0


@dataclass
class Twice(LwF):
    """A mistake: the derivative of the square without its half."""

    name: ClassVar[str] = "twice"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.times = 2


MISTAKES = (OfTarget, Itself, Hoarder, Twice)


def apart(one: ContinualDQN, other: ContinualDQN) -> float:
    pairs = zip(one.q_net.parameters(), other.q_net.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def from_oracle(kind: type[LwF], engine: Any = "torch", dropout: float = 0.0) -> float:
    """Return how far a life is from the oracle's."""
    oracle = Oracle(alpha=5.0)
    more: dict[str, Any] = {"policy": {"dropout": dropout}, "learning_rate": 3e-3}
    judged = live(agent(kind(alpha=5.0), engine=engine, **more))
    assert judged.runs_compiled == (engine == "compiled")
    right = live(agent(oracle, engine="torch", **more))
    assert min(oracle.held, oracle.left_out) > 200
    return apart(judged, right)


@pytest.mark.parametrize("dropout", [0.0, pytest.param(0.5, marks=pytest.mark.slow)])
def test_the_network_of_the_last_phase_end_is_asked_of_what_is_learnt_in_this_phase(
    dropout: float,
) -> None:
    assert from_oracle(LwF, dropout=dropout) < 1e-5
    for mistake in MISTAKES:
        assert from_oracle(mistake, dropout=dropout) > 1e-3


def test_so_it_is_in_the_compiled_engine() -> None:
    assert from_oracle(LwF, "compiled") < 1e-5
    for mistake in (OfTarget, Hoarder, Twice):
        assert from_oracle(mistake, "compiled") > 1e-3


def pull(model: Any) -> float:
    loss = model.parts[0].loss(model, model.sample(16))
    slopes = torch.autograd.grad(loss, list(model.q_net.parameters()))
    return max(float(slope.abs().max()) for slope in slopes)


@pytest.mark.parametrize("what", ["q", "advantage", "policy"])
@pytest.mark.parametrize("kind", [LwF, OfTarget])
def test_just_after_a_boundary_it_pulls_nowhere(kind: Any, what: Any) -> None:
    tempered = {"temperature": 0.5} if what == "policy" else {}
    part = kind(alpha=1.0, what=what, **tempered)
    model = live(agent(part, gradient_steps=4, learning_rate=3e-3), PHASE)
    part.phase_end(model, 0)
    part.phase_start(model, 0)
    assert (pull(model) < 1e-6) == (kind is LwF)
    model.train(1, 16)
    assert pull(model) > 1e-5


def test_it_is_clear_with_values_of_the_teacher() -> None:
    """The same states and values make the same gradient, to the bit."""
    lwf, clear = LwF(alpha=0.3), Clear(alpha=0.3, after=10**6)
    model = live(agent(lwf, clear))
    batch = model.sample(16)
    assert batch.slots is not None
    assert batch.phases is not None
    teacher = copy.deepcopy(model.q_net).eval()
    with torch.no_grad():
        for tensor, held in zip(teacher.parameters(), lwf.teacher, strict=True):
            tensor.copy_(held)
        new = batch.phases >= lwf.phase
        values = teacher(batch.samples.observations[torch.from_numpy(new)]).numpy()
    assert 0 < new.sum() < len(new)
    model.replay.columns["q_values"][batch.slots[new]] = values
    gradients = [
        torch.autograd.grad(part.loss(model, batch), list(model.q_net.parameters()))  # type: ignore[arg-type]
        for part in (lwf, clear)
    ]
    assert all(map(torch.equal, *gradients))
    assert any(bool(gradient.any()) for gradient in gradients[0])


@EACH_ENGINE
def test_without_alpha_it_is_the_dqn_bit_for_bit(engine: Any) -> None:
    plain = live(agent(engine=engine))
    idle = live(agent(LwF(alpha=0.0), engine=engine))
    first = live(agent(LwF(alpha=0.5), engine=engine), PHASE)
    holding = live(agent(LwF(alpha=0.5), engine=engine))
    assert bits(idle) == bits(plain) != bits(holding)
    assert bits(first) == bits(live(agent(engine=engine), PHASE))
    assert holding.runs_compiled == (engine == "compiled")


@dataclass
class TooSoon(LwF):
    """A mistake: the first teacher counts twice."""

    name: ClassVar[str] = "too-soon"

    def phase_end(self, learner: Any, phase: int) -> None:
        self.teacher = self.teacher or copies(parameters(learner))
        super().phase_end(learner, phase)


def growing(kind: type[LwF], engine: Any) -> list[bool]:
    """Return where it is the same, to the bit, as twice the strength in the third phase alone."""
    lives = []
    for grows in (True, False):
        model = agent(kind(alpha=0.5, grows=grows), engine=engine)
        live(model, 2 * PHASE)
        second = bits(model)
        if not grows:
            model.parts[0].alpha = 1.0
        live(model, PHASE, reset_num_timesteps=False)
        lives.append((second, bits(model)))
    return [one == other for one, other in zip(*lives, strict=True)]


@EACH_ENGINE
def test_it_grows_with_the_phases_that_have_ended(engine: Any) -> None:
    assert growing(LwF, engine) == [True, True]
    assert growing(TooSoon, engine) == [False, False]


def test_how_often_it_counts_and_since_when_is_kept() -> None:
    part = LwF(alpha=0.5, grows=True)
    live(agent(part))
    assert (part.times, part.phase) == (2, 2)
    other: Any = agent(LwF(alpha=0.5, grows=True)).parts[0]
    other.load_state_dict(part.state_dict())
    assert (other.times, other.phase) == (2, 2)
    for damaged in ({"times": 0}, {"phase": -1}):
        (name,) = damaged
        with pytest.raises(ValueError, match=f"{name} of lwf"):
            other.load_state_dict(part.state_dict() | damaged)


@pytest.mark.parametrize(
    ("replay", "others", "kwargs"),
    [
        (FIFOReplayBuffer, (), {}),
        (FIFOReplayBuffer, (), {"n_steps": 1, "train_freq": 3}),
        (ReservoirReplayBuffer, (), {"gradient_steps": 3}),
        (MixReplayBuffer, (MER,), {"n_steps": 1}),
        (FIFOReplayBuffer, (), {"policy": {"heads": 3}}),
    ],
)
def test_both_engines_hold_the_same(replay: Any, others: Any, kwargs: Any) -> None:
    def lived(*parts: Part, engine: Any) -> ContinualDQN:
        more = (kind() for kind in others)
        env = life(context="one-hot") if "policy" in kwargs else life()
        return live(agent(*parts, *more, replay=replay, env=env, engine=engine, **kwargs), LIFE)

    lives = [lived(LwF(alpha=5.0), engine=engine) for engine in ENGINES]
    assert [model.runs_compiled for model in lives] == [False, True]
    assert apart(*lives) < 1e-5
    assert apart(lived(engine="torch"), lives[0]) > 1e-3


@EACH_ENGINE
def test_where_python_is_entered_makes_no_difference(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = live(agent(LwF(alpha=1.0), engine=engine))
    monkeypatch.setattr(game_loop, "_LONGEST", 5)
    assert bits(whole) == bits(live(agent(LwF(alpha=1.0), engine=engine)))


def test_another_teacher_is_seen_by_both_engines() -> None:
    """Put in its place, or written over, between two calls of learn()."""
    lives = []
    for engine in ENGINES:
        part = LwF(alpha=5.0)
        model = live(agent(part, engine=engine), PHASE + 40)
        part.teacher = [torch.zeros_like(tensor) for tensor in part.teacher]
        live(model, 40, reset_num_timesteps=False)
        for tensor in part.teacher:
            tensor.fill_(0.3)
        lives.append(live(model, 40, reset_num_timesteps=False))
    assert [model.runs_compiled for model in lives] == [False, True]
    assert apart(*lives) < 1e-5
    untouched = live(agent(LwF(alpha=5.0)), PHASE + 120)
    assert apart(untouched, lives[0]) > 1e-3


def test_what_is_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "half.zip"
    whole = live(agent(LwF(alpha=1.0)), callback=SaveAt(PHASE + 68, path))
    resumed = ContinualDQN.load(path, life(), "cpu")
    assert resumed.runs_compiled
    live(resumed, LIFE - resumed.num_timesteps, reset_num_timesteps=False)
    assert not list(differences(inside(whole), inside(resumed)))


def test_another_run_goes_on_with_its_teacher() -> None:
    part = LwF()
    model = live(agent(part, n_steps=1))
    teacher = [tensor.clone() for tensor in part.teacher]
    model.set_env(life())
    live(model, 15 * NUM_ENVS)
    assert part.phase == 0
    assert all(map(torch.equal, teacher, part.teacher))


def test_a_batch_that_does_not_say_its_phases_is_refused() -> None:
    model = live(agent(LwF()), PHASE + 40)
    with pytest.raises(ValueError, match=r"part 'lwf' asks in which phase.*give Batch its phases"):
        model.parts[0].loss(model, Batch(model.sample(16).samples))


@dataclass
class Compares(Part):
    """Compares with the first parameters, from a phase on that is a setting."""

    name: ClassVar[str] = "compares"
    since: int = 0
    first: Any = vector(late=True)

    def bind(self, learner: Any, rng: Any) -> None:
        super().bind(learner, rng)
        self.first = copies(parameters(learner))

    @slope_by_others("first", since="since")
    def hold(now: Any, old: Any, slope: Any) -> None:
        for action in range(len(now)):
            slope[action] = now[action] - old[action]


def test_gates_of_other_parameters_are_left_to_pytorch() -> None:
    model = agent(Compares(), HAT(), engine="auto")
    live(model, PHASE)
    assert "compares with other parameters, of which compiled code computes no gates" in (
        model.engine_report
    )
    assert live(agent(Compares(), engine="auto"), PHASE).runs_compiled


def test_since_when_may_be_a_setting() -> None:
    lives = [
        live(agent(Compares(since=since), engine=engine), PHASE + 80)
        for since in (1, 0)
        for engine in ENGINES
    ]
    assert max(apart(*lives[:2]), apart(*lives[2:])) < 1e-5
    assert apart(lives[0], lives[2]) > 1e-3


def test_settings_that_make_no_sense() -> None:
    for settings, message in (
        ({"alpha": -1.0}, "lwf: alpha = -1"),
        ({"what": "value"}, "lwf: unknown what 'value'"),
    ):
        with pytest.raises(ValueError, match=message):
            LwF(**settings)  # type: ignore[arg-type]
