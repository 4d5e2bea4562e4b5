"""All metrics by name."""

from collections.abc import Mapping, Sequence

from continual_arcade.envs.messages import unknown
from continual_arcade.evaluation.metrics import (
    adaptation,
    forgetting,
    l2m,
    performance,
    plasticity,
    stability,
    transfer,
)
from continual_arcade.evaluation.metrics.results import Context, Metric, Result
from continual_arcade.evaluation.record import Record

_MODULES = (performance, forgetting, transfer, stability, plasticity, adaptation, l2m)

METRICS: Mapping[str, Metric] = {
    metric.name: metric for module in _MODULES for metric in module.METRICS
}
"""In the order in which a reader wants them."""

NOTHING = Context()


def measure(
    record: Record, names: Sequence[str] | None = None, context: Context = NOTHING
) -> dict[str, Result]:
    """Return what metrics say of one run.

    Args:
        record: The evaluations of the run, on any scale.
        names: Which metrics, in which order; all if not given.
        context: What some of them need, on the same scale as the record.

    Raises:
        ValueError: If there is no such metric, or the context is that of other phases.
    """
    chosen = METRICS if names is None else names
    for name in chosen:
        if name not in METRICS:
            raise ValueError(unknown("metric", name, METRICS))
    return {name: METRICS[name].compute(record, context) for name in chosen}
