"""The most recent transitions."""

from typing import ClassVar

from continual_arcade.agents.kernels.replay import FIFO
from continual_arcade.agents.replay.buffer import TransitionReplayBuffer


class FIFOReplayBuffer(TransitionReplayBuffer):
    """Remembers the most recent transitions; draws uniformly, with replacement."""

    kind: ClassVar[int] = FIFO

    def _set_cursor(self) -> None:
        self.pos, self.full = self.seen % self.buffer_size, self.seen >= self.buffer_size
