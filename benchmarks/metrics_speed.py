"""How long all metrics of one run take, on one core.

Run it as ``python benchmarks/metrics_speed.py``. Six phases of five evaluations each, 20 episodes,
with references and five single-phase runs for each phase; processor time, so that others on the
machine do not count. The promise is 1,000 runs in 6 s.
"""

import time

import numpy as np

from continual_arcade.envs import Schedule, make_game, shipped
from continual_arcade.evaluation import Record, Timetable
from continual_arcade.evaluation.metrics import Context, measure
from continual_arcade.evaluation.references import Scale

RUNS = 1_000
EPISODES = 20


def drawn(schedule: Schedule, generator: np.random.Generator) -> Record:
    """Draw a life at random."""
    due = Timetable(schedule, every=5_000).due
    shape = (len(due), len(schedule.distinct), EPISODES)
    steps, stages = (np.array(column) for column in zip(*due, strict=True))
    return Record(schedule, generator.uniform(0, 47, shape), steps, stages)


def main() -> None:
    """Measure and print."""
    generator = np.random.default_rng(0)
    for name in ("shrink", "cycle"):
        schedule = shipped(name, make_game("FlappyBird"))
        count = len(schedule.distinct)
        alone = {
            column: [
                drawn(Schedule("alone", (schedule.stretches[phase.index],)), generator)
                for _ in range(5)
            ]
            for column, phase in enumerate(schedule.distinct)
        }
        context = Context(Scale(np.zeros(count), np.full(count, 47.0)), alone)
        records = [drawn(schedule, generator) for _ in range(RUNS)]
        began = time.process_time()
        for record in records:
            measure(record, context=context)
        taken = (time.process_time() - began) / RUNS
        print(f"{name}: {1e3 * taken:.2f} ms a run, {len(records[0].steps)} evaluations")


if __name__ == "__main__":
    main()
