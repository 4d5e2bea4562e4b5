"""The gradient step in compiled code, and what is learnt after a step of the environments.

The order of the hooks is that of ``agents.methods.base``; the arithmetic is that of
``ContinualDQN._update`` and of the optimisers of PyTorch.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.kernels.arithmetic import drawn_back, share_of_average
from continual_arcade.agents.kernels.first_layer import show, show_kept
from continual_arcade.agents.kernels.functions import (
    address_of,
    call,
    floats_at,
    like_at,
    words_at,
)
from continual_arcade.agents.kernels.inner import FUSED, WIDE, inner
from continual_arcade.agents.kernels.layout import ONLINE, TARGET, Network
from continual_arcade.agents.kernels.losses import (
    TD,
    loss_gradient,
    loss_slopes,
    passed_rows,
    value_gradient,
)
from continual_arcade.agents.kernels.mixture import mix
from continual_arcade.agents.kernels.network import backward, forward, pass_by, turn_all
from continual_arcade.agents.kernels.per_example import finish_examples, sgd_one_example
from continual_arcade.agents.kernels.pieces import matrix_in
from continual_arcade.agents.kernels.program import (
    ADD_GRADIENT,
    AFTER_UPDATE,
    BEFORE_UPDATE,
    CALL,
    COMPARED_SLOPE,
    CONSTRAIN,
    DRAW_BACK,
    INTERPOLATE,
    KEPT_GRADIENT,
    KEPT_SLOPE,
    LOSS,
    MIXTURE,
    OF_BATCH,
    ON_TD_GRADIENT,
    PROJECT,
    PROJECT_UPDATE,
    Program,
    defers_target,
    is_plan,
)
from continual_arcade.agents.kernels.random import Stream, below
from continual_arcade.agents.kernels.replay import Completed, Memory, draw
from continual_arcade.agents.kernels.vectors import copy

Vector = npt.NDArray[np.float32]

DONE, DIVERGED, LACKS_ROOM, MISPLANNED = range(4)
"""Why compiled code returns."""

UNPLANNED, TOGETHER, ONE_BY_ONE = range(3)
"""What is learnt from after a step of the environments: drawn batches; or what a part plans for the
transitions that were just completed, all at once or one by one."""

STANDS = (
    *("timesteps", "updates", "calls", "syncs_due"),
    *("seen", "newest", "averaged", "moments"),
)
"""Where an agent stands: counters that are handed over before each call, and back after it."""
SETTINGS = (
    *("batch_size", "gradient_steps", "learning_starts"),
    *("double_q", "sync_every", "loss_kind"),
)
"""Settings that are handed over before each call."""
RATES = ("tau", "max_grad_norm", "average", "rate", "beta_1", "beta_2", "epsilon")
"""The same, of which a part is no whole number."""
_WHOLE = (
    *STANDS,
    *SETTINGS,
    # How it learns.
    "train_every",
    "num_envs",
    "kind",
    "fifo_size",
    "adam",
    "planned",
    "repeats",
    "steps_planned",
    "draws_planned",
    "plan_function",
    "measure_every",
    "values_after",
    "keeps_completed",
    "alone",
    "streaming",
    # What was learnt.
    "completed",
    "learnt",
    "losses",
    # What a call is to do between two steps.
    "stores",
    "chooses",
    # A chunk of training.
    "owed",
    "steps",
    "played",
    "halfway",
    "fresh",
    "placed",
    "episodes",
    "episodes_wanted",
    "phase",
    "clock",
    # Acting.
    "rows",
)
_BROKEN = (
    *(*RATES, "long_term_fraction", "loss", "norm", "clip_factor", "sum_of_losses"),
    # The transition that a streaming part learns from, as its rules are given it.
    *("td_error", "greedy", "ended", "game"),
)
CONTROL = np.dtype([(n, np.int64) for n in _WHOLE] + [(n, np.float64) for n in _BROKEN])
"""One record of plain numbers: settings, counters, and what a call is to do and has done."""


class Batch(NamedTuple):
    """What a gradient step learns from; the observations are among the network's buffers."""

    actions: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    dones: npt.NDArray[np.float32]
    discounts: npt.NDArray[np.float32]
    phases: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    slopes: npt.NDArray[np.float32]
    """Derivatives of the loss by the values, shape ``(rows, actions)``."""
    more_slopes: npt.NDArray[np.float32]
    """Those of a loss beside it."""


