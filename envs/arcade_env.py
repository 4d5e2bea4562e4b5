"""One game as a Gymnasium environment."""

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any, ClassVar, Protocol, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding

from continual_arcade.envs.attributes import FixedWrapperAttributes
from continual_arcade.envs.checks import Instance, OrNone, Rule, Whole, check_values, flag
from continual_arcade.envs.clock import LifetimeClock
from continual_arcade.envs.context import HIDDEN, Context, ContextKind
from continual_arcade.envs.core import Core, Snapshot
from continual_arcade.envs.curricula import ScheduleLike, as_schedule
from continual_arcade.envs.drawing.screen import Screen
from continual_arcade.envs.drawing.status import Notice, Status
from continual_arcade.envs.env_specs import portable_spec
from continual_arcade.envs.game import Game
from continual_arcade.envs.games import make_game, option_names
from continual_arcade.envs.messages import unknown
from continual_arcade.envs.picture_format import FEATURES
from continual_arcade.envs.pictured import check_context_of, looks
from continual_arcade.envs.pictures import Pictures, Seen
from continual_arcade.envs.schedules import LONGEST
from continual_arcade.envs.seeds import plain_seed
from continual_arcade.envs.tunables import Params, Tunable, differences, resolve

_TABLE = Instance((Mapping,))
_ALL = np.ones(1, np.bool_)
_BEFORE = {"context": HIDDEN, "frame_skip": 1, "observation": FEATURES}
"""What environments were made with before they could be made with anything else."""
RENDER_MODES = ["rgb_array", "human"]
FRAMES_PER_SECOND = 30


Observation: TypeAlias = Any
"""Features, shape ``(num_features,)`` and ``float32``; or pictures, ``uint8``."""


