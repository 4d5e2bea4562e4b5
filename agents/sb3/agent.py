"""Agents of Stable-Baselines3, which are trained and resumed as those of this suite.

What they learn is what the classes of Stable-Baselines3 learn, from the same draws. Added is what
runs need: they end at the last step of a schedule, draw from generators of their own, and can be
saved so that training is resumed bit for bit; and they can be trained from scratch in each phase.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer, RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import RolloutReturn
from stable_baselines3.common.vec_env import VecEnv

from continual_arcade.agents.algorithms.algorithm import Algorithm
from continual_arcade.agents.algorithms.settings import AlgorithmSettings
from continual_arcade.agents.arguments import SEED
from continual_arcade.agents.continual_dqn import DivergedError
from continual_arcade.agents.machine_memory import check_memory
from continual_arcade.agents.networks import ACTIVATIONS, CONVOLUTIONS
from continual_arcade.agents.phase_tracker import PhaseTracker
from continual_arcade.agents.sb3.callbacks import Outside
from continual_arcade.agents.sb3.generators import OwnGenerators
from continual_arcade.agents.sb3.saving import check_memory_state, save_agent
from continual_arcade.envs.schedules import Schedule


class SB3Agent(BaseAlgorithm):
    """What all of these agents have; the first base of each of their classes.

    Args:
        algorithm: The algorithm.
        settings: How it learns.
        env: What it is trained in; None to use it for play only.
        seed: Seed of everything that is random.
        sees_pictures: Whether it sees pictures, and not features.
        from_scratch: Whether network, optimiser and what is remembered are made anew where a phase
            begins.
        of_spaces: Observations and actions, if there is no environment, and their number at a time.

    Raises:
        ValueError: If it is to be trained from scratch in phases, and there are none that end.
    """

    algorithm: ClassVar[Algorithm]
    within_rollout = False
    """Whether a rollout is being played, as far as a callback can ask."""

    def __init__(
        self,
        settings: AlgorithmSettings,
        env: VecEnv | None,
        *,
        seed: int,
        sees_pictures: bool = False,
        from_scratch: bool = False,
        of_spaces: tuple[spaces.Space[Any], spaces.Space[Any], int] | None = None,
    ) -> None:
        self.settings = settings
        self.sees_pictures = sees_pictures
        self.from_scratch = from_scratch
        self.network_began = 0
        """Lifetime step at which the network was made."""
        self.generators = OwnGenerators()
        sees = {"features_extractor_class": CONVOLUTIONS[settings.convolutions]}
        arguments: dict[str, Any] = {
            **settings.arguments(),
            "policy_kwargs": {
                **(sees if sees_pictures else {}),
                "net_arch": list(settings.hidden),
                "activation_fn": ACTIVATIONS[settings.activation],
                **settings.policy_arguments(),
            },
            "seed": SEED("seed", seed),
            "device": "cpu",
            "_init_setup_model": False,
        }
        super().__init__("CnnPolicy" if sees_pictures else "MlpPolicy", env, **arguments)
        if env is None:
            assert of_spaces is not None
            self.observation_space, self.action_space, self.n_envs = of_spaces
        else:
            seen = self.observation_space
            of_one = int(np.prod(seen.shape or ())) * np.dtype(seen.dtype).itemsize
            check_memory("what is remembered", 2 * settings.memory * of_one)
        self._schedule = self._phases_of(env)
        with self.generators.inside():
            self._setup_model()

    def _phases_of(self, env: VecEnv | None) -> Schedule | None:
        if env is None:
            return None
        tracker = PhaseTracker(env.num_envs)
        tracker.look_at(env)
        if self.from_scratch and not tracker.has_boundaries:
            raise ValueError(
                f"method 'from-scratch' needs phases that end at once, and {tracker.description} "
                "has none: choose method 'finetune'"
            )
        return tracker.schedule

    @property
    def engine_report(self) -> str:
        """What computes."""
        return f"torch, because {self.algorithm.name} is one of {self.algorithm.library}"

    def learn(self, *args: Any, **kwargs: Any) -> Any:
        """Train, as in the parent, with generators of its own.

        Raises:
            DivergedError: If the network is not finite any more; then it is the last that was.
        """
        with self.generators.inside():
            return super().learn(*args, **kwargs)  # type: ignore[safe-super]  # that of the next base

    def predict(
        self,
        observation: Any,
        state: tuple[Any, ...] | None = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Return actions, as in the parent; what is random is drawn from its own generators."""
        # Where nothing is drawn they need not be exchanged.
        with nullcontext() if deterministic else self.generators.inside():
            return super().predict(observation, state, episode_start, deterministic)

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Write the agent to a file of data without code, to play or to look into it.

        Raises:
            ValueError: If something is to be left out or added: a file has what it has.
            OSError: If the file cannot be written.
        """
        if exclude is not None or include is not None:
            raise ValueError("exclude and include are for files of Stable-Baselines3's own format")
        save_agent(self, path, resumable=False)

    def save_training(self, path: Any) -> None:
        """Write all that training needs to be resumed bit for bit; between two rollouts.

        Raises:
            ValueError: If there is nothing to resume.
            OSError: If the file cannot be written.
        """
        save_agent(self, path, resumable=True)

    @classmethod
    def load(cls, *args: Any, **kwargs: Any) -> Any:
        """Refuse: a file says itself which algorithm it is of.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "read it with continual_arcade.agents.sb3.loading.load_agent(path), or a file in "
            "Stable-Baselines3's own format with the load() of its own class"
        )

    def memory_state(self) -> dict[str, Any]:
        """Return what is remembered from one rollout to the next, for files."""
        return {}

    def load_memory_state(self, state: Any) -> None:
        """Remember what :meth:`memory_state` returned.

        Raises:
            ValueError: If it makes no sense.
        """
        if state != {}:
            raise ValueError(f"{self.algorithm.name} remembers nothing between rollouts")

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> Any:
        if self.from_scratch and self.num_timesteps and reset_num_timesteps:
            raise ValueError(
                "method 'from-scratch' counts from the beginning where phases begin: after "
                f"{self.num_timesteps:,} steps call learn(..., reset_num_timesteps=False)"
            )
        return super()._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )

    def _init_callback(self, callback: Any, progress_bar: bool = False) -> BaseCallback:
        outside = Outside(super()._init_callback(callback, progress_bar), self.generators)
        outside.init_callback(self)
        return outside

    @property
    def _network_ends(self) -> int:
        """Lifetime step at which training ends, or the next network is made."""
        if self.from_scratch and self._schedule is not None:
            boundary = self._schedule.next_boundary(self.network_began)
            if boundary is not None:
                return min(boundary, self._total_timesteps)
        return self._total_timesteps

    def _begin_phase(self) -> None:
        """Start from scratch, if that is to be done here."""
        if not self.from_scratch or self.num_timesteps < self._network_ends:
            return
        self.network_began = self.num_timesteps
        self._forget()
        seed, self.seed = self.seed, None  # the network is drawn from where the generators stand
        try:
            self._setup_model()
        finally:
            self.seed = seed

    def _forget(self) -> None:
        """Forget what is remembered."""

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        begins, ends = (self.network_began, self._network_ends) if self.from_scratch else (0, 0)
        super()._update_current_progress_remaining(
            num_timesteps - begins, ends - begins if self.from_scratch else total_timesteps
        )

    def _learnt(self, learn: Any) -> None:
        """Let it learn; if the network is not finite afterwards, it is what it was before.

        Raises:
            DivergedError: If so.
        """
        before = {name: each.clone() for name, each in self.policy.state_dict().items()}
        try:
            with self._noting_divergence():
                learn()
                if not all(bool(each.isfinite().all()) for each in self.policy.parameters()):
                    raise self._diverged()
        except DivergedError:
            self.policy.load_state_dict(before)
            self.policy.optimizer.state.clear()  # which is not finite either
            raise

    @contextmanager
    def _noting_divergence(self) -> Iterator[None]:
        """Let what PyTorch says of probabilities that are none be what it means here."""
        try:
            yield
        except ValueError as error:
            if "of distribution" not in str(error):
                raise
            raise self._diverged() from error

    def _diverged(self) -> DivergedError:
        return DivergedError(
            f"learning of {self.algorithm.name} diverged at step {self.num_timesteps:,}: what the "
            "network says is not finite any more; try a smaller learning_rate"
        )


