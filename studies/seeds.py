"""Seeds of runs: which there are, and how people write them: ``0..19``, ``0,3,7``, ``0..4,8``."""

import re
from collections.abc import Sequence
from operator import index
from typing import Any

MOST_SEEDS = 10_000
"""More runs than this at once are a slip of the keyboard."""

_WAYS = "write 0..19 for a range, 0,3,7 for a list, or both: 0..4,8"
_LARGEST = 2**32 - 1


def check_seed(seed: Any) -> int:
    """Return the seed of a run as a plain number.

    Args:
        seed: The seed, as whoever asks for a run gives it.

    Raises:
        ValueError: If it is no whole number, or out of range.
    """
    try:
        number = -1 if isinstance(seed, bool) else index(seed)
    except TypeError:
        number = -1
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"seed = {seed!r} must be a whole number from 0 to {_LARGEST}")
    return number


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds as they are written on a command line: ``0..19``, ``0,3,7`` or ``0..4,8``.

    Args:
        text: Numbers and ranges, which hold both their ends, with commas between them.

    Returns:
        The seeds, in the order in which they are named.

    Raises:
        ValueError: If a piece is no seed and no range, or a seed is there twice; the message names
            it.
    """
    if not text.strip():
        raise ValueError(f"seeds = {text!r} names no seed: {_WAYS}")
    seeds: dict[int, None] = {}
    for piece in (piece.strip() for piece in text.split(",")):
        found = re.fullmatch(r"(-?[0-9]+)(?:\.\.(-?[0-9]+))?", piece)
        if found is None:
            raise ValueError(f"seeds = {text!r}: {piece!r} is no seed and no range: {_WAYS}")
        first = _seed(found[1], text)
        last = first if found[2] is None else _seed(found[2], text)
        if last < first:
            raise ValueError(
                f"seeds = {text!r}: {piece} runs backwards: write {last}..{first} instead"
            )
        if len(seeds) + last - first >= MOST_SEEDS:
            raise ValueError(
                f"seeds = {text!r} are more than {MOST_SEEDS:,} runs: train them in several goes"
            )
        for seed in range(first, last + 1):
            if seed in seeds:
                raise ValueError(
                    f"seeds = {text!r}: {seed} is there twice: the same run is no new evidence, "
                    "leave one out"
                )
            seeds[seed] = None
    return tuple(seeds)


def _seed(digits: str, text: str) -> int:
    # Python refuses to read a number of thousands of digits, so their count is looked at first.
    value = int(digits) if len(digits) < 20 else -1
    if not 0 <= value <= _LARGEST:
        raise ValueError(f"seeds = {text!r}: {digits} must be from 0 to {_LARGEST}")
    return value


def write_seeds(seeds: Sequence[int]) -> str:
    """Write seeds as :func:`parse_seeds` reads them, in order and as short as they can be."""
    ranges: list[list[int]] = []
    for seed in sorted(seeds):
        if not ranges or seed != ranges[-1][-1] + 1:
            ranges.append([])
        ranges[-1].append(seed)
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}..{r[-1]}" for r in ranges)
