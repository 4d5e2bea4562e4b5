"""A metric of your own: the score in the worst phase met so far, over a run."""

from math import nan
from pathlib import Path

import numpy as np
import tyro

from continual_arcade.evaluation import Record, Run
from continual_arcade.evaluation.metrics import Context, Metric, Result, measure


def worst_met(record: Record, context: Context) -> Result:
    """Take the lowest mean of the phases met so far, and the mean of that over all steps."""
    if reason := record.why_no_end(0) or record.why_no_end(-1):
        return Result(nan, reason)
    first = np.array(record.learnt()) - 1  # the phase of training in which each was met
    met = first <= np.maximum(record.stages, 0)[:, np.newaxis]  # (evaluations, phases played)
    if (missing := np.argwhere(met & np.isnan(record.means))).size:
        return Result(nan, record.why_missing(*missing[0]))
    worst = np.where(met, record.means, np.inf).min(axis=1)
    return Result(float(np.trapezoid(worst, record.steps) / np.ptp(record.steps)))


METRIC = Metric(
    name="worst-met@lifetime",
    title="Worst phase met so far, over the lifetime",
    better="higher",
    formula="(1/s(T)) ∫ min over the j met until t of p(t, j) dt",
    source="ours; trapezoid rule",
    compute=worst_met,
)

if __name__ == "__main__":
    for run in map(Run.load, tyro.cli(tyro.conf.Positional[list[Path]])):
        known = measure(run.scores, ["worst-phase@end", "acc@gem"])
        for name, result in {METRIC.name: METRIC.compute(run.scores, Context()), **known}.items():
            print(f"{run.method:10} {run.seed} {name:18} {result.value:5.1f} {result.reason}")
