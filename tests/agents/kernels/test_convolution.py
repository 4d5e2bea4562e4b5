"""Passes through convolutions against autograd."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from changed_sources import changed_copy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from continual_arcade.agents.kernels import convolution
from continual_arcade.agents.kernels.activations import RELU, TANH
from continual_arcade.agents.kernels.convolution import Convolutions, Size
from continual_arcade.agents.kernels.first_layer import show
from continual_arcade.agents.kernels.layout import ONLINE, Network, Shape
from continual_arcade.agents.kernels.network import backward, forward
from continual_arcade.envs.compiling import kernel

CHUNK = convolution.AT_ONCE


def _of_two(a: Any, b: Any, c: Any) -> None:
    call(a, b, c)  # noqa: F821  # bound when compiled


def _of_five(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    return call(a, b, c, d, e)  # type: ignore[name-defined]  # noqa: F821


def _of_seven(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any) -> Any:
    return call(a, b, c, d, e, f, g)  # type: ignore[name-defined]  # noqa: F821


def _of_four(a: Any, b: Any, c: Any, d: Any) -> Any:
    return call(a, b, c, d)  # type: ignore[name-defined]  # noqa: F821


class Passes:
    """A way into each function of the module, compiled when it is first wanted, and cached.

    Args:
        module: The module, or a copy that was changed.
        name: Of the copy.
    """

    def __init__(self, module: Any, name: str) -> None:
        self.module = module
        self.transpose = kernel(_of_two, {"call": module.transpose_filters}, f"{name}.transpose")
        self.look = kernel(_of_five, {"call": module.look}, f"{name}.look")
        self.back = kernel(_of_seven, {"call": module.through_look}, f"{name}.back")


SHIPPED = Passes(convolution, "shipped")
compiled_forward = kernel(_of_four, {"call": forward}, "pictures.forward")
compiled_backward = kernel(_of_five, {"call": backward}, "pictures.backward")
compiled_show = kernel(_of_two, {"call": show}, "pictures.show")


def by_torch(shape: tuple[int, ...], sizes: list[Size], seed: int) -> nn.Sequential:
    """The same convolutions as PyTorch has them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        channels = shape[0]
        for filters, kernel_size, stride in sizes:
            layers += [nn.Conv2d(channels, filters, kernel_size, stride), nn.ReLU()]
            channels = filters
        return nn.Sequential(*layers, nn.Flatten())


def flat(module: nn.Module) -> Any:
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy().copy()


def gradients(module: nn.Module) -> Any:
    return torch.cat([p.grad.reshape(-1) for p in module.parameters()]).numpy()  # type: ignore[union-attr]


def assert_close(found: Any, expected: Any) -> None:
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * scale)


def check(on: Passes, case: dict[str, Any]) -> None:
    """What is shown, and both gradients, are those of autograd; and nothing else is written."""
    shape, sizes, rows, more = case["shape"], case["sizes"], case["rows"], case["more"]
    rng = np.random.default_rng(case["seed"])
    torchs = by_torch(shape, sizes, case["seed"])
    pictures: Convolutions = on.module.convolutions(shape, sizes, 1.0)
    pictures.scratch[:] = np.nan  # nothing may be read that was not written
    parameters = flat(torchs)
    assert on.module.parameters_of(pictures) == len(parameters)
    inputs = rng.standard_normal((rows + more, int(np.prod(shape)))).astype(np.float32)
    buffer = np.full((rows + more) * on.module.numbers_of(pictures) + 64, np.nan, np.float32)
    transposed = np.full_like(parameters, np.nan)

    on.transpose(pictures, parameters, transposed)
    shown = on.look(pictures, parameters, transposed, inputs, buffer)
    expected = torchs(torch.as_tensor(inputs).reshape(-1, *shape))
    assert_close(shown, expected.detach().numpy())
    assert not np.isnan(buffer[:-64]).any()
    assert np.isnan(buffer[-64:]).all()

    # What comes back has gone through the last ReLU already.
    slopes = rng.standard_normal((rows, expected.shape[1])).astype(np.float32)
    deltas = np.where(shown[:rows] > 0, slopes, np.float32(0))
    gradient = np.full(len(parameters) + 64, np.nan, np.float32)
    on.back(pictures, parameters, inputs[:rows], buffer, rows + more, deltas, gradient)
    (expected[:rows] * torch.as_tensor(slopes)).sum().backward()
    assert_close(gradient[:-64], gradients(torchs))
    assert np.isnan(gradient[-64:]).all()


