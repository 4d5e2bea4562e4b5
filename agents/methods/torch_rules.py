"""Rules run by PyTorch, tensor by tensor."""

from typing import Any

import numpy as np
import torch

from continual_arcade.agents.methods.compiled_rules import (
    mixture_function,
    slope_function,
    tensor_function,
)
from continual_arcade.agents.methods.rules import (
    Count,
    KeptGradient,
    Mixture,
    Normals,
    Slope,
    Step,
    TensorRule,
    Total,
    declared,
    numbers_for,
    set_number,
    value_of,
)
from continual_arcade.agents.methods.tensors import (
    copies,
    gradients,
    parameters,
    roles,
    values_by,
)
from continual_arcade.agents.replay.n_step import Transitions


def run(part: Any, hook: str, learner: Any) -> None:
    """Run the rules of a hook in PyTorch.

    Args:
        part: The part.
        hook: The hook, or ``MEASURE``.
        learner: The learner.
    """
    for step in declared(type(part)).steps.get(hook, ()):
        if step.when and not value_of(part, step.when, learner):
            continue
        if isinstance(step, KeptGradient):
            _run_kept(step, part, learner)
        elif isinstance(step, Mixture):
            _run_mixture(step, part, learner)
        elif isinstance(step, TensorRule):
            _run_tensors(step, part, learner)
        elif isinstance(step, Normals):
            for tensor in getattr(part, step.writes):
                drawn = part.rng.standard_normal(tuple(tensor.shape), dtype=np.float32)
                tensor.copy_(torch.from_numpy(drawn))
        else:
            _run(step, part, learner)


def _run(step: Step, part: Any, learner: Any) -> None:
    vectors, rows_of_numbers = declared(type(part)).vectors, declared(type(part)).rows
    columns: list[Any] = []
    tensors = parameters(learner)
    for name in step.reads:
        if name == "theta":
            columns.append(tensors)
        elif name == "gradient":
            columns.append(gradients(learner))
        elif name in vectors:
            columns.append(_vector(part, name, learner))
            if not columns[-1]:
                return  # it is late
        elif name in rows_of_numbers:
            columns.append([getattr(part, name)])
        else:
            columns.append([value_of(part, name, learner)] * len(tensors))
    if isinstance(step, Count):
        set_number(part, step.writes, step.function(*[column[0] for column in columns]))
        return
    with torch.no_grad():
        rows = zip(*columns, strict=True) if columns else [()] * len(tensors)
        # A rule that reads numbers alone gives one for all parameters.
        results = (
            torch.as_tensor(step.function(*row), device=tensor.device).expand_as(tensor)
            for row, tensor in zip(rows, tensors, strict=True)
        )
        if isinstance(step, Total):
            summed = sum(float(result.sum(dtype=torch.float64)) for result in results)
            set_number(part, step.writes, summed)
            return
        target = _vector(part, step.writes, learner) if step.writes in vectors else tensors
        if step.writes == "gradient":
            target = gradients(learner)
        if not target:
            return  # it is late
        adds = step.hook == "add_gradient" and step.writes == "gradient"
        where = _vector(part, step.where, learner) if step.where else [None] * len(tensors)
        for tensor, result, here in zip(target, results, where, strict=bool(where)):
            if target is tensors and not tensor.requires_grad:
                continue  # a user has frozen it
            value = tensor + result if adds else result
            tensor.copy_(value if here is None else torch.where(here != 0, value, tensor))


def _vector(part: Any, name: str, learner: Any) -> list[torch.Tensor]:
    """Return a vector of a part; if each game has one, that of the current transition's."""
    tensors: list[torch.Tensor] = getattr(part, name)
    if not declared(type(part)).vectors[name].per_game:
        return tensors
    count = len(parameters(learner))
    first = int(learner.current.game) * count
    return tensors[first : first + count]


def _run_kept(step: KeptGradient, part: Any, learner: Any) -> None:
    kept = getattr(part, step.of)
    if not kept:
        return
    tensors, size = parameters(learner), getattr(part, step.size)
    if not step.ends:
        drawn = part.rng.integers(len(kept["rewards"]), size=size or learner.batch_size)
        _gradient(learner, kept, drawn, getattr(part, step.writes))
        return
    ends, rows = getattr(part, step.ends), getattr(part, step.writes)
    if len(rows) != len(ends):
        rows = [[torch.zeros_like(tensor) for tensor in copies(tensors)] for _ in ends]
        setattr(part, step.writes, rows)
    for first, end, row in zip([0, *ends[:-1]], ends, rows, strict=True):
        drawn = part.rng.integers(end - first, size=size) if size else np.arange(end - first)
        _gradient(learner, kept, first + drawn, row)


def _gradient(learner: Any, kept: Any, drawn: Any, into: list[torch.Tensor]) -> None:
    """Compute the gradient of the TD loss of some of the kept transitions."""
    batch = Transitions(**{name: column[drawn] for name, column in kept.items()})
    samples = learner.replay.as_samples(batch)
    tensors = parameters(learner)
    learnt = torch.autograd.grad(
        learner.td_loss(samples), [tensor for tensor in tensors if tensor.requires_grad]
    )
    gradients = iter(learnt)
    for target, tensor in zip(into, tensors, strict=True):
        if tensor.requires_grad:
            target.copy_(next(gradients))
        else:
            target.zero_()


