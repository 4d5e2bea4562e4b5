"""Learning without forgetting: who teaches, what is asked of it, and when."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
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
from continual_arcade.agents.methods.clone import Clone
from continual_arcade.agents.methods.lwf import LwF
from continual_arcade.agents.methods.tensors import copies

ENGINES = ("torch", "compiled")
SMALL: dict[str, Any] = {"states": 50, "every": 24, "batch": 8}


@dataclass
class Witness(Part):
    """Works out on its own what must be held after each step, from a copy of the network."""

    name: ClassVar[str] = "witness"
    needs_boundaries: ClassVar[bool] = True
    network: Any = None
    seen: list[np.ndarray] = field(default_factory=list)
    begun: int = 0
    held: list[tuple[int, int]] = field(default_factory=list)

    def phase_end(self, learner: Any, phase: int) -> None:
        self.network = copy.deepcopy(learner.q_net).eval()

    def phase_start(self, learner: Any, phase: int) -> None:
        self.begun = learner.num_timesteps
        self.seen.clear()

    def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
        self.seen += list(transitions.observations)
        (lwf,) = (part for part in learner.parts if isinstance(part, LwF))
        if self.network is None:
            assert lwf.observations is None
            return
        # Before this step, at the last multiple.
        joined = (learner.num_timesteps - NUM_ENVS) // lwf.every * lwf.every - self.begun
        if joined <= 0:
            assert lwf.observations is None
            return
        expected = np.stack(self.seen[:joined][-lwf.states :])
        np.testing.assert_array_equal(lwf.observations, expected)
        with torch.no_grad():
            values = self.network(torch.from_numpy(expected)).numpy()
        np.testing.assert_allclose(lwf.values, values, rtol=1e-5, atol=1e-6)
        self.held.append((joined, len(expected)))


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

    def said(self, learner: Any, transitions: Any) -> Any:
        self.teacher = copies(list(learner.q_net.parameters()))
        return super().said(learner, transitions)


@dataclass
class Hoarder(LwF):
    """A mistake: what was observed in the phase before is still asked."""

    name: ClassVar[str] = "hoarder"

    def phase_start(self, learner: Any, phase: int) -> None:
        kept = self.observations, self.values
        super().phase_start(learner, phase)
        self.observations, self.values = kept


@dataclass
class Untimely(LwF):
    """A mistake: it does not say when it is due, and acts when it is next told of anything."""

    name: ClassVar[str] = "untimely"

    def next_due(self, learner: Any) -> None:
        return None

    def completed(self, learner: Any, transitions: Any) -> None:
        super().completed(learner, transitions)
        due = super().next_due(learner)
        if due is not None and due <= learner.num_timesteps:
            self.between(learner)


def check_witnessed(kind: type[LwF], dropout: float) -> None:
    witness = Witness()
    live(agent(kind(**SMALL), witness, policy={"dropout": dropout}, learning_rate=3e-3, n_steps=1))
    assert len(witness.held) == 2 * (PHASE - 24) // NUM_ENVS
    assert min(witness.held) == (24, 24)
    assert max(witness.held) == (4 * 24, 50)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_network_of_the_last_phase_end_is_asked_of_the_newest_observations(
    dropout: float,
) -> None:
    check_witnessed(LwF, dropout)
    for mistake in (OfTarget, Itself, Hoarder):
        with pytest.raises(AssertionError):
            check_witnessed(mistake, dropout)


def pull(model: Any) -> float:
    loss = model.parts[0].loss(model, Batch(model.sample(16).samples))
    slopes = torch.autograd.grad(loss, list(model.q_net.parameters()))
    return max(float(slope.abs().max()) for slope in slopes)


@pytest.mark.parametrize("what", ["q", "advantage", "policy"])
@pytest.mark.parametrize("kind", [LwF, OfTarget])
def test_just_after_a_boundary_it_pulls_nowhere(kind: Any, what: Any) -> None:
    tempered = {"temperature": 0.5} if what == "policy" else {}
    part = kind(alpha=1.0, what=what, **tempered, **SMALL)
    model = live(agent(part, gradient_steps=4, learning_rate=3e-3), PHASE)
    part.phase_end(model, 0)
    part.phase_start(model, 0)
    part.completed(model, model.replay.stored(np.arange(40)))
    part.between(model)
    assert (pull(model) < 1e-6) == (kind is LwF)
    model.train(1, 16)
    assert pull(model) > 1e-5


def test_it_is_cloning_of_other_states() -> None:
    """The same observations, values and draws make the same gradient, to the bit."""
    lwf = LwF(alpha=0.3, **SMALL)
    model = live(agent(lwf))
    clone = Clone(alpha=0.3, batch=8)
    clone.observations, clone.values = lwf.observations, lwf.values
    clone.rng = copy.deepcopy(lwf.rng)
    batch = Batch(model.sample(16).samples)
    gradients = [
        torch.autograd.grad(part.loss(model, batch), list(model.q_net.parameters()))  # type: ignore[arg-type]
        for part in (lwf, clone)
    ]
    assert all(map(torch.equal, *gradients))
    assert any(bool(gradient.any()) for gradient in gradients[0])


@EACH_ENGINE
def test_without_alpha_it_is_the_dqn_bit_for_bit(engine: Any) -> None:
    plain = live(agent(engine=engine))
    idle = live(agent(LwF(alpha=0.0, **SMALL), engine=engine))
    first = live(agent(LwF(alpha=0.5, **SMALL), engine=engine), PHASE)
    holding = live(agent(LwF(alpha=0.5, **SMALL), engine=engine))
    assert bits(idle) == bits(plain) != bits(holding)
    assert bits(first) == bits(live(agent(engine=engine), PHASE))
    assert holding.runs_compiled == (engine == "compiled")


@dataclass
class TooSoon(LwF):
    """A mistake: the first teacher counts twice."""

    name: ClassVar[str] = "too-soon"

    def phase_end(self, learner: Any, phase: int) -> None:
        self.teacher = self.teacher or copies(list(learner.q_net.parameters()))
        super().phase_end(learner, phase)


def growing(kind: type[LwF], engine: Any) -> list[bool]:
    """Return where it is the same, to the bit, as twice the strength in the third phase alone."""
    lives = []
    for grows in (True, False):
        model = agent(kind(alpha=0.5, grows=grows, **SMALL), engine=engine)
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


def test_how_often_it_counts_is_kept_and_older_files_lack_it() -> None:
    part = LwF(alpha=0.5, grows=True, **SMALL)
    live(agent(part))
    assert part.times == 2
    other: Any = agent(LwF(alpha=0.5, grows=True, **SMALL)).parts[0]
    other.load_state_dict(part.state_dict())
    assert other.times == 2
    before = {name: value for name, value in part.state_dict().items() if name != "times"}
    other.load_state_dict(before)
    assert other.times == 1
    with pytest.raises(ValueError, match="times of lwf"):
        other.load_state_dict(before | {"times": 0})


def apart(one: ContinualDQN, other: ContinualDQN) -> float:
    pairs = zip(one.q_net.parameters(), other.q_net.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.parametrize(
    ("changes", "kwargs"),
    [
        ({}, {}),
        ({"every": 30}, {"n_steps": 3}),
        ({"every": 1, "what": "policy"}, {"n_steps": 1}),
        ({"every": 20}, {"train_freq": 3}),
    ],
)
def test_both_engines_ask_at_the_same_steps(changes: Any, kwargs: Any) -> None:
    lives = [
        live(agent(LwF(alpha=5.0, **{**SMALL, **changes}), engine=engine, **kwargs), 2 * PHASE + 44)
        for engine in ENGINES
    ]
    held: list[Any] = [model.parts[0] for model in lives]
    assert [model.runs_compiled for model in lives] == [False, True]
    np.testing.assert_array_equal(held[0].observations, held[1].observations)
    np.testing.assert_allclose(held[0].values, held[1].values, atol=1e-5)
    assert held[0].last == held[1].last
    assert held[0].rng.bit_generator.state == held[1].rng.bit_generator.state
    assert apart(*lives) < 1e-5


@pytest.mark.parametrize("kind", [LwF, Untimely])
def test_where_python_is_entered_makes_no_difference(
    kind: type[LwF], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = live(agent(kind(alpha=1.0, **SMALL), engine="compiled"))
    monkeypatch.setattr(game_loop, "_LONGEST", 5)
    pieces = live(agent(kind(alpha=1.0, **SMALL), engine="compiled"))
    assert (bits(whole) == bits(pieces)) == (kind is LwF)


def test_what_is_resumed_ends_with_the_same_bits(tmp_path: Path) -> None:
    """From a step at which some observations have joined, and others wait."""
    path = tmp_path / "half.zip"
    part = LwF(alpha=1.0, **SMALL)
    whole = live(agent(part), callback=SaveAt(PHASE + 68, path))
    resumed = ContinualDQN.load(path, life(), "cpu")
    other: Any = resumed.parts[0]
    assert 0 < len(other.waiting) < 24
    assert resumed.runs_compiled
    live(resumed, LIFE - resumed.num_timesteps, reset_num_timesteps=False)
    assert not list(differences(inside(whole), inside(resumed)))


def test_another_run_and_steps_counted_anew() -> None:
    """It goes on with its teacher, and begins with none of the other run's observations."""
    part = LwF(**SMALL)
    model = live(agent(part, n_steps=1))
    teacher = [tensor.clone() for tensor in part.teacher]
    model.set_env(life())
    live(model, 15 * NUM_ENVS)
    assert part.phase == 0
    assert all(map(torch.equal, teacher, part.teacher))
    assert part.observations is not None
    assert (part.last, len(part.observations)) == (LIFE + 48, 48)  # the last multiple of 24


def test_settings_that_make_no_sense() -> None:
    for settings, message in (
        ({"alpha": -1.0}, "lwf: alpha = -1"),
        ({"states": 0}, "lwf: states = 0"),
        ({"every": 0}, "lwf: every = 0"),
        ({"batch": 0}, "lwf: batch = 0"),
        ({"what": "value"}, "lwf: unknown what 'value'"),
    ):
        with pytest.raises(ValueError, match=message):
            LwF(**settings)  # type: ignore[arg-type]
