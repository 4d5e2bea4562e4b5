"""Hard masks: parameters that must not move."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from continual_arcade.agents.kernels.arithmetic import choose
from continual_arcade.agents.methods.base import Learner, Part
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.rules import rule, vector
from continual_arcade.agents.methods.tensors import copies, parameters


@dataclass
class HardMask(Part):
    """Keeps parameters exactly where they are; a base for methods that say which.

    Frozen parameters get no gradient, so that they have no part in its norm either, and are put
    back after the optimiser's step, whose momentum would move them on.
    """

    frozen: Parameters = vector(late=True)
    """1 for parameters that are frozen, 0 for the others; empty before :meth:`freeze`."""
    held: Parameters = vector(late=True)
    """Where they are."""

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
        self.frozen = [tensor.float().clone() for tensor in frozen]
        self.held = copies(parameters(learner))

    @rule("project")
    def still(gradient: Any, frozen: Any) -> Any:
        """Let frozen parameters have no gradient."""
        return choose(frozen, 0.0, gradient)

    @rule("constrain")
    def put_back(theta: Any, frozen: Any, held: Any) -> Any:
        """Put frozen parameters back."""
        return choose(frozen, held, theta)
