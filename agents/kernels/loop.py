"""Playing and learning in one compiled loop, with games of this suite.

It knows no game more than the address of its step. Python is entered only when the loop returns.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload

from continual_arcade.agents.kernels.first_layer import show
from continual_arcade.agents.kernels.functions import call
from continual_arcade.agents.kernels.game_step import Play
from continual_arcade.agents.kernels.inner import inner
from continual_arcade.agents.kernels.layout import ONLINE
from continual_arcade.agents.kernels.losses import TD
from continual_arcade.agents.kernels.network import best, forward
from continual_arcade.agents.kernels.random import Stream, below, fraction
from continual_arcade.agents.kernels.replay import Pending, lacks_room, place, push
from continual_arcade.agents.kernels.update import (
    DONE,
    LACKS_ROOM,
    UNPLANNED,
    Agent,
    arrive,
    leave,
    synchronise,
    train,
)


class Acting(NamedTuple):
    """How actions are chosen."""

    rates: npt.NDArray[np.float64]
    """Probability of exploring in each step of the chunk, shape ``(steps,)``."""
    learning_rates: npt.NDArray[np.float64]
    """Of what is learnt after each step of the chunk, shape ``(steps,)``."""
    cumulated: npt.NDArray[np.float64]
    """Sums of the action prior, shape ``(actions,)``; no element for a uniform one."""
    num_actions: int
    draws: Stream
    buffer: npt.NDArray[np.float32]
    """For the outputs of the network's layers."""


class ToPlay(NamedTuple):
    """What :func:`play_and_learn` is called with."""

    control: npt.NDArray[Any]
    """The control record, shape ``(1,)``."""
    agent: Agent
    pending: Pending
    """Steps that wait for later rewards."""
    step: int
    """Address of the C function that plays a step in all games (``game_step.py``)."""
    games: int
    """Address of what it is called with."""
    phases: npt.NDArray[np.int64]
    """Phase of the episodes that begin in each step of the chunk, shape ``(steps,)``."""
    play: Play
    acting: Acting


# What depends on whether there are pictures: the first argument is what there is of them.


def as_inputs(pictures: Any, inputs: Any, observations: Any) -> Any:
    """Return observations as a network is given them."""
    raise NotImplementedError


@overload(as_inputs, strict=False)
def _as_inputs(pictures: Any, inputs: Any, observations: Any) -> Any:
    if isinstance(pictures, types.NoneType):
        return lambda pictures, inputs, observations: observations

    def shown(pictures: Any, inputs: Any, observations: Any) -> Any:
        for row in range(len(observations)):
            show(pictures, observations[row], inputs[row])
        return inputs[: len(observations)]

    return shown


def play_and_learn(given: Any) -> int:
    """Play some steps in all games, and learn after each but the last.

    What follows the last step is left to the caller, who may want to look at the agent before, and
    can have it made up for at the beginning of the next call (``owed``).

    Args:
        given: See :class:`ToPlay`.

    Returns:
        ``DONE`` after the steps asked for, or fewer if a phase or enough episodes have ended;
        ``DIVERGED``; ``MISPLANNED``; or ``LACKS_ROOM``, halfway through a step: to be called again
        once there is.
    """
    c, a, pending = given.control[0], given.agent, given.pending
    play, acting = given.play, given.acting
    stop = _is_wanted(c, play)  # already, where it is called again halfway through a rollout
    arrive(c, a.net)
    if c.owed:
        c.owed = 0
        status = train(c, a)
        if status != DONE:
            return leave(a.net, status)
        _forget_learnt(c)
    while True:
        k = c.played
        if not c.halfway:
            choose(c, a.net, play, acting, k)
            call(given.step, given.games)
            c.timesteps += c.num_envs
            _complete(c, a.completed, pending, play)
        if lacks_room(a.memory, c.kind, a.completed, c.fresh, c.completed):
            c.halfway = 1
            return leave(a.net, LACKS_ROOM)
        c.halfway = 0
        store(c, a)
        stop = _end_episodes(c, play, given.phases[k], k) or stop
        c.calls += 1
        if c.calls % c.sync_every == 0:
            c.syncs_due += 1
            synchronise(c, a)
        c.played += 1
        is_whole = c.played % c.train_every == 0
        if c.played == c.steps or (stop and is_whole):
            return leave(a.net, DONE)
        if is_whole and c.timesteps > c.learning_starts and c.gradient_steps > 0:
            c.rate = acting.learning_rates[k]
            status = train(c, a)
            if status != DONE:
                return leave(a.net, status)
        _forget_learnt(c)