@st.composite
def cases(draw: Any) -> dict[str, Any]:
    """Pictures of any size, and as many convolutions as fit into them."""
    channels, rows, columns = draw(st.tuples(st.integers(1, 5), *[st.integers(3, 17)] * 2))
    sizes = []
    high, wide = rows, columns
    for _ in range(draw(st.integers(1, 3))):
        filters = draw(st.sampled_from([1, 2, 3, 5, 8, 16, 17, 33]))
        kernel_size = draw(st.tuples(st.integers(1, min(5, high)), st.integers(1, min(5, wide))))
        stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
        sizes.append(Size(filters, kernel_size, stride))
        high = (high - kernel_size[0]) // stride[0] + 1
        wide = (wide - kernel_size[1]) // stride[1] + 1
    return {
        "shape": (channels, rows, columns),
        "sizes": sizes,
        "rows": draw(st.integers(1, 2 * CHUNK + 3)),
        "more": draw(st.integers(0, CHUNK + 1)),
        "seed": draw(st.integers(0, 1000)),
    }


def small(side: int, depth: int, rows: int, more: int) -> dict[str, Any]:
    """Those that agents have: ``SmallConvolutions``."""
    stride = round(side / 10)
    first = side - 8 * stride  # from nine places, to the last pixel
    sizes = [Size(16, (first, first), (stride, stride)), Size(32, (3, 3), (2, 2))]
    return {"shape": (depth, side, side), "sizes": sizes, "rows": rows, "more": more, "seed": 7}


@settings(max_examples=60, deadline=None)  # the first example compiles
@given(case=cases())
@example(case=small(21, 2, 32, 32))
@example(case=small(42, 4, 5, 3))
def test_values_and_gradients_are_those_of_autograd(case: dict[str, Any]) -> None:
    check(SHIPPED, case)


EDGES = [
    {
        "shape": (2, 9, 8),
        "sizes": [Size(5, (3, 2), (2, 1)), Size(17, (2, 3), (1, 2))],
        "rows": rows,
        "more": more,
        "seed": rows,
    }
    for rows, more in ((1, 0), (CHUNK, 1), (2 * CHUNK + 1, CHUNK))
]
"""What errors are looked for in: neither squares nor strides of one kind, and odd batches."""

CHANNELS_FIRST = "deep, down, right = rows * columns, columns, 1"
FILTERS_FIRST = "turn(shown, flat)"
GATE = "below[j] = below[j] if seen[j] > np.float32(0.0) else np.float32(0.0)"
ADDED = "into = below[row * layer.seen : (row + 1) * layer.seen]"
TABLE = 'layer["rows_at"] = listed(np.arange(AT_ONCE)[:, None] * seen + places)'
WRONG = {
    "channels_last": (CHANNELS_FIRST, "pass"),
    "places_first": (FILTERS_FIRST, "flat.reshape(-1)[:] = shown.reshape(-1)"),
    "no_gate": (GATE, "pass"),
    "gate_open_at_0": (GATE, GATE.replace(">", ">=")),
    "one_picture_s_for_all": (ADDED, "into = below[: layer.seen]"),
    "filters_of_other_channels": (
        "layer.start + f * depth, channels, pixels)",
        "layer.start + f * depth, pixels, channels)",
    ),
    "strides_exchanged": ("for s, n in zip(stride,", "for s, n in zip(stride[::-1],"),
    "one_picture_over_and_over": (TABLE, TABLE.replace("* seen", "* 0")),
    "sums_begin_anew": ("slopes, sums, first == 0)", "slopes, sums, True)"),
    "biases_begin_anew": (
        "_biases_of(layer, gradient), first == 0)",
        "_biases_of(layer, gradient), True)",
    ),
    "filters_not_turned": (
        "turn(sums, _weights_of(layer, gradient))",
        "_weights_of(layer, gradient).reshape(-1)[:] = sums.reshape(-1)",
    ),
    "those_that_passed_forgotten": ("at -= passed * given", "at -= count * given"),
}
"""By name: what is replaced, and by what."""
FIRST = ("strides_exchanged", "sums_begin_anew")
"""One of what is seen, and one of what is learnt from it. Each takes seconds to compile."""


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Passes]:
    """What makes a copy of the module with some of its text replaced."""
    return partial(_changed, tmp_path, monkeypatch)


def _changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str
) -> Passes:
    return Passes(changed_copy(convolution, folder, monkeypatch, name, (old, new)), name)


def check_edges(on: Passes) -> None:
    for case in EDGES:
        check(on, case)


def test_edges() -> None:
    check_edges(SHIPPED)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in FIRST else pytest.mark.slow) for name in WRONG],
)
def test_errors_are_found(name: str, changed: Callable[..., Passes]) -> None:
    on = changed(name, *WRONG[name])
    with pytest.raises(AssertionError):
        check_edges(on)


