"""Where what the parts of an agent declare meets compiled code.

Each part is bound by what its kind declares, see :mod:`continual_arcade.agents.methods.rules`: its
vectors are shared with compiled code, its numbers handed over before and after each call, and its
rules become operations of a :class:`~continual_arcade.agents.kernels.program.Program`. No method is
known by name here.
"""

from collections.abc import Sequence
from operator import is_
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from continual_arcade.agents.engines.flat import FlatMatrix, FlatVector, aligned
from continual_arcade.agents.kernels import program as kernels
from continual_arcade.agents.kernels.functions import CFunction
from continual_arcade.agents.kernels.mixture import WORDS
from continual_arcade.agents.kernels.random import generator_of, stream_of
from continual_arcade.agents.kernels.update import ONE_BY_ONE, TOGETHER, UNPLANNED, Plan
from continual_arcade.agents.methods.base import Part
from continual_arcade.agents.methods.compiled_rules import (
    groups,
    hook_function,
    looked_at,
    mixture_function,
    normals_function,
    numbers_read,
    rests,
    slope_function,
    tensor_function,
)
from continual_arcade.agents.methods.phase_memory import are_ends
from continual_arcade.agents.methods.plans import Planner, plan_function
from continual_arcade.agents.methods.rules import (
    MEASURE,
    Declared,
    KeptGradient,
    Mixture,
    Normals,
    Slope,
    Step,
    TensorRule,
    declared,
    set_number,
    value_of,
)
from continual_arcade.agents.methods.tensors import roles

_TRANSITIONS = (
    ("observations", None),
    ("actions", np.int64),
    ("rewards", np.float32),
    ("next_observations", None),
    ("dones", np.float32),
    ("discounts", np.float32),
)
"""Columns of kept transitions that a gradient of the TD loss is computed from, and their types;
observations are of that in which replay remembers them."""


class PartBinding:
    """Shares the vectors and numbers of one part.

    Args:
        part: The part.
        learner: The agent, of which rules may read.
        like: Tensors of the shapes of the parameters.
        numbers: Where its numbers lie.
        online: The parameters of the network, in one vector.
        gradient: Their gradient.
    """

    def __init__(
        self,
        part: Part,
        learner: Any,
        like: Sequence[torch.Tensor],
        numbers: npt.NDArray[np.float64],
        online: npt.NDArray[np.float32],
        gradient: npt.NDArray[np.float32],
    ) -> None:
        self.part, self._learner = part, learner
        self.what: Declared = declared(type(part))
        self.numbers = numbers
        read = numbers_read(type(part))
        self._read = [(i, name) for i, name in enumerate(self.what.numbers) if name in read]
        self._written = [(self.what.numbers.index(name), name) for name in self.what.written]
        games = learner.replay.num_envs
        self.vectors = {
            name: FlatVector([*like] * (games if state.per_game else 1))
            for name, state in self.what.vectors.items()
        }
        self.matrices = {name: FlatMatrix(like) for name in self.what.matrices}
        self.gradient = gradient
        size = len(online)
        self._bounds = 4 + len(self.vectors) + len(self.what.rows)
        self._looked_at = [(name, rests(type(part), name)) for name in looked_at(type(part))]
        self.record = np.zeros(self._bounds + 2 * len(self._looked_at), np.int64)
        self.record[:4] = size, numbers.ctypes.data, online.ctypes.data, gradient.ctypes.data

    def before(self) -> None:
        """Adopt the part's vectors, and take its numbers."""
        part, size = self.part, self.record[0]
        held = {name: getattr(part, name) for name in self.vectors}
        # All are looked at before the first is written to: one may lie where another one did.
        strange = {
            name: self.vectors[name].strange(tensors) for name, tensors in held.items() if tensors
        }
        for i, (name, vector) in enumerate(self.vectors.items()):
            if found := strange.get(name):
                setattr(part, name, vector.take(found))
            self.record[4 + i] = vector.array.ctypes.data if held[name] else 0
        for i, name in enumerate(self.what.rows):
            self.record[4 + len(self.vectors) + i] = getattr(part, name).ctypes.data
        for i, (name, stays) in enumerate(self._looked_at):
            places = np.flatnonzero(self.vectors[name].array) if stays else np.array([0, size - 1])
            bounds = (places[0], places[-1] + 1) if len(places) else (0, 0)
            self.record[self._bounds + 2 * i :][:2] = bounds
        for i, name in self._read:
            self.numbers[i] = value_of(part, name, self._learner)

    def after(self) -> None:
        """Hand over the numbers that rules have written."""
        for i, name in self._written:
            set_number(self.part, name, self.numbers[i])


