"""Streaming parts: single transitions are learnt from when they come, by a step of the part's own.

A streaming part takes the place of loss and optimiser. Of each transition, in order of the games
that run side by side, the learner computes the gradient of the value of what was done,
``Q(s, a)``; the part's rules make the step, usually in ``project_update``, of this gradient, of
vectors that each game has one of, such as eligibility traces, and of what
:class:`~continual_arcade.agents.methods.rules.CurrentTransition` tells. There is neither target
network nor replay in it: both values of the TD error are those of the network as it is.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from continual_arcade.agents.methods.base import Batch, Learner, State
from continual_arcade.agents.methods.plans import Extent, Planner, plan
from continual_arcade.agents.methods.rules import declared

_ELSEWHERE = np.full(1, -1)
"""Slot of a transition that is learnt from as it comes."""


class Streaming(Planner):
    """A part that learns single transitions as they come; a subclass has rules that make the step.

    ``batch_size``, ``gradient_steps`` (but for 0), the target network, the optimiser and what it is
    set to are of no matter.
    """

    streaming: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check that a subclass leaves the plan as it is.

        Raises:
            TypeError: If not: engines would not agree about what that means.
        """
        super().__init_subclass__(**kwargs)
        for name in ("extent", "arrange"):
            if name in vars(cls):
                raise TypeError(
                    f"{cls.__name__} overrides {name}, and streaming parts learn from each "
                    "transition once, as it comes: say by rules what the step does"
                )

    def extent(self, gradient_steps: int) -> Extent:
        """Say that there is one step for each transition, and no draw."""
        return Extent(single=True, repeats=1, steps=1, draws=0)

    @plan
    def arrange(
        draws: Any,
        current: Any,
        weights: Any,
        inner: Any,
        outer: Any,
        stream: Any,
        repeat: Any,
    ) -> None:
        """Learn from the transition itself."""
        current[0] = 1.0

    def check_learner(self, learner: Learner) -> None:
        """Check that there are TD errors of single steps.

        Raises:
            ValueError: If not.
        """
        if learner.replay.n_steps != 1:
            raise ValueError(
                f"part {self.name!r} learns from single steps, and n_steps = "
                f"{learner.replay.n_steps} sums rewards before they are learnt from: set n_steps=1"
            )
        if learner.loss != "td":
            raise ValueError(
                f"part {self.name!r} learns from TD errors, and loss = {learner.loss!r} learns "
                "labels: set loss='td', or leave the part out"
            )

    def batches(self, learner: Learner, steps: int, batch_size: int) -> Iterator[Batch]:
        """Learn from what was completed, one by one."""
        if not len(self._completed):
            return
        every, games = self._completed.all(), learner.replay.num_envs
        self._completed.clear()
        assert every.ended is not None
        for row, ended in enumerate(every.ended.tolist()):
            current = every.take([row])
            samples = learner.replay.as_samples(current)
            # Each step of all games completes one transition of each.
            yield Batch(samples, _ELSEWHERE, ended=ended, game=row % games, phases=current.phases)

    def restarted(self, learner: Learner) -> None:
        """Begin again with what each game has: its episodes are others."""
        self._completed.clear()
        for name, state in declared(type(self)).vectors.items():
            for tensor in getattr(self, name) if state.per_game else ():
                tensor.zero_()

    def state_dict(self) -> State:
        """Return which of the transitions that were not learnt yet ended an episode, too."""
        found = self._completed.all().ended if len(self._completed) else None
        return {**super().state_dict(), "ended": np.zeros(0, np.bool_) if found is None else found}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        if len(self._completed):
            known = replace(self._completed.all(), ended=state["ended"])
            self._completed.clear()
            self._completed.add(known)