class ArcadeEnv(FixedWrapperAttributes, gym.Env[Observation, np.int64]):
    """One game, whose rules may drift while an agent trains.

    The rules, actions, features and rewards of each game are described on its own page in
    ``docs/``.

    Args:
        game: Name of the game, a key of ``GAMES``.
        schedule: What drifts: a :class:`Schedule`, the name of a shipped one (``"shrink"``), the
            path of a ``.toml`` or ``.json`` file, plain data, or None for no change.
        phase: Index or name of one phase of the schedule, to stay in it for ever.
        context: What of its phase an observation shows behind the features: ``"hidden"`` nothing,
            ``"params"`` the parameters, ``"one-hot"`` the index of the phase; see
            :class:`~continual_arcade.envs.context.Context`.
        render_mode: None, ``"rgb_array"`` or ``"human"``.
        hud: Whether pictures show phase, parameters, score and lifetime step.
        **options: What the game lets one choose, such as ``rewards``, and how any game is observed:
            ``observation="pixels"`` with the settings of pictures, and ``frame_skip``; see
            :func:`~continual_arcade.envs.games.make_game`.

    Raises:
        TypeError: If there is no such option.
        ValueError: If a name is unknown or a value out of bounds; the message says which.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]  # Gymnasium's is no ClassVar
        "render_modes": RENDER_MODES,
        "render_fps": FRAMES_PER_SECOND,
    }

    spec: EnvSpec | None = portable_spec()
    """How Gymnasium makes it again, as plain data."""

    def __init__(
        self,
        game: str,
        schedule: ScheduleLike = None,
        phase: int | str | None = None,
        render_mode: str | None = None,
        hud: bool = True,
        context: ContextKind = HIDDEN,
        **options: Any,
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(unknown("render mode", render_mode, RENDER_MODES))
        self.game = make_game(game, **options)
        if render_mode is not None:
            self.game.require("painter")
        self.clock = clock_of(self.game, schedule, phase)
        self.context = Context(context, self.clock.schedule, self.game.tunables)
        self.core = Core(self.game, num_envs=1, lanes=1, shown=len(self.context.features))
        self.pictures = None if self.game.pictures is None else Pictures(self.game, num_envs=1)
        self.observation_space = observed(self.game, self.context, self.pictures)
        self.action_space = gym.spaces.Discrete(self.game.num_actions)
        self.render_mode = render_mode
        self.hud = flag("hud", hud)
        self.notice: Notice | None = None
        """What is said over pictures to a person who plays."""
        self._screen: Screen | None = None
        self._phase = self.clock.phase.index
        self._params: Params = {}
        self._seeded = False
        self._ended = True
        self._bind()
        self._hold(self.clock.params)
        self._fix(ArcadeEnv.__init__, "max_episode_steps", *option_names(game))

    def _bind(self) -> None:
        # Looked up once: in step() each lookup would cost as much as a tenth of the game.
        self._begin, self._play = self.core.single
        self._address = self.core.blocks.ctypes.data
        self._scene = self.core.observation.reshape(1, -1)
        self._observe = self.core.observation.copy if self.pictures is None else self._look
        self._label = self.core.blocks["label"][0] if self.game.rules.labelled else None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_screen"] = None
        for name in ("_begin", "_play", "_address", "_scene", "_observe", "_label"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()

    @property
    def state(self) -> Snapshot:
        """A copy of the state of the game, by field name."""
        return self.core.snapshot()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode.

        The lifetime clock continues, unless a seed is given: it resets clock and random draws.

        Args:
            seed: Seed of the random draws.
            options: ``{"params": {...}}`` pins parameters for this one episode; ``{"phase": ...}``,
                an index or a name, plays it in another phase than the clock's.

        Raises:
            ValueError: If an option, a parameter or a phase is unknown or out of bounds.
            TypeError: If the seed is not a whole number.
        """
        clock = self.clock
        # Checked before anything moves: a reset that fails changes nothing.
        check_options(options, ("params", "phase"))
        pinned: Mapping[str, Any] = (options or {}).get("params", {})
        wanted = (options or {}).get("phase")
        other = None if wanted is None else clock.schedule.frozen(wanted)
        seed = None if seed is None else plain_seed(seed)
        if pinned:
            scheduled = clock.params_of_next(seed is not None) if other is None else other.params
            resolve(clock.tunables, {**scheduled, **pinned})
        super().reset(seed=seed)
        rewinds = seed is not None or not self._seeded
        if seed is not None:
            clock.go_to(0)
        clock.begin_episode()
        before, phase = self._phase, other or clock.phase
        self._phase = phase.index
        params = clock.params if other is None else resolve(clock.tunables, other.params)
        self._hold(resolve(clock.tunables, {**params, **pinned}) if pinned else params)
        if rewinds:
            self.core.seed(self.np_random.integers(2**64, size=1, dtype=np.uint64))
            self._seeded = True
        self._begin(self._address, self._row, 0.0)
        self._ended = False
        if self.render_mode == "human":
            self.render()
        info = {**clock.info(self._params), "phase": self._phase, "score": 0}
        info["phase_changed"] = not rewinds and self._phase != before
        if self.pictures is None:
            return self._observe(), info
        return self.pictures.begin(self._scene, _ALL)[0], info

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Play one step.

        Raises:
            ResetNeeded: If no episode is running.
            ValueError: If there is no such action.
            TypeError: If the action is not a whole number.
        """
        if self._ended:
            raise ResetNeeded("no episode is running: call reset() before step()")
        label = None if self._label is None else int(self._label[0])
        try:
            reward, terminated, score = self._play(self._address, index(action))
        except (TypeError, OverflowError):
            raise TypeError(f"an action is a whole number, not {action!r}") from None
        if reward != reward:  # NaN: the fastest test there is
            raise ValueError(no_action(action, self.game.actions))
        clock = self.clock
        clock.step = lifetime_step = clock.step + 1
        truncated = lifetime_step >= clock.boundary
        if terminated or truncated:
            self._ended = True
        if self.render_mode is not None and self.render_mode == "human":
            self.render()
        info = {
            "phase": self._phase,
            "params": self._params.copy(),
            "lifetime_step": lifetime_step,
            "phase_changed": False,
            "score": score,
        }
        if label is not None:
            info["label"] = label
        return self._observe(), reward, terminated, truncated, info

    def _look(self) -> Seen:
        """Return the pictures that are seen after a step."""
        assert self.pictures is not None
        return self.pictures.follow(self._scene)[0]  # type: ignore[no-any-return]

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on.

        Wrappers count for themselves and are not in it; nor are the generators of the spaces.

        Returns:
            A tree of plain values and arrays, none of which changes with the environment.
        """
        return {
            **shared_state(self, "ArcadeEnv"),
            "phase": self._phase,
            "params": self._params.copy(),
            "seeded": self._seeded,
            "ended": self._ended,
        }

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
        self._phase = state["phase"]
        self._hold(resolve(self.clock.tunables, state["params"]))
        self._seeded = state["seeded"]
        self._ended = state["ended"]

    def _hold(self, params: Params) -> None:
        """Let these parameters hold in the next episode."""
        if params is not self._params:
            self._params = params
            self._row = self.context.row(params, self._phase)
            if not self.context.is_hidden:
                shown = self.context.of(params, self._phase)
                self.core.observation[len(self.game.features) :] = shown

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Draw the game: return a picture, shape ``(height, width, 3)``, or show it in a window.

        Raises:
            ResetNeeded: If no episode has begun.
            ValueError: If no render mode was chosen.
        """
        if self.render_mode not in RENDER_MODES:
            raise ValueError("choose a render_mode ('rgb_array' or 'human') when making the env")
        if not self._seeded:
            raise ResetNeeded("nothing to draw yet: call reset() before render()")
        window = self.render_mode == "human"
        screen = self._screen
        if screen is None or (screen.hud, screen.has_window) != (self.hud, window):
            self.close()
            self._screen = screen = Screen(self.game, self.hud, window)
        state = self.state
        status = status_of(self.clock, self._phase, self._params, state["score"])
        if window:
            screen.show(state, status, self.notice)
            return None
        return screen.picture(state, status, self.notice)

    @property
    def window_closed(self) -> bool:
        """Whether the user has closed the window."""
        return self._screen is not None and self._screen.closed

    def require_display(self) -> None:
        """Make sure that somebody can see the window.

        Without a display SDL draws into memory and says nothing, which is right for a test and
        wrong for a person who waits for a window.

        Raises:
            RuntimeError: If there is no display, and ``SDL_VIDEODRIVER`` does not say that none is
                wanted.
        """
        if self._screen is not None:
            self._screen.require_display()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._screen is not None:
            self._screen.close()
            self._screen = None


def clock_of(
    game: Game, schedule: ScheduleLike, phase: int | str | None, pace: int = 1
) -> LifetimeClock:
    """Return the lifetime clock of a game.

    Args:
        game: The game.
        schedule: What drifts.
        phase: A phase to stay in for ever.
        pace: Transitions by which the clock will move at a time.

    Raises:
        ValueError: If the schedule does not suit the game, or is one of looks that nobody sees.
    """
    drifts = as_schedule(schedule, game)
    unseen = looks(game).keys() - game.tunables.keys() if game.shapes else set()
    for spec in drifts.phases:
        if names := sorted(unseen & spec.params.keys()):
            raise ValueError(
                f"phase {spec.name!r} of schedule {drifts.name!r}: {names[0]} is a look, and with "
                f"observation = 'features' nothing is seen of {game.name}: make it with "
                "observation='pixels', or leave that out"
            )
    return LifetimeClock(drifts, game.tunables, phase, pace)


def observed(game: Game, context: Context, pictures: Pictures | None) -> "gym.spaces.Box[Any]":
    """Return the space of what is seen of one game.

    Args:
        game: The game.
        context: What is shown of the phase.
        pictures: The pictures, if it is seen in pictures.

    Raises:
        ValueError: If a context is to be shown in pictures.
    """
    check_context_of(game, context.kind)
    if pictures is not None:
        return pictures.space
    return context.extended(gym.spaces.Box(*game.feature_bounds(), dtype=np.float32))


class _Playing(Protocol):
    """What both kinds of environments have."""

    game: Game
    clock: LifetimeClock
    core: Core
    context: Context
    pictures: Pictures | None
    _np_random: np.random.Generator | None
    _np_random_seed: int | None

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on."""
        ...


