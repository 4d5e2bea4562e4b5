"""Transitions of an evaluation: some of each phase, spread over its episodes.

How long the episodes will be is not known while they are played. So every step of an episode has a
rank that is known beforehand, and of each phase those of the lowest rank are kept. Ranks are the
fractional parts of ``episode * a + step * b``: whatever the threshold, the steps below it
are spread evenly over all episodes and all steps, and nothing is drawn at random.

Source of ``a`` and ``b``: Roberts (2018), The unreasonable effectiveness of quasirandom sequences,
the sequence R2; they are 1/p and 1/p^2 with p^3 = p + 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

KEEP = 4096
"""Transitions of each phase on which a network is measured. The mean gradient of a phase that is
learnt is small, and that of a few hundred transitions mostly noise."""

_STRETCH = 64
"""Steps that are looked through together."""
_PLASTIC = 1.324717957244746
_OF_EPISODE = np.uint64(int(2**64 / _PLASTIC) | 1)
_OF_STEP = np.uint64(int(2**64 / _PLASTIC**2) | 1)
"""Ranks are counted in units of 2^-64, so that overflow takes the fractional part."""
_HIGHEST = np.uint64(2**64 - 1)


class Steps(NamedTuple):
    """Transitions of one phase, row by row; episode by episode, each in its order."""

    observations: npt.NDArray[Any]
    """Shape ``(count, *obs)``."""
    actions: npt.NDArray[np.int64]
    """Shape ``(count,)``."""
    rewards: npt.NDArray[np.float64]
    """Shape ``(count,)``."""
    next_observations: npt.NDArray[Any]
    """Shape ``(count, *obs)``; the true last observation where the episode ended or was cut off."""
    terminated: npt.NDArray[np.bool_]
    """Where the episode ended by itself, shape ``(count,)``; not where it was cut off."""


@dataclass(frozen=True)
class Experience:
    """Transitions of each phase that was played.

    ``kept`` is the largest count of a phase; rows beyond the count of another are zero.
    """

    phases: tuple[int, ...]
    """Index of each phase in its schedule."""
    counts: npt.NDArray[np.int64]
    """How many there are of each phase, shape ``(phases,)``."""
    observations: npt.NDArray[Any]
    """Shape ``(phases, kept, *obs)``."""
    actions: npt.NDArray[np.int64]
    """Shape ``(phases, kept)``."""
    rewards: npt.NDArray[np.float64]
    """Shape ``(phases, kept)``."""
    next_observations: npt.NDArray[Any]
    """Shape ``(phases, kept, *obs)``."""
    terminated: npt.NDArray[np.bool_]
    """Shape ``(phases, kept)``."""
    labelled: bool = False
    """Whether actions are the right answers, and not those that were given."""

    def of(self, position: int) -> Steps:
        """Return the transitions of one phase, without the rows that hold none.

        Args:
            position: Which of ``phases``.
        """
        count = int(self.counts[position])
        return Steps(*(getattr(self, name)[position, :count] for name in Steps._fields))


class Recorder:
    """Records an evaluation, and keeps a part of its transitions.

    Args:
        phases: Index of each phase in its schedule.
        episodes: Episodes of each phase; the batch holds them phase by phase.
        keep: Transitions to keep of each phase.
    """

    def __init__(self, phases: Sequence[int], episodes: int, keep: int) -> None:
        self._phases = tuple(phases)
        self._keep = keep
        self._phase_of = np.arange(len(phases)).repeat(episodes)
        self._ranks = np.tile(np.arange(episodes, dtype=np.uint64) * _OF_EPISODE, len(phases))
        """Rank of the first step of each episode."""
        self._limits = np.full(len(phases), _HIGHEST)
        """The highest rank that is still kept of each phase."""
        self._step = 0
        self._stretch: list[tuple[Any, ...]] = []
        self._held: list[tuple[npt.NDArray[Any], ...]] = []
        """Ranks, places in the batch, times, and the transitions."""

    def note(self, running: npt.NDArray[np.bool_], *transitions: npt.NDArray[Any]) -> None:
        """Record one step of all episodes. Arrays are not copied, and must not change.

        Args:
            running: Which episodes the step belongs to, shape ``(phases * episodes,)``.
            *transitions: What there is in ``Steps``, in this order, of all episodes.
        """
        self._stretch.append((running, *transitions))
        if len(self._stretch) == _STRETCH:
            self._look_through()

    def _look_through(self) -> None:
        """Keep of the buffered steps those of a low rank."""
        steps = np.arange(self._step, self._step + len(self._stretch))
        self._step += len(self._stretch)
        # One after the other: to stack them takes several times as long.
        running, *columns = (np.concatenate(column) for column in zip(*self._stretch, strict=True))
        self._stretch.clear()
        ranks = self._ranks + steps.astype(np.uint64)[:, np.newaxis] * _OF_STEP
        low = (ranks <= self._limits[self._phase_of]).ravel() & running
        (found,) = low.nonzero()
        found = found[self._lowest(ranks.ravel()[found], self._phase_of[found % len(self._ranks)])]
        times, rows = np.divmod(found, len(self._ranks))
        transitions = (column[found] for column in columns)
        self._held.append((ranks[times, rows], rows, steps[times], *transitions))
        if sum(len(part[0]) for part in self._held) > 2 * self._keep * len(self._phases):
            self._thin()

    def _lowest(
        self, ranks: npt.NDArray[np.uint64], phases: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Return where the lowest ranks of each phase are, and keep nothing above them any more."""
        lowest = []
        for phase in range(len(self._phases)):
            (rows,) = (phases == phase).nonzero()
            if len(rows) > self._keep:
                rows = rows[np.argpartition(ranks[rows], self._keep - 1)[: self._keep]]
                self._limits[phase] = ranks[rows].max()
            lowest.append(rows)
        return np.concatenate(lowest)

    def _thin(self) -> None:
        """Drop all but the lowest ranks of each phase."""
        held = [np.concatenate(column) for column in zip(*self._held, strict=True)]
        low = self._lowest(held[0], self._phase_of[held[1]])
        self._held = [tuple(column[low] for column in held)]

    def experience(self, *, labelled: bool = False) -> Experience:
        """Return what was kept, episode by episode.

        Args:
            labelled: Whether actions are the right answers, and not those that were given.
        """
        if self._stretch:
            self._look_through()
        self._thin()
        ((_, rows, times, *columns),) = self._held
        order = np.lexsort((times, rows))
        counts = np.bincount(self._phase_of[rows], minlength=len(self._phases))
        # As many as there are, if that is less: of images many more would fill the memory.
        filled = np.arange(counts.max()) < counts[:, np.newaxis]
        arrays = {}
        for name, column in zip(Steps._fields, columns, strict=True):
            arrays[name] = np.zeros((*filled.shape, *column.shape[1:]), column.dtype)
            arrays[name][filled] = column[order]
        return Experience(self._phases, counts, **arrays, labelled=labelled)
