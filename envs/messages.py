"""The wording of errors about names, said the same way everywhere."""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(kind: str, name: object, valid: Iterable[str]) -> str:
    """Say that a name is not known, and which ones are, the closest first."""
    names = list(valid)
    close = get_close_matches(str(name), names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    return f"unknown {kind} {name!r}: {hint}known are {', '.join(names) or 'none'}"
