"""Q-networks that are told the phase: by the last features of each observation.

So what acts, is replayed or is evaluated tells its phase itself, and nothing else needs to know it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, ClassVar

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.dqn.policies import QNetwork
from torch import nn


def check_told(what: str, count: int, space: spaces.Space[Any]) -> None:
    """Make sure that the last features of an observation can say which phase it is.

    Args:
        what: What needs to know it, for the message.
        count: How many phases there are, and so many features.
        space: The space of observations.

    Raises:
        ValueError: If observations are no rows of numbers, or the last of them could be others than
            0 to 1.
    """
    tells = (
        isinstance(space, spaces.Box)
        and len(space.shape) == 1
        and space.shape[0] > count
        and bool((space.low[-count:] == 0.0).all() and (space.high[-count:] == 1.0).all())
    )
    if not tells:
        raise ValueError(
            f"{what} = {count}: the last {count} features must say which phase it is, each from 0 "
            f"to 1, and the observation space is {space}: make the environment with context = "
            "'one-hot'"
        )


def told_phase(observations: th.Tensor, count: int) -> th.Tensor:
    """Return which phase each observation tells, whole numbers: that of the largest feature.

    Args:
        observations: Shape ``(..., features)``.
        count: How many phases there are: so many of the last features tell.
    """
    return observations[..., -count:].argmax(-1)


def chosen(of_each: th.Tensor, which: th.Tensor) -> th.Tensor:
    """Return the row that is chosen of each matrix.

    Args:
        of_each: Shape ``(..., rows, numbers)``.
        which: Indices of rows, shape ``(...)``.

    Returns:
        Shape ``(..., numbers)``.
    """
    index = which[..., None, None].expand(*of_each.shape[:-2], 1, of_each.shape[-1])
    return th.gather(of_each, -2, index).squeeze(-2)


class FinishesPhases:
    """A network in which phases that are finished are seen otherwise than the one being learnt."""

    option: ClassVar[str]
    """The option of the policy that makes such a network, and says for how many phases."""
    finished: th.Tensor
    """How many phases are finished, shape ``()``."""
    phases: int
    """How many there are at most: so many of the last features tell."""

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return by the name of each buffer the least and largest number that may be in it."""
        return {"finished": (0, self.phases - 1)}

    def sees_all(self, obs: Any) -> bool:
        """Return whether no observation is of a finished phase."""
        told = told_phase(th.as_tensor(obs), self.phases)
        return bool((told >= self.finished.to(told.device)).all())


