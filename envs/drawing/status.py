"""What is said over a picture."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Status:
    """What the heads-up display says."""

    score: float
    lifetime_step: int | None
    """None where it is not to be said."""
    phase: int = 0
    phases: int = 1
    """Number of phases of the schedule."""
    phase_name: str = ""
    params: dict[str, str] = field(default_factory=dict)
    """What is special about this phase, with units: ``{"gap": "95 px"}``."""
    title: str = ""
    """Who plays, if there is anything to say about it."""


@dataclass(frozen=True)
class Notice:
    """What is said over the picture of a game that waits."""

    heading: str
    lines: tuple[str, ...] = ()
