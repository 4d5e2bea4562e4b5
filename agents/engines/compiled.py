"""The compiled engine: it learns in place of an agent, and with games of this suite plays, too.

It works on the agent's own memory: parameters, moments, replay, state of the games, generators.
What the agent is can be looked at, saved and changed between two calls as if there were no engine.
"""

import math
from functools import cache, partial
from operator import attrgetter, is_
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit

from continual_arcade.agents.averaging import WeightAverage
from continual_arcade.agents.engines import control as at
from continual_arcade.agents.engines.binding import PartsBinding
from continual_arcade.agents.engines.compilation import Entry, Prepared
from continual_arcade.agents.engines.control import Control, table
from continual_arcade.agents.engines.eligibility import (
    activation_of,
    gated_of,
    heads_of,
    pictures_of,
)
from continual_arcade.agents.engines.flat import FlatVector, aligned
from continual_arcade.agents.engines.snapshot import Snapshot
from continual_arcade.agents.kernels import update
from continual_arcade.agents.kernels.convolution import numbers_of, parameters_of
from continual_arcade.agents.kernels.layout import Network, Shape
from continual_arcade.agents.kernels.network import ToAct, act
from continual_arcade.agents.kernels.replay import Completed, Memory, Pending
from continual_arcade.agents.methods.base import MEASURED, Part
from continual_arcade.agents.replay import (
    MixReplayBuffer,
    TransitionReplayBuffer,
)
from continual_arcade.agents.replay.buffer import Ints, last_in_each
from continual_arcade.agents.replay.frames import FrameStore
from continual_arcade.agents.replay.n_step import COLUMNS, Transitions
from continual_arcade.agents.settings import LOSSES
from continual_arcade.envs.checks import Whole

_NOTHING = np.zeros(0, np.float32)
_STANDS_OF_AGENT = attrgetter("num_timesteps", "_n_updates", "_n_calls", "_syncs_due")
_RATES_OF_AGENT = attrgetter("tau", "max_grad_norm", "average")


