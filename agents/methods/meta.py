"""Meta-learning: parameters are drawn back towards where a number of steps began.

What a few gradient steps gain in common survives the interpolation better than what they gain each
on its own: in expectation it rewards gradients that point the same way (Nichol et al. 2018; Riemer
et al. 2019).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from continual_arcade.agents.methods.base import (
    Batch,
    Learner,
    Part,
    State,
    copies,
    parameters,
)
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.phase_memory import Recent
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.envs.checks import MOST_AT_ONCE, AtOnce, Count, Share, Whole


def draw_back(learner: Learner, base: Parameters, rate: float) -> None:
    """Move the parameters to ``base + rate * (parameters - base)``.

    A rate of 1 leaves every bit as it is. Only what is learnt is moved: neither the target network
    nor buffers.
    """
    if rate == 1:
        return
    with torch.no_grad():
        for tensor, start in zip(parameters(learner), base, strict=True):
            tensor.copy_(start + rate * (tensor - start))


@dataclass
class Reptile(Part):
    r"""Every few gradient steps, draws the parameters back to where they began.

    :math:`\theta \leftarrow \theta_0 + \epsilon (\theta - \theta_0)` every ``every`` steps (Nichol
    et al. 2018, algorithm 1, one task at a time). Over Adam, whose moments are left alone, it is
    Lookahead (Zhang et al. 2019), and with replay the lazy form of MER. The drift per step is
    about ``eps`` times that of the same learner without it: compare at equal
    ``eps * learning_rate`` too, or forgetting less may only be learning less.

    Between two interpolations the agent acts with the parameters that are not yet drawn back; the
    target network waits for the interpolation.
    """

    name: ClassVar[str] = "reptile"
    conflicts: ClassVar[frozenset[str]] = frozenset({"mer"})

    every: Count = 500
    """Gradient steps from one interpolation to the next."""
    eps: Share = 0.1
    """Share of the way that is kept; 1 keeps all, 0 stands still."""

    base: Parameters = field(init=False, repr=False, default_factory=list)
    """Parameters after the last interpolation."""
    steps: int = field(init=False, repr=False, default=0)
    """Gradient steps since."""

    def __post_init__(self) -> None:
        self.check_settings()

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Stand at the beginning."""
        super().bind(learner, rng)
        self.base, self.steps = copies(parameters(learner)), 0

    @property
    def defers_target(self) -> bool:
        """Whether steps were made that are not yet drawn back."""
        return self.steps > 0

    def interpolate(self, learner: Learner) -> None:
        """Draw back when it is time."""
        self.steps += 1
        if self.steps == self.every:
            draw_back(learner, self.base, self.eps)
            self.base, self.steps = copies(parameters(learner)), 0

    def state_dict(self) -> State:
        """Return where the steps began and how many were made."""
        return {**super().state_dict(), "base": self.base, "steps": self.steps}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        self.base, self.steps = list(state["base"]), state["steps"]


def joined(one: ReplayBufferSamples, other: ReplayBufferSamples) -> ReplayBufferSamples:
    """Return the samples of both."""
    pairs = zip(one, other, strict=True)
    # The memories of this suite leave no column out.
    return ReplayBufferSamples(*(torch.cat(pair) for pair in pairs))  # type: ignore[arg-type]


