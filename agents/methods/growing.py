"""Networks of which phases see more and more units; a base for methods that say when."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.growing_units import GrowingUnits, Marks
from continual_arcade.agents.methods.isolation import Isolation
from continual_arcade.agents.methods.rules import number
from continual_arcade.agents.methods.tensors import check_free
from continual_arcade.envs.checks import Number

LOOKED_AT = 1_024
"""Transitions that the loss is measured on."""


@dataclass
class Growing(Isolation):
    """Begins with a share of the units, and copies those that drift.

    A unit whose incoming weights have moved too far is copied: the phase goes on with the copy, and
    phases before it see the unit as it was.
    """

    told: ClassVar[str] = "attention"
    fixed: ClassVar[frozenset[str]] = frozenset({"spare"})

    spare: Annotated[float, Number(0, below=1)] = 0.75
    """Share of each hidden layer that no phase sees before units are added or copied."""
    drift: Annotated[float, Number(0, finite=False)] = 0.05
    """Distance by which the weights into a unit may move before it is copied; inf for any."""

    copied: int = number()
    """Units that were copied so far."""

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]
        self._lacked = False

    def bind(self, learner: Learner, rng: Any) -> None:
        """Close the gates of spare units."""
        super().bind(learner, rng)
        networks: Any = (learner.q_net, learner.q_net_target)
        if int(networks[0].finished):  # it is that of a file
            return
        for network in networks:
            GrowingUnits(network).see(
                [torch.arange(size) < size - int(self.spare * size) for size in network.sizes]
            )

    def units_of(self, learner: Learner) -> GrowingUnits:
        """Return the units of the network that learns.

        Raises:
            ValueError: If a part of it is frozen, which could be neither added nor copied.
        """
        check_free(learner.q_net, self.name)
        return GrowingUnits(learner.q_net)

    def split(self, units: GrowingUnits, before: Sequence[torch.Tensor]) -> int:
        """Copy the units that have drifted, as far as there are spare ones.

        Args:
            units: The units.
            before: All parameters as they were when the phase began.

        Returns:
            How many were copied.
        """
        copied, lacking = units.split(before, self.drift)
        self.copied += copied
        self.lacks("copied", lacking)
        return copied

    def grow(self, units: GrowingUnits, count: int) -> Marks:
        """Add units to each hidden layer, as far as there are spare ones, and return which."""
        added = units.grow(count, self.rng)
        self.lacks("added", count * len(added) - int(torch.cat(added).sum()))
        return added

    def loss_of(self, learner: Learner) -> float:
        """Return the mean TD loss of some of what replay holds; 0 if that is nothing."""
        slots = learner.replay.stored_slots()
        if not len(slots):  # replay was emptied a moment ago
            return 0.0
        with torch.no_grad():
            return float(learner.td_loss(learner.replay.gather(self.rng.choice(slots, LOOKED_AT))))

    def lacks(self, what: str, count: int) -> None:
        """Warn once of units that could not be added or copied."""
        if count and not self._lacked:
            self._lacked = True
            warnings.warn(
                f"{self.name}: {count} units should have been {what}, and no more are spare: a "
                "larger network (hidden), a larger spare, or a larger drift",
                stacklevel=2,
            )

    def log(self, learner: Learner) -> None:
        """Record the shares of units that the phase sees and that are spare, and all copies."""
        super().log(learner)
        units = self.units_of(learner)
        for what, marks in (("seen", units.open), ("spare", units.spare)):
            learner.logger.record(f"{self.name}/{what}", float(torch.cat(marks).float().mean()))
        learner.logger.record(f"{self.name}/copied", self.copied)
