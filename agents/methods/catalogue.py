"""All parts by name, and how they are written on a command line."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from continual_arcade.agents.methods.agem import AGEM
from continual_arcade.agents.methods.base import Part
from continual_arcade.agents.methods.cloning import Clear, Clone
from continual_arcade.agents.methods.meta import MER, Reptile
from continual_arcade.agents.methods.penalties import EWC, L2, MAS, SI, OnlineEWC
from continual_arcade.agents.methods.reset import Reset
from continual_arcade.agents.methods.spec_strings import parse
from continual_arcade.envs.messages import unknown

PARTS: Mapping[str, type[Part]] = {
    part.name: part
    for part in (AGEM, Clear, Clone, EWC, L2, MAS, MER, OnlineEWC, Reptile, Reset, SI)
}
"""Every part that comes with the suite, by name."""


def make_part(name: str, settings: Mapping[str, Any] | None = None) -> Part:
    """Make a part by name.

    Raises:
        ValueError: If there is no such part or setting, or a value makes no sense.
    """
    if name not in PARTS:
        raise ValueError(unknown("part", name, PARTS))
    cls = PARTS[name]
    known = setting_types(cls)
    for setting in settings or {}:
        if setting not in known:
            raise ValueError(unknown(f"setting of {name}", setting, known))
    return cls(**(settings or {}))


def parse_part(text: str) -> Part:
    """Make a part from text such as ``ewc`` or ``ewc:lam=100,fisher=policy``.

    Raises:
        ValueError: If the text is none of these, or as in :func:`make_part`.
    """
    choices = {name: setting_types(part) for name, part in PARTS.items()}
    return make_part(*parse(text, "part", choices))


def check_together(parts: Sequence[Part]) -> None:
    """Check that parts can be combined.

    Raises:
        TypeError: If one of them is no part.
        ValueError: If two of them have one name, exclude each other, or both plan the batches.
    """
    for i, part in enumerate(parts):
        if not isinstance(part, Part):
            raise TypeError(
                f"parts hold {part!r}, which is no part: make one, such as EWC(lam=10) or "
                "make_part('ewc', {'lam': 10})"
            )
        for other in parts[:i]:
            if part.name == other.name:
                raise ValueError(
                    f"part {part.name!r} is given twice: leave one out; to set up that of a method "
                    f"in another way, give --part {part.name}:... without the method"
                )
            if part.name in other.conflicts or other.name in part.conflicts:
                raise ValueError(
                    f"parts {other.name!r} and {part.name!r} cannot be combined: leave one out"
                )
            if part.plans_batches and other.plans_batches:
                raise ValueError(
                    f"parts {other.name!r} and {part.name!r} both choose what is learnt from: "
                    "leave one out"
                )


def setting_types(part: type[Part]) -> dict[str, Any]:
    """Return the settings of a part and their types, in order."""
    hints = get_type_hints(part)
    return {f.name: hints[f.name] for f in fields(part) if f.init}  # type: ignore[arg-type]