class MultiHeadQNetwork(QNetwork):
    """A Q-network with an output layer for each phase, of which each observation chooses one.

    The baseline of learning task by task when the task is told: all hidden layers are shared, none
    of the outputs. The last features say which phase it is, as ``context="one-hot"`` appends them:
    the head is that of the largest, the first of equals. So what acts, is replayed or evaluated
    tells its phase itself. Hidden layers see these features, too.

    Args:
        *args: As in the parent.
        heads: How many, and so many features.
        **kwargs: As in the parent.

    Raises:
        ValueError: If observations are no rows of numbers, or the last of them could be others than
            0 to 1.
    """

    def __init__(self, *args: Any, heads: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_told("heads", heads, self.observation_space)
        self.heads = heads
        self.q_net = nn.Sequential(
            *create_mlp(
                self.features_dim,
                heads * int(self.action_space.n),
                self.net_arch,
                self.activation_fn,
            )
        )

    def forward(self, obs: Any) -> th.Tensor:
        """Return the values by the head that each observation chooses, ``(batch, actions)``."""
        of_all = self.of_all_heads(obs)
        told = told_phase(obs, self.heads)
        by_head = of_all.reshape(*of_all.shape[:-1], self.heads, int(self.action_space.n))
        return chosen(by_head, told)

    def of_all_heads(self, obs: Any) -> th.Tensor:
        """Return the values by all heads, side by side, ``(batch, heads * actions)``."""
        return super().forward(obs)


class PhaseInputs(BaseFeaturesExtractor):
    """A first hidden layer for each phase, of which each observation chooses one.

    What comes behind is shared: how tasks are told apart by what is done with their inputs, where
    all are asked the same (Lopez-Paz and Ranzato 2017, "multimodal"). The last features say which
    phase it is, as ``context="one-hot"`` appends them: the layer is that of the largest, the first
    of equals. No layer sees these features.

    Args:
        observation_space: Of rows of numbers, with something before what tells the phase.
        phases: How many layers, and so many features tell.
        units: Hidden units of each.
        activation: What follows.

    Raises:
        ValueError: If observations are no rows of numbers, or the last of them could be others than
            0 to 1.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        phases: int,
        units: int,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        check_told("inputs", phases, observation_space)
        super().__init__(observation_space, features_dim=units)
        self.phases = phases
        seen = observation_space.shape[0] - phases
        self.layers = nn.ModuleList(nn.Linear(seen, units) for _ in range(phases))
        self.activation = activation()

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """Return the hidden units of the layer that each observation chooses."""
        told, seen = told_phase(observations, self.phases), observations[..., : -self.phases]
        if th.is_grad_enabled():  # all have a gradient, of 0 where they have no part
            of_all = th.stack([layer(seen) for layer in self.layers], -2)
            return self.activation(chosen(of_all, told))  # type: ignore[no-any-return]
        units = seen.new_empty(len(seen), self.features_dim)
        for phase in sorted(set(told.tolist())):  # half the time of all, and for one a twentieth
            units[told == phase] = self.layers[phase](seen[told == phase])
        return self.activation(units)  # type: ignore[no-any-return]


class SubnetworksQNetwork(FinishesPhases, QNetwork):
    """A Q-network whose weights belong to phases, of which each sees those of earlier ones.

    Weights of linear layers belong to a phase or are free; whoever drives it
    (``methods/packnet.py``) says which. An observation of a phase that is finished sees the weights
    of that phase and of earlier ones, and all others as 0; one of the phase that is being learnt
    sees all there are. The last features say which phase it is, as ``context="one-hot"`` appends
    them. Biases and what else there is belong to the first phase.

    Args:
        *args: As in the parent.
        subnetworks: Of how many phases, and so many features tell.
        **kwargs: As in the parent.

    Raises:
        ValueError: If observations do not tell the phase.
    """

    option: ClassVar[str] = "subnetworks"

    def __init__(self, *args: Any, subnetworks: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_told("subnetworks", subnetworks, self.observation_space)
        self.subnetworks = self.phases = subnetworks
        self.register_buffer("finished", th.zeros((), dtype=th.int64))

    def add_owners(self) -> None:
        """Let all weights be free, once the layers are as they stay."""
        for place, layer in self._linear():
            free = th.full_like(layer.weight, -1, dtype=th.int64)
            self.register_buffer(f"owner_{place}", free)

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return by the name of each buffer the least and largest number that may be in it."""
        owners = {f"owner_{place}": (-1, self.phases - 1) for place, _ in self._linear()}
        return {**super().bounds(), **owners}

    @property
    def owners(self) -> list[th.Tensor]:
        """Which phase each weight belongs to, -1 for none, one tensor for each linear layer."""
        return [getattr(self, f"owner_{place}") for place, _ in self._linear()]

    @property
    def weights(self) -> list[th.Tensor]:
        """The weights that can belong to phases, one tensor for each linear layer."""
        return [layer.weight for _, layer in self._linear()]

    def _linear(self) -> list[tuple[int, nn.Linear]]:
        layers: Any = self.q_net
        return [(i, layer) for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)]

    @th.no_grad()
    def seen_from(self, phase: int) -> "SubnetworksQNetwork":
        """Return a copy of what observations of a phase see, to which all else is 0."""
        seen = deepcopy(self)
        for weight, owner in zip(seen.weights, self.owners, strict=True):
            weight[~self._sees(phase, owner)] = 0.0
        seen.finished.zero_()  # so that it is seen as a whole
        return seen

    def _sees(self, phase: int | th.Tensor, owner: th.Tensor) -> th.Tensor:
        """Return which weights of a layer observations of a phase see."""
        return ((owner >= 0) & (owner <= phase)) | (th.as_tensor(phase) >= self.finished)

    def forward(self, obs: Any) -> th.Tensor:
        """Return the values that the weights of its phase give each observation."""
        told = told_phase(obs, self.subnetworks)
        features = self.extract_features(obs, self.features_extractor)
        if len(features) == 1:  # nothing is asked of the numbers: so gradients one by one go, too
            return self._seen_from(told[0], features)
        if self.sees_all(obs):
            return self.q_net(features)  # type: ignore[no-any-return]
        values = features.new_empty(len(features), int(self.action_space.n))
        for phase in sorted(set(told.tolist())):
            rows = told == phase
            values[rows] = self._seen_from(phase, features[rows])
        return values

    def _seen_from(self, phase: int | th.Tensor, features: th.Tensor) -> th.Tensor:
        layers: Any = self.q_net
        owners = dict(zip((place for place, _ in self._linear()), self.owners, strict=True))
        for place, layer in enumerate(layers):
            if place in owners:
                seen = self._sees(phase, owners[place])
                weight = th.where(seen, layer.weight, th.zeros_like(layer.weight))
                features = nn.functional.linear(features, weight, layer.bias)
            else:
                features = layer(features)
        return features


