"""What methods, kinds of replay and parts there are, as text for the help of commands."""

import inspect
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from docstring_parser import parse_from_object

from continual_arcade.agents.algorithms.catalogue import ALGORITHMS
from continual_arcade.agents.algorithms.catalogue import setting_types as algorithm_types
from continual_arcade.agents.methods import METHODS, PARTS, REPLAYS
from continual_arcade.agents.methods.catalogue import setting_types


def catalogue() -> str:
    """List the methods, the kinds of replay, and the parts with their settings."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "methods, for --method:"
    for method in METHODS.values():
        made_of = ", ".join([f"--replay {method.replay}", *(f"--part {p}" for p in method.parts)])
        yield f"  {method.name}: {method.text} [{made_of}]"
    yield ""
    yield "algorithms, for --algorithm, each with its settings:"
    yield "  dqn: The DQN of this suite, which takes methods and parts; its settings are --dqn.*"
    for algorithm in ALGORITHMS.values():
        yield f"  {algorithm.name}: {algorithm.about} ({algorithm.source})."
        about: dict[str, str] = _about_settings(algorithm.settings)
        default: Any = algorithm.settings()
        for setting, kind in algorithm_types(algorithm.settings).items():
            value = _written(getattr(default, setting))
            yield f"    {setting}={value}{_choices(kind)}: {about.get(setting, '')}"
    yield ""
    yield "kinds of replay, for --replay:"
    for name, replay in REPLAYS.items():
        yield f"  {name}: {_first_line(replay)}"
    yield ""
    yield "parts, for --part, each with its settings:"
    for name, part in PARTS.items():
        yield f"  {name}: {_first_line(part)}"
        about = _about_settings(part)
        for setting, kind in setting_types(part).items():
            default = getattr(part, setting, "...")  # a part of one's own may have none
            line = f"    {setting}={default}{_choices(kind)}: {about.get(setting, '')}"
            yield line.removesuffix(": ")


def _first_line(thing: type[Any]) -> str:
    return (inspect.getdoc(thing) or "").split("\n", 1)[0]


def _written(value: Any) -> str:
    """Write a value as it is read on a command line."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _choices(kind: Any) -> str:
    return f" ({', '.join(get_args(kind))})" if get_origin(kind) is Literal else ""


def _about_settings(part: type[Any]) -> dict[str, str]:
    """Return what the source says of each setting, below its field."""
    about: dict[str, str] = {}
    for cls in reversed(part.__mro__[:-1]):
        for field in parse_from_object(cls).params:
            about[field.arg_name] = " ".join((field.description or "").split())
    return about
