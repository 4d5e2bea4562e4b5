"""All algorithms by name, found in this folder; and choices of them, as text.

Every file of the folder that has an ``ALGORITHM`` adds one. To add an algorithm is to add a file;
nothing else names it.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from continual_arcade.agents.algorithms.algorithm import Algorithm
from continual_arcade.agents.algorithms.settings import AlgorithmSettings
from continual_arcade.agents.methods import METHODS, Method
from continual_arcade.agents.methods.spec_strings import parse
from continual_arcade.agents.settings import DQNSettings
from continual_arcade.envs.messages import unknown

DQN = DQNSettings.algorithm
"""The one that takes parts: the DQN of this suite."""


def _discover() -> dict[str, Algorithm]:
    package = __name__.rpartition(".")[0]
    found: dict[str, Algorithm] = {}
    for each in sorted(pkgutil.iter_modules([str(Path(__file__).parent)]), key=lambda m: m.name):
        if f"{package}.{each.name}" == __name__:
            continue
        algorithm = getattr(import_module(f"{package}.{each.name}"), "ALGORITHM", None)
        if algorithm is None:
            continue
        if algorithm.name in (*found, DQN):
            raise ValueError(f"there are two algorithms of the name {algorithm.name!r}: rename one")
        found[algorithm.name] = algorithm
    return found


ALGORITHMS: Mapping[str, Algorithm] = _discover()
"""Every algorithm beside the DQN of this suite, by name."""
AnySettings = DQNSettings | AlgorithmSettings
"""How an agent learns, and by which algorithm."""


def find(name: str) -> Algorithm:
    """Return an algorithm by name.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in ALGORITHMS:
        raise ValueError(unknown("algorithm", name, (DQN, *ALGORITHMS)))
    return ALGORITHMS[name]


def settings_class(name: str) -> type[AnySettings]:
    """Return the class of the settings of an algorithm.

    Raises:
        ValueError: If there is none of that name.
    """
    return DQNSettings if name == DQN else find(name).settings


def setting_types(settings: type[AlgorithmSettings]) -> dict[str, Any]:
    """Return the settings of an algorithm and their types, in order."""
    hints = get_type_hints(settings)
    return {field.name: hints[field.name] for field in fields(settings)}


def parse_algorithm(text: str) -> tuple[str, dict[str, Any]]:
    """Read a choice such as ``ppo`` or ``ppo:n_steps=128,hidden=64x64``.

    Returns:
        The name, and the settings that were given.

    Raises:
        ValueError: If there is no such algorithm or setting, or a value is not of its type.
    """
    name = text.partition(":")[0]
    if name == DQN and text != DQN:
        raise ValueError(f"algorithm = {text!r}: settings of {DQN} are given as --{DQN}.SETTING")
    choices = {each.name: setting_types(each.settings) for each in ALGORITHMS.values()}
    return parse(text, "algorithm", {DQN: {}, **choices})


METHODS_OF_ALL = ("finetune", "from-scratch", "joint")
"""Methods that every algorithm knows: they add nothing to it."""


def check_method(algorithm: str, method: Method) -> None:
    """Check that an algorithm beside the DQN can be trained by a method.

    Raises:
        ValueError: If not: parts and kinds of replay are those of the DQN.
    """
    if _content(method) not in [_content(METHODS[name]) for name in METHODS_OF_ALL]:
        raise ValueError(
            f"algorithm {algorithm!r} takes no parts and no other replay, which are those of the "
            f"{DQN} of this suite, and the method is {method.name!r}: choose one of "
            f"{', '.join(METHODS_OF_ALL)}, or algorithm {DQN!r}"
        )


def named(algorithm: str, method: Method) -> str:
    """Return what an algorithm is called beside the methods of the DQN."""
    return algorithm if method.name == METHODS_OF_ALL[0] else f"{algorithm}-{method.name}"


def _content(method: Method) -> tuple[Any, ...]:
    return method.replay, method.parts, method.remembers_all, method.interleaved
