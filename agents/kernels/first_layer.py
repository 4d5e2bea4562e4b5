"""What the first layer of a network is given: observations, or what convolutions see in them.

Which of the two is known when it is compiled, by the type of the first argument: the convolutions,
or None (the frames that observations are put together from, or None). So one takes nothing from
the other.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from continual_arcade.agents.kernels.activations import RELU
from continual_arcade.agents.kernels.convolution import (
    look,
    shown_in,
    through_look,
    transpose_filters,
)
from continual_arcade.agents.kernels.frames import frame_at
from continual_arcade.agents.kernels.inner import inner
from continual_arcade.agents.kernels.layout import units_of, weights_of
from continual_arcade.agents.kernels.pieces import matrix_in
from continual_arcade.agents.kernels.products import through_layer


def refresh_filters(pictures: Any, parameters: Any, transposed: Any) -> None:
    """Bring the transposed filters of convolutions up to date."""
    raise NotImplementedError


def first_inputs(
    pictures: Any, shape: Any, parameters: Any, transposed: Any, inputs: Any, buffer: Any
) -> Any:
    """Return what the first layer is given for some observations.

    Args:
        pictures: The convolutions, or None.
        shape: Of the network.
        parameters: Of the network.
        transposed: Its transposed weights.
        inputs: The observations, shape ``(rows, numbers)``.
        buffer: Filled with what convolutions give, behind what the layers will.
    """
    raise NotImplementedError


def inputs_again(pictures: Any, net: Any, rows: int, passed: int) -> Any:
    """Return what the first layer was given for the first rows of those that passed."""
    raise NotImplementedError


def through_pictures(
    pictures: Any, net: Any, rows: int, passed: int, delta: Any, free: Any, gradient: Any
) -> None:
    """Compute the gradient of the convolutions, if there are any.

    Args:
        pictures: The convolutions, or None.
        net: The network.
        rows: Observations that have a part in it.
        passed: Observations that passed.
        delta: Derivatives by what the first layer gave, before its activation.
        free: Where there is room for those by what it was given, among ``net.deltas``.
        gradient: Filled, shape ``(parameters,)``.
    """
    raise NotImplementedError


def show(pictures: Any, observation: Any, inputs: Any) -> None:
    """Put an observation, as it is remembered, into a row of the inputs of a network.

    Pixels are divided as Stable-Baselines3's ``preprocess_obs`` divides them.

    Args:
        pictures: The convolutions, or None.
        observation: The observation, shape ``(numbers,)``.
        inputs: Filled, of the same shape.
    """
    raise NotImplementedError


def show_kept(frames: Any, pictures: Any, source: Any, which: int, index: int, inputs: Any) -> None:
    """Put an observation of a transition into a row of the inputs of a network.

    Args:
        frames: The frames that observations are put together from; None if there are none.
        pictures: The convolutions, or None.
        source: Transitions, a memory or completed ones.
        which: 0 for where the transition begins, 1 for where it ends.
        index: Which transition.
        inputs: Filled, shape ``(numbers,)``.
    """
    raise NotImplementedError


@overload(refresh_filters, strict=False)
def _refresh_filters(pictures: Any, parameters: Any, transposed: Any) -> Any:
    if isinstance(pictures, types.NoneType):
        return lambda pictures, parameters, transposed: None
    return lambda pictures, parameters, transposed: transpose_filters(
        pictures, parameters, transposed
    )


@overload(first_inputs, strict=False)
def _first_inputs(
    pictures: Any, shape: Any, parameters: Any, transposed: Any, inputs: Any, buffer: Any
) -> Any:
    if isinstance(pictures, types.NoneType):
        return lambda pictures, shape, parameters, transposed, inputs, buffer: inputs

    def shown(
        pictures: Any, shape: Any, parameters: Any, transposed: Any, inputs: Any, buffer: Any
    ) -> Any:
        behind = buffer[len(inputs) * units_of(shape) :]
        return look(pictures, parameters, transposed, inputs, behind)

    return shown


@overload(inputs_again, strict=False)
def _inputs_again(pictures: Any, net: Any, rows: Any, passed: Any) -> Any:
    if isinstance(pictures, types.NoneType):
        return lambda pictures, net, rows, passed: net.inputs[:rows]

    def shown(pictures: Any, net: Any, rows: Any, passed: Any) -> Any:
        return shown_in(pictures, passed, net.activations[passed * units_of(net.shape) :])[:rows]

    return shown


@overload(through_pictures, strict=False)
def _through_pictures(
    pictures: Any, net: Any, rows: Any, passed: Any, delta: Any, free: Any, gradient: Any
) -> Any:
    if isinstance(pictures, types.NoneType):
        return lambda pictures, net, rows, passed, delta, free, gradient: None

    def back(
        pictures: Any, net: Any, rows: Any, passed: Any, delta: Any, free: Any, gradient: Any
    ) -> None:
        seen = net.activations[passed * units_of(net.shape) :]
        x = shown_in(pictures, passed, seen)[:rows]
        deltas = matrix_in(net.deltas, free, rows, x.shape[1])
        through_layer(delta, weights_of(net.shape, net.online, 0), x, deltas, RELU)
        through_look(pictures, net.online, net.inputs[:rows], seen, passed, deltas, gradient)

    return back


@overload(show, strict=False)
def _show(pictures: Any, observation: Any, inputs: Any) -> Any:
    if isinstance(pictures, types.NoneType):

        def copied(pictures: Any, observation: Any, inputs: Any) -> None:
            for j in range(len(inputs)):
                inputs[j] = observation[j]

        return copied

    def divided(pictures: Any, observation: Any, inputs: Any) -> None:
        divisor = pictures.divisor
        for j in range(len(inputs)):
            inputs[j] = np.float32(observation[j]) / divisor

    return divided


@overload(show_kept, strict=False)
def _show_kept(frames: Any, pictures: Any, source: Any, which: int, index: int, inputs: Any) -> Any:
    if isinstance(frames, types.NoneType):
        return lambda frames, pictures, source, which, index, inputs: _show_whole(
            pictures, source, which, index, inputs
        )

    def put_together(
        frames: Any, pictures: Any, source: Any, which: int, index: int, inputs: Any
    ) -> None:
        size = len(frames.weights)
        if len(frames.shown) == 0:
            _show_whole(pictures, source, which, index, inputs)
            return
        for channel in range(frames.shown.shape[2]):
            frame = frame_at(frames, np.int64(frames.shown[index, which, channel]))
            show(pictures, frame, inputs[channel * size : (channel + 1) * size])

    return put_together


@inner()
def _show_whole(pictures: Any, source: Any, which: int, index: int, inputs: Any) -> None:
    if which == 0:
        show(pictures, source.observations[index], inputs)
    else:
        show(pictures, source.next_observations[index], inputs)
