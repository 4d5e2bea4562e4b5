"""CLEAR: replayed states keep the values that they had when they were played."""

from dataclasses import dataclass
from typing import Any, ClassVar

from continual_arcade.agents.methods.cloning import Cloning, cloning_slope
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import slope_of_replayed


@dataclass
class Clear(Cloning):
    """CLEAR for Q-learning: replayed states keep the values that they had when they were played.

    Each transition is stored with Q of that moment; what replay returns is held to it (after
    Rolnick et al. 2019, section 3, whose actor-critic clones policy and value; the squared form is
    DER, Buzzega et al. 2020, eq. 6). Needs to know nothing of phases. Early values are wrong, and
    holding them slows learning down: cloning begins with what is stored after ``after`` steps.
    """

    name: ClassVar[str] = "clear"
    conflicts: ClassVar[frozenset[str]] = frozenset({"clone"})

    values_after: ClassVar[str] = "after"

    after: int = 5_000
    """Lifetime steps before which values are not stored [steps]."""

    @slope_of_replayed("q_values", when="alpha")
    def hold(now: Any, old: Any, slope: Any, alpha: Any, what: Any, temperature: Any) -> None:
        """Hold the replayed states that have a value."""
        cloning_slope(now, old, slope, alpha, what, temperature)


PRESETS = (
    Preset(
        "clear",
        "Replayed states keep the values they had when they were played.",
        source="after Rolnick et al. 2019; DER, Buzzega et al. 2020",
        replay="mix",
        parts=("clear:alpha=0.00122",),
        settings={"learning_rate": 1.58e-3},
    ),
)