def test_a_picture_is_the_same_among_others_and_alone() -> None:
    case = small(21, 2, 2 * CHUNK + 3, 0)
    pictures = convolution.convolutions(case["shape"], case["sizes"], 1.0)
    parameters = flat(by_torch(case["shape"], case["sizes"], 0))
    transposed = np.zeros_like(parameters)
    SHIPPED.transpose(pictures, parameters, transposed)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((case["rows"], int(np.prod(case["shape"])))).astype(np.float32)
    buffer = np.zeros(len(inputs) * convolution.numbers_of(pictures), np.float32)
    together = SHIPPED.look(pictures, parameters, transposed, inputs, buffer).copy()
    for row in range(len(inputs)):
        one = SHIPPED.look(pictures, parameters, transposed, inputs[row : row + 1], buffer)
        assert one.tobytes() == together[row].tobytes()


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("hidden", [[], [9], [16, 7]])
def test_a_head_reads_what_they_show(hidden: list[int], activation: type[nn.Module]) -> None:
    case = small(21, 2, 11, 4)
    whole, net = with_head(case, hidden, 3, activation)
    values = compiled_forward(net, ONLINE, net.inputs, net.activations)
    expected = whole(torch.as_tensor(net.inputs).reshape(-1, *case["shape"]))
    assert_close(values, expected.detach().numpy())
    rows = case["rows"]
    slopes = np.random.default_rng(1).standard_normal((rows, 3)).astype(np.float32)
    compiled_backward(net, rows, len(net.inputs), slopes, net.gradient)
    (expected[:rows] * torch.as_tensor(slopes)).sum().backward()
    assert_close(net.gradient, gradients(whole))


def with_head(
    case: dict[str, Any], hidden: list[int], actions: int, activation: type[nn.Module]
) -> tuple[nn.Sequential, Network]:
    """Convolutions with a perceptron behind them, and the same as compiled code sees it."""
    shape, sizes, rows = case["shape"], case["sizes"], case["rows"] + case["more"]
    convolved = by_torch(shape, sizes, 0)
    pictures = convolution.convolutions(shape, sizes, 1.0)
    last = pictures.layers[-1]
    widths = np.array([last["filters"] * last["places"], *hidden, actions], np.int64)
    head: list[nn.Module] = []
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for n_in, n_out in zip(widths[:-1].tolist(), widths[1:].tolist(), strict=True):
            head += [nn.Linear(n_in, n_out), activation()]
    whole = nn.Sequential(convolved, *head[:-1])
    parameters = flat(whole)
    starts = np.cumsum([convolution.parameters_of(pictures), *((widths[:-1] + 1) * widths[1:])])
    room = rows * int(widths.sum() + convolution.numbers_of(pictures))
    buffers = [np.full(room, np.nan, np.float32) for _ in range(3)]
    inputs = np.random.default_rng(0).standard_normal((rows, int(np.prod(shape))))
    net = Network(
        Shape(widths, starts[:-1], TANH if activation is nn.Tanh else RELU, pictures),
        parameters,
        parameters.copy(),
        np.zeros((2, len(parameters)), np.float32),
        np.ones(2, np.int64),
        np.zeros_like(parameters),
        np.zeros_like(parameters),
        np.zeros(0, np.float32),
        np.zeros(0, np.float32),
        inputs.astype(np.float32),
        *buffers,
        np.zeros(3),
        np.zeros((2, 2, 0), np.float32),
    )
    return whole, net


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 520, -1])
def test_what_is_not_finite_comes_through_fast_math(bad: float, where: int) -> None:
    case = small(21, 2, 3, 0)
    whole, net = with_head(case, [5], 2, nn.ReLU)
    net.online[where] = bad
    at = 0
    with torch.no_grad():
        for p in whole.parameters():
            p.copy_(torch.as_tensor(net.online[at : at + p.numel()]).view_as(p))
            at += p.numel()
        expected = whole(torch.as_tensor(net.inputs).reshape(-1, *case["shape"])).numpy()
    values = compiled_forward(net, ONLINE, net.inputs, net.activations)
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(values), np.isinf(expected))
    compiled_backward(net, 3, 3, np.full((3, 2), np.nan, np.float32), net.gradient)
    assert np.isnan(net.gradient).any()


@pytest.mark.parametrize("divisor", [255.0, 1.0])
def test_every_pixel_is_seen_as_pytorch_sees_it(divisor: float) -> None:
    pixels = np.arange(256, dtype=np.uint8)
    found = np.zeros(256, np.float32)
    size = [Size(1, (1, 1), (1, 1))]
    compiled_show(convolution.convolutions((1, 16, 16), size, divisor), pixels, found)
    expected = torch.as_tensor(pixels).float()
    if divisor == 255:
        expected = expected / 255.0
    assert found.tobytes() == expected.numpy().tobytes()
    # By the reciprocal some would be seen otherwise, and be found out.
    assert (pixels * (np.float32(1) / np.float32(255)) != pixels / np.float32(255)).any()


def test_features_are_copied_as_they_are() -> None:
    given_, found = np.float32([np.nan, -0.0, 1e-40, 3]), np.zeros(4, np.float32)
    compiled_show(None, given_, found)
    assert found.tobytes() == given_.tobytes()
    assert Shape._field_defaults["pictures"] is None