class Plan(NamedTuple):
    """What a part plans for a repetition; see :mod:`continual_arcade.agents.methods.plans`."""

    draws: npt.NDArray[np.int64]
    """Which draw each gradient step learns from, -1 for none, shape ``(steps,)``."""
    current: npt.NDArray[np.float64]
    """Whether it learns from the current transitions."""
    weights: npt.NDArray[np.float64]
    """Of its TD loss."""
    inner: npt.NDArray[np.float64]
    """How much of the way from where the repetition began is kept after it."""
    outer: npt.NDArray[np.float64]
    """The same of the way from where the first repetition began."""
    record: npt.NDArray[np.int64]
    """Record of the function that plans."""
    slots: npt.NDArray[np.int64]
    """Slots of all draws."""


class Agent(NamedTuple):
    """Everything that learning reads and writes."""

    net: Network
    first_moments: Vector
    second_moments: Vector
    memory: Memory
    completed: Completed
    batch: Batch
    old: npt.NDArray[np.float32]
    """Values that a loss compares with, shape ``(rows, actions)``."""
    program: Program
    """What the parts do."""
    plan: Plan
    inner: Vector
    """Where a repetition of a plan began; no element where nothing is planned."""
    outer: Vector
    """Where the repetitions of a plan began."""


class ToLearn(NamedTuple):
    """What :func:`learn` is called with."""

    control: npt.NDArray[Any]
    """The control record, shape ``(1,)``."""
    agent: Agent


def learn(given: Any) -> int:
    """Learn once; see :func:`train`, of which this is the way in from Python."""
    c, a = given.control[0], given.agent
    arrive(c, a.net)
    return leave(a.net, train(c, a))


@inner()
def arrive(c: Any, net: Any) -> None:
    """Let the average begin again if Python has changed the network, as ``WeightAverage`` does."""
    is_changed = False
    for i in range(len(net.learnt)):
        is_changed |= net.online[i] != net.learnt[i]
    if is_changed:
        copy(net.online, net.average)
        c.averaged = 0


@inner()
def leave(net: Any, status: int) -> int:
    """Note how learning has left the network."""
    copy(net.online, net.learnt)
    return status


@inner()
def train(c: Any, a: Any) -> int:
    """Learn what is to be learnt after a step of the environments.

    Args:
        c: The control record.
        a: The agent.

    Returns:
        ``DONE``; ``DIVERGED``, before the parameters have changed; or ``MISPLANNED``.
    """
    c.losses = 0
    c.sum_of_losses = 0.0
    if c.seen < c.batch_size and not c.streaming:
        return DONE
    status, before = DONE, c.updates
    if c.planned == UNPLANNED:
        for _ in range(c.gradient_steps):
            _draw(c, a, a.batch.slots[: c.batch_size])
            for row in range(c.batch_size):
                _take(a, a.memory.frames, a.memory, a.batch.slots[row], row, c.batch_size)
            status = update(c, a, c.batch_size, 1.0, 1.0, 1.0)
            if status != DONE:
                return status
    else:
        if c.planned == TOGETHER:
            status = _learn_planned(c, a, c.learnt, c.completed)
        else:
            for row in range(c.learnt, c.completed):
                status = _learn_planned(c, a, row, row + 1)
                if status != DONE:
                    return status
        c.learnt = c.completed
    if status == DONE:
        synchronise(c, a)
        if c.average > 0.0 and c.updates > before:
            _fold(c, a.net.average, a.net.online, c.updates - before)
    return status


@inner(FUSED)
def _fold(c: Any, average: Any, parameters: Any, updates: int) -> None:
    """Take the parameters into their average, as ``WeightAverage.fold`` does."""
    share = np.float32(share_of_average(c.average, c.averaged, updates))
    for i in range(len(average)):
        average[i] = drawn_back(parameters[i], average[i], share)
    c.averaged += updates


@inner()
def _draw(c: Any, a: Any, slots: Any) -> None:
    draw(a.memory, c.kind, c.fifo_size, c.long_term_fraction, c.seen, slots)


@inner()
def _take(a: Any, frames: Any, source: Any, index: int, row: int, rows: int) -> None:
    """Put a transition into a batch of so many rows."""
    net, pictures = a.net, a.net.shape.pictures
    show_kept(frames, pictures, source, 0, index, net.inputs[row])
    show_kept(frames, pictures, source, 1, index, net.inputs[rows + row])
    _take_rest(a, source, index, row)


@inner()
def _take_rest(a: Any, source: Any, index: int, row: int) -> None:
    a.batch.actions[row] = source.actions[index]
    a.batch.rewards[row] = source.rewards[index]
    a.batch.dones[row] = source.dones[index]
    a.batch.discounts[row] = source.discounts[index]
    a.batch.phases[row] = source.phases[index]


