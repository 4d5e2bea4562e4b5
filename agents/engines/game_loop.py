"""Training in one compiled loop: the games of this suite are played, stored and learnt from in it.

Python is entered only when something is due: a callback, a line of the log, the end of a phase, or
after a tenth of a second, so that progress is shown and Ctrl-C is heard. Where it is entered makes
no difference to what is learnt.
"""

import math
import time
from functools import cache
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt
from numba import njit
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule

from continual_arcade.agents.engines import control as at
from continual_arcade.agents.engines.callback_schedule import (
    skip,
    steps_until_due,
    watches_start,
)
from continual_arcade.agents.engines.compilation import Addressed, Callee, Entry, Prepared
from continual_arcade.agents.engines.compiled import CompiledEngine
from continual_arcade.agents.engines.eligibility import changed, is_told_of_rollouts
from continual_arcade.agents.engines.flat import aligned
from continual_arcade.agents.kernels import update
from continual_arcade.agents.kernels.game_step import (
    Drawn,
    GameState,
    Play,
    ToStep,
    step_games,
)
from continual_arcade.agents.kernels.loop import Acting, ToPlay, play_and_learn
from continual_arcade.agents.kernels.random import stream_of
from continual_arcade.agents.methods.base import Part
from continual_arcade.agents.vec_env import GymnasiumVecEnv
from continual_arcade.envs.arcade_vector_env import ArcadeVectorEnv, Outlook
from continual_arcade.envs.compiling import plain, rebind
from continual_arcade.envs.game import Rules
from continual_arcade.envs.kernels import batch_kernels

_INTERVAL = 0.1
"""How long a loop may last, about [s]."""
_LONGEST = 4096
"""Steps of the longest loop."""
_NEVER = np.iinfo(np.int64).max
_OF_ENV = frozenset({"close", "render", "seed"})
"""Methods of an environment that have no part in a step."""


