"""Stream Q(lambda): Q-learning with eligibility traces, without replay and target network."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import count, number, rule, total, vector
from continual_arcade.agents.methods.streaming import Streaming
from continual_arcade.envs.checks import Positive, Share

WATKINS, AUTHORS = range(2)
"""Where the trace is cut, as rules are given it."""


@dataclass
class StreamQ(Streaming):
    r"""Stream Q(:math:`\lambda`) with overshooting-bounded gradient descent (Elsayed et al. 2024).

    Each transition is learnt from once, when it comes:

    .. math::

        e \leftarrow \gamma \lambda e + \nabla Q(s, a), \quad
        \theta \leftarrow \theta
        + \min\left(\alpha, \frac{1}{\kappa \max(|\delta|, 1) \|e\|_1}\right) \delta e

    with the TD error :math:`\delta = r + \gamma \max Q(s', \cdot) - Q(s, a)`. Each of the games
    that run side by side has a trace of its own, which ends with its episode.
    """

    name: ClassVar[str] = "stream-q"
    conflicts: ClassVar[frozenset[str]] = frozenset(
        {"reset", "shrink-perturb", "redo", "continual-backprop", "neurogenesis", "progressive"}
    )

    lambda_: Share = 0.8
    """Decay of the trace, beside the discount."""
    kappa: Positive = 2.0
    """How far below overshooting a step remains: its linear estimate closes at most 1 / kappa of
    the error."""
    alpha: Positive = 1.0
    """Largest step size; the learner's learning rate is of no matter."""
    cut: Literal["before", "after"] = "before"
    """When an exploratory action cuts the trace: before it is learnt from (Watkins 1989, as in
    Sutton and Barto 1998), so that what others led to it is not judged by it; or after, as in the
    authors' code."""

    trace: Parameters = vector(per_game=True)
    """The eligibility trace of each game."""
    discount: float = number(0.0, kept=False)
    """The learner's."""
    keep: float = number(0.0, kept=False)
    """How much of the trace is kept."""
    size: float = number(0.0, kept=False)
    """Its L1 norm."""
    rate: float = number(0.0, kept=False)
    """Step size."""
    move: float = number(0.0, kept=False)
    """Step size times TD error."""
    over: float = number(0.0, kept=False)
    """Whether the trace ends with this transition."""

    def __post_init__(self) -> None:
        self.check_settings()

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Begin without traces."""
        super().bind(learner, rng)
        self.discount = learner.replay.gamma

    @count("on_td_gradient", writes="keep")
    def keeps(discount: Any, lambda_: Any, greedy: Any, cut: Any) -> Any:
        """Say how much of the trace is kept."""
        return discount * lambda_ * (1.0 if greedy or cut != WATKINS else 0.0)

    @rule("on_td_gradient", writes="trace")
    def follow(trace: Any, gradient: Any, keep: Any) -> Any:
        """Let the trace follow the gradient of the value."""
        return keep * trace + gradient

    @total("on_td_gradient", writes="size")
    def sizes(trace: Any) -> Any:
        """Measure it."""
        return abs(trace)

    @count("on_td_gradient", writes="rate")
    def bound(td_error: Any, size: Any, alpha: Any, kappa: Any) -> Any:
        """Bound the step."""
        return alpha / max(1.0, alpha * kappa * max(abs(td_error), 1.0) * size)

    @count("on_td_gradient", writes="move")
    def moves(rate: Any, td_error: Any) -> Any:
        """Say how far parameters go along the trace."""
        return rate * td_error

    @rule("project_update")
    def step(theta: Any, trace: Any, move: Any) -> Any:
        """Make the step."""
        return theta + move * trace

    @count("after_update", writes="over")
    def ends(ended: Any, greedy: Any, cut: Any) -> Any:
        """Say whether the trace ends."""
        return 1.0 if ended or (cut == AUTHORS and not greedy) else 0.0

    @rule("after_update", writes="trace", when="over")
    def forget() -> Any:
        """Cut it."""
        return 0.0

    def log(self, learner: Learner) -> None:
        """Record the last step size."""
        learner.logger.record("stream-q/step_size", self.rate)


PRESETS = (
    Preset(
        "stream-q",
        "Stream Q(lambda): each transition is learnt from once, with traces and a bounded step.",
        source="Elsayed et al. 2024",
        replay="none",
        parts=("stream-q:kappa=0.5",),
        settings={"optimizer": "sgd", "learning_starts": 0, "n_steps": 1},
    ),
)