class AttentionQNetwork(FinishesPhases, MultiHeadQNetwork):
    r"""A Q-network whose hidden units have a gate for each phase, and a head for each.

    Behind its activation each hidden unit is multiplied by its gate
    :math:`a = \sigma(s e)`, with an embedding :math:`e` for each phase and unit, which is learnt,
    and a sharpness :math:`s` (Serra et al. 2018). Gates of finished phases are kept as they
    were at their end (:meth:`finish`); observations of a phase that is still to come see those of
    the phase being learnt. Whoever drives it (``methods/hat.py``, ``methods/den.py``) says when
    phases end.

    Args:
        *args: As in the parent.
        heads: For how many phases, and so many features tell.
        **kwargs: As in the parent.

    Raises:
        ValueError: If observations do not tell the phase, or there is no hidden unit.
    """

    option: ClassVar[str] = "attention"
    sharpest: th.Tensor
    """The sharpness by which it acts, shape ``()``."""
    masks: th.Tensor
    """Gates of finished phases, shape ``(phases, units)``."""
    annealed: float | None = None
    """The sharpness within a gradient step; None for the one by which it acts."""

    def __init__(self, *args: Any, heads: int, **kwargs: Any) -> None:
        super().__init__(*args, heads=heads, **kwargs)
        self.phases = heads
        self.sizes = list(self.net_arch)
        """Units of each hidden layer."""
        if not self.sizes:
            raise ValueError(f"attention = {heads}: without hidden layers there is nothing to gate")
        self.attention = Embeddings(heads, sum(self.sizes))
        self.register_buffer("finished", th.zeros((), dtype=th.int64))
        self.register_buffer("sharpest", th.ones(()))
        self.register_buffer("masks", th.zeros(heads, sum(self.sizes)))

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Return by the name of each buffer the least and largest number that may be in it."""
        return {**super().bounds(), "masks": (0, 1), "sharpest": (0, math.inf)}

    def gates(self, told: th.Tensor) -> list[th.Tensor]:
        """Return the gates that observations see, of each hidden layer ``(*told.shape, units)``.

        Args:
            told: Which phase each of them tells.
        """
        sharpness = self.sharpest if self.annealed is None else self.annealed
        # Not sigmoid(): its derivative is 0 in single precision where it should be very small.
        now = nn.functional.logsigmoid(sharpness * self.attention.embedding).exp()
        row = th.minimum(told, self.finished)
        seen = th.where((told < self.finished)[..., None], self.masks[row], now[row])
        return list(th.split(seen, self.sizes, -1))

    def of_all_heads(self, obs: Any) -> th.Tensor:
        """Return the values by all heads, side by side, ``(batch, heads * actions)``."""
        gates = [None, *self.gates(told_phase(obs, self.heads))]
        signal = self.extract_features(obs, self.features_extractor)
        layers: Any = self.q_net
        for layer in layers:
            gate = gates.pop(0) if isinstance(layer, nn.Linear) else None
            signal = layer(signal if gate is None else signal * gate)
        return signal

    @th.no_grad()
    def finish(self, binarise: bool) -> None:
        """Keep the gates of the phase being learnt as they are, and go on to the next one.

        Args:
            binarise: Whether they become 0 or 1, whichever is nearer.
        """
        gates = th.cat(self.gates(self.finished))
        self.masks[self.finished] = (gates > 0.5).to(gates) if binarise else gates
        self.attention.embedding[self.finished] = 0.0  # nothing reads it any more
        self.finished += 1

    def used(self) -> list[th.Tensor]:
        """Return how far finished phases use each unit: the largest of their gates, by layer."""
        return list(th.split(self.masks.amax(0), self.sizes))

    def free(self) -> list[th.Tensor]:
        """Return how far each parameter may move without changing the values of finished phases.

        That is 1 - min(a_i, a_j) between units with these gates (Serra et al. 2018).
        Features count as used by all phases, and each head by its own.
        """
        used, inputs, actions = self.used(), self.features_dim, int(self.action_space.n)
        heads = (th.arange(self.heads, device=self.masks.device) < self.finished).float()
        free = []
        for into, out in zip(
            [self.masks.new_ones(inputs), *used],
            [*used, heads.repeat_interleave(actions)],
            strict=True,
        ):
            free += [1 - th.minimum(out[:, None], into), 1 - out]
        return [*free, self.current()[-1]]

    def costs(self) -> list[th.Tensor]:
        """Return what each gate of the phase being learnt costs, as a share; 0 for all else."""
        costs, unused = self.current(), 1 - th.cat(self.used())
        costs[-1] *= unused / unused.sum().clamp(min=1e-6)
        return costs

    def current(self) -> list[th.Tensor]:
        """Return for each parameter 1 if it is an embedding of the phase being learnt, else 0."""
        current = [th.zeros_like(tensor) for tensor in self.q_net.parameters()]
        current.append(th.zeros_like(self.masks))
        current[-1][self.finished] = 1.0
        return current


class Embeddings(nn.Module):
    """What the gates of all phases are computed of.

    Args:
        phases: How many phases.
        units: How many hidden units.
    """

    def __init__(self, phases: int, units: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(th.randn(phases, units))


@contextmanager
def annealed(network: Any, sharpness: float | None) -> Iterator[None]:
    """Within, let the gates of a network be as sharp as is said; None for no change."""
    if sharpness is not None:
        network.annealed = sharpness
    try:
        yield
    finally:
        if sharpness is not None:
            network.annealed = None
