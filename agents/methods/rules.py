"""Rules: what a method does within a gradient step, written once and run by both engines.

A rule is plain arithmetic over one parameter, or over plain numbers. It names what it reads, and
its decorator says when it runs and what it gives::

    @dataclass
    class Decay(Part):
        name: ClassVar[str] = "decay"
        rate: float = 0.1

        @rule("add_gradient")
        def decay(theta, rate):
            return rate * theta

PyTorch computes it tensor by tensor, the compiled engine as a loop over all parameters. A rule may
read

- ``theta``, the parameter, and in the hooks up to ``project`` its ``gradient``;
- the part's vectors, fields made by :func:`vector`: a number for each parameter;
- the part's settings, numbers made by :func:`number`, ``loss``, the TD loss of the batch, and
  ``learning_rate``, that of the optimiser. A setting that is one of several words is the index of
  the word in its ``Literal``;
- in a part that learns single transitions as they come, what :class:`CurrentTransition` tells.

Where a rule must decide, it does so by
:func:`~continual_arcade.agents.kernels.arithmetic.choose`. Settings come in single precision; what
needs more, such as ``1 - decay``, is computed by a :func:`count` first.

Several plain numbers are a :func:`row`, which counts read and change in place. Normal noise comes
from the part's generator by :func:`normals`.

What looks at a layer's weights as a matrix is a :func:`tensor_rule`, called tensor by tensor.

Gradients of several memories, one for each, are the rows of a :func:`matrix`. No rule reads it; a
:func:`mixture` says how much of each row is added to a vector.

A loss that depends on what the network says is given by its *slope*: the derivative of the loss of
one state by its values. Autograd, or the compiled engine, takes it through the network.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from inspect import signature
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.kernels.functions import (
    cached,
)
from continual_arcade.agents.kernels.program import HOOKS
from continual_arcade.envs.messages import unknown

MEASURE = "measure"
"""Not a hook of its own: runs before ``add_gradient`` of the part, in the gradient steps that are
measured for the log."""
_WRITTEN: Mapping[str, str] = {
    MEASURE: "",
    "before_update": "",
    "on_td_gradient": "",
    "add_gradient": "gradient",
    "project": "gradient",
    "project_update": "theta",
    "constrain": "theta",
    "interpolate": "theta",
    "after_update": "",
}
"""Hooks with rules, and what a rule writes there unless it names a field of the part."""
_WITH_GRADIENT = (MEASURE, "on_td_gradient", "add_gradient", "project")
"""Hooks in which there is a gradient to read."""
_WITH_KEPT = ("add_gradient", "project")
"""Hooks in which the gradient of kept transitions can be computed: the batch is no longer needed,
and the parameters have not moved yet."""


class CurrentTransition(NamedTuple):
    """What rules of a streaming part are told of the transition that is learnt from.

    See :mod:`continual_arcade.agents.methods.streaming`. In ``before_update`` the first two are
    those of the transition before: nothing is computed yet.
    """

    td_error: float = 0.0
    """Target minus value, both by the network as it is."""
    greedy: float = 0.0
    """1 if what was done is what the network holds for best, else 0."""
    ended: float = 0.0
    """1 if the episode ended with it, by its rules or cut off, else 0."""
    game: float = 0.0
    """Number of the game in which it was made, of those that run side by side."""


GIVEN = ("loss", "learning_rate", *CurrentTransition._fields)
"""Numbers that are not the part's own, and which compiled code knows: they stand first."""
OF_TENSOR = "role"
"""What a rule over a tensor may be given beside matrices and numbers."""
OF_SLOPE, OF_MIXTURE = ("now", "old", "slope"), ("gram", "products", "weights")
"""What such a function is given beside numbers."""
_STATE = "rules.state"


def vector(*, late: bool = False, kept: bool = True, per_game: bool = False) -> Any:
    """Make a field that holds a number for each parameter: a tensor for each of the network's.

    Args:
        late: Whether it is empty until the part sets it; rules that need it wait. Otherwise it is
            zero from ``bind`` on.
        kept: Whether it belongs to what is saved.
        per_game: Whether there is one for each game that runs side by side, one after the other in
            the list: rules are given that of the transition's game. Only of streaming parts.
    """
    state = _State("vector", late=late, kept=kept, per_game=per_game)
    return field(init=False, repr=False, default_factory=list, metadata={_STATE: state})


