"""Choices written as text: ``name:setting=value,setting=value``."""

from collections.abc import Mapping
from typing import Any

from continual_arcade.envs.messages import unknown


def parse(
    text: str, kind: str, choices: Mapping[str, Mapping[str, Any]]
) -> tuple[str, dict[str, Any]]:
    """Read a choice.

    Args:
        text: What was written.
        kind: What is chosen, for messages.
        choices: The names that may be chosen, each with its settings and their types.

    Returns:
        The name, and the settings that were given.

    Raises:
        ValueError: If there is no such name or setting, or a value is not of its type.
    """
    name, _, rest = text.partition(":")
    if name not in choices:
        raise ValueError(unknown(kind, name, choices))
    if text.endswith(":"):
        raise ValueError(f"{text!r} ends where a setting should follow: leave the colon out")
    types = choices[name]
    settings: dict[str, Any] = {}
    for assignment in filter(None, rest.split(",")):
        setting, equals, value = (piece.strip() for piece in assignment.partition("="))
        if not equals:
            raise ValueError(f"{text!r}: {assignment!r} must be written setting=value")
        if setting not in types:
            raise ValueError(unknown(f"setting of {name}", setting, types))
        if setting in settings:
            raise ValueError(f"{text!r}: {setting} is given twice")
        settings[setting] = _value(types[setting], value, f"{name}:{setting}")
    return name, settings


def _value(kind: Any, text: str, where: str) -> Any:
    """Turn text into a value; which words are valid is for the chosen one to say."""
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float):
            return kind(text)
        if kind == tuple[int, ...]:
            return tuple(int(number) for number in text.split("x"))
        if kind in (float | None, int | None):
            number: type[float] = int if kind == int | None else float
            return None if text.lower() == "none" else number(text)
    except (KeyError, ValueError):
        expected = {
            bool: "true or false",
            int: "a whole number",
            tuple[int, ...]: "whole numbers with x between them",
        }.get(kind, "a number")
        raise ValueError(f"{where} = {text!r} must be {expected}") from None
    return text
