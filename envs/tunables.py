"""What may drift: the tunables of an environment, and values checked against them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from continual_arcade.envs.checks import Number, WrongTypeError, check_fields
from continual_arcade.envs.messages import shown, unknown

_FINITE = Number()
_Bound = Annotated[float, Number(finite=False)]


@dataclass(frozen=True, kw_only=True)
class Tunable:
    """A parameter of an environment that may change from episode to episode.

    Raises:
        ValueError: If a field is of the wrong type, or the default is none of the values that it
            can have.
    """

    default: float
    """Value where nothing else is said."""
    low: _Bound
    """Smallest value that is still a game."""
    high: _Bound
    """Largest value that is still a game."""
    unit: str
    """Unit of the value."""
    harder: Literal["lower", "higher", "either"]
    """Which direction makes the game harder; "either" where it makes it another game."""
    about: str
    """What it is, in a few words."""
    integer: bool = False
    """Whether only whole numbers make sense."""
    too_low: str = ""
    """Why a value below ``low`` is refused."""
    too_high: str = ""
    """Why a value above ``high`` is refused."""
    acts_where: dict[str, float] = field(default_factory=dict)
    """Values of other tunables that it takes for this one to act; elsewhere it must keep its
    default, because any other value would change nothing."""
    acts_unless: dict[str, float] = field(default_factory=dict)
    """Values of other tunables of which any keeps this one from acting; there it must keep its
    default, too."""
    excluded: tuple[float, ...] = ()
    """Values between the bounds that are none."""
    why_excluded: str = ""
    """Why these are refused."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.low <= self.default <= self.high:
            raise ValueError(
                f"default = {self.default:g} must lie within low = {self.low:g} and high = "
                f"{self.high:g}"
            )
        self.check("default", self.default)

    def check(self, name: str, value: object) -> float:
        """Return the value as a float.

        Raises:
            WrongTypeError: If it is not a number.
            ValueError: If it is not finite, out of bounds, excluded, or a fraction where only whole
                numbers make sense.
        """
        number = value if type(value) is float and math.isfinite(value) else _FINITE(name, value)
        if not self.low <= number <= self.high:
            why = self.too_low if number < self.low else self.too_high if number > self.high else ""
            raise ValueError(
                f"{name} = {self.written(number, 9)} is outside [{self.low:.9g}, {self.high:.9g}]"
                + (f": {why}" if why else "")
            )
        if self.integer and not number.is_integer():
            raise ValueError(f"{name} = {self.written(number, 9)} must be a whole number")
        if number in self.excluded:
            raise ValueError(
                f"{name} = {self.written(number, 9)} is no value of it"
                + (f": {self.why_excluded}" if self.why_excluded else "")
            )
        return number

    def written(self, value: float, digits: int = 4) -> str:
        """Return a value with its unit, for people to read.

        Args:
            value: The value.
            digits: How many of it are written.
        """
        if self.unit == COLOUR:
            is_colour = value.is_integer() and self.low <= value <= self.high
            return f"#{int(value):06x}" if is_colour else f"{value:.{digits}g}"
        return f"{value:.{digits}g} {self.unit}".rstrip()


COLOUR = "#rrggbb"
"""The unit of colours: red, green and blue as one number, ``0xRRGGBB``."""

Tunables = Mapping[str, Tunable]
Params = dict[str, float]
"""A value for each tunable of an environment."""


def check_tunables(tunables: Tunables) -> None:
    """Make sure that what tunables say of each other is true.

    Raises:
        ValueError: If one acts, or does not, where another has a value that it cannot have, or that
            is not there.
    """
    for name, tunable in tunables.items():
        for condition in ("acts_where", "acts_unless"):
            for other, value in getattr(tunable, condition).items():
                try:
                    if other not in tunables:
                        raise ValueError(unknown("tunable", other, tunables))
                    tunables[other].check(other, value)
                except ValueError as error:
                    raise ValueError(f"tunable {name!r}, {condition}: {error}") from error


def defaults(tunables: Tunables) -> Params:
    """Return the default of each tunable."""
    return {name: tunable.default for name, tunable in tunables.items()}


def resolve(tunables: Tunables, values: Mapping[str, object]) -> Params:
    """Complete some values with the defaults, in the order of the tunables.

    Raises:
        ValueError: If a name is unknown, a value is out of its bounds, or one would not act.
        WrongTypeError: If a value is not a number, or the values are no table.
    """
    if not isinstance(values, Mapping):
        raise WrongTypeError(f"params = {shown(values)} must be a table of parameters by name")
    for name in values:
        if name not in tunables:
            raise ValueError(unknown("parameter", name, tunables))
    params = {
        name: tunable.check(name, values[name]) if name in values else tunable.default
        for name, tunable in tunables.items()
    }
    for name in values:
        tunable = tunables[name]
        if _is_default(tunable, params[name]):
            continue
        for other, value in tunable.acts_where.items():
            if params[other] != value:
                raise ValueError(
                    f"{name} = {params[name]:g} acts only where {other} = {value:g}, and here it "
                    f"is {params[other]:g}: leave {name} out, or set {other} = {value:g}"
                )
        for other, value in tunable.acts_unless.items():
            if params[other] == value:
                raise ValueError(
                    f"{name} = {params[name]:g} does not act where {other} = {value:g}: leave "
                    f"{name} out, or set another {other}"
                )
    return params


def differences(tunables: Tunables, params: Mapping[str, float]) -> Params:
    """Return the values that are not the default: what is special about them."""
    return {name: value for name, value in params.items() if not _is_default(tunables[name], value)}


def _is_default(tunable: Tunable, value: float) -> bool:
    """Return whether a value is the default, perhaps rounded where it was written down."""
    return math.isclose(value, tunable.default, rel_tol=1e-12)
