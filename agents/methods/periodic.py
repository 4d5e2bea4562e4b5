"""Parts that act between gradient steps, every so many lifetime steps."""

from abc import abstractmethod
from dataclasses import dataclass

from continual_arcade.agents.methods.base import Learner, Part, State
from continual_arcade.agents.methods.rules import number
from continual_arcade.envs.checks import Count, Whole
from continual_arcade.envs.schedules import LONGEST


@dataclass
class Periodic(Part):
    """Acts at multiples of so many lifetime steps, once something has been learnt."""

    every: Count = 1_000
    """Lifetime steps from one time to the next."""
    last: int = number(0)
    """Lifetime step at which it acted last."""

    @abstractmethod
    def act(self, learner: Learner) -> None:
        """Do what is due."""

    def next_due(self, learner: Learner) -> int | None:
        """Return the next multiple of ``every`` at which something has been learnt."""
        return (max(self.last, learner.learning_starts) // self.every + 1) * self.every

    def between(self, learner: Learner) -> None:
        """Act."""
        self.last = learner.lifetime_step
        self.act(learner)

    def load_state_dict(self, state: State) -> None:
        """Put back when it acted last."""
        Whole(0, LONGEST)(f"last of {self.name}", state["last"])
        super().load_state_dict(state)
