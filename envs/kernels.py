"""The loops that drive a game's rules, compiled once for each game.

Each loop below is a template: where it names a rule (``advance``, ``observe``, ...), that game's
own takes its place when it is compiled. The scalar environment and the batch run the same rules on
the same layout; only the number of lanes in a block differs.

What a context shows (``context.py``) stands behind the features. The rules know nothing of it: it
comes with the parameters of an episode, is held until the episode ends, and copied behind the
features of each observation. In a single environment it simply lies there, in memory.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, NoReturn

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from continual_arcade.envs.compiling import kernel, rebind, rule
from continual_arcade.envs.game import Rules
from continual_arcade.envs.lanes import DRAW, OVER


def _stand_in(*_: Any) -> NoReturn:
    raise NotImplementedError("a template runs only with the rules of a game")


constants: Callable[..., Any] = _stand_in
begin: Callable[..., None] = _stand_in
advance: Callable[..., None] = _stand_in
advance_all: Callable[..., None] = _stand_in
settle: Callable[..., None] = _stand_in
observe: Callable[..., None] = _stand_in
cell_at: Callable[..., Any] = _stand_in
num_actions = 0

WORDS = 8
"""Numbers that are copied at a time, a 256-bit register: what is read or written by them must go on
for so many."""


def _copied(typing_context: Any, out: Any, at: Any, source: Any, start: Any) -> Any:
    """Compile ``_copy_words(out, at, source, start)``, which copies ``WORDS`` numbers.

    Both are flat float32 arrays. A loop over a few numbers costs three times as much, because its
    length is not known when it is compiled, and the arrays might overlap.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words = ir.VectorType(ir.FloatType(), WORDS).as_pointer()

        def address(which: int) -> Any:
            array = context.make_array(signature.args[which])(context, builder, arguments[which])
            return builder.bitcast(builder.gep(array.data, [arguments[which + 1]]), words)

        moved = builder.load(address(2))
        moved.align = 4
        builder.store(moved, address(0)).align = 4
        return context.get_dummy_value()

    return types.void(out, types.intp, source, types.intp), generate


_copy_words: Any = intrinsic(_copied)