def matrix() -> Any:
    """Make a field that holds the rows that :func:`kept_gradients` computes.

    A row is a list of tensors, as a vector is. It is empty until they are computed, and not saved.
    """
    state = _State("matrix", late=True, kept=False)
    return field(init=False, repr=False, default_factory=list, metadata={_STATE: state})


def number(start: float = 0, *, kept: bool = True) -> Any:
    """Make a field that holds a plain number that rules may read and write.

    Args:
        start: Its first value; a whole number stays one as long as its values are.
        kept: Whether it belongs to what is saved.
    """
    state = _State("number", late=False, kept=kept)
    return field(init=False, repr=False, default=start, metadata={_STATE: state})


def row(length: int, start: float = 0.0) -> Any:
    """Make a field that holds several plain numbers, which counts may read and change in place.

    They are an array of double precision, shape ``(length,)``, and are saved.
    """
    state = _State("row", late=False, kept=True, length=length)
    return field(
        init=False,
        repr=False,
        compare=False,
        default_factory=lambda: np.full(length, start),
        metadata={_STATE: state},
    )


@dataclass(frozen=True)
class _State:
    what: Literal["vector", "matrix", "number", "row"]
    late: bool
    kept: bool
    length: int = 0
    per_game: bool = False


@dataclass(frozen=True)
class Step:
    """One thing that a part does in a hook.

    Calling it calls the function that was decorated.
    """

    hook: str
    function: Callable[..., Any]
    writes: str = ""
    when: str = ""
    """A setting or number; what is to be done only if it is not 0."""
    where: str = ""
    """A vector; what is to be done only where it is not 0."""

    def __call__(self, *arguments: Any) -> Any:
        """Compute it."""
        return self.function(*arguments)

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """What it names."""
        return tuple(signature(self.function).parameters)

    def may_change(self, vector: str) -> bool:
        """Return whether it may change one of the part's vectors, or the gradient."""
        return vector == self.writes


class Rule(Step):
    """Arithmetic over one parameter."""


class Total(Step):
    """Arithmetic over one parameter, summed over all of them in double precision."""


class Count(Step):
    """Arithmetic over plain numbers."""


class Normals(Step):
    """Normal numbers, drawn by the part's generator into a vector."""


class TensorRule(Step):
    """Loops over one tensor at a time, as a matrix."""

    def may_change(self, vector: str) -> bool:
        """Return whether it is given the vector, which it may change in place."""
        return vector in self.reads


@dataclass(frozen=True)
class KeptGradient(Step):
    """The gradient of the mean TD loss of a batch of transitions that the part keeps."""

    of: str = ""
    """Field with the columns of the transitions, by name; a dict, empty if there are none."""
    size: str = ""
    """Field with the size of the batch; that of the learner if it is None."""
    ends: str = ""
    """If they are several memories, each with a gradient of its own: field with the row after the
    last one of each. Their batches are whole if the size is None."""


@dataclass(frozen=True)
class Mixture(Step):
    """Rows of a matrix, each times a weight, which are added to a vector."""

    of: str = ""
    """The matrix."""
    to: str = ""
    """The vector, or ``gradient``."""

    def may_change(self, vector: str) -> bool:
        """Return whether the rows are added to it."""
        return vector == self.to


@dataclass(frozen=True)
class Slope(Step):
    """A loss beside the TD loss, by its slope."""

    column: str = ""
    """Column of replay with the old values, if it is a loss of the batch that is learnt from."""
    parameters: str = ""
    """Or the vector with other parameters, by which they are computed."""
    since: str = ""
    """Number with the first phase whose states have a part in that."""
    states: str = ""
    """Or the field with states that the part keeps; None if there are none."""
    values: str = ""
    """Field with their old values."""
    size: str = ""
    """Field with the size of a batch of them; that of the learner if it is None."""


