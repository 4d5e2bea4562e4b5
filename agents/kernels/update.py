"""The gradient step in compiled code, and what is learnt after a step of the environments.

The order of the hooks is that of ``agents.parts.part``; the arithmetic is that of
``ContinualDQN._update`` and of the optimisers of PyTorch.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.kernels.inner import FUSED, WIDE, inner
from continual_arcade.agents.kernels.network import (
    ONLINE,
    TARGET,
    Network,
    backward,
    best,
    forward,
)
from continual_arcade.agents.kernels.parts import (
    Cloning,
    Mask,
    Path,
    Penalties,
    Remembered,
    Vector,
    copy,
    draw_back,
    follow,
    hold_kept,
    hold_replayed,
    project_step,
    pull,
    put_back,
    still,
    walked,
    without_opposed,
)
from continual_arcade.agents.kernels.per_example import descend_once
from continual_arcade.agents.kernels.random import Stream, below, shuffle
from continual_arcade.agents.kernels.replay import Memory, Stage, draw

DONE, DIVERGED, LACKS_ROOM = range(3)
"""Why compiled code returns."""

PLAIN, BATCHED, ALGORITHM_1, ALGORITHM_6, ALGORITHM_7 = range(5)
"""What is learnt from after a step of the environments: drawn batches, or what MER plans."""

CONTROL = np.dtype(
    [
        (name, np.int64)
        for name in (
            # How it learns.
            "batch_size",
            "gradient_steps",
            "train_every",
            "learning_starts",
            "double_q",
            "sync_every",
            "num_envs",
            "kind",
            "fifo_size",
            "adam",
            "plan",
            "memories",
            "repeats",
            "reptile_every",
            "measure_every",
            "clear_after",
            "keeps_stage",
            "alone",
            # Where it stands.
            "timesteps",
            "updates",
            "calls",
            "syncs_due",
            "seen",
            "newest",
            "moments",
            "reptile_steps",
            "staged",
            "learnt",
            "losses",
            # A chunk of life.
            "steps",
            "lived",
            "halfway",
            "fresh",
            "episodes",
            "episodes_wanted",
            "phase",
            "last_phase",
        )
    ]
    + [
        (name, np.float64)
        for name in (
            "tau",
            "max_grad_norm",
            "beta_1",
            "beta_2",
            "epsilon",
            "mer_beta",
            "mer_gamma",
            "reptile_eps",
            "long_term_fraction",
            "rate",
            "loss",
            "norm",
            "clip_factor",
            "sum_of_losses",
        )
    ]
)
"""One record of plain numbers: settings, counters, and what a call is to do and has done."""


class Batch(NamedTuple):
    """What a gradient step learns from; the observations are among the network's buffers."""

    actions: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    discounts: npt.NDArray[np.float32]
    """Of the next value; 0 where the episode terminated."""
    slots: npt.NDArray[np.int64]
    slopes: npt.NDArray[np.float32]
    """Derivatives of the loss by the values, shape ``(rows, actions)``."""


class Agent(NamedTuple):
    """Everything that learning reads and writes."""

    net: Network
    first_moments: Vector
    second_moments: Vector
    memory: Memory
    stage: Stage
    batch: Batch
    penalties: Penalties
    path: Path
    cloning: Cloning
    remembered: Remembered
    mask: Mask
    inner: Vector
    """Where a repetition of MER began."""
    outer: Vector
    """Where the steps that are drawn back began."""
    plans: Stream
    """Draws of the part that plans batches."""


def learn(control: Any, a: Any) -> int:
    """Learn once; see :func:`train`, of which this is the way in from Python.

    Args:
        control: The control record, shape ``(1,)``.
        a: The agent.
    """
    return train(control[0], a)


@inner()
def train(c: Any, a: Any) -> int:
    """Learn what is to be learnt after a step of the environments.

    Args:
        c: The control record.
        a: The agent.

    Returns:
        ``DONE``, or ``DIVERGED`` before the parameters have changed.
    """
    c.losses = 0
    c.sum_of_losses = 0.0
    if c.seen < c.batch_size:
        return DONE
    status = DONE
    if c.plan == PLAIN:
        for _ in range(c.gradient_steps):
            _draw(c, a, c.batch_size)
            for row in range(c.batch_size):
                _take(a, a.memory, a.batch.slots[row], row, c.batch_size)
            status = update(c, a, c.batch_size, 1.0, 1.0, 1.0)
            if status != DONE:
                return status
    elif c.plan == BATCHED:
        status = _learn_batched(c, a)
    else:
        for row in range(c.learnt, c.staged):
            status = _learn_single(c, a, row)
            if status != DONE:
                return status
    if c.plan != PLAIN:
        c.learnt = c.staged
    if status == DONE:
        synchronise(c, a.net)
    return status


