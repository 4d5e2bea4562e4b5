"""What the parts do within a gradient step, on flat vectors.

Each function is the compiled form of one hook of ``agents.parts``, and does nothing where the
method takes no part. All vectors are of all parameters, shape ``(parameters,)``.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.kernels.inner import WIDE, inner
from continual_arcade.agents.kernels.network import ONLINE, backward, forward
from continual_arcade.agents.kernels.random import Stream, below

Vector = npt.NDArray[np.float32]

Q, ADVANTAGE, POLICY = range(3)
"""What cloning compares."""


class Penalties(NamedTuple):
    """Quadratic penalties, one in a row."""

    strength: npt.NDArray[np.float64]
    """The lambda of each, 0 where nothing is held yet, shape ``(penalties,)``."""
    constant: npt.NDArray[np.float64]
    omega: npt.NDArray[np.float32]
    """Shape ``(penalties, parameters)``."""
    center: npt.NDArray[np.float32]
    average: npt.NDArray[np.float32]
    """Moving averages of the parameters."""
    decay: npt.NDArray[np.float64]
    """Of the averages; 1 where none is kept."""
    shares: npt.NDArray[np.float64]
    """How often the penalty was measured, and the sums of its shares of the loss and of the
    gradient's norm, shape ``(penalties, 3)``."""


class Path(NamedTuple):
    """What synaptic intelligence adds up; vectors without elements where it takes no part."""

    path: Vector
    before: Vector
    gradient: Vector


class Cloning(NamedTuple):
    """Values that are held."""

    alpha: npt.NDArray[np.float64]
    """Weight, 0 where nothing is held, and temperature: shape ``(2,)``."""
    what: int
    batch: int
    """States of a batch of their own; 0 to hold the replayed ones."""
    states: npt.NDArray[Any]
    """Kept states, shape ``(count, features)``."""
    values: npt.NDArray[np.float32]
    """Their values, shape ``(count, actions)``."""
    draws: Stream


class Remembered(NamedTuple):
    """What A-GEM keeps of finished phases."""

    batch: int
    """0 where nothing is kept."""
    projects_update: bool
    observations: npt.NDArray[Any]
    actions: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    next_observations: npt.NDArray[Any]
    dones: npt.NDArray[np.float32]
    discounts: npt.NDArray[np.float32]
    reference: Vector
    before: Vector
    tally: npt.NDArray[np.int64]
    """Gradient steps, and how many of them were projected, shape ``(2,)``."""
    draws: Stream


class Mask(NamedTuple):
    """Parameters that must not move; vectors without elements where all may."""

    frozen: npt.NDArray[np.bool_]
    held: Vector


@inner(WIDE)
def pull(penalties: Any, parameters: Any, gradient: Any, loss: float, measures: bool) -> None:
    """Add the gradients of the penalties."""
    for p in range(len(penalties.strength)):
        strength = np.float32(penalties.strength[p])
        if strength == 0.0:
            continue
        omega, center = penalties.omega[p], penalties.center[p]
        if measures:
            value, before, own = 0.0, 0.0, 0.0
            for i in range(len(parameters)):
                apart = parameters[i] - center[i]
                slope = apart * omega[i] * strength
                value += omega[i] * apart * apart
                before += gradient[i] * gradient[i]
                own += slope * slope
            value = penalties.strength[p] * (penalties.constant[p] + 0.5 * value)
            before, own = np.sqrt(before), np.sqrt(own)
            penalties.shares[p, 0] += 1.0
            penalties.shares[p, 1] += value / max(value + loss, 1e-30)
            penalties.shares[p, 2] += own / max(own + before, 1e-30)
        for i in range(len(parameters)):
            gradient[i] += (parameters[i] - center[i]) * omega[i] * strength


@inner(WIDE)
def follow(penalties: Any, parameters: Any) -> None:
    """Go on with the moving averages."""
    for p in range(len(penalties.decay)):
        if penalties.decay[p] != 1.0:
            average, rate = penalties.average[p], np.float32(1.0 - penalties.decay[p])
            for i in range(len(parameters)):
                average[i] += rate * (parameters[i] - average[i])


@inner()
def walked(path: Any, parameters: Any) -> None:
    """Add what the step did for the loss."""
    for i in range(len(path.path)):
        path.path[i] -= path.gradient[i] * (parameters[i] - path.before[i])


@inner()
def copy(source: Any, target: Any) -> None:
    """Copy as much of a vector as the other has room for."""
    for i in range(len(target)):
        target[i] = source[i]


