"""Small products of matrices, with a block of the result held in vector registers.

The matrices of a small network fit into the first cache, where a product is as fast as its inner
loop: a block of results stays in registers, and each step of the depth loads some vectors of the
right factor and one number of each row of the left one, for as many fused multiply-adds. The right
factor is read row by row, the left one by any strides, so that a transposed left factor costs
nothing. (A general BLAS spends most of its time at such sizes on choosing a kernel and packing.)

Each element is summed in the order of the depth, one multiply-add after the other. So its bits do
not depend on the width of the vectors, the size of the block, alignment, threads, or how many rows
there are; only on whether the machine fuses multiply and add.
"""

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.core import codegen, config
from numba.core.errors import TypingError

from continual_arcade.agents.kernels.activations import (
    NOTHING,
    RELU,
    TANH,
    activate,
    through_activation,
)
from continual_arcade.agents.kernels.inner import WIDE, inner, intrinsic

cgutils: Any = _cgutils
_config: Any = config
_codegen: Any = codegen


def _vectors(features: str, machine: str) -> tuple[int, bool]:
    """Return how many floats a vector register holds, and whether multiply and add are fused.

    Args:
        features: As numba is told them, ``+avx2,-avx512f,...``.
        machine: As :func:`platform.machine` says.
    """
    known = features.split(",")
    if "+avx512f" in known:
        return 16, True
    if "+avx2" in known and "+fma" in known:
        return 8, True
    return 4, machine in ("arm64", "aarch64")


def _features() -> str:
    """Return the features of the machine that numba compiles for; it may be told of another."""
    told: str | None = _config.CPU_FEATURES  # empty is a machine without any
    return _codegen.get_host_cpu_features() if told is None else told


WIDTH, FUSES = _vectors(_features(), platform.machine())
"""Floats of a vector register, and whether multiply and add are fused."""
BLOCKS = [(4, 4 if WIDTH == 16 else 2, WIDTH)]
"""Rows, vectors in a row and floats in a vector of the blocks that columns are cut into: the first
fills the registers, and what is left goes into ever narrower ones."""
BLOCKS += [(8, 2, WIDTH)] * (WIDTH == 16)  # where there are 32 registers
BLOCKS += [(8, 1, width) for width in (16, 8, 4, 2, 1) if width <= WIDTH]

NARROW = 4
"""Columns up to which a product is one of few columns: the values of as many actions."""

GATE = TANH + 1
"""What is done to a result before it is stored: ``NOTHING``; with ``RELU`` negative ones become 0
(NaN stays); with ``GATE`` they become 0 where an element of another matrix is not positive, which
is the derivative of ReLU."""

_I32, _I64, _FLOAT, _SIZE = ir.IntType(32), ir.IntType(64), ir.FloatType(), 4


def _number(value: int) -> Any:
    return ir.Constant(_I64, value)


class _Matrix:
    """An address, and the distances from row to row and from column to column [bytes]."""

    def __init__(self, builder: Any, address: Any, row: Any, column: Any) -> None:
        self.builder, self.address = builder, address
        self.row, self.column = row, column

    def at(self, row: Any, column: Any) -> Any:
        """Return the address of an element."""
        return self.builder.add(self.begin(row), self.beyond(column))

    def begin(self, row: Any) -> Any:
        """Return the address of the first element of a row."""
        return self.builder.add(self.address, self.builder.mul(row, self.row))

    def beyond(self, column: Any) -> Any:
        """Return how far an element lies beyond the first one of its row [bytes]."""
        return self.builder.mul(column, self.column)


class _Scattered(_Matrix):
    """An address, and tables that say where each row and each column begins [elements]."""

    def begin(self, row: Any) -> Any:
        """Return the address of the first element of a row."""
        return self.builder.add(self.address, self._looked_up(self.row, row))

    def beyond(self, column: Any) -> Any:
        """Return how far an element lies beyond the first one of its row [bytes]."""
        return self._looked_up(self.column, column)

    def _looked_up(self, table: Any, index: Any) -> Any:
        builder = self.builder
        place = builder.gep(builder.inttoptr(table, _I64.as_pointer()), [index])
        return builder.mul(builder.load(place, align=8), _number(_SIZE))


