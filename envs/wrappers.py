"""Wrappers of Gymnasium that data may name: a fixed table, each with arguments that are checked.

What a file names is looked up here and nowhere else, so that reading one runs no code that is not
in this table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import wrappers

from continual_arcade.envs.checks import Instance, Number, Rule, Whole, WrongTypeError, check_values
from continual_arcade.envs.messages import shown, unknown

AnyEnv = gym.Env[Any, Any]
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Wrapping:
    """A kind of wrapper.

    Attributes:
        make: Wraps an environment; its further parameters are the arguments.
        about: What it does, in a few words.
        rules: What the arguments must be, by name.
    """

    make: Callable[..., AnyEnv]
    about: str
    rules: Mapping[str, Rule] = field(default_factory=dict)

    @property
    def arguments(self) -> Mapping[str, Parameter]:
        """Its arguments by name."""
        return dict(list(signature(self.make).parameters.items())[1:])


@dataclass(frozen=True)
class WrapperSpec:
    """A wrapper by name, with its arguments.

    Raises:
        WrongTypeError: If an argument is of the wrong type.
        ValueError: If there is no such wrapper or argument, or one is lacking or out of range.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in WRAPPERS:
            raise ValueError(unknown("wrapper", self.name, WRAPPERS))
        kind = WRAPPERS[self.name]
        for name in self.arguments:
            if name not in kind.arguments:
                raise ValueError(unknown(f"argument of wrapper {self.name}", name, kind.arguments))
        for name, parameter in kind.arguments.items():
            if parameter.default is Parameter.empty and name not in self.arguments:
                raise ValueError(f"wrapper {self.name} lacks its argument {name!r}")
        try:
            checked = check_values(self.arguments, kind.rules)
        except ValueError as error:
            raise type(error)(f"wrapper {self.name}: {error}") from None
        object.__setattr__(self, "arguments", checked)

    @classmethod
    def from_data(cls, data: Any) -> "WrapperSpec":
        """Read a wrapper from plain data: its name, or a table with ``name`` and its arguments.

        Raises:
            WrongTypeError: If it is neither, or an argument is of the wrong type.
            ValueError: As the class.
        """
        if isinstance(data, str):
            return cls(data)
        if not isinstance(data, Mapping):
            raise WrongTypeError(
                f"{shown(data)} is no wrapper: give its name, or a table with name and arguments"
            )
        given = dict(data)
        name = Instance((str,))("name of a wrapper", given.pop("name", None))
        return cls(name, given)

    def to_data(self) -> Any:
        """Return it as plain data."""
        return {"name": self.name, **self.arguments} if self.arguments else self.name

    def wrap(self, env: AnyEnv) -> AnyEnv:
        """Wrap an environment.

        Raises:
            ValueError: If the environment is none that it could wrap.
        """
        try:
            return WRAPPERS[self.name].make(env, **self.arguments)
        except (TypeError, ValueError, AssertionError, AttributeError, KeyError) as error:
            raise ValueError(
                f"wrapper {self.name} does not fit observations in {env.observation_space}: "
                f"{error or type(error).__name__}"
            ) from error


def _row(env: AnyEnv) -> "gym.spaces.Box[Any]":
    """Return the space of observations that are numbers.

    Raises:
        ValueError: If they are something else.
    """
    space = env.observation_space
    if not isinstance(space, gym.spaces.Box):
        raise ValueError("it needs an array of numbers, a Box")
    return space


def _mapped(env: AnyEnv, function: Callable[[Any], Any], space: "gym.spaces.Box[Any]") -> AnyEnv:
    return wrappers.TransformObservation(env, function, space)


def _factor(name: str, value: Any) -> float:
    """Return a factor that leaves something of numbers in single precision."""
    factor = Number(-_LARGEST, _LARGEST)(name, value)
    if np.float32(factor) == 0.0:
        raise ValueError(f"{name} = {shown(value)} makes every number 0 (in single precision)")
    return factor


