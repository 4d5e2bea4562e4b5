"""Continual backpropagation: units of least use are recycled, a few at a time."""

from dataclasses import dataclass, field
from math import floor
from typing import Annotated, Any, ClassVar

import torch

from continual_arcade.agents.methods.base import Learner, State
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.recycler import Hidden, Recycler
from continual_arcade.agents.methods.rules import count, number
from continual_arcade.agents.settings import DECAY
from continual_arcade.envs.checks import Share, Whole

_OF_UNITS = ("utility", "looks", "born", "owed")


@dataclass
class ContinualBackprop(Recycler):
    r"""Recycles the units that the next layer makes least of (Dohare et al. 2024).

    The utility of a unit is a moving average of :math:`|h| \sum |w_\mathrm{out}|`. Of the units
    that are older than ``maturity`` a share ``rate`` begins again per gradient step; what is no
    whole unit is kept for later. What a unit gave on the average goes to the next layer's biases.
    """

    name: ClassVar[str] = "continual-backprop"
    conflicts: ClassVar[frozenset[str]] = Recycler.conflicts | {"reset", "redo", "neurogenesis"}
    transfers: ClassVar[bool] = True

    rate: Share = 1e-4
    """Share of the mature units of each layer that begins again, per gradient step."""
    maturity: Annotated[int, Whole(0)] = 10_000
    """Gradient steps up to which a unit is left alone."""
    decay: Annotated[float, DECAY] = 0.9
    """Decay of the average of the utility, per look."""

    updates: int = number(0)
    """Gradient steps so far."""
    before: int = number(0)
    """The same at the last look."""
    utility: list[torch.Tensor] = field(init=False, repr=False, default_factory=list)
    """Of each layer's units: the average, before what it lacks for having begun at 0."""
    looks: list[torch.Tensor] = field(init=False, repr=False, default_factory=list)
    """Of each layer's units: looks that it is an average over."""
    born: list[torch.Tensor] = field(init=False, repr=False, default_factory=list)
    """Of each layer's units: gradient steps when it began."""
    owed: list[torch.Tensor] = field(init=False, repr=False, default_factory=list)
    """Of each layer: the part of a unit that is still to be recycled."""

    @count("after_update", writes="updates")
    def counted(updates: Any) -> Any:
        """Count the gradient steps."""
        return updates + 1

    def bind(self, learner: Learner, rng: Any) -> None:
        """All units begin now."""
        super().bind(learner, rng)
        sizes = [hidden.into.out_features for hidden in self.layers(learner.q_net)]
        self.utility = [torch.zeros(size, dtype=torch.float64) for size in sizes]
        self.looks = [torch.zeros(size, dtype=torch.int64) for size in sizes]
        self.born = [torch.zeros(size, dtype=torch.int64) for size in sizes]
        self.owed = [torch.zeros((), dtype=torch.float64) for _ in sizes]

    def between(self, learner: Learner) -> None:
        """Look at the units, and remember when."""
        super().between(learner)
        self.before = self.updates

    def choose(self, index: int, hidden: Hidden, said: torch.Tensor) -> torch.Tensor:
        """Choose those of least utility among the mature ones."""
        utility, looks, born = self.utility[index], self.looks[index], self.born[index]
        weights = hidden.out.weight.detach().double().abs().sum(0)
        now = said.double().abs().mean(0) * weights
        utility += (1 - self.decay) * (now - utility)
        looks += 1
        mature = torch.nonzero(self.updates - born > self.maturity).flatten()
        self.owed[index] += self.rate * len(mature) * (self.updates - self.before)
        due = min(floor(float(self.owed[index]) + 1e-6), len(mature))
        self.owed[index] -= due
        average = utility / (1 - self.decay**looks)
        chosen = mature[torch.argsort(average[mature], stable=True)[:due]]
        utility[chosen], looks[chosen], born[chosen] = 0.0, 0, int(self.updates)
        return chosen

    def state_dict(self) -> State:
        """Return what is known of the units, too."""
        known = {name: [t.clone() for t in getattr(self, name)] for name in _OF_UNITS}
        return {**super().state_dict(), **known}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        for name in _OF_UNITS:
            setattr(self, name, [tensor.clone() for tensor in state[name]])
        negative = [n for n in _OF_UNITS if any(bool((t < 0).any()) for t in state[n])]
        if negative or self.before > self.updates:
            what = ", ".join(negative) or "before"
            raise ValueError(f"{what} of {self.name} makes no sense")


PRESETS = (
    Preset(
        "continual-backprop",
        "The hidden units of least use begin again, a few at a time.",
        source="Dohare et al. 2024",
        parts=("continual-backprop",),
    ),
)
