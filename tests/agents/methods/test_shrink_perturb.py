"""Shrink and perturb: moments in closed form, when it acts, and what it leaves alone."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import tiny
import torch
from fake_learner import FakeLearner, Point

from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.reset import Reset
from continual_arcade.agents.methods.shrink_perturb import ShrinkPerturb
from continual_arcade.agents.methods.tensors import copies, parameters

SIZE = 40_000
SHRINK, NOISE = 0.7, 0.3


class PerturbsFirst(ShrinkPerturb):
    """A mistake: the noise is shrunk, too."""

    name: ClassVar[str] = "perturbs-first"

    def phase_start(self, learner: Any, phase: int) -> None:
        shrink, self.shrink = self.shrink, 1.0
        super().phase_start(learner, phase)
        self.shrink = shrink
        with torch.no_grad():
            for tensor in parameters(learner):
                tensor.mul_(shrink)


class AtTheStart(ShrinkPerturb):
    """A mistake: it acts before anything was learnt."""

    name: ClassVar[str] = "at-the-start"

    def phase_start(self, learner: Any, phase: int) -> None:
        super().phase_start(learner, phase + 1)


def check_moments(kind: type[ShrinkPerturb], times: int) -> None:
    """After n times the mean is lambda^n theta, the variance a geometric sum."""
    part = kind(SHRINK, NOISE, optimizer=False)
    start = torch.full((SIZE,), 5.0, dtype=torch.float64)
    learner = FakeLearner(Point(start), lambda net, _: net.flat().sum(), [part])
    part.phase_start(learner, 0)
    for phase in range(times):
        learner.end_phase(phase)
    found = learner.q_net.flat().detach()
    variance = NOISE**2 * (1 - SHRINK ** (2 * times)) / (1 - SHRINK**2)
    sure = 5 / SIZE**0.5  # five standard errors
    assert float(found.mean()) == pytest.approx(SHRINK**times * 5, abs=sure * variance**0.5)
    assert float(found.var()) == pytest.approx(variance, rel=sure * 2**0.5)
    assert torch.equal(learner.q_net_target.flat(), found)


@pytest.mark.parametrize("times", [1, 2, 6])
def test_mean_and_variance_are_those_of_the_closed_form(times: int) -> None:
    check_moments(ShrinkPerturb, times)


@pytest.mark.parametrize("kind", [PerturbsFirst, AtTheStart])
def test_other_orders_have_other_moments(kind: Any) -> None:
    with pytest.raises(AssertionError):
        check_moments(kind, 2)


@dataclass
class Notes(Part):
    """Notes the network before and after each boundary."""

    name: ClassVar[str] = "notes"
    ends: list[Any] = field(default_factory=list)
    starts: list[Any] = field(default_factory=list)

    def note(self, learner: Any) -> Any:
        moments = any(learner.optimizer.state.values())
        same = all(map(torch.equal, learner.q_net.parameters(), learner.q_net_target.parameters()))
        return copies(parameters(learner)), moments, same, learner.replay.seen

    def phase_end(self, learner: Any, phase: int) -> None:
        self.ends.append(self.note(learner))

    def phase_start(self, learner: Any, phase: int) -> None:
        self.starts.append(self.note(learner))


@tiny.EACH_ENGINE
@pytest.mark.parametrize(("optimizer", "target"), [(True, True), (True, False), (False, False)])
def test_it_acts_where_a_phase_begins_and_only_there(
    engine: str, optimizer: bool, target: bool
) -> None:
    notes = Notes()
    part = ShrinkPerturb(0.5, 0.0, optimizer, target)
    tiny.live(tiny.agent(part, notes, engine=engine, target_update_interval=10_000))
    assert (len(notes.ends), len(notes.starts)) == (2, 3)
    for before, after in zip(notes.ends, notes.starts[1:], strict=True):
        assert all(
            torch.equal(new, 0.5 * old) for old, new in zip(before[0], after[0], strict=True)
        )
        assert before[1]
        assert after[1] != optimizer
        assert after[2] == target
        assert after[3] == before[3]


@tiny.EACH_ENGINE
def test_without_shrinking_and_noise_it_is_the_dqn_bit_for_bit(engine: str) -> None:
    plain = tiny.bits(tiny.live(tiny.agent(engine=engine)))

    def with_it(shrink: float, noise: float, target: bool = False) -> bytes:
        part = ShrinkPerturb(shrink, noise, optimizer=False, target=target)
        return tiny.bits(tiny.live(tiny.agent(part, engine=engine)))

    assert with_it(1.0, 0.0) == plain
    for other in (with_it(0.9, 0.0), with_it(1.0, 0.1), with_it(1.0, 0.0, target=True)):
        assert other != plain


@pytest.mark.parametrize("part", [ShrinkPerturb(), Reset()], ids=["shrink-perturb", "reset"])
def test_a_layer_that_somebody_has_frozen_stays_as_it_is(part: Part) -> None:
    learner = tiny.agent(part)
    first, last = learner.q_net.q_net[0], learner.q_net.q_net[-1]  # type: ignore[index]
    for tensor in first.parameters():
        tensor.requires_grad_(requires_grad=False)
    before, moved = first.weight.clone(), last.weight.clone()
    tiny.live(learner)
    assert torch.equal(first.weight, before)
    assert torch.equal(learner.q_net_target.q_net[0].weight, before)  # type: ignore[index]
    assert not torch.equal(last.weight, moved)


def test_noise_follows_from_the_seed_and_from_nothing_else() -> None:
    def after(seed: int, disturbed: bool) -> Any:
        model = tiny.agent(ShrinkPerturb(), seed=seed)
        if disturbed:
            torch.rand(3)
        drawn = torch.get_rng_state()
        model.parts[0].phase_start(model, 1)
        assert torch.equal(torch.get_rng_state(), drawn)
        return tiny.bits(model)

    assert after(1, disturbed=False) == after(1, disturbed=True) != after(2, disturbed=False)


@pytest.mark.parametrize(
    ("setting", "value"), [("shrink", 1.5), ("shrink", -0.1), ("noise", -1.0), ("target", 3)]
)
def test_bad_settings_are_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=f"shrink-perturb: {setting}"):
        ShrinkPerturb(**{setting: value})