def _scale(env: AnyEnv, by: float) -> AnyEnv:
    space, factor = _row(env), np.float32(by)
    before = np.stack([space.low, space.high]).astype(np.float32)
    with np.errstate(over="ignore"):  # refused below
        ends = before * factor
    if (np.isinf(ends) & np.isfinite(before)).any():
        raise ValueError(f"by = {by:g} takes its bounds beyond what float32 holds")
    bounds = ends.min(axis=0), ends.max(axis=0)
    return _mapped(
        env,
        lambda seen: np.asarray(seen, np.float32) * factor,
        gym.spaces.Box(*bounds, dtype=np.float32),
    )


def _unit(env: AnyEnv) -> AnyEnv:
    space = _row(env)
    low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        width = high - low
    if not (np.isfinite(width).all() and (width > 0).all()):
        raise ValueError("it needs finite bounds, and room between them: use scale")
    return _mapped(
        env,
        lambda seen: (np.asarray(seen, np.float32) - low) / width,
        gym.spaces.Box(0.0, 1.0, space.shape, np.float32),
    )


def _refuse_channels_first(shape: tuple[int, ...], way_out: str) -> None:
    """Refuse pictures whose first axis is that of the channels, because it is the shortest one.

    Where it is as short as another one nobody can tell, and channels come last as in most
    environments (the grids of MiniGrid are square, and small).

    Raises:
        ValueError: If it is.
    """
    if len(shape) == 3 and shape[0] < min(shape[1:]):
        raise ValueError(
            f"of shape {shape} the first axis is that of the channels already, and it needs rows "
            f"and columns first: {way_out}"
        )


def _channels_first(env: AnyEnv) -> AnyEnv:
    space = _row(env)
    if len(space.shape) != 3:
        raise ValueError("it needs pictures of rows, columns and channels")
    _refuse_channels_first(space.shape, "leave channels_first out")
    low, high = (np.moveaxis(bounds, -1, 0) for bounds in (space.low, space.high))
    dtype: Any = space.dtype
    return _mapped(
        env,
        lambda seen: np.ascontiguousarray(np.moveaxis(seen, -1, 0)),
        gym.spaces.Box(low, high, dtype=dtype),
    )


def overlaps(before: int, after: int) -> npt.NDArray[np.int64]:
    """Return how much of each pixel of a row lies in each of another row, in whole numbers.

    Args:
        before: Pixels of the row.
        after: Pixels of the other one, as long as the first.

    Returns:
        Shape ``(after, before)``; each row sums to ``before``.
    """
    ends = [np.arange(count + 1) * other for count, other in ((after, before), (before, after))]
    begin = np.maximum(ends[0][:-1, np.newaxis], ends[1][:-1])
    end = np.minimum(ends[0][1:, np.newaxis], ends[1][1:])
    shared: npt.NDArray[np.int64] = np.maximum(end - begin, 0)
    return shared


