"""Observation and action spaces as plain data, for files; and which of them can be learnt in."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from continual_arcade.envs.checks import Whole, WrongTypeError
from continual_arcade.envs.messages import shown

AnySpace = spaces.Space[Any]

_WRAP = "wrap the env in gymnasium.wrappers.FlattenObservation, or another ObservationWrapper"


def check_spaces(observations: AnySpace, actions: AnySpace) -> None:
    """Check that an agent can be trained in these spaces, and that it can be saved.

    Stable-Baselines3 finds out only when the first observation or action comes; what it refuses
    itself, actions of another kind and spaces within spaces, is left to it.

    Raises:
        WrongTypeError: If observations are of another kind.
        ValueError: If the network cannot take such observations, or make such actions.
    """
    inner = observations.spaces if isinstance(observations, spaces.Dict) else {"": observations}
    if "" not in inner and any(isinstance(s, spaces.Dict | spaces.Tuple) for s in inner.values()):
        return
    for name, space in inner.items():
        try:
            _check_array(space)
        except ValueError as error:
            raise type(error)(f"observation {name!r}: {error}" if name else str(error)) from None
    if isinstance(actions, spaces.Discrete) and actions.start != 0:
        raise ValueError(
            f"actions of {actions} begin with {actions.start}, and the network would make action "
            "0: wrap the env in gymnasium.wrappers.TransformAction"
        )


def _check_array(space: AnySpace) -> None:
    known = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    if not isinstance(space, known):
        raise WrongTypeError(
            f"observations of {shown(space)} cannot be learnt from; those of "
            f"{', '.join(kind.__name__ for kind in known)}, or a Dict of them, can: {_WRAP}"
        )
    try:
        torch.as_tensor(np.zeros(0, space.dtype))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"observations of {shown(space)} are of {space.dtype}, which PyTorch does not have: "
            f"{_WRAP}"
        ) from error
    if isinstance(space, spaces.Box) and not space.shape:
        raise ValueError(f"observations of {space} have no dimension: {_WRAP}")
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim != 1:
        raise ValueError(f"observations of {shown(space)} have several axes: {_WRAP}")
    if np.any(getattr(space, "start", 0)):
        raise ValueError(
            f"observations of {shown(space)} do not begin with 0, and only those that do can be "
            f"encoded: {_WRAP}"
        )


def space_to_data(space: AnySpace) -> dict[str, Any]:
    """Return a space as plain data.

    Raises:
        TypeError: If it is of a kind that agents are not trained in.
    """
    if isinstance(space, spaces.Box):
        return {"low": space.low, "high": space.high, "dtype": space.dtype.str}
    if isinstance(space, spaces.Discrete):
        found = {"n": int(space.n), "start": int(space.start)}
        return {**found, "dtype": np.dtype(space.dtype).str}
    if isinstance(space, spaces.MultiDiscrete):
        return {"nvec": space.nvec, "starts": space.start, "dtype": np.dtype(space.dtype).str}
    if isinstance(space, spaces.MultiBinary):
        return {"bits": list(space.shape), "flat": isinstance(space.n, int | np.integer)}
    if isinstance(space, spaces.Dict):
        inner = [[name, space_to_data(each)] for name, each in space.spaces.items()]
        return {"spaces": inner}
    raise TypeError(f"space {space} cannot be saved")


def space_from_data(data: Any) -> AnySpace:
    """Return the space that :func:`space_to_data` described.

    Raises:
        ValueError: If the data describe none.
    """
    keys = data.keys() if isinstance(data, Mapping) else set()
    try:
        if keys == {"low", "high", "dtype"}:
            low, high = (np.asarray(data[bound]) for bound in ("low", "high"))
            dtype = np.dtype(data["dtype"])
            if (low.dtype, high.dtype) == (dtype, dtype) and not np.isnan([low, high]).any():
                return spaces.Box(low, high, dtype=dtype)
        if keys == {"n", "start", "dtype"}:
            n, start = Whole(1)("n", data["n"]), int(data["start"])
            return spaces.Discrete(n, start=start, **_unless_usual(data["dtype"]))
        if keys == {"nvec", "starts", "dtype"}:
            dtype = np.dtype(data["dtype"])
            return spaces.MultiDiscrete(data["nvec"], dtype=dtype, start=data["starts"])
        if keys == {"bits", "flat"}:
            bits = [Whole(1)("bits", each) for each in data["bits"]]
            return spaces.MultiBinary(bits[0] if data["flat"] and len(bits) == 1 else bits)
        if keys == {"spaces"}:
            return spaces.Dict([(name, space_from_data(each)) for name, each in data["spaces"]])
    except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{shown(data)} describes no space: {error}") from error
    raise ValueError(f"{shown(data)} describes no space")


def _unless_usual(dtype: Any) -> dict[str, Any]:
    """Return the type of a Discrete as an argument: older versions of Gymnasium have one type."""
    return {} if np.dtype(dtype) == np.int64 else {"dtype": np.dtype(dtype)}