class GameLoop:
    """Lets an agent live in its games, a stretch at a time.

    Args:
        engine: What learns.
        agent: The agent.
        env: Where; see :func:`is_served`.
    """

    def __init__(self, engine: CompiledEngine, agent: Any, env: GymnasiumVecEnv) -> None:
        assert isinstance(env.env, ArcadeVectorEnv)
        self.env = env
        self._engine = engine
        self._agent = agent
        self._games = env.env
        self._pictures = env.env.pictures
        self._sizes = len(vars(env)), len(vars(env.env))
        """Methods that are replaced in one object alone are attributes more of it."""
        game = self._games.game
        self._step_entry = _step_entry(game.rules, game.name, game.num_actions)
        self._drawn = self._where_drawn()
        self._step: Addressed | None = None
        self._stepped: tuple[Any, ...] = ()
        """What the step works on."""
        self._prepared: Prepared | None = None
        self._seen: tuple[Any, ...] = ()
        """What the loop works on."""
        self._pace = 64 / _INTERVAL
        """Steps per second that the last loops have made."""
        count, space = env.num_envs, self._games.single_observation_space
        assert space.shape is not None
        self._shape = space.shape
        """Of an observation."""
        seen = (count, math.prod(self._shape))
        self._play = Play(
            observations=np.zeros(seen, space.dtype),
            before=np.zeros(seen, space.dtype),
            final_observations=np.zeros(seen, space.dtype),
            actions=np.zeros(count, np.int64),
            labels=np.zeros(count, np.int64),
            rewards=np.zeros(count),
            terminated=np.zeros(count, np.bool_),
            truncated=np.zeros(count, np.bool_),
            ended=np.zeros(count, np.bool_),
            lifetime_steps=np.zeros(count, np.int64),
            scores=np.zeros(count, np.int64),
            final_scores=np.zeros(count, np.int64),
            phases=np.zeros(count, np.int64),
            begun=np.zeros(count, np.int64),
            former=np.zeros(count, np.int64),
            changed=np.zeros(count, np.bool_),
            returns=np.zeros(count),
            lengths=np.zeros(count, np.int64),
            episode_returns=np.zeros(0),
            episode_lengths=np.zeros(0, np.int64),
        )
        self._cumulated = agent.exploration.cumulated
        self._conditions = self._games.conditions
        """What held before the last loop."""
        self._now = 0.0
        """When the last episodes ended, since the environment was made [s]."""
        self._draws = stream_of(agent._exploration_rng)
        self._buffer = aligned(count * engine.units)
        # Of each step of the longest loop: filled for each, and always at one place.
        tunables, shown = len(game.tunables), len(self._games.context.features)
        self._params = np.zeros((_LONGEST, tunables + shown))
        self._phases = np.zeros(_LONGEST, np.int64)
        self._boundaries = np.zeros(_LONGEST, np.bool_)
        self._exploration_rates = np.zeros(_LONGEST + 1)
        self._rates = at.table(self._exploration_rates)
        self._learning_rates = np.zeros(_LONGEST)
        self._known: tuple[Any, Any] = (None, None)
        """What compiled code knows of the next steps, and where replay counts their phases."""
        self._one_by_one = is_told_of_rollouts(agent)
        """Whether somebody is to be called at each rollout."""
        self._has_begun = True
        """Whether compiled code may have noted that episodes have begun."""
        self._names: tuple[Any, list[dict[str, float]]] = (None, [])
        """Parameters of the running episodes, as an array and by name."""

    def _where_drawn(self) -> Drawn | None:
        """Return what pictures are drawn from, None if there are none."""
        pictures, core = self._games.pictures, self._games.core
        if pictures is None:
            return None
        count = self.env.num_envs
        scenes, final_scenes = (np.zeros((count, core.width), np.float32) for _ in range(2))
        return Drawn(scenes, final_scenes, np.zeros(count, np.int64), pictures.drawing)

    def is_of(self, engine: CompiledEngine, env: Any) -> bool:
        """Return whether it was made for this engine, which knows the agent, and environment."""
        return (
            engine is self._engine
            and env is self.env
            and env.env is self._games
            and (len(vars(env)), len(vars(env.env))) == self._sizes
            and env.env.pictures is self._pictures
            and _plays_single_steps(self._agent)
            and _tells_labels(self._games, self._agent)
        )

    def __reduce__(self) -> Any:
        raise TypeError(
            "a compiled loop holds addresses of its agent's memory, and cannot be copied: copy the "
            "agent, which gets a loop of its own"
        )

    def _longest(self) -> int:
        """Return how many steps a loop may last by the clock on the wall."""
        return max(1, min(_LONGEST, int(self._pace * _INTERVAL)))

    def collect(
        self, callback: BaseCallback, log_interval: int | None, train_freq: TrainFreq
    ) -> RolloutReturn:
        """Play rollouts, and learn from all but the last, until Python has something to do.

        Args:
            callback: Told of what is due as of one rollout of one step, of whose start it was told.
            log_interval: Episodes between lines of the log; None for no log.
            train_freq: How long a rollout is.

        Raises:
            DivergedError: If the loss or its gradient is not finite.
        """
        agent, count = self._agent, self.env.num_envs
        rollout, episodes, within, owed = train_freq.frequency, 0, 0, False
        given = {"replay_buffer": agent.replay_buffer, "learning_starts": agent.learning_starts}
        while True:
            gradient_steps = agent.gradient_steps if agent.gradient_steps >= 0 else rollout * count
            until_log = math.inf
            if log_interval is not None:
                until_log = log_interval - agent._episode_num % log_interval
            steps = self._steps(callback, rollout, within)
            played = self.run(steps, rollout, gradient_steps, until_log, owed)
            within = (within + played.steps) % rollout
            agent.logger.record("rollout/exploration_rate", agent.exploration_rate)
            agent.tell_training(played.status, self._engine)
            if self._engine.control.whole[at.LOSSES]:
                agent.logger.record("train/learning_rate", self._engine.control.broken[at.RATE])
            skip(callback, played.steps - 1, count)
            callback.update_locals({**self._last_step(played), "self": agent, "env": self.env})
            goes_on = callback.on_step()
            episodes += played.episodes
            if not goes_on:
                return RolloutReturn((within or rollout) * count, episodes, goes_on)
            # As in the parent, after the callback, which may have changed what it follows from.
            agent.exploration_rate = agent.epsilon_at(agent._current_progress_remaining)
            if played.episodes >= until_log:
                agent.dump_logs()
            if within:
                owed = False
                if self._is_current():
                    continue
                left = TrainFreq(rollout - within, TrainFrequencyUnit.STEP)
                given |= {"train_freq": left, "log_interval": log_interval}
                rest = agent.finish_rollout(self.env, callback, **given)
                made = rest.episode_timesteps + within * count
                return RolloutReturn(made, episodes + rest.n_episodes, rest.continue_training)
            callback.on_rollout_end()
            if watches_start(callback) or not self._continues(train_freq):
                # As of the last rollout alone, which is what is still to be learnt from.
                return RolloutReturn(rollout * count, episodes, goes_on)
            owed = agent.num_timesteps > agent.learning_starts and agent.gradient_steps != 0
            if owed:
                agent._update_learning_rate(agent.policy.optimizer)

    def _steps(self, callback: BaseCallback, rollout: int, within: int) -> int:
        """Return how many steps to play next: whole rollouts, or less than one.

        Args:
            callback: Whom to call when it is due.
            rollout: Steps of a rollout.
            within: How many of them were played already.
        """
        agent, count = self._agent, self.env.num_envs
        due = steps_until_due(callback, agent.num_timesteps, count, agent.callback_every)
        if (
            rollout == 1 and due <= 1
        ):  # whatever else is due: what follows takes long for a single step
            return 1
        at_most = max(1, math.ceil(min(due, self._longest(), agent.until_rest / count)))
        if within or at_most < rollout:
            return int(min(at_most, rollout - within))
        if self._one_by_one:
            return rollout
        steps = min(
            at_most,
            -(-(agent._total_timesteps - agent.num_timesteps) // count),
            max(1, -(-(agent.next_due - agent.num_timesteps) // count)),
        )
        whole = max(1, -(-int(steps) // rollout))
        return rollout * (whole if whole * rollout <= at_most else int(at_most) // rollout)

    def _continues(self, train_freq: TrainFreq) -> bool:
        """Return whether the next rollout is this loop's too, and nothing is due before it.

        What there is to learn after the last step is then learnt when the loop is entered next,
        which saves entering compiled code twice.
        """
        agent = self._agent
        return (
            not self._one_by_one
            and agent.num_timesteps < min(agent._total_timesteps, agent.next_due)
            and agent.train_freq is train_freq
            and not agent.phase_tracker.has_news
            and self._is_current()
        )

    def _is_current(self) -> bool:
        """Return whether agent and environment are what the loop was made for."""
        agent = self._agent
        return (
            agent.runs_compiled
            and not agent.rests
            and agent._compiled is self._engine
            and self.is_of(self._engine, agent.env)
        )

    def run(
        self,
        steps: int,
        train_every: int,
        gradient_steps: int,
        episodes: float,
        owed: bool = False,
    ) -> "Played":
        """Play, and learn after each rollout but the last.

        Args:
            steps: Steps of all games, a multiple of ``train_every`` or less than that.
            train_every: Steps of a rollout.
            gradient_steps: Gradient steps after each.
            episodes: Return after the rollout in which so many have ended; inf for never.
            owed: Whether the step before is still to be learnt from.

        Returns:
            What happened.
        """
        begun = time.perf_counter()
        agent, engine, games = self._agent, self._engine, self._games
        engine.before(gradient_steps, agent.batch_size)
        whole = engine.control.whole
        phases = agent.phase_tracker.phases
        outlook = games.outlook(steps)
        self._set_rates(steps)
        whole[at.LOSSES], whole[at.OWED] = 0, owed
        whole[at.STEPS], whole[at.PLAYED], whole[at.HALFWAY], whole[at.EPISODES] = steps, 0, 0, 0
        whole[at.TRAIN_EVERY], whole[at.PHASE] = train_every, min(phases.tolist())
        whole[at.CLOCK] = games.clock.step
        whole[at.EPISODES_WANTED] = int(min(episodes, _NEVER))
        play = self._ready(steps, phases)
        self._look_ahead(outlook, steps)
        engine.make_room_for(steps, train_every)
        status = update.DONE
        try:
            status = self._compiled(engine.view(), play)()
            while status == update.LACKS_ROOM:
                engine.give_room()
                status = self._compiled(engine.view(), play)()
        finally:  # also if Ctrl-C comes in the meantime
            played = whole[at.PLAYED]
            engine.after()
            if played and not whole[at.HALFWAY]:
                engine.tell_stored()
            self._catch_up(outlook, play, played)
            agent.exploration_rate = self._rates[played]
        engine.check_plan(status)
        elapsed = time.perf_counter() - begun
        self._pace += 0.5 * (played / elapsed - self._pace)
        return Played(status, played, whole[at.EPISODES], outlook)

    def _look_ahead(self, outlook: Outlook, steps: int) -> None:
        """Let compiled code know of what the next steps will hold."""
        replay = self._agent.replay
        if outlook is self._known[0] and replay.drawn_phases is self._known[1]:
            return
        replay.expect_phases(outlook.phases)
        replay.expect_phases(self._agent.phase_tracker.phases)
        self._params[:steps] = self._games.context.rows(outlook.params, outlook.phases)
        self._phases[:steps] = outlook.phases
        self._boundaries[:steps] = outlook.boundaries
        self._known = outlook, replay.drawn_phases

    def _compiled(self, view: update.Agent, play: Play) -> Prepared:
        """Return the loop with all that it works on, as it lies now."""
        engine, games, step = self._engine, self._games, self._addressed(play)
        seen, prepared = self._seen, self._prepared
        if not (prepared is not None and view is seen[0] and play is seen[1] and step is seen[2]):
            acting = Acting(
                rates=self._exploration_rates,
                learning_rates=self._learning_rates,
                cumulated=self._cumulated,
                num_actions=games.game.num_actions,
                draws=self._draws,
                buffer=self._buffer,
            )
            given = ToPlay(
                control=engine.control.array,
                agent=view,
                pending=engine.pending,
                step=step.function,
                games=step.arguments,
                phases=self._phases,
                play=play,
                acting=acting,
            )
            prepared = _loop_entry().prepared(given)
            self._prepared, self._seen = prepared, (view, play, step)
        return prepared

    def _addressed(self, play: Play) -> Addressed:
        """Return the step of all games with what it works on, as it lies now."""
        games, seen, step = self._games, self._stepped, self._step
        blocks, limit = games.core.blocks, games.limit
        if step is None or play is not seen[0] or blocks is not seen[1] or limit != seen[2]:
            state = GameState(
                blocks=blocks,
                limit=limit,
                params=self._params,
                held=games.core.held,
                boundaries=self._boundaries,
                drawn=self._drawn,
            )
            step = self._step_entry.prepared(ToStep(self._engine.control.array, state, play))
            self._step, self._stepped = step, (play, blocks, limit)
        return step

    def _set_rates(self, steps: int) -> None:
        """Let compiled code know how much is explored before, and how fast learnt after, a step."""
        agent, count = self._agent, self.env.num_envs
        self._rates[0] = agent.exploration_rate
        if steps == 1:  # nothing is learnt after the last step, and arrays would cost more
            left = 1.0 - float(agent.num_timesteps + count) / float(agent._total_timesteps)
            self._rates[1] = agent.epsilon_at(left, count)
            return
        rates, learning_rates = self._exploration_rates, self._learning_rates
        moved = count * np.arange(1, steps + 1)
        remaining = 1.0 - (agent.num_timesteps + moved) / float(agent._total_timesteps)
        # What does not change, which is most often the case, is computed once.
        rests = agent.exploration.epsilon != "per_phase" and (
            agent.exploration.epsilon == "constant"
            or _is_over(agent.exploration_schedule, remaining)
        )
        if rests:
            rates[1 : steps + 1] = agent.epsilon_at(remaining[0], count)
        else:
            rates[1 : steps + 1] = [
                agent.epsilon_at(left, ahead)
                for left, ahead in zip(remaining.tolist(), moved.tolist(), strict=True)
            ]
        if _is_constant(agent.lr_schedule):
            learning_rates[:steps] = agent.lr_schedule(remaining[0])
        else:
            learning_rates[:steps] = [agent.lr_schedule(left) for left in remaining.tolist()]

    def _ready(self, steps: int, phases: npt.NDArray[np.int64]) -> Play:
        most = steps * self.env.num_envs
        if len(self._play.episode_lengths) < most:
            self._play = self._play._replace(
                episode_returns=np.zeros(most), episode_lengths=np.zeros(most, np.int64)
            )
        if self._play.returns is not self.env.episode_returns:
            self._play = self._play._replace(
                returns=self.env.episode_returns, lengths=self.env.episode_lengths
            )
        play = self._play
        play.observations[:] = self._agent._last_obs.reshape(play.observations.shape)
        play.phases[:] = phases
        if self._has_begun:
            play.begun[:] = play.former[:] = -1
            self._has_begun = False
        return play

    def _catch_up(self, outlook: Outlook, play: Play, played: int) -> None:
        """Let agent and games know of the steps that were played."""
        agent, games = self._agent, self._games
        before, count = games.clock.step, self.env.num_envs
        self._conditions = games.conditions
        episodes = self._engine.control.whole[at.EPISODES]
        if episodes:
            games.catch_up(outlook, played, play.begun)
        else:  # nothing else holds than before
            games.clock.advance(count, played)
        agent.phase_tracker.catch_up(games.clock.step, play.phases)
        agent._last_obs = play.observations.reshape(-1, *self._shape).copy()
        agent._current_progress_remaining = 1.0 - float(agent.num_timesteps) / float(
            agent._total_timesteps
        )
        if not episodes:
            return
        self._has_begun = True
        for i in np.flatnonzero(play.begun >= 0).tolist():
            k = int(play.begun[i])
            self.env.reset_infos[i] = {
                "phase": int(outlook.phases[k]),
                "params": self._named(outlook.params[k]),
                "lifetime_step": before + count * (k + 1),
                "score": 0,
                "phase_changed": bool(play.changed[i]),
            }
        agent._episode_num += episodes
        self._now = self.env.elapsed()
        kept = range(max(0, episodes - agent._stats_window_size), episodes)
        agent.ep_info_buffer.extend(map(self._ended, kept))

    def _named(self, row: npt.NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(self._games.game.tunables, row.tolist(), strict=True))

    def _last_step(self, played: "Played") -> dict[str, Any]:
        """Return what a callback may look at of the last step, by the names it looks for."""
        play, games = self._play, self._games
        (phases, rows), before = games.conditions, self._conditions
        if rows is not self._names[0]:  # which is never changed in place
            self._names = rows, [*map(self._named, rows)]
        infos: list[dict[str, Any]] = []
        told = (phases.tolist(), self._names[1], play.scores.tolist(), play.ended.tolist())
        for i, (phase, params, score, ended) in enumerate(zip(*told, strict=True)):
            info: dict[str, Any] = {
                "phase": phase,
                "params": params.copy(),
                "lifetime_step": games.clock.step,
                "score": score,
                "phase_changed": False,
            }
            if ended:
                former = int(play.former[i])
                if former >= 0:
                    info["phase"] = int(played.outlook.phases[former])
                    info["params"] = self._named(played.outlook.params[former])
                else:
                    info["phase"] = int(before[0][i])
                    info["params"] = self._named(before[1][i])
                info["score"] = int(play.final_scores[i])
                last = play.final_observations[i].reshape(self._shape)
                info["terminal_observation"] = last.copy()
                info["TimeLimit.truncated"] = bool(play.truncated[i] and not play.terminated[i])
                info["episode"] = self._ended_now(i)
            infos.append(info)
        shown = {
            "new_obs": self._agent._last_obs.view(),
            "rewards": play.rewards.astype(np.float32),
            "dones": play.ended.copy(),
            "actions": play.actions.copy(),
        }
        for array in shown.values():  # the step is stored: what is written here would be lost
            array.setflags(write=False)
        return {**shown, "infos": infos}

    def _ended_now(self, env: int) -> dict[str, Any]:
        """Return the sums of the episode that a game has just ended."""
        # They are the last ones noted, game by game.
        after = int(self._play.ended[env + 1 :].sum())
        return self._ended(self._engine.control.whole[at.EPISODES] - 1 - after)

    def _ended(self, episode: int) -> dict[str, Any]:
        """Return the sums of an episode that ended in the last loop."""
        play = self._play
        return {
            "r": float(play.episode_returns[episode]),
            "l": int(play.episode_lengths[episode]),
            "t": self._now,
        }


class Played(NamedTuple):
    """What happened in a loop."""

    status: int
    """``DONE`` or ``DIVERGED``."""
    steps: int
    """Steps of all games."""
    episodes: int
    """Episodes that ended."""
    outlook: Outlook
    """What the steps held."""


def _is_over(schedule: Any, remaining: npt.NDArray[np.float64]) -> bool:
    """Return whether a schedule has come to its end, where it stays."""
    return type(schedule) is LinearSchedule and 1 - remaining[0] > schedule.end_fraction


def _is_constant(schedule: Any) -> bool:
    """Return whether a schedule always says the same."""
    return type(schedule) is FloatSchedule and type(schedule.value_schedule) is ConstantSchedule


def is_served(env: Any, agent: Any) -> TypeGuard[GymnasiumVecEnv]:
    """Return whether an agent can live in an environment in one loop with it."""
    return (
        type(env) is GymnasiumVecEnv
        and type(env.env) is ArcadeVectorEnv
        and changed(env, GymnasiumVecEnv, _OF_ENV) is None
        and changed(env.env, ArcadeVectorEnv, _OF_ENV) is None
        and env.env.render_mode != "rgb_array_list"  # which keeps a picture of every step
        and agent.exploration is not None
        and _tells_labels(env.env, agent)
        and _plays_single_steps(agent)
        # Which is called after each step of the environments.
        and all(type(part).stored is Part.stored for part in agent.parts)
    )


def _tells_labels(games: ArcadeVectorEnv, agent: Any) -> bool:
    """Return whether there are labels if they are learnt; if not, storing a step says so."""
    return games.game.rules.labelled or not agent.learns_labels


def _plays_single_steps(agent: Any) -> bool:
    return agent.train_freq.unit is TrainFrequencyUnit.STEP and agent.action_noise is None


@cache
def _loop_entry() -> Entry:
    return Entry(njit(error_model="numpy", inline="always")(play_and_learn), "learner")


@cache
def _step_entry(rules: Rules, owner: str, actions: int) -> Callee:
    """Return a step of all games with the rules of one game.

    Args:
        rules: The rules.
        owner: Name of the game.
        actions: Its number of actions.
    """
    batch = batch_kernels(rules, owner, actions)
    step = batch.step
    stepping = rebind(step_games, {"step_batch": step, "read_labels": batch.read_labels})
    # What tells of the sources of the rules, in the name under which machine code is kept.
    stepping.__qualname__ += f".{plain(step).__qualname__}"
    return Callee(njit(error_model="numpy", inline="always")(stepping), owner)
