"""Where learning one phase helps another, and where it harms it: what TD gradients have in common.

To first order a gradient step on the loss of phase i changes the loss of phase j by their dot
product: both fall where it is positive (transfer), and j rises where it is negative (interference).
Directions are compared by the cosine, which does not depend on the size of errors and rewards.

Source: Riemer et al. (2019), Learning to learn without forgetting by maximizing transfer and
minimizing interference, eq. 1 and 2. There the gradients are those of two examples, here the means
over examples of two phases.
"""

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from continual_arcade.agents.continual_dqn import ContinualDQN

Array: TypeAlias = npt.NDArray[Any]
Steps: TypeAlias = tuple[Array, Array, Array, Array, Array]
"""Observations, actions, rewards, next observations, and whether the episode terminated there."""


@dataclass(frozen=True)
class Alignment:
    """How the mean TD gradients of several batches lie to each other."""

    cosines: npt.NDArray[np.float64]
    """Of each pair of gradients, shape ``(batches, batches)``; NaN where undefined."""
    norms: npt.NDArray[np.float64]
    """Length of each gradient, shape ``(batches,)``; NaN where there is none."""
    reasons: tuple[str, ...]
    """Why the cosines of each batch are undefined; empty where they are defined."""


def td_gradients(
    agent: ContinualDQN,
    observations: Array,
    actions: Array,
    rewards: Array,
    next_observations: Array,
    terminated: Array,
) -> torch.Tensor:
    """Compute the gradient of the mean TD loss of single steps.

    The loss is the agent's own ``td_loss``: Huber, with its discount, its target network and, if it
    has it, Double DQN; over one step, and in evaluation mode, without dropout. It is computed on
    copies of the networks: nothing of the agent is touched.

    Args:
        agent: The agent.
        observations: Shape ``(count, *obs)``.
        actions: Whole numbers, shape ``(count,)``.
        rewards: Shape ``(count,)``.
        next_observations: Shape ``(count, *obs)``; the last ones of an episode where it ends.
        terminated: Where an episode ended by itself, shape ``(count,)``.

    Returns:
        The gradient with respect to all trainable parameters of ``q_net``, in their order, in one
        vector.

    Raises:
        ValueError: If there are no transitions, or they do not suit the agent; if the agent has
            nothing to train, or sees observations through ``VecNormalize``.
    """
    steps = (observations, actions, rewards, next_observations, terminated)
    return _gradient(_on_copies(agent), steps)


def alignment(agent: ContinualDQN, batches: Sequence[Steps]) -> Alignment:
    """Compare the mean TD gradients of several batches, such as one for each phase.

    Args:
        agent: The agent.
        batches: Transitions as in :func:`td_gradients`; those of a batch may be none.

    Raises:
        ValueError: As in :func:`td_gradients`.
    """
    copies = _on_copies(agent)
    count = len(batches)
    norms, reasons = np.full(count, np.nan), [""] * count
    directions: list[npt.NDArray[np.float64] | None] = [None] * count
    for i, steps in enumerate(batches):
        if not len(steps[0]):
            reasons[i] = "there are no transitions"
            continue
        gradient = _gradient(copies, steps).double().cpu().numpy()
        if not np.isfinite(gradient).all():
            reasons[i] = "the gradient is not finite"
            continue
        norms[i] = np.linalg.norm(gradient)
        if norms[i] == 0:
            reasons[i] = "the gradient is zero"
            continue
        directions[i] = gradient / norms[i]
    cosines = np.full((count, count), np.nan)
    for i, one in enumerate(directions):
        for j, other in enumerate(directions):
            if one is not None and other is not None:
                cosines[i, j] = 1.0 if i == j else np.clip(one @ other, -1.0, 1.0)
    return Alignment(cosines, norms, tuple(reasons))


def _on_copies(agent: ContinualDQN) -> ContinualDQN:
    """Return an agent with the same loss, whose networks may be used as one likes."""
    if agent.get_vec_normalize_env() is not None:
        raise ValueError(
            "the agent sees observations through VecNormalize, which are not those that it is "
            "evaluated on: its gradients cannot be computed from these"
        )
    twin = copy(agent)
    twin.q_net, twin.q_net_target = deepcopy((agent.q_net, agent.q_net_target))
    twin.q_net.eval()
    twin.q_net_target.eval()
    if not any(parameter.requires_grad for parameter in twin.q_net.parameters()):
        raise ValueError("the network has no trainable parameter: there is no gradient")
    return twin


def _gradient(twin: ContinualDQN, steps: Steps) -> torch.Tensor:
    trainable = [parameter for parameter in twin.q_net.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        loss = twin.td_loss(_samples(twin, *steps))
    gradients = torch.autograd.grad(loss, trainable, allow_unused=True)
    if all(gradient is None for gradient in gradients):
        raise ValueError(f"the td_loss of {type(twin).__name__} does not depend on its q_net")
    return torch.cat(
        [
            torch.zeros_like(parameter).flatten() if gradient is None else gradient.flatten()
            for parameter, gradient in zip(trainable, gradients, strict=True)
        ]
    )


def _samples(
    agent: ContinualDQN,
    observations: Array,
    actions: Array,
    rewards: Array,
    next_observations: Array,
    terminated: Array,
) -> ReplayBufferSamples:
    """Return transitions as replay would, once they are known to suit the agent."""
    count = len(observations)
    if not count:
        raise ValueError("there are no transitions: there must be at least one")
    space = agent.observation_space
    for name, array, shape in (
        ("observations", observations, (count, *(space.shape or ()))),
        ("next_observations", next_observations, (count, *(space.shape or ()))),
        ("actions", actions, (count,)),
        ("rewards", rewards, (count,)),
        ("terminated", terminated, (count,)),
    ):
        if np.shape(array) != shape:
            raise ValueError(f"{name} have shape {np.shape(array)}: it must be {shape}")
    if np.asarray(actions).dtype.kind not in "iu":
        raise ValueError(f"actions are of {np.asarray(actions).dtype}: they must be whole numbers")
    known = int(agent.action_space.n)  # type: ignore[attr-defined]
    for action in (int(np.min(actions)), int(np.max(actions))):
        if not 0 <= action < known:
            raise ValueError(f"actions contain {action}: the agent has actions 0 to {known - 1}")

    def tensor(array: Array, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.tensor(array, dtype=dtype, device=agent.device)

    return ReplayBufferSamples(
        observations=tensor(observations),
        actions=tensor(actions, torch.int64).reshape(-1, 1),
        next_observations=tensor(next_observations),
        dones=tensor(terminated, torch.float32).reshape(-1, 1),
        rewards=tensor(rewards, torch.float32).reshape(-1, 1),
    )
