"""Values of files that people write: of their types, under names that are known, each once."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from continual_arcade.envs.messages import unknown
from continual_arcade.evaluation.run_folder import LONGEST

_T = TypeVar("_T")
_EXPECTED: Mapping[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a table",
}
_NAME = "a name of letters, digits and . + - _"


def only(table: Mapping[str, Any], known: Mapping[str, Any] | Sequence[str], where: str) -> None:
    """Refuse keys that are not known.

    Raises:
        ValueError: If there is one.
    """
    for key in table:
        if key not in known:
            raise ValueError(unknown(f"key of {where}", key, known))


def value_of(
    table: Mapping[str, Any], key: str, kind: type[_T], where: str, default: Any = None
) -> _T:
    """Return a value of a table that must be of a type.

    Raises:
        ValueError: If it is of another type, or neither there nor has a default.
    """
    value: Any = table.get(key, default)
    if value is None:
        raise ValueError(f"{where} lacks {key!r}")
    given: Any = float(value) if kind is float and type(value) is int else value
    if isinstance(given, kind) and (kind is bool or not isinstance(given, bool)):
        return given
    raise ValueError(f"{key} = {value!r} of {where} must be {_EXPECTED[kind]}")


def texts_of(table: Mapping[str, Any], key: str, where: str, default: Sequence[str]) -> list[str]:
    """Return a value of a table that must be a list of texts.

    Raises:
        ValueError: If it is not.
    """
    values = value_of(table, key, list, where, list(default))
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"{key} of {where} must be a list of texts; {value!r} is none")
    return values


def check_name(name: str, kind: str) -> None:
    """Check that something can be named so: names become those of folders.

    Args:
        name: The name.
        kind: What is named, for the message.

    Raises:
        ValueError: If it cannot.
    """
    if not name or not all(letter.isalnum() or letter in ".+-_" for letter in name) or "__" in name:
        raise ValueError(f"{kind} {name!r} must have {_NAME}, and no two _ in a row")
    if name.startswith((".", "-")):
        raise ValueError(f"{kind} {name!r} must begin with a letter or a digit")
    if len(name.encode()) > LONGEST:
        raise ValueError(
            f"{kind} {name!r} must have a name of at most {LONGEST} characters, of which those "
            "beyond ASCII count for several"
        )


def check_once(
    names: Sequence[Any], kind: str, way_out: str = "give each a name of its own"
) -> None:
    """Check that no name is there twice.

    Args:
        names: The names.
        kind: What is named, for the message.
        way_out: What to do about it.

    Raises:
        ValueError: If one is.
    """
    seen = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{kind} {name!r} is there twice: {way_out}")
        seen.add(name)
