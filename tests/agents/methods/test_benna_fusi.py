"""Beakers: what is in them, by matrices and by hand, and that nothing is lost."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from fake_learner import FakeLearner, Point, normal
from scipy.linalg import expm

from continual_arcade.agents import ContinualDQN
from continual_arcade.agents.methods import benna_fusi
from continual_arcade.agents.methods.benna_fusi import BennaFusi
from continual_arcade.agents.methods.rules import rule
from continual_arcade.agents.methods.tensors import parameters

PACE, SLOPE = 0.3, normal(1, 5)


class OneWay(BennaFusi):
    """A mistake: what is in the second beaker never comes back."""

    name: ClassVar[str] = "one-way"

    @rule("interpolate", writes="flow", when="tube")
    def run(theta: Any, second: Any, tube: Any) -> Any:
        flow = tube * (theta - second)
        return flow * (flow > 0)


class OfOneVolume(BennaFusi):
    """A mistake: the second beaker is as small as the first."""

    name: ClassVar[str] = "of-one-volume"

    @rule("interpolate", writes="second", when="tube")
    def fill(second: Any, flow: Any) -> Any:
        return second + flow


class Forgetful(BennaFusi):
    """A mistake: the deeper beakers flow for one step, however many there were."""

    name: ClassVar[str] = "forgetful"

    def act(self, learner: Any) -> None:
        self.deeper = self.flowed - 1
        super().act(learner)


def wrong_tubes(beakers: int, pace: float) -> Any:
    """A mistake: all tubes are equally wide."""
    step = np.eye(beakers - 1)
    for k in range(beakers - 2):
        for this, other in ((k, k + 1), (k + 1, k)):
            step[this, this] -= pace / 2 ** (this + 1)
            step[this, other] += pace / 2 ** (this + 1)
    return step


def system(beakers: int, pace: float, first: bool = True, others: bool = True) -> Any:
    """The right side of the equations of Kaplanis et al. 2018, beaker by beaker."""
    volume = [2.0**k for k in range(beakers)]
    tube = [pace / 2.0**k for k in range(beakers - 1)]
    matrix = np.zeros((beakers, beakers))
    for k in range(beakers):
        for other, across in ((k - 1, k - 1), (k + 1, k)):
            if 0 <= other < beakers and (first if across == 0 else others):
                matrix[k, other] += tube[across] / volume[k]
                matrix[k, k] -= tube[across] / volume[k]
    return matrix


def beakers_of(part: BennaFusi, learner: Any) -> Any:
    """What is in all of them, shape ``(beakers, parameters)``."""
    first = torch.cat([t.detach().flatten().double() for t in parameters(learner)])
    second = torch.cat([tensor.flatten().double() for tensor in part.second])
    return np.vstack([first.numpy(), second.numpy(), part.deep])


def still(start: Any, part: BennaFusi, lr: float = 0.0) -> FakeLearner:
    """A learner on a slope, which stays where it is if the learning rate is 0."""

    def loss(network: Any, samples: Any) -> torch.Tensor:
        return (SLOPE * network.flat()).sum()

    return FakeLearner(Point(start), loss, [part], lr=lr)


def check_chain(part: BennaFusi, steps: int = 3, times: int = 6) -> None:
    """Contents are what powers of the matrices give, and volume by volume nothing is lost."""
    beakers = part.beakers
    learner = still(normal(2, 5), part)
    learner.put(normal(3, 5))  # as if one step had led there
    contents = beakers_of(part, learner)
    volumes = 2.0 ** np.arange(beakers)
    whole = volumes @ contents
    one, rest = (np.eye(beakers) + system(beakers, PACE, first, not first) for first in (1, 0))
    for _ in range(times):
        learner.train(steps)
        part.between(learner)
        contents = (
            np.linalg.matrix_power(rest, steps) @ np.linalg.matrix_power(one, steps) @ contents
        )
        np.testing.assert_allclose(beakers_of(part, learner), contents, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(volumes @ beakers_of(part, learner), whole, rtol=1e-12)
    assert not np.allclose(contents[1:3], normal(2, 5), atol=1e-6)


@pytest.mark.parametrize("beakers", [2, 3, 4, 6])
def test_the_chain_is_the_linear_system(beakers: int) -> None:
    check_chain(BennaFusi(beakers=beakers, pace=PACE))


@pytest.mark.parametrize("kind", [OneWay, OfOneVolume, Forgetful])
def test_other_flows_are_found(kind: Any) -> None:
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_chain(kind(beakers=4, pace=PACE))


def test_other_tubes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benna_fusi, "step_of", wrong_tubes)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_chain(BennaFusi(beakers=4, pace=PACE))


def test_slow_flows_are_those_of_the_differential_equations() -> None:
    """With the source's beakers all flowing at once, what is split differs in the next order."""
    errors = []
    for pace in (0.02, 0.01):
        part = BennaFusi(beakers=5, pace=pace)
        learner = still(normal(2, 5), part)
        learner.put(normal(3, 5))
        before = beakers_of(part, learner)
        for _ in range(round(4 / pace)):
            learner.train(1)
            part.between(learner)
        expected = expm(system(5, 4.0)) @ before
        errors.append(np.abs(beakers_of(part, learner) - expected).max())
    assert errors[1] < 0.01
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2)