@inner()
def hold_replayed(
    net: Any, cloning: Any, memory: Any, slots: Any, values: Any, passed: int, slopes: Any
) -> None:
    """Add the gradient of the cloning loss of replayed states; their values were just computed."""
    rows = len(slots)
    for row in range(rows):
        old = memory.q_values[slots[row]]
        if np.isnan(old[0]):
            for action in range(len(old)):
                slopes[row, action] = 0.0
        else:
            _cloning_slope(cloning, values[row], old, rows, slopes[row])
    backward(net, rows, passed, slopes, net.extra)
    for i in range(len(net.extra)):
        net.gradient[i] += net.extra[i]


@inner()
def hold_kept(net: Any, cloning: Any, slopes: Any) -> None:
    """Add the gradient of the cloning loss of a batch of kept states."""
    rows = cloning.batch
    drawn = np.empty(rows, np.int64)
    for row in range(rows):
        drawn[row] = below(cloning.draws, len(cloning.values))
        for j in range(net.inputs.shape[1]):
            net.inputs[row, j] = cloning.states[drawn[row], j]
    values = forward(net, ONLINE, net.inputs[:rows], net.activations)
    for row in range(rows):
        _cloning_slope(cloning, values[row], cloning.values[drawn[row]], rows, slopes[row])
    backward(net, rows, rows, slopes[:rows], net.extra)
    for i in range(len(net.extra)):
        net.gradient[i] += net.extra[i]


@inner()
def _cloning_slope(cloning: Any, now: Any, old: Any, rows: int, slope: Any) -> None:
    """Write the derivative of the mean cloning loss over ``rows`` states by the values of one."""
    actions = len(now)
    alpha, temperature = cloning.alpha[0], cloning.alpha[1]
    if cloning.what == POLICY:
        # tau^2 KL(old || now): tau (softmax(now / tau) - softmax(old / tau)).
        top_now, top_old = np.max(now), np.max(old)
        sum_now, sum_old = 0.0, 0.0
        for a in range(actions):
            sum_now += np.exp((now[a] - top_now) / temperature)
            sum_old += np.exp((old[a] - top_old) / temperature)
        for a in range(actions):
            p_now = np.exp((now[a] - top_now) / temperature) / sum_now
            p_old = np.exp((old[a] - top_old) / temperature) / sum_old
            slope[a] = alpha * temperature * (p_now - p_old) / rows
        return
    shift = 0.0
    if cloning.what == ADVANTAGE:
        for a in range(actions):
            shift += now[a] - old[a]
        shift /= actions
    for a in range(actions):
        slope[a] = 2.0 * alpha * (now[a] - old[a] - shift) / (rows * actions)


@inner(WIDE)
def without_opposed(vector: Any, reference: Any) -> bool:
    """Take what points against a reference out of a vector (Chaudhry et al. 2019, eq. 11).

    Returns:
        Whether there was anything to take out.
    """
    dot, square = 0.0, 0.0
    for i in range(len(vector)):
        dot += vector[i] * reference[i]
        square += reference[i] * reference[i]
    if dot >= 0.0 or square == 0.0:
        return False
    scale = np.float32(dot / square)
    for i in range(len(vector)):
        vector[i] -= scale * reference[i]
    return True


@inner()
def project_step(remembered: Any, parameters: Any, scratch: Any) -> None:
    """Project the step that the optimiser made."""
    for i in range(len(parameters)):
        scratch[i] = remembered.before[i] - parameters[i]
    remembered.tally[0] += 1
    if without_opposed(scratch, remembered.reference):
        remembered.tally[1] += 1
        for i in range(len(parameters)):
            parameters[i] = remembered.before[i] - scratch[i]


@inner()
def still(mask: Any, gradient: Any) -> None:
    """Let frozen parameters have no gradient."""
    for i in range(len(mask.frozen)):
        if mask.frozen[i]:
            gradient[i] = 0.0


@inner()
def put_back(mask: Any, parameters: Any) -> None:
    """Put frozen parameters back."""
    for i in range(len(mask.frozen)):
        if mask.frozen[i]:
            parameters[i] = mask.held[i]


@inner()
def draw_back(parameters: Any, base: Any, rate: float) -> None:
    """Move the parameters to ``base + rate * (parameters - base)``; 1 leaves every bit."""
    if rate == 1.0:
        return
    share = np.float32(rate)
    for i in range(len(parameters)):
        parameters[i] = base[i] + share * (parameters[i] - base[i])