class CompiledEngine:
    """Learns in place of an agent that :func:`~.eligibility.why_not_compiled` has nothing against.

    Args:
        agent: The agent; its networks, replay and parts exist.
    """

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self.replay: TransitionReplayBuffer = agent.replay
        self.control = Control()
        self._c = self.control.record
        self._parameters = list(agent.q_net.parameters())
        self._target_parameters = list(agent.q_net_target.parameters())
        like = [parameter.detach() for parameter in self._parameters]
        self._online, self._target = FlatVector(like), FlatVector(like)
        self._first, self._second = FlatVector(like), FlatVector(like)
        kept: WeightAverage | None = agent.weight_average
        self._average = None if kept is None else FlatVector(like)
        self._learnt = None if kept is None else FlatVector(like)
        """The average of the weights, and the weights when it was brought up to date."""
        self._moment_counts = np.zeros(len(like), np.float32)
        self._steps = list(torch.from_numpy(self._moment_counts))
        self._pictures = pictures_of(agent.q_net)
        """The convolutions, if it looks at pictures."""
        widths = [agent.q_net.q_net[0].in_features]
        widths += [layer.out_features for layer in list(agent.q_net.q_net)[::2]]
        self.widths = np.array(widths, np.int64)
        self._heads = heads_of(agent.q_net)
        self._actions = widths[-1] // self._heads
        self._gated = gated_of(agent.q_net)
        self._gating = np.zeros(3)
        self._gates = np.zeros((2, 2, self._gated), np.float32)
        self._features = math.prod(agent.observation_space.shape)
        """Numbers of an observation."""
        self._gradients = [aligned(len(self._online.array)) for _ in range(2)]
        self._parts = PartsBinding(
            agent,
            like,
            self._c,
            self._online.array,
            self._gradients[0],
            self._features,
            self._actions,
        )
        self._rows = 0
        self._places: tuple[Any, ...] = (None,) * 5
        self._acts: dict[bool, Prepared] = {}
        """What chooses actions: by the network, or by the average of its weights."""
        self._playing = Lock()
        self._learn: Prepared | None = None
        self._set_up()
        self._online.house(self._parameters)
        self._target.house(self._target_parameters)
        if kept is not None and self._average is not None and self._learnt is not None:
            self._average.house(kept.parameters)
            kept.seen = self._learnt.adopt(kept.seen) or kept.seen
        if agent.policy.optimizer.state and self._adam:
            self._adopt_moments(agent.policy.optimizer)
        self._snapshot = Snapshot(agent)

    def is_of(self, agent: Any) -> bool:
        """Return whether it was made for what the agent has, and is, now."""
        return self._snapshot.holds(agent)

    def __reduce__(self) -> Any:
        raise TypeError(
            "a compiled engine holds addresses of its agent's memory, and cannot be copied: copy "
            "the agent, which gets an engine of its own"
        )

    # What compiled code works on.

    def _set_up(self) -> None:
        """Write down what does not change."""
        agent, c = self._agent, self._c
        c["num_envs"] = agent.n_envs
        c["kind"] = self.replay.kind
        c["streaming"] = agent.streams
        if isinstance(self.replay, MixReplayBuffer):
            c["fifo_size"] = self.replay.fifo_size
            c["long_term_fraction"] = self.replay.long_term_fraction
        c["adam"] = self._adam = type(agent.policy.optimizer) is torch.optim.Adam
        c["measure_every"] = MEASURED if agent.parts else 0
        kinds = [(part, type(part)) for part in agent.parts]
        self._watchers = [
            part
            for part, kind in kinds
            if kind.completed is not Part.completed and part is not self._parts.planner
        ]
        c["keeps_completed"] = bool(self._watchers)
        c["values_after"] = -1
        for part in agent.parts:
            if part.values_after:
                c["values_after"] = max(0, part.first_values(agent) - agent._steps_before)
        n_envs, n_steps = agent.n_envs, self.replay.n_steps
        self._most_completed = n_envs * n_steps
        self._make_room(agent.batch_size + self._most_completed)
        self._make_completed(self._most_completed)
        first = 0 if self._pictures is None else parameters_of(self._pictures)
        starts = np.cumsum([first, *((self.widths[:-1] + 1) * self.widths[1:])])[:-1]
        activation = activation_of(agent.q_net)
        self._shape = Shape(
            self.widths,
            starts.astype(np.int64),
            activation,
            self._pictures,
            self._heads,
            self._gated,
        )
        size = -(-len(self._online.array) // 16) * 16  # so that the second row is aligned, too
        self._transposed, self._stale = aligned(2, size), np.ones(2, np.int64)
        self._stale_now = table(self._stale)
        replay, count = self.replay, self.replay.buffer_size
        frames = replay.frames
        if frames is None and self._pictures is not None:
            frames = FrameStore(0, agent.observation_space.shape, 0)
        self._flat: dict[str, Any] = {
            "observations": replay.observations.reshape(-1, self._features),
            "next_observations": replay.next_observations.reshape(-1, self._features),
            "frames": None if frames is None else frames.frames,
            "actions": replay.actions.reshape(count),
            "rewards": replay.rewards.reshape(count),
            "dones": replay.dones.reshape(count),
            "discounts": replay.discounts,
            "phases": replay.phases,
            "q_values": replay.columns.get("q_values", np.zeros((0, self._actions), np.float32)),
        }
        pending = self.replay.accumulator
        features = self._features
        self.pending = Pending(
            observations=pending._observations.reshape(n_envs, n_steps, features),
            actions=pending._actions.reshape(n_envs, n_steps),
            returns=pending._returns,
            phases=pending._phases,
            counts=pending._counts,
            weights=pending._weights,
            discounts=pending._discounts,
        )

    def _make_room(self, rows: int) -> None:
        """Make buffers for batches of so many transitions."""
        if rows <= self._rows:
            return
        self._rows = rows
        units = returning = int(self.widths[1:].sum())
        if self._pictures is not None:
            returning += int(self.widths[0])
            units += numbers_of(self._pictures)
        self.units = units
        """Numbers that one observation leaves in a buffer on its way through a network."""
        self._inputs = aligned(2 * rows, self._features)
        self._activations = aligned(2 * rows * units)
        self._others = aligned(rows * units)
        self._deltas = aligned(rows * returning)
        self._batch = update.Batch(
            actions=np.zeros(rows, np.int64),
            rewards=np.zeros(rows, np.float32),
            dones=np.zeros(rows, np.float32),
            discounts=np.zeros(rows, np.float32),
            phases=np.zeros(rows, np.int64),
            slots=np.zeros(rows, np.int64),
            slopes=np.zeros((rows, self._actions), np.float32),
            more_slopes=np.zeros((rows, self._actions), np.float32),
        )
        self._old = np.zeros((rows, self._actions), np.float32)

    def _make_completed(self, rows: int) -> None:
        replay = self.replay
        features = self._features
        kind = replay.observations.dtype
        placed = 2 * rows  # a mixed memory stores what it takes twice
        self._completed = Completed(
            observations=np.zeros((rows, features), kind),
            actions=np.zeros(rows, np.int64),
            rewards=np.zeros(rows, np.float32),
            next_observations=np.zeros((rows, features), kind),
            dones=np.zeros(rows, np.float32),
            discounts=np.zeros(rows, np.float32),
            phases=np.zeros(rows, np.int64),
            ended=np.zeros(rows, np.bool_),
            placed_rows=np.zeros(placed, np.int64),
            placed_slots=np.zeros(placed, np.int64),
        )

    def _memory(self) -> Memory:
        replay = self.replay
        return Memory(**self._flat, counts=replay.drawn_phases, book=replay.book())

    def view(self) -> update.Agent:
        """Return everything that compiled code reads and writes, as it lies now.

        It is another object when anything of it lies elsewhere.
        """
        places = (
            self._completed,
            self._batch,
            self._parts.plan,
            self.replay.drawn_phases,
            self.replay._members()[0],
        )
        if not all(map(is_, places, self._places)):
            self._places = places
            self._view = self._viewed()
        return self._view

    def _viewed(self) -> update.Agent:
        return update.Agent(
            net=self._network(),
            first_moments=self._first.array,
            second_moments=self._second.array,
            memory=self._memory(),
            completed=self._completed,
            batch=self._batch,
            old=self._old,
            program=self._parts.program,
            plan=self._parts.plan,
            inner=self._parts.inner,
            outer=self._parts.outer,
        )

    def _network(self) -> Network:
        return Network(
            shape=self._shape,
            online=self._online.array,
            target=self._target.array,
            transposed=self._transposed,
            stale=self._stale,
            gradient=self._gradients[0],
            extra=self._gradients[1],
            average=_NOTHING if self._average is None else self._average.array,
            learnt=_NOTHING if self._learnt is None else self._learnt.array,
            inputs=self._inputs,
            activations=self._activations,
            others=self._others,
            deltas=self._deltas,
            gating=self._gating,
            gates=self._gates,
        )

    # Before and after each call.

    def before(self, gradient_steps: int, batch_size: int) -> None:
        """Bring what compiled code reads up to date.

        Raises:
            ValueError: If a batch is to hold nothing.
        """
        agent, replay, control = self._agent, self.replay, self.control
        if batch_size < 1:
            Whole(1)("batch_size", batch_size)  # raises, as a memory does that is drawn from
        self._stale_now[0] = self._stale_now[1] = 1  # Python may have changed anything
        self._look_at_gates()
        moments = self._before_moments(gradient_steps > 0)
        every = max(agent.target_update_interval // agent.n_envs, 1)
        settings = (agent.learning_starts, agent.double_q, every, LOSSES.index(agent.loss))
        at.SETTINGS.write(control, batch_size, gradient_steps, *settings)
        averaged = 0 if self._learnt is None else agent.weight_average.updates
        stored = (replay.seen, replay.accumulator._newest)
        at.STANDS.write(control, *_STANDS_OF_AGENT(agent), *stored, averaged, moments)
        control.broken[at.CLIP_FACTOR] = -1.0  # not measured
        rows = batch_size + self._most_completed
        if self._parts.parts:
            rows = self._before_parts(gradient_steps, batch_size)
        if rows > self._rows:
            self._make_room(rows)
        self._load_waiting(batch_size)

    def _look_at_gates(self) -> None:
        """Let the gates, if there are any, be those by which the network acts."""
        if self._gated:
            network = self._agent.q_net
            self._gating[:] = int(network.finished), *[float(network.sharpest)] * 2

    def _before_parts(self, gradient_steps: int, batch_size: int) -> int:
        """Bring up to date what compiled code reads of the parts.

        Returns:
            How many rows the largest batch has.
        """
        parts, whole = self._parts, self.control.whole
        parts.before(gradient_steps, batch_size)
        singles = whole[at.PLANNED] == update.ONE_BY_ONE
        perceptron = self._pictures is None and not self._gated
        is_sgd = not (self._adam or whole[at.STREAMING])
        whole[at.ALONE] = singles and parts.acts_alone and is_sgd and perceptron
        rows: int = 2 * whole[at.STEPS_PLANNED] if singles else batch_size + self._most_completed
        return max(rows, batch_size, parts.most_rows(batch_size))

    def _before_moments(self, learns: bool) -> int:
        """Hand over the rates, and return how often the moments were updated.

        Args:
            learns: Whether there must be moments.
        """
        agent, optimizer = self._agent, self._agent.policy.optimizer
        group = optimizer.param_groups[0]
        if not self._adam:
            at.RATES.write(self.control, *_RATES_OF_AGENT(agent), group["lr"], 0.0, 0.0, 0.0)
            return 0
        rates = (group["lr"], *group["betas"], group["eps"])
        at.RATES.write(self.control, *_RATES_OF_AGENT(agent), *rates)
        if learns and not optimizer.state:
            self._adopt_moments(optimizer)
            self._snapshot = Snapshot(agent)
        moments: int = int(self._moment_counts[0])
        return moments

    def _adopt_moments(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the optimiser's moments lie where compiled code works on them."""
        for i, parameter in enumerate(self._parameters):
            first, second, step = self._first.views[i], self._second.views[i], self._steps[i]
            state = optimizer.state[parameter]
            if state:
                first.copy_(state["exp_avg"])
                second.copy_(state["exp_avg_sq"])
                step.copy_(state["step"])
            else:
                for tensor in (first, second, step):
                    tensor.zero_()
            state["step"], state["exp_avg"], state["exp_avg_sq"] = step, first, second

    def _load_waiting(self, batch_size: int) -> None:
        """Put back among the completed transitions what a planner has not learnt from yet."""
        whole, planner = self.control.whole, self._parts.planner
        whole[at.COMPLETED] = whole[at.LEARNT] = self._carried = 0
        if planner is None or not len(planner._completed):
            return
        waiting = planner._completed.all()
        planner._completed.clear()
        self.replay.settle()  # what was stored last may lie where this goes
        count = len(waiting)
        room = count + self._most_completed
        self._make_room(batch_size + room)
        if room > len(self._completed.rewards):
            self._make_completed(room)
        rows = self._completed
        rows.observations[:count] = waiting.observations.reshape(count, -1)
        rows.next_observations[:count] = waiting.next_observations.reshape(count, -1)
        rows.actions[:count] = waiting.actions.reshape(count)
        for name in ("rewards", "dones", "discounts", "phases"):
            getattr(rows, name)[:count] = getattr(waiting, name)
        if waiting.ended is not None:  # else nobody asks for it
            rows.ended[:count] = waiting.ended
        whole[at.COMPLETED] = self._carried = count

    def _taken(self, rows: Completed, first: int, end: int) -> Transitions:
        """Return a copy of some of the completed transitions."""
        replay = self.replay
        count = end - first
        shape = (count, *replay.obs_shape)
        return Transitions(
            rows.observations[first:end].reshape(shape).copy(),
            rows.actions[first:end, None].astype(replay.actions.dtype),
            rows.rewards[first:end].copy(),
            rows.next_observations[first:end].reshape(shape).copy(),
            rows.dones[first:end].copy(),
            rows.discounts[first:end].copy(),
            rows.phases[first:end].copy(),
            rows.ended[first:end].copy(),
        )

    def after(self) -> None:
        """Take note of what compiled code has done."""
        agent, replay, control = self._agent, self.replay, self.control
        (
            agent.num_timesteps,
            agent._n_updates,
            agent._n_calls,
            agent._syncs_due,
            replay.seen,
            replay.accumulator._newest,
            averaged,
            moments,
        ) = at.STANDS.read(control)
        agent.last_td_loss = control.broken[at.LOSS]
        if self._learnt is not None:
            agent.weight_average.updates = averaged
        if self._adam:
            self._moment_counts.fill(moments)
        replay._set_cursor()
        if not self._parts.parts:
            return
        self._parts.after()
        whole = control.whole
        learnt, completed = whole[at.LEARNT], whole[at.COMPLETED]
        if self._watchers and completed > self._carried:
            played = self._taken(self._completed, self._carried, completed)
            for part in self._watchers:
                part.completed(agent, played)
        planner = self._parts.planner
        if planner is not None and learnt < completed:
            planner.completed(agent, self._taken(self._completed, learnt, completed))

    def make_room_for(self, steps: int, train_every: int) -> None:
        """Make room for what is completed in so many steps of all games, if it must be kept.

        Args:
            steps: Steps of a loop.
            train_every: Steps after which it is learnt from at the latest.
        """
        if steps == 1 and not self._parts.parts:
            return  # of which there is room for all that a step completes
        kept = steps if self._watchers else min(steps, train_every)
        rows = self.control.whole[at.COMPLETED] + (kept + self.replay.n_steps) * self._agent.n_envs
        if self._parts.planner is not None:
            rows += self._agent.batch_size  # nothing is learnt before replay holds a batch
            self._make_room(self._agent.batch_size + rows)
        if rows > len(self._completed.rewards):
            waiting, count = self._completed, self.control.whole[at.COMPLETED]
            self._make_completed(rows)
            for name in (*COLUMNS, "ended"):
                getattr(self._completed, name)[:count] = getattr(waiting, name)[:count]

    def give_room(self) -> None:
        """Let replay make room for completed transitions."""
        replay, whole = self.replay, self.control.whole
        replay.seen = whole[at.SEEN]
        fresh = slice(whole[at.FRESH], whole[at.COMPLETED])
        replay.make_room_for(self._completed.phases[fresh].tolist())

    def tell_stored(self) -> None:
        """Let replay tell what was stored last, as long as nothing else is stored."""
        whole = self.control.whole
        places = whole[at.FRESH], whole[at.COMPLETED], whole[at.PLACED]
        self.replay.tells(partial(self._stored, self._completed, *places))

    def _stored(
        self, rows: Completed, first: int, end: int, placed: int
    ) -> tuple[Transitions, tuple[Ints, Ints]]:
        """Return completed transitions, and which of them lie in which slots."""
        where = last_in_each(rows.placed_rows[:placed] - first, rows.placed_slots[:placed].copy())
        return self._taken(rows, first, end), where

    # Learning.

    def train(self, gradient_steps: int, batch_size: int) -> int:
        """Learn what is to be learnt after a step of the environments.

        Args:
            gradient_steps: Gradient steps, unless a part plans them otherwise.
            batch_size: Transitions of a batch.

        Returns:
            ``DONE`` or ``DIVERGED``.
        """
        self.before(gradient_steps, batch_size)
        view = self.view()
        if self._learn is None or self._learn.arguments.agent is not view:
            self._learn = _learn_entry().prepared(update.ToLearn(self.control.array, view))
        status: int = update.DONE
        try:
            status = self._learn()
        finally:  # also if Ctrl-C comes in the meantime
            self.after()
        self.check_plan(status)
        return status

    def check_plan(self, status: int) -> None:
        """Raise an error if compiled code returned because a plan makes no sense."""
        if status == update.MISPLANNED:
            assert self._parts.planner is not None
            raise self._parts.planner.wrong_plan()

    @property
    def mean_loss(self) -> float | None:
        """Mean TD loss of what was last learnt after a step; None if nothing was."""
        losses: int = self.control.whole[at.LOSSES]
        total: float = self.control.broken[at.SUM_OF_LOSSES]
        return total / losses if losses else None

    @property
    def loss(self) -> float:
        """TD loss of the last batch."""
        loss: float = self.control.broken[at.LOSS]
        return loss

    @property
    def norm(self) -> float:
        """Norm of the last gradient, before it was clipped."""
        norm: float = self.control.broken[at.NORM]
        return norm

    @property
    def clip_factor(self) -> float | None:
        """How much of the gradient was left when it was measured; None if the call did not."""
        factor: float = self.control.broken[at.CLIP_FACTOR]
        return None if factor < 0 else factor

    # Acting.

    def best_actions(
        self, observations: npt.NDArray[Any], averaged: bool = False
    ) -> npt.NDArray[np.int64]:
        """Return the actions of highest value, shape ``(count,)``.

        Args:
            observations: Shape ``(count, features)``.
            averaged: Whether by the average of the weights.
        """
        with self._playing:  # several threads may film one agent
            return self._best_actions(observations, averaged)

    def _best_actions(
        self, observations: npt.NDArray[Any], averaged: bool
    ) -> npt.NDArray[np.int64]:
        if averaged:
            self._agent.weight_average.follow(self._agent.q_net)
        rows = len(observations)
        self._make_room(rows)
        act = self._acts.get(averaged)
        if act is None or act.arguments.net.inputs is not self._inputs:
            act = self._acts[averaged] = _acting_entry().prepared(self._to_act(averaged))
        given = act.arguments
        self._show(np.asarray(observations), given.net.inputs[:rows])
        given.net.stale[:] = 1
        self._look_at_gates()
        self.control.whole[at.ROWS] = rows
        act()
        chosen: npt.NDArray[np.int64] = given.chosen[:rows].copy()
        return chosen

    def _show(self, observations: npt.NDArray[Any], inputs: npt.NDArray[np.float32]) -> None:
        """Put observations into rows of the inputs, as compiled code does (``show``)."""
        inputs[:] = observations.reshape(inputs.shape)
        if self._pictures is not None:
            inputs /= self._pictures.divisor

    def _to_act(self, averaged: bool) -> ToAct:
        net = self._network()
        if averaged:
            assert self._average is not None
            transposed = aligned(*self._transposed.shape)
            net = net._replace(online=self._average.array, transposed=transposed)
        return ToAct(self.control.array, net, np.zeros(len(self._inputs), np.int64))


@cache
def _learn_entry() -> Entry:
    return Entry(njit(error_model="numpy", inline="always")(update.learn), "learner")


@cache
def _acting_entry() -> Entry:
    return Entry(njit(error_model="numpy", inline="always")(act), "learner")
