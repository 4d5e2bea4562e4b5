"""What the parts of an agent do within a gradient step: a list of operations, hook by hook.

The list is made by :mod:`continual_arcade.agents.engines.binding` of whatever the parts declare.
Compiled code walks through it, and knows of no method more than the addresses of its functions.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable

from continual_arcade.agents.kernels.inner import inner, numbered

HOOKS = (
    "before_update",
    "on_td_gradient",
    "loss",
    "add_gradient",
    "project",
    "project_update",
    "constrain",
    "interpolate",
    "after_update",
)
"""The hooks of a gradient step, in their order; see :mod:`continual_arcade.agents.methods.base`."""
(
    BEFORE_UPDATE,
    ON_TD_GRADIENT,
    LOSS,
    ADD_GRADIENT,
    PROJECT,
    PROJECT_UPDATE,
    CONSTRAIN,
    INTERPOLATE,
    AFTER_UPDATE,
) = numbered(len(HOOKS))

CALL, REPLAYED_SLOPE, COMPARED_SLOPE, KEPT_SLOPE, KEPT_GRADIENT, MIXTURE, DRAW_BACK = range(7)
"""Kinds of operations: call the function of a part; add the gradient of a loss that a part says by
its slope by the values, of the batch, beside what replay holds or other parameters say, or of
states that it keeps; compute the gradients of the TD loss of transitions that a part keeps; add a
mixture of such gradients to a vector; draw the parameters back, as a plan says."""
OF_BATCH = (REPLAYED_SLOPE, COMPARED_SLOPE)
"""Those whose values are those of the batch, which have just been computed."""

OPERATION = np.dtype(
    [
        (name, np.int64)
        for name in (
            "kind",
            "only_measured",
            "function",
            "record",
            "number",
            "source",
            "condition",
        )
    ]
)
"""One operation: its kind, whether it is for measured steps only, addresses of a C function and of
its record, where the numbers of the part begin, which source it draws from or which other
parameters it compares with, and which number must not be 0 for it (-1 for none)."""

SOURCE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "count",
            "batch",
            "memories",
            "ends",
            "observations",
            "actions",
            "rewards",
            "next_observations",
            "dones",
            "discounts",
            "values",
            "result",
            "state",
            "next_uint32",
            "next_double",
        )
    ]
)
"""What a part keeps of finished phases: how many rows, how many of a batch (0 for all), how many
memories they are, and the address of where each of these ends; addresses of columns (0 for those
that it does not have), of the vectors that are filled, one after the other for each memory, and the
stream that it is drawn with."""

COMPARED = np.dtype([(name, np.int64) for name in ("parameters", "transposed", "stale", "since")])
"""Other parameters of the network, with which a loss compares: the addresses of the vector (0 while
there is none) and of a transposed copy, whether the copy is out of date, and which number says the
first phase whose states have a part in it."""


class Program(NamedTuple):
    """What the parts do in a gradient step."""

    operations: npt.NDArray[Any]
    """Of type ``OPERATION``, hook by hook, and within a hook in the order of the parts."""
    starts: npt.NDArray[np.int64]
    """Where the operations of each hook begin, shape ``(hooks + 1,)``."""
    sources: npt.NDArray[Any]
    """Of type ``SOURCE``."""
    compared: npt.NDArray[Any]
    """Of type ``COMPARED``."""
    apart: bool
    """Whether a part looks at the gradient of the TD loss alone, so that those of other losses of
    the batch are not computed with it."""
    numbers: npt.NDArray[np.float64]
    """Settings and plain numbers of all parts, part by part; the first two of each are the TD loss
    and the learning rate."""
    deferring: npt.NDArray[np.int64]
    """Which numbers keep the target network waiting as long as they are not 0."""
    sharpening: npt.NDArray[np.int64]
    """Which number says how sharp the gates of the network are in a gradient step, if one does."""


@inner()
def defers_target(program: Any) -> bool:
    """Return whether a part keeps the target network waiting."""
    for i in program.deferring:  # noqa: SIM110  # compiled code has no any()
        if program.numbers[i] != 0.0:
            return True
    return False


@register_jitable
def is_plan(draws: Any, current: Any, count: int) -> bool:
    """Return whether each step learns from something that there is.

    Args:
        draws: Which draw each step learns from.
        current: Whether it learns from the current transitions.
        count: How many draws there are.
    """
    for step in range(len(draws)):
        is_drawn = draws[step] >= 0
        if draws[step] < -1 or draws[step] >= count or not (is_drawn or current[step] != 0.0):
            return False
    return True
