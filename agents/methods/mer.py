"""Meta-experience replay."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from continual_arcade.agents.kernels.random import below, shuffle
from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.plans import Extent, Planner, plan
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.tensors import other_than_sgd
from continual_arcade.envs.checks import COUNTS_WITH, MOST_AT_ONCE, AtOnce, Share, Whole

ONE, SIX, SEVEN, BATCHED = range(4)
"""The algorithms, as the plan is given them."""
SINGLE = {COUNTS_WITH: ("algorithm", ("1", "6", "7"))}
"""What the algorithms that learn single examples have alone."""


@dataclass
class MER(Planner):
    """Meta-experience replay: each new transition is learnt together with drawn memories.

    For each transition that is completed, with plain SGD on one example at a time (Riemer et al.
    2019; the numbers are those of the paper's algorithms, as its authors' code has them):

    - ``algorithm="1"``: ``repeats`` times, the current transition and ``memories`` draws from
      replay, one after the other, then an interpolation by ``beta``; at the end one by ``gamma``.
    - ``algorithm="6"``: the same without ``beta``: the current transition comes last, and each
      repetition ends with an interpolation by ``gamma``.
    - ``algorithm="7"``: once through the current transition and the draws in random order, the TD
      loss of the current one weighed with ``repeats``; then an interpolation by ``gamma``.

    ``algorithm="batched"`` is DQN-MER for mini-batches and any optimiser: after each step of the
    environments the learner's gradient steps, one of which (drawn each time) also holds all
    transitions just completed; then an interpolation by ``gamma``.

    The target network does not change in the meantime. In the paper the current transition enters
    the memory after it was learnt; here it may be drawn already, with the probability of any other.
    """

    name: ClassVar[str] = "mer"
    conflicts: ClassVar[frozenset[str]] = frozenset({"reptile"})

    algorithm: Literal["1", "6", "7", "batched"] = "batched"
    """Which algorithm."""
    memories: Annotated[int, Whole(0, MOST_AT_ONCE)] = field(default=15, metadata=SINGLE)
    """Draws from replay for each current transition, the paper's k - 1; not for ``batched``."""
    repeats: AtOnce = field(default=1, metadata=SINGLE)
    """The paper's s: repetitions, or in algorithm 7 the weight of the current transition."""
    beta: Share = field(default=1.0, metadata={COUNTS_WITH: ("algorithm", ("1",))})
    """Interpolation within a repetition, in algorithm 1; 1 for none."""
    gamma: Share = 0.3
    """Interpolation across repetitions; 1 for none. Not the discount."""

    def __post_init__(self) -> None:
        given: object = self.algorithm
        if type(given) is int and given in (1, 6, 7):  # 1 is meant as "1"
            self.algorithm = str(given)  # type: ignore[assignment]
        self.check_settings()

    def check_learner(self, learner: Learner) -> None:
        """Check that the learner's optimiser is that of the algorithm.

        Raises:
            ValueError: If single examples are to be learnt by anything but plain SGD.
        """
        other = other_than_sgd(learner.optimizer)
        if other and self.algorithm != "batched":
            raise ValueError(
                f"mer: algorithm {self.algorithm} learns single examples by plain SGD, not by "
                f"{other}: use policy_kwargs={{'optimizer_class': torch.optim.SGD}} or algorithm "
                "'batched'"
            )

    def extent(self, gradient_steps: int) -> Extent:
        """Say how many repetitions, steps and draws there are."""
        if self.algorithm == "batched":
            return Extent(single=False, repeats=1, steps=gradient_steps, draws=gradient_steps)
        repeats = 1 if self.algorithm == "7" else self.repeats
        return Extent(single=True, repeats=repeats, steps=self.memories + 1, draws=self.memories)

    @plan
    def arrange(
        draws: Any,
        current: Any,
        weights: Any,
        inner: Any,
        outer: Any,
        stream: Any,
        repeat: Any,
        algorithm: Any,
        repeats: Any,
        beta: Any,
        gamma: Any,
    ) -> None:
        """Say what each gradient step of a repetition learns from, and what follows it."""
        last = len(draws) - 1
        if algorithm == BATCHED:
            for step in range(last + 1):
                draws[step] = step
            current[below(stream, last + 1)] = 1.0
            outer[last] = gamma
            return
        for step in range(last + 1):
            draws[step] = step  # the last index stands for the current transition
        if algorithm == SEVEN:
            shuffle(stream, draws)
        elif algorithm == ONE:  # the current transition first
            for step in range(last + 1):
                draws[step] = (step + last) % (last + 1)
        for step in range(last + 1):
            if draws[step] == last:
                draws[step] = -1
                current[step] = 1.0
                weights[step] = repeats if algorithm == SEVEN else 1.0
        inner[last] = beta if algorithm == ONE else gamma
        if algorithm == ONE and repeat == repeats - 1:
            outer[last] = gamma


PRESETS = (
    Preset(
        "mer",
        "DQN-MER in mini-batches: reservoir, and an interpolation after each step of the "
        "environments.",
        source="Riemer et al. 2019",
        replay="reservoir",
        parts=("mer:algorithm=batched,gamma=0.894",),
        settings={"learning_rate": 3.77e-4},
    ),
    Preset(
        "mer-faithful",
        "MER's algorithm 1: single examples by plain SGD.",
        source="Riemer et al. 2019",
        replay="reservoir",
        parts=("mer:algorithm=1,memories=15,repeats=1,beta=1.0,gamma=0.654",),
        settings={"optimizer": "sgd", "learning_rate": 2.79e-2},
    ),
)
