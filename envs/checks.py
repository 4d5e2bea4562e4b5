"""Checks of settings: of type and of range, each at the one place where a setting comes in.

A rule is called with the name of a setting and what was given for it. It returns the plain Python
value that is meant (also of a NumPy scalar), or raises an error that names setting and value. A
dataclass says its rules in the types of its fields and calls :func:`check_fields`::

    @dataclass(frozen=True)
    class Settings:
        num_envs: Annotated[int, Whole(1)] = 8
        gamma: Share = 0.99
        double_q: bool = True

        def __post_init__(self) -> None:
            check_fields(self)

A bool is never a number here, text never a number, and a number never a bool: whoever writes
``double_q = "no"`` would otherwise get the opposite.
"""

import math
import numbers
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.messages import shown, unknown

Rule = Callable[[str, Any], Any]
"""Takes the name of a setting and a value; returns the value that is meant, or raises."""

LARGEST = 2**63 - 1
"""The largest whole number that compiled code and files know."""
MOST_AT_ONCE = 1_000_000
"""More than this of anything within one step (games, updates, examples) is a mistake: the step
would not end."""


class WrongTypeError(TypeError, ValueError):
    """A value is of a type that a setting cannot have.

    It is a ValueError as well: whoever reads settings from a file or a command line has one kind of
    error to expect.
    """


@dataclass(frozen=True)
class Whole:
    """Whole numbers."""

    least: int = 0
    most: int = LARGEST

    def __call__(self, name: str, value: Any) -> int:
        """Return the number.

        Raises:
            WrongTypeError: If it is no whole number.
            ValueError: If it is out of range.
        """
        value = _scalar(value)
        is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        number = int(value) if is_whole else 0
        if is_whole and self.least <= number <= self.most:
            return number
        limit = f", at least {self.least}"
        if self.most < LARGEST or number > self.most:
            limit += f" and at most {self.most:,}"
        wrong = ValueError if is_whole else WrongTypeError
        raise wrong(f"{name} = {shown(value)} must be a whole number{limit}")