def rule(
    hook: str, writes: str = "", when: str = "", where: str = ""
) -> Callable[[Callable[..., Any]], Any]:
    """Make a rule over one parameter.

    Args:
        hook: When it runs; see :mod:`continual_arcade.agents.methods.base`.
        writes: The vector that becomes what it returns. If not given: in ``add_gradient`` the
            result is added to the gradient, in ``project`` it becomes the gradient, and from
            ``project_update`` on the parameter.
        when: A setting or number of the part; the rule is left out while it is 0.
        where: A vector of the part; elsewhere than where it is not 0 nothing is computed or
            changed, which is for what is expensive, and for few parameters.
    """
    return lambda function: Rule(hook, function, writes or _WRITTEN.get(hook, ""), when, where)


def total(hook: str, writes: str, when: str = "") -> Callable[[Callable[..., Any]], Any]:
    """Make a sum over all parameters, which becomes a number of the part."""
    return lambda function: Total(hook, function, writes, when)


def count(hook: str, writes: str, when: str = "") -> Callable[[Callable[..., Any]], Any]:
    """Make a rule over plain numbers, which becomes a number of the part."""
    return lambda function: Count(hook, function, writes, when)


def normals(hook: str, writes: str, when: str = "") -> Any:
    """Fill a vector with standard normal numbers, drawn by the part's own generator."""
    return Normals(hook, _no_rule, writes, when)


def tensor_rule(hook: str, writes: str, when: str = "") -> Callable[[Callable[..., Any]], Any]:
    """Make a rule over one tensor of the network at a time, as a matrix: both engines compile it.

    The function is called for each tensor, in the order of the parameters. ``theta``, ``gradient``
    and vectors of the part come as matrices of single precision, shape ``(rows, columns)``: a row
    is what belongs to one unit, so that biases have one column. ``gradient`` and vectors are
    changed in place, also where a plain rule would add to the gradient; ``theta`` must not be.
    ``role`` says what the tensor is, by the constants of
    :mod:`continual_arcade.agents.methods.tensors`. Further arguments are numbers, of double
    precision.

    Args:
        hook: When.
        writes: The number that becomes what the function returns. It may read it, too: so sums and
            maxima over all tensors are made, from what a :func:`count` sets before.
        when: A setting or number of the part; nothing is done while it is 0.
    """
    return lambda function: TensorRule(hook, function, writes, when)


def kept_gradient(hook: str, writes: str, of: str, size: str) -> Any:
    """Compute the gradient of the TD loss of a batch of kept transitions into a vector."""
    return KeptGradient(hook, _no_rule, writes, of=of, size=size)


def kept_gradients(hook: str, writes: str, of: str, ends: str, size: str) -> Any:
    """Compute the gradients of several memories of kept transitions into a matrix.

    Args:
        hook: When.
        writes: The matrix, which gets a row for each memory.
        of: Field with the columns of all transitions, by name, one memory after the other.
        ends: Field with the row after the last one of each memory, a list of whole numbers.
        size: Field with the size of the batch that is drawn from each memory with replacement; if
            it is None, all of it is taken.
    """
    return KeptGradient(hook, _no_rule, writes, of=of, size=size, ends=ends)


def mixture(
    hook: str, of: str, to: str, writes: str, when: str = ""
) -> Callable[[Callable[..., Any]], Any]:
    """Add a mixture of the rows of a matrix to a vector.

    The function is given ``gram``, the products of the rows with each other, shape ``(rows,
    rows)``, and ``products``, those of the rows with the vector, shape ``(rows,)``, in double
    precision. It fills ``weights``, shape ``(rows,)``, which are 0 at first; further arguments are
    numbers. What it returns becomes a number of the part. A row with a weight of 0 changes no bit.

    Args:
        hook: When.
        of: The matrix.
        to: The vector, or ``gradient``.
        writes: The number.
        when: A setting or number of the part; nothing is done while it is 0.
    """
    return lambda function: Mixture(hook, function, writes, when, of=of, to=to)


