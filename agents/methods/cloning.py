"""Cloning: the values of earlier phases are held, not the parameters."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from continual_arcade.agents.methods.base import Batch, Learner, Part, State
from continual_arcade.agents.methods.phase_memory import Remembering
from continual_arcade.agents.networks import evaluation_mode
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.envs.checks import AtOnce, Count, Divisor, NotNegative

What = Literal["q", "advantage", "policy"]


def cloning_loss(
    values: torch.Tensor, old: torch.Tensor, what: What, temperature: float = 1.0
) -> torch.Tensor:
    r"""Return how far values are from what they were.

    - ``q``: the mean square of Q - Q_old.
    - ``advantage``: the same for Q less its mean over actions.
    - ``policy``: :math:`\tau^2 KL(softmax(Q_{old}/\tau) \| softmax(Q/\tau))`, the mean over states.

    Args:
        values: Q now, shape ``(batch, actions)``.
        old: Q as it was.
        what: What is compared.
        temperature: The tau of ``policy`` [units of Q].
    """
    if what == "policy":
        now, then = (
            functional.log_softmax(values / temperature, 1),
            functional.log_softmax(old / temperature, 1),
        )
        return temperature**2 * functional.kl_div(now, then, reduction="batchmean", log_target=True)
    if what == "advantage":
        values = values - values.mean(1, keepdim=True)
        old = old - old.mean(1, keepdim=True)
    return functional.mse_loss(values, old)


@dataclass
class _Cloning(Part):
    """What both ways of cloning share."""

    alpha: NotNegative = 0.1
    """Weight of the cloning loss beside the TD loss."""
    what: What = "q"
    """What is held: the values, their differences between actions, or the softmax policy."""
    temperature: Divisor = 1.0
    """Of the softmax policy [units of Q]."""

    def __post_init__(self) -> None:
        self.check_settings()


@dataclass
class Clear(_Cloning):
    """CLEAR for Q-learning: replayed states keep the values that they had when they were played.

    Each transition is stored with Q of that moment; what replay returns is held to it (after
    Rolnick et al. 2019, section 3, whose actor-critic clones policy and value; the squared form is
    DER, Buzzega et al. 2020, eq. 6). Needs to know nothing of phases. Early values are wrong, and
    holding them slows learning down: cloning begins with what is stored after ``after`` steps.
    """

    name: ClassVar[str] = "clear"
    conflicts: ClassVar[frozenset[str]] = frozenset({"clone", "mer"})

    after: int = 5_000
    """Lifetime steps before which values are not stored [steps]."""

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Make room in replay for the values."""
        super().bind(learner, rng)
        actions = int(learner.q_net.action_space.n)
        learner.replay.add_column("q_values", (actions,), np.float32, np.nan)

    def stored(
        self,
        learner: Learner,
        transitions: Transitions,
        rows: npt.NDArray[np.int64],
        slots: npt.NDArray[np.int64],
    ) -> None:
        """Store the values with the transitions."""
        if not len(rows) or learner.num_timesteps <= max(self.after, learner.learning_starts):
            return
        values = q_values(learner, transitions)
        learner.replay.columns["q_values"][slots] = values[rows]

    def loss(self, learner: Learner, batch: Batch) -> torch.Tensor | None:
        """Hold the replayed states that have a value."""
        if batch.slots is None or not self.alpha:
            return None
        old = torch.as_tensor(learner.replay.columns["q_values"][batch.slots])
        known = ~torch.isnan(old[:, 0])
        if not known.any():
            return None
        old = old[known].to(batch.samples.observations.device)
        values = learner.q_net(batch.samples.observations[known])
        # The share of the batch that has a value weighs the loss: a mean over the whole batch.
        share = float(known.float().mean())
        return self.alpha * share * cloning_loss(values, old, self.what, self.temperature)


@dataclass
class Clone(Remembering, _Cloning):
    """Holds the values that the network had at the end of each phase, on states of that phase.

    At each phase end some of its last states are kept with their values; later phases are learnt
    together with a batch of them (ClonEx, Wolczyk et al. 2022, for Q-learning; their actor clones
    by KL divergence, which is ``what=policy``).
    """

    name: ClassVar[str] = "clone"
    conflicts: ClassVar[frozenset[str]] = frozenset({"clear"})
    needs_boundaries: ClassVar[bool] = True

    states: Count = 2_000
    """States kept of each phase."""
    batch: AtOnce | None = None
    """States of a cloning batch, drawn from all kept ones; as many as the learner's batch if not
    given."""

    observations: npt.NDArray[np.generic] | None = field(init=False, repr=False, default=None)
    """Kept states, shape ``(count, *obs_shape)``."""
    values: npt.NDArray[np.float32] | None = field(init=False, repr=False, default=None)
    """Their values at the end of their phase, shape ``(count, actions)``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.remember(self.states)

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Keep states of the phase, and their values."""
        played = self.played(phase)
        values = q_values(learner, played)
        if self.observations is None or self.values is None:
            self.observations, self.values = played.observations, values
        else:
            self.observations = np.concatenate([self.observations, played.observations])
            self.values = np.concatenate([self.values, values])

    def loss(self, learner: Learner, batch: Batch) -> torch.Tensor | None:
        """Hold a batch of the kept states."""
        if self.observations is None or self.values is None or not self.alpha:
            return None
        drawn = self.rng.integers(len(self.values), size=self.batch or learner.batch_size)
        device = batch.samples.observations.device
        states = torch.as_tensor(self.observations[drawn], device=device)
        old = torch.as_tensor(self.values[drawn], device=device)
        now = learner.q_net(states)
        return self.alpha * cloning_loss(now, old, self.what, self.temperature)

    def state_dict(self) -> State:
        """Return what is kept."""
        return {
            **super().state_dict(),
            "observations": self.observations,
            "values": self.values,
        }

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.observations, self.values = state["observations"], state["values"]


def q_values(learner: Learner, transitions: Transitions) -> npt.NDArray[np.float32]:
    """Return Q of the observations, shape ``(count, actions)``, as in play: without dropout."""
    samples = learner.replay.as_samples(transitions)
    with evaluation_mode(learner.q_net), torch.no_grad():
        values: npt.NDArray[np.float32] = learner.q_net(samples.observations).cpu().numpy()
    return values