def _resize(env: AnyEnv, rows: int = 84, columns: int = 84) -> AnyEnv:
    space = _row(env)
    if space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        raise ValueError("it needs pictures of uint8")
    _refuse_channels_first(space.shape, "put resize before channels_first or stack")
    height, width, *channels = space.shape
    area = height * width
    # All sums are whole numbers, exact in single precision up to 2**24: the same bits anywhere.
    kind = np.float32 if 255 * area < 2**24 else np.float64
    down = overlaps(height, rows).astype(kind)
    across = overlaps(width, columns).T.astype(kind)

    def small(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        planes = np.moveaxis(picture, -1, 0) if channels else picture
        mean = (down @ planes.astype(kind) @ across) / kind(area)
        averaged = np.floor(mean + kind(0.5)).astype(np.uint8)
        return np.moveaxis(averaged, 0, -1) if channels else averaged

    return _mapped(env, small, gym.spaces.Box(0, 255, (rows, columns, *channels), np.uint8))


class _MaxAndSkip(gym.Wrapper[Any, Any, Any, Any]):
    """Plays several frames a step, and shows of the last two the larger of each number.

    Where the episode ends before, it shows the last two that were played, or the only one.
    Gymnasium's MaxAndSkipObservation shows frames of the step before then, or of an episode before.
    """

    def __init__(self, env: AnyEnv, skip: int) -> None:
        super().__init__(env)
        self._skip = skip

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Play the frames with the same action, and sum their rewards."""
        total, before, frames = 0.0, None, 0
        while True:
            seen, reward, terminated, truncated, info = self.env.step(action)
            total, frames = total + float(reward), frames + 1
            if terminated or truncated or frames == self._skip:
                break
            before = np.array(seen)  # a copy: the environment may write the next one over it
        shown = np.array(seen) if before is None else np.maximum(before, seen)
        return shown, total, terminated, truncated, info


def _max_and_skip(env: AnyEnv, skip: int = 4) -> AnyEnv:
    _row(env)
    return _MaxAndSkip(env, skip)


def _stack(env: AnyEnv, size: int = 4) -> AnyEnv:
    return wrappers.FrameStackObservation(env, size)


def _time_limit(env: AnyEnv, steps: int) -> AnyEnv:
    return wrappers.TimeLimit(env, steps)


def _clip_reward(env: AnyEnv, low: float = -1.0, high: float = 1.0) -> AnyEnv:
    if not low < high:
        raise ValueError(f"low = {low:g} must be below high = {high:g}")
    return wrappers.ClipReward(env, low, high)


def _of_minigrid(name: str) -> Callable[[AnyEnv], AnyEnv]:
    def make(env: AnyEnv) -> AnyEnv:
        found: AnyEnv = getattr(import_module("minigrid.wrappers"), name)(env)
        return found

    return make


WRAPPERS: Mapping[str, Wrapping] = {
    "flatten": Wrapping(wrappers.FlattenObservation, "observations as one row of numbers"),
    "scale": Wrapping(
        _scale, "all numbers times a factor other than 0, as float32", {"by": _factor}
    ),
    "unit": Wrapping(_unit, "all numbers from 0 at their lower bound to 1 at their upper one"),
    "max_and_skip": Wrapping(
        _max_and_skip,
        "each step plays so many, at least 2, with the same action, sums their rewards, and shows "
        "of the last two that were played the larger of each number",
        {"skip": Whole(2, 1_000)},
    ),
    "resize": Wrapping(
        _resize,
        "pictures of so many rows and columns: areas are averaged, and rounded; before "
        "channels_first and stack",
        {"rows": Whole(1, 1_024), "columns": Whole(1, 1_024)},
    ),
    "stack": Wrapping(_stack, "the last observations at once", {"size": Whole(1, 64)}),
    "channels_first": Wrapping(_channels_first, "channels of pictures before rows and columns"),
    "time_limit": Wrapping(
        _time_limit, "episodes are truncated after so many steps", {"steps": Whole(1)}
    ),
    "clip_reward": Wrapping(
        _clip_reward, "rewards within bounds", {"low": Number(), "high": Number()}
    ),
    "minigrid_image": Wrapping(
        _of_minigrid("ImgObsWrapper"), "of MiniGrid, the grid that is seen, and nothing else"
    ),
    "minigrid_one_hot": Wrapping(
        _of_minigrid("OneHotPartialObsWrapper"),
        "of MiniGrid, objects, colours and states of the grid as ones and zeros",
    ),
}
"""All of them by name."""


def read(data: Sequence[Any]) -> tuple[WrapperSpec, ...]:
    """Read a list of wrappers, the innermost first; errors as of :class:`WrapperSpec`."""
    if isinstance(data, str) or not isinstance(data, Sequence):
        raise WrongTypeError(f"wrappers = {shown(data)} must be a list")
    return tuple(map(WrapperSpec.from_data, data))