class _Writer:
    """Writes machine code for blocks of one width of vectors."""

    def __init__(self, builder: Any, width: int) -> None:
        self.builder, self.width = builder, width
        self.kind = ir.VectorType(_FLOAT, width)
        self.zero = ir.Constant(self.kind, [0.0] * width)

    def load(self, address: Any) -> Any:
        return self.builder.load(self._pointer(address, self.kind), align=_SIZE)

    def store(self, value: Any, address: Any) -> None:
        self.builder.store(value, self._pointer(address, self.kind), align=_SIZE)

    def splat(self, address: Any) -> Any:
        """Load one number into all lanes."""
        number = self.builder.load(self._pointer(address, _FLOAT), align=_SIZE)
        undefined = ir.Constant(self.kind, ir.Undefined)
        one = self.builder.insert_element(undefined, number, ir.Constant(_I32, 0))
        return self.shuffle(one, undefined, [0] * self.width)

    def gather(self, addresses: Sequence[Any]) -> Any:
        """Load numbers from as many places as there are lanes."""
        vector = ir.Constant(self.kind, ir.Undefined)
        for lane, address in enumerate(addresses):
            number = self.builder.load(self._pointer(address, _FLOAT), align=_SIZE)
            vector = self.builder.insert_element(vector, number, ir.Constant(_I32, lane))
        return vector

    def scatter(self, value: Any, addresses: Sequence[Any]) -> None:
        """Store the lanes in as many places."""
        for lane, address in enumerate(addresses):
            number = self.builder.extract_element(value, ir.Constant(_I32, lane))
            self.builder.store(number, self._pointer(address, _FLOAT), align=_SIZE)

    def shuffle(self, one: Any, other: Any, lanes: Sequence[int]) -> Any:
        """Pick lanes of two vectors, those of the second counted on from the first."""
        picks = ir.Constant(ir.VectorType(_I32, self.width), list(lanes))
        return self.builder.shuffle_vector(one, other, picks)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        if not FUSES:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        name, kind = f"llvm.fma.v{self.width}f32", ir.FunctionType(self.kind, [self.kind] * 3)
        module = self.builder.module
        fma = module.globals.get(name) or ir.Function(module, kind, name)
        return self.builder.call(fma, [a, b, c])

    def _pointer(self, address: Any, kind: Any) -> Any:
        return self.builder.inttoptr(address, kind.as_pointer())


def _turned(on: _Writer, rows: Sequence[Any]) -> Sequence[Any]:
    """Write the code that transposes a square in registers, each row of it a vector.

    Eklundh's way: exchange the halves off the diagonal, then those of each quarter, and so on.
    """
    vectors, wide = list(rows), on.width
    apart = wide // 2
    while apart:
        for r in range(wide):
            if not r & apart:
                one, other = vectors[r], vectors[r + apart]
                lanes = [lane - apart + wide if lane & apart else lane for lane in range(wide)]
                others = [lane + wide if lane & apart else lane + apart for lane in range(wide)]
                vectors[r] = on.shuffle(one, other, lanes)
                vectors[r + apart] = on.shuffle(one, other, others)
        apart //= 2
    return vectors


@contextmanager
def _counting(builder: Any, counter: Any, stop: Any, step: int) -> Iterator[Any]:
    """Write a loop: while ``counter + step <= stop``, the counter going up by the step."""
    test, body, end = (builder.append_basic_block() for _ in range(3))
    builder.branch(test)
    builder.position_at_end(test)
    now = builder.load(counter)
    following = builder.add(now, _number(step))
    builder.cbranch(builder.icmp_signed("<=", following, stop), body, end)
    builder.position_at_end(body)
    yield now
    builder.store(following, counter)
    builder.branch(test)
    builder.position_at_end(end)