def shared_state(env: _Playing, kind: str) -> dict[str, Any]:
    """Return the part of the state that both kinds of environments have.

    Args:
        env: The environment.
        kind: Which kind it is.
    """
    random = env._np_random
    pictures = {} if env.pictures is None else {"scenes": env.pictures.state()}
    return {
        **pictures,
        "made": {
            "kind": kind,
            "game": env.game.name,
            "num_envs": env.core.num_envs,
            "context": env.context.kind,
            "frame_skip": env.game.frame_skip,
            "observation": FEATURES if env.pictures is None else env.pictures.format.describe(),
            **env.game.constants,
        },
        "clock": env.clock.state_dict(),
        "blocks": env.core.blocks.copy(),
        "generator": None if random is None else random.bit_generator.state,
        "generator_seed": env._np_random_seed,
    }


def check_state(env: _Playing, state: Mapping[str, Any]) -> None:
    """Make sure that a state suits an environment.

    Compiled code takes the numbers in it as they are, so that each of them must be one that play
    can lead to.

    Args:
        env: The environment.
        state: The state.

    Raises:
        ValueError: If the environments were not made alike, or the state is damaged.
    """
    own = env.state_dict()
    made = {**_BEFORE, **_TABLE("made", _TABLE("the state", state).get("made", {}))}
    for name in {**own["made"], **made}:
        theirs, ours = made.get(name), own["made"].get(name)
        if theirs != ours:
            raise ValueError(
                f"the state belongs to an environment with {name} = {theirs!r}, this one "
                f"has {name} = {ours!r}: make it as that one was made"
            )
    for name, value in own.items():
        if name not in state:
            raise ValueError(f"the state has no {name!r}: it is damaged")
        if isinstance(value, np.ndarray):
            given = np.asarray(state[name])
            if (given.shape, given.dtype) != (value.shape, value.dtype):
                raise ValueError(
                    f"{name!r} of the state is laid out in another way than here: it comes from "
                    "another version, or is damaged"
                )
    env.clock.check_state(_TABLE("clock", state["clock"]))
    try:
        check_values({name: state[name] for name in own}, _rules(env))
        tunables = env.game.tunables
        # A state that is none of an environment that was reset, and yet goes on, is looked at, too.
        begun = any(map(state.get, ("running", "same", "seeded"))) or state.get("ended") is False
        if "params" in own and resolve(tunables, state["params"]).keys() != state["params"].keys():
            raise ValueError("params lack some")
        _check_blocks(env, state["blocks"], begun)
        if env.pictures is not None:
            _check_scenes(env, state["scenes"])
        if begun and "rows" in own:
            for column, (name, tunable) in zip(state["rows"].T, tunables.items(), strict=True):
                _check_tunable(name, tunable, column)
            _check_range("phases", state["phases"], 0, len(env.clock.schedule) - 1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the state is damaged: {error}") from error


def _rules(env: _Playing) -> dict[str, Rule]:
    """Return the rules of what is no array in a state."""
    flags: dict[str, Rule] = dict.fromkeys(("seeded", "ended", "running", "same"), flag)
    return {
        **flags,
        "phase": Whole(0, len(env.clock.schedule) - 1),
        "params": _TABLE,
        "generator": OrNone(_TABLE),
        "generator_seed": OrNone(Instance((int,))),
    }


def _check_blocks(env: _Playing, blocks: npt.NDArray[np.void], begun: bool) -> None:
    """Check the numbers of games: constants are this game's, and what drifts is within bounds.

    So is what finds something in memory: a label is an action, and the game knows of the others.
    """
    for name in blocks.dtype.names or ():
        if blocks.dtype[name].base.kind == "f" and not np.isfinite(blocks[name]).all():
            raise ValueError(f"{name} is not finite")
    for name, constant in env.game.constants.items():
        _check_range(name, blocks[name], constant, constant)
    if not begun:
        return
    game, count = env.game, env.core.num_envs
    indices = {**game.indices, **({"label": game.num_actions} if game.rules.labelled else {})}
    names = ("score", "steps", *game.tunables, *indices)
    lanes = {name: blocks[name].reshape(-1)[:count] for name in names}
    for name in ("score", "steps"):
        _check_range(name, lanes[name], 0.0, LONGEST)
    for name, tunable in game.tunables.items():
        _check_tunable(name, tunable, lanes[name])
    for name, things in indices.items():
        number = things if isinstance(things, int) else things(lanes)
        most = np.broadcast_to(number, count) - 1.0
        if not ((lanes[name] >= 0.0) & (lanes[name] <= most) & _whole(lanes[name])).all():
            raise ValueError(f"{name} must be a whole number from 0 to {most.min():g}")


def _check_scenes(env: _Playing, scenes: npt.NDArray[np.float32]) -> None:
    """Check what was seen: edges are numbers, and colours are colours."""
    if not np.isfinite(scenes).all():
        raise ValueError("scenes are not finite")
    for place, number in enumerate(env.game.features):
        _check_range(f"{number.name} of a scene", scenes[..., place], number.low, number.high)


def _check_tunable(name: str, tunable: Tunable, values: npt.NDArray[Any]) -> None:
    _check_range(name, values, tunable.low, tunable.high)
    if tunable.integer and not _whole(values).all():
        raise ValueError(f"{name} must be a whole number")


def _whole(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    whole: npt.NDArray[np.bool_] = values == np.floor(values)
    return whole


def _check_range(name: str, values: npt.NDArray[Any], low: float, high: float) -> None:
    if not ((values >= low) & (values <= high)).all():
        raise ValueError(f"{name} must be from {low:g} to {high:g}")


def load_shared_state(env: _Playing, state: Mapping[str, Any]) -> None:
    """Take over the part of a state that both kinds of environments have.

    Raises:
        ValueError: If the schedule is another one, or the generator of another kind; then nothing
            has changed.
    """
    random: np.random.Generator | None = None
    if state["generator"] is not None:
        random, _ = seeding.np_random(0)
        try:
            random.bit_generator.state = state["generator"]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"the state has a generator of another kind: {error}") from error
    env.clock.load_state_dict(state["clock"])
    env._np_random, env._np_random_seed = random, state["generator_seed"]
    env.core.blocks[...] = state["blocks"]
    if env.pictures is not None:
        env.pictures.load_state(state["scenes"])


def status_of(
    clock: LifetimeClock, phase: int, params: Params, score: float, title: str = ""
) -> Status:
    """Return what the heads-up display says of a game.

    Args:
        clock: Its lifetime clock.
        phase: Index of the phase in which its episode began.
        params: The parameters of its episode.
        score: Its score.
        title: Who plays.
    """
    scheduled = {name for spec in clock.schedule.phases for name in spec.params}
    special = scheduled | differences(clock.tunables, params).keys()
    return Status(
        score=score,
        lifetime_step=clock.step,
        phase=phase,
        phases=len(clock.schedule),
        phase_name=clock.schedule.phases[phase].name,
        params={
            name: tunable.written(params[name])
            for name, tunable in clock.tunables.items()
            if name in special
        },
        title=title,
    )


def check_options(options: Mapping[str, Any] | None, known: Sequence[str]) -> None:
    """Check that a reset is given no other options than these.

    Raises:
        WrongTypeError: If the options, or the parameters, are no table.
        ValueError: If there are others.
    """
    OrNone(_TABLE)("options", options)
    for name in options or {}:
        if name not in known:
            raise ValueError(unknown("reset option", name, known))
    _TABLE("params", (options or {}).get("params", {}))


def no_action(action: Any, names: tuple[str, ...]) -> str:
    """Say that there is no such action."""
    meanings = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
    return f"there is no action {action!r}: the actions are {meanings}"
