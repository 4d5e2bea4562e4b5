"""Online elastic weight consolidation."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.envs.checks import Share


@dataclass
class OnlineEWC(EWC):
    """Online EWC: one penalty around the latest anchor, whose importance fades.

    The importance is F* = decay F* + F, and the penalty weighs with decay F* (Schwarz et al. 2018,
    section 4). With decay 1 and a single phase it is EWC.
    """

    name: ClassVar[str] = "online-ewc"
    merge: ClassVar[Literal["sum", "latest"]] = "latest"

    decay: Share = 0.95
    """Factor by which older importances fade at each phase end."""

    def add_anchor(self, importance: Parameters, anchor: Parameters) -> None:
        """Let older importances fade, add the new one, and move the anchor."""
        # What is kept is decay F*, the weight of the penalty; so all of it fades once more.
        super().add_anchor(importance, anchor)
        for omega in self.omega:
            omega.mul_(self.decay)


PRESETS = (
    Preset(
        "online-ewc",
        "One penalty around the latest anchor.",
        source="Schwarz et al. 2018",
        parts=("online-ewc:lam=1.98e-05",),
        settings={"learning_rate": 8.71e-4},
    ),
)
