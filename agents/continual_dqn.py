"""A DQN for one long run, which takes continual-learning methods as parts."""

import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HumanOutputFormat, Logger
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.type_aliases import (
    ReplayBufferSamples,
    RolloutReturn,
    TrainFreq,
    TrainFrequencyUnit,
)
from stable_baselines3.common.utils import ConstantSchedule, polyak_update
from stable_baselines3.common.vec_env import VecEnv
from torch.nn import functional

from continual_arcade.agents.arguments import RULES
from continual_arcade.agents.averaging import Averaged, WeightAverage
from continual_arcade.agents.engines.compiled import CompiledEngine
from continual_arcade.agents.engines.eligibility import why_not_compiled
from continual_arcade.agents.engines.env_loop import EnvLoop, is_served_between
from continual_arcade.agents.engines.game_loop import GameLoop, is_served
from continual_arcade.agents.exploration import Exploration
from continual_arcade.agents.files.checks import check_options
from continual_arcade.agents.files.saving import (
    architecture,
    arguments_among,
    check_savable,
    check_selection,
    load_agent,
    print_versions,
    save_agent,
)
from continual_arcade.agents.files.space_data import check_spaces
from continual_arcade.agents.files.state_files import is_foreign
from continual_arcade.agents.fitting import check_changes, check_env, check_memory, check_steps
from continual_arcade.agents.kernels.arithmetic import huber, huber_slope, td_target
from continual_arcade.agents.kernels.update import DONE
from continual_arcade.agents.methods.base import MEASURED, Batch, Part, all_or_none
from continual_arcade.agents.methods.catalogue import check_together
from continual_arcade.agents.methods.rules import CurrentTransition
from continual_arcade.agents.methods.streaming import Streaming
from continual_arcade.agents.networks import (
    ContinualCnnPolicy,
    ContinualPolicy,
    evaluation_mode,
)
from continual_arcade.agents.phase_tracker import PhaseTracker
from continual_arcade.agents.replay import TransitionReplayBuffer
from continual_arcade.agents.settings import (
    DECAY,
    ENGINES,
    LOSSES,
    Engine,
    Loss,
)
from continual_arcade.agents.task_inference.inference import TaskInference
from continual_arcade.agents.task_inference.vec_env import InferringVecEnv
from continual_arcade.agents.told_networks import FinishesPhases, annealed
from continual_arcade.agents.vec_env import GymnasiumVecEnv
from continual_arcade.envs.checks import (
    Instance,
    OneOf,
    OrNone,
    Whole,
    check_values,
    flag,
)
from continual_arcade.envs.messages import shown
from continual_arcade.envs.seeds import plain_seed


class DivergedError(RuntimeError):
    """The loss or its gradient is not finite any more; the parameters still are."""


