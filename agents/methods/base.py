"""What a continual-learning method may do to a learner: the hooks of a part, and their order.

One gradient step of a learner with parts goes::

    batch            from the part that plans them, or from replay
    before_update    every part
    TD loss, backward
    on_td_gradient   every part; the gradient is that of the TD loss and of nothing else
    loss, backward   every part; losses that autograd is to differentiate
    add_gradient     every part; gradients in closed form
    project          every part; the whole gradient may be changed
    clipping, optimiser
    project_update   every part; the optimiser's step may be changed as a whole
    constrain        every part; parameters that must not move are put back
    interpolate      every part; parameters may be moved as a whole
    after_update     every part; the parameters are those of the next step

and around it, in the life: ``phase_start``, ``stored`` after each step of the environments,
``phase_end`` when all of its transitions are stored and learnt from, before anything is reset.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.dqn.policies import QNetwork

from continual_arcade.agents.replay import TransitionReplayBuffer
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.envs.checks import check_fields

MEASURED = 100
"""Of so many gradient steps one is measured for the log."""
State = dict[str, Any]
"""A tree of plain values, arrays and tensors."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one gradient step learns from."""

    samples: ReplayBufferSamples
    slots: npt.NDArray[np.int64] | None = None
    """Where in replay the samples lie, shape ``(batch,)``; None if they do not come from there."""
    weight: float = 1.0
    """Factor of the TD loss."""