@inner()
def _forget_learnt(c: Any) -> None:
    """Make room for the next transitions, unless somebody wants to see all that were played."""
    if not c.keeps_completed and c.learnt == c.completed:
        c.learnt = c.completed = 0


@inner()
def choose(c: Any, net: Any, play: Any, acting: Any, k: int) -> None:
    """Choose actions: first all coins are thrown, then an exploratory action drawn for each."""
    explores_always = c.timesteps < c.learning_starts
    if not explores_always:
        seen = as_inputs(net.shape.pictures, net.inputs, play.observations)
        values = forward(net, ONLINE, seen, acting.buffer)
        for env in range(c.num_envs):
            play.actions[env] = -1 - best(values, env)
        for env in range(c.num_envs):
            if fraction(acting.draws) >= acting.rates[k]:
                play.actions[env] = -1 - play.actions[env]
    else:
        for env in range(c.num_envs):
            play.actions[env] = -1
    for env in range(c.num_envs):
        if len(acting.cumulated):
            drawn: Any = np.searchsorted(acting.cumulated, fraction(acting.draws), side="right")
        else:
            drawn = below(acting.draws, acting.num_actions)
        if play.actions[env] < 0:  # left open: it explores
            play.actions[env] = drawn


@inner()
def _complete(c: Any, completed: Any, pending: Any, play: Any) -> None:
    """Take the transitions that the step completes."""
    c.fresh = c.completed
    n_steps = len(pending.discounts)
    taken = play.actions if c.loss_kind == TD else play.labels
    c.newest = (c.newest + 1) % n_steps
    for env in range(c.num_envs):
        ended = play.ended[env]
        c.completed = push(
            pending,
            completed,
            c.completed,
            c.newest,
            env,
            play.before[env],
            taken[env],
            np.float32(play.rewards[env]),
            play.final_observations[env] if ended else play.observations[env],
            ended,
            play.terminated[env],
            play.phases[env],
        )


@inner()
def store(c: Any, a: Any) -> None:
    """Store what was completed, with its values if they are kept."""
    completed = a.completed
    placed = place(a.memory, c.kind, c.fifo_size, c.seen, completed, c.fresh, c.completed)
    c.placed = placed
    count = c.completed - c.fresh
    c.seen += count
    if c.values_after >= 0 and c.timesteps > c.values_after and count:
        for row in range(count):
            seen = completed.observations[c.fresh + row]
            show(a.net.shape.pictures, seen, a.net.inputs[row])
        values = forward(a.net, ONLINE, a.net.inputs[:count], a.net.activations)
        for i in range(placed):
            a.memory.q_values[completed.placed_slots[i]] = values[
                completed.placed_rows[i] - c.fresh
            ]
    if c.planned == UNPLANNED or c.timesteps <= c.learning_starts:
        c.learnt = c.completed  # nothing is piled up for a part to learn from


@inner()
def _end_episodes(c: Any, play: Any, phase: int, k: int) -> Any:
    """Take note of the episodes that ended.

    Returns:
        Whether some did, and Python has something to do since.
    """
    ended = False
    for env in range(c.num_envs):
        play.returns[env] += play.rewards[env]
        play.lengths[env] += 1
        if play.ended[env]:
            ended = True
            play.episode_returns[c.episodes] = play.returns[env]
            play.episode_lengths[c.episodes] = play.lengths[env]
            c.episodes += 1
            play.returns[env] = 0.0
            play.lengths[env] = 0
            play.changed[env] = play.phases[env] != phase
            play.phases[env] = phase
            play.former[env] = play.begun[env]
            play.begun[env] = k
    return ended and _is_wanted(c, play)


@inner()
def _is_wanted(c: Any, play: Any) -> Any:
    """Return whether Python is to be entered: a phase is over for all, or enough episodes are."""
    return c.episodes >= c.episodes_wanted or np.min(play.phases) != c.phase
