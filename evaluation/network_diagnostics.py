"""The tidy table of network diagnostics: what probes measured at each evaluation."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol

from continual_arcade.evaluation.csv_table import TidyTable
from continual_arcade.evaluation.experience import Experience

ALL = -1
"""``phase`` of what was measured over all phases; ``other_phase`` where there is no other."""

OVERLAP = "fisher_overlap_layer_"
"""What the overlaps of Fisher informations are called, followed by the number of the layer."""


class Reading(NamedTuple):
    """One number that a probe has measured."""

    quantity: str
    """What was measured, such as ``dormant_share``."""
    value: float
    """NaN where it is undefined."""
    phase: int = ALL
    """Index of the phase whose transitions it was measured on."""
    other_phase: int = ALL
    """Index of the phase it was compared with."""


class Probe(Protocol):
    """Measures a model, without changing it and without drawing random numbers."""

    def measure(self, model: Any, experience: Experience) -> Iterable[Reading]:
        """Measure a model on transitions that it has just been evaluated on."""
        ...


@dataclass(frozen=True)
class Diagnostic:
    """One row."""

    run: str
    """Name of the run."""
    seed: int
    """Seed of the run."""
    lifetime_step: int
    """Training so far [lifetime steps]."""
    trained_phase: int
    """Index of the phase that it was or had just been trained in; -1 before training."""
    quantity: str
    """What was measured."""
    phase: int
    """Index of the phase whose transitions it was measured on; -1 for all."""
    other_phase: int
    """Index of the phase it was compared with; -1 if with none."""
    value: float
    """NaN, and nothing in the file, where it is undefined."""


COLUMNS = [field.name for field in fields(Diagnostic)]

_TABLE = TidyTable[Diagnostic](
    name="table of diagnostics",
    row="reading",
    columns=tuple(COLUMNS),
    texts=frozenset({"run", "quantity"}),
    keys=("run", "lifetime_step", "trained_phase", "quantity", "phase", "other_phase"),
    undefined=frozenset({"value"}),
)


def rows(
    readings: Iterable[Reading], *, run: str, seed: int, step: int, trained_phase: int
) -> list[Diagnostic]:
    """Turn readings of one evaluation into rows.

    Args:
        readings: What the probes have measured.
        run: Name of the run.
        seed: Seed of the run.
        step: Training so far [lifetime steps].
        trained_phase: Index of the phase that it was trained in; -1 if in none.
    """
    return [
        Diagnostic(
            run=run,
            seed=seed,
            lifetime_step=step,
            trained_phase=trained_phase,
            quantity=reading.quantity,
            phase=reading.phase,
            other_phase=reading.other_phase,
            value=float(reading.value),
        )
        for reading in readings
    ]


append, read = _TABLE.append, _TABLE.read
