"""Probes: what they say is what the agents say, and a run with them is as one without."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
from stable_baselines3.common.callbacks import BaseCallback

from continual_arcade.agents import ContinualDQN
from continual_arcade.agents.hidden_units import hidden_units
from continual_arcade.agents.probes.interference import alignment
from continual_arcade.agents.probes.overlap import fisher_informations, overlaps
from continual_arcade.agents.probes.plasticity import (
    dormant_share,
    effective_rank,
    weight_norm,
)
from continual_arcade.envs import make_game, shipped
from continual_arcade.evaluation import Evaluator, Experience, Probe, Reading
from continual_arcade.studies.probes import (
    PROBES,
    InterferenceProbe,
    OverlapProbe,
    PlasticityProbe,
)

EVALUATOR = Evaluator(
    "FlappyBird", shipped("cycle", make_game("FlappyBird")), episodes=2, max_steps=60
)


def looked_into(keep: int = 40) -> tuple[ContinualDQN, Experience]:
    agent = tiny.live(tiny.agent(), 200)
    experience = EVALUATOR.play(agent, keep).experience
    assert experience is not None
    return agent, experience


def measure(probe: Probe, agent: Any, experience: Experience) -> dict[tuple[Any, ...], float]:
    readings = list(probe.measure(agent, experience))
    found = {(r.quantity, r.phase, r.other_phase): r.value for r in readings}
    assert len(found) == len(readings)
    return found


def test_interference() -> None:
    agent, experience = looked_into()
    assert experience.phases == (0, 1, 2)
    expected = alignment(agent, [experience.of(i) for i in range(3)])
    got = measure(InterferenceProbe(), agent, experience)
    assert len(got) == 12
    for i in range(3):
        assert got["gradient_norm", i, -1] == expected.norms[i]
        for j in range(3):
            assert got["gradient_cosine", i, j] == expected.cosines[i, j]


def test_plasticity() -> None:
    agent, experience = looked_into()
    got = measure(PlasticityProbe(), agent, experience)
    assert len(got) == 9
    assert got["weight_norm", -1, -1] == weight_norm(agent.q_net)
    met = [experience.of(i).observations for i in range(3)]
    for phase, states in zip((-1, 0, 1, 2), (np.concatenate(met), *met), strict=True):
        assert got["dormant_share", phase, -1] == dormant_share(agent.q_net, states)
        rank = effective_rank(hidden_units(agent.q_net, states)[-1])
        assert got["effective_rank", phase, -1] == rank


@pytest.mark.parametrize(("states", "every"), [(1, 40), (20, 2), (39, 2), (40, 1), (100, 1)])
def test_plasticity_of_some_states(states: int, every: int) -> None:
    agent, experience = looked_into()
    assert (experience.counts == 40).all()
    got = measure(PlasticityProbe(states), agent, experience)
    seen = experience.of(0).observations[::every]
    assert 0 < len(seen) <= states
    assert got["dormant_share", 0, -1] == dormant_share(agent.q_net, seen)


def test_overlap() -> None:
    agent, experience = looked_into()
    got = measure(OverlapProbe(), agent, experience)
    found = fisher_informations(agent, [experience.of(i).observations for i in range(3)])
    assert len(got) == 3 * len(found[0])
    for layer, informations in enumerate(zip(*found, strict=True)):
        expected = overlaps(informations)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            assert got[f"fisher_overlap_layer_{layer}", i, j] == expected[i, j]


def test_a_phase_without_transitions_is_undefined() -> None:
    agent, experience = looked_into()
    experience.counts[1] = 0
    got = measure(InterferenceProbe(), agent, experience)
    assert math.isnan(got["gradient_norm", 1, -1])
    assert math.isnan(got["gradient_cosine", 0, 1])
    assert not math.isnan(got["gradient_cosine", 0, 2])
    got = measure(PlasticityProbe(), agent, experience)
    assert math.isnan(got["dormant_share", 1, -1])
    assert not math.isnan(got["dormant_share", -1, -1])
    got = measure(OverlapProbe(), agent, experience)
    assert {key[1:] for key in got} == {(0, 2)}


def test_a_network_without_hidden_units_has_no_rank() -> None:
    agent = tiny.agent(policy={"net_arch": []}, engine="torch")
    experience = EVALUATOR.play(agent, 10).experience
    assert experience is not None
    got = measure(PlasticityProbe(), agent, experience)
    assert math.isnan(got["effective_rank", -1, -1])
    assert math.isnan(got["dormant_share", 0, -1])


class Probing(BaseCallback):
    """Looks into the agent again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.readings: list[Reading] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % 60 == 0:
            experience = EVALUATOR.play(self.model, 30).experience
            assert experience is not None
            for probe in PROBES:
                self.readings += probe.measure(self.model, experience)
        return True


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("policy", [{}, {"dropout": 0.2}])
def test_a_run_with_probes_is_as_one_without(engine: Any, policy: dict[str, Any]) -> None:
    if policy and engine == "compiled":
        pytest.skip("the compiled engine supports no dropout")
    agents, probing = [], Probing()
    for callback in (None, probing):
        agents.append(tiny.live(tiny.agent(engine=engine, policy=policy), callback=callback))
    assert not list(tiny.differences(*map(tiny.inside, agents)))
    layers = 2  # of tiny networks
    assert len(probing.readings) == tiny.LIFE // 60 * (12 + 9 + 3 * layers)


def test_only_agents_of_this_suite_can_be_probed() -> None:
    _, experience = looked_into()
    for probe in PROBES:
        with pytest.raises(TypeError, match="a str cannot be probed: only a ContinualDQN can"):
            list(probe.measure("agent", experience))


def test_gradients_of_labels_need_the_labels() -> None:
    """Those of the answers that were given would be another loss, and nobody would see it."""
    agent, experience = looked_into()
    agent.loss = "cross_entropy"
    assert not experience.labelled
    with pytest.raises(ValueError, match=r"do not tell: leave InterferenceProbe out"):
        measure(InterferenceProbe(), agent, experience)
    told = replace(experience, labelled=True)
    expected = alignment(agent, [told.of(i) for i in range(3)])
    assert measure(InterferenceProbe(), agent, told)["gradient_norm", 0, -1] == expected.norms[0]
