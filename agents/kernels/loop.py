"""Playing and learning in one compiled loop, with a game of this suite.

``play_and_learn`` is a template: where it names ``step_batch`` and ``read_labels``, the loops of
the game's own rules take their place when it is compiled. Python is entered only when the loop
returns.
"""

from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload

from continual_arcade.agents.kernels.inner import inner
from continual_arcade.agents.kernels.losses import TD
from continual_arcade.agents.kernels.network import ONLINE, best, forward, show
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
from continual_arcade.envs import raster
from continual_arcade.envs.raster import BEGIN, FOLLOW, REST


def step_batch(*_: Any) -> NoReturn:
    """Stand for the loop of a game."""
    raise NotImplementedError("a template runs only with the rules of a game")


def read_labels(*_: Any) -> NoReturn:
    """Stand for what reads the right answers from the state of a game."""
    raise NotImplementedError("a template runs only with the rules of a game")


class GameState(NamedTuple):
    """The games, and what is known of their next steps."""

    blocks: Any
    """Their state."""
    limit: float
    """Steps after which an episode is truncated."""
    params: npt.NDArray[np.float64]
    """Tunables of the episodes that begin in each step, and their context behind them."""
    held: npt.NDArray[np.float32]
    """Context of the running episodes, as :class:`~continual_arcade.envs.core.Core` has it."""
    phases: npt.NDArray[np.int64]
    """Phase of the episodes that begin in each step, shape ``(steps,)``."""
    boundaries: npt.NDArray[np.bool_]
    """Whether a phase ends with the step."""


class Drawn(NamedTuple):
    """Where the pictures of the games come from."""

    scenes: npt.NDArray[np.float32]
    """What the games look like now, shape ``(num_envs, numbers)``."""
    final_scenes: npt.NDArray[np.float32]
    moves: npt.NDArray[np.int64]
    """What each scene is to those before it, shape ``(num_envs,)``."""
    drawing: Any
    """:class:`~continual_arcade.envs.pictures.Drawing`."""


class Play(NamedTuple):
    """What happens in the games, step by step; most have shape ``(num_envs,)``."""

    observations: npt.NDArray[Any]
    """What is seen now, shape ``(num_envs, numbers)``: features, or the pixels of pictures."""
    before: npt.NDArray[Any]
    """What was seen before the step."""
    final_observations: npt.NDArray[Any]
    drawn: Any
    """:class:`Drawn`, if they are seen in pictures, or None."""
    actions: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    """The right answers, of labelled examples."""
    rewards: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    ended: npt.NDArray[np.bool_]
    lifetime_steps: npt.NDArray[np.int64]
    scores: npt.NDArray[np.int64]
    final_scores: npt.NDArray[np.int64]
    phases: npt.NDArray[np.int64]
    """Phase of the running episode."""
    begun: npt.NDArray[np.int64]
    """Step of this chunk in which the running episode began, -1 if before."""
    former: npt.NDArray[np.int64]
    """The same of the episode before it."""
    changed: npt.NDArray[np.bool_]
    """Whether its phase is another than that of the episode before."""
    returns: npt.NDArray[np.float64]
    """Rewards of the running episode, summed."""
    lengths: npt.NDArray[np.int64]
    episode_returns: npt.NDArray[np.float64]
    """Of the episodes that ended in this chunk, in order."""
    episode_lengths: npt.NDArray[np.int64]


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
    state: GameState
    play: Play
    acting: Acting


# What depends on whether there are pictures: the first argument is what there is of them.


def told_now(drawn: Any, observations: Any) -> Any:
    """Return where games write what they look like now."""
    raise NotImplementedError


def told_last(drawn: Any, final_observations: Any) -> Any:
    """Return where games write what they looked like when they ended."""
    raise NotImplementedError


def draw(drawn: Any, ended: Any, observations: Any, final_observations: Any) -> None:
    """Draw what is seen after a step, first of episodes that have ended, as environments do."""
    raise NotImplementedError


def as_inputs(pictures: Any, inputs: Any, observations: Any) -> Any:
    """Return observations as a network is given them."""
    raise NotImplementedError


@overload(told_now, strict=False)
def _told_now(drawn: Any, observations: Any) -> Any:
    if isinstance(drawn, types.NoneType):
        return lambda drawn, observations: observations
    return lambda drawn, observations: drawn.scenes


@overload(told_last, strict=False)
def _told_last(drawn: Any, final_observations: Any) -> Any:
    if isinstance(drawn, types.NoneType):
        return lambda drawn, final_observations: final_observations
    return lambda drawn, final_observations: drawn.final_scenes


@overload(draw, strict=False)
def _draw(drawn: Any, ended: Any, observations: Any, final_observations: Any) -> Any:
    if isinstance(drawn, types.NoneType):
        return lambda drawn, ended, observations, final_observations: None

    def drawing(drawn: Any, ended: Any, observations: Any, final_observations: Any) -> None:
        moves, with_ = drawn.moves, drawn.drawing
        some = False
        for env in range(len(ended)):
            moves[env] = FOLLOW if ended[env] else REST
            some = some or ended[env]
        if some:
            raster.show(
                drawn.final_scenes,
                moves,
                with_.frame,
                with_.newest,
                with_.recent,
                with_.pictures,
                final_observations,
            )
        for env in range(len(ended)):
            moves[env] = BEGIN if ended[env] else FOLLOW
        raster.show(
            drawn.scenes,
            moves,
            with_.frame,
            with_.newest,
            with_.recent,
            with_.pictures,
            observations,
        )

    return drawing


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
    state, play, acting = given.state, given.play, given.acting
    stop = False
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
            play.before[:] = play.observations
            read_labels(state.blocks, play.labels)
            step_batch(
                state.blocks,
                play.actions,
                state.params[k : k + 1],
                state.limit,
                state.boundaries[k],
                True,
                c.clock + (k + 1) * c.num_envs,
                state.held,
                told_now(play.drawn, play.observations),
                play.rewards,
                play.terminated,
                play.truncated,
                play.ended,
                play.lifetime_steps,
                play.scores,
                told_last(play.drawn, play.final_observations),
                play.final_scores,
            )
            draw(play.drawn, play.ended, play.observations, play.final_observations)
            c.timesteps += c.num_envs
            _complete(c, a.completed, pending, play)
        if lacks_room(a.memory, c.kind, a.completed, c.fresh, c.completed):
            c.halfway = 1
            return leave(a.net, LACKS_ROOM)
        c.halfway = 0
        store(c, a)
        stop = _end_episodes(c, play, state.phases[k], k) or stop
        c.calls += 1
        if c.calls % c.sync_every == 0:
            c.syncs_due += 1
            synchronise(c, a)
        c.played += 1
        is_whole = c.played % c.train_every == 0
        if c.played == c.steps or (stop and is_whole):
            return leave(a.net, DONE)
        if is_whole and c.timesteps > c.learning_starts:
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
        Whether Python has something to do: a phase is over for all, or enough episodes are.
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
    if not ended:
        return False
    return c.episodes >= c.episodes_wanted or np.min(play.phases) != c.phase
