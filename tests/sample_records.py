"""Runs of which every metric was worked out by hand, and runs drawn at random."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from tables import gaps, matrix_cells, record_of

from continual_arcade.envs import Schedule
from continual_arcade.evaluation import Record, Timetable
from continual_arcade.evaluation.metrics import Context
from continual_arcade.evaluation.references import Scale

A, B, C = "gap 100", "gap 90", "gap 80"


def from_rows(schedule: Schedule, rows: Sequence[Sequence[float]]) -> Record:
    """Evaluated before training and at each phase end, in one episode."""
    return record_of(schedule, matrix_cells(schedule, rows))


def from_curves(schedule: Schedule, *curves: Sequence[float]) -> Record:
    """Each column of the same length, evaluated before training and evenly in all phases."""
    each, rest = divmod(len(curves[0]) - 1, len(schedule))
    every, more = divmod(schedule.total_steps, len(curves[0]) - 1)
    assert rest == more == 0, "the evaluations do not fall on the phase ends"
    cells = {
        (step * every, (step - 1) // each if step else -1): [[curve[step]] for curve in curves]
        for step in range(len(curves[0]))
    }
    return record_of(schedule, cells)


# Three phases, each harder. Rows: before training, then after each phase.
THREE = from_rows(gaps(100, 90, 80), [[1, 2, 4], [10, 6, 5], [12, 20, 8], [7, 14, 30]])

# Two phases of 100 steps, evaluated every 20.
TWO = from_curves(
    gaps(100, 90), [0, 2, 4, 6, 8, 10, 9, 1, 3, 5, 7], [1, 1, 2, 3, 4, 5, 10, 20, 30, 40, 50]
)
SCALE = Scale(np.array([0.0, 0.0]), np.array([10.0, 50.0]))
ALONE = {
    0: [from_curves(gaps(100), [0, 2, 4, 6, 8, 10])],
    1: [from_curves(gaps(90), [0, 0, 10, 40, 30, 20])],
}
TWO_CONTEXT = Context(SCALE, ALONE)

# A, B, A, B, A; one evaluation in the middle of the third phase.
CYCLE = record_of(
    gaps(100, 90, 100, 90, 100),
    {
        (0, -1): [[0], [0]],
        (100, 0): [[10], [2]],
        (200, 1): [[4], [8]],
        (250, 2): [[10], [5]],
        (300, 2): [[12], [5]],
        (400, 3): [[6], [6]],
        (500, 4): [[9], [2]],
    },
)

ORDERS = ((100, 90, 80), (100, 90, 100), (100, 90, 80, 100, 90, 80, 100), (100, 100, 90), (100,))


@st.composite
def cases(draw: st.DrawFn, low: int = 1) -> tuple[Record, Context]:
    """Any run with all that metrics need: six evaluations in each phase, references, baselines."""
    schedule = gaps(*draw(st.sampled_from(ORDERS)))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    at_end = draw(st.integers(1, 3))

    def record(schedule: Schedule) -> Record:
        due = Timetable(schedule, every=20, at_end=2, spacing=7).due
        values = generator.integers(low, 48, (len(due), len(schedule.distinct), 2)).astype(float)
        steps, stages = np.array([d.step for d in due]), np.array([d.stage for d in due])
        return Record(schedule, values, steps, stages, at_end)

    found = record(schedule)
    count = len(found.phases)
    scale = Scale(generator.uniform(-5, low, count), generator.uniform(30, 60, count))
    baselines = {
        column: [record(Schedule("alone", (schedule.phases[phase.index],))) for _ in range(2)]
        for column, phase in enumerate(schedule.distinct)
    }
    return found, Context(scale, baselines)
