"""The last transitions of a phase: what a finished phase looked like under the agent's own play."""

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.n_step import Transitions
from continual_arcade.agents.parts.part import Learner, Part, State

_FIELDS = (
    "observations",
    "actions",
    "rewards",
    "next_observations",
    "dones",
    "discounts",
    "phases",
)


class Recent:
    """Keeps the newest transitions.

    Args:
        capacity: How many.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._batches: deque[Transitions] = deque()
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, self.capacity)

    def add(self, transitions: Transitions) -> None:
        """Add transitions; the oldest are forgotten."""
        if not len(transitions):
            return
        self._batches.append(transitions)
        self._count += len(transitions)
        while self._count - len(self._batches[0]) >= self.capacity:
            self._count -= len(self._batches.popleft())

    def clear(self) -> None:
        """Forget all."""
        self._batches.clear()
        self._count = 0

    def all(self) -> Transitions:
        """Return what is kept, oldest first.

        Raises:
            ValueError: If nothing is.
        """
        if not self._count:
            raise ValueError("no transition of this phase was seen: it ended before it began")
        columns = {
            name: np.concatenate([getattr(batch, name) for batch in self._batches])
            for name in _FIELDS
        }
        return Transitions(**{name: c[-self.capacity :] for name, c in columns.items()})

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept as arrays."""
        if not self._count:
            return {}
        kept = self.all()
        return {name: getattr(kept, name) for name in _FIELDS}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` returned."""
        self.clear()
        if state:
            self.add(Transitions(**state))


class Remembering(Part):
    """A part that remembers the newest transitions of the phase."""

    recent: Recent
    """What it remembers; set by :meth:`remember`."""

    def remember(self, count: int) -> None:
        """Begin to remember.

        Args:
            count: How many transitions.
        """
        self.recent = Recent(count)

    def stored(
        self,
        learner: Learner,
        transitions: Transitions,
        rows: npt.NDArray[np.int64],
        slots: npt.NDArray[np.int64],
    ) -> None:
        """Remember what was played."""
        self.recent.add(transitions)

    def state_dict(self) -> State:
        """Return what is remembered, too."""
        return {**super().state_dict(), "recent": self.recent.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.recent.load_state_dict(state["recent"])
