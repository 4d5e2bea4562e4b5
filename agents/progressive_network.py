"""The Q-network of progressive networks: a column for each phase, which is told of earlier ones.

h_i^(k) = act(W_i^(k) h_{i-1}^(k) + U_i^(k) act(V_i^(k) [alpha_j h_{i-1}^(j), j < k])), where the
first layer sees the observation alone, and the last one has no activation.

Source: Rusu et al. 2016, "Progressive neural networks" (arXiv 1606.04671), eq. 2.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar

import torch as th
from stable_baselines3.dqn.policies import QNetwork
from torch import nn

from continual_arcade.agents.machine_memory import check_memory
from continual_arcade.agents.told_networks import FinishesPhases, check_told, chosen, told_phase

ALPHA = 0.1
"""The scalars begin between 0 and this."""
COPIES = 9
"""How often a learner holds a parameter: in the network and its target, as a gradient and two
moments, in an average and what that saw last, and twice where what is frozen is held."""


class Adapter(nn.Module):
    """What a layer of a column is told of all columns before it.

    Args:
        before: Columns before it.
        inputs: Units of each of them, and to so many they are projected [units].
        outputs: Units of the layer that is told.
        activation: What follows the projection.
    """

    def __init__(self, before: int, inputs: int, outputs: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.alpha = nn.Parameter(ALPHA * th.rand(before))
        self.project = nn.Linear(before * inputs, inputs, bias=False)
        self.activation = activation()
        self.tell = nn.Linear(inputs, outputs, bias=False)

    def forward(self, units: Sequence[th.Tensor]) -> th.Tensor:
        """Return what is added to the layer, from the units of each column before."""
        scaled = self.alpha[:, None] * th.stack(list(units), -2)
        return self.tell(self.activation(self.project(scaled.flatten(-2))))  # type: ignore[no-any-return]


class Column(nn.Module):
    """A column after the first one.

    Args:
        first: The layers of the first column; this one has such, too, drawn anew.
        before: Columns before it.
        activation: As in the hidden layers.
    """

    def __init__(self, first: nn.Sequential, before: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.body = deepcopy(first)
        for layer in self.body:
            if isinstance(layer, nn.Linear | nn.LayerNorm):
                layer.reset_parameters()
        self.adapters = nn.ModuleList(
            Adapter(before, layer.in_features, layer.out_features, activation)
            for layer in _linear(self.body)[1:]
        )


class ProgressiveQNetwork(FinishesPhases, QNetwork):
    """A Q-network with a column of layers for each phase, of which one is learnt at a time.

    An observation of a phase is answered by the column of that phase, which sees those before it;
    one of a phase that is still to come by the newest column, which is being learnt. The last
    features say which phase it is, as ``context="one-hot"`` appends them. Finished columns do
    without dropout. Whoever drives it (``methods/progressive.py``) says which are finished.

    Args:
        *args: As in the parent.
        columns: How many, and so many features tell.
        **kwargs: As in the parent.

    Raises:
        ValueError: If observations do not tell the phase.
    """

    option: ClassVar[str] = "columns"

    def __init__(self, *args: Any, columns: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_told("columns", columns, self.observation_space)
        self.columns = self.phases = columns
        self.register_buffer("finished", th.zeros((), dtype=th.int64))
        self.later = nn.ModuleList()

    def add_columns(self) -> None:
        """Make all columns after the first, once that has the layers that it is to have.

        Raises:
            ValueError: If there is not the memory to train them.
        """
        first: Any = self.q_net
        numbers = self.columns * sum(parameter.numel() for parameter in first.parameters())
        for layer in _linear(first)[1:]:
            inputs, outputs = layer.in_features, layer.out_features
            for before in range(1, self.columns):
                numbers += before + before * inputs**2 + inputs * outputs
        check_memory(f"columns = {self.columns} of {numbers:,} parameters", 4 * COPIES * numbers)
        for before in range(1, self.columns):
            self.later.append(Column(first, before, self.activation_fn))
        self.later.to(self.device)

    def learn_newest(self) -> None:
        """Let the parameters of the first column that is not finished be learnt, and no others."""
        for number, column in enumerate((self.q_net, *self.later)):
            column.requires_grad_(number == int(self.finished))
        self.train(self.training)

    @th.no_grad()
    def silence_adapters(self) -> None:
        """Let no column be told of others, nor learn to be."""
        for column in self.later:
            assert isinstance(column, Column)
            column.adapters.requires_grad_(requires_grad=False)
            for name, weights in column.adapters.named_parameters():
                if name.endswith("tell.weight"):
                    weights.zero_()

    def train(self, mode: bool = True) -> "ProgressiveQNetwork":
        """Switch between training and play, in which finished columns stay."""
        super().train(mode)
        for column in (self.q_net, *self.later)[: int(self.finished)]:
            column.eval()
        return self

    def forward(self, obs: Any) -> th.Tensor:
        """Return the values by the column of each observation, ``(batch, actions)``."""
        return self._answering(obs, [values for _, values in self._through(obs)])

    def hidden_units(self, obs: Any) -> list[th.Tensor]:
        """Return what enters each layer but the first, in the column of each observation.

        Returns:
            One tensor for each hidden layer, shape ``(batch, units)``.
        """
        layers = zip(*(units for units, _ in self._through(obs)), strict=True)
        return [self._answering(obs, of_columns) for of_columns in layers]

    def _through(self, obs: Any) -> list[tuple[list[th.Tensor], th.Tensor]]:
        """Return the hidden units and the values of all columns that are finished or learnt."""
        features = self.extract_features(obs, self.features_extractor)
        found: list[tuple[list[th.Tensor], th.Tensor]] = []
        columns: tuple[Any, ...] = (None, *self.later)
        for column in columns[: int(self.finished) + 1]:
            body: Any = self.q_net if column is None else column.body
            units: list[th.Tensor] = []
            signal = features
            for place, layer in enumerate(body):
                before, signal = signal, layer(signal)
                if not (place and isinstance(layer, nn.Linear)):
                    continue
                if column is not None:
                    below = [hidden[len(units)] for hidden, _ in found]
                    signal = signal + column.adapters[len(units)](below)
                units.append(before)
            found.append((units, signal))
        return found

    def _answering(self, obs: Any, of_columns: Sequence[th.Tensor]) -> th.Tensor:
        """Return of each observation what its column has."""
        told = told_phase(obs, self.columns).clamp(max=len(of_columns) - 1)
        return chosen(th.stack(list(of_columns), -2), told)


def _linear(body: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in body if isinstance(layer, nn.Linear)]
