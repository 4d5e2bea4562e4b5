"""Task inference: tells an agent which task it is in, by nothing but its transitions."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from continual_arcade.agents.settings import Hazard, Memory, Sure, Tasks
from continual_arcade.agents.task_inference.segments import (
    SegmentFilter,
    Switch,
    log_frequencies,
)
from continual_arcade.agents.task_inference.transitions import (
    OUTCOMES,
    TransitionBins,
    num_contexts,
)
from continual_arcade.envs.checks import Array, AtOnce, Instance, Whole, check_fields

FIRST = 10
"""Windows after which bins are made, of all that was seen."""


@dataclass(frozen=True)
class InferenceSettings:
    """How tasks are told apart; see :class:`~.segments.SegmentFilter`.

    Raises:
        ValueError: If a setting makes no sense.
    """

    tasks: Tasks
    """Most tasks that may be told apart; so many features tell which one it is."""
    window: AtOnce
    """Transitions of all games together that are counted before they are looked at."""
    hazard: Hazard
    """Probability that a segment ends after a window."""
    sure: Sure
    """Probability with which a switch of tasks is declared."""
    memory: Memory
    """Windows that counts of a task remember."""

    def __post_init__(self) -> None:
        check_fields(self, "task inference")


@dataclass
class _Waiting:
    """Transitions that are not counted yet, a batch for each step."""

    observations: list[npt.NDArray[Any]] = field(default_factory=list)
    actions: list[npt.NDArray[np.int64]] = field(default_factory=list)
    next_observations: list[npt.NDArray[Any]] = field(default_factory=list)

    def append(self, *transitions: npt.NDArray[Any]) -> None:
        for column, values in zip(self._columns, transitions, strict=True):
            column.append(values)

    @property
    def _columns(self) -> tuple[list[npt.NDArray[Any]], ...]:
        return self.observations, self.actions, self.next_observations

    @property
    def size(self) -> int:
        return sum(map(len, self.actions))

    def joined(self) -> tuple[Any, Any, Any]:
        observations, actions, following = map(np.concatenate, self._columns)
        return observations.astype(np.float64), actions, following.astype(np.float64)


class TaskInference:
    """Partitions the stream of an agent's transitions into segments of recurring tasks.

    Tasks are numbered in the order in which they appear; the first one is 0. What an agent sees is
    the observation, and behind it a feature for each task, 1 for the one that it is in.

    Args:
        space: Space of the observations without these features.
        num_actions: How many actions there are.
        settings: How tasks are told apart.

    Raises:
        ValueError: If observations are no rows of numbers.
    """

    KEYS: ClassVar[tuple[str, ...]] = ("settings", "filter", "bins", "waiting", "switches")
    """What :meth:`state_dict` returns."""

    def __init__(
        self, space: spaces.Space[Any], num_actions: int, settings: InferenceSettings
    ) -> None:
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise ValueError(
                "context = 'inferred' is read off rows of numbers, and observations are of "
                f"{space}: choose context = 'hidden'"
            )
        self.settings = settings
        self.space = space
        """Space of the observations without the features that tell the task."""
        self._actions = num_actions
        self._bins: TransitionBins | None = None
        self._waiting = _Waiting()
        self._filter = self._new_filter()
        self.switches: list[Switch] = []
        """All that were declared, in order."""

    def _new_filter(self) -> SegmentFilter:
        s = self.settings
        contexts = num_contexts(self.space.shape[0], self._actions)
        told = {"tasks": s.tasks, "hazard": s.hazard, "sure": s.sure, "memory": s.memory}
        return SegmentFilter(contexts, OUTCOMES, **told)  # type: ignore[arg-type]

    @property
    def task(self) -> int:
        """The task that it is in."""
        return self._filter.task

    @property
    def segment(self) -> int:
        """Index of the segment that it is in."""
        return len(self.switches)

    def task_of(self, segment: int) -> int:
        """Return the task of a segment up to the present one."""
        return self.switches[segment - 1].task if segment else 0

    def extended(self, space: spaces.Space[Any]) -> spaces.Box:
        """Return the space of what an agent sees.

        Args:
            space: That of the observations.

        Raises:
            ValueError: If it is another than that which tasks are inferred from.
        """
        if space != self.space:
            raise ValueError(
                f"tasks were inferred from observations of {self.space}, and these are of {space}"
            )
        ends = np.zeros(self.settings.tasks), np.ones(self.settings.tasks)
        low, high = (
            np.concatenate([bounds, end.astype(self.space.dtype)])
            for bounds, end in zip((self.space.low, self.space.high), ends, strict=True)
        )
        return spaces.Box(low, high, dtype=self.space.dtype)

    def told(self, observations: npt.NDArray[Any], tasks: Any) -> npt.NDArray[Any]:
        """Return observations with the features that tell their tasks.

        Args:
            observations: Shape ``(games, features)``.
            tasks: One task for all, or one for each.
        """
        features = np.zeros((len(observations), self.settings.tasks), observations.dtype)
        features[np.arange(len(observations)), tasks] = 1.0
        return np.concatenate([observations, features], axis=1)

    def observe(
        self,
        observations: npt.NDArray[Any],
        actions: npt.NDArray[Any],
        next_observations: npt.NDArray[Any],
    ) -> bool:
        """Take note of a transition in each game.

        Args:
            observations: Without the features that tell the task, shape ``(games, features)``.
            actions: Shape ``(games,)``.
            next_observations: What followed; at the end of an episode its last observation.

        Returns:
            Whether it is another task from now on.

        Raises:
            ValueError: If there are more tasks than there may be.
        """
        chosen = np.array(actions, np.int64).reshape(-1)
        self._waiting.append(observations.copy(), chosen, next_observations.copy())
        windows = FIRST if self._bins is None else 1
        if self._waiting.size < windows * self.settings.window:
            return False
        transitions = self._waiting.joined()
        self._waiting = _Waiting()
        if self._bins is None:
            self._bins = TransitionBins.of_first(*transitions, self._actions)
        switches = len(self.switches)
        for rows in np.array_split(np.arange(len(chosen := transitions[1])), windows):
            window = self._bins.count(transitions[0][rows], chosen[rows], transitions[2][rows])
            if (switch := self._filter.add(window)) is not None:
                self.switches.append(switch)
        return len(self.switches) > switches

    def follow(self, games: int) -> "TaskFollower":
        """Return what infers the task of each of several games that are played now.

        It learns nothing: all that it knows of the tasks is what was learnt up to now.
        """
        return TaskFollower(self, games)

    def readings(self) -> dict[str, float]:
        """Return what there is to log, by name."""
        probable = self._filter.posterior()
        own = sum(value for (_, label), value in probable.items() if label == self.task)
        since = self._filter.windows - (self.switches[-1].began if self.switches else 0)
        return {
            "task": self.task,
            "probability": own,
            "tasks": self._filter.num_tasks,
            "windows": since,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides what follows, settings included."""
        waiting = self._waiting
        return {
            "settings": asdict(self.settings),
            "filter": self._filter.state_dict(),
            "bins": None if self._bins is None else self._bins.state_dict(),
            "waiting": list(map(list, waiting._columns)),
            "switches": [[one.declared, one.began, one.task] for one in self.switches],
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], seen: spaces.Space[Any], num_actions: int
    ) -> "TaskInference":
        """Return what :meth:`state_dict` was called of.

        Args:
            state: What it returned.
            seen: Space of what the agent sees, the features that tell the task included.
            num_actions: How many actions there are.

        Raises:
            ValueError: If it makes no sense.
        """
        known = {one.name for one in fields(InferenceSettings)}
        given = Instance((dict,))("settings", state["settings"])
        if given.keys() != known:
            raise ValueError(f"settings of the task inference are {sorted(given)}, not {known}")
        settings = InferenceSettings(**given)
        if not isinstance(seen, spaces.Box) or len(seen.shape) != 1:
            raise ValueError(f"tasks cannot be told by observations of {seen}")
        if seen.shape[0] <= settings.tasks:
            raise ValueError(f"{settings.tasks} tasks cannot be told by {seen.shape[0]} features")
        bare = seen.shape[0] - settings.tasks
        space = spaces.Box(seen.low[:bare], seen.high[:bare], dtype=seen.dtype)
        made = cls(space, num_actions, settings)
        made._filter.load_state_dict(state["filter"])
        if state["bins"] is not None:
            made._bins = TransitionBins.from_state(state["bins"], bare, num_actions)
        columns = Instance((list,))("waiting", state["waiting"])
        for before, actions, after in zip(*columns, strict=True):
            count = len(Array((None,), np.int64, 0, num_actions - 1)("actions", actions))
            rows = Array((count, bare), space.dtype)
            made._waiting.append(rows("observations", before), actions, rows("observations", after))
        made.switches = [
            Switch(*(Whole()("a switch", number) for number in each)) for each in state["switches"]
        ]
        return made