@inner()
def _learn_planned(c: Any, a: Any, first: int, end: int) -> int:
    """Learn from completed transitions, these rows of them, as a part plans it."""
    if first == end:
        return DONE
    size = 1 if c.planned == ONE_BY_ONE else c.batch_size
    plan = a.plan
    if c.streaming:  # of single steps, each of all games, in their order
        c.ended, c.game = a.completed.ended[first], first % c.num_envs
    copy(a.net.online, a.outer)
    for repeat in range(c.repeats):
        copy(a.net.online, a.inner)
        for i in range(c.draws_planned):
            _draw(c, a, plan.slots[i * size : (i + 1) * size])
        plan.record[0] = repeat
        call(c.plan_function, address_of(plan.record))
        if not is_plan(plan.draws, plan.current, c.draws_planned):
            return MISPLANNED
        if c.alone and _is_single(plan):
            status = _learn_alone(c, a, first)
            if status != DONE:
                return status
            continue
        for step in range(c.steps_planned):
            drawn = size if plan.draws[step] >= 0 else 0
            rows = drawn + (end - first if plan.current[step] != 0.0 else 0)
            place = plan.draws[step] * size
            for row in range(drawn):
                a.batch.slots[row] = plan.slots[place + row]
                _take(a, a.memory.frames, a.memory, a.batch.slots[row], row, rows)
            for row in range(drawn, rows):
                a.batch.slots[row] = -1
                _take(a, None, a.completed, first + row - drawn, row, rows)
            weight, rates = plan.weights[step], (plan.inner[step], plan.outer[step])
            status = update(c, a, rows, weight, rates[0], rates[1])
            if status != DONE:
                return status
    return DONE


@inner()
def _is_single(plan: Any) -> bool:
    """Return whether no step learns from a drawn and a current example at once."""
    for step in range(len(plan.draws)):  # compiled code has no any()
        if plan.draws[step] >= 0 and plan.current[step] != 0.0:
            return False
    return True


@inner()
def _learn_alone(c: Any, a: Any, current: int) -> int:
    """Make the steps of a repetition on single examples, by SGD and nothing else."""
    net, plan, count = a.net, a.plan, c.steps_planned
    for i in range(count):
        # In pairs; and once more in a row, for the target network, which rests in the meantime.
        if plan.current[i] != 0.0:
            _take_pair(a, None, a.completed, current, i, count)
        else:
            _take_pair(a, a.memory.frames, a.memory, plan.slots[plan.draws[i]], i, count)
    others = matrix_in(net.others, 0, count, net.shape.widths[-1])
    if c.loss_kind == TD:
        others = forward(net, TARGET, net.inputs[2 * count : 3 * count], net.others)
    for i in range(count):
        pair = net.inputs[2 * i : 2 * i + 2]
        if not sgd_one_example(c, net, pair, others[i : i + 1], a.batch, i, plan.weights[i]):
            finish_examples(net)
            return DIVERGED
        if c.updates % c.measure_every == 0:
            c.clip_factor = min(1.0, c.max_grad_norm / max(c.norm, 1e-30))
        c.updates += 1
        c.losses += 1
        c.sum_of_losses += c.loss
        draws_back = plan.inner[i] != 1.0 or plan.outer[i] != 1.0
        if draws_back or i == count - 1:
            finish_examples(net)
        if draws_back:
            _draw_back(net.online, a.inner, plan.inner[i])
            _draw_back(net.online, a.outer, plan.outer[i])
            net.stale[ONLINE] = 1
    return DONE


