"""What methods and parts there are, as text for the help of commands."""

import inspect
from collections.abc import Iterator

from continual_arcade.agents.methods import METHODS
from continual_arcade.agents.parts import PARTS
from continual_arcade.agents.parts.catalogue import setting_types


def catalogue() -> str:
    """List the methods, and the parts with their settings."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "methods:"
    for method in METHODS.values():
        made_of = ", ".join([f"--replay {method.replay}", *(f"--part {p}" for p in method.parts)])
        yield f"  {method.name}: {method.text} [{made_of}]"
    yield ""
    yield "parts, with their settings:"
    for name, part in PARTS.items():
        first = (inspect.getdoc(part) or "").split("\n", 1)[0]
        settings = ", ".join(
            f"{setting}={getattr(part, setting)}" for setting in setting_types(part)
        )
        yield f"  {name}: {first} [{settings}]"
