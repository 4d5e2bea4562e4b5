"""What a metric is, what it takes and what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Literal

from continual_arcade.evaluation.record import Record
from continual_arcade.evaluation.references import Scale

Levels = tuple[float, float]
"""Two scores of which a change is the difference: the second is subtracted from the first."""


@dataclass(frozen=True)
class Result:
    """The value of a metric for one run."""

    value: float
    """NaN if it is undefined."""
    reason: str = ""
    """Why it is NaN; empty if it is not."""
    note: str = ""
    """What a reader must know besides the value."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """What it is the mean of, by name of the phase, or of the pair: ``gap 90 -> gap 80`` is what
    training in the first did to the second. May hold NaN."""
    levels: Levels | None = None
    """If the value is a difference of two scores, or a mean of such differences: of which."""

    def __post_init__(self) -> None:
        if isnan(self.value) != bool(self.reason):
            raise ValueError(
                f"a result is NaN for a reason, and only then: {self.value}, {self.reason!r}"
            )


@dataclass(frozen=True)
class Context:
    """What a metric may need besides the run, on the same scale as its record."""

    references: Scale | None = None
    """Zero and one of each column."""
    baselines: Mapping[int, Sequence[Record]] | None = None
    """For each column, single-task runs: new agents that were trained in that phase alone, for as
    many steps as it lasts in its first exposure."""


Compute = Callable[[Record, Context], Result]

Possible = Literal["level", "change", "ratio", "contrast", "wait", ""]
"""What the values of a metric can be, by what they are: a ``level`` rises, or falls, with every
score, so that a run of highest scores has one end of its range and a run of lowest ones the
other; a ``change`` is a difference of two levels; a ``ratio`` is that of two scores, and a
``contrast`` is between -1 and 1, if no score is negative; a ``wait`` is no longer than a phase.
Empty: nothing is known."""


@dataclass(frozen=True)
class Metric:
    """A variant of a metric. Its name says what it is and whose: ``bwt@gem``."""

    name: str
    title: str
    better: Literal["higher", "lower", "zero", ""]
    """Which values are the good ones."""
    formula: str
    """In one line; ``docs/metrics.md`` explains the letters."""
    source: str
    """The paper, and where its code or ours differs."""
    compute: Compute
    needs: frozenset[str] = frozenset()
    """What must be in the context: ``"references"``, ``"baselines"``."""
    possible: Possible = ""
    """What its values can be, for intervals of their means."""
