"""Exploration by what was learnt before: at the start of a phase the best earlier network acts."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from continual_arcade.agents.methods.base import Learner, Part, State
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import number
from continual_arcade.agents.methods.tensors import parameters, values_by
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.agents.told_networks import (
    FinishesPhases,
    MultiHeadQNetwork,
    PhaseInputs,
)
from continual_arcade.envs.checks import Count


@dataclass
class BestReturn(Part):
    """Lets the networks of earlier phase ends act where a phase begins, the best of them most.

    Each is tried in turn, greedily; then the one under which most reward was earned acts, until so
    many steps of the phase are over. What they do is stored and learnt from (the exploration of
    ClonEx, Wolczyk et al. 2022).
    """

    name: ClassVar[str] = "best-return"
    needs_boundaries: ClassVar[bool] = True
    conflicts: ClassVar[frozenset[str]] = frozenset({"packnet", "hat", "progressive"})

    steps: Count = 5_000
    """Lifetime steps of a phase in which earlier networks act."""
    trial: Count = 500
    """Lifetime steps for which each of them is tried first; all trials together take at most half
    of the steps."""

    archive: npt.NDArray[np.float32] = field(init=False, repr=False, compare=False)
    """Parameters at the phase ends, shape ``(networks, parameters)``."""
    tried: npt.NDArray[np.float64] = field(init=False, repr=False, compare=False)
    """Reward and transitions of the trial of each, shape ``(networks, 2)``."""
    began: int = number(0)
    """Lifetime step at which the phase began."""
    acting: int = number(-1)
    """Which of them acted last in a trial; -1 for none."""

    def __post_init__(self) -> None:
        self.check_settings()

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Begin with an empty archive.

        Raises:
            ValueError: If a part of the network is only learnt in the phase that begins.
        """
        network = learner.q_net
        own = isinstance(network.features_extractor, PhaseInputs)
        if own or isinstance(network, MultiHeadQNetwork | FinishesPhases):
            raise ValueError(
                "part 'best-return' lets earlier networks act in a new phase, and of a network "
                "with a part for each phase they have not learnt the new one: leave heads and "
                "inputs 'shared'"
            )
        super().bind(learner, rng)
        count = sum(tensor.numel() for tensor in parameters(learner))
        self.archive = np.zeros((0, count), np.float32)
        self.tried = np.zeros((0, 2))

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Keep the network."""
        now = torch.nn.utils.parameters_to_vector(parameters(learner)).detach().cpu().numpy()
        self.archive = np.concatenate([self.archive, now[None]])

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Begin the trials, or with nothing if another run begins."""
        if len(self.archive) == len(self.tried):  # no phase has ended since the last one began
            self.archive = self.archive[:0]
        self.began, self.acting = learner.lifetime_step, -1
        self.tried = np.zeros((len(self.archive), 2))

    def restarted(self, learner: Learner) -> None:
        """Take no note of the random steps that training may begin with."""
        self.acting = -1

    def chooses(self, learner: Learner) -> bool:
        """Return whether an earlier network acts."""
        return len(self.archive) > 0 and learner.lifetime_step - self.began < self.steps

    def actions(self, learner: Learner, observations: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Let the one that is tried act, or the best."""
        count = len(self.archive)
        trial = min(self.trial, self.steps // (2 * count)) if count > 1 else 0
        over = learner.lifetime_step - self.began
        self.acting = over // trial if over < count * trial else -1
        chosen = self.best if self.acting < 0 else self.acting
        like = parameters(learner)
        flat = torch.from_numpy(self.archive[chosen]).to(like[0].device)
        pieces = torch.split(flat, [tensor.numel() for tensor in like])
        tensors = (piece.view_as(tensor) for piece, tensor in zip(pieces, like, strict=True))
        seen, _ = learner.q_net.obs_to_tensor(observations)
        values = values_by(learner, tensors, seen)
        best: npt.NDArray[np.int64] = values.argmax(1).cpu().numpy()
        return best

    @property
    def best(self) -> int:
        """The network whose trial earned most for a transition; of equals the newest."""
        count = self.tried[:, 1]
        earned = np.where(count > 0, self.tried[:, 0] / np.maximum(count, 1), -np.inf)
        return int(len(earned) - 1 - np.argmax(earned[::-1]))

    def completed(self, learner: Learner, transitions: Transitions) -> None:
        """Take note of what the network earns that is tried."""
        if self.acting >= 0:
            self.tried[self.acting] += transitions.rewards.sum(), len(transitions)

    def log(self, learner: Learner) -> None:
        """Record which of the networks is the best so far, counted from 0."""
        if self.chooses(learner) and self.acting < 0:
            learner.logger.record(f"{self.name}/best", self.best)

    def state_dict(self) -> State:
        """Return the archive and its trials, too."""
        return {**super().state_dict(), "archive": self.archive, "tried": self.tried}

    def load_state_dict(self, state: State) -> None:
        """Put them back."""
        super().load_state_dict(state)
        self.archive, self.tried = state["archive"], state["tried"]


PRESETS = (
    Preset(
        "clonex",
        "States of finished phases keep their values, and the best earlier network explores.",
        source="Wolczyk et al. 2022, for Q",
        parts=("clone:alpha=0.00131", "best-return"),
        settings={"learning_rate": 1.18e-3},
    ),
)
