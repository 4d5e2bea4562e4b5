"""The most recent transitions."""

from typing import ClassVar

from continual_arcade.agents.kernels.replay import FIFO
from continual_arcade.agents.replay.buffer import TransitionReplayBuffer


class FIFOReplayBuffer(TransitionReplayBuffer):
    """Remembers the most recent transitions; draws uniformly, with replacement.

    Of pictures each frame is kept once (:class:`.frames.FrameStore`).
    """

    kind: ClassVar[int] = FIFO
    keeps_frames: ClassVar[bool] = True

    def _set_cursor(self) -> None:
        self.pos, self.full = self.seen % self.buffer_size, self.seen >= self.buffer_size
