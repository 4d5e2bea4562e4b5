"""Plans: which batches a part has the learner learn from, and how far each step goes.

After a step of the environments a planner learns from the transitions that were just completed,
all at once or one by one, together with draws from replay. What each gradient step learns from is
written by one function, the *plan*, which both engines call.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from numba import types
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from continual_arcade.agents.kernels.arithmetic import drawn_back
from continual_arcade.agents.kernels.functions import CFunction, c_function
from continual_arcade.agents.kernels.functions import of_double_precision as compiled
from continual_arcade.agents.kernels.program import is_plan
from continual_arcade.agents.kernels.random import Stream, stream_of
from continual_arcade.agents.methods.base import Batch, Learner, Part, State
from continual_arcade.agents.methods.compiled_rules import cached_while_alike
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.phase_memory import Recent
from continual_arcade.agents.methods.rules import GIVEN, declared, numbers_for
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.agents.replay.n_step import Transitions

_types: Any = types
TABLE = ("draws", "current", "weights", "inner", "outer")
"""What a plan fills, each of shape ``(steps,)``: which draw a gradient step learns from (-1 for
none), whether it learns from the current transitions, the weight of its loss, and how much of the
way is kept afterwards from the beginning of the repetition, and of all repetitions."""
_DEFAULTS = (-1, 0.0, 1.0, 1.0, 1.0)
_GIVEN = (*TABLE, "stream", "repeat")


class Extent(NamedTuple):
    """How much a plan consists of."""

    single: bool
    """Whether it is made for each transition, drawn ones being single, too; or for all at once,
    beside drawn batches."""
    repeats: int
    """Repetitions."""
    steps: int
    """Gradient steps of each."""
    draws: int
    """Draws from replay for each."""


def plan(function: Callable[..., Any]) -> Any:
    """Make a function of a planner its plan.

    Args:
        function: Takes ``draws``, ``current``, ``weights``, ``inner`` and ``outer``, which it
            fills, see :data:`TABLE`; then ``stream``, from which it may draw by
            :mod:`continual_arcade.agents.kernels.random`, ``repeat``, the number of the repetition,
            and plain numbers of the part by name.
    """
    return _Plan(function)


class _Plan:
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        return tuple(name for name in signature(self.function).parameters if name not in _GIVEN)


class Planner(Part):
    """A part that plans the batches; a subclass has a plan named ``arrange``."""

    arrange: Any
    """The plan."""

    def extent(self, gradient_steps: int) -> Extent:
        """Say how much there is to plan.

        Args:
            gradient_steps: Gradient steps that the learner is set to.
        """
        raise NotImplementedError

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Get ready, with nothing to learn from yet."""
        super().bind(learner, rng)
        plan_function(type(self))  # raises if it makes no sense
        self._completed = Recent(1)
        # Interpolations that follow the next gradient step: where from, and by how much.
        self._due: list[tuple[Parameters, float]] = []

    @property
    def plans_batches(self) -> bool:
        """It does."""
        return True

    def completed(self, learner: Learner, transitions: Transitions) -> None:
        """Remember what has to be learnt from."""
        # Each call of learn() that counts from 0 begins with steps that are not learnt from.
        if len(transitions) and learner.num_timesteps > learner.learning_starts:
            self._completed.capacity = len(self._completed) + len(transitions)
            self._completed.add(transitions)

    def batches(self, learner: Learner, steps: int, batch_size: int) -> Iterator[Batch]:
        """Plan what follows a step of the environments."""
        if not len(self._completed):
            return
        every = self._completed.all()
        self._completed.clear()
        extent = self.extent(steps)
        rows = range(len(every)) if extent.single else ()
        size = 1 if extent.single else batch_size
        for current in [every.take([row]) for row in rows] or [every]:
            elsewhere = np.full(len(current), -1)
            newest = Batch(learner.replay.as_samples(current), elsewhere, phases=current.phases)
            outer = copies(parameters(learner))
            for repeat in range(extent.repeats):
                inner = copies(parameters(learner))
                drawn = [learner.sample(size) for _ in range(extent.draws)]
                table = self.table(extent.steps)
                numbers = numbers_for(self, type(self).arrange.numbers, learner)
                plan_function(type(self))(plan_record(self, table, numbers, repeat))
                if not is_plan(table[0], table[1], extent.draws):
                    raise self.wrong_plan()
                for draw, holds, weight, *rates in zip(*table, strict=True):
                    self._due = list(zip((inner, outer), map(float, rates), strict=True))
                    replayed = None if draw < 0 else drawn[draw]
                    yield _batch(replayed, newest if holds else None, float(weight))

    def table(self, steps: int) -> list[npt.NDArray[Any]]:
        """Return a table for so many gradient steps, in which nothing is planned yet."""
        return [
            np.full(steps, start, np.int64 if name == "draws" else np.float64)
            for name, start in zip(TABLE, _DEFAULTS, strict=True)
        ]

    def wrong_plan(self) -> ValueError:
        """Return the error of a plan by which nothing can be learnt."""
        return ValueError(
            f"part {self.name!r}: each step of its plan must learn from a draw that there is, from "
            "the current transitions, or both"
        )

    def interpolate(self, learner: Learner) -> None:
        """Draw back after the last step of a repetition."""
        for base, rate in self._due:
            draw_back(learner, base, rate)
        self._due = []
        super().interpolate(learner)

    def state_dict(self) -> State:
        """Return what has not been learnt yet, too."""
        return {**super().state_dict(), "completed": self._completed.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        kept = state["completed"]
        self._completed = Recent(max(1, len(kept.get("rewards", ()))))
        self._completed.load_state_dict(kept)


def _batch(replayed: Batch | None, newest: Batch | None, weight: float) -> Batch:
    """Put a batch together."""
    if newest is None:
        assert replayed is not None, "a step of a plan learns from nothing"
        return replace(replayed, weight=weight)
    if replayed is None:
        return replace(newest, weight=weight)
    # The memories of this suite leave no column out.
    pairs = zip(replayed.samples, newest.samples, strict=True)
    joined = ReplayBufferSamples(*(torch.cat(pair) for pair in pairs))  # type: ignore[arg-type]
    slots, phases = (
        None if one is None or other is None else np.concatenate([one, other])
        for one, other in ((replayed.slots, newest.slots), (replayed.phases, newest.phases))
    )
    return Batch(joined, slots, weight, phases=phases)


def draw_back(learner: Learner, base: Parameters, rate: float) -> None:
    """Draw the parameters back in PyTorch.

    A rate of 1 leaves every bit as it is. Only what is learnt is moved: neither the target network
    nor buffers.
    """
    if rate == 1:
        return
    with torch.no_grad():
        for tensor, start in zip(parameters(learner), base, strict=True):
            tensor.copy_(drawn_back(tensor, start, rate))


def plan_record(
    part: Planner, table: list[npt.NDArray[Any]], numbers: npt.NDArray[np.float64], repeat: int = 0
) -> npt.NDArray[np.int64]:
    """Return the record of a plan: repetition, steps, and addresses of all that it is given."""
    stream = stream_of(part.rng)
    places = [array.ctypes.data for array in (*table, numbers)]
    return np.array([repeat, len(table[0]), *places, *stream], np.int64)


@cached_while_alike(lambda kind: [kind.arrange.function])
def plan_function(kind: type[Planner]) -> CFunction:
    """Compile the plan of a kind of part.

    Raises:
        ValueError: If it takes something else than it is given, or cannot be compiled.
    """
    arrange, what = kind.arrange, f"plan {kind.name!r}"
    names = declared(kind).numbers
    for name in names:
        if name in _GIVEN:
            raise ValueError(f"{what}: a field {name!r} means something else in a plan: rename it")
    known = names[len(GIVEN) :]  # there is no loss yet
    for name in arrange.numbers:
        if name not in known:
            raise ValueError(f"{what} reads {name!r}, which is none of {', '.join(known)}")
    function = compiled(arrange.function)
    columns = [types.Array(types.int64, 1, "C"), *[types.Array(types.float64, 1, "C")] * 4]
    stream = _types.NamedUniTuple(types.int64, 3, Stream)
    kinds: dict[str, Any] = dict(zip(_GIVEN, (*columns, stream, types.int64), strict=True))
    reads = tuple(signature(arrange.function).parameters)
    suspect = (function, tuple(kinds.get(name, types.float64) for name in reads), what)
    given = {name: f"numbers[{i}]" for i, name in enumerate(names)}
    text = f"""
def run(record):
    words = words_at(record, 11)
    repeat, steps = words[0], words[1]
    draws = words_at(words[2], steps)
    current, weights = doubles_at(words[3], steps), doubles_at(words[4], steps)
    inner, outer = doubles_at(words[5], steps), doubles_at(words[6], steps)
    numbers = doubles_at(words[7], {len(names)})
    stream = Stream(words[8], words[9], words[10])
    for step in range(steps):
        draws[step], current[step], weights[step], inner[step], outer[step] = {_DEFAULTS}
    rule({", ".join(given.get(name, name) for name in reads)})
"""
    return c_function(text, {"rule": function, "Stream": Stream}, arrange.function, [suspect])