@dataclass(frozen=True)
class Number:
    """Numbers, finite unless it is said otherwise."""

    low: float = -math.inf
    """The smallest number."""
    high: float = math.inf
    """The largest number."""
    above: float | None = None
    """A limit that is excluded itself."""
    below: float | None = None
    """A limit that is excluded itself."""
    finite: bool = True

    def __call__(self, name: str, value: Any) -> float:
        """Return the number.

        Raises:
            WrongTypeError: If it is no number.
            ValueError: If it is NaN or out of range.
        """
        value = _scalar(value)
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            limit = "" if str(self) == "finite" else f", {self}"
            raise WrongTypeError(f"{name} = {shown(value)} must be a number{limit}")
        try:
            number = float(value)
        except OverflowError:  # more digits than a float has
            number = math.nan
        inside = self.low <= number <= self.high
        inside &= self.above is None or number > self.above
        inside &= self.below is None or number < self.below
        if inside and (math.isfinite(number) or not self.finite):
            return number
        raise ValueError(f"{name} = {shown(value)} must be {self}")

    def __str__(self) -> str:
        """Say what is allowed."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"from {self.low:g} to {self.high:g}"
        is_open = self.below is None and not math.isfinite(self.high)
        if self.above == 0 and is_open:
            return "positive and finite" if self.finite else "positive"
        limits = ["finite"] if self.finite and is_open else []
        if math.isfinite(self.low):
            limits.append(f"at least {self.low:g}")
        if self.above is not None:
            limits.append(f"above {self.above:g}")
        if math.isfinite(self.high):
            limits.append(f"at most {self.high:g}")
        if self.below is not None:
            limits.append(f"below {self.below:g}")
        return " and ".join(limits) or "not NaN"


@dataclass(frozen=True)
class OneOf:
    """Words of which one is to be chosen."""

    known: tuple[str, ...]

    def __call__(self, name: str, value: Any) -> str:
        """Return the word.

        Raises:
            WrongTypeError: If it is no text.
            ValueError: If it is not known.
        """
        if isinstance(value, str) and value in self.known:
            return str(value)
        wrong = ValueError if isinstance(value, str) else WrongTypeError
        raise wrong(unknown(name, value, self.known))


@dataclass(frozen=True)
class Instance:
    """Objects of some classes."""

    kinds: tuple[type, ...]

    def __call__(self, name: str, value: Any) -> Any:
        """Return the object.

        Raises:
            WrongTypeError: If it is of another class.
        """
        if not isinstance(value, self.kinds):
            known = " or ".join(kind.__name__ for kind in self.kinds)
            raise WrongTypeError(f"{name} = {shown(value)} must be an instance of {known}")
        return value


@dataclass(frozen=True)
class Each:
    """Lists of which each item obeys a rule; they become tuples."""

    rule: Rule

    def __call__(self, name: str, value: Any) -> tuple[Any, ...]:
        """Return the items.

        Raises:
            WrongTypeError: If it is no list, or an item is of the wrong type.
            ValueError: If an item breaks the rule.
        """
        if isinstance(value, np.ndarray) and value.ndim == 1:
            value = value.tolist()
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            raise WrongTypeError(f"{name} = {shown(value)} must be a list")
        return tuple(self.rule(f"{name}[{i}]", item) for i, item in enumerate(value))


@dataclass(frozen=True)
class ByName:
    """Tables of which each value obeys a rule; they become dicts of their own."""

    rule: Rule

    def __call__(self, name: str, value: Any) -> dict[str, Any]:
        """Return the table.

        Raises:
            WrongTypeError: If it is no table, a key is no text, or a value is of the wrong type.
            ValueError: If a value breaks the rule.
        """
        if not isinstance(value, Mapping):
            raise WrongTypeError(f"{name} = {shown(value)} must be a table")
        for key in value:
            if not isinstance(key, str):
                raise WrongTypeError(f"{name} has the key {shown(key)}, which is no name")
        return {str(key): self.rule(key, item) for key, item in value.items()}


@dataclass(frozen=True)
class Array:
    """Arrays of finite numbers."""

    shape: tuple[int | None, ...]
    """Length of each axis; None for any."""
    dtype: npt.DTypeLike
    low: float = -math.inf
    high: float = math.inf

    def __call__(self, name: str, value: Any) -> npt.NDArray[Any]:
        """Return the array, not a copy.

        Raises:
            WrongTypeError: If it is none, or of another type or shape.
            ValueError: If a number is not finite or out of range.
        """
        is_array = isinstance(value, np.ndarray) and value.dtype == self.dtype
        lengths = value.shape if is_array else None
        if (
            lengths is None
            or len(lengths) != len(self.shape)
            or not all(
                wanted in (None, length) for length, wanted in zip(lengths, self.shape, strict=True)
            )
        ):
            found = f"{value.dtype} {lengths}" if isinstance(value, np.ndarray) else shown(value)
            wanted = tuple("any" if length is None else length for length in self.shape)
            raise WrongTypeError(
                f"{name} must be an array of {np.dtype(self.dtype)} of shape {wanted}, not {found}"
            )
        array: npt.NDArray[Any] = value
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite")
        if array.size and not (array.min() >= self.low and array.max() <= self.high):
            raise ValueError(
                f"{name} go from {array.min():g} to {array.max():g}, and must be from {self.low:g} "
                f"to {self.high:g}"
            )
        return array


def check_new(path: Path) -> None:
    """Check that nothing is overwritten.

    Raises:
        FileExistsError: If there is such a file or folder.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists, and nothing is overwritten: choose another name")


@dataclass(frozen=True)
class OrNone:
    """None, or what obeys a rule."""

    rule: Rule

    def __call__(self, name: str, value: Any) -> Any:
        """Return the value.

        Raises:
            WrongTypeError: As in the rule.
            ValueError: As in the rule.
        """
        if value is None:
            return None
        try:
            return self.rule(name, value)
        except ValueError as error:
            if not str(error).startswith(f"{name} = "):  # of something within it
                raise
            raise type(error)(f"{error}, or None") from None


def _anything(_: str, value: Any) -> Any:
    return value


def _scalar(value: Any) -> Any:
    """Return what an array of no dimensions holds, and anything else as it is."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def flag(name: str, value: Any) -> bool:
    """Return a truth value.

    Raises:
        WrongTypeError: If it is none: neither 0 nor "no" is.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise WrongTypeError(f"{name} = {shown(value)} must be True or False")
    return bool(value)


def text(name: str, value: Any) -> str:
    """Return a text.

    Raises:
        WrongTypeError: If it is none.
    """
    if not isinstance(value, str):
        raise WrongTypeError(f"{name} = {shown(value)} must be text")
    return str(value)