@rule
def _show(
    features: Any, num_features: int, held: Any, first: int, used: int, seen: Any, width: int
) -> None:
    """Write the observations of a block: features, and behind them the context.

    What is copied in whole words runs over into the next observation, which is written after it.

    Args:
        features: Those of the block, flat, with ``WORDS`` more numbers behind them.
        num_features: How many an environment has.
        held: The context of all environments, shape ``(num_envs, whole words)``.
        first: The first environment of the block.
        used: How many of its lanes are environments.
        seen: Flat array of the observations of all environments.
        width: Numbers of an observation.
    """
    contexts, words = held.reshape(-1), held.shape[1]
    room = max(-(-num_features // WORDS) * WORDS, num_features + words)
    whole = max(0, min(used, (len(seen) - room) // width - first + 1))
    at, start = first * width, first * words
    for lane in range(whole):
        for j in range(0, num_features, WORDS):
            _copy_words(seen, at + j, features, lane * num_features + j)
        for j in range(0, words, WORDS):
            _copy_words(seen, at + num_features + j, contexts, start + j)
        at += width
        start += words
    for lane in range(whole, used):  # the last ones, behind which there is nothing to run over into
        for j in range(num_features):
            seen[at + j] = features[lane * num_features + j]
        for j in range(width - num_features):
            seen[at + num_features + j] = contexts[start + j]
        at += width
        start += words


@rule
def _hold(held: Any, env: int, params: Any, row: int, seen: Any, end: int, shown: int) -> None:
    """Hold the context at the end of a row of ``params``, and show it in one observation.

    Args:
        held: The context of all environments.
        env: The environment.
        params: Tunables, and the context behind them.
        row: Which row of them.
        seen: Flat array of the observations of all environments.
        end: Where in it the observation ends.
        shown: Numbers of the context.
    """
    for j in range(shown):
        value = np.float32(params[row, params.shape[1] - shown + j])
        held[env, j] = value
        seen[end - shown + j] = value


def _advance_all(block: Any, used: int, constants: Any) -> None:
    """Play one step in every lane of a block; padding plays along."""
    for lane in range(len(block.action)):
        advance(block, lane, constants)


def _reset_batch(
    blocks: Any,
    num_envs: int,
    params: Any,
    velocity: float,
    begins: Any,
    held: Any,
    observations: Any,
) -> None:
    """Start an episode in some environments, and look at all of them.

    Args:
        blocks: The state.
        num_envs: Number of environments; the lanes behind them are padding.
        params: Values of the tunables, and the context behind them, a row for each environment, or
            one for all.
        velocity: The first velocity of whatever the player moves [px/step].
        begins: In which lanes an episode starts, those of the padding included.
        held: The context of each environment, shape ``(num_envs, whole words)``, changed where an
            episode starts.
        observations: Filled with features and context, shape ``(num_envs, width)``.
    """
    lanes = len(blocks[0].action)
    rows = len(params)
    seen = observations.reshape(-1)
    num_features = len(blocks[0].features)
    width = observations.shape[1]
    for k in range(len(blocks)):
        block = blocks[k]
        shared = constants(block)
        first = k * lanes
        for lane in range(lanes):
            if not begins[first + lane]:
                continue
            # Padding plays along, so that a loop over a block needs no special case.
            row = first + lane if first + lane < rows else rows - 1
            begin(block, lane, shared, params, row, velocity)
            block.score[lane] = 0.0
            block.steps[lane] = 0.0
        for lane in range(min(lanes, num_envs - first)):
            env = first + lane
            observe(block, lane, shared, seen, env * width)
            if begins[env]:
                row = env if env < rows else rows - 1
                _hold(held, env, params, row, seen, (env + 1) * width, width - num_features)
            for j in range(width - num_features):
                seen[env * width + num_features + j] = held[env, j]


def _step_batch(
    blocks: Any,
    actions: Any,
    next_params: Any,
    limit: float,
    boundary: bool,
    restart: bool,
    lifetime_step: int,
    held: Any,
    observations: Any,
    rewards: Any,
    terminated: Any,
    truncated: Any,
    ended: Any,
    lifetime_steps: Any,
    scores: Any,
    final_observations: Any,
    final_scores: Any,
) -> int:
    """Play one step in each environment.

    Args:
        blocks: The state.
        actions: Shape ``(num_envs,)``, whole numbers.
        next_params: Tunables of the episodes that start now, and the context behind them, one row.
        limit: Steps after which an episode is truncated.
        boundary: Whether the phase ends with this step, which truncates every episode.
        restart: Whether the next episode starts where one has ended.
        lifetime_step: Where the lifetime clock stands after the step.
        held: The context of each environment, shape ``(num_envs, whole words)``, changed where an
            episode starts; None if nothing is shown, which costs nothing.
        observations: Filled with what is seen now, shape ``(num_envs, width)``.
        rewards: Filled, shape ``(num_envs,)``.
        terminated: Filled, shape ``(num_envs,)``.
        truncated: Filled, shape ``(num_envs,)``.
        ended: Filled with whether it is one or the other, shape ``(num_envs,)``.
        lifetime_steps: Filled with ``lifetime_step``, shape ``(num_envs,)``.
        scores: Filled with the score now, shape ``(num_envs,)``.
        final_observations: Where an episode ended, filled with what it ended with.
        final_scores: Where an episode ended, filled with its score.

    Returns:
        Number of episodes that ended, or ``-1 - i`` if action ``i`` is none; then nothing moved.
    """
    num_envs = len(actions)
    for i in range(num_envs):
        if actions[i] < 0 or actions[i] >= num_actions:
            return -1 - i
    lanes = len(blocks[0].action)
    num_ended = 0
    # Flat, and rows of a width known when this is compiled: four times as fast.
    seen = observations.reshape(-1)
    num_features = len(blocks[0].features)
    width = observations.shape[1]
    # The features of a block: at a distance that is known when this is compiled they are written by
    # whole registers, and lie in the nearest cache when the context is put behind them.
    near = seen if held is None else np.empty(lanes * num_features + WORDS, np.float32)
    for k in range(len(blocks)):
        block = blocks[k]
        shared = constants(block)
        first = k * lanes
        used = min(lanes, num_envs - first)
        for lane in range(used):
            block.action[lane] = actions[first + lane]
        advance_all(block, used, shared)
        for lane in range(lanes):
            block.steps[lane] += 1.0
        for lane in range(used):
            if block.event[lane] & DRAW:
                settle(block, lane, shared)
        if held is None:
            for lane in range(used):
                observe(block, lane, shared, seen, (first + lane) * num_features)
        else:
            for lane in range(used):
                observe(block, lane, shared, near, lane * num_features)
            _show(near, num_features, held, first, used, seen, width)
        for lane in range(used):
            rewards[first + lane] = block.reward[lane]
            scores[first + lane] = block.score[lane]
            terminated[first + lane] = (block.event[lane] & OVER) != 0
            truncated[first + lane] = boundary | (block.steps[lane] >= limit)
            ended[first + lane] = terminated[first + lane] | truncated[first + lane]
            lifetime_steps[first + lane] = lifetime_step
        for lane in range(used):
            if ended[first + lane]:
                num_ended += 1
                final_observations[first + lane] = observations[first + lane]
                final_scores[first + lane] = block.score[lane]
                if not restart:
                    continue
                scores[first + lane] = 0
                begin(block, lane, shared, next_params, 0, 0.0)
                block.score[lane] = 0.0
                block.steps[lane] = 0.0
                env = first + lane
                observe(block, lane, shared, seen, env * width)
                if held is not None:
                    _hold(held, env, next_params, 0, seen, (env + 1) * width, width - num_features)
    return num_ended


def _read_labels(blocks: Any, labels: Any) -> None:
    """Fill in the right answers of all environments, shape ``(num_envs,)``."""
    lanes = len(blocks[0].action)
    for env in range(len(labels)):
        labels[env] = int(blocks[env // lanes].label[env % lanes])


def _no_labels(blocks: Any, labels: Any) -> None:
    """Leave the labels as they are: the game has none."""


def _reset_single(address: int, params: Any, velocity: float) -> None:
    """Start an episode in a block of one lane.

    Args:
        address: Where in memory the block lies.
        params: Values of the tunables, shape ``(1, num_tunables)``.
        velocity: The first velocity of what the player moves [px/step].
    """
    block = cell_at(address)
    shared = constants(block)
    begin(block, 0, shared, params, 0, velocity)
    block.score[0] = 0.0
    block.steps[0] = 0.0
    observe(block, 0, shared, block.features, 0)


def _step_single(address: int, action: int) -> tuple[float, bool, int]:
    """Play one step in a block of one lane.

    Args:
        address: Where in memory the block lies.
        action: What to do.

    Returns:
        The reward, whether the episode is over by the rules, and the score; the reward is NaN, and
        nothing has moved, if there is no such action.
    """
    if action < 0 or action >= num_actions:
        return float("nan"), False, 0
    block = cell_at(address)
    shared = constants(block)
    block.action[0] = action
    advance(block, 0, shared)
    block.steps[0] += 1.0
    if block.event[0] & DRAW:
        settle(block, 0, shared)
    observe(block, 0, shared, block.features, 0)
    return block.reward[0], (block.event[0] & OVER) != 0, int(block.score[0])


class BatchKernels(NamedTuple):
    """The compiled loops over the blocks of a batch."""

    reset: Callable[..., None]
    step: Callable[..., int]
    read_labels: Callable[..., None]


class SingleKernels(NamedTuple):
    """The compiled code for one block of one lane."""

    reset: Callable[[int, Any, float], None]
    step: Callable[[int, int], tuple[float, bool, int]]


@cache
def batch_kernels(rules: Rules, owner: str, actions: int) -> BatchKernels:
    """Compile the loops over a batch with the rules of one game, when they are first called.

    Args:
        rules: The rules.
        owner: Name of the game.
        actions: Its number of actions.
    """
    advance_all = rules.advance_all or rule(rebind(_advance_all, {"advance": rules.advance}))
    names = {**rules._asdict(), "advance_all": advance_all, "num_actions": actions}
    return BatchKernels(
        reset=kernel(_reset_batch, names, owner),
        step=kernel(_step_batch, names, owner),
        read_labels=rule(_read_labels if rules.labelled else _no_labels),
    )


@cache
def single_kernels(rules: Rules, owner: str, actions: int, cell: Any) -> SingleKernels:
    """Compile the code for a single environment with the rules of one game.

    Args:
        rules: The rules.
        owner: Name of the game.
        actions: Its number of actions.
        cell: The dtype of a block of one lane.
    """
    names = {**rules._asdict(), "num_actions": actions, "cell_at": _cell_pointer(cell)}
    names["layout"] = str(cell)  # nobody asks for it; it tells what is kept on disk apart
    reset, step = kernel(_reset_single, names, owner), kernel(_step_single, names, owner)
    # Called with types that are known, compiled code need not look them up: a third off the call.
    return SingleKernels(
        reset=reset.compile((types.int64, types.float64[:, ::1], types.float64)),
        step=step.compile((types.int64, types.int64)),
    )


def _cell_pointer(dtype: Any) -> Any:
    """Return a compiled function from a memory address to the block that lies there.

    A call from Python costs 0.1 us with an integer and 0.25 us with a structured array, whose type
    is looked up each time; a whole step of the rules costs less than that. The caller answers for
    the address, and keeps the array that it belongs to alive.
    """
    record = numba.from_dtype(dtype)

    @intrinsic
    def cell_at(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(record))

        return record(types.int64), generate

    return cell_at
