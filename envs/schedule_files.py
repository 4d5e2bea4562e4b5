"""Schedules as files: TOML for people, JSON for programs."""

import json
import tomllib
from pathlib import Path

import tomli_w

from continual_arcade.envs.checks import Instance
from continual_arcade.envs.schedules import Schedule

SUFFIXES = (".toml", ".json")


def dumps(schedule: Schedule, suffix: str) -> str:
    """Write a schedule as text.

    Args:
        schedule: The schedule.
        suffix: ``.toml`` or ``.json``.

    Raises:
        ValueError: If the suffix is another one.
    """
    if suffix == ".toml":
        return tomli_w.dumps(schedule.to_dict())
    if suffix == ".json":
        return json.dumps(schedule.to_dict(), indent=2) + "\n"
    raise ValueError(f"a schedule is written as .toml or .json, not {suffix!r}")


def loads(text: str, suffix: str) -> Schedule:
    """Read a schedule from text.

    Args:
        text: The text.
        suffix: ``.toml`` or ``.json``.

    Raises:
        ValueError: If the text is not a schedule, or the suffix is another one.
    """
    try:
        if suffix == ".toml":
            data = tomllib.loads(text)
        elif suffix == ".json":
            data = json.loads(text)
        else:
            raise ValueError(f"a schedule is read from .toml or .json, not {suffix!r}")
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"not readable as {suffix[1:].upper()}: {error}") from error
    except RecursionError:
        raise ValueError("tables within tables within tables: it is no schedule") from None
    if not isinstance(data, dict):
        raise ValueError(f"a schedule is a table, not {type(data).__name__}")
    return Schedule.from_dict(data)


def save(schedule: Schedule, path: str | Path) -> None:
    """Write a schedule to a new file.

    Raises:
        FileExistsError: If the file exists; nothing is overwritten.
        ValueError: If the file is to be neither ``.toml`` nor ``.json``.
    """
    path = Path(path)
    text = dumps(schedule, path.suffix)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


def load(path: str | Path) -> Schedule:
    """Read a schedule from a file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it does not hold a schedule; the message names the file.
    """
    path = Path(Instance((str, Path))("path", path))
    try:
        return loads(path.read_text(encoding="utf-8"), path.suffix)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