def slope_of_replayed(column: str, when: str = "") -> Callable[[Callable[..., Any]], Any]:
    """Make a loss of the replayed states by its slope.

    The function is given ``now`` and ``old``, the values of one state and what the column of replay
    holds for it, and fills ``slope``, all of shape ``(actions,)``; further arguments are numbers.
    The mean over the batch is learnt from; states whose old value is NaN have no part in it.
    """
    return lambda function: Slope("loss", function, when=when, column=column)


def slope_by_others(
    parameters: str, since: str, when: str = ""
) -> Callable[[Callable[..., Any]], Any]:
    """Make a loss of the states that are learnt from by its slope; see :func:`slope_of_replayed`.

    What they are compared with is what the network says of them by other parameters.

    Args:
        parameters: The vector with these. While it is empty there is nothing to learn. No rule may
            write it.
        since: A number of the part, the first phase whose states have a part in it.
        when: A setting or number of the part; nothing is done while it is 0.
    """
    return lambda function: Slope("loss", function, when=when, parameters=parameters, since=since)


def slope_of_kept(
    states: str, values: str, size: str, when: str = ""
) -> Callable[[Callable[..., Any]], Any]:
    """Make a loss of states that the part keeps by its slope; see :func:`slope_of_replayed`."""
    return lambda function: Slope(
        "loss", function, when=when, states=states, values=values, size=size
    )


def _no_rule() -> None:
    """Stand where a step has no function of its own."""


@dataclass(frozen=True)
class Declared:
    """What a kind of part declares."""

    vectors: Mapping[str, _State]
    matrices: tuple[str, ...]
    rows: Mapping[str, _State]
    numbers: tuple[str, ...]
    """Everything that is a plain number: ``loss``, ``learning_rate``, settings, and those made by
    :func:`number`."""
    written: tuple[str, ...]
    """Those of them that were made by :func:`number`."""
    kept_numbers: tuple[str, ...]
    """Those of these that belong to what is saved."""
    steps: Mapping[str, tuple[Step, ...]]
    """By hook, in the order of definition, those of base classes first."""


@cached
def declared(kind: type) -> Declared:
    """Return what a kind of part declares.

    Raises:
        ValueError: If a rule names what there is not, or writes where it may not.
    """
    states = {f.name: f for f in fields(kind)} if is_dataclass(kind) else {}
    made: dict[str, Any] = {name: f.metadata.get(_STATE) for name, f in states.items()}
    vectors, rows = (
        {name: state for name, state in made.items() if state and state.what == what}
        for what in ("vector", "row")
    )
    matrices, written = (
        tuple(name for name, state in made.items() if state and state.what == what)
        for what in ("matrix", "number")
    )
    settings = tuple(name for name, f in states.items() if f.init)
    steps: dict[str, Step] = {}
    for base in reversed(kind.__mro__):
        steps.update({name: s for name, s in vars(base).items() if isinstance(s, Step)})
        steps = {name: s for name, s in steps.items() if isinstance(getattr(kind, name), Step)}
    by_hook: dict[str, list[Step]] = {}
    for name in ("theta", "gradient", "now", "old", "slope", *GIVEN[1:]):
        if name in states:
            raise ValueError(
                f"part {getattr(kind, 'name', kind.__name__)!r} has a field {name!r}, which means "
                "something else in rules: rename it"
            )
    kept = tuple(name for name in written if made[name].kept)
    numbers = (*GIVEN, *settings, *written)
    result = Declared(vectors, matrices, rows, numbers, written, kept, {})
    if any(state.per_game for state in vectors.values()) and not kind.streaming:  # type: ignore[attr-defined]
        raise ValueError(
            f"part {getattr(kind, 'name', kind.__name__)!r} has a vector for each game, and only "
            "parts that learn single transitions as they come know which game it is"
        )
    compared = {step.parameters for step in steps.values() if isinstance(step, Slope)} - {""}
    for name, step in steps.items():
        for vector in filter(step.may_change, sorted(compared)):
            raise ValueError(
                f"rule {name!r} of part {getattr(kind, 'name', kind.__name__)!r} may change "
                f"{vector!r}, with which a loss compares: such parameters change between gradient "
                "steps alone, as at a phase end"
            )
        _check(kind, name, step, result)
        by_hook.setdefault(step.hook, []).append(step)
    _check_names(kind, result)
    return replace(result, steps={hook: tuple(found) for hook, found in by_hook.items()})