Count = Annotated[int, Whole(1)]
"""A whole number of at least 1."""
AtOnce = Annotated[int, Whole(1, MOST_AT_ONCE)]
"""How much there is of something within one step."""
Share = Annotated[float, Number(0, 1)]
"""A number from 0 to 1."""
Positive = Annotated[float, Number(above=0)]
"""A finite number above 0."""
NotNegative = Annotated[float, Number(0)]
"""A finite number of at least 0."""
Divisor = Annotated[float, Number(1e-12)]
"""What values are divided by: far enough from 0 that this stays finite."""


def check_fields(settings: Any, where: str = "") -> None:
    """Check every field of a dataclass by the rule in its type, and keep the plain values.

    ``int`` is a whole number of at least 0, ``float`` a finite number, ``Literal`` a choice;
    ``Annotated[float, Number(0, 1)]`` names a rule of its own. Fields of other types are left
    alone.

    Args:
        settings: The object; it may be frozen.
        where: What the settings belong to, for messages.

    Raises:
        WrongTypeError: If a value is of the wrong type.
        ValueError: If a value breaks its rule.
    """
    kind: Any = type(settings)
    for name, rule in rules_of(kind).items():
        object.__setattr__(settings, name, _checked(rule, name, getattr(settings, name), where))


COUNTS_WITH = "counts_with"
"""Key of a field's metadata: the name of another field, and those of its values with which this one
counts; with others it says nothing."""


def check_counts(settings: Any, where: str = "") -> None:
    """Check that no field of a dataclass was set that counts for nothing beside the others.

    What a field says by default is nothing that anybody asked for.

    Args:
        settings: The object, whose fields are plain values.
        where: What the settings belong to, for messages.

    Raises:
        ValueError: If one was; the message names what it counts with.
    """
    for field in fields(settings):
        if COUNTS_WITH not in field.metadata:
            continue
        other, values = field.metadata[COUNTS_WITH]
        value, beside = getattr(settings, field.name), getattr(settings, other)
        if value != field.default and beside not in values:
            choices = " or ".join(map(repr, values))
            raise ValueError(
                f"{where}{': ' if where else ''}{field.name} = {value!r} counts only with {other} "
                f"= {choices}, and {other} = {beside!r}: leave it out, or choose {other} = "
                f"{choices}"
            )


def check_values(values: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Check arguments by name; those without a rule are left alone.

    Raises:
        WrongTypeError: If a value is of the wrong type.
        ValueError: If a value breaks its rule.
    """
    return {
        name: rules[name](name, value) if name in rules else value for name, value in values.items()
    }


def _checked(rule: Rule, name: str, value: Any, where: str) -> Any:
    if not where:
        return rule(name, value)
    try:
        return rule(name, value)
    except ValueError as error:
        raise type(error)(f"{where}: {error}") from None


@cache
def rules_of(kind: type) -> Mapping[str, Rule]:
    """Return the rules of a dataclass by field; of its own state (``init=False``) there is none."""
    hints = get_type_hints(kind, include_extras=True)
    found = {field.name: _rule(hints[field.name]) for field in fields(kind) if field.init}
    return {name: rule for name, rule in found.items() if rule is not None}


_PLAIN: Mapping[Any, Rule] = {bool: flag, int: Whole(), float: Number(), str: text}


def _rule(hint: Any) -> Rule | None:
    """Return the rule that a type stands for."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return next((each for each in arguments[1:] if callable(each)), _rule(arguments[0]))
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is Literal:
        return OneOf(arguments)
    if origin in (Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
        inner = next(_rule(each) for each in arguments if each is not type(None))
        return None if inner is None else OrNone(inner)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        inner = _rule(arguments[0])
        return None if inner is None else Each(inner)
    if origin in (dict, Mapping) and arguments[0] is str:
        return ByName(_rule(arguments[1]) or _anything)
    is_known = isinstance(hint, type) and hint not in (Any, object)
    if is_known and not getattr(hint, "_is_protocol", False):
        return Instance((hint,))
    return None


def whole_actions(actions: Any, count: int) -> npt.NDArray[Any]:
    """Return the actions of a batch of environments as an array, shape ``(count,)``.

    Raises:
        TypeError: If they are no whole numbers.
        ValueError: If there is not one for each.
    """
    array = np.asarray(actions)
    if array.dtype.kind not in "iu":
        raise TypeError(f"actions must be whole numbers, not {array.dtype}")
    if array.shape != (count,):
        raise ValueError(
            f"actions have shape {array.shape}; one for each sub-environment is ({count},)"
        )
    return array
