"""The hidden units of a network with gates, of which phases see more and more.

Each phase sees some of the units, by its gates, which are 0 or 1. Those that none sees are spare:
they are added in a later phase, or become copies of others.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from continual_arcade.agents.told_networks import AttentionQNetwork

OPEN = 200.0
"""An embedding whose gate is 1 in single precision; that of its opposite is 0."""
Marks = list[torch.Tensor]
"""Booleans: one tensor for each hidden layer, or one for each parameter."""


def reached(weights: Sequence[torch.Tensor], outputs: torch.Tensor, units: Marks) -> Marks:
    """Search from outputs, breadth first, for the units from which nonzero weights lead there.

    Args:
        weights: Of each layer, the first one first, shape ``(outputs, inputs)``.
        outputs: Where it begins, booleans of shape ``(outputs,)`` of the last layer.
        units: Of each hidden layer those that there are, shape ``(units,)``.

    Returns:
        Of each hidden layer which of them were found.
    """
    found: Marks = []
    for weight, there in zip(weights[:0:-1], units[::-1], strict=True):
        outputs = (weight[outputs] != 0).any(0) & there
        found.insert(0, outputs)
    return found


def fed(weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor], units: Marks) -> Marks:
    """Return of each hidden layer the units that nonzero weights or biases lead anything to."""
    found, inputs = [], torch.ones(weights[0].shape[1], dtype=torch.bool)
    for weight, bias, there in zip(weights, biases, units, strict=False):
        inputs = ((weight[:, inputs] != 0).any(1) | (bias != 0)) & there
        found.append(inputs)
    return found


class GrowingUnits:
    """The units of such a network in the phase that is being learnt.

    Args:
        network: The network, which is changed in place.
    """

    def __init__(self, network: Any) -> None:
        assert isinstance(network, AttentionQNetwork)
        layers: Any = network.q_net
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        self.network = network
        self.weights = [layer.weight.detach() for layer in linear]
        self.biases = [layer.bias.detach() for layer in linear]
        self.used: Marks = [gate > 0.5 for gate in network.used()]
        """Units that a finished phase sees."""
        phases, features = torch.arange(network.phases), torch.arange(network.features_dim)
        own = phases == network.finished
        self.outputs = own.repeat_interleave(int(network.action_space.n))
        """Which outputs are the head of the phase."""
        self.old_features = features < network.features_dim - int(
            (phases >= network.finished).sum()
        )
        """Features that are not 0 in all finished phases, as those that tell other phases are."""

    @property
    def open(self) -> Marks:
        """Units that the phase sees."""
        return [gate > 0.5 for gate in self.network.gates(self.network.finished)]

    def see(self, units: Marks) -> None:
        """Let the phase see these units."""
        with torch.no_grad():
            row = torch.where(torch.cat(units), OPEN, -OPEN)
            self.network.attention.embedding[self.network.finished] = row

    @property
    def spare(self) -> Marks:
        """Units that no phase sees."""
        return [~(seen | used) for seen, used in zip(self.open, self.used, strict=True)]

    def reached(self) -> Marks:
        """Return the units from which nonzero weights lead to the head of the phase."""
        return reached(self.weights, self.outputs, self.open)

    def whole(self) -> Marks:
        """Mark all that the phase sees, of all parameters, and its head."""
        return self._between(True, self.open, self.open, head=True)

    def head(self) -> Marks:
        """Mark the head of the phase, of all parameters."""
        return self._between(False, self.open, self.none, head=True)

    def subnetwork(self) -> Marks:
        """Mark what is between units from which nonzero weights lead to the head, and the head."""
        found = self.reached()
        if not bool(found[-1].any()):
            warnings.warn(
                "no unit leads to the head of a phase any more, and none can be retrained for it: "
                "choose a smaller l1 or cut",
                stacklevel=2,
            )
        return self._between(True, found, found, head=True)

    def expansion(self, added: Marks) -> Marks:
        """Mark weights to added units and from them, and the head; no biases of units."""
        into, head = self.into(added), self.head()
        out = self._between(False, added, self.open, head=False)
        return [a | b | (c & (c.ndim > 1)) for a, b, c in zip(into, head, out, strict=True)]

    def into(self, units: Marks) -> Marks:
        """Mark the weights that lead to units that the phase sees, of all parameters."""
        marks = self._between(True, self.open, units, head=False)
        return [mark & (mark.ndim > 1) for mark in marks]

    def of_finished(self) -> Marks:
        """Mark what leads to units that finished phases see from others that they see."""
        return self._between(self.old_features, self.used, self.used, head=False)

    def _between(self, features: bool | torch.Tensor, into: Marks, out: Marks, head: bool) -> Marks:
        """Mark the weights from features and units to units and the head, and their biases."""
        first = torch.as_tensor(features).expand(len(self.old_features))
        marks: Marks = []
        for one, other in zip([first, *into], [*out, self.outputs & head], strict=True):
            marks += [other[:, None] & one, other]
        return [*marks, torch.zeros_like(self.network.attention.embedding, dtype=torch.bool)]

    @property
    def none(self) -> Marks:
        """No unit."""
        return [torch.zeros_like(used) for used in self.used]

    def grow(self, count: int, rng: np.random.Generator) -> Marks:
        """Add units to each hidden layer, as far as there are spare ones; no value changes.

        Their incoming weights are drawn as PyTorch draws them, biases and outgoing weights are 0.

        Returns:
            Which were added.
        """
        units, added = self.open, self.none
        for layer, spare in enumerate(self.spare):
            new = torch.nonzero(spare).flatten()[:count]
            units[layer][new] = added[layer][new] = True
            shape = len(new), self.weights[layer].shape[1]
            drawn = rng.uniform(-1, 1, shape) / np.sqrt(shape[1])
            self.weights[layer][new] = torch.from_numpy(drawn.astype(np.float32))
            self.biases[layer][new] = 0.0
            self.weights[layer + 1][:, new] = 0.0
        self.see(units)
        return added

    def prune(self) -> None:
        """Remove units of this phase that give its head nothing, which changes no value."""
        useful = zip(
            self.reached(), fed(self.weights, self.biases, self.open), self.used, strict=True
        )
        kept = [(to & fro) | used for to, fro, used in useful]
        self.see([seen & keep for seen, keep in zip(self.open, kept, strict=True)])

    def drift(self, before: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return how far the weights into each unit have moved that finished phases see.

        Args:
            before: All parameters as they were.

        Returns:
            A distance for each unit of each hidden layer, biases being weights, too; 0 for units
            that this phase does not see, or no finished one does.
        """
        found = []
        for layer, (into, used) in enumerate(
            zip([self.old_features, *self.used], self.used, strict=False)
        ):
            moved = (self.weights[layer] - before[2 * layer])[:, into].square().sum(1)
            moved += (self.biases[layer] - before[2 * layer + 1]).square()
            found.append(torch.where(used & self.open[layer], moved.sqrt(), 0.0))
        return found

    def split(self, before: Sequence[torch.Tensor], limit: float) -> tuple[int, int]:
        """Copy units that have drifted; the phase sees the copies, and earlier ones what was.

        Args:
            before: All parameters as they were when the phase began.
            limit: Distance above which a unit is copied, those that drifted most first.

        Returns:
            How many were copied, and how many for which no spare unit was left.
        """
        units, count, lacking = self.open, 0, 0
        drifts = self.drift(before)
        for layer, (drift, spare) in enumerate(zip(drifts, self.spare, strict=True)):
            order = torch.argsort(drift, descending=True, stable=True)
            drifted = order[drift[order] > limit]
            copies = torch.nonzero(spare).flatten()[: len(drifted)]
            lacking += len(drifted) - len(copies)
            drifted = drifted[: len(copies)]
            weight, bias = self.weights[layer], self.biases[layer]
            weight[copies], bias[copies] = weight[drifted], bias[drifted]
            above = self.weights[layer + 1]
            above[:, copies] = above[:, drifted]
            into = self.old_features if layer == 0 else self.used[layer - 1]
            weight[drifted] = torch.where(into, before[2 * layer][drifted], weight[drifted])
            bias[drifted] = before[2 * layer + 1][drifted]
            units[layer][copies], units[layer][drifted] = True, False
            count += len(copies)
        self.see(units)
        return count, lacking

    def finish(self) -> None:
        """Keep which units the phase sees, and let the next one see the same."""
        seen = self.open
        self.network.finish(binarise=True)
        self.see(seen)