class TaskFollower:
    """Infers the task of each of several games, by the transitions of that game alone.

    The forward filter of a hidden Markov model over the tasks that are known: at first all of them
    are equally probable, and the one that the agent was in last is told until a transition was
    seen; then the most probable one. Transition by transition the task is another one with the
    probability with which segments end.

    Args:
        inference: What knows the tasks; what it learns later does not matter here.
        games: How many games there are.
    """

    def __init__(self, inference: TaskInference, games: int) -> None:
        models = inference._filter.models
        self._inference, self._bins = inference, inference._bins
        self._frequencies = log_frequencies(models)
        tasks = len(models)
        self._beliefs = np.full((games, tasks), 1.0 / tasks)
        self._leaves = inference.settings.hazard / inference.settings.window
        self._last: npt.NDArray[Any] | None = None
        self.tasks = np.full(games, inference.task)
        """What is told of each game."""

    def see(
        self, observations: npt.NDArray[Any], actions: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Return observations with the features that tell their tasks.

        Args:
            observations: The next ones, shape ``(games, features)``.
            actions: What was done before in each game; None at the beginning.
        """
        before, self._last = self._last, observations.astype(np.float64)
        if actions is not None and before is not None and self._bins is not None:
            chosen = np.array(actions, np.int64).reshape(-1)
            self._learn(*self._bins.places(before, chosen, self._last))
        return self._inference.told(observations, self.tasks)

    def _learn(self, contexts: npt.NDArray[np.int64], outcomes: npt.NDArray[np.int64]) -> None:
        likely = self._frequencies[:, contexts, outcomes].sum(axis=2).T
        beliefs, others = self._beliefs, self._beliefs.shape[1] - 1
        if others:
            beliefs = beliefs * (1.0 - self._leaves) + (1.0 - beliefs) * (self._leaves / others)
        beliefs = beliefs * np.exp(likely - likely.max(axis=1, keepdims=True))
        # Where no task can be told from another any more they are what they were.
        whole = beliefs.sum(axis=1, keepdims=True)
        self._beliefs = np.where(whole > 0, beliefs / np.where(whole > 0, whole, 1), self._beliefs)
        self.tasks = self._beliefs.argmax(axis=1)
