"""A uniform sample of all transitions."""

from typing import ClassVar

from continual_arcade.agents.kernels.replay import RESERVOIR
from continual_arcade.agents.replay.buffer import TransitionReplayBuffer


class ReservoirReplayBuffer(TransitionReplayBuffer):
    """Remembers a uniform sample of all transitions of the run; draws uniformly from it.

    Source: J. S. Vitter, "Random sampling with a reservoir", ACM TOMS 11 (1985), Algorithm R.
    """

    kind: ClassVar[int] = RESERVOIR
