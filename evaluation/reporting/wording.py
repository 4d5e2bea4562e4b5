"""How numbers are written, and what they are called."""

from collections.abc import Iterable, Mapping, Sequence
from math import isnan

from continual_arcade.evaluation.pages.content import Number
from continual_arcade.evaluation.statistics import Estimate

PLAYED, TRAINED = "phase played", "after training in"
"""What the rows and the columns of a forgetting matrix are, drawn or filmed."""
EMPTY = "\N{EN DASH}"
"""What stands where there is no number."""

INTERVALS = (
    "Mean over runs with its 95 % confidence interval: Student's t for fewer than ten runs, the "
    "accelerated bootstrap of whole runs for more. Each run counts as one number."
)


def counted(count: int, noun: str) -> str:
    """Write how many there are: ``1 run``, ``2 runs``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(names: Iterable[str]) -> str:
    """Write names as a sentence lists them: ``a``, ``a and b``, ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def spoken(value: float, spec: str) -> str:
    """Write a number for those who do not see the picture."""
    return "not known" if isnan(value) else f"{value:{spec}}"


def without(missing: Mapping[str, str]) -> str:
    """Say which methods a chart lacks.

    Args:
        missing: Why, by label.
    """
    return "".join(f" Without {label}: {reason}." for label, reason in missing.items())


class Notes:
    """Collects why cells are empty, each reason once."""

    def __init__(self) -> None:
        self._of_reason: dict[str, list[str]] = {}
        self._remarks: list[str] = []

    def cell(self, estimate: Estimate, spec: str, where: str) -> str:
        """Write an estimate; where there is none, remember why.

        Args:
            estimate: What to write.
            spec: Format of its numbers.
            where: What the cell is of.
        """
        if isnan(estimate.value):
            self.add(where, estimate.reason)
        text = EMPTY if isnan(estimate.value) else f"{estimate:{spec}}"
        return Number(text, estimate.value, (estimate.low, estimate.high))

    def number(self, value: float, spec: str, reason: str, where: str) -> str:
        """Write a number, or remember why there is none."""
        if isnan(value):
            self.add(where, reason)
        return Number(EMPTY if isnan(value) else f"{value:{spec}}", value)

    def add(self, where: str, reason: str) -> None:
        """Remember why something is missing."""
        places = self._of_reason.setdefault(reason or "it was not measured", [])
        if where not in places:
            places.append(where)

    def remark(self, where: str, note: str) -> None:
        """Remember what must be known beside a number."""
        self._remarks.append(f"{where}: {note}")

    def lines(self) -> tuple[str, ...]:
        """Return a footnote for each reason, then the remarks."""
        reasons = (f"{EMPTY} {_places(at)}: {reason}" for reason, at in self._of_reason.items())
        return (*reasons, *self._remarks)


def _places(places: Sequence[str], shown: int = 4) -> str:
    more = f" and {len(places) - shown} more" if len(places) > shown else ""
    return ", ".join(places[:shown]) + more
