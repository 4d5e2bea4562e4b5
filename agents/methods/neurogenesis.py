"""Neurogenesis: hidden units are recycled at random."""

from dataclasses import dataclass
from math import floor
from typing import ClassVar, Literal

import torch

from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.recycler import Hidden, Recycler
from continual_arcade.agents.methods.rules import number
from continual_arcade.envs.checks import Share


@dataclass
class Neurogenesis(Recycler):
    """Recycles units at random, whatever they are good for (after Tran et al. 2022).

    What a choice by use has to beat. Of each layer ``rate`` of the units begin again at each look;
    what is no whole unit is kept for the next one.
    """

    name: ClassVar[str] = "neurogenesis"

    rate: Share = 0.01
    """Share of each layer's units that begins again at a look."""
    outgoing: Literal["drawn", "zero"] = "drawn"
    """What becomes of outgoing weights: they are drawn again, or 0."""

    looks: int = number(0)
    """Looks so far, this one included."""

    @property
    def draws_outgoing(self) -> bool:  # type: ignore[override]
        """Whether outgoing weights are drawn."""
        return self.outgoing == "drawn"

    def act(self, learner: Learner) -> None:
        """Count the look, if there is something to look by."""
        self.looks += bool(len(learner.replay.stored_slots()))
        super().act(learner)

    def choose(self, index: int, hidden: Hidden, said: torch.Tensor) -> torch.Tensor:
        """Choose at random."""
        count = said.shape[1]
        due = whole(self.rate * count * self.looks) - whole(self.rate * count * (self.looks - 1))
        return torch.from_numpy(self.rng.choice(count, min(due, count), replace=False))


def whole(units: float) -> int:
    """Return how many whole units are due, as if there were no rounding."""
    return floor(units + 1e-6)


PRESETS = (
    Preset(
        "neurogenesis",
        "A hundredth of the hidden units, chosen at random, begins again every 1,000 steps.",
        source="after Tran et al. 2022",
        parts=("neurogenesis",),
    ),
)
