"""The wording of errors about names and values, said the same way everywhere."""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 80
"""Characters of a value that a message shows."""


def unknown(kind: str, name: object, valid: Iterable[str]) -> str:
    """Say that a name is not known, and which ones are, the closest first."""
    names = list(valid)
    close = get_close_matches(name, names, n=3, cutoff=0.4) if isinstance(name, str) else []
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return f"unknown {kind} {shown(name)}: {hint}known are {', '.join(names) or 'none'}"


def shown(value: object) -> str:
    """Return a value as a message shows it: of a long one the beginning."""
    if isinstance(value, int) and value.bit_length() > 3 * _LONGEST:
        # Python refuses to write out more than a few thousand digits.
        return f"a number of about {int(value.bit_length() * 0.30103) + 1} digits"
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def value_of_parameter(name: str, value: float) -> str:
    """Return the value of a parameter for people to read; of a colour as ``#rrggbb``."""
    if name.endswith("_rgb") and float(value).is_integer() and value >= 0:
        return f"#{int(value):06x}"
    return f"{value:g}"
