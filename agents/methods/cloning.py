"""Cloning: the values of earlier phases are held, not the parameters."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numba.extending import register_jitable

from continual_arcade.agents.methods.base import Part, State
from continual_arcade.agents.methods.rules import slope_of_kept
from continual_arcade.envs.checks import COUNTS_WITH, AtOnce, Divisor, NotNegative

What = Literal["q", "advantage", "policy"]
VALUES, ADVANTAGE, POLICY = range(3)


@dataclass
class Cloning(Part):
    r"""What ways of cloning share: the loss by which values are held to what they were.

    - ``q``: the mean square of Q - Q_old.
    - ``advantage``: the same for Q less its mean over actions.
    - ``policy``: :math:`\tau^2 KL(softmax(Q_{old}/\tau) \| softmax(Q/\tau))`.
    """

    alpha: NotNegative = 0.1
    """Weight of the cloning loss beside the TD loss."""
    what: What = "q"
    """What is held: the values, their differences between actions, or the softmax policy."""
    temperature: Divisor = field(default=1.0, metadata={COUNTS_WITH: ("what", ("policy",))})
    """Of the softmax ``policy`` [units of Q]."""

    def __post_init__(self) -> None:
        self.check_settings()


@register_jitable
def cloning_slope(now: Any, old: Any, slope: Any, alpha: Any, what: Any, temperature: Any) -> None:
    """Fill the derivative of the cloning loss of a state by its values.

    Args:
        now: Values now, shape ``(actions,)``.
        old: Values as they were.
        slope: Filled.
        alpha: Weight.
        what: ``VALUES``, ``ADVANTAGE`` or ``POLICY``.
        temperature: The tau of ``POLICY`` [units of Q].
    """
    actions = len(now)
    if what == POLICY:
        # tau^2 KL(old || now): tau (softmax(now / tau) - softmax(old / tau)).
        top_now, top_old = np.max(now), np.max(old)
        sum_now, sum_old = 0.0, 0.0
        for a in range(actions):
            sum_now += np.exp((now[a] - top_now) / temperature)
            sum_old += np.exp((old[a] - top_old) / temperature)
        for a in range(actions):
            p_now = np.exp((now[a] - top_now) / temperature) / sum_now
            p_old = np.exp((old[a] - top_old) / temperature) / sum_old
            slope[a] = alpha * temperature * (p_now - p_old)
        return
    shift = 0.0
    if what == ADVANTAGE:
        for a in range(actions):
            shift += now[a] - old[a]
        shift /= actions
    for a in range(actions):
        slope[a] = 2.0 * alpha * (now[a] - old[a] - shift) / actions


@dataclass
class KeptCloning(Cloning):
    """Holds the values of states that a part keeps, a batch of them in each gradient step.

    A subclass says which states these are, and what their values.
    """

    batch: AtOnce | None = None
    """States of a batch, drawn from all kept ones; as many as the learner's batch if not given."""

    observations: npt.NDArray[np.generic] | None = field(init=False, repr=False, default=None)
    """Kept states, shape ``(count, *obs_shape)``."""
    values: npt.NDArray[np.float32] | None = field(init=False, repr=False, default=None)
    """What is held of them, shape ``(count, actions)``."""

    @slope_of_kept("observations", "values", size="batch", when="alpha")
    def hold(now: Any, old: Any, slope: Any, alpha: Any, what: Any, temperature: Any) -> None:
        """Hold a batch of the kept states."""
        cloning_slope(now, old, slope, alpha, what, temperature)

    def state_dict(self) -> State:
        """Return what is kept."""
        return super().state_dict() | {"observations": self.observations, "values": self.values}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.observations, self.values = state["observations"], state["values"]
