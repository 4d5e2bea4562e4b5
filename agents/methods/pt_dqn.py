"""PT-DQN: values are the sum of a permanent network, which is slow, and of a transient one."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from continual_arcade.agents.methods.base import Learner, State, begin_from
from continual_arcade.agents.methods.halves import (
    check_halves,
    half_of,
    learn_values,
    linear,
    outside,
    separate,
)
from continual_arcade.agents.methods.mask import HardMask
from continual_arcade.agents.methods.periodic import Periodic
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import number
from continual_arcade.agents.methods.tensors import check_free
from continual_arcade.agents.settings import StepSize
from continual_arcade.envs.checks import Count, Share, Whole


@dataclass
class PTDQN(Periodic, HardMask):
    """Splits the network in two, whose values are added; TD learning moves the transient one.

    The first half of each hidden layer is transient, the second permanent, and weights between the
    halves are 0. Every so many steps the permanent one learns what both say of what is in replay,
    and the values of the transient one are multiplied by ``keep`` (Anand and Precup 2023).
    """

    name: ClassVar[str] = "pt-dqn"
    conflicts: ClassVar[frozenset[str]] = frozenset(
        {"packnet", "hat", "progressive", "drop-and-grow", "reptile", "reset", "benna-fusi"}
        | {"gem", "shrink-perturb", "hare-tortoise", "redo", "continual-backprop", "neurogenesis"}
        | {"upgd", "trac", "l2", "ewc", "online-ewc", "si", "mas", "spectral", "parseval", "agem"}
    )

    every: Count = 10_000
    """Lifetime steps from one lesson of the permanent network to the next."""
    keep: Share = 0.5
    """What the transient values are multiplied by after it."""
    updates: Annotated[int, Whole(0)] = 200
    """Gradient steps of a lesson."""
    batch: Count = 128
    """States of each of them."""
    rate: StepSize = 1e-3
    """Step size of them, by Adam."""

    shift: npt.NDArray[np.float32] = field(init=False, repr=False, compare=False)
    """Of the biases of the values the permanent share, shape ``(actions,)``."""
    error: float = number(0.0)
    """Mean squared error of the last lesson."""

    def __post_init__(self) -> None:
        self.check_settings()

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Get ready for a network that can be split."""
        check_halves(learner.q_net, self.name)
        super().bind(learner, rng)
        self.shift = np.zeros(linear(learner.q_net)[-1].out_features, np.float32)

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Split the network before anything is learnt; the permanent values begin with 0."""
        super().phase_start(learner, phase)
        if not self.frozen:
            for network in (learner.q_net, learner.q_net_target):
                separate(network)
            self.freeze(learner, outside(learner.q_net, second=False))

    def act(self, learner: Learner) -> None:
        """Teach the permanent network what both say, and let the transient one say less."""
        check_free(learner.q_net, self.name)
        transient, permanent = (half_of(learner.q_net, second) for second in (False, True))
        weight, biases = transient[-1]  # the biases are those of both
        before, after = (torch.from_numpy(self.shift.copy()) for _ in range(2))
        permanent[-1] = permanent[-1][0], after
        teaching = self._lesson(learner, deepcopy(learner.q_net))
        self.error = learn_values(permanent, learner.q_net, teaching, self.rate)
        with torch.no_grad():
            biases.copy_(after + self.keep * (biases - before))
            weight.mul_(self.keep)
        self.shift = after.detach().numpy()
        self.freeze(learner, outside(learner.q_net, second=False))
        begin_from(learner, target=True, optimizer=False)

    def _lesson(
        self, learner: Learner, teacher: Any
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield features of what is in replay, and what a network says of them."""
        slots = learner.replay.stored_slots()
        for _ in range(self.updates if len(slots) else 0):
            drawn = slots[self.rng.integers(len(slots), size=self.batch)]
            seen = learner.replay.gather(drawn).observations
            with torch.no_grad():
                features = teacher.extract_features(seen, teacher.features_extractor)
                values = teacher.q_net(features)
            yield features, values

    def log(self, learner: Learner) -> None:
        """Record how well the permanent network has learnt the last time."""
        learner.logger.record(f"{self.name}/error", self.error)

    def state_dict(self) -> State:
        """Return the permanent biases, too."""
        return {**super().state_dict(), "shift": self.shift}

    def load_state_dict(self, state: State) -> None:
        """Put them back."""
        super().load_state_dict(state)
        self.shift = state["shift"]


PRESETS = (
    Preset(
        "pt-dqn",
        "Values are those of a slow, permanent network and of a transient one, added.",
        source="Anand and Precup 2023",
        parts=("pt-dqn",),
    ),
)
