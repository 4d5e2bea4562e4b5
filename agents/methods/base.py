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

and around it, during training: ``phase_start``, ``stored`` after each step of the environments,
``completed`` before parts are asked for anything else, ``phase_end`` when all transitions of a
phase are stored and learnt from, before anything is reset, and ``between`` at the lifetime steps
that a part asks for by ``next_due``, when all that was stored until then is learnt from.

What happens within a gradient step is best declared as rules
(:mod:`continual_arcade.agents.methods.rules`), which both engines run. Whoever overrides a hook of
the gradient step, or ``stored``, is run by PyTorch; the other hooks are Python with either engine.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from itertools import chain
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.dqn.policies import QNetwork

from continual_arcade.agents.averaging import Averaged
from continual_arcade.agents.kernels.program import HOOKS
from continual_arcade.agents.machine_memory import check_memory
from continual_arcade.agents.methods import torch_rules
from continual_arcade.agents.methods.rules import (
    MEASURE,
    CurrentTransition,
    Slope,
    TensorRule,
    declared,
)
from continual_arcade.agents.methods.tensors import copies, parameters, roles
from continual_arcade.agents.networks import evaluation_mode
from continual_arcade.agents.replay import TransitionReplayBuffer
from continual_arcade.agents.replay.n_step import Transitions
from continual_arcade.agents.settings import Loss
from continual_arcade.envs.checks import check_counts, check_fields

MEASURED = 100
"""Of so many gradient steps one is measured for the log."""
BEFORE = "before"
"""Key of a field's metadata: what a part did before there was this setting, which older files lack.
"""

State = dict[str, Any]
"""A tree of plain values, arrays and tensors."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one gradient step learns from."""

    samples: ReplayBufferSamples
    slots: npt.NDArray[np.int64] | None = None
    """Where in replay the samples lie, shape ``(batch,)``; -1 for those that do not."""
    weight: float = 1.0
    """Factor of the TD loss."""
    ended: bool = False
    """Of a single transition: whether the episode ended with it, by its rules or cut off."""
    game: int = 0
    """Of a single transition: in which of the games that run side by side it was made."""
    phases: npt.NDArray[np.int64] | None = None
    """In which phases they were made, shape ``(batch,)``."""


class Learner(Protocol):
    """What a part may use of the agent."""

    q_net: QNetwork
    q_net_target: QNetwork
    num_timesteps: int
    """Steps since a call of ``learn()`` counted from 0 the last time; see :attr:`lifetime_step`."""
    learning_starts: int
    batch_size: int
    measures: bool
    """Whether this gradient step is one of those that are measured for the log."""
    last_td_loss: float
    """That loss of the last batch."""
    current: CurrentTransition
    """The transition that is learnt from, if a part learns single ones as they come."""

    @property
    def loss(self) -> Loss:
        """What it makes smaller: the TD loss; or a loss of examples, whose actions are labels.

        Wherever a part speaks of the TD loss this one is meant.
        """
        ...

    @property
    def lifetime_step(self) -> int:
        """Lifetime steps that it was trained for; no call of ``learn()`` sets them back."""
        ...

    @property
    def logger(self) -> Logger:
        """Where numbers are logged."""
        ...

    @property
    def averaged(self) -> Averaged | None:
        """The agent as it plays by the average of its weights; None if no average is kept."""
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

    def place_of(self, phase: int) -> int:
        """Return which of the phases that are told apart a phase is, counted from 0."""
        ...

    def reinitialise(self, network: bool, optimizer: bool, replay: bool) -> None:
        """Reset some of what was learnt."""
        ...


