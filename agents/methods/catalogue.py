"""All methods and parts by name, found in this folder.

Every file of the folder may define parts, classes derived from :class:`Part` with a name, and
``PRESETS``. To add a method is to add a file; nothing else names it. Folders of one's own come in
by the environment variable ``CONTINUAL_ARCADE_METHODS``, separated as in ``PATH``.
"""

import pkgutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, get_type_hints

from continual_arcade.agents.kernels.functions import cached
from continual_arcade.agents.methods.base import BEFORE, Part
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import declared
from continual_arcade.agents.methods.spec_strings import parse
from continual_arcade.envs.messages import unknown

_PACKAGE = __name__.rpartition(".")[0]

PARTS: dict[str, type[Part]] = {}
"""Every part that was found, by name."""
PRESETS: dict[str, Preset] = {}
"""Every preset that was found, by name."""
MISSING: dict[str, str] = {}
"""Files that were left out, and why."""


def discover() -> None:
    """Find what is in the folder.

    What is wrong with a file is told by a warning, and keeps no other from being found.
    """
    for known in (PARTS, PRESETS, MISSING):
        known.clear()
    folders = list(sys.modules[_PACKAGE].__path__)
    places: dict[str, str] = dict.fromkeys(
        ("catalogue", "method"), folders[0]
    )  # which hold no method
    for folder in folders:
        if not Path(folder).is_dir():
            leave_out(folder, ValueError("CONTINUAL_ARCADE_METHODS names it, and it is no folder"))
        for found in pkgutil.iter_modules([folder]):
            first = places.setdefault(found.name, folder)
            if first != folder:
                error = ValueError(f"there is another file of this name in {first}: rename it")
                leave_out(f"{found.name}.py in {folder}", error)
    for name in sorted(places.keys() - {"catalogue", "method"}):
        try:
            module = import_module(f"{_PACKAGE}.{name}")
            parts, presets = dict(_parts_of(module)), dict(_presets_of(module))
            _check_new("parts", parts, PARTS)
            _check_new("methods", presets, PRESETS)
        except Exception as error:
            leave_out(f"{name}.py", error)
        else:
            PARTS.update(parts)
            PRESETS.update(presets)


def _check_new(kind: str, found: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name in found.keys() & known.keys():
        raise ValueError(f"there are two {kind} of the name {name!r}: rename one")


def leave_out(name: str, error: Exception) -> None:
    """Take note of a file that cannot be used, and warn."""
    MISSING[name] = f"{type(error).__name__}: {error}"
    warnings.warn(f"{name} of the methods is left out: {MISSING[name]}", stacklevel=3)


def _parts_of(module: ModuleType) -> Iterator[tuple[str, type[Part]]]:
    for kind in vars(module).values():
        if (
            isinstance(kind, type)
            and issubclass(kind, Part)
            and kind.__module__ == module.__name__
            and "name" in vars(kind)
            and not isabstract(kind)
        ):
            declared(kind)  # raises if its rules make no sense
            yield kind.name, kind


def _presets_of(module: ModuleType) -> Iterator[tuple[str, Preset]]:
    for preset in getattr(module, "PRESETS", ()):
        if not preset.source:
            raise ValueError(
                f"preset {preset.name!r} lacks its source: give the paper it comes from"
            )
        yield preset.name, preset


def make_part(name: str, settings: Mapping[str, Any] | None = None) -> Part:
    """Make a part by name.

    Raises:
        ValueError: If there is no such part or setting, or a value makes no sense.
    """
    if name not in PARTS:
        raise ValueError(unknown_here("part", name, PARTS))
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


@cached
def setting_types(part: type[Part]) -> Mapping[str, Any]:
    """Return the settings of a part and their types, in order; not to be changed."""
    hints = get_type_hints(part)
    return MappingProxyType({f.name: hints[f.name] for f in fields(part) if f.init})  # type: ignore[arg-type]


def settings_before(part: type[Part]) -> dict[str, Any]:
    """Return what a part did before it had some of its settings, which older files lack."""
    return {f.name: f.metadata[BEFORE] for f in fields(part) if BEFORE in f.metadata}  # type: ignore[arg-type]


def unknown_here(kind: str, name: str, known: Mapping[str, Any]) -> str:
    """Say that a name is not known, and which files were left out, of which it may be."""
    lost = "".join(f"; {file} was left out: {why}" for file, why in MISSING.items())
    return unknown(kind, name, known) + lost


def check_together(parts: Sequence[Part]) -> None:
    """Check that parts can be combined.

    Raises:
        TypeError: If one of them is no part.
        ValueError: If two of them have one name, exclude each other, or both plan the batches or
            choose actions.
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
            for one, two in ((part, other), (other, part)):
                if one.streaming and two.acts_in_updates:
                    raise ValueError(
                        f"parts {other.name!r} and {part.name!r} cannot be combined: {one.name!r} "
                        "makes a step of its own for each transition, in place of gradient steps, "
                        f"in which {two.name!r} does its work: leave one out"
                    )
                if one.settles and two.holds_average:
                    raise ValueError(
                        f"parts {other.name!r} and {part.name!r} cannot be combined: {one.name!r} "
                        f"says what is kept of a phase, which the average that {two.name!r} holds "
                        "on to is not: choose anchor = 'last'"
                    )
            if part.plans_batches and other.plans_batches:
                raise ValueError(
                    f"parts {other.name!r} and {part.name!r} both choose what is learnt from: "
                    "leave one out"
                )
            if part.may_choose and other.may_choose:
                raise ValueError(
                    f"parts {other.name!r} and {part.name!r} both choose actions: leave one out"
                )


discover()
