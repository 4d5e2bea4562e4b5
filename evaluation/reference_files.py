"""References as a file: JSON that people can read, one block of lines for each.

What was made by the same command names it by a number, under which the file says what it was.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from continual_arcade.evaluation.atomic_files import write_text_whole
from continual_arcade.evaluation.references import PLAYERS, VALUES, Outcome, Reference, References

FORMAT = 1
"""Version of the file."""
_NUMBERS = ("max_steps", "episodes", "first_seed", "random_seed")
_KEYS = {"env", "params", "making", *_NUMBERS, *PLAYERS}
_MAKING = {"command", "date", "python", "versions", "git_commit"}


@cache
def shipped_references() -> References:
    """Return the references that come with the suite: every phase of every shipped schedule."""
    text = resources.files("continual_arcade.evaluation").joinpath("references.json")
    return loads(text.read_text("utf-8"))


def load(path: Path) -> References:
    """Read references from a file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it holds none, is damaged, or of a newer version; the message names it.
    """
    try:
        return loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save(references: References, path: Path) -> None:
    """Write references to a file: all of them, or nothing.

    Raises:
        OSError: If it cannot be written.
    """
    write_text_whole(path, dumps(references))


def dumps(references: References) -> str:
    """Write references as text, in an order of their own."""
    ordered = sorted(references, key=lambda reference: reference.key)
    makings: list[Mapping[str, Any]] = []
    for reference in sorted(ordered, key=lambda reference: str(reference.making["date"])):
        if reference.making not in makings:
            makings.append(reference.making)
    said = ",\n".join(
        f'"{number}": {json.dumps(making, indent=2)}' for number, making in enumerate(makings, 1)
    )
    blocks = ",\n".join(
        _block(reference, makings.index(reference.making) + 1) for reference in ordered
    )
    return (
        f'{{\n"format": {FORMAT},\n"makings": {{\n{said}\n}},\n"references": [\n{blocks}\n]\n}}\n'
    )


def _block(reference: Reference, making: int) -> str:
    numbers = {name: getattr(reference, name) for name in _NUMBERS}
    head = json.dumps({"env": reference.env, **numbers, "making": making})
    lines = [f'"params": {json.dumps(reference.params)}']
    for player in PLAYERS:
        outcomes = {value: asdict(reference.outcomes[player][value]) for value in VALUES}
        lines.append(f'"{player}": {json.dumps(outcomes)}')
    return ",\n ".join([head.removesuffix("}"), *lines]) + "}"


def loads(text: str) -> References:
    """Read references from text.

    Raises:
        ValueError: If the text holds none, is damaged, or of a newer version.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"damaged, or no references: {error}") from error
    version = data.get("format") if isinstance(data, dict) else None
    if type(version) is not int or "references" not in data:
        raise ValueError("these are no references: they say format, makings and references")
    if version > FORMAT:
        raise ValueError(
            f"the references have format {version} and this version reads up to {FORMAT}: update "
            "continual-arcade"
        )
    try:
        found = [_reference(block, data["makings"]) for block in data["references"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the references are damaged: {error!r}") from error
    references = References(found)
    if len(references) < len(found):
        raise ValueError("the references are damaged: one is there twice")
    return references


def _reference(block: Mapping[str, Any], makings: Mapping[str, Any]) -> Reference:
    """Read one reference."""
    if block.keys() != _KEYS:
        raise ValueError(
            f"the references are damaged: one has the keys {', '.join(sorted(block))}; it must "
            f"have {', '.join(sorted(_KEYS))}"
        )
    numbers = {name: block[name] for name in _NUMBERS}
    for name, number in numbers.items():
        if type(number) is not int or number < 0:
            raise ValueError(
                f"the references are damaged: {name} = {number!r} is no whole number from 0 on"
            )
    if block["episodes"] < 2:
        raise ValueError(
            f"the references are damaged: episodes = {block['episodes']}, not 2 or more"
        )
    making = makings[str(block["making"])]
    if not making.keys() >= _MAKING:
        raise ValueError("the references are damaged: they do not say what made them")
    return Reference(
        env=str(block["env"]),
        params={name: _finite(name, value) for name, value in block["params"].items()},
        outcomes={
            player: {
                value: Outcome(
                    _finite(f"{player} {value}", block[player][value]["mean"]),
                    _finite(f"{player} {value}", block[player][value]["spread"]),
                )
                for value in VALUES
            }
            for player in PLAYERS
        },
        making=making,
        **numbers,
    )


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"the references are damaged: {name} = {value!r} is no finite number")
    return float(value)