def _run_mixture(step: Mixture, part: Any, learner: Any) -> None:
    rows = getattr(part, step.of)
    if not rows:
        return
    to = gradients(learner) if step.to == "gradient" else getattr(part, step.to)
    matrix, vector = torch.stack([_flat(row) for row in rows]), _flat(to)
    gram, products = ((matrix @ other).cpu().numpy() for other in (matrix.T, vector))
    gram, weights = np.ascontiguousarray(gram), np.zeros(len(rows))
    numbers = numbers_for(part, step.reads, learner)
    places = [array.ctypes.data for array in (gram, products, weights, numbers)]
    mixture_function(type(part), step)(np.array([len(rows), *places], np.int64))
    set_number(part, step.writes, numbers[declared(type(part)).numbers.index(step.writes)])
    with torch.no_grad():
        for weight, row in zip(weights.tolist(), rows, strict=True):
            if weight != 0:
                for tensor, addend in zip(to, row, strict=True):
                    tensor.add_(addend, alpha=weight)


def _run_tensors(step: TensorRule, part: Any, learner: Any) -> None:
    what = declared(type(part))
    known = ["theta", "gradient", *what.vectors]
    read: dict[str, Any] = {
        name: getattr(part, name) for name in what.vectors if name in step.reads
    }
    if "theta" in step.reads:
        read["theta"] = parameters(learner)
    if "gradient" in step.reads:
        read["gradient"] = gradients(learner)
    if not all(read.values()):
        return  # one is late
    for i, role in enumerate(roles(learner.q_net)):
        numbers = numbers_for(part, step.reads, learner)
        arrays = {
            name: tensors[i].detach().cpu().numpy().astype(np.float32, "C")
            for name, tensors in read.items()
        }
        rows = len(next(iter(arrays.values())))
        columns = next(iter(arrays.values())).size // rows
        places = [arrays[name].ctypes.data if name in arrays else 0 for name in known]
        record = np.array([rows, columns, role, numbers.ctypes.data, *places], np.int64)
        tensor_function(type(part), step)(record)
        set_number(part, step.writes, numbers[what.numbers.index(step.writes)])
        with torch.no_grad():
            for name in arrays.keys() - {"theta"}:
                read[name][i].copy_(torch.from_numpy(arrays[name]))


def _flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).double()


def loss_of_slopes(part: Any, learner: Any, batch: Any) -> torch.Tensor | None:
    """Return a loss whose gradient is that of the losses that a part declares by their slopes.

    Args:
        part: The part.
        learner: The learner.
        batch: What is learnt from.

    Returns:
        The sum of the values, each times its slope, which is no more than that: its value is not
        the value of the loss. None if there is nothing to learn from.
    """
    found = []
    for step in declared(type(part)).steps.get("loss", ()):
        assert isinstance(step, Slope)
        if step.when and not value_of(part, step.when, learner):
            continue
        if step.column:
            drawn = _of_batch(step, learner, batch)
        elif step.parameters:
            drawn = _by_others(step, part, learner, batch)
        else:
            drawn = _of_kept(step, part, learner)
        if drawn is None:
            continue
        states, old, rows = drawn
        values = learner.q_net(states)
        now = np.ascontiguousarray(values.detach().float().cpu().numpy())
        slopes = np.zeros_like(now)
        numbers = numbers_for(part, step.reads, learner)
        slope_function(type(part), step)(
            np.array(
                [len(now), now.shape[1], *(a.ctypes.data for a in (now, old, slopes, numbers))],
                np.int64,
            )
        )
        slope = torch.from_numpy(slopes / np.float32(rows)).to(values.device, values.dtype)
        found.append((values * slope).sum())
    return sum(found[1:], found[0]) if found else None


def _of_batch(step: Slope, learner: Any, batch: Any) -> Any:
    """Return states of the batch that have old values, these, and the rows of the whole batch."""
    if batch.slots is None:
        return None
    old = learner.replay.columns[step.column][batch.slots]
    known = ~np.isnan(old[:, 0]) & (batch.slots >= 0)
    if not known.any():
        return None
    return _known(batch, known), np.ascontiguousarray(old[known]), len(old)


def _by_others(step: Slope, part: Any, learner: Any, batch: Any) -> Any:
    """Return states of the batch, what other parameters say of them, and the rows of the batch."""
    others = getattr(part, step.parameters)
    if not others:
        return None  # it is late
    if batch.phases is None:
        raise ValueError(
            f"part {part.name!r} asks in which phase each transition was made, and a batch does "
            "not say it: give Batch its phases"
        )
    known = batch.phases >= value_of(part, step.since, learner)
    if not known.any():
        return None
    states = _known(batch, known)
    old: Any = values_by(learner, others, states).float().cpu().numpy()
    return states, np.ascontiguousarray(old), len(batch.phases)


def _known(batch: Any, known: Any) -> torch.Tensor:
    """Return the observations of some rows of the batch."""
    states: torch.Tensor = batch.samples.observations
    return states if known.all() else states[torch.from_numpy(known).to(states.device)]


def _of_kept(step: Slope, part: Any, learner: Any) -> Any:
    states, old = getattr(part, step.states), getattr(part, step.values)
    if states is None or old is None:
        return None
    size = getattr(part, step.size) or learner.batch_size
    drawn = part.rng.integers(len(old), size=size)
    return (
        torch.as_tensor(states[drawn], device=parameters(learner)[0].device),
        np.ascontiguousarray(old[drawn]),
        size,
    )