@inner()
def _take_pair(a: Any, frames: Any, source: Any, index: int, row: int, rows: int) -> None:
    net, pictures = a.net, a.net.shape.pictures
    show_kept(frames, pictures, source, 0, index, net.inputs[2 * row])
    show_kept(frames, pictures, source, 1, index, net.inputs[2 * row + 1])
    show_kept(frames, pictures, source, 1, index, net.inputs[2 * rows + row])
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
    _run(c, a, BEFORE_UPDATE, rows, measures, inner, outer)
    for number in a.program.sharpening:
        net.gating[1] = a.program.numbers[number]
        net.stale[ONLINE] = 1
    if c.streaming:
        c.loss = value_gradient(c, net, a.batch, net.gradient)
    else:
        c.loss = loss_slopes(c, net, a.batch, rows, weight)
        if not a.program.apart:
            _add_slopes_of_batch(c, a, rows, measures)
        backward(net, rows, passed_rows(c, rows), a.batch.slopes[:rows], net.gradient)
    _run(c, a, ON_TD_GRADIENT, rows, measures, inner, outer)
    _run(c, a, LOSS, rows, measures, inner, outer)
    _run(c, a, ADD_GRADIENT, rows, measures, inner, outer)
    _run(c, a, PROJECT, rows, measures, inner, outer)
    c.norm = _norm(net.gradient)
    if not (np.isfinite(c.loss) and np.isfinite(c.norm)):
        return DIVERGED
    scale = min(1.0, c.max_grad_norm / (c.norm + 1e-6))
    if measures and not c.streaming:
        c.clip_factor = min(1.0, c.max_grad_norm / max(c.norm, 1e-30))
    if c.streaming:
        pass  # the part makes the step
    elif c.adam:
        c.moments += 1
        _adam(c, net.online, net.gradient, a.first_moments, a.second_moments, scale)
    else:
        _descend(net.online, net.gradient, c.rate, scale)
    for hook in (PROJECT_UPDATE, CONSTRAIN, INTERPOLATE, AFTER_UPDATE):
        _run(c, a, hook, rows, measures, inner, outer)
    net.gating[1] = net.gating[2]
    net.stale[ONLINE] = 1
    c.updates += 1
    c.losses += 1
    c.sum_of_losses += c.loss
    return DONE


@inner()
def _is_due(c: Any, program: Any, operation: Any, measures: bool) -> bool:
    """Return whether an operation is to be done, and let its part know of the gradient step."""
    if operation.only_measured and not measures:
        return False
    program.numbers[operation.number] = c.loss
    program.numbers[operation.number + 1] = c.rate
    if c.streaming:
        program.numbers[operation.number + 2] = c.td_error
        program.numbers[operation.number + 3] = c.greedy
        program.numbers[operation.number + 4] = c.ended
        program.numbers[operation.number + 5] = c.game
    is_due: bool = operation.condition < 0 or program.numbers[operation.condition] != 0.0
    return is_due


@inner()
def _run(c: Any, a: Any, hook: int, rows: int, measures: bool, inner: float, outer: float) -> None:
    """Do what the parts do in a hook."""
    program = a.program
    for i in range(program.starts[hook], program.starts[hook + 1]):
        operation = program.operations[i]
        if not _is_due(c, program, operation, measures):
            continue
        if operation.kind == CALL:
            call(operation.function, operation.record)
        elif operation.kind == DRAW_BACK:
            _draw_back(a.net.online, a.inner, inner)
            _draw_back(a.net.online, a.outer, outer)
        elif operation.kind == KEPT_GRADIENT:
            _kept_gradients(c, a, program.sources[operation.source])
        elif operation.kind == MIXTURE:
            mix(operation.function, operation.record)
        elif operation.kind == KEPT_SLOPE:
            _kept_slope(a, operation, program.sources[operation.source])
        elif program.apart and _slope_of_batch(c, a, operation, rows):
            _add_gradient(a, rows, passed_rows(c, rows))


@inner()
def _add_slopes_of_batch(c: Any, a: Any, rows: int, measures: bool) -> None:
    """Add the slopes of all other losses of the batch to those of its own."""
    program, slopes, more = a.program, a.batch.slopes, a.batch.more_slopes
    for i in range(program.starts[LOSS], program.starts[LOSS + 1]):
        operation = program.operations[i]
        if operation.kind not in OF_BATCH or not _is_due(c, program, operation, measures):
            continue
        if _slope_of_batch(c, a, operation, rows):
            for row in range(rows):
                for action in range(slopes.shape[1]):
                    slopes[row, action] += more[row, action]


