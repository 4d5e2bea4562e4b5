"""The most recent transitions, and a uniform sample of all."""

from typing import Any, ClassVar

import numpy as np

from continual_arcade.agents.kernels.replay import MIX
from continual_arcade.agents.replay.buffer import Ints, TransitionReplayBuffer
from continual_arcade.envs.checks import Number, Whole
from continual_arcade.envs.messages import shown


class MixReplayBuffer(TransitionReplayBuffer):
    """Remembers the most recent transitions and, beside them, a uniform sample of the whole run.

    The first ``fifo_size`` slots hold the recent ones, the others the sample. Every transition is
    offered to both and may lie in both.

    Source: D. Isele and A. Cosgun, "Selective experience replay for lifelong learning", AAAI 2018
    (distribution matching beside a FIFO memory).

    Args:
        *args: As in the parent.
        fifo_size: Slots of the recent ones; None for half of them.
        long_term_fraction: Part of a batch that comes from the sample of the whole run. What is
            left of a whole transition decides by chance, so that it holds on average.
        **kwargs: As in the parent.

    Raises:
        ValueError: If a value makes no sense; the message says which.
    """

    kind: ClassVar[int] = MIX

    def __init__(
        self,
        *args: Any,
        fifo_size: int | None = None,
        long_term_fraction: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if self.buffer_size < 2:
            raise ValueError(f"buffer_size = {self.buffer_size} has no room for two memories")
        if fifo_size is None:
            fifo_size = self.buffer_size // 2
        self.fifo_size = Whole(1)("fifo_size", fifo_size)
        if self.fifo_size >= self.buffer_size:
            raise ValueError(
                f"fifo_size = {fifo_size} must leave slots for the long term: buffer_size = "
                f"{self.buffer_size}"
            )
        self.long_term_fraction = long_term_fraction

    def __setattr__(self, name: str, value: Any) -> None:
        """Check how it is divided, as compiled code does not look.

        Raises:
            ValueError: If a value makes no sense, or is of what cannot be changed any more.
        """
        if name == "long_term_fraction":
            value = Number(0, 1)(name, value)
        elif name == "fifo_size" and value != vars(self).get(name, value):
            raise ValueError(
                f"fifo_size = {shown(value)} was set, and what is stored lies in slots of a memory "
                f"that was made with fifo_size={self.fifo_size}: make a new one"
            )
        super().__setattr__(name, value)

    def _held(self) -> tuple[int, int]:
        """Return how many transitions the recent part and the long-term part hold."""
        return min(self.seen, self.fifo_size), min(self.seen, self.buffer_size - self.fifo_size)

    def size(self) -> int:
        """Return how many slots are in use; a transition that lies in both parts counts twice."""
        return sum(self._held())

    def stored_slots(self) -> Ints:
        """Return the slots that hold a transition, in ascending order, shape ``(size(),)``."""
        recent, long_term = self._held()
        return np.concatenate([np.arange(recent), self.fifo_size + np.arange(long_term)])

    def _layout(self) -> dict[str, Any]:
        return {**super()._layout(), "fifo_size": self.fifo_size}
