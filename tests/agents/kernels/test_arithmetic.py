"""Functions of single numbers that vectors of the machine compute, against double precision."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changed_sources import changed_copy

from continual_arcade.agents.kernels import arithmetic
from continual_arcade.envs.compiling import kernel

LIMIT = 2e-7
"""Largest relative error."""


def _fill(x: Any, found: Any) -> None:
    for i in range(len(x)):
        found[i] = call(x[i])  # type: ignore[name-defined]  # noqa: F821  # bound when compiled


def check_half_exp(module: Any, name: str) -> None:
    x = np.concatenate([np.linspace(0, 89, 400_001), np.geomspace(1e-45, 1, 1_001)])
    x = x.astype(np.float32)
    found = np.empty_like(x)
    kernel(_fill, {"call": module.half_exp}, f"half_exp.{name}")(x, found)
    error = np.abs(found / (np.exp(x.astype(np.float64)) / 2) - 1)
    assert error.max() < LIMIT
    beyond = np.array([89.5, 1e38, np.inf, np.nan], np.float32)
    kernel(_fill, {"call": module.half_exp}, f"half_exp.{name}")(beyond, found)
    np.testing.assert_equal(found[:4], np.array([np.inf, np.inf, np.inf, np.nan], np.float32))


def test_half_of_an_exponential_has_all_digits() -> None:
    check_half_exp(arithmetic, "shipped")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("np.float32(-2.12194440e-4)", "np.float32(-2.13e-4)"),
        ("np.float32(1.3814613e-3)", "np.float32(0.0)"),
        ("return found if x == x else x", "return found"),
        ("known * _PER_LOG_2 + _HALF", "known * _PER_LOG_2"),
    ],
)
def test_an_error_in_it_is_found(
    old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = changed_copy(arithmetic, tmp_path, monkeypatch, "arithmetic_changed", (old, new))
    with pytest.raises(AssertionError):
        check_half_exp(wrong, "changed")
