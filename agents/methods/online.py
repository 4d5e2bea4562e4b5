"""Learning from what comes, when it comes, alone or together with what is replayed."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from continual_arcade.agents.methods.plans import Extent, Planner, plan
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.envs.checks import flag


@dataclass
class Online(Planner):
    """Each gradient step learns from the transitions that were just completed.

    Without ``replayed`` nothing else is learnt from: plain online learning, each transition once
    for each gradient step. With it a batch drawn from replay is added, in one mini-batch: replay as
    it is meant for streams of examples (Chaudhry et al. 2019, "On tiny episodic memories in
    continual learning", algorithm 1; with one environment, ``eralg4`` of Riemer et al. 2019).
    """

    name: ClassVar[str] = "online"
    conflicts: ClassVar[frozenset[str]] = frozenset({"mer"})

    replayed: Annotated[bool, flag] = False
    """Whether a batch drawn from replay is learnt from in the same step."""

    def __post_init__(self) -> None:
        self.check_settings()

    def extent(self, gradient_steps: int) -> Extent:
        """Say how many steps and draws there are."""
        draws = gradient_steps if self.replayed else 0
        return Extent(single=False, repeats=1, steps=gradient_steps, draws=draws)

    @plan
    def arrange(
        draws: Any,
        current: Any,
        weights: Any,
        inner: Any,
        outer: Any,
        stream: Any,
        repeat: Any,
        replayed: Any,
    ) -> None:
        """Let each step learn from the current transitions, and from a draw of its own."""
        for step in range(len(draws)):
            current[step] = 1.0
            if replayed:
                draws[step] = step


PRESETS = (
    Preset(
        "online",
        "Online learning: each transition is learnt from when it comes, and never again.",
        source="Robbins and Monro 1951",
        parts=("online",),
    ),
    Preset(
        "er",
        "Experience replay: each gradient step learns from what came and a batch of a reservoir.",
        source="Chaudhry et al. 2019, algorithm 1",
        replay="reservoir",
        parts=("online:replayed=true",),
    ),
)