class Part:
    """One method, or a piece of one. Subclasses are dataclasses: their fields are the settings.

    A part keeps no reference to the learner, which is handed to each hook. Its state is what
    :meth:`state_dict` returns.
    """

    name: ClassVar[str]
    """What it is called on the command line and in files."""
    needs_boundaries: ClassVar[bool] = False
    """Whether it needs task boundaries: to know where phases end."""
    told: ClassVar[str] = ""
    """Which option of the policy it needs, if the network is to be told the phase whenever it acts:
    one that takes the number of phases, such as ``subnetworks``. The last features of observations
    tell it, as ``context="one-hot"`` appends them."""
    once: ClassVar[bool] = False
    """Whether it can learn each phase once only, from its beginning to a boundary; see
    :meth:`rests_in`."""
    settles: ClassVar[bool] = False
    """Whether it says, where a phase ends, what the network keeps of it: then it is told of the end
    before other parts, which look at what is kept."""
    conflicts: ClassVar[frozenset[str]] = frozenset()
    """Names of parts it cannot be combined with."""
    streaming: ClassVar[bool] = False
    """Whether it learns single transitions as they come, and makes the step in place of the
    optimiser; see :mod:`continual_arcade.agents.methods.streaming`."""
    fixed: ClassVar[frozenset[str]] = frozenset()
    """Settings that cannot be changed any more once it is bound: what it keeps depends on them."""
    defers: ClassVar[str] = ""
    """A number of the part, if there is one, that keeps the target network from being synchronised
    while it is not 0."""

    sharpens: ClassVar[str] = ""
    """A number of the part, if there is one, that says how sharp the gates of the network are in
    the gradient step; see :class:`~continual_arcade.agents.told_networks.AttentionQNetwork`."""

    values_after: ClassVar[str] = ""
    """A setting of the part, if it needs the values of replayed transitions as they were when they
    were stored: the lifetime step from which on they are [steps]. They lie in the column
    ``q_values`` of replay, NaN where there are none."""

    rng: np.random.Generator
    """The part's own; set by :meth:`bind`."""

    def check_settings(self) -> None:
        """Check every setting by the rule in its type; see :mod:`continual_arcade.envs.checks`.

        Raises:
            ValueError: If one makes no sense, or was set and counts for nothing beside the others;
                the message names it.
        """
        check_fields(self, self.name)
        check_counts(self, self.name)

    def check_learner(self, learner: Learner) -> None:
        """Check that it can do its work with the learner as that is now, also after changes.

        Raises:
            ValueError: If not.
        """

    def check_change(self, before: Mapping[str, Any]) -> None:
        """Check settings that were changed, as those of a new part are.

        Args:
            before: What they were.

        Raises:
            ValueError: If one makes no sense, or is one of those that are :attr:`fixed`.
        """
        for name in sorted(self.fixed):
            if getattr(self, name) != before[name]:
                raise ValueError(
                    f"{self.name}: {name} = {getattr(self, name)!r} was set, and what it keeps is "
                    f"that of {name} = {before[name]!r}: set it back, or make a new agent, or load "
                    "a file of this one with parts=[...] that have it"
                )
        fresh: Any = copy(self)  # which may forget what it likes
        if hasattr(fresh, "__post_init__"):
            fresh.__post_init__()
        for name, value in fresh.settings.items():  # 1 may be meant as "1"
            setattr(self, name, value)

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
        self.check_learner(learner)
        steps = declared(type(self)).steps.values()  # raises if its rules make no sense
        if any(isinstance(step, TensorRule) for of_hook in steps for step in of_hook):
            roles(learner.q_net)  # raises if it has tensors of an unknown kind
        self.rng = rng
        for name, state in declared(type(self)).vectors.items():
            if not state.late:
                count = learner.replay.num_envs if state.per_game else 1
                if state.per_game:
                    # Each of them twice while the compiled engine takes it over.
                    each = 2 * 4 * sum(tensor.numel() for tensor in parameters(learner))
                    what = f"{count:,} vectors {name} of part {self.name!r}, one for each game,"
                    check_memory(what, count * each, each)
                tensors = copies(parameters(learner)) * count
                setattr(self, name, [torch.zeros_like(tensor) for tensor in tensors])
        if self.values_after:
            if "q_values" in learner.replay.columns:
                raise ValueError(
                    f"part {self.name!r} keeps the values of what is replayed, and so does another "
                    "part: leave one out"
                )
            actions = int(learner.q_net.action_space.n)
            learner.replay.add_column("q_values", (actions,), np.float32, np.nan)

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
    def acts_in_updates(self) -> bool:
        """Whether it does anything within a gradient step."""
        kind = type(self)
        changed = any(getattr(kind, hook) is not getattr(Part, hook) for hook in HOOKS)
        return changed or bool(declared(kind).steps)

    @property
    def watches_replay(self) -> bool:
        """Whether it wants to know what is stored, which only replay of this suite tells."""
        kind = type(self)
        watches = kind.stored is not Part.stored or kind.completed is not Part.completed
        losses = declared(kind).steps.get("loss", ())
        asks = any(isinstance(step, Slope) and step.parameters for step in losses)
        return watches or asks or bool(self.values_after)

    @property
    def holds_average(self) -> bool:
        """Whether it holds on to an average of parameters, and not to what a phase ends with."""
        return False

    @property
    def replay_columns(self) -> set[str]:
        """Columns of replay that it writes, or compares values with."""
        steps = chain.from_iterable(declared(type(self)).steps.values())
        names = {step.column for step in steps if isinstance(step, Slope)}
        return names - {""} | ({"q_values"} if self.values_after else set())

    @property
    def earlier_observations(self) -> int:
        """How many observations of phases that have ended it keeps as they were seen."""
        return 0

    @property
    def defers_target(self) -> bool:
        """Whether the target network must not be synchronised now."""
        return bool(self.defers) and getattr(self, self.defers) != 0

    def phase_start(self, learner: Learner, phase: int) -> None:
        """A phase begins."""

    def rests_in(self, learner: Learner, phase: int) -> bool:
        """Return whether nothing of a phase is to be stored or learnt, as it is finished.

        It is asked of parts that learn phases :attr:`once`; unless such a part knows better, each
        that was there before is finished. The phase is played then, and no part is told of its
        beginning or end, nor that anything is due.
        """
        place = learner.place_of(phase)
        return any(learner.place_of(earlier) == place for earlier in range(phase))

    def next_due(self, learner: Learner) -> int | None:
        """Return the lifetime step at which :meth:`between` is to be called next; None for never.

        It may depend on nothing but the part's state and settings.
        """
        return None

    def between(self, learner: Learner) -> None:
        """Between two gradient steps, something is due; parameters may be changed.

        Called once a rollout at most, the first time that a lifetime step of :meth:`next_due` is
        reached, with either engine; not while nothing is learnt (:meth:`rests_in`). The part must
        then have another one, or none.
        """

    @property
    def may_choose(self) -> bool:
        """Whether it may ever choose the actions; at most one part may."""
        return type(self).chooses is not Part.chooses or "chooses" in vars(self)

    def chooses(self, learner: Learner) -> bool:
        """Return whether it chooses the actions now, in place of the agent; see :meth:`actions`.

        It is asked once something is learnt; until then the agent acts at random.

        It may begin to where a phase starts, or in :meth:`between`, and end at any step; and may
        depend on nothing but the part's state and settings, and the lifetime step.
        """
        return False

    def actions(self, learner: Learner, observations: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return what is done next while training, if it chooses the actions.

        They are stored and learnt from as the agent's own. In evaluation the agent chooses.

        Args:
            learner: The learner.
            observations: What is seen, shape ``(num_envs, *obs_shape)``.

        Returns:
            An action for each, shape ``(num_envs,)``.
        """
        raise NotImplementedError(f"part {self.name!r} says that it chooses actions, and does not")

    def restarted(self, learner: Learner) -> None:
        """The environments were reset before training begins, or goes on: episodes were dropped."""

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
        """Transitions were completed; ``transitions[rows]`` now lie in ``slots`` of replay.

        Called after each step of the environments. A part that does not need to know the slots
        overrides :meth:`completed` instead.
        """
        self.completed(learner, transitions)
        if self.values_after and len(rows) and learner.lifetime_step > self.first_values(learner):
            values = q_values(learner, transitions)
            learner.replay.columns["q_values"][slots] = values[rows]

    def first_values(self, learner: Learner) -> int:
        """Return the lifetime step after which values are stored with the transitions."""
        return max(int(getattr(self, self.values_after)), learner.learning_starts)

    def completed(self, learner: Learner, transitions: Transitions) -> None:
        """Transitions were completed, by one or by several steps of the environments."""

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
        torch_rules.run(self, "before_update", learner)

    def on_td_gradient(self, learner: Learner) -> None:
        """The gradients are those of the TD loss."""
        torch_rules.run(self, "on_td_gradient", learner)

    def loss(self, learner: Learner, batch: Batch) -> torch.Tensor | None:
        """Return a loss whose gradient is to be added, or None."""
        return torch_rules.loss_of_slopes(self, learner, batch)

    def add_gradient(self, learner: Learner) -> None:
        """Gradients in closed form may be added."""
        if learner.measures:
            torch_rules.run(self, MEASURE, learner)
        torch_rules.run(self, "add_gradient", learner)

    def project(self, learner: Learner) -> None:
        """The gradient may be changed as a whole."""
        torch_rules.run(self, "project", learner)

    def project_update(self, learner: Learner) -> None:
        """The optimiser has stepped; its step may be changed as a whole."""
        torch_rules.run(self, "project_update", learner)

    def constrain(self, learner: Learner) -> None:
        """Parameters that must not move may be put back."""
        torch_rules.run(self, "constrain", learner)

    def interpolate(self, learner: Learner) -> None:
        """Parameters may be moved as a whole."""
        torch_rules.run(self, "interpolate", learner)

    def after_update(self, learner: Learner) -> None:
        """The gradient step is over."""
        torch_rules.run(self, "after_update", learner)

    def log(self, learner: Learner) -> None:
        """Numbers may be recorded; called before each line of the log."""

    def state_dict(self) -> State:
        """Return what must be kept to resume later: vectors and numbers, and the generator."""
        what = declared(type(self))
        kept: State = {"rng": self.rng.bit_generator.state}
        for name, state in what.vectors.items():
            if state.kept:
                kept[name] = [tensor.clone() for tensor in getattr(self, name)]
        kept |= {name: getattr(self, name).copy() for name in what.rows}
        return kept | {name: getattr(self, name) for name in what.kept_numbers}

    def load_state_dict(self, state: State) -> None:
        """Resume from what :meth:`state_dict` returned.

        Args:
            state: A tree that was kept, by the same part with the same settings.
        """
        self.rng.bit_generator.state = state["rng"]
        what = declared(type(self))
        for name, of_vector in what.vectors.items():
            if of_vector.kept:  # a copy: what is here is changed in place
                setattr(self, name, [tensor.clone() for tensor in state[name]])
        for name in what.rows:
            setattr(self, name, state[name].copy())
        for name in what.kept_numbers:
            setattr(self, name, state[name])


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


def q_values(learner: Learner, transitions: Transitions) -> npt.NDArray[np.float32]:
    """Return Q of the observations, shape ``(count, actions)``, as in play: without dropout."""
    samples = learner.replay.as_samples(transitions)
    with evaluation_mode(learner.q_net), torch.no_grad():
        values: npt.NDArray[np.float32] = learner.q_net(samples.observations).cpu().numpy()
    return values


def begin_from(learner: Learner, *, target: bool, optimizer: bool) -> None:
    """Let a learner go on from parameters that were moved by hand.

    Args:
        learner: The learner.
        target: Whether the target network becomes the network as it is now.
        optimizer: Whether the optimiser's moments, which led elsewhere, are forgotten.
    """
    if target:
        learner.q_net_target.load_state_dict(learner.q_net.state_dict())
    if optimizer:
        learner.reinitialise(network=False, optimizer=True, replay=False)
