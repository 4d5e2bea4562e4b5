"""When and how an agent explores."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.checks import Share, check_fields

EpsilonRule = Literal["global", "per_phase", "constant"]


@dataclass(frozen=True)
class Exploration:
    """Epsilon-greedy exploration for one long run.

    Each sub-environment tosses a coin of its own. An exploratory action is drawn from ``prior``: to
    flap with probability 1/2, as a uniform choice does, keeps a bird at the ceiling, where it never
    meets a pipe.

    Raises:
        ValueError: If the prior is no distribution, or there is no such rule.
    """

    epsilon: EpsilonRule = "global"
    """How epsilon goes from ``exploration_initial_eps`` to ``exploration_final_eps``: in the first
    ``exploration_fraction`` of the run; of each phase; or not at all (``constant``), and is the
    final one throughout."""
    prior: tuple[Share, ...] | None = None
    """Probability of each action in exploration; None for a uniform choice."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.prior is not None and not np.isclose(sum(self.prior), 1):
            raise ValueError(
                f"action prior {self.prior} must give each action a probability, and sum to 1"
            )

    def check_actions(self, count: int) -> None:
        """Check that the prior is one over so many actions.

        Raises:
            ValueError: If it is not.
        """
        if self.prior is not None and len(self.prior) != count:
            raise ValueError(
                f"action prior {self.prior} must give each of the {count} actions a probability"
            )

    @cached_property
    def cumulated(self) -> npt.NDArray[np.float64]:
        """Sums of the prior that a number from [0, 1) is looked up in; none for a uniform choice.

        They are those of :meth:`numpy.random.Generator.choice`.
        """
        if self.prior is None:
            return np.zeros(0)
        sums: npt.NDArray[np.float64] = (np.array(self.prior) / sum(self.prior)).cumsum()
        sums /= sums[-1]
        return sums

    def draw(self, rng: np.random.Generator, actions: int, size: int) -> npt.NDArray[np.int64]:
        """Draw exploratory actions, shape ``(size,)``."""
        if self.prior is None:
            return rng.integers(actions, size=size)
        return self.cumulated.searchsorted(rng.random(size), side="right").astype(np.int64)