class OnPolicyAgent(SB3Agent, OnPolicyAlgorithm):
    """An agent that learns from whole rollouts, and forgets each of them.

    The last rollout is shorter where the steps that are left are fewer; so is the last one before
    it is trained from scratch.
    """

    def _setup_model(self) -> None:
        super()._setup_model()
        self._whole = self.rollout_buffer

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect a rollout, as in the parent, which ends where it must."""
        self._begin_phase()
        left = -(-(self._network_ends - self.num_timesteps) // env.num_envs)
        length = min(n_rollout_steps, left)
        self.rollout_buffer = self._whole if length == n_rollout_steps else self._buffer(length)
        with self._noting_divergence():
            return super().collect_rollouts(env, callback, self.rollout_buffer, length)

    def _buffer(self, length: int) -> RolloutBuffer:
        return type(self._whole)(
            length,
            self.observation_space,
            self.action_space,
            device=self.device,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            n_envs=self.n_envs,
        )

    def train(self) -> None:
        """Learn from the rollout."""
        self._learnt(super().train)


_COLUMNS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class OffPolicyAgent(SB3Agent, OffPolicyAlgorithm):
    """An agent that learns from a memory of transitions."""

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> RolloutReturn:
        """Collect a step of all games, as in the parent."""
        self._begin_phase()
        kwargs["replay_buffer"] = self.replay_buffer
        kwargs["learning_starts"] = self._learning_starts
        return super().collect_rollouts(*args, **kwargs)

    @property
    def _learning_starts(self) -> int:
        """Lifetime step after which this network learns."""
        return self.network_began + self.learning_starts

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Learn from the memory, once there is enough in it for this network."""
        if self.num_timesteps <= self._learning_starts:
            return
        self._learnt(lambda: super(OffPolicyAgent, self).train(gradient_steps, batch_size))

    def _forget(self) -> None:
        # Which of both it is to be, Stable-Baselines3 says anew.
        self.replay_buffer = self.replay_buffer_class = None

    @property
    def _replay(self) -> ReplayBuffer:
        assert self.replay_buffer is not None
        return self.replay_buffer

    def memory_state(self) -> dict[str, Any]:
        """Return the transitions that are remembered."""
        replay = self._replay
        filled = replay.buffer_size if replay.full else replay.pos
        columns = {name: getattr(replay, name)[:filled] for name in _COLUMNS}
        return {"position": replay.pos, "full": replay.full, **columns}

    def load_memory_state(self, state: Any) -> None:
        """Remember what :meth:`memory_state` returned.

        Raises:
            ValueError: If it makes no sense.
        """
        replay = self._replay
        check_memory_state(state, {name: getattr(replay, name) for name in _COLUMNS})
        replay.pos, replay.full = state["position"], state["full"]
        for name in _COLUMNS:
            column: np.ndarray[Any, Any] = getattr(replay, name)
            column[: len(state[name])] = state[name]


def agent_class(algorithm: Algorithm) -> type[SB3Agent]:
    """Return the class of the agents that learn by an algorithm.

    Raises:
        ValueError: If its library is not installed.
    """
    learner = algorithm.load()
    kind = OnPolicyAgent if issubclass(learner, OnPolicyAlgorithm) else OffPolicyAgent
    about = {"algorithm": algorithm, "__module__": __name__, "__doc__": algorithm.about}
    made: Any = type(learner.__name__, (kind, learner), about)
    found: type[SB3Agent] = made
    return found
