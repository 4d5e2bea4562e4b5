"""Replay memories: what is kept of a run, and what is drawn from it."""

from continual_arcade.agents.replay.buffer import (
    BalancedReplayBuffer,
    FIFOReplayBuffer,
    MixReplayBuffer,
    ReservoirReplayBuffer,
    TransitionReplayBuffer,
)

__all__ = [
    "BalancedReplayBuffer",
    "FIFOReplayBuffer",
    "MixReplayBuffer",
    "ReservoirReplayBuffer",
    "TransitionReplayBuffer",
]
