"""Segments of a stream, each of one of several tasks that may recur: an exact Bayesian filter.

The stream comes in windows: how often each outcome was seen in each context. Bayesian online
change-point detection (Adams and MacKay 2007) over segments that have labels, as the forget-me-not
process has (Milan et al. 2016): each segment is of a task that is known already or of a new one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from continual_arcade.envs.checks import Array, Whole

NEW = -1
"""Label of a segment whose task was not seen before."""
PRIOR = 0.1
"""Pseudo-count of each outcome (Dirichlet). Small: most contexts have one or two outcomes."""
MOST = 32
"""Hypotheses about the running segment that are kept, the most probable ones."""

LEAST = 3
"""Windows of a segment before it is declared: one that is odd is none."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Switch:
    """The beginning of a segment, as it was declared."""

    declared: int
    """Windows that were seen by then."""
    began: int
    """Windows before the segment."""
    task: int
    """Index of its task."""


class SegmentFilter:
    """The posterior over when the running segment began, and of which task it is.

    A task is a Dirichlet-categorical distribution of outcomes in each context. Its counts fade:
    with each window of the task what was counted before is multiplied by ``1 - 1 / memory``, so
    that what moves slowly, as behaviour does that is learnt, is no change. Between two windows the
    segment ends with probability ``hazard``; the task of the next one is any of the other known
    ones, or a new one, all equally probable.

    Given the counts of the known tasks the recursion is exact, while no more than ``MOST``
    hypotheses are there. When all that began with one other label, at least ``LEAST`` windows ago,
    have together the probability ``sure``, the most probable of them is declared, and the filter
    goes on from there as if it had been told: what was counted before belongs to the task that
    ended. Until then no hypothesis returns to the declared task.

    Args:
        contexts: Number of contexts.
        outcomes: Number of outcomes in each.
        tasks: Most tasks that may be told apart.
        hazard: Probability that a segment ends after a window.
        sure: Probability with which a switch is declared.
        memory: Windows that counts remember.
    """

    def __init__(
        self,
        contexts: int,
        outcomes: int,
        *,
        tasks: int,
        hazard: float,
        sure: float,
        memory: float,
    ) -> None:
        self._tasks, self._hazard, self._sure = tasks, hazard, sure
        self._keeps = 1.0 - 1.0 / memory
        self.windows = 0
        """Windows that were seen."""
        self.task = 0
        """The task of the declared segment."""
        # Of the known tasks, as of the last switch; of the declared one it is out of date.
        self._known = np.zeros((1, contexts, outcomes))
        # Hypotheses, the declared segment first.
        self._begins = np.zeros(1, np.int64)
        self._labels = np.zeros(1, np.int64)
        self._logs = np.zeros(1)
        self._counts = np.zeros((1, contexts, outcomes))
        self._before = np.zeros((1, contexts, outcomes))
        """What the declared segment had counted when each hypothesis began."""

    @property
    def num_tasks(self) -> int:
        """How many tasks are known."""
        return len(self._known)

    @property
    def models(self) -> Floats:
        """Counts of all known tasks up to now, shape ``(tasks, contexts, outcomes)``."""
        models = self._known.copy()
        models[self.task] = self._counts[0]
        return models

    def posterior(self) -> dict[tuple[int, int], float]:
        """Return the probability of each hypothesis: by windows before it, and its label."""
        keys = zip(self._begins.tolist(), self._labels.tolist(), strict=True)
        return dict(zip(keys, np.exp(self._logs).tolist(), strict=True))

    def add(self, window: Floats) -> Switch | None:
        """Take note of a window.

        Args:
            window: How often each outcome was seen in each context, shape ``(contexts, outcomes)``.

        Returns:
            The switch to another task that is now declared, if there is one.

        Raises:
            ValueError: If it is to a new task, and there are as many as there may be.
        """
        if self.windows:
            self._let_segments_begin()
        self._logs = self._logs + log_predictive(self._counts, window)
        self._logs -= np.logaddexp.reduce(self._logs)
        self._counts = self._keeps * self._counts + window
        self.windows += 1
        self._keep_most_probable()
        return self._declared()

    def _let_segments_begin(self) -> None:
        """Add the hypotheses that a segment begins with the next window."""
        known = self.num_tasks
        others = [task for task in range(known) if task != self.task]
        # A known label cannot follow itself; the declared task is no choice, and new always is one.
        chooses = np.where(np.isin(self._labels, others), known - 1, known)
        leaving = self._logs + np.log(self._hazard) - np.log(chooses)
        begun = [np.logaddexp.reduce(leaving[self._labels != task]) for task in others]
        fresh = np.zeros_like(self._known[:1])
        count = known  # of new hypotheses: the others, and new
        self._logs = np.concatenate(
            [self._logs + np.log1p(-self._hazard), begun, [np.logaddexp.reduce(leaving)]]
        )
        self._begins = np.concatenate([self._begins, np.full(count, self.windows)])
        self._labels = np.concatenate([self._labels, others, [NEW]]).astype(np.int64)
        before = np.repeat(self._counts[:1], count, axis=0)
        self._counts = np.concatenate([self._counts, self._known[others], fresh])
        self._before = np.concatenate([self._before, before])

    def _keep_most_probable(self) -> None:
        if len(self._logs) <= MOST:
            return
        order = 1 + np.argsort(-self._logs[1:], kind="stable")
        self._keep(np.sort(np.append(order[: MOST - 1], 0)))
        self._logs -= np.logaddexp.reduce(self._logs)

    def _keep(self, which: npt.NDArray[np.int64]) -> None:
        self._begins, self._labels = self._begins[which], self._labels[which]
        self._logs, self._counts = self._logs[which], self._counts[which]
        self._before = self._before[which]

    def _declared(self) -> Switch | None:
        """Declare a switch, if one is probable enough."""
        probable = np.exp(self._logs)
        is_long = self._begins + LEAST <= self.windows
        is_long[0] = False  # which is declared already
        for label in np.unique(self._labels[is_long]):
            of_it = np.flatnonzero(is_long & (self._labels == label))
            if probable[of_it].sum() < self._sure:
                continue
            best = of_it[np.argmax(self._logs[of_it])]
            if label == NEW and self.num_tasks == self._tasks:
                raise ValueError(
                    f"task inference: a task begins that is none of the {self._tasks} that it has "
                    f"found, and there may be no more (tasks = {self._tasks}): let it tell more "
                    "apart, or count longer before it decides (task_window)"
                )
            self._known[self.task] = self._before[best]
            self.task = self.num_tasks if label == NEW else int(label)
            if label == NEW:
                self._known = np.concatenate([self._known, np.zeros_like(self._known[:1])])
            self._keep(np.array([best]))
            self._labels[0], self._logs[0] = self.task, 0.0
            return Switch(self.windows, int(self._begins[0]), self.task)
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides what follows."""
        return {
            "windows": self.windows,
            "task": self.task,
            "known": self._known.copy(),
            "begins": self._begins.copy(),
            "labels": self._labels.copy(),
            "logs": self._logs.copy(),
            "counts": self._counts.copy(),
            "before": self._before.copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from there.

        Raises:
            ValueError: If it makes no sense; then nothing has changed.
        """
        shape = self._known.shape[1:]
        counts = Array((None, *shape), np.float64, low=0.0)
        known = counts("known tasks", state["known"])
        tasks = Whole(1, self._tasks)("number of known tasks", len(known))
        logs = Array((None,), np.float64, high=1e-6)("logs of hypotheses", state["logs"])
        count = Whole(1, MOST)("number of hypotheses", len(logs))
        windows = Whole()("windows", state["windows"])
        task = Whole(0, tasks - 1)("task", state["task"])
        begins = Array((count,), np.int64, 0, windows)("begins", state["begins"])
        labels = Array((count,), np.int64, NEW, tasks - 1)("labels", state["labels"])
        exact = Array((count, *shape), np.float64, low=0.0)
        of_each = exact("counts", state["counts"]), exact("counts before", state["before"])
        if labels[0] != task:
            raise ValueError(f"labels[0] = {labels[0]} must be the task, {task}")
        self.windows, self.task, self._known = windows, task, known.copy()
        self._begins, self._labels, self._logs = begins.copy(), labels.copy(), logs.copy()
        self._counts, self._before = of_each[0].copy(), of_each[1].copy()


