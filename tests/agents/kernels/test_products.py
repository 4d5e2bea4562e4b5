"""Products against NumPy: in double precision within the bound of rounding, and bit for bit."""

import hashlib
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import product as every
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changed_sources import changed_copy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba.core import config

from continual_arcade.agents.kernels import products
from continual_arcade.agents.kernels.activations import NOTHING, RELU
from continual_arcade.envs.compiling import kernel

SOURCE = Path(products.__file__)
HALF_UNIT = 2.0**-24
"""Relative error of one rounding in single precision."""
FENCE = 2048
"""Elements around each array, more than the largest block reaches over an edge."""
EDGES = (0, 1, 3, 8, 31, 37)
"""Sizes on both sides of the edges of blocks of every width."""
SIZES = (*every((1, 5, 12), EDGES, EDGES), *every((19,), EDGES, (1, 2, 3, 4, 5)))
"""Of rows, and of columns and what is summed; and few columns of more rows than lanes."""


# --- the functions compiled, as they are and otherwise --------------------------------------------


def _of_five(a: Any, b: Any, c: Any, d: Any, activation: int) -> None:
    call(a, b, c, d, activation)  # noqa: F821  # bound when compiled


def _of_three(a: Any, b: Any, c: Any) -> None:
    call(a, b, c)  # noqa: F821


def _of_two(a: Any, b: Any) -> None:
    call(a, b)  # noqa: F821


class Products:
    """A way into each function of the module, compiled when it is first wanted, and cached.

    Args:
        module: The module, or a copy that was changed.
        name: Of the copy.
    """

    def __init__(self, module: Any, name: str) -> None:
        self.module, self.name = module, name

    @cached_property
    def dense(self) -> Any:
        return self._compiled(_of_five, "dense")

    @cached_property
    def through_layer(self) -> Any:
        return self._compiled(_of_five, "through_layer")

    @cached_property
    def weights_gradient(self) -> Any:
        return self._compiled(_of_three, "weights_gradient")

    @cached_property
    def add_outer(self) -> Any:
        return self._compiled(_of_three, "add_outer")

    @cached_property
    def turn(self) -> Any:
        return self._compiled(_of_two, "turn")

    def _compiled(self, template: Any, function: str) -> Any:
        names = {"call": getattr(self.module, function)}
        return kernel(template, names, f"{self.name}.{function}")


SHIPPED = Products(products, "shipped")


Change = Callable[..., Products]


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """What makes a copy of the module with some of its text replaced."""
    return partial(_changed, tmp_path, monkeypatch)


def _changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, *changes: tuple[str, str]
) -> Products:
    return Products(changed_copy(products, folder, monkeypatch, name, *changes), name)


# --- oracles --------------------------------------------------------------------------------------


def multiplied_and_added(a: Any, b: Any, c: Any, fuses: bool) -> Any:
    """One multiply-add in single precision, rounded once where it is fused and twice elsewhere."""
    if not fuses:
        return a * b + c
    # In double precision the product is exact. The sum is rounded to odd, so that rounding it once
    # more to single precision gives what rounding the exact sum would (Boldo and Melquiond 2008).
    a, b, c = (np.asarray(x, np.float64) for x in (a, b, c))
    product = a * b
    total = product + c
    added = total - product
    error = (product - (total - added)) + (c - added)
    even = (total.view(np.int64) & 1) == 0
    inexact = np.isfinite(total) & (error != 0) & even
    odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.where(inexact, odd, total).astype(np.float32)


def summed(left: Any, right: Any, begin: Any, fuses: bool) -> Any:
    """``begin + left right`` in the order of the depth, in single precision."""
    shape = len(left), right.shape[1]
    total = np.array(np.broadcast_to(np.float32(begin), shape))
    for k in range(len(right)):
        total = multiplied_and_added(left[:, k : k + 1], right[k : k + 1], total, fuses)
    return total


def assert_same_bits(found: Any, expected: Any) -> None:
    """Zeros have the same sign; one NaN is as good as another."""
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    bits, expected_bits = (np.where(np.isnan(x), 0, x.view(np.uint32)) for x in (found, expected))
    np.testing.assert_array_equal(bits, expected_bits)


