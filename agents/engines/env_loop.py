"""Training in any environments: between two steps of them, one call of compiled code does it all.

It is the loop of Stable-Baselines3 (``OffPolicyAlgorithm.learn`` and ``collect_rollouts``), with
the same bits and the same view for callbacks and environments. What a step has brought is stored
when the next action is due, which is chosen in the same call; and if nobody looks at the agent
between two rollouts, what there is to learn is learnt in it, too.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq
from stable_baselines3.common.utils import should_collect_more_steps
from stable_baselines3.common.vec_env import VecEnv

from continual_arcade.agents.engines import control as at
from continual_arcade.agents.engines.callback_schedule import watches_rollouts
from continual_arcade.agents.engines.compilation import Entry, Prepared
from continual_arcade.agents.engines.compiled import CompiledEngine
from continual_arcade.agents.engines.eligibility import is_told_of_rollouts
from continual_arcade.agents.engines.flat import aligned
from continual_arcade.agents.kernels import update
from continual_arcade.agents.kernels.between import (
    Arrived,
    Choice,
    ToGoOn,
    store_learn_and_choose,
)
from continual_arcade.agents.kernels.loop import Acting
from continual_arcade.agents.kernels.random import stream_of

_FEW = 50
"""So many numbers Python has looked at before NumPy has begun to."""


class EnvLoop:
    """Lets an agent live in environments, a stretch at a time.

    Args:
        engine: What learns and acts.
        agent: The agent; see :func:`is_served_between`.
        env: Where.
    """

    def __init__(self, engine: CompiledEngine, agent: Any, env: VecEnv) -> None:
        self.env = env
        self._engine, self._agent = engine, agent
        self._replay = agent.replay
        count, features = env.num_envs, int(engine.widths[0])
        kind = self._replay.observations.dtype
        self._arrived = Arrived(
            observations=np.zeros((count, features), kind),
            next_observations=np.zeros((count, features), kind),
            actions=np.zeros(count, np.int64),
            rewards=np.zeros(count),
            ended=np.zeros(count, np.bool_),
            terminated=np.zeros(count, np.bool_),
            phases=np.zeros(count, np.int64),
        )
        self._next_observations = self._arrived.next_observations.reshape(-1)
        self._choice = Choice(np.zeros((count, features), np.float32), np.zeros(count, np.int64))
        self._acting = Acting(
            rates=np.zeros(1),
            learning_rates=np.zeros(0),
            cumulated=agent.exploration.cumulated,
            num_actions=agent._actions,
            draws=stream_of(agent._exploration_rng),
            buffer=aligned(count * int(sum(engine.widths[1:]))),
        )
        self._rate = at.table(self._acting.rates)
        self._goes_on = not is_told_of_rollouts(agent)
        """Whether several rollouts may be made in one call."""
        self._prepared: Prepared | None = None
        self._view: update.Agent | None = None
        self._phases: list[Any] = []
        self._counts: Any = None
        """Phases of the last step, and where replay is ready to count them."""
        self._waits = False
        """Whether a step has arrived that is not stored yet."""

    def is_of(self, engine: CompiledEngine, env: Any) -> bool:
        """Return whether it was made for this engine, which knows the agent, and environment."""
        return engine is self._engine and env is self.env and is_served_between(self._agent)

    def __reduce__(self) -> Any:
        raise TypeError(
            "a compiled loop holds addresses of its agent's memory, and cannot be copied: copy the "
            "agent, which gets a loop of its own"
        )

    def collect(
        self, callback: BaseCallback, log_interval: int | None, train_freq: TrainFreq
    ) -> RolloutReturn:
        """Play rollouts, and learn from all but the last, until somebody wants to be told.

        Args:
            callback: Was told that a rollout starts.
            log_interval: Episodes between lines of the log; None for no log.
            train_freq: How long a rollout is.

        Raises:
            DivergedError: If the loss or its gradient is not finite.
        """
        self._waits = False
        try:
            return self._collect(callback, log_interval, train_freq)
        finally:  # what is told of the last step lies where others may store the next one
            self._replay.settle()

    def _collect(
        self, callback: BaseCallback, log_interval: int | None, train_freq: TrainFreq
    ) -> RolloutReturn:
        agent, env, count = self._agent, self.env, self.env.num_envs
        new_obs: Any
        is_current = True
        agent.policy.set_training_mode(False)
        actions = self._go_on()
        shown = self._shown(callback, log_interval, train_freq)
        steps = episodes = 0
        while True:
            new_obs, rewards, dones, infos = env.step(actions)
            agent.num_timesteps += count
            steps += 1
            shown["num_collected_steps"] = steps
            shown["actions"] = shown["buffer_actions"] = actions
            shown["new_obs"], shown["rewards"] = new_obs, rewards
            shown["dones"], shown["infos"] = dones, infos
            callback.update_locals(shown)
            if not callback.on_step():
                return RolloutReturn(steps * count, episodes, continue_training=False)
            agent._update_info_buffer(infos, dones)
            is_current = is_current and self._is_current() and self._fits(new_obs, rewards, dones)
            if is_current:
                self._take(actions, new_obs, rewards, dones, infos)
            else:  # as Stable-Baselines3 does, until the rollout is over
                given = (actions, new_obs, rewards, dones, infos)
                agent._store_transition(shown["replay_buffer"], *given)
            if is_current and agent.rests:  # from here on nothing is stored
                self._go_on(chooses=False)
                is_current = False
            agent._update_current_progress_remaining(agent.num_timesteps, agent._total_timesteps)
            agent._on_step()
            for idx, done in enumerate(dones):
                shown["idx"], shown["done"] = idx, done
                if done:
                    episodes += 1
                    shown["num_collected_episodes"] = episodes
                    agent._episode_num += 1
                    if log_interval is not None and agent._episode_num % log_interval == 0:
                        if is_current:
                            self._go_on(chooses=False)
                        agent.dump_logs()
                        is_current = is_current and self._is_current()
            if should_collect_more_steps(train_freq, steps, episodes):
                if is_current:
                    actions = self._go_on()
                else:
                    actions, _ = agent._sample_action(shown["learning_starts"], None, count)
                continue
            if not (is_current and self._may_learn(callback, train_freq)):
                if is_current:
                    self._go_on(chooses=False)
                callback.on_rollout_end()
                return RolloutReturn(steps * count, episodes, continue_training=True)
            gradient_steps = agent.gradient_steps if agent.gradient_steps >= 0 else steps * count
            agent.policy.set_training_mode(False)
            if agent.num_timesteps > agent.learning_starts and gradient_steps > 0:
                actions = self._learn_and_go_on(gradient_steps)
            else:
                actions = self._go_on()
            shown = self._shown(callback, log_interval, train_freq)
            steps = episodes = 0

    def _shown(
        self, callback: BaseCallback, log_interval: int | None, train_freq: TrainFreq
    ) -> dict[str, Any]:
        """Return what callbacks may look at, by the names of Stable-Baselines3's loop."""
        agent = self._agent
        return {
            "self": agent,
            "env": self.env,
            "callback": callback,
            "train_freq": train_freq,
            "replay_buffer": agent.replay_buffer,
            "action_noise": None,
            "learning_starts": agent.learning_starts,
            "log_interval": log_interval,
            "num_collected_episodes": 0,
            "continue_training": True,
        }

    def _is_current(self) -> bool:
        """Return whether the agent is what the loop was made for, whatever was done to it."""
        agent = self._agent
        agent._look_again()
        return agent._compiled is self._engine and agent.env is self.env

    def _may_learn(self, callback: BaseCallback, train_freq: TrainFreq) -> bool:
        """Return whether nobody wants to be told between two rollouts, and there is another one."""
        agent = self._agent
        return (
            self._goes_on
            and agent.num_timesteps < min(agent._total_timesteps, agent.next_due)
            and agent.train_freq is train_freq
            and not agent.phase_tracker.has_news
            and agent.action_noise is None
            and not watches_rollouts(callback)
        )

    # A step.

    def _fits(self, new_obs: Any, rewards: Any, dones: Any) -> bool:
        """Return whether a step is of the kinds and shapes that environments usually give."""
        arrived = self._arrived
        return (
            type(new_obs) is type(rewards) is type(dones) is np.ndarray
            and new_obs.dtype == arrived.observations.dtype
            and new_obs.shape == arrived.observations.shape
            and rewards.dtype.kind == "f"
            and rewards.shape == dones.shape == arrived.rewards.shape
        )

    def _take(
        self,
        actions: npt.NDArray[Any],
        new_obs: npt.NDArray[Any],
        rewards: npt.NDArray[Any],
        dones: npt.NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Take a step that is to be stored, as ``_store_transition`` of the agent does."""
        agent, arrived, replay = self._agent, self._arrived, self._replay
        arrived.next_observations[:] = new_obs
        arrived.rewards[:] = rewards
        ends = [i for i, done in enumerate(dones.tolist()) if done]
        if ends or not (are_finite(self._next_observations) and are_finite(arrived.rewards)):
            agent._check_step(new_obs, rewards, dones, infos)
        arrived.actions[:] = agent._labels(infos) if agent.learns_labels else actions
        arrived.observations[:] = agent._last_obs
        arrived.ended[:] = arrived.terminated[:] = dones
        for i in ends:
            if infos[i].get("TimeLimit.truncated", False):
                arrived.terminated[i] = False
            arrived.next_observations[i] = infos[i]["terminal_observation"]
        phases = [info.get("phase", 0) for info in infos]
        if phases != self._phases or replay.drawn_phases is not self._counts:
            arrived.phases[:] = phases
            replay.expect_phases(arrived.phases)
            self._phases, self._counts = phases, replay.drawn_phases
        self._waits = True
        agent._last_original_obs, agent._last_obs = agent._last_obs, new_obs
        agent.phase_tracker.stepped(infos, dones, self.env)

    def _learn_and_go_on(self, gradient_steps: int) -> npt.NDArray[np.int64]:
        """Store what waits, learn from all that is stored, and choose actions."""
        agent, engine = self._agent, self._engine
        agent._update_learning_rate(agent.policy.optimizer)
        status, actions = self._call(gradient_steps, learns=True, chooses=True)
        agent.tell_training(status, engine)
        return actions

    def _go_on(self, chooses: bool = True) -> npt.NDArray[np.int64]:
        """Store what waits, and choose actions."""
        return self._call(0, learns=False, chooses=chooses)[1]

    def _call(
        self, gradient_steps: int, learns: bool, chooses: bool
    ) -> tuple[int, npt.NDArray[np.int64]]:
        """Enter compiled code.

        Returns:
            What it says, and the actions that it chose.
        """
        agent, engine, choice = self._agent, self._engine, self._choice
        stores, self._waits = self._waits, False
        if not stores:  # what was stored last cannot be told any more afterwards
            self._replay.settle()
        engine.before(gradient_steps, agent.batch_size)
        whole = engine.control.whole
        whole[at.STORES], whole[at.OWED], whole[at.CHOOSES] = stores, learns, chooses
        whole[at.HALFWAY] = 0
        if chooses:
            choice.observations[:] = agent._last_obs
            self._rate[0] = agent.exploration_rate
        try:
            status = self._compiled(engine.view())()
            while status == update.LACKS_ROOM:
                engine.give_room()
                status = self._compiled(engine.view())()
        finally:  # also if Ctrl-C comes in the meantime
            engine.after()
        if stores:
            engine.tell_stored()
        return status, choice.actions.copy()

    def _compiled(self, view: update.Agent) -> Prepared:
        """Return the function with all that it works on, as it lies now."""
        prepared = self._prepared
        if prepared is None or view is not self._view:
            engine = self._engine
            given = (self._arrived, self._choice, self._acting)
            prepared = _entry().prepared(ToGoOn(engine.control.array, view, engine.pending, *given))
            self._prepared, self._view = prepared, view
        return prepared


def is_served_between(agent: Any) -> bool:
    """Return whether all that an agent does between two steps can be done in one call."""
    return (
        agent.exploration is not None
        and agent.action_noise is None
        # They want to be told of each step before anything is learnt from it.
        and not any(part.watches_replay for part in agent.parts)
        and not agent.replay.columns
        and len(agent.observation_space.shape) == 1  # pictures are another kind of numbers
    )


def are_finite(values: npt.NDArray[Any]) -> bool:
    """Return whether all numbers of an array of one dimension are finite."""
    if len(values) > _FEW:
        return bool(np.isfinite(values).all())
    return all(map(math.isfinite, values.tolist()))


@cache
def _entry() -> Entry:
    return Entry(njit(error_model="numpy", inline="always")(store_learn_and_choose), "learner")
