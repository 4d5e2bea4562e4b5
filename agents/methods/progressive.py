"""Progressive networks: each phase gets a column of layers of its own, told of earlier ones."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.isolation import Isolation
from continual_arcade.agents.methods.mask import HardMask
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.tensors import parameters
from continual_arcade.agents.progressive_network import ProgressiveQNetwork
from continual_arcade.envs.checks import flag


@dataclass
class Progressive(Isolation, HardMask):
    """Learns each phase with a column of its own, and freezes it at the end of the phase.

    The column of a later phase sees what the hidden units of all earlier columns say, through
    adapters that it learns with all else it has. Nothing of a finished column ever moves again: so
    what the agent does in its phase stays what it did at the end, to the bit. For that it must be
    told the phase whenever it acts.
    """

    name: ClassVar[str] = "progressive"
    told: ClassVar[str] = "columns"
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
        super().bind(learner, rng)
        self._learn_newest(learner)

    def finish(self, learner: Learner) -> None:
        """Freeze the column, and go on with the next one."""
        _network(learner).finished += 1
        self._learn_newest(learner)

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
