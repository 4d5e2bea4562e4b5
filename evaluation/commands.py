"""Commands as they are written down, and as anybody can run them."""

import shlex
from collections.abc import Sequence
from pathlib import Path

_OF_A_MACHINE = ("--out", "--to", "--jobs", "--cluster", "--address")
"""Options that say where something is written and who computes it, not what comes of it."""
_PREFIX = "continual-arcade-"
"""What the names of installed commands begin with."""


def command_of(script: str, given: Sequence[str]) -> str:
    """Return the command that runs a script, as it can be copied.

    Args:
        script: Name of the module in ``scripts``.
        given: The arguments.
    """
    return shlex.join(["python", "-m", f"continual_arcade.scripts.{script}", *given])


def for_anybody(command: str | Sequence[str]) -> str:
    """Return a command as it can be published: it gives the same numbers on any machine.

    It says nothing of the machine on which it was given: options that say where things are written
    and who computes them are left out, files are named without the folder in which they were there,
    and studies of the suite by their name.

    Args:
        command: As it was written down; by version 0.1.0 as ``sys.argv``.
    """
    if not isinstance(command, str):
        script = Path(command[0]).stem.removeprefix(_PREFIX) if command else ""
        return for_anybody(command_of(script, command[1:])) if script else ""
    return shlex.join(
        _without_folder(word) for word in without(_OF_A_MACHINE, shlex.split(command))
    )


def without(options: Sequence[str], given: Sequence[str]) -> list[str]:
    """Return the arguments of a command without some options that have one value each.

    Args:
        options: Names of the options, such as ``--seeds``.
        given: The arguments, where a value follows its option, or stands behind an equals sign.
    """
    left: list[str] = []
    arguments = iter(given)
    for argument in arguments:
        if argument in options:
            next(arguments, None)
        elif argument.partition("=")[0] not in options:
            left.append(argument)
    return left


def _without_folder(word: str) -> str:
    """Return an argument without the folder of the absolute path that it is or holds."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    path = Path(value)
    if not path.is_absolute():
        return word
    shipped = path.parent.parts[-2:] == ("studies", "shipped")
    return f"{option}{equals}{path.stem if shipped else path.name}"