class ContinualDQN(DQN):
    """Stable-Baselines3's DQN, open to continual-learning methods.

    Without further arguments it is the parent, bit for bit. What may be added:

    Args:
        policy: As in the parent; ``"MlpPolicy"`` and ``"CnnPolicy"`` also take ``layer_norm``,
            ``dropout`` and ``initial``.
        env: As in the parent; or a vector environment of Gymnasium that resets in the same step,
            which becomes a :class:`~continual_arcade.agents.GymnasiumVecEnv`.
        parts: Continual-learning methods, see :mod:`continual_arcade.agents.methods`. The order
            matters only between parts that change the same thing.
        double_q: Let the online network choose the action whose value the target network gives
            (van Hasselt et al. 2016).
        loss: What a gradient step makes smaller: ``"td"``, the TD loss; or, to learn labelled
            examples, ``"cross_entropy"`` (values are logits) or ``"squared"`` (half the squared
            distance of the values from 1 for the label and 0 for all else). Then the right answer,
            which the environment tells after each step in ``info["label"]``, is stored in place of
            the action, and rewards and what comes next have no part in learning.
        exploration: How it explores; None for the parent's way, in which all sub-environments
            explore together, uniformly.
        average: How much of the average of the network's weights is kept after an update, such as
            0.999; 0 for no average. It takes no part in learning; :attr:`averaged` plays by it.
        engine: What computes: ``"torch"``, which serves everything; ``"compiled"``, a hundred times
            as fast, which serves small networks on the CPU; or ``"auto"``, the compiled one where
            it can. Both mean the same, up to the last digits of float32.
        callback_every: Steps of all sub-environments between calls of callbacks that do not say
            when they are due, where training is compiled; see
            :mod:`continual_arcade.agents.engines.callback_schedule`.
        **kwargs: As in the parent. With a replay buffer of this suite, ``n_steps`` and ``gamma``
            are handed on to it, and its draws are seeded with ``seed``.

    A whole run is one call of ``learn()``; phases are events during it, taken from
    ``info["phase"]``.

    Raises:
        ValueError: If parts exclude each other, or do not go with the environment.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        **DQN.policy_aliases,
        "MlpPolicy": ContinualPolicy,
        "CnnPolicy": ContinualCnnPolicy,
    }

    def __init__(
        self,
        policy: Any,
        env: Any,
        *,
        parts: Sequence[Part] = (),
        double_q: bool = False,
        loss: Loss = "td",
        exploration: Exploration | None = None,
        average: float = 0.0,
        engine: Engine = "auto",
        callback_every: int = 1,
        **kwargs: Any,
    ) -> None:
        kwargs = check_values(kwargs, RULES)
        self.average: float = DECAY("average", average)
        self.weight_average: WeightAverage | None = None
        """The average of the weights, if one is kept."""
        self._averaged_by = 0.0
        """For which value of ``average`` it is kept."""
        self.parts: list[Part] = list(Instance((Sequence,))("parts", parts))
        self._bound: list[tuple[Part, dict[str, Any]]] = []
        """Parts that know the agent, and the settings that were checked."""
        self.double_q = flag("double_q", double_q)
        self.loss = loss
        self.exploration = OrNone(Instance((Exploration,)))("exploration", exploration)
        OneOf(ENGINES)("engine", engine)
        self.engine = engine
        self.callback_every = Whole(1)("callback_every", callback_every)
        self.engine_report = ""
        """Which engine runs, and why."""
        self._asked: str | None = None
        """For which value of ``engine`` it was chosen what computes."""
        self.within_rollout = False
        """Whether a rollout is being played, of which the last is still to be learnt."""
        self._rests_since_rollout = False
        """Whether nothing was stored since the last rollout began, as nothing is to be learnt."""
        self._unfit: str | None = None
        """Why nothing can be learnt with what the agent has, if so."""
        self._compiled: CompiledEngine | None = None
        self._fused: GameLoop | EnvLoop | None = None
        check_together(self.parts)
        set_up = kwargs.pop("_init_setup_model", True)
        if kwargs.get("seed") is not None:
            kwargs["seed"] = plain_seed(kwargs["seed"])
        kind = kwargs.get("replay_buffer_class")
        if kind is not None and issubclass(kind, TransitionReplayBuffer):
            size, batch = kwargs.get("buffer_size", 1_000_000), kwargs.get("batch_size", 32)
            if size < batch:
                raise ValueError(
                    f"buffer_size = {size} is smaller than batch_size = {batch}: there would never "
                    "be enough to learn from"
                )
            given = kwargs.get("replay_buffer_kwargs") or {}
            kwargs["replay_buffer_kwargs"] = {
                "n_steps": kwargs.pop("n_steps", 1),
                "gamma": kwargs.get("gamma", 0.99),
                "seed": kwargs.get("seed") or 0,
                **given,
            }
        policy = Instance((str, type))("policy", policy)
        if isinstance(env, gym.Env | VecEnv):
            check_spaces(env.observation_space, env.action_space)
        super().__init__(policy, env, _init_setup_model=False, **kwargs)
        if self.env is not None:  # it may have been made from its name
            check_spaces(self.observation_space, self.action_space)
        self.task_inference: TaskInference | None = None
        """What infers the task that it is in, if nobody tells it."""
        self.measures = False
        self.last_td_loss = 0.0
        self.current = CurrentTransition()
        self.boundary_seconds = 0.0
        """What parts have taken where phases end and begin, since the agent was made [s]."""
        self._syncs_due = 0
        self._steps_before = 0
        self.trained_normalised = False
        """Whether its file says that it was trained under ``VecNormalize``, whose statistics are
        kept elsewhere."""
        self._network: Callable[[BasePolicy], object] | None = None
        """Puts a network in place of the new one, for :meth:`load`."""
        if set_up:
            self._setup_model()

    def _setup_model(self) -> None:
        super()._setup_model()
        for group in self.policy.optimizer.param_groups:
            check_options({name: it for name, it in group.items() if name != "params"}, group)
        if not self.exploration_fraction:  # the parent's schedule would divide by it
            self.exploration_schedule = ConstantSchedule(self.exploration_final_eps)
        self.architecture = architecture(self.policy)
        """What the arguments have made; files tell by it whether the network was exchanged."""
        if self._network is not None:  # parts may begin where the network is
            self._network(self.policy)
            self._network = None
        self.follow_network()
        assert isinstance(self.action_space, spaces.Discrete)
        self._actions = int(self.action_space.n)
        # Streams of their own: a part more does not change what the others draw.
        exploration, network, *streams = np.random.SeedSequence(self.seed).spawn(
            2 + len(self.parts)
        )
        self._exploration_rng = np.random.default_rng(exploration)
        self._network_rng = np.random.default_rng(network)
        self.phase_tracker = PhaseTracker(self.n_envs)
        with all_or_none(self.parts):
            for part, stream in zip(self.parts, streams, strict=True):
                if part.streaming and not isinstance(part, Streaming):
                    raise TypeError(
                        f"part {part.name!r} says that it is streaming, and does not say what it "
                        "learns from: derive it from methods.streaming.Streaming"
                    )
                part.bind(self, np.random.default_rng(stream))
            self._bound = [(part, part.settings) for part in self.parts]
            check_savable(self.parts)
            check_steps(self)
            if self.env is not None:
                games = self.env.unwrapped
                if isinstance(games, InferringVecEnv):
                    self.task_inference = games.inference
                check_env(self, self.env)
            self._choose_engine()
            self._check_engine()

    def follow_network(self) -> None:
        """Let the average, if one is to be kept, be one of the network that there is now.

        Raises:
            ValueError: If ``average`` was set to what it cannot be.
        """
        self._averaged_by = DECAY("average", self.average)
        if not self.average:
            self.weight_average = None
        elif self.weight_average is None or not self.weight_average.suits(self.q_net):
            self.weight_average = WeightAverage(self.q_net)
        else:
            self.weight_average.follow(self.q_net)

    def _choose_engine(self) -> None:
        """Choose what computes, for what the agent is now.

        Raises:
            ValueError: If there is no such engine.
        """
        OneOf(ENGINES)("engine", self.engine)
        self.check_parts()
        self._asked, self._unfit = self.engine, None
        try:
            check_memory(self)
        except ValueError as error:  # it may still play
            self._unfit = str(error)
        why = (
            "it was asked for" if self.engine == "torch" else self._unfit or why_not_compiled(self)
        )
        if why is not None:
            self._compiled, self._fused = None, None
        elif self._compiled is None or not self._compiled.is_of(self):
            self._compiled, self._fused = CompiledEngine(self), None
        before = self.engine_report
        self.engine_report = "compiled" if why is None else f"torch, because {why}"
        if self.verbose >= 1 and self.engine_report != before:
            print(f"engine: {self.engine_report}")

    def _check_engine(self) -> None:
        """Check that it can learn, and that the engine that was asked for is the one that computes.

        Raises:
            ValueError: If it cannot, or if it is to be the compiled engine, which cannot serve it.
        """
        if self._unfit is not None:
            raise ValueError(self._unfit)
        if self.engine == "compiled" and self._compiled is None:
            why = self.engine_report.removeprefix("torch, because ")
            raise ValueError(
                f"the compiled engine does not support this agent: {why}. Or use engine='torch'"
            )

    def _current_engine(self) -> CompiledEngine | None:
        """Return the compiled engine, if there is one: for what the agent is now.

        Raises:
            ValueError: If it was asked for, and cannot serve what the agent has become.
        """
        self._look_again()
        if self._compiled is None:  # which would have seen it
            self.check_parts()
        self._check_engine()
        return self._compiled

    def _look_again(self) -> None:
        """Choose the engine again, if the agent has changed since."""
        if self.average != self._averaged_by:
            self.follow_network()
        if self.engine != self._asked or not (self._compiled is None or self._compiled.is_of(self)):
            self._choose_engine()

    @property
    def runs_compiled(self) -> bool:
        """Whether the compiled engine computes."""
        self._look_again()
        return self._compiled is not None

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        if isinstance(env, VectorEnv):
            env = GymnasiumVecEnv(env)
        return DQN._wrap_env(env, verbose, monitor_wrapper)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed all that is drawn from global generators, and the environment, as in the parent."""
        super().set_random_seed(None if seed is None else plain_seed(seed))

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Set the environment, as in the parent; it must go with the parts."""
        try:
            super().set_env(env, force_reset)
        except ValueError as error:
            if "Observation spaces" not in str(error):
                raise
            raise ValueError(
                f"{error}; if the agent was trained with another context of the phase, make the "
                "environment with the same (context='hidden', 'params', 'one-hot' or 'inferred')"
            ) from error
        assert self.env is not None
        self._take_inference_to(self.env)
        check_env(self, self.env)
        self._choose_engine()
        self._check_engine()

    def _take_inference_to(self, env: VecEnv) -> None:
        """Let the environment tell the tasks that this agent knows.

        Raises:
            ValueError: If it tells others.
        """
        games, own = env.unwrapped, self.task_inference
        infers = isinstance(games, InferringVecEnv)
        if infers != (own is not None):
            raise ValueError(
                "the agent was trained with another context of the phase: it "
                f"{'was told its task, or none' if infers else 'inferred its task'}, and in this "
                f"environment tasks are {'inferred' if infers else 'not inferred'}: make the "
                "environment with the context that it was trained with"
            )
        if own is not None and isinstance(games, InferringVecEnv):
            games.take(own)

    def check_parts(self) -> None:
        """Check parts that were added since the agent was made, and settings that were changed.

        Raises:
            ValueError: If a part was not bound to the agent, or a setting cannot be honoured.
        """
        for part in self.parts:
            before = next((settings for bound, settings in self._bound if bound is part), None)
            if before is None:
                raise ValueError(
                    f"part {part.name!r} was added after the agent was made, and was never bound "
                    "to it: hand it to the constructor, or to load(..., parts=[...])"
                )
            if any(value is not before[name] for name, value in part.settings.items()):
                part.check_change(before)
                part.check_learner(self)
                before.update(part.settings)

    # Copies. What holds addresses stays behind: the copy gets an engine of its own.

    def __getstate__(self) -> dict[str, Any]:
        return {
            **vars(self),
            "_compiled": None,
            "_fused": None,
            "_asked": None,
            "within_rollout": False,
        }

    # What parts may use: see ``parts.part.Learner``.

    @property
    def lifetime_step(self) -> int:
        """Lifetime steps that it was trained for, in all calls of ``learn()``."""
        return self._steps_before + self.num_timesteps

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What moves the parameters of ``q_net``."""
        return self.policy.optimizer

    @property
    def replay(self) -> TransitionReplayBuffer:
        """The replay memory.

        Raises:
            ValueError: If it is not one of this suite.
        """
        if not isinstance(self.replay_buffer, TransitionReplayBuffer):
            raise ValueError(
                f"{type(self.replay_buffer).__name__} does not tell where transitions are stored: "
                "choose a replay_buffer_class of continual_arcade.agents.replay"
            )
        return self.replay_buffer

    def sample(self, batch_size: int) -> Batch:
        """Draw a batch from replay."""
        buffer = self.replay_buffer
        assert buffer is not None
        samples = buffer.sample(batch_size, env=self._vec_normalize_env)
        if not isinstance(buffer, TransitionReplayBuffer):
            return Batch(samples)
        return Batch(samples, buffer.sampled, phases=buffer.phases[buffer.sampled])

    def td_targets(self, samples: ReplayBufferSamples) -> torch.Tensor:
        """Return the targets of the samples, shape ``(batch, 1)``, without a gradient."""
        discounts = self.gamma if samples.discounts is None else samples.discounts
        with torch.no_grad():
            values = self.q_net_target(samples.next_observations)
            if self.double_q:
                with evaluation_mode(self.q_net):  # as in play: without dropout
                    best = self.q_net(samples.next_observations).argmax(1, keepdim=True)
                values = values.gather(1, best)
            else:
                values = values.max(1).values.reshape(-1, 1)
            targets: torch.Tensor = td_target(samples.rewards, samples.dones, discounts, values)
        return targets

    @property
    def loss(self) -> Loss:
        """What a gradient step makes smaller; see the argument."""
        return self._loss

    @loss.setter
    def loss(self, loss: Loss) -> None:
        OneOf(LOSSES)("loss", loss)
        self._loss: Loss = loss

    @property
    def learns_labels(self) -> bool:
        """Whether it learns labelled examples: the action of a transition is the right answer."""
        return self.loss != "td"

    @property
    def streams(self) -> bool:
        """Whether a part learns single transitions as they come, and makes the steps."""
        return any(part.streaming for part in self.parts)

    def followed_value(self, batch: Batch) -> torch.Tensor:
        """Return the value of what was done in a single transition, with a gradient.

        ``current`` and ``last_td_loss`` are those of this transition then.
        """
        samples, actions = batch.samples, batch.samples.actions.long()
        with torch.no_grad(), evaluation_mode(self.q_net):  # as in play: without dropout
            seen = torch.cat([samples.observations, samples.next_observations])
            now, after = self.q_net(seen).split(1)
        best = after.max(1, keepdim=True).values
        target = td_target(samples.rewards, samples.dones, samples.discounts, best)
        value: torch.Tensor = self.q_net(samples.observations).gather(1, actions).sum()
        error = (target - value.detach()).item()
        is_greedy = bool(now.argmax(1) == actions)
        self.current = CurrentTransition(error, is_greedy, batch.ended, batch.game)
        self.last_td_loss = float(huber(error))
        return value

    def td_loss(self, samples: ReplayBufferSamples) -> torch.Tensor:
        """Return the mean TD loss of the samples (Huber, delta = 1), with a gradient.

        Of labelled examples it is the mean of the loss that ``loss`` names.
        """
        actions = samples.actions.long()
        if not self.learns_labels:
            targets = self.td_targets(samples)
            values = self.q_net(samples.observations).gather(1, actions)
            loss: torch.Tensor = HuberLoss.apply(values, targets)  # type: ignore[no-untyped-call]
            return loss
        values, labels = self.q_net(samples.observations), actions.reshape(-1)
        if self.loss == "cross_entropy":
            return functional.cross_entropy(values, labels)
        wanted = functional.one_hot(labels, self._actions).to(values.dtype)
        squares: torch.Tensor = (values - wanted).square()
        return 0.5 * squares.sum(dim=1).mean()

    def ends_with(self, phase: int) -> int:
        """Return the phase that the parts will be told of when this one has ended."""
        return self.phase_tracker.ends_with(phase)

    def place_of(self, phase: int) -> int:
        """Return which of the phases that are told apart, or of the inferred tasks, one is."""
        return self.phase_tracker.place_of(phase)

    @property
    def rests(self) -> bool:
        """Whether nothing is stored or learnt now: a phase came back that a part has finished."""
        return self._learns_once and any(map(self._rests_in, self.phase_tracker.current))

    def _rests_in(self, phase: int) -> bool:
        return any(part.once and part.rests_in(self, phase) for part in self.parts)

    @property
    def until_rest(self) -> float:
        """How long it takes until it may rest next, inf for ever [lifetime steps]."""
        return self.phase_tracker.until_recurrence if self._learns_once else math.inf

    @property
    def _learns_once(self) -> bool:
        return any(part.once for part in self.parts)

    def reinitialise(self, network: bool, optimizer: bool, replay: bool) -> None:
        """Reset some of what was learnt.

        Args:
            network: Draw the parameters again, but for frozen ones; the target network gets the
                same.
            optimizer: Forget the optimiser's moments.
            replay: Forget all transitions.
        """
        if network:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(self._network_rng.integers(2**63)))
                fresh = self.policy_class(
                    self.observation_space,
                    self.action_space,
                    self.lr_schedule,
                    **self.policy_kwargs,
                )
            frozen = {
                name: tensor.detach().clone()
                for name, tensor in self.q_net.named_parameters()
                if not tensor.requires_grad
            }
            # In place: optimiser and aliases hold on to the tensors.
            self.policy.load_state_dict(fresh.state_dict())
            with torch.no_grad():
                for name, tensor in frozen.items():
                    self.q_net.get_parameter(name).copy_(tensor)
                    self.q_net_target.get_parameter(name).copy_(tensor)
            self.follow_network()
        if optimizer:
            self.policy.optimizer.state.clear()
        if replay:
            assert self.replay_buffer is not None
            self.replay_buffer.reset()

    # The gradient step.

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Learn from replay after a step of the environments.

        Args:
            gradient_steps: Gradient steps, unless a part plans them otherwise.
            batch_size: Transitions of a batch.

        Raises:
            DivergedError: If the loss or its gradient is not finite; before the parameters change.
        """
        if self._rests_since_rollout:
            return
        engine = self._current_engine()
        if engine is not None:
            self._train_compiled(engine, gradient_steps, batch_size)
            return
        replay = self.replay_buffer
        lacks = isinstance(replay, TransitionReplayBuffer) and replay.seen < batch_size
        if lacks and not self.streams:
            return  # replay was reset, or is new
        if isinstance(replay, TransitionReplayBuffer) and replay.gamma != self.gamma:
            check_memory(self)  # raises
        self.policy.set_training_mode(True)
        self.follow_network()
        self._update_learning_rate(self.policy.optimizer)
        losses = []
        for batch in self._batches(gradient_steps, batch_size):
            losses.append(self._update(batch))
            self._n_updates += 1
        self._synchronise()
        if losses and self.weight_average is not None:
            self.weight_average.fold(self.q_net, len(losses), self.average)
        if losses:
            self.log_training(float(np.mean(losses)))

    def _train_compiled(self, engine: CompiledEngine, gradient_steps: int, batch_size: int) -> None:
        self._update_learning_rate(self.policy.optimizer)
        self.tell_training(engine.train(gradient_steps, batch_size), engine)

    def tell_training(self, status: int, engine: CompiledEngine) -> None:
        """Record what compiled code has learnt after a step of the environments.

        Raises:
            DivergedError: If it says that it could not.
        """
        self.check_finite(status == DONE, engine.loss, engine.norm)
        loss = engine.mean_loss
        if loss is not None:
            self.log_training(loss)
            if engine.clip_factor is not None:
                self.logger.record("train/clip_factor", engine.clip_factor)

    def log_training(self, loss: float) -> None:
        """Record what was learnt after a step of the environments, with this mean loss."""
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", loss)

    def check_finite(self, is_finite: bool, loss: float, norm: float) -> None:
        """Check that a gradient step could be made.

        Raises:
            DivergedError: If it could not, because of such a loss, or norm of its gradient.
        """
        if not is_finite:
            names = ", ".join(part.name for part in self.parts)
            way = f"lower the learning rate{f' or the strength of {names}' if names else ''}"
            if self.streams:  # of whose steps the learning rate says nothing
                way = f"let the settings of {names} make smaller steps"
            raise DivergedError(
                f"at step {self.num_timesteps} the loss is {loss} and its gradient's norm {norm}: "
                f"learning has diverged; {way}"
            )

    def _batches(self, gradient_steps: int, batch_size: int) -> Iterator[Batch]:
        for part in self.parts:
            if part.plans_batches:
                return part.batches(self, gradient_steps, batch_size)
        return (self.sample(batch_size) for _ in range(gradient_steps))

    def _update(self, batch: Batch) -> float:
        """Make one gradient step; the order is that of ``parts.part``."""
        parts, streams = self.parts, self.streams
        self.measures = bool(parts) and self._n_updates % MEASURED == 0
        if streams:  # its values are not known yet
            self.current = self.current._replace(ended=batch.ended, game=batch.game)
        for part in parts:
            part.before_update(self)
        sharpness = next((getattr(p, p.sharpens) for p in parts if p.sharpens), None)
        with annealed(self.q_net, sharpness):
            if streams:
                loss = self.followed_value(batch)
            else:
                loss = self.td_loss(batch.samples)
                if batch.weight != 1.0:
                    loss = batch.weight * loss
                self.last_td_loss = loss.item()
            self.policy.optimizer.zero_grad()
            torch.autograd.backward(loss)
            for part in parts:
                part.on_td_gradient(self)
            for part in parts:
                extra = part.loss(self, batch)
                if extra is not None:
                    torch.autograd.backward(extra)
        for part in parts:
            part.add_gradient(self)
        for part in parts:
            part.project(self)
        norm = float(torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm))
        is_finite = math.isfinite(self.last_td_loss) and math.isfinite(norm)
        self.check_finite(is_finite, self.last_td_loss, norm)
        if self.measures and not streams:
            clipped = min(1.0, self.max_grad_norm / max(norm, 1e-30))
            self.logger.record("train/clip_factor", clipped)
        if not streams:  # whose parts make the step
            self.policy.optimizer.step()
        for part in parts:
            part.project_update(self)
        for part in parts:
            part.constrain(self)
        for part in parts:
            part.interpolate(self)
        for part in parts:
            part.after_update(self)
        return self.last_td_loss

    def _synchronise(self) -> None:
        """Copy the network to the target network where it is due, unless a part has it wait."""
        if not self._syncs_due or any(part.defers_target for part in self.parts):
            return
        # Those that had to wait are made up for, all in one.
        tau = self.tau if self._syncs_due == 1 else 1 - (1 - self.tau) ** self._syncs_due
        polyak_update(self.q_net.parameters(), self.q_net_target.parameters(), tau)
        polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)
        self._syncs_due = 0

    # PhaseTracker: acting, storing, phases.

    def _on_step(self) -> None:
        self._n_calls += 1
        if self._n_calls % max(self.target_update_interval // self.n_envs, 1) == 0:
            self._syncs_due += 1
            self._synchronise()
        self.exploration_rate = self.epsilon_at(self._current_progress_remaining)
        self.logger.record("rollout/exploration_rate", self.exploration_rate)

    def epsilon_at(self, remaining: float, ahead: int = 0) -> float:
        """Return the probability of an exploratory action.

        Args:
            remaining: How much of training is left by then, from 1 to 0.
            ahead: How far ahead that is [lifetime steps].
        """
        rule = "global" if self.exploration is None else self.exploration.epsilon
        if rule == "constant":
            return self.exploration_final_eps
        if rule == "per_phase":
            remaining = 1 - self.phase_tracker.progress_of_phase(ahead)
        return self.exploration_schedule(remaining)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if self.exploration is not None and self.num_timesteps < learning_starts:
            actions = self.exploration.draw(self._exploration_rng, self._actions, n_envs)
            return actions, actions
        part = self._choosing_part()
        if part is not None:
            seen: Any = self._last_obs
            actions = part.actions(self, seen)
            return actions, actions
        return super()._sample_action(learning_starts, action_noise, n_envs)

    def _choosing_part(self) -> Part | None:
        """Return the part that chooses the actions now, if there is one."""
        return next((part for part in self.parts if part.chooses(self)), None)

    def predict(
        self,
        observation: Any,
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Choose actions, exploring unless told to be deterministic.

        Args:
            observation: One observation, or a batch of them.
            state: Not used.
            episode_start: Not used.
            deterministic: Whether to choose the best action always.

        Returns:
            The actions, and ``state``.
        """
        if self.exploration is None:
            return super().predict(observation, state, episode_start, deterministic)
        actions, state = self._best_actions(observation, state, episode_start)
        if deterministic:
            return actions, state
        actions = np.asarray(actions)
        chosen = np.atleast_1d(actions)
        explores = self._exploration_rng.random(len(chosen)) < self.exploration_rate
        drawn = self.exploration.draw(self._exploration_rng, self._actions, len(chosen))
        return np.where(explores, drawn, chosen).reshape(actions.shape), state

    @property
    def averaged(self) -> Averaged | None:
        """The agent as it plays by the average of its weights; None if no average is kept."""
        return Averaged(self) if self.average else None

    def compiled_actions(
        self, observation: Any, averaged: bool = False
    ) -> npt.NDArray[np.int64] | None:
        """Return the best actions for a batch of observations; None if PyTorch must choose.

        Args:
            observation: Anything that :meth:`predict` takes.
            averaged: Whether the average of the weights chooses.
        """
        self._look_again()
        shape = self.observation_space.shape
        if self._compiled is None or np.shape(observation)[1:] != shape:
            return None
        if isinstance(self.q_net, FinishesPhases) and not self.q_net.sees_all(observation):
            return None  # compiled code knows the network of the phase that is learnt
        return self._compiled.best_actions(observation, averaged)

    def _best_actions(self, observation: Any, state: Any, episode_start: Any) -> tuple[Any, Any]:
        actions = self.compiled_actions(observation)
        if actions is not None:
            return actions, state
        return self.policy.predict(observation, state, episode_start, deterministic=True)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        goes_on = self._last_obs is not None and self.num_timesteps > 0
        trained = self.lifetime_step
        check_changes(self)
        self.follow_network()
        self._choose_engine()  # what was changed since it was made is looked at, too
        self._check_engine()
        try:
            with self._logger_without_folder():
                result = super()._setup_learn(*args, **kwargs)
        finally:
            self._steps_before = trained - self.num_timesteps  # which may count from 0 again
        assert self.env is not None
        if not goes_on or self.num_timesteps == 0:
            self.phase_tracker.begin(self.env)
            if isinstance(self.replay_buffer, TransitionReplayBuffer):
                self.replay_buffer.drop_pending()
            for part in self.parts:
                part.restarted(self)
        return result

    @contextmanager
    def _logger_without_folder(self) -> Iterator[None]:
        """Give a logger that writes no file no folder.

        The parent makes one in the temporary directory for each call of ``learn``, and leaves it.
        """
        if self._custom_logger or self.tensorboard_log is not None:
            yield
            return
        shown = [HumanOutputFormat(sys.stdout)] if self.verbose >= 1 else []
        self._logger = Logger(folder=None, output_formats=[*shown])
        self._custom_logger = True  # so that the parent makes none; the next call chooses again
        try:
            yield
        finally:
            self._custom_logger = False

    def collect_rollouts(
        self, env: VecEnv, callback: Any, *args: Any, **kwargs: Any
    ) -> RolloutReturn:
        """Play, as in the parent; before that, tell the parts of phases that ended and began.

        With the compiled engine several rollouts are played, and learnt from but for the last: in
        games of this suite until something is due, elsewhere as long as nobody is to be told of it.
        """
        self.check_parts()
        self._tell_phases()
        self._tell_due()
        self._rests_since_rollout = self.rests
        callback.on_rollout_start()
        self.within_rollout = True
        try:
            return self._play_rollout(env, callback, *args, **kwargs)
        finally:
            self.within_rollout = False

    def _play_rollout(self, env: VecEnv, callback: Any, *args: Any, **kwargs: Any) -> RolloutReturn:
        engine = self._current_engine()  # a callback may change anything
        if engine is not None and not args and self._is_usual(env, **kwargs):
            fused = self._current_loop(engine, env)
            if fused is not None:
                return fused.collect(callback, kwargs.get("log_interval"), kwargs["train_freq"])
        return super().collect_rollouts(env, _Started(callback), *args, **kwargs)  # type: ignore[arg-type]

    def finish_rollout(self, env: VecEnv, callback: BaseCallback, **kwargs: Any) -> RolloutReturn:
        """Play what is left of a rollout, as in the parent."""
        return super().collect_rollouts(env, _Started(callback), **kwargs)  # type: ignore[arg-type]

    def _current_loop(self, engine: CompiledEngine, env: VecEnv) -> GameLoop | EnvLoop | None:
        """Return the loop that plays and learns in one, if there can be one."""
        if self.rests or self._choosing_part() is not None:
            return None
        if self._fused is None or not self._fused.is_of(engine, env):
            self._fused = None
            if is_served(env, self):
                self._fused = GameLoop(engine, self, env)
            elif is_served_between(self):
                self._fused = EnvLoop(engine, self, env)
        return self._fused

    def _is_usual(
        self,
        env: VecEnv,
        train_freq: TrainFreq,
        replay_buffer: ReplayBuffer,
        action_noise: ActionNoise | None = None,
        learning_starts: int = 0,
        log_interval: int | None = None,
    ) -> bool:
        """Return whether a rollout is to be made with what the agent has."""
        own: Any = self.train_freq  # which the parent has made one of
        return (
            env is self.env
            and replay_buffer is self.replay_buffer
            and action_noise is None
            and learning_starts == self.learning_starts
            and train_freq == own
            and (env.num_envs == 1 or train_freq.unit is TrainFrequencyUnit.STEP)
        )

    def _tell_phases(self) -> None:
        news = self.phase_tracker.news()
        if news is not None:
            self.policy.set_training_mode(False)  # what parts compute now is without dropout
            ended, begun = news
            if ended is None and self._rests_in(begun):
                raise ValueError(
                    f"training begins with phase {begun + 1}, which was finished in an earlier "
                    "run, and nothing of it would be learnt: make a new agent, or resume that run "
                    "from a file of save_training"
                )
            told = time.perf_counter()
            if ended is not None and not self._rests_in(ended):
                for part in sorted(self.parts, key=lambda part: not part.settles):
                    part.phase_end(self, ended)
            if not self._rests_in(begun):
                for part in self.parts:
                    part.phase_start(self, begun)
            self.boundary_seconds += time.perf_counter() - told

    @property
    def next_due(self) -> int:
        """At which ``num_timesteps`` the first of the parts has something to do, if ever."""
        steps = (part.next_due(self) for part in self.parts)
        due = min((step for step in steps if step is not None), default=sys.maxsize)
        return due - self._steps_before

    def _tell_due(self) -> None:
        if self.rests:
            return
        steps = [(part, part.next_due(self)) for part in self.parts]
        due = [part for part, step in steps if step is not None and step <= self.lifetime_step]
        if not due:
            return
        self.policy.set_training_mode(False)
        self.follow_network()
        for part in due:
            part.between(self)
        if self.weight_average is not None:
            self.weight_average.jump(self.q_net)

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: npt.NDArray[Any],
        new_obs: Any,
        reward: npt.NDArray[Any],
        dones: npt.NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        self._check_step(new_obs, reward, dones, infos)
        assert self.env is not None
        if self.rests:
            self._last_original_obs, self._last_obs = self._last_obs, new_obs
            self.phase_tracker.stepped(infos, dones, self.env)
            return
        self._rests_since_rollout = False
        if self.learns_labels:
            buffer_action = self._labels(infos)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        if isinstance(replay_buffer, TransitionReplayBuffer):
            for part in self.parts:
                part.stored(self, replay_buffer.latest, *replay_buffer.placed)
        self.phase_tracker.stepped(infos, dones, self.env)

    def _labels(self, infos: list[dict[str, Any]]) -> npt.NDArray[np.int64]:
        """Return the right answers to what was seen before the step, shape ``(num_envs,)``."""
        labels = []
        for i, info in enumerate(infos):
            label = info.get("label")
            if not (isinstance(label, (int, np.integer)) and 0 <= label < self._actions):
                raise ValueError(
                    f"at step {self.num_timesteps} the info of sub-environment {i} has label = "
                    f"{shown(label)}: with loss = {self.loss!r} each step must tell the right "
                    f"answer, a whole number from 0 to {self._actions - 1}; for an environment "
                    "without labels choose loss = 'td'"
                )
            labels.append(int(label))
        return np.array(labels)

    def _check_step(
        self,
        observations: Any,
        rewards: npt.NDArray[Any],
        dones: npt.NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Check that what came from the environments are numbers to learn from."""
        if isinstance(observations, dict):
            return
        last = [infos[i]["terminal_observation"] for i in np.flatnonzero(dones)]
        if all(np.isfinite(values).all() for values in (observations, rewards, *last)):
            return
        for i, (observation, reward) in enumerate(zip(observations, rewards, strict=True)):
            looked_at = [("observation", observation), ("reward", reward)]
            if dones[i]:  # of two episodes: how one ended, and how the next one begins
                looked_at.insert(0, ("observation", infos[i]["terminal_observation"]))
            for what, values in looked_at:
                if not np.isfinite(values).all():
                    raise ValueError(
                        f"at step {self.num_timesteps} sub-environment {i} gave the {what} "
                        f"{values}, which is not finite: nothing can be learnt from it, and "
                        "nothing of this step was stored"
                    )

    def dump_logs(self) -> None:
        """Write a line of the log, with what parts and replay have to tell."""
        for part in self.parts:
            part.log(self)
        if self._learns_once:
            self.logger.record("train/rests", int(self.rests))
        if self.task_inference is not None:
            for what, value in self.task_inference.readings().items():
                self.logger.record(f"inference/{what}", value)
        if isinstance(self.replay_buffer, TransitionReplayBuffer):
            for what, shares in (
                ("stored", self.replay_buffer.phase_shares()),
                ("drawn", self.replay_buffer.batch_phase_shares()),
            ):
                for phase, share in shares.items():
                    self.logger.record(f"replay/{what}_phase_{phase}", share)
            self.replay_buffer.reset_batch_counts()
        super().dump_logs()

    # Files.

    def save(
        self,
        path: str | Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Write the agent to a file that holds data and no code.

        As in the parent, replay is left out; :meth:`save_training` keeps it, too.

        Args:
            path: The file, ``.zip`` is added to a name without a suffix; or one open for writing.
            exclude: Arguments of the constructor to leave out; :meth:`load` gives them their
                default.
            include: Arguments not to leave out, although ``exclude`` names them.

        Raises:
            TypeError: If something cannot be written as data.
            ValueError: If something is to be left out, or kept, that cannot be.
            OSError: If the file cannot be written.
        """
        left_out = check_selection(self, exclude or (), include or ())
        save_agent(self, _path(path), resumable=False, exclude=left_out)

    def save_training(self, path: str | Path) -> None:
        """Write all that training needs to resume bit for bit: :meth:`load` with an equal env.

        Call it between rollouts, as ``on_rollout_start`` of a callback is.

        Args:
            path: The file; it is replaced as a whole.

        Raises:
            TypeError: If something cannot be written as data.
            ValueError: If there is nothing to resume, a rollout is being played, or replay is not
                one of this suite.
            OSError: If the file cannot be written; an older one is then untouched.
        """
        save_agent(self, _path(path), resumable=True)

    @classmethod
    def load(
        cls,
        path: str | Path | io.BufferedIOBase,
        env: Any = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        *,
        trust: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Read an agent from a file. No code of the file is run, unless it is to be trusted.

        Args:
            path: The file, or one open for reading.
            env: The environment to train in; None to use it for play only. With a file of
                :meth:`save_training` it is put where it was, and ``learn(...,
                reset_num_timesteps=False)`` resumes.
            device: Where the network is to be.
            custom_objects: Arguments that are to be others than in the file. Names of anything else
                are passed over, as in the parent.
            print_system_info: Whether to print the versions here, and those the file was written
                with.
            force_reset: Whether ``env`` is reset before training is resumed, as in the parent; if
                not, it must be where the agent saw it last. A file of :meth:`save_training` puts
                the environments there itself.
            trust: Also read files in Stable-Baselines3's own format, which can run any code.
            **kwargs: Arguments that are to be others than in the file.

        Raises:
            ValueError: If the file is damaged, foreign or of a newer version, or does not fit.
            OSError: If it cannot be read.
        """
        if trust and is_foreign(_path(path)):
            if kwargs.get("parts"):
                _, network, _ = load_from_zip_file(path, load_data=False, device=device)
                kwargs["_network"] = lambda policy: policy.load_state_dict(network["policy"])
            return super().load(
                path, env, device, custom_objects, print_system_info, force_reset, **kwargs
            )
        if print_system_info:
            print_versions(_path(path))
        overrides = {**arguments_among(custom_objects or {}), **kwargs}
        agent: Self = load_agent(cls, _path(path), env, device, overrides, force_reset)
        return agent


class HuberLoss(torch.autograd.Function):
    """The mean Huber loss (delta = 1), by the formulas that compiled code computes it by."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss.

        Args:
            ctx: Of PyTorch.
            values: Shape ``(batch, 1)``.
            targets: The same, without a gradient.
        """
        errors = values - targets
        ctx.save_for_backward(errors)
        loss: torch.Tensor = huber(errors).mean()
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Return the derivatives by the values."""
        (errors,) = ctx.saved_tensors
        return huber_slope(errors) * (grad_outputs[0] / errors.numel()), None


class _Started:
    """A callback that was told already that a rollout starts."""

    def __init__(self, callback: BaseCallback) -> None:
        self._callback = callback

    def on_rollout_start(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._callback, name)


def _path(path: Any) -> Any:
    if not isinstance(path, str | os.PathLike):
        return path
    file = Path(path)
    return file if file.suffix else file.with_suffix(".zip")
