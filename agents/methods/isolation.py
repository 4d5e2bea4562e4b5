"""Parameter isolation: each phase has parameters of its own in the network; a base for methods."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from continual_arcade.agents.methods.base import Learner, Part, begin_from
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.agents.told_networks import FinishesPhases


@dataclass
class Isolation(Part):
    """Refuses what no network can honour whose phases, once finished, never move again.

    A derived class says by ``told`` which option of the policy makes its network.
    """

    needs_boundaries: ClassVar[bool] = True
    once: ClassVar[bool] = True
    settles: ClassVar[bool] = True

    def bind(self, learner: Learner, rng: Any) -> None:
        """Get ready for a network that has something of its own for each phase."""
        if getattr(learner.q_net, "option", "") != self.told:
            raise ValueError(
                f"part {self.name!r} must be told the phase whenever the agent acts: build the "
                f"agent with context = 'one-hot', or give policy_kwargs={{{self.told!r}: 3}}, for "
                "three phases, and observations whose last three features say which one it is"
            )
        super().bind(learner, rng)

    def completed(self, learner: Learner, transitions: Transitions) -> None:
        """Refuse a phase that was finished before, and observations that tell another phase."""
        network = learner.q_net
        assert isinstance(network, FinishesPhases)
        if not network.sees_all(transitions.observations):
            raise ValueError(
                f"{self.name}: a phase begins again after {int(network.finished)} were finished, "
                "and its weights are frozen: choose a schedule in which no phase recurs, and "
                "observations that tell phases in its order, or another method"
            )
        told = np.argmax(transitions.observations[:, -network.phases :], axis=1)
        if wrong := np.flatnonzero(told != transitions.phases).tolist():
            raise ValueError(
                f"{self.name}: an observation of phase {transitions.phases[wrong[0]] + 1} tells "
                f"that it is of phase {told[wrong[0]] + 1}, which would be learnt as another one: "
                "the last features must tell the phases in the order of the schedule, as context = "
                "'one-hot' does"
            )

    def close(self, learner: Learner) -> None:
        """Let the network be what is kept of the phase that ends.

        That is the average of its weights, if one is kept, by which the agent is judged: what its
        last weights happened to do would be kept for good.

        Raises:
            ValueError: If there is nothing left for the phase that begins.
        """
        network = learner.q_net
        assert isinstance(network, FinishesPhases)
        finished, phases = int(network.finished), network.phases
        if finished + 1 >= phases:
            raise ValueError(
                f"{self.name}: phase {finished + 2} begins, and the weights are for {phases} "
                f"phases ({self.told} = {phases}): make the agent for as many as there are"
            )
        if learner.averaged is not None:
            network.load_state_dict(learner.averaged.q_net.state_dict())

    def leave(self, learner: Learner) -> None:
        """Go on to the next phase: without moments, and with nothing to replay."""
        begin_from(learner, target=True, optimizer=True)
        learner.reinitialise(network=False, optimizer=False, replay=True)
