"""Recycling: hidden units begin again between gradient steps; a base for methods that say which."""

from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from continual_arcade.agents.crelu import CReLU
from continual_arcade.agents.hidden_units import hidden_units
from continual_arcade.agents.methods.base import Learner, State
from continual_arcade.agents.methods.periodic import Periodic
from continual_arcade.agents.methods.rules import declared, number
from continual_arcade.agents.methods.tensors import forget_moments
from continual_arcade.agents.told_networks import PhaseInputs
from continual_arcade.envs.checks import Count, Whole
from continual_arcade.envs.schedules import LONGEST


@dataclass
class Hidden:
    """A hidden layer of a perceptron."""

    into: nn.Linear
    """What its units are computed by."""
    norms: list[nn.LayerNorm]
    """What normalises them."""
    out: nn.Linear
    """What they are the inputs of."""

    @property
    def learns(self) -> bool:
        """Whether nothing of it is frozen."""
        every = [self.into, *self.norms, self.out]
        return all(tensor.requires_grad for module in every for tensor in module.parameters())


@dataclass
class Recycler(Periodic):
    """Lets hidden units begin again, every so many lifetime steps.

    Their incoming weights are drawn again, their biases become 0, and what they give to the next
    layer becomes 0, so that they disturb nothing until they have learnt something. The optimiser's
    moments of all these are forgotten. Units are looked at by observations that are drawn from
    replay, from a generator of the part's own.
    """

    conflicts: ClassVar[frozenset[str]] = frozenset(
        {"l2", "ewc", "online-ewc", "si", "mas", "reptile", "packnet"}
    )
    transfers: ClassVar[bool] = False
    """Whether the next layer's biases get what a recycled unit has given on the average."""
    draws_outgoing: ClassVar[bool] = False
    """Whether outgoing weights are drawn, too, instead of becoming 0."""

    batch: Count = 256
    """Observations that they are looked at by."""
    target: bool = True
    """Do the same in the target network."""

    recycled: int = number(0, kept=False)
    """Units that were recycled since the last line of the log."""

    def __post_init__(self) -> None:
        self.check_settings()

    @abstractmethod
    def choose(self, index: int, hidden: Hidden, said: torch.Tensor) -> torch.Tensor:
        """Choose which units of a hidden layer begin again.

        Args:
            index: Of the layer; the first one has 0.
            hidden: The layer.
            said: What its units say of observations, shape ``(batch, units)``.

        Returns:
            Their numbers, whole and none twice.
        """

    def bind(self, learner: Learner, rng: Any) -> None:
        """Get ready for a perceptron, and a replay memory with observations to draw."""
        super().bind(learner, rng)
        self.layers(learner.q_net)
        _ = learner.replay  # raises if there is none of this suite

    def layers(self, network: Any) -> list[Hidden]:
        """Return the hidden layers of a network, in order."""
        if isinstance(network.features_extractor, PhaseInputs):
            raise ValueError(
                f"part {self.name!r} recycles units of one layer after the other, and with inputs "
                "= 'per_phase' there are several first ones: choose inputs = 'shared', or leave "
                "the part out"
            )
        if type(network.features_extractor) is not FlattenExtractor:
            raise ValueError(
                f"part {self.name!r} recycles units of perceptrons, and the network looks at "
                f"observations by a {type(network.features_extractor).__name__}, whose filters "
                "stay as they are: choose observations that are features, or leave the part out"
            )
        modules = list(network.q_net)
        if any(isinstance(module, CReLU) for module in modules):
            raise ValueError(
                f"part {self.name!r} recycles units that give one number each, and those of a "
                "CReLU give two: choose activation = 'relu' or 'tanh', or leave the part out"
            )
        places = [i for i, module in enumerate(modules) if isinstance(module, nn.Linear)]
        return [
            Hidden(
                modules[into],
                [one for one in modules[into:out] if isinstance(one, nn.LayerNorm)],
                modules[out],
            )
            for into, out in pairwise(places)
        ]

    def act(self, learner: Learner) -> None:
        """Look at the units, and recycle some."""
        slots = learner.replay.stored_slots()
        if not len(slots):
            return
        drawn = slots[self.rng.integers(len(slots), size=self.batch)]
        seen = learner.replay.stored(drawn).observations
        both = [learner.q_net, learner.q_net_target] if self.target else [learner.q_net]
        said = [hidden_units(network, seen) for network in both]
        layers = [self.layers(network) for network in both]
        learns = [hidden.learns for hidden in layers[0]]
        chosen = [
            self.choose(i, hidden, its) if learns[i] else torch.zeros(0, dtype=torch.int64)
            for i, (hidden, its) in enumerate(zip(layers[0], said[0], strict=True))
        ]  # all before the first one is changed
        # The last layer first: what recycled units give is 0 to those behind them, too.
        for i, units in reversed([*enumerate(chosen)]):
            if len(units):
                online = layers[0][i]
                fresh = self.draw(online.into, (len(units), online.into.in_features))
                leaving = torch.zeros(online.out.out_features, len(units))
                if self.draws_outgoing:
                    leaving = self.draw(online.out, tuple(leaving.shape))
                for of_network, its in zip(layers, said, strict=True):
                    self.recycle(of_network[i], units, fresh, leaving, its[i].mean(0))
                forget(learner.optimizer, online, units)
                self.recycled += len(units)

    def draw(self, layer: nn.Linear, shape: tuple[int, ...]) -> torch.Tensor:
        """Draw weights of a layer, from the range that PyTorch draws them from."""
        bound = layer.in_features**-0.5
        return torch.from_numpy(self.rng.uniform(-bound, bound, shape)).to(layer.weight)

    @torch.no_grad()
    def recycle(
        self,
        hidden: Hidden,
        units: torch.Tensor,
        fresh: torch.Tensor,
        leaving: torch.Tensor,
        means: torch.Tensor,
    ) -> None:
        """Let units of a layer begin again."""
        if self.transfers:
            hidden.out.bias.add_(hidden.out.weight[:, units] @ means[units])
        hidden.into.weight[units], hidden.into.bias[units] = fresh, 0.0
        hidden.out.weight[:, units] = leaving.to(hidden.out.weight)
        for norm in hidden.norms:
            norm.weight[units], norm.bias[units] = 1.0, 0.0

    def load_state_dict(self, state: State) -> None:
        """Put back what was counted."""
        super().load_state_dict(state)
        for name in declared(type(self)).kept_numbers:
            Whole(0, LONGEST)(f"{name} of {self.name}", state[name])

    def log(self, learner: Learner) -> None:
        """Record how many units began again."""
        learner.logger.record(f"{self.name}/recycled", self.recycled)
        self.recycled = 0


def forget(optimizer: torch.optim.Optimizer, hidden: Hidden, units: torch.Tensor) -> None:
    """Forget the moments of what was recycled."""
    rows = [hidden.into.weight, hidden.into.bias]
    rows += [tensor for norm in hidden.norms for tensor in (norm.weight, norm.bias)]
    places: list[tuple[torch.Tensor, Any]] = [(tensor, units) for tensor in rows]
    for tensor, where in [*places, (hidden.out.weight, (slice(None), units))]:
        forget_moments(optimizer, tensor, where)
