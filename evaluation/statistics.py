"""What several runs say together, and how sure that is."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean over runs with its confidence interval."""

    mean: float
    half_width: float
    """Half the width of the interval; NaN for fewer than two runs."""
    runs: int

    def __format__(self, spec: str) -> str:
        """Format both numbers (``"+.1f"``: ``+3.2 ± 1.1``), or a dash where there is none."""
        if np.isnan(self.mean):
            return "-"
        if np.isnan(self.half_width):
            return f"{self.mean:{spec}}"
        return f"{self.mean:{spec}} ± {self.half_width:{spec.removeprefix('+')}}"


def mean_over_runs(values: npt.ArrayLike, confidence: float = 0.95) -> Estimate:
    """Estimate a mean from one number for each run, with Student's t interval.

    The runs are the sample: episodes of one run are no independent evidence about a method, and are
    to be averaged before they come here.

    Args:
        values: One number for each run, shape ``(runs,)``; all NaN where a run has no such number.
        confidence: Share of such intervals that hold the true mean, if runs are normal.

    Raises:
        ValueError: If some runs have the number and others do not, or there is no run.
    """
    sample = np.asarray(values, np.float64)
    if sample.ndim != 1 or not sample.size:
        raise ValueError(f"one number for each run is needed, not an array of {sample.shape}")
    missing = np.isnan(sample)
    if missing.any() and not missing.all():
        raise ValueError(f"{missing.sum()} of {sample.size} runs lack the number")
    half = np.nan
    if sample.size > 1:
        t = float(stats.t.ppf(0.5 + confidence / 2, sample.size - 1))
        half = t * float(sample.std(ddof=1)) / sample.size**0.5
    return Estimate(float(sample.mean()), half, sample.size)