def _write_block(
    builder: Any, size: tuple[int, int, int], row: Any, column: Any, given: dict[str, Any]
) -> None:
    """Write the code that computes one block of the result.

    Args:
        builder: Where to.
        size: Rows, vectors in a row, and floats of a vector.
        row: First row.
        column: First column.
        given: The arguments of :func:`_multiply`, matrices among them.
    """
    rows, vectors, width = size
    on = _Writer(builder, width)
    places = [(r, v) for r in range(rows) for v in range(vectors)]
    rows_of = [builder.add(row, _number(r)) for r in range(rows)]
    columns_of = [builder.add(column, _number(v * width)) for v in range(vectors)]

    sums = [cgutils.alloca_once(builder, on.kind) for _ in places]  # they will be registers
    for place in sums:
        builder.store(on.zero, place)
    with builder.if_then(builder.icmp_signed("!=", given["begin"].address, _number(0))):
        for (r, v), place in zip(places, sums, strict=True):
            builder.store(on.load(given["begin"].at(rows_of[r], columns_of[v])), place)

    begins = [given["left"].begin(row) for row in rows_of]
    step = cgutils.alloca_once(builder, _I64)
    builder.store(_number(0), step)
    with _counting(builder, step, given["depth"], 1) as k:
        right = [on.load(given["right"].at(k, column)) for column in columns_of]
        beyond = given["left"].beyond(k)
        left = [on.splat(builder.add(begin, beyond)) for begin in begins]
        for (r, v), place in zip(places, sums, strict=True):
            builder.store(on.multiply_add(left[r], right[v], builder.load(place)), place)

    results = [builder.load(place) for place in sums]
    ends = [(rows_of[r], columns_of[v]) for r, v in places]
    for how in (NOTHING, RELU, GATE):
        with builder.if_then(builder.icmp_signed("==", given["finish"], _number(how))):
            for value, end in zip(results, ends, strict=True):
                if how == RELU:
                    # Not a maximum: NaN must stay NaN.
                    is_low = builder.fcmp_ordered("<", value, on.zero)
                    value = builder.select(is_low, on.zero, value)
                elif how == GATE:
                    gate = on.load(given["gate"].at(*end))
                    value = builder.select(builder.fcmp_ordered(">", gate, on.zero), value, on.zero)
                on.store(value, given["result"].at(*end))


def _write_product(
    builder: Any, left: _Matrix, arguments: Sequence[Any], begin_row: Any, finish: Any, gate: Any
) -> None:
    """Write the code that multiplies matrices, see :func:`_multiply`.

    Args:
        builder: Where to.
        left: The left factor.
        arguments: The right factor, the result, rows, columns, depth, and what sums begin with.
        begin_row: Distance of the rows of the last of these [elements].
        finish: What is done to the results.
        gate: Of :data:`GATE`.
    """
    right, result, rows, columns, depth, begin = arguments
    size = _number(_SIZE)
    wide = builder.mul(columns, size)
    given = {
        "left": left,
        "right": _Matrix(builder, right, wide, size),
        "result": _Matrix(builder, result, wide, size),
        "begin": _Matrix(builder, begin, builder.mul(begin_row, size), size),
        "gate": _Matrix(builder, gate, wide, size),
        "depth": depth,
        "finish": finish,
    }
    column, row = cgutils.alloca_once(builder, _I64), cgutils.alloca_once(builder, _I64)
    builder.store(_number(0), column)
    for many, vectors, width in BLOCKS:
        with _counting(builder, column, columns, vectors * width) as first_column:
            builder.store(_number(0), row)
            for high in (many, 2, 1):
                with _counting(builder, row, rows, high) as first_row:
                    _write_block(builder, (high, vectors, width), first_row, first_column, given)