@inner()
def _draw(c: Any, a: Any, count: int) -> None:
    draw(a.memory, c.kind, c.fifo_size, c.long_term_fraction, c.seen, a.batch.slots[:count])


@inner()
def _take(a: Any, source: Any, index: int, row: int, rows: int) -> None:
    """Put a transition into a batch of so many rows."""
    inputs = a.net.inputs
    for j in range(inputs.shape[1]):
        inputs[row, j] = source.observations[index, j]
        inputs[rows + row, j] = source.next_observations[index, j]
    _take_rest(a, source, index, row)


@inner()
def _take_rest(a: Any, source: Any, index: int, row: int) -> None:
    a.batch.actions[row] = source.actions[index]
    a.batch.rewards[row] = source.rewards[index]
    a.batch.discounts[row] = (np.float32(1.0) - source.dones[index]) * source.discounts[index]


@inner()
def _learn_batched(c: Any, a: Any) -> int:
    """MER in mini-batches: one of them also holds what was just completed."""
    newest = c.staged - c.learnt
    if newest == 0:
        return DONE
    copy(a.net.online, a.outer)
    holds = below(a.plans, c.gradient_steps)
    for step in range(c.gradient_steps):
        _draw(c, a, c.batch_size)
        rows = c.batch_size + (newest if step == holds else 0)
        for row in range(c.batch_size):
            _take(a, a.memory, a.batch.slots[row], row, rows)
        for row in range(c.batch_size, rows):
            _take(a, a.stage, c.learnt + row - c.batch_size, row, rows)
        last = step == c.gradient_steps - 1
        status = update(c, a, rows, 1.0, 1.0, c.mer_gamma if last else 1.0)
        if status != DONE:
            return status
    return DONE


@inner()
def _learn_single(c: Any, a: Any, current: int) -> int:
    """MER on single examples: the current transition, a row of the stage, among drawn ones."""
    examples = c.memories + 1
    order = np.empty(examples, np.int64)
    copy(a.net.online, a.outer)
    repeats = 1 if c.plan == ALGORITHM_7 else c.repeats
    for repeat in range(repeats):
        if c.plan != ALGORITHM_1 or c.mer_beta != 1.0:  # else nothing is drawn back to there
            copy(a.net.online, a.inner)
        for i in range(c.memories):
            _draw_one(c, a, i)
        if c.plan == ALGORITHM_7:
            shuffle(a.plans, order)
        else:
            for i in range(examples):
                # The last index is the current transition, which is first in algorithm 1.
                order[i] = (i + c.memories) % examples if c.plan == ALGORITHM_1 else i
        inner, outer = c.mer_gamma, 1.0
        if c.plan == ALGORITHM_1:
            inner = c.mer_beta
            outer = c.mer_gamma if repeat == repeats - 1 else 1.0
        if c.alone:
            status = _learn_alone(c, a, current, order, inner, outer)
        else:
            status = _learn_in_turn(c, a, current, order, inner, outer)
        if status != DONE:
            return status
    return DONE


@inner()
def _draw_one(c: Any, a: Any, i: int) -> None:
    """Draw the slot of a single example: by itself, so that a mixed memory decides for each."""
    slots = a.batch.slots[i : i + 1]
    draw(a.memory, c.kind, c.fifo_size, c.long_term_fraction, c.seen, slots)


@inner()
def _weight(c: Any, index: int) -> float:
    return float(c.repeats) if c.plan == ALGORITHM_7 and index == c.memories else 1.0


@inner()
def _learn_in_turn(c: Any, a: Any, current: int, order: Any, inner: float, outer: float) -> int:
    """Learn the examples, each with all that the parts do in a gradient step."""
    for i in range(len(order)):
        if order[i] == c.memories:
            _take(a, a.stage, current, 0, 1)
        else:
            _take(a, a.memory, a.batch.slots[order[i]], 0, 1)
        last = i == len(order) - 1
        rates = (inner, outer) if last else (1.0, 1.0)
        status = update(c, a, 1, _weight(c, order[i]), rates[0], rates[1])
        if status != DONE:
            return status
    return DONE


