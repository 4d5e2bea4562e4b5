"""The arithmetic of a DQN alone, with BLAS: a bound on its speed.

Shapes are those of a step of one game with one update: a network of 8-64-64-2, a batch of 32,
Double DQN, Adam. Weights lie as PyTorch has them, (out, in). Nothing is decided here, and nothing
learnt.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from measuring import Run
from numba import njit

FEATURES, HIDDEN, ACTIONS = 8, 64, 2
BATCH = 32
MEMORY = 50_000
"""Transitions in memory."""
PARAMETERS = (FEATURES + 1) * HIDDEN + (HIDDEN + 1) * HIDDEN + (HIDDEN + 1) * ACTIONS

_rng = np.random.default_rng(0)


def _filled(*shape: int) -> Any:
    return _rng.normal(size=shape).astype(np.float32)


@njit
def _multiply(
    count: int, inputs: Any, weights: Any, targets: Any, outputs: Any, deltas: Any, gradient: Any
) -> None:
    """Multiply what a gradient step multiplies; biases and ReLU are left out."""
    rows = len(deltas[0])
    for _ in range(count):
        # The observations and the next ones through the network, ...
        np.dot(inputs, weights[0].T, outputs[0])
        np.dot(outputs[0], weights[1].T, outputs[1])
        np.dot(outputs[1], weights[2].T, outputs[2])
        # ... the next ones through the target network, ...
        np.dot(inputs[rows:], targets[0].T, outputs[3])
        np.dot(outputs[3], targets[1].T, outputs[4])
        np.dot(outputs[4], targets[2].T, outputs[5])
        # ... and what comes back for the observations.
        np.dot(deltas[2].T, outputs[1][:rows], gradient[2])
        np.dot(deltas[2], weights[2], deltas[1])
        np.dot(deltas[1].T, outputs[0][:rows], gradient[1])
        np.dot(deltas[1], weights[1], deltas[0])
        np.dot(deltas[0].T, inputs[:rows], gradient[0])


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
def _act(count: int, observation: Any, weights: Any, outputs: Any) -> None:
    """Multiply what is multiplied to choose an action."""
    for _ in range(count):
        np.dot(weights[0], observation, outputs[0])
        np.dot(weights[1], outputs[0], outputs[1])
        np.dot(weights[2], outputs[1], outputs[2])


def _layers() -> tuple[Any, Any, Any]:
    return _filled(HIDDEN, FEATURES), _filled(HIDDEN, HIDDEN), _filled(ACTIONS, HIDDEN)


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
        _layers(),
        _layers(),
        (*_outputs(2 * BATCH), *_outputs(BATCH)),
        _outputs(BATCH),
        _layers(),
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
    outputs = _filled(HIDDEN), _filled(HIDDEN), _filled(ACTIONS)
    return _repeated(_act, _filled(FEATURES), _layers(), outputs)


PIECES: Mapping[str, Callable[[], Run]] = {
    "products of a gradient step": _products,
    f"Adam over {PARAMETERS:,} parameters": _steps_of_adam,
    f"{BATCH} draws and gathers from {MEMORY:,}": _samples,
    "products of the choice of an action": _choices,
}
"""What sets up each piece of the bound, by name."""