def assert_close(found: Any, left: Any, right: Any, begin: Any, finish: Callable[..., Any]) -> None:
    """Within what rounding can do to a sum of so many products (Higham 2002, section 3.1)."""
    left, right, begin = (np.asarray(x, np.float64) for x in (left, right, begin))
    expected = finish(left @ right + begin)
    scale = np.abs(left) @ np.abs(right) + np.abs(begin)
    bound = (left.shape[1] + 1) * HALF_UNIT * scale * 1.01 + 1e-37
    sane = np.isfinite(scale)
    assert (np.abs(found - expected) <= bound)[sane].all()
    # What is not finite comes through as through NumPy.
    assert_same_kind(found, expected)


def assert_same_kind(found: Any, expected: Any) -> None:
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(found[infinite], expected[infinite])
    assert np.isfinite(found[np.isfinite(expected)]).all()


def relu(values: Any) -> Any:
    return np.where(values < 0, values.dtype.type(0), values)


class Fenced:
    """Arrays at odd places of larger ones, of which nothing else may be written, or have a part."""

    def __init__(self, seed: int, special: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.special = special
        self._held: list[tuple[Any, Any, Any]] = []

    def new(self, *shape: int) -> Any:
        """An array of numbers, some of which are 0 or not finite, between two fences of NaN."""
        size = math.prod(shape)
        start = FENCE + int(self.rng.integers(17))
        held = np.full(start + size + FENCE, np.nan, np.float32)
        array = held[start : start + size].reshape(shape)
        array[...] = self.rng.standard_normal(shape)
        array[self.rng.random(shape) < 0.1] = 0.0
        array[self.rng.random(shape) < 0.05] = -0.0
        if self.special:
            for number in (np.nan, np.inf, -np.inf):
                array[self.rng.random(shape) < 0.01] = number
        self._held.append((held, array, held.copy()))
        return array

    def assert_whole(self, *written: Any) -> None:
        """Nothing was written but these arrays."""
        for held, array, before in self._held:
            if any(array is result for result in written):
                array[...] = np.nan
                before[start_of(array, held) :][: array.size] = np.nan
            np.testing.assert_array_equal(held.view(np.uint32), before.view(np.uint32))


def start_of(array: Any, held: Any) -> int:
    """Where an array begins in the one that holds it."""
    return int((array.ctypes.data - held.ctypes.data) // held.itemsize)


# --- checks ---------------------------------------------------------------------------------------


def check_dense(on: Products, sizes: Sequence[int], fenced: Fenced) -> None:
    rows, n_in, n_out = sizes
    inputs, weights, biases = fenced.new(rows, n_in), fenced.new(n_in, n_out), fenced.new(n_out)
    outputs = fenced.new(rows, n_out)
    expected = summed(inputs, weights, biases, on.module.FUSES)
    for activation in (NOTHING, RELU):
        on.dense(inputs, weights, biases, outputs, activation)
        finish: Callable[..., Any] = relu if activation == RELU else np.array
        assert_close(outputs, inputs, weights, biases, finish)
        assert_same_bits(outputs, finish(expected))
    fenced.assert_whole(outputs)


def check_through_layer(on: Products, sizes: Sequence[int], fenced: Fenced) -> None:
    rows, n_in, n_out = sizes
    deltas, weights = fenced.new(rows, n_out), fenced.new(n_out, n_in)
    outputs, below = fenced.new(rows, n_in), fenced.new(rows, n_in)
    on.through_layer(deltas, weights, outputs, below, RELU)

    def gated(values: Any) -> Any:
        return np.where(outputs > 0, values, values.dtype.type(0))

    assert_close(below, deltas, weights, 0.0, gated)
    assert_same_bits(below, gated(summed(deltas, weights, 0.0, on.module.FUSES)))
    fenced.assert_whole(below)


def check_weights_gradient(on: Products, sizes: Sequence[int], fenced: Fenced) -> None:
    rows, n_in, n_out = sizes
    deltas, inputs = fenced.new(rows, n_out), fenced.new(rows, n_in)
    gradient = fenced.new(n_out, n_in)
    on.weights_gradient(deltas, inputs, gradient)
    assert_close(gradient, deltas.T, inputs, 0.0, np.array)
    assert_same_bits(gradient, summed(deltas.T, inputs, 0.0, on.module.FUSES))
    fenced.assert_whole(gradient)


def check_add_outer(on: Products, sizes: Sequence[int], fenced: Fenced) -> None:
    _, n_in, n_out = sizes
    left, right, result = fenced.new(n_out), fenced.new(n_in), fenced.new(n_out, n_in)
    before = result.copy()
    on.add_outer(left, right, result)
    assert_close(result, left[:, None], right[None], before, np.array)
    assert_same_bits(result, summed(left[:, None], right[None], before, on.module.FUSES))
    fenced.assert_whole(result)


def check_turn(on: Products, sizes: Sequence[int], fenced: Fenced) -> None:
    _, n_in, n_out = sizes
    matrix, turned = fenced.new(n_out, n_in), fenced.new(n_in, n_out)
    # Bits of any kind, NaN of all sorts among them.
    matrix.view(np.uint32)[...] = fenced.rng.integers(2**32, size=matrix.shape, dtype=np.uint32)
    on.turn(matrix, turned)
    np.testing.assert_array_equal(turned.view(np.uint32), matrix.view(np.uint32).T)
    fenced.assert_whole(matrix, turned)


def check_rows(on: Products, sizes: Sequence[int], fenced: Fenced) -> None:
    """A row is the same among others and alone."""
    rows, n_in, n_out = sizes
    inputs, weights, biases = fenced.new(rows, n_in), fenced.new(n_in, n_out), fenced.new(n_out)
    together, alone = fenced.new(rows, n_out), fenced.new(1, n_out)
    on.dense(inputs, weights, biases, together, NOTHING)
    for row in range(rows):
        on.dense(inputs[row : row + 1], weights, biases, alone, NOTHING)
        assert_same_bits(alone[0], together[row])
    gate, turned = fenced.new(rows, n_in), fenced.new(n_out, n_in)
    below, below_alone = fenced.new(rows, n_in), fenced.new(1, n_in)
    on.through_layer(together, turned, gate, below, RELU)
    for row in range(rows):
        one = slice(row, row + 1)
        on.through_layer(together[one], turned, gate[one], below_alone, RELU)
        assert_same_bits(below_alone[0], below[row])


CHECKS = (
    check_dense,
    check_through_layer,
    check_weights_gradient,
    check_add_outer,
    check_turn,
    check_rows,
)


def check_edges(check: Callable[..., None], on: Products) -> None:
    """At sizes around the edges of blocks, some with numbers that are not finite."""
    for i, sizes in enumerate(SIZES):
        check(on, sizes, Fenced(i, special=i % 2 == 1))


# --- tests ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy says where infinities meet
@pytest.mark.parametrize("check", CHECKS)
@settings(max_examples=25)
@given(
    sizes=st.tuples(st.integers(0, 70), st.integers(0, 70), st.integers(0, 70)),
    seed=st.integers(0, 2**32 - 1),
    special=st.booleans(),
)
@example(sizes=(32, 64, 64), seed=0, special=False)
@example(sizes=(70, 69, 67), seed=1, special=True)
def test_products_are_those_of_numpy(
    check: Callable[..., None], sizes: tuple[int, int, int], seed: int, special: bool
) -> None:
    check(SHIPPED, sizes, Fenced(seed, special))


def test_relu_and_gate_say_what_becomes_of_nan_and_zero() -> None:
    given_ = np.array([[np.nan, -np.inf, -1, -0.0, 0, 1, np.inf]], np.float32)
    one, none = np.ones((1, 1), np.float32), np.zeros(7, np.float32)
    outputs = np.empty_like(given_)
    SHIPPED.dense(one, given_, none, outputs, RELU)
    np.testing.assert_array_equal(outputs, [[np.nan, 0, 0, 0, 0, 1, np.inf]])
    weights = np.full((1, 7), 3, np.float32)
    SHIPPED.through_layer(one, weights, given_, outputs, RELU)
    np.testing.assert_array_equal(outputs, [[0, 0, 0, 0, 0, 3, 3]])
    SHIPPED.through_layer(one, np.full((1, 7), np.nan, np.float32), given_, outputs, RELU)
    np.testing.assert_array_equal(outputs, [[0, 0, 0, 0, 0, np.nan, np.nan]])


def otherwise(changed: Change, width: int, fuses: bool) -> Products:
    """The module for vectors of another width, fusing or not."""
    if fuses and not products.FUSES:
        pytest.skip("this machine does not fuse multiply and add")
    if (width, fuses) == (products.WIDTH, products.FUSES):
        return SHIPPED
    name = f"width_{width}_{'fused' if fuses else 'apart'}"
    said = f"WIDTH, FUSES = (lambda *_: ({width}, {fuses}))("
    on = changed(name, ("WIDTH, FUSES = _vectors(", said))
    assert (width, fuses) == (on.module.WIDTH, on.module.FUSES)
    return on


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("width", "fuses"),
    [
        # Quick is the one that is least like most machines; each takes seconds to compile.
        pytest.param(width, fuses, marks=() if (width, fuses) == (4, False) else pytest.mark.slow)
        for width, fuses in every((16, 8, 4), (True, False))
    ],
)
def test_bits_do_not_depend_on_the_width_of_vectors(
    width: int, fuses: bool, changed: Change
) -> None:
    on = otherwise(changed, width, fuses)
    # All are held to the bits of the same oracle.
    check_edges(check_dense, on)


ARM = platform.machine() in ("arm64", "aarch64")


@pytest.mark.parametrize(
    ("features", "width", "fuses"),
    [
        ("+sse4.2,+fma,+avx2,+avx512f", 16, True),
        ("+fma,+avx2,-avx512f", 8, True),
        ("-fma,+avx2,-avx512f", 4, ARM),
        ("", 4, ARM),  # as with NUMBA_CPU_NAME=generic
    ],
)
def test_vectors_are_those_of_the_machine_that_numba_compiles_for(
    features: str, width: int, fuses: bool, changed: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CPU_FEATURES", features)
    module = changed("features").module
    assert (width, fuses) == (module.WIDTH, module.FUSES)


ADD = "on.multiply_add(left[r], right[v], builder.load(place))"
APART = "builder.fadd(builder.fmul(left[r], right[v]), builder.load(place))"
LANES = "lanes = [lane - apart + wide"
LEFT_BY = "_multiply(a, 1, n_out, b, c, n_out, n_in, rows, 0, 0, NOTHING, 0)"
BEGIN = "_multiply(a, 1, 1, b, c, rows, columns, 1, c, columns, NOTHING, 0)"
STOP = 'builder.icmp_signed("<=", following, stop)'
FACTOR = "add(builder.add(first, _number(k)), lanes)"
GATHERED = "on.gather([builder.add(begin, beyond) for begin in begins])"
SCATTERED = '[given["result"].at(r, here) for r in rows]'
IS_LOW = 'builder.fcmp_ordered("<", value, on.zero)'
IS_OPEN = 'builder.fcmp_ordered(">", gate, on.zero)'
WRONG = {
    "one_short": (check_dense, STOP, 'builder.icmp_signed("<", following, stop)'),
    "over_the_edge": (check_dense, STOP, 'builder.icmp_signed("<", now, stop)'),
    "no_last_column": (check_dense, "(16, 8, 4, 2, 1)", "(16, 8, 4, 2)"),
    "no_last_rows": (check_dense, "for high in (many, 2, 1)", "for high in (many, 2)"),
    "relu_eats_nan": (check_dense, IS_LOW, IS_LOW.replace("ordered", "unordered")),
    "relu_of_minus_0": (check_dense, IS_LOW, IS_LOW.replace("<", "<=")),
    "fused_otherwise": (check_dense, "if not FUSES", "if FUSES"),
    "gate_open_at_0": (check_through_layer, IS_OPEN, IS_OPEN.replace(">", ">=")),
    "gate_open_by_nan": (check_through_layer, IS_OPEN, IS_OPEN.replace("ordered", "unordered")),
    "not_transposed": (check_weights_gradient, LEFT_BY, LEFT_BY.replace("1, n_out", "n_out, 1")),
    "nothing_to_add_to": (check_add_outer, BEGIN, BEGIN.replace("c, columns, N", "0, 0, N")),
    "wrong_lanes": (check_turn, LANES, "lanes = [lane + wide"),
    "narrow_lanes": (check_dense, LANES, "lanes = [lane + wide"),
    "narrow_factor": (check_dense, FACTOR, "add(first, lanes)"),
    "narrow_rest": (check_dense, GATHERED, "on.zero"),
    "narrow_places": (check_dense, SCATTERED, f"{SCATTERED}[::-1]"),
    "narrow_begin": (check_dense, "turned = rows - rows %", "turned = rows - 0 * rows %"),
    "rows_differ": (check_rows, ADD, f"{ADD} if rows > 1 else {APART}"),
}
"""By name: the check that must find an error, what is replaced, and by what."""
FIRST = {check: name for name, (check, *_) in reversed(WRONG.items())}.values()
"""One for each check. Each takes seconds to compile."""


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FIRST else pytest.mark.slow) for name in WRONG],
)
def test_errors_are_found(name: str, changed: Change) -> None:
    if name in ("fused_otherwise", "rows_differ") and not products.FUSES:
        pytest.skip("this machine does not fuse multiply and add, so there is no difference")
    check, old, new = WRONG[name]
    with pytest.raises(AssertionError):
        check_edges(check, changed(name, (old, new)))


