"""Where agents and evaluation meet: what an agent's network says about the phases it has played."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.continual_dqn import ContinualDQN
from continual_arcade.agents.hidden_units import hidden_units
from continual_arcade.agents.probes.interference import alignment
from continual_arcade.agents.probes.overlap import fisher_informations, overlaps
from continual_arcade.agents.probes.plasticity import (
    dormant_share,
    effective_rank,
    weight_norm,
)
from continual_arcade.evaluation.experience import Experience
from continual_arcade.evaluation.network_diagnostics import ALL, OVERLAP, Reading

NORM = "weight_norm"
"""The quantity that depends on nothing but the network, by which it is known again."""


@dataclass(frozen=True)
class InterferenceProbe:
    """Compares the mean TD gradients of all phases: ``gradient_cosine`` and ``gradient_norm``."""

    def measure(self, model: Any, experience: Experience) -> Iterator[Reading]:
        """Measure an agent.

        Raises:
            TypeError: If it is no ``ContinualDQN``.
            ValueError: If it learns labels, and the environments it was evaluated in tell none.
        """
        agent, phases = _agent(model), experience.phases
        if agent.learns_labels and not experience.labelled:
            raise ValueError(
                f"the gradients of loss = {agent.loss!r} are those of right answers, which the "
                "environments of this evaluation do not tell: leave InterferenceProbe out"
            )
        found = alignment(agent, [experience.of(position) for position in range(len(phases))])
        for i, phase in enumerate(phases):
            yield Reading("gradient_norm", float(found.norms[i]), phase)
            for j, other in enumerate(phases):
                yield Reading("gradient_cosine", float(found.cosines[i, j]), phase, other)


@dataclass(frozen=True)
class PlasticityProbe:
    """Measures what of a network is alive, in each phase and in all together.

    ``dormant_share`` and ``effective_rank`` (of the last hidden layer), and ``weight_norm``.

    Args:
        states: How many observations of each phase to look at; singular values of more take longer
            than the play.
    """

    states: int = 512

    def measure(self, model: Any, experience: Experience) -> Iterator[Reading]:
        """Measure an agent.

        Raises:
            TypeError: If it is no ``ContinualDQN``.
            ValueError: If its network has other layers than perceptrons and convolutions have.
        """
        network, phases = _agent(model).q_net, experience.phases
        met = _met(experience, self.states)
        for phase, observations in zip((ALL, *phases), (np.concatenate(met), *met), strict=True):
            dormant = rank = np.nan
            if len(observations):
                dormant = dormant_share(network, observations)
                hidden = hidden_units(network, observations)
                rank = effective_rank(hidden[-1]) if hidden else np.nan
            yield Reading("dormant_share", dormant, phase)
            yield Reading("effective_rank", rank, phase)
        yield Reading(NORM, weight_norm(network))


@dataclass(frozen=True)
class OverlapProbe:
    """Measures how far each two phases use the same parameters, layer by layer.

    ``fisher_overlap_layer_0`` and so on, once for each pair of phases.

    Args:
        states: How many observations of each phase to look at.
    """

    states: int = 512

    def measure(self, model: Any, experience: Experience) -> Iterator[Reading]:
        """Measure an agent.

        Raises:
            TypeError: If it is no ``ContinualDQN``.
        """
        agent, phases = _agent(model), experience.phases
        met = _met(experience, self.states)
        known = [i for i, observations in enumerate(met) if len(observations)]
        found = fisher_informations(agent, [met[i] for i in known])
        for layer, informations in enumerate(zip(*found, strict=True)):
            of_pairs = overlaps(informations)
            for (a, i), (b, j) in combinations(enumerate(known), 2):
                yield Reading(f"{OVERLAP}{layer}", of_pairs[a, b], phases[i], phases[j])


PROBES = (InterferenceProbe(), PlasticityProbe(), OverlapProbe())
"""What is measured of every agent that is evaluated."""


def _met(experience: Experience, most: int) -> list[npt.NDArray[Any]]:
    """Return some observations of each phase."""
    met = [experience.of(i).observations for i in range(len(experience.phases))]
    # They are in order, so that every n-th of them is spread over all as well.
    return [each[:: max(1, math.ceil(len(each) / most))] for each in met]


def _agent(model: Any) -> ContinualDQN:
    if not isinstance(model, ContinualDQN):
        raise TypeError(f"a {type(model).__name__} cannot be probed: only a ContinualDQN can")
    return model
