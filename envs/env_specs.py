"""Specifications of environments as plain data, which survive JSON and another process.

Gymnasium writes into ``env.spec`` whatever it was given to make an environment. What is no plain
data could not be written as JSON, or not be read back; and a path would mean another file, or none,
in another folder.
"""

import os
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import asdict
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from continual_arcade.envs.checks import WrongTypeError
from continual_arcade.envs.messages import shown
from continual_arcade.envs.schedule_files import SUFFIXES
from continual_arcade.envs.schedules import Schedule
from continual_arcade.envs.tunables import Tunable, Tunables, check_tunables


class _PortableSpec:
    """An attribute ``spec`` that keeps whatever Gymnasium writes into it as plain data."""

    def __get__(self, env: Any, owner: type[Any] | None = None) -> EnvSpec | None:
        return None if env is None else env.__dict__.get("_spec")

    def __set__(self, env: Any, spec: EnvSpec | None) -> None:
        env.__dict__["_spec"] = portable(spec, env.clock.schedule, env.game.bare.options)


def portable_spec() -> Any:
    """Return an attribute for an environment that has a clock; to static checkers it is any."""
    return _PortableSpec()


def portable(
    spec: EnvSpec | None, schedule: Schedule, options: Mapping[str, Any]
) -> EnvSpec | None:
    """Return a specification whose arguments are plain data.

    Args:
        spec: What Gymnasium wrote down.
        schedule: The schedule that its arguments resolved to. The name of a shipped one stays.
        options: What its game was made with: of a folder the whole path.
    """
    if spec is None:
        return None
    spec = copy(spec)
    given = spec.kwargs.get("schedule")
    spec.kwargs = {
        name: options[name] if _is_path_of(value, options.get(name)) else plain(value)
        for name, value in spec.kwargs.items()
    }
    is_name = isinstance(given, str) and not given.endswith(SUFFIXES)
    if given is not None and not is_name:
        spec.kwargs["schedule"] = schedule.to_dict()
    return spec


def _is_path_of(value: Any, whole: Any) -> bool:
    """Return whether a value is a path, of which another one is the whole."""
    return isinstance(value, str) and os.path.abspath(value) == whole


def plain(value: Any) -> Any:
    """Return a value as JSON has it; what JSON does not have as it is."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def plain_tunables(tunables: Tunables) -> dict[str, dict[str, Any]]:
    """Return tunables as plain data; :func:`as_tunables` reads it back."""
    return {name: plain(asdict(tunable)) for name, tunable in tunables.items()}


def as_tunables(given: Mapping[str, Tunable | Mapping[str, Any]]) -> Tunables:
    """Return tunables that may have been given as plain data.

    Raises:
        ValueError: If one of them is none.
    """
    if not isinstance(given, Mapping):
        raise WrongTypeError(f"tunables = {shown(given)} must be a table of Tunables by name")
    found: dict[str, Tunable] = {}
    for name, item in given.items():
        try:
            found[name] = item if isinstance(item, Tunable) else Tunable(**item)
        except (TypeError, ValueError) as error:
            raise ValueError(f"tunable {name!r}: {error}") from error
    check_tunables(found)
    return found


def named(function: Callable[..., Any]) -> Callable[..., Any] | str:
    """Return the name by which another process finds a function; itself if there is none."""
    module, name = (getattr(function, key, None) for key in ("__module__", "__qualname__"))
    try:
        found = as_function(f"{module}:{name}")
    except ValueError:
        return function
    return f"{module}:{name}" if found is function else function


def as_function(given: Callable[..., Any] | str) -> Callable[..., Any]:
    """Return a function that may have been given by name, as ``module:function``.

    Raises:
        ValueError: If there is no such function.
    """
    if callable(given):
        return given
    if not isinstance(given, str):
        raise WrongTypeError(f"{shown(given)} is no function, nor the name of one")
    module, _, name = given.partition(":")
    try:
        found: Any = import_module(module)
        for piece in name.split("."):
            found = getattr(found, piece)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ValueError(
            f"there is no function {given!r} here: define it in a module that can be imported"
        ) from error
    if not callable(found):
        raise WrongTypeError(f"{given!r} is no function")
    function: Callable[..., Any] = found
    return function
