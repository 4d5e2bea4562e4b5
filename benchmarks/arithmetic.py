"""The arithmetic of a DQN alone: how many operations a step needs, and what its pieces take.

Shapes are those of a step of one game with one update: a network of 8-64-64-2, a batch of 32,
Double DQN, Adam. Products are the suite's own. Nothing is decided here, and nothing learnt.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from measuring import Run
from numba import njit

from continual_arcade.agents.kernels.activations import NOTHING, RELU
from continual_arcade.agents.kernels.products import dense, through_layer, weights_gradient

FEATURES, HIDDEN, ACTIONS = 8, 64, 2
BATCH = 32
MEMORY = 50_000
"""Transitions in memory."""
WIDTHS = (FEATURES, HIDDEN, HIDDEN, ACTIONS)
"""Units of each layer, the input first."""
WEIGHTS = [n_in * n_out for n_in, n_out in pairwise(WIDTHS)]
"""Of each layer, and so multiply-adds of each row that goes through it."""
PARAMETERS = sum(WEIGHTS) + sum(WIDTHS[1:])
MULTIPLY_ADDS = {
    "forward, online network": 2 * BATCH * sum(WEIGHTS),  # observations and next observations
    "forward, target network": BATCH * sum(WEIGHTS),
    "gradients of the weights": BATCH * sum(WEIGHTS),
    "deltas": BATCH * sum(WEIGHTS[1:]),  # none are needed of the input
    "acting": sum(WEIGHTS),
}
"""What a step needs, an update of a batch included. Only products are counted: biases, ReLU, the
loss and the optimiser are 3 % more."""
OPERATIONS = 2 * sum(MULTIPLY_ADDS.values())
"""Floating-point operations of a step: a multiplication and an addition are two."""

_rng = np.random.default_rng(0)


def _filled(*shape: int) -> Any:
    return _rng.normal(size=shape).astype(np.float32)


@njit
def _multiply(
    count: int,
    inputs: Any,
    weights: Any,
    turned: Any,
    biases: Any,
    outputs: Any,
    target_outputs: Any,
    deltas: Any,
    gradient: Any,
) -> None:
    """Multiply what a gradient step multiplies."""
    rows = len(deltas[0])
    for _ in range(count):
        # The observations and the next ones through the network, ...
        dense(inputs, turned[0], biases[0], outputs[0], RELU)
        dense(outputs[0], turned[1], biases[1], outputs[1], RELU)
        dense(outputs[1], turned[2], biases[2], outputs[2], NOTHING)
        # ... the next ones through the target network, ...
        dense(inputs[rows:], turned[0], biases[0], target_outputs[0], RELU)
        dense(target_outputs[0], turned[1], biases[1], target_outputs[1], RELU)
        dense(target_outputs[1], turned[2], biases[2], target_outputs[2], NOTHING)
        # ... and what comes back for the observations.
        weights_gradient(deltas[2], outputs[1][:rows], gradient[2])
        through_layer(deltas[2], weights[2], outputs[1][:rows], deltas[1], RELU)
        weights_gradient(deltas[1], outputs[0][:rows], gradient[1])
        through_layer(deltas[1], weights[1], outputs[0][:rows], deltas[0], RELU)
        weights_gradient(deltas[0], inputs[:rows], gradient[0])


@njit(error_model="numpy", fastmath=True)
def _adam(count: int, parameters: Any, gradient: Any, first: Any, second: Any) -> None:
    keep_1, keep_2 = np.float32(0.9), np.float32(0.999)
    take_1, take_2 = np.float32(0.1), np.float32(0.001)
    rate, epsilon = np.float32(1e-4), np.float32(1e-8)
    for _ in range(count):
        for i in range(len(parameters)):
            m = keep_1 * first[i] + take_1 * gradient[i]
            v = keep_2 * second[i] + take_2 * gradient[i] * gradient[i]
            first[i] = m
            second[i] = v
            parameters[i] -= rate * m / (np.sqrt(v) + epsilon)


@njit(error_model="numpy")
def _sample(
    count: int,
    state: Any,
    observations: Any,
    next_observations: Any,
    rest: Any,
    batch: Any,
    next_batch: Any,
    rest_of_batch: Any,
) -> None:
    """Draw rows, by xorshift (Marsaglia 2003), and gather them."""
    x = state[0]
    for _ in range(count):
        for row in range(len(batch)):
            x ^= x << np.uint64(13)
            x ^= x >> np.uint64(7)
            x ^= x << np.uint64(17)
            slot = ((x >> np.uint64(32)) * np.uint64(len(observations))) >> np.uint64(32)
            for j in range(FEATURES):
                batch[row, j] = observations[slot, j]
                next_batch[row, j] = next_observations[slot, j]
            for j in range(rest.shape[1]):
                rest_of_batch[row, j] = rest[slot, j]
    state[0] = x


@njit
def _act(count: int, observation: Any, turned: Any, biases: Any, outputs: Any) -> None:
    """Multiply what is multiplied to choose an action."""
    for _ in range(count):
        dense(observation, turned[0], biases[0], outputs[0], RELU)
        dense(outputs[0], turned[1], biases[1], outputs[1], RELU)
        dense(outputs[1], turned[2], biases[2], outputs[2], NOTHING)


def _weights() -> tuple[Any, Any, Any]:
    return _filled(HIDDEN, FEATURES), _filled(HIDDEN, HIDDEN), _filled(ACTIONS, HIDDEN)


def _turned() -> tuple[Any, Any, Any]:
    return _filled(FEATURES, HIDDEN), _filled(HIDDEN, HIDDEN), _filled(HIDDEN, ACTIONS)


def _biases() -> tuple[Any, Any, Any]:
    return _filled(HIDDEN), _filled(HIDDEN), _filled(ACTIONS)


def _outputs(rows: int) -> tuple[Any, Any, Any]:
    return _filled(rows, HIDDEN), _filled(rows, HIDDEN), _filled(rows, ACTIONS)


def _repeated(kernel: Callable[..., None], *arguments: Any) -> Run:
    def run(num_steps: int) -> int:
        kernel(num_steps, *arguments)
        return num_steps

    return run


def _products() -> Run:
    return _repeated(
        _multiply,
        _filled(2 * BATCH, FEATURES),
        _weights(),
        _turned(),
        _biases(),
        _outputs(2 * BATCH),
        _outputs(BATCH),
        _outputs(BATCH),
        _weights(),
    )


def _steps_of_adam() -> Run:
    vectors = [_filled(PARAMETERS) for _ in range(3)]
    return _repeated(_adam, *vectors, np.abs(_filled(PARAMETERS)))


def _samples() -> Run:
    return _repeated(
        _sample,
        np.array([88_172_645_463_325_252], np.uint64),
        _filled(MEMORY, FEATURES),
        _filled(MEMORY, FEATURES),
        _filled(MEMORY, 3),  # action, reward, discount
        _filled(BATCH, FEATURES),
        _filled(BATCH, FEATURES),
        _filled(BATCH, 3),
    )


def _choices() -> Run:
    return _repeated(_act, _filled(1, FEATURES), _turned(), _biases(), _outputs(1))


PIECES: Mapping[str, Callable[[], Run]] = {
    "products of a gradient step": _products,
    f"Adam over {PARAMETERS:,} parameters": _steps_of_adam,
    f"{BATCH} draws and gathers from {MEMORY:,}": _samples,
    "products of the choice of an action": _choices,
}
"""What sets up each piece of a step, by name."""
