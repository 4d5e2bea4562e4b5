"""Activations against double precision and autograd; nothing else may pass for them."""

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from changed_sources import changed_copy
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.agents.kernels import activations, products
from continual_arcade.agents.kernels.activations import NOTHING, RELU, TANH
from continual_arcade.envs.compiling import kernel

SOURCE = Path(activations.__file__)
LIMIT = 2e-7
"""Largest relative error of tanh."""


def _activate(activation: int, outputs: Any) -> None:
    call(activation, outputs)  # type: ignore[name-defined]  # noqa: F821  # bound when compiled


def _through(activation: int, outputs: Any, below: Any) -> None:
    call(activation, outputs, below)  # type: ignore[name-defined]  # noqa: F821


class Activations:
    """A way into the functions of the module, or of a copy that was changed."""

    def __init__(self, module: Any, name: str) -> None:
        self.module, self.name = module, name

    @cached_property
    def activate(self) -> Any:
        names = {"call": self.module.activate}
        return kernel(_activate, names, f"activate.{self.name}")

    @cached_property
    def through(self) -> Any:
        names = {"call": self.module.through_activation}
        return kernel(_through, names, f"through.{self.name}")


SHIPPED = Activations(activations, "shipped")
Change = Callable[..., Activations]


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """What makes a copy of the module with some of its text replaced."""
    return partial(_changed, tmp_path, monkeypatch)


def _changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str
) -> Activations:
    return Activations(changed_copy(activations, folder, monkeypatch, name, (old, new)), name)


def every_size() -> Any:
    """Numbers of all sizes and both signs: each of so many bit patterns that is a number."""
    patterns = np.arange(0, 2**32, 4_099, dtype=np.uint64).astype(np.uint32)
    numbers = patterns.view(np.float32)
    around = [np.nextafter(np.float32(9), np.float32(way)) for way in (0, 10)]
    dense = np.linspace(-9.5, 9.5, 200_001, dtype=np.float32)
    extremes = np.array([np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 9.0, -9.0, *around], np.float32)
    return np.concatenate([numbers[~np.isnan(numbers)], dense, extremes])


def check_tanh(on: Activations) -> None:
    numbers = every_size()
    found = numbers.copy()
    on.activate(TANH, found)
    expected = np.tanh(np.float64(numbers))
    # Numbers so small that they have no full precision are their own tanh; -0 may become 0.
    tiny = np.abs(numbers) < 1e-30
    np.testing.assert_array_equal(found[tiny], numbers[tiny])
    error = np.abs(found[~tiny] / expected[~tiny] - 1)
    assert error.max() < LIMIT
    assert np.abs(found).max() == 1
    assert (np.abs(found[np.abs(numbers) > 9]) == 1).all()
    on.activate(TANH, numbers_of_nan := np.array([np.nan, 1, np.nan], np.float32))
    np.testing.assert_array_equal(np.isnan(numbers_of_nan), [True, False, True])


def check_slope(on: Activations) -> None:
    numbers = np.linspace(-6, 6, 1_001, dtype=np.float32)
    inputs = torch.tensor(np.float64(numbers), requires_grad=True)
    torch.tanh(inputs).sum().backward()
    assert inputs.grad is not None
    outputs, found = np.tanh(numbers), np.full(1_001, 2, np.float32)
    on.through(TANH, outputs, found)
    np.testing.assert_allclose(found, 2 * inputs.grad.numpy(), rtol=1e-5, atol=5e-7)


def test_tanh_is_that_of_double_precision() -> None:
    check_tanh(SHIPPED)


def test_the_slope_of_tanh_is_that_of_autograd() -> None:
    check_slope(SHIPPED)


def test_what_is_not_finite_comes_through_the_slope() -> None:
    below = np.array([np.nan, np.inf, np.inf, 1, 0], np.float32)
    SHIPPED.through(TANH, np.array([0.5, 0.5, 1, np.nan, 0.5], np.float32), below)
    np.testing.assert_array_equal(below, [np.nan, np.inf, np.nan, np.nan, 0])


@settings(max_examples=60)
@given(
    size=st.integers(0, 70),
    seed=st.integers(0, 1000),
    spread=st.sampled_from([1e-3, 1.0, 5.0]),
)
def test_a_number_is_the_same_among_others_and_alone(size: int, seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    numbers = (spread * rng.standard_normal((size, 3))).astype(np.float32)
    together, below = numbers.copy(), rng.standard_normal((size, 3)).astype(np.float32)
    SHIPPED.activate(TANH, together)
    slopes = below.copy()
    SHIPPED.through(TANH, together, slopes)
    for row in range(size):
        alone, slope = numbers[row].copy(), below[row].copy()
        SHIPPED.activate(TANH, alone)
        assert alone.tobytes() == together[row].tobytes()
        SHIPPED.through(TANH, alone, slope)
        assert slope.tobytes() == slopes[row].tobytes()


@pytest.mark.parametrize("activation", [NOTHING, RELU])
def test_what_products_do_themselves_is_not_done_twice(activation: int) -> None:
    numbers = np.linspace(-2, 2, 9, dtype=np.float32)
    outputs, below = numbers.copy(), numbers.copy()
    SHIPPED.activate(activation, outputs)
    SHIPPED.through(activation, outputs, below)
    assert outputs.tobytes() == below.tobytes() == numbers.tobytes()


def digest() -> str:
    """Of what the functions make of some numbers."""
    numbers = every_size()
    found, below = numbers.copy(), np.ones_like(numbers)
    SHIPPED.activate(TANH, found)
    SHIPPED.through(TANH, found, below)
    return hashlib.sha256(found.tobytes() + below.tobytes()).hexdigest()


@pytest.mark.slow  # a process each, and each compiles
@pytest.mark.parametrize(
    ("processor", "features"), [("haswell", "+avx2,+fma"), ("x86-64", ""), ("generic", "")]
)
def test_machine_code_for_another_processor(processor: str, features: str) -> None:
    """It is as exact without fused multiplication and addition, and the same bits with it."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("these are processors of one kind")
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": processor,
        "NUMBA_CPU_FEATURES": features,
    }
    code = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]
import test_activations as test
test.check_tanh(test.SHIPPED)
test.check_slope(test.SHIPPED)
print(test.digest())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    if products.FUSES and "+fma" in features:
        assert done.stdout.split() == [digest()]


SLOPE = "_ONE - outputs[i] * outputs[i]"
WRONG = {
    "nan_is_cut_off": (check_tanh, "y = _ONE if x > _END else y", "y = y if x < _END else _ONE"),
    "another_coefficient": (check_tanh, "-9.74799332e-4", "-9.74899332e-4"),
    "ends_too_soon": (check_tanh, "_END = np.float32(9.0)", "_END = np.float32(8.0)"),
    "ends_too_late": (check_tanh, "_END = np.float32(9.0)", "_END = np.float32(20.0)"),
    "not_odd": (check_tanh, "return -_ONE if x < -_END else y", "return _ONE if x < -_END else y"),
    "slope_of_the_input": (check_slope, SLOPE, "_ONE - np.arctanh(outputs[i]) ** 2"),
    "gate_of_relu": (check_slope, SLOPE, "_ONE if outputs[i] > 0 else np.float32(0)"),
    "slope_is_output": (check_slope, SLOPE, "_ONE - outputs[i]"),
}
"""By name: the check that must find an error, what is replaced, and by what."""


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", WRONG)
def test_errors_are_found(name: str, changed: Change) -> None:
    check, old, new = WRONG[name]
    with pytest.raises(AssertionError):
        check(changed(name, old, new))