def _check_names(kind: Any, what: Declared) -> None:
    """Check what a kind of part says by name outside of its rules."""
    where = f"part {getattr(kind, 'name', kind.__name__)!r}"
    for attribute, known in (
        ("defers", what.written),
        ("sharpens", what.written),
        ("values_after", what.numbers),
    ):
        name = getattr(kind, attribute, "")
        if name and name not in known:
            raise ValueError(f"{where}: {attribute}: {unknown('number', name, known)}")


def _check_fields(kind: Any, where: str, step: Step, what: Declared) -> None:
    """Check the fields that a step names, and that the numbers it reads are numbers."""
    known = [f.name for f in fields(kind)]
    if isinstance(step, KeptGradient):
        named: tuple[str, ...] = (step.of, step.size, *filter(None, (step.ends,)))
    elif isinstance(step, Slope):
        named = (step.states, step.values, step.size) if step.states else ()
        if step.column == "q_values" and not kind.values_after:
            raise ValueError(
                f"{where} compares with the column {step.column!r}, which nothing fills: set "
                "values_after of the part"
            )
    else:
        named = ()
    for name in named:
        if name not in known:
            raise ValueError(f"{where}: {unknown('field', name, known)}")
    hints, since = get_type_hints(kind), getattr(step, "since", "")
    for name in {*step.reads, step.when, since} & set(what.numbers) - set(GIVEN):
        if hints.get(name) is str:
            raise ValueError(
                f"{where} reads {name!r}, which is text: give it the type Literal[...], of which "
                "the rule is given the index"
            )


def _check(kind: type, name: str, step: Step, what: Declared) -> None:
    where = f"rule {name!r} of part {getattr(kind, 'name', kind.__name__)!r}"
    hooks: Sequence[str] = ["loss"] if isinstance(step, Slope) else [*_WRITTEN]
    if isinstance(step, KeptGradient):
        hooks = _WITH_KEPT
    if step.hook not in hooks:
        raise ValueError(f"{where}: {unknown('hook', step.hook, hooks)}")
    if not is_dataclass(kind):
        raise ValueError(f"{where}: {kind.__name__} must be a dataclass, whose fields rules name")
    _check_fields(kind, where, step, what)
    hidden = () if getattr(kind, "streaming", False) else CurrentTransition._fields
    numbers = tuple(name for name in what.numbers if name not in hidden)
    if step.when and step.when not in numbers:
        raise ValueError(f"{where}: {unknown('number', step.when, numbers)}")
    if step.where and step.where not in what.vectors:
        raise ValueError(f"{where}: {unknown('vector', step.where, what.vectors)}")
    if isinstance(step, Slope) and step.parameters:
        _check_others(where, step, what)
    if isinstance(step, Slope | Mixture):
        given = OF_SLOPE if isinstance(step, Slope) else OF_MIXTURE
        read = [r for r in step.reads if r not in given]
        if set(given) - set(step.reads):
            said = f"{', '.join(given[:-1])} and {given[-1]}"
            raise ValueError(f"{where}: it must take {said}, not {step.reads}")
    elif isinstance(step, KeptGradient | Normals):
        read = []
    else:
        read = list(step.reads)
    with_gradient = ("gradient",) if step.hook in _WITH_GRADIENT else ()
    known = (*numbers, *(what.rows if isinstance(step, Count) else ()))
    if isinstance(step, Rule | Total | TensorRule):
        known = ("theta", *with_gradient, *what.vectors, *numbers)
    if not isinstance(step, Rule | Total):
        _check_no_game(where, step, what)
    if isinstance(step, TensorRule):
        known = (*known, OF_TENSOR)
        if OF_TENSOR in {*what.vectors, *what.numbers}:
            raise ValueError(
                f"{where}: a field {OF_TENSOR!r} means something else in a rule over tensors: "
                "rename it"
            )
    if isinstance(step, Mixture):
        _check_mixture(where, step, what, with_gradient)
    for each in read:
        if each not in known:
            raise ValueError(f"{where} in {step.hook}: {unknown('state', each, known)}")
    may: tuple[str, ...] = what.written
    if isinstance(step, Rule):
        may = (*what.vectors, *filter(None, (_WRITTEN[step.hook],)))
    elif isinstance(step, KeptGradient):
        may = what.matrices if step.ends else _ready(what)
    elif isinstance(step, Normals):
        may = _ready(what)
    if isinstance(step, Slope):
        return
    if step.writes not in may:
        raise ValueError(
            f"{where} in {step.hook} may not write {step.writes or 'nothing'!r}: "
            f"{unknown('what it writes', step.writes, may)}"
        )


