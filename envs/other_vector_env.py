"""Other people's games side by side, as an agent is trained in them.

Environments of other people cannot be saved. What they do follows from their seed and from the
actions since then, though: so a state is just that, and an environment resumes by playing them
again. Whether it came to where it was is checked, number by number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from continual_arcade.envs.arcade_vector_env import masked
from continual_arcade.envs.checks import MOST_AT_ONCE, Array, Instance, Whole, whole_actions
from continual_arcade.envs.clock import LifetimeClock
from continual_arcade.envs.context import HIDDEN, Context, ContextKind
from continual_arcade.envs.other_games import Fitted, other_games, tunables_of
from continual_arcade.envs.schedules import Schedule
from continual_arcade.envs.seeds import plain_seeds

RESEED_AFTER = 5_000
"""An episode that begins so many steps after a seed gets another one [steps of an environment]: no
state is longer by much. An emulator takes a tenth of a second for a seed, and so does not get one
for each episode."""
_SEEDS = 2**31
"""How many seeds are drawn from: each library takes them."""


class _Seat:
    """One of the environments that are played side by side, whichever the phase has there."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        """Draws the seeds."""
        self.seed = 0
        """The last one that was given."""
        self.actions: list[int] = []
        """What was done since then."""
        self.env: Fitted
        self.seen: Any = None
        self.score: float = 0.0

    def seat(self, env: Fitted, seed: int) -> None:
        """Begin an episode in an environment, with a seed."""
        self.env, self.seed, self.actions = env, seed, []
        self._begin(seed)

    def step(self, action: int) -> tuple[float, bool, bool]:
        """Play one step."""
        self.actions.append(action)
        self.seen, reward, terminated, truncated, info = self.env.step(action)
        self.score = float(info["score"])
        return float(reward), terminated, truncated

    def go_on(self) -> None:
        """Begin the next episode, where one has ended."""
        if len(self.actions) >= RESEED_AFTER:
            self.seat(self.env, self.draw())
        else:
            self._begin(None)

    def draw(self) -> int:
        """Return the next seed."""
        return int(self.generator.integers(_SEEDS))

    def _begin(self, seed: int | None) -> None:
        self.seen, info = self.env.reset(seed=seed)
        self.score = float(info["score"])

    def replay(self, env: Fitted, seed: int, actions: Sequence[int]) -> None:
        """Come to where somebody was who had this seed and did this."""
        self.seat(env, seed)
        for action in actions:
            _, terminated, truncated = self.step(action)
            if terminated or truncated:
                self._begin(None)


class OtherVectorEnv(VectorEnv[Any, Any, Any]):
    """Other people's games side by side, one of which is played in each phase of a schedule.

    All have one lifetime clock, as in the suite's vector environments: it counts transitions,
    survives ``reset()``, and rewinds when a seed is given. At the end of a phase all episodes are
    truncated. An episode that ends is followed by the next one in the same step;
    ``infos["final_obs"]`` and ``infos["final_info"]`` hold what it ended with. An info has
    ``phase``, ``params``, ``lifetime_step``, ``phase_changed`` and ``score``, and nothing of what
    the environments say beside that.

    The first episode of each sub-environment, and the first one of each phase, begin with a seed;
    so does an episode that begins ``RESEED_AFTER`` steps after the last one. Sub-environment *i*
    that is given the seed *s* plays what the environment plays that is given *s*; later seeds are
    drawn from it.

    Args:
        options: The options of the run, which name the environments.
        num_envs: Number of sub-environments.
        schedule: Which of them is played when, as its parameter ``env``.
        phase: Index or name of one phase of the schedule, to stay in it for ever.
        context: What of its phase an observation shows.

    Raises:
        ValueError: If an environment cannot be made, their spaces do not fit, the schedule names
            one that is not there, or a phase is shorter than one step of all sub-environments.
    """

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP}  # type: ignore[misc]

    def __init__(
        self,
        options: Mapping[str, Any],
        num_envs: int,
        schedule: Schedule,
        phase: int | str | None = None,
        context: ContextKind = HIDDEN,
    ) -> None:
        self._made: dict[tuple[int, int], Fitted] = {}
        for spec in schedule.phases:
            if spec.until is not None:
                raise ValueError(
                    f"phase {spec.name!r} moves its parameters, and between whole environments "
                    "there is nothing: let them change from phase to phase"
                )
        self.num_envs = Whole(1, MOST_AT_ONCE)("num_envs", num_envs)
        tunables = tunables_of(options)
        self.clock = LifetimeClock(schedule, tunables, phase, pace=self.num_envs)
        self.context = Context(context, schedule, tunables)
        self.games = other_games(options)
        self.single_observation_space = self.games.shown(self.context)
        self.single_action_space = gym.spaces.Discrete(self.games.num_actions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._seats: list[_Seat] = []
        self._shown_params, self._shown_phase = self.clock.params, self.clock.phase.index

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in every sub-environment.

        Args:
            seed: Seed of the first sub-environment, which counts up for the others; or one for
                each. Given one, the lifetime clock resets.
            options: None, or nothing in it.

        Raises:
            ValueError: If there are options, or not as many seeds as sub-environments.
            TypeError: If a seed is not a whole number.
        """
        if options:
            raise ValueError(f"options = {options}: there are none for environments of others")
        seeds = plain_seeds(seed, self.num_envs)
        super().reset(seed=None if seeds is None else seeds[0])
        if seeds is not None:
            self.clock.go_to(0)
            self._seats = [_Seat(np.random.default_rng(one)) for one in seeds]
        elif not self._seats:
            words = self.np_random.integers(2**63, size=self.num_envs).tolist()
            self._seats = [_Seat(np.random.default_rng(word)) for word in words]
        self.clock.begin_episode()
        first = seeds or [seat.draw() for seat in self._seats]
        for i, (seat, one) in enumerate(zip(self._seats, first, strict=True)):
            seat.seat(self._env(i), one)
        return self._seen(), self._infos(self.clock.phase_changed)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Play one step in every sub-environment.

        Args:
            actions: Whole numbers, shape ``(num_envs,)``.

        Raises:
            ResetNeeded: If the environments were never reset.
            TypeError: If the actions are not whole numbers.
            ValueError: If there is no such action, or not one for each sub-environment.
        """
        if not self._seats:
            raise ResetNeeded("no episode is running: call reset() before step()")
        chosen, clock = self._checked(actions), self.clock
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), np.bool_)
        for i, (seat, action) in enumerate(zip(self._seats, chosen, strict=True)):
            rewards[i], terminated[i], truncated[i] = seat.step(action)
        clock.step += self.num_envs
        clock.phase_changed = False
        crosses = clock.step >= clock.boundary
        truncated |= crosses
        ended = terminated | truncated
        infos = self._infos(changed=False)
        if not ended.any():
            return self._seen(), rewards, terminated, truncated, infos
        final_seen = self._seen()
        clock.begin_episode()
        for i in np.flatnonzero(ended).tolist():
            seat = self._seats[i]
            if crosses:
                seat.seat(self._env(i), seat.draw())
            else:
                seat.go_on()
        now = self._infos(clock.phase_changed)
        now |= {"final_obs": final_seen, "_final_obs": ended}
        now |= {"final_info": masked(infos, ended), "_final_info": ended}
        return self._seen(), rewards, terminated, truncated, now

    def _checked(self, actions: Any) -> list[int]:
        chosen: list[int] = whole_actions(actions, self.num_envs).tolist()
        for i, action in enumerate(chosen):
            if not 0 <= action < self.games.num_actions:
                raise ValueError(
                    f"sub-environment {i}: {action} is no action: there are "
                    f"{self.games.num_actions}"
                )
        return chosen

    def _env(self, seat: int) -> Fitted:
        """Return the environment of a seat in the phase that holds now, made when first needed."""
        place = int(self.clock.params["env"]), seat
        if place not in self._made:
            self._made[place] = self.games.make(place[0])
        return self._made[place]

    def _seen(self) -> npt.NDArray[Any]:
        """Return what the agent sees: observations, with the context behind them."""
        seen = np.stack([seat.seen for seat in self._seats])
        if self.context.is_hidden:
            return seen
        shown = self.context.of(self._shown_params, self._shown_phase)
        return np.concatenate((seen, np.tile(shown, (self.num_envs, 1))), axis=1)

    def _infos(self, changed: bool) -> dict[str, Any]:
        count, clock = self.num_envs, self.clock
        self._shown_params, self._shown_phase = clock.params, clock.phase.index
        everyone = np.ones(count, np.bool_)
        infos: dict[str, Any] = {
            "phase": np.full(count, clock.phase.index),
            "params": {"env": np.full(count, clock.params["env"]), "_env": everyone},
            "lifetime_step": np.full(count, clock.step),
            "phase_changed": np.full(count, changed),
            "score": np.array([seat.score for seat in self._seats]),
        }
        return {**infos, **{f"_{name}": everyone for name in infos}}

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on: seeds, and what was done since then.

        Raises:
            ResetNeeded: If the environments were never reset.
        """
        if not self._seats:
            raise ResetNeeded("there is no state yet: call reset() first")
        return {
            "made": self._about,
            "clock": self.clock.state_dict(),
            "generators": [seat.generator.bit_generator.state for seat in self._seats],
            "seeds": [seat.seed for seat in self._seats],
            "actions": [np.array(seat.actions, np.int64) for seat in self._seats],
            "seen": np.stack([seat.seen for seat in self._seats]),
        }

    @property
    def _about(self) -> dict[str, Any]:
        return {
            "kind": "OtherVectorEnv",
            "envs": [game.to_dict() for game in self.games.games],
            "num_envs": self.num_envs,
            "context": self.context.kind,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume exactly where another one was, by playing what was played there.

        Args:
            state: What :meth:`state_dict` returned there.

        Raises:
            ValueError: If that was made in another way, the state is damaged, or the environments
                do not come to where they were; then this one is as it was.
        """
        table = Instance((Mapping,))
        theirs, ours = table("made", table("the state", state).get("made", {})), self._about
        for name in {**ours, **theirs}:
            if theirs.get(name) != ours.get(name):
                raise ValueError(
                    f"the state belongs to environments with {name} = {theirs.get(name)!r}, these "
                    f"have {name} = {ours.get(name)!r}: make them as those were made"
                )
        lacking = {"clock", "generators", "seeds", "actions", "seen"} - state.keys()
        if lacking:
            raise ValueError(f"the state has no {', '.join(sorted(lacking))}: it is damaged")
        lists = Instance((list,))
        for name in ("generators", "seeds", "actions"):
            if len(lists(name, state[name])) != self.num_envs:
                raise ValueError(f"{name} of the state are not {self.num_envs}: it is damaged")
        space = self.games.observation_space
        Array((self.num_envs, *space.shape), space.dtype)("seen", state["seen"])
        clock = LifetimeClock(
            self.clock.schedule,
            self.clock.tunables,
            None if self.clock.frozen is None else self.clock.frozen.index,
            pace=self.num_envs,
        )
        clock.load_state_dict(table("clock", state["clock"]))
        made: dict[tuple[int, int], Fitted] = {}
        try:
            seats = [self._resumed(i, state, clock, made) for i in range(self.num_envs)]
        except BaseException:
            for env in made.values():
                env.close()
            raise
        self.close_extras()
        self._made = made
        self._seats = seats
        self.clock.load_state_dict(state["clock"])
        self._infos(changed=False)  # what is shown of the phase

    def _resumed(
        self,
        index: int,
        state: Mapping[str, Any],
        clock: LifetimeClock,
        made: dict[tuple[int, int], Fitted],
    ) -> _Seat:
        """Return a seat that is where that of a state was, in an environment of its own.

        Raises:
            ValueError: If it does not come there.
        """
        seat, played = _Seat(np.random.default_rng(0)), int(clock.params["env"])
        seat.generator.bit_generator.state = state["generators"][index]
        seed = Whole()("seeds", state["seeds"][index])
        within = Array((None,), np.int64, 0, self.games.num_actions - 1)
        actions = within("actions", state["actions"][index])
        env = made[played, index] = self.games.make(played)
        seat.replay(env, seed, actions.tolist())
        if not np.array_equal(seat.seen, state["seen"][index]):
            raise ValueError(
                f"sub-environment {index}, {self.games.games[played].id}, does not come to where "
                "it was: the same seed and the same actions lead to something else here, so that "
                "the run cannot be resumed bit for bit. Perhaps its package, or the machine, is "
                "another one now; with both as they were it can be resumed, else it must be "
                "trained anew"
            )
        return seat

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments."""
        for env in self._made.values():
            env.close()
        self._made.clear()