class Source:
    """Shows what a part keeps of finished phases.

    Args:
        part: The part.
        step: What it is kept for.
        entry: Filled, of type ``SOURCE``.
        result: The vector or matrix that is filled, if it is one.
        features: Numbers of an observation.
        actions: Actions.
        kind: Type of these numbers, as replay remembers them.
    """

    def __init__(
        self,
        part: Part,
        step: KeptGradient | Slope,
        entry: Any,
        result: FlatVector | FlatMatrix | None,
        features: int,
        actions: int,
        kind: npt.DTypeLike,
    ) -> None:
        self.part, self.step, self._entry = part, step, entry
        self._features, self._actions, self._kind = features, actions, kind
        self._result = result
        self._ends = np.zeros(1, np.int64)
        self._shown: list[Any] = []
        self._columns: dict[str, npt.NDArray[Any]] = {}
        self._is_shared = True
        """Whether compiled code reads the part's own arrays, and no copies of another type."""
        entry["state"], entry["next_uint32"], entry["next_double"] = stream_of(part.rng)

    @property
    def _of_memories(self) -> str:
        """Field with the ends of several memories, if there are several."""
        return self.step.ends if isinstance(self.step, KeptGradient) else ""

    def size(self, batch_size: int) -> int:
        """Return the size of the largest batch.

        As large as the learner's unless the part says; of several memories, all that one holds.
        """
        given = getattr(self.part, self.step.size)
        if self._of_memories and not given:
            return int(np.diff(self._ends, prepend=0).max(initial=0))
        return int(given or batch_size)

    def before(self, batch_size: int) -> None:
        """Look at what is kept now."""
        whole = self._of_memories and not getattr(self.part, self.step.size)
        self._entry["batch"] = 0 if whole else self.size(batch_size)
        kept = self._kept()
        shown = list(kept.values())
        is_same = len(shown) == len(self._shown) and all(map(is_, shown, self._shown))
        if not (is_same and self._is_shared):
            self._shown = shown
            self._columns = self._checked(kept) if kept else {}
            self._is_shared = all(
                np.may_share_memory(column, kept[name]) for name, column in self._columns.items()
            )
            self._entry["count"] = len(next(iter(self._columns.values()), ()))
            for name, column in self._columns.items():
                self._entry[name] = column.ctypes.data
        self._before_memories()

    def _before_memories(self) -> None:
        """Make room for what is computed of each memory."""
        entry, result = self._entry, self._result
        self._ends = np.array([entry["count"]])
        if isinstance(result, FlatMatrix):
            self._ends = self._checked_ends()
            result.resize(len(self._ends))
            setattr(self.part, self.step.writes, result.rows)
        entry["memories"], entry["ends"] = len(self._ends), self._ends.ctypes.data
        entry["result"] = 0 if result is None else result.array.ctypes.data

    def _checked_ends(self) -> npt.NDArray[np.int64]:
        ends = getattr(self.part, self._of_memories)
        if not are_ends(ends, int(self._entry["count"])):
            raise ValueError(
                f"part {self.part.name!r}: its memories end at {ends}, and it keeps "
                f"{self._entry['count']} transitions: its state is damaged"
            )
        return np.array(ends, np.int64)

    def _kept(self) -> dict[str, Any]:
        if isinstance(self.step, KeptGradient):
            return dict(getattr(self.part, self.step.of))
        states, values = getattr(self.part, self.step.states), getattr(self.part, self.step.values)
        return (
            {} if states is None or values is None else {"values": values, "observations": states}
        )

    def _checked(self, kept: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
        """Return the columns in the layout that compiled code reads without looking again."""
        count = len(kept["observations"])
        kinds: dict[str, Any] = dict(_TRANSITIONS)
        if isinstance(self.step, Slope):
            kinds = {"observations": None, "values": np.float32}
        widths = {
            "observations": (self._features,),
            "next_observations": (self._features,),
            "values": (self._actions,),
        }
        columns = {}
        for name, kind in kinds.items():
            shape = (count, *widths.get(name, ()))
            array = np.asarray(kept[name])
            found = array.reshape(len(array), -1).shape if name in widths else (array.size,)
            if found != shape:
                raise ValueError(
                    f"part {self.part.name!r}: {name} has shape {found}, and it must be {shape}: "
                    "its state is damaged, or that of another network"
                )
            columns[name] = np.require(
                array.reshape(shape).astype(kind or self._kind, copy=False),
                requirements=["C", "W"],
            )
        actions = columns.get("actions")
        if actions is not None and not (actions.min() >= 0 and actions.max() < self._actions):
            raise ValueError(f"part {self.part.name!r}: it keeps actions that do not exist")
        return columns


class MixtureRecord:
    """Shows what a mixture is made of.

    Args:
        binding: The part.
        step: The mixture.
    """

    def __init__(self, binding: PartBinding, step: Mixture) -> None:
        self._matrix = binding.matrices[step.of]
        vectors = {name: vector.array for name, vector in binding.vectors.items()}
        self._vector = {**vectors, "gradient": binding.gradient}[step.to]
        self._numbers = binding.numbers
        self.record = np.zeros(WORDS, np.int64)
        self._shown: Any = None

    def before(self) -> None:
        """Look at the matrix, which grows."""
        matrix = self._matrix.array
        if matrix is not self._shown:
            self._shown, rows = matrix, len(matrix)
            self._scratch = np.zeros((rows, rows)), np.zeros(rows), np.zeros(rows)
            arrays = (*self._scratch, self._numbers)
            self.record[:5] = rows, *(array.ctypes.data for array in arrays)
            self.record[5:] = matrix.shape[1], matrix.ctypes.data, self._vector.ctypes.data


class TensorRecords:
    """Shows a rule the tensors of the network, one after the other.

    Args:
        binding: The part.
        like: Tensors of the shapes of the parameters.
        roles: What each of them is.
    """

    def __init__(
        self, binding: PartBinding, like: Sequence[torch.Tensor], roles: Sequence[int]
    ) -> None:
        self._whole = binding.record[2 : 4 + len(binding.vectors)]
        self.records = np.zeros((len(like), 4 + len(self._whole)), np.int64)
        first = 0
        self._offsets = np.zeros((len(like), 1), np.int64)
        for record, offset, tensor, role in zip(
            self.records, self._offsets, like, roles, strict=True
        ):
            rows = len(tensor)
            record[:4] = rows, tensor.numel() // rows, role, binding.numbers.ctypes.data
            offset[0] = first * np.float32().itemsize
            first += tensor.numel()

    def before(self) -> None:
        """Look at where the vectors lie."""
        self.records[:, 4:] = np.where(self._whole == 0, 0, self._whole + self._offsets)


class OtherParameters:
    """Shows other parameters of the network, with which a loss compares.

    Args:
        binding: The part.
        step: The loss.
        entry: Filled, of type ``COMPARED``.
        first: Where the numbers of the part begin.
    """

    def __init__(self, binding: PartBinding, step: Slope, entry: Any, first: int) -> None:
        self._part, self._name, self._entry = binding.part, step.parameters, entry
        self._vector = binding.vectors[step.parameters].array
        self._transposed = aligned(len(self._vector))
        entry["transposed"] = self._transposed.ctypes.data
        entry["since"] = first + binding.what.numbers.index(step.since)

    def before(self) -> None:
        """Look at whether there are any, which may be others than before."""
        there = getattr(self._part, self._name)
        self._entry["parameters"] = self._vector.ctypes.data if there else 0
        self._entry["stale"] = 1


class PartsBinding:
    """Makes a program of what the parts declare, and keeps it up to date.

    Args:
        agent: The agent.
        like: Tensors of the shapes of the parameters.
        control: The control record.
        online: The parameters of the network, in one vector.
        gradient: Their gradient.
        features: Numbers of an observation.
        actions: Actions.
    """

    def __init__(
        self,
        agent: Any,
        like: Sequence[torch.Tensor],
        control: Any,
        online: npt.NDArray[np.float32],
        gradient: npt.NDArray[np.float32],
        features: int,
        actions: int,
    ) -> None:
        parts: list[Part] = agent.parts
        self._agent, self._control = agent, control
        counts = [len(declared(type(part)).numbers) for part in parts]
        starts = np.cumsum([0, *counts])
        numbers = np.zeros(max(1, int(starts[-1])))
        self.parts = [
            PartBinding(part, agent, like, numbers[first:end], online, gradient)
            for part, first, end in zip(parts, starts[:-1], starts[1:], strict=True)
        ]
        steps = [step for part in parts for step in _steps(part)]
        needs = [step for step in steps if _needs_source(step)]
        self._sources: list[Source] = []
        self._compared = np.zeros(max(1, sum(map(_compares, steps))), kernels.COMPARED)
        self._others: list[OtherParameters] = []
        self._records: list[MixtureRecord | TensorRecords] = []
        self._drawing: list[npt.NDArray[np.int64]] = []
        """Kept alive, as records are."""
        self._like = like
        self._entries = np.zeros(max(1, len(needs)), kernels.SOURCE)
        self._functions: list[CFunction] = []
        """Kept alive: compiled code knows their addresses."""
        self._features, self._actions = features, actions
        by_hook = [self._operations(hook, starts) for hook in kernels.HOOKS]
        on_td_gradient = by_hook[kernels.ON_TD_GRADIENT]
        operations = [operation for of_hook in by_hook for operation in of_hook]
        deferring = [
            int(first) + binding.what.numbers.index(binding.part.defers)
            for first, binding in zip(starts[:-1], self.parts, strict=True)
            if binding.part.defers
        ]
        sharpening = [
            int(first) + binding.what.numbers.index(binding.part.sharpens)
            for first, binding in zip(starts[:-1], self.parts, strict=True)
            if binding.part.sharpens
        ]
        self.program = kernels.Program(
            operations=np.array(operations, kernels.OPERATION),
            starts=np.cumsum([0, *map(len, by_hook)]),
            sources=self._entries,
            compared=self._compared,
            apart=bool(on_td_gradient),
            numbers=numbers,
            deferring=np.array(deferring, np.int64),
            sharpening=np.array(sharpening, np.int64),
        )
        self.planner = next((part for part in parts if isinstance(part, Planner)), None)
        self.acts_alone = [op[0] for op in operations] == [kernels.DRAW_BACK]
        """Whether nothing happens in a gradient step but for the interpolation of a plan."""
        self.plan = self._planned(0, 0)
        self._extent: Any = None
        size = len(online) if self.planner is not None else 0
        self.inner, self.outer = np.zeros(size, np.float32), np.zeros(size, np.float32)

    def _operations(self, hook: str, starts: npt.NDArray[np.int64]) -> list[tuple[int, ...]]:
        """Return the operations of a hook, part by part."""
        found: list[tuple[int, ...]] = []
        for binding, first in zip(self.parts, starts[:-1].tolist(), strict=True):
            part, what = binding.part, binding.what
            if hook == "interpolate" and isinstance(part, Planner):
                found.append((kernels.DRAW_BACK, 0, 0, 0, first, 0, -1))
            if hook == "add_gradient":
                found += self._calls(binding, what.steps.get(MEASURE, ()), first, 1)
            found += self._calls(binding, what.steps.get(hook, ()), first, 0)
        # Losses of the batch first: those of kept states overwrite what was computed of it.
        return sorted(found, key=lambda op: op[0] == kernels.KEPT_SLOPE)

    def _calls(
        self, binding: PartBinding, steps: Sequence[Step], first: int, measured: int
    ) -> list[tuple[int, ...]]:
        kind, what = type(binding.part), binding.what
        found: list[tuple[int, ...]] = []
        for group in groups(steps):
            if isinstance(group, tuple):
                function = self._kept_alive(hook_function(kind, group))
                record = binding.record.ctypes.data
                found.append((kernels.CALL, measured, function, record, first, 0, -1))
                continue
            condition = first + what.numbers.index(group.when) if group.when else -1
            if isinstance(group, Mixture):
                mixed = MixtureRecord(binding, group)
                self._records.append(mixed)
                function = self._kept_alive(mixture_function(kind, group))
                record = mixed.record.ctypes.data
                found.append((kernels.MIXTURE, measured, function, record, first, 0, condition))
                continue
            if isinstance(group, TensorRule):
                tensors = TensorRecords(binding, self._like, roles(self._agent.q_net))
                self._records.append(tensors)
                function = self._kept_alive(tensor_function(kind, group))
                found += [
                    (kernels.CALL, measured, function, of_tensor.ctypes.data, first, 0, condition)
                    for of_tensor in tensors.records
                ]
                continue
            if isinstance(group, Normals):
                vector, rng = binding.vectors[group.writes].array, binding.part.rng
                drawing = np.array([len(vector), generator_of(rng), vector.ctypes.data], np.int64)
                self._drawing.append(drawing)
                function = self._kept_alive(normals_function(group))
                record = drawing.ctypes.data
                found.append((kernels.CALL, measured, function, record, first, 0, condition))
                continue
            numbers = binding.numbers.ctypes.data
            source = self._source(binding, group) if _needs_source(group) else 0
            operation, function = kernels.KEPT_GRADIENT, 0
            if isinstance(group, Slope):
                operation = kernels.REPLAYED_SLOPE if group.column else kernels.KEPT_SLOPE
                function = self._kept_alive(slope_function(kind, group))
                if group.parameters:
                    operation = kernels.COMPARED_SLOPE
                    source = len(self._others)
                    entry = self._compared[source]
                    self._others.append(OtherParameters(binding, group, entry, first))
            found.append((operation, 0, function, numbers, first, source, condition))
        return found

    def _kept_alive(self, function: CFunction) -> int:
        self._functions.append(function)
        return function.address

    def _source(self, binding: PartBinding, step: Any) -> int:
        number = len(self._sources)
        results: dict[str, FlatVector | FlatMatrix] = {**binding.vectors, **binding.matrices}
        result = results[step.writes] if isinstance(step, KeptGradient) else None
        kind = self._agent.replay.observations.dtype
        seen = (self._features, self._actions, kind)
        self._sources.append(Source(binding.part, step, self._entries[number], result, *seen))
        return number

    def _planned(self, steps: int, draws: int) -> Plan:
        """Make room for a plan of so many steps."""
        table: list[Any] = [np.zeros(0, np.int64), *[np.zeros(0)] * 4]
        if self.planner is not None:
            table = self.planner.table(steps)
        return Plan(*[*table, np.zeros(11, np.int64), np.zeros(draws, np.int64)])

    def most_rows(self, batch_size: int) -> int:
        """Return how many rows the largest batch of a part has."""
        return max([0, *(source.size(batch_size) for source in self._sources)])

    def before(self, gradient_steps: int, batch_size: int) -> None:
        """Bring all that compiled code reads up to date."""
        for binding in self.parts:
            binding.before()
        for source in self._sources:
            source.before(batch_size)
        for record in (*self._records, *self._others):
            record.before()
        if self.planner is not None:
            self._plan(self.planner, gradient_steps, batch_size)

    def _plan(self, planner: Planner, gradient_steps: int, batch_size: int) -> None:
        extent, c = planner.extent(gradient_steps), self._control
        if (extent, batch_size) != self._extent:
            self._extent = extent, batch_size
            size = 1 if extent.single else batch_size
            self.plan = self._planned(extent.steps, extent.draws * size)
            places = [array.ctypes.data for array in self.plan[:5]]
            numbers = next(b.numbers for b in self.parts if b.part is planner)
            stream = stream_of(planner.rng)
            self.plan.record[:] = 0, extent.steps, *places, numbers.ctypes.data, *stream
            c["planned"] = ONE_BY_ONE if extent.single else TOGETHER
            c["repeats"], c["steps_planned"] = extent.repeats, extent.steps
            c["draws_planned"] = extent.draws
            c["plan_function"] = self._kept_alive(plan_function(type(planner)))

    def after(self) -> None:
        """Hand over what rules have written."""
        for binding in self.parts:
            binding.after()


def compile_rules(part: Part) -> None:
    """Compile all that a part declares.

    Raises:
        RuleError: If a rule cannot be compiled.
    """
    kind = type(part)
    for steps in declared(kind).steps.values():
        for group in groups(steps):
            if isinstance(group, tuple):
                hook_function(kind, group)
            elif isinstance(group, Slope):
                slope_function(kind, group)
            elif isinstance(group, Mixture):
                mixture_function(kind, group)
            elif isinstance(group, TensorRule):
                tensor_function(kind, group)
            elif isinstance(group, Normals):
                normals_function(group)
    if isinstance(part, Planner):
        plan_function(type(part))


def _steps(part: Part) -> list[Step]:
    return [step for of_hook in declared(type(part)).steps.values() for step in of_hook]


def _needs_source(step: Step) -> bool:
    return isinstance(step, KeptGradient) or (isinstance(step, Slope) and bool(step.states))


def _compares(step: Step) -> bool:
    return isinstance(step, Slope) and bool(step.parameters)


assert UNPLANNED == 0, "a control record of zeros plans nothing"
