"""DEN: a phase retrains the units that it needs, adds others, and copies those that drift."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np

from continual_arcade.agents.methods.base import Learner, State, begin_from
from continual_arcade.agents.methods.growing import Growing
from continual_arcade.agents.methods.growing_units import Marks
from continual_arcade.agents.methods.mask import HardMask
from continual_arcade.agents.methods.periodic import Periodic
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.proximal import Proximal
from continual_arcade.agents.methods.quadratic import AnchoredPenalty
from continual_arcade.agents.methods.rules import number
from continual_arcade.agents.methods.tensors import copies, parameters
from continual_arcade.envs.checks import Count, NotNegative, Whole

FIRST, HEAD, SUBNETWORK, EXPANSION = range(4)
"""Stages: the first phase has one, later ones have the three others."""


@dataclass
class DEN(Growing, AnchoredPenalty, HardMask, Proximal, Periodic):
    """Dynamically expandable networks (Yoon et al. 2018).

    The first phase is learnt sparsely. Each later one learns a head, retrains the units that lead
    to it, and adds units if the loss stays high. Units that drift are copied: the phase goes on
    with the copies, and earlier ones see the units as they were.
    """

    name: ClassVar[str] = "den"
    fixed: ClassVar[frozenset[str]] = Growing.fixed | {"units"}
    told: ClassVar[str] = "attention"
    conflicts: ClassVar[frozenset[str]] = frozenset(
        {"packnet", "progressive", "hat", "mer", "reptile", "reset", "shrink-perturb", "trac"}
        | {"hare-tortoise", "redo", "continual-backprop", "neurogenesis", "drop-and-grow"}
        | {"spectral", "parseval", "agem", "gem", "clone", "lwf", "generative-replay", "upgd"}
        | {"best-return", "l2", "l2-init", "ewc", "online-ewc", "mas", "si"}
        | {"benna-fusi", "pt-dqn", "stream-q"}
    )

    lam: NotNegative = 0.0
    """How strongly retrained weights are pulled to where they were when the phase began."""
    head_steps: Annotated[int, Whole(0)] = 10_000
    """Lifetime steps in which a phase learns its head alone."""
    retrain_steps: Count = 40_000
    """Lifetime steps of retraining after which the loss is looked at, each time."""
    above: NotNegative = 2.0
    """How many times as large as at the end of the phase before the loss is if units are added."""
    units: Annotated[int, Whole(0)] = 4
    """How many are then added to each hidden layer; 0 for none."""
    expand_steps: Count = 20_000
    """Lifetime steps in which these units alone are learnt."""

    stage: int = number(FIRST)
    began: int = number()
    """Lifetime step at which the stage began, or the loss was looked at."""
    loss_before: float = number(0.0)
    """The loss at the end of the phase before."""

    def bind(self, learner: Learner, rng: Any) -> None:
        """Get ready for the first phase; refuse more units than are spare."""
        super().bind(learner, rng)
        network: Any = learner.q_net
        spare = [int(self.spare * size) for size in network.sizes]
        if self.units > min(spare):
            raise ValueError(
                f"den: units = {self.units} are to be added to each hidden layer, of whose units "
                f"{spare} are spare: larger layers (hidden), a larger spare, or fewer units"
            )
        self.center = copies(parameters(learner))
        self._enter(learner, FIRST)

    def act(self, learner: Learner) -> None:
        """Copy units that have drifted, and go on to the next stage if this one is over."""
        units, over = self.units_of(learner), learner.lifetime_step - self.began
        if self.stage == SUBNETWORK:
            if self.split(units, self.center):
                self._mark(learner)
            if self.units and over >= self.retrain_steps:
                self.began = learner.lifetime_step
                if self.loss_of(learner) > self.above * self.loss_before:
                    added = self.grow(units, self.units)
                    if any(bool(of.any()) for of in added):
                        self._enter(learner, EXPANSION, added)
        elif over >= {HEAD: self.head_steps, EXPANSION: self.expand_steps}.get(self.stage, np.inf):
            self.cut_off(learner)
            units.prune()
            self._enter(learner, SUBNETWORK)

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Count the steps of the stage from here: a phase that came back is none of it."""
        super().phase_start(learner, phase)
        self.began = learner.lifetime_step

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Note the loss before what was learnt last gives way to its average."""
        self.loss_before = self.loss_of(learner) or self.loss_before
        super().phase_end(learner, phase)

    def finish(self, learner: Learner) -> None:
        """Keep which units the phase sees, and begin the next one with its head."""
        self.cut_off(learner)
        units = self.units_of(learner)
        units.prune()
        self.split(units, self.center)
        units.finish()
        self.center = copies(parameters(learner))
        self._enter(learner, HEAD)
        self.act(learner)

    def _enter(self, learner: Learner, stage: int, added: Marks | None = None) -> None:
        """Begin a stage; that of expansion with the units that were added."""
        self.stage, self.began = stage, learner.lifetime_step
        self.shortens = self.group if stage == EXPANSION else 0.0
        self._mark(learner, added)

    def _mark(self, learner: Learner, added: Marks | None = None) -> None:
        """Say which parameters are learnt, and how, and go on without moments."""
        units = self.units_of(learner)
        added = added or units.none
        expansion = partial(units.expansion, added)
        free = (units.whole, units.head, units.subnetwork, expansion)[self.stage]()
        self.sparse = [of.float() * (of.ndim > 1 and self.stage != SUBNETWORK) for of in free]
        self.fresh = [of.float() for of in units.into(added)]
        self.omega = [(a & b).float() for a, b in zip(free, units.of_finished(), strict=True)]
        self.freeze(learner, [~of for of in free])
        if self.stage != FIRST:
            begin_from(learner, target=True, optimizer=True)

    def load_state_dict(self, state: State) -> None:
        """Put back which stage it is."""
        super().load_state_dict(state)
        Whole(FIRST, EXPANSION)("stage of den", self.stage)


PRESETS = (
    Preset(
        "den",
        "Each phase retrains the units that it needs, adds some, and copies those that drift.",
        source="after Yoon et al. 2018",
        parts=("den",),
    ),
)
