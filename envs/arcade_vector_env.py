"""Many games of one kind as a Gymnasium vector environment."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, NamedTuple, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from continual_arcade.envs.arcade_env import (
    FRAMES_PER_SECOND,
    check_options,
    check_state,
    clock_of,
    load_shared_state,
    no_action,
    observed,
    shared_state,
    status_of,
)
from continual_arcade.envs.attributes import FixedAttributes
from continual_arcade.envs.checks import (
    MOST_AT_ONCE,
    OrNone,
    Whole,
    WrongTypeError,
    flag,
    whole_actions,
)
from continual_arcade.envs.clock import LifetimeClock
from continual_arcade.envs.context import HIDDEN, Context, ContextKind
from continual_arcade.envs.core import Core, Floats, Mask, Snapshot
from continual_arcade.envs.curricula import ScheduleLike
from continual_arcade.envs.drawing.screen import Screen
from continual_arcade.envs.env_specs import portable_spec
from continual_arcade.envs.games import make_game, option_names
from continual_arcade.envs.messages import shown, unknown
from continual_arcade.envs.pictures import Pictures
from continual_arcade.envs.raster import BEGIN, FOLLOW
from continual_arcade.envs.schedules import Schedule
from continual_arcade.envs.seeds import plain_seeds
from continual_arcade.envs.tunables import Params, Tunables, resolve

Actions = npt.NDArray[np.integer[Any]]
Observations: TypeAlias = Any
"""Features, shape ``(num_envs, num_features)`` and ``float32``; or pictures, ``uint8``."""
Picture = npt.NDArray[np.uint8]

RENDER_MODES = ["rgb_array", "rgb_array_list"]
AUTORESET_MODES = [mode.value for mode in AutoresetMode]


class ArcadeVectorEnv(FixedAttributes, VectorEnv[Observations, Actions, Any]):
    """Many games of one kind, on one lifetime clock.

    All sub-environments share one lifetime clock, which counts the transitions of all of them. At a
    boundary every episode is truncated, so that all of them enter the next phase together.

    Where an episode ends, the next one begins as ``autoreset_mode`` says; each sub-environment
    plays the same in all three modes:

    - ``"SameStep"``: in the same step. ``infos["final_obs"]`` and ``infos["final_info"]`` hold what
      the last episode ended with.
    - ``"NextStep"``: in the next step, which ignores the action of that sub-environment and returns
      the first observation with a reward of 0. It is no transition, and the clock does not count
      it.
    - ``"Disabled"``: when ``reset(options={"reset_mask": ended})`` is called, which must happen
      before the next step.

    Values in ``infos`` are arrays of shape ``(num_envs,)``. Those that rarely change (``phase``,
    ``params``, masks) are shared from step to step and read-only; all other arrays are fresh.

    Args:
        game: Name of the game, a key of ``GAMES``.
        num_envs: Number of sub-environments.
        max_episode_steps: Steps after which an episode is truncated; None for no limit.
        schedule: As in :class:`~continual_arcade.envs.ArcadeEnv`.
        phase: As in :class:`~continual_arcade.envs.ArcadeEnv`.
        render_mode: None, ``"rgb_array"`` or ``"rgb_array_list"``; see :meth:`render`.
        hud: As in :class:`~continual_arcade.envs.ArcadeEnv`.
        autoreset_mode: ``"SameStep"``, ``"NextStep"`` or ``"Disabled"``, or the same as Gymnasium's
            ``AutoresetMode``.
        context: As in :class:`~continual_arcade.envs.ArcadeEnv`.
        **options: As in :class:`~continual_arcade.envs.ArcadeEnv`.

    Raises:
        TypeError: If there is no such option.
        ValueError: If a name is unknown or a value out of bounds, or if a phase is shorter than one
            step of all sub-environments.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # Gymnasium's is no ClassVar
        "render_modes": RENDER_MODES,
        "render_fps": FRAMES_PER_SECOND,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    # Of the class, since Gymnasium before 1.3 closes what could not be made, too.
    _screen: Screen | None = None

    spec: EnvSpec | None = portable_spec()
    """How Gymnasium makes it again, as plain data."""

    def __init__(
        self,
        game: str,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        schedule: ScheduleLike = None,
        phase: int | str | None = None,
        render_mode: str | None = None,
        hud: bool = True,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        context: ContextKind = HIDDEN,
        **options: Any,
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(unknown("render mode of a vector env", render_mode, RENDER_MODES))
        if not isinstance(autoreset_mode, AutoresetMode) and autoreset_mode not in AUTORESET_MODES:
            raise ValueError(unknown("autoreset mode", autoreset_mode, AUTORESET_MODES))
        num_envs = Whole(1, MOST_AT_ONCE)("num_envs", num_envs)
        max_episode_steps = OrNone(Whole(1))("max_episode_steps", max_episode_steps)
        self.game = make_game(game, **options)
        if render_mode is not None:
            self.game.require("painter")
        self.clock = clock_of(self.game, schedule, phase, pace=num_envs)
        self.context = Context(context, self.clock.schedule, self.game.tunables)
        self.core = Core(self.game, num_envs, shown=len(self.context.features))
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.hud = flag("hud", hud)
        self.autoreset_mode = mode = AutoresetMode(autoreset_mode)
        """When the next episode begins where one has ended."""
        self.metadata = {**self.metadata, "autoreset_mode": mode}  # type: ignore[misc]
        self._restarts = mode is AutoresetMode.SAME_STEP
        self._asks = mode is AutoresetMode.DISABLED
        self.pictures = None if self.game.pictures is None else Pictures(self.game, num_envs)
        self.single_observation_space = observed(self.game, self.context, self.pictures)
        self.single_action_space = gym.spaces.Discrete(self.game.num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._limit = np.inf if max_episode_steps is None else float(max_episode_steps)
        self._conditions = _Conditions(self.game.tunables, num_envs)
        self._next_params: Params = {}
        nothing = Outlook(np.zeros((0, 0)), np.zeros(0, np.int64), np.zeros(0, np.bool_))
        self._quiet: tuple[Params, Outlook, Outlook] = ({}, nothing, nothing)
        self._running = False
        self._waiting = np.zeros(num_envs, np.bool_)
        """Where an episode has ended and the next one has not begun."""
        self._frames: list[list[Picture]] = [[] for _ in range(num_envs)]
        self._fix(ArcadeVectorEnv.__init__, "max_episode_steps", *option_names(game))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_screen": None}

    def state(self, index: int) -> Snapshot:
        """Return a copy of the state of one game, by field name."""
        return self.core.snapshot(index)

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observations, dict[str, Any]]:
        """Start an episode in every sub-environment, or in some of them.

        The lifetime clock continues, unless a seed is given: it resets clock and random draws.

        Args:
            seed: Seed of the first sub-environment, which counts up for the others; or one for
                each.
            options: ``{"params": {...}}`` pins parameters for this one episode; a value is a number
                or an array of shape ``(num_envs,)``. ``{"phase": ...}`` plays it in another phase
                than the clock's: an index or a name, or an array of indices of that shape.
                ``{"reset_mask": mask}`` starts episodes only where the mask, an array of truth
                values of that shape, says so.

        Returns:
            Observations and infos of all sub-environments.

        Raises:
            ResetNeeded: If only some are to begin, and others have not begun yet.
            ValueError: If an option, a parameter or a phase is unknown, out of bounds, or of
                another shape, or if only some are given a seed.
            TypeError: If a seed is not a whole number, or the mask has no truth values.
        """
        # Checked before anything moves: a reset that fails changes nothing.
        check_options(options, ("params", "phase", "reset_mask"))
        conditions = self._conditions
        pinned = conditions.checked((options or {}).get("params", {}))
        phases = conditions.chosen((options or {}).get("phase"), self.clock.schedule)
        begins = self._mask((options or {}).get("reset_mask"))
        seeds = plain_seeds(seed, self.num_envs)
        if not begins.all():
            if not self._running:
                raise ResetNeeded("no episode is running: first reset() without a reset_mask")
            if seeds is not None:
                raise ValueError(
                    "a seed resets the lifetime clock of all sub-environments: give it without a "
                    "reset_mask"
                )
        if pinned:
            scheduled = self.clock.params_of_next(seeds is not None)
            conditions.check_acts(
                begins, conditions.beginning(scheduled, self.clock, pinned, phases)
            )
        rewinds = seeds is not None or not self._running
        super().reset(seed=None if seeds is None else seeds[0])
        if seeds is not None:
            self.core.seed(_words(seeds))
            self.clock.go_to(0)
        elif not self._running:
            self.core.seed(self.np_random.integers(2**64, size=self.num_envs, dtype=np.uint64))
        self.clock.begin_episode()
        changed = conditions.begin(begins, self.clock, pinned, phases)
        observations: Observations = self.core.reset(self._rows, begins=begins)
        if self.pictures is not None:
            observations = self.pictures.begin(observations, begins)
        self._running = True
        self._waiting = self._waiting & ~begins
        if self.render_mode == "rgb_array_list":
            self._collect(begins, begins)
        return observations, conditions.infos(
            np.full(self.num_envs, self.clock.step),
            self.core.field("score").astype(np.int64),
            np.zeros(self.num_envs, np.bool_) if rewinds else changed,
        )

    def step(self, actions: Actions) -> tuple[Observations, Floats, Mask, Mask, dict[str, Any]]:
        """Play one step in every sub-environment.

        Args:
            actions: Whole numbers, shape ``(num_envs,)``.

        Returns:
            Observations, rewards, terminations, truncations and infos.

        Raises:
            ResetNeeded: If the environments were never reset, or with ``"Disabled"`` autoreset some
                that have ended were not.
            ValueError: If there is no such action, or not one for each sub-environment.
            TypeError: If the actions are not whole numbers.
        """
        if not self._running:
            raise ResetNeeded("no episode is running: call reset() before step()")
        num_envs, clock, core, conditions = self.num_envs, self.clock, self.core, self._conditions
        restarts, waiting = self._restarts, self._waiting
        actions = self._checked(actions)
        num_playing, words = num_envs, None
        if not restarts and waiting.any():
            if self._asks:
                raise ResetNeeded(
                    f"the episodes of sub-environments {np.flatnonzero(waiting).tolist()} have "
                    "ended: call reset(options={'reset_mask': mask}) with the mask of those that "
                    "have ended, or make the environment with another autoreset_mode"
                )
            num_playing -= int(waiting.sum())
            actions = np.where(waiting, 0, actions)
            words = core.field("random")

        # The episodes that begin in this step begin after it, so the clock moves first.
        clock.step += num_playing
        boundary = clock.step >= clock.boundary
        if not self._asks:
            clock.begin_episode()
        if clock.params is not self._next_params:
            self._next_params = clock.params
            self._next_row = self.context.row(clock.params, clock.phase.index)

        observations = np.empty((num_envs, core.width), np.float32)
        rewards = np.empty(num_envs)
        terminated = np.empty(num_envs, np.bool_)
        truncated = np.empty(num_envs, np.bool_)
        ended = np.empty(num_envs, np.bool_)
        lifetime_steps = np.empty(num_envs, np.int64)
        scores = np.empty(num_envs, np.int64)
        final_observations = np.zeros(observations.shape, np.float32)
        final_scores = np.zeros(num_envs, np.int64)
        labels: dict[str, Any] = {}
        if self.game.rules.labelled:
            labels = {"label": core.field("label").astype(np.int64), "_label": conditions.everyone}
        num_ended = core.batch.step(
            core.blocks,
            actions,
            self._next_row,
            self._limit,
            boundary,
            restarts,
            clock.step,
            None if self.context.is_hidden else core.held,
            observations,
            rewards,
            terminated,
            truncated,
            ended,
            lifetime_steps,
            scores,
            final_observations,
            final_scores,
        )
        if num_ended < 0:
            clock.go_to(clock.step - num_playing)
            wrong = -1 - num_ended
            message = no_action(int(actions[wrong]), self.game.actions)
            raise ValueError(f"sub-environment {wrong}: {message}")
        changed = conditions.no_one
        begun = ended if restarts else conditions.no_one
        finals: dict[str, Any] | None = None
        if words is not None:
            # Those that waited moved, too, as lanes of a block do; what they drew is given back.
            core.seed(np.where(waiting, words, core.field("random")))
            begun, changed = waiting, conditions.begin(waiting, clock)
            observations = core.reset(self._rows, begins=waiting)
            rewards[waiting] = scores[waiting] = 0
            terminated[waiting] = truncated[waiting] = ended[waiting] = False
        final_seen: Observations = final_observations
        seen: Observations = observations
        if self.pictures is not None:
            if restarts and num_ended:
                final_seen = self.pictures.finish(final_observations, ended)
            seen = self.pictures.follow(observations, np.where(begun, BEGIN, FOLLOW))
        if restarts and num_ended:
            final_info = conditions.infos(lifetime_steps, final_scores, conditions.no_one)
            final_info = masked({**final_info, **labels}, ended)
            finals = {"final_obs": final_seen, "final_info": final_info}
            finals["_final_obs"] = finals["_final_info"] = ended
            changed = conditions.begin(ended, clock)
        if not restarts:
            self._waiting = ended
        if self.render_mode is not None and self.render_mode == "rgb_array_list":
            self._collect(conditions.everyone, begun)
        infos = conditions.infos(lifetime_steps, scores, changed)
        if labels:  # where an episode has begun there is none yet
            infos.update(labels, _label=~(waiting | (ended if restarts else conditions.no_one)))
        if finals:
            infos.update(finals)
        return seen, rewards, terminated, truncated, infos

    @property
    def _rows(self) -> Floats:
        """What the running episodes began with: parameters, and the context behind them."""
        return self.context.rows(self._conditions.rows, self._conditions.phases)

    @property
    def conditions(self) -> tuple[npt.NDArray[np.int64], Floats]:
        """Phase and tunables of the running episodes; never changed in place.

        Their shapes are ``(num_envs,)`` and ``(num_envs, num_tunables)``.
        """
        return self._conditions.phases, self._conditions.rows

    @property
    def limit(self) -> float:
        """Steps after which an episode is truncated; inf for never."""
        return self._limit

    def outlook(self, steps: int) -> "Outlook":
        """Return what the next steps will hold, for a loop that plays them without this class.

        Args:
            steps: How many.

        Raises:
            ResetNeeded: If the environments were never reset.
        """
        if not self._running:
            raise ResetNeeded("no episode is running: call reset() before outlook()")
        clock = self.clock
        if steps <= clock.quiet_steps(self.num_envs):
            return self._quiet_outlook(steps)
        clock = copy(clock)
        outlook = Outlook(
            np.empty((steps, len(self.game.tunables))),
            np.empty(steps, np.int64),
            np.zeros(steps, np.bool_),
        )
        begin = 0
        while begin < steps:
            clock.step += self.num_envs
            outlook.boundaries[begin] = clock.step >= clock.boundary
            clock.begin_episode()
            # The same holds until the clock has something new to say.
            alike = 1 + clock.quiet_steps(self.num_envs)
            end = min(begin + alike, steps)
            outlook.params[begin:end] = list(clock.params.values())
            outlook.phases[begin:end] = clock.phase.index
            clock.step += self.num_envs * (end - begin - 1)
            begin = end
        return outlook

    def _quiet_outlook(self, steps: int) -> "Outlook":
        """Return the outlook on steps in which nothing changes; asked for again and again."""
        params, known, shown = self._quiet
        if params is not self.clock.params or len(known.phases) < steps:
            params = self.clock.params
            known = shown = Outlook(
                np.tile(np.array(list(params.values())), (steps, 1)),
                np.full(steps, self.clock.phase.index),
                np.zeros(steps, np.bool_),
            )
        if len(shown.phases) != steps:
            shown = Outlook(known.params[:steps], known.phases[:steps], known.boundaries[:steps])
        if shown is not self._quiet[2]:
            self._quiet = params, known, shown
        return shown

    def catch_up(self, outlook: "Outlook", steps: int, begun: npt.NDArray[np.int64]) -> None:
        """Take note of steps that another loop has played on ``core.blocks``.

        Args:
            outlook: What they held.
            steps: How many were played.
            begun: Step in which the running episode of each sub-environment began, -1 if none did.
        """
        self.clock.advance(self.num_envs, steps)
        self._conditions.adopt(outlook, begun, self.clock)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on; see :meth:`ArcadeEnv.state_dict`."""
        state = shared_state(self, "ArcadeVectorEnv")
        state["made"]["max_episode_steps"] = self._limit
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            state["made"]["autoreset_mode"] = self.autoreset_mode.value
            state["waiting"] = self._waiting.copy()
        return {**state, **self._conditions.state_dict(self.clock), "running": self._running}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume exactly where another environment was.

        Args:
            state: What :meth:`state_dict` returned there.

        Raises:
            ValueError: If that was another game, another schedule, or made with other options; the
                message says which. Then nothing has changed.
        """
        check_state(self, state)
        load_shared_state(self, state)
        self._conditions.load_state_dict(state, self.clock)
        shown = self._rows[:, len(self.game.tunables) :]
        self.core.held[:, : shown.shape[1]] = shown
        self._running = state["running"]
        self._waiting = np.array(state.get("waiting", self._conditions.no_one))

    def _checked(self, actions: Any) -> Actions:
        # One compiled version suffices: int64 is what policies and spaces return.
        return np.ascontiguousarray(whole_actions(actions, self.num_envs), np.int64)

    def _mask(self, given: Any) -> Mask:
        """Return in which sub-environments an episode is to begin."""
        if given is None:
            return self._conditions.everyone
        mask = np.asarray(given)
        if mask.dtype != np.bool_:
            raise TypeError(f"reset_mask must hold truth values, not {mask.dtype}")
        if mask.shape != (self.num_envs,):
            raise ValueError(
                f"reset_mask has shape {mask.shape}; one value for each sub-environment is "
                f"({self.num_envs},)"
            )
        if not mask.any():
            raise ValueError("reset_mask selects no sub-environment")
        return mask

    def render(self) -> tuple[Picture, ...] | tuple[list[Picture], ...]:  # type: ignore[override]
        """Draw every game.

        Returns:
            A picture of each, shape ``(height, width, 3)``. With ``"rgb_array_list"`` a list of
            those of each that were not returned yet, from the last reset of that sub-environment
            on, as ``gymnasium.wrappers.RenderCollection`` keeps them.

        Raises:
            ResetNeeded: If no episode has begun.
            ValueError: If no render mode was chosen.
        """
        if self.render_mode not in RENDER_MODES:
            raise ValueError(
                f"choose a render_mode ({', '.join(RENDER_MODES)}) when making the env"
            )
        if not self._running:
            raise ResetNeeded("nothing to draw yet: call reset() before render()")
        if self.render_mode == "rgb_array":
            return tuple(self._picture(i) for i in range(self.num_envs))
        frames, self._frames = self._frames, [[] for _ in range(self.num_envs)]
        return tuple(frames)

    def _collect(self, seen: Mask, begun: Mask) -> None:
        """Add a picture of some games; where an episode has begun, the older ones are gone."""
        for i in np.flatnonzero(seen).tolist():
            if begun[i]:
                self._frames[i] = []
            self._frames[i].append(self._picture(i))

    def _picture(self, index: int) -> Picture:
        if self._screen is None or self._screen.hud != self.hud:
            self._screen = Screen(self.game, self.hud)
        state = self.state(index)
        conditions = self._conditions
        params = dict(zip(self.game.tunables, conditions.rows[index].tolist(), strict=True))
        phase = int(conditions.phases[index])
        return self._screen.picture(state, status_of(self.clock, phase, params, state["score"]))

    def close_extras(self, **kwargs: Any) -> None:
        """Let go of what pictures need."""
        if self._screen is not None:
            self._screen.close()
            self._screen = None


class Outlook(NamedTuple):
    """What a number of steps will hold."""

    params: Floats
    """Tunables of the episodes that begin in each step, shape ``(steps, num_tunables)``."""
    phases: npt.NDArray[np.int64]
    """Phase of these episodes, shape ``(steps,)``."""
    boundaries: Mask
    """Whether a phase ends with the step, which truncates every episode."""


class _Conditions:
    """What holds in each sub-environment: its phase and its parameters.

    Nearly always the same holds for all of them, for thousands of steps; so the arrays that say so
    in ``infos`` are made when something changes, and shared, read-only, until then.
    """

    def __init__(self, tunables: Tunables, num_envs: int) -> None:
        self.tunables = tunables
        self.num_envs = num_envs
        self.everyone = _shared(np.ones(num_envs, np.bool_))
        self.no_one = _shared(np.zeros(num_envs, np.bool_))
        self.rows: Floats = np.zeros((num_envs, len(tunables)))
        self.phases = np.zeros(num_envs, np.int64)
        self._constant: dict[str, Any] = {}
        self._same: Params | None = None
        """The parameters of all sub-environments, if they are all the same."""

    def checked(self, pinned: Mapping[str, Any]) -> dict[str, Floats]:
        """Return the parameters to pin as arrays."""
        arrays = {}
        for name, values in pinned.items():
            if name not in self.tunables:
                raise ValueError(unknown("parameter", name, self.tunables))
            try:
                array = np.asarray(values)
            except ValueError as error:
                raise WrongTypeError(f"{name} = {shown(values)} is no array: {error}") from error
            if array.shape not in ((), (self.num_envs,)):
                raise ValueError(
                    f"{name} has shape {array.shape}; give a number or an array of shape "
                    f"({self.num_envs},)"
                )
            numbers = array.reshape(-1).tolist()
            for value in set(numbers) if array.dtype.kind in "iuf" else numbers:
                self.tunables[name].check(name, value)
            arrays[name] = array.astype(np.float64)
        return arrays

    def chosen(self, given: Any, schedule: Schedule) -> npt.NDArray[np.int64] | None:
        """Return the phases to play in, shape ``(num_envs,)``; None if nothing is said."""
        if given is None:
            return None
        if np.ndim(given) == 0:
            return np.full(self.num_envs, schedule.frozen(given).index)
        array = np.asarray(given)
        if array.shape != (self.num_envs,):
            raise ValueError(
                f"phase has shape {array.shape}; give one phase or an array of indices of shape "
                f"({self.num_envs},)"
            )
        return np.array([schedule.frozen(phase).index for phase in array.tolist()])

    def beginning(
        self,
        params: Params,
        clock: LifetimeClock,
        pinned: Mapping[str, Floats] | None = None,
        phases: npt.NDArray[np.int64] | None = None,
    ) -> Floats:
        """Return what holds where an episode begins, shape ``(num_envs, num_tunables)``.

        Args:
            params: What the clock says.
            clock: Knows what holds in a phase.
            pinned: Parameters that are pinned.
            phases: Phases that were chosen.
        """
        rows = np.tile(np.array(list(params.values())), (self.num_envs, 1))
        for phase in () if phases is None else np.unique(phases).tolist():
            chosen = resolve(self.tunables, clock.schedule.frozen(phase).params)
            rows[phases == phase] = list(chosen.values())
        columns = list(self.tunables)
        for name, values in (pinned or {}).items():
            rows[:, columns.index(name)] = values
        return rows

    def check_acts(self, begins: Mask, rows: Floats) -> None:
        """Refuse parameters that would change nothing where an episode begins.

        Raises:
            ValueError: If there is one.
        """
        if any(each.acts_where or each.acts_unless for each in self.tunables.values()):
            for row in np.unique(rows[begins], axis=0).tolist():
                resolve(self.tunables, dict(zip(self.tunables, row, strict=True)))

    def begin(
        self,
        begun: Mask,
        clock: LifetimeClock,
        pinned: Mapping[str, Floats] | None = None,
        phases: npt.NDArray[np.int64] | None = None,
    ) -> Mask:
        """Let what the clock says, but for what is pinned or chosen, hold where an episode begins.

        Returns:
            Where the phase has changed.
        """
        if self._same is clock.params and not pinned and phases is None:
            return self.no_one
        now = self.beginning(clock.params, clock, pinned, phases)
        before = self.phases
        self.phases = np.where(begun, clock.phase.index if phases is None else phases, before)
        rows = np.where(begun[:, np.newaxis], now, self.rows)
        # Two phases may have the same parameters: then some are still in the first of them.
        all_same = np.all(rows == now) and np.all(self.phases == clock.phase.index)
        follows = not pinned and phases is None
        self._publish(rows, clock.params if all_same and follows else None)
        changed: Mask = self.phases != before
        return changed

    def adopt(self, outlook: Outlook, begun: npt.NDArray[np.int64], clock: LifetimeClock) -> None:
        """Let hold what held when the running episodes began."""
        if self._same is clock.params:
            return
        renewed = begun >= 0
        if not renewed.any():
            return
        self.phases = np.where(renewed, outlook.phases[begun], self.phases)
        rows = np.where(renewed[:, np.newaxis], outlook.params[begun], self.rows)
        now = list(clock.params.values())
        same = np.all(rows == now) and np.all(self.phases == clock.phase.index)
        self._publish(rows, clock.params if same else None)

    def state_dict(self, clock: LifetimeClock) -> dict[str, Any]:
        """Return what holds, and whether the clock is known to say the same."""
        return {
            "phases": self.phases.copy(),
            "rows": self.rows.copy(),
            "same": self._same is clock.params,
        }

    def load_state_dict(self, state: Mapping[str, Any], clock: LifetimeClock) -> None:
        """Let hold what held elsewhere, under a clock that stands as it stood there."""
        self.phases = state["phases"].copy()
        self._publish(state["rows"].copy(), clock.params if state["same"] else None)

    def infos(self, lifetime_steps: Any, scores: Any, changed: Mask) -> dict[str, Any]:
        """Return the ``infos`` of a step."""
        infos = self._constant.copy()
        infos["lifetime_step"] = lifetime_steps
        infos["score"] = scores
        infos["phase_changed"] = changed
        return infos

    def _publish(self, rows: Floats, same: Params | None) -> None:
        self.rows = rows
        self._same = same
        params: dict[str, Any] = {}
        for name, column in zip(self.tunables, rows.T, strict=True):
            params[name] = _shared(column.copy())
            params[f"_{name}"] = self.everyone
        self._constant = {"phase": _shared(self.phases), "params": params}
        for name in ("phase", "params", "lifetime_step", "phase_changed", "score"):
            self._constant[f"_{name}"] = self.everyone


def masked(infos: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """Return infos that are only of some sub-environments, as their masks then say.

    Args:
        infos: Infos of all of them, and their masks, whose names begin with an underscore.
        mask: Of which ones, shape ``(num_envs,)``.
    """
    return {
        name: mask
        if name.startswith("_")
        else masked(value, mask)
        if isinstance(value, Mapping)
        else value
        for name, value in infos.items()
    }


def _shared(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


def _words(seeds: Sequence[int]) -> npt.NDArray[np.uint64]:
    """Return the first state of each generator: what a single environment would have drawn."""
    drawn = [seeding.np_random(seed)[0].integers(2**64, dtype=np.uint64) for seed in seeds]
    return np.array(drawn)
