"""A network on flat memory: where its parameters lie, and what its passes leave.

All parameters lie in one vector, layer by layer, weights (out x in) before biases: the order of
``network.parameters()``. What a pass computes lies in buffers that are allocated once.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.kernels.inner import inner, numbered
from continual_arcade.agents.kernels.pieces import matrix_in


class Shape(NamedTuple):
    """Of a network."""

    widths: npt.NDArray[np.int64]
    """Units of each layer, the input first, shape ``(layers + 1,)``: an observation, or what
    convolutions see in it."""
    starts: npt.NDArray[np.int64]
    """Where the weights of each layer begin, shape ``(layers,)``."""
    activation: int
    """What follows each layer but the last: ``RELU`` or ``TANH`` of ``activations.py``."""
    pictures: Any = None
    """:class:`~continual_arcade.agents.kernels.convolution.Convolutions` that observations go
    through first, or None. Their parameters come before those of the layers."""
    heads: int = 1
    """Output layers, side by side in the last one, of which each observation chooses one: that of
    the largest of its last features, of which there are as many."""
    gated: int = 0
    """Hidden units with a gate behind their activation: all, or 0 for none. What the gates are
    computed of, the embeddings, lies behind the layers, shape ``(heads, gated)``."""


ONLINE, TARGET = numbered(2)
"""Which of the two networks."""


class Network(NamedTuple):
    """The Q-network, its target network, and where their passes leave what they compute."""

    shape: Shape
    online: npt.NDArray[np.float32]
    """All parameters, shape ``(parameters,)``."""
    target: npt.NDArray[np.float32]
    """Those of the target network."""
    transposed: npt.NDArray[np.float32]
    """Copies of both, the weights of each layer transposed, those of each head by themselves, shape
    ``(2, parameters)``."""
    stale: npt.NDArray[np.int64]
    """Whether these copies are out of date: whoever changes parameters says so, shape ``(2,)``."""
    gradient: npt.NDArray[np.float32]
    """Gradient of the current step."""
    extra: npt.NDArray[np.float32]
    """Another gradient, to be added to it."""
    average: npt.NDArray[np.float32]
    """The average of the parameters along the way, or no element where none is kept."""
    learnt: npt.NDArray[np.float32]
    """The parameters as learning has left them, where an average is kept."""
    inputs: npt.NDArray[np.float32]
    """Observations, shape ``(2 * rows, features)``: those of a batch, then the next ones."""
    activations: npt.NDArray[np.float32]
    """Outputs of each layer, ``2 * rows`` of each, and behind them those of convolutions."""
    others: npt.NDArray[np.float32]
    """The same of the target network, ``rows`` of each."""
    deltas: npt.NDArray[np.float32]
    """Derivatives by the inputs of each layer's activation, ``rows`` of each, and of what
    convolutions have seen."""
    gating: npt.NDArray[np.float64]
    """Which row of embeddings counts, and how sharp the gates of either network are, shape
    ``(3,)``."""
    gates: npt.NDArray[np.float32]
    """Of either network the gates, and their derivatives by the embeddings, shape
    ``(2, 2, gated)``."""


@inner()
def weights_of(shape: Any, parameters: Any, layer: int) -> Any:
    """Return the weights of a layer, shape ``(n_out, n_in)``."""
    n_in, n_out, start = shape.widths[layer], shape.widths[layer + 1], shape.starts[layer]
    return matrix_in(parameters, start, n_out, n_in)


@inner()
def transposed_of(shape: Any, parameters: Any, layer: int) -> Any:
    """Return the transposed weights of a layer that is no head, shape ``(n_in, n_out)``."""
    n_in, n_out, start = shape.widths[layer], shape.widths[layer + 1], shape.starts[layer]
    return matrix_in(parameters, start, n_in, n_out)


@inner()
def heads_of(shape: Any, layer: int) -> int:
    """Return how many heads a layer is, side by side: the last one all there are."""
    heads: int = shape.heads if layer == len(shape.starts) - 1 else 1
    return heads


@inner()
def weights_of_head(shape: Any, parameters: Any, layer: int, head: int) -> Any:
    """Return the weights of a head, or of a layer that is none, shape ``(n_out, n_in)``."""
    n_in, n_out = shape.widths[layer], shape.widths[layer + 1] // heads_of(shape, layer)
    return matrix_in(parameters, shape.starts[layer] + head * n_out * n_in, n_out, n_in)


@inner()
def transposed_of_head(shape: Any, parameters: Any, layer: int, head: int) -> Any:
    """Return the transposed weights of a head, or of a layer, shape ``(n_in, n_out)``."""
    n_in, n_out = shape.widths[layer], shape.widths[layer + 1] // heads_of(shape, layer)
    return matrix_in(parameters, shape.starts[layer] + head * n_out * n_in, n_in, n_out)


@inner()
def biases_of_head(shape: Any, parameters: Any, layer: int, head: int) -> Any:
    """Return the biases of a head, or of a layer, shape ``(n_out,)``."""
    n_out = shape.widths[layer + 1] // heads_of(shape, layer)
    return biases_of(shape, parameters, layer)[head * n_out : (head + 1) * n_out]


@inner()
def biases_of(shape: Any, parameters: Any, layer: int) -> Any:
    """Return the biases of a layer, shape ``(n_out,)``."""
    n_in, n_out, start = shape.widths[layer], shape.widths[layer + 1], shape.starts[layer]
    return parameters[start + n_out * n_in : start + n_out * n_in + n_out]


@inner()
def embeddings_of(shape: Any, parameters: Any) -> Any:
    """Return the embeddings of gates, shape ``(heads, gated)``."""
    size = shape.heads * shape.gated
    return matrix_in(parameters, len(parameters) - size, shape.heads, shape.gated)


@inner()
def units_of(shape: Any) -> int:
    """Return how many numbers the layers give for one observation."""
    units = 0
    for layer in range(len(shape.starts)):
        units += shape.widths[layer + 1]
    return units


# What depends on whether there are convolutions: the first argument is what there is of them.