@intrinsic
def _multiply(
    context: Any,
    left: Any,
    left_row: Any,
    left_step: Any,
    right: Any,
    result: Any,
    rows: Any,
    columns: Any,
    depth: Any,
    begin: Any,
    begin_row: Any,
    finish: Any,
    gate: Any,
) -> Any:
    """Multiply matrices: ``result = finish(begin + left right)``.

    All matrices are given by the address of their first element; where nothing else is said they
    lie in rows without gaps. Nothing overlaps, but that ``begin`` may be ``result``.

    Args:
        context: Of numba.
        left: Shape ``(rows, depth)``.
        left_row: Distance of its rows [elements].
        left_step: Distance of its columns [elements].
        right: Shape ``(depth, columns)``.
        result: Shape ``(rows, columns)``.
        rows: Its rows.
        columns: Its columns.
        depth: Products that are summed.
        begin: What the sums begin with, shape ``(rows, columns)``; 0 for nothing.
        begin_row: Distance of its rows [elements]; 0 where all begin with the same one.
        finish: What is done to the results; see :data:`NOTHING`.
        gate: Of :data:`GATE`, shape ``(rows, columns)``.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        a, a_row, a_step, *others, begin_row, finish, gate = arguments
        size = _number(_SIZE)
        left = _Matrix(builder, a, builder.mul(a_row, size), builder.mul(a_step, size))
        _write_product(builder, left, others, begin_row, finish, gate)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 12), generate


def _write_narrow(builder: Any, count: int, row: Any, column: Any, given: dict[str, Any]) -> None:
    """Write the code that computes a few columns of the result, of as many rows as lanes.

    Args:
        builder: Where to.
        count: Columns.
        row: First row.
        column: First column.
        given: The arguments of :func:`_multiply_narrow`, matrices among them.
    """
    on = _Writer(builder, WIDTH)
    rows = [builder.add(row, _number(r)) for r in range(WIDTH)]
    columns = [builder.add(column, _number(c)) for c in range(count)]
    sums = [cgutils.alloca_once(builder, on.kind) for _ in columns]  # they will be registers
    for here, place in zip(columns, sums, strict=True):
        builder.store(on.splat(given["begin"].at(_number(0), here)), place)

    def add(k: Any, lanes: Any) -> None:
        for here, place in zip(columns, sums, strict=True):
            factor = on.splat(given["right"].at(k, here))
            builder.store(on.multiply_add(lanes, factor, builder.load(place)), place)

    begins = [given["left"].begin(r) for r in rows]
    step = cgutils.alloca_once(builder, _I64)
    builder.store(_number(0), step)
    with _counting(builder, step, given["depth"], WIDTH) as first:
        beyond = given["left"].beyond(first)
        square = _turned(on, [on.load(builder.add(begin, beyond)) for begin in begins])
        for k, lanes in enumerate(square):
            add(builder.add(first, _number(k)), lanes)
    with _counting(builder, step, given["depth"], 1) as k:
        beyond = given["left"].beyond(k)
        add(k, on.gather([builder.add(begin, beyond) for begin in begins]))
    for here, place in zip(columns, sums, strict=True):
        on.scatter(builder.load(place), [given["result"].at(r, here) for r in rows])


@intrinsic
def _multiply_narrow(
    context: Any,
    left: Any,
    right: Any,
    result: Any,
    rows: Any,
    columns: Any,
    depth: Any,
    begin: Any,
) -> Any:
    """Multiply matrices as :func:`_multiply`, where the result has few columns.

    They would fill no more than a corner of a vector. So a vector holds what belongs to as many
    rows: squares of the left factor are transposed in registers.

    Args:
        context: Of numba.
        left: Shape ``(rows, depth)``; all matrices lie in rows without gaps.
        right: Shape ``(depth, columns)``.
        result: Shape ``(rows, columns)``.
        rows: Its rows, a multiple of :data:`WIDTH`.
        columns: Its columns.
        depth: Products that are summed.
        begin: What the sums of all rows begin with, shape ``(columns,)``.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        a, b, c, rows, columns, depth, bias = arguments
        size = _number(_SIZE)
        wide = builder.mul(columns, size)
        given = {
            "left": _Matrix(builder, a, builder.mul(depth, size), size),
            "right": _Matrix(builder, b, wide, size),
            "result": _Matrix(builder, c, wide, size),
            "begin": _Matrix(builder, bias, _number(0), size),
            "depth": depth,
        }
        row, column = cgutils.alloca_once(builder, _I64), cgutils.alloca_once(builder, _I64)
        builder.store(_number(0), column)
        for count in range(NARROW, 0, -1):
            with _counting(builder, column, columns, count) as first_column:
                builder.store(_number(0), row)
                with _counting(builder, row, rows, WIDTH) as first_row:
                    _write_narrow(builder, count, first_row, first_column, given)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7), generate