def _check_no_game(where: str, step: Step, what: Declared) -> None:
    """Check that a step that does not know of games names no vector that each of them has."""
    of_games = {name for name, state in what.vectors.items() if state.per_game}
    named = {*step.reads, step.writes, getattr(step, "to", "")}
    for name in sorted(of_games & named):
        raise ValueError(
            f"{where} names {name!r}, of which there is one for each game: only rules over one "
            "parameter, and totals, are given that of the transition's game"
        )


def _check_others(where: str, step: Slope, what: Declared) -> None:
    """Check what a loss compares with: parameters that stay what they are between two phases."""
    of_all = {name: state for name, state in what.vectors.items() if not state.per_game}
    if step.parameters not in of_all:
        raise ValueError(f"{where}: {unknown('vector', step.parameters, of_all)}")
    if step.since not in what.numbers:
        raise ValueError(f"{where}: {unknown('number', step.since, what.numbers)}")


def _check_mixture(where: str, step: Mixture, what: Declared, with_gradient: Sequence[str]) -> None:
    """Check what a mixture is made of and added to, and that no number hides what it is given."""
    if step.of not in what.matrices:
        raise ValueError(f"{where}: {unknown('matrix', step.of, what.matrices)}")
    may = (*with_gradient, *_ready(what))
    if step.to not in may:
        raise ValueError(f"{where} in {step.hook}: {unknown('vector', step.to, may)}")
    for name in {*what.numbers, *what.vectors} & set(OF_MIXTURE):
        raise ValueError(f"{where}: a field {name!r} means something else in a mixture: rename it")


def _ready(what: Declared) -> tuple[str, ...]:
    """Return the vectors that are there from ``bind`` on."""
    return tuple(name for name, state in what.vectors.items() if not state.late)


def value_of(part: Any, name: str, learner: Any) -> float:
    """Return a plain number of a part, as rules read it."""
    if name == "loss":
        return float(learner.last_td_loss)
    if name == "learning_rate":
        return float(learner.optimizer.param_groups[0]["lr"])
    if name in CurrentTransition._fields:
        return float(getattr(learner.current, name))
    value = getattr(part, name)
    if value is None:
        raise ValueError(f"part {part.name!r}: a rule reads {name!r}, which is None: give a number")
    if isinstance(value, str):
        return float(_words(type(part), name).index(value))
    return float(value)


@cached
def _words(kind: type, name: str) -> tuple[str, ...]:
    return get_args(get_type_hints(kind)[name])


def set_number(part: Any, name: str, value: float) -> None:
    """Set a number; one that was whole stays whole as long as its values are."""
    was_whole, value = isinstance(getattr(part, name), int), float(value)
    setattr(part, name, int(value) if was_whole and value.is_integer() else value)


def numbers_for(part: Any, names: Sequence[str], learner: Any) -> npt.NDArray[np.float64]:
    """Return all numbers of a part in the order in which they are declared, as far as needed.

    Args:
        part: The part.
        names: Those that are read; all others are NaN.
        learner: The learner.
    """
    return np.array(
        [
            value_of(part, name, learner) if name in names else np.nan
            for name in declared(type(part)).numbers
        ]
    )


assert set(_WRITTEN) - {MEASURE} | {"loss"} == set(HOOKS)