def test_the_oracle_of_fused_multiply_adds_rounds_once() -> None:
    # (1 + e)(1 - e) - 1 = -e^2, which two roundings lose.
    e = np.float32(2.0**-13)
    a, b, c = (np.array([x], np.float32) for x in (1 + e, 1 - e, -1))
    assert multiplied_and_added(a, b, c, True) == -(e**2)
    assert multiplied_and_added(a, b, c, False) == 0
    # Above the middle of 1 and the next number, so little that double precision ends up on it.
    a, b, c = (np.array([x], np.float32) for x in (24929 * 2.0**-24, 673, 2.0**-60))
    product = a.astype(np.float64) * b
    assert product == 1 + 2.0**-24
    assert (product + c).astype(np.float32) == 1
    assert multiplied_and_added(a, b, c, True) == 1 + 2.0**-23


# --- another machine ------------------------------------------------------------------------------


def digest(on: Products) -> str:
    """Of what the functions make of some numbers."""
    found = hashlib.sha256()
    for rows, n_in, n_out in SIZES:
        fenced = Fenced(rows)
        inputs, weights, biases = fenced.new(rows, n_in), fenced.new(n_in, n_out), fenced.new(n_out)
        outputs, below = fenced.new(rows, n_out), fenced.new(rows, n_in)
        gradient = fenced.new(n_out, n_in)
        on.dense(inputs, weights, biases, outputs, NOTHING)
        found.update(outputs.tobytes())
        on.dense(inputs, weights, biases, outputs, RELU)
        on.weights_gradient(outputs, inputs, gradient)
        on.add_outer(biases, inputs[0], gradient)
        on.through_layer(outputs, gradient, inputs, below, RELU)
        found.update(below.tobytes())
    return found.hexdigest()


@pytest.mark.slow  # a process each, and each compiles once
@pytest.mark.parametrize(
    ("processor", "features", "width", "fuses"),
    [("haswell", "+avx2,+fma", 8, True), ("x86-64", "", 4, False), ("generic", None, 4, False)],
)
def test_machine_code_for_another_processor_gives_the_same_bits(
    processor: str, features: str | None, width: int, fuses: bool, changed: Change
) -> None:
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("these are processors of one kind")
    expected = digest(otherwise(changed, products.WIDTH, fuses))
    environment = {**os.environ, "NUMBA_CPU_NAME": processor}
    if features is not None:
        environment["NUMBA_CPU_FEATURES"] = features
    code = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2])!r}]
import test_products as test
print(test.products.WIDTH, test.products.FUSES, test.digest(test.SHIPPED))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(width), str(fuses), expected]
