"""Learning without forgetting: what a network said of new inputs when a phase ended is held."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from continual_arcade.agents.methods.base import BEFORE, Learner, State
from continual_arcade.agents.methods.cloning import Cloning, cloning_slope
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import number, slope_by_others, vector
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.envs.checks import Whole, flag
from continual_arcade.envs.schedules import LONGEST


@dataclass
class LwF(Cloning):
    """Holds what the network of the last phase end says of what is learnt from now.

    At a phase end the network becomes the teacher. Observations of the phase that follows are held
    to the teacher's values, as they are learnt from (Li and Hoiem 2017). Those of earlier phases,
    which replay may still hold, have no part in it: all that is known of them is the teacher.
    """

    name: ClassVar[str] = "lwf"
    needs_boundaries: ClassVar[bool] = True

    grows: Annotated[bool, flag] = field(default=False, metadata={BEFORE: False})
    """Whether ``alpha`` counts once for each phase that has ended, as if each had its teacher."""
    teacher: Parameters = vector(late=True)
    """The network at the end of the last phase; there is none in the first one."""
    times: int = number(1)
    """How often ``alpha`` counts."""
    phase: int = number(0)
    """The phase that is learnt, or the first of those that drift into one another."""

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Hold what is observed from now on."""
        super().phase_start(learner, phase)
        self.phase = phase

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Make the network the teacher."""
        if self.grows and self.teacher:
            self.times += 1
        self.teacher = copies(parameters(learner))

    @slope_by_others("teacher", since="phase", when="alpha")
    def hold(
        now: Any, old: Any, slope: Any, alpha: Any, what: Any, temperature: Any, times: Any
    ) -> None:
        """Hold what is learnt from to what the teacher says of it."""
        cloning_slope(now, old, slope, times * alpha, what, temperature)

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        Whole(1, LONGEST)(f"times of {self.name}", state["times"])
        Whole(0, LONGEST)(f"phase of {self.name}", state["phase"])
        super().load_state_dict(state)


PRESETS = (
    Preset(
        "lwf",
        "What the network of the last phase end says of new observations is held.",
        source="Li and Hoiem 2017, for Q",
        parts=("lwf:alpha=0.001",),
    ),
)
