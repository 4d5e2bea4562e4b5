"""The last transitions of a phase: what a finished phase looked like under the agent's own play.

Or its first ones, where what others have done is to be repeated.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.methods.base import Learner, Part, State
from continual_arcade.agents.replay.n_step import COLUMNS, Transitions


class Recent:
    """Keeps the newest transitions.

    Args:
        capacity: How many.
        first: Keep the oldest instead.
    """

    def __init__(self, capacity: int, *, first: bool = False) -> None:
        self.capacity = capacity
        self.first = first
        self._batches: deque[Transitions] = deque()
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, self.capacity)

    def add(self, transitions: Transitions) -> None:
        """Add transitions; the oldest are forgotten, or what is beyond the first."""
        if self.first:
            transitions = transitions.take(np.arange(len(transitions))[: self.capacity - len(self)])
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
            raise ValueError("no transition is kept")
        joined = concatenated(self._batches)
        return joined.take(np.arange(len(joined))[-self.capacity :])

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept as arrays."""
        return columns(self.all()) if self._count else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` returned."""
        self.clear()
        if state:
            self.add(Transitions(**state))


class PhaseMemory(Part):
    """A part that remembers the newest transitions of each phase, until it has ended."""

    recent: dict[int, Recent]
    """What it remembers, by phase; set by :meth:`remember`. Phases that drift into one another are
    one, the last of them."""

    def remember(self, count: int, *, first: bool = False) -> None:
        """Begin to remember.

        Args:
            count: How many transitions of a phase.
            first: Its first ones instead of its last.
        """
        self._capacity = count
        self._first = first
        self.recent = {}
        self._ended = False

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Forget what was played in another run, if this is the first phase of one."""
        super().phase_start(learner, phase)
        if not self._ended:  # else some of this phase may have been played already
            self.recent = {}
        self._ended = False

    def completed(self, learner: Learner, transitions: Transitions) -> None:
        """Remember what was played."""
        # The next phase may have begun, in some sub-environments or all, before this one is told
        # to have ended.
        began = transitions.phases.tolist()
        ends_with = {phase: learner.ends_with(phase) for phase in set(began)}
        phases = set(ends_with.values())
        for phase in phases:
            of_phase = transitions
            if len(phases) > 1:
                chosen = np.flatnonzero([ends_with[p] == phase for p in began])
                of_phase = transitions.take(chosen)
            self.recent.setdefault(phase, self._none()).add(of_phase)

    def _none(self) -> Recent:
        return Recent(self._capacity, first=self._first)

    def played(self, phase: int) -> Transitions:
        """Return the transitions that are kept of a phase that has ended, and forget them.

        Those of earlier ones that drifted into it count as its own.

        Raises:
            ValueError: If there are none.
        """
        self._ended = True
        ended = sorted(p for p in self.recent if p <= phase)
        found = [self.recent.pop(p).all() for p in ended]
        if not found:
            raise ValueError(f"no transition of phase {phase} was seen: it ended before it began")
        joined = concatenated(found)
        rows = np.arange(len(joined))
        return joined.take(rows[: self._capacity] if self._first else rows[-self._capacity :])

    def state_dict(self) -> State:
        """Return what is remembered, too."""
        recent = {str(phase): recent.state_dict() for phase, recent in self.recent.items()}
        return {**super().state_dict(), "recent": recent}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.recent = {}
        for phase, kept in state["recent"].items():
            self.recent[int(phase)] = recent = self._none()
            recent.load_state_dict(kept)


def are_ends(ends: Sequence[int], count: int) -> bool:
    """Say whether memories that lie one after the other may end there.

    Args:
        ends: The row after the last one of each.
        count: Rows of all. Each memory must hold something, and all of them everything.
    """
    bounds = [0, *ends]
    grows = all(type(b) is int and a < b for a, b in pairwise(bounds))
    return grows and bounds[-1] == count


def columns(transitions: Transitions) -> dict[str, npt.NDArray[Any]]:
    """Return transitions as arrays by name, of which :class:`Transitions` are made again."""
    return {name: getattr(transitions, name) for name in COLUMNS}


def concatenated(batches: Iterable[Transitions]) -> Transitions:
    """Return one batch after the other as one."""
    batches = list(batches)
    every = [columns(batch) for batch in batches]
    ended = [batch.ended for batch in batches if batch.ended is not None]
    return Transitions(
        **{name: np.concatenate([c[name] for c in every]) for name in COLUMNS},
        ended=np.concatenate(ended) if len(ended) == len(batches) else None,
    )
