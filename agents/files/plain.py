"""Arguments as plain data: what files hold of them, and what must be handed in again.

Numbers, text, lists, tables, arrays and tensors are kept. A class becomes its name, and is looked
up again only where networks, optimisers and replay memories are defined, so that reading a file
runs no code. Of a function, or of any other object, no file holds more than how it looked: whoever
loads the agent hands it in.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import TrainFreq
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from continual_arcade.envs.checks import Number
from continual_arcade.envs.messages import shown

_MODULES = re.compile(
    r"torch\.nn\.modules\.\w+|torch\.optim(\.\w+)?|"
    r"stable_baselines3\.(dqn\.policies|her\.her_replay_buffer|common\.(buffers|torch_layers))|"
    r"continual_arcade\.agents\.(crelu|networks|replay)"
)
"""Where classes that a file names may be defined: modules that do nothing when imported."""
_KINDS = (torch.nn.Module, torch.optim.Optimizer, ReplayBuffer)
"""What such a class may be."""
_SCHEDULES: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "constant": (ConstantSchedule, ("val",)),
    "linear": (LinearSchedule, ("start", "end", "end_fraction")),
    "float": (FloatSchedule, ("value_schedule",)),
}
"""Stable-Baselines3's schedules, which are functions, but hold nothing but numbers."""
_HANDED_IN = ("function", "object")


def to_plain(value: Any) -> Any:
    """Return plain data; what is none is marked, as a table with one key that says what it is."""
    if isinstance(value, np.generic):
        value = value.item()
    kind = type(value)
    # Exact types: an enum of text or numbers would come back as another thing than it was.
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is TrainFreq:
        return {"tuple": [value.frequency, value.unit.value]}
    if kind is tuple:
        return {"tuple": [to_plain(item) for item in value]}
    if kind is list:
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {"dict": {key: to_plain(item) for key, item in value.items()}}
    if isinstance(value, type):
        return {"class": name_of(value)}
    for name, (schedule, arguments) in _SCHEDULES.items():
        if kind is schedule:
            given = [to_plain(getattr(value, argument)) for argument in arguments]
            return {"schedule": [name, *given]}
    if isinstance(value, np.ndarray) and kind is np.ndarray and value.dtype.kind in "biufc":
        return {"array": value}
    if isinstance(value, torch.Tensor) and value.layout is torch.strided:
        return {"tensor": value}
    try:
        seen = shown(value)
    except Exception:  # whatever somebody's own repr raises: an agent must not be lost for it
        seen = f"a {kind.__name__}"
    return {"function" if callable(value) else "object": seen}


def from_plain(data: Any, argument: str) -> Any:
    """Return the value that plain data describe.

    Args:
        data: What :func:`to_plain` returned.
        argument: Which argument of ``load()`` takes what no file holds.

    Raises:
        ValueError: If something among it must be handed in, or names a class that is not looked up.
    """
    missing = _handed_in(data, argument)
    if missing is not None:
        where, what, seen = missing
        raise ValueError(
            f"{where} was {what}, which no file holds ({seen}): hand it to load(), as "
            f"{argument}=..."
        )
    return _value(data, argument)


_AREA = re.compile(r"continual_arcade\.agents\.(replay|methods|parts)(\.\w+)?")


def name_of(kind: type[Any]) -> str:
    """Return the name under which a class is kept."""
    return settled(f"{kind.__module__}:{kind.__qualname__}")


def settled(name: str) -> str:
    """Return the name of a class without the file of this suite that it is defined in.

    So files outlive it that classes move. Parts of methods were ``agents.parts`` in version 0.1.0.
    """
    module, _, qualified = name.partition(":")
    area = _AREA.fullmatch(module)
    if area is None:
        return name
    return f"continual_arcade.agents.{area[1].replace('parts', 'methods')}:{qualified}"


def _handed_in(data: Any, where: str) -> tuple[str, str, str] | None:
    """Say where in plain data something is that no file holds, what it was, and how it looked."""
    inner: list[tuple[Any, str]] = []
    if isinstance(data, list):
        inner = [(item, where) for item in data]
    elif isinstance(data, dict):
        ((kind, content),) = data.items()
        if kind in _HANDED_IN:
            return where, "a function" if kind == "function" else "an object", str(content)
        if kind == "dict":
            inner = [(item, f"{where}[{key!r}]") for key, item in content.items()]
        elif isinstance(content, list):
            inner = [(content, where)]
    return next(filter(None, (_handed_in(item, place) for item, place in inner)), None)


def _value(data: Any, argument: str) -> Any:
    if isinstance(data, list):
        return [_value(item, argument) for item in data]
    if not isinstance(data, dict):
        return data
    ((kind, content),) = data.items()
    if kind == "tuple":
        return tuple(_value(item, argument) for item in content)
    if kind == "dict":
        return {key: _value(item, argument) for key, item in content.items()}
    if kind == "schedule":
        name, *given = content
        schedule, arguments = _SCHEDULES[name]
        if len(given) != len(arguments):
            raise ValueError(f"{shown(content)} is no schedule")
        inner = [_value(item, argument) for item in given]
        if name != "float":
            inner = [Number(0)(of, item) for of, item in zip(arguments, inner, strict=True)]
        return schedule(*inner)
    if kind in ("array", "tensor"):
        return content
    if kind == "class":
        return _class(content, argument)
    raise ValueError(f"{shown(data)} describes no value")


def _class(name: str, argument: str) -> type[Any]:
    """Look a class up, where only networks, optimisers and replay memories are defined."""
    module, _, qualified = settled(name).partition(":")
    found: Any = None
    if _MODULES.fullmatch(module):
        try:
            found = getattr(import_module(module), qualified, None)
        except ImportError:
            found = None
    # A module also shows what it imports: only what it defines itself counts.
    is_kind = isinstance(found, type) and issubclass(found, _KINDS)
    if not (is_kind and name_of(found) == f"{module}:{qualified}"):
        raise ValueError(
            f"the file names the class {name}, which is not looked up, because it is no network, "
            "optimiser or replay memory of torch, Stable-Baselines3 or this suite: hand it to "
            f"load(), as {argument}=..."
        )
    looked_up: type[Any] = found
    return looked_up
