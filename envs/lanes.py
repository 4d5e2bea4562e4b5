"""Where the state of many games lies: blocks of lanes, field by field.

A *lane* is one running game. A *block* holds a fixed number of lanes, with the values of one field
side by side, so that a loop over the lanes of a block works on whole vector registers. A batch is
an array of blocks of :data:`LANES` lanes; a single environment is one block of one lane, run by the
same rules.
"""

from collections.abc import Mapping

import numpy as np

LANES = 64
"""Lanes of a block in a batch: 64 float64 values of a field are eight 512-bit registers."""

DRAW = 1
"""Event bit: the lane needs a random draw before it can be observed."""

OVER = 2
"""Event bit: the episode of the lane is over by the rules of the game (terminated)."""


def block_dtype(
    lane_fields: Mapping[str, tuple[int, ...]],
    constants: tuple[str, ...],
    num_features: int,
    lanes: int,
) -> np.dtype[np.void]:
    """Describe one block.

    Args:
        lane_fields: The game's own fields, with their shape per lane; all are float64, which holds
            the reference's integers and floats exactly.
        constants: Names of what all lanes share (field size, rewards), one float64 each.
        num_features: Number of features the game observes.
        lanes: Lanes of a block.
    """
    dtype = np.dtype(
        [
            *((name, np.float64) for name in constants),
            ("random", np.uint64, (lanes,)),
            ("action", np.float64, (lanes,)),
            ("reward", np.float64, (lanes,)),
            ("event", np.int64, (lanes,)),
            ("score", np.float64, (lanes,)),
            ("steps", np.float64, (lanes,)),
            *((name, np.float64, (*shape, lanes)) for name, shape in lane_fields.items()),
            ("features", np.float32, (num_features,)),
        ]
    )
    # Compiled code knows the object again, and looks up any other one, equal or not, at each call.
    return _DTYPES.setdefault(dtype, dtype)


_DTYPES: dict[np.dtype[np.void], np.dtype[np.void]] = {}
