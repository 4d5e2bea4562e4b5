"""What an agent takes and keeps: parameters, memory, and observations of earlier phases."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from continual_arcade.agents.methods.base import Part
from continual_arcade.agents.replay import TransitionReplayBuffer
from continual_arcade.agents.replay.frames import FrameStore


def footprint(agent: BaseAlgorithm) -> dict[str, float]:
    """Measure what an agent holds between two rollouts.

    Args:
        agent: Any agent of Stable-Baselines3 that has one policy and one optimiser.

    Returns:
        ``parameters``: of how many numbers the network is made that plays, frozen ones among them.
        ``network_bytes``: all networks (that learns, target, average) and the state of the
        optimiser. ``replay_bytes``: replay with all its room, or the rollout; of frames that are
        kept once, what they have taken. ``method_bytes``: what parts keep from one gradient step to
        the next. ``earlier_observations``: those of earlier phases that are kept as they were seen,
        one for each transition, in replay and in parts; NaN if replay is not one of this suite, and
        does not say of which phase they are.
    """
    policy: Any = agent.policy
    parts: list[Part] = getattr(agent, "parts", [])
    average = getattr(agent, "weight_average", None)
    replay = getattr(agent, "replay_buffer", None)
    memory = replay if replay is not None else getattr(agent, "rollout_buffer", None)
    networks = [policy.state_dict(), {} if average is None else average.network.state_dict()]
    network = getattr(agent, "q_net", policy)
    return {
        "parameters": sum(each.numel() for each in network.parameters()),
        "network_bytes": _bytes([*networks, policy.optimizer.state_dict()]),
        "replay_bytes": _bytes(vars(memory)) if memory is not None else 0,
        "method_bytes": _bytes([part.state_dict() for part in parts]),
        "earlier_observations": _in_replay(agent, replay)
        + sum(part.earlier_observations for part in parts),
    }


def _in_replay(agent: Any, replay: Any) -> float:
    """Return how many transitions in replay began in a phase before the one that is learnt."""
    if replay is None:
        return 0
    if not isinstance(replay, TransitionReplayBuffer):
        return math.nan
    now = agent.phase_tracker.phase or 0
    return int((replay.phases[replay.stored_slots()] < now).sum())


def _bytes(tree: Any) -> int:
    """Return what the arrays and tensors of a tree of plain values take."""
    if isinstance(tree, np.ndarray | torch.Tensor | FrameStore):
        return int(tree.nbytes)
    if isinstance(tree, Mapping):
        return sum(map(_bytes, tree.values()))
    if isinstance(tree, list | tuple):
        return sum(map(_bytes, tree))
    return 0
