"""Damage to state trees: something in them is taken away, or is another thing."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import torch

Path = tuple[str | int, ...]

_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**62, 2**63, -(2**70), 10**400, 1e308, -0.5, 0.5),
    *(float("nan"), float("inf"), -float("inf"), "", "x", "PCG64", "auto", [], {}, [0], [[]]),
    *({"dict": {}}, {"tuple": [1, 2]}, {"class": "os:system"}, {"class": 5}, {"function": "f"}),
    *({"schedule": ["linear", 0.1, 0.1, 0.0]}, {"object": []}, {"array": None}, {"x": {"y": 1}}),
)
_DTYPES = (np.float64, np.float32, np.int64, np.uint8, np.bool_, ">f4")
_FILLS = (-1, 1, 2**30, 1e30, np.nan, np.inf)


def places(tree: Any, at: Path = ()) -> Iterator[Path]:
    """All places of a tree, the inner ones, too."""
    if at:
        yield at
    for key in keys(tree):
        yield from places(tree[key], (*at, key))


def keys(here: Any) -> list[Any]:
    """The keys of a table, the indices of a list, and of all else nothing."""
    if isinstance(here, list):
        return list(range(len(here)))
    return list(here) if isinstance(here, dict) else []


def damaged(tree: dict[str, Any], random: Random) -> dict[str, Any]:
    """A tree with one thing wrong; the one that is given stays as it is."""
    every = list(places(tree))
    path = random.choice(every)
    here = value_at(tree, path)
    ways: list[Callable[[], Any]] = [
        lambda: random.choice(_ODD),
        lambda: value_at(tree, random.choice(every)),
    ]
    if isinstance(here, np.ndarray | torch.Tensor):
        ways += [lambda: _other_array(here, random)] * 4
    elif isinstance(here, bool | int | float):
        ways += [lambda: random.choice([-here, here + 1, here * 2**40, float(here), str(here)])]
    elif keys(here):
        ways += [lambda: _without(here, random.choice(keys(here))), lambda: _with_more(here)]
    return replaced(tree, path, random.choice(ways)())  # type: ignore[no-any-return]


def value_at(tree: Any, path: Path) -> Any:
    """What lies at a place."""
    for key in path:
        tree = tree[key]
    return tree


def replaced(tree: Any, path: Path, value: Any) -> Any:
    """A tree with something else at a place."""
    if not path:
        return value
    key, *rest = path
    copy = tree.copy()
    copy[key] = replaced(tree[key], tuple(rest), value)
    return copy


def _without(here: Any, key: Any) -> Any:
    copy = here.copy()
    del copy[key]
    return copy


def _with_more(here: Any) -> Any:
    return {**here, "more": 1} if isinstance(here, dict) else [*here, *here]


def _other_array(here: Any, random: Random) -> Any:
    """An array or tensor of another shape, another type, or other numbers."""
    array = np.asarray(here)
    flat = array.reshape(-1)
    ways: list[Callable[[], Any]] = [
        lambda: flat[:0],
        lambda: flat[:1],
        lambda: np.concatenate([flat, flat]),
        lambda: flat,
        lambda: array[None],
        lambda: np.asfortranarray(array[..., None]),
    ]
    with np.errstate(all="ignore"):
        if array.dtype.names is None:
            dtype = np.dtype(random.choice(_DTYPES))
            fill = np.array(random.choice(_FILLS)).astype(array.dtype)
            ways += [lambda: array.astype(dtype), lambda: np.full_like(array, fill)] * 3
        else:
            name, fill = random.choice(array.dtype.names), random.choice(_FILLS)
            ways += [lambda: _with_field(array, name, fill)] * 6
        other = random.choice(ways)()
    is_tensor = isinstance(here, torch.Tensor) and other.dtype.isnative
    return torch.from_numpy(other.copy()) if is_tensor else other


def _with_field(array: Any, name: str, fill: float) -> Any:
    copy = array.copy()
    copy[name] = np.array(fill).astype(copy[name].dtype)
    return copy
