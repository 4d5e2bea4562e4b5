"""Drop and grow: most weights are 0, fewer and fewer are not, and which ones these are changes."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.mask import HardMask
from continual_arcade.agents.methods.periodic import Periodic
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.tensors import forget_moments, parameters
from continual_arcade.envs.checks import Count, Share


@dataclass
class DropAndGrow(Periodic, HardMask):
    """Trains a sparse network, whose zeros move and become more.

    In each layer a share of the weights is 0. Every so many steps the smallest of the others become
    0, too, and those of the zeros are let go again whose gradient is largest (RigL, Evci et al.
    2020), fewer than were dropped, so that the share of zeros grows as a cubic of time (Zhu and
    Gupta 2018; Huang et al. 2023, whose networks spike). Biases are never 0 by it.
    """

    name: ClassVar[str] = "drop-and-grow"
    conflicts: ClassVar[frozenset[str]] = frozenset(
        {"packnet", "hat", "progressive", "reptile", "reset", "shrink-perturb", "agem"}
        | {"hare-tortoise", "redo", "continual-backprop", "neurogenesis", "upgd", "trac", "gem"}
    )

    start: Share = 0.5
    """Share of zeros in the beginning."""
    end: Share = 0.9
    """Share of zeros at the end."""
    over: Count = 100_000
    """Lifetime step from which on the zeros stay as they are [steps]."""
    turnover: Share = 0.3
    """Share of the other weights that changes place each time; falls to 0 as a cosine."""
    batch: Count = 256
    """Transitions that gradients are computed from."""

    def __post_init__(self) -> None:
        self.check_settings()

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Draw which weights are 0, before anything is learnt."""
        super().phase_start(learner, phase)
        if not self.frozen:
            self._apply(learner, [self._first(weight) for weight in _weights(learner)])

    def next_due(self, learner: Learner) -> int | None:
        """Return when zeros move next; never once all of them are there."""
        return None if self.last >= self.over else super().next_due(learner)

    def act(self, learner: Learner) -> None:
        """Drop and grow."""
        slots = learner.replay.stored_slots()
        if not len(slots):
            return
        over = min(learner.lifetime_step / self.over, 1.0)
        drawn = slots[self.rng.integers(len(slots), size=self.batch)]
        loss = learner.td_loss(learner.replay.gather(drawn))
        weights = _weights(learner)
        slopes = torch.autograd.grad(loss, weights)
        turned = self.turnover / 2 * (1 + math.cos(math.pi * over))
        alive = []
        for weight, slope, zero in zip(weights, slopes, self._zeros(learner), strict=True):
            count = self._count(weight, over)
            alive.append(regrown(weight, slope, ~zero, count, round(turned * count)))
        self._apply(learner, alive)

    def log(self, learner: Learner) -> None:
        """Record which share of the weights is 0."""
        zeros = torch.cat([zero.flatten() for zero in self._zeros(learner)])
        learner.logger.record(f"{self.name}/zeros", float(zeros.float().mean()))

    def _count(self, weight: torch.Tensor, over: float) -> int:
        """Return how many weights of a layer are not 0 when so much of the time is over."""
        zeros = self.end + (self.start - self.end) * (1 - over) ** 3
        return weight.numel() - round(zeros * weight.numel())

    def _first(self, weight: torch.Tensor) -> torch.Tensor:
        alive = np.zeros(weight.numel(), np.bool_)
        alive[self.rng.permutation(len(alive))[: self._count(weight, 0.0)]] = True
        return torch.from_numpy(alive).view_as(weight)

    def _zeros(self, learner: Learner) -> list[torch.Tensor]:
        """Return where the weights are 0; nowhere before training begins."""
        of = dict(zip(map(id, parameters(learner)), self.frozen, strict=False))
        return [of.get(id(w), torch.zeros_like(w)) > 0 for w in _weights(learner)]

    def _apply(self, learner: Learner, alive: list[torch.Tensor]) -> None:
        """Let these weights be free and all others 0, from now on."""
        kept = {id(weight): mask for weight, mask in zip(_weights(learner), alive, strict=True)}
        frozen = []
        targets = learner.q_net_target.parameters()
        for tensor, target in zip(parameters(learner), targets, strict=True):
            mask = kept.get(id(tensor), torch.ones_like(tensor, dtype=torch.bool))
            with torch.no_grad():
                tensor[~mask] = 0.0
                target[~mask] = 0.0
            forget_moments(learner.optimizer, tensor, ~mask)
            frozen.append(~mask)
        self.freeze(learner, frozen)


def regrown(
    weight: torch.Tensor, slope: torch.Tensor, alive: torch.Tensor, count: int, turned: int
) -> torch.Tensor:
    """Say which weights of a layer are not 0 afterwards.

    Args:
        weight: The weights.
        slope: The gradient of the loss by each of them, in their shape.
        alive: Which of them are not 0 before.
        count: How many are not 0 afterwards.
        turned: How many of these grow among the zeros, at least if there are as many others.

    Returns:
        Booleans: the largest of those before, and of the others those of the largest gradient.
    """
    held = min(int(alive.sum()), count - turned)
    kept = _largest(weight.detach().abs(), alive, held)
    return kept | _largest(slope.abs(), ~kept, count - held)


def _largest(size: torch.Tensor, among: torch.Tensor, count: int) -> torch.Tensor:
    places = torch.nonzero(among.flatten()).flatten()
    order = torch.argsort(size.flatten()[places], descending=True, stable=True)
    chosen = torch.zeros(size.numel(), dtype=torch.bool)
    chosen[places[order[:count]]] = True
    return chosen.view_as(size)


def _weights(learner: Learner) -> list[torch.nn.Parameter]:
    """Return the weights of each layer that is learnt, and not of one that a user has frozen."""
    return [tensor for tensor in parameters(learner) if tensor.ndim > 1 and tensor.requires_grad]


PRESETS = (
    Preset(
        "drop-and-grow",
        "Half of the weights are 0, then nine tenths, and the zeros move.",
        source="after Evci et al. 2020 (RigL) and Huang et al. 2023 (NDSNN)",
        parts=("drop-and-grow",),
    ),
)
