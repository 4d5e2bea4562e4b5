"""The metrics of continual reinforcement learning, in named variants, as functions of one run.

What is missing or undefined is NaN and says why; negative values are never clipped.
"""

from continual_arcade.evaluation.metrics.adaptation import adaptation_times
from continual_arcade.evaluation.metrics.catalogue import METRICS, measure
from continual_arcade.evaluation.metrics.results import Context, Metric, Result

__all__ = ["METRICS", "Context", "Metric", "Result", "adaptation_times", "measure"]
