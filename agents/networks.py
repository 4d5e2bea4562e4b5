"""The Q-network, with dropout, layer normalisation and other initial weights as options."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, get_args

from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from continual_arcade.agents.settings import PROBABILITY, Initial
from continual_arcade.envs.checks import OneOf, flag

ACTIVATIONS: Mapping[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
"""What may follow each hidden layer, by name."""


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
        **kwargs: As in the parent.

    Raises:
        ValueError: If ``layer_norm`` is no truth value, ``dropout`` no probability below 1, or
            ``initial`` unknown.
    """

    def __init__(
        self,
        *args: Any,
        layer_norm: bool = False,
        dropout: float = 0.0,
        initial: Initial = "default",
        **kwargs: Any,
    ) -> None:
        self.layer_norm = flag("layer_norm", layer_norm)
        self.dropout = PROBABILITY("dropout", dropout)
        OneOf(get_args(Initial))("initial", initial)
        self.initial = initial
        super().__init__(*args, **kwargs)

    def make_q_net(self) -> QNetwork:
        """Make a Q-network."""
        network = super().make_q_net()
        # Without the options the network is the parent's, down to the draws of its parameters.
        if self.layer_norm or self.dropout:
            between: list[Any] = []
            if self.layer_norm:
                between.append(nn.LayerNorm)
            if self.dropout:
                # After normalisation and before the activation, where ReLU commutes with it.
                between.append(partial(_dropout, self.dropout))
            layers: list[nn.Module] = create_mlp(
                network.features_dim,
                int(network.action_space.n),
                network.net_arch,
                network.activation_fn,
                post_linear_modules=between,
            )
            if network.activation_fn is not nn.ReLU:
                _drop_outputs(layers)
            network.q_net = nn.Sequential(*layers).to(self.device)
        if self.initial == "xavier":
            for layer in network.q_net:
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)
        return network

    def set_training_mode(self, mode: bool) -> None:
        """Switch between training and play; to go through all modules takes longer than to act."""
        if self.training != mode or self.q_net.training != mode:
            super().set_training_mode(mode)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        own = {"layer_norm": self.layer_norm, "dropout": self.dropout, "initial": self.initial}
        return {**data, **own}


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