def test_what_the_learner_adds_is_what_is_in_the_beakers() -> None:
    part = BennaFusi(beakers=5, pace=PACE)
    learner = still(normal(2, 5), part, lr=0.1)
    volumes = 2.0 ** np.arange(5)
    whole = volumes @ beakers_of(part, learner)
    for _ in range(7):
        learner.train(4)
        part.between(learner)
    added = -0.1 * 28 * SLOPE.numpy()
    np.testing.assert_allclose(volumes @ beakers_of(part, learner), whole + added, rtol=1e-10)


@tiny.EACH_ENGINE
def test_with_one_beaker_or_closed_tubes_it_is_the_dqn_bit_for_bit(engine: Any) -> None:
    plain = tiny.bits(tiny.live(tiny.agent(engine=engine)))
    for settings, same in (
        ({"beakers": 1}, True),
        ({"pace": 0.0}, True),
        ({"beakers": 2}, False),
        ({}, False),
    ):
        agent = tiny.live(tiny.agent(BennaFusi(**settings), engine=engine))
        assert agent.runs_compiled == (engine == "compiled")
        assert (tiny.bits(agent) == plain) == same, settings


def test_both_engines_fill_the_same_beakers() -> None:
    both = []
    for engine in ("torch", "compiled"):
        part = BennaFusi(every=40, beakers=4, pace=0.1)
        agent = tiny.live(tiny.agent(part, engine=engine))
        assert part.last == 320
        assert (part.flowed, part.deeper) == (agent._n_updates, (320 - tiny.LEARNING_STARTS) // 4)
        both.append(beakers_of(part, agent))
    np.testing.assert_allclose(*both, atol=1e-5)
    assert np.abs(both[0][3] - both[0][2]).max() > 1e-4


@tiny.EACH_ENGINE
def test_what_is_resumed_ends_with_the_same_bits(engine: Any, tmp_path: Any) -> None:
    path = tmp_path / "half.zip"
    whole = tiny.agent(BennaFusi(every=50, beakers=4, pace=0.1), engine=engine)
    tiny.live(whole, callback=tiny.SaveAt(180, path))
    resumed = ContinualDQN.load(path, tiny.life(), "cpu")
    tiny.live(resumed, tiny.LIFE - resumed.num_timesteps, reset_num_timesteps=False)
    assert not list(tiny.differences(tiny.inside(whole), tiny.inside(resumed)))


def test_what_is_frozen_stays() -> None:
    agent = tiny.agent(BennaFusi(every=40, beakers=3, pace=0.5))
    tiny.live(agent, 160)
    bias = parameters(agent)[1]
    before = bias.requires_grad_(requires_grad=False).clone()
    tiny.live(agent, 120, reset_num_timesteps=False)
    assert not agent.runs_compiled
    assert torch.equal(bias, before)
    assert not torch.equal(agent.parts[0].second[1], before)  # type: ignore[attr-defined]


def test_the_average_that_it_plays_by_is_not_begun_again() -> None:
    counts = []
    for parts in ((), (BennaFusi(every=40, beakers=4, pace=0.1),)):
        agent = tiny.live(tiny.agent(*parts, average=0.99))
        assert agent.weight_average is not None
        counts.append(agent.weight_average.updates)
        average, now = (
            torch.nn.utils.parameters_to_vector(net.parameters()).detach()
            for net in (agent.weight_average.network, agent.q_net)
        )
        assert float((average - now).abs().max()) > 1e-4
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("flowed", "deeper"), [(3, 4), (3, -1), (3, 2.5), (3.5, 2)])
def test_a_file_by_which_time_would_run_backwards_is_refused(
    flowed: Any, deeper: Any, tmp_path: Path
) -> None:
    agent: Any = tiny.live(tiny.agent(BennaFusi()), 80)
    agent.parts[0].flowed, agent.parts[0].deeper = flowed, deeper
    agent.save(tmp_path / "agent")
    with pytest.raises((ValueError, TypeError), match=r"part 'benna-fusi': (flowed|deeper) = "):
        ContinualDQN.load(tmp_path / "agent", device="cpu")


@pytest.mark.parametrize(("setting", "value"), [("every", 0), ("beakers", 0), ("pace", 1.5)])
def test_bad_settings_are_refused_by_name(setting: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=f"benna-fusi: {setting}"):
        BennaFusi(**{setting: value})
