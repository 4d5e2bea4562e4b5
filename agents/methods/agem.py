"""Gradient projection: no step may, to first order, undo what is remembered."""

import warnings
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from continual_arcade.agents.methods.base import (
    Learner,
    State,
    copies,
    gradients,
    parameters,
)
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.phase_memory import Remembering, columns
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.envs.checks import AtOnce, Count


def projected(vector: Parameters, reference: Parameters) -> Parameters | None:
    """Return a vector without what points against a reference (Chaudhry et al. 2019, eq. 11).

    Args:
        vector: One tensor for each parameter; all of them are one vector.
        reference: The same.

    Returns:
        ``vector - (v.r / r.r) reference`` if v.r is negative, else None: nothing is to be changed.
    """
    dot = sum(float((v * r).sum()) for v, r in zip(vector, reference, strict=True))
    square = sum(float(r.square().sum()) for r in reference)
    if dot >= 0 or square == 0:
        return None
    return [v - (dot / square) * r for v, r in zip(vector, reference, strict=True)]


@dataclass
class AGEM(Remembering):
    """A-GEM: the step must not raise the loss on a batch of remembered transitions.

    At each phase end its last transitions are kept. If a gradient points against that of a batch
    of them, it is projected (Chaudhry et al. 2019). Adam then turns the projected gradient: its
    step may again raise the loss. ``what="update"`` projects the step that the optimiser made
    instead.
    """

    name: ClassVar[str] = "agem"
    needs_boundaries: ClassVar[bool] = True

    transitions: Count = 2_000
    """Transitions kept of each phase."""
    batch: AtOnce | None = None
    """Transitions of the reference batch, drawn from all kept ones; as many as the learner's if not
    given."""
    what: Literal["update", "gradient"] = "update"
    """What is projected: the optimiser's step, or the gradient it makes it from."""

    kept: dict[str, npt.NDArray[Any]] = field(init=False, repr=False, default_factory=dict)
    """Columns of the kept transitions, of all phases."""

    def __post_init__(self) -> None:
        self.check_settings()
        self.remember(self.transitions)
        self._reference: Parameters = []
        self._before: Parameters = []
        self.tally = np.zeros(2, np.int64)
        """Gradient steps since the last line of the log, and how many of them were projected."""

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Warn of an optimiser that turns projected gradients."""
        super().bind(learner, rng)
        if self.what == "gradient" and type(learner.optimizer) is not torch.optim.SGD:
            warnings.warn(
                f"agem: {type(learner.optimizer).__name__} turns the projected gradient, and its "
                "step may raise the remembered loss after all: use what='update'",
                stacklevel=2,
            )

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Keep transitions of the phase."""
        for name, column in columns(self.played(phase)).items():
            kept = [self.kept[name]] if name in self.kept else []
            self.kept[name] = np.concatenate([*kept, column])

    def project(self, learner: Learner) -> None:
        """Project the gradient, or get ready to project the step."""
        self._reference = []
        if not self.kept:
            return
        drawn = self.rng.integers(len(self.kept["rewards"]), size=self.batch or learner.batch_size)
        remembered = Transitions(**{name: column[drawn] for name, column in self.kept.items()})
        loss = learner.td_loss(learner.replay.as_samples(remembered))
        now = parameters(learner)
        learnt = iter(torch.autograd.grad(loss, [t for t in now if t.requires_grad]))
        self._reference = [next(learnt) if t.requires_grad else torch.zeros_like(t) for t in now]
        if self.what == "update":
            self._before = copies(now)
            return
        found = gradients(learner)
        changed = projected(found, self._reference)
        self._count(changed is not None)
        for gradient, new in zip(found, changed or [], strict=False):
            gradient.copy_(new)

    def project_update(self, learner: Learner) -> None:
        """Project the step."""
        if self.what != "update" or not self._reference:
            return
        with torch.no_grad():
            now = parameters(learner)
            descent = [before - t for t, before in zip(now, self._before, strict=True)]
            changed = projected(descent, self._reference)
            self._count(changed is not None)
            for tensor, before, step in zip(now, self._before, changed or [], strict=False):
                tensor.copy_(before - step)

    def _count(self, was_projected: bool) -> None:
        self.tally += (1, was_projected)

    def log(self, learner: Learner) -> None:
        """Record how often a step was projected since the last line."""
        if self.tally[0]:
            learner.logger.record("agem/projected", self.tally[1] / self.tally[0])
            self.tally[:] = 0

    def state_dict(self) -> State:
        """Return what is kept."""
        return {
            **super().state_dict(),
            "kept": self.kept,
        }

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.kept = dict(state["kept"])