def log_predictive(counts: Floats, window: Floats) -> Floats:
    """Return how probable a window is to each of several tasks (Dirichlet-categorical).

    Of the sequence of its outcomes, whatever their order is.

    Args:
        counts: What was counted before, shape ``(tasks, contexts, outcomes)``.
        window: What is counted now, shape ``(contexts, outcomes)``.

    Returns:
        Logarithms, shape ``(tasks,)``.
    """
    at = np.nonzero(window)
    before = counts[:, at[0], at[1]] + PRIOR
    gained = gammaln(before + window[at]) - gammaln(before)
    seen = np.flatnonzero(window.sum(axis=1))
    all_before = (counts[:, seen] + PRIOR).sum(axis=2)
    spread = gammaln(all_before + window[seen].sum(axis=1)) - gammaln(all_before)
    return np.asarray(gained.sum(axis=1) - spread.sum(axis=1))


def log_frequencies(counts: Floats) -> Floats:
    """Return how probable an outcome is to each of several tasks that are compared.

    A context in which a task has not been says nothing of it: there it is thought to be as all
    tasks together are. So pseudo-counts are as many as elsewhere, and distributed as theirs.

    Args:
        counts: Shape ``(tasks, contexts, outcomes)``.

    Returns:
        Logarithms, of the same shape.
    """
    together = counts.sum(axis=0) + PRIOR
    together *= PRIOR * counts.shape[2] / together.sum(axis=1, keepdims=True)
    pseudo = counts + together
    return np.asarray(np.log(pseudo) - np.log(pseudo.sum(axis=2, keepdims=True)))
