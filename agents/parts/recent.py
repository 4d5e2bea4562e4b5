"""The last transitions of a phase: what a finished phase looked like under the agent's own play."""

from collections import deque
from typing import Any

import numpy as np

from continual_arcade.agents.n_step import Transitions

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
