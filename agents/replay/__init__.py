"""Replay memories: what is kept of a run, and what is drawn from it."""

from continual_arcade.agents.replay.balanced import BalancedReplayBuffer
from continual_arcade.agents.replay.buffer import TransitionReplayBuffer
from continual_arcade.agents.replay.fifo import FIFOReplayBuffer
from continual_arcade.agents.replay.mix import MixReplayBuffer
from continual_arcade.agents.replay.none import NoReplayBuffer
from continual_arcade.agents.replay.reservoir import ReservoirReplayBuffer

__all__ = [
    "BalancedReplayBuffer",
    "FIFOReplayBuffer",
    "MixReplayBuffer",
    "NoReplayBuffer",
    "ReservoirReplayBuffer",
    "TransitionReplayBuffer",
]