@intrinsic
def _multiply_scattered(
    context: Any,
    left: Any,
    left_rows: Any,
    left_steps: Any,
    right: Any,
    result: Any,
    rows: Any,
    columns: Any,
    depth: Any,
    begin: Any,
    begin_row: Any,
    finish: Any,
) -> Any:
    """Multiply matrices as :func:`_multiply`, the left one of which lies here and there.

    Args:
        context: Of numba.
        left: Shape ``(rows, depth)``: an element lies at the sum of what two tables say.
        left_rows: Address of where its rows begin [elements], shape ``(rows,)``.
        left_steps: Address of how far beyond its columns lie [elements], shape ``(depth,)``.
        right: As all that follow it is there.
        result: ...
        rows: ...
        columns: ...
        depth: ...
        begin: ...
        begin_row: ...
        finish: ``NOTHING`` or ``RELU``.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        a, a_rows, a_steps, *others, begin_row, finish = arguments
        left = _Scattered(builder, a, a_rows, a_steps)
        _write_product(builder, left, others, begin_row, finish, _number(0))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 11), generate


def _addresses_of(kind: Any) -> Any:
    """Return what tells where the first element of an array of a type lies, which has no gaps."""

    @intrinsic
    def address(context: Any, array: Any) -> Any:
        if array.layout != "C" or array.dtype != kind:
            raise TypingError(f"{array} must be a contiguous array of {kind}")

        def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            return builder.ptrtoint(data, _I64)

        return types.int64(array), generate

    return address


_address, _table = _addresses_of(types.float32), _addresses_of(types.int64)


@inner()
def dense(inputs: Any, weights: Any, biases: Any, outputs: Any, activation: int) -> None:
    """Compute a layer: ``outputs = activation(inputs weights + biases)``.

    Args:
        inputs: Shape ``(rows, n_in)``; all arrays are contiguous.
        weights: Transposed, shape ``(n_in, n_out)``.
        biases: Shape ``(n_out,)``.
        outputs: Filled, shape ``(rows, n_out)``.
        activation: ``NOTHING``, ``RELU`` or ``TANH``.
    """
    rows, n_in = inputs.shape
    n_out = len(biases)
    a, b, c, bias = _address(inputs), _address(weights), _address(outputs), _address(biases)
    finish = RELU if activation == RELU else NOTHING
    turned = rows - rows % WIDTH if n_out <= NARROW and finish == NOTHING else 0
    if turned:
        _multiply_narrow(a, b, c, turned, n_out, n_in, bias)
        a, c = a + _SIZE * turned * n_in, c + _SIZE * turned * n_out
    _multiply(a, n_in, 1, b, c, rows - turned, n_out, n_in, bias, 0, finish, 0)
    activate(activation, outputs)


@inner(WIDE)
def sparse_dense(inputs: Any, weights: Any, biases: Any, outputs: Any, activation: int) -> None:
    """Compute a layer as :func:`dense`, without looking at weights of inputs that are 0.

    Of images most are. Arguments as there; sums are in another order.
    """
    rows, n_in = inputs.shape
    n_out = len(biases)
    for row in range(rows):
        y = outputs[row]
        for unit in range(n_out):
            y[unit] = biases[unit]
        for i in range(n_in):
            value = inputs[row, i]
            if value != 0.0:
                for unit in range(n_out):
                    y[unit] += value * weights[i, unit]
        if activation == RELU:
            for unit in range(n_out):  # no maximum: NaN must come through
                y[unit] = np.float32(0.0) if y[unit] < 0.0 else y[unit]
    activate(activation, outputs)


@inner(WIDE)
def add_sparse_outer(left: Any, right: Any, result: Any) -> None:
    """Add the outer product of two vectors as :func:`add_outer`, where the left one is not 0."""
    for row in range(len(left)):
        value = left[row]
        if value != 0.0:
            for column in range(len(right)):
                result[row, column] += value * right[column]


@inner()
def through_layer(deltas: Any, weights: Any, outputs: Any, below: Any, activation: int) -> None:
    """Compute the derivatives by what an activation was given: ``deltas weights``, times its slope.

    Args:
        deltas: Derivatives by what the layer above gave, shape ``(rows, n_out)``.
        weights: Of that layer, as PyTorch has them, shape ``(n_out, n_in)``.
        outputs: Of the activation, shape ``(rows, n_in)``.
        below: Filled, shape ``(rows, n_in)``.
        activation: ``RELU`` or ``TANH``; with ``NOTHING`` the outputs do not matter.
    """
    rows, n_out = deltas.shape
    n_in = outputs.shape[1]
    a, b, c, gate = _address(deltas), _address(weights), _address(below), _address(outputs)
    finish = GATE if activation == RELU else NOTHING
    _multiply(a, n_out, 1, b, c, rows, n_in, n_out, 0, 0, finish, gate)
    through_activation(activation, outputs, below)


@inner()
def weights_gradient(deltas: Any, inputs: Any, gradient: Any) -> None:
    """Compute the gradient of a layer's weights: ``gradient = deltas^T inputs``.

    Args:
        deltas: Derivatives by what the layer gave, shape ``(rows, n_out)``.
        inputs: What it was given, shape ``(rows, n_in)``.
        gradient: Filled, shape ``(n_out, n_in)``.
    """
    rows, n_out = deltas.shape
    n_in = inputs.shape[1]
    a, b, c = _address(deltas), _address(inputs), _address(gradient)
    _multiply(a, 1, n_out, b, c, n_out, n_in, rows, 0, 0, NOTHING, 0)


@inner()
def scattered_dense(
    inputs: Any, rows_at: Any, steps_at: Any, weights: Any, biases: Any, outputs: Any
) -> None:
    """Compute ``outputs = relu(x weights + biases)``, where ``x`` lies here and there.

    Args:
        inputs: Where it lies; element ``(r, k)`` of it at ``rows_at[r] + steps_at[k]``. As all
            arrays here it is contiguous.
        rows_at: Shape ``(rows,)`` or longer, of int64.
        steps_at: Shape ``(n_in,)``, of int64.
        weights: Shape ``(n_in, n_out)``.
        biases: Shape ``(n_out,)``.
        outputs: Filled, shape ``(rows, n_out)``.
    """
    rows, n_out = outputs.shape
    a, b, c, bias = _address(inputs), _address(weights), _address(outputs), _address(biases)
    row_table, step_table, depth = _table(rows_at), _table(steps_at), len(steps_at)
    _multiply_scattered(a, row_table, step_table, b, c, rows, n_out, depth, bias, 0, RELU)


@inner()
def add_scattered_gradient(
    inputs: Any, rows_at: Any, steps_at: Any, deltas: Any, gradient: Any, is_first: bool
) -> None:
    """Add the gradient of the weights of :func:`scattered_dense`: ``gradient += x^T deltas``.

    Args:
        inputs: As there.
        rows_at: As there.
        steps_at: As there.
        deltas: Derivatives by what was given, shape ``(rows, n_out)``.
        gradient: Shape ``(n_in, n_out)``.
        is_first: Whether it is filled instead, whatever it holds.
    """
    rows, n_out = deltas.shape
    a, b, c = _address(inputs), _address(deltas), _address(gradient)
    row_table, step_table, n_in = _table(rows_at), _table(steps_at), len(steps_at)
    begin = 0 if is_first else c
    _multiply_scattered(a, step_table, row_table, b, c, n_in, n_out, rows, begin, n_out, NOTHING)


@intrinsic
def _add_pieces(
    context: Any, pieces: Any, rows: Any, columns: Any, result: Any, rows_at: Any
) -> Any:
    """Add rows to pieces of a vector: addresses, and the shape of the rows."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        given, rows, columns, result, rows_at = arguments
        size = _number(_SIZE)
        source = _Matrix(builder, given, builder.mul(columns, size), size)
        target = _Scattered(builder, result, rows_at, rows_at)
        row, column = (cgutils.alloca_once(builder, _I64) for _ in range(2))
        builder.store(_number(0), row)
        with _counting(builder, row, rows, 1) as this:
            begin, into = source.begin(this), target.begin(this)
            builder.store(_number(0), column)
            for width in dict.fromkeys(width for _, _, width in BLOCKS):
                on = _Writer(builder, width)
                with _counting(builder, column, columns, width) as first:
                    beyond = builder.mul(first, size)
                    there = builder.add(into, beyond)
                    added = on.load(builder.add(begin, beyond))
                    on.store(builder.fadd(on.load(there), added), there)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


