"""The Q-network, with some options more than its parent; and what looks at pictures."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, get_args

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    FlattenExtractor,
    NatureCNN,
    create_mlp,
)
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from continual_arcade.agents.crelu import CReLU, double_inputs
from continual_arcade.agents.progressive_network import ProgressiveQNetwork
from continual_arcade.agents.settings import PROBABILITY, Initial
from continual_arcade.agents.told_networks import (
    AttentionQNetwork,
    MultiHeadQNetwork,
    PhaseInputs,
    SubnetworksQNetwork,
)
from continual_arcade.agents.without_dynamo import spare_dynamo
from continual_arcade.envs.checks import OneOf, Whole, flag

spare_dynamo()  # the optimiser of a policy is made with it
ACTIVATIONS: Mapping[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "crelu": CReLU}
"""What may follow each hidden layer, by name."""
SPARSITY = 0.9
"""Which part of the weights of a unit are 0 at first where they are sparse."""
PLACES = 10
"""Into so many places each way the first convolution cuts a picture, about."""


class ContinualPolicy(DQNPolicy):
    """Stable-Baselines3's DQN policy, with more options.

    Args:
        *args: As in the parent.
        layer_norm: Normalise each hidden layer before its activation (Ba et al. 2016).
        dropout: Probability that a hidden unit is left out in training (Srivastava et al. 2014);
            never in play, in targets, or in an estimate of importance.
        initial: How weights are drawn: ``"default"`` as PyTorch does, from a range that the inputs
            of a layer decide about, biases too; ``"xavier"`` from one that inputs and outputs
            decide about, with biases of 0 (Glorot and Bengio 2010, eq. 16); ``"sparse"`` as by
            default, but for 0.9 of the weights of each unit, and all biases, which are 0 (Elsayed
            et al. 2024): at least one weight remains.
        heads: How many output layers there are; see :class:`MultiHeadQNetwork`.
        subnetworks: Of how many phases each may have a part of the weights of its own; see
            :class:`SubnetworksQNetwork`.
        columns: How many columns of layers there are, one for each phase; see
            :class:`ProgressiveQNetwork`.
        attention: For how many phases each hidden unit has a gate, and the network a head; see
            :class:`AttentionQNetwork`.
        inputs: How many first hidden layers there are; see :class:`PhaseInputs`.
        **kwargs: As in the parent.

    Raises:
        ValueError: If ``layer_norm`` is no truth value, ``dropout`` no probability below 1,
            ``initial`` unknown, observations do not end with what could tell the phase, more than
            one of heads, subnetworks, columns, attention and inputs is asked for, attention with
            ``layer_norm``, one of the latter four with CReLU, or there is not the memory for the
            columns; or inputs with ``layer_norm``, ``dropout``, no hidden layer or another features
            extractor.
    """

    def __init__(
        self,
        *args: Any,
        layer_norm: bool = False,
        dropout: float = 0.0,
        initial: Initial = "default",
        heads: int = 1,
        subnetworks: int = 1,
        columns: int = 1,
        attention: int = 1,
        inputs: int = 1,
        **kwargs: Any,
    ) -> None:
        self.heads = Whole(1)("heads", heads)
        self.subnetworks = Whole(1)("subnetworks", subnetworks)
        self.columns = Whole(1)("columns", columns)
        self.attention = Whole(1)("attention", attention)
        self.inputs = Whole(1)("inputs", inputs)
        told = {"heads": heads, "subnetworks": subnetworks}
        told |= {"columns": columns, "attention": attention, "inputs": inputs}
        asked = [f"{name} = {count}" for name, count in told.items() if count > 1]
        if len(asked) > 1:
            raise ValueError(
                f"{' and '.join(asked)}: each of them gives a phase parameters of its own; "
                "leave all but one out"
            )
        self.layer_norm = flag("layer_norm", layer_norm)
        if layer_norm and attention > 1:
            raise ValueError(
                f"layer_norm with attention = {attention}: the units that later phases change "
                "would shift those of finished ones; leave layer_norm out"
            )
        of_phases = [name for name in told if name != "heads" and told[name] > 1]
        if kwargs.get("activation_fn") is CReLU and of_phases:
            raise ValueError(
                f"activation CReLU with {of_phases[0]} = {told[of_phases[0]]}: its units give two "
                "numbers each, and those of that network one; choose activation = 'relu' or 'tanh'"
            )
        self.dropout = PROBABILITY("dropout", dropout)
        OneOf(get_args(Initial))("initial", initial)
        self.initial = initial
        if inputs > 1:
            kwargs |= self._first_layers(**kwargs)
        super().__init__(*args, **kwargs)

    def make_q_net(self) -> QNetwork:
        """Make a Q-network."""
        # Without the options the network is the parent's, down to the draws of its parameters.
        network = super().make_q_net() if self._phases == 1 else self._told()
        if self.layer_norm or self.dropout:
            between: list[Any] = []
            if self.layer_norm:
                between.append(nn.LayerNorm)
            if self.dropout:
                # After normalisation and before the activation, where ReLU commutes with it.
                between.append(partial(_dropout, self.dropout))
            layers: list[nn.Module] = create_mlp(
                network.features_dim,
                max(self.heads, self.attention) * int(network.action_space.n),
                network.net_arch,
                network.activation_fn,
                post_linear_modules=between,
            )
            if network.activation_fn is not nn.ReLU:
                _drop_outputs(layers)
            network.q_net = nn.Sequential(*layers).to(self.device)
        if network.activation_fn is CReLU:
            assert isinstance(network.q_net, nn.Sequential)
            double_inputs(network.q_net)
        if isinstance(network, ProgressiveQNetwork):
            network.add_columns()
        if isinstance(network, SubnetworksQNetwork):
            network.add_owners()
        if self.initial == "xavier":
            for layer in network.modules():
                if isinstance(layer, nn.Linear | nn.Conv2d):
                    nn.init.xavier_uniform_(layer.weight)
                    if layer.bias is not None:  # adapters of columns have none
                        nn.init.zeros_(layer.bias)
        if self.initial == "sparse":
            for layer in network.modules():
                if isinstance(layer, nn.Linear | nn.Conv2d):
                    _sparsify(layer)
        return network

    def set_training_mode(self, mode: bool) -> None:
        """Switch between training and play; to go through all modules takes longer than to act."""
        if self.training != mode or self.q_net.training != mode:
            super().set_training_mode(mode)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        own: dict[str, Any] = {
            "layer_norm": self.layer_norm,
            "dropout": self.dropout,
            "initial": self.initial,
            "heads": self.heads,
            "subnetworks": self.subnetworks,
            "columns": self.columns,
            "attention": self.attention,
            "inputs": self.inputs,
        }
        if self.inputs > 1:  # as it was asked for
            units = data["features_extractor_kwargs"]["units"]
            own |= {"net_arch": [units, *data["net_arch"]]}
            own |= {"features_extractor_class": FlattenExtractor, "features_extractor_kwargs": {}}
        return {**data, **own}

    def _first_layers(
        self,
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        features_extractor_class: type[BaseFeaturesExtractor] = FlattenExtractor,
        **_others: Any,
    ) -> dict[str, Any]:
        """Return arguments of the parent by which each phase has a first hidden layer."""
        if self.layer_norm or self.dropout:
            option = "layer_norm" if self.layer_norm else f"dropout = {self.dropout}"
            raise ValueError(
                f"{option} with inputs = {self.inputs}: the layers of phases have none; leave one "
                "of them out"
            )
        units, *others = [64, 64] if net_arch is None else net_arch or [0]
        if not units or features_extractor_class is not FlattenExtractor:
            raise ValueError(
                f"inputs = {self.inputs} with net_arch = {net_arch} over a "
                f"{features_extractor_class.__name__}: the first hidden layer is what each phase "
                "has of its own; give one, over features"
            )
        layers = {"phases": self.inputs, "units": units, "activation": activation_fn}
        return {
            "net_arch": others,
            "features_extractor_class": PhaseInputs,
            "features_extractor_kwargs": layers,
        }

    @property
    def _phases(self) -> int:
        return max(self.heads, self.subnetworks, self.columns, self.attention)

    def _told(self) -> QNetwork:
        """Return a network that is told the phase."""
        given = self._update_features_extractor(self.net_args, features_extractor=None)
        if self.attention > 1:
            return AttentionQNetwork(**given, heads=self.attention).to(self.device)
        if self.heads > 1:
            return MultiHeadQNetwork(**given, heads=self.heads).to(self.device)
        if self.columns > 1:
            return ProgressiveQNetwork(**given, columns=self.columns).to(self.device)
        return SubnetworksQNetwork(**given, subnetworks=self.subnetworks).to(self.device)


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


def _sparsify(layer: nn.Linear | nn.Conv2d) -> None:
    """Set most weights of each unit to 0, drawn anew for each, and its bias."""
    with th.no_grad():
        for unit in layer.weight.view(len(layer.weight), -1):
            zeros = min(math.ceil(SPARSITY * len(unit)), len(unit) - 1)
            unit[th.randperm(len(unit))[:zeros]] = 0.0
        if layer.bias is not None:
            layer.bias.zero_()


def _drop_outputs(layers: list[nn.Module]) -> None:
    """Move each dropout behind the activation that follows it.

    What remains is scaled up, and most activations do not commute with that.
    """
    for i, layer in enumerate(layers[:-1]):
        if isinstance(layer, nn.Dropout):
            layers[i : i + 2] = layers[i + 1], layer


def _dropout(probability: float, _features: int) -> nn.Module:
    return nn.Dropout(probability)
