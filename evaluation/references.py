"""What numbers are measured against: a zero and a one for each phase."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """A zero (a random player) and a one (the oracle) for each column of a record."""

    zero: Floats
    """Shape ``(phases played,)``, NaN where there is none."""
    one: Floats
    """Likewise."""
    reason: str = ""
    """Why there is none, where there is none."""