@inner()
def _learn_alone(c: Any, a: Any, current: int, order: Any, inner: float, outer: float) -> int:
    """The same where MER is the only part, over plain SGD."""
    net, count = a.net, len(order)
    for i in range(count):
        # In pairs; and once more in a row, for the target network, which rests in the meantime.
        if order[i] == c.memories:
            _take_pair(a, a.stage, current, i, count)
        else:
            _take_pair(a, a.memory, a.batch.slots[order[i]], i, count)
        a.batch.slopes[i, 0] = _weight(c, order[i])
    others = forward(net, TARGET, net.inputs[2 * count : 3 * count], net.others)
    for i in range(count):
        pair = net.inputs[2 * i : 2 * i + 2]
        if not descend_once(c, net, pair, others[i : i + 1], a.batch, i):
            return DIVERGED
        if c.updates % c.measure_every == 0:
            c.clip_factor = min(1.0, c.max_grad_norm / max(c.norm, 1e-30))
        c.updates += 1
        c.losses += 1
        c.sum_of_losses += c.loss
    draw_back(net.online, a.inner, inner)
    draw_back(net.online, a.outer, outer)
    net.stale[ONLINE] = 1
    return DONE


@inner()
def _take_pair(a: Any, source: Any, index: int, row: int, rows: int) -> None:
    inputs = a.net.inputs
    for j in range(inputs.shape[1]):
        inputs[2 * row, j] = source.observations[index, j]
        inputs[2 * row + 1, j] = source.next_observations[index, j]
        inputs[2 * rows + row, j] = source.next_observations[index, j]
    _take_rest(a, source, index, row)


@inner()
def update(c: Any, a: Any, rows: int, weight: float, inner: float, outer: float) -> int:
    """Make one gradient step.

    Args:
        c: The control record.
        a: The agent, whose batch is filled.
        rows: Transitions of the batch.
        weight: Factor of the TD loss.
        inner: How far the step goes from where a repetition began; 1 for all the way.
        outer: The same from where all repetitions began.

    Returns:
        ``DONE``, or ``DIVERGED`` before the parameters have changed.
    """
    net = a.net
    measures = c.measure_every > 0 and c.updates % c.measure_every == 0
    copy(net.online, a.path.before)
    c.loss = td_gradient(net, a.batch, rows, c.double_q != 0, weight)
    copy(net.gradient, a.path.gradient)
    if a.cloning.alpha[0] != 0.0:
        if a.cloning.batch:
            hold_kept(net, a.cloning, a.batch.slopes)
        else:
            passed = 2 * rows if c.double_q else rows
            start = passed * (np.sum(net.shape.widths[1:-1]))
            actions = net.shape.widths[-1]
            values = net.activations[start : start + rows * actions].reshape(rows, actions)
            slots = a.batch.slots[:rows]
            slopes = a.batch.slopes[:rows]
            hold_replayed(net, a.cloning, a.memory, slots, values, passed, slopes)
    pull(a.penalties, net.online, net.gradient, c.loss, measures)
    if a.remembered.batch:
        _refer(c, a)
    still(a.mask, net.gradient)
    c.norm = _norm(net.gradient)
    if not (np.isfinite(c.loss) and np.isfinite(c.norm)):
        return DIVERGED
    scale = min(1.0, c.max_grad_norm / (c.norm + 1e-6))
    if measures:
        c.clip_factor = min(1.0, c.max_grad_norm / max(c.norm, 1e-30))
    if c.adam:
        c.moments += 1
        _adam(c, net.online, net.gradient, a.first_moments, a.second_moments, scale)
    else:
        _descend(net.online, net.gradient, c.rate, scale)
    net.stale[ONLINE] = 1
    if a.remembered.batch and a.remembered.projects_update:
        project_step(a.remembered, net.online, net.extra)
    put_back(a.mask, net.online)
    draw_back(net.online, a.inner, inner)
    draw_back(net.online, a.outer, outer)
    if c.reptile_every:
        c.reptile_steps += 1
        if c.reptile_steps == c.reptile_every:
            draw_back(net.online, a.outer, c.reptile_eps)
            copy(net.online, a.outer)
            c.reptile_steps = 0
    follow(a.penalties, net.online)
    walked(a.path, net.online)
    c.updates += 1
    c.losses += 1
    c.sum_of_losses += c.loss
    return DONE


