"""What an agent takes and keeps, at each evaluation: parameters, memory, and observations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from continual_arcade.evaluation.csv_table import TidyTable


@dataclass(frozen=True)
class Footprint:
    """What an agent holds at one evaluation."""

    lifetime_step: int
    """Training so far [lifetime steps]."""
    parameters: float
    """Numbers of the network that is evaluated, frozen ones among them."""
    network_bytes: float
    """All networks that are kept, and the state of the optimiser [bytes]."""
    replay_bytes: float
    """Replay, with all the room that it was given; of frames, what they have taken [bytes]."""
    method_bytes: float
    """What the method keeps beside that from one gradient step to the next [bytes]."""
    earlier_observations: float
    """Observations of earlier phases that are kept as they were seen, in replay and beside it; NaN
    where replay does not say of which phase they are."""


Measure = Callable[[Any], Mapping[str, float]]
"""Says what an agent holds: the fields of a footprint, but for the step."""

COLUMNS = [field.name for field in fields(Footprint)]

_TABLE = TidyTable[Footprint](
    name="table of footprints",
    row="evaluation",
    columns=tuple(COLUMNS),
    texts=frozenset(),
    keys=("lifetime_step",),
    undefined=frozenset({"earlier_observations"}),
)

append, read = _TABLE.append, _TABLE.read