@dataclass
class MER(Part):
    """Meta-experience replay: each new transition is learnt together with drawn memories.

    For each transition that is completed, with plain SGD on one example at a time (Riemer et al.
    2019; the numbers are those of the paper's algorithms, as its authors' code has them):

    - ``algorithm="1"``: ``repeats`` times, the current transition and ``memories`` draws from
      replay, one after the other, then an interpolation by ``beta``; at the end one by ``gamma``.
    - ``algorithm="6"``: the same without ``beta``: the current transition comes last, and each
      repetition ends with an interpolation by ``gamma``.
    - ``algorithm="7"``: once through the current transition and the draws in random order, the TD
      loss of the current one weighed with ``repeats``; then an interpolation by ``gamma``.

    ``algorithm="batched"`` is DQN-MER for mini-batches and any optimiser: after each step of the
    environments the learner's gradient steps, one of which (drawn anew each time) also holds all
    transitions just completed; then an interpolation by ``gamma``.

    The target network does not change in the meantime. In the paper the current transition enters
    the memory after it was learnt; here it may be drawn already, with the probability of any other.
    """

    name: ClassVar[str] = "mer"
    conflicts: ClassVar[frozenset[str]] = frozenset({"reptile"})

    algorithm: Literal["1", "6", "7", "batched"] = "batched"
    """Which algorithm."""
    memories: Annotated[int, Whole(0, MOST_AT_ONCE)] = 15
    """Draws from replay for each current transition, the paper's k - 1; not for ``batched``."""
    repeats: AtOnce = 1
    """The paper's s: repetitions, or in algorithm 7 the weight of the current transition."""
    beta: Share = 1.0
    """Interpolation within a repetition, in algorithm 1; 1 for none."""
    gamma: Share = 0.3
    """Interpolation across repetitions; 1 for none. Not the discount."""

    def __post_init__(self) -> None:
        given: object = self.algorithm
        if type(given) is int and given in (1, 6, 7):  # 1 is meant as "1"
            self.algorithm = str(given)  # type: ignore[assignment]
        self.check_settings()
        if self.beta != 1 and self.algorithm != "1":
            raise ValueError(
                f"mer: beta = {self.beta} has no meaning in algorithm {self.algorithm}: only "
                "algorithm 1 interpolates within a repetition"
            )
        self._completed = Recent(1)
        # Interpolations that follow the next gradient step: where from, and by how much.
        self._due: list[tuple[Parameters, float]] = []

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Check that the learner's optimiser is that of the algorithm.

        Raises:
            ValueError: If single examples are to be learnt by anything but plain SGD.
        """
        super().bind(learner, rng)
        if self.algorithm == "batched":
            return
        optimizer = learner.optimizer
        momentum = " with momentum" if optimizer.defaults.get("momentum") else ""
        if type(optimizer) is not torch.optim.SGD or momentum:
            raise ValueError(
                f"mer: algorithm {self.algorithm} learns single examples by plain SGD, not by "
                f"{type(optimizer).__name__}{momentum}: use policy_kwargs={{'optimizer_class': "
                "torch.optim.SGD} or algorithm 'batched'"
            )

    def stored(
        self,
        learner: Learner,
        transitions: Transitions,
        rows: npt.NDArray[np.int64],
        slots: npt.NDArray[np.int64],
    ) -> None:
        """Remember what has to be learnt."""
        if len(transitions) and learner.num_timesteps > learner.learning_starts:
            self._completed.capacity = len(self._completed) + len(transitions)
            self._completed.add(transitions)

    def batches(self, learner: Learner, steps: int, batch_size: int) -> Iterator[Batch]:
        """Plan what follows a step of the environments."""
        if not len(self._completed):
            return
        current = self._completed.all()
        self._completed.clear()
        if self.algorithm == "batched":
            yield from self._batched(learner, current, steps, batch_size)
        else:
            for row in range(len(current)):
                one = learner.replay.as_samples(current.take([row]))
                yield from self._single(learner, Batch(one))

    def _batched(
        self, learner: Learner, current: Transitions, steps: int, batch_size: int
    ) -> Iterator[Batch]:
        base = copies(parameters(learner))
        newest = learner.replay.as_samples(current)
        holds = int(self.rng.integers(steps))
        for step in range(steps):
            batch = learner.sample(batch_size)
            if step == steps - 1:
                self._due = [(base, self.gamma)]
            yield Batch(joined(batch.samples, newest)) if step == holds else batch

    def _single(self, learner: Learner, current: Batch) -> Iterator[Batch]:
        outer = copies(parameters(learner))
        repeats = 1 if self.algorithm == "7" else self.repeats
        for repeat in range(repeats):
            inner = copies(parameters(learner))
            examples = self._examples(learner, current)
            yield from examples[:-1]
            self._due = [(inner, self.beta if self.algorithm == "1" else self.gamma)]
            if self.algorithm == "1" and repeat == repeats - 1:
                self._due.append((outer, self.gamma))
            yield examples[-1]

    def _examples(self, learner: Learner, current: Batch) -> list[Batch]:
        memories = [learner.sample(1) for _ in range(self.memories)]
        if self.algorithm == "1":
            return [current, *memories]
        if self.algorithm == "6":
            return [*memories, current]
        examples = [*memories, Batch(current.samples, weight=float(self.repeats))]
        return [examples[i] for i in self.rng.permutation(len(examples))]

    def interpolate(self, learner: Learner) -> None:
        """Draw back after the last step of a repetition."""
        for base, rate in self._due:
            draw_back(learner, base, rate)
        self._due = []

    def state_dict(self) -> State:
        """Return what has not been learnt yet."""
        return {**super().state_dict(), "completed": self._completed.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Put it back."""
        super().load_state_dict(state)
        kept = state["completed"]
        self._completed = Recent(max(1, len(kept.get("rewards", ()))))
        self._completed.load_state_dict(kept)
