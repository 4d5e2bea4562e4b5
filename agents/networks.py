"""The Q-network, with some options more than its parent; and what looks at pictures."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, get_args

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN, create_mlp
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from continual_arcade.agents.settings import PROBABILITY, Initial
from continual_arcade.envs.checks import OneOf, Whole, flag

ACTIVATIONS: Mapping[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
"""What may follow each hidden layer, by name."""
PLACES = 10
"""Into so many places each way the first convolution cuts a picture, about."""


class ContinualPolicy(DQNPolicy):
    """Stable-Baselines3's DQN policy, with three more options.

    Args:
        *args: As in the parent.
        layer_norm: Normalise each hidden layer before its activation (Ba et al. 2016).
        dropout: Probability that a hidden unit is left out in training (Srivastava et al. 2014);
            never in play, in targets, or in an estimate of importance.
        initial: How weights are drawn: ``"default"`` as PyTorch does, from a range that the inputs
            of a layer decide about, biases too; ``"xavier"`` from one that inputs and outputs
            decide about, with biases of 0 (Glorot and Bengio 2010, eq. 16).
        heads: How many output layers there are; see :class:`MultiHeadQNetwork`.
        subnetworks: Of how many phases each may have a part of the weights of its own; see
            :class:`SubnetworksQNetwork`.
        **kwargs: As in the parent.

    Raises:
        ValueError: If ``layer_norm`` is no truth value, ``dropout`` no probability below 1,
            ``initial`` unknown, observations do not end with what could tell the phase, or both
            heads and subnetworks are asked for.
    """

    def __init__(
        self,
        *args: Any,
        layer_norm: bool = False,
        dropout: float = 0.0,
        initial: Initial = "default",
        heads: int = 1,
        subnetworks: int = 1,
        **kwargs: Any,
    ) -> None:
        self.heads = Whole(1)("heads", heads)
        self.subnetworks = Whole(1)("subnetworks", subnetworks)
        if heads > 1 and subnetworks > 1:
            raise ValueError(
                f"heads = {heads} and subnetworks = {subnetworks}: the part of the weights that a "
                "phase has is its head, too; leave one out"
            )
        self.layer_norm = flag("layer_norm", layer_norm)
        self.dropout = PROBABILITY("dropout", dropout)
        OneOf(get_args(Initial))("initial", initial)
        self.initial = initial
        super().__init__(*args, **kwargs)

    def make_q_net(self) -> QNetwork:
        """Make a Q-network."""
        # Without the options the network is the parent's, down to the draws of its parameters.
        network = super().make_q_net() if self.heads * self.subnetworks == 1 else self._told()
        if self.layer_norm or self.dropout:
            between: list[Any] = []
            if self.layer_norm:
                between.append(nn.LayerNorm)
            if self.dropout:
                # After normalisation and before the activation, where ReLU commutes with it.
                between.append(partial(_dropout, self.dropout))
            layers: list[nn.Module] = create_mlp(
                network.features_dim,
                self.heads * int(network.action_space.n),
                network.net_arch,
                network.activation_fn,
                post_linear_modules=between,
            )
            if network.activation_fn is not nn.ReLU:
                _drop_outputs(layers)
            network.q_net = nn.Sequential(*layers).to(self.device)
        if self.initial == "xavier":
            for layer in network.modules():
                if isinstance(layer, nn.Linear | nn.Conv2d):
                    nn.init.xavier_uniform_(layer.weight)
                    assert layer.bias is not None
                    nn.init.zeros_(layer.bias)
        return network

    def set_training_mode(self, mode: bool) -> None:
        """Switch between training and play; to go through all modules takes longer than to act."""
        if self.training != mode or self.q_net.training != mode:
            super().set_training_mode(mode)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        own = {
            "layer_norm": self.layer_norm,
            "dropout": self.dropout,
            "initial": self.initial,
            "heads": self.heads,
            "subnetworks": self.subnetworks,
        }
        return {**data, **own}

    def _told(self) -> QNetwork:
        """Return a network that is told the phase."""
        given = self._update_features_extractor(self.net_args, features_extractor=None)
        if self.heads > 1:
            return MultiHeadQNetwork(**given, heads=self.heads).to(self.device)
        return SubnetworksQNetwork(**given, subnetworks=self.subnetworks).to(self.device)


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
        of_all = super().forward(obs)
        told = told_phase(obs, self.heads)
        by_head = of_all.reshape(*of_all.shape[:-1], self.heads, int(self.action_space.n))
        index = told[..., None, None].expand(*by_head.shape[:-2], 1, by_head.shape[-1])
        return th.gather(by_head, -2, index).squeeze(-2)


class SubnetworksQNetwork(QNetwork):
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

    finished: th.Tensor
    """How many phases are finished, shape ``()``."""

    def __init__(self, *args: Any, subnetworks: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_told("subnetworks", subnetworks, self.observation_space)
        self.subnetworks = subnetworks
        self.register_buffer("finished", th.zeros((), dtype=th.int64))
        for place, layer in self._linear():
            free = th.full_like(layer.weight, -1, dtype=th.int64)
            self.register_buffer(f"owner_{place}", free)

    @property
    def owners(self) -> list[th.Tensor]:
        """Which phase each weight belongs to, -1 for none, one tensor for each linear layer."""
        return [getattr(self, f"owner_{place}") for place, _ in self._linear()]

    def _linear(self) -> list[tuple[int, nn.Linear]]:
        layers: Any = self.q_net
        return [(i, layer) for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)]

    def sees_all(self, obs: Any) -> bool:
        """Return whether all observations are of the phase that is being learnt."""
        told = told_phase(th.as_tensor(obs), self.subnetworks)
        return bool((told >= self.finished.to(told.device)).all())

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
        learns = th.as_tensor(phase) >= self.finished
        for place, layer in enumerate(layers):
            if place in owners:
                seen = ((owners[place] >= 0) & (owners[place] <= phase)) | learns
                weight = th.where(seen, layer.weight, th.zeros_like(layer.weight))
                features = nn.functional.linear(features, weight, layer.bias)
            else:
                features = layer(features)
        return features


class SmallConvolutions(BaseFeaturesExtractor):
    """Two convolutions, as small as these games allow; what comes out is flat.

    The first one cuts a picture into about ten by ten places, whatever its size: filters of at
    least twice its stride, so that they overlap by half. The second one has filters of at least 3x3
    places and stride 2. In both they are as much larger as it takes to see the last row and column,
    too: what lies at the lower edge, as Catcher's paddle does, is not to be missed. Pictures of
    21x21, 42x42 and 84x84 pixels have the same second layer, and those behind it.

    Args:
        observation_space: Space of the pictures, channels first.
        filters: How many the two layers have.

    Raises:
        ValueError: If the pictures are too small for them.
    """

    def __init__(self, observation_space: spaces.Box, filters: tuple[int, int] = (16, 32)) -> None:
        channels, rows, columns = observation_space.shape
        stride = max(1, round(min(rows, columns) / PLACES))
        across = [(side - 2 * stride) // stride + 1 for side in (rows, columns)]
        height, width = ((places - 3) // 2 + 1 for places in across)
        if min(height, width) < 1:
            raise ValueError(
                f"pictures of {rows}x{columns} pixels are too small for two convolutions"
            )
        super().__init__(observation_space, features_dim=filters[1] * height * width)
        first = rows - (across[0] - 1) * stride, columns - (across[1] - 1) * stride
        second = across[0] - (height - 1) * 2, across[1] - (width - 1) * 2
        self.layers = nn.Sequential(
            nn.Conv2d(channels, filters[0], kernel_size=first, stride=stride),
            nn.ReLU(),
            nn.Conv2d(filters[0], filters[1], kernel_size=second, stride=2),
            nn.ReLU(),
            nn.Flatten(),
        )

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """Return what the pictures show, shape ``(batch, features_dim)``."""
        return self.layers(observations)  # type: ignore[no-any-return]


class ContinualCnnPolicy(ContinualPolicy):
    """The same for pictures, which convolutions look at.

    Args:
        *args: As in the parent.
        features_extractor_class: The convolutions; if not given those of Mnih et al. (2015), as
            Stable-Baselines3 has them.
        **kwargs: As in the parent.
    """

    def __init__(
        self,
        *args: Any,
        features_extractor_class: type[BaseFeaturesExtractor] = NatureCNN,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, features_extractor_class=features_extractor_class, **kwargs)


CONVOLUTIONS: Mapping[str, type[BaseFeaturesExtractor]] = {
    "small": SmallConvolutions,
    "nature": NatureCNN,
}
"""What may look at pictures, by name."""


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Switch dropout and the like off; afterwards each module is as it was."""
    flags = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


def _drop_outputs(layers: list[nn.Module]) -> None:
    """Move each dropout behind the activation that follows it.

    What remains is scaled up, and most activations do not commute with that.
    """
    for i, layer in enumerate(layers[:-1]):
        if isinstance(layer, nn.Dropout):
            layers[i : i + 2] = layers[i + 1], layer


def _dropout(probability: float, _features: int) -> nn.Module:
    return nn.Dropout(probability)
