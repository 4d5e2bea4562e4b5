"""No memory: for parts that learn from transitions as they come."""

from typing import Any, ClassVar, NoReturn

from continual_arcade.agents.replay.fifo import FIFOReplayBuffer


class NoReplayBuffer(FIFOReplayBuffer):
    """Remembers nothing: it has one slot, in which the newest transition lies, and draws nothing.

    Args:
        buffer_size: Of no matter.
        *args: As in the parent.
        **kwargs: As in the parent.
    """

    keeps_frames: ClassVar[bool] = False

    def __init__(self, buffer_size: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(1, *args, **kwargs)

    def sample(self, batch_size: int, env: Any = None) -> NoReturn:
        """Refuse to draw.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "there is no replay memory to draw from: choose another replay than 'none', or leave "
            "out the part that draws"
        )