class Learner(Protocol):
    """What a part may use of the agent."""

    q_net: QNetwork
    q_net_target: QNetwork
    num_timesteps: int
    learning_starts: int
    batch_size: int
    measures: bool
    """Whether this gradient step is one of those that are measured for the log."""
    last_td_loss: float
    """TD loss of the last batch."""

    @property
    def logger(self) -> Logger:
        """Where numbers are logged."""
        ...

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What moves the parameters of ``q_net``."""
        ...

    @property
    def replay(self) -> TransitionReplayBuffer:
        """The replay memory.

        Raises:
            ValueError: If the agent has one of another kind.
        """
        ...

    def sample(self, batch_size: int) -> Batch:
        """Draw a batch from replay."""
        ...

    def td_targets(self, samples: ReplayBufferSamples) -> torch.Tensor:
        """Return the targets of the samples, shape ``(batch, 1)``, without a gradient."""
        ...

    def td_loss(self, samples: ReplayBufferSamples) -> torch.Tensor:
        """Return the mean TD loss of the samples, with a gradient."""
        ...

    def ends_with(self, phase: int) -> int:
        """Return the phase that :meth:`Part.phase_end` is told of when this one has ended.

        It is a later one if this one drifts into it.
        """
        ...

    def reinitialise(self, network: bool, optimizer: bool, replay: bool) -> None:
        """Begin anew with some of what was learnt."""
        ...


class Part:
    """One method, or a piece of one. Subclasses are dataclasses: their fields are the settings.

    A part keeps no reference to the learner, which is handed to each hook. Its state is what
    :meth:`state_dict` returns.
    """

    name: ClassVar[str]
    """What it is called on the command line and in files."""
    needs_boundaries: ClassVar[bool] = False
    """Whether it must be told where phases end."""
    conflicts: ClassVar[frozenset[str]] = frozenset()
    """Names of parts it cannot be combined with."""

    rng: np.random.Generator
    """The part's own; set by :meth:`bind`."""

    def check_settings(self) -> None:
        """Check every setting by the rule in its type; see :mod:`continual_arcade.envs.checks`.

        Raises:
            ValueError: If one makes no sense; the message names it.
        """
        check_fields(self, self.name)

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Get ready for a learner.

        Args:
            learner: The learner, whose networks and replay exist.
            rng: A generator for this part alone.

        Raises:
            ValueError: If the part cannot do its work with this learner, or serves another one.
        """
        if hasattr(self, "rng"):
            raise ValueError(
                f"part {self.name!r} serves another agent, and knows what that one learnt: make a "
                "new part for each agent"
            )
        self.rng = rng

    @property
    def settings(self) -> dict[str, Any]:
        """What it was made with, by name; of a part that is no dataclass nothing is known."""
        if not is_dataclass(self):
            return {}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}

    @property
    def plans_batches(self) -> bool:
        """Whether :meth:`batches` chooses what is learnt from; at most one part may."""
        return type(self).batches is not Part.batches

    @property
    def watches_replay(self) -> bool:
        """Whether it wants to know what is stored, which only replay of this suite tells."""
        return type(self).stored is not Part.stored

    @property
    def defers_target(self) -> bool:
        """Whether the target network must not be synchronised now."""
        return False

    def phase_start(self, learner: Learner, phase: int) -> None:
        """A phase begins."""

    def phase_end(self, learner: Learner, phase: int) -> None:
        """A phase has ended, and another one follows.

        Args:
            learner: The learner.
            phase: Its index; the last one, if several drifted into one another.
        """

    def stored(
        self,
        learner: Learner,
        transitions: Transitions,
        rows: npt.NDArray[np.int64],
        slots: npt.NDArray[np.int64],
    ) -> None:
        """Transitions were completed; ``transitions[rows]`` now lie in ``slots`` of replay."""

    def batches(self, learner: Learner, steps: int, batch_size: int) -> Iterator[Batch]:
        """Choose the batches that follow a step of the environments.

        Args:
            learner: The learner.
            steps: Gradient steps it is set to.
            batch_size: Transitions of a batch it is set to.
        """
        for _ in range(steps):
            yield learner.sample(batch_size)

    def before_update(self, learner: Learner) -> None:
        """A gradient step begins."""

    def on_td_gradient(self, learner: Learner) -> None:
        """The gradients are those of the TD loss."""

    def loss(self, learner: Learner, batch: Batch) -> torch.Tensor | None:
        """Return a loss whose gradient is to be added, or None."""
        return None

    def add_gradient(self, learner: Learner) -> None:
        """Gradients in closed form may be added."""

    def project(self, learner: Learner) -> None:
        """The gradient may be changed as a whole."""

    def project_update(self, learner: Learner) -> None:
        """The optimiser has stepped; its step may be changed as a whole."""

    def constrain(self, learner: Learner) -> None:
        """Parameters that must not move may be put back."""

    def interpolate(self, learner: Learner) -> None:
        """Parameters may be moved as a whole."""

    def after_update(self, learner: Learner) -> None:
        """The gradient step is over."""

    def log(self, learner: Learner) -> None:
        """Numbers may be recorded; called before each line of the log."""

    def state_dict(self) -> State:
        """Return what must be kept to go on later."""
        return {"rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: State) -> None:
        """Go on from what :meth:`state_dict` returned.

        Args:
            state: A tree that was kept, by the same part with the same settings.
        """
        self.rng.bit_generator.state = state["rng"]


@contextmanager
def all_or_none(parts: Iterable[Part]) -> Iterator[None]:
    """Bind parts within; if anything fails there, those that were free before are free again."""
    free = [part for part in parts if not hasattr(part, "rng")]
    try:
        yield
    except BaseException:
        for part in free:
            part.__dict__.pop("rng", None)
        raise


def parameters(learner: Learner) -> list[torch.nn.Parameter]:
    """Return the parameters that are learnt."""
    return list(learner.q_net.parameters())


def copies(tensors: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    """Return copies without a gradient."""
    return [tensor.detach().clone() for tensor in tensors]


def gradients(learner: Learner) -> list[torch.Tensor]:
    """Return the gradients of the parameters, which may be changed in place.

    Frozen parameters have none: zeros stand in their place, which move nothing.

    Raises:
        RuntimeError: If a parameter that is learnt has none.
    """
    found = []
    for name, parameter in learner.q_net.named_parameters():
        if parameter.grad is None and parameter.requires_grad:
            raise RuntimeError(f"{name} of the network has no gradient: it takes no part in Q")
        found.append(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    return found
