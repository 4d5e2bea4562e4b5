"""Hard masks: parameters that must not move."""

from collections.abc import Sequence

import numpy as np
import torch

from continual_arcade.agents.methods.base import Learner, Part, State, copies, gradients, parameters
from continual_arcade.agents.methods.importance import Parameters


class HardMask(Part):
    """Keeps parameters exactly where they are; a base for methods that say which.

    Frozen parameters get no gradient, so that they have no part in its norm either, and are put
    back after the optimiser's step, whose momentum would move them on.
    """

    frozen: Parameters
    """Which parameters are, one tensor of booleans for each; empty before :meth:`freeze`."""
    held: Parameters
    """Where they are."""

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Begin with nothing frozen."""
        super().bind(learner, rng)
        self.frozen, self.held = [], []

    def freeze(self, learner: Learner, frozen: Sequence[torch.Tensor]) -> None:
        """Freeze parameters where they are; those frozen before are free, unless named again.

        Args:
            learner: The learner.
            frozen: A tensor of booleans for each parameter, in its shape.

        Raises:
            ValueError: If there is not one for each parameter, or a shape is another one.
        """
        shapes = [tuple(tensor.shape) for tensor in parameters(learner)]
        given = [tuple(tensor.shape) for tensor in frozen]
        if given != shapes:
            raise ValueError(
                f"{self.name}: masks have shapes {given}, but the parameters have {shapes}"
            )
        self.frozen = [tensor.bool().clone() for tensor in frozen]
        self.held = copies(parameters(learner))

    def project(self, learner: Learner) -> None:
        """Let frozen parameters have no gradient."""
        for gradient, frozen in zip(gradients(learner), self.frozen, strict=False):
            gradient.masked_fill_(frozen, 0.0)

    def constrain(self, learner: Learner) -> None:
        """Put frozen parameters back."""
        with torch.no_grad():
            for tensor, frozen, held in zip(
                parameters(learner), self.frozen, self.held, strict=False
            ):
                tensor.copy_(torch.where(frozen, held, tensor))

    def state_dict(self) -> State:
        """Return what is frozen, and where."""
        return {**super().state_dict(), "frozen": self.frozen, "held": self.held}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.frozen, self.held = list(state["frozen"]), list(state["held"])
