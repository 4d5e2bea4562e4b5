"""A method as its file gives it: what is added to a DQN, and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """The settings of a method that comes with the suite; ``PRESETS`` of a file holds them.

    Learning rates and strengths are the best of a search with as many trials for each method, over
    runs of both games; see docs/results.md and studies/shipped/presets.toml.
    """

    name: str
    text: str
    """What it is."""
    source: str = ""
    """Where it comes from: paper and place."""
    replay: str = "fifo"
    """Kind of replay, such as ``mix:long_term_fraction=0.25``."""
    parts: tuple[str, ...] = ()
    """Parts, such as ``ewc:lam=100``."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the learner that belong to the method."""
    remembers_all: bool = False
    """Whether replay is to hold a whole run."""
    interleaved: bool = False
    """Whether all phases are trained in at once, in turns, instead of one after the other."""
