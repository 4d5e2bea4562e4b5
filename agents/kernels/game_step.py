"""A step of all games, as compiled code calls it: a C function, known by its address.

So what learns is compiled once, whatever it plays, and a game brings no more than its own step.

``step_games`` is a template: where it names ``step_batch`` and ``read_labels``, the loops of the
game's own rules take their place when it is compiled.
"""

from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import overload

from continual_arcade.envs import raster
from continual_arcade.envs.raster import BEGIN, FOLLOW, REST


def step_batch(*_: Any) -> NoReturn:
    """Stand for the loop of a game."""
    raise NotImplementedError("a template runs only with the rules of a game")


def read_labels(*_: Any) -> NoReturn:
    """Stand for what reads the right answers from the state of a game."""
    raise NotImplementedError("a template runs only with the rules of a game")


class Drawn(NamedTuple):
    """Where the pictures of the games come from."""

    scenes: npt.NDArray[np.float32]
    """What the games look like now, shape ``(num_envs, numbers)``."""
    final_scenes: npt.NDArray[np.float32]
    moves: npt.NDArray[np.int64]
    """What each scene is to those before it, shape ``(num_envs,)``."""
    drawing: Any
    """:class:`~continual_arcade.envs.pictures.Drawing`."""


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
    boundaries: npt.NDArray[np.bool_]
    """Whether a phase ends with the step."""
    drawn: Any
    """:class:`Drawn`, if they are seen in pictures, or None."""


class Play(NamedTuple):
    """What happens in the games, step by step; most have shape ``(num_envs,)``."""

    observations: npt.NDArray[Any]
    """What is seen now, shape ``(num_envs, numbers)``: features, or the pixels of pictures."""
    before: npt.NDArray[Any]
    """What was seen before the step."""
    final_observations: npt.NDArray[Any]
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


class ToStep(NamedTuple):
    """What :func:`step_games` is called with."""

    control: npt.NDArray[Any]
    """The control record, shape ``(1,)``; it says which step of the chunk it is."""
    state: GameState
    play: Play


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


def step_games(given: Any) -> int:
    """Play a step in all games.

    Args:
        given: See :class:`ToStep`; the actions are chosen.

    Returns:
        How many episodes ended.
    """
    c, state, play = given.control[0], given.state, given.play
    k = c.played
    play.before[:] = play.observations
    read_labels(state.blocks, play.labels)
    ended: int = step_batch(
        state.blocks,
        play.actions,
        state.params[k : k + 1],
        state.limit,
        state.boundaries[k],
        True,
        c.clock + (k + 1) * c.num_envs,
        state.held,
        told_now(state.drawn, play.observations),
        play.rewards,
        play.terminated,
        play.truncated,
        play.ended,
        play.lifetime_steps,
        play.scores,
        told_last(state.drawn, play.final_observations),
        play.final_scores,
    )
    draw(state.drawn, play.ended, play.observations, play.final_observations)
    return ended
