"""How numbers are written, and what they are called."""

from collections.abc import Iterable, Mapping, Sequence
from math import isnan

from continual_arcade.evaluation.bounded import AtEnd
from continual_arcade.evaluation.policies import Network
from continual_arcade.evaluation.statistics import Estimate
from continual_arcade.reports.pages.page_model import Number

PLAYED, TRAINED = "phase played", "after training in"
"""What the rows and the columns of a forgetting matrix are, drawn or filmed."""
EMPTY = "\N{EN DASH}"
"""What stands where there is no number."""

MARKS = {"cap": "^", "floor": "_"}
"""What stands behind a mean whose runs are mostly at an end of what a score can be."""

ENDS = (
    f"{MARKS['cap']} at least half of the runs are at the cap, {MARKS['floor']} at the floor: "
    "what the others may do is hardly known."
)

INTERVALS = (
    "Mean over runs with its 95 % interval, which stays within what a score can be, where that is "
    f"known (docs/statistics.md). Each run counts as one number. {ENDS}"
)

UNSEEN = (
    "Near the floor or the cap p can be small where the interval, which allows for rare runs that "
    "were not seen, holds 0."
)
"""How p and the interval of a difference can say different things."""


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
        self._of_end: dict[str, list[str]] = {}
        self._remarks: list[str] = []

    def cell(self, estimate: Estimate, spec: str, where: str) -> str:
        """Write an estimate; where there is none, remember why; mark runs at an end of the range.

        Args:
            estimate: What to write.
            spec: Format of its numbers.
            where: What the cell is of.
        """
        if isnan(estimate.value):
            self.add(where, estimate.reason)
        text = EMPTY if isnan(estimate.value) else f"{estimate:{spec}}"
        if estimate.at_end is not None:
            mark = MARKS[estimate.at_end.end]
            _remember(self._of_end, f"{mark} {at_end(estimate.at_end)}", where)
            text = f"{text} {mark}"
        return Number(text, estimate.value, (estimate.low, estimate.high))

    def number(self, value: float, spec: str, reason: str, where: str) -> str:
        """Write a number, or remember why there is none."""
        if isnan(value):
            self.add(where, reason)
        return Number(EMPTY if isnan(value) else f"{value:{spec}}", value)

    def add(self, where: str, reason: str) -> None:
        """Remember why something is missing."""
        _remember(self._of_reason, reason or "it was not measured", where)

    def remark(self, where: str, note: str) -> None:
        """Remember what must be known beside a number."""
        self._remarks.append(f"{where}: {note}")

    def lines(self) -> tuple[str, ...]:
        """Return a footnote for each reason and each number of runs at an end, then the remarks."""
        reasons = (f"{EMPTY} {_places(at)}: {reason}" for reason, at in self._of_reason.items())
        ends = (f"{said}: {_places(at)}" for said, at in self._of_end.items())
        return (*reasons, *ends, *self._remarks)


def at_end(found: AtEnd) -> str:
    """Say how many runs are at an end of the range of a score, and how sure their share is."""
    return (
        f"{found.count} of {counted(found.runs, 'run')} at the {found.end} "
        f"(95 % interval of their share: {100 * found.low:.0f} to {100 * found.high:.0f} %)"
    )


def _remember(places: dict[str, list[str]], said: str, where: str) -> None:
    of_same = places.setdefault(said, [])
    if where not in of_same:
        of_same.append(where)


def _places(places: Sequence[str], shown: int = 4) -> str:
    more = f" and {len(places) - shown} more" if len(places) > shown else ""
    return "; ".join(places[:shown]) + more


def played_by(networks: Mapping[str, Network]) -> str:
    """Say by which weights agents play in their evaluations.

    Args:
        networks: The weights, by the name of a method or run.
    """
    words = {"average": "the average of their weights along the way", "last": "their last weights"}
    kinds = set(networks.values())
    if len(kinds) == 1:
        return f"Agents play by {words[kinds.pop()]}."
    of = {
        kind: ", ".join(name for name, each in networks.items() if each == kind) for kind in words
    }
    return f"{of['average']} play by {words['average']}, {of['last']} by {words['last']}."
