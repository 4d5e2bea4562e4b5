"""How much memory there is."""

import os
import re
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Return the memory that processes can still get [bytes]; None where nobody says.

    That is what Linux says is available, or what a container may still take, if that is less. Other
    systems do not say what is available: there it is all that the machine has.
    """
    said = [_of_machine(), _of_container()]
    known = [number for number in said if number is not None]
    return min(known, default=None)


def check_memory(what: str, needed: int, each: int = 0) -> None:
    """Check that there is memory for something, before any is taken.

    The system hands memory out when it is first written to: without this, a run would be killed
    hours after it was told yes.

    Args:
        what: What takes it, for the message.
        needed: How much [bytes].
        each: How much one of several takes, if they all take the same [bytes].

    Raises:
        ValueError: If there is not so much.
    """
    available = available_memory()
    if available is not None and needed > available:
        fit = f": at most {available // each:,} fit" if each else ""
        raise ValueError(
            f"{what} take {_gib(needed)} GiB, and {_gib(available)} GiB of memory are available"
            f"{fit}"
        )


def _gib(number: int) -> str:
    return f"{number / 2**30:,.1f}"


def _of_machine() -> int | None:
    text = _text(Path("/proc/meminfo"))
    found = re.search(r"^MemAvailable: +([0-9]+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else _of_any_machine()


def _of_any_machine() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None  # Windows; a system that does not count its pages


def _of_container() -> int | None:
    limit, used = _text(_CGROUP / "memory.max").strip(), _text(_CGROUP / "memory.current").strip()
    if not (limit.isdigit() and used.isdigit()):
        return None  # there is no container, or it has no limit
    # What files were read into is counted as used, but handed over to whoever needs it.
    found = re.search(r"^inactive_file ([0-9]+)$", _text(_CGROUP / "memory.stat"), re.MULTILINE)
    return int(limit) - int(used) + (int(found[1]) if found else 0)


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError:
        return ""