@inner()
def _slope_of_batch(c: Any, a: Any, operation: Any, rows: int) -> bool:
    """Compute the slopes of a loss of the batch; return whether there are any."""
    if operation.kind == COMPARED_SLOPE:
        if not _said_by_others(a, a.program.compared[operation.source], rows):
            return False
    else:
        for row in range(rows):
            slot = a.batch.slots[row]
            for action in range(a.old.shape[1]):
                a.old[row, action] = np.nan if slot < 0 else a.memory.q_values[slot, action]
    # The values were just computed.
    widths = a.net.shape.widths
    start = passed_rows(c, rows) * np.sum(widths[1:-1])
    values = matrix_in(a.net.activations, start, rows, widths[-1] // a.net.shape.heads)
    _slopes(a, operation, rows, values)
    return True


@inner()
def _said_by_others(a: Any, compared: Any, rows: int) -> bool:
    """Fill in what other parameters say of the batch; return whether they say anything."""
    net, phases = a.net, a.batch.phases
    since = a.program.numbers[compared.since]
    is_said = False
    for row in range(rows):
        is_said |= phases[row] >= since
    if compared.parameters == 0 or not is_said:
        return False
    parameters = floats_at(compared.parameters, len(net.online))
    transposed = floats_at(compared.transposed, len(net.online))
    if compared.stale:
        turn_all(net.shape, parameters, transposed)
        compared.stale = 0
    values = pass_by(net.shape, parameters, transposed, net.inputs[:rows], net.others, False)
    for row in range(rows):
        for action in range(a.old.shape[1]):
            a.old[row, action] = values[row, action] if phases[row] >= since else np.nan
    return True


@inner()
def _slopes(a: Any, operation: Any, rows: int, values: Any) -> None:
    """Compute the slopes of a loss whose old values are filled in."""
    slopes = a.batch.more_slopes
    record = np.empty(6, np.int64)
    record[0], record[1] = rows, values.shape[1]
    record[2], record[3] = address_of(values), address_of(a.old)
    record[4], record[5] = address_of(slopes), operation.record
    call(operation.function, address_of(record))
    share = np.float32(1.0) / np.float32(rows)
    for row in range(rows):
        for action in range(values.shape[1]):
            slopes[row, action] *= share


@inner()
def _add_gradient(a: Any, rows: int, passed: int) -> None:
    """Add the gradient of a loss whose slopes are filled in, of states just passed."""
    backward(a.net, rows, passed, a.batch.more_slopes[:rows], a.net.extra)
    for i in range(len(a.net.extra)):
        a.net.gradient[i] += a.net.extra[i]


@inner()
def _kept_slope(a: Any, operation: Any, source: Any) -> None:
    """Add the gradient of a loss of a batch of states that a part keeps."""
    if source.count == 0:
        return
    rows, inputs = source.batch, a.net.inputs
    features, actions = inputs.shape[1], a.old.shape[1]
    # In the kind in which replay remembers observations, too.
    states = like_at(a.memory.observations, source.observations, source.count * features)
    kept = floats_at(source.values, source.count * actions)
    stream = Stream(source.state, source.next_uint32, source.next_double)
    for row in range(rows):
        drawn = below(stream, source.count)
        state = states[drawn * features : (drawn + 1) * features]
        show(a.net.shape.pictures, state, inputs[row])
        for action in range(actions):
            a.old[row, action] = kept[drawn * actions + action]
    values = forward(a.net, ONLINE, inputs[:rows], a.net.activations)
    _slopes(a, operation, rows, values)
    _add_gradient(a, rows, rows)


@inner()
def _kept_gradients(c: Any, a: Any, source: Any) -> None:
    """Compute the gradient of the TD loss of a batch of each memory of transitions of a part."""
    if source.count == 0:
        return
    net = a.net
    features = net.inputs.shape[1]
    size = source.count * features
    kind, pictures = a.memory.observations, net.shape.pictures
    observations = like_at(kind, source.observations, size)
    next_observations = like_at(kind, source.next_observations, size)
    actions = words_at(source.actions, source.count)
    rewards = floats_at(source.rewards, source.count)
    dones = floats_at(source.dones, source.count)
    discounts = floats_at(source.discounts, source.count)
    ends = words_at(source.ends, source.memories)
    results = floats_at(source.result, source.memories * len(net.online))
    stream = Stream(source.state, source.next_uint32, source.next_double)
    first = 0
    for memory in range(source.memories):
        held = ends[memory] - first
        rows = source.batch if source.batch > 0 else held
        for row in range(rows):
            chosen = first + (below(stream, held) if source.batch > 0 else row)
            here = slice(chosen * features, (chosen + 1) * features)
            show(pictures, observations[here], net.inputs[row])
            show(pictures, next_observations[here], net.inputs[rows + row])
            a.batch.actions[row] = actions[chosen]
            a.batch.rewards[row] = rewards[chosen]
            a.batch.dones[row] = dones[chosen]
            a.batch.discounts[row] = discounts[chosen]
        place = memory * len(net.online)
        result = results[place : place + len(net.online)]
        loss_gradient(c, net, a.batch, rows, 1.0, result)
        first = ends[memory]


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
def synchronise(c: Any, a: Any) -> None:
    """Bring the target network up to date where it is due, unless a part has it wait."""
    net = a.net
    if c.syncs_due == 0 or defers_target(a.program):
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


@inner()
def _draw_back(parameters: Any, base: Any, rate: float) -> None:
    """Draw the parameters back; a rate of 1 leaves every bit."""
    if rate == 1.0:
        return
    share = np.float32(rate)
    for i in range(len(parameters)):
        parameters[i] = drawn_back(parameters[i], base[i], share)
