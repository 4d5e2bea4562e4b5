"""What an agent does between two steps of environments that are not compiled.

It stores what the step before has brought, learns, and chooses what to do next: one after the
other, in one call of compiled code.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.kernels.inner import inner
from continual_arcade.agents.kernels.loop import Acting, choose, store
from continual_arcade.agents.kernels.replay import Pending, lacks_room, push
from continual_arcade.agents.kernels.update import DONE, LACKS_ROOM, Agent, arrive, leave, train


class Arrived(NamedTuple):
    """A step of all sub-environments, as it arrived; most have shape ``(num_envs,)``."""

    observations: npt.NDArray[Any]
    """Where they were, in the kind that is stored, shape ``(num_envs, features)``."""
    next_observations: npt.NDArray[Any]
    """Where they came to; the last observation of an episode that ended."""
    actions: npt.NDArray[np.int64]
    """What they did, or the right answer."""
    rewards: npt.NDArray[np.float64]
    ended: npt.NDArray[np.bool_]
    terminated: npt.NDArray[np.bool_]
    phases: npt.NDArray[np.int64]


class Choice(NamedTuple):
    """What is seen, shape ``(num_envs, features)``, and what is done about it."""

    observations: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int64]


class ToGoOn(NamedTuple):
    """What :func:`store_learn_and_choose` is called with."""

    control: npt.NDArray[Any]
    """The control record, shape ``(1,)``."""
    agent: Agent
    pending: Pending
    """Steps that wait for later rewards."""
    arrived: Arrived
    choice: Choice
    acting: Acting


def store_learn_and_choose(given: Any) -> int:
    """Store a step, learn, and choose actions: what of these is to be done.

    Args:
        given: See :class:`ToGoOn`.

    Returns:
        ``DONE``; ``DIVERGED`` or ``MISPLANNED`` before actions are chosen; or ``LACKS_ROOM`` before
        the step is stored: to be called again once there is.
    """
    c, a = given.control[0], given.agent
    arrive(c, a.net)
    if c.stores:
        if not c.halfway:
            _complete(c, a.completed, given.pending, given.arrived)
        if lacks_room(a.memory, c.kind, a.completed, c.fresh, c.completed):
            c.halfway = 1
            return leave(a.net, LACKS_ROOM)
        c.halfway = 0
        store(c, a)
        c.stores = 0
    if c.owed:
        c.owed = 0
        status = train(c, a)
        if status != DONE:
            return leave(a.net, status)
    if c.chooses:
        choose(c, a.net, given.choice, given.acting, 0)
    return leave(a.net, DONE)


@inner()
def _complete(c: Any, completed: Any, pending: Any, arrived: Any) -> None:
    """Take the transitions that the step completes."""
    c.fresh = c.completed
    c.newest = (c.newest + 1) % len(pending.discounts)
    for env in range(c.num_envs):
        c.completed = push(
            pending,
            completed,
            c.completed,
            c.newest,
            env,
            arrived.observations[env],
            arrived.actions[env],
            arrived.rewards[env],
            arrived.next_observations[env],
            arrived.ended[env],
            arrived.terminated[env],
            arrived.phases[env],
        )
