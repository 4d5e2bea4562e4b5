"""Progressive networks: each phase gets a column of layers of its own, told of earlier ones."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch

from continual_arcade.agents.methods.base import Learner, begin_from
from continual_arcade.agents.methods.mask import HardMask
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.tensors import parameters
from continual_arcade.agents.progressive_network import ProgressiveQNetwork
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.envs.checks import flag


@dataclass
class Progressive(HardMask):
    """Learns each phase with a column of its own, and freezes it at the end of the phase.

    The column of a later phase sees what the hidden units of all earlier columns say, through
    adapters that it learns with all else it has. Nothing of a finished column ever moves again: so
    what the agent does in its phase stays what it did at the end, to the bit. For that it must be
    told the phase whenever it acts.

    Where an average of the weights is kept, by which the agent is judged, a column becomes its
    average when it is finished.
    """

    name: ClassVar[str] = "progressive"
    needs_boundaries: ClassVar[bool] = True
    told: ClassVar[str] = "columns"
    once: ClassVar[bool] = True
    conflicts: ClassVar[frozenset[str]] = frozenset(
        # They move weights that it has frozen, or that are still to begin,
        {"mer", "reptile", "reset", "shrink-perturb", "hare-tortoise", "packnet"}
        | {"redo", "continual-backprop", "neurogenesis"}
        # hold a column that has learnt nothing yet to what it is,
        | {"l2", "ewc", "online-ewc", "si", "mas"}
        # or to what it says,
        | {"lwf"}
        # or do not know its adapters.
        | {"spectral", "parseval", "upgd"}
    )

    adapters: Annotated[bool, flag] = True
    """Whether a column is told of those before it; if not, phases share nothing at all."""

    def __post_init__(self) -> None:
        self.check_settings()

    def bind(self, learner: Learner, rng: Any) -> None:
        """Get ready for a network of columns, whose first is learnt first."""
        if not isinstance(learner.q_net, ProgressiveQNetwork):
            raise ValueError(
                "part 'progressive' must be told the phase whenever the agent acts: build the "
                "agent with context = 'one-hot', or give policy_kwargs={'columns': 3}, for three "
                "phases, and observations whose last three features say which one it is"
            )
        super().bind(learner, rng)
        self._learn_newest(learner)

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Refuse a phase that is not the next one."""
        finished = int(_network(learner).finished)
        if phase != finished:
            raise ValueError(
                f"progressive: phase {phase + 1} begins, and {finished} columns are finished: each "
                "phase is learnt once, in the order of the schedule; make a new agent for another "
                "run"
            )

    def completed(self, learner: Learner, transitions: Transitions) -> None:
        """Refuse observations that tell another phase than they are of."""
        told = np.argmax(transitions.observations[:, -_network(learner).columns :], axis=1)
        if wrong := np.flatnonzero(told != transitions.phases).tolist():
            raise ValueError(
                f"progressive: an observation of phase {transitions.phases[wrong[0]] + 1} tells "
                f"that it is of phase {told[wrong[0]] + 1}, whose column would learn it: the last "
                "features must tell as many phases as there are columns, in the order of the "
                "schedule, as context = 'one-hot' does"
            )

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Freeze the column, and go on with the next one."""
        network = _network(learner)
        if int(network.finished) + 1 >= network.columns:
            raise ValueError(
                f"progressive: phase {int(network.finished) + 2} begins, and there are "
                f"{network.columns} columns (columns = {network.columns}): make the agent for as "
                "many phases as there are"
            )
        if learner.averaged is not None:
            network.load_state_dict(learner.averaged.q_net.state_dict())
        network.finished += 1
        self._learn_newest(learner)
        begin_from(learner, target=True, optimizer=True)
        learner.reinitialise(network=False, optimizer=False, replay=True)

    def log(self, learner: Learner) -> None:
        """Record how many columns are finished."""
        learner.logger.record(f"{self.name}/finished", int(_network(learner).finished))

    def _learn_newest(self, learner: Learner) -> None:
        """Let the newest column be learnt: others get no gradient, and are put back."""
        _network(learner).learn_newest()
        if not self.adapters:
            for network in (learner.q_net, learner.q_net_target):
                assert isinstance(network, ProgressiveQNetwork)
                network.silence_adapters()
        still = [not tensor.requires_grad for tensor in parameters(learner)]
        self.freeze(
            learner,
            [
                torch.full_like(tensor, frozen, dtype=torch.bool)
                for tensor, frozen in zip(parameters(learner), still, strict=True)
            ],
        )


def _network(learner: Learner) -> ProgressiveQNetwork:
    assert isinstance(learner.q_net, ProgressiveQNetwork)
    return learner.q_net


PRESETS = (
    Preset(
        "progressive",
        "Each phase gets a column of layers of its own, which is frozen at its end.",
        source="Rusu et al. 2016",
        parts=("progressive",),
    ),
)
