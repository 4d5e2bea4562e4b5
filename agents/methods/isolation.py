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

    A derived class says by ``told`` which option of the policy makes its network, and by
    :meth:`finish` what is done with it where a phase ends. A phase that comes back is played as it
    was finished. The last one for which there is room is never finished, and goes on to learn.
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
        network = _network(learner)
        if not network.sees_all(transitions.observations):
            raise ValueError(
                f"{self.name}: a phase begins again after {int(network.finished)} were finished, "
                "and its weights are frozen: choose a schedule, which knows in which of its phases "
                "one comes back, and observations that tell phases in its order, or another method"
            )
        told = np.argmax(transitions.observations[:, -network.phases :], axis=1)
        phases, which = np.unique(transitions.phases, return_inverse=True)
        places = np.array([learner.place_of(phase) for phase in phases.tolist()], np.int64)[which]
        if wrong := np.flatnonzero(told != places).tolist():
            raise ValueError(
                f"{self.name}: an observation of phase {transitions.phases[wrong[0]] + 1} tells "
                f"that it is of phase {told[wrong[0]] + 1}, which would be learnt as another one: "
                "the last features must tell the phases in the order of the schedule, as context = "
                "'one-hot' does"
            )

    def rests_in(self, learner: Learner, phase: int) -> bool:
        """Return whether it is finished: nothing that it sees moves any more."""
        return learner.place_of(phase) < int(_network(learner).finished)

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Refuse a phase for which nothing is left.

        Raises:
            ValueError: If it is one.
        """
        place, phases = learner.place_of(phase), _network(learner).phases
        if place >= phases:
            raise ValueError(
                f"{self.name}: phase {phase + 1} begins, and the weights are for {phases} "
                f"phases ({self.told} = {phases}): make the agent for as many as there are"
            )

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Finish a phase, unless there is no room for another one that is new.

        What is kept of it is the average of its weights, if there is one, by which the agent is
        judged: what its last weights happened to do would be kept for good. The next one begins
        without moments, and with nothing to replay.
        """
        network = _network(learner)
        if int(network.finished) + 1 < network.phases:
            if learner.averaged is not None:
                learner.q_net.load_state_dict(learner.averaged.q_net.state_dict())
            self.finish(learner)
        begin_from(learner, target=True, optimizer=True)
        learner.reinitialise(network=False, optimizer=False, replay=True)

    def finish(self, learner: Learner) -> None:
        """Keep what the phase has learnt, and get ready for a new one."""
        raise NotImplementedError(f"part {self.name!r} does not say what it keeps of a phase")


def _network(learner: Learner) -> FinishesPhases:
    assert isinstance(learner.q_net, FinishesPhases)
    return learner.q_net
