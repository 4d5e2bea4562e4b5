"""Learning without forgetting: what a network said of new inputs when a phase ended is held."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch.func import functional_call

from continual_arcade.agents.methods.base import BEFORE, Learner, State
from continual_arcade.agents.methods.cloning import KeptCloning, cloning_slope
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.periodic import Periodic
from continual_arcade.agents.methods.phase_memory import Recent
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import number, slope_of_kept, vector
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.agents.networks import evaluation_mode
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.envs.checks import Count, Whole, flag
from continual_arcade.envs.schedules import LONGEST


@dataclass
class LwF(Periodic, KeptCloning):
    """Holds what the network of the last phase end says of what is observed now.

    At a phase end the network becomes the teacher. The newest observations of the phase that
    follows are given the teacher's values, and a batch of them is learnt together with the TD loss
    (Li and Hoiem 2017). Nothing that was observed in earlier phases is kept.
    """

    name: ClassVar[str] = "lwf"
    needs_boundaries: ClassVar[bool] = True
    fixed: ClassVar[frozenset[str]] = frozenset({"states"})

    states: Count = 2_000
    """Newest observations of the phase that a batch is drawn from."""
    every: Count = 200
    """Lifetime steps after which new observations join them [steps]."""
    grows: Annotated[bool, flag] = field(default=False, metadata={BEFORE: False})
    """Whether ``alpha`` counts once for each phase that has ended, as if each had its teacher."""
    teacher: Parameters = vector(late=True)
    """The network at the end of the last phase; there is none in the first one."""
    times: int = number(1)
    """How often ``alpha`` counts."""
    phase: int = field(init=False, repr=False, default=0)
    """The phase that is learnt, or the first of those that drift into one another."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.waiting = Recent(self.states)
        """Transitions whose observations have not joined yet."""

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Begin with none of the observations of earlier phases."""
        super().phase_start(learner, phase)
        self.phase = phase
        self.observations = self.values = None
        self.waiting.clear()

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Make the network the teacher."""
        if self.grows and self.teacher:
            self.times += 1
        self.teacher = copies(parameters(learner))

    @slope_of_kept("observations", "values", size="batch", when="alpha")
    def hold(
        now: Any, old: Any, slope: Any, alpha: Any, what: Any, temperature: Any, times: Any
    ) -> None:
        """Hold a batch of the kept states."""
        cloning_slope(now, old, slope, times * alpha, what, temperature)

    def next_due(self, learner: Learner) -> int | None:
        """Return when observations join next; never without a teacher."""
        return super().next_due(learner) if self.teacher else None

    def completed(self, learner: Learner, transitions: Transitions) -> None:
        """Take note of what was observed in the phase."""
        if self.teacher:
            self.waiting.add(transitions.take(np.flatnonzero(transitions.phases >= self.phase)))

    def act(self, learner: Learner) -> None:
        """Give values to what was observed since the last time."""
        if not len(self.waiting):
            return
        new = self.waiting.all()
        self.waiting.clear()
        observations, values = new.observations, self.said(learner, new)
        if self.observations is not None and self.values is not None:
            observations = np.concatenate([self.observations, observations])[-self.states :]
            values = np.concatenate([self.values, values])[-self.states :]
        self.observations, self.values = observations, values

    def said(self, learner: Learner, transitions: Transitions) -> npt.NDArray[np.float32]:
        """Return the teacher's values of the observations, shape ``(count, actions)``."""
        names = (name for name, _ in learner.q_net.named_parameters())
        teacher = dict(zip(names, self.teacher, strict=True))
        seen = learner.replay.as_samples(transitions).observations
        with evaluation_mode(learner.q_net), torch.no_grad():
            values: npt.NDArray[np.float32] = (
                functional_call(learner.q_net, teacher, (seen,)).cpu().numpy()
            )
        return values

    def state_dict(self) -> State:
        """Return what has not been asked of the teacher yet, too."""
        more = {"phase": self.phase, "completed": self.waiting.state_dict()}
        return super().state_dict() | more

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        times = Whole(1, LONGEST)(f"times of {self.name}", state.get("times", 1))
        super().load_state_dict({**state, "times": times})  # which older files lack
        self.phase = state["phase"]
        self.waiting.load_state_dict(state["completed"])


PRESETS = (
    Preset(
        "lwf",
        "What the network of the last phase end says of new observations is held.",
        source="Li and Hoiem 2017, for Q",
        parts=("lwf:alpha=0.001",),
    ),
)
