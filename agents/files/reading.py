"""What is said of files of agents that cannot be read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from continual_arcade.agents.files.state_files import AnyFile, other_versions


class _OtherVersionError(ValueError):
    """A file is laid out in another way than this version does."""


_DAMAGE = (
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    RuntimeError,  # of PyTorch, and NotImplementedError and RecursionError
)
"""What may be raised by what a file holds, where something else was expected."""


@contextmanager
def naming(path: AnyFile) -> Iterator[None]:
    """Let every error name the file; one that nobody foresaw is that of a damaged file."""
    try:
        yield
    except _OtherVersionError as error:
        raise ValueError(f"{path} {error}{_of_version(path)}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except _DAMAGE as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} cannot be loaded, perhaps it is damaged: {what}") from error


def _of_version(path: AnyFile) -> str:
    """Say which version wrote a file, if it tells."""
    try:
        wrote, here = other_versions(path)["continual-arcade"]
    except (KeyError, ValueError, OSError):
        return ""
    return f" (continual-arcade {wrote} wrote it, and this is {here})"


def check_keys(found: Iterable[str], expected: Iterable[str], what: str) -> None:
    """Check that a table of a file has what this version writes, and nothing else.

    Raises:
        ValueError: If not; within :func:`naming` the message says which version wrote it.
    """
    lacking, more = set(expected) - set(found), set(found) - set(expected)
    if lacking or more:
        raise _OtherVersionError(
            f"was written by another version: {what} "
            + " and ".join(
                f"{verb} {', '.join(sorted(names))}"
                for verb, names in (("lacks", lacking), ("has", more))
                if names
            )
            + ". Load it with that version, or make it again"
        )
