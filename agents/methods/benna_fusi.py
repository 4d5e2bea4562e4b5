"""Complex synapses: each parameter is the first of a chain of beakers, which flow into each other.

Source: Kaplanis et al. 2018 (arXiv 1802.07239), who give a DQN the synapses of Benna and Fusi 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from continual_arcade.agents.methods.base import Learner, State
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.periodic import Periodic
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import count, number, rule, vector
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.envs.checks import Count, Share, Whole


@dataclass
class BennaFusi(Periodic):
    r"""Lets each parameter flow into slower and slower beakers, and back out of them.

    Their contents, the first of which the learner moves, change in each gradient step by
    :math:`C_k \Delta u_k = g_{k-1} (u_{k-1} - u_k) + g_k (u_{k+1} - u_k)`, with the volumes
    :math:`C_k = 2^{k-1}` and tubes :math:`g_k = g / 2^{k-1}`. The first tube is a rule. What is
    deeper hardly moves in one step, too little for single precision: it flows every so many
    lifetime steps, for all gradient steps since, in double precision.
    """

    name: ClassVar[str] = "benna-fusi"
    fixed: ClassVar[frozenset[str]] = frozenset({"beakers"})
    conflicts: ClassVar[frozenset[str]] = frozenset(
        # It would move what these freeze or keep account of, or draw back what they change.
        {"packnet", "hat", "progressive", "drop-and-grow", "trac"}
        | {"reset", "shrink-perturb", "redo", "continual-backprop", "neurogenesis", "hare-tortoise"}
    )

    every: Count = 1_000
    """Lifetime steps from one flow between the deeper beakers to the next."""
    beakers: Annotated[int, Whole(1, 30)] = 6
    """How many there are, with the parameter, which is the first."""
    pace: Share = 0.001
    """The g above, of the first tube [per gradient step]; each further one is 4 times as slow."""

    second: Parameters = vector()
    """What is in the second beaker."""
    flow: Parameters = vector(kept=False)  # from the first to the second, in a gradient step
    deep: npt.NDArray[np.float64] = field(init=False, repr=False, compare=False)
    """What is in the deeper ones, shape ``(beakers - 2, parameters)``."""
    tube: float = number(0.0, kept=False)
    """Width of the first tube; 0 if it leads nowhere."""
    flowed: int = number(0)
    """Gradient steps that have flowed through the first tube."""
    deeper: int = number(0)
    """And through the others."""

    def __post_init__(self) -> None:
        self.check_settings()

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Fill all beakers with the parameters as they are."""
        super().bind(learner, rng)
        self.phase_start(learner, 0)

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Begin with the network as it is now, if nothing has flowed yet."""
        super().phase_start(learner, phase)
        if not self.flowed:
            self.second = copies(parameters(learner))
            self.deep = np.tile(_flat(self.second), (max(self.beakers - 2, 0), 1))

    @count("interpolate", writes="tube")
    def open(beakers: Any, pace: Any) -> Any:
        """Say whether there is a second beaker."""
        return pace if beakers > 1 else 0.0

    @rule("interpolate", writes="flow", when="tube")
    def run(theta: Any, second: Any, tube: Any) -> Any:
        """Say what flows."""
        return tube * (theta - second)

    @rule("interpolate", when="tube")
    def drain(theta: Any, flow: Any) -> Any:
        """Let it flow out of the first beaker."""
        return theta - flow

    @rule("interpolate", writes="second", when="tube")
    def fill(second: Any, flow: Any) -> Any:
        """Let it flow into the second one, of twice the volume."""
        return second + 0.5 * flow

    @count("interpolate", writes="flowed")
    def note(flowed: Any) -> Any:
        """Count the step."""
        return flowed + 1

    def next_due(self, learner: Learner) -> int | None:
        """Return when the deeper ones flow next; never if there are none."""
        return super().next_due(learner) if self.beakers > 2 else None

    def act(self, learner: Learner) -> None:
        """Let the deeper beakers flow, for the gradient steps since."""
        steps, self.deeper = self.flowed - self.deeper, self.flowed
        contents = np.vstack([_flat(self.second), self.deep])
        contents = np.linalg.matrix_power(step_of(self.beakers, self.pace), steps) @ contents
        self.deep = contents[1:].copy()
        found = torch.split(torch.from_numpy(contents[0]), [one.numel() for one in self.second])
        for tensor, now in zip(self.second, found, strict=True):
            tensor.copy_(now.view_as(tensor))  # in place: compiled code holds on to it

    def log(self, learner: Learner) -> None:
        """Record how far the parameters are from the second beaker."""
        way = _flat(parameters(learner)) - _flat(self.second)
        learner.logger.record(f"{self.name}/distance", float(np.linalg.norm(way)))

    def state_dict(self) -> State:
        """Return what is in the deeper ones, too."""
        return {**super().state_dict(), "deep": self.deep}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.deep = state["deep"]


def step_of(beakers: int, pace: float) -> npt.NDArray[np.float64]:
    """Return by what a gradient step multiplies the contents of the second and deeper beakers."""
    step, ends = np.eye(beakers - 1), -np.diff(np.eye(beakers - 1), axis=0)
    for k, difference in enumerate(ends, 1):  # tube and volume are 2^-k and 2^k of the first
        step[k - 1] -= pace / 4**k * difference
        step[k] += pace / 4**k / 2 * difference
    return step


def _flat(tensors: Sequence[torch.Tensor]) -> npt.NDArray[np.float64]:
    return torch.cat([tensor.detach().flatten() for tensor in tensors]).double().cpu().numpy()


PRESETS = (
    Preset(
        "benna-fusi",
        "Each parameter flows into slower and slower copies of itself, and back.",
        source="Kaplanis et al. 2018, after Benna and Fusi 2016",
        parts=("benna-fusi",),
    ),
)