@inner()
def add_pieces(pieces: Any, result: Any, rows_at: Any) -> None:
    """Add each row to the piece of a vector that begins where a table says.

    Args:
        pieces: Shape ``(rows, columns)``; all arrays are contiguous.
        result: The vector.
        rows_at: Shape ``(rows,)``, of int64.
    """
    rows, columns = pieces.shape
    _add_pieces(_address(pieces), rows, columns, _address(result), _table(rows_at))


@inner()
def add_outer(left: Any, right: Any, result: Any) -> None:
    """Add the outer product of two vectors: ``result += left right^T``.

    Args:
        left: Shape ``(rows,)``.
        right: Shape ``(columns,)``.
        result: Shape ``(rows, columns)``.
    """
    rows, columns = result.shape
    a, b, c = _address(left), _address(right), _address(result)
    _multiply(a, 1, 1, b, c, rows, columns, 1, c, columns, NOTHING, 0)


@intrinsic
def _turn(context: Any, matrix: Any, rows: Any, columns: Any, result: Any) -> Any:
    """Transpose a matrix: addresses of the first elements, and its shape."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        given, rows, columns, turned = arguments
        size = _number(_SIZE)
        source = _Matrix(builder, given, builder.mul(columns, size), size)
        target = _Matrix(builder, turned, builder.mul(rows, size), size)
        row, column = (cgutils.alloca_once(builder, _I64) for _ in range(2))
        builder.store(_number(0), row)
        # Squares in registers; what is left at the edges number by number.
        for high in (8, 1):
            with _counting(builder, row, rows, high) as first_row:
                builder.store(_number(0), column)
                for wide in (8, 1):
                    with _counting(builder, column, columns, wide) as first_column:
                        _write_turned(
                            builder, (high, wide), first_row, first_column, source, target
                        )
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


def _write_turned(
    builder: Any, size: tuple[int, int], row: Any, column: Any, source: _Matrix, target: _Matrix
) -> None:
    """Write the code that transposes one block: a square in registers, or number by number."""
    high, wide = size
    rows = [builder.add(row, _number(r)) for r in range(high)]
    columns = [builder.add(column, _number(c)) for c in range(wide)]
    if high != wide or high == 1:
        on = _Writer(builder, 1)
        for r in rows:
            for c in columns:
                on.store(on.load(source.at(r, c)), target.at(c, r))
        return
    on = _Writer(builder, wide)
    vectors = _turned(on, [on.load(source.at(r, column)) for r in rows])
    for c, vector in zip(columns, vectors, strict=True):
        on.store(vector, target.at(c, row))


@inner()
def turn(matrix: Any, turned: Any) -> None:
    """Transpose a matrix.

    Args:
        matrix: Shape ``(rows, columns)``.
        turned: Filled, shape ``(columns, rows)``.
    """
    rows, columns = matrix.shape
    _turn(_address(matrix), rows, columns, _address(turned))