@inner(WIDE)
def td_gradient(net: Any, batch: Any, rows: int, double_q: bool, weight: float) -> float:
    """Compute the gradient of the TD loss (Huber, delta = 1) of the batch.

    Returns:
        The mean loss, times the weight.
    """
    passed = 2 * rows if double_q else rows
    values = forward(net, ONLINE, net.inputs[:passed], net.activations)
    others = forward(net, TARGET, net.inputs[rows : 2 * rows], net.others)
    slope = np.float32(weight) / np.float32(rows)
    loss = 0.0
    for row in range(rows):
        chosen = best(values, rows + row) if double_q else best(others, row)
        target = batch.rewards[row] + batch.discounts[row] * others[row, chosen]
        action = batch.actions[row]
        error = values[row, action] - target
        for other in range(values.shape[1]):
            batch.slopes[row, other] = np.float32(0.0)
        size = abs(error)
        if size < 1.0:
            loss += 0.5 * error * error
            batch.slopes[row, action] = slope * error
        else:
            loss += size - 0.5
            # NaN, which is in no order, must come through.
            batch.slopes[row, action] = slope * (error / size)
    backward(net, rows, passed, batch.slopes[:rows], net.gradient)
    return weight * loss / rows


@inner()
def _refer(c: Any, a: Any) -> None:
    """A-GEM: compute the gradient of a remembered batch, and project by it."""
    net, kept = a.net, a.remembered
    copy(net.gradient, net.extra)
    for row in range(kept.batch):
        _take(a, kept, below(kept.draws, len(kept.rewards)), row, kept.batch)
    td_gradient(net, a.batch, kept.batch, c.double_q != 0, 1.0)
    copy(net.gradient, kept.reference)
    copy(net.extra, net.gradient)
    if kept.projects_update:
        copy(net.online, kept.before)
        return
    kept.tally[0] += 1
    if without_opposed(net.gradient, kept.reference):
        kept.tally[1] += 1


@inner(WIDE)
def _norm(vector: Any) -> Any:
    square = np.float32(0.0)
    for i in range(len(vector)):
        square += vector[i] * vector[i]
    return np.sqrt(square)


@inner(FUSED)
def _descend(parameters: Any, gradient: Any, rate: float, scale: float) -> None:
    """Step as ``torch.optim.SGD``."""
    scale_32, rate_32 = np.float32(scale), np.float32(rate)
    for i in range(len(parameters)):
        parameters[i] -= rate_32 * (scale_32 * gradient[i])


@inner(FUSED)
def _adam(c: Any, parameters: Any, gradient: Any, first: Any, second: Any, scale: float) -> None:
    """Step as ``torch.optim.Adam`` (Kingma and Ba 2015)."""
    factor = np.float32(scale)
    keep_2, take_1, take_2 = (
        np.float32(c.beta_2),
        np.float32(1.0 - c.beta_1),
        np.float32(1.0 - c.beta_2),
    )
    step = np.float32(c.rate / (1.0 - c.beta_1**c.moments))
    root = np.float32(np.sqrt(1.0 - c.beta_2**c.moments))
    epsilon = np.float32(c.epsilon)
    nothing, tiny_1, tiny_2 = np.float32(0.0), np.float32(1e-30), np.float32(1e-36)
    for i in range(len(parameters)):
        slope = factor * gradient[i]
        m = first[i] + take_1 * (slope - first[i])
        v = keep_2 * second[i] + take_2 * slope * slope
        # Without a gradient both shrink to denormal numbers, which are slow to compute with; so
        # small they move nothing.
        m = nothing if abs(m) < tiny_1 else m
        v = nothing if v < tiny_2 else v
        first[i] = m
        second[i] = v
        parameters[i] -= step * (m / (np.sqrt(v) / root + epsilon))


@inner()
def synchronise(c: Any, net: Any) -> None:
    """Bring the target network up to date where it is due, unless an interpolation is awaited."""
    if c.syncs_due == 0 or c.reptile_steps > 0:
        return
    tau = c.tau if c.syncs_due == 1 else 1.0 - (1.0 - c.tau) ** c.syncs_due
    take, keep = np.float32(tau), np.float32(1.0 - tau)
    if tau == 1.0:
        copy(net.online, net.target)
    else:
        for i in range(len(net.target)):
            net.target[i] = net.target[i] * keep + take * net.online[i]
    net.stale[TARGET] = 1
    c.syncs_due = 0
